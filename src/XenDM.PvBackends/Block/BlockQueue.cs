using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Memory;
using XenDM.PvBackends.Rings;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Block;

/// <summary>What a queue needs to know of its disk and its guest.</summary>
/// <param name="Sectors">Of 512 bytes.</param>
/// <param name="SectorBytes">What requests are multiples of.</param>
/// <param name="ReportError">The host failed: write or not, errno. Called on the data plane.</param>
/// <param name="Broken">The guest's ring makes no sense; called on the data plane.</param>
internal sealed record BlockQueueOptions(IBlockBackend Image, long Sectors, IDataPlane Plane, IGrants Grants, int Guest, BlockAbi Abi, bool IsPersistent, int SectorBytes, bool IsReadOnly, bool CanDiscard, Action<bool, int> ReportError, Action<string> Broken);

/// <summary>
/// One ring of a PV disk (xen/public/io/blkif.h): takes requests, checks them, gives them to the image in as few pieces as they make, and answers in
/// the order in which they are done. On the data plane's thread but for <see cref="Kick"/>; nothing is allocated once it runs.
/// </summary>
internal sealed class BlockQueue : IDisposable
{
    /// <summary>Pages that data may be copied through at one time: 4 MiB.</summary>
    private const int CopyPages = 1024;

    /// <summary>Where putting requests together ends.</summary>
    private const int MergeSegments = 512;
    private const int PageBytes = 4096;

    private readonly BlockQueueOptions _options;
    private readonly PersistentGrants? _persistent;
    private readonly PagePool _pool = new(CopyPages);
    private readonly GrantCopy[] _copies = new GrantCopy[BlockProtocol.IndirectSegments];
    private readonly PinnedBuffer _descriptors = new(BlockProtocol.IndirectSegments * BlockProtocol.SegmentBytes);
    private readonly Stack<RingRequest> _freeRequests = new();
    private readonly Stack<RingRequest> _freeLong = new();
    private readonly Stack<BlockIo> _freeIos = new();
    private readonly Action _work;
    private readonly Action _push;
    private readonly ulong _sectors;
    private IEventChannel? _channel;
    private IGrantMapping? _pages;

    /// <summary>There once <see cref="_isOpen"/> is set.</summary>
    private BackRing _ring = null!;
    private volatile bool _isOpen;
    private RingRequest? _held;
    private BlockIo? _open;
    private int _inFlight;
    private int _kicked;
    private bool _isAlone;
    private bool _pushPosted;
    private bool _isStopped;

    public BlockQueue(BlockQueueOptions options)
    {
        _options = options;
        if (options.IsPersistent) _persistent = new PersistentGrants(options.Grants, options.Guest);
        _sectors = (ulong)options.Sectors;
        _work = Work;
        _push = Push;
    }

    /// <summary>Takes the guest's port and the pages of its ring; from then on it is served. Machine thread.</summary>
    /// <exception cref="PvException">They cannot be taken.</exception>
    public void Open(XenPorts ports, uint port, ReadOnlySpan<uint> grants)
    {
        _channel = RingPages.Bind(ports, _options.Guest, port, _options.Plane, Kick);
        _pages = RingPages.Map(ports, _options.Guest, grants, _channel);
        _ring = new BackRing(_pages, _options.Abi.Slot);
        _isOpen = true;

        // The first call came before the ring was here.
        Kick();
    }

