using System;
using XenDM.Core.Io;

namespace XenDM.Devices.Tests.Display;

public class VgaMemoryTests
{
    private const uint Window = 0xa_0000;
    private const uint Text = 0xb_8000;
    private readonly VgaBoard _vga = new();

    public VgaMemoryTests() => _vga.PlanarMode();

    private byte Plane(int plane, int address) => _vga.Vram[(4 * address) + plane];

    private void AssertPlanes(int address, params ReadOnlySpan<int> values)
    {
        for (var plane = 0; plane < 4; plane++) Assert.Equal(values[plane], Plane(plane, address));
    }

    /// <summary>Fills the latches with a byte for each plane.</summary>
    private void Latch(params ReadOnlySpan<byte> values)
    {
        values.CopyTo(_vga.Vram[(4 * 0x8000)..]);
        _vga.Peek(Window + 0x8000);
    }

    [Fact]
    public void TheMapMaskChoosesPlanes()
    {
        _vga.Sequencer(2, 0x05);
        _vga.Poke(Window + 7, 0x5a);
        AssertPlanes(7, 0x5a, 0, 0x5a, 0);
        for (var plane = 0; plane < 4; plane++)
        {
            _vga.Graphics(4, plane);
            Assert.Equal(Plane(plane, 7), _vga.Peek(Window + 7));
        }
    }

    [Fact]
    public void WriteMode0RotatesSetsAndMasks()
    {
        Latch(0x11, 0x22, 0x44, 0x88);
        _vga.Graphics(3, 4);
        _vga.Graphics(0, 0x04);
        _vga.Graphics(1, 0x0c);
        _vga.Graphics(8, 0xf0);
        _vga.Poke(Window, 0x3c);
        AssertPlanes(0, 0xc1, 0xc2, 0xf4, 0x08);
    }

    [Theory]
    [InlineData(0x08, 0x10)]
    [InlineData(0x10, 0xf5)]
    [InlineData(0x18, 0xe5)]
    [InlineData(0x00, 0xf0)]
    public void TheLogicUnitCombinesWithTheLatches(int function, int expected)
    {
        Latch(0x15, 0x15, 0x15, 0x15);
        _vga.Graphics(3, function);
        _vga.Poke(Window, 0xf0);
        AssertPlanes(0, expected, expected, expected, expected);
    }

    [Fact]
    public void WriteMode1CopiesTheLatches()
    {
        Latch(1, 2, 3, 4);
        _vga.Graphics(5, 1);
        _vga.Graphics(8, 0);
        _vga.Poke(Window + 3, 0xff);
        AssertPlanes(3, 1, 2, 3, 4);
    }

    [Fact]
    public void WriteMode2SpreadsAColour()
    {
        Latch(0xff, 0, 0xff, 0);
        _vga.Graphics(5, 2);
        _vga.Graphics(8, 0x80);
        _vga.Poke(Window, 0xfa);
        AssertPlanes(0, 0x7f, 0x80, 0x7f, 0x80);
    }

    [Fact]
    public void WriteMode3TakesTheByteAsAMask()
    {
        Latch(0, 0, 0xff, 0xff);
        _vga.Graphics(5, 3);
        _vga.Graphics(0, 0x05);
        _vga.Graphics(3, 1);
        _vga.Graphics(8, 0x3f);
        _vga.Poke(Window, 0x8f);
        AssertPlanes(0, 0x07, 0, 0xff, 0xf8);
    }

    [Fact]
    public void ReadMode1ComparesColours()
    {
        Latch(0xf0, 0xcc, 0xaa, 0xff);
        _vga.Graphics(5, 8);
        _vga.Graphics(2, 0x05);
        _vga.Graphics(7, 0x07);
        Assert.Equal(0xf0 & ~0xcc & 0xaa, _vga.Peek(Window + 0x8000));
        _vga.Graphics(7, 0x00);
        Assert.Equal(0xff, _vga.Peek(Window + 0x8000));
    }

