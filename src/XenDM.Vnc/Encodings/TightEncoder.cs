using System;
using System.Buffers;
using System.IO.Compression;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Encoding 7 (the community's RFB description, "Tight encoding"): rectangles of one colour, of indices of a palette, of pixels, of differences from
/// what their neighbours foretell, or as JPEG. An area is cut in bands and these where the kind of picture changes.
/// </summary>
public sealed class TightEncoder : RfbEncoder
{
    /// <summary>Of a rectangle; and pixels of a band, which bounds what is held.</summary>
    private const int MaxWidth = 2048, MaxPixels = 65536;

    /// <summary>Pictures are looked at in cells of this width, and plain areas in columns of the other one.</summary>
    private const int CellWidth = 64, ColumnWidth = 16;

    /// <summary>Pixels of one colour that are worth a rectangle of their own.</summary>
    private const int MinFill = 2048;

    /// <summary>Up to so many colours, indices of a palette pay in every kind of picture.</summary>
    private const int FewColours = 96;

    /// <summary>Less is sent as it is, without its length.</summary>
    private const int MinCompressed = 12;

    // The control byte: kinds of rectangle in the high bits; for a basic one the stream and whether a filter is named; low bits reset streams.
    private const byte Fill = 0x80, Jpeg = 0x90, FilterFollows = 0x40;
    private const byte PaletteFilter = 1, GradientFilter = 2;

    // Any stream may carry any kind. What comes again goes through one that looks for it; the last one only codes bytes by how often they are met.
    private const int PixelStream = 0, MonoStream = 1, PaletteStream = 2, NoiseStream = 3;
    private const int StreamShift = 4;

    private readonly EncoderSettings _settings;
    private readonly PictureSorter _sorter = new();
    private readonly GradientPredictor _gradient = new();
    private readonly Palette _palette = new();
    private readonly Deflater?[] _deflaters = new Deflater?[4];
    private readonly int[] _levels = new int[4];
    private readonly uint[] _packed = new uint[MaxWidth];
    private readonly byte[] _bytes = new byte[MaxWidth * sizeof(uint)];
    private readonly byte[] _head = new byte[HeaderLength + 3 + (Palette.MaxColours * sizeof(uint))];
    private int _resets;

    public TightEncoder(EncoderSettings settings) => _settings = settings;

    public override int Encoding => RfbEncodings.Tight;

    public override int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output)
    {
        var count = 0;
        var width = Math.Min(area.Width, MaxWidth);
        var height = Math.Max(MaxPixels / width, 1);
        for (var y = 0; y < area.Height; y += height)
            for (var x = 0; x < area.Width; x += width)
                count += EncodeBand(frame, new PictureArea(area.X + x, area.Y + y, Math.Min(width, area.Width - x), Math.Min(height, area.Height - y)), format, output);
        return count;
    }

    protected override void Dispose(bool disposing)
    {
        foreach (var deflater in _deflaters) deflater?.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Cuts a band where natural pictures begin and end.</summary>
    private int EncodeBand(Frame frame, PictureArea band, ClientFormat format, IBufferWriter<byte> output)
    {
        var count = 0;
        for (int x = 0, start = 0; x < band.Width; start = x)
        {
            var isNatural = _sorter.IsNatural(frame, Cell(band, x));
            for (x += CellWidth; x < band.Width && _sorter.IsNatural(frame, Cell(band, x)) == isNatural; x += CellWidth)
            {
            }

            x = Math.Min(x, band.Width);
            var part = band with { X = band.X + start, Width = x - start };
            count += isNatural ? EncodeNatural(frame, part, format, output) : EncodePlain(frame, part, format, output);
        }

        return count;
    }

    private static PictureArea Cell(PictureArea band, int x) => band with { X = band.X + x, Width = Math.Min(CellWidth, band.Width - x) };

    /// <summary>Cuts a part where columns of one colour begin and end.</summary>
    private int EncodePlain(Frame frame, PictureArea part, ClientFormat format, IBufferWriter<byte> output)
    {
        int count = 0, begin = 0;
        for (var x = 0; x < part.Width;)
        {
            var start = x;
            var colour = frame.Line(part.Y)[part.X + x];
            while (x < part.Width && PictureSorter.IsOneColour(frame, part with { X = part.X + x, Width = Math.Min(ColumnWidth, part.Width - x) }, colour))
                x = Math.Min(x + ColumnWidth, part.Width);
            if (x == start)
            {
                x = Math.Min(x + ColumnWidth, part.Width);
                continue;
            }

            if ((x - start) * part.Height < MinFill && !(start == 0 && x == part.Width)) continue;
            if (start > begin) count += EncodeMixed(frame, part with { X = part.X + begin, Width = start - begin }, format, output);
            count += EncodeFill(part with { X = part.X + start, Width = x - start }, format.Tight, colour, output);
            begin = x;
        }

        if (part.Width > begin) count += EncodeMixed(frame, part with { X = part.X + begin, Width = part.Width - begin }, format, output);
        return count;
    }

    private int EncodeFill(PictureArea part, PixelPacker packer, uint colour, IBufferWriter<byte> output)
    {
        WriteHeader(part, Encoding, _head);
        _head[HeaderLength] = Fill;
        output.Write(_head.AsSpan(0, HeaderLength + 1 + packer.Write(packer.Pack(colour), _head.AsSpan(HeaderLength + 1))));
        return 1;
    }

    /// <summary>Without loss: a palette where the colours are few, else what the kind of picture is best sent as.</summary>
    private int EncodeMixed(Frame frame, PictureArea part, ClientFormat format, IBufferWriter<byte> output)
    {
        var isPalette = TryPalette(frame, part, format.Tight);
        if (!isPalette || _palette.Count > FewColours)
        {
            var kind = _sorter.Judge(frame, part, _settings.IsGradientAllowed && format.IsTight);
            if (kind is PictureKind.Smooth or PictureKind.Rough) return EncodeGradient(frame, part, format.Tight, kind == PictureKind.Smooth ? PixelStream : NoiseStream, output);
            if (!isPalette) return EncodePixels(frame, part, format, kind == PictureKind.Noise ? NoiseStream : PixelStream, output);
        }

        return EncodeIndices(frame, part, format, output);
    }

    private int EncodeIndices(Frame frame, PictureArea part, ClientFormat format, IBufferWriter<byte> output)
    {
        var colours = _palette.Count;
        if (colours == 1) return EncodeFill(part, format.Tight, frame.Line(part.Y)[part.X], output);
        var stream = colours == 2 ? MonoStream : PaletteStream;
        var at = Begin(part, stream, PaletteFilter);
        _head[at++] = (byte)(colours - 1);
        at += format.Tight.Write(_palette.Colours, _head.AsSpan(at));
        output.Write(_head.AsSpan(0, at));
        var line = colours == 2 ? (part.Width + 7) / 8 : part.Width;
        var isSmall = line * part.Height < MinCompressed;
        for (var y = part.Y; y < part.Y + part.Height; y++)
        {
            var packed = _packed.AsSpan(0, part.Width);
            format.Tight.Pack(frame.Line(y).Slice(part.X, part.Width), packed);
            if (colours == 2) WriteBits(packed, _palette.Colours[1]);
            else WriteIndices(packed);
            if (isSmall) output.Write(_bytes.AsSpan(0, line));
            else _deflaters[stream]!.Write(_bytes.AsSpan(0, line));
        }

        if (!isSmall) End(stream, output);
        return 1;
    }

    private int EncodePixels(Frame frame, PictureArea part, ClientFormat format, int stream, IBufferWriter<byte> output)
    {
        output.Write(_head.AsSpan(0, Begin(part, stream, 0)));
        var line = part.Width * format.Tight.Bytes;
        var isSmall = line * part.Height < MinCompressed;
        for (var y = part.Y; y < part.Y + part.Height; y++)
        {
            format.Tight.Convert(frame.Line(y).Slice(part.X, part.Width), _bytes);
            if (isSmall) output.Write(_bytes.AsSpan(0, line));
            else _deflaters[stream]!.Write(_bytes.AsSpan(0, line));
        }

        if (!isSmall) End(stream, output);
        return 1;
    }

    /// <summary>Photographs, films, smooth shades.</summary>
    private int EncodeNatural(Frame frame, PictureArea part, ClientFormat format, IBufferWriter<byte> output)
    {
        if (format.IsTrueColour && format.BitsPerPixel > 8 && _settings.Jpeg is { } jpeg)
        {
            var pixels = frame.Pixels[((part.Y * frame.Width) + part.X)..];
            var data = jpeg.Encode(pixels, frame.Width, part.Width, part.Height, _settings.Quality!.Value, _settings.Subsampling);
            if (!data.IsEmpty)
            {
                WriteHeader(part, Encoding, _head);
                _head[HeaderLength] = Jpeg;
                output.Write(_head.AsSpan(0, HeaderLength + 1));
                WriteCompactLength(data.Length, output);
                output.Write(data);
                return 1;
            }
        }

        return EncodeMixed(frame, part, format, output);
    }

    private int EncodeGradient(Frame frame, PictureArea part, PixelPacker packer, int stream, IBufferWriter<byte> output)
    {
        output.Write(_head.AsSpan(0, Begin(part, stream, GradientFilter)));
        var isSmall = part.Width * part.Height * 3 < MinCompressed;
        _gradient.Begin();
        for (var y = part.Y; y < part.Y + part.Height; y++)
        {
            var line = _gradient.Line(frame.Line(y).Slice(part.X, part.Width), packer);
            if (isSmall) output.Write(line);
            else _deflaters[stream]!.Write(line);
        }

        if (!isSmall) End(stream, output);
        return 1;
    }

    /// <returns>False when there are so many colours that indices do not pay.</returns>
    private bool TryPalette(Frame frame, PictureArea part, PixelPacker packer)
    {
        var limit = Math.Min(part.Width * part.Height / packer.Bytes, Palette.MaxColours);
        // Two colours are a bit for each pixel, and always pay.
        limit = Math.Max(limit, 2);
        _palette.Clear();
        for (var y = part.Y; y < part.Y + part.Height; y++)
        {
            var line = frame.Line(y).Slice(part.X, part.Width);
            // A pixel that is never in the frame: its high byte is not 0.
            var last = uint.MaxValue;
            foreach (var pixel in line)
            {
                if (pixel == last) continue;
                last = pixel;
                if (!_palette.TryAdd(packer.Pack(pixel), limit)) return false;
            }
        }

        return true;
    }

    private void WriteBits(ReadOnlySpan<uint> packed, uint one)
    {
        var at = 0;
        for (; packed.Length >= 8; packed = packed[8..])
        {
            var value = 0;
            for (var i = 0; i < 8; i++) value = (value << 1) | (packed[i] == one ? 1 : 0);
            _bytes[at++] = (byte)value;
        }

        if (packed.Length == 0) return;
        var rest = 0;
        foreach (var pixel in packed) rest = (rest << 1) | (pixel == one ? 1 : 0);
        _bytes[at] = (byte)(rest << (8 - packed.Length));
    }

    private void WriteIndices(ReadOnlySpan<uint> packed)
    {
        var last = packed[0];
        var index = _palette.IndexOf(last);
        for (var i = 0; i < packed.Length; i++)
        {
            if (packed[i] != last)
            {
                last = packed[i];
                index = _palette.IndexOf(last);
            }

            _bytes[i] = index;
        }
    }

    /// <summary>Puts the header of a basic rectangle together, and has its stream ready at the level that the client wishes now.</summary>
    /// <returns>Its length.</returns>
    private int Begin(PictureArea part, int stream, byte filter)
    {
        var level = _settings.ZlibLevel;
        if (_deflaters[stream] is null || _levels[stream] != level)
        {
            // A stream of which the client has seen something begins anew.
            if (_deflaters[stream] is { } old)
            {
                old.Dispose();
                _resets |= 1 << stream;
            }

            _deflaters[stream] = new Deflater(level, stream == NoiseStream ? ZLibCompressionStrategy.HuffmanOnly : ZLibCompressionStrategy.Default);
            _levels[stream] = level;
        }

        WriteHeader(part, Encoding, _head);
        _head[HeaderLength] = (byte)((stream << StreamShift) | _resets | (filter != 0 ? FilterFollows : 0));
        _resets = 0;
        if (filter == 0) return HeaderLength + 1;
        _head[HeaderLength + 1] = filter;
        return HeaderLength + 2;
    }

    private void End(int stream, IBufferWriter<byte> output)
    {
        var data = _deflaters[stream]!.Flush();
        WriteCompactLength(data.Length, output);
        output.Write(data);
    }

    /// <summary>Seven bits a byte, the lowest first; bit 7 says that there are more. The third byte, the last one, has eight bits.</summary>
    private static void WriteCompactLength(int length, IBufferWriter<byte> output)
    {
        var to = output.GetSpan(3);
        if (length < 1 << 7)
        {
            to[0] = (byte)length;
            output.Advance(1);
            return;
        }

        to[0] = (byte)(length | 0x80);
        if (length < 1 << 14)
        {
            to[1] = (byte)(length >> 7);
            output.Advance(2);
            return;
        }

        to[1] = (byte)((length >> 7) | 0x80);
        to[2] = (byte)(length >> 14);
        output.Advance(3);
    }
}
