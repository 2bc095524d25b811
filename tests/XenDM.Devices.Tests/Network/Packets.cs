using System;
using System.Buffers.Binary;

namespace XenDM.Devices.Tests.Network;

/// <summary>Frames as a guest makes them, and the plainest way to their sums.</summary>
internal static class Packets
{
    public static byte[] Mac { get; } = [0x00, 0x16, 0x3e, 0x12, 0x34, 0x56];

    public static byte[] Peer { get; } = [0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc];

    /// <summary>A frame of a type that no chip looks into.</summary>
    public static byte[] Raw(byte[] to, int length, byte seed = 1)
    {
        var frame = new byte[length];
        new Random(seed).NextBytes(frame);
        to.CopyTo(frame, 0);
        Peer.CopyTo(frame, 6);
        frame[12] = 0x88;
        frame[13] = 0xb5;
        return frame;
    }

    /// <summary>TCP over IPv4, with right sums or with the pseudo header's as a kernel leaves it.</summary>
    /// <param name="sums">Fill the sums in.</param>
    public static byte[] Tcp4(int payload, bool sums, byte flags = 0x18, int options = 0)
    {
        var frame = new byte[14 + 20 + 20 + options + payload];
        new Random(payload).NextBytes(frame.AsSpan(54 + options));
        Ethernet(frame, 0x0800);
        var ip = frame.AsSpan(14);
        Ip4(ip, 6);
        var tcp = ip[20..];
        Write16(tcp, 0, 1234);
        Write16(tcp, 2, 80);
        BinaryPrimitives.WriteUInt32BigEndian(tcp[4..], 0xffff_f000);
        tcp[12] = (byte)((5 + (options / 4)) << 4);
        tcp[13] = flags;
        tcp.Slice(20, options).Fill(1);
        if (!sums) return frame;
        Write16(ip, 10, (ushort)~Sum(ip[..20], 0));
        Write16(tcp, 16, (ushort)~Sum(tcp, Pseudo4(ip, 6, tcp.Length)));
        return frame;
    }

    public static byte[] Udp4(int payload, bool sums)
    {
        var frame = new byte[14 + 20 + 8 + payload];
        new Random(payload).NextBytes(frame.AsSpan(42));
        Ethernet(frame, 0x0800);
        var ip = frame.AsSpan(14);
        Ip4(ip, 17);
        var udp = ip[20..];
        Write16(udp, 0, 5000);
        Write16(udp, 2, 53);
        Write16(udp, 4, (ushort)udp.Length);
        if (!sums) return frame;
        Write16(ip, 10, (ushort)~Sum(ip[..20], 0));
        Write16(udp, 6, (ushort)~Sum(udp, Pseudo4(ip, 17, udp.Length)));
        return frame;
    }

    public static byte[] Tcp6(int payload, bool sums)
    {
        var frame = new byte[14 + 40 + 20 + payload];
        new Random(payload).NextBytes(frame.AsSpan(74));
        Ethernet(frame, 0x86dd);
        var ip = frame.AsSpan(14);
        ip[0] = 0x60;
        Write16(ip, 4, (ushort)(20 + payload));
        ip[6] = 6;
        ip[7] = 64;
        for (var i = 8; i < 40; i++) ip[i] = (byte)(i * 7);
        var tcp = ip[40..];
        Write16(tcp, 2, 443);
        tcp[12] = 0x50;
        tcp[13] = 0x10;
        if (sums) Write16(tcp, 16, (ushort)~Sum(tcp, Pseudo6(ip, 6, tcp.Length)));
        return frame;
    }

    public static byte[] Tagged(byte[] frame, ushort tci)
    {
        var tagged = new byte[frame.Length + 4];
        frame.AsSpan(0, 12).CopyTo(tagged);
        tagged[12] = 0x81;
        Write16(tagged, 14, tci);
        frame.AsSpan(12).CopyTo(tagged.AsSpan(16));
        return tagged;
    }

    /// <summary>All sums in a frame of TCP or UDP over IPv4, or TCP over IPv6, are right.</summary>
    public static bool SumsAreRight(ReadOnlySpan<byte> frame)
    {
        var ip = frame[14..];
        if (ip[0] >> 4 == 6)
        {
            var body6 = ip.Slice(40, Read16(ip, 4));
            return Sum(body6, Pseudo6(ip, ip[6], body6.Length)) == 0xffff;
        }

        var header = (ip[0] & 0xf) * 4;
        var body = ip[header..Read16(ip, 2)];
        return Sum(ip[..header], 0) == 0xffff && Sum(body, Pseudo4(ip, ip[9], body.Length)) == 0xffff;
    }

    public static ushort Sum(ReadOnlySpan<byte> bytes, uint start)
    {
        var sum = start;
        for (var i = 0; i < bytes.Length; i++)
        {
            sum += (i & 1) == 0 ? (uint)bytes[i] << 8 : bytes[i];
            sum = (sum & 0xffff) + (sum >> 16);
        }

        return (ushort)sum;
    }

    public static ushort Pseudo4(ReadOnlySpan<byte> ip, byte protocol, int length) => Sum(ip.Slice(12, 8), (uint)(protocol + length));

    public static ushort Pseudo6(ReadOnlySpan<byte> ip, byte protocol, int length) => Sum(ip.Slice(8, 32), (uint)(protocol + length));

    /// <summary>CRC-32 bit by bit.</summary>
    public static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var i = 0; i < 8; i++) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
        }

        return ~crc;
    }

    public static ushort Read16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);

    public static void Write16(Span<byte> bytes, int at, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(bytes[at..], value);

    private static void Ethernet(Span<byte> frame, ushort type)
    {
        Mac.CopyTo(frame);
        Peer.CopyTo(frame[6..]);
        Write16(frame, 12, type);
    }

    private static void Ip4(Span<byte> ip, byte protocol)
    {
        ip[0] = 0x45;
        Write16(ip, 2, (ushort)ip.Length);
        Write16(ip, 4, 0xfffe);
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = protocol;
        BinaryPrimitives.WriteUInt32BigEndian(ip[12..], 0x0a00020f);
        BinaryPrimitives.WriteUInt32BigEndian(ip[16..], 0x0a000202);
    }
}
