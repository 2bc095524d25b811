using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// The pixel format of a client (RFC 6143, 7.4) and the conversion of a frame's pixels to it. A client with a colour map gets one fixed map of 8 levels
/// of red and green and 4 of blue, so that it is the same as a true colour format of 8 bits.
/// </summary>
public sealed class ClientFormat
{
    /// <summary>Bytes of a pixel format in a message.</summary>
    public const int Length = 16;

    /// <summary>Colours of the map of a client without true colour.</summary>
    public const int MapColours = 256;

    private const int MapRedMax = 7, MapGreenMax = 7, MapBlueMax = 3, MapRedShift = 0, MapGreenShift = 3, MapBlueShift = 6;

    private static readonly PixelPacker s_tight = new(3, Table(0), Table(8), Table(16));

    /// <summary>What a frame's pixels are: 32 bits, little endian, 00RRGGBB.</summary>
    public static readonly ClientFormat Native = new(32, 24, false, true, 255, 255, 255, 16, 8, 0);

    private ClientFormat(int bitsPerPixel, int depth, bool isBigEndian, bool isTrueColour, int redMax, int greenMax, int blueMax, int redShift, int greenShift, int blueShift)
    {
        (BitsPerPixel, Depth, IsBigEndian, IsTrueColour) = (bitsPerPixel, depth, isBigEndian, isTrueColour);
        (RedMax, GreenMax, BlueMax, RedShift, GreenShift, BlueShift) = (redMax, greenMax, blueMax, redShift, greenShift, blueShift);
        var (red, green, blue) = isTrueColour ? ((redMax, redShift), (greenMax, greenShift), (blueMax, blueShift))
            : ((MapRedMax, MapRedShift), (MapGreenMax, MapGreenShift), (MapBlueMax, MapBlueShift));
        Full = new PixelPacker(BytesPerPixel, Table(red), Table(green), Table(blue));
        var (compactBytes, compactOffset) = Compacted(red, green, blue);
        Compact = compactBytes == BytesPerPixel ? Full : Full.Without(compactOffset, compactBytes);
        IsTight = isTrueColour && bitsPerPixel == 32 && depth == 24 && redMax == 255 && greenMax == 255 && blueMax == 255;
        Tight = IsTight ? s_tight : Full;
    }

    /// <summary>8, 16 or 32.</summary>
    public int BitsPerPixel { get; }

    public int BytesPerPixel => BitsPerPixel / 8;

    /// <summary>Bits of a pixel that mean something.</summary>
    public int Depth { get; }

    public bool IsBigEndian { get; }

    /// <summary>False: pixels are indices of the map that <see cref="WriteColourMap"/> tells.</summary>
    public bool IsTrueColour { get; }

    public int RedMax { get; }

    public int GreenMax { get; }

    public int BlueMax { get; }

    public int RedShift { get; }

    public int GreenShift { get; }

    public int BlueShift { get; }

    /// <summary>Whole pixels.</summary>
    internal PixelPacker Full { get; }

    /// <summary>Pixels of ZRLE: of 32 bits without the byte that has no colour (RFC 6143, 7.7.5).</summary>
    internal PixelPacker Compact { get; }

    /// <summary>Pixels of the tight encoding are three bytes: red, green, blue.</summary>
    internal bool IsTight { get; }

    /// <summary>Pixels of the tight encoding: the bytes red, green, blue where the format has 8 bits of each.</summary>
    internal PixelPacker Tight { get; }

    /// <summary>Reads the format that a client asks for.</summary>
    /// <param name="message"><see cref="Length"/> bytes of SetPixelFormat.</param>
    /// <returns>False when there is no such format: wrong bits per pixel, or colours that do not fit in a pixel.</returns>
    public static bool TryRead(ReadOnlySpan<byte> message, [NotNullWhen(true)] out ClientFormat? format)
    {
        format = null;
        var (bits, depth, isTrueColour) = (message[0], message[1], message[3] != 0);
        var (redMax, greenMax, blueMax) = (BinaryPrimitives.ReadUInt16BigEndian(message[4..]), BinaryPrimitives.ReadUInt16BigEndian(message[6..]),
            BinaryPrimitives.ReadUInt16BigEndian(message[8..]));
        var (redShift, greenShift, blueShift) = (message[10], message[11], message[12]);
        if (bits is not (8 or 16 or 32)) return false;
        if (isTrueColour && !(Fits(redMax, redShift, bits) && Fits(greenMax, greenShift, bits) && Fits(blueMax, blueShift, bits))) return false;
        format = new ClientFormat(bits, depth, message[2] != 0, isTrueColour, redMax, greenMax, blueMax, redShift, greenShift, blueShift);
        return true;
    }

