using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc;

/// <summary>
/// Decides when the guest's picture is looked at: only while a client waits for news, at most every <see cref="Fast"/>; when the source says that
/// something changed, where it does say so; else less and less often while nothing changes, and often again once somebody types.
/// </summary>
internal sealed class UpdatePacer
{
    private static readonly TimeSpan s_slow = TimeSpan.FromMilliseconds(500);

    private readonly SharedPicture _picture;
    private readonly TimeProvider _time;
    private readonly Func<IReadOnlyList<VncClient>> _clients;
    private readonly AsyncSignal _wake = new();
    private readonly Action<Exception> _failed;
    private readonly CancellationToken _stop;
    private TimeSpan _period = Fast;
    private long _lastLook;
    private bool _isOpen;
    private int _isRunning;
    private TaskCompletionSource? _asked;
    private volatile bool _isChanged, _isTyped;

    /// <param name="failed">Told of a mistake of ours, after which nothing is looked at any more.</param>
    public UpdatePacer(SharedPicture picture, TimeProvider time, Func<IReadOnlyList<VncClient>> clients, Action<Exception> failed, CancellationToken stop)
    {
        _picture = picture;
        _time = time;
        _clients = clients;
        _failed = failed;
        _stop = stop;
    }

    /// <summary>Between two looks while things change.</summary>
    public static TimeSpan Fast { get; } = TimeSpan.FromMilliseconds(30);

    /// <summary>Looks once, for one who is about to become a client and must be told a size.</summary>
    public async Task LookOnceAsync(CancellationToken stop)
    {
        var mine = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var look = Interlocked.CompareExchange(ref _asked, mine, null) ?? mine;
        Wake();
        await look.Task.WaitAsync(stop);
    }

    /// <summary>Clients came, went, or wait for news.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _isRunning, 1) == 0) _ = RunAsync();
        _wake.Set();
    }

    /// <summary>The source has something new.</summary>
    public void Changed()
    {
        _isChanged = true;
        _wake.Set();
    }

    /// <summary>A client sent a key or a movement.</summary>
    public void Typed()
    {
        if (_isTyped || _picture.IsTold || _period <= Fast) return;
        _isTyped = true;
        _wake.Set();
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
            {
                var wait = NextLook();
                if (wait <= TimeSpan.Zero && wait != Timeout.InfiniteTimeSpan) await LookAsync();
                else
                {
                    if (_isOpen && _clients().Count == 0) await CloseAsync();
                    await WaitAsync(wait);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The server ends.
        }
        catch (Exception e)
        {
            // Without it no client is served any more: that must not go unseen.
            _failed(e);
        }
    }

    private async Task WaitAsync(TimeSpan wait)
    {
        // A little more than a whole number of the timer's steps, so that the last one is not waited for twice.
        if (wait > TimeSpan.Zero) wait = TimeSpan.FromMilliseconds(Math.Ceiling(wait.TotalMilliseconds));
        await _wake.WaitAsync(wait, _stop);
    }

    /// <returns>How long to wait before the next look; forever when only a signal can make one needed.</returns>
    private TimeSpan NextLook()
    {
        if (Volatile.Read(ref _asked) is not null) return TimeSpan.Zero;
        var (isHungry, hasNews) = (false, false);
        foreach (var client in _clients())
        {
            if (!client.Output.IsHungry) continue;
            isHungry = true;
            hasNews |= client.Output.HasNews;
        }

        if (!isHungry) return Timeout.InfiniteTimeSpan;
        if (_isTyped) (_isTyped, _period) = (false, Fast);
        if (!_isOpen) return TimeSpan.Zero;
        if (!hasNews && !_isChanged && _picture.IsTold) return Timeout.InfiniteTimeSpan;
        var wait = (hasNews || _isChanged ? Fast : _period) - _time.GetElapsedTime(_lastLook);
        return wait > TimeSpan.Zero ? wait : TimeSpan.Zero;
    }

    private async Task LookAsync()
    {
        var asked = Interlocked.Exchange(ref _asked, null);
        _lastLook = _time.GetTimestamp();
        _isOpen = true;
        _isChanged = false;
        _picture.Period = (int)_period.TotalMilliseconds;
        await _picture.Gate.EnterWriteAsync();

        // A client begins behind the gate, so that it is here now or will see the picture as it is after this look.
        var clients = _clients();
        try
        {
            // One who cannot draw the pointer is enough to have it in the picture for all.
            var (takeCursor, takeMoves) = (true, false);
            foreach (var client in clients)
            {
                takeCursor &= client.Output.TakesCursor;
                takeMoves |= client.Output.TakesMoves;
            }

            (_picture.DrawsCursor, _picture.FindsMoves) = (!takeCursor, takeMoves);
            await _picture.UpdateAsync(_stop);
            foreach (var client in clients) client.Output.Take(_picture);
        }
        finally
        {
            _picture.Gate.ExitWrite();
        }

        asked?.SetResult();

        var slower = _period + (_period / 4);
        _period = !_picture.Fresh.IsEmpty ? Fast : slower < s_slow ? slower : s_slow;
        foreach (var client in clients)
            if (client.Output.IsHungry && client.Output.HasNews) client.Output.Go();
    }

    private async Task CloseAsync()
    {
        await _picture.CloseAsync(_stop);
        _isOpen = false;
        _period = Fast;
    }
}
