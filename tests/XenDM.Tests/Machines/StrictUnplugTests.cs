using System;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Machines;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;

namespace XenDM.Tests.Machines;

/// <summary>What the board learns of PV drivers from xenstore: the blacklist, and which disks they use.</summary>
public sealed class StrictUnplugTests : IDisposable
{
    private readonly TestBoard _host = new();
    private readonly FakeXen _xen;
    private XenBus? _bus;

    public StrictUnplugTests() => _xen = new FakeXen(_host.Loop);

    public void Dispose() => _bus?.Dispose();

    private sealed class Kind(IBlockBackend image) : IPvKind, IPvDisk
    {
        public string Name => "qdisk";

        public Action<string>? Broken { get; set; }

        public IBlockBackend Image => image;

        public IPvDevice Create(string id, StoreFolder back) => this;

        public void Offer(StoreFolder back)
        {
        }

        public void Connect(StoreFolder front, StoreFolder back)
        {
        }

        public void Disconnect()
        {
        }

        public void Drain()
        {
        }

        public void Dispose()
        {
        }
    }

    [Fact]
    public void OnlyTheDiskWithTheSameImageIsTakenAndOnlyWhileItsTwinIsConnected()
    {
        using var image = new FakeDisk(_host.Loop, 4096) { FileName = "/images/a" };
        PvTwin Twin(string file) => new(new Drive { Spec = new DriveSpec("disk0", "", file, "raw", false, false, 0, 0, true, "") }, () => _bus);
        var (same, other) = (Twin("/images/a"), Twin("/images/b"));
        Assert.False(same.IsConnected());
        var (front, _) = _xen.AddDevice("vbd", "qdisk", 768);
        _bus = new XenBus(_xen.Ports, FakeXen.Guest, 0, [new Kind(image)], _host.Loop, _host);
        Settle();
        Assert.False(same.IsConnected());
        _xen.Store.Write($"{front}/state", "4");
        Settle();
        Assert.True(same.IsConnected());
        Assert.False(other.IsConnected());
        _xen.Store.Write($"{front}/state", "6");
        Settle();
        Assert.False(same.IsConnected());
    }

    [Fact]
    public void ABlacklistedDriverFindsTheOtherMagic()
    {
        _xen.Store.Write("/mh/driver-blacklist/linux/300", "");
        var options = new BoardOptions(true, true, 1, 1, [], "cda", null) { Blacklist = new DriverBlacklist(() => _xen.Store, _host) };
        var board = new Board(options, _host.Hypervisor, _host.Clock, _host, _host, _host);
        board.Ports.Write(0x12, 2, 3);
        board.Ports.Write(0x10, 4, 300);
        Assert.Equal(0xd249ul, board.Ports.Read(0x10, 2));
        board.Ports.Write(0x10, 4, 301);
        Assert.Equal(0x49d2ul, board.Ports.Read(0x10, 2));
        Assert.False(new DriverBlacklist(static () => null, _host).Contains("linux", 300));
    }

    [Theory]
    [InlineData("on", true)]
    [InlineData("off", false)]
    public void TheGlobalIsOnOrOff(string value, bool strict)
    {
        var options = new QemuOptions();
        Assert.False(options.IsUnplugStrict);
        options.Globals[QemuOptions.StrictUnplugGlobal] = value;
        Assert.Equal(strict, options.IsUnplugStrict);
        options.Globals[QemuOptions.StrictUnplugGlobal] = "maybe";
        Assert.Throws<UsageException>(() => options.IsUnplugStrict);
    }

    private void Settle()
    {
        for (var i = 0; i < 10; i++) _host.Loop.RunPosted();
    }
}
