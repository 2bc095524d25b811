using System;
using System.Runtime.InteropServices;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Net;

namespace XenDM.Backends.Net;

/// <summary>
/// A tap interface of the host: what the guest sends comes in there, and what the host sends there the guest gets. With the kernel's vnet header, uncut
/// and blank frames go through as they are in both directions.
/// </summary>
/// <remarks>
/// Several queues: the kernel spreads what it has for the guest over them by flow; what the guest sends goes to the queue of its
/// flow, so that the answers come back there.
/// </remarks>
public sealed class TapNet : NetBackend
{
    /// <summary>Frames of one queue in a row, before others on the loop have their turn.</summary>
    private const int Burst = 64;

    private readonly Queue[] _queues;
    private readonly IMachineLog _log;
    private readonly string _name;
    private readonly bool _hasHeader;
    private readonly byte[] _headers = new byte[512];
    private readonly IEventLoop _loop;
    private readonly Action _work;
    private Queue? _refused;
    private bool _isScheduled;
    private bool _warned;

    private sealed class Queue(FileDescriptor fd)
    {
        public FileDescriptor Fd => fd;

        public IFdWatch Watch { get; set; } = null!;

        /// <summary>The frame that was read last, behind its header.</summary>
        public byte[] Bytes { get; } = new byte[VnetHeader.Bytes + NetFinisher.MaxFrame];

        /// <summary>Bytes of a frame that the guest has no room for; 0 for none.</summary>
        public int Waiting { get; set; }

        public bool IsFull { get; set; }
    }

    /// <exception cref="NetOpenException">There is no tap device, no permission, or the interface is something else.</exception>
    public TapNet(TapNetdev spec, IEventLoop loop, IMachineLog log)
        : base(spec.Id)
    {
        _log = log;
        _loop = loop;
        _work = Work;
        _queues = new Queue[spec.Queues];
        (_name, _hasHeader) = ("", false);
        try
        {
            for (var i = 0; i < _queues.Length; i++)
            {
                var fd = new FileDescriptor(spec.Interface is { } name ? Open(spec, i == 0 ? name : _name, out _name, out _hasHeader) : Take(spec, spec.Fds[i], i, ref _name, ref _hasHeader));
                _queues[i] = new Queue(fd);
                Configure(spec, fd.Fd);
            }
        }
        catch
        {
            foreach (var queue in _queues) queue?.Fd.Dispose();
            throw;
        }

        foreach (var queue in _queues) queue.Watch = loop.Watch(queue.Fd.Fd, FdEvents.Readable, happened => Ready(queue, happened));
    }

    public override string Description => $"type=tap,ifname={_name},queues={_queues.Length},vnet_hdr={(_hasHeader ? "on" : "off")}";

    /// <summary>Name of the interface.</summary>
    public string Interface => _name;

    /// <summary>The kernel takes and gives frames undone.</summary>
    public bool HasVnetHeader => _hasHeader;

    protected override NetOffloads SendOffloads => _hasHeader ? NetOffloads.Checksum | NetOffloads.Tcp4 | NetOffloads.Tcp6 : NetOffloads.None;

    protected override void OnReceiveReady()
    {
        if (_isScheduled) return;
        _isScheduled = true;
        _loop.Post(_work);
    }

    protected override bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        var queue = _queues.Length == 1 ? _queues[0] : _queues[Flow(bytes)];
        if (queue.IsFull) return false;
        var result = _hasHeader ? WriteWithHeader(queue.Fd.Fd, frame, bytes) : (int)Posix.Write(queue.Fd.Fd, bytes);
        if (result != -Errno.EAGAIN)
        {
            if (result < 0) Failed(result);
            return true;
        }

