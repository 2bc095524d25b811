using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using XenDM.Core.Display;
using XenDM.Core.Memory;

namespace XenDM.Devices.Display.Vga;

/// <summary>The cells of text modes: remembers what each shows, and draws those that are to show something else.</summary>
internal sealed class TextScanOut
{
    private const int Glyphs = 256;
    private const int GlyphBytes = 32;
    private const int FontBytes = Glyphs * GlyphBytes;
    private const int PlaneMask = 0xffff;
    private const int WordBits = 64;

    /// <summary>Cells of a page of memory.</summary>
    private const int PageCells = VideoMemory.PageBytes / 4;
    private const int ModeLineGraphics = 0x04;
    private const int ModeBlink = 0x08;

    /// <summary>What a cell shows, behind character and attribute: its character is in the dark part of blinking; the cursor's first and last line.</summary>
    private const uint HiddenBit = 1 << 16;
    private const uint CursorBit = 1 << 17;
    private const int CursorStartShift = 18, CursorEndShift = 23;
    private const uint Nothing = uint.MaxValue;
    private const int None = int.MinValue;

    private readonly VideoMemory _memory;
    private readonly Screen _screen;

    /// <summary>The fonts A and B as they were drawn last, and which of their characters are others now.</summary>
    private readonly byte[] _fonts = new byte[2 * FontBytes];
    private readonly ulong[] _otherGlyphs = new ulong[2 * Glyphs / WordBits];
    private uint[] _cells = [];

    public TextScanOut(VideoMemory memory, Screen screen)
    {
        _memory = memory;
        _screen = screen;
    }

    /// <param name="pages">Pages that were written; empty when that is not known.</param>
    /// <param name="all">Nothing of the frame is right.</param>
    /// <returns>Something on the screen blinks.</returns>
    public bool Draw(Frame frame, Damage damage, in VgaSetup setup, ReadOnlySpan<uint> colours, ReadOnlySpan<ulong> pages, bool all, bool blinkOn)
    {
        var columns = setup.Columns + 1;
        Array.Clear(_otherGlyphs);
        TakeFont(0, setup.FontA, all ? default : pages);
        if (setup.FontB != setup.FontA) TakeFont(1, setup.FontB, all ? default : pages);
        var bands = (setup.Height / (setup.CellHeight << (setup.IsDoubled ? 1 : 0))) + 4;
        if (_cells.Length < bands * columns)
        {
            _cells = new uint[bands * columns];
            all = true;
        }

        if (all)
        {
            _cells.AsSpan().Fill(Nothing);
            damage.AddAll();
        }

        var cursor = _screen.CursorPlace;
        var blinks = false;
        Span<byte> scans = stackalloc byte[2 * GlyphBytes];
        var line = _screen.FirstLine;
        var height = Math.Min(setup.Height, frame.Height);
        for (int y = 0, band = 0; y < height; band++)
        {
            // Scan lines of the same cells.
            var first = line;
            int top = y, count = 0;
            do
            {
                scans[count++] = (byte)line.Scan;
                _screen.NextLine(ref line, y++);
            }
            while (y < height && count < scans.Length && line.Address == first.Address && line.Pan == first.Pan && (line.Scan > scans[count - 1] || line.IsRepeated));
            var known = band < bands ? _cells.AsSpan(band * columns, columns) : default;
            blinks |= DrawBand(frame, damage, setup, colours, known, first, top, scans[..count], cursor, blinkOn);
        }

        return blinks;
    }

    private bool DrawBand(Frame frame, Damage damage, in VgaSetup setup, ReadOnlySpan<uint> colours, Span<uint> known, in ScanLine at, int top, ReadOnlySpan<byte> scans, (int Address, int Start, int End) cursor, bool blinkOn)
    {
        var memory = _memory.Bytes;
        var blinks = false;
        int step = setup.CellWidth * setup.DotWidth, left = -at.Pan * setup.DotWidth, from = None;
        var canBlink = (setup.Attribute & ModeBlink) != 0;
        for (int column = 0, x = left; column < known.Length; column++, x += step)
        {
            var address = at.Address + column;
            uint cell = BinaryPrimitives.ReadUInt16LittleEndian(memory.Slice(4 * _screen.CellAddress(address, 0), 2));
            if (canBlink && (cell & 0x8000) != 0)
            {
                blinks = true;
                if (!blinkOn) cell |= HiddenBit;
            }

            if ((address & PlaneMask) == cursor.Address)
            {
                blinks = true;
                if (blinkOn) cell |= CursorBit | ((uint)cursor.Start << CursorStartShift) | ((uint)cursor.End << CursorEndShift);
            }

            var isOther = x < frame.Width && (cell != known[column] || IsOther(cell, setup));
            if (isOther)
            {
                if (from == None) from = x;
                known[column] = cell;
                DrawCell(frame, setup, colours, cell, x, top, scans);
            }
            else if (from != None)
            {
                damage.Add(from, top, x - from, scans.Length);
                from = None;
            }
        }

        if (from != None) damage.Add(from, top, frame.Width - from, scans.Length);
        return blinks;
    }

    private bool IsOther(uint cell, in VgaSetup setup)
    {
        var glyph = (int)(cell & 0xff) + Glyphs * Font(cell, setup);
        return (_otherGlyphs[glyph / WordBits] >> (glyph % WordBits) & 1) != 0;
    }

