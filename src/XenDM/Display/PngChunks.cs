using System;
using System.Buffers.Binary;
using System.IO;

namespace XenDM.Display;

/// <summary>The frame of a PNG file: a signature, and chunks with length, name and CRC (W3C PNG specification, 5).</summary>
internal static class PngChunks
{
    /// <summary>Bytes of a chunk besides its data.</summary>
    public const int Overhead = 12;
    private const int MaxSmall = 64;
    private static readonly uint[] s_crc = CrcTable();

    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0d, 0x0a, 0x1a, 0x0a];

    /// <param name="name">Four letters.</param>
    public static void Write(Stream output, ReadOnlySpan<byte> name, ReadOnlySpan<byte> data)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        output.Write(number);
        output.Write(name);
        output.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(number, ~Crc(Crc(uint.MaxValue, name), data));
        output.Write(number);
    }

    /// <summary>Size, and 8 bits a colour or a palette.</summary>
    /// <param name="bits">Of an entry of the palette: 1, 2, 4 or 8; 0 for red, green and blue.</param>
    public static void WriteHeader(Stream output, int width, int height, int bits)
    {
        Span<byte> data = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(data, width);
        BinaryPrimitives.WriteInt32BigEndian(data[4..], height);
        (data[8], data[9]) = bits == 0 ? ((byte)8, (byte)2) : ((byte)bits, (byte)3);
        data[10..].Clear();
        Write(output, "IHDR"u8, data);
    }

    /// <summary>A chunk of 32-bit numbers.</summary>
    public static void WriteNumbers(Stream output, ReadOnlySpan<byte> name, ReadOnlySpan<int> numbers)
    {
        Span<byte> data = stackalloc byte[MaxSmall];
        for (var n = 0; n < numbers.Length; n++) BinaryPrimitives.WriteInt32BigEndian(data[(4 * n)..], numbers[n]);
        Write(output, name, data[..(4 * numbers.Length)]);
    }

    private static uint Crc(uint crc, ReadOnlySpan<byte> data)
    {
        foreach (var value in data) crc = s_crc[(byte)(crc ^ value)] ^ (crc >> 8);
        return crc;
    }

    /// <summary>ISO 3309, as PNG has it: polynomial edb88320, the lowest bit first.</summary>
    private static uint[] CrcTable()
    {
        var table = new uint[256];
        for (var n = 0u; n < 256; n++)
        {
            var value = n;
            for (var bit = 0; bit < 8; bit++) value = (value & 1) != 0 ? 0xedb8_8320 ^ (value >> 1) : value >> 1;
            table[n] = value;
        }

        return table;
    }
}

/// <summary>Cuts a compressed picture into chunks, so that its length need not be known.</summary>
internal sealed class PngDataStream : Stream
{
    private const int ChunkBytes = 64 << 10;

    private readonly Stream _output;
    private readonly Func<int>? _sequence;
    private readonly byte[] _chunk = new byte[ChunkBytes];
    private int _length;

    /// <param name="sequence">The next number of an animation's chunks, for the data of one of its frames; null for the picture itself.</param>
    public PngDataStream(Stream output, Func<int>? sequence)
    {
        _output = output;
        _sequence = sequence;
        _length = Start;
    }

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    private int Start => _sequence is null ? 0 : sizeof(int);

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var piece = buffer[..Math.Min(buffer.Length, ChunkBytes - _length)];
            piece.CopyTo(_chunk.AsSpan(_length));
            _length += piece.Length;
            buffer = buffer[piece.Length..];
            if (_length == ChunkBytes) Emit();
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && _length > Start) Emit();
        base.Dispose(disposing);
    }

    private void Emit()
    {
        if (_sequence is not null) BinaryPrimitives.WriteInt32BigEndian(_chunk, _sequence());
        PngChunks.Write(_output, _sequence is null ? "IDAT"u8 : "fdAT"u8, _chunk.AsSpan(0, _length));
        _length = Start;
    }
}
