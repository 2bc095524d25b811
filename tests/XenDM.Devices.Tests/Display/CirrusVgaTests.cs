using System;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Display;

public class CirrusVgaTests
{
    private readonly CirrusBoard _vga = new();

    private TestBoard Board => _vga.Board;

    [Fact]
    public void Contract() => DeviceContract.Check(
        static () =>
        {
            var vga = new CirrusBoard();
            vga.Chip.Reset(ResetKind.Cold);
            return (vga.Board, vga.Chip);
        },
        static (board, chip) =>
        {
            board.ConfigWrite(CirrusBoard.Slot, 0, 0x10, 4, CirrusBoard.Linear);
            board.ConfigWrite(CirrusBoard.Slot, 0, 0x04, 2, 3);
            board.Out8(0x3c2, 0xe3);
            foreach (var value in (int[])[0x1206, 0x1107, 0x0602, 0x4a50, 0x2371, 0x0112, 0x0613]) board.Out16(0x3c4, value);
            foreach (var value in (int[])[0x5f00, 0x221b, 0x801d, 0x4f01]) board.Out16(0x3d4, value);
            for (var i = 0; i < 4; i++) board.In8(0x3c6);
            board.Out8(0x3c6, 0xe5);
            board.In8(0x3c6);
            foreach (var value in (int[])[0x7700, 0x8801, 0x4405, 0x0106, 0xff08, 0x1009, 0x1f0b, 0x2020, 0x0322, 0x0430, 0x0d32, 0x0231]) board.Out16(0x3ce, value);
            board.Out16(0x3c4, 0x0312);
            board.Out8(0x3c8, 15);
            foreach (var value in (int[])[9, 8, 7]) board.Out8(0x3c9, value);
            board.Memory.Write(CirrusBoard.Aperture, 4, 0x1234_5678);
            board.Memory.Read(CirrusBoard.Linear + 100, 4);
        },
        "cirrus-vga");

    [Fact]
    public void ItLooksLikeTheChip()
    {
        Assert.Equal(0x00b8_1013u, Board.ConfigRead(CirrusBoard.Slot, 0, 0, 4));
        Assert.Equal(0x0300_0000u, Board.ConfigRead(CirrusBoard.Slot, 0, 8, 4));
        Board.ConfigWrite(CirrusBoard.Slot, 0, 0x10, 4, uint.MaxValue);
        Assert.Equal(0xfe00_0008u, Board.ConfigRead(CirrusBoard.Slot, 0, 0x10, 4));
        Board.ConfigWrite(CirrusBoard.Slot, 0, 0x14, 4, uint.MaxValue);
        Assert.Equal(0xffff_f000u, Board.ConfigRead(CirrusBoard.Slot, 0, 0x14, 4));
        Assert.Equal(0xb8, _vga.ReadCrtc(0x27));
        _vga.Crtc(0x27, 0);
        Assert.Equal(0xb8, _vga.ReadCrtc(0x27));
    }

    /// <summary>Drivers find the chip by what SR6 makes of its key, and its memory by SRF.</summary>
    [Fact]
    public void TheKeyUnlocks()
    {
        Assert.Equal(0x0f, _vga.ReadSequencer(6));
        _vga.Sequencer(6, 0x92);
        Assert.Equal(0x12, _vga.ReadSequencer(6));
        _vga.Sequencer(6, 0x55);
        Assert.Equal(0x0f, _vga.ReadSequencer(6));
        Assert.Equal(0x98, _vga.ReadSequencer(0x0f) & 0x98);
    }

    [Fact]
    public void TheVbeRegistersOfStdVgaAreNotThere()
    {
        Board.Out16(0x1ce, 0);
        Assert.Equal(0xffff, Board.In16(0x1cf));
    }

