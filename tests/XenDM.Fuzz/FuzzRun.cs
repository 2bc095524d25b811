using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;

namespace XenDM.Fuzz;

/// <summary>
/// One run: a board with disks, a CD, serial ports and fw_cfg, and random accesses of all widths to all that it claims, steps of time, DMA
/// tables in RAM, media changes, unplugs, resets and save and restore in between. What may not happen: an exception, a step that takes long,
/// memory or log that grows without bound.
/// </summary>
internal static class FuzzRun
{
    /// <summary>The longest that one access may take; a chip that loops over what a guest gave it shows here.</summary>
    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(2);

    /// <returns>False when something went wrong; it is printed with the steps before it.</returns>
    public static bool Run(int seed, long steps)
    {
        var watch = Stopwatch.StartNew();
        var machine = new FuzzMachine(seed);
        var last = new Queue<string>();
        var startBytes = 0L;
        var clock = new StepClock(s_slow);
        for (long step = 0; step < steps; step++)
        {
            if (step == steps / 2) startBytes = GC.GetTotalMemory(forceFullCollection: true);
            var what = machine.Choose();
            last.Enqueue(what.ToString());
            if (last.Count > 40) last.Dequeue();
            try
            {
                machine.Do(what);
            }
            catch (Exception e)
            {
                return Fail(seed, step, last, e.ToString());
            }

            if (clock.Next() is { } slow) return Fail(seed, step, last, slow);
        }

        var grown = GC.GetTotalMemory(forceFullCollection: true) - startBytes;
        if (grown > 8 << 20) return Fail(seed, steps, last, $"memory grew by {grown} bytes in the second half");
        if (machine.Board.Ram.Pins > machine.Disks.Sum(static d => d.InFlight) * 257) return Fail(seed, steps, last, $"{machine.Board.Ram.Pins} pages are still pinned");
        Console.WriteLine($"seed {seed}: {steps} steps in {watch.Elapsed.TotalSeconds:0.0} s, {machine.Requests} disk requests, {machine.Frames} frames sent, {machine.Saves} saves, slowest {clock.Slowest.TotalMilliseconds:0} ms, state {machine.Hash():x16}");
        return true;
    }

    private static bool Fail(int seed, long step, IEnumerable<string> last, string why)
    {
        foreach (var line in last) Console.WriteLine("  " + line);
        Console.WriteLine($"FAILED seed {seed} step {step}: {why}");
        return false;
    }
}
