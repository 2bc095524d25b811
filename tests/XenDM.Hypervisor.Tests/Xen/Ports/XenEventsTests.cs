using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Hypervisor.Xen.Ports;
using XenDM.Interop.Libc;
using XenDM.Testing;

namespace XenDM.Hypervisor.Tests.Xen.Ports;

/// <summary>Channels on a device that this test plays: numbers of ports wait in a queue.</summary>
public sealed class XenEventsTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly FakeDevice _device = new();
    private readonly FakeDevice _own = new();
    private int _opened;
    private readonly XenEvents _events;

    public XenEventsTests() => _events = new XenEvents(() => _opened++ == 0 ? _device : _own, SilentLog.Instance);

    [Fact]
    public void Event_IsToldToTheChannelOfItsPort_AndUnmasked()
    {
        using var first = new SemaphoreSlim(0);
        using var second = new SemaphoreSlim(0);
        using var a = _events.TryBind(5, 17, () => first.Release());
        using var b = _events.TryBind(5, 18, () => second.Release());
        Assert.True(first.Wait(0) && second.Wait(0)); // counts as notified once
        Assert.Equal(18u, b!.RemotePort);
        for (var i = 0; i < 100; i++)
        {
            _device.Fire(FakeDevice.LocalOf(18));
            Assert.True(second.Wait(s_patience));
            _device.WaitUnmasked(i + 1);
        }

        Assert.Equal(0, first.CurrentCount);
    }

    [Fact]
    public void Notify_SendsFromAnyThread_UntilItIsClosed()
    {
        var channel = _events.TryBind(5, 17, static () => { })!;
        var other = new Thread(channel.Notify);
        other.Start();
        other.Join();
        Assert.Equal([FakeDevice.LocalOf(17)], _device.Notified);
        channel.Dispose();
        channel.Notify();
        channel.Dispose();
        Assert.Single(_device.Notified);
        Assert.Equal([FakeDevice.LocalOf(17)], _device.Unbound);
    }

    [Fact]
    public void PortThatIsNotOffered_GivesNothing()
    {
        Assert.Null(_events.TryBind(5, FakeDevice.Refused, static () => Assert.Fail("told")));
        Assert.Null(_events.TryBind(-1, 17, static () => Assert.Fail("told")));
        Assert.Null(_events.TryBind(0x7ff0, 17, static () => Assert.Fail("told")));
        _device.Fire(70_000); // nobody's: passed over
        using var told = new SemaphoreSlim(0);
        using var channel = _events.TryBind(5, 90_000, () => told.Release());
        told.Wait(0);
        _device.Fire(FakeDevice.LocalOf(90_000));
        Assert.True(told.Wait(s_patience));
    }

    /// <summary>Closing waits for a call that is under way, and none comes after it.</summary>
    [Fact]
    public void Close_WhileAnEventIsTold_WaitsForItsEnd()
    {
        for (var round = 0; round < 200; round++)
        {
            var calls = 0;
            var isClosed = false;
            var late = 0;
            var channel = _events.TryBind(5, 17, () =>
            {
                Interlocked.Increment(ref calls);
                Thread.SpinWait(50);
                if (Volatile.Read(ref isClosed)) Interlocked.Increment(ref late);
            })!;
            for (var i = 0; i < 4; i++) _device.Fire(FakeDevice.LocalOf(17));
            if (round % 2 == 0) SpinWait.SpinUntil(() => Volatile.Read(ref calls) > 1, s_patience);
            channel.Dispose();
            Volatile.Write(ref isClosed, true);
            Assert.Equal(0, late);
        }
    }

    [Fact]
    public void EventsAndNotifications_TakeNoMemory()
    {
        using var told = new SemaphoreSlim(0);
        using var channel = _events.TryBind(5, 17, () => told.Release())!;
        told.Wait(0);
        Assert.Equal(0, Allocations.Of(Notify));
        Assert.Equal(0, Allocations.Of(Events, () => _device.TellersBytes));

        void Notify()
        {
            for (var i = 0; i < 100; i++) channel.Notify();
        }

        void Events()
        {
            for (var i = 0; i < 100; i++)
            {
                _device.Fire(FakeDevice.LocalOf(17));
                Assert.True(told.Wait(s_patience));
            }
        }
    }

    /// <summary>The plane's own thread takes the events, from a descriptor that no other channel has.</summary>
    [Fact]
    public void ChannelOfADataPlane_IsServedByItsLoop()
    {
        using var plane = new Plane();
        var calls = 0;
        var onPlane = 0;
        var channel = _events.TryBind(5, 17, plane, () =>
        {
            if (Environment.CurrentManagedThreadId == plane.ThreadId) Interlocked.Increment(ref onPlane);
            Interlocked.Increment(ref calls);
        })!;
        Assert.Equal(1, calls);
        Assert.Equal(0, onPlane);
        for (var i = 1; i <= 100; i++)
        {
            _own.Fire(FakeDevice.LocalOf(17));
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref onPlane) == i, s_patience));
            _own.WaitUnmasked(i);
        }

        channel.Notify();
        Assert.Equal([FakeDevice.LocalOf(17)], _own.Notified);
        Assert.Empty(_device.Notified);
        _own.Fire(FakeDevice.LocalOf(17));
        channel.Dispose();
        var told = calls;
        plane.Run(static () => { });
        Assert.Equal(told, calls);
        Assert.Equal([FakeDevice.LocalOf(17)], _own.Unbound);
        channel.Notify();
        Assert.Single(_own.Notified);
    }

    [Fact]
    public void ChannelOfADataPlane_ThatIsNotOffered_LeavesNothing()
    {
        using var plane = new Plane();
        Assert.Null(_events.TryBind(5, FakeDevice.Refused, plane, static () => Assert.Fail("told")));
        Assert.Null(_events.TryBind(0x7ff0, 17, plane, static () => Assert.Fail("told")));
        Assert.True(_own.IsDisposed);
    }

    public void Dispose()
    {
        _events.Dispose();
        if (!_own.IsDisposed) _own.Dispose();
    }

    private sealed class Plane : IDataPlane
    {
        private readonly PollLoop _loop = new(new VmClock(static () => 0));
        private readonly Thread _thread;

        public Plane()
        {
            _thread = new Thread(_loop.Run);
            _thread.Start();
            Run(static () => { });
        }

        public IEventLoop Loop => _loop;

        public int ThreadId => _thread.ManagedThreadId;

        public void Run(Action work)
        {
            using var done = new SemaphoreSlim(0);
            _loop.Post(() =>
            {
                work();
                done.Release();
            });
            done.Wait();
        }

        public void Dispose()
        {
            _loop.Stop();
            _thread.Join();
            _loop.Dispose();
        }
    }

    private sealed class FakeDevice : IEventDevice
    {
        public const uint Refused = 99;
        private readonly ConcurrentQueue<uint> _pending = new();
        private readonly List<int> _notified = new(8);
        private int _unmasked;
        private long _tellersBytes;

        public int Fd { get; } = Posix.EventFd();

        public int[] Notified => [.. _notified];

        public List<int> Unbound { get; } = [];

        /// <summary>What the thread that takes events has allocated.</summary>
        public long TellersBytes => Volatile.Read(ref _tellersBytes);

        public static int LocalOf(uint remotePort) => (int)remotePort + 100;

        public void Fire(int port)
        {
            _pending.Enqueue((uint)port);
            Posix.SignalEventFd(Fd);
        }

        public void WaitUnmasked(int count) => Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref _unmasked) >= count, s_patience));

        public int Bind(ushort domain, uint remotePort) => remotePort == Refused ? -Errno.EINVAL : LocalOf(remotePort);

        public int Unbind(int port)
        {
            Unbound.Add(port);
            return 0;
        }

        public int Notify(int port)
        {
            if (_notified.Count < 8) _notified.Add(port);
            return 0;
        }

        public int TakePending(Span<uint> ports)
        {
            Volatile.Write(ref _tellersBytes, GC.GetAllocatedBytesForCurrentThread());
            Posix.DrainEventFd(Fd);
            var count = 0;
            while (count < ports.Length && _pending.TryDequeue(out var port)) ports[count++] = port;
            return count > 0 ? count : -Errno.EAGAIN;
        }

        public int Unmask(ReadOnlySpan<uint> ports)
        {
            Interlocked.Add(ref _unmasked, ports.Length);
            return 0;
        }

        public bool IsDisposed { get; private set; }

        public void Dispose()
        {
            IsDisposed = true;
            Posix.Close(Fd);
        }
    }
}
