using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Hypervisor.Xen;
using XenDM.Interop.Xen;
using XenDM.Testing;

namespace XenDM.Hypervisor.Tests.Xen;

/// <summary>Plays Xen's side of the two shared pages.</summary>
public class IoreqServerTests : IIoreqChannels, IRequestHandler
{
    private const int BufferedPort = 40;
    private readonly PinnedBuffer _ring = new(4096);
    private readonly PinnedBuffer _slots = new(4096);
    private readonly Queue<int> _fired = new();
    private readonly List<string> _seen = [];
    private readonly List<int> _notified = [];
    private readonly IoreqServer _server;
    private int _invalidated;
    private int _unmasked;
    private int _follow;
    private bool _moveBackOnWrite;
    private bool _breakState;

    public IoreqServerTests()
    {
        _server = new IoreqServer(new IoreqPages(_ring.Address, _slots.Address), this, this, () => _invalidated++);
        _server.BindVcpu(10, 0);
        _server.BindVcpu(11, 1);
        _server.BindBuffered(BufferedPort);
    }

    [Fact]
    public void AReadIsAnsweredInItsSlotAndNotified()
    {
        Slot(1, IoreqType.Port, 0x1f0, 0xdead, isRead: true);
        _fired.Enqueue(11);
        _server.ServeEvents();
        Assert.Equal(["Port r 1f0/1"], _seen);
        Assert.Equal(0x77ul, BinaryPrimitives.ReadUInt64LittleEndian(_slots.Span[40..]));
        Assert.Equal(3, _slots.Span[32 + 30] & 0xf);
        Assert.Equal([11], _notified);
    }

    [Fact]
    public void AWriteLeavesTheDataOfTheSlotAlone()
    {
        Slot(0, IoreqType.Memory, 0xfee0_0000, 0x55, isRead: false);
        _fired.Enqueue(10);
        _server.ServeEvents();
        Assert.Equal(["Memory w fee00000/1=55"], _seen);
        Assert.Equal(0x55ul, BinaryPrimitives.ReadUInt64LittleEndian(_slots.Span[8..]));
    }

    [Fact]
    public void AnEventWithoutARequestIsCountedAndNotAnswered()
    {
        _fired.Enqueue(10);
        _fired.Enqueue(99);
        _server.ServeEvents();
        Assert.Equal(1ul, _server.Spurious);
        Assert.Equal(2, _unmasked);
        Assert.Empty(_notified);
    }

    [Fact]
    public void PciConfigurationIsAddressedByFunctionAndRegister()
    {
        Slot(0, IoreqType.PciConfig, (0x18ul << 32) | 0x3c, 9, isRead: false);
        _fired.Enqueue(10);
        _server.ServeEvents();
        Assert.Equal(["PciConfig w 18003c/1=9"], _seen);
    }

    [Fact]
    public void AnotherSegmentReadsOnes()
    {
        Slot(0, IoreqType.PciConfig, 1ul << 48, 0, isRead: true);
        _fired.Enqueue(10);
        _server.ServeEvents();
        Assert.Empty(_seen);
        Assert.Equal(ulong.MaxValue, BinaryPrimitives.ReadUInt64LittleEndian(_slots.Span[8..]));
    }

