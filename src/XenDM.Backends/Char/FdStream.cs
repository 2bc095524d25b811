using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>
/// Bytes over one non-blocking descriptor on the event loop: reads while the front end has room, writes what the kernel takes, and watches for
/// no more than is needed, so that neither a full front end nor a silent peer makes the loop turn.
/// </summary>
internal sealed class FdStream : IDisposable
{
    private const int ReadBytes = 4096;

    /// <summary>Descriptors that wait for a command to take them; more are closed.</summary>
    private const int MaxFds = 16;
    private readonly FileDescriptor _input;
    private readonly FileDescriptor _output;
    private readonly IFdWatch? _inputWatch;
    private readonly IFdWatch? _outputWatch;
    private readonly ICharFrontend _frontend;
    private readonly Action _closed;
    private readonly byte[] _buffer = new byte[ReadBytes];
    private readonly int[] _fdBuffer = new int[MaxFds];
    private readonly bool _isSocket;
    private bool _disposed;

    /// <param name="input">Read from; null for a stream that is only written. Owned.</param>
    /// <param name="output">Written to; may be the same object. Owned.</param>
    /// <param name="closed">Called once when the other end is gone; the caller disposes.</param>
    public FdStream(IEventLoop loop, FileDescriptor? input, FileDescriptor output, bool isSocket, ICharFrontend frontend, Action closed)
    {
        _input = input ?? output;
        _output = output;
        _isSocket = isSocket;
        _frontend = frontend;
        _closed = closed;
        Posix.SetNonBlocking(_output.Fd, true);
        if (input is not null)
        {
            Posix.SetNonBlocking(input.Fd, true);
            _inputWatch = loop.Watch(input.Fd, FdEvents.Readable, Ready);
        }

        if (input != output) _outputWatch = loop.Watch(output.Fd, FdEvents.None, Ready);
    }

    /// <summary>The descriptor that is written to.</summary>
    public int Fd => _output.Fd;

    /// <summary>Descriptors that came with the data (SCM_RIGHTS), oldest first.</summary>
    public Queue<int> ReceivedFds { get; } = new();

    /// <summary>Called when the kernel takes bytes again, before the front end is told.</summary>
    public Action? HasRoom { get; init; }

    /// <summary>Writes what the kernel takes now.</summary>
    /// <returns>Bytes taken; all of them once the other end is gone.</returns>
    public int Write(ReadOnlySpan<byte> data)
    {
        var done = 0;
        while (done < data.Length && !_disposed)
        {
            var result = _isSocket ? Posix.Send(_output.Fd, data[done..]) : Posix.Write(_output.Fd, data[done..]);
            if (result > 0)
            {
                done += (int)result;
                continue;
            }

            if (result == -Errno.EAGAIN)
            {
                WaitForRoom(true);
                return done;
            }

            // The reader is gone; the input side finds that out and ends the stream in its own turn.
            return data.Length;
        }

        return data.Length;
    }

    /// <summary>The front end has room again.</summary>
    public void AcceptInput()
    {
        if (_inputWatch is not null && !_disposed) _inputWatch.Events |= FdEvents.Readable;
    }

    /// <summary>Stops looking at the input: it has ended.</summary>
    public void StopReading()
    {
        if (_inputWatch is not null && !_disposed) _inputWatch.Events = FdEvents.None;
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _inputWatch?.Dispose();
        _outputWatch?.Dispose();
        while (ReceivedFds.TryDequeue(out var fd)) Posix.Close(fd);
        _input.Dispose();
        _output.Dispose();
    }

    private void Ready(FdEvents events)
    {
        if ((events & FdEvents.Writable) != 0)
        {
            WaitForRoom(false);
            HasRoom?.Invoke();
            _frontend.WriteReady();
        }

        if (!_disposed && _inputWatch is not null && (events & (FdEvents.Readable | FdEvents.Hangup)) != 0) ReadOnce();
        else if (!_disposed && (events & FdEvents.Hangup) != 0) _closed();
    }

    private void ReadOnce()
    {
        var room = Math.Min(_frontend.ReceiveRoom, ReadBytes);
        if (room <= 0)
        {
            _inputWatch!.Events &= ~FdEvents.Readable;
            return;
        }

        var data = _buffer.AsSpan(0, room);
        var fdCount = 0;
        var result = _isSocket ? Posix.Receive(_input.Fd, data, _fdBuffer, out fdCount) : Posix.Read(_input.Fd, data);
        for (var i = 0; i < fdCount; i++)
        {
            if (ReceivedFds.Count < MaxFds) ReceivedFds.Enqueue(_fdBuffer[i]);
            else Posix.Close(_fdBuffer[i]);
        }

        if (result > 0) _frontend.Receive(data[..(int)result]);
        else if (result != -Errno.EAGAIN) _closed();
    }

    private void WaitForRoom(bool on)
    {
        var watch = _outputWatch ?? _inputWatch;
        if (watch is null) return;
        watch.Events = on ? watch.Events | FdEvents.Writable : watch.Events & ~FdEvents.Writable;
    }
}
