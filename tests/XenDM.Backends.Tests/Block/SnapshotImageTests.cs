using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Backends.Block;
using XenDM.Core.Backends;
using XenDM.Core.Memory;
using XenDM.Testing;

namespace XenDM.Backends.Tests.Block;

public sealed class SnapshotImageTests : IDisposable
{
    private const int DiskBytes = 40 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;
    private readonly FakeLoop _loop = new();
    private readonly PinnedBuffer _buffer = new(1 << 20);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void TheImageStaysAsItIs()
    {
        var path = Image(8192);
        var before = File.ReadAllBytes(path);
        using (var image = SnapshotImage.Over(RawImage.Open(path, "raw", true, _loop), _loop))
        {
            Assert.False(image.IsReadOnly);
            _buffer.Span.Fill(0x77);
            Assert.Equal(0, Run(image, BlockOperation.Write, 1024, (0, 1024)).Error);
            Assert.Equal(0, Run(image, BlockOperation.Flush, 0).Error);
            _buffer.Span.Clear();
            Assert.Equal((0, 8192L), (Run(image, BlockOperation.Read, 0, (0, 8192)).Error, Run(image, BlockOperation.Read, 0, (0, 8192)).BytesDone));
            var expected = (byte[])before.Clone();
            expected.AsSpan(1024, 1024).Fill(0x77);
            Assert.Equal(expected, _buffer.Span[..8192].ToArray());
            Assert.Equal((1, 1024, 1), (image.Statistics.WriteOperations, image.Statistics.WrittenBytes, image.Statistics.FlushOperations));
        }

        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Single(Directory.GetFiles(_folder));
    }

    /// <summary>Many requests in flight at once, any offset and length, on the real files: they end as on a plain array.</summary>
    [Theory]
    [InlineData(1, 512)]
    [InlineData(2, 1)]
    [InlineData(3, 100)]
    public void RandomRequestsActLikeAnArray(int seed, int granularity)
    {
        var path = Image(DiskBytes);
        var model = File.ReadAllBytes(path);
        using var image = SnapshotImage.Over(RawImage.Open(path, "raw", true, _loop), _loop);
        var random = new Random(seed);
        for (var round = 0; round < 150; round++)
        {
            // Requests of one round do not overlap in bytes, so that their order does not matter; they may share sectors.
            var count = random.Next(1, 8);
            var requests = new List<(BlockRequest Request, int Place, long Offset, int Length)>();
            var done = 0;
            var windowStart = random.Next(0, 3) == 0 ? (16 << 20) - 8192 : random.Next(0, DiskBytes - (1 << 20));
            var at = windowStart / granularity * granularity;
            for (var i = 0; i < count; i++)
            {
                at += random.Next(0, 3) * granularity;
                var length = random.Next(1, Math.Max(2, 20000 / granularity)) * granularity;
                var place = i * (100 << 10);
                var request = new BlockRequest(_ => done++) { Offset = at, Length = length };
                request.Operation = random.Next(0, 10) switch { < 5 => BlockOperation.Write, 5 => BlockOperation.WriteZeroes, _ => BlockOperation.Read };
                if (request.Operation == BlockOperation.Write) random.NextBytes(_buffer.Span.Slice(place, length));
                if (request.Operation != BlockOperation.WriteZeroes)
                {
                    var half = random.Next(0, length);
                    request.AddSegment(_buffer.Address + place, half);
                    request.AddSegment(_buffer.Address + place + half, length - half);
                }

                requests.Add((request, place, at, length));
                at += length;
            }

            foreach (var (request, _, _, _) in requests) image.Submit(request);
            _loop.RunUntil(() => done == count);
            foreach (var (request, place, offset, length) in requests)
            {
                Assert.Equal((0, length), (request.Error, request.BytesDone));
                var bytes = model.AsSpan((int)offset, length);
                if (request.Operation == BlockOperation.Write) _buffer.Span.Slice(place, length).CopyTo(bytes);
                else if (request.Operation == BlockOperation.WriteZeroes) bytes.Clear();
                else Assert.True(bytes.SequenceEqual(_buffer.Span.Slice(place, length)), $"seed {seed}, round {round}, offset {offset}");
            }
        }

        Assert.Equal(0, image.InFlight);
        for (var offset = 0; offset < DiskBytes; offset += 1 << 20)
        {
            Run(image, BlockOperation.Read, offset, (0, 1 << 20));
            Assert.True(model.AsSpan(offset, 1 << 20).SequenceEqual(_buffer.Span));
        }
    }

