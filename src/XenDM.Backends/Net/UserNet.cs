using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Net;
using System.Text;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Slirp;

namespace XenDM.Backends.Net;

/// <summary>
/// User-mode NAT: libslirp as the guest's router, DHCP, DNS and TFTP server. Connections of the guest become sockets of this process. libslirp checks
/// checksums, and takes frames of up to 64 KiB, whatever their segments were to be.
/// </summary>
public sealed class UserNet : NetBackend, ISlirpUser
{
    /// <summary>Frames for the guest that wait for it; connections are held back long before.</summary>
    private const int MaxQueue = 4 << 20;

    /// <summary>With so much waiting, nothing more is read from sockets.</summary>
    private const int QueueMark = 256 << 10;

    /// <summary>Sockets that the guest can make this process open: descriptors are needed for other things too.</summary>
    private const int MaxSockets = 512;

    /// <summary>What libslirp answers when it waits for nothing that a timeout would end.</summary>
    private const uint NoTimeout = 1000;
    private const int MillisecondNanoseconds = 1_000_000;

    private readonly UserNetdev _spec;
    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;
    private readonly SlirpStack _slirp;
    private readonly FileDescriptor _timer;
    private readonly IFdWatch _timerWatch;
    private readonly FrameQueue _queue = new(MaxQueue);
    private readonly SegmentJoiner _joiner = new();
    private readonly Dictionary<int, Socket> _sockets = [];
    private readonly List<Socket> _asked = [];
    private readonly List<int> _gone = [];
    private readonly Action _work;
    private readonly Func<int, SlirpEvents> _ready;
    private bool _isScheduled;

    /// <summary>Frames of the queue that are delivered as one; 0: not known yet.</summary>
    private int _next;
    private int _round;
    private int _sinceFill;

    /// <summary>A socket of libslirp's: what it wants to know of it, and what is known.</summary>
    private sealed class Socket(IFdWatch watch)
    {
        public IFdWatch Watch => watch;

        public SlirpEvents Ready { get; set; }

        /// <summary>The last time it was asked for.</summary>
        public int Round { get; set; }
    }

    /// <exception cref="NetOpenException">libslirp is not installed, or a port cannot be forwarded.</exception>
    public UserNet(UserNetdev spec, IEventLoop loop, IMachineLog log)
        : base(spec.Id)
    {
        _spec = spec;
        _loop = loop;
        _log = log;
        _work = Work;
        _ready = Ready;
        try
        {
            _slirp = new SlirpStack(Options(spec), this);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw new NetOpenException($"netdev {spec.Id}: user-mode NAT needs the library libslirp (package libslirp0), which is not installed", e);
        }
        catch (InvalidOperationException e)
        {
            throw new NetOpenException($"netdev {spec.Id}: {e.Message}", e);
        }

        _timer = new FileDescriptor(Posix.TimerFd());
        foreach (var forward in spec.Forwards)
        {
            if (Forward(forward) is not { } error) continue;
            _slirp.Dispose();
            _timer.Dispose();
            throw new NetOpenException($"netdev {spec.Id}: hostfwd={forward}: {error}");
        }

        _timerWatch = loop.Watch(_timer.Fd, FdEvents.Readable, _ => TimeIsUp());
        Schedule();
    }

    public override string Description => $"type=user,net={_spec.Network},restrict={(_spec.IsRestricted ? "on" : "off")}";

    /// <summary>The connections of the guest, in a table for people.</summary>
    public string Connections => _slirp.Connections();

    /// <summary>Cut or not is the same to libslirp, as long as the checksum is that of the whole: one frame is one call to a socket.</summary>
    protected override NetOffloads SendOffloads => NetOffloads.Tcp4 | NetOffloads.Tcp6;

    /// <summary>Leads a port of the host into the guest, from now on.</summary>
    /// <returns>What is wrong; null when it works.</returns>
    public string? Forward(PortForward forward)
    {
        var result = _slirp.AddForward(forward.IsUdp, forward.Host, forward.HostPort, forward.Guest, forward.GuestPort);
        if (result < 0) return $"cannot listen on port {forward.HostPort} of the host: {Errno.Describe(result)}";
        Schedule();
        return null;
    }

    /// <returns>False: there is no such forward.</returns>
    public bool RemoveForward(bool isUdp, IPAddress host, int hostPort)
    {
        if (!_slirp.RemoveForward(isUdp, host, hostPort)) return false;
        Schedule();
        return true;
    }

    protected override void OnReceiveReady()
    {
        if (!_queue.IsEmpty) Schedule();
    }

    void ISlirpUser.FrameForGuest(ReadOnlySpan<byte> frame)
    {
        if (!_queue.TryAdd(frame)) Statistics.ReceiveDrops++;
    }

    void ISlirpUser.GuestError(ReadOnlySpan<byte> text)
    {
        if (_log.GuestAllowed) _log.Guest(Id, Encoding.UTF8.GetString(text).TrimEnd());
    }

    void ISlirpUser.Notify() => Schedule();

    protected override bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        Schedule();
        if (_sockets.Count + _sinceFill >= MaxSockets && OpensSocket(bytes))
        {
            Statistics.SendDrops++;
            return true;
        }

