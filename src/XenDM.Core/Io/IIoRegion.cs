using System;

namespace XenDM.Core.Io;

/// <summary>A range of ports or memory that a chip answers. Offsets are relative to the region's start.</summary>
public interface IIoRegion
{
    /// <param name="offset">Offset of the first byte in the region; the access never leaves the region.</param>
    /// <param name="size">1, 2, 4 or 8 bytes (ports: at most 4).</param>
    /// <returns>The value, zero-extended. Bits above the size are ignored.</returns>
    ulong Read(ulong offset, int size);

    /// <inheritdoc cref="Read"/>
    /// <param name="value">The value written, zero-extended.</param>
    void Write(ulong offset, int size, ulong value);
}

/// <summary>
/// A region that moves many items at once: <c>rep ins/outs</c> on a data port (all items go to the same offset) or a block copy on
/// linear memory (consecutive bytes from the offset). Which of the two is meant follows from the space that the region is mapped in.
/// </summary>
public interface IBulkRegion : IIoRegion
{
    /// <summary>Fills <paramref name="data"/> with <c>data.Length / size</c> items of <paramref name="size"/> bytes.</summary>
    void ReadBlock(ulong offset, int size, Span<byte> data);

    /// <summary>Consumes <c>data.Length / size</c> items of <paramref name="size"/> bytes.</summary>
    void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data);
}
