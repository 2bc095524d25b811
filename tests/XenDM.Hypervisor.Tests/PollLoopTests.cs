using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Time;
using XenDM.Interop.Libc;
using XenDM.Testing;

namespace XenDM.Hypervisor.Tests;

public sealed class PollLoopTests : IDisposable
{
    private readonly VmClock _clock = new(Posix.MonotonicNanoseconds);
    private readonly PollLoop _loop;
    private readonly FileDescriptor _first;
    private readonly FileDescriptor _second;
    private readonly List<string> _seen = [];

    public PollLoopTests()
    {
        _loop = new PollLoop(_clock);
        Assert.Equal(0, Posix.SocketPair(out var first, out var second));
        (_first, _second) = (new FileDescriptor(first), new FileDescriptor(second));
    }

    public void Dispose()
    {
        _loop.Dispose();
        _first.Dispose();
        _second.Dispose();
    }

    [Fact]
    public void WorkPostedByAnotherThreadWakesTheLoop()
    {
        var machine = Environment.CurrentManagedThreadId;
        var ran = 0;
        var poster = new Thread(() =>
        {
            Thread.Sleep(20);
            for (var i = 0; i < 1000; i++)
                _loop.Post(() => ran += Environment.CurrentManagedThreadId == machine ? 1 : 1_000_000);
            _loop.Post(_loop.Stop);
        });
        poster.Start();
        _loop.Run();
        poster.Join();
        Assert.Equal(1000, ran);
    }

    [Fact]
    public void OnlyWhatTheLoopsThreadPostsItselfIsTold()
    {
        var told = 0;
        _loop.PostedByItself = () => told++;
        var other = new Thread(() => _loop.Post(static () => { }));
        other.Start();
        other.Join();
        Assert.Equal(0, told);
        _loop.Post(static () => { });
        Assert.Equal(1, told);
    }

    [Fact]
    public void ATurnThatFoundWorkDoesNotWaitForMore()
    {
        var done = 0;
        _loop.Post(() => done++);
        _loop.RunOnce(wait: true);
        Assert.Equal(1, done);
        _clock.Start();
        _clock.CreateTimer("test", () => done++).Arm(_clock.Now);
        _loop.RunOnce(wait: true);
        Assert.Equal(2, done);
    }

    [Fact]
    public void WorkThatPostsItselfDoesNotKeepDescriptorsWaiting()
    {
        void Again() => _loop.Post(Again);
        using var watch = _loop.Watch(_first.Fd, FdEvents.Readable, _ => _loop.Stop());
        _loop.Post(Again);
        Posix.Send(_second.Fd, "x"u8);
        _loop.Run();
    }

    [Fact]
    public void ADescriptorIsReportedForWhatIsWanted()
    {
        using var watch = _loop.Watch(_first.Fd, FdEvents.Writable, e => _seen.Add(e.ToString()));
        Posix.Send(_second.Fd, "x"u8);
        _loop.RunOnce(wait: true);
        watch.Events = FdEvents.Readable | FdEvents.Writable;
        _loop.RunOnce(wait: true);
        watch.Events = FdEvents.None;
        _second.Dispose();
        _loop.RunOnce(wait: false);
        watch.Events = FdEvents.Readable;
        _loop.RunOnce(wait: true);
        Assert.Equal(["Writable", "Readable, Writable", "Readable, Hangup"], _seen);
    }

    [Fact]
    public void ACallbackMayRemoveOrSilenceAnotherWatch()
    {
        using var other = new FileDescriptor(Posix.EventFd(1));
        IFdWatch? silenced = null;
        IFdWatch? removed = null;
        using var first = _loop.Watch(_first.Fd, FdEvents.Writable, _ =>
        {
            silenced!.Events = FdEvents.None;
            removed!.Dispose();
        });
        silenced = _loop.Watch(other.Fd, FdEvents.Readable, _ => _seen.Add("silenced"));
        removed = _loop.Watch(other.Fd, FdEvents.Readable, _ => _seen.Add("removed"));
        _loop.RunOnce(wait: true);
        _loop.RunOnce(wait: true);
        Assert.Empty(_seen);
        silenced.Dispose();
    }

    [Fact]
    public void TimersEndTheWait()
    {
        var timer = _clock.CreateTimer("test", () => _loop.Stop());
        _clock.Start();
        var before = Posix.MonotonicNanoseconds();
        timer.ArmAfter(3_000_000);
        _loop.Run();
        Assert.True(Posix.MonotonicNanoseconds() - before >= 3_000_000);
    }

    [Fact]
    public void AnotherThreadIsNotTheMachine()
    {
        Exception? caught = null;
        var thread = new Thread(() => caught = Record.Exception(_loop.AssertMachineThread));
        thread.Start();
        thread.Join();
        Assert.IsType<InvalidOperationException>(caught);
        _loop.AssertMachineThread();
    }

    [Fact]
    public void ATurnAllocatesNothing()
    {
        var served = 0;
        var buffer = new byte[1];
        Action work = () => served++;
        using var watch = _loop.Watch(_first.Fd, FdEvents.Readable, _ => Posix.Read(_first.Fd, buffer));
        void Turn()
        {
            Posix.Send(_second.Fd, "x"u8);
            _loop.Post(work);
            _loop.RunOnce(wait: true);
        }

        void Turns()
        {
            for (var i = 0; i < 200; i++) Turn();
        }

        Assert.Equal(0, Allocations.Of(Turns));
        Assert.True(served >= 200);
    }
}