        _sinceFill++;
        _slirp.Input(bytes);
        return true;
    }

    protected override void OnAttached()
    {
        _queue.Clear();
        _next = 0;
    }

    protected override void Close()
    {
        foreach (var socket in _sockets.Values) socket.Watch.Dispose();
        _timerWatch.Dispose();
        _timer.Dispose();
        _slirp.Dispose();
    }

    private static SlirpOptions Options(UserNetdev spec)
    {
        var bits = spec.Network.PrefixLength;
        Span<byte> mask = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(mask, bits == 0 ? 0 : uint.MaxValue << (32 - bits));
        return new SlirpOptions
        {
            HasIpv4 = spec.HasIpv4,
            HasIpv6 = spec.HasIpv6,
            IsRestricted = spec.IsRestricted,
            Network = spec.Network.BaseAddress,
            Mask = new IPAddress(mask),
            Host = spec.Host ?? Within(spec.Network, 2),
            NameServer = spec.Dns ?? Within(spec.Network, 3),
            DhcpStart = spec.DhcpStart ?? Within(spec.Network, 15),
            Prefix6 = spec.Network6.BaseAddress,
            Prefix6Length = spec.Network6.PrefixLength,
            Host6 = spec.Host6 ?? Within(spec.Network6, 2),
            NameServer6 = spec.Dns6 ?? Within(spec.Network6, 3),
            HostName = spec.HostName,
            DomainName = spec.DomainName,
            DnsSearch = spec.DnsSearch,
            TftpPath = spec.Tftp,
            TftpServerName = spec.TftpServerName,
            BootFile = spec.BootFile,
        };
    }

    /// <summary>The n-th address of a network; networks are large enough for the few that are needed.</summary>
    private static IPAddress Within(IPNetwork network, byte n)
    {
        var bytes = network.BaseAddress.GetAddressBytes();
        bytes[^1] |= n;
        return new IPAddress(bytes);
    }

    /// <summary>A first SYN, a datagram, an IPv4 echo request or a fragment of something; not what neighbours ask each other.</summary>
    private static bool OpensSocket(ReadOnlySpan<byte> bytes)
    {
        const int flags = 13, syn = 2, ack = 16;
        if (NetHeaders.TryParse(bytes, out var headers)) return headers.Protocol != NetHeaders.Tcp || (bytes[headers.TransportStart + flags] & (syn | ack)) == syn;
        return bytes.Length >= NetHeaders.EthernetBytes && bytes[NetHeaders.EthernetBytes - 2] == 0x08 && bytes[NetHeaders.EthernetBytes - 1] == 0x00;
    }

    private SlirpEvents Ready(int index) => index < _asked.Count ? _asked[index].Ready : SlirpEvents.None;

    /// <summary>Once in each round of the loop at most, however many frames go out and sockets are ready.</summary>
    private void Schedule()
    {
        if (_isScheduled) return;
        _isScheduled = true;
        _loop.Post(_work);
    }

    private void TimeIsUp()
    {
        Span<byte> count = stackalloc byte[sizeof(ulong)];
        Posix.Read(_timer.Fd, count);
        Schedule();
    }

    private void SocketReady(int fd, FdEvents events)
    {
        if (!_sockets.TryGetValue(fd, out var socket)) return;
        if ((events & FdEvents.Readable) != 0) socket.Ready |= SlirpEvents.In;
        if ((events & FdEvents.Writable) != 0) socket.Ready |= SlirpEvents.Out;
        if ((events & FdEvents.Hangup) != 0) socket.Ready |= SlirpEvents.Hangup | SlirpEvents.Error;
        Schedule();
    }

    private void Work()
    {
        _isScheduled = false;
        if (IsDisposed) return;
        _slirp.RunTimers();
        _slirp.Poll(_ready);
        foreach (var socket in _asked) socket.Ready = SlirpEvents.None;
        while (!_queue.IsEmpty && TryDeliver())
            for (; _next > 0; _next--) _queue.Remove();
        Wait();
    }

    /// <summary>Delivers the first frame of the queue, or the first few as one. A refused one stays what it is.</summary>
    private bool TryDeliver()
    {
        if (_next == 0) _next = (ReceiveOffloads & NetOffloads.Tcp4) != 0 ? _joiner.Join(_queue) : 1;
        return _next > 1 ? Deliver(_joiner.Frame, _joiner.Bytes) : Deliver(new NetFrame { IsValid = true }, _queue.Peek());
    }

    /// <summary>Watches what libslirp wants to know.</summary>
    private void Wait()
    {
        _round++;
        _sinceFill = 0;
        _asked.Clear();
        var timeout = _slirp.FillPoll(out var wanted);
        var isFull = _queue.Count > QueueMark;
        foreach (var (fd, events) in wanted)
        {
            var watched = isFull ? FdEvents.None : ToFd(events);
            if (!_sockets.TryGetValue(fd, out var socket)) _sockets.Add(fd, socket = Watch(fd, watched));
            socket.Watch.Events = watched;
            socket.Round = _round;
            _asked.Add(socket);
        }

        foreach (var (fd, socket) in _sockets)
            if (socket.Round != _round) _gone.Add(fd);
        foreach (var fd in _gone)
        {
            _sockets[fd].Watch.Dispose();
            _sockets.Remove(fd);
        }

        _gone.Clear();
        SetTimer(timeout);
    }

    /// <summary>Apart, so that nothing is allocated where a socket is known.</summary>
    private Socket Watch(int fd, FdEvents events) => new(_loop.Watch(fd, events, happened => SocketReady(fd, happened)));

    private void SetTimer(uint timeout)
    {
        var wait = timeout < NoTimeout ? timeout : long.MaxValue;
        if (_slirp.NextTimer is var next && next != long.MaxValue) wait = Math.Min(wait, Math.Max(0, next - SlirpStack.Milliseconds()));
        Posix.SetTimer(_timer.Fd, wait == long.MaxValue ? -1 : wait * MillisecondNanoseconds);
    }

    private static FdEvents ToFd(SlirpEvents events) => ((events & SlirpEvents.In) != 0 ? FdEvents.Readable : 0) | ((events & SlirpEvents.Out) != 0 ? FdEvents.Writable : 0);
}