    [Fact]
    public void Chain4IsLinear()
    {
        _vga.PackedMode();
        for (var n = 0; n < 8; n++) _vga.Poke(Window + (uint)n, 0x10 + n);
        AssertPlanes(1, 0x14, 0x15, 0x16, 0x17);
        Assert.Equal(0x13, _vga.Vram[3]);
        Assert.Equal(0x1716_1514u, _vga.Board.Memory.Read(Window + 4, 4));
        _vga.Sequencer(2, 0x01);
        _vga.Board.Memory.Write(Window, 4, 0xffff_ffff);
        Assert.Equal(0x1312_11ffu, _vga.Board.Memory.Read(Window, 4));
    }

    [Fact]
    public void ModeXSeesWhatChain4Wrote()
    {
        _vga.PackedMode();
        _vga.Poke(Window + 322, 0x77);
        _vga.Sequencer(4, 0x06);
        _vga.Graphics(4, 2);
        Assert.Equal(0x77, _vga.Peek(Window + 80));
    }

    [Fact]
    public void TextIsOddAndEven()
    {
        _vga.TextMode();
        _vga.Board.Memory.Write(Text + 4, 4, 0x1f42_0741);
        AssertPlanes(2, 'A', 7, 0, 0);
        AssertPlanes(3, 'B', 0x1f, 0, 0);
        Assert.Equal(0x1f42_0741u, _vga.Board.Memory.Read(Text + 4, 4));
        Assert.Equal(0xff, _vga.Peek(Window));
        _vga.Poke(0xb_0000, 1);
        Assert.Equal(0xff, _vga.Peek(0xb_0000));
    }

    [Fact]
    public void AFontGoesToPlane2()
    {
        _vga.TextMode();
        _vga.Sequencer(2, 0x04);
        _vga.Sequencer(4, 0x07);
        _vga.Graphics(4, 2);
        _vga.Graphics(5, 0);
        _vga.Graphics(6, 4);
        for (uint n = 0; n < 16; n++) _vga.Poke(Window + ('A' * 32) + n, (int)n);
        for (uint n = 0; n < 16; n++) Assert.Equal(n, _vga.Peek(Window + ('A' * 32) + n));
        AssertPlanes(('A' * 32) + 5, 0, 0, 5, 0);
    }

    [Theory]
    [InlineData(0, 0xa_0000u, 0xb_ffffu)]
    [InlineData(1, 0xa_0000u, 0xa_ffffu)]
    [InlineData(2, 0xb_0000u, 0xb_7fffu)]
    [InlineData(3, 0xb_8000u, 0xb_ffffu)]
    public void TheWindowIsWhereTheMapSelects(int map, uint first, uint last)
    {
        _vga.Graphics(6, (map << 2) | 1);
        for (uint address = 0xa_0000; address <= 0xb_ffff; address += 0x7fff / 2)
        {
            _vga.Poke(address, 0x33);
            Assert.Equal(address >= first && address <= last ? 0x33 : 0xff, _vga.Peek(address));
        }
    }

    [Fact]
    public void WithoutRamEnableNobodyAnswers()
    {
        _vga.Board.Out8(0x3c2, 0xe1);
        _vga.Poke(Window, 0x33);
        Assert.Equal(0xff, _vga.Peek(Window));
        Assert.Equal(0, _vga.Vram[0]);
    }

    [Fact]
    public void ABankShowsLinearMemory()
    {
        _vga.VbeMode(640, 480, 8);
        _vga.Vbe(5, 3);
        _vga.Poke(Window + 5, 0x99);
        Assert.Equal(0x99, _vga.Vram[(3 << 16) + 5]);
        Assert.Equal(0x99, _vga.Peek(Window + 5));
        _vga.Poke(Window + 0x1_0000, 0x99);
        Assert.Equal(0xff, _vga.Peek(Window + 0x1_0000));
        _vga.Vbe(5, 0xffff);
        Assert.Equal(15, _vga.ReadVbe(5));
        _vga.Poke(Window + 0xffff, 0x98);
        Assert.Equal(0x98, _vga.Vram[^1]);
    }

