using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using XenDM.Backends.Net;
using XenDM.Backends.Tests.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Net;

namespace XenDM.Backends.Tests.Net;

/// <summary>A tap of this host, with the host's own TCP/IP at its other end and a guest that speaks by hand.</summary>
public sealed class TapNetTests : IDisposable
{
    private const NetOffloads All = NetOffloads.Checksum | NetOffloads.Tcp4 | NetOffloads.Tcp6;
    private const byte Syn = 2, Push = 8, Ack = 16;
    private const int Port = 1111;

    // RFC 2544's networks, one for each test that runs at a time.
    private readonly IPAddress _hostAddress;
    private readonly IPAddress _guestAddress;
    private readonly byte[] _hostMac = new byte[6];
    private readonly TestLoop _loop = new();
    private readonly TestGuest _guest = new();
    private TapNet? _net;

    public TapNetTests()
    {
        var number = Random.Shared.Next(1 << 14);
        byte[] address = [198, (byte)(18 + (number >> 13)), (byte)(number >> 5), (byte)((number << 3) | 1)];
        _hostAddress = new IPAddress(address);
        address[3]++;
        _guestAddress = new IPAddress(address);
    }

    public void Dispose() => _net?.Dispose();

    private static void Ip(params string[] words)
    {
        using var process = Process.Start("/sbin/ip", words);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private TapNet Open(NetOffloads receive, TapNetdev? spec = null)
    {
        _net = new TapNet(spec ?? new TapNetdev("net0") { Interface = "xdt%d" }, _loop, SilentLog.Instance);
        _net.Attach(_guest);
        _net.ReceiveOffloads = receive;
        Ip("addr", "add", $"{_hostAddress}/30", "dev", _net.Interface);
        Ip("link", "set", _net.Interface, "up");

        // A first frame, so that both know each other.
        byte[] ask = [0, 1, 8, 0, 6, 4, 0, 1, .. Packet.GuestMac, .. _guestAddress.GetAddressBytes(), 0, 0, 0, 0, 0, 0, .. _hostAddress.GetAddressBytes()];
        Send(Packet.Ethernet([255, 255, 255, 255, 255, 255], 0x0806, ask));
        byte[]? answer = null;
        _loop.Until(() => (answer = _guest.Received.Find(static r => r.Bytes[12] == 8 && r.Bytes[13] == 6 && r.Bytes[21] == 2).Bytes) is not null);
        answer.AsSpan(22, 6).CopyTo(_hostMac);
        _guest.Received.Clear();
        _guest.OnFrame = AnswerArp;
        return _net;
    }

    /// <summary>The host asks now and then whether we are still there.</summary>
    private void AnswerArp(byte[] frame)
    {
        if (frame[12] != 8 || frame[13] != 6 || frame[21] != 1) return;
        byte[] answer = [0, 1, 8, 0, 6, 4, 0, 2, .. Packet.GuestMac, .. _guestAddress.GetAddressBytes(), .. frame[22..32]];
        _net!.Send(default, Packet.Ethernet(_hostMac, 0x0806, answer));
    }

    private void Send(byte[] frame, NetFrame how = default)
    {
        _guest.IsCalling = true;
        Assert.True(_net!.Send(how, frame));
        _guest.IsCalling = false;
    }

    private byte[] Tcp(int port, uint sequence, uint acknowledge, byte flags, byte[] data) =>
        Packet.Ethernet(_hostMac, 0x0800, Packet.Ip(_guestAddress, _hostAddress, Packet.Tcp, Packet.TcpSegment(Port, port, sequence, acknowledge, flags, data)));

    private Socket Connect(TcpListener listener, out int port, out uint theirs)
    {
        port = ((IPEndPoint)listener.LocalEndpoint).Port;
        Send(Tcp(port, 1000, 0, Syn, []));
        byte[]? answer = null;
        _loop.Until(() => (answer = Segments().Find(static t => (t[13] & (Syn | Ack)) == (Syn | Ack))) is not null);
        theirs = BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(4)) + 1;
        Send(Tcp(port, 1001, theirs, Ack, []));
        _guest.Received.Clear();
        _loop.Until(listener.Pending);
        var socket = listener.AcceptSocket();
        socket.Blocking = false;
        return socket;
    }

