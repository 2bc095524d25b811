using XenDM.Devices.Display.Vga;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Display;

public class StdVgaTests
{
    private readonly VgaBoard _vga = new();

    private TestBoard Board => _vga.Board;

    [Fact]
    public void Contract() => DeviceContract.Check(
        static () =>
        {
            var vga = new VgaBoard();
            return (vga.Board, vga.Chip);
        },
        static (board, chip) =>
        {
            board.ConfigWrite(VgaBoard.Slot, 0, 0x10, 4, (uint)VgaBoard.FrameBuffer);
            board.ConfigWrite(VgaBoard.Slot, 0, 0x04, 2, 3);
            board.Out8(0x3c2, 0xe3);
            board.Out16(0x3c4, 0x0f02);
            board.Out16(0x3d4, 0x5f00);
            board.Out16(0x3ce, 0xff08);
            board.Out8(0x3c0, 0x05);
            board.Out8(0x3c8, 9);
            board.Out8(0x3c9, 9);
            foreach (var (index, value) in ((int, int)[])[(1, 800), (2, 600), (3, 16), (4, 0xe1), (6, 1024), (8, 8), (9, 4), (5, 2)])
            {
                board.Out16(0x1ce, index);
                board.Out16(0x1cf, value);
            }

            board.Memory.Write(0xa_0000, 4, 0x1234_5678);
            board.Memory.Write(VgaBoard.FrameBuffer, 4, 0x1234_5678);
        },
        "stdvga");

    [Fact]
    public void ItLooksLikeBochssAdapter()
    {
        Assert.Equal(0x1111_1234u, Board.ConfigRead(VgaBoard.Slot, 0, 0, 4));
        Assert.Equal(0x0300_0002u, Board.ConfigRead(VgaBoard.Slot, 0, 8, 4));
        Assert.Equal(0x1100_1af4u, Board.ConfigRead(VgaBoard.Slot, 0, 0x2c, 4));
        Board.ConfigWrite(VgaBoard.Slot, 0, 0x10, 4, uint.MaxValue);
        Assert.Equal(0xfff0_0008u, Board.ConfigRead(VgaBoard.Slot, 0, 0x10, 4));
        Board.ConfigWrite(VgaBoard.Slot, 0, 0x18, 4, uint.MaxValue);
        Assert.Equal(0xffff_f000u, Board.ConfigRead(VgaBoard.Slot, 0, 0x18, 4));
        Board.ConfigWrite(VgaBoard.Slot, 0, 0x30, 4, uint.MaxValue);
        Assert.Equal(0u, Board.ConfigRead(VgaBoard.Slot, 0, 0x30, 4));
    }

    [Fact]
    public void TheRomAppearsWhereItIsPut()
    {
        var rom = new byte[3000];
        (rom[0], rom[1], rom[2999]) = (0x55, 0xaa, 0x77);
        var board = new VgaBoard(rom: rom).Board;
        board.ConfigWrite(VgaBoard.Slot, 0, 0x30, 4, uint.MaxValue);
        Assert.Equal(0xffff_f001u, board.ConfigRead(VgaBoard.Slot, 0, 0x30, 4));
        board.ConfigWrite(VgaBoard.Slot, 0, 0x30, 4, 0xf100_0001);
        board.ConfigWrite(VgaBoard.Slot, 0, 0x04, 2, 2);
        Assert.Equal(0xaa55u, board.Memory.Read(0xf100_0000, 2));
        board.Memory.Write(0xf100_0000, 2, 0);
        Assert.Equal(0xaa55u, board.Memory.Read(0xf100_0000, 2));
        Assert.Equal(0xffff_ff77u, board.Memory.Read(0xf100_0000 + 2999, 4));
    }

    [Fact]
    public void TheFramebufferFollowsItsBar()
    {
        Assert.Null(_vga.Memory.ShownAt);
        _vga.MapBars();
        Assert.Equal(VgaBoard.FrameBuffer, _vga.Memory.ShownAt);
        Board.Memory.Write(VgaBoard.FrameBuffer + 0x1_2345, 4, 0xcafe_f00d);
        Assert.Equal(0x0d, _vga.Vram[0x1_2345]);
        Assert.Equal(0xcafe_f00du, Board.Memory.Read(VgaBoard.FrameBuffer + 0x1_2345, 4));
        Board.ConfigWrite(VgaBoard.Slot, 0, 0x10, 4, 0xd000_0000);
        Assert.Equal(0xd000_0000ul, _vga.Memory.ShownAt);
        Board.ConfigWrite(VgaBoard.Slot, 0, 0x04, 2, 0);
        Assert.Null(_vga.Memory.ShownAt);
    }

    [Fact]
    public void AnAdapterTakenOffTheBusAnswersNoMore()
    {
        _vga.MapBars();
        Board.Pci.Remove(_vga.Chip);
        Assert.Null(_vga.Memory.ShownAt);
        Assert.Empty(Board.Ports.Windows());
        Assert.Empty(Board.Memory.Windows());
    }

    [Fact]
    public void TheRegisterBarHasPortsVbeAndEdid()
    {
        _vga.MapBars();
        byte sum = 0;
        for (uint n = 0; n < 128; n++) sum += (byte)Board.Memory.Read(VgaBoard.Registers + n, 1);
        Assert.Equal(0, sum);
        Assert.Equal(0x00ff_ffff_ffff_ff00u, Board.Memory.Read(VgaBoard.Registers, 8));
        Assert.Equal(0xb0c5u, Board.Memory.Read(VgaBoard.Registers + 0x500, 2));
        Board.Memory.Write(VgaBoard.Registers + 0x502, 2, 640);
        Assert.Equal(640, _vga.ReadVbe(1));
        Board.Memory.Write(VgaBoard.Registers + 0x40e, 2, 0xaa08);
        Assert.Equal(0xaau, Board.Memory.Read(VgaBoard.Registers + 0x40f, 1));
        Board.Memory.Write(VgaBoard.Registers + 0x414, 2, 0x5a0f);
        Assert.Equal(0x5a, Board.In8(0x3b5));
        Assert.Equal(8u, Board.Memory.Read(VgaBoard.Registers + 0x600, 4));
        Assert.Equal(0x1e1e_1e1eu, Board.Memory.Read(VgaBoard.Registers + 0x604, 4));
    }

