using System;
using System.Buffers.Binary;
using XenDM.Core.Display;
using XenDM.Core.Memory;
using XenDM.Core.Time;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// Brings a frame up to date with what the monitor shows: of graphics the lines on pages that were written, of text
/// the cells that are others. When registers change what all of memory looks like, everything is drawn and compared with the frame. Blinking
/// follows guest time; a single picture shows all that blinks. Nothing is kept track of while nobody looks.
/// </summary>
public sealed class VgaScanOut : IScreenSource
{
    /// <summary>Characters and the cursor are seen for 16 pictures of 70 Hz, and are not for 16. A VGA's cursor blinks twice as fast.</summary>
    private const long BlinkTime = 16 * 1_000_000_000L / 70;
    private const int VgaBytes = 256 << 10;
    private const int WordBits = 64;

    /// <summary>Room before a line for the dots that it is shifted to the left: nine of double width.</summary>
    private const int Margin = 32;

    private readonly VideoMemory _memory;
    private readonly VgaRegisters _vga;
    private readonly IExtendedMode _extended;
    private readonly Screen _screen;
    private readonly ChangeBell _bell;
    private readonly IVmClock _clock;
    private readonly VmTimer _blink;
    private readonly Action _rung;
    private readonly TextScanOut _text;
    private readonly uint[] _colours = new uint[256];
    private readonly ulong[] _pages;
    private uint[] _line = [];
    private byte[] _wrapped = [];
    private bool _isDark, _wasExtended, _pagesKnown;
    private VgaSetup _setup;
    private (int Width, int Height, int Depth, int X) _shape;
    private int[] _addresses = [];
    private int _start;
    private int _pitch;
    private bool _isStale = true;
    private bool _blinks;
    private int _period;
    private Action? _changed;

    internal VgaScanOut(VideoMemory memory, VgaRegisters vga, IExtendedMode extended, Screen screen, ChangeBell bell, IVmClock clock)
    {
        _memory = memory;
        _vga = vga;
        _extended = extended;
        _screen = screen;
        _bell = bell;
        _clock = clock;
        _text = new TextScanOut(memory, screen);
        _pages = new ulong[Math.Max(1, memory.Size / VideoMemory.PageBytes / WordBits)];
        _blink = clock.CreateTimer("vga.blink", Rung);
        _rung = Rung;
    }

    public PictureSize? Size
    {
        get
        {
            int width = _screen.Width, height = _screen.Height;
            return width > 0 && height > 0 ? new PictureSize(Math.Min(width, Frame.MaxWidth), Math.Min(height, Frame.MaxHeight)) : null;
        }
    }

    /// <summary>A call comes for all that changes, but on a home that does not tell of writes to the memory that it maps, in a mode of the adapter's own.</summary>
    public bool NotifyOnce(Action? changed)
    {
        _changed = changed;
        if (changed is null) return true;
        if (_isStale || !_memory.IsTracked) Ring();
        return _memory.TellsWrites || !_extended.IsOn;
    }

    public void SetRefreshPeriod(int milliseconds)
    {
        if (_period > 0 == milliseconds > 0)
        {
            _period = milliseconds;
            return;
        }

        _period = milliseconds;
        _memory.SetTracking(milliseconds > 0);
        _isStale = true;
        _blink.Cancel();
        _bell.Unset(_rung);
        _memory.Touched = null;
        if (milliseconds == 0) _changed = null;
    }

    public void Draw(Frame frame, Damage damage, bool everything)
    {
        Listen();
        _blinks = false;
        var blinkOn = !_memory.IsTracked || _clock.Now / BlinkTime % 2 == 0;
        if (everything) damage.AddAll();
        var isExtended = _extended.IsOn;
        if (_screen.IsDark != _isDark || isExtended != _wasExtended || everything)
        {
            (_isDark, _wasExtended) = (_screen.IsDark, isExtended);
            (_setup, _shape) = (default, default);
        }

        if (_isDark)
        {
            if (frame.Pixels.ContainsAnyExcept(0u))
            {
                frame.Pixels.Clear();
                damage.AddAll();
            }

            return;
        }

        if (_line.Length < frame.Width + (2 * Margin)) _line = new uint[frame.Width + (2 * Margin)];
        if (isExtended) DrawExtended(frame, damage, everything);
        else DrawVga(frame, damage, everything, blinkOn);
        if (_blinks && _memory.IsTracked) _blink.Arm(((_clock.Now / BlinkTime) + 1) * BlinkTime);
    }

