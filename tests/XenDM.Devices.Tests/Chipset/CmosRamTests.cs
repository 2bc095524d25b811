using System;
using XenDM.Core.State;
using XenDM.Devices.Chipset;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Chipset;

public class CmosRamTests
{
    [Fact]
    public void FirmwareFindsTheBootOrderAndNoFloppies()
    {
        var (board, _) = Make();
        Assert.Equal(0x32, Cell(board, 0x3d));
        Assert.Equal(0x10, Cell(board, 0x38));
        Assert.Equal(0, Cell(board, 0x10));
    }

    [Fact]
    public void CellsAreKeptOverAWarmResetOnly()
    {
        var (board, chip) = Make();
        board.Out8(0x70, 0x30);
        board.Out8(0x71, 0xab);
        chip.Reset(ResetKind.Warm);
        Assert.Equal(0xab, Cell(board, 0x30));
        chip.Reset(ResetKind.Cold);
        Assert.Equal(0, Cell(board, 0x30));
    }

    [Fact]
    public void TheNmiBitOfTheIndexIsNoAddress()
    {
        var (board, _) = Make();
        Assert.Equal(0x32, Cell(board, 0x80 | 0x3d));
    }

    [Theory]
    [InlineData("x")]
    [InlineData("acdn")]
    public void WrongOrdersAreRefused(string order) => Assert.Throws<ArgumentException>(() => new CmosRam(order));

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(Make, static (board, _) =>
    {
        board.Out8(0x70, 0x5b);
        board.Out8(0x71, 0x77);
    }, "cmos");

    private static byte Cell(TestBoard board, int index)
    {
        board.Out8(0x70, index);
        return board.In8(0x71);
    }

    private static (TestBoard Board, CmosRam Chip) Make()
    {
        var board = new TestBoard();
        var chip = new CmosRam("cda");
        chip.MapPorts(board.Ports);
        chip.Reset(ResetKind.Cold);
        return (board, chip);
    }
}