        queue.IsFull = true;
        Watch(queue);
        return false;
    }

    protected override void OnReceiveOffloads()
    {
        if (!_hasHeader) return;
        var offloads = TapOffloads.None;
        if ((ReceiveOffloads & NetOffloads.Checksum) != 0) offloads |= TapOffloads.Checksum;
        if ((ReceiveOffloads & NetOffloads.Tcp4) != 0) offloads |= TapOffloads.Tcp4;
        if ((ReceiveOffloads & NetOffloads.Tcp6) != 0) offloads |= TapOffloads.Tcp6;

        // Whatever the kernel makes of it, and whatever waits from before: what the guest does not take is done in Deliver.
        foreach (var queue in _queues) Tap.SetReadOffloads(queue.Fd.Fd, offloads);
    }

    protected override void OnAttached()
    {
        foreach (var queue in _queues) queue.Waiting = 0;
        _refused = null;
    }

    protected override void Close()
    {
        foreach (var queue in _queues)
        {
            queue.Watch.Dispose();
            queue.Fd.Dispose();
        }
    }

    private static int Open(TapNetdev spec, string name, out string actual, out bool hasHeader)
    {
        var fd = Tap.Open();
        if (fd < 0) throw new NetOpenException($"netdev {spec.Id}: cannot open {Tap.Device}: {Errno.Describe(fd)}");
        var flags = TapFlags.Tap | TapFlags.NoPacketInfo;
        if (spec.HasVnetHeader) flags |= Tap.Features(fd) & TapFlags.VnetHeader;
        if (spec.Queues > 1) flags |= TapFlags.MultiQueue;
        hasHeader = (flags & TapFlags.VnetHeader) != 0;
        var result = Tap.Attach(fd, name, flags, out actual);
        if (result >= 0) return fd;
        Posix.Close(fd);
        var why = result switch
        {
            -Errno.EBUSY => "somebody else uses it",
            -Errno.EINVAL => $"it is no tap with {(spec.Queues > 1 ? "several queues" : "one queue")}",
            -Errno.EPERM => "only root, and its owner, may use it",
            _ => Errno.Describe(result),
        };
        throw new NetOpenException($"netdev {spec.Id}: interface {name}: {why}");
    }

    /// <summary>Takes a descriptor that somebody else set up.</summary>
    private static int Take(TapNetdev spec, int fd, int index, ref string name, ref bool hasHeader)
    {
        var result = Tap.Describe(fd, out var found, out var flags);
        if (result < 0 || (flags & TapFlags.Tap) == 0) throw new NetOpenException($"netdev {spec.Id}: descriptor {fd} is no tap");
        if ((flags & TapFlags.NoPacketInfo) == 0) throw new NetOpenException($"netdev {spec.Id}: descriptor {fd}: its tap must be made with IFF_NO_PI");
        var header = (flags & TapFlags.VnetHeader) != 0;
        if (index > 0 && (found != name || header != hasHeader)) throw new NetOpenException($"netdev {spec.Id}: descriptor {fd} belongs to {found}, the one before to {name}");
        (name, hasHeader) = (found, header);
        Posix.SetCloseOnExec(fd, true);
        Posix.SetNonBlocking(fd, true);
        return fd;
    }

    private void Configure(TapNetdev spec, int fd)
    {
        if (_hasHeader)
        {
            var result = Tap.SetVnetHeaderBytes(fd, VnetHeader.Bytes);
            if (result >= 0) result = Tap.SetReadOffloads(fd, TapOffloads.None);
            if (result < 0) throw new NetOpenException($"netdev {spec.Id}: interface {_name}: {Errno.Describe(result)}");
        }

        if (spec.SendBuffer > 0 && Tap.SetWriteBuffer(fd, spec.SendBuffer) is var set and < 0) throw new NetOpenException($"netdev {spec.Id}: sndbuf={spec.SendBuffer}: {Errno.Describe(set)}");
    }

    private void Work()
    {
        _isScheduled = false;
        if (IsDisposed) return;
        if (_refused is { } first && Again(first)) Watch(first);
        foreach (var queue in _queues)
            if (Again(queue)) Watch(queue);
    }

    private void Ready(Queue queue, FdEvents happened)
    {
        if ((happened & FdEvents.Writable) != 0 && queue.IsFull)
        {
            queue.IsFull = false;
            Watch(queue);
            RoomAgain();
        }

        if ((happened & (FdEvents.Readable | FdEvents.Hangup)) != 0 && !IsDisposed) Read(queue);
    }

    private void Read(Queue queue)
    {
        for (var n = 0; n < Burst && queue.Waiting == 0; n++)
        {
            var count = (int)Posix.Read(queue.Fd.Fd, queue.Bytes);
            if (count == -Errno.EAGAIN) return;
            if (count <= 0)
            {
                // The interface was taken away: it does not come back under this descriptor.
                if (count is 0 or -Errno.EBADFD or -Errno.ENODEV) queue.Watch.Events = FdEvents.None;
                Failed(count);
                return;
            }

            queue.Waiting = count;
            Again(queue);
        }

        Watch(queue);
    }

    /// <summary>Gives the frame that waits to the guest.</summary>
    /// <returns>False: it still waits.</returns>
    private bool Again(Queue queue)
    {
        if (queue.Waiting == 0) return true;

        // Of a frame that was refused a part may be through: it goes before those of other queues.
        if (_refused is not null && _refused != queue) return false;
        var bytes = queue.Bytes.AsSpan(0, queue.Waiting);
        var frame = default(NetFrame);
        if (_hasHeader)
        {
            if (bytes.Length < VnetHeader.Bytes) bytes = [];
            else
            {
                frame = FromHeader(MemoryMarshal.Read<VnetHeader>(bytes));
                bytes = bytes[VnetHeader.Bytes..];
            }
        }

        _refused = Deliver(frame, bytes) ? null : queue;
        if (_refused is not null) return false;
        queue.Waiting = 0;
        return true;
    }

    private void Watch(Queue queue)
    {
        if (IsDisposed) return;
        queue.Watch.Events = (queue.Waiting == 0 ? FdEvents.Readable : FdEvents.None) | (queue.IsFull ? FdEvents.Writable : FdEvents.None);
    }

    private static NetFrame FromHeader(VnetHeader header) => new()
    {
        NeedsChecksum = (header.Flags & VnetHeader.NeedsChecksum) != 0,
        IsValid = (header.Flags & (VnetHeader.NeedsChecksum | VnetHeader.DataValid)) != 0,
        Segmentation = (header.Segmentation & ~VnetHeader.SegmentEcn) switch
        {
            VnetHeader.SegmentTcp4 => NetSegmentation.Tcp4,
            VnetHeader.SegmentTcp6 => NetSegmentation.Tcp6,
            _ => NetSegmentation.None,
        },
        SegmentBytes = header.SegmentBytes,
        HeaderBytes = header.HeaderBytes,
        ChecksumStart = header.ChecksumStart,
        ChecksumOffset = header.ChecksumOffset,
    };

    private int WriteWithHeader(int fd, in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        var header = default(VnetHeader);
        if (frame.Segmentation == NetSegmentation.None)
        {
            if (frame.NeedsChecksum) (header.Flags, header.ChecksumStart, header.ChecksumOffset) = (VnetHeader.NeedsChecksum, frame.ChecksumStart, frame.ChecksumOffset);
            return Tap.Write(fd, Bytes(ref header), bytes, default);
        }

        // The kernel works out the sums of the segments from that of the whole: the pseudo header's has to be right, with the length in it.
        if (!NetHeaders.TryParse(bytes, out var headers) || headers.PayloadStart > _headers.Length) return 0;
        var copy = _headers.AsSpan(0, headers.PayloadStart);
        bytes[..copy.Length].CopyTo(copy);
        headers.PutLength(copy);
        headers.PutPseudoSum(copy);
        header.Flags = VnetHeader.NeedsChecksum;
        header.Segmentation = frame.Segmentation == NetSegmentation.Tcp4 ? VnetHeader.SegmentTcp4 : VnetHeader.SegmentTcp6;
        header.HeaderBytes = (ushort)headers.PayloadStart;
        header.SegmentBytes = frame.SegmentBytes;
        header.ChecksumStart = (ushort)headers.TransportStart;
        header.ChecksumOffset = (ushort)headers.ChecksumOffset;
        return Tap.Write(fd, Bytes(ref header), copy, bytes[copy.Length..]);
    }

    private static ReadOnlySpan<byte> Bytes(ref VnetHeader header) => MemoryMarshal.AsBytes(new ReadOnlySpan<VnetHeader>(in header));

    /// <summary>A queue by addresses and ports, so that a connection stays on one.</summary>
    private int Flow(ReadOnlySpan<byte> bytes)
    {
        if (!NetHeaders.TryParse(bytes, out var headers)) return 0;
        var sum = NetChecksum.Add(0, bytes.Slice(headers.TransportStart, sizeof(uint)));
        var hash = NetChecksum.Fold(headers.PseudoSum(bytes, 0) + sum) * 0x9e3779b1u;
        return (int)((hash >> 16) % (uint)_queues.Length);
    }

    /// <summary>The host does not take a frame: while its interface is down, that is as with a cable that ends in the air.</summary>
    private void Failed(int result)
    {
        if (result is -Errno.EIO or 0 || _warned) return;
        _warned = true;
        _log.Warn(Id, $"interface {_name}: {Errno.Describe(result)}");
    }
}
