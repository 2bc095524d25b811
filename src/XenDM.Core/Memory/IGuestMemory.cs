using System;

namespace XenDM.Core.Memory;

/// <summary>
/// A stretch of guest RAM that is mapped in this process until it is released: what block I/O reads into and writes from without a
/// bounce copy. The address is for the kernel's scatter lists; chips never look through it.
/// </summary>
public struct MemoryPin
{
    /// <summary>Host address, or 0 when nothing is pinned.</summary>
    public nint Address;

    /// <summary>Bytes.</summary>
    public int Length;

    /// <summary>For the implementation: which mapping is held.</summary>
    public int Token;

    /// <summary>Guest physical address of the first byte.</summary>
    public ulong GuestAddress;
}

/// <summary>
/// The RAM of the guest, by guest physical address. Used from the machine thread only; pins may be read and written by other threads
/// until they are released.
/// </summary>
public interface IGuestMemory
{
    /// <summary>Copies guest RAM out. Bytes where there is no RAM read ff.</summary>
    /// <returns>False when any byte was not RAM.</returns>
    bool TryRead(ulong gpa, Span<byte> destination);

    /// <summary>Copies into guest RAM. Bytes where there is no RAM, or only ROM, are dropped.</summary>
    /// <returns>False when any byte was not writable RAM.</returns>
    bool TryWrite(ulong gpa, ReadOnlySpan<byte> source);

    /// <summary>
    /// Pins RAM from <paramref name="gpa"/> on: as much as is contiguous in this process, at least one byte and at most
    /// <paramref name="length"/>. The caller asks again for the rest.
    /// </summary>
    /// <param name="forWrite">The pin will be written (a device reads from a disk into it).</param>
    /// <returns>False when the first byte is not RAM, or too much is pinned already.</returns>
    bool TryPin(ulong gpa, int length, bool forWrite, out MemoryPin pin);

    /// <summary>Gives a pin back.</summary>
    /// <param name="written">The bytes were changed: they are reported while dirty pages are logged.</param>
    void Unpin(in MemoryPin pin, bool written);
}