    /// <summary>From here on a change is one that the frame does not have.</summary>
    private void Listen()
    {
        _isStale = false;
        _blink.Cancel();
        if (!_memory.IsTracked) return;
        _bell.Set(_rung);
        _memory.Touched = _rung;
    }

    private void Rung()
    {
        if (_isStale) return;
        _isStale = true;
        Ring();
    }

    private void Ring()
    {
        var changed = _changed;
        _changed = null;
        changed?.Invoke();
    }

    private void DrawExtended(Frame frame, Damage damage, bool everything)
    {
        var shape = (_extended.Width, _extended.Height, _extended.Depth, _extended.X);
        var all = TakeColours(shape.Depth == 4, shape.Depth <= 8) | (shape != _shape);
        _shape = shape;
        int width = Math.Min(frame.Width, shape.Width), height = Math.Min(frame.Height, shape.Height);
        var before = shape.Depth == 4 ? shape.X / 8 * 4 : LineBytes(shape.X, shape.Depth);
        var lineBytes = LineBytes(shape.X + width, shape.Depth) - before;
        all |= TakeAddresses(height, before, lineBytes, out var origin);
        if (!all && _pagesKnown && !_pages.AsSpan().ContainsAnyExcept(0ul)) return;
        var memory = _memory.Bytes;
        var line = _line.AsSpan(0, width);
        for (var y = 0; y < height; y++)
        {
            var at = _addresses[y];
            if (!all && !IsDirty(at - origin, lineBytes)) continue;
            var source = at + lineBytes <= memory.Length ? memory.Slice(at, lineBytes) : Wrapped(memory, at, lineBytes);
            var target = everything ? frame.Line(y)[..width] : line;
            if (shape.Depth == 4) LineConverter.LinearPlanes(source, shape.X & 7, target, _colours);
            else LineConverter.Linear(shape.Depth, source, target, _colours);
            if (!everything) Put(frame, damage, y, line);
        }
    }

    /// <summary>Bytes of so many pixels.</summary>
    private static int LineBytes(int pixels, int depth) => depth switch
    {
        4 => (pixels + 7) / 8 * 4,
        15 => 2 * pixels,
        _ => pixels * depth / 8,
    };

    /// <summary>Asks where the lines lie, and which of their pages were written.</summary>
    /// <param name="before">Bytes of a line before those that are seen.</param>
    /// <param name="origin">Byte of memory that the pages begin with.</param>
    /// <returns>The lines lie elsewhere than they did.</returns>
    private bool TakeAddresses(int height, int before, int lineBytes, out int origin)
    {
        var moved = _addresses.Length < height;
        if (moved) _addresses = new int[height];
        int mask = _memory.Size - 1, first = mask, end = 0;
        for (var y = 0; y < height; y++)
        {
            var address = (_extended.LineAddress(y) + before) & mask;
            moved |= address != _addresses[y];
            _addresses[y] = address;
            first = Math.Min(first, address);
            end = Math.Max(end, address + lineBytes);
        }

        if (end > _memory.Size) first = 0;
        origin = first & -VideoMemory.PageBytes;
        TakePages(origin, Math.Min(end, _memory.Size) - origin);
        return moved;
    }

    private ReadOnlySpan<byte> Wrapped(ReadOnlySpan<byte> memory, int at, int bytes)
    {
        if (_wrapped.Length < bytes) _wrapped = new byte[bytes];
        for (var done = 0; done < bytes;)
        {
            var piece = Math.Min(bytes - done, memory.Length - at);
            memory.Slice(at, piece).CopyTo(_wrapped.AsSpan(done));
            done += piece;
            at = 0;
        }

        return _wrapped.AsSpan(0, bytes);
    }

    private void DrawVga(Frame frame, Damage damage, bool everything, bool blinkOn)
    {
        var setup = _screen.Setup;
        var fromBytes = setup.Kind == ScreenKind.Packed && _screen.HasBytePixels;
        var all = TakeColours(!fromBytes, true) | (setup != _setup);
        _setup = setup;
        TakePages(0, VgaBytes);
        if (setup.Kind == ScreenKind.Text)
        {
            var pages = _pagesKnown ? _pages.AsSpan() : default;
            _blinks = _text.Draw(frame, damage, setup, _colours, pages, all | everything, blinkOn);
            return;
        }

        var first = _screen.FirstLine;
        all |= first.Address != _start || _screen.RowPitch != _pitch;
        (_start, _pitch) = (first.Address, _screen.RowPitch);
        if (all || !_pagesKnown || _pages.AsSpan().ContainsAnyExcept(0ul)) DrawGraphics(frame, damage, setup, all, everything);
    }

