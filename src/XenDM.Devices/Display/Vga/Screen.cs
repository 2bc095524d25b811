using System;
using System.Buffers.Binary;
using XenDM.Core.Memory;

namespace XenDM.Devices.Display.Vga;

/// <summary>What the registers put on the screen.</summary>
public enum ScreenKind
{
    /// <summary>Characters with attributes.</summary>
    Text,

    /// <summary>Sixteen colours, a bit from each plane.</summary>
    Planar,

    /// <summary>Four colours (sixteen with all planes): pairs of bits from the even and the odd plane, as on a CGA.</summary>
    Interleaved,

    /// <summary>256 colours, a byte a pixel.</summary>
    Packed,

    /// <summary>A mode of the adapter's own, such as those of the VBE registers.</summary>
    Extended,
}

/// <summary>
/// The part of the adapter that the monitor sees: reads registers and video memory, and changes nothing. All sizes are in dots as they go to
/// the monitor, so that modes with half the dot clock or doubled scan lines are as large as the others.
/// Deviations: overscan is not shown, and graphics modes have 8 dots a character whatever SR1 bit 0 says.
/// </summary>
public sealed class Screen
{
    private const int CellMask = 0xffff;
    private const byte ClockingEightDots = 0x01;
    private const byte ClockingHalf = 0x08;
    private const byte ClockingOff = 0x20;
    private const byte MaxScanDouble = 0x80;
    private const byte CursorOff = 0x20;
    private const byte ModeLineGraphics = 0x04;
    private const byte ModeBlink = 0x08;
    private const byte ModePanTopOnly = 0x20;

    private readonly VideoMemory _memory;
    private readonly VgaRegisters _vga;
    private readonly IExtendedMode _extended;
    private byte[] _wrapped = [];

    internal Screen(VideoMemory memory, VgaRegisters vga, IExtendedMode extended)
    {
        _memory = memory;
        _vga = vga;
        _extended = extended;
    }

    public ScreenKind Kind
    {
        get
        {
            if (_extended.IsOn) return ScreenKind.Extended;
            if ((_vga.Graphics[6] & 1) == 0) return ScreenKind.Text;
            return ((_vga.Graphics[5] >> 5) & 3) switch
            {
                0 => ScreenKind.Planar,
                1 => ScreenKind.Interleaved,
                _ => ScreenKind.Packed,
            };
        }
    }

    public bool IsText => Kind == ScreenKind.Text;

    /// <summary>The guest keeps the screen dark (SR1 bit 5, or no palette on the screen).</summary>
    public bool IsDark => !_vga.PaletteOnScreen || (_vga.Sequencer[1] & ClockingOff) != 0;

    /// <summary>Dots of a line: 8 to 16000.</summary>
    public int Width => Kind switch
    {
        ScreenKind.Extended => _extended.Width,
        ScreenKind.Text => Columns * CellWidth * DotWidth,
        _ => Columns * 8 * DotWidth,
    };

    /// <summary>Lines: 1 to 12000.</summary>
    public int Height => _extended.IsOn ? _extended.Height : _vga.DisplayLines << ((_vga.Crtc[0x17] >> 2) & 1);

    /// <summary>Bits a pixel.</summary>
    public int Depth => Kind switch
    {
        ScreenKind.Extended => _extended.Depth,
        ScreenKind.Interleaved => 2,
        ScreenKind.Packed => 8,
        _ => 4,
    };

    private int Columns => _vga.Crtc[1] + 1;

    private int CellWidth => (_vga.Sequencer[1] & ClockingEightDots) != 0 ? 8 : 9;

    private int DotWidth => (_vga.Sequencer[1] & ClockingHalf) != 0 ? 2 : 1;

    /// <summary>Scan lines of a row of memory, without doubling.</summary>
    private int CellHeight => (_vga.Crtc[9] & 0x1f) + 1;

    private bool IsDoubled => (_vga.Crtc[9] & MaxScanDouble) != 0;

    private int StartAddress => (_vga.Crtc[0x0c] << 8) | _vga.Crtc[0x0d];

    /// <summary>Cells from one row to the next.</summary>
    private int RowPitch => _vga.Crtc[0x13] * 2;

    /// <summary>Cells that the line begins further right, 0 to 3.</summary>
    private int BytePan => (_vga.Crtc[8] >> 5) & 3;