    /// <summary>The guest may have put requests into the ring. Any thread.</summary>
    public void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _options.Plane.Loop.Post(_work);
    }

    /// <summary>Carries out all that the guest has put into its ring; a guest that goes on meanwhile does not keep it forever.</summary>
    public void Settle()
    {
        if (!_isOpen) return;

        // With each turn a barrier at least is done, and what the ring holds came in with the first.
        for (var turn = 0; turn <= 2 * _ring.Count && !_isStopped; turn++)
        {
            Work();
            _options.Image.Drain();
            if (_inFlight == 0 && _ring.Waiting <= 0) break;
        }

        PushNow();
    }

    /// <summary>Takes no more requests and finishes those that run.</summary>
    public void Stop()
    {
        _isStopped = true;
        _held = null;
        Submit();
        _options.Image.Drain();
        PushNow();
    }

    /// <summary>After <see cref="Stop"/>. Machine thread.</summary>
    public void Dispose()
    {
        _channel?.Dispose();
        _persistent?.Dispose();
        _pages?.Dispose();
    }

    /// <summary>The image is done with a request.</summary>
    internal void Finished(BlockIo io)
    {
        var error = io.Request.Error;
        if (error == 0 && io.Phase != BlockPhase.Main)
        {
            NextPhase(io);
            return;
        }

        if (error != 0 && io.HasSeveral)
        {
            Separate(io);
            return;
        }

        for (var (request, next) = (io.First, io.First?.Next); request is not null; (request, next) = (next, next?.Next))
        {
            if (error != 0) _options.ReportError(request.IsWrite, error);
            if (request.Operation == BlockProtocol.WriteBarrier) _isAlone = false;
            Answer(request, error == 0 && Deliver(request) ? BlockProtocol.Okay : BlockProtocol.Error);
        }

        io.Clear();
        _freeIos.Push(io);
    }

    private void Work()
    {
        Volatile.Write(ref _kicked, 0);
        Interlocked.MemoryBarrier();
        if (_isStopped || !_isOpen) return;
        Span<byte> slot = stackalloc byte[BlockAbi.Bits64.Slot];
        slot = slot[.._options.Abi.Slot];

        // A guest that fills the ring as fast as it is emptied is not all there is on this loop.
        for (var budget = _ring.Count; ; budget--)
        {
            if (_held is { } held)
            {
                if (!TryStart(held)) break;
                _held = null;
            }

            var waiting = _ring.Waiting;
            if (waiting < 0)
            {
                Break($"its ring has more requests than room: {_ring.Count} slots");
                break;
            }

            if (waiting == 0 && !_ring.FinalCheck()) break;
            if (budget <= 0)
            {
                Kick();
                break;
            }

            if (_ring.Waiting <= 0) continue;
            _ring.Take(slot);
            var isLong = slot[0] == BlockProtocol.Indirect;
            var request = (isLong ? _freeLong : _freeRequests).TryPop(out var free) ? free : new RingRequest(isLong);
            _inFlight++;
            var status = Parse(slot, request);
            if (status != BlockProtocol.Okay) Answer(request, status);
            else if (!TryStart(request)) _held = request;
        }

        Submit();
        PushNow();
    }

    /// <summary>Fills in a request from the copy of its slot, and checks all that can be known before its data is touched.</summary>
    /// <returns>Okay, or what the guest is to be told at once.</returns>
    private short Parse(ReadOnlySpan<byte> slot, RingRequest request)
    {
        var abi = _options.Abi;
        request.Operation = slot[0];
        request.Id = BinaryPrimitives.ReadUInt64LittleEndian(slot[abi.Id..]);
        var sector = BinaryPrimitives.ReadUInt64LittleEndian(slot[abi.Sector..]);
        request.Count = 0;
        request.Bytes = 0;
        request.Offset = 0;
        int count = slot[1];
        switch (slot[0])
        {
            case BlockProtocol.Discard: return ParseDiscard(slot, sector, request);
            case BlockProtocol.Flush or BlockProtocol.WriteBarrier when count == 0: return BlockProtocol.Okay;
            case BlockProtocol.Read or BlockProtocol.Write or BlockProtocol.WriteBarrier or BlockProtocol.Flush:
                if (count is 0 or > BlockProtocol.DirectSegments) return BlockProtocol.Error;
                return ParseSegments(slot.Slice(abi.Segments, count * BlockProtocol.SegmentBytes), count, sector, request);
            case BlockProtocol.Indirect:
                // The response names what was done, not how it was asked for.
                request.Operation = slot[1];
                count = BinaryPrimitives.ReadUInt16LittleEndian(slot[2..]);
                if (request.Operation is not (BlockProtocol.Read or BlockProtocol.Write) || count is 0 or > BlockProtocol.IndirectSegments) return BlockProtocol.Error;
                if (!ReadDescriptors(BinaryPrimitives.ReadUInt32LittleEndian(slot[abi.IndirectGrant..]), count)) return BlockProtocol.Error;
                return ParseSegments(_descriptors.Span, count, sector, request);
            default: return BlockProtocol.NotSupported;
        }
    }

    private short ParseDiscard(ReadOnlySpan<byte> slot, ulong sector, RingRequest request)
    {
        var count = BinaryPrimitives.ReadUInt64LittleEndian(slot[_options.Abi.DiscardSectors..]);
        if ((slot[1] & BlockProtocol.SecureDiscard) != 0 || !_options.CanDiscard) return BlockProtocol.NotSupported;
        return SetRange(request, sector, count) ? BlockProtocol.Okay : BlockProtocol.Error;
    }

    private short ParseSegments(ReadOnlySpan<byte> descriptors, int count, ulong sector, RingRequest request)
    {
        ulong sectors = 0;
        for (var n = 0; n < count; n++)
        {
            var descriptor = descriptors[(n * BlockProtocol.SegmentBytes)..];
            int first = descriptor[4], last = descriptor[5];
            if (first > last || last > BlockProtocol.LastSectorOfPage) return BlockProtocol.Error;
            ref var segment = ref request.Segments[n];
            segment.Grant = BinaryPrimitives.ReadUInt32LittleEndian(descriptor);
            segment.Offset = (ushort)(first << BlockProtocol.SectorShift);
            segment.Length = (ushort)((last - first + 1) << BlockProtocol.SectorShift);
            segment.PoolPage = -1;
            sectors += (ulong)(last - first + 1);
        }

        request.Count = count;
        return SetRange(request, sector, sectors) ? BlockProtocol.Okay : BlockProtocol.Error;
    }

    /// <returns>False when it does not lie on the disk, or not on its sectors.</returns>
    private bool SetRange(RingRequest request, ulong sector, ulong sectors)
    {
        if (sectors == 0 || sectors > _sectors || sector > _sectors - sectors) return false;
        request.Offset = (long)sector << BlockProtocol.SectorShift;
        request.Bytes = (long)sectors << BlockProtocol.SectorShift;
        return ((request.Offset | request.Bytes) & (_options.SectorBytes - 1)) == 0;
    }

    private bool ReadDescriptors(uint grant, int count)
    {
        ref var copy = ref _copies[0];
        copy = new GrantCopy { Reference = grant, Length = (ushort)(count * BlockProtocol.SegmentBytes), Local = _descriptors.Address };
        _options.Grants.Copy(_options.Guest, _copies.AsSpan(0, 1));
        return copy.Status == 0;
    }

    /// <summary>Gives a checked request to the image, or answers it.</summary>
    /// <returns>False when it has to wait until others are done.</returns>
    private bool TryStart(RingRequest request)
    {
        if (_isAlone) return false;
        if (request.Operation == BlockProtocol.WriteBarrier && _inFlight > 1) return false;
        if (request.IsWrite && request.Bytes > 0 && _options.IsReadOnly)
        {
            Answer(request, BlockProtocol.Error);
            return true;
        }

        var segments = request.Segments.AsSpan(0, request.Count);
        if (request.Count > 0 && !(_persistent?.TryMap(segments) ?? false))
        {
            if (!_pool.Has(request.Count)) return false;
            foreach (ref var segment in segments)
            {
                segment.PoolPage = _pool.Take();
                segment.Address = _pool.Address(segment.PoolPage);
                segment.Mapping = null;
            }

            if (request.IsWrite && !CopyAll(segments, toGuest: false))
            {
                Answer(request, BlockProtocol.Error);
                return true;
            }
        }

        switch (request.Operation)
        {
            case BlockProtocol.Read: Merge(request, BlockOperation.Read); break;
            case BlockProtocol.Write: Merge(request, BlockOperation.Write); break;
            case BlockProtocol.Discard: Alone(request, BlockOperation.Discard, BlockPhase.Main); break;
            default:
                // A barrier, or a flush; with data the disk's cache is emptied before and after it.
                _isAlone = request.Operation == BlockProtocol.WriteBarrier;
                Alone(request, BlockOperation.Flush, request.Count > 0 ? BlockPhase.FlushBefore : BlockPhase.Main);
                break;
        }

        return true;
    }

    /// <summary>Adds a request to those that are about to be made, if it goes on where they end.</summary>
    private void Merge(RingRequest request, BlockOperation operation)
    {
        if (_open is { } open && (open.Request.Operation != operation || open.End != request.Offset || open.Request.SegmentCount + request.Count > MergeSegments)) Submit();
        _open ??= NewIo(operation, request.Offset);
        _open.Add(request);
        _open.End = request.Offset + request.Bytes;
        AddSegments(_open, request);
    }

    private void Alone(RingRequest request, BlockOperation operation, BlockPhase phase)
    {
        Submit();
        var io = NewIo(operation, request.Offset);
        io.Add(request);
        io.Phase = phase;
        io.Request.Length = request.Bytes;
        if (operation is BlockOperation.Read or BlockOperation.Write) AddSegments(io, request);
        _options.Image.Submit(io.Request);
    }

    private void Submit()
    {
        if (_open is not { } io) return;
        _open = null;
        _options.Image.Submit(io.Request);
    }

    private BlockIo NewIo(BlockOperation operation, long offset)
    {
        var io = _freeIos.TryPop(out var free) ? free : new BlockIo(this, MergeSegments);
        io.Phase = BlockPhase.Main;
        io.Request.Operation = operation;
        io.Request.Offset = offset;
        io.Request.Length = 0;
        io.Request.ClearSegments();
        return io;
    }

    private static void AddSegments(BlockIo io, RingRequest request)
    {
        foreach (ref readonly var segment in request.Segments.AsSpan(0, request.Count)) io.Request.AddSegment(segment.Address, segment.Length);
    }

    private void NextPhase(BlockIo io)
    {
        var request = io.First!;
        io.Request.ClearSegments();
        if (io.Phase == BlockPhase.FlushBefore)
        {
            io.Phase = BlockPhase.DataBetween;
            io.Request.Operation = BlockOperation.Write;
            AddSegments(io, request);
        }
        else
        {
            io.Phase = BlockPhase.Main;
            io.Request.Operation = BlockOperation.Flush;
        }

        _options.Image.Submit(io.Request);
    }

    /// <summary>Requests that failed together are tried each for itself: which one is at fault shows then.</summary>
    private void Separate(BlockIo io)
    {
        var operation = io.Request.Operation;
        for (var (request, next) = (io.First, io.First?.Next); request is not null; (request, next) = (next, next?.Next)) Alone(request, operation, BlockPhase.Main);
        io.Clear();
        _freeIos.Push(io);
    }

    /// <summary>What was read goes to the guest, where it is not there already.</summary>
    /// <returns>False when the guest took its page away.</returns>
    private bool Deliver(RingRequest request)
    {
        if (request.Operation != BlockProtocol.Read) return true;
        var segments = request.Segments.AsSpan(0, request.Count);
        if (segments[0].PoolPage >= 0) return CopyAll(segments, toGuest: true);
        foreach (ref readonly var segment in segments) segment.Mapping!.Written(segment.MappingPage);
        return true;
    }

    private bool CopyAll(ReadOnlySpan<RingSegment> segments, bool toGuest)
    {
        for (var n = 0; n < segments.Length; n++)
        {
            ref readonly var segment = ref segments[n];
            _copies[n] = new GrantCopy { Reference = segment.Grant, Offset = segment.Offset, Length = segment.Length, ToGuest = toGuest, Local = segment.Address };
        }

        _options.Grants.Copy(_options.Guest, _copies.AsSpan(0, segments.Length));
        var isDone = true;
        for (var n = 0; n < segments.Length; n++) isDone &= _copies[n].Status == 0;
        return isDone;
    }

    private void Answer(RingRequest request, short status)
    {
        Span<byte> response = stackalloc byte[BlockAbi.Bits64.Response];
        _ring.Respond(_options.Abi.Respond(response, request.Id, request.Operation, status));
        foreach (ref var segment in request.Segments.AsSpan(0, request.Count))
        {
            if (segment.PoolPage >= 0) _pool.Release(segment.PoolPage);
            segment.PoolPage = -1;
            segment.Mapping = null;
        }

        _inFlight--;
        (request.IsLong ? _freeLong : _freeRequests).Push(request);
        if (_pushPosted) return;

        // Several that are done in one turn of the loop are shown in one go.
        _pushPosted = true;
        _options.Plane.Loop.Post(_push);
    }

    private void Push()
    {
        _pushPosted = false;
        if (_isStopped) return;
        PushNow();

        // What waited for room goes on, and a guest that is quick has the next requests there already.
        Work();
    }

    private void PushNow()
    {
        if (_isOpen && _ring.Push()) _channel?.Notify();
    }

    private void Break(string text)
    {
        _isStopped = true;
        _options.Broken(text);
    }
}
