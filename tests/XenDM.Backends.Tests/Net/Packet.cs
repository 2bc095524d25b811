using System;
using System.Buffers.Binary;
using System.Net;

namespace XenDM.Backends.Tests.Net;

/// <summary>Frames put together and taken apart byte by byte, with sums worked out the slow way.</summary>
internal static class Packet
{
    public const int Tcp = 6, Udp = 17;

    public static readonly byte[] GuestMac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    /// <summary>The complement of the sum of all 16-bit words, one after the other.</summary>
    public static ushort Checksum(ReadOnlySpan<byte> bytes, uint start = 0)
    {
        var sum = start;
        for (var i = 0; i < bytes.Length; i += 2)
        {
            sum += (uint)(bytes[i] << 8 | (i + 1 < bytes.Length ? bytes[i + 1] : 0));
            if (sum > 0xffff) sum = (sum & 0xffff) + 1;
        }

        return (ushort)~sum;
    }

    public static byte[] Ethernet(ReadOnlySpan<byte> to, ushort type, ReadOnlySpan<byte> payload)
    {
        var frame = new byte[14 + payload.Length];
        to.CopyTo(frame);
        GuestMac.CopyTo(frame, 6);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
        payload.CopyTo(frame.AsSpan(14));
        return frame;
    }

    /// <summary>An IP packet of either version; the transport's checksum is filled in.</summary>
    public static byte[] Ip(IPAddress from, IPAddress to, int protocol, byte[] transport)
    {
        transport = (byte[])transport.Clone();
        var at = protocol == Tcp ? 16 : 6;
        transport[at] = transport[at + 1] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(transport.AsSpan(at), TransportChecksum(from, to, protocol, transport));
        var (source, target) = (from.GetAddressBytes(), to.GetAddressBytes());
        if (source.Length == 16)
        {
            byte[] header6 = [0x60, 0, 0, 0, (byte)(transport.Length >> 8), (byte)transport.Length, (byte)protocol, 64, .. source, .. target];
            return [.. header6, .. transport];
        }

        byte[] header = [0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, (byte)protocol, 0, 0, .. source, .. target];
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(2), (ushort)(20 + transport.Length));
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(10), Checksum(header));
        return [.. header, .. transport];
    }

    /// <summary>What has to stand in a TCP or UDP header whose checksum field is zero; 0 where the sum is right in a header that has it.</summary>
    public static ushort TransportChecksum(IPAddress from, IPAddress to, int protocol, ReadOnlySpan<byte> transport)
    {
        byte[] pseudo = [.. from.GetAddressBytes(), .. to.GetAddressBytes(), 0, (byte)protocol, (byte)(transport.Length >> 8), (byte)transport.Length, .. transport];
        return Checksum(pseudo, (uint)(transport.Length >> 16));
    }

    public static byte[] TcpSegment(int from, int to, uint sequence, uint acknowledge, byte flags, ReadOnlySpan<byte> data, ushort window = 65535)
    {
        var segment = new byte[20 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(segment, (ushort)from);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(2), (ushort)to);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(4), sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment.AsSpan(8), acknowledge);
        segment[12] = 0x50;
        segment[13] = flags;
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(14), window);
        data.CopyTo(segment.AsSpan(20));
        return segment;
    }

    public static byte[] UdpDatagram(int from, int to, ReadOnlySpan<byte> data)
    {
        var datagram = new byte[8 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(datagram, (ushort)from);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(2), (ushort)to);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(4), (ushort)datagram.Length);
        data.CopyTo(datagram.AsSpan(8));
        return datagram;
    }

    /// <summary>Checks an IPv4 frame's sums and gives its transport part; null for other frames.</summary>
    public static byte[]? Transport(byte[] frame, int protocol)
    {
        if (frame.Length < 34 || BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12)) != 0x0800 || frame[23] != protocol) return null;
        var header = (frame[14] & 0xf) * 4;
        Assert.Equal(0, Checksum(frame.AsSpan(14, header)));
        var length = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(16));
        var transport = frame.AsSpan(14 + header, length - header).ToArray();
        if (protocol == Tcp || BinaryPrimitives.ReadUInt16BigEndian(transport.AsSpan(6)) != 0)
            Assert.Equal(0, TransportChecksum(new IPAddress(frame.AsSpan(26, 4)), new IPAddress(frame.AsSpan(30, 4)), protocol, transport));
        return transport;
    }
}
