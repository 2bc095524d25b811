using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Char;

/// <summary>Where a socket backend listens or connects to.</summary>
/// <param name="Path">Path of a unix socket, or null.</param>
/// <param name="Host">Name or address for TCP; empty for all IPv4 addresses of this host.</param>
/// <param name="Port">TCP port; 0 lets the kernel choose.</param>
/// <param name="Fd">A descriptor that is bound and listening, or connected; -1 for none. It belongs to the backend.</param>
/// <param name="IsServer">Listens; else connects.</param>
/// <param name="NoDelay">TCP sends small pieces at once.</param>
public sealed record SocketAddressSpec(string? Path, string Host, int Port, int Fd, bool IsServer, bool NoDelay)
{
    /// <summary>Of a host's addresses, take IPv4 ones.</summary>
    public bool AllowIpv4 { get; init; } = true;

    /// <summary>Of a host's addresses, take IPv6 ones.</summary>
    public bool AllowIpv6 { get; init; } = true;

    /// <summary>The stream is telnet's: commands are taken out, 0xff is doubled.</summary>
    public bool IsTelnet { get; init; }

    /// <summary>
    /// A client tries again so long after it lost, or did not get, its connection. Zero: it does not, and fails when it cannot connect at the start.
    /// </summary>
    public TimeSpan Reconnect { get; init; }
}

/// <summary>
/// A unix or TCP socket. A server has one client at a time; the next waits in the backlog until the one before is gone. While nobody is
/// connected, what is written is dropped.
/// </summary>
public sealed class SocketChar : CharBackend
{
    private const int Backlog = 1;

    /// <summary>How long to leave the backlog alone after a connection could not be taken, e.g. because no descriptor is left.</summary>
    private static readonly TimeSpan s_acceptPause = TimeSpan.FromSeconds(1);
    private readonly IEventLoop _loop;
    private readonly SocketAddressSpec _address;
    private readonly Action<string> _warn;
    private readonly FileDescriptor? _listener;
    private readonly UnixSocketPath? _path;
    private readonly IReadOnlyList<IPEndPoint> _endPoints = [];
    private readonly string _where;
    private readonly Timer? _later;
    private FileDescriptor? _connection;
    private IFdWatch? _listenWatch;
    private IFdWatch? _connectWatch;
    private FdStream? _stream;
    private TelnetFilter? _telnet;
    private int _attempts;
    private bool _disposed;

    /// <param name="warn">Told of failures that do not end the backend.</param>
    /// <exception cref="CharOpenException">The address is taken, not reachable, not permitted or not an address.</exception>
    public SocketChar(string label, SocketAddressSpec address, IEventLoop loop, Action<string> warn)
        : base(label)
    {
        _loop = loop;
        _address = address;
        _warn = warn;
        if (address.Fd >= 0)
        {
            CheckSocket(label, address.Fd);
            Posix.SetCloseOnExec(address.Fd, true);
            if (address.IsServer) _listener = new FileDescriptor(address.Fd);
            else _connection = new FileDescriptor(address.Fd);
        }
        else if (address.Path is { } path)
        {
            UnixSocketPath.CheckLength($"chardev {label}", path);
            if (address.IsServer) _listener = new FileDescriptor((_path = UnixSocketPath.Listen($"chardev {label}", path, Backlog)).Listener);
            else if (address.Reconnect == TimeSpan.Zero) _connection = new FileDescriptor(ConnectUnix(label, path));
        }
        else
        {
            _endPoints = Resolve(label, address);
            if (address.IsServer) _listener = new FileDescriptor(ListenTcp(label, _endPoints[0]));
            else if (address.Reconnect == TimeSpan.Zero) _connection = new FileDescriptor(ConnectTcp(label, address, _endPoints));
        }

        if (_listener is not null) Posix.SetNonBlocking(_listener.Fd, true);
        if (_listener is not null || address.Reconnect > TimeSpan.Zero) _later = new Timer(_ => _loop.Post(TryAgain));
        _where = Where();
    }

    public override bool IsOpen => _stream is not null;

    public override string FileName
    {
        get
        {
            var name = _where + (_address.IsServer ? ",server=on" : "");
            if (!IsOpen && _connection is null) return "disconnected:" + name;
            return _address.Path is null && _stream is { } stream && Posix.RemoteEndPoint(stream.Fd) is { } peer ? $"{name} <-> {peer}" : name;
        }
    }

    /// <summary>The port that a TCP server listens on; 0 for others.</summary>
    public int LocalPort => _address.Path is null && _listener is not null ? Posix.LocalEndPoint(_listener.Fd)?.Port ?? 0 : 0;

    /// <summary>Waits until the first client is there (<c>wait=on</c>).</summary>
    public void WaitForClient()
    {
        if (_listener is null) return;
        Posix.SetNonBlocking(_listener.Fd, false);
        int fd;
        do fd = Posix.Accept(_listener.Fd);
        while (fd == -Errno.ECONNABORTED);
        Posix.SetNonBlocking(_listener.Fd, true);
        if (fd < 0) throw new CharOpenException($"chardev {Label}: no connection can be taken from {_where}: {Errno.Describe(fd)}");
        _connection = new FileDescriptor(fd);
    }

    public override int Write(ReadOnlySpan<byte> data)
    {
        if (_stream is not { } stream) return data.Length;
        return _telnet?.Write(stream, data) ?? stream.Write(data);
    }

    public override void AcceptInput() => _stream?.AcceptInput();

    public override int TakeFd() => _stream is not null && _stream.ReceivedFds.TryDequeue(out var fd) ? fd : -1;

