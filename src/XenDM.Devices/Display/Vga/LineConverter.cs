using System;
using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace XenDM.Devices.Display.Vga;

/// <summary>Makes pixels (00RRGGBB) of what lines of video memory hold.</summary>
internal static class LineConverter
{
    /// <summary>Pixels that are compared and stored at once.</summary>
    private const int Tile = 16;
    private const uint ColourBits = 0xff_ffff;

    /// <summary>A byte for each bit of a byte, the highest bit first in memory.</summary>
    private static readonly ulong[] s_spread = Spread();

    /// <summary>Eight colours of four bits, a byte each and the leftmost first, from a byte of each plane.</summary>
    /// <param name="cell">Plane 0 in the lowest byte.</param>
    public static ulong Planes(uint cell) =>
        s_spread[(byte)cell] | (s_spread[(byte)(cell >> 8)] << 1) | (s_spread[(byte)(cell >> 16)] << 2) | (s_spread[cell >> 24] << 3);

    /// <summary>Eight colours of pairs of bits: four of the planes 0 and 2, then four of the planes 1 and 3. The even planes give the low bits.</summary>
    public static ulong Pairs(uint cell)
    {
        ulong colours = 0;
        for (var dot = 0; dot < 8; dot++)
        {
            var pair = cell >> (((dot >> 2) * 8) + 6 - (2 * (dot & 3)));
            colours |= (ulong)((pair & 3) | ((pair >> 14) & 0x0c)) << (8 * dot);
        }

        return colours;
    }

    /// <summary>Eight dots of four pixels.</summary>
    public static ulong Packed(uint cell)
    {
        // Each byte twice: 44332211.
        var wide = (cell | ((ulong)cell << 16)) & 0x0000_ffff_0000_ffff;
        wide = (wide | (wide << 8)) & 0x00ff_00ff_00ff_00ff;
        return wide | (wide << 8);
    }

    /// <summary>Eight dots of the halves of four bytes, the high half first: 256 colours for an attribute controller that takes four bits a dot.</summary>
    public static ulong Nibbles(uint cell)
    {
        var wide = (cell | ((ulong)cell << 16)) & 0x0000_ffff_0000_ffff;
        wide = (wide | (wide << 8)) & 0x00ff_00ff_00ff_00ff;
        return ((wide >> 4) & 0x000f_000f_000f_000f) | ((wide & 0x000f_000f_000f_000f) << 8);
    }

    /// <summary>Lines of a linear mode of 8 to 24 bits.</summary>
    /// <param name="source">Holds all pixels of the line.</param>
    public static void Linear(int depth, ReadOnlySpan<byte> source, Span<uint> line, ReadOnlySpan<uint> colours)
    {
        switch (depth)
        {
            case 8: Indexed(source, line, colours); break;
            case 15: HighColour(source, line, 5); break;
            case 16: HighColour(source, line, 6); break;
            case 24: TrueColour(source, line); break;
            default: Wide(source, line); break;
        }
    }

    private static void Indexed(ReadOnlySpan<byte> source, Span<uint> line, ReadOnlySpan<uint> colours)
    {
        source = source[..line.Length];
        colours = colours[..256];
        for (var x = 0; x < line.Length; x++) line[x] = colours[source[x]];
    }

    /// <summary>Five bits a colour, six of green with 16; the high bits fill up the low ones, so that all ones are white.</summary>
    private static void HighColour(ReadOnlySpan<byte> source, Span<uint> line, int greenBits)
    {
        var x = 0;
        var pixels = MemoryMarshal.Cast<byte, ushort>(source);
        for (; x <= line.Length - Vector128<ushort>.Count; x += Vector128<ushort>.Count)
        {
            var (low, high) = Vector128.Widen(Vector128.Create(pixels.Slice(x, Vector128<ushort>.Count)));
            WidenColours(low, greenBits).CopyTo(line[x..]);
            WidenColours(high, greenBits).CopyTo(line[(x + Vector128<uint>.Count)..]);
        }

        for (; x < line.Length; x++) line[x] = WidenColours(Vector128.CreateScalar((uint)pixels[x]), greenBits).ToScalar();
    }

