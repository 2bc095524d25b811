using System;
using System.Collections.Generic;

namespace XenDM.Core.Time;

/// <summary>
/// Guest time on top of a monotonic host clock, with its timers. Owned by the machine thread. A test gives a source that it moves by hand.
/// </summary>
public sealed class VmClock : IVmClock
{
    private readonly Func<long> _source;
    private readonly List<VmTimer> _timers = [];
    private long _offset;
    private long _stoppedAt;
    private long _next = VmTimer.Never;

    /// <param name="source">Monotonic nanoseconds of the host.</param>
    public VmClock(Func<long> source) => _source = source;

    public bool IsRunning { get; private set; }

    public long Now => IsRunning ? _source() - _offset : _stoppedAt;

    /// <summary>The earliest deadline, or <see cref="VmTimer.Never"/>; a stopped clock has none.</summary>
    public long NextDeadline => IsRunning ? _next : VmTimer.Never;

    public VmTimer CreateTimer(string name, Action callback)
    {
        var timer = new VmTimer(this, name, callback);
        _timers.Add(timer);
        return timer;
    }

    /// <summary>Told when a timer was armed that comes before all others: whoever runs the guest until the next deadline has to look again.</summary>
    public Action? EarlierDeadline { get; set; }

    /// <summary>All timers, for <c>info timers</c>.</summary>
    public IReadOnlyList<VmTimer> Timers => _timers;

    public void Start()
    {
        if (IsRunning) return;
        _offset = _source() - _stoppedAt;
        IsRunning = true;
    }

    public void Stop()
    {
        if (!IsRunning) return;
        _stoppedAt = Now;
        IsRunning = false;
    }

    /// <summary>Sets the time: a restore, before the clock starts.</summary>
    public void Set(long now)
    {
        if (IsRunning) throw new InvalidOperationException("the clock runs");
        _stoppedAt = now;
    }

    /// <summary>Runs the callbacks of all timers whose time has come, the earliest first. Timers armed meanwhile wait for the next call.</summary>
    /// <returns>False when it was nobody's time.</returns>
    public bool RunTimers()
    {
        if (!IsRunning) return false;
        var now = Now;
        if (_next > now) return false;

        // Each timer fires at most once a call, so a guest that arms one in the past cannot keep this loop going.
        for (var fired = 0; fired < _timers.Count; fired++)
        {
            VmTimer? due = null;
            foreach (var timer in _timers)
                if (timer.Deadline <= now && (due is null || timer.Deadline < due.Deadline)) due = timer;
            if (due is null) break;
            due.Deadline = VmTimer.Never;
            due.Callback();
        }

        FindNext();
        return true;
    }

    internal void Arm(VmTimer timer, long deadline)
    {
        var old = timer.Deadline;
        timer.Deadline = deadline;
        if (deadline < _next)
        {
            _next = deadline;
            EarlierDeadline?.Invoke();
        }
        else if (old == _next) FindNext();
    }

    private void FindNext()
    {
        _next = VmTimer.Never;
        foreach (var timer in _timers)
            if (timer.Deadline < _next) _next = timer.Deadline;
    }
}
