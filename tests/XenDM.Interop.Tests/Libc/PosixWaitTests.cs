using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests.Libc;

public sealed class PosixWaitTests
{
    /// <summary>A signal without effect when nobody handles it; only this class sends it.</summary>
    private const PosixSignal HarmlessSignal = (PosixSignal)23; // SIGURG

    [Fact]
    public void EventFd_WakesAPollUntilDrained()
    {
        using var wake = new FileDescriptor(Posix.EventFd());
        Span<PollFd> fds = [new PollFd { Fd = wake.Fd, Events = PollEvents.Readable }, new PollFd { Fd = -1 }];
        var before = Posix.MonotonicNanoseconds();
        Assert.Equal(0, Posix.Poll(fds, 2_000_000));
        Assert.True(Posix.MonotonicNanoseconds() - before >= 2_000_000);
        Assert.False(Posix.DrainEventFd(wake.Fd));
        Assert.Equal(0, Posix.SignalEventFd(wake.Fd));
        Assert.Equal(0, Posix.SignalEventFd(wake.Fd));
        Assert.Equal(1, Posix.Poll(fds, -1));
        Assert.Equal(PollEvents.Readable, fds[0].Returned);
        Assert.True(Posix.DrainEventFd(wake.Fd));
        Assert.Equal(0, Posix.Poll(fds, 0));
    }

    [Fact]
    public void Poll_ClosedDescriptor_IsReported()
    {
        Span<PollFd> fds = [new PollFd { Fd = 987654, Events = PollEvents.Readable }];
        Assert.Equal(1, Posix.Poll(fds, 0));
        Assert.Equal(PollEvents.Invalid, fds[0].Returned);
    }

    [Fact]
    public void Signal_MakesTheDescriptorReadable()
    {
        using var signals = new TerminationSignals(HarmlessSignal);
        Assert.Null(signals.Take());
        Assert.Equal(0, Posix.Kill(Environment.ProcessId, 23));
        Span<PollFd> fds = [new PollFd { Fd = signals.Fd, Events = PollEvents.Readable }];
        int ready;
        do ready = Posix.Poll(fds, 10_000_000_000);
        while (ready == -Errno.EINTR);
        Assert.Equal(1, ready);
        Assert.Equal(HarmlessSignal, signals.Take());
        Assert.Equal(0, Posix.Poll(fds, 0));
    }

    /// <summary>In a process of its own: a signal that nobody takes ends it.</summary>
    [Fact]
    public void Signals_UnderBusyThreads_AllArrive() => Assert.Equal("500 of 500", ChildProcess.Run("signals", []));

    /// <summary>A process that nohup started ignores SIGHUP, and libxl ends device models with just that.</summary>
    [Fact]
    public void Signals_ThatTheParentIgnored_AllArrive() => Assert.Equal("500 of 500", ChildProcess.Run("signals", ["ignored"]));

    [Fact]
    public void Pty_IsRawInBothDirections()
    {
        using var master = new FileDescriptor(Posix.OpenPty(out var path));
        Assert.StartsWith("/dev/pts/", path, StringComparison.Ordinal);
        using var slave = new FileDescriptor(Posix.Open(path, OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal));
        Span<byte> data = stackalloc byte[16];

        // A cooked terminal would echo, wait for a line and turn LF into CR LF.
        Assert.Equal(4, Posix.Write(master.Fd, "ab\n\u0003"u8));
        Assert.Equal(4, Posix.Read(slave.Fd, data));
        Assert.True(data[..4].SequenceEqual("ab\n\u0003"u8));
        Assert.Equal(3, Posix.Write(slave.Fd, "x\ny"u8));
        Assert.Equal(3, Posix.Read(master.Fd, data));
        Assert.True(data[..3].SequenceEqual("x\ny"u8));

        Assert.Equal(0, Posix.SetSerialLine(slave.Fd, 19200, 7, 'E', 2));
        var saved = Posix.SaveTerminal(slave.Fd)!;
        Assert.Equal(0, Posix.RestoreTerminal(slave.Fd, saved));
        Assert.Null(Posix.SaveTerminal(-1));
    }

    [Fact]
    public void Users_AreFound()
    {
        var root = Posix.FindUser("root");
        Assert.Equal(new UserEntry("root", 0, 0), root);
        Assert.Equal(root, Posix.FindUser(0));
        Assert.Null(Posix.FindUser("no-such-user-here"));
        Assert.Equal(0, Posix.GetLimit(LimitKind.OpenFiles, out var limit));
        Assert.True(limit.Soft > 0 && limit.Hard >= limit.Soft);
    }
}
