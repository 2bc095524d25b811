using XenDM.Core.State;
using XenDM.Devices.XenPlatform;
using XenDM.Testing;

namespace XenDM.Devices.Tests.XenPlatform;

public sealed class XenPvDeviceTests
{
    private static (TestBoard Board, XenPvDevice Chip) Make()
    {
        var board = new TestBoard();
        var chip = new XenPvDevice("pvdevice", XenPvDevice.DefaultVendor, 0xc000, XenPvDevice.DefaultRevision, XenPvDevice.DefaultBytes, board.Ram);
        board.Pci.Add(chip, 5);
        chip.Reset(ResetKind.Cold);
        return (board, chip);
    }

    [Fact]
    public void Contract_Holds() => DeviceContract.Check(Make, static (board, _) => board.ConfigWrite(5, 0, 0x14, 4, 0xf0400000), "xen-pvdevice");

    [Fact]
    public void Identity_AndMemoryReadsOnes()
    {
        var (board, _) = Make();
        Assert.Equal(0xc0005853u, board.ConfigRead(5, 0, 0, 4));
        Assert.Equal(0x08800001u, board.ConfigRead(5, 0, 8, 4));
        Assert.Equal(0xc0005853u, board.ConfigRead(5, 0, 0x2c, 4));
        Assert.Equal(2u, board.ConfigRead(5, 0, 4, 2));
        board.ConfigWrite(5, 0, 0x14, 4, uint.MaxValue);
        Assert.Equal(0xffc00008u, board.ConfigRead(5, 0, 0x14, 4));
        board.ConfigWrite(5, 0, 0x14, 4, 0xf0000000);
        board.Memory.Write(0xf03ffffc, 4, 0);
        Assert.Equal(uint.MaxValue, board.Memory.Read(0xf03ffffc, 4));
        Assert.Equal(0ul, board.Memory.Unclaimed.Total);
        board.ConfigWrite(5, 0, 4, 2, 0);
        board.Memory.Read(0xf0000000, 4);
        Assert.Equal(1ul, board.Memory.Unclaimed.Total);
    }
}