    private int CursorAddress => (((_vga.Crtc[0x0e] << 8) | _vga.Crtc[0x0f]) + ((_vga.Crtc[0x0b] >> 5) & 3)) & CellMask;

    private bool IsCursorOn => (_vga.Crtc[0x0a] & CursorOff) == 0 && (_vga.Crtc[0x0a] & 0x1f) <= (_vga.Crtc[0x0b] & 0x1f);

    /// <summary>Takes a snapshot of a text mode.</summary>
    /// <returns>False, and <paramref name="screen"/> as before, when the mode is none.</returns>
    public bool ReadText(TextScreen screen)
    {
        if (!IsText) return false;
        var cellLines = CellHeight << (IsDoubled ? 1 : 0);
        var columns = Columns;
        var rows = Math.Max(1, Height / cellLines);
        var cells = screen.Resize(columns, rows);
        screen.CellHeight = CellHeight;
        screen.CursorVisible = false;
        screen.CursorStart = _vga.Crtc[0x0a] & 0x1f;
        screen.CursorEnd = _vga.Crtc[0x0b] & 0x1f;
        screen.Blinks = (_vga.Attribute[0x10] & ModeBlink) != 0;
        for (var colour = 0; colour < 16; colour++) screen.MutablePalette[colour] = AttributeColour(colour);
        var memory = _memory.Bytes;
        int address = StartAddress + BytePan, line = 0, compare = _vga.LineCompare;
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < columns; column++)
                cells[(row * columns) + column] = BinaryPrimitives.ReadUInt16LittleEndian(memory.Slice(4 * ((address + column) & CellMask), 2));
            var cursor = (CursorAddress - address) & CellMask;
            if (IsCursorOn && !screen.CursorVisible && cursor < columns)
            {
                screen.CursorVisible = true;
                (screen.CursorColumn, screen.CursorRow) = (cursor, row);
            }

