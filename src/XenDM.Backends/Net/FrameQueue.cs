using System;
using System.Buffers.Binary;

namespace XenDM.Backends.Net;

/// <summary>Frames that wait, in one piece of memory that grows up to a limit. Nothing is allocated for a frame.</summary>
internal sealed class FrameQueue
{
    private const int First = 64 << 10;
    private const int LengthBytes = sizeof(int);
    private readonly int _limit;
    private byte[] _bytes = [];
    private int _start;
    private int _end;

    /// <param name="limit">Most bytes that wait.</param>
    public FrameQueue(int limit) => _limit = limit;

    public bool IsEmpty => _start == _end;

    /// <summary>Bytes that wait, with 4 for each frame.</summary>
    public int Count => _end - _start;

    /// <returns>False: there is no room for it.</returns>
    public bool TryAdd(ReadOnlySpan<byte> frame)
    {
        var needed = LengthBytes + frame.Length;
        if (Count + needed > _limit) return false;
        if (_end + needed > _bytes.Length) MakeRoom(needed);
        BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_end), frame.Length);
        frame.CopyTo(_bytes.AsSpan(_end + LengthBytes));
        _end += needed;
        return true;
    }

    /// <summary>The oldest frame; stays until <see cref="Remove"/>.</summary>
    public ReadOnlySpan<byte> Peek() => _bytes.AsSpan(_start + LengthBytes, BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(_start)));

    /// <summary>Takes the oldest frame away.</summary>
    public void Remove()
    {
        _start += LengthBytes + BinaryPrimitives.ReadInt32LittleEndian(_bytes.AsSpan(_start));
        if (_start == _end) (_start, _end) = (0, 0);
    }

    public void Clear() => (_start, _end) = (0, 0);

    /// <summary>Moves what waits to the front, into a larger piece where half of it would still be full.</summary>
    private void MakeRoom(int needed)
    {
        var bytes = _bytes;
        if ((Count + needed) * 2 > bytes.Length) bytes = new byte[Math.Max(First, (Count + needed) * 2)];
        _bytes.AsSpan(_start, Count).CopyTo(bytes);
        (_start, _end, _bytes) = (0, Count, bytes);
    }
}
