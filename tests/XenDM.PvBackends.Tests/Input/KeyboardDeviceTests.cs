using System;
using System.Buffers.Binary;
using System.Globalization;
using XenDM.Core.Input;
using XenDM.Core.Time;
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
    private readonly InputHub _hub = new();
    private readonly VmClock _clock;
    private long _now;
    private readonly PvBus _bus;
    private readonly string _front, _back;
    private int _page;
    private uint _port;

    public KeyboardDeviceTests()
    {
        _clock = new VmClock(() => _now);
        _clock.Start();
        _xen = new FakeXen(_loop);
        _kind = new KeyboardKind(_xen.Ports, FakeXen.Guest, _hub, _clock);
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
        Assert.False(Device.IsAbsolute);
        var told = _xen.Events.Count(_port);
        Device.Key(0x1e, true);
        Device.Move(-5, 7, 1, 1, PointerButtons.None);
        Device.Move(0, 0, 0, 0, PointerButtons.Left | PointerButtons.Extra);
        Device.Move(0, 0, 0, 0, PointerButtons.Extra);
        Assert.Equal(5u, Index(4));
        Assert.Equal(told + 5, _xen.Events.Count(_port));
        Assert.Equal((3, 1, 30), (Event(0)[0], Event(0)[1], Number(0, 4)));
        Assert.Equal((1, -5, 7, 1), (Event(1)[0], Number(1, 4), Number(1, 8), Number(1, 12)));
        Assert.Equal((3, 1, 0x110), (Event(2)[0], Event(2)[1], Number(2, 4)));
        Assert.Equal((3, 1, 0x114), (Event(3)[0], Event(3)[1], Number(3, 4)));
        Assert.Equal((3, 0, 0x110), (Event(4)[0], Event(4)[1], Number(4, 4)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Positions_HaveOneRange_WhateverTheScreen(bool raw)
    {
        Connect(("request-abs-pointer", "1"), ("request-raw-pointer", raw ? "1" : "0"));
        Assert.Equal(("32767", "32767"), (Read(_back, "width"), Read(_back, "height")));
        Assert.True(Device.IsAbsolute);
        Device.Move(InputHub.PlaceRange, 100, -1, 0, PointerButtons.None);
        Device.Move(InputHub.PlaceRange, 100, 0, 0, PointerButtons.Right);
        Device.Move(InputHub.PlaceRange, 100, 0, 0, PointerButtons.Right);
        Assert.Equal(2u, Index(4));
        Assert.Equal((4, InputHub.PlaceRange, 100, -1), (Event(0)[0], Number(0, 4), Number(0, 8), Number(0, 12)));
        Assert.Equal((3, 1, 0x111), (Event(1)[0], Event(1)[1], Number(1, 4)));
    }

    /// <summary>Scan codes and KEY_ names of linux/input-event-codes.h.</summary>
    [Theory]
    [InlineData(0x01, 1)]
    [InlineData(0x53, 83)]
    [InlineData(0x54, 99)]
    [InlineData(0x56, 86)]
    [InlineData(0x57, 87)]
    [InlineData(0x58, 88)]
    [InlineData(0x70, 93)]
    [InlineData(0x73, 89)]
    [InlineData(0x7d, 124)]
    [InlineData(0x7e, 121)]
    [InlineData(0xe01c, 96)]
    [InlineData(0xe01d, 97)]
    [InlineData(0xe035, 98)]
    [InlineData(0xe037, 99)]
    [InlineData(0xe038, 100)]
    [InlineData(0xe048, 103)]
    [InlineData(0xe053, 111)]
    [InlineData(0xe05b, 125)]
    [InlineData(0xe05d, 127)]
    [InlineData(0xe11d, 119)]
    public void Keys_HaveLinuxNumbers(int key, int code)
    {
        Connect();
        Device.Key((ushort)key, true);
        Assert.Equal((3, 1, code), (Event(0)[0], Event(0)[1], Number(0, 4)));
    }

    [Fact]
    public void KeysThatLinuxDoesNotKnow_AreLeftOut()
    {
        Connect();
        for (var key = 0; key <= 0xffff; key++)
            if (key is 0 or (>= 0x80 and < 0xe000) or (>= 0xe080 and not 0xe11d)) Device.Key((ushort)key, true);
        Assert.Equal(0u, Index(4));
    }

    /// <summary>Linux's driver takes a key that is pressed while it is down for a repeat, and makes none itself.</summary>
    [Fact]
    public void HeldKey_IsPressedAgain_WhileTheGuestReads()
    {
        Connect();
        Device.Key(0x2a, true);
        Assert.Equal(1u, After(2000));
        Device.Key(0x1e, true);
        Assert.Equal(2u, After(499));
        Assert.InRange(After(1000), 30u, 34u);
        var last = Index(4);
        Assert.Equal((3, 1, 30), (Event((int)(last - 1) % 51)[0], Event((int)(last - 1) % 51)[1], Number((int)(last - 1) % 51, 4)));

        // Another key takes over; the release of the first is not its end.
        Device.Key(0x1f, true);
        Device.Key(0x1e, false);
        Assert.True(After(1000) > last + 10);
        Device.Key(0x1f, false);
        last = Index(4);
        Assert.Equal(last, After(2000));

        // A guest that does not read is not written to.
        Device.Key(0x1e, true);
        _now += 5_000_000_000;
        _clock.RunTimers();
        _now += 5_000_000_000;
        _clock.RunTimers();
        Assert.Equal(last + 1, Index(4));
        Write("state", "5");
        _loop.RunPosted(1000);
        Assert.Equal(VmTimer.Never, _clock.NextDeadline);
    }

    /// <summary>The guest reads all; how much has come in all.</summary>
    private uint After(int milliseconds)
    {
        for (var i = 0; i < milliseconds; i++)
        {
            _now += 1_000_000;
            BinaryPrimitives.WriteUInt32LittleEndian(Page, Index(4));
            _clock.RunTimers();
        }

        return Index(4);
    }

    [Fact]
    public void WhileConnected_ItGetsWhatIsTyped()
    {
        using var seat = _hub.Open();
        seat.Key(0x1e, true);
        Assert.Null(_hub.Pointer);
        Connect(("request-abs-pointer", "1"));
        Assert.Same(Device, _hub.Pointer);
        seat.Key(0x1f, true);
        seat.Move(1, 2, 0, 0, PointerButtons.None);
        Assert.Equal(2u, Index(4));
        Write("state", "5");
        _loop.RunPosted(1000);
        Assert.Null(_hub.Pointer);
        Assert.Empty(_hub.Pointers);
    }

    [Fact]
    public void FullRing_LosesEvents_AndGoesOnWhereTheGuestReads()
    {
        Connect();
        for (var i = 0; i < 60; i++) Device.Key((ushort)(i + 1), true);
        Assert.Equal(51u, Index(4));
        BinaryPrimitives.WriteUInt32LittleEndian(Page, 10);
        Device.Key(0x40, true);
        Assert.Equal(52u, Index(4));
        Assert.Equal(0x40, Number(51 % 51, 4));
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
        Write("event-channel", $"{_xen.Events.Offer()}");
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
