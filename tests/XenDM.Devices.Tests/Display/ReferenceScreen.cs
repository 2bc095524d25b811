using System;
using XenDM.Core.Display;

namespace XenDM.Devices.Tests.Display;

/// <summary>
/// What a monitor shows at a VGA, worked out for each dot by itself from the values that a program wrote (IBM PS/2 Hardware Interface Technical
/// Reference, Video Subsystem): slow, and with nothing from the adapter but its memory.
/// </summary>
internal static class ReferenceScreen
{
    public static Frame Vga(VgaBoard vga, bool blinkOn = true)
    {
        var (sr, cr, gr, ar) = (vga.SequencerValues, vga.CrtcValues, vga.GraphicsValues, vga.AttributeValues);
        var isText = (gr[6] & 1) == 0;
        int cellWidth = (sr[1] & 1) != 0 ? 8 : 9, dotWidth = (sr[1] & 8) != 0 ? 2 : 1, cellHeight = (cr[9] & 31) + 1;
        var width = (cr[1] + 1) * cellWidth * dotWidth;
        var height = cr[0x12] + ((cr[7] & 2) << 7) + ((cr[7] & 0x40) << 3) + 1;
        if ((cr[0x17] & 4) != 0) height *= 2;
        var compare = cr[0x18] + ((cr[7] & 0x10) << 4) + ((cr[9] & 0x40) << 3);
        var frame = new Frame();
        frame.Resize(width, height);
        if ((sr[1] & 0x20) != 0) return frame;
        var start = (cr[0x0c] << 8) + cr[0x0d] + ((cr[8] >> 5) & 3);
        var pan = cellWidth == 9 ? (ar[0x13] >= 8 ? 0 : ar[0x13] + 1) : ar[0x13] & 7;
        int row = 0, scan = cr[8] & 31, half = 0;
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var dot = (x / dotWidth) + pan;
                var address = (start + (row * 2 * cr[0x13]) + (dot / cellWidth)) & 0xffff;
                frame.Line(y)[x] = isText ? Text(vga, address, dot % cellWidth, scan, blinkOn) : Graphics(vga, address, dot % cellWidth, scan);
            }

