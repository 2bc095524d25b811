using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Text;
using XenDM.Backends.Net;
using XenDM.Backends.Tests.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Testing;

namespace XenDM.Backends.Tests.Net;

/// <summary>The library itself, from a guest that speaks its protocols by hand.</summary>
public sealed class UserNetTests : IDisposable
{
    private const byte Fin = 1, Syn = 2, Reset = 4, Push = 8, Ack = 16;
    private static readonly IPAddress s_router = IPAddress.Parse("10.0.2.2");
    private static readonly IPAddress s_guest = IPAddress.Parse("10.0.2.15");
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-net-").FullName;
    private readonly TestLoop _loop = new();
    private readonly TestGuest _guest = new();
    private readonly byte[] _routerMac = new byte[6];
    private UserNet? _net;

    public void Dispose()
    {
        _net?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private UserNet Open(UserNetdev? spec = null)
    {
        _net = new UserNet(spec ?? new UserNetdev("net0"), _loop, SilentLog.Instance);
        _net.Attach(_guest);
        return _net;
    }

    private void Send(byte[] frame, NetFrame how = default)
    {
        _guest.IsCalling = true;
        Assert.True(_net!.Send(how, frame));
        _guest.IsCalling = false;
    }

    private void SendIp(IPAddress to, int protocol, byte[] transport) => Send(Packet.Ethernet(_routerMac, 0x0800, Packet.Ip(s_guest, to, protocol, transport)));

    /// <summary>Asks for the router's address; it then knows ours, too.</summary>
    private void Meet(IPAddress? router = null)
    {
        router ??= s_router;
        byte[] ask = [0, 1, 8, 0, 6, 4, 0, 1, .. Packet.GuestMac, .. s_guest.GetAddressBytes(), 0, 0, 0, 0, 0, 0, .. router.GetAddressBytes()];
        Send(Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0806, ask));
        byte[]? answer = null;
        _loop.Until(() => (answer = Find(f => f[12] == 8 && f[13] == 6 && f[21] == 2)) is not null);
        Assert.Equal(router.GetAddressBytes(), answer![28..32]);
        answer.AsSpan(22, 6).CopyTo(_routerMac);
        _guest.Received.Clear();
    }

    private byte[]? Find(Predicate<byte[]> match) => _guest.Received.Find(r => match(r.Bytes)).Bytes;

    /// <summary>Waits for a segment with all of these flags.</summary>
    private byte[] Segment(byte flags, int port)
    {
        byte[]? found = null;
        _loop.Until(() =>
        {
            foreach (var (_, bytes) in _guest.Received)
                if (Packet.Transport(bytes, Packet.Tcp) is { } tcp && (tcp[13] & flags) == flags && BinaryPrimitives.ReadUInt16BigEndian(tcp.AsSpan(2)) == port) found = tcp;
            return found is not null;
        });
        _guest.Received.Clear();
        return found!;
    }

    private static uint Sequence(byte[] tcp) => BinaryPrimitives.ReadUInt32BigEndian(tcp.AsSpan(4));

    private static uint Acknowledged(byte[] tcp) => BinaryPrimitives.ReadUInt32BigEndian(tcp.AsSpan(8));

