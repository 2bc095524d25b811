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

    public FakeDisk(IEventLoop loop, int bytes, bool readOnly = false)
    {
        _loop = loop;
        Data = new byte[bytes];
        IsReadOnly = readOnly;
    }

    public byte[] Data { get; }

    public string FileName { get; init; } = "fake.img";

    public string Format => "raw";

    public bool IsReadOnly { get; }

    public long LengthBytes => Data.Length;

    public bool CanDiscard => true;

    public BlockStatistics Statistics { get; } = new();

    public int InFlight { get; private set; }

    /// <summary>Requests wait until <see cref="Release"/>.</summary>
    public bool Hold { get; set; }

    /// <summary>Byte offsets whose sector fails, with the errno.</summary>
    public Dictionary<long, int> Errors { get; } = [];

    /// <summary>Requests so far.</summary>
    public long Count { get; private set; }

    /// <summary>Keep a list of the requests.</summary>
    public bool Log { get; init; } = true;

    /// <summary>What was asked, in order.</summary>
    public List<(BlockOperation Operation, long Offset, long Length)> Requests { get; } = [];

    public void Submit(BlockRequest request)
    {
        InFlight++;
        Count++;
        if (Log) Requests.Add((request.Operation, request.Offset, request.SegmentCount > 0 ? request.SegmentBytes : request.Length));
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

    public void Drain() => Release();

    public void Dispose()
    {
    }

    private void Run(BlockRequest request)
    {
        request.Error = 0;
        request.BytesDone = 0;
        var at = request.Offset;
        if (request.Operation is BlockOperation.Discard or BlockOperation.WriteZeroes) Data.AsSpan((int)at, (int)request.Length).Clear();
        foreach (var segment in request.Segments)
        {
            for (var done = 0; done < segment.Length && request.Error == 0; done++, at++)
            {
                if (Errors.TryGetValue(at, out var errno)) request.Error = errno;
                else if (at >= Data.Length) request.Error = 5;
                else
                {
                    if (request.Operation == BlockOperation.Read) Marshal.WriteByte(segment.Address + done, Data[at]);
                    else Data[at] = Marshal.ReadByte(segment.Address + done);
                    request.BytesDone++;
                }
            }
        }

        _loop.Post(() =>
        {
            InFlight--;
            request.Complete();
        });
    }
}
