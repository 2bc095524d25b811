using System;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Hypervisor.Embedded.Xen.Events;

namespace XenDM.Hypervisor.Embedded.Xen.Backends;

/// <summary>Backends' ends of the guest's event channels. Events for the guest are delivered on the machine thread, where its memory is.</summary>
internal sealed class EmbeddedEventChannels(EventChannels channels, int domain, IEventLoop loop, Action beforeEvent) : IEventChannels
{
    private readonly int _machineThread = Environment.CurrentManagedThreadId;

    public IEventChannel? TryBind(int guest, uint remotePort, Action notified)
    {
        if (guest != domain) return null;
        var channel = new Channel(this, remotePort, notified);
        if (!channels.TryBindPeer(remotePort, channel)) return null;
        notified();
        return channel;
    }

    private sealed class Channel : IEventChannel, IEventPeer
    {
        private readonly EmbeddedEventChannels _owner;
        private readonly Action _notified;
        private readonly Action _deliver;
        private int _posted;
        private volatile bool _isClosed;

        public Channel(EmbeddedEventChannels owner, uint remotePort, Action notified)
        {
            _owner = owner;
            _notified = notified;
            _deliver = Deliver;
            RemotePort = remotePort;
        }

        public uint RemotePort { get; }

        public void Notify()
        {
            if (_isClosed) return;
            if (Environment.CurrentManagedThreadId == _owner._machineThread) Deliver();
            else if (Interlocked.Exchange(ref _posted, 1) == 0) _owner.Post(_deliver);
        }

        void IEventPeer.Notified() => _notified();

        void IEventPeer.Closed() => _isClosed = true;

        private void Deliver()
        {
            Volatile.Write(ref _posted, 0);
            if (_isClosed) return;
            _owner.Deliver(RemotePort);
        }

        public void Dispose()
        {
            if (_isClosed) return;
            _isClosed = true;
            _owner.Unbind(RemotePort, this);
        }
    }

    private void Post(Action work) => loop.Post(work);

    private void Deliver(uint port)
    {
        beforeEvent();
        channels.SetPending(port);
    }

    private void Unbind(uint port, IEventPeer peer) => channels.UnbindPeer(port, peer);
}
