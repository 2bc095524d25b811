using System;
using System.Buffers.Binary;

namespace XenDM.Core.Backends;

/// <summary>
/// Does what is left to be done in a frame, for a side that does not take it undone: cuts TCP into segments (as RFC 9293 has segments: each with
/// its own headers) and fills in checksums. No field of the frame is trusted. One frame at a time: <see cref="Begin"/>, then <see cref="Next"/>
/// until there is no more.
/// </summary>
/// <remarks>
/// A backend that gives a frame to a front end, whose <see cref="NetOffloads"/> <see cref="Needs"/> is not in, goes through this. For netfront (xen
/// netif.h): <see cref="NetFrame.NeedsChecksum"/> is csum_blank with data_validated, <see cref="NetFrame.IsValid"/> is data_validated,
/// <see cref="NetFrame.Segmentation"/> is a GSO extra of that type with <see cref="NetFrame.SegmentBytes"/>.
/// </remarks>
public sealed class NetFinisher
{
    /// <summary>The longest frame: 64 KiB of IP behind an Ethernet header with two tags.</summary>
    public const int MaxFrame = MaxPacket + NetHeaders.EthernetBytes + 8;

    private const int MaxPacket = ushort.MaxValue;

    /// <summary>Segments that are shorter make no sense (RFC 9293 section 3.7.1: 536, less what options take) and cost more than they carry.</summary>
    private const int MinSegment = 64;

    // TCP's header.
    private const int SequenceAt = 4, FlagsAt = 13;
    private const byte Fin = 1, Push = 8, CongestionWindowReduced = 0x80;

    private readonly byte[] _out = new byte[MaxFrame];
    private NetFrame _frame;
    private NetHeaders _headers;
    private Stage _stage;
    private int _at;
    private int _segment;
    private (Stage Stage, int At, int Segment) _before;

    private enum Stage
    {
        Done,

        /// <summary>It stays as it is.</summary>
        Whole,
        Checksum,
        Segments,
    }

    /// <summary>More of the frame that was begun is to come.</summary>
    public bool IsBusy => _stage != Stage.Done;

    /// <summary>Nothing of the frame that was begun was taken yet.</summary>
    public bool IsUntouched => _stage != Stage.Done && _segment == 0;

    /// <summary>What a side has to take undone, to be given this frame as it is.</summary>
    public static NetOffloads Needs(in NetFrame frame) => frame.Segmentation switch
    {
        NetSegmentation.Tcp4 => NetOffloads.Checksum | NetOffloads.Tcp4,
        NetSegmentation.Tcp6 => NetOffloads.Checksum | NetOffloads.Tcp6,
        _ => frame.NeedsChecksum ? NetOffloads.Checksum : NetOffloads.None,
    };

    /// <summary>Takes a frame; one that was begun before is forgotten.</summary>
    /// <param name="taken">What the other side takes undone. Uncut TCP without <see cref="NetOffloads.Checksum"/>: whole, with a checksum over the whole.</param>
    /// <returns>False: the frame makes no sense.</returns>
    public bool Begin(in NetFrame frame, ReadOnlySpan<byte> bytes, NetOffloads taken)
    {
        _stage = Stage.Done;
        _segment = 0;
        if (bytes.Length is < NetHeaders.EthernetBytes or > MaxFrame) return false;
        _frame = frame;
        var left = Needs(frame) & ~taken;
        if (left == NetOffloads.None)
        {
            // Whoever takes it undone still relies on the numbers.
            if (frame.Segmentation == NetSegmentation.None ? frame.NeedsChecksum && !HasChecksum(frame, bytes.Length) : !HasSegments(frame, bytes)) return false;
            _stage = Stage.Whole;
            return true;
        }

        if (frame.Segmentation == NetSegmentation.None)
        {
            if (!HasChecksum(frame, bytes.Length)) return false;
            _stage = Stage.Checksum;
            return true;
        }

        if (!HasSegments(frame, bytes)) return false;

        // Who takes it uncut, but with its checksum, gets as much in one piece as IP's length can say.
        if ((left & ~NetOffloads.Checksum) == NetOffloads.None)
            _frame.SegmentBytes = (ushort)Math.Max(MinSegment, Math.Min(_headers.End - _headers.PayloadStart, MaxPacket - (_headers.PayloadStart - _headers.NetworkStart)));
        _at = _headers.PayloadStart;
        _stage = Stage.Segments;
        return true;
    }

