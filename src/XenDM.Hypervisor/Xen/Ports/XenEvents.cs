using System;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>The event channel device as <see cref="XenEvents"/> uses it. Results are values, or the negative errno.</summary>
public interface IEventDevice : IDisposable
{
    /// <summary>Readable while a port is pending; does not block.</summary>
    int Fd { get; }

    /// <returns>The local port.</returns>
    int Bind(ushort domain, uint remotePort);

    int Unbind(int port);

    int Notify(int port);

    /// <summary>Ports that fired; they are masked until <see cref="Unmask"/>.</summary>
    int TakePending(Span<uint> ports);

    int Unmask(ReadOnlySpan<uint> ports);
}

/// <summary>A channel that the kernel knows by a port of this domain.</summary>
internal interface IHostChannel
{
    int Port { get; }
}

/// <summary>
/// libxenevtchn as backends use it; nothing of it passes the machine thread. A channel that a data plane works for has a descriptor of its own, which
/// the plane's loop watches beside its image or net: an event wakes the thread that does the work, and no other. All other channels share a descriptor
/// and a thread that waits on it and tells their owners. Neither an event nor a notification takes a lock or memory.
/// </summary>
public sealed class XenEvents : IEventChannels, IDisposable
{
    /// <summary>Channels there can be (FIFO event channels have 2^17).</summary>
    private const int MaxPorts = 1 << 17;

    private const int Batch = 64;
    private const int StackBytes = 256 * 1024;

    private readonly Func<IEventDevice> _open;
    private readonly IEventDevice _device;
    private readonly IMachineLog _log;
    private readonly int _wake;
    private readonly Thread _thread;

    /// <summary>By local port. Written on the machine thread, which replaces it when it is too small.</summary>
    private Channel?[] _channels = new Channel?[64];

    /// <summary>The one whose owner is being told.</summary>
    private Channel? _current;
    private bool _isStarted;
    private volatile bool _isDisposed;

    /// <exception cref="XenException">This process may not use event channels.</exception>
    public XenEvents(IMachineLog log)
        : this(static () => new Device(), log)
    {
    }

    /// <param name="open">Opens the device, for a <see cref="XenException"/> where that fails.</param>
    /// <exception cref="XenException">The device cannot be opened, or the kernel has no descriptor left.</exception>
    public XenEvents(Func<IEventDevice> open, IMachineLog log)
    {
        (_open, _log) = (open, log);
        _device = open();
        _wake = Posix.EventFd();
        if (_wake < 0)
        {
            _device.Dispose();
            throw new XenException("cannot wait for event channels", _wake);
        }

        _thread = new Thread(Serve, StackBytes) { IsBackground = true, Name = "xen-events" };
    }

    public IEventChannel? TryBind(int domain, uint remotePort, Action notified)
    {
        if (domain is < 0 or >= XenConstants.FirstReservedDomain) return null;
        var port = _device.Bind((ushort)domain, remotePort);
        if (port < 0) return null;
        if (port >= MaxPorts)
        {
            _device.Unbind(port);
            return null;
        }

        var channel = new Channel(this, port, remotePort, notified);
        if (port >= _channels.Length)
        {
            var larger = new Channel?[Math.Max(_channels.Length * 2, port + 1)];
            _channels.CopyTo(larger, 0);
            Volatile.Write(ref _channels, larger);
        }

        // An event that came before nobody was told of; the call below stands for it.
        Volatile.Write(ref _channels[port], channel);
        if (!_isStarted)
        {
            // A guest without PV devices needs no thread.
            _isStarted = true;
            _thread.Start();
        }

        notified();
        return channel;
    }

    public IEventChannel? TryBind(int domain, uint remotePort, IDataPlane plane, Action notified)
    {
        if (domain is < 0 or >= XenConstants.FirstReservedDomain) return null;
        IEventDevice device;
        try
        {
            device = _open();
        }
        catch (XenException e)
        {
            _log.Warn("xen", $"{e.Message}; a PV device has its events by a longer way");
            return TryBind(domain, remotePort, notified);
        }

        var port = device.Bind((ushort)domain, remotePort);
        if (port < 0)
        {
            device.Dispose();
            return null;
        }

        var channel = new PlaneChannel(device, plane, port, remotePort, notified, _log);
        plane.Run(channel.Watch);
        notified();
        return channel;
    }

