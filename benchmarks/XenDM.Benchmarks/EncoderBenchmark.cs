using System;
using System.Buffers;
using BenchmarkDotNet.Attributes;
using XenDM.Core.Display;
using XenDM.Vnc.Encodings;

namespace XenDM.Benchmarks;

/// <summary>A whole picture of 1024 x 768 pixels for one VNC client, without loss, by each encoding that it may ask for.</summary>
[MemoryDiagnoser]
public class EncoderBenchmark
{
    private const int Width = 1024, Height = 768, Frames = 5;
    private readonly Frame[] _frames = new Frame[Frames];
    private readonly ArrayBufferWriter<byte> _output = new(16 << 20);
    private EncoderSet _encoders = null!;
    private int _next;

    public enum Encodings
    {
        Raw = 0,
        Hextile = 5,
        Zlib = 6,
        Tight = 7,
        Zrle = 16,
    }

    public enum Screens
    {
        /// <summary>Letters of 8 x 16 pixels in two colours.</summary>
        Text,

        /// <summary>Colours that hardly change from one pixel to the next.</summary>
        Gradient,
        Noise,

        /// <summary>Shades over a pattern of two colours; both move. The same as the animation of the guest in tests/Vnc.</summary>
        Animation,
    }

    [ParamsAllValues]
    public Encodings Encoding { get; set; }

    [ParamsAllValues]
    public Screens Screen { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _encoders = new EncoderSet();
        _encoders.Select([(int)Encoding]);
        for (var n = 0; n < Frames; n++)
        {
            _frames[n] = new Frame();
            _frames[n].Resize(Width, Height);
            var random = new Random(n);
            for (var y = 0; y < Height; y++)
                for (var x = 0; x < Width; x++) _frames[n].Line(y)[x] = Pixel(x, y, n, random);
        }

        // Streams and what they write to have their size after the largest picture.
        for (var n = 0; n < Frames; n++) Encode();
    }

    [GlobalCleanup]
    public void Cleanup() => _encoders.Dispose();

    /// <returns>Bytes for the client.</returns>
    [Benchmark]
    public int Encode()
    {
        _output.ResetWrittenCount();
        _encoders.Encode(_frames[_next], new PictureArea(0, 0, Width, Height), ClientFormat.Native, _output);
        _next = (_next + 1) % Frames;
        return _output.WrittenCount;
    }

    private uint Pixel(int x, int y, int n, Random random)
    {
        switch (Screen)
        {
            case Screens.Text:
                // One of 64 letters, each some bits of a product; the last columns and the space between lines are empty.
                var letter = (uint)(((x / 8) + (y / 16 * 131) + n) * 25173 % 61 * 0x9e37_79b1);
                var isEmpty = x > 512 + (y / 16 * 37 % 400) || y % 16 is < 2 or > 13;
                return !isEmpty && ((letter >> ((x % 8) + (y % 16 / 2 * 3))) & 1) != 0 ? 0xaaaaaau : 0;
            case Screens.Gradient:
                return (uint)(((x + n) * 255 / (Width + Frames)) << 16) | (uint)(y * 255 / Height << 8) | (uint)((x + y) * 255 / (Width + Height));
            case Screens.Noise:
                return (uint)random.Next(1 << 24);
            default:
                var moved = x + (16 * n);
                if (y >= 512) return ((moved ^ y) & 16) != 0 ? 0xffff80u : 0x80;
                return (uint)((((moved >> 2) & 255) << 16) | (((y >> 1) & 255) << 8) | (((y + moved) >> 3) & 255));
        }
    }
}
