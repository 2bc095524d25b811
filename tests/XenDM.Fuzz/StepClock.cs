using System;

namespace XenDM.Fuzz;

/// <summary>
/// How long a step took, in time that this process ran (all its threads): on a loaded host a step may wait for a CPU for many seconds, and that
/// says nothing of it. A step that waits for something for ever is ended by whoever runs the fuzz runner.
/// </summary>
internal sealed class StepClock(TimeSpan limit)
{
    private TimeSpan _began = Environment.CpuUsage.TotalTime;

    /// <summary>The longest step so far.</summary>
    public TimeSpan Slowest { get; private set; }

    /// <summary>A step ends, and the next one begins.</summary>
    /// <returns>Null, or what is wrong with its length.</returns>
    public string? Next()
    {
        var now = Environment.CpuUsage.TotalTime;
        var took = now - _began;
        _began = now;
        if (took > Slowest) Slowest = took;
        return took > limit ? $"took {took.TotalSeconds:0.0} s of CPU time" : null;
    }
}
