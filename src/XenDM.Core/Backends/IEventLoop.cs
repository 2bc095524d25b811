using System;

namespace XenDM.Core.Backends;

/// <summary>What a watched descriptor is ready for.</summary>
[Flags]
public enum FdEvents
{
    None = 0,
    Readable = 1,
    Writable = 2,

    /// <summary>The other end is gone, or the descriptor is broken. Always reported.</summary>
    Hangup = 4,
}

/// <summary>The machine thread, as everything else sees it: one poll call that serves ioreqs, timers, completions, monitors and input.</summary>
public interface IEventLoop
{
    /// <summary>Runs the work on the machine thread, soon. From any thread. A cached delegate costs no allocation.</summary>
    void Post(Action work);

    /// <summary>Watches a descriptor; the callback runs on the machine thread. Machine thread only.</summary>
    IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready);

    /// <summary>Throws when called from another thread than the machine's: a check for places that must not be reached from elsewhere.</summary>
    void AssertMachineThread();
}

/// <summary>A watched descriptor. Disposing stops the watch and leaves the descriptor open.</summary>
public interface IFdWatch : IDisposable
{
    /// <summary>What is waited for; <see cref="FdEvents.Hangup"/> is always reported, unless this is <see cref="FdEvents.None"/>.</summary>
    FdEvents Events { get; set; }
}
