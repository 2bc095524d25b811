using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Time;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor;

/// <summary>
/// The machine thread: one poll call that waits for ioreqs, posted work, watched descriptors and the next timer, and wakes for nothing
/// else. An idle guest costs no CPU.
/// </summary>
public sealed class PollLoop : IBusyLoop, IDisposable
{
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly List<Watched> _watches = [];
    private readonly int _wake;
    private readonly VmClock _clock;
    private PollFd[] _fds = new PollFd[8];
    private bool _fdsAreStale = true;
    private int _thread;
    private int _wakePending;
    private volatile bool _stop;

    /// <param name="clock">Its timers run on this loop.</param>
    /// <exception cref="InvalidOperationException">The kernel has no descriptor left.</exception>
    public PollLoop(VmClock clock)
    {
        _clock = clock;
        _wake = Posix.EventFd();
        if (_wake < 0) throw new InvalidOperationException($"eventfd: {Errno.Describe(_wake)}");
        _thread = Environment.CurrentManagedThreadId;
    }

    private sealed class Watched(PollLoop loop, int fd, FdEvents events, Action<FdEvents> ready) : IFdWatch
    {
        private FdEvents _events = events;

        public int Fd => fd;

        public bool Removed { get; private set; }

        public Action<FdEvents> Ready => ready;

        public FdEvents Events
        {
            get => _events;
            set
            {
                if (_events == value) return;
                _events = value;
                loop._fdsAreStale = true;
            }
        }

        public void Dispose()
        {
            Removed = true;
            loop._fdsAreStale = true;
        }
    }

    public void Post(Action work)
    {
        _posted.Enqueue(work);

        // The machine thread looks at the queue before it waits.
        if (Environment.CurrentManagedThreadId != _thread) Wake();
        else PostedByItself?.Invoke();
    }

    /// <summary>Called when the loop's own thread posts work. What it is about may be long, and may want to come to an end.</summary>
    public Action? PostedByItself { get; set; }

    /// <summary>
    /// True while other threads of this process work for the guest. On a host with one CPU for us, time spent on waiting for the guest's next
    /// request is theirs.
    /// </summary>
    public Func<bool>? OthersWork { get; set; }

    public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready)
    {
        AssertMachineThread();
        var watch = new Watched(this, fd, events, ready);
        _watches.Add(watch);
        _fdsAreStale = true;
        return watch;
    }

    public bool HasWork => _stop || (OthersWork?.Invoke() ?? false) || Volatile.Read(ref _wakePending) != 0 || !_posted.IsEmpty || (_clock.NextDeadline is var next && next != VmTimer.Never && next <= _clock.Now);

    public void AssertMachineThread()
    {
        if (Environment.CurrentManagedThreadId != _thread) throw new InvalidOperationException("not the machine thread");
    }

    /// <summary>Runs until <see cref="Stop"/>. The calling thread is the machine thread from now on.</summary>
    public void Run()
    {
        _thread = Environment.CurrentManagedThreadId;
        while (!_stop) RunOnce(wait: true);
    }

    /// <summary>One turn: waits at most until the next timer, then serves all that is ready.</summary>
    /// <param name="wait">False to look only. Work that was there already may be what the caller waits for, so then nobody waits either.</param>
    public void RunOnce(bool wait)
    {
        wait &= _posted.IsEmpty;
        RunPosted();
        wait &= !_clock.RunTimers();
        if (_stop) return;
        if (_fdsAreStale) BuildFds();
        var count = _watches.Count;
        var ready = Posix.Poll(_fds.AsSpan(0, count + 1), wait && _posted.IsEmpty ? Timeout() : 0);
        _clock.RunTimers();
        if (ready <= 0) return;
        if (_fds[0].Returned != 0)
        {
            // The flag falls before the queue is looked at, so that work posted from here on wakes the loop again.
            Posix.DrainEventFd(_wake);
            Volatile.Write(ref _wakePending, 0);
        }

        for (var i = 0; i < count; i++)
        {
            var events = _fds[i + 1].Returned;
            if (events == 0) continue;
            var watch = _watches[i];

            // A callback before this one may have taken the watch away or changed what it waits for.
            var wanted = FromPoll(events) & (watch.Events | FdEvents.Hangup);
            if (watch.Removed || watch.Events == FdEvents.None || wanted == FdEvents.None) continue;
            watch.Ready(wanted);
        }

        RunPosted();
    }

    /// <summary>Ends <see cref="Run"/> after the current turn. From any thread, and from a signal's thread.</summary>
    public void Stop()
    {
        _stop = true;
        Wake();
    }

    public void Dispose() => Posix.Close(_wake);

    private void Wake()
    {
        if (Interlocked.Exchange(ref _wakePending, 1) != 0) return;
        Posix.SignalEventFd(_wake);
    }

    /// <summary>Runs what is posted now; what that posts in turn waits for the next round, so that nobody starves the descriptors.</summary>
    private void RunPosted()
    {
        for (var count = _posted.Count; count > 0 && _posted.TryDequeue(out var work); count--) work();
    }

    private long Timeout()
    {
        var deadline = _clock.NextDeadline;
        return deadline == VmTimer.Never ? -1 : Math.Max(0, deadline - _clock.Now);
    }

    private void BuildFds()
    {
        _fdsAreStale = false;
        _watches.RemoveAll(static w => w.Removed);
        if (_fds.Length < _watches.Count + 1) _fds = new PollFd[(_watches.Count + 1) * 2];
        _fds[0] = new PollFd { Fd = _wake, Events = PollEvents.Readable };
        for (var i = 0; i < _watches.Count; i++)
        {
            var watch = _watches[i];

            // poll skips negative descriptors: a watch for nothing does not even report that the other end is gone.
            _fds[i + 1] = new PollFd { Fd = watch.Events == FdEvents.None ? -1 : watch.Fd, Events = ToPoll(watch.Events) };
        }
    }

    private static PollEvents ToPoll(FdEvents events) =>
        (((events & FdEvents.Readable) != 0 ? PollEvents.Readable : PollEvents.None) | ((events & FdEvents.Writable) != 0 ? PollEvents.Writable : PollEvents.None));

    private static FdEvents FromPoll(PollEvents events) =>
        ((events & PollEvents.Readable) != 0 ? FdEvents.Readable : 0) | ((events & PollEvents.Writable) != 0 ? FdEvents.Writable : 0)
        | ((events & (PollEvents.Hangup | PollEvents.Error | PollEvents.Invalid)) != 0 ? FdEvents.Hangup : 0);
}
