using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenDM.Core.Backends;

namespace XenDM.Testing;

/// <summary>An image in memory. Requests complete through the loop, or are held until the test lets them go; errors are planted by offset.</summary>
public sealed class FakeDisk : IBlockBackend
{
    private readonly IEventLoop _loop;
    private readonly List<BlockRequest> _held = [];
    private readonly Queue<BlockRequest> _done = [];
    private readonly Action _complete;

    public FakeDisk(IEventLoop loop, int bytes, bool readOnly = false)
    {
        _loop = loop;
        _complete = CompleteOne;
        Data = new byte[bytes];
        IsReadOnly = readOnly;
    }

    public byte[] Data { get; }

    public string FileName { get; init; } = "fake.img";

    public string Format => "raw";

    public bool IsReadOnly { get; }

    public long LengthBytes => Data.Length;

    public bool CanDiscard { get; init; } = true;

    public BlockStatistics Statistics { get; } = new();

    public int InFlight { get; private set; }

    /// <summary>Requests wait until they are released.</summary>
    public bool Hold { get; set; }

    /// <summary>Byte offsets whose sector fails, with the errno.</summary>
    public Dictionary<long, int> Errors { get; } = [];

    /// <summary>Requests so far.</summary>
    public long Count { get; private set; }

    /// <summary>Keep a list of the requests.</summary>
    public bool Log { get; init; } = true;

    /// <summary>What was asked, in order.</summary>
    public List<(BlockOperation Operation, long Offset, long Length)> Requests { get; } = [];

    /// <summary>Requests that reached outside the image: a device lets none through.</summary>
    public int Outside { get; private set; }

    /// <summary>The errno of every flush; 0 for none.</summary>
    public int FlushError { get; set; }

    public void Submit(BlockRequest request)
    {
        InFlight++;
        Count++;
        var length = request.SegmentCount > 0 ? request.SegmentBytes : request.Length;
        if (Log) Requests.Add((request.Operation, request.Offset, length));
        if (request.Operation != BlockOperation.Flush && (request.Offset < 0 || length < 0 || length > Data.Length || request.Offset > Data.Length - length)) Outside++;
        if (Hold) _held.Add(request);
        else Run(request);
    }

    public void Release()
    {
        Hold = false;
        var held = _held.ToArray();
        _held.Clear();
        foreach (var request in held) Run(request);
    }

    /// <summary>Carries out one of those that are held.</summary>
    /// <param name="index">In the order in which they came; others move up.</param>
    public void Release(int index)
    {
        var request = _held[index];
        _held.RemoveAt(index);
        Run(request);
    }

    public void Drain()
    {
        Release();
        while (InFlight > 0) CompleteOne();
    }

    public void Dispose()
    {
    }

    private void Run(BlockRequest request)
    {
        request.Error = request.Operation == BlockOperation.Flush ? FlushError : 0;
        request.BytesDone = 0;
        var at = request.Offset;
        if (request.Operation is BlockOperation.Discard or BlockOperation.WriteZeroes)
        {
            if (at < 0 || request.Length > Data.Length - at) request.Error = 5;
            else Data.AsSpan((int)at, (int)request.Length).Clear();
        }

        foreach (var segment in request.Segments)
        {
            var length = (int)Math.Clamp(Data.Length - at, 0, segment.Length);
            var error = length < segment.Length ? 5 : 0;
            foreach (var (offset, errno) in Errors)
                if (offset >= at && offset < at + length) (length, error) = ((int)(offset - at), errno);
            if (request.Operation == BlockOperation.Read) Marshal.Copy(Data, (int)at, segment.Address, length);
            else Marshal.Copy(segment.Address, Data, (int)at, length);
            at += length;
            request.BytesDone += length;
            request.Error = error;
            if (error != 0) break;
        }

        _done.Enqueue(request);
        _loop.Post(_complete);
    }

    /// <summary>Nothing is left where a drain was faster.</summary>
    private void CompleteOne()
    {
        if (!_done.TryDequeue(out var request)) return;
        InFlight--;
        request.Completed(request);
    }
}