    private void DrawGraphics(Frame frame, Damage damage, in VgaSetup setup, bool all, bool everything)
    {
        int width = Math.Min(frame.Width, _screen.Width), height = Math.Min(frame.Height, setup.Height);
        var line = _screen.FirstLine;
        var drawn = (Address: -1, Scan: 0, Pan: 0);
        var columns = setup.Columns + 1;
        for (var y = 0; y < height; y++)
        {
            // Lines that the monitor shows twice are made once.
            var wanted = (line.Address, line.Scan, line.Pan);
            if (wanted == drawn || all || IsDirty(line.Address, line.Scan, columns))
            {
                if (wanted != drawn) GraphicsLine(setup, line, width);
                drawn = wanted;
                var pixels = _line.AsSpan(Margin, width);
                if (everything) pixels.CopyTo(frame.Line(y));
                else Put(frame, damage, y, pixels);
            }

            _screen.NextLine(ref line, y);
        }
    }

    /// <summary>Makes the pixels of a line, from <see cref="Margin"/> on.</summary>
    private void GraphicsLine(in VgaSetup setup, in ScanLine at, int width)
    {
        var memory = _memory.Bytes;
        var step = setup.CellWidth * setup.DotWidth;
        var bytePixels = _screen.HasBytePixels;
        for (int column = 0, x = Margin - (at.Pan * setup.DotWidth); x < Margin + width; column++, x += step)
        {
            var cell = BinaryPrimitives.ReadUInt32LittleEndian(memory.Slice(4 * _screen.CellAddress(at.Address + column, at.Scan), 4));
            var dots = setup.Kind switch
            {
                ScreenKind.Planar => LineConverter.Planes(cell),
                ScreenKind.Interleaved => LineConverter.Pairs(cell),
                _ => bytePixels ? LineConverter.Packed(cell) : LineConverter.Nibbles(cell),
            };
            var pixels = _line.AsSpan(x, step);
            if (setup.DotWidth == 1)
            {
                LineConverter.Put(pixels, dots, _colours);
                if (step == 9) pixels[8] = _colours[0];
            }
            else
            {
                for (var dot = 0; dot < 8; dot++) pixels[2 * dot] = pixels[(2 * dot) + 1] = _colours[(byte)(dots >> (8 * dot))];
                if (setup.CellWidth == 9) pixels[16] = pixels[17] = _colours[0];
            }
        }
    }

    private static void Put(Frame frame, Damage damage, int y, ReadOnlySpan<uint> pixels)
    {
        var line = frame.Line(y)[..pixels.Length];
        for (var x = LineConverter.NextDifference(pixels, line, 0, out var end); x >= 0; x = LineConverter.NextDifference(pixels, line, end, out end))
            damage.Add(x, y, end - x, 1);
    }

    /// <summary>Reads the palette.</summary>
    /// <returns>It is another one.</returns>
    private bool TakeColours(bool byAttributes, bool needed)
    {
        if (!needed) return false;
        var changed = false;
        for (var n = 0; n < 256; n++)
        {
            var colour = byAttributes ? _screen.AttributeColour(n & 15) : _vga.Colour(n);
            changed |= colour != _colours[n];
            _colours[n] = colour;
        }

        return changed;
    }

    /// <summary>Asks which pages of a stretch of memory were written.</summary>
    private void TakePages(int offset, int bytes)
    {
        var start = offset & -VideoMemory.PageBytes;
        var end = Math.Min((offset + bytes + VideoMemory.PageBytes - 1) & -VideoMemory.PageBytes, _memory.Size);
        _pagesKnown = _memory.TakeDirty(start, end - start, _pages);
    }

    /// <param name="offset">From the first page that was asked for.</param>
    private bool IsDirty(int offset, int bytes)
    {
        if (!_pagesKnown) return true;
        for (int page = offset / VideoMemory.PageBytes, last = (offset + bytes - 1) / VideoMemory.PageBytes; page <= last; page++)
        {
            // A line that goes on at the beginning of memory.
            var known = page & ((_memory.Size / VideoMemory.PageBytes) - 1);
            if ((_pages[known / WordBits] >> (known % WordBits) & 1) != 0) return true;
        }

        return false;
    }

    private bool IsDirty(int address, int scan, int columns)
    {
        if (!_pagesKnown) return true;
        int first = _screen.CellAddress(address, scan), last = _screen.CellAddress(address + columns - 1, scan);

        // Where the bits of the counter do not come in order, the line is taken as written.
        return last < first || last - first > 4 * columns || IsDirty(4 * first, (4 * (last - first)) + 4);
    }
}