            var split = compare >= line && compare < line + cellLines;
            line += cellLines;
            address = split ? 0 : address + RowPitch;
        }

        return true;
    }

    /// <summary>Draws what the monitor shows now.</summary>
    /// <param name="pixels">Lines of <paramref name="stride"/> pixels as 00RRGGBB (in memory: blue, green, red, 0).</param>
    /// <param name="stride">Pixels from one line to the next, at least <see cref="Width"/>.</param>
    /// <param name="blinkOn">Blinking characters and the cursor are in the part of their time when they are seen.</param>
    /// <exception cref="ArgumentException">There is no room for <see cref="Height"/> lines.</exception>
    public void Render(Span<uint> pixels, int stride, bool blinkOn = true)
    {
        int width = Width, height = Height;
        if (stride < width || pixels.Length < ((long)stride * (height - 1)) + width) throw new ArgumentException($"{pixels.Length} pixels hold no screen of {width} by {height}", nameof(pixels));
        if (IsDark)
        {
            for (var y = 0; y < height; y++) pixels.Slice(y * stride, width).Clear();
            return;
        }

        if (_extended.IsOn) RenderExtended(pixels, stride, width, height);
        else RenderVga(pixels, stride, width, height, blinkOn);
    }

    private uint AttributeColour(int colour) => _vga.Colour(_vga.PaletteEntry(colour & _vga.Attribute[0x12]));

    /// <summary>Goes through the scan lines as the CRT controller counts them.</summary>
    private void RenderVga(Span<uint> pixels, int stride, int width, int height, bool blinkOn)
    {
        Span<uint> colours = stackalloc uint[256];
        var kind = Kind;
        for (var n = 0; n < 256; n++) colours[n] = kind == ScreenKind.Packed ? _vga.Colour(n) : AttributeColour(n & 15);
        var address = StartAddress + BytePan;
        var scan = _vga.Crtc[8] & 0x1f;
        var repeated = false;
        var pan = Pan(kind);
        var compare = _vga.LineCompare;
        for (var y = 0; y < height; y++)
        {
            var line = pixels.Slice(y * stride, width);
            if (kind == ScreenKind.Text) TextLine(line, colours, address, scan, pan, blinkOn);
            else GraphicsLine(line, colours, kind, address, scan, pan);
            if (y == compare)
            {
                // The lower part of a split screen starts at 0, and unpanned where AR10 bit 5 says so.
                address = scan = 0;
                repeated = false;
                if ((_vga.Attribute[0x10] & ModePanTopOnly) != 0) pan = 0;
                continue;
            }

            repeated = IsDoubled && !repeated;
            if (repeated || ++scan < CellHeight) continue;
            scan = 0;
            address += RowPitch;
        }
    }

    /// <summary>Dots that the picture is shifted to the left. With 9 dots a character, 8 means none and 0 means one.</summary>
    private int Pan(ScreenKind kind)
    {
        var value = _vga.Attribute[0x13];
        if (kind != ScreenKind.Text || CellWidth == 8) return value & 7;
        return value >= 8 ? 0 : value + 1;
    }

    private void TextLine(Span<uint> line, ReadOnlySpan<uint> colours, int address, int scan, int pan, bool blinkOn)
    {
        var memory = _memory.Bytes;
        var mode = _vga.Attribute[0x10];
        int cellWidth = CellWidth, dotWidth = DotWidth, cursorAddress = CursorAddress;
        var (fontA, fontB) = Fonts();
        var cursorLine = blinkOn && IsCursorOn && scan >= (_vga.Crtc[0x0a] & 0x1f) && scan <= (_vga.Crtc[0x0b] & 0x1f);
        for (int column = 0, x = -pan * dotWidth; x < line.Length; column++)
        {
            var at = (address + column) & CellMask;
            int code = memory[4 * at], attribute = memory[(4 * at) + 1];
            var font = (attribute & 8) != 0 ? fontA : fontB;
            uint shape = (uint)memory[(4 * ((font + (code * 32) + scan) & CellMask)) + 2] << 1;

            // The ninth dot of line graphics repeats the eighth, so that boxes have no gaps.
            if (cellWidth == 9 && code is >= 0xc0 and <= 0xdf && (mode & ModeLineGraphics) != 0) shape |= (shape >> 1) & 1;
            if ((attribute & 0x77) == 0x01 && scan == (_vga.Crtc[0x14] & 0x1f)) shape = 0x1ff;
            int front = attribute & 0x0f, back = attribute >> 4;
            if ((mode & ModeBlink) != 0)
            {
                back &= 7;
                if ((attribute & 0x80) != 0 && !blinkOn) shape = 0;
            }

            if (cursorLine && at == cursorAddress) shape = 0x1ff;
            for (var dot = 0; dot < cellWidth; dot++, x += dotWidth) Put(line, x, dotWidth, colours[(shape & (0x100u >> dot)) != 0 ? front : back]);
        }
    }

    /// <summary>Where in plane 2 the two fonts begin: A for attributes with bit 3, B for those without.</summary>
    private (int A, int B) Fonts()
    {
        var select = _vga.Sequencer[3];
        return ((((select >> 2) & 3) << 14) | ((select & 0x20) << 8), ((select & 3) << 14) | ((select & 0x10) << 9));
    }

    private void GraphicsLine(Span<uint> line, ReadOnlySpan<uint> colours, ScreenKind kind, int address, int scan, int pan)
    {
        var memory = _memory.Bytes;
        var dotWidth = DotWidth;
        for (int column = 0, x = -pan * dotWidth; x < line.Length; column++)
        {
            var cell = BinaryPrimitives.ReadUInt32LittleEndian(memory.Slice(4 * ScanAddress(address + column, scan), 4));
            for (var dot = 0; dot < 8; dot++, x += dotWidth)
            {
                var colour = kind switch
                {
                    ScreenKind.Planar => Bit(cell, 7 - dot) | (Bit(cell, 15 - dot) << 1) | (Bit(cell, 23 - dot) << 2) | (Bit(cell, 31 - dot) << 3),
                    ScreenKind.Interleaved => Pair(cell, dot) | (Pair(cell >> 16, dot) << 2),
                    _ => (int)(cell >> (8 * (dot >> 1))) & 0xff,
                };
                Put(line, x, dotWidth, colours[colour]);
            }
        }
    }

    /// <summary>CR17 bits 0 and 1 put the row scan counter into the address: memory of CGA and Hercules comes in banks of lines.</summary>
    private int ScanAddress(int address, int scan)
    {
        var mode = _vga.Crtc[0x17];
        address &= CellMask;
        var bank = (_vga.Crtc[0x14] & 0x40) != 0 ? 11 : (mode & 0x40) != 0 ? 13 : 12;
        if ((mode & 1) == 0) address = (address & ~(1 << bank)) | ((scan & 1) << bank);
        if ((mode & 2) == 0) address = (address & ~(2 << bank)) | ((scan & 2) << bank);
        return address;
    }

    private static int Bit(uint value, int bit) => (int)(value >> bit) & 1;

    /// <summary>Dots 0 to 3 are the pairs of the even plane from bit 7 down, 4 to 7 those of the odd one.</summary>
    private static int Pair(uint planes, int dot) => (int)((planes >> ((dot >> 2) * 8)) >> (6 - (2 * (dot & 3)))) & 3;

    private static void Put(Span<uint> line, int x, int width, uint colour)
    {
        for (var i = x; i < x + width; i++)
            if ((uint)i < (uint)line.Length) line[i] = colour;
    }

    private void RenderExtended(Span<uint> pixels, int stride, int width, int height)
    {
        Span<uint> colours = stackalloc uint[256];
        var depth = _extended.Depth;
        for (var n = 0; n < 256; n++) colours[n] = depth == 4 ? AttributeColour(n & 15) : _vga.Colour(n);
        var memory = _memory.Bytes;
        int mask = memory.Length - 1, bytes = LineBytes(_extended.X + width, depth);
        for (var y = 0; y < height; y++)
        {
            var address = _extended.LineAddress(y) & mask;
            var source = address + bytes <= memory.Length ? memory.Slice(address, bytes) : Wrap(memory, address, bytes);
            var line = pixels.Slice(y * stride, width);
            switch (depth)
            {
                case 4: PlanarLine(source, line, colours); break;
                case 8:
                    for (var x = 0; x < width; x++) line[x] = colours[source[_extended.X + x]];
                    break;
                case 15 or 16: HighColourLine(source[(2 * _extended.X)..], line, depth); break;
                case 24:
                    source = source[(3 * _extended.X)..];
                    for (var x = 0; x < width; x++) line[x] = source[3 * x] | ((uint)source[(3 * x) + 1] << 8) | ((uint)source[(3 * x) + 2] << 16);
                    break;
                default:
                    source = source[(4 * _extended.X)..];
                    for (var x = 0; x < width; x++) line[x] = BinaryPrimitives.ReadUInt32LittleEndian(source[(4 * x)..]) & 0xff_ffff;
                    break;
            }
        }
    }

    /// <summary>Bytes of a line of so many pixels.</summary>
    private static int LineBytes(int pixels, int depth) => depth switch
    {
        4 => (pixels + 7) / 8 * 4,
        15 => 2 * pixels,
        _ => pixels * depth / 8,
    };

    /// <summary>A line whose rest is found again at the beginning of memory.</summary>
    private ReadOnlySpan<byte> Wrap(ReadOnlySpan<byte> memory, int address, int bytes)
    {
        if (_wrapped.Length < bytes) _wrapped = new byte[bytes];
        for (var done = 0; done < bytes;)
        {
            var piece = Math.Min(bytes - done, memory.Length - address);
            memory.Slice(address, piece).CopyTo(_wrapped.AsSpan(done));
            done += piece;
            address = 0;
        }

        return _wrapped.AsSpan(0, bytes);
    }

    private void PlanarLine(ReadOnlySpan<byte> source, Span<uint> line, ReadOnlySpan<uint> colours)
    {
        for (var x = 0; x < line.Length; x++)
        {
            var at = _extended.X + x;
            var cell = BinaryPrimitives.ReadUInt32LittleEndian(source.Slice(at / 8 * 4, 4));
            var bit = 7 - (at & 7);
            line[x] = colours[Bit(cell, bit) | (Bit(cell, bit + 8) << 1) | (Bit(cell, bit + 16) << 2) | (Bit(cell, bit + 24) << 3)];
        }
    }

    /// <summary>Five bits a colour, six of green with 16; the high bits fill up the low ones, so that all ones are white.</summary>
    private static void HighColourLine(ReadOnlySpan<byte> source, Span<uint> line, int depth)
    {
        var greenBits = depth - 10;
        for (var x = 0; x < line.Length; x++)
        {
            uint pixel = BinaryPrimitives.ReadUInt16LittleEndian(source[(2 * x)..]);
            var green = (pixel >> 5) & ((1u << greenBits) - 1);
            line[x] = (Widen((pixel >> (5 + greenBits)) & 31, 5) << 16) | (Widen(green, greenBits) << 8) | Widen(pixel & 31, 5);
        }
    }

    private static uint Widen(uint value, int bits) => (value << (8 - bits)) | (value >> ((2 * bits) - 8));
}
