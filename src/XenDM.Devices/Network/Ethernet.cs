using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;

namespace XenDM.Devices.Network;

/// <summary>Ethernet's frames as all chips have them (IEEE 802.3 clause 3, IEEE 802.1Q clause 9).</summary>
internal static class Ethernet
{
    /// <summary>Bytes of addresses and type.</summary>
    public const int EthernetHeader = 14;

    /// <summary>Bytes of the addresses: a tag, or the type, comes next.</summary>
    public const int Addresses = 12;
    public const int TagBytes = 4;
    public const int FcsBytes = 4;

    /// <summary>Bytes of the shortest frame, without FCS.</summary>
    public const int MinFrame = 60;

    public static bool IsBroadcast(ReadOnlySpan<byte> frame) => BinaryPrimitives.ReadUInt32LittleEndian(frame) == uint.MaxValue && BinaryPrimitives.ReadUInt16LittleEndian(frame[4..]) == ushort.MaxValue;

    /// <summary>Puts a tag in, in front of which the addresses move.</summary>
    /// <param name="buffer">Holds a frame behind <see cref="TagBytes"/> of room.</param>
    /// <param name="type">Of the tag, e.g. 0x8100.</param>
    public static void InsertTag(Span<byte> buffer, ushort type, ushort tag)
    {
        buffer.Slice(TagBytes, Addresses).CopyTo(buffer);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[Addresses..], type);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[(Addresses + sizeof(ushort))..], tag);
    }

    /// <summary>Visits a packet that a transmitter is at work on.</summary>
    /// <param name="buffer">Holds it behind <see cref="TagBytes"/> of room for a tag, which may be in use.</param>
    /// <param name="length">Of the packet; 0 for none.</param>
    /// <param name="max">The longest.</param>
    public static void PacketState(StateVisitor s, byte[] buffer, ref int length, int max)
    {
        var packet = length == 0 ? [] : buffer.AsSpan(0, TagBytes + length).ToArray();
        s.Blob("packet", ref packet, TagBytes + max);
        s.I32("length", ref length, 0, max);
        if (!s.IsLoading) return;
        if (packet.Length != (length == 0 ? 0 : TagBytes + length)) s.Fail("packet", $"{packet.Length} bytes for a length of {length}");
        packet.CopyTo(buffer, 0);
    }

    /// <summary>Visits what a packet leaves to the backend.</summary>
    public static void FrameState(StateVisitor s, ref NetFrame frame)
    {
        var segmentation = (byte)frame.Segmentation;
        s.Bool("frame.needs-checksum", ref frame.NeedsChecksum);
        s.U16("frame.checksum-start", ref frame.ChecksumStart);
        s.U16("frame.checksum-offset", ref frame.ChecksumOffset);
        s.U8("frame.segmentation", ref segmentation);
        s.U16("frame.segment-bytes", ref frame.SegmentBytes);
        s.U16("frame.header-bytes", ref frame.HeaderBytes);
        if (s.IsLoading) frame.Segmentation = (NetSegmentation)segmentation;
    }
}