    [Fact]
    public void VbeIsFoundAndTellsItsLimits()
    {
        Assert.Equal(0xb0c5, _vga.ReadVbe(0));
        for (var id = 0xb0c0; id <= 0xb0c5; id++)
        {
            _vga.Vbe(0, id);
            Assert.Equal(id, _vga.ReadVbe(0));
        }

        _vga.Vbe(0, 0xb0c6);
        Assert.Equal(0xb0c5, _vga.ReadVbe(0));
        Assert.Equal(16, _vga.ReadVbe(0x0a));
        Board.Out16(0x1ce, 0x0a);
        Assert.Equal(16, Board.In16(0x1d0));
        _vga.Vbe(4, 2);
        Assert.Equal(16000, _vga.ReadVbe(1));
        Assert.Equal(12000, _vga.ReadVbe(2));
        Assert.Equal(32, _vga.ReadVbe(3));
        _vga.Vbe(4, 0);
        Assert.Equal(8, _vga.ReadVbe(3));
    }

    [Fact]
    public void AVirtualScreenIsClampedToMemory()
    {
        _vga.VbeMode(640, 480, 16);
        Assert.Equal(640, _vga.ReadVbe(6));
        Assert.Equal((1 << 20) / 1280, _vga.ReadVbe(7));
        _vga.Vbe(6, 805);
        Assert.Equal(800, _vga.ReadVbe(6));
        Assert.Equal((1 << 20) / 1600, _vga.ReadVbe(7));
        _vga.Vbe(8, 999);
        _vga.Vbe(9, 999);
        Assert.Equal(160, _vga.ReadVbe(8));
        Assert.Equal(((1 << 20) / 1600) - 480, _vga.ReadVbe(9));
        _vga.Vbe(6, 8);
        Assert.Equal(640, _vga.ReadVbe(6));
    }

    [Fact]
    public void AScreenLargerThanMemoryLosesLines()
    {
        _vga.VbeMode(1920, 1200, 32);
        Assert.Equal((1 << 20) / 7680, _vga.ReadVbe(2));
        Assert.Equal((1 << 20) / 7680, _vga.Chip.Screen.Height);
        _vga.Render();
    }

    [Fact]
    public void ImpossibleModesAreNotTaken()
    {
        _vga.Vbe(1, 640);
        _vga.Vbe(1, 16008);
        _vga.Vbe(1, 7);
        _vga.Vbe(2, 480);
        _vga.Vbe(2, 12001);
        _vga.Vbe(3, 12);
        Assert.Equal((640, 480, 8), (_vga.ReadVbe(1), _vga.ReadVbe(2), _vga.ReadVbe(3)));
        _vga.Vbe(0x40, 5);
        Assert.Equal(0, _vga.ReadVbe(0x40));
    }

    [Fact]
    public void AModeStartsBlackUnlessMemoryIsKept()
    {
        _vga.Vram[100] = 5;
        _vga.VbeMode(320, 200, 8, extra: 0x80);
        Assert.Equal(5, _vga.Vram[100]);
        _vga.VbeMode(320, 200, 8);
        Assert.Equal(0, _vga.Vram[100]);
    }

    [Fact]
    public void TheBellRingsOnceForEachTimeItIsSet()
    {
        _vga.TextMode();
        var rings = 0;
        _vga.Poke(0xb_8000, 'A');
        _vga.Chip.Bell.Set(() => rings++);
        Assert.Equal(0, rings);
        _vga.Peek(0xb_8000);
        Assert.Equal(0, rings);
        _vga.Poke(0xb_8000, 'B');
        _vga.Poke(0xb_8000, 'C');
        Assert.Equal(1, rings);
        _vga.Chip.Bell.Set(() => rings++);
        _vga.Crtc(0x0f, 3);
        Assert.Equal(2, rings);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void RandomAccessesDoNoHarm(int seed)
    {
        var vga = new VgaBoard(256 << 10, new byte[2048]);
        vga.MapBars();
        var screen = new TextScreen();
        ChipFuzz.Run(vga.Board, [vga.Chip], 60_000, seed, random =>
        {
            var (start, end, _) = System.Linq.Enumerable.ElementAt(vga.Board.Memory.Windows(), random.Next(System.Linq.Enumerable.Count(vga.Board.Memory.Windows())));
            var address = start + (ulong)random.NextInt64((long)(end - start) + 1);
            vga.Board.Memory.Write(address, 1 << random.Next(4), (ulong)random.NextInt64());
            vga.Board.Memory.Read(start + (ulong)random.NextInt64((long)(end - start) + 1), 1 << random.Next(4));
            if (random.Next(8) != 0) return;
            vga.Vbe(random.Next(12), random.Next(4) == 0 ? random.Next(65536) : random.Next(2048));
            if (random.Next(8) != 0) return;
            vga.Chip.Screen.ReadText(screen);
            if ((long)vga.Chip.Screen.Width * vga.Chip.Screen.Height < 1 << 20) vga.Render(random.Next(2) == 0);
        });
    }
}
