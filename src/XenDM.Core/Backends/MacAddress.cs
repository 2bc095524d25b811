using System;
using System.Globalization;

namespace XenDM.Core.Backends;

/// <summary>The six bytes of an Ethernet address.</summary>
/// <param name="Value">The first byte of the wire in bits 47:40, the last in 7:0.</param>
public readonly record struct MacAddress(ulong Value)
{
    public const int Bytes = 6;

    /// <summary>Its first byte's lowest bit says that many listen to it: no address of a NIC.</summary>
    public bool IsMulticast => (Value >> 40 & 1) != 0;

    /// <summary>As six pairs of hexadecimal digits between colons or dashes.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out MacAddress address)
    {
        const int digits = 2, stride = 3;
        address = default;
        if (text.Length != (Bytes * stride) - 1) return false;
        var value = 0UL;
        for (var i = 0; i < Bytes; i++)
        {
            if (i > 0 && text[(i * stride) - 1] is not (':' or '-')) return false;
            if (!byte.TryParse(text.Slice(i * stride, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var one)) return false;
            value = (value << 8) | one;
        }

        address = new MacAddress(value);
        return true;
    }

    /// <summary>Writes the bytes in the order of the wire.</summary>
    /// <param name="bytes">At least <see cref="Bytes"/>.</param>
    public void CopyTo(Span<byte> bytes)
    {
        for (var i = 0; i < Bytes; i++) bytes[i] = (byte)(Value >> (8 * (Bytes - 1 - i)));
    }

    /// <summary>The bytes in the order of the wire.</summary>
    public byte[] ToArray()
    {
        var bytes = new byte[Bytes];
        CopyTo(bytes);
        return bytes;
    }

    public override string ToString() =>
        $"{(byte)(Value >> 40):x2}:{(byte)(Value >> 32):x2}:{(byte)(Value >> 24):x2}:{(byte)(Value >> 16):x2}:{(byte)(Value >> 8):x2}:{(byte)Value:x2}";
}
