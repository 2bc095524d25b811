using System;
using XenDM.Core.Backends;

namespace XenDM.Core.Hypervisor;

/// <summary>A backend's end of an event channel. Disposing closes it; no call comes after.</summary>
public interface IEventChannel : IDisposable
{
    /// <summary>The guest's port.</summary>
    uint RemotePort { get; }

    /// <summary>Sends the guest an event. From any thread.</summary>
    void Notify();
}

/// <summary>Event channels as a backend uses them: libxenevtchn's, or the embedded machine's own. Binding and closing: machine thread only.</summary>
public interface IEventChannels
{
    /// <summary>Binds to a port that a guest offers this domain. It counts as notified once at the start.</summary>
    /// <param name="notified">
    /// The guest sent an event, or several. Called on whichever thread learns of it, in the middle of a guest's instruction perhaps: it wakes who does
    /// the work and does none itself.
    /// </param>
    /// <returns>Null when the guest offers no such port.</returns>
    IEventChannel? TryBind(int domain, uint remotePort, Action notified);

    /// <summary>
    /// The same for work that a data plane does: where its thread can learn of events itself, nobody stands between it and the guest.
    /// </summary>
    /// <param name="notified">As above, on the plane's thread or another.</param>
    IEventChannel? TryBind(int domain, uint remotePort, IDataPlane plane, Action notified) => TryBind(domain, remotePort, notified);
}

/// <summary>What PV backends need of a hypervisor.</summary>
public sealed record XenPorts(IXenStore Store, IGrants Grants, IEventChannels Events)
{
    /// <summary>Null where this process has no right to the guest's memory beyond what it grants.</summary>
    public IForeignPages? Foreign { get; init; }
}
