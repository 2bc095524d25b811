using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>
/// What PV backends of this process use on Xen. Not made under dm_restrict: a restricted process has no xenstore, so nobody would tell it of a
/// device. Dispose it after the backends.
/// </summary>
public sealed class XenBackendPorts : IDisposable
{
    private readonly Stack<IDisposable> _resources = new();

    /// <param name="loop">The machine thread's, on which this is called.</param>
    /// <exception cref="XenException">There is no Xen, or no permission. Everything opened is closed again.</exception>
    public XenBackendPorts(IEventLoop loop, IMachineLog log)
    {
        try
        {
            var store = Own(new XenStoreConnection(loop, log));
            OwnDomain = store.OwnDomain;
            Ports = new XenPorts(store, Own(new XenGrants()), Own(new XenEvents(log))) { Foreign = Own(new XenForeignPages()) };
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public XenPorts Ports { get; }

    /// <summary>The domain that this process runs in: 0, or a driver domain.</summary>
    public int OwnDomain { get; }

    public void Dispose()
    {
        while (_resources.TryPop(out var resource)) resource.Dispose();
    }

    private T Own<T>(T resource)
        where T : IDisposable
    {
        _resources.Push(resource);
        return resource;
    }
}
