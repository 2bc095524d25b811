using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Text;
using System.Threading.Tasks;
using XenDM.Backends.Char;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Tests.Char;

public sealed class SocketCharTests : CharTest
{
    private string ServerOptions => $"socket,path={At("s")},server=on,wait=off";

    [Fact]
    public void A_unix_server_talks_to_its_client()
    {
        var backend = Attach(ServerOptions);
        Assert.Equal($"disconnected:unix:{At("s")},server=on", backend.FileName);
        Assert.False(backend.IsOpen);
        Assert.Empty(Frontend.Events);
        Assert.Equal(4, Write(backend, "lost"));
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        Assert.Equal([CharEvent.Opened], Frontend.Events);
        Assert.Equal($"unix:{At("s")},server=on", backend.FileName);
        Write(client, "to the guest");
        Loop.Until(() => Frontend.Text == "to the guest");
        Assert.Equal(10, Write(backend, "from there"));
        Assert.Equal("from there", Read(client, 10));
    }

    [Fact]
    public void One_client_at_a_time_and_the_next_waits()
    {
        var backend = Attach(ServerOptions);
        var first = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        var second = Connect(At("s"));
        Write(second, "second");
        Loop.Settle();
        Assert.Equal("", Frontend.Text);
        Write(first, "first");
        CloseNow(first);
        Loop.Until(() => Frontend.Text == "firstsecond");
        Assert.Equal([CharEvent.Opened, CharEvent.Closed, CharEvent.Opened], Frontend.Events);
        CloseNow(second);
        Loop.Until(() => !backend.IsOpen);
        Assert.StartsWith("disconnected:", backend.FileName);
        Loop.Settle();
    }

    [Fact]
    public void A_listening_descriptor_is_taken_over()
    {
        var listener = Posix.UnixListen(At("s"), 1);
        var client = Connect(At("s"));
        var backend = Attach($"socket,fd={listener},server=on,wait=off");
        Assert.Equal($"disconnected:fd:{listener},server=on", backend.FileName);
        Loop.Until(() => backend.IsOpen);
        Write(backend, "hello");
        Assert.Equal("hello", Read(client, 5));
        backend.Dispose();
        Assert.True(File.Exists(At("s")));
    }

    [Fact]
    public void Descriptors_come_with_the_data()
    {
        var backend = Attach(ServerOptions);
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        Assert.Equal(-1, backend.TakeFd());
        File.WriteAllText(At("a"), "content of a");
        var file = Own(Posix.Open(At("a"), OpenFlags.ReadOnly));
        var taken = -1;
        Frontend.OnReceive = () => taken = backend.TakeFd();
        Assert.Equal(1, Posix.SendWithFds(client, "x"u8, [file]));
        Loop.Until(() => Frontend.Text == "x");
        Own(taken);
        Assert.NotEqual(file, taken);
        Assert.Equal("content of a", ReadNow(taken));
        Assert.Equal(-1, backend.TakeFd());
    }

    [Fact]
    public void Descriptors_that_nobody_takes_are_bounded_and_closed()
    {
        var backend = Attach(ServerOptions);
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        Assert.True(Posix.SocketPair(out var kept, out var passed) >= 0);
        Own(kept);
        for (var i = 0; i < 40; i++) Posix.SendWithFds(client, "x"u8, [passed]);
        Posix.Close(passed);
        Loop.Until(() => Frontend.Text.Length == 40);
        CloseNow(client);
        Loop.Until(() => !backend.IsOpen);

        // Every copy of the other end is gone.
        Assert.Null(ReadNow(kept));
    }

    [Fact]
    public void A_client_that_does_not_read_gets_everything_later()
    {
        var backend = Attach(ServerOptions);
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        var data = new byte[4 << 20];
        new Random(1).NextBytes(data);
        var sent = backend.Write(data);
        Assert.InRange(sent, 1, data.Length - 1);
        Loop.Settle();
        Assert.Equal(0, Frontend.WriteReadies);
        Frontend.OnWriteReady = () => sent += backend.Write(data.AsSpan(sent));
        var got = new StringBuilder();
        Loop.Until(() => got.Append(ReadNow(client)).Length == data.Length);
        Assert.Equal(data, Encoding.Latin1.GetBytes(got.ToString()));
    }

    [Fact]
    public void A_full_front_end_stops_the_reading()
    {
        var backend = Attach(ServerOptions);
        Frontend.Room = 0;
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        Write(client, "abcdef");
        Loop.Settle();
        Assert.Equal("", Frontend.Text);
        Frontend.Room = 2;
        backend.AcceptInput();
        Loop.Until(() => Frontend.Text == "abcdef");

        // Neither data nor the end may make the loop spin while there is no room.
        Frontend.Room = 0;
        Write(client, "tail");
        CloseNow(client);
        Loop.Settle();
        Assert.True(backend.IsOpen);
        Frontend.Room = 100;
        backend.AcceptInput();
        Loop.Until(() => !backend.IsOpen);
        Assert.Equal("abcdeftail", Frontend.Text);
    }

