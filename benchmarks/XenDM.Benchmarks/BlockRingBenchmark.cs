using System;
using BenchmarkDotNet.Attributes;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.XenBus;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>
/// The ring of a PV disk: time of one request from the guest's slot to its response, with an image in memory that does nothing, so that what is
/// left is the ring, the checks, the grants and the merging. The front end puts its requests together beforehand.
/// </summary>
[MemoryDiagnoser]
public class BlockRingBenchmark : IPvImages, IMachineEvents, IDataPlane
{
    private const int Depth = 32;
    private const int Batches = 100;

    private readonly FakeLoop _loop = new();
    private readonly NullImage _image;
    private BlockFront _front = null!;
    private XenBus _bus = null!;
    private uint[] _grants = [];
    private uint _list;

    public BlockRingBenchmark() => _image = new NullImage(_loop);

    /// <summary>The guest's pages stay mapped, or data is copied.</summary>
    [Params(true, false)]
    public bool Persistent { get; set; }

    public IEventLoop Loop => _loop;

    [GlobalSetup]
    public void Connect()
    {
        var xen = new FakeXen(_loop, 1024);
        _bus = new XenBus(xen.Ports, FakeXen.Guest, 0, [new BlockKind(new BlockHost(xen.Ports, FakeXen.Guest, this, _loop, this))], _loop, SilentLog.Instance);
        var (front, back) = xen.AddDevice("vbd", "qdisk", 51712, ("params", "aio:/image"), ("mode", "w"));
        _front = new BlockFront(xen, front, back, new BlockFrontOptions { RingOrder = 2, IsPersistent = Persistent, IndirectSegments = 32 }, _loop.RunPosted);
        if (!_front.Connect()) throw new InvalidOperationException("no connection");
        _grants = new uint[Depth * 4];
        for (var n = 0; n < _grants.Length; n++) _grants[n] = _front.Ring.GrantPage(_front.Ring.TakePage(), isReadOnly: false);
        var list = _front.Ring.TakePage();
        _list = _front.Ring.GrantPage(list, isReadOnly: true);
        for (var n = 0; n < 32; n++) BlockFrontRing.Descriptor(xen.Grants.Page(list)[(n * 8)..], new BlockPiece(_grants[n], 0, 7));
        for (var n = 0; n < 100; n++)
        {
            Random4K();
            Sequential4K();
            Indirect128K();
        }
    }

    [GlobalCleanup]
    public void Disconnect() => _bus.Dispose();

    /// <summary>Pages at places far apart, 32 at a time: each is a request to the image.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Depth * Batches)]
    public ulong Random4K() => Run(static n => (ulong)(n * 7919) % 100_000 * 8);

    /// <summary>Pages side by side, 32 at a time: together they are one request to the image.</summary>
    [Benchmark(OperationsPerInvoke = Depth * Batches)]
    public ulong Sequential4K() => Run(static n => (ulong)n * 8);

    /// <summary>32 pages of one request, which stand in a list.</summary>
    [Benchmark(OperationsPerInvoke = Depth * Batches)]
    public ulong Indirect128K()
    {
        ulong id = 0;
        for (var batch = 0; batch < Batches; batch++)
        {
            for (var n = 0; n < Depth; n++) id = _front.Ring.AddIndirect(BlockFrontRing.Read, (ulong)n * 1024, _list, 32);
            Finish();
        }

        return id;
    }

    public PvImage Open(in PvImageSpec spec) => new(_image, this, isOwned: false);

    void IDataPlane.Run(Action work) => work();

    public void Dispose() => GC.SuppressFinalize(this);

    public void BlockIoError(string device, bool isWrite, int errno, string reason) => throw new InvalidOperationException(reason);

    public void TrayMoved(string device, string id, bool isOpen) => throw new InvalidOperationException();

    private ulong Run(Func<int, ulong> sector)
    {
        ulong id = 0;
        for (var batch = 0; batch < Batches; batch++)
        {
            for (var n = 0; n < Depth; n++) id = _front.Ring.Add(BlockFrontRing.Read, sector(n), new BlockPiece(_grants[n], 0, 7));
            Finish();
        }

        return id;
    }

    private void Finish()
    {
        _front.Ring.Push();
        _loop.RunPosted();
        for (var n = 0; n < Depth; n++)
            if (!_front.Ring.TryTake(out var response) || response.Status != 0) throw new InvalidOperationException("a request failed");
    }

    /// <summary>Done at once, with nothing done.</summary>
    private sealed class NullImage(IEventLoop loop) : IBlockBackend
    {
        public string FileName => "null";

        public string Format => "raw";

        public bool IsReadOnly => false;

        public long LengthBytes => 1L << 32;

        public bool CanDiscard => true;

        public BlockStatistics Statistics { get; } = new();

        public int InFlight => 0;

        public void Submit(BlockRequest request)
        {
            request.Error = 0;
            loop.Post(request.Complete);
        }

        public void Drain()
        {
        }

        public void Dispose()
        {
        }
    }
}
