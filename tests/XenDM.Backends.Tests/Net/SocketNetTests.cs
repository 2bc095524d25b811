using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using XenDM.Backends.Net;
using XenDM.Backends.Tests.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Tests.Net;

public sealed class SocketNetTests : IDisposable
{
    private static readonly IPEndPoint s_any = new(IPAddress.Loopback, 0);
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-net-").FullName;
    private readonly TestLoop _loop = new();
    private readonly TestGuest _guest = new();
    private readonly TestGuest _other = new();
    private readonly List<NetBackend> _open = [];

    public void Dispose()
    {
        foreach (var net in _open) net.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private T Open<T>(SocketNetdev spec, TestGuest guest)
        where T : NetBackend
    {
        var net = (T)NetBackends.Open(spec, _loop, SilentLog.Instance);
        _open.Add(net);
        net.Attach(guest);
        return net;
    }

    private static byte[] Frame(int length, byte fill)
    {
        var frame = new byte[length];
        Array.Fill(frame, fill);
        frame[12] = frame[13] = 0x88;
        return frame;
    }

    private void Exchange(NetBackend first, NetBackend second)
    {
        for (var i = 0; i < 50; i++)
        {
            Assert.True(first.Send(default, Frame(14 + (i * 30), (byte)i)));
            Assert.True(second.Send(default, Frame(1514 - i, (byte)(100 + i))));
            if (i % 10 == 0) _loop.Settle();
        }

        _loop.Until(() => _guest.Received.Count == 50 && _other.Received.Count == 50);
        for (var i = 0; i < 50; i++)
        {
            Assert.Equal(Frame(14 + (i * 30), (byte)i), _other.Received[i].Bytes);
            Assert.Equal(Frame(1514 - i, (byte)(100 + i)), _guest.Received[i].Bytes);
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void TwoAreOneCable(bool unix)
    {
        var path = Path.Combine(_folder, "s");
        var listen = Open<StreamNet>(new SocketNetdev("a", NetSocketKind.Listen) { Path = unix ? path : null, Local = unix ? null : s_any }, _guest);
        var connect = Open<StreamNet>(new SocketNetdev("b", NetSocketKind.Connect) { Path = unix ? path : null, Host = "127.0.0.1", Port = listen.Local?.Port ?? 0 }, _other);
        _loop.Until(() => listen.IsConnected && connect.IsConnected);
        Exchange(listen, connect);
        Assert.Equal((50, 50), (listen.Statistics.SentFrames, listen.Statistics.ReceivedFrames));
        connect.Dispose();
        _loop.Until(() => !listen.IsConnected);
        Assert.True(listen.Send(default, Frame(60, 1)));
    }

    [Fact]
    public void AClientComesBack()
    {
        var path = Path.Combine(_folder, "s");
        var connect = Open<StreamNet>(new SocketNetdev("b", NetSocketKind.Connect) { Path = path, ReconnectSeconds = 1 }, _other);
        Assert.False(connect.IsConnected);
        var listen = Open<StreamNet>(new SocketNetdev("a", NetSocketKind.Listen) { Path = path }, _guest);
        _loop.Until(() => connect.IsConnected && listen.IsConnected);
        Exchange(listen, connect);
    }

    [Fact]
    public void NobodyThereIsSaidAtOnce() =>
        Assert.Contains("cannot connect", Assert.Throws<NetOpenException>(() => Open<StreamNet>(new SocketNetdev("b", NetSocketKind.Connect) { Path = Path.Combine(_folder, "none") }, _guest)).Message, StringComparison.Ordinal);

    /// <summary>The other end does not read: the guest is told to wait, and then to go on.</summary>
    [Fact]
    public void AFullConnectionMakesTheGuestWait()
    {
        using var peer = Client(out var net);
        var sent = 0;
        while (net.Send(default, Frame(1514, (byte)sent))) Assert.True(++sent < 100_000);
        Assert.Equal(0, _guest.SendReadies);
        _loop.Settle();
        Assert.Equal(0, _guest.SendReadies);
        var buffer = new byte[(1514 + 4) * sent];
        var read = 0;
        peer.Blocking = false;
        _loop.Until(() =>
        {
            while (peer.Available > 0 && read < buffer.Length) read += peer.Receive(buffer, read, Math.Min(65536, buffer.Length - read), SocketFlags.None);
            return read == buffer.Length;
        });
        Assert.Equal(1, _guest.SendReadies);
        for (var i = 0; i < sent; i++)
        {
            Assert.Equal(1514, BinaryPrimitives.ReadInt32BigEndian(buffer.AsSpan(i * 1518)));
            Assert.Equal((byte)i, buffer[(i * 1518) + 4]);
        }
    }

    [Fact]
    public void UncutFramesLeaveAsSegments()
    {
        using var peer = Client(out var net);
        var (from, to) = (IPAddress.Parse("10.0.0.1"), IPAddress.Parse("10.0.0.2"));
        var data = new byte[60_000];
        var frame = Packet.Ethernet([1, 2, 3, 4, 5, 6], 0x0800, Packet.Ip(from, to, Packet.Tcp, Packet.TcpSegment(1, 2, 3, 4, 16, data)));
        Assert.True(net.Send(new NetFrame { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1460 }, frame));
        var all = new byte[data.Length + (42 * 58)];
        var read = 0;
        peer.Blocking = false;
        _loop.Until(() =>
        {
            while (peer.Available > 0) read += peer.Receive(all, read, all.Length - read, SocketFlags.None);
            return read == all.Length;
        });
        var carried = 0;
        for (var at = 0; at < read;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(all.AsSpan(at));
            carried += Packet.Transport(all[(at + 4)..(at + 4 + length)], Packet.Tcp)!.Length - 20;
            at += 4 + length;
        }

        Assert.Equal(data.Length, carried);
    }

    /// <summary>Bytes come in pieces of any size; the guest has room now and then.</summary>
    [Fact]
    public void FramesComeInPieces()
    {
        using var peer = Client(out var net);
        var random = new Random(4);
        var stream = new List<byte>();
        var lengths = new List<int>();
        for (var i = 0; i < 300; i++)
        {
            var length = random.Next(20) == 0 ? random.Next(20_000, 65_000) : random.Next(14, 1600);
            byte[] prefix = [0, 0, (byte)(length >> 8), (byte)length];
            stream.AddRange(prefix);
            stream.AddRange(Frame(length, (byte)i));
            lengths.Add(length);
        }

        var bytes = stream.ToArray();
        var sent = 0;
        peer.Blocking = false;
        _guest.Room = 0;
        _loop.Until(() =>
        {
            if (sent < bytes.Length && peer.Poll(0, SelectMode.SelectWrite)) sent += peer.Send(bytes.AsSpan(sent, Math.Min(random.Next(1, 30_000), bytes.Length - sent)), SocketFlags.None, out _);
            _loop.Settle();
            _guest.Room = random.Next(5);
            net.ReceiveReady();
            return _guest.Received.Count == lengths.Count;
        });
        for (var i = 0; i < lengths.Count; i++) Assert.Equal(Frame(lengths[i], (byte)i), _guest.Received[i].Bytes);
    }

    /// <summary>Another protocol, or nonsense: the connection ends, and the next one is taken.</summary>
    [Fact]
    public void NonsenseEndsTheConnection()
    {
        var listen = Open<StreamNet>(new SocketNetdev("a", NetSocketKind.Listen) { Local = s_any }, _guest);
        var random = new Random(6);
        for (var round = 0; round < 50; round++)
        {
            using var peer = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            peer.Connect(listen.Local!);
            _loop.Until(() => listen.IsConnected);
            var nonsense = new byte[random.Next(1, 5000)];
            random.NextBytes(nonsense);
            if (random.Next(2) == 0) nonsense.AsSpan(0, 3).Clear();
            peer.Send(nonsense);
            peer.Shutdown(SocketShutdown.Send);
            _loop.Until(() => !listen.IsConnected);
        }

        Assert.DoesNotContain(_guest.Received, static r => r.Bytes.Length < 14);
    }

    [Fact]
    public void DatagramsOverUdp()
    {
        var (first, second) = (FreePort(), FreePort());
        var a = Open<DatagramNet>(new SocketNetdev("a", NetSocketKind.Datagram) { Local = first, Host = "127.0.0.1", Port = second.Port }, _guest);
        var b = Open<DatagramNet>(new SocketNetdev("b", NetSocketKind.Datagram) { Local = second, Host = "127.0.0.1", Port = first.Port }, _other);
        Exchange(a, b);
    }

    [Fact]
    public void DatagramsOverUnixSockets()
    {
        var (first, second) = (Path.Combine(_folder, "a"), Path.Combine(_folder, "b"));

        // What a process left behind that was killed.
        Posix.Close(Posix.DatagramSocket(Posix.SocketAddress(first), share: false));
        Assert.True(File.Exists(first));
        var a = Open<DatagramNet>(new SocketNetdev("a", NetSocketKind.Datagram) { Path = first, PeerPath = second }, _guest);
        Assert.True(a.Send(default, Frame(60, 1)));
        var b = Open<DatagramNet>(new SocketNetdev("b", NetSocketKind.Datagram) { Path = second, PeerPath = first }, _other);
        Assert.Throws<NetOpenException>(() => Open<DatagramNet>(new SocketNetdev("c", NetSocketKind.Datagram) { Path = second, PeerPath = first }, _other));

        // The queue of a unix socket holds few: one at a time.
        for (var i = 0; i < 20; i++)
        {
            a.Send(default, Frame(1514, (byte)i));
            _loop.Until(() => _other.Received.Count == i + 1);
        }

        Assert.Equal(Frame(1514, 19), _other.Received[^1].Bytes);
        a.Dispose();
        b.Dispose();
        Assert.False(File.Exists(first) || File.Exists(second));
    }

    [Fact]
    public void AGroupIsOneWireForAll()
    {
        var port = FreePort().Port;
        var spec = new SocketNetdev("a", NetSocketKind.Multicast) { Host = "239.255.77.7", Port = port, Local = new IPEndPoint(IPAddress.Loopback, port) };
        var third = new TestGuest();
        var a = Open<DatagramNet>(spec, _guest);
        Open<DatagramNet>(spec with { Id = "b" }, _other);
        Open<DatagramNet>(spec with { Id = "c" }, third);
        a.Send(default, Frame(99, 7));
        _loop.Until(() => _other.Received.Count == 1 && third.Received.Count == 1);
        _loop.Settle();
        Assert.Empty(_guest.Received);
        Assert.Equal(Frame(99, 7), third.Received[0].Bytes);
    }

    [Fact]
    public void ADatagramWaitsForAGuestWithoutRoom()
    {
        var (first, second) = (FreePort(), FreePort());
        var a = Open<DatagramNet>(new SocketNetdev("a", NetSocketKind.Datagram) { Local = first, Host = "127.0.0.1", Port = second.Port }, _guest);
        var b = Open<DatagramNet>(new SocketNetdev("b", NetSocketKind.Datagram) { Local = second, Host = "127.0.0.1", Port = first.Port }, _other);
        _other.Room = 0;
        for (var i = 0; i < 5; i++) a.Send(default, Frame(60, (byte)i));
        _loop.Until(() => _other.Refused > 0);
        _loop.Settle();
        _other.Room = 99;
        b.ReceiveReady();
        _loop.Until(() => _other.Received.Count == 5);
        for (var i = 0; i < 5; i++) Assert.Equal((byte)i, _other.Received[i].Bytes[0]);
    }

    private static IPEndPoint FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        socket.Bind(s_any);
        return (IPEndPoint)socket.LocalEndPoint!;
    }

    private Socket Client(out StreamNet net)
    {
        var listen = net = Open<StreamNet>(new SocketNetdev("a", NetSocketKind.Listen) { Local = s_any }, _guest);
        var peer = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        peer.Connect(listen.Local!);
        _loop.Until(() => listen.IsConnected);
        return peer;
    }
}
