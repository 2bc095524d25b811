using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// The BitBLT engine: copies rectangles of bytes in video memory forwards or backwards, fills them with a colour or an 8 x 8 pattern, makes
/// pixels of bits, takes the source from the CPU or gives it to the CPU. Specification: CL-GD5446 Technical Reference Manual, "BitBLT Engine",
/// GR20 to GR39. A blit within video memory is done at once, with at most 8192 x 2048 bytes; one with the CPU takes a line at a time.
/// Addresses wrap at the end of memory. A row behaves as if its bytes were done one after the other in the blit's direction.
/// Deviations: blits with both sides at the CPU, and transparent ones without expansion at 24 and 32 bits, do nothing; GR31 bit 6 does not suspend.
/// </summary>
internal sealed class CirrusBlitter : IStateful
{
    /// <summary>GR31: the blit starts, is thrown away, or starts by writing GR2A.</summary>
    public const byte Start = 0x02, Reset = 0x04, AutoStart = 0x80;
    private const byte StatusBusy = 0x09;
    private const byte StatusSystemAperture = 0x20;

    private const byte ModeBackwards = 0x01;
    private const byte ModeToSystem = 0x02;
    private const byte ModeFromSystem = 0x04;
    private const byte ModeTransparent = 0x08;
    private const byte ModePattern = 0x40;
    private const byte ModeExpand = 0x80;
    private const byte ExtensionDwords = 0x01;
    private const byte ExtensionInvert = 0x02;
    private const byte ExtensionSolid = 0x04;

    private const int RegisterCount = 0x40;
    private const int MaxWidth = 0x2000;
    private const int PatternSide = 8;
    private const int MaxPatternBytes = 32 * PatternSide;

    /// <summary>A line, and what the last pixel of an expansion has more.</summary>
    private const int LineBytes = MaxWidth + 32;

    private readonly VideoMemory _memory;
    private readonly CirrusRegisters _registers;
    private readonly ChangeBell _bell;

    /// <summary>The registers of the blit that the CPU takes part in, as they were when it started.</summary>
    private readonly byte[] _blit = new byte[RegisterCount];

    /// <summary>A line, or a pattern, on its way from or to the CPU.</summary>
    private readonly byte[] _buffer = new byte[LineBytes];
    private byte _phase;
    private int _row;
    private int _position;
    [Glue("works for one line")]
    private readonly byte[] _line = new byte[LineBytes];
    [Glue("works for one line")]
    private readonly byte[] _mask = new byte[LineBytes];
    [Glue("works for one line")]
    private readonly byte[] _bits = new byte[LineBytes];
    [Glue("works for one blit")]
    private readonly byte[] _pattern = new byte[MaxPatternBytes];
    [Glue("works for one blit; made of the registers again when one goes on")]
    private Plan _plan;

    public CirrusBlitter(VideoMemory memory, CirrusRegisters registers, ChangeBell bell)
    {
        _memory = memory;
        _registers = registers;
        _bell = bell;
    }

    private const byte PhaseIdle = 0, PhaseFromCpu = 1, PhaseToCpu = 2;

    /// <summary>The CPU's writes to memory are the source of a blit.</summary>
    public bool TakesWrites => _phase == PhaseFromCpu;

    /// <summary>The CPU's reads of memory get what a blit reads.</summary>
    public bool GivesReads => _phase == PhaseToCpu;

    /// <summary>Only the blitter's own aperture is used for that, not all of memory.</summary>
    public bool UsesApertureOnly => (_registers.Graphics[0x31] & StatusSystemAperture) != 0;

    /// <summary>A blit as the registers describe it.</summary>
    private struct Plan
    {
        public int Width, Height, DestinationPitch, SourcePitch, Destination, Source, PixelBytes, Skip, SourceLineBytes;
        public byte Mode, Extension;
        public uint Foreground, Background;
        public ushort Transparent, Compared;
        public RasterOperation Operation;

