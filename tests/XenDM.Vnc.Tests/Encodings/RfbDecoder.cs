using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using XenDM.Vnc.Encodings;

namespace XenDM.Vnc.Tests.Encodings;

/// <summary>
/// A client's decoders, written from RFC 6143 and the community's RFB description, simply and without regard to speed. The picture is numbers of the
/// client's format; tight's three-byte pixels and JPEG pictures are kept as such numbers too.
/// </summary>
internal sealed class RfbDecoder(ClientFormat format, int width, int height)
{
    private readonly Inflater _zlib = new(), _zrle = new();
    private readonly uint _all = Formats.Value(format, 0xffffff);
    private readonly Inflater[] _tight = [new(), new(), new(), new()];

    /// <summary>Number of a pixel, or null where none was drawn.</summary>
    public uint?[,] Picture { get; } = new uint?[height, width];

    /// <summary>How often each pixel was drawn.</summary>
    public int[,] Drawn { get; } = new int[height, width];

    /// <summary>Kinds of rectangles and tiles that were met, by name.</summary>
    public HashSet<string> Met { get; } = [];

    /// <summary>JPEG pictures and their places.</summary>
    public List<(int X, int Y, int Width, int Height, byte[] Data)> Jpegs { get; } = [];

    public int LargestRectangle { get; private set; }

    public void Decode(ReadOnlySpan<byte> bytes, int rectangles)
    {
        var input = new Reader(bytes.ToArray());
        for (var i = 0; i < rectangles; i++)
        {
            int x = input.Word(), y = input.Word(), w = input.Word(), h = input.Word();
            var encoding = input.Int();
            Assert.True(w > 0 && h > 0 && x + w <= width && y + h <= height, $"rectangle {x},{y} {w}x{h}");
            LargestRectangle = Math.Max(LargestRectangle, w * h);
            switch (encoding)
            {
                case 0:
                    Raw(input, x, y, w, h);
                    break;
                case 5:
                    Hextile(input, x, y, w, h);
                    break;
                case 6:
                    Raw(_zlib.Feed(input.Bytes(input.Int())), x, y, w, h);
                    _zlib.AtEnd();
                    break;
                case 7:
                    Tight(input, x, y, w, h);
                    break;
                case 16:
                    Zrle(_zrle.Feed(input.Bytes(input.Int())), x, y, w, h);
                    _zrle.AtEnd();
                    break;
                default:
                    Assert.Fail($"encoding {encoding}");
                    break;
            }
        }

        Assert.True(input.IsAtEnd, "bytes are left after the last rectangle");
    }

    private uint Pixel(IBytes input)
    {
        var bytes = input.Bytes(format.BitsPerPixel / 8);
        if (format.IsBigEndian) Array.Reverse(bytes);
        uint value = 0;
        for (var i = 0; i < bytes.Length; i++) value |= (uint)bytes[i] << (8 * i);
        return value;
    }

    /// <summary>CPIXEL: three bytes when the format is of 32 bits, true colour, depth 24 or less, and the colours fit in the low or the high three bytes.</summary>
    private uint CompactPixel(IBytes input)
    {
        var all = _all;
        var low = (all & 0xff000000) == 0;
        var high = (all & 0xff) == 0;
        if (format.BitsPerPixel != 32 || !format.IsTrueColour || format.Depth > 24 || !(low || high)) return Pixel(input);
        var bytes = input.Bytes(3);
        if (format.IsBigEndian) Array.Reverse(bytes);
        var value = bytes[0] | ((uint)bytes[1] << 8) | ((uint)bytes[2] << 16);
        return low ? value : value << 8;
    }

    private bool IsTightFormat => format is { BitsPerPixel: 32, IsTrueColour: true, Depth: 24, RedMax: 255, GreenMax: 255, BlueMax: 255 };

    private uint TightNumber(int red, int green, int blue) => ((uint)red << format.RedShift) | ((uint)green << format.GreenShift) | ((uint)blue << format.BlueShift);

    private uint TightPixel(IBytes input)
    {
        if (!IsTightFormat) return Pixel(input);
        var bytes = input.Bytes(3);
        return TightNumber(bytes[0], bytes[1], bytes[2]);
    }

    private void Set(int x, int y, uint value, bool again = false)
    {
        Picture[y, x] = value;
        if (!again) Drawn[y, x]++;
    }

    private void Raw(IBytes input, int x, int y, int w, int h)
    {
        for (var i = 0; i < w * h; i++) Set(x + (i % w), y + (i / w), Pixel(input));
    }

