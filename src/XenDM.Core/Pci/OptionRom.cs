using System;
using XenDM.Core.Io;

namespace XenDM.Core.Pci;

/// <summary>The expansion ROM of a function, filled up to a power of two with ff.</summary>
public sealed class OptionRom : IBulkRegion
{
    /// <summary>Bytes of the largest image.</summary>
    public const int MaxBytes = 1 << 20;

    private readonly byte[] _bytes;

    /// <param name="image">1 byte to <see cref="MaxBytes"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">The image is empty or too large.</exception>
    public OptionRom(ReadOnlySpan<byte> image)
    {
        if (image.IsEmpty || image.Length > MaxBytes) throw new ArgumentOutOfRangeException(nameof(image), $"an option ROM has 1 to {MaxBytes} bytes, not {image.Length}");
        _bytes = new byte[Math.Max(2048, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)image.Length))];
        _bytes.AsSpan().Fill(0xff);
        image.CopyTo(_bytes);
    }

    /// <summary>Bytes: a power of two of at least 2048.</summary>
    public int Size => _bytes.Length;

    public ulong Read(ulong offset, int size)
    {
        ulong value = 0;
        for (var i = 0; i < size; i++) value |= (ulong)_bytes[(int)offset + i] << (8 * i);
        return value;
    }

    public void Write(ulong offset, int size, ulong value)
    {
    }

    public void ReadBlock(ulong offset, int size, Span<byte> data) => _bytes.AsSpan((int)offset, data.Length).CopyTo(data);

    public void WriteBlock(ulong offset, int size, ReadOnlySpan<byte> data)
    {
    }
}