    /// <summary>Attribute bit 3 chooses font A, which is the only one unless they differ.</summary>
    private static int Font(uint cell, in VgaSetup setup) => (cell & 0x0800) == 0 && setup.FontA != setup.FontB ? 1 : 0;

    private void DrawCell(Frame frame, in VgaSetup setup, ReadOnlySpan<uint> colours, uint cell, int left, int top, ReadOnlySpan<byte> scans)
    {
        var code = (int)cell & 0xff;
        var attribute = (int)(cell >> 8) & 0xff;
        var glyph = _fonts.AsSpan((Font(cell, setup) * FontBytes) + (code * GlyphBytes), GlyphBytes);
        int front = attribute & 0x0f, back = attribute >> 4;
        if ((setup.Attribute & ModeBlink) != 0) back &= 7;
        uint frontColour = colours[front], backColour = colours[back];
        var isLine = code is >= 0xc0 and <= 0xdf && (setup.Attribute & ModeLineGraphics) != 0;
        var underline = (attribute & 0x77) == 0x01 ? setup.Underline & 0x1f : -1;
        int cursorStart = 0, cursorEnd = -1;
        if ((cell & CursorBit) != 0) (cursorStart, cursorEnd) = ((int)(cell >> CursorStartShift) & 0x1f, (int)(cell >> CursorEndShift) & 0x1f);
        var step = setup.CellWidth * setup.DotWidth;
        var inside = left >= 0 && left + step <= frame.Width;
        for (var n = 0; n < scans.Length; n++)
        {
            int scan = scans[n];
            var shape = (uint)glyph[scan] << 1;

            // The ninth dot of line graphics repeats the eighth, so that boxes have no gaps.
            if (isLine) shape |= (shape >> 1) & 1;
            if (scan == underline) shape = 0x1ff;
            if ((cell & HiddenBit) != 0) shape = 0;
            if (scan >= cursorStart && scan <= cursorEnd) shape = 0x1ff;
            var line = frame.Line(top + n);
            if (inside && setup.DotWidth == 1) PutDots(line.Slice(left, step), shape, frontColour, backColour);
            else PutClipped(line, left, setup, shape, frontColour, backColour);
        }
    }

    private static void PutDots(Span<uint> dots, uint shape, uint front, uint back)
    {
        var bits = Vector128.Create(shape);
        var isFront = Vector128.Create(front);
        var isBack = Vector128.Create(back);
        var four = Vector128.Create(0x100u, 0x80, 0x40, 0x20);
        var last = Vector128.Create(0x10u, 0x08, 0x04, 0x02);
        Vector128.ConditionalSelect(Vector128.Equals(bits & four, four), isFront, isBack).CopyTo(dots);
        Vector128.ConditionalSelect(Vector128.Equals(bits & last, last), isFront, isBack).CopyTo(dots[4..]);
        if (dots.Length > 8) dots[8] = (shape & 1) != 0 ? front : back;
    }

    private static void PutClipped(Span<uint> line, int left, in VgaSetup setup, uint shape, uint front, uint back)
    {
        for (var dot = 0; dot < setup.CellWidth; dot++)
        {
            var colour = (shape & (0x100u >> dot)) != 0 ? front : back;
            for (int x = left + (dot * setup.DotWidth), end = x + setup.DotWidth; x < end; x++)
                if ((uint)x < (uint)line.Length) line[x] = colour;
        }
    }

    /// <summary>Reads a font from plane 2 where it may have been written, and notes the characters that are others.</summary>
    /// <param name="address">In the plane, a multiple of <see cref="FontBytes"/>.</param>
    private void TakeFont(int font, int address, ReadOnlySpan<ulong> pages)
    {
        var memory = MemoryMarshal.Cast<byte, uint>(_memory.Bytes);
        for (var start = 0; start < FontBytes; start += PageCells)
        {
            var at = (address + start) & PlaneMask;
            var page = at / PageCells;
            if (!pages.IsEmpty && (pages[page / WordBits] >> (page % WordBits) & 1) == 0) continue;
            for (var n = 0; n < PageCells; n += Vector128<byte>.Count)
            {
                var bytes = Plane2(memory.Slice(at + n, Vector128<byte>.Count));
                var known = _fonts.AsSpan((font * FontBytes) + start + n, Vector128<byte>.Count);
                if (bytes == Vector128.Create((ReadOnlySpan<byte>)known)) continue;
                bytes.CopyTo(known);
                var glyph = (font * Glyphs) + ((start + n) / GlyphBytes);
                _otherGlyphs[glyph / WordBits] |= 1ul << (glyph % WordBits);
            }
        }
    }

    /// <summary>Sixteen bytes of plane 2, from as many cells.</summary>
    private static Vector128<byte> Plane2(ReadOnlySpan<uint> cells)
    {
        var mask = Vector128.Create(0xffu);
        var first = Vector128.Narrow((Vector128.Create(cells) >> 16) & mask, (Vector128.Create(cells[4..]) >> 16) & mask);
        var second = Vector128.Narrow((Vector128.Create(cells[8..]) >> 16) & mask, (Vector128.Create(cells[12..]) >> 16) & mask);
        return Vector128.Narrow(first, second);
    }
}
