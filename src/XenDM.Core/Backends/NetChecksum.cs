using System;
using System.Buffers.Binary;

namespace XenDM.Core.Backends;

/// <summary>The Internet's checksum (RFC 1071): sums of 16-bit words in which carries come in again at the bottom.</summary>
public static class NetChecksum
{
    /// <summary>Adds bytes as big endian words; a last single byte counts as the upper half of one.</summary>
    /// <param name="sum">Of what comes before, an even number of bytes.</param>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> bytes)
    {
        // Words may be added in any order, several at a time, and with their bytes exchanged, as long as all of them are.
        var swapped = 0UL;
        while (bytes.Length >= 32)
        {
            swapped = Carry(swapped, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            swapped = Carry(swapped, BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
            swapped = Carry(swapped, BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]));
            swapped = Carry(swapped, BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]));
            bytes = bytes[32..];
        }

        while (bytes.Length >= 8)
        {
            swapped = Carry(swapped, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        var shift = 0;
        var rest = 0UL;
        foreach (var one in bytes)
        {
            rest |= (ulong)one << shift;
            shift += 8;
        }

        return Carry(sum, BinaryPrimitives.ReverseEndianness(Fold(Carry(swapped, rest))));
    }

    /// <summary>The sum as one word.</summary>
    public static ushort Fold(ulong sum)
    {
        sum = (sum & uint.MaxValue) + (sum >> 32);
        sum = (sum & uint.MaxValue) + (sum >> 32);
        sum = (sum & ushort.MaxValue) + (sum >> 16);
        sum = (sum & ushort.MaxValue) + (sum >> 16);
        return (ushort)((sum & ushort.MaxValue) + (sum >> 16));
    }

    /// <summary>What stands in the header: the sum's complement.</summary>
    public static ushort Of(ulong sum) => (ushort)~Fold(sum);

    /// <summary>As <see cref="Of"/> for TCP and UDP: 0 would mean "none" to UDP, and 0xffff is the same number.</summary>
    public static ushort OfTransport(ulong sum) => Of(sum) is var value and not 0 ? value : ushort.MaxValue;

    /// <summary>The sum of bytes by themselves; 0xffff over data that holds its own checksum says that this is right.</summary>
    public static ushort Sum(ReadOnlySpan<byte> bytes) => Fold(Add(0, bytes));

    /// <summary>The sum over addresses, protocol and length that TCP's and UDP's begin with (RFC 9293 section 3.1, RFC 8200 section 8.1).</summary>
    /// <param name="ip">The IP header: 20 bytes at least for IPv4, 40 for IPv6.</param>
    /// <param name="length">Bytes of the TCP or UDP header and what follows.</param>
    public static ulong PseudoSum(ReadOnlySpan<byte> ip, bool isIpv6, int protocol, int length) =>
        Add((uint)protocol + (uint)length, isIpv6 ? ip.Slice(8, 32) : ip.Slice(12, 8));

    /// <summary>Puts the checksum of an IPv4 header in.</summary>
    /// <param name="header">With its options.</param>
    public static void PutIpv4(Span<byte> header)
    {
        const int checksumAt = 10;
        BinaryPrimitives.WriteUInt16BigEndian(header[checksumAt..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(header[checksumAt..], Of(Add(0, header)));
    }

    private static ulong Carry(ulong sum, ulong value)
    {
        sum += value;
        return sum < value ? sum + 1 : sum;
    }
}
