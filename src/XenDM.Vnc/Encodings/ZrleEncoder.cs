using System;
using System.Buffers;
using System.Buffers.Binary;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Encoding 16 (RFC 6143, 7.7.6): tiles of 64 x 64 pixels, each in the shortest of raw pixels, one colour, a packed palette, runs of pixels, runs of
/// a palette's colours; all of a rectangle through one zlib stream for the connection.
/// </summary>
public sealed class ZrleEncoder : RfbEncoder
{
    private const int Side = 64;
    private const int TilePixels = Side * Side;

    /// <summary>Pixels of a rectangle: what is compressed is held until its length is known.</summary>
    private const int MaxPixels = 65536;
    private const int MaxWidth = 1024;
    private const int LengthField = 4;

    // A tile's first byte. Palettes: the number of colours is added.
    private const byte Raw = 0, PlainRuns = 128, PaletteRuns = 128;
    private const int MaxPacked = 16, MaxPalette = 127;

    private readonly EncoderSettings _settings;
    private readonly Palette _palette = new();
    private readonly uint[] _pixels = new uint[TilePixels];

    // Runs are chosen only where they are shorter than raw pixels, which with the first byte are the longest that a tile can be.
    private readonly byte[] _tile = new byte[1 + (TilePixels * sizeof(uint))];
    private Deflater? _deflater;

    public ZrleEncoder(EncoderSettings settings) => _settings = settings;

    public override int Encoding => RfbEncodings.Zrle;

