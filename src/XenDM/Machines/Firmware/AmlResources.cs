using System;
using System.Buffers.Binary;

namespace XenDM.Machines.Firmware;

/// <summary>Resource descriptors for <see cref="AmlBuilder.Resources"/>. Specification: ACPI 6.4, section 6.4.</summary>
internal static class AmlResources
{
    private const byte ResourceMemory = 0;
    private const byte ResourceIo = 1;
    private const byte ResourceBus = 2;

    /// <summary>Address space descriptors: minimum and maximum are fixed, and the bus decodes all of it (positive decode, producer).</summary>
    private const byte FixedRange = 0x0c;

    /// <summary>I/O ranges: not limited to ISA addresses. Memory ranges: read and write, not cacheable.</summary>
    private const byte EntireIoRange = 0x03;
    private const byte ReadWrite = 0x01;
    private const byte ReadWriteCacheable = 0x03;

    /// <summary>Ports at a fixed place, decoded with 16 bits.</summary>
    public static byte[] Io(ushort first, byte count, byte alignment = 1)
    {
        byte[] bytes = [0x47, 1, 0, 0, 0, 0, alignment, count];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), first);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(4), first);
        return bytes;
    }

    /// <summary>An ISA interrupt: edge triggered, active high, not shared.</summary>
    public static byte[] Irq(int irq) => [0x22, (byte)(1 << irq), (byte)((1 << irq) >> 8)];

    /// <param name="channels">A bit per channel. 8 bits at a time, not a bus master, at ISA speed.</param>
    public static byte[] Dma(byte channels) => [0x2a, channels, 0];

    /// <summary>PCI interrupts: level triggered, active low, shared; one or a choice of several.</summary>
    public static byte[] Interrupts(params ReadOnlySpan<int> interrupts)
    {
        var bytes = new byte[5 + (4 * interrupts.Length)];
        bytes[0] = 0x89;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(1), (ushort)(bytes.Length - 3));
        bytes[3] = 0x0d;
        bytes[4] = (byte)interrupts.Length;
        for (var i = 0; i < interrupts.Length; i++) BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(5 + (4 * i)), interrupts[i]);
        return bytes;
    }

    /// <summary>Where the first interrupt number of <see cref="Interrupts"/> lies in its descriptor.</summary>
    public const int InterruptsNumber = 5;

    public static byte[] FixedMemory(uint address, uint length)
    {
        byte[] bytes = [0x86, 9, 0, ReadWrite, 0, 0, 0, 0, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), address);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), length);
        return bytes;
    }

    /// <summary>Bus numbers that a bridge passes on.</summary>
    public static byte[] BusWindow(byte first, byte last) => WordWindow(ResourceBus, 0, first, last);

    /// <summary>Ports that a bridge passes on.</summary>
    public static byte[] IoWindow(ushort first, ushort last) => WordWindow(ResourceIo, EntireIoRange, first, last);

    private static byte[] WordWindow(byte type, byte flags, ushort first, ushort last)
    {
        byte[] bytes = [0x88, 13, 0, type, FixedRange, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), first);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(10), last);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(14), (ushort)(last - first + 1));
        return bytes;
    }

    /// <summary>Memory below 4 GiB that a bridge passes on.</summary>
    public static byte[] MemoryWindow(uint first, uint last, bool cacheable)
    {
        var bytes = new byte[26];
        bytes[0] = 0x87;
        bytes[1] = 23;
        bytes[3] = ResourceMemory;
        bytes[4] = FixedRange;
        bytes[5] = cacheable ? ReadWriteCacheable : ReadWrite;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(10), first);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(14), last);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(22), last - first + 1);
        return bytes;
    }
}
