using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Core.State;
using XenDM.Devices.XenPlatform;
using XenDM.Testing;

namespace XenDM.Devices.Tests.XenPlatform;

public sealed class XenPlatformDeviceTests
{
    private sealed class Recorder : IUnplug
    {
        public List<string> Calls { get; } = [];

        public void UnplugDisks(bool all) => Calls.Add(all ? "disks" : "auxiliary");

        public void UnplugNics() => Calls.Add("nics");

        public void UnplugNvme() => Calls.Add("nvme");
    }

    private static (TestBoard Board, XenPlatformDevice Chip, Recorder Unplug) Make()
    {
        var board = new TestBoard();
        var unplug = new Recorder();
        var chip = new XenPlatformDevice(board.Hypervisor, unplug, board);
        board.Pci.Add(chip, 2);
        chip.Reset(ResetKind.Cold);
        return (board, chip, unplug);
    }

    [Fact]
    public void Contract_Holds() => DeviceContract.Check(
        static () =>
        {
            var (board, chip, _) = Make();
            return (board, chip);
        },
        static (board, _) =>
        {
            board.ConfigWrite(2, 0, 0x10, 4, 0xc000);
            board.Out8(0x10, 1);
            board.Out16(0x12, 3);
            board.Out32(0x10, 0x1234);
        },
        "xen-platform");

    [Fact]
    public void Identity_AndBars()
    {
        var (board, _, _) = Make();
        Assert.Equal(0x00015853u, board.ConfigRead(2, 0, 0, 4));
        Assert.Equal(0xff800001u, board.ConfigRead(2, 0, 8, 4));
        Assert.Equal(0x00015853u, board.ConfigRead(2, 0, 0x2c, 4));
        Assert.Equal(1u, board.ConfigRead(2, 0, 0x3d, 1));
        board.ConfigWrite(2, 0, 0x10, 4, uint.MaxValue);
        board.ConfigWrite(2, 0, 0x14, 4, uint.MaxValue);
        Assert.Equal(0xffffff01u, board.ConfigRead(2, 0, 0x10, 4));
        Assert.Equal(0xff000008u, board.ConfigRead(2, 0, 0x14, 4));
        board.ConfigWrite(2, 0, 0x14, 4, 0xf0000000);
        board.ConfigWrite(2, 0, 0x04, 2, 3);
        board.Memory.Write(0xf0000000, 4, 1);
        Assert.Equal(0ul, board.Memory.Read(0xf0000000, 4));
    }

    [Fact]
    public void Linux_UnplugSequence_IsCarriedOutAndLogged()
    {
        var (board, _, unplug) = Make();
        Assert.Equal(0x49d2, board.In16(0x10));
        Assert.Equal(1, board.In8(0x12));
        board.Out16(0x12, 3);
        board.Out32(0x10, 0xff);
        Assert.Equal(0x49d2, board.In16(0x10));
        board.Out16(0x10, 3);
        Assert.Equal(["disks", "nics"], unplug.Calls);
        Assert.Equal("xen-platform: unplug disks nics by driver product 3 (linux) build 255", Assert.Single(board.Log));
    }

    private sealed class OneDriver : IDriverBlacklist
    {
        public bool Contains(string product, uint build) => product == "linux" && build == 0xffff_fffe;
    }

    [Fact]
    public void Blacklist_ChangesTheMagicForThatDriverOnly()
    {
        var board = new TestBoard();
        var unplug = new Recorder();
        var chip = new XenPlatformDevice(board.Hypervisor, unplug, board, new OneDriver());
        board.Pci.Add(chip, 2);
        chip.Reset(ResetKind.Cold);
        board.Out16(0x12, 3);
        board.Out32(0x10, 0xffff_fffe);
        Assert.Equal(0xd249, board.In16(0x10));
        Assert.Equal("xen-platform: driver product 3 (linux) build 4294967294 is on the blacklist", Assert.Single(board.Log));
        board.Out32(0x10, 7);
        Assert.Equal(0x49d2, board.In16(0x10));
        board.Out16(0x12, 77);
        board.Out32(0x10, 0xffff_fffe);
        Assert.Equal(0x49d2, board.In16(0x10));
        board.Out16(0x12, 3);
        board.Out32(0x10, 0xffff_fffe);
        chip.Reset(ResetKind.Warm);
        Assert.Equal(0x49d2, board.In16(0x10));
    }

    [Theory]
    [InlineData(4, "auxiliary")]
    [InlineData(5, "disks")]
    [InlineData(2, "nics")]
    [InlineData(8, "disks,nvme")]
    [InlineData(12, "auxiliary,nvme")]
    [InlineData(0xfff0, "")]
    public void UnplugMasks(int mask, string calls)
    {
        var (board, _, unplug) = Make();
        board.Out16(0x10, mask);
        Assert.Equal(calls, string.Join(',', unplug.Calls));
    }

    [Fact]
    public void Bar0_OlderProtocol()
    {
        var (board, _, unplug) = Make();
        board.ConfigWrite(2, 0, 0x10, 4, 0xc000);
        board.Out8(0xc004, 1);
        board.Out8(0xc008, 1);
        board.Out8(0xc008, 2);
        Assert.Equal(["disks", "nics", "disks", "nics"], unplug.Calls);
        Assert.Equal(0xff, board.In8(0xc004));
        Assert.Equal(0, board.In8(0xc000));
    }

    [Fact]
    public void RomLock_AndResetUnlocks()
    {
        var (board, chip, _) = Make();
        board.Out8(0x10, 1);
        Assert.Equal(1, board.In8(0x10));
        Assert.Equal((0xc0ul, 0x40u, MemoryKind.RamReadOnly), board.Hypervisor.MemoryKinds[^1]);
        chip.Reset(ResetKind.Warm);
        Assert.Equal((0xc0ul, 0x40u, MemoryKind.Ram), board.Hypervisor.MemoryKinds[^1]);
        Assert.Equal(0, board.In8(0x10));
    }

    [Fact]
    public void LogPort_CollectsLines()
    {
        var (board, _, _) = Make();
        foreach (var c in "hello\x01\r\nnext\n\n") board.Out8(0x12, c);
        Assert.Equal(["xen-platform: hello?", "xen-platform: next"], board.Log);
        board.Log.Clear();
        for (var i = 0; i < 5000; i++) board.Out8(0x12, 'x');
        Assert.Equal(4096, Assert.Single(board.Log).Length - "xen-platform: ".Length);
    }

    [Fact]
    public void OtherAccesses_ReadOnes()
    {
        var (board, _, _) = Make();
        Assert.Equal(uint.MaxValue, board.In32(0x10));
        Assert.Equal(0xffff, board.In16(0x12));
        Assert.Equal(0xff, board.In8(0x1f));
    }

    [Fact]
    public void RandomAccesses_AreHarmless()
    {
        var (board, chip, unplug) = Make();
        ChipFuzz.Run(board, [chip], 20_000, 21, _ => unplug.Calls.Clear());
    }
}
