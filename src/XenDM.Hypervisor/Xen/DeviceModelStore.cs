using System;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen;

/// <summary>
/// What a device model says through xenstore: its state, which libxl waits for. Not made at all under dm_restrict: there libxl asks by QMP, and
/// the handle would be dead after the restriction.
/// </summary>
public sealed class DeviceModelStore : IDisposable
{
    private readonly XenStore _store = new();
    private readonly string _statePath;

    /// <param name="domain">The guest.</param>
    /// <exception cref="XenException">xenstored does not answer.</exception>
    public DeviceModelStore(int domain) => _statePath = $"device-model/{domain}/state";

    /// <summary>Writes the state below this domain's own home. libxl reacts to "running" only.</summary>
    /// <exception cref="XenException">xenstored refused.</exception>
    public void Announce(string state)
    {
        var result = _store.Write(_statePath, state);
        if (result < 0) throw new XenException($"cannot write {_statePath} to xenstore", result);
    }

    /// <summary>Text of a node; null when it is not there.</summary>
    public string? Read(string path) => _store.Read(path);

    public void Dispose() => _store.Dispose();
}
