using System;
using XenDM.Devices.Display.Vga;

namespace XenDM.Display;

/// <summary>
/// Turns text screens into what a terminal has to be told (ECMA-48 with xterm's colours), and tells it only what changed since the last time.
/// Colours that the guest left as the VGA BIOS sets them become the terminal's own sixteen, others the nearest of 256.
/// </summary>
internal sealed class AnsiPainter
{
    private const uint Unknown = uint.MaxValue;
    private const uint Blank = ' ' | (0x07u << 8);
    private const int MaxColumns = 512;
    private const int MaxRows = 256;
    private const int LargestGap = 5;

    /// <summary>The sixteen colours after a VGA BIOS's mode set, and the terminal's number of each.</summary>
    private static readonly uint[] s_standard =
    [
        0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
        0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
    ];

    private readonly int[] _colours = new int[16];
    private uint[] _shown = [];
    private uint[] _wanted = [];
    private byte[] _output = new byte[16 * 1024];
    private int _length;
    private int _columns;
    private int _rows;
    private int _cursor = -1;
    private int _cursorShape;
    private int _shownCursor = -2;
    private int _shownShape;
    private bool _blinks;

    public AnsiPainter()
    {
        for (var n = 0; n < 16; n++) _colours[n] = TerminalNumber(n);
    }

    /// <summary>Switches the terminal to a screen of its own, without wrapping.</summary>
    public static ReadOnlySpan<byte> Enter => "\u001b[?1049h\u001b[?7l\u001b[0m\u001b[2J"u8;

    /// <summary>Gives the terminal back as it was.</summary>
    public static ReadOnlySpan<byte> Leave => "\u001b[0m\u001b[0 q\u001b[?25h\u001b[?7h\u001b[?1049l"u8;

    /// <summary>The terminal shows something else: everything is painted the next time.</summary>
    public void Invalidate()
    {
        Array.Fill(_shown, Unknown);
        _shownCursor = -2;
        _shownShape = 0;
    }

    /// <summary>Begins a picture of the terminal's size, blank and without cursor.</summary>
    public void Begin(int columns, int rows)
    {
        columns = Math.Clamp(columns, 1, MaxColumns);
        rows = Math.Clamp(rows, 1, MaxRows);
        if (columns != _columns || rows != _rows)
        {
            (_columns, _rows) = (columns, rows);
            _shown = new uint[columns * rows];
            _wanted = new uint[columns * rows];
            Invalidate();
        }

        Array.Fill(_wanted, Blank);
        _cursor = -1;
    }

    /// <summary>Puts a text screen into the picture; where the terminal is smaller, the part around the cursor.</summary>
    public void Put(TextScreen screen)
    {
        Adopt(screen);
        int top = 0, left = 0;
        if (screen.CursorVisible)
        {
            top = Math.Clamp(screen.CursorRow - _rows + 1, 0, Math.Max(0, screen.Rows - _rows));
            left = Math.Clamp(screen.CursorColumn - _columns + 1, 0, Math.Max(0, screen.Columns - _columns));
        }

        var columns = Math.Min(_columns, screen.Columns - left);
        for (var row = 0; row < Math.Min(_rows, screen.Rows - top); row++)
        {
            var cells = screen.Cells.Slice(((top + row) * screen.Columns) + left, columns);
            for (var column = 0; column < columns; column++) _wanted[(row * _columns) + column] = cells[column];
        }

        if (!screen.CursorVisible) return;
        _cursor = ((screen.CursorRow - top) * _columns) + screen.CursorColumn - left;

        // DECSCUSR: 1 is a blinking block, 3 a blinking underline.
        _cursorShape = screen.CursorEnd - screen.CursorStart >= screen.CellHeight / 2 ? 1 : 3;
    }

    /// <summary>Puts a line of text over what is there.</summary>
    /// <param name="row">0 is the first row; negative counts from the last, -1.</param>
    public void Put(int row, string text, byte attribute)
    {
        if (row < 0) row += _rows;
        if ((uint)row >= (uint)_rows) return;
        for (var column = 0; column < Math.Min(_columns, text.Length); column++)
            _wanted[(row * _columns) + column] = (text[column] is >= ' ' and <= '~' ? text[column] : (uint)'?') | ((uint)attribute << 8);
    }