    /// <summary>TCP segments for our port; the sums of those that are complete were checked.</summary>
    private List<byte[]> Segments()
    {
        var found = new List<byte[]>();
        foreach (var (frame, bytes) in _guest.Received)
        {
            if (bytes.Length < 54 || bytes[12] != 8 || bytes[13] != 0 || bytes[23] != Packet.Tcp) continue;
            var tcp = frame.NeedsChecksum ? bytes[34..] : Packet.Transport(bytes, Packet.Tcp)!;
            if (BinaryPrimitives.ReadUInt16BigEndian(tcp.AsSpan(2)) == Port) found.Add(tcp);
        }

        return found;
    }

    [TapFact]
    public void TheHostsTcpTakesUncutFrames()
    {
        Open(NetOffloads.None);
        var listener = new TcpListener(_hostAddress, 0);
        listener.Start();
        using var server = Connect(listener, out var port, out var theirs);
        listener.Stop();
        var data = new byte[30_000];
        new Random(1).NextBytes(data);
        var frame = Tcp(port, 1001, theirs, Ack | Push, data);

        // As the drivers of NICs leave it: no length, no sums.
        foreach (var at in (int[])[16, 17, 24, 25, 50, 51]) frame[at] = 0;
        Send(frame, new NetFrame { NeedsChecksum = true, ChecksumStart = 34, ChecksumOffset = 16, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1460, HeaderBytes = 54 });
        var came = new byte[data.Length];
        var count = 0;
        _loop.Until(() =>
        {
            while (count < came.Length && server.Available > 0) count += server.Receive(came, count, came.Length - count, SocketFlags.None);
            return count == came.Length;
        });
        Assert.Equal(data, came);
        Assert.True(_net!.HasVnetHeader);
    }

    [TapFact]
    public void TheGuestGetsUncutFramesWhereItTakesThem() => Receive(All, static frames => Assert.Contains(frames, static f => f.Frame is { Segmentation: NetSegmentation.Tcp4, NeedsChecksum: true, SegmentBytes: > 500 } && f.Bytes.Length > 1514));

    [TapFact]
    public void TheGuestGetsSegmentsWithTheirSumsOtherwise() => Receive(NetOffloads.None, static frames => Assert.DoesNotContain(frames, static f => f.Frame.NeedsChecksum || f.Frame.Segmentation != NetSegmentation.None || f.Bytes.Length > 1514));

    [TapFact]
    public void WithoutTheKernelsHeaderItIsTheSame() =>
        Receive(All, static frames => Assert.DoesNotContain(frames, static f => f.Frame.NeedsChecksum || f.Bytes.Length > 1514), new TapNetdev("net0") { Interface = "xdt%d", HasVnetHeader = false });

    [TapFact]
    public void SeveralQueuesAreOneInterface() => Receive(All, static _ => { }, new TapNetdev("net0") { Interface = "xdt%d", Queues = 4 });