    /// <summary>The next of the frames that come of it.</summary>
    /// <param name="bytes">The same as for <see cref="Begin"/>.</param>
    /// <param name="ready">Valid until the next call.</param>
    /// <param name="done">What is still to be done with it, which the other side takes.</param>
    /// <returns>False: there is no more.</returns>
    public bool Next(ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> ready, out NetFrame done)
    {
        done = new NetFrame { IsValid = true };
        _before = (_stage, _at, _segment);
        switch (_stage)
        {
            case Stage.Whole:
                _stage = Stage.Done;
                done = _frame;
                ready = bytes;
                return true;
            case Stage.Checksum:
                _stage = Stage.Done;
                bytes.CopyTo(_out);
                int start = _frame.ChecksumStart;
                BinaryPrimitives.WriteUInt16BigEndian(_out.AsSpan(start + _frame.ChecksumOffset), NetChecksum.OfTransport(NetChecksum.Add(0, bytes[start..])));
                ready = _out.AsSpan(0, bytes.Length);
                return true;
            case Stage.Segments:
                ready = Segment(bytes);
                return true;
            default:
                ready = default;
                return false;
        }
    }

    /// <summary>The last frame of <see cref="Next"/> was refused: it comes again.</summary>
    public void Back() => (_stage, _at, _segment) = _before;

    /// <summary>Forgets the frame.</summary>
    public void Stop() => _stage = Stage.Done;

    /// <summary>The checksum of a frame lies within it, behind the Ethernet header.</summary>
    private static bool HasChecksum(in NetFrame frame, int length) => frame.ChecksumStart >= NetHeaders.EthernetBytes && frame.ChecksumStart + frame.ChecksumOffset + sizeof(ushort) <= length;

    /// <summary>The frame is TCP of the kind that it says it is.</summary>
    private bool HasSegments(in NetFrame frame, ReadOnlySpan<byte> bytes) =>
        frame.SegmentBytes >= MinSegment && NetHeaders.TryParse(bytes, out _headers) && _headers.Protocol == NetHeaders.Tcp && _headers.IsIpv6 == (frame.Segmentation == NetSegmentation.Tcp6);

    private ReadOnlySpan<byte> Segment(ReadOnlySpan<byte> bytes)
    {
        var (network, transport, payload) = (_headers.NetworkStart, _headers.TransportStart, _headers.PayloadStart);
        var count = Math.Min(_frame.SegmentBytes, _headers.End - _at);
        var isLast = _at + count >= _headers.End;
        var segment = _out.AsSpan(0, payload + count);
        bytes[..payload].CopyTo(segment);
        bytes.Slice(_at, count).CopyTo(segment[payload..]);

        if (_headers.IsIpv6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(segment[(network + 4)..], (ushort)(segment.Length - network - 40));
        }
        else
        {
            var ip = segment[network..transport];
            BinaryPrimitives.WriteUInt16BigEndian(ip[2..], (ushort)(segment.Length - network));
            BinaryPrimitives.WriteUInt16BigEndian(ip[4..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(ip[4..]) + _segment));
            NetChecksum.PutIpv4(ip);
        }

        var tcp = segment[transport..];
        BinaryPrimitives.WriteUInt32BigEndian(tcp[SequenceAt..], BinaryPrimitives.ReadUInt32BigEndian(tcp[SequenceAt..]) + (uint)(_at - payload));
        if (_segment > 0) tcp[FlagsAt] &= unchecked((byte)~CongestionWindowReduced);
        if (!isLast) tcp[FlagsAt] &= unchecked((byte)~(Fin | Push));
        var checksum = tcp.Slice(_headers.ChecksumOffset, sizeof(ushort));
        checksum.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(checksum, NetChecksum.OfTransport(NetChecksum.Add(_headers.PseudoSum(segment, tcp.Length), tcp)));

        _at += count;
        _segment++;
        if (isLast) _stage = Stage.Done;
        return segment;
    }
}
