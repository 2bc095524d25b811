using System;
using XenDM.Core.Backends;

namespace XenDM.PvBackends.Net;

/// <summary>
/// Frames that wait for room in one of several queues, so that the others go on. It ends where a NIC's own memory would; what comes then is lost, as
/// on a wire. Nothing is allocated after the start.
/// </summary>
internal sealed class FrameBacklog
{
    private const int Bytes = 256 * 1024;
    private const int MaxFrames = 512;

    private readonly byte[] _bytes = new byte[Bytes];
    private readonly Entry[] _entries = new Entry[MaxFrames];
    private int _first;
    private int _count;

    public bool IsEmpty => _count == 0;

    private struct Entry
    {
        public NetFrame Frame;
        public NetHash Hash;
        public int Start, Length;
    }

    /// <summary>Keeps a copy, behind those that wait.</summary>
    /// <returns>False: there is no room for it.</returns>
    public bool TryAdd(in NetFrame frame, ReadOnlySpan<byte> bytes, in NetHash hash)
    {
        if (_count == MaxFrames || FindRoom(bytes.Length) is not (>= 0 and var start)) return false;
        bytes.CopyTo(_bytes.AsSpan(start));
        _entries[(_first + _count++) % MaxFrames] = new Entry { Frame = frame, Hash = hash, Start = start, Length = bytes.Length };
        return true;
    }

    /// <summary>The one that has waited longest; there is one.</summary>
    public ReadOnlySpan<byte> Peek(out NetFrame frame, out NetHash hash)
    {
        ref readonly var entry = ref _entries[_first];
        (frame, hash) = (entry.Frame, entry.Hash);
        return _bytes.AsSpan(entry.Start, entry.Length);
    }

    /// <summary>Forgets the one that <see cref="Peek"/> gives.</summary>
    public void Drop()
    {
        _first = (_first + 1) % MaxFrames;
        _count--;
    }

    /// <summary>Frames lie one behind the other, and from the start again where the end is too near.</summary>
    /// <returns>Negative for none.</returns>
    private int FindRoom(int length)
    {
        if (_count == 0) return length <= Bytes ? 0 : -1;
        var begin = _entries[_first].Start;
        ref readonly var last = ref _entries[(_first + _count - 1) % MaxFrames];
        var end = last.Start + last.Length;
        if (last.Start < begin) return length <= begin - end ? end : -1;
        if (length <= Bytes - end) return end;
        return length <= begin ? 0 : -1;
    }
}
