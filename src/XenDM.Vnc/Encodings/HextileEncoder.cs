using System;
using System.Buffers;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Encoding 5 (RFC 6143, 7.7.4): tiles of 16 x 16 pixels, each of one colour, of one colour with smaller rectangles on it, or raw where that is
/// shorter.
/// </summary>
public sealed class HextileEncoder : RfbEncoder
{
    private const int Side = 16;
    private const int TilePixels = Side * Side;

    // Bits of a tile's first byte.
    private const byte Raw = 1, BackgroundFollows = 2, ForegroundFollows = 4, HasRectangles = 8, RectanglesHaveColours = 16;

    /// <summary>Bytes of a tile are never more than those of a raw one.</summary>
    private const int MaxTile = 1 + (TilePixels * sizeof(uint));

    private readonly uint[] _pixels = new uint[TilePixels];
    private readonly byte[] _tile = new byte[MaxTile];
    private readonly ushort[] _taken = new ushort[Side];

    public override int Encoding => RfbEncodings.Hextile;

    public override int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output)
    {
        WriteHeader(area, Encoding, output);
        uint? background = null, foreground = null;
        for (var y = 0; y < area.Height; y += Side)
        {
            var height = Math.Min(Side, area.Height - y);
            for (var x = 0; x < area.Width; x += Side)
            {
                var width = Math.Min(Side, area.Width - x);
                for (var line = 0; line < height; line++)
                    format.Full.Pack(frame.Line(area.Y + y + line).Slice(area.X + x, width), _pixels.AsSpan(line * width, width));
                var length = EncodeTile(width, height, format.Full, ref background, ref foreground);
                output.Write(_tile.AsSpan(0, length));
            }
        }

        return 1;
    }

    private int EncodeTile(int width, int height, PixelPacker packer, ref uint? background, ref uint? foreground)
    {
        var pixels = _pixels.AsSpan(0, width * height);
        var (back, front, colours) = Colours(pixels);
        byte flags = 0;
        var length = 1;
        if (back != background)
        {
            flags |= BackgroundFollows;
            length += packer.Write(back, _tile.AsSpan(length));
        }

        if (colours == 2)
        {
            flags |= HasRectangles;
            if (front != foreground)
            {
                flags |= ForegroundFollows;
                length += packer.Write(front, _tile.AsSpan(length));
            }
        }
        else if (colours > 2) flags |= HasRectangles | RectanglesHaveColours;

        if (colours > 1 && !TryRectangles(pixels, width, height, back, colours > 2 ? packer : null, 1 + (pixels.Length * packer.Bytes), ref length))
        {
            // What a raw tile leaves of the colours is not defined: the next tile tells them again.
            (background, foreground) = (null, null);
            _tile[0] = Raw;
            return 1 + packer.Write(pixels, _tile.AsSpan(1));
        }

        background = back;
        if (colours == 2) foreground = front;
        else if (colours > 2) foreground = null;
        _tile[0] = flags;
        return length;
    }

    /// <returns>The colour of most pixels, or one of many; another colour; 1, 2, or 3 for more.</returns>
    private static (uint Back, uint Front, int Count) Colours(ReadOnlySpan<uint> pixels)
    {
        var first = pixels[0];
        var next = pixels.IndexOfAnyExcept(first);
        if (next < 0) return (first, first, 1);
        var second = pixels[next];
        int firsts = next, seconds = 0, others = 0;
        foreach (var pixel in pixels[next..])
        {
            if (pixel == first) firsts++;
            else if (pixel == second) seconds++;
            else others++;
        }

        var (back, front) = firsts >= seconds ? (first, second) : (second, first);
        return (back, front, others == 0 ? 2 : 3);
    }

    /// <summary>Covers what is not background with rectangles.</summary>
    /// <param name="packer">Each rectangle tells its colour; null when all have the same one.</param>
    /// <param name="limit">Bytes of the raw tile.</param>
    /// <returns>False when the tile would not be shorter than a raw one.</returns>
    private bool TryRectangles(ReadOnlySpan<uint> pixels, int width, int height, uint back, PixelPacker? packer, int limit, ref int length)
    {
        var taken = _taken.AsSpan();
        taken.Clear();
        var place = length++;
        var count = 0;
        var need = 2 + (packer?.Bytes ?? 0);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var colour = pixels[(y * width) + x];
                if (colour == back || (taken[y] & (1 << x)) != 0) continue;
                if (length + need > limit || count == 255) return false;
                var right = x + 1;
                while (right < width && pixels[(y * width) + right] == colour && (taken[y] & (1 << right)) == 0) right++;
                var mask = (ushort)(((1 << (right - x)) - 1) << x);
                var bottom = y + 1;
                while (bottom < height && (taken[bottom] & mask) == 0 && !pixels.Slice((bottom * width) + x, right - x).ContainsAnyExcept(colour)) bottom++;
                for (var line = y; line < bottom; line++) taken[line] |= mask;
                if (packer is not null) length += packer.Write(colour, _tile.AsSpan(length));
                _tile[length++] = (byte)((x << 4) | y);
                _tile[length++] = (byte)(((right - x - 1) << 4) | (bottom - y - 1));
                count++;
            }
        }

        _tile[place] = (byte)count;
        return true;
    }
}
