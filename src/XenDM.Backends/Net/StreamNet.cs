using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO.Pipelines;
using System.Net;
using System.Threading;
using XenDM.Backends.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Net;

/// <summary>
/// Frames over a TCP or unix connection, each after its length in 4 bytes, big endian, as other device models have it. A server has one client at a
/// time; while there is no connection, the cable ends in the air.
/// </summary>
public sealed class StreamNet : NetBackend
{
    private const int LengthBytes = 4;
    private const int Backlog = 1;
    private const int ReadBytes = 64 << 10;

    /// <summary>With so much on its way, the guest has to wait.</summary>
    private const int SendMark = 128 << 10;

    private readonly SocketNetdev _spec;
    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;
    private readonly FileDescriptor? _listener;
    private readonly IFdWatch? _listenWatch;
    private readonly UnixSocketPath? _path;
    private readonly IReadOnlyList<IPEndPoint> _endPoints = [];
    private readonly Timer? _later;
    private readonly ByteQueue _out = new();
    private readonly byte[] _frame = new byte[NetFinisher.MaxFrame];
    private readonly Action _work;
    private Pipe _in = NewPipe();
    private FileDescriptor? _connection;
    private IFdWatch? _watch;
    private bool _isConnecting;
    private bool _isWaiting;
    private bool _isScheduled;
    private int _attempts;

    /// <exception cref="NetOpenException">The address is taken, not reachable or not permitted.</exception>
    public StreamNet(SocketNetdev spec, IEventLoop loop, IMachineLog log)
        : base(spec.Id)
    {
        _spec = spec;
        _loop = loop;
        _log = log;
        _work = Work;
        if (spec.Fd >= 0)
        {
            if (Posix.FStat(spec.Fd, out var status) < 0 || !status.IsSocket) throw new NetOpenException($"netdev {spec.Id}: descriptor {spec.Fd} is no socket");
            Posix.SetCloseOnExec(spec.Fd, true);
            Open(spec.Fd);
            return;
        }

        if (spec.Kind == NetSocketKind.Listen)
        {
            (_listener, _path) = Listen(spec);
            Posix.SetNonBlocking(_listener.Fd, true);
            _listenWatch = loop.Watch(_listener.Fd, FdEvents.Readable, _ => Accept());
            return;
        }

        if (spec.Path is null)
        {
            _endPoints = Posix.Resolve(spec.Host.Length == 0 ? "127.0.0.1" : spec.Host, spec.Port);
            if (_endPoints.Count == 0) throw new NetOpenException($"netdev {spec.Id}: '{spec.Host}' is no host that is known here");
        }

        if (spec.ReconnectSeconds > 0) _later = new Timer(_ => _loop.Post(TryAgain));
        Connect(isFirst: true);
    }

    public override string Description =>
        $"type=socket,{(_listener is null ? "connect" : "listen")}={Where()}{(_connection is null || _isConnecting ? ",disconnected" : "")}";

    /// <summary>Where a TCP server listens; null for others.</summary>
    public IPEndPoint? Local => _listener is not null && _path is null ? Posix.LocalEndPoint(_listener.Fd) : null;

    public bool IsConnected => _connection is not null && !_isConnecting;

    protected override bool HasRoom => _out.Count <= SendMark;

    protected override void OnReceiveReady()
    {
        if (_isScheduled || !_isWaiting) return;
        _isScheduled = true;
        _loop.Post(_work);
    }

    protected override bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (!IsConnected)
        {
            Statistics.SendDrops++;
            return true;
        }

        Span<byte> length = stackalloc byte[LengthBytes];
        BinaryPrimitives.WriteInt32BigEndian(length, bytes.Length);
        var wasEmpty = _out.Count == 0;
        _out.Add(length);
        _out.Add(bytes);

