using System;

namespace XenDM.Core.Backends;

public enum BlockOperation : byte
{
    Read,
    Write,

    /// <summary>Everything written before is on stable storage when this completes (fdatasync).</summary>
    Flush,

    /// <summary>The range is not needed any more; it reads zeroes or the old data afterwards.</summary>
    Discard,

    /// <summary>The range reads zeroes afterwards.</summary>
    WriteZeroes,
}

/// <summary>A stretch of this process's memory: guest RAM that is pinned, or a pinned buffer.</summary>
/// <param name="Address">Host address.</param>
/// <param name="Length">Bytes.</param>
public readonly record struct BlockSegment(nint Address, int Length);

/// <summary>
/// One request to an image. Made once by a device and used again and again: nothing is allocated per request. From
/// <see cref="IBlockBackend.Submit"/> until the completion it belongs to the backend.
/// </summary>
public sealed class BlockRequest
{
    private BlockSegment[] _segments = new BlockSegment[4];

    /// <param name="completed">Called on the machine thread when the request is done.</param>
    public BlockRequest(Action<BlockRequest> completed)
    {
        Completed = completed;
        Complete = () => Completed(this);
    }

    public BlockOperation Operation { get; set; }

    /// <summary>Byte offset in the image.</summary>
    public long Offset { get; set; }

    /// <summary>Bytes, for operations without segments (discard, write zeroes).</summary>
    public long Length { get; set; }

    /// <summary>Where the bytes go to or come from.</summary>
    public ReadOnlySpan<BlockSegment> Segments => _segments.AsSpan(0, SegmentCount);

    public int SegmentCount { get; private set; }

    /// <summary>Sum of the segments.</summary>
    public long SegmentBytes { get; private set; }

    /// <summary>0, or a positive errno of the host (5 EIO, 28 ENOSPC, ...).</summary>
    public int Error { get; set; }

    /// <summary>Bytes moved before the error: the failing sector follows from it.</summary>
    public long BytesDone { get; set; }

    /// <summary>Called by the device that owns the request.</summary>
    public Action<BlockRequest> Completed { get; }

    /// <summary>The completion as a cached delegate for <see cref="IEventLoop.Post"/>.</summary>
    public Action Complete { get; }

    /// <summary>Makes room for as many segments, so that adding them allocates nothing.</summary>
    public void Reserve(int segments)
    {
        if (_segments.Length < segments) Array.Resize(ref _segments, segments);
    }

    public void ClearSegments()
    {
        SegmentCount = 0;
        SegmentBytes = 0;
    }

    public void AddSegment(nint address, int length)
    {
        if (SegmentCount == _segments.Length) Array.Resize(ref _segments, _segments.Length * 2);
        _segments[SegmentCount++] = new BlockSegment(address, length);
        SegmentBytes += length;
    }
}

/// <summary>Counters of one drive as <c>query-blockstats</c> shows them. Written on the machine thread.</summary>
public sealed class BlockStatistics
{
    public long ReadBytes { get; set; }

    public long WrittenBytes { get; set; }

    public long ReadOperations { get; set; }

    public long WriteOperations { get; set; }

    public long FlushOperations { get; set; }

    public long FailedOperations { get; set; }
}

/// <summary>
/// An open image. Requests are carried out on backend threads and never block the caller; the completion is posted to the machine thread.
/// The order of requests in flight is not defined: a device that needs one waits, or flushes. Reads behind the end of the file give zeroes
/// up to the last sector of <see cref="LengthBytes"/>.
/// </summary>
public interface IBlockBackend : IDisposable
{
    /// <summary>The file as the user named it.</summary>
    string FileName { get; }

    /// <summary>"raw", "qcow2", ...</summary>
    string Format { get; }

    bool IsReadOnly { get; }

    /// <summary>Size of the disk in bytes, a multiple of 512: a last partial sector of a file is padded with zeroes (and not writable past the end of the file).</summary>
    long LengthBytes { get; }

    /// <summary>Discard frees space on the host.</summary>
    bool CanDiscard { get; }

    BlockStatistics Statistics { get; }

    /// <summary>Requests that are not completed yet.</summary>
    int InFlight { get; }

    /// <summary>Starts a request. Machine thread.</summary>
    void Submit(BlockRequest request);

    /// <summary>Waits until nothing is in flight; completions have been run when it returns. Machine thread; for stop, save and exit.</summary>
    void Drain();
}

/// <summary>What a drive without its image tells a chip and is told: the medium can be changed while the machine runs.</summary>
public interface IMediumListener
{
    /// <summary>The medium was taken out (null) or put in.</summary>
    void MediumChanged(IBlockBackend? medium);

    /// <summary>The monitor asks the guest to release a locked tray.</summary>
    void EjectRequested();

    bool IsTrayLocked { get; }

    bool IsTrayOpen { get; }
}
