using System;

namespace XenDM.Platform;

/// <summary>
/// Exact conversion between guest nanoseconds and the ticks of a crystal, in 64-bit arithmetic. Tick n begins at <c>Time(n)</c>, so that a
/// deadline computed from a tick never drifts and never fires a tick early.
/// </summary>
internal readonly struct Frequency
{
    private const long Second = 1_000_000_000;
    private readonly long _hertz;

    /// <param name="hertz">1 to 9e9.</param>
    public Frequency(long hertz) => _hertz = hertz;

    /// <summary>Whole ticks since time 0.</summary>
    /// <param name="nanoseconds">At least 0.</param>
    public long Ticks(long nanoseconds)
    {
        var seconds = nanoseconds / Second;
        return (seconds * _hertz) + ((nanoseconds - (seconds * Second)) * _hertz / Second);
    }

    /// <summary>The first nanosecond of a tick.</summary>
    /// <param name="ticks">At least 0.</param>
    public long Time(long ticks)
    {
        var (seconds, rest) = Math.DivRem(ticks, _hertz);
        return (seconds * Second) + (((rest * Second) + _hertz - 1) / _hertz);
    }
}