        // Otherwise the descriptor is watched already.
        if (wasEmpty) Flush();
        return true;
    }

    protected override void Close()
    {
        _later?.Dispose();
        _listenWatch?.Dispose();
        _path?.Remove();
        _listener?.Dispose();
        _watch?.Dispose();
        _connection?.Dispose();
    }

    private static Pipe NewPipe() => new(new PipeOptions(
        readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, pauseWriterThreshold: 0, minimumSegmentSize: ReadBytes, useSynchronizationContext: false));

    private static (FileDescriptor Listener, UnixSocketPath? Path) Listen(SocketNetdev spec)
    {
        if (spec.Path is { } path)
        {
            try
            {
                var unix = UnixSocketPath.Listen($"netdev {spec.Id}", path, Backlog);
                return (new FileDescriptor(unix.Listener), unix);
            }
            catch (CharOpenException e)
            {
                throw new NetOpenException(e.Message, e);
            }
        }

        var fd = Posix.TcpListen(spec.Local!, Backlog);
        return fd >= 0 ? (new FileDescriptor(fd), null) : throw new NetOpenException($"netdev {spec.Id}: cannot listen on {spec.Local}: {Errno.Describe(fd)}");
    }

    private string Where() => _spec.Fd >= 0 ? $"fd:{_spec.Fd}" : _spec.Path is { } path ? $"unix:{path}" : _listener is not null ? $"{Local}" : $"{_spec.Host}:{_spec.Port}";

    private void Accept()
    {
        var fd = Posix.Accept(_listener!.Fd);
        if (fd < 0)
        {
            if (fd is -Errno.EAGAIN or -Errno.ECONNABORTED) return;

            // Nobody is taken any more until the client that is there goes, so that this does not come again and again.
            _log.Warn(Id, $"cannot take a connection: {Errno.Describe(fd)}");
            _listenWatch!.Events = FdEvents.None;
            return;
        }

        _listenWatch!.Events = FdEvents.None;
        Open(fd);
    }

    /// <summary>Begins to connect without waiting; the addresses of a host take turns.</summary>
    private void Connect(bool isFirst)
    {
        var endPoint = _endPoints.Count > 0 ? _endPoints[_attempts++ % _endPoints.Count] : null;
        var fd = endPoint is null ? Posix.UnixConnect(_spec.Path!, nonBlocking: true) : Posix.TcpConnect(endPoint, nonBlocking: true);
        if (fd < 0)
        {
            if (isFirst && _later is null) throw new NetOpenException($"netdev {Id}: cannot connect to {Where()}: {Errno.Describe(fd)}");
            ConnectLater(fd);
            return;
        }

        if (endPoint is null)
        {
            Open(fd);
            return;
        }

        _isConnecting = true;
        _connection = new FileDescriptor(fd);
        _watch = _loop.Watch(fd, FdEvents.Writable, _ => Connected());
    }

    private void Connected()
    {
        var connection = _connection!;
        var error = Posix.PendingSocketError(connection.Fd);
        _watch!.Dispose();
        _isConnecting = false;
        _connection = null;
        if (error < 0)
        {
            connection.Dispose();
            ConnectLater(error);
            return;
        }

        Open(connection);
    }

    private void ConnectLater(int error)
    {
        if (_later is not null) _later.Change(TimeSpan.FromSeconds(_spec.ReconnectSeconds), Timeout.InfiniteTimeSpan);
        else _log.Warn(Id, $"cannot connect to {Where()}: {Errno.Describe(error)}");
    }

    private void TryAgain()
    {
        if (!IsDisposed && _connection is null) Connect(isFirst: false);
    }

    private void Open(int fd)
    {
        Posix.SetNonBlocking(fd, true);
        Open(new FileDescriptor(fd));
    }

    private void Open(FileDescriptor connection)
    {
        _connection = connection;
        if (_spec.Path is null) Posix.SetNoDelay(connection.Fd);
        _watch = _loop.Watch(connection.Fd, FdEvents.Readable, Ready);
    }

    private void Ready(FdEvents happened)
    {
        if ((happened & FdEvents.Writable) != 0) Flush();
        if ((happened & (FdEvents.Readable | FdEvents.Hangup)) != 0 && _connection is not null) Read();
    }

    private void Read()
    {
        var count = Posix.Read(_connection!.Fd, _in.Writer.GetSpan(ReadBytes));
        if (count == -Errno.EAGAIN) return;
        if (count <= 0)
        {
            Lost(count == 0 ? "the other end closed the connection" : Errno.Describe(count));
            return;
        }

        _in.Writer.Advance((int)count);
        var flushed = _in.Writer.FlushAsync();
        if (!flushed.IsCompleted) throw new InvalidOperationException("a pipe without a limit does not wait");
        Frames();
    }

    /// <summary>Gives the frames that are complete to the guest.</summary>
    private void Frames()
    {
        _isWaiting = false;
        while (!_isWaiting && _in.Reader.TryRead(out var result))
        {
            var left = result.Buffer;
            string? wrong = null;
            while (!_isWaiting && TryFrame(left, out var length, out wrong))
            {
                var frame = left.Slice(LengthBytes, length);
                if (!Deliver(default, Contiguous(frame))) _isWaiting = true;
                else left = left.Slice(frame.End);
                if (_connection is null) return;
            }

            // What waits for the guest was not looked at; what is incomplete waits for more.
            _in.Reader.AdvanceTo(left.Start, _isWaiting ? left.Start : left.End);
            if (wrong is not null)
            {
                Lost(wrong);
                return;
            }
        }

        Watch();
    }

    private static bool TryFrame(in ReadOnlySequence<byte> bytes, out int length, out string? wrong)
    {
        (length, wrong) = (0, null);
        if (bytes.Length < LengthBytes) return false;
        Span<byte> prefix = stackalloc byte[LengthBytes];
        bytes.Slice(0, LengthBytes).CopyTo(prefix);
        var announced = BinaryPrimitives.ReadUInt32BigEndian(prefix);
        if (announced > NetFinisher.MaxFrame) wrong = $"the other end announces a frame of {announced} bytes: that is another protocol";
        else length = (int)announced;
        return wrong is null && bytes.Length >= LengthBytes + length;
    }

    private ReadOnlySpan<byte> Contiguous(in ReadOnlySequence<byte> frame)
    {
        if (frame.IsSingleSegment) return frame.FirstSpan;
        frame.CopyTo(_frame);
        return _frame.AsSpan(0, (int)frame.Length);
    }

    private void Work()
    {
        _isScheduled = false;
        if (!IsDisposed) Frames();
    }

    private void Flush()
    {
        while (_out.Count > 0)
        {
            var sent = Posix.Send(_connection!.Fd, _out.Waiting);
            if (sent == -Errno.EAGAIN) break;
            if (sent < 0)
            {
                // The end is seen when it is read: not from inside of a call of the guest's.
                _out.Clear();
                break;
            }

            _out.Remove(sent);
        }

        Watch();
        if (HasRoom) RoomAgain();
    }

    private void Watch()
    {
        if (_connection is null || _isConnecting) return;
        _watch!.Events = (_isWaiting ? FdEvents.None : FdEvents.Readable) | (_out.Count > 0 ? FdEvents.Writable : FdEvents.None);
    }

    private void Lost(string why)
    {
        _log.Info(Id, $"{Where()}: {why}");
        _watch!.Dispose();
        _connection!.Dispose();
        _connection = null;
        _isWaiting = false;
        _out.Clear();
        _in = NewPipe();
        if (_listenWatch is not null) _listenWatch.Events = FdEvents.Readable;
        else _later?.Change(TimeSpan.FromSeconds(_spec.ReconnectSeconds), Timeout.InfiniteTimeSpan);
        RoomAgain();
    }
}