    [Fact]
    public void BufferedWritesComeBeforeTheRequestThatFollowedThem()
    {
        Buffer(IoreqType.Memory, 0xa0000, 1, 0x11);
        Buffer(IoreqType.Memory, 0xa0001, 1, 0x22);
        Slot(0, IoreqType.Port, 0x3c4, 0, isRead: true);
        _fired.Enqueue(10);
        _server.ServeEvents();
        Assert.Equal(["Memory w a0000/1=11", "Memory w a0001/1=22", "Port r 3c4/1"], _seen);
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span));
    }

    [Fact]
    public void EightByteWritesTakeTwoSlotsAndTheRingWraps()
    {
        for (var i = 0; i < 510; i++)
        {
            Buffer(IoreqType.TimeOffset, 0, 1, 0);
            _fired.Enqueue(BufferedPort);
            _server.ServeEvents();
        }

        Buffer(IoreqType.Memory, 0xa0008, 8, 0x1111_2222);
        Buffer(IoreqType.Memory, 0xa0008, 8, 0x3333_4444);
        _fired.Enqueue(BufferedPort);
        _server.ServeEvents();
        Assert.Equal(["Memory w a0008/8=3333444411112222"], _seen);
        Assert.Equal(512u, BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span));
    }

    [Fact]
    public void HalfOfAnEightByteWriteIsFatal()
    {
        Buffer(IoreqType.Memory, 0xa0008, 8, 1);
        _fired.Enqueue(BufferedPort);
        Assert.Throws<IoreqProtocolException>(_server.ServeEvents);
    }

    [Fact]
    public void InvalidateReachesTheMapCacheAndIsAnswered()
    {
        Slot(0, IoreqType.Invalidate, 0, ulong.MaxValue, isRead: false);
        _fired.Enqueue(10);
        _server.ServeEvents();
        Assert.Equal(1, _invalidated);
        Assert.Equal([10], _notified);
    }

    [Fact]
    public void AnUnknownTypeIsFatalAndSaysWhich()
    {
        Slot(0, (IoreqType)5, 0x1234, 0, isRead: true);
        _fired.Enqueue(10);
        var e = Assert.Throws<IoreqProtocolException>(_server.ServeEvents);
        Assert.Contains("type 5", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WaitingRequestsAreServedWithoutAnEvent()
    {
        Slot(1, IoreqType.Port, 0x80, 1, isRead: false);
        _server.ServeWaiting();
        Assert.Equal([11], _notified);
    }

    [Fact]
    public void AllVcpusAreServedInOneTurn()
    {
        for (var vcpu = 0; vcpu < 128; vcpu++) _server.BindVcpu(200 + vcpu, vcpu);
        for (var vcpu = 0; vcpu < 128; vcpu++)
        {
            Slot(vcpu, IoreqType.Port, (ulong)vcpu, 0, isRead: true);
            _fired.Enqueue(200 + vcpu);
        }

        for (var turns = 0; turns < 8; turns++) _server.ServeEvents();
        Assert.Equal(128, _notified.Count);
        Assert.Equal(128ul, _server.Synchronous);
    }

    /// <summary>Xen takes a multiple of 511 off both pointers while a write is being served.</summary>
    [Fact]
    public void PointersThatXenMovesBackAreFollowed()
    {
        _moveBackOnWrite = true;
        for (var i = 0; i < 600; i++)
        {
            Buffer(IoreqType.Memory, 0xa0000 + (uint)i, 1, (uint)i & 0xff);
            _fired.Enqueue(BufferedPort);
            _server.ServeEvents();
        }

        Assert.Equal(600, _seen.Count);
        Assert.Equal("Memory w a0257/1=57", _seen[^1]);
        Assert.Equal(BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span), BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span[4..]));
        Assert.True(BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span) < 511);
    }

    [Fact]
    public void ARequestThatXenTakesBackIsFatal()
    {
        _breakState = true;
        Slot(0, IoreqType.Port, 0x80, 0, isRead: false);
        _fired.Enqueue(10);
        var e = Assert.Throws<IoreqProtocolException>(_server.ServeEvents);
        Assert.Contains("vCPU 0 is in state None", e.Message, StringComparison.Ordinal);
        Assert.Empty(_notified);
    }

    [Fact]
    public void RequestsThatFollowCloselyAreServedWithoutTheirEvents()
    {
        var server = Spinning(new BusyLoop());
        OpenWindow(server);
        _follow = 100;
        ServeOne(server);
        var turns = 1;

        // On a busy host the wait may end early, and the event of the request that waits then wakes the thread.
        for (; _follow > 0; turns++)
        {
            _fired.Enqueue(10);
            server.ServeEvents();
        }

        Assert.InRange(turns, 1, 50);
    }

    [Fact]
    public void AGuestThatNeverPausesDoesNotKeepTheThread()
    {
        var server = Spinning(new BusyLoop());
        OpenWindow(server);
        _follow = 10_000;
        ServeOne(server);
        Assert.InRange(_follow, 9_000, 9_999);
    }

    [Fact]
    public void WorkForTheThreadEndsTheWait()
    {
        var loop = new BusyLoop();
        var server = Spinning(loop);
        OpenWindow(server);
        loop.HasWork = true;
        _follow = 100;
        ServeOne(server);
        Assert.Equal(99, _follow);
    }

    [Fact]
    public void WhileNotServingRequestsStayInTheirSlots()
    {
        _server.Serving = false;
        Slot(0, IoreqType.Port, 0x80, 1, isRead: false);
        _fired.Enqueue(10);
        _server.ServeEvents();
        _server.ServeWaiting();
        Assert.Equal(1, _unmasked);
        Assert.Empty(_notified);
        _server.Serving = true;
        _server.ServeWaiting();
        Assert.Equal([10], _notified);
    }

    [Fact]
    public void ServingAllocatesNothing()
    {
        var quiet = new IoreqServer(new IoreqPages(_ring.Address, _slots.Address), this, new Quiet(), static () => { });
        quiet.BindVcpu(10, 0);
        Assert.Equal(0, Allocations.Of(Serve));

        void Serve()
        {
            _notified.Clear();
            for (var i = 0; i < 1000; i++) ServeOne(quiet);
        }
    }

    int IIoreqChannels.TakePending(Span<uint> ports)
    {
        var count = 0;
        while (count < ports.Length && _fired.TryDequeue(out var port)) ports[count++] = (uint)port;
        return count == 0 ? -11 : count;
    }

    void IIoreqChannels.Unmask(ReadOnlySpan<uint> ports) => _unmasked += ports.Length;

    void IIoreqChannels.Notify(int port)
    {
        _notified.Add(port);
        if (_follow == 0) return;
        _follow--;
        Slot(0, IoreqType.Port, 0x1f7, 0, isRead: true);
    }

    void IRequestHandler.Handle(ref IoRequest request)
    {
        _seen.Add($"{request.Space} {(request.IsRead ? $"r {request.Address:x}/{request.Size}" : $"w {request.Address:x}/{request.Size}={request.Data:x}")}");
        if (request.IsRead) request.Data = 0x77;
        if (_breakState) _slots.Span[30] = 0;
        if (_moveBackOnWrite && BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span) >= 511)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_ring.Span, BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span) - 511);
            BinaryPrimitives.WriteUInt32LittleEndian(_ring.Span[4..], BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span[4..]) - 511);
        }
    }

    private IoreqServer Spinning(BusyLoop loop)
    {
        var server = new IoreqServer(new IoreqPages(_ring.Address, _slots.Address), this, new Quiet(), static () => { }, loop);
        server.BindVcpu(10, 0);
        return server;
    }

    /// <summary>The window opens once a request has followed another within 50 microseconds; on a busy host that takes some tries.</summary>
    private void OpenWindow(IoreqServer server)
    {
        for (var i = 0; i < 100_000 && server.Awaited == 0; i++)
        {
            _follow = 1;
            ServeOne(server);
            _follow = 0;
            _server.ServeWaiting();
            _slots.Span[30] = 0;
        }

        Assert.True(server.Awaited > 0);
    }

    private void ServeOne(IoreqServer server)
    {
        Slot(0, IoreqType.Port, 0x1f7, 0, isRead: true);
        _fired.Enqueue(10);
        server.ServeEvents();
    }

    private void Slot(int vcpu, IoreqType type, ulong address, ulong data, bool isRead)
    {
        var slot = _slots.Span.Slice(vcpu * 32, 32);
        BinaryPrimitives.WriteUInt64LittleEndian(slot, address);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[8..], data);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[16..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[20..], 1);
        slot[30] = (byte)(1 | (isRead ? 0x20 : 0));
        slot[31] = (byte)type;
    }

    private void Buffer(IoreqType type, uint address, int size, uint data)
    {
        var write = BinaryPrimitives.ReadUInt32LittleEndian(_ring.Span[4..]);
        var slot = _ring.Span.Slice(8 + ((int)(write % 511) * 8), 8);
        BinaryPrimitives.WriteUInt32LittleEndian(slot, (uint)type | ((uint)System.Numerics.BitOperations.Log2((uint)size) << 10) | (address << 12));
        BinaryPrimitives.WriteUInt32LittleEndian(slot[4..], data);
        BinaryPrimitives.WriteUInt32LittleEndian(_ring.Span[4..], write + 1);
    }

    private sealed class Quiet : IRequestHandler
    {
        public void Handle(ref IoRequest request) => request.Data = 0x50;
    }

    private sealed class BusyLoop : IBusyLoop
    {
        public bool HasWork { get; set; }

        public void Post(Action work) => throw new NotSupportedException();

        public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

        public void AssertMachineThread()
        {
        }
    }
}
