using System;

namespace XenDM.Devices.Display.Vga;

/// <summary>A snapshot of the screen in a text mode, filled by <see cref="Screen.ReadText"/> and used again for the next one.</summary>
public sealed class TextScreen
{
    private ushort[] _cells = [];
    private readonly uint[] _palette = new uint[16];

    public int Columns { get; private set; }

    public int Rows { get; private set; }

    /// <summary>Scan lines of a character, 1 to 32.</summary>
    public int CellHeight { get; internal set; }

    /// <summary>Rows of columns: the character (code page of the font, 437 by default) in bits 7:0, the attribute in 15:8.</summary>
    public ReadOnlySpan<ushort> Cells => _cells.AsSpan(0, Columns * Rows);

    /// <summary>The cursor is switched on and lies on the screen.</summary>
    public bool CursorVisible { get; internal set; }

    public int CursorColumn { get; internal set; }

    public int CursorRow { get; internal set; }

    /// <summary>First and last scan line of the cursor in its cell.</summary>
    public int CursorStart { get; internal set; }

    /// <inheritdoc cref="CursorStart"/>
    public int CursorEnd { get; internal set; }

    /// <summary>Attribute bit 7 makes the character blink; else it makes the background bright.</summary>
    public bool Blinks { get; internal set; }

    /// <summary>The sixteen colours of attributes as 00RRGGBB.</summary>
    public ReadOnlySpan<uint> Palette => _palette;

    internal Span<uint> MutablePalette => _palette;

    internal Span<ushort> Resize(int columns, int rows)
    {
        (Columns, Rows) = (columns, rows);
        if (_cells.Length < columns * rows) _cells = new ushort[columns * rows];
        return _cells.AsSpan(0, columns * rows);
    }
}
