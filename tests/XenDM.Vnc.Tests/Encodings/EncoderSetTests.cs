using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using XenDM.Core.Display;
using XenDM.Vnc.Encodings;

namespace XenDM.Vnc.Tests.Encodings;

public class EncoderSetTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(0, -239, -223, 77777)]
    [InlineData(7, 1, 7, 16, 5)]
    [InlineData(16, 15, 16, 7)]
    [InlineData(5, 5, 0)]
    [InlineData(0, 0, 5)]
    [InlineData(6, 2, 6)]
    public void TheFirstOfTheListThatWeHaveIsTaken(int expected, params int[] encodings)
    {
        using var set = new EncoderSet();
        set.Select(encodings);
        Assert.Equal(expected, set.Current.Encoding);
        Assert.Equal(encodings.Contains(1), set.HasCopyRect);
    }

    [Fact]
    public void WishesAreRead()
    {
        using var set = new EncoderSet();
        set.Select([-247, -23]);
        Assert.Equal((9, 95, JpegSubsampling.None), (set.Settings.CompressLevel, set.Settings.Quality, set.Settings.Subsampling));
        set.Select([-256, -32]);
        Assert.Equal((0, 14, JpegSubsampling.Quarter), (set.Settings.CompressLevel, set.Settings.Quality, set.Settings.Subsampling));
        set.Select([-412, -26, -766]);
        Assert.Equal((null, 100, JpegSubsampling.Half), (set.Settings.CompressLevel, set.Settings.Quality, set.Settings.Subsampling));
        set.Select([-512, -765]);
        Assert.Equal((1, JpegSubsampling.Gray), (set.Settings.Quality, set.Settings.Subsampling));
        set.Select([7]);
        Assert.Equal((null, null), (set.Settings.CompressLevel, set.Settings.Quality));
    }

    [Fact]
    public void EncodersLiveAsLongAsTheConnection()
    {
        using var set = new EncoderSet();
        set.Select([RfbEncodings.Zrle]);
        var zrle = set.Current;
        set.Select([RfbEncodings.Tight]);
        set.Select([RfbEncodings.Zrle]);
        Assert.Same(zrle, set.Current);
    }

    [Theory]
    [InlineData(true, true, "rgb888", true)]
    [InlineData(true, true, "rgb565be", true)]
    [InlineData(false, true, "rgb888", false)]
    [InlineData(true, false, "rgb888", false)]
    [InlineData(true, true, "bgr233", false)]
    [InlineData(true, true, "map8", false)]
    public void NaturalPicturesBecomeJpegWhereThatIsAsked(bool isAsked, bool isAllowed, string format, bool expected)
    {
        var jpeg = new FakeJpeg();
        using (var set = new EncoderSet(() => jpeg))
        {
            set.Settings.IsLossyAllowed = isAllowed;
            set.Select(isAsked ? [RfbEncodings.Tight, -26, -766] : [RfbEncodings.Tight]);
            var frame = Pictures.Make("mixed", 640, 480);
            var output = new ArrayBufferWriter<byte>();
            var count = set.Encode(frame, new PictureArea(0, 0, 640, 480), Formats.All[format], output);
            var decoder = new RfbDecoder(Formats.All[format], 640, 480);
            decoder.Decode(output.WrittenSpan, count);
            Assert.Equal(expected, decoder.Met.Contains("jpeg"));
            Assert.Equal(expected, jpeg.Calls.Count > 0);
            Assert.All(jpeg.Calls, static c => Assert.Equal((68, JpegSubsampling.Half, 640), (c.Quality, c.Subsampling, c.Stride)));
            Assert.Equal(jpeg.Calls.Select(static c => (c.Width, c.Height, c.First)), decoder.Jpegs.Select(j => (j.Width, j.Height, frame.Line(j.Y)[j.X])));

            // The text around is as it was, and only cells that touch the photograph are not.
            foreach (var (x, y, width, height, data) in decoder.Jpegs)
            {
                Assert.Equal([1, 2, 3], data);
                Assert.True(x + width > 160 && x < 160 + 213 && y + height > 120 && y < 120 + 240, $"{x},{y} {width}x{height}");
            }

            for (var y = 0; y < 480; y++)
                for (var x = 0; x < 640; x++)
                    if (decoder.Picture[y, x] is { } value) Assert.Equal(Formats.Value(Formats.All[format], frame.Line(y)[x]), value);
        }

        Assert.Equal(expected, jpeg.IsDisposed);
    }

    [Fact]
    public void WithoutAJpegLibraryPicturesAreLossless()
    {
        var asked = 0;
        using var set = new EncoderSet(() =>
        {
            asked++;
            return null;
        });
        set.Select([RfbEncodings.Tight, -26]);
        var frame = Pictures.Make("photo", 320, 200);
        var decoder = new RfbDecoder(ClientFormat.Native, 320, 200);
        for (var n = 0; n < 3; n++)
        {
            var output = new ArrayBufferWriter<byte>();
            var count = set.Encode(frame, new PictureArea(0, 0, 320, 200), ClientFormat.Native, output);
            decoder.Decode(output.WrittenSpan, count);
        }

        Assert.Equal(1, asked);
        Assert.Equal(frame.Line(100)[100], decoder.Picture[100, 100]);
    }

    private sealed class FakeJpeg : IJpegEncoder
    {
        public List<(int Width, int Height, int Stride, int Quality, JpegSubsampling Subsampling, uint First)> Calls { get; } = [];

        public bool IsDisposed { get; private set; }

        public ReadOnlySpan<byte> Encode(ReadOnlySpan<uint> pixels, int stride, int width, int height, int quality, JpegSubsampling subsampling)
        {
            Assert.True(pixels.Length >= ((height - 1) * stride) + width);
            Calls.Add((width, height, stride, quality, subsampling, pixels[0]));
            return new byte[] { 1, 2, 3 };
        }

        public void Dispose() => IsDisposed = true;
    }
}
