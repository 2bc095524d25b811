using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Hypervisor;

namespace XenDM.Testing;

/// <summary>A guest's event channels: ports that its front ends offer, and the events that a backend sends to them.</summary>
/// <param name="guest">Its domain number.</param>
public sealed class FakeEvents(int guest) : IEventChannels
{
    private readonly Dictionary<uint, Port> _ports = [];
    private readonly Lock _gate = new();
    private uint _next = 1;

    /// <summary>Ports that a backend is bound to.</summary>
    public int Bound
    {
        get
        {
            lock (_gate)
            {
                var count = 0;
                foreach (var port in _ports.Values)
                    if (port.Channel is not null) count++;
                return count;
            }
        }
    }

    /// <summary>A new port that waits for the backend.</summary>
    /// <param name="received">The backend sent an event; called on its thread.</param>
    public uint Offer(Action? received = null)
    {
        lock (_gate)
        {
            _ports.Add(_next, new Port(received));
            return _next++;
        }
    }

    public void Close(uint port)
    {
        lock (_gate)
        {
            _ports.Remove(port);
        }
    }

    /// <summary>Events that came for a port so far.</summary>
    public int Count(uint port)
    {
        lock (_gate)
        {
            return Volatile.Read(ref _ports[port].Events);
        }
    }

    /// <summary>The guest sends an event.</summary>
    public void Send(uint port)
    {
        Channel? channel;
        lock (_gate)
        {
            channel = _ports.TryGetValue(port, out var found) ? found.Channel : null;
        }

        channel?.Notified();
    }

    public IEventChannel? TryBind(int domain, uint remotePort, Action notified)
    {
        Channel channel;
        lock (_gate)
        {
            if (domain != guest || !_ports.TryGetValue(remotePort, out var port) || port.Channel is not null) return null;
            channel = new Channel(this, port, remotePort, notified);
            port.Channel = channel;
        }

        channel.Notified();
        return channel;
    }

    private sealed class Port(Action? received)
    {
        public Action? Received => received;

        public Channel? Channel;
        public int Events;
    }

    private sealed class Channel(FakeEvents owner, Port port, uint remotePort, Action notified) : IEventChannel
    {
        private volatile bool _isDisposed;

        public uint RemotePort => remotePort;

        public void Notified()
        {
            if (!_isDisposed) notified();
        }

        public void Notify()
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            Interlocked.Increment(ref port.Events);
            port.Received?.Invoke();
        }

        public void Dispose()
        {
            _isDisposed = true;
            lock (owner._gate)
            {
                port.Channel = null;
            }
        }
    }
}
