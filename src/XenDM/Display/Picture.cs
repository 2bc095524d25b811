using System;
using System.IO;
using System.IO.Compression;
using System.Text;
using XenDM.Core.Display;

namespace XenDM.Display;

/// <summary>Writes frames as files: PNG (up to 256 colours with a palette, else red, green and blue) and PPM. Needs memory for a few lines.</summary>
internal static class Picture
{
    private const int MaxNumber = 9999;
    private const int MaxColours = 256;

    /// <summary>Writes a PNG under the first name of <c>xendm-1.png</c>, <c>xendm-2.png</c>, ... that is free.</summary>
    /// <returns>The name.</returns>
    /// <exception cref="IOException">It cannot be written, or there is no picture.</exception>
    public static string WriteNext(ScreenHub screen, string folder)
    {
        screen.Refresh();
        if (screen.Frame.Width == 0) throw new IOException("there is nothing on the screen");
        for (var number = 1; number <= MaxNumber; number++)
        {
            var path = Path.Combine(folder, $"xendm-{number}.png");
            if (File.Exists(path)) continue;
            using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
            WritePng(screen.Picture, file);
            return Path.GetFileName(path);
        }

        throw new IOException($"there are {MaxNumber} pictures in {folder} already");
    }

    /// <exception cref="IOException">The stream cannot be written.</exception>
    /// <param name="isPng">PNG, else netpbm's P6.</param>
    public static void Write(Frame frame, Stream output, bool isPng)
    {
        if (isPng) WritePng(frame, output);
        else WritePpm(frame, output);
    }

    private static void WritePpm(Frame frame, Stream output)
    {
        output.Write(Encoding.ASCII.GetBytes($"P6\n{frame.Width} {frame.Height}\n255\n"));
        var line = new byte[frame.Width * 3];
        for (var y = 0; y < frame.Height; y++)
        {
            ToBytes(frame.Line(y), line);
            output.Write(line);
        }
    }

    private static void WritePng(Frame frame, Stream output)
    {
        output.Write(PngChunks.Signature);
        var palette = new ColourTable();
        foreach (var pixel in frame.Pixels)
            if (!palette.TryAdd(pixel)) break;
        var bits = palette.Count switch { > MaxColours => 0, > 16 => 8, > 4 => 4, > 2 => 2, _ => 1 };
        PngChunks.WriteHeader(output, frame.Width, frame.Height, bits);
        if (bits > 0)
        {
            var entries = new byte[3 * palette.Count];
            ToBytes(palette.Colours, entries);
            PngChunks.Write(output, "PLTE"u8, entries);
        }

        using (var data = new ZLibStream(new PngDataStream(output, null), CompressionLevel.Fastest))
        {
            if (bits > 0) WriteIndexed(frame, palette, bits, data);
            else WriteColours(frame, new PictureArea(0, 0, frame.Width, frame.Height), data);
        }

        PngChunks.Write(output, "IEND"u8, ReadOnlySpan<byte>.Empty);
    }

    private static void WriteIndexed(Frame frame, ColourTable palette, int bits, Stream output)
    {
        // The first byte of each line is its filter: none.
        var line = new byte[1 + (((frame.Width * bits) + 7) / 8)];
        for (var y = 0; y < frame.Height; y++)
        {
            line.AsSpan().Clear();
            var pixels = frame.Line(y);
            for (int x = 0, bit = 8; x < pixels.Length; x++, bit += bits) line[bit >> 3] |= (byte)(palette.Find(pixels[x]) << (8 - bits - (bit & 7)));
            output.Write(line);
        }
    }

    /// <summary>Lines of red, green and blue; black beyond the frame.</summary>
    internal static void WriteColours(Frame frame, PictureArea area, Stream output)
    {
        var bytes = area.Width * 3;
        var before = new byte[bytes];
        var line = new byte[bytes];
        var left = new byte[1 + bytes];
        var above = new byte[1 + bytes];
        (left[0], above[0]) = (1, 2);
        for (var y = area.Y; y < area.Y + area.Height; y++)
        {
            var inside = y < frame.Height ? Math.Clamp(frame.Width - area.X, 0, area.Width) : 0;
            if (inside > 0) ToBytes(frame.Line(y).Slice(area.X, inside), line);
            line.AsSpan(3 * inside).Clear();

            // What compresses better: the differences to the pixel at the left (filter 1), or to that above (filter 2).
            long leftSum = 0, aboveSum = 0;
            for (var n = 0; n < bytes; n++)
            {
                var toLeft = (byte)(line[n] - (n >= 3 ? line[n - 3] : 0));
                var toAbove = (byte)(line[n] - before[n]);
                leftSum += Math.Abs((sbyte)toLeft == sbyte.MinValue ? 128 : (sbyte)toLeft);
                aboveSum += Math.Abs((sbyte)toAbove == sbyte.MinValue ? 128 : (sbyte)toAbove);
                (left[1 + n], above[1 + n]) = (toLeft, toAbove);
            }

            output.Write(leftSum < aboveSum ? left : above);
            (before, line) = (line, before);
        }
    }

    private static void ToBytes(ReadOnlySpan<uint> pixels, Span<byte> bytes)
    {
        for (int x = 0, at = 0; x < pixels.Length; x++, at += 3)
            (bytes[at + 2], bytes[at], bytes[at + 1]) = ((byte)pixels[x], (byte)(pixels[x] >> 16), (byte)(pixels[x] >> 8));
    }

    /// <summary>Colours and their numbers.</summary>
    private sealed class ColourTable
    {
        private const int Slots = 1024;
        private readonly uint[] _colours = new uint[MaxColours];
        private readonly short[] _slots = new short[Slots];

        /// <summary>More than <see cref="MaxColours"/> when there are too many.</summary>
        public int Count { get; private set; }

        public ReadOnlySpan<uint> Colours => _colours.AsSpan(0, Count);

        /// <returns>False when there are too many.</returns>
        public bool TryAdd(uint colour)
        {
            var slot = Slot(colour);
            if (_slots[slot] != 0) return true;
            if (Count++ >= MaxColours) return false;
            _colours[Count - 1] = colour;
            _slots[slot] = (short)Count;
            return true;
        }

        public int Find(uint colour) => _slots[Slot(colour)] - 1;

        /// <summary>Where the colour is or could be; a number in a slot is one more than the colour's, and 0 is free.</summary>
        private int Slot(uint colour)
        {
            var slot = (int)((colour * 0x9e37_79b1) >> 22);
            while (_slots[slot] != 0 && _colours[_slots[slot] - 1] != colour) slot = (slot + 1) % Slots;
            return slot;
        }
    }
}
