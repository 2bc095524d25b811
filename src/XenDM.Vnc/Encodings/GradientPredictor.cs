using System;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// The tight encoding's gradient filter: each colour of a pixel is sent as its difference, modulo 256, from left + above - left above, held within 0 to
/// 255; what lies outside of the rectangle is 0.
/// </summary>
internal sealed class GradientPredictor
{
    // The line above, with a pixel of 0 before it, and the differences of this one.
    private readonly uint[] _above = new uint[Frame.MaxWidth + 1];
    private readonly uint[] _line = new uint[Frame.MaxWidth + 1];
    private readonly uint[] _differences = new uint[Frame.MaxWidth];
    private readonly byte[] _bytes = new byte[Frame.MaxWidth * sizeof(uint)];

    /// <summary>A rectangle begins.</summary>
    public void Begin() => Array.Clear(_above);

    /// <param name="packer">The order of the colours' bytes.</param>
    /// <returns>The differences' bytes, valid until the next call.</returns>
    public ReadOnlySpan<byte> Line(ReadOnlySpan<uint> pixels, PixelPacker packer)
    {
        pixels.CopyTo(_line.AsSpan(1));
        ReadOnlySpan<byte> here = MemoryMarshal.AsBytes(_line.AsSpan(0, pixels.Length + 1)), above = MemoryMarshal.AsBytes(_above.AsSpan(0, pixels.Length + 1));
        var to = MemoryMarshal.AsBytes(_differences.AsSpan(0, pixels.Length));
        var i = 0;
        for (; i <= to.Length - 16; i += 16)
        {
            Vector128<byte> left = Vector128.Create(here[i..]), pixel = Vector128.Create(here[(i + 4)..]);
            Vector128<byte> upLeft = Vector128.Create(above[i..]), up = Vector128.Create(above[(i + 4)..]);
            var low = Foretell(Vector128.WidenLower(left), Vector128.WidenLower(up), Vector128.WidenLower(upLeft));
            var high = Foretell(Vector128.WidenUpper(left), Vector128.WidenUpper(up), Vector128.WidenUpper(upLeft));
            (pixel - Vector128.Narrow(low, high)).CopyTo(to[i..]);
        }

        for (; i < to.Length; i++) to[i] = (byte)(here[i + 4] - Math.Clamp(here[i] + above[i + 4] - above[i], 0, 255));
        pixels.CopyTo(_above.AsSpan(1));
        return _bytes.AsSpan(0, packer.Convert(_differences.AsSpan(0, pixels.Length), _bytes));
    }

    /// <summary>Tries how well a line is foretold, from its second pixel on.</summary>
    /// <returns>Colours that differ from what was foretold, the sum of these differences without sign, and pixels that are like neither the one to the left nor the one above.</returns>
    public static (int Odd, int Error, int Fresh) Try(ReadOnlySpan<uint> above, ReadOnlySpan<uint> line)
    {
        ReadOnlySpan<byte> here = MemoryMarshal.AsBytes(line), up = MemoryMarshal.AsBytes(above);
        var (odd, error, fresh) = (0, 0, 0);
        var i = sizeof(uint);
        for (; i <= here.Length - 16; i += 16)
        {
            Vector128<byte> left = Vector128.Create(here[(i - 4)..]), pixel = Vector128.Create(here[i..]), upper = Vector128.Create(up[i..]), upLeft = Vector128.Create(up[(i - 4)..]);
            var low = Foretell(Vector128.WidenLower(left), Vector128.WidenLower(upper), Vector128.WidenLower(upLeft));
            var high = Foretell(Vector128.WidenUpper(left), Vector128.WidenUpper(upper), Vector128.WidenUpper(upLeft));
            var foretold = Vector128.Narrow(low, high);
            odd += 16 - BitOperations.PopCount(Vector128.Equals(pixel, foretold).ExtractMostSignificantBits());
            var difference = Vector128.Max(pixel, foretold) - Vector128.Min(pixel, foretold);
            error += Vector128.Sum(Vector128.WidenLower(difference) + Vector128.WidenUpper(difference));
            var known = Vector128.Equals(pixel.AsUInt32(), left.AsUInt32()) | Vector128.Equals(pixel.AsUInt32(), upper.AsUInt32());
            fresh += 4 - BitOperations.PopCount(known.ExtractMostSignificantBits());
        }

        for (; i < here.Length; i++)
        {
            var difference = Math.Abs(here[i] - Math.Clamp(here[i - 4] + up[i] - up[i - 4], 0, 255));
            (odd, error) = (odd + (difference != 0 ? 1 : 0), error + difference);
            if (i % sizeof(uint) == 0 && line[i / 4] != line[(i / 4) - 1] && line[i / 4] != above[i / 4]) fresh++;
        }

        return (odd, error, fresh);
    }

    private static Vector128<ushort> Foretell(Vector128<ushort> left, Vector128<ushort> up, Vector128<ushort> upLeft)
    {
        var value = (left + up - upLeft).AsInt16();
        return Vector128.Min(Vector128.Max(value, Vector128<short>.Zero), Vector128.Create((short)255)).AsUInt16();
    }
}