    /// <summary>Until a write is done a read gives the old data; a write of part of a sector keeps the rest, whatever is in flight.</summary>
    [Fact]
    public void PartsOfASectorDoNotLoseEachOther()
    {
        var (under, over) = Disks();
        var image = new SnapshotImage(under, over, _loop);
        over.Hold = true;
        var done = new List<int>();
        Submit(image, 0, 100, 200, 0x11, done, 1);
        Submit(image, 100, 300, 100, 0x22, done, 2);
        Submit(image, 200, 512, 512, 0x33, done, 3);
        for (var i = 0; i < 10 && done.Count < 3; i++)
        {
            over.Release();
            _loop.RunPosted();
        }

        over.Hold = false;
        Assert.Equal([1, 2, 3], done);
        Run(image, BlockOperation.Read, 0, (0, 1024));
        for (var i = 0; i < 1024; i++)
            Assert.Equal(i switch { >= 100 and < 300 => 0x11, >= 300 and < 400 => 0x22, >= 512 => 0x33, _ => (byte)i }, _buffer.Span[i]);
    }

    [Fact]
    public void AReadBesideAWriteGivesOldOrNew()
    {
        var (under, over) = Disks();
        var image = new SnapshotImage(under, over, _loop);
        over.Hold = true;
        var done = new List<int>();
        Submit(image, 4096, 0, 512, 0x44, done, 1);
        Run(image, BlockOperation.Read, 0, (0, 512));
        Assert.Equal(7, _buffer.Span[7]);
        over.Release();
        _loop.RunPosted();
        over.Hold = false;
        Run(image, BlockOperation.Read, 0, (0, 512));
        Assert.Equal(0x44, _buffer.Span[7]);
    }

    [Fact]
    public void ErrorsNameTheFirstSectorThatFailed()
    {
        var (under, over) = Disks();
        var image = new SnapshotImage(under, over, _loop);
        Run(image, BlockOperation.Write, 2048, (0, 512));
        under.Errors[1024] = 5;
        var read = Run(image, BlockOperation.Read, 0, (0, 4096));
        Assert.Equal((5, 1024L), (read.Error, read.BytesDone));
        over.Errors[3072] = 28;
        Assert.Equal(28, Run(image, BlockOperation.Write, 3072, (0, 512)).Error);
        over.Errors.Clear();
        Run(image, BlockOperation.Read, 3072, (0, 512));
        Assert.Equal(3, _buffer.Span[3]);
        Assert.Equal(2, image.Statistics.FailedOperations);
    }

    [Theory]
    [InlineData(BlockOperation.Read, 5)]
    [InlineData(BlockOperation.Write, 28)]
    public void BehindTheEndIsAnError(BlockOperation operation, int errno)
    {
        using var image = SnapshotImage.Over(RawImage.Open(Image(8000), "raw", true, _loop), _loop);
        Assert.Equal(8192, image.LengthBytes);
        Assert.Equal(errno, Run(image, operation, 8192 - 512, (0, 1024)).Error);
        Assert.Equal(errno, Run(image, operation, -512, (0, 512)).Error);
        Assert.Equal(errno, Run(image, operation, long.MaxValue - 100, (0, 1024)).Error);
        Assert.Equal(0, Run(image, operation, 8192 - 512, (0, 512)).Error);
    }

    [Fact]
    public void DiscardedSectorsReadZeroesOrTheOldData()
    {
        var (under, over) = Disks();
        var image = new SnapshotImage(under, over, _loop);
        _buffer.Span.Fill(0x55);
        Run(image, BlockOperation.Write, 512, (0, 512));
        var discard = new BlockRequest(static _ => { }) { Operation = BlockOperation.Discard, Offset = 0, Length = 2048 };
        image.Submit(discard);
        _loop.RunUntil(() => image.InFlight == 0);
        Run(image, BlockOperation.Read, 0, (0, 1024));
        Assert.Equal(9, _buffer.Span[9]);
        Assert.NotEqual(9, _buffer.Span[512 + 9]);
    }

    private (FakeDisk Under, FakeDisk Over) Disks()
    {
        var under = new FakeDisk(_loop, 64 << 10, readOnly: true);
        for (var i = 0; i < under.Data.Length; i++) under.Data[i] = (byte)i;
        return (under, new FakeDisk(_loop, 64 << 10));
    }

    private void Submit(SnapshotImage image, int place, long offset, int length, byte value, List<int> done, int name)
    {
        _buffer.Span.Slice(place + (name * 8192), length).Fill(value);
        var request = new BlockRequest(r =>
        {
            Assert.Equal(0, r.Error);
            done.Add(name);
        })
        { Operation = BlockOperation.Write, Offset = offset };
        request.AddSegment(_buffer.Address + place + (name * 8192), length);
        image.Submit(request);
    }

    private BlockRequest Run(SnapshotImage image, BlockOperation operation, long offset, params ReadOnlySpan<(int Start, int Length)> segments)
    {
        var done = false;
        var request = new BlockRequest(_ => done = true) { Operation = operation, Offset = offset };
        foreach (var (start, length) in segments) request.AddSegment(_buffer.Address + start, length);
        image.Submit(request);
        Assert.False(done);
        _loop.RunUntil(() => done);
        return request;
    }

    private string Image(int length)
    {
        var path = Path.Combine(_folder, "disk.img");
        var bytes = new byte[length];
        new Random(42).NextBytes(bytes);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
