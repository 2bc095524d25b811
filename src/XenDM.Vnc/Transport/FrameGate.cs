using System.Collections.Generic;
using System.Threading.Tasks;

namespace XenDM.Vnc.Transport;

/// <summary>Lets many read the server's frame, or the one writer change it. Nobody blocks a thread; the writer goes before readers that come later.</summary>
internal sealed class FrameGate
{
    private readonly object _lock = new();
    private readonly List<TaskCompletionSource> _waiting = [];
    private TaskCompletionSource? _writer;
    private int _readers;
    private bool _isWriting;

    public Task EnterReadAsync()
    {
        lock (_lock)
        {
            if (!_isWriting && _writer is null)
            {
                _readers++;
                return Task.CompletedTask;
            }

            var turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add(turn);
            return turn.Task;
        }
    }

    public void ExitRead()
    {
        TaskCompletionSource? next;
        lock (_lock)
        {
            if (--_readers > 0 || _writer is null) return;
            (next, _writer, _isWriting) = (_writer, null, true);
        }

        next.SetResult();
    }

    /// <summary>There is one writer only.</summary>
    public Task EnterWriteAsync()
    {
        lock (_lock)
        {
            if (_readers == 0)
            {
                _isWriting = true;
                return Task.CompletedTask;
            }

            _writer = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _writer.Task;
        }
    }

    public void ExitWrite()
    {
        TaskCompletionSource[] next;
        lock (_lock)
        {
            _isWriting = false;
            next = [.. _waiting];
            _readers += next.Length;
            _waiting.Clear();
        }

        foreach (var turn in next) turn.SetResult();
    }
}
