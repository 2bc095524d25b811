using System;
using System.Buffers.Binary;

namespace XenDM.Devices.Network;

/// <summary>
/// The frame check sequence of Ethernet (IEEE 802.3, 3.2.9): CRC-32 with the polynomial 04c11db7, bits in the order of the wire, complemented at
/// both ends. Computed eight bytes at a time by tables of the remainders of each byte at each distance.
/// </summary>
internal static class EthernetCrc
{
    private const uint Reflected = 0xedb8_8320;
    private const int Stride = 8;
    private const int Entries = 256;
    private static readonly uint[] s_tables = MakeTables();

    /// <summary>The value as it stands behind the frame, in little-endian order.</summary>
    public static uint Compute(ReadOnlySpan<byte> frame) => ~Update(uint.MaxValue, frame);

    /// <summary>The same for a frame into which <paramref name="tag"/> goes behind the addresses.</summary>
    public static uint ComputeTagged(ReadOnlySpan<byte> frame, ReadOnlySpan<byte> tag)
    {
        const int addresses = 12;
        return ~Update(Update(Update(uint.MaxValue, frame[..addresses]), tag), frame[addresses..]);
    }

    /// <summary>The remainder as older chips hash multicast addresses by it: not complemented, the first bit of the wire at the top.</summary>
    public static uint Hash(ReadOnlySpan<byte> address)
    {
        var crc = Update(uint.MaxValue, address);
        uint turned = 0;
        for (var i = 0; i < 32; i++) turned = (turned << 1) | ((crc >> i) & 1);
        return turned;
    }

    private static uint Update(uint crc, ReadOnlySpan<byte> bytes)
    {
        var tables = s_tables.AsSpan(0, Stride * Entries);
        while (bytes.Length >= Stride)
        {
            var low = BinaryPrimitives.ReadUInt32LittleEndian(bytes) ^ crc;
            var high = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            crc = tables[(7 * Entries) + (byte)low] ^ tables[(6 * Entries) + (byte)(low >> 8)] ^ tables[(5 * Entries) + (byte)(low >> 16)] ^ tables[(4 * Entries) + (int)(low >> 24)]
                ^ tables[(3 * Entries) + (byte)high] ^ tables[(2 * Entries) + (byte)(high >> 8)] ^ tables[Entries + (byte)(high >> 16)] ^ tables[(int)(high >> 24)];
            bytes = bytes[Stride..];
        }

        foreach (var one in bytes) crc = tables[(byte)crc ^ one] ^ (crc >> 8);
        return crc;
    }

    private static uint[] MakeTables()
    {
        var tables = new uint[Stride * Entries];
        for (var i = 0; i < Entries; i++)
        {
            var rest = (uint)i;
            for (var bit = 0; bit < 8; bit++) rest = (rest & 1) != 0 ? (rest >> 1) ^ Reflected : rest >> 1;
            tables[i] = rest;
        }

        for (var i = Entries; i < tables.Length; i++) tables[i] = tables[(byte)tables[i - Entries]] ^ (tables[i - Entries] >> 8);
        return tables;
    }
}
