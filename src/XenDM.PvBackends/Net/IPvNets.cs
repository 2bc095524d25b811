using System;
using XenDM.Core.Backends;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Net;

/// <summary>The net behind a PV NIC, and where its frames are moved.</summary>
/// <param name="net">The PV NIC has it while its front end is connected; an emulated twin at all other times.</param>
public sealed class PvNet(INetBackend net, IDataPlane plane, bool isOwned) : IDisposable
{
    private bool _isLent;

    public INetBackend Net => net;

    public IDataPlane Plane => plane;

    /// <summary>The guest uses the PV NIC: the emulated one has no net from now on. On the data plane, as <see cref="Release"/>.</summary>
    public void Attach(INetFrontend frontend, NetOffloads offloads)
    {
        _isLent = true;
        net.Lend(frontend);
        net.ReceiveOffloads = offloads;
    }

    /// <summary>The emulated NIC has the net again. Nothing happens when it was not taken from it: a front end may fail before that.</summary>
    public void Release()
    {
        if (!_isLent) return;
        _isLent = false;
        net.Lend(null);
    }

    public void Dispose()
    {
        if (!isOwned) return;
        plane.Run(net.Dispose);
        plane.Dispose();
    }
}

/// <summary>Finds the nets of PV NICs.</summary>
public interface IPvNets
{
    /// <param name="id">The NIC's number in xenstore.</param>
    /// <param name="back">What the toolstack wrote.</param>
    /// <exception cref="PvException">There is none, or it cannot be opened.</exception>
    PvNet Open(string id, StoreFolder back);
}
