using System;
using System.Buffers.Binary;

namespace XenDM.Core.Backends;

/// <summary>
/// Where the headers of an Ethernet frame are. Everything was checked to lie within the frame: TCP's header with its options, UDP's, the
/// addresses. VLAN tags (802.1Q, 802.1ad), IPv4 options and IPv6's extension headers are stepped over.
/// </summary>
public readonly struct NetHeaders
{
    /// <summary>Bytes of an Ethernet header without tags.</summary>
    public const int EthernetBytes = 14;
    public const int Tcp = 6;
    public const int Udp = 17;

    private const int MaxTags = 2;
    private const int TagBytes = 4;
    private const ushort EtherIpv4 = 0x0800, EtherIpv6 = 0x86dd, EtherVlan = 0x8100, EtherServiceVlan = 0x88a8;
    private const int Ipv4Bytes = 20, Ipv6Bytes = 40, TcpBytes = 20, UdpBytes = 8;
    private const int TcpChecksum = 16, UdpChecksum = 6;

    /// <summary>RFC 8200 section 4: so many extension headers are stepped over. Not a routing header: with one, the checksum is over another address.</summary>
    private const int MaxExtensions = 8;
    private const int HopByHop = 0, Fragment = 44, Authentication = 51, DestinationOptions = 60;

    private NetHeaders(int network, int transport, int protocol, bool isIpv6, int end, int payload)
    {
        NetworkStart = network;
        TransportStart = transport;
        Protocol = protocol;
        IsIpv6 = isIpv6;
        End = end;
        PayloadStart = payload;
    }

    /// <summary>Start of the IP header.</summary>
    public int NetworkStart { get; }

    /// <summary>Start of the TCP or UDP header.</summary>
    public int TransportStart { get; }

    /// <summary><see cref="Tcp"/> or <see cref="Udp"/>.</summary>
    public int Protocol { get; }

    public bool IsIpv6 { get; }

    /// <summary>End of what IP carries, from the start of the frame; padding comes after it. The frame's end where IP's length is zero or more than there is.</summary>
    public int End { get; }

    /// <summary>End of the TCP or UDP header.</summary>
    public int PayloadStart { get; }

    /// <summary>Of the checksum, from <see cref="TransportStart"/>.</summary>
    public int ChecksumOffset => Protocol == Tcp ? TcpChecksum : UdpChecksum;

    /// <summary>Finds the headers of a TCP or UDP packet.</summary>
    /// <returns>False: no such packet, a fragment of one, or cut short.</returns>
    public static bool TryParse(ReadOnlySpan<byte> frame, out NetHeaders headers)
    {
        headers = default;
        if (!TryFindNetwork(frame, out var network, out var type)) return false;
        int transport, protocol, end;
        var isIpv6 = type == EtherIpv6;
        if (type == EtherIpv4 ? !TryIpv4(frame, network, out transport, out protocol, out end) : !isIpv6 | !TryIpv6(frame, network, out transport, out protocol, out end)) return false;
        int payload;
        switch (protocol)
        {
            case Tcp when transport + TcpBytes <= end:
                var length = frame[transport + 12] >> 4 << 2;
                payload = transport + length;
                if (length < TcpBytes || payload > end) return false;
                break;
            case Udp when transport + UdpBytes <= end:
                payload = transport + UdpBytes;
                break;
            default: return false;
        }

        headers = new NetHeaders(network, transport, protocol, isIpv6, end, payload);
        return true;
    }

    /// <summary>Finds the addresses of an IP packet of any protocol, whole or not: its source's, and its destination's behind it.</summary>
    /// <param name="start">Of 8 bytes, or of 32 for IPv6.</param>
    /// <returns>False: no such packet, or cut short.</returns>
    public static bool TryFindAddresses(ReadOnlySpan<byte> frame, out int start, out bool isIpv6)
    {
        (start, isIpv6) = (0, false);
        if (!TryFindNetwork(frame, out var network, out var type)) return false;
        isIpv6 = type == EtherIpv6;
        start = network + (isIpv6 ? 8 : 12);
        return (isIpv6 || type == EtherIpv4) && frame.Length >= network + (isIpv6 ? Ipv6Bytes : Ipv4Bytes) && frame[network] >> 4 == (isIpv6 ? 6 : 4);
    }

    /// <summary>For a frame that only says "its checksum is blank": where it is.</summary>
    /// <returns>False: not TCP or UDP; <paramref name="frame"/> is as before.</returns>
    public static bool TryFindChecksum(ReadOnlySpan<byte> bytes, ref NetFrame frame)
    {
        if (!TryParse(bytes, out var headers)) return false;
        frame.NeedsChecksum = true;
        frame.ChecksumStart = (ushort)headers.TransportStart;
        frame.ChecksumOffset = (ushort)headers.ChecksumOffset;
        return true;
    }

    /// <summary>
    /// Puts the sum of the pseudo header where the checksum belongs, as <see cref="NetFrame.NeedsChecksum"/> has it. For frames of senders that
    /// leave anything there: some PV drivers do.
    /// </summary>
    /// <param name="frame">The headers of the frame that these are of; what they carry may be elsewhere.</param>
    public void PutPseudoSum(Span<byte> frame) =>
        BinaryPrimitives.WriteUInt16BigEndian(frame[(TransportStart + ChecksumOffset)..], NetChecksum.Fold(PseudoSum(frame, End - TransportStart)));

    /// <summary>Puts IP's length and IPv4's checksum right: drivers leave them open for whoever cuts the frame.</summary>
    /// <param name="frame">The headers of the frame that these are of; what they carry may be elsewhere.</param>
    public void PutLength(Span<byte> frame)
    {
        const int lengthAt = 2, lengthAt6 = 4;
        if (IsIpv6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[(NetworkStart + lengthAt6)..], (ushort)(End - NetworkStart - Ipv6Bytes));
            return;
        }

        var ip = frame[NetworkStart..TransportStart];
        BinaryPrimitives.WriteUInt16BigEndian(ip[lengthAt..], (ushort)(End - NetworkStart));
        NetChecksum.PutIpv4(ip);
    }

    /// <inheritdoc cref="NetChecksum.PseudoSum"/>
    public ulong PseudoSum(ReadOnlySpan<byte> frame, int length) => NetChecksum.PseudoSum(frame[NetworkStart..], IsIpv6, Protocol, length);

    /// <summary>Steps over Ethernet's header and tags.</summary>
    private static bool TryFindNetwork(ReadOnlySpan<byte> frame, out int network, out ushort type)
    {
        (network, type) = (EthernetBytes, 0);
        if (frame.Length < EthernetBytes) return false;
        type = BinaryPrimitives.ReadUInt16BigEndian(frame[(network - 2)..]);
        for (var tags = 0; type is EtherVlan or EtherServiceVlan; tags++)
        {
            if (tags == MaxTags || frame.Length < network + TagBytes) return false;
            network += TagBytes;
            type = BinaryPrimitives.ReadUInt16BigEndian(frame[(network - 2)..]);
        }

        return true;
    }

    private static bool TryIpv4(ReadOnlySpan<byte> frame, int network, out int transport, out int protocol, out int end)
    {
        (transport, protocol, end) = (0, 0, 0);
        if (frame.Length < network + Ipv4Bytes || frame[network] >> 4 != 4) return false;
        var length = (frame[network] & 0xf) << 2;
        transport = network + length;
        if (length < Ipv4Bytes || transport > frame.Length) return false;
        protocol = frame[network + 9];

        // More fragments to come, or not the first one.
        if ((BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 6)..]) & 0x3fff) != 0) return false;
        end = EndOf(network, BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 2)..]), frame.Length);
        return end >= transport;
    }

    private static bool TryIpv6(ReadOnlySpan<byte> frame, int network, out int transport, out int protocol, out int end)
    {
        (transport, protocol, end) = (network + Ipv6Bytes, 0, 0);
        if (frame.Length < transport || frame[network] >> 4 != 6) return false;
        protocol = frame[network + 6];
        var payload = BinaryPrimitives.ReadUInt16BigEndian(frame[(network + 4)..]);
        end = EndOf(transport, payload, frame.Length);
        for (var extensions = 0; protocol is HopByHop or Authentication or DestinationOptions; extensions++)
        {
            if (extensions == MaxExtensions || transport + 8 > end) return false;
            var length = protocol == Authentication ? (frame[transport + 1] + 2) << 2 : (frame[transport + 1] + 1) << 3;
            protocol = frame[transport];
            transport += length;
        }

        return protocol != Fragment && transport <= end;
    }

    /// <summary>A length of zero is a frame that is longer than the field can say, or that its sender leaves to be cut.</summary>
    private static int EndOf(int start, int length, int frame) => length == 0 || start + length > frame ? frame : start + length;
}
