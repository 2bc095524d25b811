using System;
using System.Globalization;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.Tests.Block;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests.XenBus;

/// <summary>The life of devices in xenstore, seen from the front end and from the toolstack.</summary>
public sealed class XenBusTests : IDisposable
{
    private const int Id = 51712;
    private const byte Read = BlockFrontRing.Read, Write = BlockFrontRing.Write;

    private readonly PvMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    private FakeStore Store => _machine.Xen.Store;

    private string Back(string name) => $"/local/domain/0/backend/qdisk/{FakeXen.Guest}/{Id}/{name}";

    [Fact]
    public void ADeviceConnectsAndCloses()
    {
        var (disk, front) = _machine.AddDisk(FrontPatterns.Get("linux"));
        Assert.Empty(_machine.Bus.Devices);
        _machine.Pump();
        var device = Assert.Single(_machine.Bus.Devices);
        Assert.Equal(("qdisk", "51712", "qdisk-51712", "xvda"), (device.Kind, device.Id, device.Name, device.VirtualName));
        Assert.Same(disk, ((IPvDisk)device.Device!).Image);
        Assert.False(device.IsConnected);
        Assert.True(front.Connect());
        Assert.True(device.IsConnected);
        Assert.Equal(0, front.Ring.Transfer(Write, 0, new byte[4096]));
        front.SetState(5);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.False(device.IsConnected);
        _machine.AssertLetGo();
        front.SetState(6);
        _machine.Pump();
        Assert.Equal(6, front.BackState);

        // The toolstack did not take it away: it stays, for the next driver.
        Assert.Single(_machine.Bus.Devices);
        Assert.Equal("1", Store.Read(Back("online")));
    }