    private void Receive(NetOffloads offloads, Action<List<(NetFrame Frame, byte[] Bytes)>> check, TapNetdev? spec = null)
    {
        Open(offloads, spec);
        var listener = new TcpListener(_hostAddress, 0);
        listener.Start();
        using var server = Connect(listener, out var port, out var theirs);
        listener.Stop();
        var total = new byte[200_000];
        new Random(2).NextBytes(total);
        var sent = 0;
        var came = new List<byte>();
        var all = new List<(NetFrame Frame, byte[] Bytes)>();
        _loop.Until(() =>
        {
            try
            {
                if (sent < total.Length) sent += server.Send(total, sent, total.Length - sent, SocketFlags.None);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
            {
            }

            foreach (var tcp in Segments())
                if (BinaryPrimitives.ReadUInt32BigEndian(tcp.AsSpan(4)) == theirs + (uint)came.Count) came.AddRange(tcp[((tcp[12] >> 4) * 4)..]);
            all.AddRange(_guest.Received);
            if (_guest.Received.Count > 0) Send(Tcp(port, 1001, theirs + (uint)came.Count, Ack, []));
            _guest.Received.Clear();
            return came.Count >= total.Length;
        });
        Assert.Equal(total, came.ToArray());
        check(all);
    }

    [TapFact]
    public void AGuestWithoutRoomIsWaitedFor()
    {
        Open(NetOffloads.None);
        _loop.Settle();
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        _guest.Room = 0;
        for (var i = 0; i < 5; i++) socket.SendTo([(byte)i], new IPEndPoint(_guestAddress, 9));
        _loop.Until(() => _guest.Refused > 0);
        var callbacks = _loop.Callbacks;
        _loop.Settle();
        Assert.Equal(callbacks, _loop.Callbacks);
        _guest.Room = int.MaxValue;
        _guest.IsCalling = true;
        _net!.ReceiveReady();
        _guest.IsCalling = false;
        var order = new List<int>();
        _loop.Until(() =>
        {
            order.Clear();
            foreach (var (_, bytes) in _guest.Received)
                if (Packet.Transport(bytes, Packet.Udp) is { Length: 9 } udp && udp[3] == 9) order.Add(udp[8]);
            return order.Count >= 5;
        });
        Assert.Equal([0, 1, 2, 3, 4], order);
    }

    [TapFact]
    public void ATapThatSomebodyElseOpenedIsTaken()
    {
        var fd = Tap.Open();
        Assert.True(Tap.Attach(fd, "xdt%d", TapFlags.Tap | TapFlags.NoPacketInfo | TapFlags.VnetHeader, out var name) >= 0);
        Open(NetOffloads.None, new TapNetdev("net0") { Interface = null, Fds = [fd] });
        Assert.Equal((name, true), (_net!.Interface, _net.HasVnetHeader));
        Assert.Contains(name, _net.Description, StringComparison.Ordinal);
    }

    [TapFact]
    public void WhatIsNoTapIsRefusedByName()
    {
        Assert.Contains("lo", Assert.Throws<NetOpenException>(() => new TapNet(new TapNetdev("net0") { Interface = "lo" }, _loop, SilentLog.Instance)).Message, StringComparison.Ordinal);
        var fd = Posix.EventFd();
        Assert.Contains("no tap", Assert.Throws<NetOpenException>(() => new TapNet(new TapNetdev("net0") { Interface = null, Fds = [fd] }, _loop, SilentLog.Instance)).Message, StringComparison.Ordinal);
        Posix.Close(fd);
        using var first = new TapNet(new TapNetdev("net0") { Interface = "xdt%d" }, _loop, SilentLog.Instance);
        Assert.Contains("uses it", Assert.Throws<NetOpenException>(() => new TapNet(new TapNetdev("net1") { Interface = first.Interface }, _loop, SilentLog.Instance)).Message, StringComparison.Ordinal);
    }

    /// <summary>Headers that a guest made up reach the kernel only where they make sense; what does not is dropped, and the tap lives on.</summary>
    [TapFact]
    public void RandomFramesHarmNothing()
    {
        Open(NetOffloads.None);
        var random = new Random(9);
        var good = Tcp(9, 1, 1, Ack, new byte[3000]);
        for (var round = 0; round < 20_000; round++)
        {
            var frame = (byte[])good.Clone();
            for (var n = random.Next(6); n > 0; n--) frame[random.Next(60)] = (byte)random.Next(256);
            var how = new NetFrame { NeedsChecksum = random.Next(2) == 0, ChecksumStart = (ushort)random.Next(4000), ChecksumOffset = (ushort)random.Next(30), Segmentation = (NetSegmentation)random.Next(3), SegmentBytes = (ushort)random.Next(3000) };
            Assert.True(_net!.Send(how, frame.AsSpan(0, random.Next(4) == 0 ? random.Next(frame.Length) : frame.Length)));
            if (round % 64 == 0) _loop.Settle();
        }

        _loop.Settle(100_000);
        var listener = new TcpListener(_hostAddress, 0);
        listener.Start();
        using var server = Connect(listener, out _, out _);
        listener.Stop();
    }
}
