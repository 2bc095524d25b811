using System;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Pixels of a frame as the bytes of one kind of pixel: 1 to 4 bytes, each colour at a place of its own. A packed pixel is a number whose low bytes,
/// the lowest first, are the bytes to be sent, so that encoders compare and count packed pixels as numbers.
/// </summary>
internal sealed class PixelPacker
{
    // A packed pixel is the sum of an entry for its red, green and blue.
    private readonly uint[] _red, _green, _blue;
    private readonly Vector128<byte> _order;
    private readonly bool _isSame, _isOrder;

    /// <param name="bytes">Of a pixel, 1 to 4.</param>
    /// <param name="red">For each of 256 values the bits that stand for it; likewise the others.</param>
    public PixelPacker(int bytes, uint[] red, uint[] green, uint[] blue)
    {
        (Bytes, _red, _green, _blue) = (bytes, red, green, blue);
        var (r, g, b) = (Place(red), Place(green), Place(blue));
        if (r < 0 || g < 0 || b < 0) return;
        _isOrder = true;
        _isSame = (r, g, b) == (2, 1, 0);
        Span<byte> order = stackalloc byte[16];
        order.Fill(0xff);
        for (var i = 0; i < 16; i += 4) (order[i + r], order[i + g], order[i + b]) = ((byte)(i + 2), (byte)(i + 1), (byte)i);
        _order = Vector128.Create<byte>(order);
    }

    /// <summary>Bytes of a pixel.</summary>
    public int Bytes { get; }

    /// <summary>Without the bytes that are lowest: for a kind of pixel that leaves them out.</summary>
    public PixelPacker Without(int lowBytes, int bytes)
    {
        static uint[] Shift(uint[] table, int bits) => Array.ConvertAll(table, v => v >> bits);
        return new PixelPacker(bytes, Shift(_red, 8 * lowBytes), Shift(_green, 8 * lowBytes), Shift(_blue, 8 * lowBytes));
    }

    public uint Pack(uint pixel) => _red[(byte)(pixel >> 16)] | _green[(byte)(pixel >> 8)] | _blue[(byte)pixel];

    /// <param name="packed">As long as <paramref name="pixels"/>.</param>
    public void Pack(ReadOnlySpan<uint> pixels, Span<uint> packed)
    {
        packed = packed[..pixels.Length];
        if (_isSame)
        {
            pixels.CopyTo(packed);
            return;
        }

        var i = 0;
        if (_isOrder)
            for (; i <= pixels.Length - 4; i += 4) Vector128.Shuffle(Vector128.Create(pixels[i..]).AsByte(), _order).AsUInt32().CopyTo(packed[i..]);
        for (; i < packed.Length; i++) packed[i] = Pack(pixels[i]);
    }

    /// <summary>Packs pixels and writes their bytes.</summary>
    /// <returns>Bytes written.</returns>
    public int Convert(ReadOnlySpan<uint> pixels, Span<byte> to)
    {
        switch (Bytes)
        {
            case 4:
                Pack(pixels, MemoryMarshal.Cast<byte, uint>(to));
                break;
            case 3:
                Convert3(pixels, to);
                break;
            case 2:
                var words = MemoryMarshal.Cast<byte, ushort>(to)[..pixels.Length];
                for (var i = 0; i < words.Length; i++) words[i] = (ushort)Pack(pixels[i]);
                break;
            default:
                to = to[..pixels.Length];
                for (var i = 0; i < to.Length; i++) to[i] = (byte)Pack(pixels[i]);
                break;
        }

        return pixels.Length * Bytes;
    }

    /// <summary>Writes packed pixels.</summary>
    /// <returns>Bytes written.</returns>
    public int Write(ReadOnlySpan<uint> packed, Span<byte> to)
    {
        switch (Bytes)
        {
            case 4:
                MemoryMarshal.AsBytes(packed).CopyTo(to);
                break;
            case 3:
                Narrow(packed, to, s_lowThree);
                break;
            case 2:
                for (var i = 0; i < packed.Length; i++) BinaryPrimitives.WriteUInt16LittleEndian(to[(i * 2)..], (ushort)packed[i]);
                break;
            default:
                to = to[..packed.Length];
                for (var i = 0; i < to.Length; i++) to[i] = (byte)packed[i];
                break;
        }

        return packed.Length * Bytes;
    }

    /// <summary>Writes one packed pixel.</summary>
    /// <returns>Bytes written.</returns>
    public int Write(uint packed, Span<byte> to)
    {
        for (var i = 0; i < Bytes; i++, packed >>= 8) to[i] = (byte)packed;
        return Bytes;
    }

    /// <returns>The byte that a colour of 8 bits takes whole; -1 when there is none.</returns>
    private static int Place(uint[] table) => BitOperations.PopCount(table[255]) == 8 && table[1] != 0 && table[255] == table[1] * 255 && BitOperations.TrailingZeroCount(table[1]) % 8 == 0
        ? BitOperations.TrailingZeroCount(table[1]) / 8 : -1;

    private static readonly Vector128<byte> s_lowThree = Vector128.Create((byte)0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0xff, 0xff, 0xff, 0xff);

    private void Convert3(ReadOnlySpan<uint> pixels, Span<byte> to)
    {
        if (_isOrder)
        {
            Narrow(pixels, to, Vector128.Shuffle(_order, s_lowThree) | (s_lowThree & Vector128.Create((byte)0x80)));
            return;
        }

        for (var i = 0; i < pixels.Length; i++)
        {
            var value = Pack(pixels[i]);
            (to[i * 3], to[(i * 3) + 1], to[(i * 3) + 2]) = ((byte)value, (byte)(value >> 8), (byte)(value >> 16));
        }
    }

    /// <summary>Three bytes of each number, four numbers at a time; the last ones one by one, for a store is 16 bytes wide.</summary>
    private static void Narrow(ReadOnlySpan<uint> from, Span<byte> to, Vector128<byte> order)
    {
        to = to[..(from.Length * 3)];
        var i = 0;
        for (; i <= from.Length - 6; i += 4) Vector128.Shuffle(Vector128.Create(from[i..]).AsByte(), order).CopyTo(to[(i * 3)..]);
        for (; i < from.Length; i++)
        {
            var pixel = Vector128.Shuffle(Vector128.CreateScalar(from[i]).AsByte(), order).AsUInt32().ToScalar();
            (to[i * 3], to[(i * 3) + 1], to[(i * 3) + 2]) = ((byte)pixel, (byte)(pixel >> 8), (byte)(pixel >> 16));
        }
    }
}