        /// <param name="g">GR0 to GR39.</param>
        public Plan(ReadOnlySpan<byte> g)
        {
            Width = ((g[0x20] | (g[0x21] << 8)) & (MaxWidth - 1)) + 1;
            Height = ((g[0x22] | (g[0x23] << 8)) & 0x7ff) + 1;
            DestinationPitch = g[0x24] | (g[0x25] << 8);
            SourcePitch = g[0x26] | (g[0x27] << 8);
            Destination = g[0x28] | (g[0x29] << 8) | (g[0x2a] << 16);
            Source = g[0x2c] | (g[0x2d] << 8) | (g[0x2e] << 16);
            Mode = g[0x30];
            Extension = g[0x33];
            PixelBytes = ((Mode >> 4) & 3) + 1;
            Background = g[0x00] | ((uint)g[0x10] << 8) | ((uint)g[0x12] << 16) | ((uint)g[0x14] << 24);
            Foreground = g[0x01] | ((uint)g[0x11] << 8) | ((uint)g[0x13] << 16) | ((uint)g[0x15] << 24);
            Transparent = (ushort)(g[0x34] | (g[0x35] << 8));
            Compared = (ushort)~(g[0x38] | (g[0x39] << 8));
            Operation = new RasterOperation(g[0x32]);

            // Left clipping counts pixels, with 24 bits a pixel bytes, and is for expansions and patterns.
            Skip = (Mode & (ModeExpand | ModePattern)) == 0 ? 0 : PixelBytes == 3 ? g[0x2f] & 0x1f : (g[0x2f] & 7) * PixelBytes;
            if (IsBackwards)
            {
                DestinationPitch = -DestinationPitch;
                SourcePitch = -SourcePitch;
            }

            if (IsPattern) SourceLineBytes = Expands ? PatternSide : PatternSide * PatternLineBytes;
            else if (!Expands) SourceLineBytes = (Width + 3) & ~3;
            else SourceLineBytes = (Extension & ExtensionDwords) != 0 ? (Pixels + 31) / 32 * 4 : (Pixels + 7) / 8;
        }

        public readonly bool Expands => (Mode & ModeExpand) != 0;

        public readonly bool IsPattern => (Mode & ModePattern) != 0;

        public readonly bool IsTransparent => (Mode & ModeTransparent) != 0;

        public readonly bool IsBackwards => (Mode & (ModeBackwards | ModeExpand | ModePattern)) == ModeBackwards;

        public readonly bool IsSolid => (Extension & ExtensionSolid) != 0 && (Mode & (ModeToSystem | ModeTransparent | ModePattern | ModeExpand)) == (ModePattern | ModeExpand);

        public readonly int Pixels => (Width + PixelBytes - 1) / PixelBytes;

        /// <summary>Lines of a pattern of 24 bits a pixel have a gap of eight bytes.</summary>
        public readonly int PatternLineBytes => PixelBytes == 3 ? 32 : PatternSide * PixelBytes;
    }

    /// <summary>Begins the blit that the registers describe. One that waits for the CPU is given up.</summary>
    public void Begin()
    {
        _plan = new Plan(_registers.Graphics);
        _phase = PhaseIdle;
        _row = _position = 0;
        var system = _plan.Mode & (ModeFromSystem | ModeToSystem);
        if (system == (ModeFromSystem | ModeToSystem) || (_plan.IsTransparent && !_plan.Expands && _plan.PixelBytes > 2))
        {
            Finish();
            return;
        }

        if (_plan.IsSolid) FillSolid();
        else if (system != 0)
        {
            _registers.Graphics.CopyTo(_blit);
            _phase = system == ModeFromSystem ? PhaseFromCpu : PhaseToCpu;
            _registers.SetStatus(0, StatusBusy);
            return;
        }
        else if (_plan.IsPattern)
        {
            Gather(_pattern, _plan.Source & ~(PatternSide - 1), _plan.SourceLineBytes);
            FillPattern(_pattern);
        }
        else if (_plan.Expands) ExpandFromMemory();
        else CopyRectangle();
        Finish();
    }

    /// <summary>The blit that waits for the CPU is given up.</summary>
    public void Abort() => Finish();

    /// <summary>Bytes from the CPU.</summary>
    /// <returns>How many of them the blit took; the rest is none of its business.</returns>
    public int Take(ReadOnlySpan<byte> data)
    {
        var taken = 0;
        while (_phase == PhaseFromCpu && taken < data.Length)
        {
            var piece = Math.Min(data.Length - taken, _plan.SourceLineBytes - _position);
            data.Slice(taken, piece).CopyTo(_buffer.AsSpan(_position));
            taken += piece;
            _position += piece;
            if (_position < _plan.SourceLineBytes) break;
            _position = 0;
            TakeLine();
        }

        return taken;
    }

    /// <summary>The next bytes for the CPU; ff after the last one.</summary>
    public void Give(Span<byte> data)
    {
        data.Fill(0xff);
        for (var given = 0; _phase == PhaseToCpu && given < data.Length;)
        {
            if (_position == 0) Gather(_buffer, _plan.Source + (_row * _plan.SourcePitch), _plan.SourceLineBytes);
            var piece = Math.Min(data.Length - given, _plan.SourceLineBytes - _position);
            _buffer.AsSpan(_position, piece).CopyTo(data[given..]);
            given += piece;
            _position += piece;
            if (_position < _plan.SourceLineBytes) break;
            _position = 0;
            if (++_row == _plan.Height) Finish();
        }
    }