    [Theory]
    [InlineData("linux", "gplpv-64")]
    [InlineData("gplpv-32", "linux")]
    [InlineData("xenvbd-64", "xenvbd-64")]
    public void DriversAreReloaded(string first, string second)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(first));
        var data = new byte[20_480];
        for (var round = 1; round <= 10; round++)
        {
            data.AsSpan().Fill((byte)round);
            Assert.Equal(0, front.Ring.Transfer(Write, 8, data));
            Assert.Equal(round, disk.Data[4096]);
            front.Close();
            _machine.AssertLetGo();
            Assert.Equal(6, front.BackState);

            // Another driver says what it uses, and what the first one said is gone.
            foreach (var name in (string[])["ring-page-order", "multi-queue-num-queues", "feature-persistent", "ring-ref", "event-channel", "queue-0", "queue-1", "queue-2", "queue-3"]) front.RemoveFront(name);
            front = new BlockFront(_machine.Xen, $"/local/domain/5/device/vbd/{Id}", $"/local/domain/0/backend/qdisk/5/{Id}", FrontPatterns.Get(round % 2 == 1 ? second : first), _machine.Pump);
            front.SetState(1);
            Assert.True(front.Connect(), $"round {round}: {string.Join('\n', _machine.Log)}");
            var back = new byte[data.Length];
            Assert.Equal(0, front.Ring.Transfer(Read, 8, back));
            Assert.Equal(data, back);
        }
    }

    [Fact]
    public void AKernelThatIsReplacedBeginsAnewFromConnected()
    {
        // A crash kernel finds the device connected, and either resets it step by step or writes 1 at once.
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        front.SetState(5);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        front.SetState(6);
        _machine.Pump();
        Assert.Equal(6, front.BackState);
        front.SetState(1);
        _machine.Pump();
        Assert.Equal(2, front.BackState);
        Assert.True(front.Connect());
        Assert.Equal(0, front.Ring.Transfer(Write, 0, new byte[512]));

        var mapped = _machine.Xen.Grants.Mapped;
        front.SetState(1);
        _machine.Pump();
        Assert.Equal(2, front.BackState);
        _machine.AssertLetGo();
        Assert.True(front.Connect());
        Assert.InRange(_machine.Xen.Grants.Mapped, 1, mapped);
    }

    [Fact]
    public void StatesThatComeTogetherAreSeenAsTheLast()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        foreach (var state in (int[])[5, 6, 1]) front.SetState(state);
        _machine.Pump();
        Assert.Equal(2, front.BackState);
        _machine.AssertLetGo();
        Assert.True(front.Connect());
        front.SetState(5);
        front.SetState(6);
        _machine.Pump();
        Assert.Equal(6, front.BackState);
        _machine.AssertLetGo();
    }

    [Fact]
    public void TheToolstackTakesADeviceAway()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        Detach();
        _machine.Pump();

        // The guest still uses it; then it lets go.
        Assert.Equal(5, front.BackState);
        Assert.Equal(0, front.Ring.Transfer(Write, 0, new byte[512]));
        front.SetState(5);
        _machine.Pump();
        _machine.AssertLetGo();
        Assert.Equal(5, front.BackState);
        front.SetState(6);
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
        Assert.Equal(1, Store.Watches);

        // The node is the toolstack's to remove, and what a front end says meanwhile brings nothing back.
        Assert.Equal(6, front.BackState);
        front.SetState(1);
        _machine.Pump();
        Assert.Equal(6, front.BackState);
        Store.Remove($"/local/domain/0/backend/qdisk/5/{Id}");
        Store.Remove($"/local/domain/5/device/vbd/{Id}");
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ADeviceWithoutADriverIsTakenAwayAtOnce(bool hasImage)
    {
        if (hasImage) _machine.AddFile("/images/1");
        _machine.AddDevice(Id, "aio:/images/1");
        _machine.Pump();
        Assert.Single(_machine.Bus.Devices);
        Detach();
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
        Assert.Equal("6", Store.Read(Back("state")));
        Assert.Null(_machine.ErrorOf(Id));
    }

    [Fact]
    public void ADeviceThatIsTakenAwayByForceIsGone()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        Store.Remove($"/local/domain/0/backend/qdisk/5/{Id}");
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
        _machine.AssertLetGo();
        Assert.Equal(0, front.BackState);

        // The same number again, later.
        Store.Remove($"/local/domain/5/device/vbd/{Id}");
        (_, front) = _machine.Connect(FrontPatterns.Get("gplpv-64"));
        Assert.Equal(0, front.Ring.Do(BlockFrontRing.Flush));
    }

    [Fact]
    public void AGuestThatIsDestroyedIsLetGoOf()
    {
        _machine.Connect(FrontPatterns.Get("linux"));
        _machine.Connect(FrontPatterns.Get("gplpv-64"), id: 51728);
        Store.Remove("/local/domain/5");
        _machine.Pump();
        _machine.AssertLetGo();
        Store.Remove("/local/domain/0/backend/qdisk/5");
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
        Assert.Equal(1, Store.Watches);
    }

    [Fact]
    public void ADriverThatVanishesIsClosed()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        Store.Remove($"/local/domain/5/device/vbd/{Id}");
        _machine.Pump();
        Assert.Equal(6, front.BackState);
        _machine.AssertLetGo();
        front.SetState(1);
        Assert.True(front.Connect());
    }

    [Fact]
    public void ADriverThatIsUnloadedBeforeItConnectedIsClosed()
    {
        _machine.AddDevice(Id, "aio:/missing");
        var front = new BlockFront(_machine.Xen, $"/local/domain/5/device/vbd/{Id}", $"/local/domain/0/backend/qdisk/5/{Id}", FrontPatterns.Get("linux"), _machine.Pump);
        _machine.Pump();
        Assert.Equal(1, front.BackState);
        front.SetState(5);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        front.SetState(6);
        _machine.Pump();
        Assert.Equal(6, front.BackState);
    }

    [Theory]
    [InlineData("aio:/missing", "cannot open image '/missing': no such file")]
    [InlineData("aio:", "params is 'aio:': FORMAT:FILE is expected")]
    [InlineData("", "params is '': FORMAT:FILE is expected")]
    [InlineData("/images/1", "params is '/images/1': FORMAT:FILE is expected")]
    [InlineData(":/images/1", "params is ':/images/1': FORMAT:FILE is expected")]
    public void WhatCannotBeServedIsSaid(string parameters, string text)
    {
        _machine.AddFile("/images/1");
        _machine.AddDevice(Id, parameters);
        _machine.Pump();
        Assert.Equal("1", Store.Read(Back("state")));
        Assert.Equal($"22 {text}", _machine.ErrorOf(Id));
        Assert.Contains($"warn qdisk-51712: {text}", _machine.Log);
        Assert.Single(_machine.Log);
    }

    [Fact]
    public void FormatsAreNamedAsElsewhere()
    {
        _machine.AddFile("/a:b");
        var number = 0;
        foreach (var format in (string[])["aio", "vhd", "qcow2", "raw"]) _machine.AddDevice(++number, $"{format}:/a:b");
        _machine.Pump();
        Assert.Equal(["raw", "vpc", "qcow2", "raw"], _machine.Opened.ConvertAll(static o => o.Format));
        Assert.All(_machine.Opened, static o => Assert.Equal("/a:b", o.Path));
    }

    [Fact]
    public void DevicesThatWereThereBeforeAreFound()
    {
        using var machine = new PvMachine();
        machine.Bus.Dispose();
        machine.AddFile("/images/1");
        machine.AddDevice(1, "aio:/images/1");
        machine.AddDevice(2, "aio:/images/1");
        using var bus = new PvBus(machine.Xen.Ports, FakeXen.Guest, 0, [new BlockKind(new BlockHost(machine.Xen.Ports, FakeXen.Guest, machine, machine.Loop, machine))], machine.Loop, machine);
        machine.Pump();
        Assert.Equal(2, bus.Devices.Count);
        bus.Clear();
        Assert.Empty(bus.Devices);
        Assert.Equal("2", machine.Xen.Store.Read("/local/domain/0/backend/qdisk/5/1/state"));
    }

    [Fact]
    public void DevicesOfOthersAreNotTouched()
    {
        _machine.AddFile("/images/1");

        // A front end that belongs to another guest; one that is not finished; one that goes away already.
        Store.Write("/local/domain/0/backend/qdisk/5/1/frontend", "/local/domain/50/device/vbd/1");
        Store.Write("/local/domain/0/backend/qdisk/5/1/online", "1");
        Store.Write("/local/domain/0/backend/qdisk/5/1/state", "1");
        Store.Write("/local/domain/0/backend/qdisk/5/2/frontend", "/local/domain/5/device/vbd/2");
        Store.Write("/local/domain/0/backend/qdisk/5/2/online", "1");
        Store.Write("/local/domain/0/backend/qdisk/5/3/frontend", "/local/domain/5/device/vbd/3");
        Store.Write("/local/domain/0/backend/qdisk/5/3/online", "0");
        Store.Write("/local/domain/0/backend/qdisk/5/3/state", "5");
        Store.Write("/local/domain/0/backend/qdisk/50/1/frontend", "/local/domain/50/device/vbd/1");
        Store.Write("/local/domain/0/backend/qdisk/50/1/online", "1");
        Store.Write("/local/domain/0/backend/qdisk/50/1/state", "1");
        _machine.Pump();
        Assert.Empty(_machine.Bus.Devices);
        Store.Write("/local/domain/0/backend/qdisk/5/2/params", "aio:/images/1");
        Store.Write("/local/domain/5/device/vbd/2/state", "1");
        Store.Write("/local/domain/0/backend/qdisk/5/2/state", "1");
        _machine.Pump();
        Assert.Single(_machine.Bus.Devices);
        Assert.Equal("2", Store.Read("/local/domain/0/backend/qdisk/5/2/state"));
    }

    [Theory]
    [InlineData("ring-ref", null, "ring-ref is missing")]
    [InlineData("ring-ref", "", "ring-ref is ''")]
    [InlineData("ring-ref", "-1", "ring-ref is '-1'")]
    [InlineData("ring-ref", "4294967296", "ring-ref is '4294967296'")]
    [InlineData("ring-ref", "99999", "its ring cannot be mapped: grant 99999")]
    [InlineData("ring-ref", "0x10", "ring-ref is '0x10'")]
    [InlineData("ring-ref", "8\n\u001b[2Jgone", "ring-ref is '8??[2Jgone'")]
    [InlineData("event-channel", null, "event-channel is missing")]
    [InlineData("event-channel", "0", "event-channel is '0'")]
    [InlineData("event-channel", "77", "event channel 77 is not offered")]
    [InlineData("event-channel", "4294967295", "event-channel is '4294967295'")]
    [InlineData("ring-page-order", "5", "ring-page-order is '5'")]
    [InlineData("ring-page-order", "1", "ring-ref0 is missing")]
    [InlineData("ring-page-order", "18446744073709551616", "ring-page-order is '18446744073709551616'")]
    [InlineData("multi-queue-num-queues", "0", "multi-queue-num-queues is '0'")]
    [InlineData("multi-queue-num-queues", "5", "multi-queue-num-queues is '5'")]
    [InlineData("multi-queue-num-queues", "4", "ring-ref is missing")]
    public void AFrontEndThatSaysNonsenseIsTold(string name, string? value, string text)
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("gplpv-64"));
        _machine.Pump();
        front.MakeRings();
        front.WriteNodes();
        if (value is null) front.RemoveFront(name);
        else front.WriteFront(name, value);
        front.SetState(3);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        _machine.AssertLetGo();
        Assert.StartsWith($"22 {text}", _machine.ErrorOf(Id), StringComparison.Ordinal);
        Assert.Contains(_machine.Log, l => l.StartsWith($"guest qdisk-51712: {text}", StringComparison.Ordinal));

        // It closes, and the next attempt is a new one.
        front.SetState(6);
        _machine.Pump();
        Assert.Equal(6, front.BackState);
        front.RemoveFront("ring-page-order");
        front.RemoveFront("multi-queue-num-queues");
        front.SetState(1);
        Assert.True(front.Connect());
        Assert.Equal(0, front.Ring.Do(BlockFrontRing.Flush));
    }

    [Fact]
    public void ADriverThatStartsOverAfterAnErrorIsServed()
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("linux"));
        _machine.Pump();
        front.SetState(3);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        front.SetState(1);
        Assert.True(front.Connect());
    }

    [Fact]
    public void SecondQueueThatCannotBeMappedLeavesNothing()
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("linux"));
        _machine.Pump();
        front.MakeRings();
        front.WriteNodes();
        front.WriteFront("queue-2/ring-ref7", "123456");
        front.SetState(3);
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        _machine.AssertLetGo();
    }

    [Fact]
    public void RefusedNodesLeaveNothing()
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("linux"));
        Store.Refused[Back("hotplug-status")] = "EACCES";
        _machine.Pump();
        Assert.Equal(1, front.BackState);
        Assert.Contains(_machine.Log, static l => l.Contains("EACCES", StringComparison.Ordinal));
        Assert.InRange(_machine.Log.Count, 1, 3);
        Store.Refused.Clear();
        front.SetState(6);
        _machine.Pump();
        front.SetState(1);
        Assert.True(front.Connect());
    }

    [Fact]
    public void ADeviceThatCannotBeWatchedIsNotKept()
    {
        var plane = new ThreadPlane();
        _machine.Files["/images/1"] = _ => new PvImage(new FakeDisk(plane.Loop, 4096), plane, isOwned: true);
        Store.Refused[$"/local/domain/5/device/vbd/{Id}/state"] = "EACCES";
        Store.Write($"/local/domain/0/backend/qdisk/5/{Id}/params", "aio:/images/1");
        Store.Write(Back("frontend"), $"/local/domain/5/device/vbd/{Id}");
        Store.Write(Back("online"), "1");
        Store.Write(Back("state"), "1");
        _machine.Loop.RunPosted(1000);
        Assert.Empty(_machine.Bus.Devices);
        Assert.NotEmpty(_machine.Opened);
        Assert.True(plane.IsDisposed);
    }

    [Fact]
    public void ARingThatWasUsedByAnotherProcessGoesOn()
    {
        var (disk, front) = _machine.AddDisk(FrontPatterns.Get("gplpv-64"));
        _machine.Pump();
        front.MakeRings();
        front.WriteNodes();

        // As it stands after requests that somebody else served, across the end of 32 bits.
        foreach (var start in (uint[])[5, uint.MaxValue - 3])
        {
            front.Ring.ResponseProducer = start;
            front.Ring.RequestProducer = start;
            front.SetState(3);
            _machine.Pump();
            Assert.Equal(4, front.BackState);
            for (var n = 1U; n <= 8; n++)
            {
                var at = 64 + ((int)((start + n - 1) & 31) * 112);
                var slot = _machine.Xen.Grants.Page(front.Ring.Pages[0]).Slice(at, 112);
                slot.Clear();
                slot[0] = BlockFrontRing.Flush;
                slot[8] = (byte)n;
                front.Ring.RequestProducer = start + n;
                front.Ring.Kick();
                _machine.Pump();
                Assert.Equal(start + n, front.Ring.ResponseProducer);
                Assert.Equal(n, slot[0]);
            }

            front.SetState(1);
            _machine.Pump();
        }

        Assert.Equal(16, disk.Count);
    }

    [Fact]
    public void OneRingPageMayBeNamedBothWays()
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("gplpv-64"));
        _machine.Pump();
        front.WriteFront("ring-page-order", "0");
        Assert.True(front.Connect());
        front.Close();
        front.RemoveFront("ring-ref");
        front.MakeRings();
        front.SetState(1);
        _machine.Pump();
        front.WriteFront("ring-ref0", front.Ring.References[0].ToString(CultureInfo.InvariantCulture));
        front.WriteFront("event-channel", front.Ring.Port.ToString(CultureInfo.InvariantCulture));
        front.SetState(3);
        _machine.Pump();
        Assert.Equal(4, front.BackState);
    }

    [Fact]
    public void ABrokenRingEndsItsConnectionOnly()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux"));
        front.Rings[2].RequestProducer = 100_000;
        front.Rings[2].Kick();
        front.Rings[1].RequestProducer = 100_000;
        front.Rings[1].Kick();
        _machine.Pump();
        Assert.Equal(5, front.BackState);
        _machine.AssertLetGo();
        Assert.StartsWith("22 its ring has more requests than room", _machine.ErrorOf(Id), StringComparison.Ordinal);
        front.SetState(6);
        _machine.Pump();
        front.SetState(1);
        Assert.True(front.Connect());
        Assert.Equal(0, front.Ring.Transfer(Write, 0, new byte[512]));
        Assert.Equal(0, disk.Outside);
    }

    [Fact]
    public void ABrokenRingOfAnEarlierConnectionDoesNotEndThisOne()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("gplpv-64"));

        // The guest goes on to a new ring before the machine thread hears of the old one's end.
        front.SetState(1);
        front.Ring.RequestProducer = 100_000;
        front.Ring.Kick();
        Assert.True(front.Connect());
        Assert.Equal(4, front.BackState);
        Assert.Equal(0, front.Ring.Do(BlockFrontRing.Flush));
    }

    private void Detach() => Store.TryTransact(view =>
    {
        view.Write(Back("online"), "0");
        view.Write(Back("state"), "5");
    });
}
