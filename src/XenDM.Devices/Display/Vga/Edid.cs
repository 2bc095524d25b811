using System;
using System.Buffers.Binary;

namespace XenDM.Devices.Display.Vga;

/// <summary>What the monitor says about itself: VESA E-EDID 1.4, one block. 1024x768 is preferred, and the older standard modes are known.</summary>
internal static class Edid
{
    public const int Bytes = 256;
    private const int BlockBytes = 128;

    /// <returns>256 bytes, the second half zero.</returns>
    public static byte[] Build()
    {
        var block = new byte[Bytes];
        block.AsSpan(1, 6).Fill(0xff);

        // Manufacturer "XDM": three letters of five bits; product 1, made in 2024.
        BinaryPrimitives.WriteUInt16BigEndian(block.AsSpan(8), (('X' - '@') << 10) | (('D' - '@') << 5) | ('M' - '@'));
        block[10] = 1;
        block[17] = 2024 - 1990;
        (block[18], block[19]) = (1, 4);

        // Digital, 8 bits a colour; 34 by 25 cm; gamma 2.2; RGB, sRGB, the first timing is the native one.
        (block[20], block[21], block[22], block[23], block[24]) = (0xa0, 34, 25, 120, 0x06);

        // The primaries of sRGB in units of 1/1024.
        ReadOnlySpan<byte> colours = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54];
        colours.CopyTo(block.AsSpan(25));

        // 640x480, 800x600 and 1024x768 at 60 Hz.
        (block[35], block[36]) = (0x21, 0x08);

        // Standard timings at 60 Hz: width / 8 - 31, shape in bits 7:6 (0 is 16:10, 1 is 4:3, 2 is 5:4, 3 is 16:9).
        ReadOnlySpan<(int Width, int Shape)> timings = [(1280, 0), (1280, 2), (1280, 3), (1440, 0), (1600, 1), (1680, 0), (1920, 3), (1920, 0)];
        for (var i = 0; i < timings.Length; i++) (block[38 + (2 * i)], block[39 + (2 * i)]) = ((byte)((timings[i].Width / 8) - 31), (byte)(timings[i].Shape << 6));

        // 1024x768 at 60 Hz (VESA DMT): 65 MHz, blanking 320 x 38, sync 136 after 24 and 6 after 3, both negative.
        ReadOnlySpan<byte> native = [0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18, 0x88, 0x36, 0x00, 0x54, 0xfa, 0x10, 0x00, 0x00, 0x18];
        native.CopyTo(block.AsSpan(54));
        Descriptor(block.AsSpan(72, 18), 0xfc, "XenDM"u8);

        // Range limits: 50 to 125 Hz, 30 to 160 kHz, up to 2550 MHz, no formula.
        ReadOnlySpan<byte> limits = [0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 255, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20];
        limits.CopyTo(block.AsSpan(90));
        Descriptor(block.AsSpan(108, 18), 0x10, default);
        block[BlockBytes - 1] = Checksum(block.AsSpan(0, BlockBytes - 1));
        return block;
    }

    /// <summary>A text of up to 13 characters, ended by a line feed and filled with spaces; or an empty descriptor.</summary>
    private static void Descriptor(Span<byte> at, byte kind, ReadOnlySpan<byte> text)
    {
        at[3] = kind;
        if (text.IsEmpty) return;
        at[5..].Fill((byte)' ');
        text.CopyTo(at[5..]);
        at[5 + text.Length] = (byte)'\n';
    }

    private static byte Checksum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var value in bytes) sum += value;
        return (byte)-sum;
    }
}
