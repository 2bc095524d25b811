using System;
using XenDM.Core.Display;
using XenDM.Core.Memory;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// The hardware cursor of the CL-GD5446: 32 x 32 or 64 x 64 pixels of two bits in the last 16 KiB of memory. A pixel is transparent, one of two
/// colours, or the inverted picture. A cursor that inverts nothing is given to those who look as a shape of its own, so that it can move
/// without the picture; one that does is drawn into the picture. Specification: CL-GD5446 Technical Reference Manual, SR10 to SR13.
/// </summary>
internal sealed class CirrusCursor
{
    private const byte Visible = 0x01, Large = 0x04;
    private const int PatternsBytes = 16 << 10;
    private const int MaxSide = 64;
    private const int MaxPatternBytes = 2 * MaxSide * MaxSide / 8;
    private const int Entries = 16;
    private const uint Opaque = 0xff00_0000;
    private const uint White = 0xff_ffff;

    /// <summary>A pixel's bit of the second plane above that of the first.</summary>
    private const int Invert = 1, Background = 2, Foreground = 3;

    private readonly VideoMemory _memory;
    private readonly CirrusRegisters _registers;
    private readonly byte[] _pattern = new byte[MaxPatternBytes];
    private readonly byte[] _pixels = new byte[MaxSide * MaxSide];
    private int _side;
    private uint _background, _foreground;
    private bool _inverts;
    private CursorShape? _shape;

    /// <summary>What is drawn into the picture now, and what was there before.</summary>
    private PictureArea _drawn;
    private readonly uint[] _under = new uint[MaxSide * MaxSide];
    private bool _isAnother;

    public CirrusCursor(VideoMemory memory, CirrusRegisters registers)
    {
        _memory = memory;
        _registers = registers;
    }

    /// <summary>Null when there is no cursor, or it is in the picture.</summary>
    public CursorShape? Shape
    {
        get
        {
            if (!IsVisible) return null;
            Read();
            return _inverts ? null : _shape;
        }
    }

    private bool IsVisible => _registers.IsOn && (_registers.CursorAttributes & Visible) != 0;

    /// <summary>Takes the cursor out of a picture that is as <see cref="Draw"/> left it.</summary>
    public void Remove(Frame frame)
    {
        var area = _drawn;
        for (var y = 0; y < area.Height; y++) _under.AsSpan(y * MaxSide, area.Width).CopyTo(frame.Line(area.Y + y)[area.X..]);
    }

    /// <summary>The picture that the cursor was drawn into is gone.</summary>
    public void Forget() => _drawn = default;

    /// <summary>Draws a cursor that inverts into a picture without one.</summary>
    /// <param name="isDark">The screen is, and has no cursor.</param>
    public void Draw(Frame frame, Damage damage, bool isDark)
    {
        var before = _drawn;
        _drawn = default;
        if (IsVisible && !isDark)
        {
            Read();
            if (_inverts) _drawn = Put(frame);
        }

        if (_drawn == before && !_isAnother) return;
        _isAnother = false;
        damage.Add(before.X, before.Y, before.Width, before.Height);
        damage.Add(_drawn.X, _drawn.Y, _drawn.Width, _drawn.Height);
    }

    /// <returns>The part of the picture that the cursor covers.</returns>
    private PictureArea Put(Frame frame)
    {
        var (left, top) = _registers.CursorPlace;
        int width = Math.Min(_side, frame.Width - left), height = Math.Min(_side, frame.Height - top);
        if (width <= 0 || height <= 0) return default;
        for (var y = 0; y < height; y++)
        {
            var line = frame.Line(top + y).Slice(left, width);
            line.CopyTo(_under.AsSpan(y * MaxSide));
            for (var x = 0; x < width; x++)
            {
                line[x] = _pixels[(y * _side) + x] switch
                {
                    Invert => line[x] ^ White,
                    Background => _background,
                    Foreground => _foreground,
                    _ => line[x],
                };
            }
        }

        return new PictureArea(left, top, width, height);
    }

    /// <summary>Looks whether the cursor is another one, and makes its shape then.</summary>
    private void Read()
    {
        var side = (_registers.CursorAttributes & Large) != 0 ? MaxSide : MaxSide / 2;
        var bytes = 2 * side * side / 8;

        // SR13 counts patterns of 256 bytes; large ones are aligned.
        var start = _memory.Size - PatternsBytes + (((_registers.CursorPattern & 0x3f) << 8) & -bytes);
        var pattern = _memory.Bytes.Slice(start, bytes);
        uint background = _registers.CursorColour(0), foreground = _registers.CursorColour(Entries - 1);
        if (side == _side && background == _background && foreground == _foreground && pattern.SequenceEqual(_pattern.AsSpan(0, bytes))) return;
        (_side, _background, _foreground) = (side, background, foreground);
        pattern.CopyTo(_pattern);
        Decode();
        _isAnother = true;
    }

    /// <summary>Small cursors have one plane after the other, large ones eight bytes of each in turn.</summary>
    private void Decode()
    {
        var lineBytes = _side / 8;
        var (pitch, second) = _side == MaxSide ? (2 * lineBytes, lineBytes) : (lineBytes, lineBytes * _side);
        var colours = new uint[_side * _side];
        var seen = 0;
        for (var y = 0; y < _side; y++)
        {
            for (var x = 0; x < _side; x++)
            {
                int at = (y * pitch) + (x >> 3), bit = 7 - (x & 7);
                var pixel = ((_pattern[at] >> bit) & 1) | (((_pattern[at + second] >> bit) & 1) << 1);
                _pixels[(y * _side) + x] = (byte)pixel;
                colours[(y * _side) + x] = pixel switch { Background => Opaque | _background, Foreground => Opaque | _foreground, _ => 0 };
                seen |= 1 << pixel;
            }
        }

        _inverts = (seen & (1 << Invert)) != 0;
        _shape = (seen & ~1) == 0 ? null : new CursorShape(_side, _side, 0, 0, colours);
    }
}
