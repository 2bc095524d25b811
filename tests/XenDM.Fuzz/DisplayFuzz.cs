using System;
using System.Collections.Generic;
using System.Diagnostics;

namespace XenDM.Fuzz;

/// <summary>
/// One run at a display adapter: modes with anything wrong in them, registers, memory, blits, cursors, looks at the screen, save and restore. What
/// may not happen, besides what <see cref="DisplayMachine"/> checks: an exception, a step that takes long, memory that grows without bound.
/// </summary>
internal static class DisplayFuzz
{
    /// <summary>The largest picture, drawn twice and compared on a slow machine, is done by then.</summary>
    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(15);

    /// <returns>False when something went wrong; it is printed with the steps before it.</returns>
    public static bool Run(int seed, long steps, string adapter)
    {
        var watch = Stopwatch.StartNew();
        var machine = new DisplayMachine(seed, adapter);
        var last = new Queue<DisplayStep>();
        var startBytes = 0L;
        var clock = new StepClock(s_slow);
        for (long step = 0; step < steps; step++)
        {
            if (step == steps / 2) startBytes = GC.GetTotalMemory(forceFullCollection: true);
            var what = machine.Choose();
            last.Enqueue(what);
            if (last.Count > 40) last.Dequeue();
            try
            {
                machine.Do(what);
            }
            catch (Exception e)
            {
                return Fail(seed, step, adapter, last, e.ToString());
            }

            if (clock.Next() is { } slow) return Fail(seed, step, adapter, last, slow);
        }

        // Frames grow to the largest picture; the hub's, and two of the checks.
        var grown = GC.GetTotalMemory(forceFullCollection: true) - startBytes;
        if (grown > 800L << 20) return Fail(seed, steps, adapter, last, $"memory grew by {grown} bytes in the second half");
        Console.WriteLine($"seed {seed}: {steps} steps at {adapter} in {watch.Elapsed.TotalSeconds:0.0} s, {machine.Looks} looks, {machine.Changes} pixels changed, {machine.Blits} blits, {machine.Saves} saves, slowest {clock.Slowest.TotalMilliseconds:0} ms, state {machine.Hash():x16}");
        return true;
    }

    private static bool Fail(int seed, long step, string adapter, IEnumerable<DisplayStep> last, string why)
    {
        foreach (var line in last) Console.WriteLine($"  {line}");
        Console.WriteLine($"FAILED {adapter} seed {seed} step {step}: {why}");
        return false;
    }
}
