using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using XenDM.Core.Display;
using XenDM.Testing;
using XenDM.Vnc.Encodings;

namespace XenDM.Vnc.Tests.Encodings;

public class EncoderTests
{
    private static readonly int[] s_encodings = [0, 5, 6, 7, 16];

    public static TheoryData<int, string> Pairs
    {
        get
        {
            var data = new TheoryData<int, string>();
            foreach (var encoding in s_encodings)
                foreach (var format in Formats.All.Keys) data.Add(encoding, format);
            return data;
        }
    }

    public static TheoryData<int> Encodings => [.. s_encodings];

    [Theory]
    [MemberData(nameof(Pairs))]
    public void EveryPictureArrivesInEveryFormat(int encoding, string name)
    {
        var format = Formats.All[name];
        foreach (var picture in Pictures.Names) Check(encoding, format, Pictures.Make(picture, 203, 145), []);
    }

    [Theory]
    [MemberData(nameof(Encodings))]
    public void EverySizeArrives(int encoding)
    {
        foreach (var (width, height) in new[] { (1, 1), (1, 2), (2, 1), (3, 1), (1, 700), (700, 1), (15, 17), (16, 16), (17, 15), (63, 65), (64, 64), (65, 63), (129, 11), (4, 3), (2049, 3), (4100, 20) })
            foreach (var picture in new[] { "text", "noise", "photo", "black", "bits" }) Check(encoding, ClientFormat.Native, Pictures.Make(picture, width, height), []);
    }

    [Theory]
    [MemberData(nameof(Encodings))]
    public void AreasArriveAndNothingAround(int encoding)
    {
        var frame = Pictures.Make("mixed", 640, 400);
        using var set = Select(encoding);
        var decoder = new RfbDecoder(ClientFormat.Native, 640, 400);
        var random = new Random(3);
        for (var n = 0; n < 60; n++)
        {
            int x = random.Next(640), y = random.Next(400);
            var area = new PictureArea(x, y, random.Next(1, 641 - x), random.Next(1, 401 - y));
            Send(set, decoder, frame, area, ClientFormat.Native);
            for (var row = 0; row < 400; row++)
            {
                for (var column = 0; column < 640; column++)
                {
                    var inside = column >= x && column < x + area.Width && row >= y && row < y + area.Height;
                    Assert.Equal(inside ? 1 : 0, decoder.Drawn[row, column]);
                    if (inside) Assert.Equal(frame.Line(row)[column], decoder.Picture[row, column]);
                }
            }

            Array.Clear(decoder.Drawn);
        }
    }

    /// <summary>The streams go on from one update to the next, also when others come between and when the format changes.</summary>
    [Theory]
    [MemberData(nameof(Encodings))]
    public void StreamsGoOn(int encoding)
    {
        using var set = Select(encoding);
        var decoders = new Dictionary<ClientFormat, RfbDecoder>();
        var decoder = new RfbDecoder(ClientFormat.Native, 320, 200);
        for (var n = 0; n < 40; n++)
        {
            var frame = Pictures.Make(Pictures.Names[n % Pictures.Names.Length], 320, 200, n);
            if (n % 5 == 4) set.Select([RfbEncodings.Raw]);
            Send(set, decoder, frame, new PictureArea(0, 0, 320, 200), ClientFormat.Native);
            if (n % 5 == 4) set.Select([encoding]);
            Compare(decoder, ClientFormat.Native, frame);
        }
    }

    [Fact]
    public void TightBeginsItsStreamsAnewAtAnotherLevel()
    {
        using var set = Select(RfbEncodings.Tight);
        var decoder = new RfbDecoder(ClientFormat.Native, 320, 200);
        for (var n = 0; n < 20; n++)
        {
            set.Select([RfbEncodings.Tight, RfbEncodings.CompressLevelFirst + (n % 10)]);
            var frame = Pictures.Make(Pictures.Names[n % Pictures.Names.Length], 320, 200, n);
            Send(set, decoder, frame, new PictureArea(0, 0, 320, 200), ClientFormat.Native);
            Compare(decoder, ClientFormat.Native, frame);
        }

        Assert.Contains("reset", decoder.Met);
    }

    [Fact]
    public void EveryKindOfRectangleAndTileIsMade()
    {
        string[] Met(int encoding, params int[] wishes)
        {
            var met = new HashSet<string>();
            foreach (var picture in Pictures.Names) Check(encoding, ClientFormat.Native, Pictures.Make(picture, 300, 200), met, wishes);
            return [.. met.Order()];
        }

        Assert.Equal(["background", "colours", "foreground", "raw"], Met(RfbEncodings.Hextile));
        Assert.Equal(["packed1", "packed4", "palette runs", "raw", "runs", "solid"], Met(RfbEncodings.Zrle).Where(static n => n != "packed2"));
        Assert.Equal(["copy", "fill", "gradient", "mono", "palette"], Met(RfbEncodings.Tight));
        Assert.Equal(["copy", "fill", "mono", "palette"], Met(RfbEncodings.Tight, RfbEncodings.TightPng));
    }

