using System;
using System.IO;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Machines;
using XenDM.Testing;

namespace XenDM.Tests.Machines;

public class BoardTests
{
    private readonly TestBoard _host = new();

    [Fact]
    public void FunctionsAreWhereGuestsExpectThem()
    {
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null));
        Assert.Equal(0x1237_8086u, Config(board, 0, 0));
        Assert.Equal(0x7000_8086u, Config(board, 1, 0));
        Assert.Equal(0x7010_8086u, Config(board, 1, 1));
        Assert.Equal(0x7113_8086u, Config(board, 1, 3));
        Assert.Equal(0x0001_5853u, Config(board, 2, 0));
        Assert.Equal(uint.MaxValue, Config(board, 3, 0));
    }

    [Fact]
    public void WithoutPlatformAndAcpi()
    {
        var board = Make(new BoardOptions(false, false, 1, 1, [], "cda", null));
        Assert.Equal(uint.MaxValue, Config(board, 2, 0));
        Assert.Equal(uint.MaxValue, Config(board, 1, 3));
    }

    /// <summary>hvmloader stops unless SCI_EN reads 1 at 0xb004 after it programmed the power management function (xen/tools/firmware/hvmloader).</summary>
    [Fact]
    public void HvmloaderEnablesAcpi()
    {
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null));
        board.Pci.Write((0x0bul << 16) | 0x40, 4, 0xb001);
        board.Pci.Write((0x0bul << 16) | 0x80, 1, 1);
        board.Pci.Write((0x0bul << 16) | 0x04, 2, 1);
        board.Ports.Write(0xb2, 1, 0xf1);
        Assert.Equal(1ul, board.Ports.Read(0xb004, 2) & 1);
    }

    [Fact]
    public void AnnouncedRangesStayFarBelowTheLimitOfAnIoreqServer()
    {
        var board = Make(new BoardOptions(true, true, 1, 128, [new FakeSerial(), new FakeSerial(), new FakeSerial(), new FakeSerial()], "cda", null));
        board.Announce();
        Assert.InRange(_host.Hypervisor.Ranges.Count, 10, 100);
        Assert.Equal(5, _host.Hypervisor.PciFunctions.Count);
    }

    [Fact]
    public void ASavedMachineIsRestoredToTheByteAndADamagedOneNamesItsDevice()
    {
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null));
        board.Ports.Write(0x70, 1, 0x30);
        board.Ports.Write(0x71, 1, 0x55);
        var saved = Save(board);
        var other = new TestBoard();
        var restored = new Board(new BoardOptions(true, true, 1, 1, [], "cda", null), other.Hypervisor, other.Clock, other, other, other);
        restored.Ide.AttachDisk(0, 0, "disk0", new FakeDisk(other.Loop, 1 << 20), "S", writeCache: true);
        restored.Reset(ResetKind.Cold);
        StateReader.Load(restored.Devices, saved);
        Assert.Equal(saved, Save(restored));
        var less = new Board(new BoardOptions(false, true, 1, 1, [], "cda", null), other.Hypervisor, other.Clock, other, other, other);
        Assert.Contains("xen-platform", Assert.Throws<StateException>(() => StateReader.Load(less.Devices, saved)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void UnplugRemovesDisksThroughThePlatformPorts()
    {
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null));
        Assert.Equal(0x49d2ul, board.Ports.Read(0x10, 2));
        board.Ports.Write(0x10, 2, 1);
        Assert.Empty(board.Ide.Drives);
    }

    [Fact]
    public void PvDevicesTakeTheirSlotsInTheOrderOfTheCommandLine()
    {
        var options = new QemuOptions();
        foreach (var text in new[] { "xen-pvdevice,device-id=0xc000", "e1000,rombar=0", "xen-pvdevice,device-id=2,vendor-id=0x5854,revision=3,size=65536", "rtl8139,rombar=0" })
            options.Devices.Add(OptionList.Parse("-device", text, "driver"));
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null) { Nics = NicSpec.FromOptions(options), PvDevices = PvDeviceSpec.FromOptions(options) });
        Assert.Equal(0xc000_5853u, Config(board, 3, 0));
        Assert.Equal(0x100e_8086u, Config(board, 4, 0));
        Assert.Equal(0x0002_5854u, Config(board, 5, 0));
        Assert.Equal(0x8139_10ecu, Config(board, 6, 0));
    }

    [Theory]
    [InlineData("xen-pvdevice", "device-id")]
    [InlineData("xen-pvdevice,device-id=1,size=5000", "power of two")]
    [InlineData("xen-pvdevice,device-id=0x10000", "device-id")]
    [InlineData("xen-pvdevice,device-id=1,x=1", "'x'")]
    public void PvDevicesThatMakeNoSenseAreRefused(string text, string says)
    {
        var options = new QemuOptions();
        options.Devices.Add(OptionList.Parse("-device", text, "driver"));
        Assert.Contains(says, Assert.Throws<UsageException>(() => PvDeviceSpec.FromOptions(options)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NicsTakeTheFirstFreeSlotsAndUnplugTakesThemAway()
    {
        NicSpec[] nics =
        [
            new(NicSpec.E1000, "first", "", NicSpec.DefaultMac(0)) { RomFile = "" },
            new(NicSpec.E1000, "", "", NicSpec.DefaultMac(1)) { RomFile = "", Slot = 7, BootIndex = 1 },
            new(NicSpec.E1000, "", "", NicSpec.DefaultMac(2)) { RomFile = "", BootIndex = 0 },
        ];
        var board = Make(new BoardOptions(true, true, 1, 1, [], "cda", null) { Nics = nics });
        foreach (var slot in (int[])[3, 7, 4]) Assert.Equal(0x100e_8086u, Config(board, slot, 0));
        Assert.Equal([4, 7, 3], board.NicBootOrder());
        Assert.Equal(["first", "e1000-1", "e1000-2"], [board.Nics[0].Id, board.Nics[1].Id, board.Nics[2].Id]);
        board.Ports.Write(0x10, 2, 2);
        foreach (var slot in (int[])[3, 7, 4]) Assert.Equal(uint.MaxValue, Config(board, slot, 0));
        nics[2] = nics[2] with { Slot = 7 };
        Assert.Contains("slot 7 is taken", Assert.Throws<UsageException>(() => Make(new BoardOptions(true, true, 1, 1, [], "cda", null) { Nics = nics })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AnUnpluggedNicLetsGoOfItsCableUntilTheMachineStartsAnew()
    {
        var net = new FakeNet();
        foreach (var model in NicSpec.Models)
        {
            var board = Make(WithNic(net, model));
            Assert.Same(board.Nics[0], net.Frontend);
            board.Ports.Write(0x12, 2, 3);
            board.Ports.Write(0x10, 4, 9);
            board.Ports.Write(0x10, 2, 2);
            Assert.Null(net.Frontend);
            Assert.Contains("nic0: unplugged by driver product 3 (linux) build 9", _host.Log);
            board.Replug();
            Assert.Same(board.Nics[0], net.Frontend);
            Assert.NotEqual(uint.MaxValue, Config(board, 3, 0));
        }
    }

    [Fact]
    public void AnUnplugLeavesTheCableToThePvDeviceThatHasIt()
    {
        var net = new FakeNet();
        var board = Make(WithNic(net, NicSpec.E1000));
        var pv = Make(WithNic(new FakeNet(), NicSpec.E1000)).Nics[0];
        net.Attach((INetFrontend)pv);
        board.Ports.Write(0x10, 2, 2);
        Assert.Same(pv, net.Frontend);
    }

    [Fact]
    public void AMachineSavedAfterAnUnplugIsRestoredWithoutItsDevices()
    {
        using var drives = new DriveTable([], _host.Loop, _host);
        Machine Start(FakeNet net)
        {
            var machine = new Machine(_host.Hypervisor, new XenDM.Core.Time.VmClock(static () => 0), static _ => { }, _host);
            machine.Install(Make(WithNic(net, NicSpec.E1000)), drives);
            return machine;
        }

        var before = Start(new FakeNet());
        before.Board.Ports.Write(0x10, 2, 3);
        using var file = new MemoryStream();
        before.Save(file);
        var net = new FakeNet();
        var after = Start(net);
        after.Load(file.ToArray());
        Assert.Empty(after.Board.Ide.Drives);
        Assert.Equal(uint.MaxValue, Config(after.Board, 3, 0));
        Assert.NotEqual(uint.MaxValue, Config(after.Board, 2, 0));
        Assert.Null(net.Frontend);
        using var again = new MemoryStream();
        after.Save(again);
        Assert.Equal(file.ToArray(), again.ToArray());
    }

    private static BoardOptions WithNic(FakeNet net, string model) => new(true, true, 1, 1, [], "cda", null)
    {
        Nics = [new NicSpec(model, "nic0", "net0", NicSpec.DefaultMac(0)) { RomFile = "" }],
        FindNet = id => id == "net0" ? net : null,
    };

    [Fact]
    public void ABootRomThatIsNotThereIsNamed()
    {
        var nic = new NicSpec(NicSpec.E1000, "", "", NicSpec.DefaultMac(0)) { RomFile = "/nowhere/nic.rom" };
        Assert.Contains("'/nowhere/nic.rom' cannot be read", Assert.Throws<UsageException>(() => NicRom.Check(nic)).Message, StringComparison.Ordinal);
        NicRom.Check(nic with { RomFile = "" });
        Assert.Empty(NicRom.Read(nic with { RomFile = "" }, _host));
    }

    private Board Make(BoardOptions options)
    {
        var board = new Board(options, _host.Hypervisor, _host.Clock, _host, _host, _host);
        board.Ide.AttachDisk(0, 0, "disk0", new FakeDisk(_host.Loop, 1 << 20), "S", writeCache: true);
        board.Reset(ResetKind.Cold);
        return board;
    }

    private static uint Config(Board board, int device, int function) => (uint)board.Pci.Read((ulong)((device << 3) | function) << 16, 4);

    private static byte[] Save(Board board)
    {
        using var stream = new MemoryStream();
        StateWriter.Save(board.Devices, stream);
        return stream.ToArray();
    }
}
