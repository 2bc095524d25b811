using System;
using System.Buffers.Binary;

namespace XenDM.Core.State;

/// <summary>
/// The layout of a state file. All numbers are little-endian.
/// <code>
/// header   8 bytes "XENDMST1", u32 format version (1), u32 CRC-32 of the 12 bytes before
/// device   u8 0xd5, u8 length of id, id, u16 device version, u32 length of the fields, u32 CRC-32 of everything from the id on, fields
/// field    u8 type (StateType), u8 length of name, name, value: 1, 2, 4 or 8 bytes by type; Bytes and Blob: u32 length, bytes
/// end      u8 0xe5, u32 number of devices, u32 CRC-32 of the four bytes before
/// </code>
/// Devices are sorted by id, so that the order of construction does not matter.
/// </summary>
public static class StateFormat
{
    public const int FormatVersion = 1;
    public const byte DeviceMark = 0xd5;
    public const byte EndMark = 0xe5;

    /// <summary>The most that a device may save; a file that claims more is damaged.</summary>
    public const int MaxDeviceBytes = 64 << 20;

    public static ReadOnlySpan<byte> Magic => "XENDMST1"u8;

    public static int ValueBytes(StateType type) => type switch
    {
        StateType.Bool or StateType.U8 => 1,
        StateType.U16 => 2,
        StateType.U32 or StateType.I32 => 4,
        StateType.U64 or StateType.I64 => 8,
        _ => 0,
    };
}

/// <summary>CRC-32 (IEEE 802.3, reflected, polynomial edb88320), as in zlib.</summary>
public static class Crc32
{
    /// <summary>Eight tables: what a byte does to the remainder when none to seven bytes follow it. Eight bytes are looked up at once.</summary>
    private static readonly uint[] s_tables = MakeTables();

    /// <param name="crc">The result for the bytes before, or 0.</param>
    public static uint Compute(ReadOnlySpan<byte> data, uint crc = 0)
    {
        ReadOnlySpan<uint> tables = s_tables;
        crc = ~crc;
        for (; data.Length >= 8; data = data[8..])
        {
            var eight = BinaryPrimitives.ReadUInt64LittleEndian(data) ^ crc;
            crc = 0;
            for (var n = 0; n < 8; n++) crc ^= tables[((7 - n) << 8) | (byte)(eight >> (8 * n))];
        }

        foreach (var b in data) crc = tables[(byte)(crc ^ b)] ^ (crc >> 8);
        return ~crc;
    }

    private static uint[] MakeTables()
    {
        var tables = new uint[8 * 256];
        for (uint i = 0; i < 256; i++)
        {
            var value = i;
            for (var bit = 0; bit < 8; bit++) value = (value & 1) != 0 ? (value >> 1) ^ 0xedb88320 : value >> 1;
            tables[i] = value;
        }

        for (var i = 256; i < tables.Length; i++) tables[i] = tables[(byte)tables[i - 256]] ^ (tables[i - 256] >> 8);
        return tables;
    }
}
