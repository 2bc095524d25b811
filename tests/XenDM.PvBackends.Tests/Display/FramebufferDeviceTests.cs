using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using XenDM.Core.Display;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Display;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests.Display;

/// <summary>The framebuffer as Linux's xen-fbfront uses it: 40-byte events out at 2048, in at 1024, lists of frames from 40 (64 bits) or 36 (32 bits) on.</summary>
public sealed class FramebufferDeviceTests : IDisposable
{
    private const int OutConsumer = 8, OutProducer = 12, Width = 16, Height = 20, LineLength = 24, MemoryLength = 28, Depth = 32;
    private const byte Update = 2, Resize = 3;

    private readonly FakeLoop _loop = new();
    private readonly FakeXen _xen;
    private readonly FakeForeign _foreign;
    private readonly FramebufferKind _kind;
    private readonly PvBus _bus;
    private readonly string _front, _back;
    private readonly List<int> _pixels = [];
    private readonly ScreenHub _screens = new();
    private readonly ScreenViewer _viewer;
    private int _page;
    private uint _port, _told;

    public FramebufferDeviceTests()
    {
        _xen = new FakeXen(_loop);
        _foreign = new FakeForeign(_xen.Grants);
        var ports = _xen.Ports with { Foreign = _foreign };
        _viewer = _screens.Open();
        _kind = new FramebufferKind(ports, FakeXen.Guest, _loop, _screens);
        (_front, _back) = _xen.AddDevice("vfb", "vfb", 0);
        _bus = new PvBus(ports, FakeXen.Guest, 0, [_kind], _loop, SilentLog.Instance);
        _loop.RunPosted(1000);
    }

    private FramebufferDevice Device => Assert.Single(_kind.Devices);

    private Span<byte> Page => _xen.Grants.Page(_page);

    [Theory]
    [InlineData("x86_64-abi", false)]
    [InlineData("x86_32-abi", false)]
    [InlineData("x86_64-abi", true)]
    public void ThePicture_IsWhatTheGuestDraws(string protocol, bool byGrant)
    {
        Assert.Equal(("2", "1", "1"), (Read("state"), Read("feature-resize"), Read("request-update")));
        Assert.Null(Device.Size);
        Connect(100, 30, protocol: protocol, byGrant: byGrant);
        Assert.Equal(new PictureSize(100, 30), Device.Size);
        Assert.Equal([new PictureArea(0, 0, 100, 30)], Look());
        Assert.Empty(Look());

        // Byte 4094 on is in line 10, and its pixel 23 lies on both sides of a page's end.
        for (var n = 0; n < _pixels.Count * 4096; n++) _xen.Grants.Page(_pixels[n / 4096])[n % 4096] = (byte)((n * 7) ^ (n >> 8));
        Tell(Update, 0, 0, 100, 30);
        Look();
        for (var y = 0; y < 30; y++)
        {
            for (var x = 0; x < 300; x++)
            {
                var at = (y * 400) + (x / 3 * 4) + (x % 3);
                Assert.Equal((byte)((at * 7) ^ (at >> 8)), (byte)(_screens.Frame.Line(y)[x / 3] >> (8 * (x % 3))));
            }
        }
    }

    [Fact]
    public void Updates_AreClipped_AndOnlyWhatChangedIsDamaged()
    {
        Connect(100, 30);
        Look();
        foreach (var page in _pixels) _xen.Grants.Page(page).Fill(0x55);
        Tell(Update, 10, 5, 20, 3);
        Assert.Equal(20 * 3, CountChanged());
        Tell(Update, -5, -5, 10, 10);
        Assert.Equal((20 * 3) + (5 * 5), CountChanged());
        Tell(Update, 90, 20, int.MaxValue, int.MaxValue);
        Assert.Equal((20 * 3) + (5 * 5) + (10 * 10), CountChanged());
        Tell(Update, 50, 5, -1, 4);
        Tell(Update, 100, 0, 5, 5);
        Tell(Update, int.MinValue, 0, int.MinValue, 5);
        Assert.Equal((20 * 3) + (5 * 5) + (10 * 10), CountChanged());
        for (var n = 0; n < 40; n++) Tell(Update, 40 + n, 12, 1, 1);
        Look();
        for (var n = 0; n < 40; n++) Assert.Equal(0x555555u, _screens.Frame.Line(12)[40 + n]);
        Tell(Update, 10, 5, 20, 3);
        Assert.Empty(Look());
    }