    /// <summary>Ends the picture.</summary>
    /// <returns>What the terminal has to be sent, UTF-8; empty when it shows the picture already. Valid until the next call.</returns>
    public ReadOnlySpan<byte> Finish()
    {
        _length = 0;
        int at = -1, attribute = -1;
        for (var n = 0; n < _wanted.Length; n++)
        {
            if (_wanted[n] == _shown[n]) continue;
            if (_length == 0) Add("\u001b[?25l"u8);

            // A few cells that are right already cost less than moving over them.
            if (at < 0 || n - at > LargestGap || n / _columns != (at - 1) / _columns) Move(at = n);
            for (; at <= n; at++)
            {
                var cell = _wanted[at];
                _shown[at] = cell;
                if (attribute != (int)(cell >> 8)) Attribute((byte)(attribute = (int)(cell >> 8)));
                Character(CodePage437.ToUnicode((byte)cell));
            }
        }

        if (_length == 0 && _cursor == _shownCursor && (_cursor < 0 || _cursorShape == _shownShape)) return default;
        if (_length > 0) Add("\u001b[0m"u8);
        Cursor();
        return _output.AsSpan(0, _length);
    }

    private void Cursor()
    {
        _shownCursor = _cursor;
        if (_cursor < 0)
        {
            Add("\u001b[?25l"u8);
            return;
        }

        if (_cursorShape != _shownShape)
        {
            Add("\u001b["u8);
            Number(_cursorShape);
            Add(" q"u8);
            _shownShape = _cursorShape;
        }

        Move(_cursor);
        Add("\u001b[?25h"u8);
    }

    /// <summary>Colours and blinking are the same for the whole screen; when they change, all of it is painted.</summary>
    private void Adopt(TextScreen screen)
    {
        var changed = _blinks != screen.Blinks;
        _blinks = screen.Blinks;
        for (var n = 0; n < 16; n++)
        {
            var number = IsNear(screen.Palette[n], s_standard[n]) ? TerminalNumber(n) : Nearest(screen.Palette[n]);
            changed |= number != _colours[n];
            _colours[n] = number;
        }

        if (changed) Invalidate();
    }

    private void Attribute(byte value)
    {
        var background = _blinks ? (value >> 4) & 7 : value >> 4;
        Add("\u001b[0"u8);
        if (_blinks && (value & 0x80) != 0) Add(";5"u8);
        Colour(_colours[value & 0x0f], 30);
        Colour(_colours[background], 40);
        Add("m"u8);
    }

    /// <param name="first">30 for the front, 40 for the background; bright ones follow 60 later.</param>
    private void Colour(int number, int first)
    {
        Add(";"u8);
        if (number < 16)
        {
            Number(number < 8 ? first + number : first + 60 + number - 8);
            return;
        }

        Number(first + 8);
        Add(";5;"u8);
        Number(number);
    }

    /// <summary>The VGA counts blue, green, red from bit 0 on, a terminal red, green, blue.</summary>
    private static int TerminalNumber(int colour) => (colour & 0x0a) | ((colour & 1) << 2) | ((colour >> 2) & 1);

    private static bool IsNear(uint a, uint b)
    {
        for (var shift = 0; shift < 24; shift += 8)
            if (Math.Abs((int)((a >> shift) & 0xff) - (int)((b >> shift) & 0xff)) > 8) return false;
        return true;
    }

    /// <summary>The nearest of xterm's colours: a cube of six steps a primary from 16 on, 24 greys from 232 on.</summary>
    private static int Nearest(uint colour)
    {
        int red = (int)(colour >> 16) & 0xff, green = (int)(colour >> 8) & 0xff, blue = (int)colour & 0xff;
        int r = Step(red), g = Step(green), b = Step(blue);
        var grey = Math.Clamp((((red + green + blue) / 3) - 3) / 10, 0, 23);
        var level = 8 + (10 * grey);
        var toCube = Square(red - Level(r)) + Square(green - Level(g)) + Square(blue - Level(b));
        var toGrey = Square(red - level) + Square(green - level) + Square(blue - level);
        return toGrey < toCube ? 232 + grey : 16 + (36 * r) + (6 * g) + b;
    }

    private static int Step(int value) => value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;

    private static int Level(int step) => step == 0 ? 0 : 55 + (40 * step);

    private static int Square(int value) => value * value;

    private void Move(int cell)
    {
        Add("\u001b["u8);
        Number((cell / _columns) + 1);
        Add(";"u8);
        Number((cell % _columns) + 1);
        Add("H"u8);
    }

    private void Number(int value)
    {
        Span<byte> digits = stackalloc byte[12];
        System.Buffers.Text.Utf8Formatter.TryFormat(value, digits, out var count);
        Add(digits[..count]);
    }

    private void Character(char character)
    {
        Span<byte> bytes = stackalloc byte[4];
        var count = System.Text.Encoding.UTF8.GetBytes(new ReadOnlySpan<char>(in character), bytes);
        Add(bytes[..count]);
    }

    private void Add(ReadOnlySpan<byte> bytes)
    {
        if (_length + bytes.Length > _output.Length) Array.Resize(ref _output, _output.Length * 2);
        bytes.CopyTo(_output.AsSpan(_length));
        _length += bytes.Length;
    }
}
