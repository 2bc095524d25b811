using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;

namespace XenDM.Backends.Block;

/// <summary>
/// The threads that wait for the disks, shared by all images of the process. They are made when work comes and end when none has come for a
/// while, so that an idle guest costs none. Work is taken in the order that it came.
/// </summary>
internal sealed class BlockWorkers
{
    private const int MaxThreads = 4;
    private const int StackBytes = 128 * 1024;
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(10);

    private readonly object _lock = new();
    private readonly Queue<Job> _jobs = new();
    private int _threads;
    private int _idle;

    /// <param name="Image">Runs the request.</param>
    internal readonly record struct Job(RawImage Image, BlockRequest Request);

    public static BlockWorkers Shared { get; } = new();

    public void Run(Job job)
    {
        lock (_lock)
        {
            _jobs.Enqueue(job);
            if (_jobs.Count <= _idle || _threads == MaxThreads)
            {
                Monitor.Pulse(_lock);
                return;
            }

            _threads++;
        }

        new Thread(Work, StackBytes) { IsBackground = true, Name = "block" }.Start();
    }

    private void Work()
    {
        while (TryTake(out var job)) job.Image.Execute(job.Request);
    }

    /// <returns>False when no work came for a while: the thread ends.</returns>
    private bool TryTake(out Job job)
    {
        lock (_lock)
        {
            _idle++;
            while (_jobs.Count == 0)
            {
                if (Monitor.Wait(_lock, s_idle) || _jobs.Count > 0) continue;
                _idle--;
                _threads--;
                job = default;
                return false;
            }

            _idle--;
            job = _jobs.Dequeue();
            return true;
        }
    }
}
