using System;
using System.Buffers.Binary;
using System.Globalization;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Input;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests.Input;

/// <summary>The keyboard as Linux's xen-kbdfront uses it: a page with a ring of 51 events of 40 bytes from 1024 on, indices at 0 (read) and 4.</summary>
public sealed class KeyboardDeviceTests : IDisposable
{
    private readonly FakeLoop _loop = new();
    private readonly FakeXen _xen;
    private readonly KeyboardKind _kind;
    private readonly PvBus _bus;
    private readonly string _front, _back;
    private int _page;
    private uint _port;

    public KeyboardDeviceTests()
    {
        _xen = new FakeXen(_loop);
        _kind = new KeyboardKind(_xen.Ports, FakeXen.Guest);
        (_front, _back) = _xen.AddDevice("vkbd", "vkbd", 0);
        _bus = new PvBus(_xen.Ports, FakeXen.Guest, 0, [_kind], _loop, SilentLog.Instance);
        _loop.RunPosted(1000);
    }

    private KeyboardDevice Device => Assert.Single(_kind.Devices);

    private Span<byte> Page => _xen.Grants.Page(_page);

    [Fact]
    public void ItConnects_AndKeysArriveInOrder()
    {
        Assert.Equal("2", Read(_back, "state"));
        Assert.Equal("1", Read(_back, "feature-abs-pointer"));
        Device.Key(30, true); // nobody is there: lost
        Connect();
        Assert.Equal("4", Read(_back, "state"));
        Assert.False(Device.TakesPositions);
        var told = _xen.Events.Count(_port);
        Device.Key(30, true);
        Device.Key(0x110, false);
        Device.Move(-5, 7, 1);
        Assert.Equal(3u, Index(4));
        Assert.Equal(told + 3, _xen.Events.Count(_port));
        Assert.Equal((3, 1, 30), (Event(0)[0], Event(0)[1], Number(0, 4)));
        Assert.Equal((3, 0, 0x110), (Event(1)[0], Event(1)[1], Number(1, 4)));
        Assert.Equal((1, -5, 7, 1), (Event(2)[0], Number(2, 4), Number(2, 8), Number(2, 12)));
    }

    [Theory]
    [InlineData(true, KeyboardDevice.PositionRange, 100)]
    [InlineData(false, 1023, 2)]
    public void Positions_AreScaledToTheScreen_UnlessTheGuestScales(bool raw, int x, int y)
    {
        Connect(("request-abs-pointer", "1"), ("request-raw-pointer", raw ? "1" : "0"));
        Assert.True(Device.TakesPositions);
        Device.Screen = (1024, 768);
        Device.MoveTo(KeyboardDevice.PositionRange, 100, -1);
        Assert.Equal((4, x, y, -1), (Event(0)[0], Number(0, 4), Number(0, 8), Number(0, 12)));
    }

    [Fact]
    public void FullRing_LosesEvents_AndGoesOnWhereTheGuestReads()
    {
        Connect();
        for (var i = 0; i < 60; i++) Device.Key((uint)i, true);
        Assert.Equal(51u, Index(4));
        BinaryPrimitives.WriteUInt32LittleEndian(Page, 10);
        Device.Key(99, true);
        Assert.Equal(52u, Index(4));
        Assert.Equal(99, Number(51 % 51, 4));
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(0xffff_ffffu)]
    [InlineData(0x8000_0000u)]
    public void Indices_ThatMakeNoSense_TouchNothingElse(uint consumer)
    {
        Connect();
        var random = new Random(1);
        for (var i = 0; i < 2000; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(Page, i % 2 == 0 ? consumer : (uint)random.NextInt64(1L << 32));
            BinaryPrimitives.WriteUInt32LittleEndian(Page[4..], (uint)random.NextInt64(1L << 32));
            Device.Key(1, true);
        }

        Assert.True(Page[8..1024].IndexOfAnyExcept((byte)0) < 0);
        Assert.True(Page[(1024 + (51 * 40))..].IndexOfAnyExcept((byte)0) < 0);
    }

    [Fact]
    public void WhatCannotBeTaken_IsAnErrorNode_AndHoldsNothing()
    {
        Write("page-gref", "77");
        Write("event-channel", "3");
        Write("state", "3");
        _loop.RunPosted(1000);
        Assert.Contains("grant 77", _xen.Store.Read($"/local/domain/0/error/backend/vkbd/{FakeXen.Guest}/0/error"), StringComparison.Ordinal);
        Assert.Equal("5", Read(_back, "state"));
        Assert.Equal(0, _xen.Grants.Mapped);
        Assert.Equal(0, _xen.Events.Bound);
    }

    [Fact]
    public void ReloadedDriver_IsServedAgain_AndNothingIsHeldInBetween()
    {
        for (var round = 0; round < 3; round++)
        {
            Connect();
            Device.Key(1, true);
            Assert.Equal(1u, Index(4));
            foreach (var state in (string[])["5", "6"])
            {
                Write("state", state);
                _loop.RunPosted(1000);
                Assert.Equal(state, Read(_back, "state"));
            }

            Assert.Equal(0, _xen.Grants.Mapped);
            Assert.Equal(0, _xen.Events.Bound);
            Device.Key(1, true);
            Write("state", "1");
            _loop.RunPosted(1000);
            Assert.Equal("2", Read(_back, "state"));
        }
    }

    public void Dispose()
    {
        _bus.Dispose();
        Assert.Empty(_kind.Devices);
    }

    private void Connect(params (string Name, string Value)[] more)
    {
        _page = _xen.Grants.Allocate();
        Page.Clear();
        _port = _xen.Events.Offer();
        foreach (var (name, value) in more) Write(name, value);
        Write("page-gref", _xen.Grants.Grant(_page, false).ToString(CultureInfo.InvariantCulture));
        Write("event-channel", _port.ToString(CultureInfo.InvariantCulture));
        Write("state", "3");
        _loop.RunPosted(1000);
        Assert.True(Device.IsConnected);
    }

    private void Write(string name, string value) => _xen.Store.Write($"{_front}/{name}", value);

    private string? Read(string folder, string name) => _xen.Store.Read($"{folder}/{name}");

    private uint Index(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(Page[offset..]);

    private Span<byte> Event(int index) => Page.Slice(1024 + (index * 40), 40);

    private int Number(int index, int offset) => BinaryPrimitives.ReadInt32LittleEndian(Event(index)[offset..]);
}
