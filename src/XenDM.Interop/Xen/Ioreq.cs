using System.Runtime.InteropServices;

namespace XenDM.Interop.Xen;

/// <summary><c>struct ioreq</c>: one synchronous request; the shared page is an array of them by vCPU.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
public struct Ioreq
{
    private const byte StateMask = 0x0f;

    /// <summary>Port, guest physical address, or for PCI configuration bus/device/function in the upper and the register in the lower dword.</summary>
    [FieldOffset(0)] public ulong Address;

    /// <summary>The value, or the guest physical address of the buffer.</summary>
    [FieldOffset(8)] public ulong Data;

    [FieldOffset(16)] public uint Count;

    /// <summary>Bytes of one item.</summary>
    [FieldOffset(20)] public uint Size;

    /// <summary>Event channel of the vCPU, in the guest's numbering.</summary>
    [FieldOffset(24)] public uint EventPort;

    /// <summary>State in 3:0, data_is_ptr 4, dir 5 (1 = read), df 6.</summary>
    [FieldOffset(30)] public byte Bits;

    [FieldOffset(31)] public IoreqType Type;

    public IoreqState State
    {
        readonly get => (IoreqState)(Bits & StateMask);
        set => Bits = (byte)((Bits & ~StateMask) | (int)value);
    }

    public readonly bool DataIsPointer => (Bits & 0x10) != 0;

    public readonly bool IsRead => (Bits & 0x20) != 0;

    public readonly bool Descending => (Bits & 0x40) != 0;
}

/// <summary><c>struct buf_ioreq</c>: one slot of the ring of writes that nobody waits for.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8)]
public struct BufferedIoreq
{
    /// <summary>Type in 7:0, dir 9 (1 = read), log2 of the size in 11:10, address in 31:12.</summary>
    [FieldOffset(0)] public uint Header;

    /// <summary>The value; of 8 bytes the low half, and the next slot has the high half.</summary>
    [FieldOffset(4)] public uint Data;

    public readonly IoreqType Type => (IoreqType)(byte)Header;

    public readonly bool IsRead => (Header & 0x200) != 0;

    /// <summary>1, 2, 4 or 8 bytes.</summary>
    public readonly uint Size => 1u << (int)((Header >> 10) & 3);

    public readonly uint Address => Header >> 12;
}

/// <summary><c>struct buffered_iopage</c>: the ring's page.</summary>
[StructLayout(LayoutKind.Explicit, Size = 8 + (SlotCount * 8))]
public struct BufferedIoreqPage
{
    /// <summary>IOREQ_BUFFER_SLOT_NUM.</summary>
    public const int SlotCount = 511;

    /// <summary>Offset of the first slot.</summary>
    public const int SlotsOffset = 8;

    /// <summary>
    /// Read pointer in 31:0, write pointer in 63:32, both free-running; the slot is the pointer modulo <see cref="SlotCount"/>. Xen takes multiples
    /// of the slot count off both with one 64-bit exchange, so both are read as one value and the read pointer only moves by an atomic add.
    /// </summary>
    [FieldOffset(0)] public ulong Pointers;

    [FieldOffset(0)] public uint ReadPointer;

    [FieldOffset(4)] public uint WritePointer;
}

/// <summary><c>struct xen_dm_op_modified_memory_extent</c>: a run of guest pages that the device model wrote.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
public struct ModifiedExtent
{
    /// <summary>Pages.</summary>
    [FieldOffset(0)] public uint Count;

    [FieldOffset(8)] public ulong FirstPage;
}