    [Fact]
    public void ADriverThatDoesNotTell_MayHaveDrawnAnywhere()
    {
        Connect(100, 30, tells: false);
        Look();
        Assert.False(_viewer.NotifyOnce(static () => { }));
        Assert.Empty(Look());
        _xen.Grants.Page(_pixels[0])[(400 * 3) + (4 * 50)] = 1;
        Assert.Equal([new PictureArea(48, 0, 16, 16)], Look());
        Assert.Equal(1u, _screens.Frame.Line(3)[50]);
    }

    [Fact]
    public void AViewerIsTold()
    {
        Connect(100, 30);
        var told = 0;
        Assert.True(_viewer.NotifyOnce(() => told++));
        Tell(Update, 0, 0, 1, 1);
        Tell(Update, 0, 0, 1, 1);
        Assert.Equal(1, told);
        _viewer.NotifyOnce(() => told++);
        Write("state", 5);
        _loop.RunPosted(1000);
        Assert.Equal(2, told);
        Assert.Null(Device.Size);
    }

    [Theory]
    [InlineData(8, 0xb6u, 0xb6b6aau)]
    [InlineData(8, 0xffu, 0xffffffu)]
    [InlineData(8, 0x24u, 0x242400u)]
    [InlineData(16, 0xffffu, 0xffffffu)]
    [InlineData(16, 0x8410u, 0x848284u)]
    [InlineData(16, 0x1234u, 0x1045a5u)]
    [InlineData(32, 0xff12_3456u, 0x123456u)]
    public void DepthsAreConverted(int depth, uint value, uint colour)
    {
        Connect(100, 30);
        BinaryPrimitives.WriteUInt32LittleEndian(_xen.Grants.Page(_pixels[0]), value);
        Tell(Resize, 1, 1, 4, depth, 0);
        Look();
        Assert.Equal(colour, _screens.Frame.Line(0)[0]);
    }

    [Fact]
    public void Resize_ChangesThePicture_WithinItsMemory()
    {
        Connect(100, 30);
        Look();
        Tell(Resize, 40, 20, 128, 16, 64);
        Assert.Equal(new PictureSize(40, 20), Device.Size);
        _xen.Grants.Page(_pixels[0])[64 + 128 + 2] = 0x1f;
        Assert.Equal([new PictureArea(0, 0, 40, 20)], Look());
        Assert.Equal(0xffu, _screens.Frame.Line(1)[1]);
    }

    [Fact]
    public void RefreshPeriods_AreToldWhileThereIsRoom()
    {
        Connect(100, 30);
        Assert.Equal((1, _viewer.Period), (Page[1024], BinaryPrimitives.ReadInt32LittleEndian(Page[1028..])));
        var told = _xen.Events.Count(_port);
        _viewer.SetPeriod(33);
        Assert.Equal((1, 33), (Page[1064], BinaryPrimitives.ReadInt32LittleEndian(Page[1068..])));
        Assert.Equal(told + 1, _xen.Events.Count(_port));
        for (var n = 0; n < 40; n++) Device.SetRefreshPeriod(n);
        Assert.Equal(25u, _xen.Grants.Word(_page, 4));
        for (var n = 0; n < 1000; n++)
        {
            _xen.Grants.Word(_page, 0) = (uint)(n * 0x1234_5671);
            Device.SetRefreshPeriod(n);
        }

        Assert.True(Page[(1024 + (25 * 40))..].IndexOfAnyExcept((byte)0) < 0);
    }

