namespace XenDM.Core.Io;

/// <summary>
/// One request of a CPU, already copied out of wherever it came from: an ioreq slot of Xen, the embedded CPU, a qtest line.
/// Field meanings are those of Xen's <c>struct ioreq</c> (public/hvm/ioreq.h).
/// </summary>
public struct IoRequest
{
    public IoSpace Space;

    /// <summary>True for a guest read.</summary>
    public bool IsRead;

    /// <summary><see cref="Data"/> is the guest physical address of a buffer with <see cref="Count"/> items.</summary>
    public bool DataIsPointer;

    /// <summary>Addresses go down from item to item (x86 direction flag).</summary>
    public bool Descending;

    /// <summary>Bytes per item: 1, 2, 4 or 8. Checked by <see cref="IoDispatcher"/>.</summary>
    public uint Size;

    /// <summary>Items, at least 1.</summary>
    public uint Count;

    /// <summary>Port, guest physical address, or bus/device/function in 31:16 with the register in 15:0.</summary>
    public ulong Address;

    /// <summary>The value, or the address of the buffer.</summary>
    public ulong Data;
}