            if (y == compare)
            {
                (start, row, scan, half) = (0, 0, 0, 0);
                if ((ar[0x10] & 0x20) != 0) pan = 0;
            }
            else if ((cr[9] & 0x80) != 0 && half == 0) half = 1;
            else
            {
                half = 0;
                if (++scan >= cellHeight) (scan, row) = (0, row + 1);
            }
        }

        return frame;
    }

    private static uint Attribute(VgaBoard vga, int value)
    {
        var entry = vga.AttributeValues[value & vga.AttributeValues[0x12] & 15] & 0x3f;
        var select = vga.AttributeValues[0x14];
        return vga.Colours[(vga.AttributeValues[0x10] & 0x80) != 0 ? (entry & 15) + ((select & 15) << 4) : entry + ((select & 12) << 4)];
    }

    private static uint Text(VgaBoard vga, int address, int dot, int scan, bool blinkOn)
    {
        var (sr, cr, ar) = (vga.SequencerValues, vga.CrtcValues, vga.AttributeValues);
        int character = vga.Vram[4 * address], attribute = vga.Vram[(4 * address) + 1];
        ReadOnlySpan<int> fonts = [0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000];
        var font = fonts[(attribute & 8) != 0 ? ((sr[3] >> 2) & 3) + ((sr[3] >> 3) & 4) : (sr[3] & 3) + ((sr[3] >> 2) & 4)];
        int shape = vga.Vram[(4 * (font + (32 * character) + scan)) + 2];
        var isSet = dot < 8 ? (shape & (0x80 >> dot)) != 0 : (shape & 1) != 0 && character is >= 0xc0 and <= 0xdf && (ar[0x10] & 4) != 0;
        if ((attribute & 0x77) == 1 && scan == (cr[0x14] & 31)) isSet = true;
        var blinks = (ar[0x10] & 8) != 0;
        if (blinks && attribute >= 0x80 && !blinkOn) isSet = false;
        var cursor = ((cr[0x0e] << 8) + cr[0x0f] + ((cr[0x0b] >> 5) & 3)) & 0xffff;
        if (address == cursor && blinkOn && (cr[0x0a] & 0x20) == 0 && scan >= (cr[0x0a] & 31) && scan <= (cr[0x0b] & 31)) isSet = true;
        return Attribute(vga, isSet ? attribute & 15 : (attribute >> 4) & (blinks ? 7 : 15));
    }

    private static uint Graphics(VgaBoard vga, int address, int dot, int scan)
    {
        var (cr, gr, ar) = (vga.CrtcValues, vga.GraphicsValues, vga.AttributeValues);
        var mode = cr[0x17];

        // The row scan counter's bits take the place of address bits 13 and 14 of the adapter: a bit lower for word addresses, two for doublewords.
        var bank = 13 - ((cr[0x14] & 0x40) != 0 ? 2 : (mode & 0x40) != 0 ? 0 : 1);
        if ((mode & 1) == 0) address = (address & ~(1 << bank)) | ((scan & 1) << bank);
        if ((mode & 2) == 0) address = (address & ~(2 << bank)) | (((scan >> 1) & 1) << (bank + 1));
        var cell = vga.Vram.Slice(4 * address, 4);
        if (dot == 8) return (gr[5] & 0x40) != 0 && (ar[0x10] & 0x40) != 0 ? vga.Colours[0] : Attribute(vga, 0);
        if ((gr[5] & 0x40) != 0)
        {
            var value = cell[dot / 2];
            return (ar[0x10] & 0x40) != 0 ? vga.Colours[value] : Attribute(vga, dot % 2 == 0 ? value >> 4 : value & 15);
        }

        if ((gr[5] & 0x20) != 0)
        {
            var shift = 6 - (2 * (dot % 4));
            return Attribute(vga, ((cell[dot / 4] >> shift) & 3) + (((cell[2 + (dot / 4)] >> shift) & 3) << 2));
        }

        var colour = 0;
        for (var plane = 0; plane < 4; plane++) colour += ((cell[plane] >> (7 - dot)) & 1) << plane;
        return Attribute(vga, colour);
    }

    /// <summary>A mode of the VBE registers.</summary>
    /// <param name="virtualWidth">Pixels of a line in memory.</param>
    public static Frame Vbe(VgaBoard vga, int width, int height, int depth, int virtualWidth, int left, int top)
    {
        var frame = new Frame();
        frame.Resize(width, height);
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var pixel = ((y + top) * virtualWidth) + x + left;
                frame.Line(y)[x] = depth switch
                {
                    4 => Plane(vga, pixel),
                    8 => vga.Colours[vga.Vram[pixel]],
                    15 => High(vga.Vram[2 * pixel] + (vga.Vram[(2 * pixel) + 1] << 8), 10, 5, 31),
                    16 => High(vga.Vram[2 * pixel] + (vga.Vram[(2 * pixel) + 1] << 8), 11, 5, 63),
                    24 => vga.Vram[3 * pixel] + ((uint)vga.Vram[(3 * pixel) + 1] << 8) + ((uint)vga.Vram[(3 * pixel) + 2] << 16),
                    _ => vga.Vram[4 * pixel] + ((uint)vga.Vram[(4 * pixel) + 1] << 8) + ((uint)vga.Vram[(4 * pixel) + 2] << 16),
                };
            }
        }

        return frame;
    }

    private static uint Plane(VgaBoard vga, int pixel)
    {
        var colour = 0;
        for (var plane = 0; plane < 4; plane++) colour += ((vga.Vram[(pixel / 8 * 4) + plane] >> (7 - (pixel % 8))) & 1) << plane;
        return Attribute(vga, colour);
    }

    /// <summary>The nearest of 256 steps below, so that the highest value is 255: the bits again behind themselves.</summary>
    private static uint High(int pixel, int redShift, int greenShift, int greenMax)
    {
        static uint Five(int value) => (uint)((value * 8) + (value / 4));
        var green = (pixel >> greenShift) & greenMax;
        return (Five((pixel >> redShift) & 31) << 16) + ((greenMax == 31 ? Five(green) : (uint)((green * 4) + (green / 16))) << 8) + Five(pixel & 31);
    }
}
