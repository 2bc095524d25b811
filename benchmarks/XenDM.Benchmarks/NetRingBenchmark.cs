using System;
using BenchmarkDotNet.Attributes;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>
/// The rings of a PV NIC: time of one frame from the guest's slots to a wire that takes it and does nothing, and from that wire into the guest's
/// pages. The front end puts its requests together beforehand.
/// </summary>
[MemoryDiagnoser]
public class NetRingBenchmark : IPvNets, IDataPlane
{
    private const int Depth = 12;
    private const int Batches = 100;
    private const int LargePages = 16;

    private readonly FakeLoop _loop = new();
    private readonly FakeNet _net = new() { Log = false };
    private readonly byte[] _small = new byte[1514];
    private readonly byte[] _large = new byte[(LargePages * 4096) - 1];
    private readonly byte[] _response = new byte[8];
    private NetFrontQueue _queue = null!;
    private XenBus _bus = null!;
    private uint _grant;

    public IEventLoop Loop => _loop;

    [GlobalSetup]
    public void Connect()
    {
        var xen = new FakeXen(_loop, 256);
        _bus = new XenBus(xen.Ports, FakeXen.Guest, 0, [new NetKind("vif", xen.Ports, FakeXen.Guest, this, _loop)], _loop, SilentLog.Instance);
        var (front, back) = xen.AddDevice("vif", "vif", 0, ("mac", "00:16:3e:00:00:01"));
        var nic = new NetFront(xen, front, back, new NetFrontOptions(), _loop.RunPosted);
        if (!nic.Connect()) throw new InvalidOperationException("no connection");
        _queue = nic.Queue;
        _grant = xen.Grants.Grant(xen.Grants.Allocate());
        _small[0] = _large[0] = 2;
        for (var n = 0; n < 20; n++)
        {
            SendSmall();
            SendLarge();
            ReceiveSmall();
            ReceiveLarge();
        }
    }

    [GlobalCleanup]
    public void Disconnect() => _bus.Dispose();

    /// <summary>Frames of 1514 bytes from the guest.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Depth * Batches)]
    public long SendSmall() => Send(1, _small.Length);

    /// <summary>Frames of 64 KiB in 16 pages from the guest.</summary>
    [Benchmark(OperationsPerInvoke = Depth * Batches)]
    public long SendLarge() => Send(LargePages, _large.Length);

    /// <summary>Frames of 1514 bytes to the guest.</summary>
    [Benchmark(OperationsPerInvoke = Depth * Batches)]
    public int ReceiveSmall() => Receive(_small);

    /// <summary>Frames of 64 KiB to the guest, in 16 pages.</summary>
    [Benchmark(OperationsPerInvoke = Depth * Batches)]
    public int ReceiveLarge() => Receive(_large);

    public PvNet Open(string id, StoreFolder back) => new(_net, this, isOwned: false);

    void IDataPlane.Run(Action work) => work();

    public void Dispose() => GC.SuppressFinalize(this);

    private long Send(int pages, int bytes)
    {
        var before = _net.Count;
        for (var batch = 0; batch < Batches; batch++)
        {
            for (var n = 0; n < Depth; n++)
                for (var page = 0; page < pages; page++)
                    _queue.Put(_grant, 0, page < pages - 1 ? NetFrontQueue.MoreData : 0, page == 0 ? bytes : page < pages - 1 ? 4096 : bytes - ((pages - 1) * 4096));
            _queue.PushTx();
            _loop.RunPosted();
            for (var ready = _queue.Tx.Ready; ready > 0; ready--) _queue.Tx.Take(_response.AsSpan(0, 4));
        }

        return _net.Count - before == Depth * Batches ? _net.Count : throw new InvalidOperationException("a frame was lost");
    }

    private int Receive(byte[] frame)
    {
        for (var batch = 0; batch < Batches; batch++)
        {
            while (_queue.Rx.Waiting < _queue.Rx.Count) _queue.OfferPage(0, _grant);
            _queue.PushRx();
            for (var n = 0; n < Depth; n++)
                if (!_net.Bring(frame.AsSpan())) throw new InvalidOperationException("a frame was not taken");
            _loop.RunPosted();
            for (var ready = _queue.Rx.Ready; ready > 0; ready--) _queue.Rx.Take(_response);
        }

        return _queue.Rx.Waiting;
    }
}
