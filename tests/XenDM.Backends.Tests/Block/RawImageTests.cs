using System;
using System.IO;
using XenDM.Backends.Block;
using XenDM.Core.Backends;
using XenDM.Core.Memory;
using XenDM.Testing;

namespace XenDM.Backends.Tests.Block;

public sealed class RawImageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;
    private readonly FakeLoop _loop = new();
    private readonly PinnedBuffer _buffer = new(1 << 20);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void ScatteredReadsAndWritesReachTheFile()
    {
        var path = Image(64 * 1024);
        using var image = RawImage.Open(path, "raw", false, _loop);
        new Random(1).NextBytes(_buffer.Span[..8192]);
        Assert.Equal(0, Run(image, BlockOperation.Write, 4096, (0, 512), (4096, 1024), (2048, 512)).Error);
        var file = File.ReadAllBytes(path);
        Assert.Equal(_buffer.Span.Slice(4096, 1024).ToArray(), file[4608..5632]);
        Assert.Equal(0, Run(image, BlockOperation.Read, 4608, (65536, 1024)).Error);
        Assert.Equal(file[4608..5632], _buffer.Span.Slice(65536, 1024).ToArray());
        Assert.Equal((1, 1024, 1, 2048), (image.Statistics.ReadOperations, image.Statistics.ReadBytes, image.Statistics.WriteOperations, image.Statistics.WrittenBytes));
    }

    [Fact]
    public void OnAThreadOfItsOwnAWriteIsDoneAtOnce()
    {
        var path = Image(8192);
        using var image = RawImage.Open(path, "raw", false, _loop, hasOwnThread: true);
        _buffer.Span[..512].Fill(0x77);
        var done = false;
        var request = new BlockRequest(_ => done = true) { Operation = BlockOperation.Write, Offset = 1024 };
        request.AddSegment(_buffer.Address, 512);
        image.Submit(request);
        Assert.Equal(_buffer.Span[..512].ToArray(), File.ReadAllBytes(path)[1024..1536]);

        // It is told from the loop nevertheless, never from inside of the call.
        Assert.False(done);
        image.Drain();
        Assert.True(done);
    }

    [Fact]
    public void MoreSegmentsThanOneSystemCallTakes()
    {
        using var image = RawImage.Open(Image(4 << 20), "raw", false, _loop);
        var segments = new (int, int)[1500];
        for (var i = 0; i < segments.Length; i++) segments[i] = (i * 512, 512);
        new Random(2).NextBytes(_buffer.Span);
        var expected = _buffer.Span[..(1500 * 512)].ToArray();
        Assert.Equal(0, Run(image, BlockOperation.Write, 0, segments).Error);
        _buffer.Span.Clear();
        var read = Run(image, BlockOperation.Read, 0, segments);
        Assert.Equal((0, 1500L * 512), (read.Error, read.BytesDone));
        Assert.Equal(expected, _buffer.Span[..(1500 * 512)].ToArray());
    }

    [Fact]
    public void TheLastPartialSectorIsPadded()
    {
        var path = Image(1000);
        File.WriteAllBytes(path, Bytes(1000, 0x5a));
        using var image = RawImage.Open(path, "raw", true, _loop);
        Assert.Equal(1024, image.LengthBytes);
        _buffer.Span.Fill(0xee);
        Assert.Equal(0, Run(image, BlockOperation.Read, 512, (0, 512)).Error);
        Assert.Equal(0x5a, _buffer.Span[487]);
        Assert.Equal(0, _buffer.Span[488]);
        Assert.Equal(0, _buffer.Span[511]);
    }

    [Theory]
    [InlineData(BlockOperation.Read, 5)]
    [InlineData(BlockOperation.Write, 28)]
    public void BehindTheEndIsAnError(BlockOperation operation, int errno)
    {
        using var image = RawImage.Open(Image(8192), "raw", false, _loop);
        Assert.Equal(errno, Run(image, operation, 8192 - 512, (0, 1024)).Error);
        Assert.Equal(errno, Run(image, operation, long.MaxValue - 100, (0, 1024)).Error);
        Assert.Equal(2, image.Statistics.FailedOperations);
    }

    [Fact]
    public void AReadOnlyImageRefusesWrites()
    {
        using var image = RawImage.Open(Image(8192), "raw", true, _loop);
        Assert.Equal(30, Run(image, BlockOperation.Write, 0, (0, 512)).Error);
        Assert.Equal(0, Run(image, BlockOperation.Flush, 0).Error);
    }

    [Fact]
    public void DiscardMakesHolesAndWritesKeepThem()
    {
        var path = Image(4 << 20);
        using var image = RawImage.Open(path, "raw", false, _loop);
        _buffer.Span.Fill(1);
        Run(image, BlockOperation.Write, 1 << 20, (0, 1 << 20));
        Run(image, BlockOperation.Flush, 0);
        var discard = new BlockRequest(static _ => { }) { Operation = BlockOperation.Discard, Offset = 1 << 20, Length = 1 << 20 };
        image.Submit(discard);
        image.Drain();
        Assert.Equal(0, discard.Error);
        Run(image, BlockOperation.Read, 1 << 20, (0, 4096));
        Assert.Equal(0, _buffer.Span[0]);
    }

    [Fact]
    public void DrainRunsAllCompletions()
    {
        using var image = RawImage.Open(Image(1 << 20), "raw", false, _loop);
        var done = 0;
        for (var i = 0; i < 50; i++)
        {
            var request = new BlockRequest(_ => done++) { Operation = BlockOperation.Write, Offset = i * 4096 };
            request.AddSegment(_buffer.Address + (i * 4096), 4096);
            image.Submit(request);
        }

        image.Drain();
        Assert.Equal(50, done);
        Assert.Equal(0, image.InFlight);
        _loop.RunPosted();
        Assert.Equal(50, done);
    }

    [Fact]
    public void MistakesAreNamedInOneLine()
    {
        Assert.Contains("No such file", Refused(Path.Combine(_folder, "missing.img")), StringComparison.Ordinal);
        Assert.Contains("directory", Refused(_folder), StringComparison.OrdinalIgnoreCase);
        Assert.Contains("empty", Refused(Image(0)), StringComparison.Ordinal);
        Assert.Contains("qcow2", Refused(Image(512), "qcow2"), StringComparison.Ordinal);
        Assert.Contains("neither", Refused("/dev/null"), StringComparison.Ordinal);
    }

    private string Refused(string path, string format = "raw")
    {
        var message = Assert.Throws<BlockOpenException>(() => RawImage.Open(path, format, false, _loop)).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }

    private BlockRequest Run(RawImage image, BlockOperation operation, long offset, params ReadOnlySpan<(int Start, int Length)> segments)
    {
        var completed = false;
        var request = new BlockRequest(_ => completed = true) { Operation = operation, Offset = offset };
        foreach (var (start, length) in segments) request.AddSegment(_buffer.Address + start, length);
        image.Submit(request);
        _loop.RunUntil(() => completed);
        return request;
    }

    private string Image(long length)
    {
        var path = Path.Combine(_folder, Path.GetRandomFileName());
        using var file = File.Create(path);
        file.SetLength(length);
        return path;
    }

    private static byte[] Bytes(int length, byte value)
    {
        var bytes = new byte[length];
        bytes.AsSpan().Fill(value);
        return bytes;
    }
}
