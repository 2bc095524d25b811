using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Net;

/// <summary>PV NICs whose frames this process moves.</summary>
/// <param name="name">qnic beside a host's own backend for vif; vif where there is none.</param>
/// <param name="loop">Of the machine thread.</param>
public sealed class NetKind(string name, XenPorts ports, int guest, IPvNets nets, IEventLoop loop) : IPvKind
{
    public string Name => name;

    public IPvDevice Create(string id, StoreFolder back) => new NetDevice(ports, guest, nets.Open(id, back), loop);
}

/// <summary>A PV NIC: its features, its queues, its net (xen/public/io/netif.h).</summary>
public sealed class NetDevice : IPvDevice, INetFrontend
{
    private const int MaxQueues = 4;
    private const int MaxPort = 1 << 17;
    private const string MulticastNode = "request-multicast-control";

    private readonly XenPorts _ports;
    private readonly int _guest;
    private readonly PvNet _net;
    private readonly IEventLoop _loop;
    private readonly Action _tellCarrier;
    private readonly NetHasher _hasher = new();
    private readonly MulticastFilter _multicast = new();
    private readonly List<NetQueue> _queues = [];
    private NetControl? _control;
    private IDisposable? _watch;
    private StoreFolder? _back;

    /// <param name="loop">Of the machine thread.</param>
    public NetDevice(XenPorts ports, int guest, PvNet net, IEventLoop loop)
    {
        _ports = ports;
        _guest = guest;
        _net = net;
        _loop = loop;
        _tellCarrier = TellCarrier;
    }

    public Action<string>? Broken { get; set; }

    public NetCounters Counters { get; } = new();

    /// <summary>The net behind it.</summary>
    public string NetId => _net.Net.Id;

    /// <summary>Pairs of rings that are served; 0 while nothing is connected.</summary>
    public int Queues => _queues.Count;

    public void Offer(StoreFolder back)
    {
        back.Write("feature-rx-copy", 1);
        back.Write("feature-rx-flip", 0);
        back.Write("feature-sg", 1);
        back.Write("feature-gso-tcpv4", 1);
        back.Write("feature-gso-tcpv6", 1);
        back.Write("feature-ipv6-csum-offload", 1);
        back.Write("feature-split-event-channels", 1);
        back.Write("feature-multicast-control", 1);
        back.Write("feature-dynamic-multicast-control", 1);
        back.Write("feature-ctrl-ring", 1);
        back.Write("multi-queue-max-queues", MaxQueues);
        _back = back;
        WriteCarrier(back);
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        if (!front.ReadFlag("request-rx-copy")) throw new PvException("the front end wants pages flipped, which no backend does any more: request-rx-copy is missing");
        var takesPieces = front.ReadFlag("feature-sg");
        var isFiltered = front.ReadFlag(MulticastNode);
        _net.Plane.Run(() =>
        {
            _multicast.Clear();
            _multicast.IsOn = isFiltered;
            _hasher.Clear();
        });

        // A single queue's nodes stand beside the others, also where its number is given.
        var queues = (int)(front.ReadNumber("multi-queue-num-queues", 1, MaxQueues) ?? 1);
        var options = new NetQueueOptions(_net.Net, _net.Plane, _ports.Grants, _guest, takesPieces, queues == 1, _multicast, Counters, text => Broken?.Invoke(text));
        var isDone = false;
        try
        {
            if (front.ReadNumber("ctrl-ring-ref") is { } control) AddControl(control, front, queues);
            for (var n = 0; n < queues; n++) AddQueue(options, queues == 1 ? front : new StoreFolder(front.Store, $"{front.Path}/queue-{n}"));
            var offloads = Offloads(front, takesPieces);

            // feature-dynamic-multicast-control: the front end may change its mind while connected.
            _watch = _ports.Store.Watch($"{front.Path}/{MulticastNode}", _ =>
            {
                var isOn = front.ReadFlag(MulticastNode);
                _net.Plane.Loop.Post(() => _multicast.IsOn = isOn);
            });
            _net.Plane.Run(() =>
            {
                _net.Attach(this, offloads);

                // The rings are served already: what the net refused before this NIC had it, nobody would ask for again.
                foreach (var queue in _queues) queue.SendReady();
            });
            WriteCarrier(back);
            isDone = true;
        }
        finally
        {
            if (!isDone) Disconnect();
        }
    }

