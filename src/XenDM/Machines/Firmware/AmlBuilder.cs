using System;
using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace XenDM.Machines.Firmware;

/// <summary>
/// ACPI Machine Language from nested calls that read like ASL: each function returns the bytes of one term. Specification: ACPI 6.4, chapter 20.
/// </summary>
/// <remarks>Names are written as in ASL: <c>\_SB.PCI0</c>, <c>^PRQA</c>; segments of less than four letters are filled up with underscores.</remarks>
internal static class AmlBuilder
{
    private const byte ExtendedPrefix = 0x5b;
    private const int SegmentBytes = 4;

    public static byte[] Zero => [0x00];

    public static byte[] One => [0x01];

    public static byte[] Ones => [0xff];

    /// <summary>An integer in its shortest form.</summary>
    public static byte[] Integer(ulong value)
    {
        if (value == 0) return Zero;
        if (value == 1) return One;
        var bytes = new byte[9];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(1), value);
        (bytes[0], var length) = value switch
        {
            <= byte.MaxValue => ((byte)0x0a, 1),
            <= ushort.MaxValue => ((byte)0x0b, 2),
            <= uint.MaxValue => ((byte)0x0c, 4),
            _ => ((byte)0x0e, 8),
        };
        return bytes[..(length + 1)];
    }

    /// <param name="text">ASCII without a zero.</param>
    public static byte[] Text(string text) => [0x0d, .. Encoding.ASCII.GetBytes(text), 0];

    /// <summary>The compressed number of a device id such as <c>PNP0A03</c>.</summary>
    public static byte[] EisaId(string id)
    {
        if (id.Length != 7 || !ushort.TryParse(id.AsSpan(3), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var product))
            throw new ArgumentException($"'{id}' is no EISA id: three letters and four hexadecimal digits", nameof(id));
        uint vendor = 0;
        foreach (var letter in id.AsSpan(0, 3)) vendor = (vendor << 5) | (uint)(letter - 'A' + 1);

        // The number is big-endian, with the vendor first; integers of AML are not.
        return Integer(BinaryPrimitives.ReverseEndianness((vendor << 16) | product));
    }

    /// <summary>A name as AML has it.</summary>
    public static byte[] Path(string path)
    {
        var prefix = 0;
        while (prefix < path.Length && path[prefix] is '\\' or '^') prefix++;
        var segments = path.Length == prefix ? [] : path[prefix..].Split('.');
        byte[] count = segments.Length switch
        {
            0 => [0x00],
            1 => [],
            2 => [0x2e],
            _ => [0x2f, (byte)segments.Length],
        };
        var bytes = new byte[prefix + count.Length + (segments.Length * SegmentBytes)];
        Encoding.ASCII.GetBytes(path.AsSpan(0, prefix), bytes);
        count.CopyTo(bytes, prefix);
        var at = prefix + count.Length;
        foreach (var segment in segments)
        {
            if (segment.Length is 0 or > SegmentBytes || !IsName(segment)) throw new ArgumentException($"'{path}' is no ACPI name", nameof(path));
            bytes.AsSpan(at, SegmentBytes).Fill((byte)'_');
            Encoding.ASCII.GetBytes(segment, bytes.AsSpan(at));
            at += SegmentBytes;
        }

        return bytes;
    }

    private static bool IsName(string segment)
    {
        for (var i = 0; i < segment.Length; i++)
            if (!(char.IsAsciiLetterUpper(segment[i]) || segment[i] == '_' || (i > 0 && char.IsAsciiDigit(segment[i])))) return false;
        return true;
    }

    public static byte[] Name(string name, byte[] value) => [0x08, .. Path(name), .. value];

    public static byte[] Scope(string name, params ReadOnlySpan<byte[]> terms) => [0x10, .. Sized(Path(name), Join(terms))];

    public static byte[] Device(string name, params ReadOnlySpan<byte[]> terms) => [ExtendedPrefix, 0x82, .. Sized(Path(name), Join(terms))];

    /// <param name="id">The processor's number in the MADT.</param>
    public static byte[] Processor(string name, byte id, params ReadOnlySpan<byte[]> terms) =>
        [ExtendedPrefix, 0x83, .. Sized(Path(name), [id, 0, 0, 0, 0, 0], Join(terms))];

    /// <param name="arguments">0 to 7.</param>
    /// <param name="serialized">Only one thread may be in it; needed by methods that make names.</param>
    public static byte[] Method(string name, int arguments, bool serialized, params ReadOnlySpan<byte[]> terms) =>
        [0x14, .. Sized(Path(name), [(byte)(arguments | (serialized ? 8 : 0))], Join(terms))];

    public static byte[] If(byte[] condition, params ReadOnlySpan<byte[]> terms) => [0xa0, .. Sized(condition, Join(terms))];

    public static byte[] Else(params ReadOnlySpan<byte[]> terms) => [0xa1, .. Sized(Join(terms))];

    public static byte[] Return(byte[] value) => [0xa4, .. value];

    public static byte[] Store(byte[] value, byte[] target) => [0x70, .. value, .. target];

    public static byte[] And(byte[] left, byte[] right) => [0x7b, .. left, .. right, 0];

    public static byte[] And(byte[] left, byte[] right, byte[] target) => [0x7b, .. left, .. right, .. target];

    public static byte[] Or(byte[] left, byte[] right, byte[] target) => [0x7d, .. left, .. right, .. target];

    public static byte[] ShiftLeft(byte[] value, byte[] count, byte[] target) => [0x79, .. value, .. count, .. target];

    /// <summary>The number of the lowest bit that is set, from 1 on; 0 when none is.</summary>
    public static byte[] FindSetRightBit(byte[] value, byte[] target) => [0x82, .. value, .. target];

    public static byte[] Decrement(byte[] target) => [0x76, .. target];

    public static byte[] Equal(byte[] left, byte[] right) => [0x93, .. left, .. right];

    public static byte[] Notify(string name, byte[] value) => [0x86, .. Path(name), .. value];

    /// <summary>Arg0 to Arg6.</summary>
    public static byte[] Argument(int number) => [(byte)(0x68 + number)];

    /// <summary>Local0 to Local7.</summary>
    public static byte[] Local(int number) => [(byte)(0x60 + number)];

    public static byte[] Call(string method, params ReadOnlySpan<byte[]> arguments) => [.. Path(method), .. Join(arguments)];

    public static byte[] Package(params ReadOnlySpan<byte[]> elements)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(elements.Length, byte.MaxValue);
        return [0x12, .. Sized([(byte)elements.Length], Join(elements))];
    }

    public static byte[] Buffer(ReadOnlySpan<byte> data) => [0x11, .. Sized(Integer((ulong)data.Length), data.ToArray())];

    /// <summary>A resource template: a buffer of descriptors with the end tag, whose checksum of 0 says that there is none.</summary>
    public static byte[] Resources(params ReadOnlySpan<byte[]> descriptors) => Buffer([.. Join(descriptors), 0x79, 0x00]);

    /// <summary>A byte of a buffer as a name of its own.</summary>
    public static byte[] CreateDwordField(byte[] buffer, int offset, string name) => [0x8a, .. buffer, .. Integer((ulong)offset), .. Path(name)];

    public static byte[] OperationRegion(string name, AmlSpace space, ulong offset, ulong length) =>
        [ExtendedPrefix, 0x80, .. Path(name), (byte)space, .. Integer(offset), .. Integer(length)];

    /// <summary>Names for the bits of a region, one after the other.</summary>
    /// <param name="access">Bytes per access: 1, 2 or 4. What is not written keeps its value.</param>
    public static byte[] Field(string region, int access, params ReadOnlySpan<(string Name, int Bits)> units)
    {
        byte[] list = [];
        foreach (var (name, bits) in units) list = [.. list, .. name.Length == 0 ? [0x00] : Path(name), .. EncodeLength(bits)];
        return [ExtendedPrefix, 0x81, .. Sized(Path(region), [(byte)(access switch { 1 => 1, 2 => 2, _ => 3 })], list)];
    }

    public static byte[] Join(params ReadOnlySpan<byte[]> parts)
    {
        var length = 0;
        foreach (var part in parts) length += part.Length;
        var bytes = new byte[length];
        var at = 0;
        foreach (var part in parts)
        {
            part.CopyTo(bytes, at);
            at += part.Length;
        }

        return bytes;
    }

    /// <summary>The parts with their length in front, which counts its own bytes too.</summary>
    private static byte[] Sized(params ReadOnlySpan<byte[]> parts)
    {
        var content = Join(parts);
        var prefix = content.Length + 1 < 1 << 6 ? 1 : content.Length + 2 < 1 << 12 ? 2 : content.Length + 3 < 1 << 20 ? 3 : 4;
        return [.. EncodeLength(content.Length + prefix), .. content];
    }

    /// <summary>Below 64 one byte; else four bits in the first byte, whose top two bits count the bytes that follow.</summary>
    private static byte[] EncodeLength(int length) => length switch
    {
        < 1 << 6 => [(byte)length],
        < 1 << 12 => [(byte)(0x40 | (length & 15)), (byte)(length >> 4)],
        < 1 << 20 => [(byte)(0x80 | (length & 15)), (byte)(length >> 4), (byte)(length >> 12)],
        _ => [(byte)(0xc0 | (length & 15)), (byte)(length >> 4), (byte)(length >> 12), (byte)(length >> 20)],
    };
}

/// <summary>Where an operation region lies.</summary>
internal enum AmlSpace : byte
{
    Memory = 0,
    Io = 1,
    PciConfig = 2,
}
