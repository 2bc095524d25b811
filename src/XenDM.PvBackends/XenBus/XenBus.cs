using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;

namespace XenDM.PvBackends.XenBus;

/// <summary>
/// The PV devices of one guest that this process serves: finds them where a toolstack writes them, <c>backend/KIND/GUEST/ID</c> of the backend's
/// domain, and gives each a <see cref="XenBusDevice"/>. Machine thread.
/// </summary>
public sealed class XenBus : IDisposable
{
    private readonly List<XenBusDevice> _devices = [];
    private readonly List<IDisposable> _watches = [];

    /// <param name="guest">The front ends' domain.</param>
    /// <param name="domain">The backends' domain.</param>
    /// <exception cref="StoreException">xenstore refuses a watch.</exception>
    public XenBus(XenPorts ports, int guest, int domain, IReadOnlyList<IPvKind> kinds, IEventLoop loop, IMachineLog log)
    {
        Ports = ports;
        Guest = guest;
        Domain = domain;
        Loop = loop;
        Log = log;
        foreach (var kind in kinds)
        {
            var folder = $"/local/domain/{domain}/backend/{kind.Name}/{guest}";
            _watches.Add(ports.Store.Watch(folder, path => Changed(kind, folder, path)));
        }
    }

    /// <summary>Those that are there now.</summary>
    public IReadOnlyList<XenBusDevice> Devices => _devices;

    internal XenPorts Ports { get; }

    internal int Guest { get; }

    internal int Domain { get; }

    internal IEventLoop Loop { get; }

    internal IMachineLog Log { get; }

    /// <summary>Waits until no device has anything in flight.</summary>
    public void Drain()
    {
        foreach (var device in _devices) device.Drain();
    }

    /// <summary>Forgets all devices without a word to xenstore: the guest and its nodes are about to go.</summary>
    public void Clear()
    {
        foreach (var device in _devices) device.Dispose();
        _devices.Clear();
    }

    public void Dispose()
    {
        foreach (var watch in _watches) watch.Dispose();
        _watches.Clear();
        Clear();
    }

    internal void Remove(XenBusDevice device)
    {
        _devices.Remove(device);
        device.Dispose();
    }

    private void Changed(IPvKind kind, string folder, string path)
    {
        try
        {
            if (path.Length > folder.Length && path.StartsWith(folder, StringComparison.Ordinal))
            {
                var name = path[(folder.Length + 1)..];
                var slash = name.IndexOf('/', StringComparison.Ordinal);
                Look(kind, folder, slash < 0 ? name : name[..slash]);
                return;
            }

            foreach (var id in Ports.Store.List(folder) ?? []) Look(kind, folder, id);
            foreach (var device in _devices.ToArray())
                if (device.Kind == kind.Name) device.Step();
        }
        catch (StoreException e)
        {
            Log.Warn(kind.Name, $"xenstore says {e.Error} at {path}");
        }
    }

    /// <summary>Something about one device is new.</summary>
    private void Look(IPvKind kind, string folder, string id)
    {
        var device = _devices.Find(d => d.Kind == kind.Name && d.Id == id);
        if (device is null)
        {
            device = XenBusDevice.TryMake(this, kind, id, new StoreFolder(Ports.Store, $"{folder}/{id}"));
            if (device is null) return;
            _devices.Add(device);
        }

        device.Step();
    }
}