    protected override void OnAttached()
    {
        if (_listener is not null) _listenWatch = _loop.Watch(_listener.Fd, FdEvents.Readable, _ => Accept());
        if (_connection is { } connection) Open(connection);
        else if (_listener is null) Connect();
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && !_disposed)
        {
            _disposed = true;
            _later?.Dispose();
            _listenWatch?.Dispose();
            _connectWatch?.Dispose();
            _stream?.Dispose();
            _connection?.Dispose();
            _path?.Remove();
            _listener?.Dispose();
        }

        base.Dispose(disposing);
    }

    private static void CheckSocket(string label, int fd)
    {
        var result = Posix.FStat(fd, out var status);
        if (result < 0) throw new CharOpenException($"chardev {label}: fd={fd}: {Errno.Describe(result)}");
        if (!status.IsSocket) throw new CharOpenException($"chardev {label}: fd={fd} is not a socket");
    }

    private static int ConnectUnix(string label, string path)
    {
        var fd = Posix.UnixConnect(path);
        return fd >= 0 ? fd : throw new CharOpenException($"chardev {label}: cannot connect to '{path}': {Errno.Describe(fd)}");
    }

    private static int ListenTcp(string label, IPEndPoint endPoint)
    {
        var fd = Posix.TcpListen(endPoint, Backlog);
        return fd >= 0 ? fd : throw new CharOpenException($"chardev {label}: cannot listen on {endPoint}: {Errno.Describe(fd)}");
    }

    private static int ConnectTcp(string label, SocketAddressSpec address, IReadOnlyList<IPEndPoint> endPoints)
    {
        var last = -Errno.EADDRNOTAVAIL;
        foreach (var endPoint in endPoints)
        {
            last = Posix.TcpConnect(endPoint, nonBlocking: false);
            if (last >= 0) return last;
        }

        throw new CharOpenException($"chardev {label}: cannot connect to {address.Host}:{address.Port}: {Errno.Describe(last)}");
    }

    /// <returns>At least one.</returns>
    private static IReadOnlyList<IPEndPoint> Resolve(string label, SocketAddressSpec address)
    {
        if (address.Host.Length == 0) return [new IPEndPoint(address.AllowIpv4 ? IPAddress.Any : IPAddress.IPv6Any, address.Port)];
        var allowed = new List<IPEndPoint>();
        foreach (var endPoint in Posix.Resolve(address.Host, address.Port))
            if (endPoint.AddressFamily == AddressFamily.InterNetwork ? address.AllowIpv4 : address.AllowIpv6) allowed.Add(endPoint);
        return allowed.Count > 0 ? allowed : throw new CharOpenException($"chardev {label}: '{address.Host}' is no host or address that can be used here");
    }

    private string Where()
    {
        if (_address.Fd >= 0) return $"fd:{_address.Fd}";
        if (_address.Path is { } path) return "unix:" + path;
        var bound = _listener is null ? null : Posix.LocalEndPoint(_listener.Fd)?.ToString();
        return (_address.IsTelnet ? "telnet:" : "tcp:") + (bound ?? $"{_address.Host}:{_address.Port}");
    }

    private void Accept()
    {
        var fd = Posix.Accept(_listener!.Fd);
        if (fd >= 0)
        {
            Open(new FileDescriptor(fd));
            return;
        }

        if (fd is -Errno.EAGAIN or -Errno.ECONNABORTED) return;
        _warn($"chardev {Label}: cannot take a connection: {Errno.Describe(fd)}");
        _listenWatch!.Events = FdEvents.None;
        _later!.Change(s_acceptPause, Timeout.InfiniteTimeSpan);
    }

    private void TryAgain()
    {
        if (_disposed || IsOpen) return;
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.Readable;
        else if (_connectWatch is null) Connect();
    }

    /// <summary>Begins to connect without waiting; the addresses of a host take turns.</summary>
    private void Connect()
    {
        var fd = _address.Path is { } path
            ? Posix.UnixConnect(path, nonBlocking: true)
            : Posix.TcpConnect(_endPoints[_attempts++ % _endPoints.Count], nonBlocking: true);
        if (fd < 0)
        {
            ConnectLater();
            return;
        }

        _connection = new FileDescriptor(fd);
        if (_address.Path is not null) Open(_connection);
        else _connectWatch = _loop.Watch(fd, FdEvents.Writable, _ => Connected());
    }

    private void Connected()
    {
        _connectWatch!.Dispose();
        _connectWatch = null;
        var connection = _connection!;
        if (Posix.PendingSocketError(connection.Fd) == 0)
        {
            Open(connection);
            return;
        }

        _connection = null;
        connection.Dispose();
        ConnectLater();
    }

    private void ConnectLater() => _later!.Change(_address.Reconnect, Timeout.InfiniteTimeSpan);

    private void Open(FileDescriptor connection)
    {
        _connection = null;
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.None;
        if (_address is { Path: null, NoDelay: true }) Posix.SetNoDelay(connection.Fd);
        _telnet = _address.IsTelnet ? new TelnetFilter(Frontend!) : null;
        _stream = new FdStream(_loop, connection, connection, isSocket: true, _telnet ?? Frontend!, Closed);
        if (_telnet is not null && _address.IsServer) _stream.Write(TelnetFilter.Greeting);
        Frontend!.Event(CharEvent.Opened);
    }

    private void Closed()
    {
        var stream = _stream;
        _stream = null;
        _telnet = null;
        Frontend!.Event(CharEvent.Closed);
        stream?.Dispose();
        if (_disposed) return;
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.Readable;
        else if (_address.Reconnect > TimeSpan.Zero) ConnectLater();
    }
}
