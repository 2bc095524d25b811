using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Tests.Char;

/// <summary>A poll loop that the test turns itself.</summary>
internal sealed class TestLoop : IEventLoop
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly List<Watched> _watches = [];

    private sealed class Watched(int fd, FdEvents events, Action<FdEvents> ready) : IFdWatch
    {
        public int Fd => fd;

        public bool Removed { get; private set; }

        public Action<FdEvents> Ready => ready;

        public FdEvents Events { get; set; } = events;

        public void Dispose() => Removed = true;
    }

    /// <summary>Callbacks of descriptors so far: a loop that spins shows here.</summary>
    public int Callbacks { get; private set; }

    public void Post(Action work) => _posted.Enqueue(work);

    public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready)
    {
        var watch = new Watched(fd, events, ready);
        _watches.Add(watch);
        return watch;
    }

    public void AssertMachineThread()
    {
    }

    /// <summary>Turns until the condition holds; fails when it never does.</summary>
    public void Until(Func<bool> condition)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < s_patience, "the loop waits for something that does not happen");
            Turn(5_000_000);
        }
    }

    /// <summary>Turns until nothing is ready any more, at most so many times.</summary>
    public void Settle(int turns = 1000)
    {
        while (turns-- > 0 && Turn(0))
        {
        }

        Assert.True(turns >= 0, "the loop does not come to rest");
    }

    /// <returns>False when nothing was ready.</returns>
    private bool Turn(long timeoutNanoseconds)
    {
        var worked = false;
        while (_posted.TryDequeue(out var work))
        {
            worked = true;
            work();
        }

        _watches.RemoveAll(w => w.Removed);
        var watches = _watches.ToArray();
        var fds = new PollFd[watches.Length];
        for (var i = 0; i < fds.Length; i++)
        {
            var events = watches[i].Events;
            var poll = ((events & FdEvents.Readable) != 0 ? PollEvents.Readable : 0) | ((events & FdEvents.Writable) != 0 ? PollEvents.Writable : 0);
            fds[i] = new PollFd { Fd = events == FdEvents.None ? -1 : watches[i].Fd, Events = poll };
        }

        if (Posix.Poll(fds, timeoutNanoseconds) <= 0) return worked;
        for (var i = 0; i < fds.Length; i++)
        {
            var returned = fds[i].Returned;
            var events = ((returned & PollEvents.Readable) != 0 ? FdEvents.Readable : 0) | ((returned & PollEvents.Writable) != 0 ? FdEvents.Writable : 0)
                | ((returned & (PollEvents.Hangup | PollEvents.Error | PollEvents.Invalid)) != 0 ? FdEvents.Hangup : 0);
            events &= watches[i].Events | FdEvents.Hangup;
            if (events == 0 || watches[i].Removed || watches[i].Events == FdEvents.None) continue;
            Callbacks++;
            worked = true;
            watches[i].Ready(events);
        }

        return worked;
    }
}