    [Fact]
    public void Writing_to_a_client_that_has_gone_does_no_harm()
    {
        var backend = Attach(ServerOptions);
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        CloseNow(client);
        Assert.Equal(5, Write(backend, "hello"));
        Loop.Until(() => !backend.IsOpen);
        Assert.Equal([CharEvent.Opened, CharEvent.Closed], Frontend.Events);
    }

    [Fact]
    public void A_stale_path_is_replaced_and_the_own_one_removed()
    {
        Posix.Close(Posix.UnixListen(At("s"), 1));
        Assert.True(File.Exists(At("s")));
        var backend = Attach(ServerOptions);
        var client = Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
        backend.Dispose();
        Assert.False(File.Exists(At("s")));

        // A process that another test starts at this moment holds a copy of the socket until its program runs.
        Loop.Until(() => ReadNow(client) is null);
    }

    [Fact]
    public void The_path_of_a_successor_stays()
    {
        var backend = Attach(ServerOptions);
        File.Move(At("s"), At("old"));
        Own(Posix.UnixListen(At("s"), 1));
        backend.Dispose();
        Assert.True(File.Exists(At("s")));
    }

    [Fact]
    public void A_path_in_use_is_refused()
    {
        Own(Posix.UnixListen(At("s"), 100));
        Assert.Equal($"chardev c: cannot listen on '{At("s")}': another process does", Refused(ServerOptions));

        // Also where nobody takes the connections and the backlog is full.
        Own(Posix.UnixListen(At("full"), 0));
        Connect(At("full"));
        Assert.Contains("another process does", Refused($"socket,path={At("full")},server=on,wait=off"));
    }

    [Fact]
    public async Task A_path_that_becomes_free_is_taken()
    {
        var old = Posix.UnixListen(At("s"), 100);
        var freed = Task.Run(async () =>
        {
            await Task.Delay(150);
            Posix.Close(old);
        });
        var backend = Attach(ServerOptions);
        await freed;
        Connect(At("s"));
        Loop.Until(() => backend.IsOpen);
    }

    [Fact]
    public void Files_are_not_taken_for_stale_sockets()
    {
        File.WriteAllText(At("s"), "precious");
        Assert.Equal($"chardev c: cannot listen on '{At("s")}': it exists and is not a socket", Refused(ServerOptions));
        Assert.Equal("precious", File.ReadAllText(At("s")));
        Directory.CreateDirectory(At("d"));
        Assert.Contains("is not a socket", Refused($"socket,path={At("d")},server=on,wait=off"));
    }

    [Fact]
    public void Addresses_that_cannot_be_used_are_refused()
    {
        var longPath = At(new string('x', 108));
        Assert.Contains("has at most 107 bytes", Refused($"socket,path={longPath},server=on,wait=off"));
        Assert.Contains("has at most 107 bytes", Refused($"socket,path={longPath}"));
        Assert.Equal($"chardev c: cannot listen on '{At("no/s")}': No such file or directory", Refused($"socket,path={At("no/s")},server=on,wait=off"));
        Assert.Equal($"chardev c: cannot connect to '{At("s")}': No such file or directory", Refused($"socket,path={At("s")}"));
        var listener = Own(Posix.TcpListen(new IPEndPoint(IPAddress.Loopback, 0), 1));
        var port = Posix.LocalEndPoint(listener)!.Port;
        Assert.Equal($"chardev c: cannot listen on 127.0.0.1:{port}: Address already in use", Refused($"socket,host=127.0.0.1,port={port},server=on,wait=off"));
        Assert.Contains("is no host or address", Refused("socket,host=127.0.0.1,port=1,ipv6=on,server=on,wait=off"));
        Assert.Contains("chardev c: fd=99999: Bad file descriptor", Refused("socket,fd=99999,server=on"));
        var file = Own(Posix.Open("/dev/null", OpenFlags.ReadOnly));
        Assert.Contains("is not a socket", Refused($"socket,fd={file},server=on"));
    }

    [Fact]
    public void A_unix_client_talks_to_its_server()
    {
        var listener = Own(Posix.UnixListen(At("s"), 1));
        var backend = Attach($"socket,path={At("s")}");
        Assert.Equal([CharEvent.Opened], Frontend.Events);
        Assert.Equal($"unix:{At("s")}", backend.FileName);
        var server = Own(Posix.Accept(listener));
        Write(backend, "ping");
        Assert.Equal("ping", Read(server, 4));
        CloseNow(server);
        Loop.Until(() => !backend.IsOpen);
        Loop.Settle();
    }

