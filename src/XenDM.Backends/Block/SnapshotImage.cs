using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Core.Backends;
using XenDM.Core.Memory;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Block;

/// <summary>
/// An image that is only read, under a temporary file that takes what is written and is gone when it is closed. The temporary file has no name,
/// is as long as the image and holds what was written at its place; a map with a bit a sector says which sectors are there. So a write of
/// whole sectors, which is all that disks do, copies nothing.
/// </summary>
/// <remarks>
/// All of this class runs on the machine thread; the two images do the waiting. A sector counts as written when its write is done: until
/// then reads give what was there before. A write that covers a sector in part fills it up from the image first, with no other write under way.
/// </remarks>
public sealed class SnapshotImage : IBlockBackend
{
    private const int SectorShift = 9;
    private const int SectorBytes = 1 << SectorShift;

    /// <summary>Sectors of a piece of the map, 16 MiB of disk; pieces are made when they are needed.</summary>
    private const int PieceShift = 15;
    private const int PieceSectors = 1 << PieceShift;
    private const string DefaultFolder = "/var/tmp";

    private readonly IBlockBackend _image;
    private readonly IBlockBackend _written;
    private readonly IEventLoop _loop;
    private readonly ulong[]?[] _map;
    private readonly Queue<BlockRequest> _done = new();
    private readonly Queue<BlockRequest> _waiting = new();
    private readonly Stack<Work> _freeWork = new();
    private readonly Stack<Part> _freeParts = new();
    private readonly Action _runCompletions;

    /// <summary>Room for the two sectors that one write can cover in part.</summary>
    private readonly PinnedBuffer _fill = new(2 * SectorBytes);
    private int _writes;
    private bool _isAlone;

    private enum Phase
    {
        Main,
        ReadFill,
        WriteFill,
    }

    /// <summary>A request that is under way.</summary>
    private sealed class Work
    {
        public BlockRequest Request = null!;
        public Phase Phase;
        public int Pending;
        public int Error;
        public long BytesDone;
        public bool IsWrite;
        public bool IsAlone;
    }

    /// <summary>The piece of it that one of the two images does.</summary>
    private sealed class Part
    {
        public required BlockRequest Request;
        public Work Work = null!;
        public long Start;
    }

    /// <param name="written">Takes what is written: empty, and as long as the image.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public SnapshotImage(IBlockBackend image, IBlockBackend written, IEventLoop loop)
    {
        if (written.LengthBytes != image.LengthBytes) throw new ArgumentException("the two images differ in length", nameof(written));
        _image = image;
        _written = written;
        _loop = loop;
        _map = new ulong[((image.LengthBytes >> SectorShift) + PieceSectors - 1) >> PieceShift][];
        _runCompletions = RunCompletions;
    }

