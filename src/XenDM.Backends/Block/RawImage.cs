using System;
using System.Collections.Concurrent;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Block;

/// <summary>
/// A raw image: a file or block device whose bytes are the disk's. Data moves between the file and the segments of a request directly
/// (preadv, pwritev), through the page cache; a flush is fdatasync. Holes stay holes until they are written.
/// </summary>
/// <remarks>A file whose length is not a multiple of 512 has a last sector that is padded with zeroes; writing that sector makes the file longer.</remarks>
public sealed class RawImage : IBlockBackend
{
    private const int SectorBytes = 512;

    /// <summary>IOV_MAX: segments that one system call takes.</summary>
    private const int MaxVectors = 1024;

    private readonly FileDescriptor _file;
    private readonly IEventLoop _loop;
    private readonly bool _isDevice;
    private readonly ConcurrentQueue<BlockRequest> _done = new();
    private readonly SemaphoreSlim _doneCount = new(0);
    private readonly Action _runCompletions;
    private bool _noCacheReads;

    private RawImage(FileDescriptor file, string fileName, string format, bool readOnly, long length, bool isDevice, IEventLoop loop)
    {
        _file = file;
        _loop = loop;
        _isDevice = isDevice;
        FileName = fileName;
        Format = format;
        IsReadOnly = readOnly;
        LengthBytes = length;
        _runCompletions = RunCompletions;
    }

    public string FileName { get; }

    public string Format { get; }

    public bool IsReadOnly { get; }

    public long LengthBytes { get; }

    public bool CanDiscard => !IsReadOnly;

    public BlockStatistics Statistics { get; } = new();

    public int InFlight { get; private set; }

    /// <summary>
    /// Nobody but this image's users is on the loop's thread: writes are carried out there. They go into the host's memory, so that two changes of threads
    /// would cost more than the copy; where the host makes writers wait, only this disk's users do.
    /// </summary>
    public bool HasOwnThread { get; private init; }

    /// <param name="format">"raw" or "host_device".</param>
    /// <param name="hasOwnThread">See <see cref="HasOwnThread"/>.</param>
    /// <exception cref="BlockOpenException">Missing, not permitted, a directory, empty, or of another format.</exception>
    public static RawImage Open(string path, string format, bool readOnly, IEventLoop loop, bool hasOwnThread = false)
    {
        var fd = Posix.Open(path, readOnly ? OpenFlags.ReadOnly : OpenFlags.ReadWrite);
        if (fd < 0) throw new BlockOpenException($"cannot open image '{path}'{(readOnly ? "" : " for writing")}: {Errno.Describe(fd)}");
        return FromFd(fd, path, format, readOnly, loop, hasOwnThread);
    }

