using System;
using System.Collections.Generic;
using XenDM.Core.Memory;

namespace XenDM.Testing;

/// <summary>Guest RAM of a test: flat from 0 on, in a buffer that does not move.</summary>
public sealed class FakeMemory : IGuestMemory
{
    private readonly PinnedBuffer _bytes;

    /// <param name="length">Bytes of RAM from address 0 on.</param>
    public FakeMemory(int length) => _bytes = new PinnedBuffer(length);

    public Span<byte> Bytes => _bytes.Span;

    /// <summary>Pins that are held; a test ends with none.</summary>
    public int Pins { get; private set; }

    /// <summary>Address and length of every pin that was given back as written.</summary>
    public List<(ulong Address, int Length)> Written { get; } = [];

    public bool TryRead(ulong gpa, Span<byte> destination)
    {
        if (Fits(gpa, destination.Length))
        {
            Bytes.Slice((int)gpa, destination.Length).CopyTo(destination);
            return true;
        }

        for (var i = 0; i < destination.Length; i++) destination[i] = gpa + (ulong)i < (ulong)_bytes.Length ? Bytes[(int)gpa + i] : (byte)0xff;
        return false;
    }

    public bool TryWrite(ulong gpa, ReadOnlySpan<byte> source)
    {
        if (Fits(gpa, source.Length))
        {
            source.CopyTo(Bytes[(int)gpa..]);
            return true;
        }

        for (var i = 0; i < source.Length; i++)
            if (gpa + (ulong)i < (ulong)_bytes.Length) Bytes[(int)gpa + i] = source[i];
        return false;
    }

    public bool TryPin(ulong gpa, int length, bool forWrite, out MemoryPin pin)
    {
        pin = default;
        if (length <= 0 || gpa >= (ulong)_bytes.Length) return false;

        // Pins end at page boundaries, as scattered guest pages do, so that callers must loop.
        var room = (int)Math.Min((ulong)_bytes.Length - gpa, 4096 - (gpa & 4095));
        pin = new MemoryPin { Address = _bytes.Address + (nint)gpa, Length = Math.Min(length, room), GuestAddress = gpa, Token = 1 };
        Pins++;
        return true;
    }

    public void Unpin(in MemoryPin pin, bool written)
    {
        if (pin.Token != 1) throw new InvalidOperationException("not a pin of this memory");
        Pins--;
        if (written) Written.Add((pin.GuestAddress, pin.Length));
    }

    private bool Fits(ulong gpa, int length) => gpa <= (ulong)_bytes.Length && (ulong)length <= (ulong)_bytes.Length - gpa;
}
