using System;
using System.Diagnostics.CodeAnalysis;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Vnc.Transport;

/// <summary>Wakes one task that waits, or that will wait; setting it twice is setting it once. The waiter looks at all it cares about when it wakes.</summary>
[SuppressMessage("Design", "CA1001", Justification = "a semaphore without a wait handle holds nothing")]
internal sealed class AsyncSignal
{
    private readonly SemaphoreSlim _semaphore = new(0);
    private int _isSet;

    public void Set()
    {
        if (Interlocked.Exchange(ref _isSet, 1) == 0) _semaphore.Release();
    }

    /// <param name="timeout">Longest wait; <see cref="Timeout.InfiniteTimeSpan"/> for none.</param>
    public async Task WaitAsync(TimeSpan timeout, CancellationToken stop)
    {
        // The flag falls before the waiter looks at anything, so that what is set from here on wakes it again.
        if (await _semaphore.WaitAsync(timeout, stop)) Interlocked.Exchange(ref _isSet, 0);
    }
}