    /// <summary>Takes over an open descriptor; it is closed also when this fails.</summary>
    /// <inheritdoc cref="Open"/>
    public static RawImage FromFd(int fd, string name, string format, bool readOnly, IEventLoop loop, bool hasOwnThread = false)
    {
        var file = new FileDescriptor(fd);
        try
        {
            if (format is not ("raw" or "host_device" or "file")) throw new BlockOpenException($"image '{name}': format '{format}' is not built; known is raw");
            var result = Posix.FStat(fd, out var status);
            if (result < 0) throw new BlockOpenException($"image '{name}': {Errno.Describe(result)}");
            if (status.IsDirectory) throw new BlockOpenException($"image '{name}' is a directory");
            if (!status.IsRegular && !status.IsBlockDevice) throw new BlockOpenException($"image '{name}' is neither a file nor a block device");
            var bytes = status.IsBlockDevice ? Posix.BlockDeviceSize(fd) : status.Size;
            if (bytes < 0) throw new BlockOpenException($"image '{name}': its size cannot be read: {Errno.Describe(bytes)}");
            if (bytes == 0) throw new BlockOpenException($"image '{name}' is empty");
            return new RawImage(file, name, format, readOnly, (bytes + SectorBytes - 1) / SectorBytes * SectorBytes, status.IsBlockDevice, loop) { HasOwnThread = hasOwnThread };
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public void Submit(BlockRequest request)
    {
        InFlight++;
        request.Error = 0;
        request.BytesDone = 0;
        if (request.Operation == BlockOperation.Read && TryReadFromCache(request)) Done(request);
        else if (request.Operation == BlockOperation.Write && HasOwnThread) Execute(request);
        else BlockWorkers.Shared.Run(new BlockWorkers.Job(this, request));
    }

    public void Drain()
    {
        while (InFlight > 0)
        {
            _doneCount.Wait();
            CompleteOne();
        }
    }

    /// <summary>The semaphore is left to the collector: a worker may still be on its way out of it.</summary>
    public void Dispose()
    {
        Drain();
        _file.Dispose();
    }

    /// <summary>Carries a request out; on any thread.</summary>
    internal void Execute(BlockRequest request)
    {
        try
        {
            request.Error = request.Operation switch
            {
                BlockOperation.Read => Read(request),
                BlockOperation.Write => IsReadOnly ? Errno.EROFS : Write(request),
                BlockOperation.Flush => IsReadOnly ? 0 : Error(Posix.FDataSync(_file.Fd)),
                BlockOperation.Discard => Discard(request.Offset, request.Length),
                _ => WriteZeroes(request.Offset, request.Length),
            };
        }
        catch (Exception e) when (e is ObjectDisposedException or OutOfMemoryException)
        {
            request.Error = Errno.EIO;
        }

        Done(request);
    }

    /// <summary>
    /// What the host has in memory is copied at once: handing the request to a thread and back costs more than that, above all where this process
    /// has one CPU. Never waits for a disk.
    /// </summary>
    private bool TryReadFromCache(BlockRequest request)
    {
        if (_noCacheReads || !IsInside(request.Offset, request.SegmentBytes)) return false;
        while (request.BytesDone < request.SegmentBytes)
        {
            var result = Transfer(request, isWrite: false, noWait: true);
            if (result <= 0)
            {
                // The rest is the worker's; a file system that cannot do this is not asked again.
                _noCacheReads = result is -Errno.EOPNOTSUPP or -Errno.ENOSYS;
                return false;
            }

            request.BytesDone += result;
        }

        return true;
    }

    private void Done(BlockRequest request)
    {
        _done.Enqueue(request);
        _doneCount.Release();
        _loop.Post(_runCompletions);
    }

    private static int Error(long result) => result < 0 ? (int)-result : 0;

    private void RunCompletions()
    {
        while (_doneCount.Wait(0)) CompleteOne();
    }

    private void CompleteOne()
    {
        if (!_done.TryDequeue(out var request)) return;
        InFlight--;
        Count(request);
        request.Completed(request);
    }

    private void Count(BlockRequest request)
    {
        if (request.Error != 0)
        {
            Statistics.FailedOperations++;
            return;
        }

        switch (request.Operation)
        {
            case BlockOperation.Read:
                Statistics.ReadOperations++;
                Statistics.ReadBytes += request.BytesDone;
                break;
            case BlockOperation.Flush:
                Statistics.FlushOperations++;
                break;
            default:
                Statistics.WriteOperations++;
                Statistics.WrittenBytes += request.BytesDone;
                break;
        }
    }

    private bool IsInside(long offset, long length) => offset >= 0 && length >= 0 && length <= LengthBytes && offset <= LengthBytes - length;

    private int Read(BlockRequest request)
    {
        if (!IsInside(request.Offset, request.SegmentBytes)) return Errno.EIO;
        while (request.BytesDone < request.SegmentBytes)
        {
            var result = Transfer(request, isWrite: false);
            if (result < 0) return (int)-result;
            if (result == 0)
            {
                // The end of a file that is not a whole number of sectors, or that was cut short meanwhile.
                FillRest(request);
                return 0;
            }

            request.BytesDone += result;
        }

        return 0;
    }

    private int Write(BlockRequest request)
    {
        if (!IsInside(request.Offset, request.SegmentBytes)) return Errno.ENOSPC;
        while (request.BytesDone < request.SegmentBytes)
        {
            var result = Transfer(request, isWrite: true);
            if (result < 0) return (int)-result;
            if (result == 0) return Errno.EIO;
            request.BytesDone += result;
        }

        return 0;
    }

    /// <summary>One system call on what is left of a request.</summary>
    /// <returns>Bytes moved, or the negative errno.</returns>
    private long Transfer(BlockRequest request, bool isWrite, bool noWait = false)
    {
        Span<IoVector> vectors = stackalloc IoVector[MaxVectors];
        var count = 0;
        var skip = request.BytesDone;
        foreach (var segment in request.Segments)
        {
            if (skip >= segment.Length)
            {
                skip -= segment.Length;
                continue;
            }

            vectors[count++] = new IoVector(segment.Address + (nint)skip, (nuint)(segment.Length - skip));
            skip = 0;
            if (count == MaxVectors) break;
        }

        var offset = request.Offset + request.BytesDone;
        if (noWait) return Posix.PReadVNoWait(_file.Fd, vectors[..count], offset);
        return isWrite ? Posix.PWriteV(_file.Fd, vectors[..count], offset) : Posix.PReadV(_file.Fd, vectors[..count], offset);
    }

    private static void FillRest(BlockRequest request)
    {
        var skip = request.BytesDone;
        foreach (var segment in request.Segments)
        {
            if (skip < segment.Length) HostMemory.Clear(segment.Address + (nint)skip, (int)(segment.Length - skip));
            skip = Math.Max(0, skip - segment.Length);
        }

        request.BytesDone = request.SegmentBytes;
    }

    /// <summary>Frees the space where the host can; where it cannot, the guest's hint is of no use and no error.</summary>
    private int Discard(long offset, long length)
    {
        if (IsReadOnly) return Errno.EROFS;
        if (!IsInside(offset, length)) return Errno.EIO;
        if (length == 0) return 0;
        var result = _isDevice ? Posix.BlockDeviceDiscard(_file.Fd, offset, length) : Posix.PunchHole(_file.Fd, offset, length);
        return result is -Errno.EOPNOTSUPP or -Errno.ENOTTY or -Errno.EINVAL ? 0 : Error(result);
    }

    private int WriteZeroes(long offset, long length)
    {
        if (IsReadOnly) return Errno.EROFS;
        if (!IsInside(offset, length)) return Errno.EIO;
        if (length == 0) return 0;
        if (!_isDevice && Posix.PunchHole(_file.Fd, offset, length) >= 0) return 0;
        Span<byte> zeroes = stackalloc byte[4096];
        zeroes.Clear();
        for (long done = 0; done < length;)
        {
            var result = Posix.PWrite(_file.Fd, zeroes[..(int)Math.Min(zeroes.Length, length - done)], offset + done);
            if (result <= 0) return result < 0 ? (int)-result : Errno.EIO;
            done += result;
        }

        return 0;
    }
}