    public override int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output)
    {
        // The stream lasts as long as the connection, and with it the level that the client asked for first.
        _deflater ??= new Deflater(_settings.ZlibLevel);
        var count = 0;
        var width = Math.Min(area.Width, MaxWidth);
        var height = Math.Max(MaxPixels / width / Side, 1) * Side;
        for (var y = 0; y < area.Height; y += height)
        {
            for (var x = 0; x < area.Width; x += width, count++)
            {
                var part = new PictureArea(area.X + x, area.Y + y, Math.Min(width, area.Width - x), Math.Min(height, area.Height - y));
                var data = EncodePart(frame, part, format.Compact, _deflater);
                WriteHeader(part, Encoding, output);
                BinaryPrimitives.WriteInt32BigEndian(output.GetSpan(LengthField), data.Length);
                output.Advance(LengthField);
                output.Write(data);
            }
        }

        return count;
    }

    protected override void Dispose(bool disposing)
    {
        _deflater?.Dispose();
        base.Dispose(disposing);
    }

    private ReadOnlySpan<byte> EncodePart(Frame frame, PictureArea part, PixelPacker packer, Deflater deflater)
    {
        for (var y = 0; y < part.Height; y += Side)
        {
            var height = Math.Min(Side, part.Height - y);
            for (var x = 0; x < part.Width; x += Side)
            {
                var width = Math.Min(Side, part.Width - x);
                for (var line = 0; line < height; line++)
                    packer.Pack(frame.Line(part.Y + y + line).Slice(part.X + x, width), _pixels.AsSpan(line * width, width));
                deflater.Write(_tile.AsSpan(0, EncodeTile(_pixels.AsSpan(0, width * height), width, packer)));
            }
        }

        return deflater.Flush();
    }

    private int EncodeTile(ReadOnlySpan<uint> pixels, int width, PixelPacker packer)
    {
        var bytes = packer.Bytes;
        var (runs, singles, lengths) = Count(pixels);
        if (runs == 1)
        {
            _tile[0] = 1;
            return 1 + packer.Write(pixels[0], _tile.AsSpan(1));
        }

        var colours = _palette.Count;
        var best = pixels.Length * bytes;
        var kind = Raw;
        if ((runs * bytes) + lengths + singles < best) (kind, best) = (PlainRuns, (runs * bytes) + lengths + singles);
        if (colours <= MaxPalette && (colours * bytes) + runs + lengths < best) (kind, best) = ((byte)(PaletteRuns + colours), (colours * bytes) + runs + lengths);
        if (colours <= MaxPacked)
        {
            // The zlib stream finds what is alike in packed lines better than in runs.
            var packed = (colours * bytes) + (pixels.Length / width * ((width * Bits(colours)) + 7) / 8);
            if (packed <= best + (best / 2)) kind = (byte)colours;
        }

        _tile[0] = kind;
        return kind switch
        {
            Raw => 1 + packer.Write(pixels, _tile.AsSpan(1)),
            PlainRuns => WriteRuns(pixels, packer),
            > PaletteRuns => WritePaletteRuns(pixels, packer),
            _ => WritePacked(pixels, width, packer),
        };
    }

    /// <summary>Collects the colours, up to one more than a palette can have.</summary>
    /// <returns>Runs of equal pixels; those of one pixel; bytes that the lengths of the longer ones take.</returns>
    private (int Runs, int Singles, int Lengths) Count(ReadOnlySpan<uint> pixels)
    {
        _palette.Clear();
        int runs = 0, singles = 0, lengths = 0;
        for (var i = 0; i < pixels.Length; runs++)
        {
            var length = RunLength(pixels[i..]);
            if (_palette.Count <= MaxPalette) _palette.TryAdd(pixels[i], MaxPalette + 1);
            if (length == 1) singles++;
            else lengths += 1 + ((length - 1) / 255);
            i += length;
        }

        return (runs, singles, lengths);
    }

    private static int RunLength(ReadOnlySpan<uint> pixels)
    {
        if (pixels.Length > 1 && pixels[1] != pixels[0]) return 1;
        var length = pixels.IndexOfAnyExcept(pixels[0]);
        return length < 0 ? pixels.Length : length;
    }

    private static int Bits(int colours) => colours switch { 2 => 1, <= 4 => 2, _ => 4 };

    private int WriteRuns(ReadOnlySpan<uint> pixels, PixelPacker packer)
    {
        var at = 1;
        for (var i = 0; i < pixels.Length;)
        {
            var length = RunLength(pixels[i..]);
            at += packer.Write(pixels[i], _tile.AsSpan(at));
            at += WriteLength(length, at);
            i += length;
        }

        return at;
    }

    private int WritePaletteRuns(ReadOnlySpan<uint> pixels, PixelPacker packer)
    {
        var at = 1 + packer.Write(_palette.Colours, _tile.AsSpan(1));
        for (var i = 0; i < pixels.Length;)
        {
            var length = RunLength(pixels[i..]);
            var index = _palette.IndexOf(pixels[i]);
            if (length == 1) _tile[at++] = index;
            else
            {
                _tile[at++] = (byte)(index | 0x80);
                at += WriteLength(length, at);
            }

            i += length;
        }

        return at;
    }

    /// <summary>One less than the length, as bytes that are summed up; the first that is not 255 is the last one.</summary>
    private int WriteLength(int length, int at)
    {
        var start = at;
        for (length--; length >= 255; length -= 255) _tile[at++] = 255;
        _tile[at++] = (byte)length;
        return at - start;
    }

    private int WritePacked(ReadOnlySpan<uint> pixels, int width, PixelPacker packer)
    {
        var at = 1 + packer.Write(_palette.Colours, _tile.AsSpan(1));
        var bits = Bits(_palette.Count);
        var last = pixels[0];
        uint index = _palette.IndexOf(last);
        for (; pixels.Length > 0; pixels = pixels[width..])
        {
            uint value = 0;
            var filled = 0;
            foreach (var pixel in pixels[..width])
            {
                if (pixel != last) (last, index) = (pixel, _palette.IndexOf(pixel));
                value = (value << bits) | index;
                filled += bits;
                if (filled < 8) continue;
                _tile[at++] = (byte)value;
                (value, filled) = (0, 0);
            }

            if (filled > 0) _tile[at++] = (byte)(value << (8 - filled));
        }

        return at;
    }
}