    /// <summary>Tells of a written stretch that may run over the end of memory.</summary>
    private void Note(int address, int bytes)
    {
        address &= _memory.Size - 1;
        _memory.NoteWrite(address, bytes);
        if (address + bytes > _memory.Size) _memory.NoteWrite(0, address + bytes - _memory.Size);
    }

    private void Finish()
    {
        _phase = PhaseIdle;
        _registers.SetStatus(StatusBusy | Start, 0);
        _bell.Ring();
    }

    private void TakeLine()
    {
        if (_plan.IsPattern)
        {
            FillPattern(_buffer);
            Finish();
            return;
        }

        var destination = _plan.Destination + (_row * _plan.DestinationPitch);
        if (_plan.Expands)
        {
            Expand(_buffer);
            Combine(destination, _line, masked: _plan.IsTransparent);
        }
        else if (_plan.IsTransparent) CompareLine(destination, _buffer, _plan.IsBackwards);
        else if (_plan.IsBackwards) CombineBackwards(destination);
        else Combine(destination, _buffer, masked: false);
        if (++_row == _plan.Height) Finish();
        else _bell.Ring();
    }

    /// <summary>Data of the CPU goes to falling addresses.</summary>
    private void CombineBackwards(int destination)
    {
        _buffer.AsSpan(0, _plan.Width).CopyTo(_line);
        _line.AsSpan(0, _plan.Width).Reverse();
        Combine(destination - _plan.Width + 1, _line, masked: false);
    }

    private void FillSolid()
    {
        Repeat(_line, _plan.Foreground);
        var skip = _plan.Skip;
        _plan.Skip = 0;
        for (var row = 0; row < _plan.Height; row++) Combine(_plan.Destination + (row * _plan.DestinationPitch), _line, masked: false);
        _plan.Skip = skip;
    }

    /// <summary>The first row of the pattern is said by the low bits of the source address; it is aligned with the left side of the rectangle.</summary>
    private void FillPattern(ReadOnlySpan<byte> pattern)
    {
        var first = _plan.Source & (PatternSide - 1);
        for (var row = 0; row < _plan.Height; row++)
        {
            var patternRow = (first + row) & (PatternSide - 1);
            var destination = _plan.Destination + (row * _plan.DestinationPitch);
            if (_plan.Expands)
            {
                _bits.AsSpan(0, (_plan.Pixels + 7) / 8).Fill(pattern[patternRow]);
                Expand(_bits);
                Combine(destination, _line, masked: _plan.IsTransparent);
                continue;
            }

            var unit = pattern.Slice(patternRow * _plan.PatternLineBytes, PatternSide * _plan.PixelBytes);
            for (var x = 0; x < _plan.Width; x += unit.Length) unit.CopyTo(_line.AsSpan(x));
            if (_plan.IsTransparent) CompareLine(destination, _line, backwards: false);
            else Combine(destination, _line, masked: false);
        }
    }

    /// <summary>The bits of the lines follow each other, each line beginning with a new byte, or dword.</summary>
    private void ExpandFromMemory()
    {
        for (var row = 0; row < _plan.Height; row++)
        {
            Gather(_bits, _plan.Source + (row * _plan.SourceLineBytes), _plan.SourceLineBytes);
            Expand(_bits);
            Combine(_plan.Destination + (row * _plan.DestinationPitch), _line, masked: _plan.IsTransparent);
        }
    }

    private void CopyRectangle()
    {
        var backwards = _plan.IsBackwards;
        for (var row = 0; row < _plan.Height; row++)
        {
            int destination = _plan.Destination + (row * _plan.DestinationPitch), source = _plan.Source + (row * _plan.SourcePitch);
            if (_plan.IsTransparent) CompareLine(destination, source, backwards);
            else CopyLine(destination, source, backwards);
        }
    }

