namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>EVTCHNSTAT_* of xen/public/event_channel.h, less what there is none of here.</summary>
internal enum PortState : byte
{
    Free = 0,
    Unbound = 1,
    Interdomain = 2,
    Virq = 4,
    Ipi = 5,
}

/// <summary>The other end of a guest's event channel, in this process.</summary>
internal interface IEventPeer
{
    /// <summary>The guest sent an event. Machine thread; may be called again before the last call was worked off.</summary>
    void Notified();

    /// <summary>The guest closed its end.</summary>
    void Closed();
}

/// <summary>One event channel of the guest.</summary>
internal struct EventPort
{
    public PortState State;

    /// <summary>Where events are delivered.</summary>
    public byte Vcpu;

    /// <summary>FIFO: the queue that events go to, and the one that the port was linked on last.</summary>
    public byte Priority, LastVcpu, LastPriority;

    public byte Virq;

    /// <summary>FIFO: pending before the guest gave the page of the port's word.</summary>
    public bool PendingBeforeArray;

    /// <summary>Who may bind, or is bound to, the other end.</summary>
    public ushort RemoteDomain;

    public uint RemotePort;

    /// <summary>The other end where it is not the guest itself.</summary>
    public IEventPeer? Peer;
}