    [Theory]
    [InlineData(101, 30, 400, 32, 0)]
    [InlineData(100, 31, 400, 32, 3000)]
    [InlineData(100, 30, 400, 32, 300)]
    [InlineData(100, 30, 400, 32, -1)]
    [InlineData(100, 30, -400, 32, 0)]
    [InlineData(100, 30, int.MaxValue, 32, 0)]
    [InlineData(int.MaxValue, 30, int.MaxValue, 32, 0)]
    [InlineData(1, int.MaxValue, 4, 32, int.MaxValue)]
    [InlineData(0, 30, 400, 32, 0)]
    [InlineData(100, -1, 400, 32, 0)]
    [InlineData(100, 30, 400, 24, 0)]
    [InlineData(100, 30, 400, 0, 0)]
    public void AResizeThatDoesNotFit_EndsTheConnection(int width, int height, int lineBytes, int depth, int offset)
    {
        Connect(100, 30);
        Tell(Resize, width, height, lineBytes, depth, offset);
        Assert.Null(Device.Size);
        Gone();
    }

    [Theory]
    [InlineData(52u)]
    [InlineData(0x8000_0000u)]
    [InlineData(0xffff_ffffu)]
    public void AnIndexThatMakesNoSense_EndsTheConnection(uint producer)
    {
        Connect(100, 30);
        _xen.Grants.Word(_page, OutProducer) = producer;
        Kick();
        Gone();
    }

    [Fact]
    public void WhatTheGuestWritesLater_IsNotRead()
    {
        Connect(100, 30);
        var random = new Random(1);
        for (var n = 0; n < 200; n++)
        {
            random.NextBytes(Page[16..1024]);
            random.NextBytes(Page[2048..]);
            _xen.Grants.Word(_page, OutConsumer) = (uint)random.Next();
            Tell(Update, random.Next(), random.Next(), random.Next(), random.Next());
            Look();
        }

        Assert.Equal(new PictureSize(100, 30), Device.Size);
    }

    [Theory]
    [InlineData(Width, 101u, "lines of 400")]
    [InlineData(Width, 0u, "picture of 0")]
    [InlineData(Height, 0x8000_0000u, "picture of 100")]
    [InlineData(Height, 32u, "ends at byte")]
    [InlineData(LineLength, 0xffff_fff0u, "lines of -16")]
    [InlineData(MemoryLength, 0u, "framebuffer of 0")]
    [InlineData(MemoryLength, 0xffff_ffffu, "at most")]
    [InlineData(MemoryLength, 64u << 20, "mapped")]
    [InlineData(Depth, 7u, "7 bits")]
    [InlineData(40, 0xffff_ffffu, "lists")]
    public void AHeadThatMakesNoSense_IsAnErrorNode_AndHoldsNothing(int offset, uint value, string error)
    {
        Prepare(100, 30, "x86_64-abi");
        _xen.Grants.Word(_page, offset) = value;
        Start(tells: true, byGrant: false, "x86_64-abi");
        Assert.Contains(error, Error(), StringComparison.Ordinal);
        Gone();
    }

    [Fact]
    public void PixelsThatAreNotThere_AreAnErrorNode_AndHoldNothing()
    {
        var list = Prepare(100, 30, "x86_64-abi");
        BinaryPrimitives.WriteUInt64LittleEndian(_xen.Grants.Page(list)[16..], ulong.MaxValue);
        Start(tells: true, byGrant: false, "x86_64-abi");
        Assert.Contains("pages of pixels", Error(), StringComparison.Ordinal);
        Gone();
    }

    public void Dispose()
    {
        _bus.Dispose();
        Assert.Empty(_kind.Devices);
        Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
    }

