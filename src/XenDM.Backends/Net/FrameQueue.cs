using System;
using System.Buffers.Binary;

namespace XenDM.Backends.Net;

/// <summary>Frames that wait, up to a limit. Nothing is allocated for a frame.</summary>
internal sealed class FrameQueue
{
    private const int LengthBytes = sizeof(int);
    private readonly ByteQueue _bytes = new();
    private readonly int _limit;

    /// <param name="limit">Most bytes that wait.</param>
    public FrameQueue(int limit) => _limit = limit;

    public bool IsEmpty => _bytes.Count == 0;

    /// <summary>Bytes that wait, with 4 for each frame.</summary>
    public int Count => _bytes.Count;

    /// <returns>False: there is no room for it.</returns>
    public bool TryAdd(ReadOnlySpan<byte> frame)
    {
        if (Count + LengthBytes + frame.Length > _limit) return false;
        Span<byte> length = stackalloc byte[LengthBytes];
        BinaryPrimitives.WriteInt32LittleEndian(length, frame.Length);
        _bytes.Add(length);
        _bytes.Add(frame);
        return true;
    }

    /// <summary>The oldest frame; stays until <see cref="Remove"/>.</summary>
    public ReadOnlySpan<byte> Peek() => _bytes.Waiting.Slice(LengthBytes, BinaryPrimitives.ReadInt32LittleEndian(_bytes.Waiting));

    /// <summary>Goes through the frames, the oldest first.</summary>
    /// <param name="at">0 for the first, and then as it was left.</param>
    /// <returns>False: there is no more.</returns>
    public bool TryPeek(ref int at, out ReadOnlySpan<byte> frame)
    {
        var rest = _bytes.Waiting[at..];
        frame = rest.IsEmpty ? default : rest.Slice(LengthBytes, BinaryPrimitives.ReadInt32LittleEndian(rest));
        if (rest.IsEmpty) return false;
        at += LengthBytes + frame.Length;
        return true;
    }

    /// <summary>Takes the oldest frame away.</summary>
    public void Remove() => _bytes.Remove(LengthBytes + Peek().Length);

    public void Clear() => _bytes.Clear();
}
