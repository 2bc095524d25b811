using System;

namespace XenDM.Backends.Net;

/// <summary>Bytes that wait, in one piece of memory that grows as needed; who adds has a limit.</summary>
internal sealed class ByteQueue
{
    private const int First = 64 << 10;
    private byte[] _bytes = [];
    private int _start;
    private int _end;

    public int Count => _end - _start;

    /// <summary>All that waits, the oldest first; valid until the next call.</summary>
    public ReadOnlySpan<byte> Waiting => _bytes.AsSpan(_start, Count);

    public void Add(ReadOnlySpan<byte> bytes)
    {
        if (_end + bytes.Length > _bytes.Length) MakeRoom(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_end));
        _end += bytes.Length;
    }

    /// <summary>Takes the oldest away.</summary>
    public void Remove(int count)
    {
        _start += count;
        if (_start == _end) Clear();
    }

    public void Clear() => (_start, _end) = (0, 0);

    /// <summary>Moves what waits to the front, into a larger piece where half of it would still be full.</summary>
    private void MakeRoom(int needed)
    {
        var bytes = _bytes;
        if ((Count + needed) * 2 > bytes.Length) bytes = new byte[Math.Max(First, (Count + needed) * 2)];
        Waiting.CopyTo(bytes);
        (_start, _end, _bytes) = (0, Count, bytes);
    }
}