    /// <summary>Puts a temporary file over an image, in <c>$TMPDIR</c> or /var/tmp. The image is closed when that fails.</summary>
    /// <exception cref="BlockOpenException">The file cannot be made.</exception>
    public static SnapshotImage Over(IBlockBackend image, IEventLoop loop)
    {
        var folder = Environment.GetEnvironmentVariable("TMPDIR") is { Length: > 0 } chosen ? chosen : DefaultFolder;
        try
        {
            var path = Path.Combine(folder, $"xendm-snapshot-{Guid.NewGuid():n}");
            var fd = Posix.Open(path, OpenFlags.ReadWrite | OpenFlags.Create | OpenFlags.Exclusive, 0x180);
            if (fd < 0) throw new BlockOpenException($"snapshot of '{image.FileName}': cannot make a file in '{folder}': {Errno.Describe(fd)}");
            Posix.Unlink(path);
            var result = Posix.FTruncate(fd, image.LengthBytes);
            if (result < 0)
            {
                Posix.Close(fd);
                throw new BlockOpenException($"snapshot of '{image.FileName}': a file in '{folder}' cannot be {image.LengthBytes} bytes long: {Errno.Describe(result)}");
            }

            return new SnapshotImage(image, RawImage.FromFd(fd, $"snapshot of {image.FileName}", "raw", false, loop), loop);
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    public string FileName => _image.FileName;

    public string Format => _image.Format;

    public bool IsReadOnly => false;

    public long LengthBytes => _image.LengthBytes;

    public bool CanDiscard => true;

    public BlockStatistics Statistics { get; } = new();

    public int InFlight { get; private set; }

    public void Submit(BlockRequest request)
    {
        InFlight++;
        request.Error = 0;
        request.BytesDone = 0;
        switch (request.Operation)
        {
            // Nothing of this outlives the process: there is nothing to make safe.
            case BlockOperation.Flush:
                PostDone(request);
                break;
            case var _ when !IsInside(request):
                request.Error = request.Operation == BlockOperation.Read ? Errno.EIO : Errno.ENOSPC;
                PostDone(request);
                break;
            case var _ when LengthOf(request) == 0:
                PostDone(request);
                break;
            case BlockOperation.Read:
                Read(request);
                break;
            case BlockOperation.Discard:
                Discard(request);
                break;
            default:
                _waiting.Enqueue(request);
                StartWrites();
                break;
        }
    }

    public void Drain()
    {
        while (InFlight > 0)
        {
            _image.Drain();
            _written.Drain();
            RunCompletions();
        }
    }

    public void Dispose()
    {
        Drain();
        _image.Dispose();
        _written.Dispose();
    }

    private bool IsInside(BlockRequest request)
    {
        var length = LengthOf(request);
        return request.Offset >= 0 && length >= 0 && length <= LengthBytes && request.Offset <= LengthBytes - length;
    }

    private static long LengthOf(BlockRequest request) => request.Operation is BlockOperation.Read or BlockOperation.Write ? request.SegmentBytes : request.Length;

    private static long EndOf(BlockRequest request) => request.Offset + LengthOf(request);

    /// <summary>Each run of sectors comes from the image that has it.</summary>
    private void Read(BlockRequest request)
    {
        var work = Begin(request, isWrite: false);
        var end = EndOf(request);
        for (var at = request.Offset; at < end;)
        {
            var isWritten = IsWritten(at >> SectorShift);
            var next = Math.Min(end, RunEnd(at >> SectorShift, (end + SectorBytes - 1) >> SectorShift, isWritten) << SectorShift);
            var part = MakePart(work, BlockOperation.Read, at);
            AddSegments(part.Request, request, at - request.Offset, next - at);
            Start(isWritten ? _written : _image, part);
            at = next;
        }

        Release(work);
    }

    /// <summary>What was written reads as zeroes afterwards; what was not keeps its old data.</summary>
    private void Discard(BlockRequest request)
    {
        var work = Begin(request, isWrite: false);
        var part = MakePart(work, BlockOperation.Discard, request.Offset);
        part.Request.Length = request.Length;
        Start(_written, part);
        Release(work);
    }

    /// <summary>Starts what waits, in order, until a write that must be alone.</summary>
    private void StartWrites()
    {
        while (!_isAlone && _waiting.TryPeek(out var request))
        {
            var fills = NeedsFill(request.Offset) || NeedsFill(EndOf(request));
            if (fills && _writes > 0) return;
            _waiting.Dequeue();
            var work = Begin(request, isWrite: true);
            _writes++;
            work.IsAlone = _isAlone = fills;
            if (fills) ReadFill(work);
            else WriteMain(work);
            Release(work);
        }
    }

    /// <summary>This end of a write lies in the middle of a sector that was not written yet.</summary>
    private bool NeedsFill(long end) => (end & (SectorBytes - 1)) != 0 && !IsWritten(end >> SectorShift);

    private void ReadFill(Work work)
    {
        work.Phase = Phase.ReadFill;
        Fill(work, _image, BlockOperation.Read);
    }

    private void WriteFill(Work work)
    {
        work.Phase = Phase.WriteFill;
        Fill(work, _written, BlockOperation.Write);
    }

    private void Fill(Work work, IBlockBackend image, BlockOperation operation)
    {
        var (first, last) = (work.Request.Offset >> SectorShift, EndOf(work.Request) >> SectorShift);
        if (NeedsFill(work.Request.Offset)) FillSector(work, image, operation, first, 0);
        if (NeedsFill(EndOf(work.Request)) && (last != first || !NeedsFill(work.Request.Offset))) FillSector(work, image, operation, last, SectorBytes);
    }

    private void FillSector(Work work, IBlockBackend image, BlockOperation operation, long sector, int place)
    {
        var part = MakePart(work, operation, sector << SectorShift);
        part.Request.AddSegment(_fill.Address + place, SectorBytes);
        Start(image, part);
    }

    private void WriteMain(Work work)
    {
        work.Phase = Phase.Main;
        var request = work.Request;
        var part = MakePart(work, request.Operation, request.Offset);
        part.Request.Length = request.Length;
        if (request.Operation == BlockOperation.Write) AddSegments(part.Request, request, 0, request.SegmentBytes);
        Start(_written, part);
    }

    /// <summary>A piece of work that cannot be done before <see cref="Release"/>.</summary>
    private Work Begin(BlockRequest request, bool isWrite)
    {
        if (!_freeWork.TryPop(out var work)) work = new Work();
        work.Request = request;
        work.Phase = Phase.Main;
        work.Pending = 1;
        work.Error = 0;
        work.BytesDone = LengthOf(request);
        work.IsWrite = isWrite;
        work.IsAlone = false;
        return work;
    }

    private Part MakePart(Work work, BlockOperation operation, long offset)
    {
        if (!_freeParts.TryPop(out var part))
        {
            Part? made = null;
            part = made = new Part { Request = new BlockRequest(_ => PartDone(made!)) };
        }

        part.Work = work;
        part.Start = offset;
        part.Request.ClearSegments();
        part.Request.Operation = operation;
        part.Request.Offset = offset;
        return part;
    }

    private static void Start(IBlockBackend image, Part part)
    {
        part.Work.Pending++;
        image.Submit(part.Request);
    }

    private void PartDone(Part part)
    {
        var work = part.Work;
        if (part.Request.Error != 0)
        {
            // The guest is told the first sector that failed, whichever image came to its end first.
            var before = work.Phase == Phase.Main ? part.Start + part.Request.BytesDone - work.Request.Offset : 0;
            if (work.Error == 0 || before < work.BytesDone) (work.Error, work.BytesDone) = (part.Request.Error, before);
        }

        _freeParts.Push(part);
        Release(work);
    }

    private void Release(Work work)
    {
        if (--work.Pending > 0) return;
        if (work.Error == 0 && work.Phase != Phase.Main)
        {
            work.Pending = 1;
            if (work.Phase == Phase.ReadFill) WriteFill(work);
            else WriteMain(work);
            Release(work);
            return;
        }

        var request = work.Request;
        request.Error = work.Error;
        request.BytesDone = work.BytesDone;
        if (work.IsWrite)
        {
            if (work.Error == 0) SetWritten(request.Offset >> SectorShift, (EndOf(request) + SectorBytes - 1) >> SectorShift);
            _writes--;
            if (work.IsAlone) _isAlone = false;
        }

        var wasWrite = work.IsWrite;
        _freeWork.Push(work);
        PostDone(request);
        if (wasWrite) StartWrites();
    }

    /// <summary>Never from within <see cref="Submit"/>: a device does not expect its completion there.</summary>
    private void PostDone(BlockRequest request)
    {
        _done.Enqueue(request);
        _loop.Post(_runCompletions);
    }

    private void RunCompletions()
    {
        while (_done.TryDequeue(out var request))
        {
            InFlight--;
            Count(request);
            request.Completed(request);
        }
    }

    private void Count(BlockRequest request)
    {
        if (request.Error != 0) Statistics.FailedOperations++;
        else if (request.Operation == BlockOperation.Flush) Statistics.FlushOperations++;
        else if (request.Operation == BlockOperation.Read)
        {
            Statistics.ReadOperations++;
            Statistics.ReadBytes += request.BytesDone;
        }
        else
        {
            Statistics.WriteOperations++;
            Statistics.WrittenBytes += request.BytesDone;
        }
    }

    private bool IsWritten(long sector) => _map[sector >> PieceShift] is { } piece && (piece[Word(sector)] & (1ul << (int)(sector & 63))) != 0;

    private static int Word(long sector) => (int)(sector & (PieceSectors - 1)) >> 6;

    /// <summary>The first sector from here on, but not behind <paramref name="end"/>, that is not as this one.</summary>
    private long RunEnd(long sector, long end, bool isWritten)
    {
        do
        {
            // Whole words and pieces at a time where all their bits are alike.
            if ((sector & 63) == 0 && end - sector >= 64)
            {
                var word = _map[sector >> PieceShift] is { } piece ? piece[Word(sector)] : 0;
                if (word == (isWritten ? ulong.MaxValue : 0))
                {
                    sector += 64;
                    continue;
                }
            }

            if (IsWritten(sector) != isWritten) return sector;
            sector++;
        }
        while (sector < end);
        return sector;
    }

    private void SetWritten(long sector, long end)
    {
        for (; sector < end; sector++) (_map[sector >> PieceShift] ??= new ulong[PieceSectors / 64])[Word(sector)] |= 1ul << (int)(sector & 63);
    }

    /// <summary>Adds the part of a request's memory that belongs to a part of its bytes.</summary>
    private static void AddSegments(BlockRequest part, BlockRequest request, long skip, long length)
    {
        foreach (var segment in request.Segments)
        {
            if (length == 0) return;
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            var count = (int)Math.Min(segment.Length - skip, length);
            part.AddSegment(segment.Address + (nint)skip, count);
            length -= count;
            skip = 0;
        }
    }
}