    private void Hextile(Reader input, int left, int top, int w, int h)
    {
        uint? background = null, foreground = null;
        for (var y = 0; y < h; y += 16)
        {
            for (var x = 0; x < w; x += 16)
            {
                int tileWidth = Math.Min(16, w - x), tileHeight = Math.Min(16, h - y);
                var flags = input.Byte();
                if ((flags & 1) != 0)
                {
                    Met.Add("raw");
                    Raw(input, left + x, top + y, tileWidth, tileHeight);
                    (background, foreground) = (null, null);
                    continue;
                }

                if ((flags & 2) != 0) background = Pixel(input);
                if ((flags & 4) != 0) foreground = Pixel(input);
                Assert.NotNull(background);
                Met.Add((flags & 8) == 0 ? "background" : (flags & 16) != 0 ? "colours" : "foreground");
                for (var i = 0; i < tileWidth * tileHeight; i++) Set(left + x + (i % tileWidth), top + y + (i / tileWidth), background.Value);
                var count = (flags & 8) != 0 ? input.Byte() : 0;
                for (var i = 0; i < count; i++)
                {
                    var colour = (flags & 16) != 0 ? Pixel(input) : foreground;
                    Assert.NotNull(colour);
                    int place = input.Byte(), size = input.Byte();
                    for (var dy = 0; dy <= (size & 15); dy++)
                    {
                        for (var dx = 0; dx <= size >> 4; dx++)
                        {
                            int px = (place >> 4) + dx, py = (place & 15) + dy;
                            Assert.True(px < tileWidth && py < tileHeight);
                            Set(left + x + px, top + y + py, colour.Value, again: true);
                        }
                    }
                }

                if ((flags & 16) != 0) foreground = null;
            }
        }
    }

    private void Zrle(IBytes input, int left, int top, int w, int h)
    {
        for (var y = 0; y < h; y += 64)
        {
            for (var x = 0; x < w; x += 64)
            {
                int tileWidth = Math.Min(64, w - x), tileHeight = Math.Min(64, h - y);
                var tile = new uint[tileWidth * tileHeight];
                var kind = input.Byte();
                var palette = new uint[kind & 127];
                for (var i = 0; i < palette.Length; i++) palette[i] = CompactPixel(input);
                if (kind == 0)
                {
                    Met.Add("raw");
                    for (var i = 0; i < tile.Length; i++) tile[i] = CompactPixel(input);
                }
                else if (kind == 1)
                {
                    Met.Add("solid");
                    Array.Fill(tile, palette[0]);
                }
                else if (kind <= 16)
                {
                    Met.Add("packed" + (kind <= 2 ? 1 : kind <= 4 ? 2 : 4));
                    var bits = kind <= 2 ? 1 : kind <= 4 ? 2 : 4;
                    for (var line = 0; line < tileHeight; line++)
                    {
                        int value = 0, left2 = 0;
                        for (var i = 0; i < tileWidth; i++)
                        {
                            if (left2 == 0) (value, left2) = (input.Byte(), 8);
                            left2 -= bits;
                            tile[(line * tileWidth) + i] = palette[(value >> left2) & ((1 << bits) - 1)];
                        }
                    }
                }
                else
                {
                    Assert.True(kind == 128 || kind >= 130, $"subencoding {kind}");
                    Met.Add(kind == 128 ? "runs" : "palette runs");
                    for (var i = 0; i < tile.Length;)
                    {
                        uint colour;
                        var length = 1;
                        var isRun = true;
                        if (kind == 128) colour = CompactPixel(input);
                        else
                        {
                            var index = input.Byte();
                            isRun = index >= 128;
                            colour = palette[index & 127];
                        }

                        for (var more = isRun; more;)
                        {
                            var part = input.Byte();
                            length += part;
                            more = part == 255;
                        }

                        Assert.True(i + length <= tile.Length, "a run goes past the tile");
                        Array.Fill(tile, colour, i, length);
                        i += length;
                    }
                }

                for (var i = 0; i < tile.Length; i++) Set(left + x + (i % tileWidth), top + y + (i / tileWidth), tile[i]);
            }
        }
    }

