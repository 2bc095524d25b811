using System;

namespace XenDM.Hypervisor.Xen;

/// <summary>
/// How long the machine thread looks at the shared page for the next request before it goes to sleep. Sleeping and waking up cost several system
/// calls and a scheduler's round in dom0, far more than a register access does, and a driver that programs a chip makes many accesses in a row. The
/// window grows while requests follow each other closely and closes as soon as they do not, so a guest at rest costs nothing. What is close depends
/// on the host: a number of system calls. Where the guest can only run once this thread sleeps (both on one physical CPU), waiting never helps, and
/// after some tries it is given up for a while.
/// </summary>
public sealed class SpinWindow
{
    private const int CloseInCalls = 50;
    private const long LongestLeast = 50_000;
    private const long LongestMost = 2_000_000;
    private const long Shortest = 10_000;
    private const int TriesInVain = 10;
    private const int ShortestRest = 100;
    private const int LongestRest = 10_000;
    private int _inVain;
    private int _rest;
    private int _nextRest = ShortestRest;
    private long _answered = long.MinValue / 2;
    private long _call = long.MaxValue / CloseInCalls;

    /// <summary>Nanoseconds to wait for the next request; 0 to sleep at once.</summary>
    public long Length { get; private set; }

    /// <summary>Requests that are further apart than this (nanoseconds) are not waited for.</summary>
    public long Longest { get; private set; } = LongestLeast;

    /// <summary>A system call took this long; the quickest one counts, for the others were interrupted.</summary>
    public void Measured(long call)
    {
        if (call >= _call || call <= 0) return;
        _call = call;
        Longest = Math.Clamp(call * CloseInCalls, LongestLeast, LongestMost);
    }

    /// <summary>A request woke the thread although the window had closed.</summary>
    public void Woken(long now)
    {
        if (_rest > 0) _rest--;
        else if (now - _answered <= Longest) Length = Math.Clamp(Length * 2, Shortest, Longest);
        else Length = Length / 2 < Shortest ? 0 : Length / 2;
    }

    /// <summary>The wait is over.</summary>
    /// <param name="answered">When the last answer went out.</param>
    /// <param name="found">Requests that came while waiting.</param>
    public void Ended(long answered, int found)
    {
        _answered = answered;
        if (found > 0)
        {
            _inVain = 0;
            _nextRest = ShortestRest;
        }
        else if (Length > 0 && ++_inVain == TriesInVain)
        {
            _inVain = 0;
            Length = 0;
            _rest = _nextRest;
            _nextRest = Math.Min(_nextRest * 2, LongestRest);
        }
    }
}
