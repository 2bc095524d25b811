using System;
using System.Net;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Net;

/// <summary>Each frame a datagram: over UDP, a unix socket, or to a multicast group, which is one wire for all who join it. What does not go through is lost.</summary>
public sealed class DatagramNet : NetBackend
{
    /// <summary>Frames in a row, before others on the loop have their turn.</summary>
    private const int Burst = 64;

    private readonly SocketNetdev _spec;
    private readonly IEventLoop _loop;
    private readonly FileDescriptor _receiver;

    /// <summary>For a group: a socket with an address of its own, by which what we sent ourselves is known when it comes back.</summary>
    private readonly FileDescriptor _sender;
    private readonly IFdWatch _watch;
    private readonly byte[] _target = [];
    private readonly byte[] _bytes = new byte[NetFinisher.MaxFrame];
    private readonly Action _work;
    private readonly byte[] _own = [];
    private int _waiting;
    private bool _isScheduled;

    /// <exception cref="NetOpenException">The address is taken, not known or not permitted.</exception>
    public DatagramNet(SocketNetdev spec, IEventLoop loop)
        : base(spec.Id)
    {
        _spec = spec;
        _loop = loop;
        _work = Work;
        if (spec.Fd >= 0)
        {
            if (Posix.FStat(spec.Fd, out var status) < 0 || !status.IsSocket) throw new NetOpenException($"netdev {spec.Id}: descriptor {spec.Fd} is no socket");
            Posix.SetCloseOnExec(spec.Fd, true);
            Posix.SetNonBlocking(spec.Fd, true);
            _receiver = _sender = new FileDescriptor(spec.Fd);
        }
        else if (spec.Kind == NetSocketKind.Multicast)
        {
            (_receiver, _sender) = Join(spec);
            if (Posix.LocalEndPoint(_sender.Fd) is { } own) _own = Posix.SocketAddress(own);
        }
        else if (spec.Path is { } path)
        {
            var address = Posix.SocketAddress(path);
            _target = Posix.SocketAddress(spec.PeerPath!);
            if (address.Length == 0 || _target.Length == 0) throw new NetOpenException($"netdev {spec.Id}: the path of a unix socket is too long");
            var fd = Posix.DatagramSocket(address, share: false);
            if (fd == -Errno.EADDRINUSE && IsLeftBehind(address))
            {
                Posix.Unlink(path);
                fd = Posix.DatagramSocket(address, share: false);
            }

            _receiver = _sender = new FileDescriptor(Check(spec, path, fd));
        }
        else
        {
            var found = Posix.Resolve(spec.Host, spec.Port);
            foreach (var one in found)
                if (_target.Length == 0 && one.AddressFamily == spec.Local!.AddressFamily) _target = Posix.SocketAddress(one);
            if (_target.Length == 0) throw new NetOpenException($"netdev {spec.Id}: '{spec.Host}' is no host that can be reached from {spec.Local}");
            _receiver = _sender = new FileDescriptor(Check(spec, $"{spec.Local}", Posix.DatagramSocket(Posix.SocketAddress(spec.Local!), share: true)));
        }

        _watch = loop.Watch(_receiver.Fd, FdEvents.Readable, _ => Read());
    }

    public override string Description => _spec.Kind == NetSocketKind.Multicast
        ? $"type=socket,mcast={_spec.Host}:{_spec.Port}"
        : _spec.Fd >= 0 ? $"type=dgram,fd={_spec.Fd}" : _spec.Path is { } path ? $"type=dgram,local={path},remote={_spec.PeerPath}" : $"type=socket,udp={_spec.Host}:{_spec.Port},localaddr={Local}";

    /// <summary>Where UDP is bound; null for unix sockets.</summary>
    public IPEndPoint? Local => _spec.Path is null ? Posix.LocalEndPoint(_receiver.Fd) : null;

    protected override void OnReceiveReady()
    {
        if (_isScheduled || _waiting == 0) return;
        _isScheduled = true;
        _loop.Post(_work);
    }

    protected override bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        // Full, nobody there, too long for the path: as on a wire.
        if (Posix.SendTo(_sender.Fd, bytes, _target) < 0) Statistics.SendDrops++;
        return true;
    }

    protected override void OnAttached()
    {
        _waiting = 0;
        _watch.Events = FdEvents.Readable;
    }

    protected override void Close()
    {
        _watch.Dispose();
        _receiver.Dispose();
        _sender.Dispose();
        if (_spec is { Path: { } path, Fd: < 0 }) Posix.Unlink(path);
    }

    private static int Check(SocketNetdev spec, string where, int fd) => fd >= 0 ? fd : throw new NetOpenException($"netdev {spec.Id}: cannot bind to {where}: {Errno.Describe(fd)}");

    private static (FileDescriptor Receiver, FileDescriptor Sender) Join(SocketNetdev spec)
    {
        var group = IPAddress.Parse(spec.Host);
        var receiver = new FileDescriptor(Check(spec, $"{group}:{spec.Port}", Posix.DatagramSocket(Posix.SocketAddress(new IPEndPoint(group, spec.Port)), share: true)));
        var sender = new FileDescriptor(Check(spec, $"{spec.Local!.Address}", Posix.DatagramSocket(Posix.SocketAddress(new IPEndPoint(spec.Local.Address, 0)), share: false)));
        var result = Posix.JoinGroup(receiver.Fd, group, spec.Local.Address);
        if (result >= 0) result = Posix.SetGroupInterface(sender.Fd, spec.Local.Address);
        if (result >= 0) result = Posix.ConnectDatagram(sender.Fd, Posix.SocketAddress(new IPEndPoint(group, spec.Port)));
        if (result >= 0) return (receiver, sender);
        receiver.Dispose();
        sender.Dispose();
        throw new NetOpenException($"netdev {spec.Id}: cannot join {group}: {Errno.Describe(result)}");
    }

    private void Read()
    {
        Span<byte> from = stackalloc byte[Posix.MaxSocketAddress];
        for (var n = 0; n < Burst && _waiting == 0; n++)
        {
            // Errors of what was sent before (nobody listens) are reported here too, once each.
            var count = Posix.ReceiveFrom(_receiver.Fd, _bytes, from, out var length);
            if (count == -Errno.EAGAIN) return;
            if (count <= 0 || IsOwn(from[..length])) continue;
            _waiting = count;
            Again();
        }

        Watch();
    }

    /// <summary>What we sent to the group comes back to us, too.</summary>
    private bool IsOwn(ReadOnlySpan<byte> address) => _own.Length > 0 && address.SequenceEqual(_own);

    /// <summary>The process that had the path is gone.</summary>
    private static bool IsLeftBehind(byte[] address)
    {
        // Bound to a name of the kernel's choice.
        var probe = Posix.DatagramSocket(address.AsSpan(0, sizeof(ushort)), share: false);
        if (probe < 0) return false;
        var result = Posix.ConnectDatagram(probe, address);
        Posix.Close(probe);
        return result == -Errno.ECONNREFUSED;
    }

    private void Again()
    {
        if (_waiting > 0 && Deliver(default, _bytes.AsSpan(0, _waiting))) _waiting = 0;
    }

    private void Work()
    {
        _isScheduled = false;
        if (IsDisposed) return;
        Again();
        Watch();
    }

    private void Watch()
    {
        if (!IsDisposed) _watch.Events = _waiting == 0 ? FdEvents.Readable : FdEvents.None;
    }
}