    /// <param name="destination">The first byte that is done: the leftmost one, or backwards the rightmost one.</param>
    /// <param name="source">The same of the source.</param>
    private void CopyLine(int destination, int source, bool backwards)
    {
        var memory = _memory.Bytes;
        int mask = memory.Length - 1, width = _plan.Width;
        if (backwards)
        {
            destination -= width - 1;
            source -= width - 1;
        }

        destination &= mask;
        source &= mask;
        Note(destination, width);
        if (destination + width > memory.Length || source + width > memory.Length)
        {
            for (var i = 0; i < width; i++)
            {
                var at = backwards ? width - 1 - i : i;
                ref var to = ref memory[(destination + at) & mask];
                to = _plan.Operation.Apply(memory[(source + at) & mask], to);
            }

            return;
        }

        var distance = Math.Abs(destination - source);
        Span<byte> target = memory.Slice(destination, width), from = memory.Slice(source, width);
        if (distance >= width) _plan.Operation.Apply(target, from);
        else if (backwards == destination > source || distance == 0)
        {
            // What is written was read before.
            from.CopyTo(_line);
            _plan.Operation.Apply(target, _line.AsSpan(0, width));
        }
        else
        {
            // What is written is read later: the operation repeats with the distance as its period.
            for (var done = 0; done < width; done += distance)
            {
                var piece = Math.Min(distance, width - done);
                var at = backwards ? width - done - piece : done;
                _plan.Operation.Apply(target.Slice(at, piece), from.Slice(at, piece));
            }
        }
    }

    /// <summary>Pixels of 8 or 16 bits, of which those are left out whose result is the transparent colour.</summary>
    private void CompareLine(int destination, int source, bool backwards)
    {
        var memory = _memory.Bytes;
        int mask = memory.Length - 1, step = backwards ? -1 : 1;
        Note(backwards ? destination - _plan.Width + 1 : destination, _plan.Width);
        for (var x = 0; x < _plan.Width; x += _plan.PixelBytes, destination += step * _plan.PixelBytes, source += step * _plan.PixelBytes)
        {
            if (_plan.PixelBytes == 1) ComparePixel(memory, destination & mask, memory[source & mask]);
            else if (x + 1 < _plan.Width) ComparePair(memory, (destination - (backwards ? 1 : 0)) & mask, memory[(source - (backwards ? 1 : 0)) & mask], memory[(source + (backwards ? 0 : 1)) & mask]);
        }
    }

    /// <inheritdoc cref="CompareLine(int, int, bool)"/>
    /// <param name="source">In the order in which it is done.</param>
    private void CompareLine(int destination, ReadOnlySpan<byte> source, bool backwards)
    {
        var memory = _memory.Bytes;
        var mask = memory.Length - 1;
        Note(backwards ? destination - _plan.Width + 1 : destination, _plan.Width);
        for (var x = _plan.Skip; x < _plan.Width; x += _plan.PixelBytes)
        {
            if (_plan.PixelBytes == 1) ComparePixel(memory, (backwards ? destination - x : destination + x) & mask, source[x]);
            else if (x + 1 >= _plan.Width) break;
            else if (backwards) ComparePair(memory, (destination - x - 1) & mask, source[x + 1], source[x]);
            else ComparePair(memory, (destination + x) & mask, source[x], source[x + 1]);
        }
    }

    private void ComparePixel(Span<byte> memory, int at, byte source)
    {
        var result = _plan.Operation.Apply(source, memory[at]);
        if (((result ^ _plan.Transparent) & _plan.Compared & 0xff) != 0) memory[at] = result;
    }

    private void ComparePair(Span<byte> memory, int at, byte low, byte high)
    {
        ref byte first = ref memory[at], second = ref memory[(at + 1) & (memory.Length - 1)];
        var result = _plan.Operation.Apply(low, first) | (_plan.Operation.Apply(high, second) << 8);
        if (((result ^ _plan.Transparent) & _plan.Compared) == 0) return;
        first = (byte)result;
        second = (byte)(result >> 8);
    }

    /// <summary>Makes a line of pixels of bits, the first one in bit 7; transparent ones also make the mask.</summary>
    private void Expand(ReadOnlySpan<byte> bits)
    {
        var pixels = _plan.Pixels;
        uint zero = _plan.Background, one = _plan.Foreground;
        if (_plan.IsTransparent)
        {
            // Bits of 1 are drawn in the foreground colour; inverted, bits of 0 in the background colour.
            var inverted = (_plan.Extension & ExtensionInvert) != 0;
            ExpandLine(_mask, bits, pixels, inverted ? uint.MaxValue : 0, inverted ? 0 : uint.MaxValue);
            Repeat(_line, inverted ? zero : one);
        }
        else ExpandLine(_line, bits, pixels, zero, one);
    }

