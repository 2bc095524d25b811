using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Block;

/// <summary>What PV disks share.</summary>
/// <param name="Loop">The machine's.</param>
public sealed record BlockHost(XenPorts Ports, int Guest, IPvImages Images, IEventLoop Loop, IMachineEvents Events);

/// <summary>PV disks whose images this process opens: <c>backendtype=qdisk</c>.</summary>
public sealed class BlockKind(BlockHost host) : IPvKind
{
    public string Name => "qdisk";

    public IPvDevice Create(string id, StoreFolder back) => new BlockDevice(host, id, back);
}

/// <summary>A PV disk or CD drive: its features, its rings, its image (xen/public/io/blkif.h).</summary>
internal sealed class BlockDevice : IPvDisk
{
    private const int MaxRingOrder = 4;
    private const int MaxQueues = 4;
    private const int MaxPort = 1 << 17;

    private readonly BlockHost _host;
    private readonly string _name;
    private readonly PvImage _image;
    private readonly bool _isCdrom;
    private readonly bool _isReadOnly;
    private readonly bool _canDiscard;
    private readonly List<BlockQueue> _queues = [];
    private readonly Action _tellErrors;
    private int _readError;
    private int _writeError;

    public BlockDevice(BlockHost host, string id, StoreFolder back)
    {
        _host = host;
        _tellErrors = TellErrors;
        _name = back.Read("dev") ?? id;
        _isCdrom = back.Read("device-type") == "cdrom";
        var readOnly = _isCdrom || !(back.Read("mode") ?? "r").StartsWith('w');
        var parameters = back.Read("params") ?? "";
        var colon = parameters.IndexOf(':', StringComparison.Ordinal);
        if (colon <= 0 || colon == parameters.Length - 1) throw new PvException($"params is '{parameters}': FORMAT:FILE is expected");
        var format = parameters[..colon] switch { "aio" => "raw", "vhd" => "vpc", var other => other };
        _image = host.Images.Open(new PvImageSpec(_name, parameters[(colon + 1)..], format, readOnly, _isCdrom));

        // An image that the emulated disk has open too may be one that can be written.
        _isReadOnly = readOnly || _image.Image.IsReadOnly;
        _canDiscard = !_isReadOnly && _image.Image.CanDiscard && back.Read("discard-enable") is not "0";
    }

    public Action<string>? Broken { get; set; }

    public IBlockBackend Image => _image.Image;

    public void Offer(StoreFolder back)
    {
        back.Write("feature-flush-cache", 1);
        back.Write("feature-barrier", 1);
        back.Write("feature-persistent", 1);
        back.Write("feature-max-indirect-segments", BlockProtocol.IndirectSegments);
        back.Write("max-ring-page-order", MaxRingOrder);
        back.Write("multi-queue-max-queues", MaxQueues);
        back.Write("feature-discard", _canDiscard ? 1 : 0);
        if (_canDiscard)
        {
            back.Write("discard-granularity", Math.Max(_image.PhysicalSectorBytes, PageBytes));
            back.Write("discard-alignment", 0);
            back.Write("discard-secure", 0);
        }

        back.Write("sectors", _image.Sectors);
        back.Write("sector-size", _image.SectorBytes);
        back.Write("physical-sector-size", Math.Max(_image.SectorBytes, _image.PhysicalSectorBytes));
        back.Write("info", (_isCdrom ? BlockProtocol.InfoCdrom : 0) | (_isReadOnly ? BlockProtocol.InfoReadOnly : 0));
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        // Where nothing is said x86 guests use the 32-bit form, as they have since QEMU serves them.
        var abi = front.Read("protocol") is null or "x86_32-abi" ? BlockAbi.Bits32 : BlockAbi.Bits64;
        var options = new BlockQueueOptions(_image.Image, _image.Sectors, _image.Plane, _host.Ports.Grants, _host.Guest, abi, front.ReadFlag("feature-persistent"), _image.SectorBytes, _isReadOnly, _canDiscard, ReportError, text => Broken?.Invoke(text));

        // A single queue's nodes stand beside the others, also where its number is given.
        var queues = front.ReadNumber("multi-queue-num-queues", 1, MaxQueues) ?? 1;
        try
        {
            for (var n = 0; n < queues; n++) AddQueue(options, front, queues == 1 ? front : new StoreFolder(front.Store, $"{front.Path}/queue-{n}"));
        }
        catch (Exception e) when (e is PvException or StoreException)
        {
            Disconnect();
            throw;
        }
    }

    public void Disconnect()
    {
        if (_queues.Count == 0) return;
        _image.Plane.Run(() =>
        {
            foreach (var queue in _queues) queue.Stop();
        });
        foreach (var queue in _queues) queue.Dispose();
        _queues.Clear();
    }

    public void Drain()
    {
        if (_queues.Count == 0) return;
        _image.Plane.Run(() =>
        {
            foreach (var queue in _queues) queue.Settle();
        });
    }

    public void Dispose()
    {
        Disconnect();
        _image.Dispose();
    }

    private const int PageBytes = 4096;

    /// <param name="common">Where what all queues share stands.</param>
    /// <param name="own">Where what is said of this queue alone stands.</param>
    private void AddQueue(BlockQueueOptions options, StoreFolder common, StoreFolder own)
    {
        var order = common.ReadNumber("ring-page-order", 0, MaxRingOrder);
        var references = new uint[1 << (int)(order ?? 0)];
        for (var n = 0; n < references.Length; n++) references[n] = order is null || (order == 0 && own.Read("ring-ref0") is null) ? own.RequireNumber("ring-ref") : own.RequireNumber($"ring-ref{n}");
        var port = own.RequireNumber("event-channel", 1, MaxPort);
        var queue = new BlockQueue(options);
        _queues.Add(queue);
        queue.Open(_host.Ports, port, references);
    }

    /// <summary>On the data plane, which may find errors faster than they are told: the last of each kind is.</summary>
    private void ReportError(bool isWrite, int errno)
    {
        if (Interlocked.Exchange(ref isWrite ? ref _writeError : ref _readError, errno) == 0) _host.Loop.Post(_tellErrors);
    }

    private void TellErrors()
    {
        if (Interlocked.Exchange(ref _readError, 0) is not 0 and var read) _host.Events.BlockIoError(_name, isWrite: false, read, "");
        if (Interlocked.Exchange(ref _writeError, 0) is not 0 and var write) _host.Events.BlockIoError(_name, isWrite: true, write, "");
    }
}
