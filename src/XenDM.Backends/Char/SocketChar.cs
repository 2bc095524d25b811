using System;
using System.Collections.Generic;
using System.Net;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>Where a socket backend listens or connects to.</summary>
/// <param name="Path">Path of a unix socket, or null.</param>
/// <param name="Host">Name or address for TCP; empty for all addresses of this host.</param>
/// <param name="Port">TCP port.</param>
/// <param name="Fd">A descriptor that is bound and listening, or connected; -1 for none.</param>
/// <param name="IsServer">Listens; else connects.</param>
/// <param name="NoDelay">TCP sends small pieces at once.</param>
public sealed record SocketAddressSpec(string? Path, string Host, int Port, int Fd, bool IsServer, bool NoDelay);

/// <summary>
/// A unix or TCP socket. A server has one client at a time; the next waits in the backlog until the one before is gone. While nobody is
/// connected, what is written is dropped.
/// </summary>
public sealed class SocketChar : CharBackend
{
    /// <summary>sun_path holds 108 bytes with the zero at the end.</summary>
    private const int MaxUnixPath = 107;
    private const int Backlog = 1;
    private readonly IEventLoop _loop;
    private readonly SocketAddressSpec _address;
    private readonly FileDescriptor? _listener;
    private readonly string _local;
    private FileDescriptor? _early;
    private IFdWatch? _listenWatch;
    private FdStream? _stream;

    /// <exception cref="CharOpenException">The address is taken, not reachable, not permitted or not an address.</exception>
    public SocketChar(string label, SocketAddressSpec address, IEventLoop loop)
        : base(label)
    {
        _loop = loop;
        _address = address;
        if (address.IsServer)
        {
            _listener = new FileDescriptor(Listen(label, address));
            Posix.SetNonBlocking(_listener.Fd, true);
            Posix.SetCloseOnExec(_listener.Fd, true);
        }
        else _early = new FileDescriptor(Connect(label, address));

        _local = address.Path ?? (_listener is not null ? Posix.LocalEndPoint(_listener.Fd)?.ToString() : null) ?? $"{address.Host}:{address.Port}";
    }

    public override bool IsOpen => _stream is not null;

    public override string FileName => (IsOpen || _early is not null ? "" : "disconnected:") + (_address.Fd >= 0 ? "fd:" + _address.Fd : (_address.Path is null ? "tcp:" : "unix:") + _local) + (_address.IsServer ? ",server=on" : "");

    /// <summary>Waits until the first client is there (<c>wait=on</c>).</summary>
    public void WaitForClient()
    {
        if (_listener is null) return;
        Posix.SetNonBlocking(_listener.Fd, false);
        int fd;
        do fd = Posix.Accept(_listener.Fd);
        while (fd == -Errno.EINTR);
        Posix.SetNonBlocking(_listener.Fd, true);
        if (fd >= 0) _early = new FileDescriptor(fd);
    }

    public override int Write(ReadOnlySpan<byte> data) => _stream?.Write(data) ?? data.Length;

    public override void AcceptInput() => _stream?.AcceptInput();

    public override int TakeFd() => _stream is not null && _stream.ReceivedFds.TryDequeue(out var fd) ? fd : -1;

    protected override void OnAttached()
    {
        if (_listener is not null) _listenWatch = _loop.Watch(_listener.Fd, FdEvents.Readable, _ => Accept());
        if (_early is not { } connected) return;
        _early = null;
        Open(connected);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _listenWatch?.Dispose();
            _stream?.Dispose();
            _early?.Dispose();
            _listener?.Dispose();
            if (_address is { IsServer: true, Path: { } path, Fd: < 0 }) Posix.Unlink(path);
        }

        base.Dispose(disposing);
    }

    private static int Listen(string label, SocketAddressSpec address)
    {
        if (address.Fd >= 0) return address.Fd;
        if (address.Path is { } path)
        {
            CheckLength(label, path);
            var fd = Posix.UnixListen(path, Backlog);

            // A path that is left over from a process that is gone refuses connections; one in use, or no socket at all, stays.
            if (fd == -Errno.EADDRINUSE && IsLeftOver(path))
            {
                Posix.Unlink(path);
                fd = Posix.UnixListen(path, Backlog);
            }

            return fd >= 0 ? fd : throw new CharOpenException($"chardev {label}: cannot listen on '{path}': {Errno.Describe(fd)}");
        }

        foreach (var endPoint in Resolve(label, address))
        {
            var fd = Posix.TcpListen(endPoint, Backlog);
            if (fd < 0) throw new CharOpenException($"chardev {label}: cannot listen on {endPoint}: {Errno.Describe(fd)}");
            return fd;
        }

        throw new CharOpenException($"chardev {label}: '{address.Host}' has no address");
    }

    private static int Connect(string label, SocketAddressSpec address)
    {
        if (address.Fd >= 0) return address.Fd;
        if (address.Path is { } path)
        {
            CheckLength(label, path);
            var fd = Posix.UnixConnect(path);
            return fd >= 0 ? fd : throw new CharOpenException($"chardev {label}: cannot connect to '{path}': {Errno.Describe(fd)}");
        }

        var last = -Errno.EADDRNOTAVAIL;
        foreach (var endPoint in Resolve(label, address))
        {
            last = Posix.TcpConnect(endPoint, nonBlocking: false);
            if (last >= 0) return last;
        }

        throw new CharOpenException($"chardev {label}: cannot connect to {address.Host}:{address.Port}: {Errno.Describe(last)}");
    }

    private static IReadOnlyList<IPEndPoint> Resolve(string label, SocketAddressSpec address)
    {
        if (address.Host.Length == 0) return [new IPEndPoint(IPAddress.Any, address.Port)];
        var found = Posix.Resolve(address.Host, address.Port);
        return found.Count > 0 ? found : throw new CharOpenException($"chardev {label}: there is no host '{address.Host}'");
    }

    private static void CheckLength(string label, string path)
    {
        if (System.Text.Encoding.UTF8.GetByteCount(path) > MaxUnixPath) throw new CharOpenException($"chardev {label}: the path of a unix socket may have {MaxUnixPath} bytes: '{path}'");
    }

    private static bool IsLeftOver(string path)
    {
        var fd = Posix.UnixConnect(path);
        if (fd >= 0) Posix.Close(fd);
        return fd == -Errno.ECONNREFUSED;
    }

    private void Accept()
    {
        var fd = Posix.Accept(_listener!.Fd);
        if (fd >= 0) Open(new FileDescriptor(fd));
    }

    private void Open(FileDescriptor connection)
    {
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.None;
        if (_address is { Path: null, NoDelay: true }) Posix.SetNoDelay(connection.Fd);
        _stream = new FdStream(_loop, connection, connection, isSocket: true, Frontend!, Closed);
        Frontend!.Event(CharEvent.Opened);
    }

    private void Closed()
    {
        var stream = _stream;
        _stream = null;
        Frontend!.Event(CharEvent.Closed);
        stream?.Dispose();
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.Readable;
    }
}
