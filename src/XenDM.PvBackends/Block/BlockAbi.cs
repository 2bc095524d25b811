using System;
using System.Buffers.Binary;

namespace XenDM.PvBackends.Block;

/// <summary>Numbers of xen/public/io/blkif.h.</summary>
internal static class BlockProtocol
{
    public const byte Read = 0;
    public const byte Write = 1;
    public const byte WriteBarrier = 2;
    public const byte Flush = 3;
    public const byte Discard = 5;
    public const byte Indirect = 6;

    public const short Okay = 0;
    public const short Error = -1;
    public const short NotSupported = -2;

    /// <summary>Flag of a discard that asks for secure erasure.</summary>
    public const byte SecureDiscard = 1;

    /// <summary>Segments within a request.</summary>
    public const int DirectSegments = 11;

    /// <summary>Segments of a request that lists them in pages of its own; a page has room for 512.</summary>
    public const int IndirectSegments = 256;
    public const int SegmentBytes = 8;
    public const int SectorBytes = 512;
    public const int SectorShift = 9;
    public const int LastSectorOfPage = 7;

    /// <summary>Bits of the node <c>info</c>.</summary>
    public const int InfoCdrom = 1;

    /// <inheritdoc cref="InfoCdrom"/>
    public const int InfoReadOnly = 4;
}

/// <summary>Where the fields of requests and responses lie: 32-bit guests align 64-bit fields to 4 bytes.</summary>
/// <param name="Slot">Bytes of a request.</param>
/// <param name="Response">Bytes of a response.</param>
/// <param name="Id">Offset of the request's id, 8 bytes; sector number and segments follow it.</param>
internal readonly record struct BlockAbi(int Slot, int Response, int Id)
{
    public static readonly BlockAbi Bits64 = new(112, 16, 8);
    public static readonly BlockAbi Bits32 = new(108, 12, 4);

    public int Sector => Id + 8;

    public int Segments => Id + 16;

    /// <summary>Of a discard: how many sectors.</summary>
    public int DiscardSectors => Id + 16;

    /// <summary>Of an indirect request: the first grant that holds descriptors. A handle of 2 bytes and, in the 64-bit form, padding come before.</summary>
    public int IndirectGrant => Id + 20;

    /// <summary>Puts a response together.</summary>
    public ReadOnlySpan<byte> Respond(Span<byte> buffer, ulong id, byte operation, short status)
    {
        buffer[..Response].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(buffer, id);
        buffer[8] = operation;
        BinaryPrimitives.WriteInt16LittleEndian(buffer[10..], status);
        return buffer[..Response];
    }
}