    [Theory]
    [InlineData("127.0.0.1", "127.0.0.1")]
    [InlineData("::1", "[::1]")]
    public void A_tcp_server_talks_to_its_client(string host, string shown)
    {
        var probe = Posix.TcpListen(new IPEndPoint(IPAddress.Parse(host), 0), 1);
        if (probe == -Errno.EADDRNOTAVAIL) return;
        Posix.Close(probe);
        var backend = (SocketChar)Attach($"socket,host={host},port=0,server=on,wait=off");
        var port = backend.LocalPort;
        Assert.Equal($"disconnected:tcp:{shown}:{port},server=on", backend.FileName);
        var client = Own(Posix.TcpConnect(new IPEndPoint(IPAddress.Parse(host), port), nonBlocking: false));
        Loop.Until(() => backend.IsOpen);
        Assert.Equal($"tcp:{shown}:{port},server=on <-> {Posix.LocalEndPoint(client)}", backend.FileName);
        Write(client, "hello");
        Loop.Until(() => Frontend.Text == "hello");
        Write(backend, "there");
        Assert.Equal("there", Read(client, 5));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_client_connects_again(bool unix)
    {
        var listener = unix ? Posix.UnixListen(At("s"), 1) : Posix.TcpListen(new IPEndPoint(IPAddress.Loopback, 0), 1);
        var where = unix ? $"path={At("s")}" : $"host=127.0.0.1,port={Posix.LocalEndPoint(listener)!.Port}";
        var port = unix ? 0 : Posix.LocalEndPoint(listener)!.Port;
        Posix.Close(listener);
        if (unix) File.Delete(At("s"));
        var backend = Attach($"socket,{where},reconnect-ms=20");
        Loop.Settle();
        Assert.False(backend.IsOpen);
        Assert.StartsWith("disconnected:", backend.FileName);
        listener = Own(unix ? Posix.UnixListen(At("s"), 1) : Posix.TcpListen(new IPEndPoint(IPAddress.Loopback, port), 1));
        for (var round = 0; round < 3; round++)
        {
            Loop.Until(() => backend.IsOpen);
            var server = Own(Posix.Accept(listener));
            Write(server, "x");
            Loop.Until(() => Frontend.Text.Length == round + 1);
            CloseNow(server);
            Loop.Until(() => !backend.IsOpen);
        }
    }

    [Fact]
    public async Task A_server_can_wait_for_its_first_client()
    {
        var client = Task.Run(async () =>
        {
            int fd;
            while ((fd = Posix.UnixConnect(At("s"))) < 0) await Task.Delay(5);
            return fd;
        });
        var backend = Attach($"socket,path={At("s")},server=on");
        Assert.True(backend.IsOpen);
        Assert.Contains(Log.Lines, l => l.Contains("waits for a connection", StringComparison.Ordinal));
        Write(backend, "hello");
        Assert.Equal("hello", Read(Own(await client), 5));
    }

    [Fact]
    public void Telnet_is_taken_out_of_the_stream()
    {
        var backend = (SocketChar)Attach("socket,host=127.0.0.1,port=0,server=on,wait=off,telnet=on");
        Assert.StartsWith("disconnected:telnet:127.0.0.1:", backend.FileName);
        var client = Own(Posix.TcpConnect(new IPEndPoint(IPAddress.Loopback, backend.LocalPort), nonBlocking: false));
        Assert.Equal("\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00", Read(client, 12));
        var stream = "a\xff\xfd\x01" + "b\xff\xff" + "c\xff\xfa\x18\x01\xff\xff\xf0zz\xff\xf0" + "d\xff\xf1\xff\xf3" + "e";
        foreach (var c in stream)
        {
            Write(client, c.ToString());
            Loop.Settle();
        }

        Loop.Until(() => Frontend.Text.EndsWith('e'));
        Assert.Equal("ab\xff" + "cde", Frontend.Text);
        Assert.Equal([CharEvent.Opened, CharEvent.Break], Frontend.Events);
        Assert.Equal(5, Write(backend, "x\xff\xffyz"));
        Assert.Equal("x\xff\xff\xff\xffyz", Read(client, 7));
    }

    [Fact]
    public void Telnet_escapes_survive_a_full_socket()
    {
        var backend = (SocketChar)Attach("socket,host=127.0.0.1,port=0,server=on,wait=off,telnet=on");
        var client = Own(Posix.TcpConnect(new IPEndPoint(IPAddress.Loopback, backend.LocalPort), nonBlocking: false));
        Loop.Until(() => backend.IsOpen);
        var data = new byte[6 << 20];
        new Random(2).NextBytes(data);
        for (var i = 0; i < data.Length; i += 3) data[i] = 0xff;
        var sent = backend.Write(data);
        Assert.InRange(sent, 1, data.Length - 1);
        Frontend.OnWriteReady = () => sent += backend.Write(data.AsSpan(sent));
        var length = 12 + data.Length + data.Count(b => b == 0xff);
        var got = new StringBuilder();
        Loop.Until(() => got.Append(ReadNow(client)).Length >= length);
        Assert.Equal(Encoding.Latin1.GetString(data).Replace("\xff", "\xff\xff", StringComparison.Ordinal), got.ToString(12, got.Length - 12));
    }
}
