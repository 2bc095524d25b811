using System;

namespace XenDM.Testing;

/// <summary>
/// Memory that a thread takes, for tests in which it may take none. On a busy host a thread's count grows by up to 8 KiB now and then, at no certain
/// place: what the work takes shows in every run of it, so the least of many short runs counts. A run has to do all that is tested.
/// </summary>
public static class Allocations
{
    private const int MaxRuns = 100;

    /// <summary>Bytes that the work takes at least, each time that it runs; the first times warm it up.</summary>
    /// <param name="taken">What the thread has taken so far, where it is not the caller's.</param>
    public static long Of(Action work, Func<long>? taken = null)
    {
        taken ??= GC.GetAllocatedBytesForCurrentThread;
        var least = long.MaxValue;
        for (var run = 0; run < MaxRuns && least > 0; run++)
        {
            var before = taken();
            work();
            least = Math.Min(least, taken() - before);
        }

        return least;
    }
}