    public void Disconnect()
    {
        _watch?.Dispose();
        _watch = null;
        if (_queues.Count == 0 && _control is null) return;
        _net.Plane.Run(() =>
        {
            _control?.Stop();
            foreach (var queue in _queues) queue.Stop();
            _net.Release();
        });
        _control?.Dispose();
        _control = null;
        foreach (var queue in _queues) queue.Dispose();
        _queues.Clear();
    }

    public void Drain()
    {
    }

    public void Dispose()
    {
        Disconnect();
        _back = null;
        _net.Dispose();
    }

    bool INetFrontend.Receive(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < NetProtocol.EthernetHeader || !_multicast.Takes(bytes)) return true;
        if (!_hasher.IsOn) return _queues[_queues.Count == 1 ? 0 : Flow(bytes) % _queues.Count].Receive(frame, bytes, NetHash.None);
        var hash = _hasher.Of(bytes);
        return _queues[_hasher.QueueOf(hash, _queues.Count)].Receive(frame, bytes, hash);
    }

    void INetFrontend.SendReady()
    {
        foreach (var queue in _queues) queue.SendReady();
    }

    void INetFrontend.LinkChanged(bool up) => _loop.Post(_tellCarrier);

    /// <summary>What the front end takes undone. Checksums of both kinds or none: the net does not tell them apart.</summary>
    private static NetOffloads Offloads(StoreFolder front, bool takesPieces)
    {
        if (front.ReadFlag("feature-no-csum-offload") || !front.ReadFlag("feature-ipv6-csum-offload")) return NetOffloads.None;
        var offloads = NetOffloads.Checksum;
        if (takesPieces && front.ReadFlag("feature-gso-tcpv4")) offloads |= NetOffloads.Tcp4;
        if (takesPieces && front.ReadFlag("feature-gso-tcpv6")) offloads |= NetOffloads.Tcp6;
        return offloads;
    }

    /// <summary>A number that all frames of a connection share, so that they stay in order.</summary>
    private static int Flow(ReadOnlySpan<byte> bytes)
    {
        if (!NetHeaders.TryParse(bytes, out var headers)) return 0;
        var addresses = bytes[(headers.NetworkStart + (headers.IsIpv6 ? 8 : 12))..(headers.NetworkStart + (headers.IsIpv6 ? 40 : 20))];
        var sum = 0u;
        foreach (var b in addresses) sum = (sum * 31) + b;
        foreach (var b in bytes.Slice(headers.TransportStart, 4)) sum = (sum * 31) + b;
        return (int)((sum ^ (sum >> 16)) & 0xffff);
    }

    private void TellCarrier()
    {
        try
        {
            if (_back is { } back && _queues.Count > 0) WriteCarrier(back);
        }
        catch (StoreException)
        {
            // The device is on its way out, or its folder full: the guest goes on as if the cable had stayed as it was.
        }
    }

    /// <summary>Says whether the cable is in ("Link state" of netif.h).</summary>
    private void WriteCarrier(StoreFolder back)
    {
        var isUp = false;
        _net.Plane.Run(() => isUp = _net.Net.IsLinkUp);
        back.Write("carrier", isUp ? 1 : 0);
    }

    private void AddControl(uint reference, StoreFolder nodes, int queues)
    {
        var port = nodes.RequireNumber("event-channel-ctrl", 1, MaxPort);
        _control = new NetControl(_ports, _net.Plane, _guest, queues, _hasher, text => Broken?.Invoke(text));
        _control.Open(port, reference);
    }

    private void AddQueue(NetQueueOptions options, StoreFolder nodes)
    {
        var split = nodes.Read("event-channel") is null;
        var txPort = nodes.RequireNumber(split ? "event-channel-tx" : "event-channel", 1, MaxPort);
        var rxPort = split ? nodes.RequireNumber("event-channel-rx", 1, MaxPort) : txPort;
        var queue = new NetQueue(options);
        _queues.Add(queue);
        queue.Open(_ports, txPort, rxPort, nodes.RequireNumber("tx-ring-ref"), nodes.RequireNumber("rx-ring-ref"));
    }
}
