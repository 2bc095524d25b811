using System;
using System.Net;
using System.Text;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests.Libc;

public sealed class PosixSocketsTests
{
    private static void WaitReadable(int fd)
    {
        Span<PollFd> fds = [new PollFd { Fd = fd, Events = PollEvents.Readable }];
        Assert.Equal(1, Posix.Poll(fds, 10_000_000_000));
    }

    [Fact]
    public void PassedDescriptors_ArriveAndWork()
    {
        Assert.Equal(0, Posix.SocketPair(out var a, out var b));
        using var first = new FileDescriptor(a);
        using var second = new FileDescriptor(b);
        using var file = new FileDescriptor(Posix.MemoryFile("passed"));
        Assert.Equal(5, Posix.PWrite(file.Fd, "hello"u8, 0));
        Assert.Equal(3, Posix.SendWithFds(first.Fd, "cmd"u8, [file.Fd, file.Fd, file.Fd]));

        Span<byte> data = stackalloc byte[16];
        Span<int> fds = stackalloc int[2];
        Assert.Equal(3, Posix.Receive(second.Fd, data, fds, out var count));
        Assert.Equal("cmd", Encoding.ASCII.GetString(data[..3]));
        Assert.Equal(2, count); // the third had no room and was closed
        Assert.NotEqual(file.Fd, fds[0]);
        Assert.Equal(5, Posix.PRead(fds[1], data, 0));
        Assert.Equal("hello", Encoding.ASCII.GetString(data[..5]));
        Assert.Equal(0, Posix.Close(fds[0]));
        Assert.Equal(0, Posix.Close(fds[1]));

        Assert.Equal(2, Posix.Send(first.Fd, "ok"u8));
        Assert.Equal(2, Posix.Receive(second.Fd, data, fds, out count));
        Assert.Equal(0, count);
        first.Dispose();
        Assert.Equal(0, Posix.Receive(second.Fd, data, fds, out _));
        Assert.Equal(-Errno.EPIPE, Posix.Send(second.Fd, "x"u8));
    }

    [Fact]
    public void UnixSocket_AcceptsAndEchoes()
    {
        using var folder = new TempFolder();
        var path = folder.File("socket");
        Assert.Equal(-Errno.ENOENT, Posix.UnixConnect(path));
        using var listener = new FileDescriptor(Posix.UnixListen(path, 1));
        Assert.Equal(-Errno.EADDRINUSE, Posix.UnixListen(path, 1));
        Assert.Equal(0, Posix.SetNonBlocking(listener.Fd, true));
        Assert.Equal(-Errno.EAGAIN, Posix.Accept(listener.Fd));
        using var client = new FileDescriptor(Posix.UnixConnect(path));
        WaitReadable(listener.Fd);
        using var server = new FileDescriptor(Posix.Accept(listener.Fd));
        Span<byte> data = stackalloc byte[4];
        Assert.Equal(-Errno.EAGAIN, Posix.Receive(server.Fd, data, [], out _));
        Assert.Equal(4, Posix.Send(client.Fd, "ping"u8));
        WaitReadable(server.Fd);
        Assert.Equal(4, Posix.Receive(server.Fd, data, [], out _));
        Assert.Equal(0, Posix.Unlink(path));
        Assert.Equal(-Errno.ENAMETOOLONG, Posix.UnixListen(folder.File(new string('x', 120)), 1));
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    public void TcpSocket_ConnectsOnAPortOfTheKernelsChoice(string address)
    {
        var listening = Posix.TcpListen(new IPEndPoint(IPAddress.Parse(address), 0), 1);
        if (listening is -Errno.EADDRNOTAVAIL or -97) return; // no IPv6 on this host
        using var listener = new FileDescriptor(listening);
        var local = Posix.LocalEndPoint(listener.Fd)!;
        Assert.NotEqual(0, local.Port);
        using var client = new FileDescriptor(Posix.TcpConnect(local, nonBlocking: true));
        using var server = new FileDescriptor(Posix.Accept(listener.Fd));
        Assert.Equal(local.Port, Posix.RemoteEndPoint(client.Fd)!.Port);
        Assert.Equal(0, Posix.PendingSocketError(client.Fd));
        Assert.Equal(0, Posix.SetNoDelay(server.Fd));
        Assert.Equal(3, Posix.Send(server.Fd, "abc"u8));
        WaitReadable(client.Fd);
        Span<byte> data = stackalloc byte[4];
        Assert.Equal(3, Posix.Read(client.Fd, data));
    }

    [Fact]
    public void Resolve_NumbersAndNames()
    {
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, 5900), Assert.Single(Posix.Resolve("127.0.0.1", 5900)));
        Assert.NotEmpty(Posix.Resolve("", 5900));
        Assert.Empty(Posix.Resolve("no such host", 5900));
    }
}