    [Fact]
    public void PackedPalettesOfEveryWidthAreMade()
    {
        var met = new HashSet<string>();
        for (var colours = 2; colours <= 20; colours++)
        {
            var frame = new Frame();
            frame.Resize(67, 70);
            var random = new Random(colours);
            foreach (ref var pixel in frame.Pixels) pixel = (uint)random.Next(colours) * 0x030507;
            Check(RfbEncodings.Zrle, ClientFormat.Native, frame, met);
            Check(RfbEncodings.Tight, ClientFormat.Native, frame, met);
            Check(RfbEncodings.Hextile, ClientFormat.Native, frame, met);
        }

        Assert.Superset(new HashSet<string> { "packed1", "packed2", "packed4" }, met);
    }

    [Theory]
    [MemberData(nameof(Encodings))]
    public void AWholeFrameOf4KArrivesInBoundedRectangles(int encoding)
    {
        var frame = Pictures.Make("mixed", 3840, 2160);
        using var set = Select(encoding);
        var decoder = new RfbDecoder(ClientFormat.Native, 3840, 2160);
        Send(set, decoder, frame, new PictureArea(0, 0, 3840, 2160), ClientFormat.Native);
        Compare(decoder, ClientFormat.Native, frame);
        if (encoding is RfbEncodings.Zlib or RfbEncodings.Tight or RfbEncodings.Zrle) Assert.InRange(decoder.LargestRectangle, 1, 65536);
    }

    /// <summary>Once warm, an update allocates nothing.</summary>
    [Theory]
    [MemberData(nameof(Encodings))]
    public void NothingIsAllocated(int encoding)
    {
        using var set = Select(encoding);
        var frames = Pictures.Names.Select(static n => Pictures.Make(n, 300, 200)).ToArray();
        var output = new ArrayBufferWriter<byte>(1 << 22);
        void Update()
        {
            foreach (var frame in frames)
            {
                output.ResetWrittenCount();
                set.Encode(frame, new PictureArea(0, 0, 300, 200), ClientFormat.Native, output);
            }
        }

        Assert.Equal(0, Allocations.Of(Update));
    }

    [Fact]
    public void CompressedEncodingsAreShorterThanRawOnes()
    {
        foreach (var picture in new[] { "black", "text", "colourtext", "gradient", "mixed", "stripes" })
        {
            var frame = Pictures.Make(picture, 640, 480);
            foreach (var encoding in new[] { 5, 6, 7, 16 })
            {
                using var set = Select(encoding);
                var output = new ArrayBufferWriter<byte>();
                set.Encode(frame, new PictureArea(0, 0, 640, 480), ClientFormat.Native, output);
                Assert.InRange(output.WrittenCount, 1, 640 * 480 * 4 * (encoding == 5 ? 101 : 60) / 100);
            }
        }
    }

    private static EncoderSet Select(int encoding, params int[] wishes)
    {
        var set = new EncoderSet();
        set.Select([encoding, .. wishes]);
        Assert.Equal(encoding, set.Current.Encoding);
        return set;
    }

    private static void Check(int encoding, ClientFormat format, Frame frame, HashSet<string> met, params int[] wishes)
    {
        using var set = Select(encoding, wishes);
        var decoder = new RfbDecoder(format, frame.Width, frame.Height);
        Send(set, decoder, frame, new PictureArea(0, 0, frame.Width, frame.Height), format);
        Compare(decoder, format, frame);
        Assert.All(decoder.Drawn.Cast<int>(), static n => Assert.Equal(1, n));
        met.UnionWith(decoder.Met);
    }

    private static void Send(EncoderSet set, RfbDecoder decoder, Frame frame, PictureArea area, ClientFormat format)
    {
        var output = new ArrayBufferWriter<byte>();
        var count = set.Encode(frame, area, format, output);
        decoder.Decode(output.WrittenSpan, count);
    }

    private static void Compare(RfbDecoder decoder, ClientFormat format, Frame frame)
    {
        for (var y = 0; y < frame.Height; y++)
        {
            for (var x = 0; x < frame.Width; x++)
            {
                var expected = Formats.Value(format, frame.Line(y)[x]);
                if (decoder.Picture[y, x] != expected) Assert.Fail($"pixel {x},{y} of {frame.Width}x{frame.Height} is {decoder.Picture[y, x]:x}, not {expected:x}");
            }
        }
    }
}