    private static Vector128<uint> WidenColours(Vector128<uint> pixel, int greenBits)
    {
        var blue = (pixel & Vector128.Create(0x1fu)) << 3;
        var red = (pixel >> (5 + greenBits)) & Vector128.Create(0x1fu);
        red = (red << 19) | ((red >> 2) << 16);
        var green = (pixel >> 5) & Vector128.Create((1u << greenBits) - 1);
        green = (green << (16 - greenBits)) | ((green >> ((2 * greenBits) - 8)) << 8);
        return red | green | blue | (blue >> 5);
    }

    private static void TrueColour(ReadOnlySpan<byte> source, Span<uint> line)
    {
        var x = 0;

        // Sixteen bytes are read for four pixels, so the last ones go one by one.
        for (; (3 * x) + Vector128<byte>.Count <= source.Length && x <= line.Length - 4; x += 4)
        {
            var bytes = Vector128.Create(source.Slice(3 * x, Vector128<byte>.Count));
            var pixels = Vector128.Shuffle(bytes, Vector128.Create((byte)0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11, 255));
            pixels.AsUInt32().CopyTo(line[x..]);
        }

        for (; x < line.Length; x++) line[x] = source[3 * x] | ((uint)source[(3 * x) + 1] << 8) | ((uint)source[(3 * x) + 2] << 16);
    }

    private static void Wide(ReadOnlySpan<byte> source, Span<uint> line)
    {
        var pixels = MemoryMarshal.Cast<byte, uint>(source)[..line.Length];
        var x = 0;
        for (; x <= line.Length - Vector<uint>.Count; x += Vector<uint>.Count) (new Vector<uint>(pixels[x..]) & new Vector<uint>(ColourBits)).CopyTo(line[x..]);
        for (; x < line.Length; x++) line[x] = pixels[x] & ColourBits;
    }

    /// <summary>Four planes of a linear mode: four bytes for eight pixels.</summary>
    /// <param name="pan">Pixels of the first cells that are left of the line.</param>
    public static void LinearPlanes(ReadOnlySpan<byte> source, int pan, Span<uint> line, ReadOnlySpan<uint> colours)
    {
        for (int x = -(pan % 8), at = pan / 8 * 4; x < line.Length; x += 8, at += 4)
        {
            var dots = Planes(BinaryPrimitives.ReadUInt32LittleEndian(source[at..]));
            if (x >= 0 && x <= line.Length - 8) Put(line.Slice(x, 8), dots, colours);
            else
                for (var dot = 0; dot < 8; dot++)
                    if ((uint)(x + dot) < (uint)line.Length) line[x + dot] = colours[(byte)(dots >> (8 * dot))];
        }
    }

    /// <summary>Eight pixels of the colours in eight bytes.</summary>
    public static void Put(Span<uint> pixels, ulong dots, ReadOnlySpan<uint> colours)
    {
        colours = colours[..256];
        pixels[7] = colours[(byte)(dots >> 56)];
        pixels[0] = colours[(byte)dots];
        pixels[1] = colours[(byte)(dots >> 8)];
        pixels[2] = colours[(byte)(dots >> 16)];
        pixels[3] = colours[(byte)(dots >> 24)];
        pixels[4] = colours[(byte)(dots >> 32)];
        pixels[5] = colours[(byte)(dots >> 40)];
        pixels[6] = colours[(byte)(dots >> 48)];
    }

    /// <summary>The next tile from a pixel on that differs; <paramref name="line"/> then holds it.</summary>
    /// <param name="from">A multiple of <see cref="Tile"/>.</param>
    /// <param name="end">The pixel behind the tile.</param>
    /// <returns>The tile's first pixel, or -1.</returns>
    public static int NextDifference(ReadOnlySpan<uint> pixels, Span<uint> line, int from, out int end)
    {
        for (var x = from; x < line.Length; x = end)
        {
            end = Math.Min(x + Tile, line.Length);
            if (pixels[x..end].SequenceEqual(line[x..end])) continue;
            pixels[x..end].CopyTo(line[x..end]);
            return x;
        }

        end = line.Length;
        return -1;
    }

    private static ulong[] Spread()
    {
        var table = new ulong[256];
        for (var value = 0; value < 256; value++)
            for (var bit = 0; bit < 8; bit++) table[value] |= (ulong)((value >> (7 - bit)) & 1) << (8 * bit);
        return table;
    }
}