    /// <summary>Writes <see cref="Length"/> bytes as ServerInit has them.</summary>
    public void Write(Span<byte> message)
    {
        message[..Length].Clear();
        (message[0], message[1], message[2], message[3]) = ((byte)BitsPerPixel, (byte)Depth, (byte)(IsBigEndian ? 1 : 0), (byte)(IsTrueColour ? 1 : 0));
        BinaryPrimitives.WriteUInt16BigEndian(message[4..], (ushort)RedMax);
        BinaryPrimitives.WriteUInt16BigEndian(message[6..], (ushort)GreenMax);
        BinaryPrimitives.WriteUInt16BigEndian(message[8..], (ushort)BlueMax);
        (message[10], message[11], message[12]) = ((byte)RedShift, (byte)GreenShift, (byte)BlueShift);
    }

    /// <summary>Writes the message SetColourMapEntries with the whole map, for a client without true colour.</summary>
    public static void WriteColourMap(IBufferWriter<byte> output)
    {
        const int Header = 6, Entry = 6;
        var message = output.GetSpan(Header + (MapColours * Entry));
        message[..Header].Clear();
        message[0] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(message[4..], MapColours);
        for (var i = 0; i < MapColours; i++)
        {
            var entry = message[(Header + (i * Entry))..];
            BinaryPrimitives.WriteUInt16BigEndian(entry, (ushort)(((i >> MapRedShift) & MapRedMax) * 0xffff / MapRedMax));
            BinaryPrimitives.WriteUInt16BigEndian(entry[2..], (ushort)(((i >> MapGreenShift) & MapGreenMax) * 0xffff / MapGreenMax));
            BinaryPrimitives.WriteUInt16BigEndian(entry[4..], (ushort)(((i >> MapBlueShift) & MapBlueMax) * 0xffff / MapBlueMax));
        }

        output.Advance(Header + (MapColours * Entry));
    }

    /// <summary>Converts pixels of a frame.</summary>
    /// <param name="to">At least <see cref="BytesPerPixel"/> for each pixel.</param>
    public void Convert(ReadOnlySpan<uint> pixels, Span<byte> to) => Full.Convert(pixels, to);

    private static bool Fits(int max, int shift, int bits) => shift < bits && ((ulong)max << shift) >> bits == 0;

    private static uint[] Table(int shift)
    {
        var table = new uint[256];
        for (var i = 0; i < table.Length; i++) table[i] = (uint)i << shift;
        return table;
    }

    private uint[] Table((int Max, int Shift) colour)
    {
        var table = new uint[256];
        for (var i = 0; i < table.Length; i++)
        {
            var value = (uint)(((i * colour.Max) + 127) / 255) << colour.Shift;
            table[i] = !IsBigEndian ? value : BitsPerPixel switch { 8 => value, 16 => BinaryPrimitives.ReverseEndianness((ushort)value), _ => BinaryPrimitives.ReverseEndianness(value) };
        }

        return table;
    }

    /// <returns>Bytes of a pixel of ZRLE, and the first of the whole pixel's bytes that is one of them.</returns>
    private (int Bytes, int Offset) Compacted((int Max, int Shift) red, (int Max, int Shift) green, (int Max, int Shift) blue)
    {
        if (BitsPerPixel != 32 || !IsTrueColour || Depth > 24) return (BytesPerPixel, 0);
        var all = ((uint)red.Max << red.Shift) | ((uint)green.Max << green.Shift) | ((uint)blue.Max << blue.Shift);
        if (all >> 24 == 0) return (3, IsBigEndian ? 1 : 0);
        if ((all & 0xff) == 0) return (3, IsBigEndian ? 0 : 1);
        return (4, 0);
    }
}
