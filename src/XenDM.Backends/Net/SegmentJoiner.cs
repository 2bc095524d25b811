using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;

namespace XenDM.Backends.Net;

/// <summary>
/// Joins TCP segments over IPv4 that follow each other in a queue, for a front end that takes TCP uncut: its driver then has one frame to handle instead
/// of many. What comes of them is a frame that <see cref="NetFinisher"/> would cut into the same segments again.
/// </summary>
internal sealed class SegmentJoiner
{
    private const int MaxFrame = ushort.MaxValue + NetHeaders.EthernetBytes;

    /// <summary>Shorter segments are not cut again, see <see cref="NetFinisher"/>.</summary>
    private const int MinSegment = 64;

    // Places in a frame whose IP header has no options.
    private const int Ip = NetHeaders.EthernetBytes, IpLength = Ip + 2, IpFlags = Ip + 6, IpAddresses = Ip + 12, Tcp = Ip + 20;
    private const int Sequence = Tcp + 4, Acknowledge = Tcp + 8, Length = Tcp + 12, Flags = Tcp + 13, Window = Tcp + 14, Checksum = Tcp + 16, Urgent = Tcp + 18;
    private const byte Push = 8, Ack = 16;

    private readonly byte[] _bytes = new byte[MaxFrame];
    private int _length;

    /// <summary>Valid after <see cref="Join"/> joined several.</summary>
    public NetFrame Frame { get; private set; }

    /// <inheritdoc cref="Frame"/>
    public ReadOnlySpan<byte> Bytes => _bytes.AsSpan(0, _length);

    /// <summary>Joins the first frame of a queue with those behind it that go on where it ends.</summary>
    /// <returns>How many frames they are; with 1 there is nothing joined.</returns>
    public int Join(FrameQueue queue)
    {
        var at = 0;
        if (!queue.TryPeek(ref at, out var first) || !IsPlain(first, out var headers)) return 1;
        var segment = first.Length - headers.PayloadStart;
        if (segment < MinSegment || (first[Flags] & Push) != 0) return 1;
        var sequence = BinaryPrimitives.ReadUInt32BigEndian(first[Sequence..]) + (uint)segment;
        var count = 1;
        _length = first.Length;
        while (queue.TryPeek(ref at, out var next) && IsPlain(next, out var its) && Continues(first, next, headers.PayloadStart, its.PayloadStart, sequence))
        {
            var payload = next[its.PayloadStart..];
            if (payload.Length > segment || _length + payload.Length > MaxFrame) break;
            if (count == 1) first.CopyTo(_bytes);
            payload.CopyTo(_bytes.AsSpan(_length));
            _length += payload.Length;
            sequence += (uint)payload.Length;
            count++;

            // The last one may be shorter, and has the sender's wish to be passed on.
            _bytes[Flags] |= (byte)(next[Flags] & Push);
            if (payload.Length < segment || (next[Flags] & Push) != 0) break;
        }

        if (count > 1) Finish(headers.PayloadStart, segment);
        return count;
    }

    /// <summary>A whole packet with payload and nothing special about it.</summary>
    private static bool IsPlain(ReadOnlySpan<byte> frame, out NetHeaders headers) =>
        NetHeaders.TryParse(frame, out headers) && headers is { Protocol: NetHeaders.Tcp, IsIpv6: false, NetworkStart: Ip, TransportStart: Tcp } && headers.End == frame.Length
        && headers.PayloadStart < frame.Length && (frame[Flags] & ~Push) == Ack;

    /// <summary>All is the same that has to be, and the sequence number is the one expected.</summary>
    private static bool Continues(ReadOnlySpan<byte> first, ReadOnlySpan<byte> next, int payload, int itsPayload, uint sequence) =>
        payload == itsPayload && BinaryPrimitives.ReadUInt32BigEndian(next[Sequence..]) == sequence
        && first[..IpLength].SequenceEqual(next[..IpLength]) && first[IpFlags..(IpFlags + 4)].SequenceEqual(next[IpFlags..(IpFlags + 4)])
        && first[IpAddresses..Sequence].SequenceEqual(next[IpAddresses..Sequence]) && first[Acknowledge..(Length + 1)].SequenceEqual(next[Acknowledge..(Length + 1)])
        && first[Window..Checksum].SequenceEqual(next[Window..Checksum]) && first[Urgent..payload].SequenceEqual(next[Urgent..payload]);

    private void Finish(int payload, int segment)
    {
        BinaryPrimitives.WriteUInt16BigEndian(_bytes.AsSpan(IpLength), (ushort)(_length - Ip));
        NetHeaders.TryParse(Bytes, out var headers);
        headers.PutLength(_bytes);
        headers.PutPseudoSum(_bytes);
        Frame = new NetFrame
        {
            NeedsChecksum = true,
            IsValid = true,
            Segmentation = NetSegmentation.Tcp4,
            SegmentBytes = (ushort)segment,
            HeaderBytes = (ushort)payload,
            ChecksumStart = Tcp,
            ChecksumOffset = Checksum - Tcp,
        };
    }
}