    private static TcpListener Listen(out int port)
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        port = ((IPEndPoint)listener.LocalEndpoint).Port;
        return listener;
    }

    [Fact]
    public void DhcpGivesAnAddressAndSaysWhereThingsAre()
    {
        Open(new UserNetdev("net0") { HostName = "box", DomainName = "example.org", BootFile = "pxelinux.0", Tftp = _folder });
        byte[] discover =
        [
            1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, .. new byte[16], .. Packet.GuestMac, .. new byte[10 + 192], 0x63, 0x82, 0x53, 0x63,
            53, 1, 1, 55, 4, 1, 3, 6, 12, 255,
        ];
        Send(Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0800, Packet.Ip(IPAddress.Any, IPAddress.Broadcast, Packet.Udp, Packet.UdpDatagram(68, 67, discover))));
        byte[]? offer = null;
        _loop.Until(() => (offer = Find(static f => Packet.Transport(f, Packet.Udp) is { } udp && udp[3] == 68)) is not null);
        var dhcp = Packet.Transport(offer!, Packet.Udp)![8..];
        Assert.Equal(s_guest.GetAddressBytes(), dhcp[16..20]);
        Assert.StartsWith("pxelinux.0\0", Encoding.ASCII.GetString(dhcp, 108, 128), StringComparison.Ordinal);
        var options = new Dictionary<byte, byte[]>();
        for (var at = 240; dhcp[at] != 255; at += 2 + dhcp[at + 1]) options[dhcp[at]] = dhcp[(at + 2)..(at + 2 + dhcp[at + 1])];
        Assert.Equal([2], options[53]);
        Assert.Equal([255, 255, 255, 0], options[1]);
        Assert.Equal(s_router.GetAddressBytes(), options[3]);
        Assert.Equal([10, 0, 2, 3], options[6]);
        Assert.Equal("box", Encoding.ASCII.GetString(options[12]));
        Assert.Equal("example.org", Encoding.ASCII.GetString(options[15]));
    }

    [Fact]
    public void TftpServesAFile()
    {
        File.WriteAllText(Path.Combine(_folder, "hello.txt"), "from the folder");
        Open(new UserNetdev("net0") { Tftp = _folder });
        Meet();
        SendIp(s_router, Packet.Udp, Packet.UdpDatagram(2000, 69, Encoding.ASCII.GetBytes("\0\u0001hello.txt\0octet\0")));
        byte[]? data = null;
        _loop.Until(() => (data = Find(static f => Packet.Transport(f, Packet.Udp) is { } udp && udp[9] == 3)) is not null);
        Assert.Equal("from the folder", Encoding.ASCII.GetString(Packet.Transport(data!, Packet.Udp)![12..]));
    }

    /// <summary>10.0.2.2 is this host: a server that listens on its loopback interface is reached there.</summary>
    [Fact]
    public void AGuestReachesAServerOfThisHostAndMovesDataBothWays()
    {
        Open();
        Meet();
        using var listener = Listen(out var port);
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1111, port, 1000, 0, Syn, []));
        var answer = Segment(Syn | Ack, 1111);
        Assert.Equal(1001u, Acknowledged(answer));
        var theirs = Sequence(answer) + 1;
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1111, port, 1001, theirs, Ack, []));
        using var server = listener.AcceptSocket();

        // To the host: 20000 bytes as one uncut frame whose checksum is blank.
        var data = new byte[20_000];
        new Random(1).NextBytes(data);
        var packet = Packet.Ip(s_guest, s_router, Packet.Tcp, Packet.TcpSegment(1111, port, 1001, theirs, Ack | Push, data));
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(36), 0xbeef);
        Send(Packet.Ethernet(_routerMac, 0x0800, packet), new NetFrame { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1460, HeaderBytes = 54 });
        var read = 0;
        var buffer = new byte[data.Length];
        server.Blocking = false;
        _loop.Until(() =>
        {
            while (read < buffer.Length && server.Available > 0) read += server.Receive(buffer, read, buffer.Length - read, SocketFlags.None);
            return read == buffer.Length;
        });
        Assert.Equal(data, buffer);

        // From the host: more than one window, acknowledged as it comes.
        var sent = 0;
        var came = new List<byte>();
        var mine = 1001u + (uint)data.Length;
        var total = new byte[300_000];
        new Random(2).NextBytes(total);
        _guest.Received.Clear();
        _loop.Until(() =>
        {
            try
            {
                if (sent < total.Length) sent += server.Send(total, sent, total.Length - sent, SocketFlags.None);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
            {
            }

            foreach (var (frame, bytes) in _guest.Received)
            {
                Assert.True(frame.IsValid);
                Assert.InRange(bytes.Length, 14, 1514);
                if (Packet.Transport(bytes, Packet.Tcp) is not { } tcp || tcp.Length == 20) continue;
                if (Sequence(tcp) != theirs + (uint)came.Count) continue;
                came.AddRange(tcp[((tcp[12] >> 4) * 4)..]);
            }

            if (_guest.Received.Count > 0) SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1111, port, mine, theirs + (uint)came.Count, Ack, []));
            _guest.Received.Clear();
            return came.Count >= total.Length;
        });
        Assert.Equal(total, came.ToArray());

        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1111, port, mine, theirs + (uint)came.Count, Ack | Fin, []));
        Segment(Ack, 1111);
        _loop.Until(() => server.Poll(0, SelectMode.SelectRead) && server.Available == 0);
        Assert.Contains("TCP", _net!.Connections, StringComparison.Ordinal);
    }

    [Fact]
    public void AClosedPortAnswersWithAReset()
    {
        Open();
        Meet();
        using (Listen(out var port)) _ = port;
        var free = Listen(out var closed);
        free.Stop();
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1112, closed, 1, 0, Syn, []));
        Segment(Reset, 1112);
    }

    [Fact]
    public void APortOfThisHostLeadsIntoTheGuest()
    {
        var free = Listen(out var port);
        free.Stop();
        Open(new UserNetdev("net0") { Forwards = [new PortForward(false, IPAddress.Loopback, port, IPAddress.Any, 22)] });
        Meet();
        using var client = new TcpClient();
        client.Client.Blocking = false;
        try
        {
            client.Client.Connect(IPAddress.Loopback, port);
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
        {
        }

        var first = Segment(Syn, 22);
        var theirPort = BinaryPrimitives.ReadUInt16BigEndian(first);
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(22, theirPort, 500, Sequence(first) + 1, Syn | Ack, []));
        Segment(Ack, 22);
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(22, theirPort, 501, Sequence(first) + 1, Ack | Push, "SSH-2.0-x\r\n"u8));
        _loop.Until(() => client.Available == 11);
        Assert.True(_net!.RemoveForward(false, IPAddress.Loopback, port));
        Assert.False(_net.RemoveForward(false, IPAddress.Loopback, port));
    }

    [Fact]
    public void APortThatIsTakenIsSaidAtOnce()
    {
        using var listener = Listen(out var port);
        var e = Assert.Throws<NetOpenException>(() => Open(new UserNetdev("net0") { Forwards = [new PortForward(false, IPAddress.Loopback, port, IPAddress.Any, 22)] }));
        Assert.Contains($"{port}", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ARestrictedGuestReachesNobody()
    {
        Open(new UserNetdev("net0") { IsRestricted = true });
        Meet();
        using var listener = Listen(out var port);
        SendIp(s_router, Packet.Tcp, Packet.TcpSegment(1113, port, 1, 0, Syn, []));
        Segment(Reset, 1113);
        Assert.False(listener.Pending());
    }

    /// <summary>While the guest has no room, frames wait in their order, and nothing spins.</summary>
    [Fact]
    public void AGuestWithoutRoomIsWaitedFor()
    {
        Open();
        Meet();
        _guest.Room = 0;
        for (var i = 0; i < 5; i++)
        {
            byte[] ask = [0, 1, 8, 0, 6, 4, 0, 1, .. Packet.GuestMac, .. s_guest.GetAddressBytes(), 0, 0, 0, 0, 0, 0, 10, 0, 2, (byte)(2 + (i & 1))];
            Send(Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0806, ask));
        }

        _loop.Settle();
        Assert.Empty(_guest.Received);
        Assert.Equal(1, _guest.Refused);
        _guest.Room = 2;
        _guest.IsCalling = true;
        _net!.ReceiveReady();
        _guest.IsCalling = false;
        _loop.Settle();
        Assert.Equal(2, _guest.Received.Count);
        _guest.Room = 99;
        _net.ReceiveReady();
        _loop.Settle();
        Assert.Equal([2, 3, 2, 3, 2], _guest.Received.ConvertAll(static r => (int)r.Bytes[31]));
    }

    /// <summary>Each datagram from another port is a socket of this process; the guest cannot have them all.</summary>
    [Fact]
    public void AGuestGetsSoManySocketsAndNoMore()
    {
        Open();
        Meet();
        using var sink = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        sink.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)sink.LocalEndPoint!).Port;
        for (var from = 2000; from < 4000; from++)
        {
            SendIp(s_router, Packet.Udp, Packet.UdpDatagram(from, port, [1]));
            if (from % 50 == 0) _loop.Settle();
        }

        _loop.Settle();
        Assert.InRange(_net!.Connections.Split("UDP").Length - 1, 400, 520);
        Assert.InRange(_net.Statistics.SendDrops, 1480, 1600);

        // What is there goes on, and neighbours answer.
        _guest.Received.Clear();
        Meet();
    }

    [Fact]
    public void AFrameCostsNoAllocation()
    {
        Open();
        Meet();
        // Of a protocol that nobody answers.
        var ask = Packet.Ethernet(_routerMac, 0x0800, Packet.Ip(s_guest, s_router, 99, new byte[1000]));
        Assert.Equal(0, Allocations.Of(Ask));

        void Ask()
        {
            for (var n = 0; n < 200; n++) _net!.Send(default, ask);
        }
    }

    [Fact]
    public void AnIdleGuestWakesNobody()
    {
        Open(new UserNetdev("net0") { HasIpv6 = false });
        Meet();
        _loop.Settle();
        var before = _loop.Callbacks;
        var until = Environment.TickCount64 + 700;
        _loop.Until(() => Environment.TickCount64 > until);
        Assert.Equal(before, _loop.Callbacks);
    }

    [Fact]
    public void ALooseCableCarriesNothing()
    {
        Open();
        Meet();
        _net!.IsLinkUp = false;
        Assert.Equal([false], _guest.Links);
        byte[] ask = [0, 1, 8, 0, 6, 4, 0, 1, .. Packet.GuestMac, .. s_guest.GetAddressBytes(), 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
        Send(Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0806, ask));
        _loop.Settle();
        Assert.Empty(_guest.Received);
        _net.IsLinkUp = true;
        Meet();
        Assert.Equal([false, true], _guest.Links);
    }

    /// <summary>Whatever a guest sends, the process and the next connection live on.</summary>
    [Fact]
    public void RandomFramesHarmNothing()
    {
        Open();
        Meet();
        var random = new Random(5);
        var good = Packet.Ethernet(_routerMac, 0x0800, Packet.Ip(s_guest, s_router, Packet.Udp, Packet.UdpDatagram(1, 69, new byte[100])));
        for (var round = 0; round < 20_000; round++)
        {
            var frame = (byte[])good.Clone();
            for (var n = random.Next(8); n > 0; n--) frame[random.Next(12, frame.Length)] = (byte)random.Next(256);
            var length = random.Next(8) == 0 ? random.Next(frame.Length) : frame.Length;

            // Nothing leaves this host.
            frame[30] = 10;
            frame[31] = 0;
            frame[32] = 2;
            var how = new NetFrame { NeedsChecksum = random.Next(2) == 0, ChecksumStart = (ushort)random.Next(120), ChecksumOffset = (ushort)random.Next(30), Segmentation = (NetSegmentation)random.Next(3), SegmentBytes = (ushort)random.Next(3000) };
            Assert.True(_net!.Send(how, frame.AsSpan(0, length)));
            if (round % 100 == 0) _loop.Settle();
        }

        _loop.Settle(100_000);
        _guest.Received.Clear();
        Meet();
    }
}
