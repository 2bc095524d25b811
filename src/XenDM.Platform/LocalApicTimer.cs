using System;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// The timer of a local APIC (Intel SDM volume 3, 11.5.4): one-shot and periodic on the 1 GHz bus clock, or a TSC deadline. The count is
/// computed from guest time; a host timer runs only while an interrupt can come of it.
/// </summary>
internal sealed class LocalApicTimer : IStateful
{
    private const int ModeOneShot = 0;
    private const int ModePeriodic = 1;
    private const int ModeDeadline = 2;
    private const uint LvtMasked = 1 << 16;

    /// <summary>A guest that asks for periods below this gets them thinned out, on the same grid: at most one interrupt in a microsecond.</summary>
    private const long MinPeriod = 1000;

    private readonly IVmClock _clock;
    private readonly Func<ulong, long> _timeOfTsc;
    private readonly Action _expired;
    private readonly VmTimer _timer;
    private uint _lvt;
    private uint _initial;
    private uint _divide;

    /// <summary>The count at <see cref="_base"/>; below the initial count after the divisor was changed.</summary>
    private uint _count;
    private long _base;
    private ulong _deadline;

    /// <param name="expired">Raises the LVT's vector.</param>
    /// <param name="timeOfTsc">Guest time in ns at which this vCPU's TSC reaches a value; may lie in the past.</param>
    public LocalApicTimer(string name, IVmClock clock, Func<ulong, long> timeOfTsc, Action expired)
    {
        _clock = clock;
        _timeOfTsc = timeOfTsc;
        _expired = expired;
        _timer = clock.CreateTimer(name, Fire);
    }

    private int Mode => (int)(_lvt >> 17) & 3;

    private bool IsMasked => (_lvt & LvtMasked) != 0;

    /// <summary>Nanoseconds of a tick: 2, 4, 8, ... 128 for codes 0 to 6, and 1 for 7; the code is in bits 3, 1 and 0.</summary>
    private long TickLength => 1L << (((int)((_divide & 3) | ((_divide >> 1) & 4)) + 1) & 7);

    public uint Initial => _initial;

    public uint Divide => _divide;

    /// <summary>The current count register.</summary>
    public uint Current
    {
        get
        {
            if (_count == 0 || Mode == ModeDeadline) return 0;
            var ticks = (_clock.Now - _base) / TickLength;
            if (ticks < _count) return (uint)(_count - ticks);
            return Mode == ModePeriodic ? (uint)(_initial - ((ticks - _count) % _initial)) : 0;
        }
    }

    /// <summary>IA32_TSC_DEADLINE: 0 when it has passed, is not set, or the mode is another.</summary>
    public ulong Deadline => Mode == ModeDeadline ? _deadline : 0;

    /// <summary>
    /// The LVT entry was written. A change into or out of the deadline mode stops the timer; one between the others leaves the count where it is, so
    /// that a one-shot timer that has run out stays at 0.
    /// </summary>
    public void SetLvt(uint value)
    {
        var changed = value ^ _lvt;
        var count = Current;
        _lvt = value;
        if ((changed & (ModeDeadline << 17)) != 0)
        {
            _initial = _count = 0;
            _deadline = 0;
        }
        else if ((changed & (ModePeriodic << 17)) != 0)
        {
            _count = count;
            _base = _clock.Now;
        }

        Arm();
    }

    public void WriteInitial(uint value)
    {
        if (Mode == ModeDeadline) return;
        _initial = _count = value;
        _base = _clock.Now;
        Arm();
    }

    public void WriteDivide(uint value)
    {
        var count = Current;
        _divide = value & 0xb;
        if (_initial == 0) return;
        _count = count;
        _base = _clock.Now;
        Arm();
    }

    public void WriteDeadline(ulong value)
    {
        if (Mode != ModeDeadline) return;
        _deadline = value;
        Arm();
    }

    /// <summary>The relation of TSC and guest time changed.</summary>
    public void Rearm() => Arm();

    private void Arm()
    {
        var now = _clock.Now;
        switch (Mode)
        {
            case ModeDeadline when _deadline != 0:
                var deadline = _timeOfTsc(_deadline);
                if (deadline > now)
                {
                    _timer.Arm(deadline);
                    return;
                }

                _timer.Cancel();
                Fire();
                return;
            case ModeOneShot when _count != 0 && !IsMasked:
                var end = _base + (_count * TickLength);
                if (end <= now) break;
                _timer.Arm(end);
                return;
            case ModePeriodic when _count != 0 && !IsMasked:
                _timer.Arm(NextPeriod(now));
                return;
        }

        _timer.Cancel();
    }

    /// <summary>The first end of a period after now, counted from the start, so that lateness never adds up.</summary>
    private long NextPeriod(long now)
    {
        var first = _base + (_count * TickLength);
        if (now < first) return first;
        var period = _initial * TickLength;
        if (period < MinPeriod) period *= (MinPeriod + period - 1) / period;
        return first + ((((now - first) / period) + 1) * period);
    }

    private void Fire()
    {
        if (Mode == ModeDeadline) _deadline = 0;
        else if (Mode == ModePeriodic) _timer.Arm(NextPeriod(_clock.Now));
        if (!IsMasked) _expired();
    }

    public void Reset()
    {
        _lvt = LvtMasked;
        _initial = _count = 0;
        _divide = 0;
        _base = 0;
        _deadline = 0;
        _timer.Cancel();
    }

    public void State(StateVisitor s)
    {
        s.U32("LVT", ref _lvt);
        s.U32("TMICT", ref _initial);
        s.U32("TDCR", ref _divide);
        s.U32("count", ref _count);
        s.I64("base", ref _base);
        s.U64("deadline", ref _deadline);
        s.Timer(_timer);
    }
}