    private void ExpandLine(Span<byte> line, ReadOnlySpan<byte> bits, int pixels, uint zero, uint one)
    {
        switch (_plan.PixelBytes)
        {
            case 1:
                for (var i = 0; i < (pixels + 7) / 8; i++)
                {
                    var ones = Spread(bits[i]);
                    BinaryPrimitives.WriteUInt64LittleEndian(line[(8 * i)..], (ones * (byte)one) | ((ones ^ 0x0101_0101_0101_0101) * (byte)zero));
                }

                break;
            case 2:
                var shorts = MemoryMarshal.Cast<byte, ushort>(line);
                for (var i = 0; i < pixels; i++) shorts[i] = (ushort)((bits[i >> 3] & (0x80 >> (i & 7))) != 0 ? one : zero);
                break;
            case 3:
                for (var i = 0; i < pixels; i++)
                {
                    var colour = (bits[i >> 3] & (0x80 >> (i & 7))) != 0 ? one : zero;
                    (line[3 * i], line[(3 * i) + 1], line[(3 * i) + 2]) = ((byte)colour, (byte)(colour >> 8), (byte)(colour >> 16));
                }

                break;
            default:
                var words = MemoryMarshal.Cast<byte, uint>(line);
                for (var i = 0; i < pixels; i++) words[i] = (bits[i >> 3] & (0x80 >> (i & 7))) != 0 ? one : zero;
                break;
        }
    }

    /// <summary>A byte of 1 for each bit, that of bit 7 first in memory.</summary>
    private static ulong Spread(byte bits) => ((bits * 0x8040_2010_0804_0201) >> 7) & 0x0101_0101_0101_0101;

    /// <summary>A line of one colour.</summary>
    private void Repeat(Span<byte> line, uint colour)
    {
        var bytes = Math.Min((_plan.Width + 3) & ~3, line.Length);
        switch (_plan.PixelBytes)
        {
            case 1: line[..bytes].Fill((byte)colour); break;
            case 2: MemoryMarshal.Cast<byte, ushort>(line[..bytes]).Fill((ushort)colour); break;
            case 3:
                for (var x = 0; x < _plan.Width; x += 3) (line[x], line[x + 1], line[x + 2]) = ((byte)colour, (byte)(colour >> 8), (byte)(colour >> 16));
                break;
            default: MemoryMarshal.Cast<byte, uint>(line[..bytes]).Fill(colour); break;
        }
    }

    /// <summary>Writes a line of the blit's width, without what is clipped on its left.</summary>
    /// <param name="masked">Only where the mask says so.</param>
    private void Combine(int destination, ReadOnlySpan<byte> line, bool masked)
    {
        if (_plan.Skip >= _plan.Width) return;
        var memory = _memory.Bytes;
        int mask = memory.Length - 1, width = _plan.Width - _plan.Skip;
        destination = (destination + _plan.Skip) & mask;
        Note(destination, width);
        line = line.Slice(_plan.Skip, width);
        var where = _mask.AsSpan(_plan.Skip, width);
        for (var done = 0; done < width;)
        {
            // The rest of a line that runs over the end of memory begins again at its start.
            var piece = Math.Min(width - done, memory.Length - destination);
            if (masked) _plan.Operation.Apply(memory.Slice(destination, piece), line.Slice(done, piece), where.Slice(done, piece));
            else _plan.Operation.Apply(memory.Slice(destination, piece), line.Slice(done, piece));
            done += piece;
            destination = 0;
        }
    }

    /// <summary>Copies bytes of memory that may run over its end.</summary>
    private void Gather(Span<byte> to, int address, int bytes)
    {
        var memory = _memory.Bytes;
        address &= memory.Length - 1;
        for (var done = 0; done < bytes;)
        {
            var piece = Math.Min(bytes - done, memory.Length - address);
            memory.Slice(address, piece).CopyTo(to[done..]);
            done += piece;
            address = 0;
        }
    }

    public void ResetAll()
    {
        _phase = PhaseIdle;
        _row = _position = 0;
        Array.Clear(_blit);
        Array.Clear(_buffer);
    }

    public void State(StateVisitor s)
    {
        s.U8("phase", ref _phase);
        s.I32("row", ref _row, 0, 0x7ff);
        s.I32("position", ref _position, 0, LineBytes);
        s.Bytes("registers", _blit);
        s.Bytes("buffer", _buffer);
        if (!s.IsLoading) return;
        if (_phase > PhaseToCpu) s.Fail("phase", $"{_phase} is none");
        _plan = new Plan(_blit);
        if (_phase != PhaseIdle && (_row >= _plan.Height || _position >= _plan.SourceLineBytes)) s.Fail("position", "lies outside of the blit");
    }
}
