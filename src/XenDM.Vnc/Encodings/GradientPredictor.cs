using System;
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

    private static Vector128<ushort> Foretell(Vector128<ushort> left, Vector128<ushort> up, Vector128<ushort> upLeft)
    {
        var value = (left + up - upLeft).AsInt16();
        return Vector128.Min(Vector128.Max(value, Vector128<short>.Zero), Vector128.Create((short)255)).AsUInt16();
    }
}
