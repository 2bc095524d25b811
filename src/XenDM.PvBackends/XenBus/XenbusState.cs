namespace XenDM.PvBackends.XenBus;

/// <summary>What each end of a PV device says of itself in its node <c>state</c> (xen/public/io/xenbus.h).</summary>
public enum XenbusState
{
    /// <summary>The node is not there.</summary>
    Unknown = 0,
    Initialising = 1,

    /// <summary>The backend has said what it offers and waits for the front end.</summary>
    InitWait = 2,

    /// <summary>The front end has said where its rings are.</summary>
    Initialised = 3,
    Connected = 4,
    Closing = 5,
    Closed = 6,
    Reconfiguring = 7,
    Reconfigured = 8,
}
