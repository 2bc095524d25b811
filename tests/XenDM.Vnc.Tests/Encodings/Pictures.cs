using System;
using XenDM.Core.Display;

namespace XenDM.Vnc.Tests.Encodings;

/// <summary>Pictures of the kinds that guests show.</summary>
internal static class Pictures
{
    public static readonly string[] Names = ["black", "text", "colourtext", "gradient", "noise", "photo", "mixed", "stripes", "bits", "shades"];

    public static Frame Make(string name, int width, int height, int seed = 1)
    {
        var random = new Random(seed);
        var frame = new Frame();
        frame.Resize(width, height);
        switch (name)
        {
            case "text":
                Text(frame, 0, 0, width, height, random, static _ => 0xaaaaaa);
                break;
            case "colourtext":
                Text(frame, 0, 0, width, height, random, static r => (uint)((r.Next(2) * 0xaa0000) | (r.Next(2) * 0xaa00) | (r.Next(2) * 0xaa)));
                break;
            case "gradient":
                Each(frame, (x, y) => ((uint)(x * 255 / width) << 16) | ((uint)(y * 255 / height) << 8) | (uint)((x + y) * 255 / (width + height)));
                break;
            case "noise":
                Each(frame, (_, _) => (uint)random.Next(0x1000000));
                break;
            case "photo":
                Photo(frame, 0, 0, width, height, random);
                break;
            case "mixed":
                Text(frame, 0, 0, width, height, random, static _ => 0xffffff);
                Photo(frame, width / 4, height / 4, width / 3, height / 2, random);
                break;
            case "stripes":
                Each(frame, (x, y) => (uint)(((x / 3) + (y / 40 * 7)) % 90 * 0x020304));
                break;
            case "bits":
                Each(frame, (_, _) => random.Next(2) == 0 ? 0x102030u : 0xe0d0c0u);
                break;
            case "shades":
                // Few colours that change at each pixel.
                Each(frame, (x, y) => (uint)(((x * 7) + (y * 3)) % 120) * 0x010101);
                break;
        }

        return frame;
    }

    /// <summary>Something like letters in cells of 8 x 16 pixels, with lines that end early.</summary>
    public static void Text(Frame frame, int left, int top, int width, int height, Random random, Func<Random, uint> colour)
    {
        for (var row = 0; row < height; row += 16)
        {
            var end = random.Next(width);
            var ink = colour(random);
            for (var column = 0; column + 8 <= end; column += 8)
            {
                var letter = new Random(random.Next(90));
                if (letter.Next(6) == 0) ink = colour(random);
                for (var y = 2; y < 14 && row + y < height; y++)
                {
                    var bits = letter.Next(64) & letter.Next(64);
                    for (var x = 0; x < 8; x++)
                        if ((bits & (1 << x)) != 0) frame.Line(top + row + y)[left + column + x] = ink;
                }
            }
        }
    }

    /// <summary>Smooth shapes with a little noise.</summary>
    public static void Photo(Frame frame, int left, int top, int width, int height, Random random)
    {
        double a = random.NextDouble() * 0.05, b = random.NextDouble() * 0.05;
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                uint Part(double v) => (uint)Math.Clamp(128 + (90 * v) + random.Next(-3, 4), 0, 255);
                frame.Line(top + y)[left + x] = (Part(Math.Sin(x * a)) << 16) | (Part(Math.Cos((y * b) + 1)) << 8) | Part(Math.Sin((x + y) * (a + b)));
            }
        }
    }

    private static void Each(Frame frame, Func<int, int, uint> colour)
    {
        for (var y = 0; y < frame.Height; y++)
            for (var x = 0; x < frame.Width; x++) frame.Line(y)[x] = colour(x, y);
    }
}
