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
/// What the registers put on the screen: reads them and video memory, and changes nothing. All sizes are in dots as they go to the monitor, so
/// that modes with half the dot clock or doubled scan lines are as large as the others.
/// Deviations: overscan is not shown; the address counter counts every character whatever CR14 bit 5 and CR17 bit 3 say.
/// </summary>
public sealed class Screen
{
    private const int CellMask = 0xffff;
    private const byte ClockingEightDots = 0x01;
    private const byte ClockingHalf = 0x08;
    private const byte MaxScanDouble = 0x80;
    private const byte CursorOff = 0x20;
    private const byte ModeBlink = 0x08;
    private const byte ModePanTopOnly = 0x20;
    private const byte ModeBytePixels = 0x40;

    private readonly VideoMemory _memory;
    private readonly VgaRegisters _vga;
    private readonly IExtendedMode _extended;

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
    public bool IsDark => !_vga.PaletteOnScreen || (_extended.IsOn ? _extended.IsDark : _vga.IsScreenOff);

    /// <summary>Dots of a line: 8 to 16000.</summary>
    public int Width => Kind switch
    {
        ScreenKind.Extended => _extended.Width,
        _ => Columns * CellWidth * DotWidth,
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
    internal int RowPitch => _vga.Crtc[0x13] * 2;

    /// <summary>Cells that the line begins further right, 0 to 3.</summary>
    private int BytePan => (_vga.Crtc[8] >> 5) & 3;

    /// <summary>What the address counter is at the cursor.</summary>
    private int CursorAddress => (((_vga.Crtc[0x0e] << 8) | _vga.Crtc[0x0f]) + ((_vga.Crtc[0x0b] >> 5) & 3)) & CellMask;

    /// <summary>What the address counter is at the cursor (-1 when it is off), and its first and last scan line.</summary>
    internal (int Address, int Start, int End) CursorPlace => (IsCursorOn ? CursorAddress : -1, _vga.Crtc[0x0a] & 0x1f, _vga.Crtc[0x0b] & 0x1f);

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

    /// <summary>The colour of a value of four bits.</summary>
    internal uint AttributeColour(int colour) => _vga.Colour(_vga.PaletteEntry(colour & _vga.Attribute[0x12]));

    /// <summary>Where the beam begins a picture.</summary>
    internal ScanLine FirstLine => new() { Address = StartAddress + BytePan, Scan = _vga.Crtc[8] & 0x1f, Pan = Pan };

    /// <summary>Goes on to the next scan line as the CRT controller counts them.</summary>
    /// <param name="y">The line that <paramref name="line"/> is.</param>
    internal void NextLine(ref ScanLine line, int y)
    {
        if (y == _vga.LineCompare)
        {
            // The lower part of a split screen starts at 0, and unpanned where AR10 bit 5 says so.
            line = new ScanLine { Pan = (_vga.Attribute[0x10] & ModePanTopOnly) != 0 ? 0 : line.Pan };
            return;
        }

        line.IsRepeated = IsDoubled && !line.IsRepeated;
        if (line.IsRepeated || ++line.Scan < CellHeight) return;
        line.Scan = 0;
        line.Address += RowPitch;
    }

    /// <summary>Dots that the picture is shifted to the left. With 9 dots a character, 8 means none and 0 means one.</summary>
    private int Pan
    {
        get
        {
            var value = _vga.Attribute[0x13];
            if (CellWidth == 8) return value & 7;
            return value >= 8 ? 0 : value + 1;
        }
    }

    /// <summary>Where in plane 2 the two fonts begin: A for attributes with bit 3, B for those without.</summary>
    private (int A, int B) Fonts
    {
        get
        {
            var select = _vga.Sequencer[3];
            return ((((select >> 2) & 3) << 14) | ((select & 0x20) << 8), ((select & 3) << 14) | ((select & 0x10) << 9));
        }
    }

    /// <summary>The address in each plane of a cell of a scan line.</summary>
    /// <param name="address">The address counter; its low 16 bits count.</param>
    internal int CellAddress(int address, int scan)
    {
        var mode = _vga.Crtc[0x17];
        address &= CellMask;
        var bank = (_vga.Crtc[0x14] & 0x40) != 0 ? 11 : (mode & 0x40) != 0 ? 13 : 12;
        if ((mode & 1) == 0) address = (address & ~(1 << bank)) | ((scan & 1) << bank);
        if ((mode & 2) == 0) address = (address & ~(2 << bank)) | ((scan & 2) << bank);
        return address;
    }

    /// <summary>All that the registers say about a VGA mode, but for what moves in one: the start address, the cursor and the colours.</summary>
    internal VgaSetup Setup
    {
        get
        {
            var attribute = _vga.Attribute[0x10];
            var (fontA, fontB) = Fonts;
            return new VgaSetup(Kind, Columns, CellWidth, DotWidth, CellHeight, IsDoubled, Height, _vga.LineCompare, _vga.Crtc[8] & 0x1f, Pan, attribute, fontA, fontB, _vga.Crtc[0x14] & 0x5f, _vga.Crtc[0x17]);
        }
    }

    /// <summary>A pixel is what the attribute controller makes of eight bits (AR10 bit 6), not of four.</summary>
    internal bool HasBytePixels => (_vga.Attribute[0x10] & ModeBytePixels) != 0;
}

/// <summary>A scan line of a VGA mode.</summary>
internal struct ScanLine
{
    /// <summary>The address counter at the left of the line.</summary>
    public int Address;

    /// <summary>The row scan counter.</summary>
    public int Scan;

    /// <summary>Dots that the line is shifted to the left.</summary>
    public int Pan;

    /// <summary>The line before it was the same.</summary>
    public bool IsRepeated;
}

/// <summary>The registers of a VGA mode that make another picture of the same memory.</summary>
internal readonly record struct VgaSetup(ScreenKind Kind, int Columns, int CellWidth, int DotWidth, int CellHeight, bool IsDoubled, int Height, int LineCompare, int FirstScan, int Pan, int Attribute, int FontA, int FontB, int Underline, int Mode);