    private void Tight(Reader input, int x, int y, int w, int h)
    {
        Assert.True(w <= 2048, $"a tight rectangle of {w} pixels");
        var control = input.Byte();
        for (var i = 0; i < 4; i++)
        {
            if ((control & (1 << i)) == 0) continue;
            Met.Add("reset");
            _tight[i] = new Inflater();
        }

        switch (control >> 4)
        {
            case 8:
                Met.Add("fill");
                var colour = TightPixel(input);
                for (var i = 0; i < w * h; i++) Set(x + (i % w), y + (i / w), colour);
                return;
            case 9:
                Met.Add("jpeg");
                Jpegs.Add((x, y, w, h, input.Bytes(TightLength(input))));
                for (var i = 0; i < w * h; i++) Drawn[y + (i / w), x + (i % w)]++;
                return;
            case > 7:
                Assert.Fail($"control {control:x}");
                return;
        }

        var filter = (control & 0x40) != 0 ? input.Byte() : 0;
        var stream = _tight[(control >> 4) & 3];
        if (filter == 1)
        {
            var palette = new uint[input.Byte() + 1];
            for (var i = 0; i < palette.Length; i++) palette[i] = TightPixel(input);
            Assert.True(palette.Length >= 2);
            Met.Add(palette.Length == 2 ? "mono" : "palette");
            var line = palette.Length == 2 ? (w + 7) / 8 : w;
            var data = TightData(input, stream, line * h);
            for (var i = 0; i < w * h; i++)
            {
                int dx = i % w, dy = i / w;
                var index = palette.Length == 2 ? (data[(dy * line) + (dx / 8)] >> (7 - (dx % 8))) & 1 : data[i];
                Set(x + dx, y + dy, palette[index]);
            }
        }
        else if (filter == 2)
        {
            Met.Add("gradient");
            Assert.True(IsTightFormat);
            var data = TightData(input, stream, w * h * 3);
            var colours = new int[h, w, 3];
            for (var dy = 0; dy < h; dy++)
            {
                for (var dx = 0; dx < w; dx++)
                {
                    for (var c = 0; c < 3; c++)
                    {
                        var up = dy > 0 ? colours[dy - 1, dx, c] : 0;
                        var left = dx > 0 ? colours[dy, dx - 1, c] : 0;
                        var upLeft = dx > 0 && dy > 0 ? colours[dy - 1, dx - 1, c] : 0;
                        colours[dy, dx, c] = (Math.Min(Math.Max(up + left - upLeft, 0), 255) + data[(((dy * w) + dx) * 3) + c]) & 255;
                    }

                    Set(x + dx, y + dy, TightNumber(colours[dy, dx, 0], colours[dy, dx, 1], colours[dy, dx, 2]));
                }
            }
        }
        else
        {
            Assert.Equal(0, filter);
            Met.Add("copy");
            var data = new Reader(TightData(input, stream, w * h * (IsTightFormat ? 3 : format.BytesPerPixel)));
            for (var i = 0; i < w * h; i++) Set(x + (i % w), y + (i / w), TightPixel(data));
        }
    }

    private static byte[] TightData(Reader input, Inflater stream, int length)
    {
        if (length < 12) return input.Bytes(length);
        stream.Feed(input.Bytes(TightLength(input)));
        var data = stream.Bytes(length);
        stream.AtEnd();
        return data;
    }

    private static int TightLength(Reader input)
    {
        int first = input.Byte(), length = first & 0x7f;
        if (first < 0x80) return length;
        var second = input.Byte();
        length |= (second & 0x7f) << 7;
        return second < 0x80 ? length : length | (input.Byte() << 14);
    }

    private interface IBytes
    {
        byte[] Bytes(int count);

        int Byte() => Bytes(1)[0];
    }

    private sealed class Reader(byte[] bytes) : IBytes
    {
        private int _at;

        public bool IsAtEnd => _at == bytes.Length;

        public byte[] Bytes(int count)
        {
            Assert.True(count >= 0 && _at + count <= bytes.Length, "the message ends too early");
            _at += count;
            return bytes[(_at - count).._at];
        }

        public int Byte() => Bytes(1)[0];

        public int Word() => BinaryPrimitives.ReadUInt16BigEndian(Bytes(2));

        public int Int() => BinaryPrimitives.ReadInt32BigEndian(Bytes(4));
    }

    /// <summary>A zlib stream that comes in pieces.</summary>
    private sealed class Inflater : IBytes
    {
        private readonly Pieces _pieces = new();
        private readonly ZLibStream _stream;

        public Inflater() => _stream = new ZLibStream(_pieces, CompressionMode.Decompress);

        public Inflater Feed(byte[] data)
        {
            _pieces.Add(data);
            return this;
        }

        public byte[] Bytes(int count)
        {
            var data = new byte[count];
            _stream.ReadExactly(data);
            return data;
        }

        /// <summary>
        /// All that was fed has been used, but for what holds no bytes to wait for: the end of the last block (15 bits at most), and the empty block of a
        /// flush (3 bits, up to a whole byte, 4 bytes). A deflater whose buffer is full within that block writes one more (5 bytes), as zlib.h says.
        /// </summary>
        public void AtEnd() => Assert.InRange(_pieces.Left, 0, 12);

        private sealed class Pieces : MemoryStream
        {
            private readonly Queue<byte> _bytes = new();

            public int Left => _bytes.Count;

            public void Add(byte[] data)
            {
                foreach (var b in data) _bytes.Enqueue(b);
            }

            public override int Read(Span<byte> buffer)
            {
                var count = Math.Min(buffer.Length, _bytes.Count);
                for (var i = 0; i < count; i++) buffer[i] = _bytes.Dequeue();
                return count;
            }

            public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
        }
    }
}