    private void Connect(int width, int height, bool tells = true, string protocol = "x86_64-abi", bool byGrant = false)
    {
        Prepare(width, height, protocol);
        Start(tells, byGrant, protocol);
        Assert.Equal("4", Read("state"));
    }

    /// <summary>Fills the page; the frames of the pixels are in no order.</summary>
    /// <returns>The page with the list of frames.</returns>
    private int Prepare(int width, int height, string protocol)
    {
        var is32 = protocol == "x86_32-abi";
        var bytes = width * height * 4;
        _page = _xen.Grants.Allocate();
        Page.Clear();
        var list = _xen.Grants.Allocate();
        for (var n = 0; n < (bytes + 4095) / 4096; n++) _pixels.Insert(0, _xen.Grants.Allocate());
        for (var n = 0; n < _pixels.Count; n++)
        {
            if (is32) BinaryPrimitives.WriteInt32LittleEndian(_xen.Grants.Page(list)[(n * 4)..], _pixels[n]);
            else BinaryPrimitives.WriteInt64LittleEndian(_xen.Grants.Page(list)[(n * 8)..], _pixels[n]);
        }

        foreach (var (offset, value) in (ReadOnlySpan<(int, int)>)[(Width, width), (Height, height), (LineLength, width * 4), (MemoryLength, bytes), (Depth, 32)])
            BinaryPrimitives.WriteInt32LittleEndian(Page[offset..], value);
        BinaryPrimitives.WriteInt32LittleEndian(Page[(is32 ? 36 : 40)..], list);
        return list;
    }

    private void Start(bool tells, bool byGrant, string protocol)
    {
        _port = _xen.Events.Offer();
        Write("page-ref", _page);
        if (byGrant) Write("page-gref", (int)_xen.Grants.Grant(_page));
        Write("event-channel", (int)_port);
        Write("feature-update", tells ? 1 : 0);
        _xen.Store.Write($"{_front}/protocol", protocol);
        Write("state", 3);
        _loop.RunPosted(1000);
    }

    /// <summary>The driver tells one event.</summary>
    private void Tell(byte kind, params int[] values)
    {
        var at = Page.Slice(2048 + (int)(_told++ % 51 * 40), 40);
        at[0] = kind;
        for (var n = 0; n < values.Length; n++) BinaryPrimitives.WriteInt32LittleEndian(at[(4 + (n * 4))..], values[n]);
        _xen.Grants.Word(_page, OutProducer) = _told;
        Kick();
    }

    private void Kick()
    {
        _xen.Events.Send(_port);
        _loop.RunPosted(1000);
    }

    /// <summary>What a viewer learns, in tiles.</summary>
    private List<PictureArea> Look()
    {
        var areas = new List<PictureArea>();
        _screens.Refresh();
        _viewer.Damage.AddTo(areas);
        _viewer.Damage.Clear();
        return areas;
    }

    private int CountChanged()
    {
        Look();
        return _screens.Frame.Pixels.Count(0x555555u);
    }

    private void Gone()
    {
        Assert.Equal("5", Read("state"));
        Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
    }

    private string? Error() => _xen.Store.Read($"/local/domain/0/error/backend/vfb/{FakeXen.Guest}/0/error");

    private void Write(string name, int value) => _xen.Store.Write($"{_front}/{name}", value.ToString(CultureInfo.InvariantCulture));

    private string? Read(string name) => _xen.Store.Read($"{_back}/{name}");

    /// <summary>Frame numbers are the pages' own.</summary>
    private sealed class FakeForeign(FakeGrants memory) : IForeignPages
    {
        private const int Pages = 200;

        public IGrantMapping? TryMap(int domain, ReadOnlySpan<ulong> frames, bool writable)
        {
            var references = new List<uint>();
            foreach (var frame in frames)
            {
                if (frame >= Pages) return null;
                references.Add(memory.Grant((int)frame));
            }

            return memory.TryMap(domain, references.ToArray(), writable);
        }
    }
}
