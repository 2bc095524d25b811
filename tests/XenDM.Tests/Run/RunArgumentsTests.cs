using System;
using System.IO;
using System.Linq;
using XenDM.Backends.Net;
using XenDM.CommandLine;
using XenDM.Cpu;
using XenDM.Machines;
using XenDM.Run;

namespace XenDM.Tests.Run;

public sealed class RunArgumentsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;
    private readonly string _disk;

    public RunArgumentsTests()
    {
        _disk = Path.Combine(_folder, "disk,1.img");
        File.WriteAllBytes(_disk, new byte[1 << 16]);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void WhatIsGivenArrives()
    {
        var options = Parse("--firmware", _disk, "--memory", "2G", "--cpus", "4", "--cpu", "i686", "--clock", "icount", "--seed", "7", "--boot", "dc,menu", "--serial", "null", "--serial", $"unix:{_folder}/s",
            "--no-reboot", "--hash", "--vga", "none");
        Assert.Equal((2048, 4, CpuModel.I686, true, 7), (options.MemoryMiB, options.Cpus, options.Cpu, options.Icount, options.Seed));
        Assert.Equal(("dc", true, true, true, false), (options.BootOrder, options.BootMenu, options.NoReboot, options.Hash, options.Vga is not null));
        Assert.Equal(["null", $"unix:{_folder}/s,server,nowait"], options.Serials);
        var board = options.Board();
        Catalogue.Check(board, displays: true);
        Assert.Equal((2048, 4, "dc"), (board.MemoryMiB, board.Cpus, board.BootOrder));
    }

    [Fact]
    public void PagesHaveSocketsOfTheirOwnBesideTheUsers()
    {
        Assert.Null(Parse("--firmware", _disk).Web);
        Assert.Equal("", Parse("--firmware", _disk, "--web").Web);
        Assert.Equal("127.0.0.1:8080", Parse("--firmware", _disk, "--web", "127.0.0.1:8080").Web);
        var board = (Parse("--firmware", _disk, "--web", "--qmp", $"{_folder}/q") with { WebFolder = "/run/a,b" }).Board();
        Assert.Equal([$"{_folder}/q", "/run/a,b/qmp"], board.Chardevs.Select(static c => c.Require("path")));
        Assert.All(board.Monitors, static m => Assert.Equal("control", m.Require("mode")));
        Assert.Equal("unix:/run/a,,b/vnc", board.Vnc);
        Assert.Equal("unix:/mine", (Parse("--firmware", _disk, "--web", "--vnc", "unix:/mine") with { WebFolder = "/run/x" }).Board().Vnc);
    }

    [Fact]
    public void CablesLeadWhereTheyAreAskedTo()
    {
        var options = Parse("--firmware", _disk, "--net", "user,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53,pcap=/tmp/a,b.pcap,model=rtl8139", "--net", "tap=tap7,mac=00:16:3e:00:00:01,pv,model=none", "--net", $"socket=unix:{_folder}/s");
        var board = options.Board();
        var netdevs = NetdevOptions.FromOptions(board);
        Assert.Equal(2, Assert.IsType<UserNetdev>(netdevs[0]).Forwards.Count);
        Assert.Equal("tap7", Assert.IsType<TapNetdev>(netdevs[1]).Interface);
        Assert.Equal((NetSocketKind.Listen, $"{_folder}/s"), (Assert.IsType<SocketNetdev>(netdevs[2]).Kind, ((SocketNetdev)netdevs[2]).Path));
        Assert.Equal([new DumpSpec("net0-pcap", "net0", "/tmp/a,b.pcap")], NetdevOptions.Dumps(board, netdevs));
        Assert.Equal([("rtl8139", "net0", "52:54:00:12:34:56"), ("e1000", "net2", "52:54:00:12:34:58")], NicSpec.FromOptions(board).Select(static n => (n.Model, n.NetdevId, n.Mac.ToString())));
        Assert.Equal([(false, true), (true, false), (false, true)], options.Nets.Select(static n => (n.IsPv, n.Nic is not null)));
        Assert.Empty(Parse("--firmware", _disk, "--net", "none").Nets);
        Assert.Empty(Parse("--firmware", _disk).Nets);
    }

    [Theory]
    [InlineData("vde", "vde")]
    [InlineData("user,model=ne2k", "ne2k")]
    [InlineData("user,model=none", "model=none")]
    [InlineData("user,mac=zz", "mac")]
    [InlineData("user,nonsense=1", "nonsense")]
    [InlineData("user,hostfwd=tcp::22", "hostfwd")]
    [InlineData("user,pcap=", "pcap")]
    [InlineData("socket=nowhere", "socket")]
    [InlineData("socket=listen:1", "HOST:PORT")]
    public void WrongCablesAreNamed(string net, string named)
    {
        var e = Assert.Throws<UsageException>(() => Parse("--firmware", _disk, "--net", net));
        Assert.StartsWith("--net: ", e.Message, StringComparison.Ordinal);
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void NothingGivenIsAMachineWithItsSerialLineHere()
    {
        var options = Parse("--firmware", _disk);
        Assert.Equal((512, 1, CpuModel.V3, false, false, false), (options.MemoryMiB, options.Cpus, options.Cpu, options.Icount, options.NoReboot, options.Hash));
        Assert.Equal(["stdio"], options.Serials);
        Assert.Empty(options.Drives);
        Assert.Null(options.Gdb);
    }

    [Fact]
    public void FurtherConsoles_AreDevices()
    {
        var options = Parse("--firmware", _disk, "--console", "none", "--console", "null", "--console", "none", "--console", "stdio");
        Assert.Null(options.Console);
        Assert.Equal(["null", "none", "stdio"], options.MoreConsoles);
        Assert.Equal("null", options.Serials[0]);
        Assert.Empty(Parse("--firmware", _disk, "--console", "pty").MoreConsoles);
    }

    [Fact]
    public void TheTerminalGoesToThePvConsoleWhereItIsAskedFor()
    {
        var options = Parse("--firmware", _disk, "--console", "stdio");
        Assert.Equal((true, "stdio", "null"), (options.HasXen, options.Console, options.Serials[0]));
        Assert.False(Parse("--firmware", _disk, "--no-xen").HasXen);
        Assert.Equal((true, false), (Parse("--firmware", _disk, "--hvm-fep").ForcesEmulation, options.ForcesEmulation));
    }

    /// <summary>The CD is the second channel's master, as BIOSes and people expect; commas of file names are doubled.</summary>
    [Fact]
    public void DisksGoRoundTheCd()
    {
        var disk = _disk.Replace(",", ",,", StringComparison.Ordinal);
        var options = Parse("--firmware", _disk, "--disk", disk, "--disk", disk + ",snapshot", "--disk", $"file={disk},readonly", "--cdrom", _disk);
        Assert.Equal([(0, 0, false), (0, 1, false), (1, 0, true), (1, 1, false)], options.Drives.Select(d => (d.Channel, d.Unit, d.IsCdrom)));
        Assert.Equal([false, true, false, false], options.Drives.Select(d => d.IsSnapshot));
        Assert.Equal([false, false, true, true], options.Drives.Select(d => d.ReadOnly));
        Assert.All(options.Drives, d => Assert.Equal(_disk, d.File));
    }

    [Theory]
    [InlineData("--memory 1x", "--memory", "512M")]
    [InlineData("--memory 30000000000G", "--memory", "no size")]
    [InlineData("--memory 1K", "--memory", "whole number")]
    [InlineData("--memory 2", "--memory", "between")]
    [InlineData("--cpus 33", "--cpus", "32")]
    [InlineData("--cpu z80", "--cpu", "v3")]
    [InlineData("--disk /missing", "--disk", "not there")]
    [InlineData("--disk /tmp", "--disk", "folder")]
    [InlineData("--disk DISK,format=qcow2", "--disk", "qcow2")]
    [InlineData("--disk DISK,colour=red", "--disk", "colour")]
    [InlineData("--disk DISK,readonly,snapshot", "--disk", "exclude")]
    [InlineData("--disk DISK,strict", "--disk", "needs pv")]
    [InlineData("--disk DISK --disk DISK", "--disk", "twice")]
    [InlineData("--initrd DISK", "--initrd", "--kernel")]
    [InlineData("--append quiet", "--append", "--kernel")]
    [InlineData("--demo --kernel DISK", "--demo", "leave out")]
    [InlineData("--boot cc", "--boot", "twice")]
    [InlineData("--boot x", "--boot", "no boot device")]
    [InlineData("--serial carrier-pigeon", "--serial", "pty")]
    [InlineData("--serial stdio --serial stdio", "--serial", "taken")]
    [InlineData("--monitor stdio", "--monitor", "taken")]
    [InlineData("--console carrier-pigeon", "--console", "pty")]
    [InlineData("--console stdio --serial stdio", "--serial", "taken")]
    [InlineData("--console stdio --no-xen", "--console", "hides")]
    [InlineData("--hvm-fep --no-xen", "--hvm-fep", "hides")]
    [InlineData("--console stdio --console stdio", "--console", "taken")]
    [InlineData("--console null --console telepathy", "--console", "pty")]
    [InlineData("--console null --console null --console null --console null --console null --console null --console null --console null --console null", "--console", "8")]
    [InlineData("--display sdl", "--display", "text")]
    [InlineData("--display text --vga none", "--vga", "screen")]
    [InlineData("--seed 1", "--seed", "icount")]
    [InlineData("--clock sundial", "--clock", "icount")]
    [InlineData("--qmp /missing/folder/socket", "--qmp", "no folder")]
    [InlineData("--gdb 99999", "--gdb", "65535")]
    [InlineData("--memory", "--memory", "must follow")]
    [InlineData("--no-reboot=yes", "yes", "not an option")]
    [InlineData("--memory 1G --memory 2G", "--memory", "more than once")]
    [InlineData("--warp 9", "--warp", "--help")]
    [InlineData("disk.img", "disk.img", "--disk")]
    public void MistakesAreNamedWithWhatToDo(string line, string named, string hint)
    {
        var words = line.Replace("DISK", _disk.Replace(",", ",,", StringComparison.Ordinal), StringComparison.Ordinal).Split(' ');
        var message = Assert.Throws<UsageException>(() => Parse(["--firmware", _disk, .. words])).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains(hint, message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheHelpTextHasEveryOption()
    {
        Assert.Null(RunArguments.Parse(["--help"]));
        foreach (var option in RunArguments.All) Assert.Contains(option.Name, RunCommand.Help, StringComparison.Ordinal);
    }

    private static RunOptions Parse(params string[] arguments) => RunArguments.Parse(arguments)!;
}
