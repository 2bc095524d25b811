using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using System.Text;
using XenDM.Core.Display;

namespace XenDM.Testing;

/// <summary>
/// Reads PNG files for comparison, animated ones too (W3C PNG specification, third edition): 8 bits a colour, or a palette; no interlacing. Any
/// mistake in the file is an exception.
/// </summary>
public static class PngReader
{
    /// <param name="Frames">The pictures, each as it stands after its turn; without an animation the one picture.</param>
    /// <param name="Delays">Milliseconds that each stands; empty without an animation.</param>
    public sealed record Result(IReadOnlyList<Frame> Frames, IReadOnlyList<int> Delays, int Chunks);

    public static Result Read(ReadOnlySpan<byte> file)
    {
        if (!file.StartsWith((ReadOnlySpan<byte>)[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) throw new InvalidDataException("no PNG signature");
        file = file[8..];
        int width = 0, height = 0, bits = 0, colourType = 0, announced = -1, sequence = 0, chunks = 0;
        var palette = Array.Empty<uint>();
        var still = new MemoryStream();
        var data = new MemoryStream();
        var control = Array.Empty<byte>();
        var canvas = new Frame();
        var frames = new List<Frame>();
        var delays = new List<int>();
        var isOver = false;

        void Finish()
        {
            if (control.Length == 0) return;
            int w = Number(control, 4), h = Number(control, 8), x = Number(control, 12), y = Number(control, 16);
            if (w <= 0 || h <= 0 || x < 0 || y < 0 || x + w > width || y + h > height) throw new InvalidDataException("a frame is not on the canvas");
            if (control[24] != 0 || control[25] != 0) throw new InvalidDataException("an operation that is not read here");
            var piece = Decode(data, w, h, bits, colourType, palette);
            for (var line = 0; line < h; line++) piece.Line(line).CopyTo(canvas.Line(y + line)[x..]);
            var whole = new Frame();
            whole.Resize(width, height);
            canvas.Pixels.CopyTo(whole.Pixels);
            frames.Add(whole);
            int numerator = BinaryPrimitives.ReadUInt16BigEndian(control.AsSpan(20)), denominator = BinaryPrimitives.ReadUInt16BigEndian(control.AsSpan(22));
            delays.Add(1000 * numerator / (denominator == 0 ? 100 : denominator));
            data = new MemoryStream();
            control = [];
        }

        while (!file.IsEmpty)
        {
            if (isOver) throw new InvalidDataException("something follows IEND");
            var length = BinaryPrimitives.ReadInt32BigEndian(file);
            var name = Encoding.ASCII.GetString(file.Slice(4, 4));
            var body = file.Slice(8, length);
            if (BinaryPrimitives.ReadUInt32BigEndian(file[(8 + length)..]) != Crc(file.Slice(4, 4 + length))) throw new InvalidDataException($"the CRC of {name} is wrong");
            chunks++;
            if (chunks == 1 && name != "IHDR") throw new InvalidDataException("IHDR does not come first");
            switch (name)
            {
                case "IHDR":
                    (width, height, bits, colourType) = (BinaryPrimitives.ReadInt32BigEndian(body), BinaryPrimitives.ReadInt32BigEndian(body[4..]), body[8], body[9]);
                    if (body[10] != 0 || body[11] != 0 || body[12] != 0) throw new InvalidDataException("a way to compress or interlace that is not read here");
                    canvas.Resize(width, height);
                    break;
                case "PLTE":
                    palette = new uint[length / 3];
                    for (var n = 0; n < palette.Length; n++) palette[n] = ((uint)body[3 * n] << 16) | ((uint)body[(3 * n) + 1] << 8) | body[(3 * n) + 2];
                    break;
                case "acTL": announced = BinaryPrimitives.ReadInt32BigEndian(body); break;
                case "IDAT": still.Write(body); break;
                case "fcTL":
                    Finish();
                    if (BinaryPrimitives.ReadInt32BigEndian(body) != sequence++) throw new InvalidDataException("a number of a frame is wrong");
                    control = body.ToArray();
                    break;
                case "fdAT":
                    if (BinaryPrimitives.ReadInt32BigEndian(body) != sequence++ || control.Length == 0) throw new InvalidDataException("a number of a frame's data is wrong");
                    data.Write(body[4..]);
                    break;
                case "IEND": isOver = true; break;
                default:
                    if (char.IsAsciiLetterUpper(name[0])) throw new InvalidDataException($"{name} is not read here");
                    break;
            }

            file = file[(12 + length)..];
        }

        if (!isOver) throw new InvalidDataException("IEND is missing");
        var picture = Decode(still, width, height, bits, colourType, palette);
        if (announced < 0) return new Result([picture], [], chunks);
        Finish();
        if (frames.Count != announced) throw new InvalidDataException($"{announced} frames are announced and {frames.Count} are there");
        return new Result(frames, delays, chunks);
    }

    private static int Number(byte[] bytes, int at) => BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(at));

    private static Frame Decode(MemoryStream compressed, int width, int height, int bits, int colourType, uint[] palette)
    {
        compressed.Position = 0;
        using var zlib = new ZLibStream(compressed, CompressionMode.Decompress);
        if ((colourType, bits) is not ((2, 8) or (3, 1 or 2 or 4 or 8))) throw new InvalidDataException("pixels that are not read here");
        var pixelBytes = colourType == 2 ? 3 : 1;
        var line = new byte[colourType == 2 ? 3 * width : ((width * bits) + 7) / 8];
        var before = new byte[line.Length];
        var frame = new Frame();
        frame.Resize(width, height);
        for (var y = 0; y < height; y++)
        {
            var filter = zlib.ReadByte();
            zlib.ReadExactly(line);
            for (var n = 0; n < line.Length; n++)
            {
                int left = n >= pixelBytes ? line[n - pixelBytes] : 0, above = before[n], corner = n >= pixelBytes ? before[n - pixelBytes] : 0;
                line[n] += (byte)(filter switch
                {
                    0 => 0,
                    1 => left,
                    2 => above,
                    3 => (left + above) / 2,
                    4 => Paeth(left, above, corner),
                    _ => throw new InvalidDataException("no such filter"),
                });
            }

            for (var x = 0; x < width; x++)
                frame.Line(y)[x] = colourType == 2 ? ((uint)line[3 * x] << 16) | ((uint)line[(3 * x) + 1] << 8) | line[(3 * x) + 2] : palette[(line[x * bits / 8] >> (8 - bits - (x * bits % 8))) & ((1 << bits) - 1)];
            (before, line) = (line, before);
        }

        if (zlib.ReadByte() >= 0) throw new InvalidDataException("more data than the picture has");
        return frame;
    }

    private static int Paeth(int left, int above, int corner)
    {
        var guess = left + above - corner;
        int byLeft = Math.Abs(guess - left), byAbove = Math.Abs(guess - above), byCorner = Math.Abs(guess - corner);
        if (byLeft <= byAbove && byLeft <= byCorner) return left;
        return byAbove <= byCorner ? above : corner;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var value in bytes)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb8_8320 & (uint)-(int)(crc & 1));
        }

        return ~crc;
    }
}