    [Fact]
    public void TheHiddenRegisterComesAfterFourReadsOfThePelMask()
    {
        Board.Out8(0x3c6, 0x5a);
        _vga.HiddenDac(0xe1);
        Assert.Equal([0x5a, 0x5a, 0x5a, 0x5a, 0xe1, 0x5a], (int[])[Board.In8(0x3c6), Board.In8(0x3c6), Board.In8(0x3c6), Board.In8(0x3c6), Board.In8(0x3c6), Board.In8(0x3c6)]);

        // Another access to the palette begins the count again.
        Board.In8(0x3c8);
        for (var i = 0; i < 4; i++) Board.In8(0x3c6);
        Board.In8(0x3c8);
        Board.Out8(0x3c6, 0x33);
        Assert.Equal(0x33, Board.In8(0x3c6));
    }

    [Fact]
    public void ColourRegistersOfTheVgaHaveEightBits()
    {
        _vga.Graphics(0, 0xa5);
        _vga.Graphics(1, 0x5a);
        Assert.Equal((0xa5, 0x5a), (_vga.ReadGraphics(0), _vga.ReadGraphics(1)));
        _vga.Graphics(5, 0x45);
        Assert.Equal(0x45, _vga.ReadGraphics(5));
    }

    [Fact]
    public void TheAttributeControllersStateCanBeRead()
    {
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x33);
        Assert.Equal(0x80, _vga.ReadCrtc(0x24));
        Assert.Equal(0x33, _vga.ReadCrtc(0x26));
        Board.Out8(0x3c0, 0);
        Assert.Equal(0, _vga.ReadCrtc(0x24));
    }

    [Fact]
    public void OnDdcNobodyAnswers()
    {
        _vga.Sequencer(8, 0x43);
        Assert.Equal(0xc7, _vga.ReadSequencer(8));
        _vga.Sequencer(8, 0x40);
        Assert.Equal(0x40, _vga.ReadSequencer(8));
    }

    [Theory]
    [InlineData(8, 0x0000_00f1, 0xff_8000u)]
    [InlineData(15, 0x0000_fc1f, 0xff_00ffu)]
    [InlineData(16, 0x0000_07e0, 0x00_ff00u)]
    [InlineData(24, 0x0012_3456, 0x12_3456u)]
    [InlineData(32, 0x7712_3456, 0x12_3456u)]
    public void ModesOfAllDepths(int depth, int pixel, uint colour)
    {
        var bytes = (depth + 7) / 8;
        _vga.Mode(800, 600, depth, 800 * bytes);
        _vga.Dac(0xf1, 0x3f, 0x20, 0);
        if (depth == 15) pixel &= 0x7fff;
        foreach (var (x, y) in ((int, int)[])[(0, 0), (799, 0), (3, 599), (799, 599)])
            for (var i = 0; i < bytes; i++) Board.Memory.Write(CirrusBoard.Linear + (uint)((((y * 800) + x) * bytes) + i), 1, (byte)(pixel >> (8 * i)));
        Assert.Equal((ScreenKind.Extended, 800, 600, depth), (_vga.Chip.Screen.Kind, _vga.Chip.Screen.Width, _vga.Chip.Screen.Height, _vga.Chip.Screen.Depth));
        _vga.Render();
        if (depth == 8) colour = 0xff_8200;
        Assert.Equal([colour, colour, colour, colour, 0u], (uint[])[_vga.Pixel(0, 0), _vga.Pixel(799, 0), _vga.Pixel(3, 599), _vga.Pixel(799, 599), _vga.Pixel(4, 4)]);
    }

    /// <summary>As Linux's driver sets 1024x768 by the registers in BAR1, after a text mode.</summary>
    [Fact]
    public void LinuxSetsAModeInMemory()
    {
        void Write(int port, int index, int value)
        {
            Board.Memory.Write(CirrusBoard.Mmio + (uint)port, 1, (byte)index);
            Board.Memory.Write(CirrusBoard.Mmio + (uint)port + 1, 1, (byte)value);
        }

        foreach (var (index, value) in ((int, int)[])[(0x11, 0x20), (0, 163), (1, 127), (4, 132), (5, 148), (6, 0x24), (0x12, 0xff), (9, 0x60), (7, 0xf5 & 0x7a), (0x1a, 0xb0), (0x17, 3), (0x18, 0xff), (0x13, 0), (0x1b, 0x32)]) Write(0x14, index, value);
        Write(4, 7, 0x17);
        Write(0xe, 5, 0x40);
        Write(0xe, 6, 1);
        for (var i = 0; i < 4; i++) Board.Memory.Read(CirrusBoard.Mmio + 6, 1);
        Board.Memory.Write(CirrusBoard.Mmio + 6, 1, 0xc1);
        Board.Out8(0x3c0, 0x20);
        Board.Memory.Write(CirrusBoard.Linear + (2048 * 767) + 2046, 2, 0xf800);
        _vga.Render();
        Assert.Equal((1024, 768), (_vga.Frame.Width, _vga.Frame.Height));
        Assert.Equal(0xff_0000u, _vga.Pixel(1023, 767));
    }

    /// <summary>Start address, line compare, doubled lines; a line that runs over the end of memory.</summary>
    [Fact]
    public void ThePictureBeginsWhereTheRegistersSay()
    {
        _vga.Mode(640, 480, 8, 640);
        for (var n = 0; n < 256; n++) _vga.Dac(n, n >> 2, 0, 0);
        const int start = 0xf_fff0 * 4;
        _vga.Crtc(0x0c, 0xff);
        _vga.Crtc(0x0d, 0xf0);
        _vga.Crtc(0x1b, 0x22 | 0x0d);
        _vga.Crtc(0x1d, 0x80);
        _vga.Vram[start] = 0x40;
        _vga.Vram[0] = 0x80;
        _vga.Vram[640 - 64] = 0xc0;
        _vga.Render();
        Assert.Equal([0x41_0000u, 0x82_0000u, 0xc3_0000u], (uint[])[_vga.Pixel(0, 0), _vga.Pixel(64, 0), _vga.Pixel(0, 1)]);

        _vga.Crtc(9, 0x81);
        _vga.Crtc(0x18, 99);
        _vga.Crtc(7, 0x42 & ~0x10);
        _vga.Render();
        Assert.Equal([0x41_0000u, 0x41_0000u, 0xc3_0000u, 0x82_0000u], (uint[])[_vga.Pixel(0, 0), _vga.Pixel(0, 3), _vga.Pixel(0, 4), _vga.Pixel(0, 100)]);
    }

    [Theory]
    [InlineData(0x00, 3, 0, 0x3000)]
    [InlineData(0x20, 3, 0, 0xc000)]
    [InlineData(0x01, 3, 5, 0x3000)]
    [InlineData(0x21, 3, 5, 0xc000)]
    public void TheWindowShowsBanks(int extension, int first, int second, int expected)
    {
        _vga.Mode(640, 480, 8, 640);
        _vga.Graphics(0x0b, extension);
        _vga.Graphics(0x09, first);
        _vga.Graphics(0x0a, second);
        Board.Memory.Write(0xa_0004, 4, 0x0403_0201);
        Board.Memory.Write(0xa_8004, 2, 0x0605);
        Assert.Equal([1, 2, 3, 4], _vga.Vram.Slice(expected + 4, 4).ToArray());
        var upper = (extension & 1) != 0 ? (expected / first * second) + 4 : expected + 0x8004;
        Assert.Equal([5, 6], _vga.Vram.Slice(upper, 2).ToArray());
        Assert.Equal(0x0403_0201u, Board.Memory.Read(0xa_0004, 4));
        Assert.Equal(0x0605u, Board.Memory.Read(0xa_8004, 2));
    }

    [Fact]
    public void LinearMemoryHasApertures()
    {
        _vga.Mode(640, 480, 8, 640);
        Board.Memory.Write(CirrusBoard.Linear, 4, 0x0403_0201);
        Assert.Equal([0x0304_0102u, 0x0102_0304u, 0x0403_0201u], (uint[])[(uint)Board.Memory.Read(CirrusBoard.Linear + (4 << 20), 4), (uint)Board.Memory.Read(CirrusBoard.Linear + (8 << 20), 4), (uint)Board.Memory.Read(CirrusBoard.Linear + (12 << 20), 4)]);
        Board.Memory.Write(CirrusBoard.Linear + (8 << 20) + 8, 4, 0x0102_0304);
        Assert.Equal([1, 2, 3, 4], _vga.Vram.Slice(8, 4).ToArray());
        var large = new CirrusBoard(8);
        large.Board.Memory.Write(CirrusBoard.Linear + (5 << 20), 4, 0x0403_0201);
        Assert.Equal([1, 2, 3, 4], large.Vram.Slice(5 << 20, 4).ToArray());
    }

    /// <summary>Write modes 4 and 5 draw eight pixels with one byte, by-8 addressing reaches them by one address.</summary>
    [Theory]
    [InlineData(0x04, 5, 3, 3)]
    [InlineData(0x06, 5, 3, 24)]
    [InlineData(0x06, 4, 3, 24)]
    [InlineData(0x16, 5, 3, 48)]
    [InlineData(0x16, 4, 3, 48)]
    public void ExtendedWriteModesExpandBits(int extension, int mode, int address, int expected)
    {
        _vga.Mode(640, 480, 8, 640);
        _vga.Graphics(0x0b, extension);
        _vga.Graphics(5, 0x40 | mode);
        _vga.Graphics(0, 0x11);
        _vga.Graphics(0x10, 0x22);
        _vga.Graphics(1, 0x33);
        _vga.Graphics(0x11, 0x44);
        _vga.Sequencer(2, 0xf7);
        var wide = extension == 0x16;
        foreach (var start in (uint[])[0xa_0000, CirrusBoard.Linear])
        {
            _vga.Vram.Clear();
            Board.Memory.Write(start + (uint)address, 1, 0b1011_1100);
            for (var pixel = 0; pixel < 8; pixel++)
            {
                var one = (0b1011_1100 & (0x80 >> pixel)) != 0;
                var drawn = pixel != 4 && (one || mode == 5);
                var at = expected + (wide ? 2 * pixel : pixel);
                Assert.Equal(!drawn ? 0 : one ? 0x33 : 0x11, _vga.Vram[at]);
                if (wide) Assert.Equal(!drawn ? 0 : one ? 0x44 : 0x22, _vga.Vram[at + 1]);
            }
        }

        Assert.Null(_vga.Memory.ShownAt);
        _vga.Graphics(0x0b, 0);
        Assert.Equal(CirrusBoard.Linear, _vga.Memory.ShownAt);
    }

    [Fact]
    public void LatchesMoveEightBytes()
    {
        _vga.Mode(640, 480, 8, 640);
        for (var i = 0; i < 8; i++) _vga.Vram[80 + i] = (byte)(i + 1);
        _vga.Graphics(0x0b, 0x0a);
        _vga.Graphics(5, 0x41);
        Board.Memory.Read(0xa_000a, 1);
        Board.Memory.Write(0xa_0014, 1, 0xff);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], _vga.Vram.Slice(160, 8).ToArray());
    }

    /// <summary>A cursor of two colours is given to those who look, and moves without the picture.</summary>
    [Theory]
    [InlineData(32)]
    [InlineData(64)]
    public void TheCursorIsAShape(int side)
    {
        _vga.Mode(640, 480, 8, 640);
        Assert.Null(_vga.Chip.Cursor);
        SetCursor(side, (x, y) => x == 0 ? 2 : x == y ? 3 : 0);
        Assert.Equal((0, 0), _vga.Chip.CursorPlace);
        _vga.Sequencer(0x10 | (3 << 5), 50);
        _vga.Sequencer(0x11 | (7 << 5), 20);
        Assert.Equal((403, 167), _vga.Chip.CursorPlace);
        var shape = _vga.Chip.Cursor!;
        Assert.Equal((side, side, 0, 0), (shape.Width, shape.Height, shape.HotX, shape.HotY));
        var pixels = shape.Pixels.Span;
        Assert.Equal([0xff04_0810u, 0u, 0u, 0xff04_0810u, 0xffff_8200u], (uint[])[pixels[0], pixels[1], pixels[2 * side - 1], pixels[5 * side], pixels[(5 * side) + 5]]);
        Assert.Same(shape, _vga.Chip.Cursor);
        _vga.Render();
        Assert.Equal(0u, _vga.Pixel(403, 167));
        _vga.Sequencer(0x12, side == 64 ? 4 : 0);
        Assert.Null(_vga.Chip.Cursor);
    }

    /// <summary>One that inverts is in the picture, and leaves it as it was.</summary>
    [Fact]
    public void ACursorThatInvertsIsDrawn()
    {
        _vga.Mode(640, 480, 24, 1920);
        _vga.Vram[..(1920 * 480)].Fill(0x12);
        SetCursor(32, static (x, y) => x == 5 ? 1 : x == y ? 3 : 0);
        _vga.Sequencer(0x10, 10);
        _vga.Sequencer(0x11, 5);
        _vga.Chip.SetRefreshPeriod(30);
        _vga.Render();
        Assert.Null(_vga.Chip.Cursor);
        Assert.Equal([0xff_8200u, 0xed_ededu, 0x12_1212u], (uint[])[_vga.Pixel(80, 40), _vga.Pixel(85, 40), _vga.Pixel(81, 40)]);
        _vga.Refresh();
        Assert.True(_vga.Damage.IsEmpty);

        // Moved, it leaves the picture as it was, and as it is now where the guest drew meanwhile.
        _vga.Sequencer(0x10, 20);
        Board.Memory.Write(CirrusBoard.Linear + (1920 * 40) + (3 * 80), 4, 0x12aa_bbcc);
        _vga.Refresh();
        Assert.Equal([0xaa_bbccu, 0x12_1212u, 0xff_8200u, 0xed_ededu], (uint[])[_vga.Pixel(80, 40), _vga.Pixel(85, 40), _vga.Pixel(160, 40), _vga.Pixel(165, 71)]);
        Assert.False(_vga.Damage.IsEmpty);

        // At the edges it is cut off.
        _vga.Sequencer(0x10 | (7 << 5), 79);
        _vga.Sequencer(0x11 | (7 << 5), 59);
        _vga.Refresh();
        Assert.Equal([0xff_8200u, 0x12_1212u], (uint[])[_vga.Pixel(639, 479), _vga.Pixel(160, 40)]);
        _vga.Sequencer(0x12, 0);
        _vga.Refresh();
        Assert.Equal(0x12_1212u, _vga.Pixel(639, 479));
    }

    /// <summary>A screen that goes dark loses such a cursor, also where nothing else was to be seen.</summary>
    [Fact]
    public void ADarkScreenIsDamagedWhereTheCursorWas()
    {
        _vga.Mode(640, 480, 24, 1920);
        SetCursor(32, static (x, _) => x == 5 ? 1 : 0);
        _vga.Chip.SetRefreshPeriod(30);
        _vga.Render();
        Assert.Equal(0xff_ffffu, _vga.Pixel(5, 0));
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0);
        _vga.Refresh();
        Assert.Equal(0u, _vga.Pixel(5, 0));
        Assert.False(_vga.Damage.IsEmpty);
    }

    /// <summary>What a blit draws is seen by one who looks.</summary>
    [Fact]
    public void ABlitIsDamage()
    {
        _vga.Mode(640, 480, 8, 640);
        _vga.Dac(5, 63, 0, 0);
        _vga.Chip.SetRefreshPeriod(30);
        _vga.Render();
        _vga.Refresh();
        var rung = 0;
        _vga.Chip.NotifyOnce(() => rung++);
        _vga.Blit(new Blit { Width = 10, Height = 10, DestinationPitch = 640, Destination = (640 * 32) + 64, Mode = Blit.Pattern | Blit.Expand, Extension = Blit.Solid, Foreground = 5 });
        Assert.Equal(1, rung);
        _vga.Refresh();
        var areas = new System.Collections.Generic.List<Core.Display.PictureArea>();
        _vga.Damage.AddTo(areas);
        Assert.Equal([new Core.Display.PictureArea(64, 32, 16, 16)], areas);
        Assert.Equal((0xff_0000u, 0u), (_vga.Pixel(73, 41), _vga.Pixel(74, 41)));
    }

    /// <summary>A text mode after a packed one, as a VGA BIOS goes back.</summary>
    [Fact]
    public void TheVgaIsBackWithoutPackedPixels()
    {
        _vga.Mode(640, 480, 8, 640);
        _vga.Sequencer(7, 0);
        _vga.Sequencer(2, 3);
        _vga.Sequencer(4, 2);
        _vga.Graphics(5, 0x10);
        _vga.Graphics(6, 0x0e);
        Board.Memory.Write(0xb_8000, 2, 0x0741);
        Assert.Equal([0x41, 0x07], _vga.Vram[..2].ToArray());
        Assert.True(_vga.Chip.Screen.IsText);
        Assert.Equal(0x0741u, Board.Memory.Read(0xb_8000, 2));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomAccessesDoNoHarm(int seed)
    {
        var vga = new CirrusBoard(seed == 3 ? 16 : 4, new byte[2048]);
        var text = new TextScreen();
        ChipFuzz.Run(vga.Board, [vga.Chip], 40_000, seed, random =>
        {
            var windows = System.Linq.Enumerable.ToArray(vga.Board.Memory.Windows());
            for (var i = 0; i < 4; i++)
            {
                var (start, end, _) = windows[random.Next(windows.Length)];
                var address = start + (ulong)random.NextInt64((long)(end - start) + 1);
                if (random.Next(2) == 0) vga.Board.Memory.Write(address, 1 << random.Next(4), (ulong)random.NextInt64());
                else vga.Board.Memory.Read(address, 1 << random.Next(4));
            }

            for (var i = 0; i < 8; i++) vga.Graphics(random.Next(0x40), random.Next(256));
            if (random.Next(4) == 0) vga.Mode(8 * random.Next(1, 100), random.Next(1, 600), (int[])[8, 15, 16, 24, 32] is var depths ? depths[random.Next(5)] : 8, 8 * random.Next(512));
            if (random.Next(4) == 0) vga.Graphics(0x31, 2);
            if (random.Next(32) != 0) return;
            vga.Sequencer(0x12, random.Next(8));
            vga.Chip.SetRefreshPeriod(random.Next(2) * 30);
            vga.Chip.Screen.ReadText(text);
            if ((long)vga.Chip.Screen.Width * vga.Chip.Screen.Height >= 1 << 20) return;
            vga.Render();
            vga.Refresh();
        });
    }

    private void SetCursor(int side, Func<int, int, int> pixel)
    {
        _vga.Sequencer(0x12, 2);
        _vga.Dac(0, 1, 2, 4);
        _vga.Dac(15, 63, 32, 0);
        _vga.Sequencer(0x13, 0x3f);
        var bytes = 2 * side * side / 8;
        var pattern = _vga.Vram[^bytes..];
        pattern.Clear();
        for (var y = 0; y < side; y++)
        {
            for (var x = 0; x < side; x++)
            {
                var value = pixel(x, y);
                for (var plane = 0; plane < 2; plane++)
                {
                    var at = side == 64 ? (16 * y) + (8 * plane) + (x / 8) : (128 * plane) + (4 * y) + (x / 8);
                    if ((value & (1 << plane)) != 0) pattern[at] |= (byte)(0x80 >> (x % 8));
                }
            }
        }

        _vga.Memory.NoteWrite(_vga.Memory.Size - bytes, bytes);
        _vga.Sequencer(0x12, side == 64 ? 5 : 1);
    }
}