    [Fact]
    public void PlanesHaveBanksToo()
    {
        _vga.VbeMode(1024, 768, 4);
        _vga.Vbe(5, 1);
        _vga.Poke(Window + 1, 0x81);
        AssertPlanes(0x1_0001, 0x81, 0x81, 0x81, 0x81);
        _vga.Vbe(5, 0xffff);
        Assert.Equal(3, _vga.ReadVbe(5));
        _vga.Poke(Window + 0xffff, 0x42);
        Assert.Equal(0x42, _vga.Vram[^1]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void RepeatedMovesAreTheSameAsSingleOnes(bool banked)
    {
        if (banked) _vga.VbeMode(640, 480, 8);
        else _vga.TextMode();
        var at = banked ? Window + 0x100 : Text + 0x100;
        for (var n = 0; n < 4000; n++) _vga.Board.Ram.Bytes[n] = (byte)(n * 7);
        var request = new IoRequest { Space = IoSpace.Memory, Size = 4, Count = 1000, Address = at, Data = 0, DataIsPointer = true };
        _vga.Board.Io.Dispatch(ref request);
        for (uint n = 0; n < 4000; n++) Assert.Equal((byte)(n * 7), _vga.Peek(at + n));
        request = new IoRequest { Space = IoSpace.Memory, IsRead = true, Size = 4, Count = 1000, Address = at, Data = 0x2000, DataIsPointer = true };
        _vga.Board.Io.Dispatch(ref request);
        Assert.True(_vga.Board.Ram.Bytes[..4000].SequenceEqual(_vga.Board.Ram.Bytes.Slice(0x2000, 4000)));
    }

    /// <summary>Stretches and wide accesses do what their bytes do one by one, whatever the registers say.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void StretchesAreTheirBytes(int seed)
    {
        var random = new Random(seed);
        var other = new VgaBoard();
        other.PlanarMode();
        Span<byte> data = stackalloc byte[300];
        Span<byte> read = stackalloc byte[300];
        for (var turn = 0; turn < 3000; turn++)
        {
            var (index, value) = (random.Next(20), random.Next(256));
            var isPlain = random.Next(3) == 0;
            foreach (var vga in (VgaBoard[])[_vga, other])
            {
                if (index < 9) vga.Graphics(index, isPlain && index != 8 ? index == 5 ? value & 1 : 0 : isPlain ? 0xff : value);
                else if (index < 14) vga.Sequencer(2, isPlain ? 0x0f : value);
                else if (index < 16) vga.Sequencer(4, value);
                else if (index < 18) vga.Graphics(6, value & 0x0d);
            }

            var piece = data[..random.Next(1, random.Next(2) == 0 ? 9 : 300)];
            random.NextBytes(piece);
            var at = random.Next(0x2_0000 - piece.Length);
            if (random.Next(4) == 0)
            {
                _vga.Chip.Window.ReadBlock((ulong)at, 1, read[..piece.Length]);
                for (var n = 0; n < piece.Length; n++) Assert.Equal(other.Peek(Window + (uint)(at + n)), read[n]);
            }
            else if (piece.Length is 2 or 4 or 8)
            {
                _vga.Chip.Window.Write((ulong)at, piece.Length, ToNumber(piece));
                for (var n = 0; n < piece.Length; n++) other.Poke(Window + (uint)(at + n), piece[n]);
            }
            else
            {
                _vga.Chip.Window.WriteBlock((ulong)at, 1, piece);
                for (var n = 0; n < piece.Length; n++) other.Poke(Window + (uint)(at + n), piece[n]);
            }

            if (turn % 50 == 0) Assert.True(_vga.Vram[..0x4_0000].SequenceEqual(other.Vram[..0x4_0000]), $"turn {turn}");
        }
    }

    private static ulong ToNumber(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var n = 0; n < bytes.Length; n++) value |= (ulong)bytes[n] << (8 * n);
        return value;
    }
}