    public void Dispose()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        Posix.SignalEventFd(_wake);
        if (_isStarted) _thread.Join();
        _device.Dispose();
        Posix.Close(_wake);
    }

    private void Serve()
    {
        Span<uint> ports = stackalloc uint[Batch];
        Span<PollFd> fds = [new PollFd { Fd = _device.Fd, Events = PollEvents.Readable }, new PollFd { Fd = _wake, Events = PollEvents.Readable }];
        while (!_isDisposed)
        {
            var count = _device.TakePending(ports);
            if (count > 0)
            {
                foreach (var port in ports[..count]) Tell(port);

                // They were masked: what came since is told after this.
                _device.Unmask(ports[..count]);
            }
            else if (count is -Errno.EAGAIN or -Errno.EINTR or 0)
            {
                Posix.Poll(fds, -1);
            }
            else
            {
                _log.Warn("xen", $"event channels cannot be read: {Errno.Describe(count)}; PV devices stand still");
                return;
            }
        }
    }

    private void Tell(uint port)
    {
        var channels = Volatile.Read(ref _channels);
        if (port >= channels.Length || Volatile.Read(ref channels[port]) is not { } channel) return;

        // Whoever closes the channel sees this mark, or this thread sees that it is closed.
        Interlocked.Exchange(ref _current, channel);
        if (!channel.IsClosed) channel.Notified();
        Volatile.Write(ref _current, null);
    }

    private void Close(Channel channel)
    {
        Volatile.Write(ref _channels[channel.Port], null);
        if (!_isDisposed) _device.Unbind(channel.Port);
        Interlocked.MemoryBarrier();
        var spin = new SpinWait();
        while (Volatile.Read(ref _current) == channel && Environment.CurrentManagedThreadId != _thread.ManagedThreadId) spin.SpinOnce();
    }

    private sealed class Channel(XenEvents owner, int port, uint remotePort, Action notified) : IEventChannel, IHostChannel
    {
        private volatile bool _isClosed;

        public int Port => port;

        public uint RemotePort => remotePort;

        public bool IsClosed => _isClosed;

        public Action Notified => notified;

        public void Notify()
        {
            if (!_isClosed) owner._device.Notify(port);
        }

        public void Dispose()
        {
            if (_isClosed) return;
            _isClosed = true;
            owner.Close(this);
        }
    }

    /// <summary>A channel with a descriptor of its own on a data plane's loop.</summary>
    private sealed class PlaneChannel(IEventDevice device, IDataPlane plane, int port, uint remotePort, Action notified, IMachineLog log) : IEventChannel, IHostChannel
    {
        private IFdWatch? _watch;
        private volatile bool _isClosed;

        public int Port => port;

        public uint RemotePort => remotePort;

        /// <summary>On the plane.</summary>
        public void Watch() => _watch = plane.Loop.Watch(device.Fd, FdEvents.Readable, Ready);

        public void Notify()
        {
            if (!_isClosed) device.Notify(port);
        }

        public void Dispose()
        {
            if (_isClosed) return;
            _isClosed = true;
            plane.Run(_watch!.Dispose);
            device.Unbind(port);
            device.Dispose();
        }

        private void Ready(FdEvents events)
        {
            Span<uint> ports = stackalloc uint[1];
            var count = device.TakePending(ports);
            if (count > 0)
            {
                device.Unmask(ports);
                notified();
            }
            else if (count is not (0 or -Errno.EAGAIN or -Errno.EINTR))
            {
                _watch!.Events = FdEvents.None;
                log.Warn("xen", $"an event channel cannot be read: {Errno.Describe(count)}; a PV device stands still");
            }
        }
    }

    private sealed class Device : IEventDevice
    {
        private readonly XenEventChannel _events = new();

        public Device()
        {
            var result = Posix.SetNonBlocking(_events.Fd, true);
            if (result >= 0) return;
            _events.Dispose();
            throw new XenException("cannot wait for event channels", result);
        }

        public int Fd => _events.Fd;

        public int Bind(ushort domain, uint remotePort) => _events.BindInterdomain(domain, remotePort);

        public int Unbind(int port) => _events.Unbind(port);

        public int Notify(int port) => _events.Notify(port);

        public int TakePending(Span<uint> ports) => _events.TakePending(ports);

        public int Unmask(ReadOnlySpan<uint> ports) => _events.Unmask(ports);

        public void Dispose() => _events.Dispose();
    }
}
