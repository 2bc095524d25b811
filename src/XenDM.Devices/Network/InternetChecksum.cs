using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace XenDM.Devices.Network;

/// <summary>
/// The checksum of IP, TCP and UDP: the one's complement sum of 16-bit big-endian words (RFC 1071). Sums are 16-bit values as one reads them
/// from the packet in network order; an odd last byte counts as the high half of a word.
/// </summary>
internal static class InternetChecksum
{
    public const byte Tcp = 6;
    public const byte Udp = 17;

    /// <summary>The sum of the words, not complemented.</summary>
    public static ushort Sum(ReadOnlySpan<byte> bytes)
    {
        // The sum does not depend on the byte order (RFC 1071, section 2): host words are added, and the result is turned round.
        ulong even = 0, odd = 0;
        var words = MemoryMarshal.Cast<byte, uint>(bytes);
        var i = 0;
        for (; i + 4 <= words.Length; i += 4)
        {
            even += (ulong)words[i] + words[i + 1];
            odd += (ulong)words[i + 2] + words[i + 3];
        }

        for (; i < words.Length; i++) even += words[i];
        even += odd;
        var rest = bytes[(words.Length * 4)..];
        if (rest.Length >= 2)
        {
            even += BinaryPrimitives.ReadUInt16LittleEndian(rest);
            rest = rest[2..];
        }

        if (rest.Length == 1) even += rest[0];
        var sum = Fold(even);
        return BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(sum) : sum;
    }

    /// <summary>Adds the carries of a longer sum back in.</summary>
    public static ushort Fold(ulong sum)
    {
        sum = (sum & 0xffffffff) + (sum >> 32);
        sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)((sum & 0xffff) + (sum >> 16));
    }

    /// <summary>Sum of the pseudo header of an IPv4 or IPv6 packet (RFC 9293 3.1, RFC 8200 8.1).</summary>
    /// <param name="ip">The IP header: 20 bytes at least for IPv4, 40 for IPv6.</param>
    /// <param name="length">Bytes of the TCP or UDP header and its data.</param>
    public static ushort PseudoHeader(ReadOnlySpan<byte> ip, bool isIpv6, byte protocol, int length) =>
        Fold((ulong)(isIpv6 ? Sum(ip.Slice(8, 32)) : Sum(ip.Slice(12, 8))) + protocol + (ulong)length);

    /// <summary>Puts the checksum of an IPv4 header in.</summary>
    /// <param name="header">The header with its options.</param>
    public static void FillIpv4(Span<byte> header)
    {
        header[10] = header[11] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(header[10..], (ushort)~Sum(header));
    }
}
