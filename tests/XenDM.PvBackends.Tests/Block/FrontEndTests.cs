using System;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Block;

/// <summary>Front ends with the habits of known drivers: all of what they do with a disk that works.</summary>
public sealed class FrontEndTests : IDisposable
{
    private const byte Read = BlockFrontRing.Read, Write = BlockFrontRing.Write, Barrier = BlockFrontRing.Barrier, Flush = BlockFrontRing.Flush;

    private readonly PvMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    [Theory]
    [MemberData(nameof(FrontPatterns.Names), MemberType = typeof(FrontPatterns))]
    public void DataIsWrittenAndRead(string pattern)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(pattern), bytes: 4 << 20);
        var random = new Random(1);
        var copy = new byte[disk.Data.Length];
        for (var round = 0; round < 60; round++)
        {
            var ring = front.Rings[round % front.Rings.Count];
            var sectors = round % 3 == 0 ? random.Next(1, 9) : random.Next(1, 700);
            var sector = random.Next(0, (disk.Data.Length / 512) - sectors + 1);
            var offset = random.Next(0, 8) * 512;
            var data = new byte[sectors * 512];
            random.NextBytes(data);
            Assert.Equal(0, ring.Transfer(Write, (ulong)sector, data, offset));
            data.CopyTo(copy.AsSpan(sector * 512));
            var back = new byte[data.Length];
            Assert.Equal(0, ring.Transfer(Read, (ulong)sector, back, random.Next(0, 8) * 512));
            Assert.Equal(data, back);
        }

        Assert.Equal(copy, disk.Data);
        Assert.Equal(0, disk.Outside);
        front.Close();
        Assert.Equal(6, front.BackState);
        _machine.AssertLetGo();
    }

    [Theory]
    [MemberData(nameof(FrontPatterns.Names), MemberType = typeof(FrontPatterns))]
    public void FlushesAndBarriersReachTheImage(string pattern)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(pattern));
        Assert.Equal(0, front.Ring.Do(Flush));
        Assert.Equal([(BlockOperation.Flush, 0L, 0L)], disk.Requests);

        // Linux gives a flush the sector number "none"; xenvbd flushes with a barrier that has no data.
        Assert.Equal(0, front.Ring.Do(Flush, ulong.MaxValue));
        Assert.Equal(0, front.Ring.Do(Barrier, 77));
        Assert.Equal(0, front.Ring.Do(Barrier, ulong.MaxValue));
        Assert.Equal(4, disk.Requests.Count);
        Assert.All(disk.Requests, static r => Assert.Equal(BlockOperation.Flush, r.Operation));

        // With data there is a flush before and after it.
        disk.Requests.Clear();
        var data = new byte[1024];
        data.AsSpan().Fill(0x5a);
        Assert.Equal(0, front.Ring.Transfer(Barrier, 8, data));
        Assert.Equal([BlockOperation.Flush, BlockOperation.Write, BlockOperation.Flush], disk.Requests.ConvertAll(static r => r.Operation));
        Assert.Equal((BlockOperation.Write, 4096L, 1024L), disk.Requests[1]);
        disk.Requests.Clear();
        Assert.Equal(0, front.Ring.Transfer(Flush, 10, data));
        Assert.Equal([BlockOperation.Flush, BlockOperation.Write, BlockOperation.Flush], disk.Requests.ConvertAll(static r => r.Operation));
        Assert.Equal((BlockOperation.Write, 5120L, 1024L), disk.Requests[1]);
        Assert.Equal(2048, disk.Data.AsSpan(4096, 2048).Count((byte)0x5a));
    }

    [Theory]
    [MemberData(nameof(FrontPatterns.Names), MemberType = typeof(FrontPatterns))]
    public void RingsAreUsedToTheLastSlot(string pattern)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(pattern));
        var page = front.Ring.TakePage();
        var grant = front.Ring.GrantPage(page, isReadOnly: false);
        for (var round = 0; round < 5; round++)
        {
            // More than one turn around the ring, so that indices and slots part.
            disk.Hold = true;
            for (var n = 0; n < front.Ring.Count; n++) front.Ring.Add(Read, (ulong)(n * 3), new BlockPiece(grant, 0, 0));
            front.Ring.Push();
            _machine.Pump();
            Assert.False(front.Ring.TryTake(out _));
            disk.Release();
            _machine.Pump();
            for (var n = 0; n < front.Ring.Count; n++)
            {
                Assert.True(front.Ring.TryTake(out var response));
                Assert.Equal(0, response.Status);
            }

            Assert.False(front.Ring.TryTake(out _));
            Assert.Equal(0, front.Ring.Do(Flush));
        }
    }

    [Fact]
    public void UnknownOperationsAreAnsweredByNumber()
    {
        // GPLPV finds out the form of the ring with requests 0xff, by the slots in which the answers come.
        foreach (var name in (string[])["gplpv-64", "gplpv-32"])
        {
            using var machine = new PvMachine();
            var (disk, front) = machine.Connect(FrontPatterns.Get(name));
            Assert.Equal(-2, front.Ring.Do(0xff));
            Assert.Equal(-2, front.Ring.Do(0xff));
            Assert.Equal(-2, front.Ring.Do(4));
            Assert.Empty(disk.Requests);
        }
    }

    [Fact]
    public void DiscardFreesWhatItNames()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("xenvbd-64"));
        Array.Fill(disk.Data, (byte)1);
        Assert.Equal(0, front.Ring.DoDiscard(8, 16));
        Assert.Equal([(BlockOperation.Discard, 4096L, 8192L)], disk.Requests);
        Assert.Equal(8192, disk.Data.AsSpan().Count((byte)0));
        Assert.Equal(0, front.Ring.DoDiscard(0, (ulong)disk.Data.Length / 512));
        Assert.Equal(disk.Data.Length, disk.Data.AsSpan().Count((byte)0));

        // What is refused: nothing, past the end, around the end of 64 bits, and secure erasure.
        disk.Requests.Clear();
        Assert.Equal(-1, front.Ring.DoDiscard(0, 0));
        Assert.Equal(-1, front.Ring.DoDiscard(2047, 2));
        Assert.Equal(-1, front.Ring.DoDiscard(ulong.MaxValue, 1));
        Assert.Equal(-1, front.Ring.DoDiscard(8, ulong.MaxValue - 7));
        Assert.Equal(-1, front.Ring.DoDiscard(1UL << 55, 1));
        Assert.Equal(-2, front.Ring.DoDiscard(0, 8, flags: 1));
        Assert.Empty(disk.Requests);
    }

    [Fact]
    public void DiscardIsNotOfferedWhereItIsNotThere()
    {
        var disk = new FakeDisk(_machine.Loop, 1 << 20) { CanDiscard = false };
        _machine.Files["/plain"] = _ => new XenDM.PvBackends.Block.PvImage(disk, new LoopPlane(_machine.Loop), isOwned: true);
        var (front, back) = _machine.AddDevice(1, "aio:/plain");
        var driver = new BlockFront(_machine.Xen, front, back, FrontPatterns.Get("linux"), _machine.Pump);
        Assert.True(driver.Connect());
        Assert.Equal(0UL, driver.ReadBackNumber("feature-discard"));
        Assert.Null(driver.ReadBack("discard-granularity"));
        Assert.Equal(-2, driver.Ring.DoDiscard(0, 8));

        _machine.AddFile("/other");
        (front, back) = _machine.AddDevice(2, "aio:/other", more: ("discard-enable", "0"));
        driver = new BlockFront(_machine.Xen, front, back, FrontPatterns.Get("linux"), _machine.Pump);
        Assert.True(driver.Connect());
        Assert.Equal(0UL, driver.ReadBackNumber("feature-discard"));
        Assert.Equal(-2, driver.Ring.DoDiscard(0, 8));
    }

    [Fact]
    public void FeaturesReadAsDriversReadThem()
    {
        var (_, front) = _machine.AddDisk(FrontPatterns.Get("linux"), bytes: (1 << 20) + 512);
        _machine.Pump();
        Assert.Equal(2, front.BackState);
        Assert.Equal("connected", front.ReadBack("hotplug-status"));
        Assert.Equal(1UL, front.ReadBackNumber("feature-flush-cache"));
        Assert.Equal(1UL, front.ReadBackNumber("feature-barrier"));
        Assert.Equal(1UL, front.ReadBackNumber("feature-persistent"));
        Assert.Equal(1UL, front.ReadBackNumber("feature-discard"));
        Assert.Equal(4096UL, front.ReadBackNumber("discard-granularity"));
        Assert.Equal(0UL, front.ReadBackNumber("discard-secure"));
        Assert.Equal(256UL, front.ReadBackNumber("feature-max-indirect-segments"));
        Assert.Equal(4UL, front.ReadBackNumber("max-ring-page-order"));
        Assert.Equal(4UL, front.ReadBackNumber("multi-queue-max-queues"));
        Assert.Equal(2049UL, front.ReadBackNumber("sectors"));
        Assert.Equal(512UL, front.ReadBackNumber("sector-size"));
        Assert.Equal(512UL, front.ReadBackNumber("physical-sector-size"));
        Assert.Equal("0", front.ReadBack("info"));
        Assert.True(front.Connect());
    }

    [Theory]
    [InlineData("cdrom", "r", 5)]
    [InlineData("cdrom", "w", 5)]
    [InlineData("disk", "r", 4)]
    public void WhatIsReadOnlyIsNotWritten(string type, string mode, ulong info)
    {
        // The image itself could be written: it may be the emulated disk's too.
        var disk = _machine.AddFile("/images/1");
        var (front, back) = _machine.AddDevice(1, "aio:/images/1", mode, type);
        var driver = new BlockFront(_machine.Xen, front, back, FrontPatterns.Get("linux"), _machine.Pump);
        Assert.True(driver.Connect());
        Assert.True(_machine.Opened[0].IsReadOnly);
        Assert.Equal(type == "cdrom", _machine.Opened[0].IsCdrom);
        Assert.Equal(info, driver.ReadBackNumber("info"));
        Assert.Equal(0UL, driver.ReadBackNumber("feature-discard"));
        var data = new byte[4096];
        data.AsSpan().Fill(7);
        Assert.Equal(-1, driver.Ring.Transfer(Write, 0, data));
        Assert.Equal(-1, driver.Ring.Transfer(Barrier, 0, data));
        Assert.Equal(-1, driver.Ring.Transfer(Flush, 0, data));
        Assert.Equal(-2, driver.Ring.DoDiscard(0, 8));
        Assert.Equal(0, disk.Data.AsSpan().Count((byte)7));
        Assert.DoesNotContain(disk.Requests, static r => r.Operation is BlockOperation.Write or BlockOperation.Discard);

        // A driver flushes when it is closed, whatever the disk is.
        Assert.Equal(0, driver.Ring.Do(Flush));
        Assert.Equal(0, driver.Ring.Do(Barrier));
        Assert.Equal(0, driver.Ring.Transfer(Read, 0, data));
        Assert.Equal(0, data.AsSpan().Count((byte)7));
    }

    [Fact]
    public void ImagesThatCannotBeWrittenSayThatTheyAreReadOnly()
    {
        var disk = _machine.AddFile("/images/1", readOnly: true);
        var (front, back) = _machine.AddDevice(1, "aio:/images/1");
        var driver = new BlockFront(_machine.Xen, front, back, FrontPatterns.Get("linux"), _machine.Pump);
        Assert.True(driver.Connect());
        Assert.Equal(4UL, driver.ReadBackNumber("info"));
        Assert.Equal(-1, driver.Ring.Transfer(Write, 0, new byte[512]));
        Assert.Empty(disk.Requests);
    }

    [Fact]
    public void LargeSectorsAreNotSplit()
    {
        // The image ends with half a sector, which is not there for the guest.
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux"), bytes: (1 << 20) + 2048, sectorBytes: 4096);
        Assert.Equal(4096UL, front.ReadBackNumber("sector-size"));
        Assert.Equal(4096UL, front.ReadBackNumber("physical-sector-size"));
        Assert.Equal(2048UL, front.ReadBackNumber("sectors"));
        var data = new byte[8192];
        new Random(1).NextBytes(data);
        Assert.Equal(0, front.Ring.Transfer(Write, 16, data));
        Assert.Equal(data, disk.Data.AsSpan(8192, 8192).ToArray());

        // From the middle of a page on is fine, as long as whole sectors of the disk are meant.
        Assert.Equal(0, front.Ring.Transfer(Write, 32, data.AsSpan(0, 4096), offset: 2048));
        Assert.Equal(data[..4096], disk.Data.AsSpan(16384, 4096).ToArray());
        disk.Requests.Clear();
        Assert.Equal(-1, front.Ring.Transfer(Write, 1, data));
        Assert.Equal(-1, front.Ring.Transfer(Write, 8, data.AsSpan(0, 512)));
        Assert.Equal(-1, front.Ring.Transfer(Read, 8, data.AsSpan(0, 4608)));
        Assert.Equal(-1, front.Ring.DoDiscard(9, 8));
        Assert.Equal(-1, front.Ring.Transfer(Read, 2048, data.AsSpan(0, 2048)));
        Assert.Equal(-1, front.Ring.Transfer(Read, 2048, data.AsSpan(0, 4096)));
        Assert.Empty(disk.Requests);
    }

    [Fact]
    public void RequestsPastTheEndAreRefused()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("xenvbd-64"));
        var last = ((ulong)disk.Data.Length / 512) - 1;
        var data = new byte[1024];
        foreach (var operation in (byte[])[Read, Write, Barrier, Flush])
        {
            foreach (var sector in (ulong[])[last, last + 1, 1UL << 55, (1UL << 55) - 1, 1UL << 63, ulong.MaxValue, ulong.MaxValue - 1]) Assert.Equal(-1, front.Ring.Transfer(operation, sector, data));
            Assert.Equal(0, front.Ring.Transfer(operation, last - 1, data));
        }

        // As many as go into an indirect request.
        Assert.Equal(-1, front.Ring.Transfer(Read, last - 1000, new byte[1 << 19]));
        Assert.Equal(0, disk.Outside);
    }

    [Fact]
    public void SegmentsAreChecked()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux-untrusted"));
        var ring = front.Ring;
        var page = ring.TakePage();
        var grant = ring.GrantPage(page, isReadOnly: false);
        short Ask(byte operation, params ReadOnlySpan<BlockPiece> pieces)
        {
            ring.Add(operation, 0, pieces);
            return ring.Finish().Status;
        }

        Assert.Equal(-1, Ask(Read, new BlockPiece(grant, 1, 0)));
        Assert.Equal(-1, Ask(Read, new BlockPiece(grant, 0, 8)));
        Assert.Equal(-1, Ask(Read, new BlockPiece(grant, 255, 255)));
        Assert.Equal(-1, Ask(Read, new BlockPiece(grant, 0, 7), new BlockPiece(grant, 7, 6)));
        Assert.Equal(-1, Ask(Read, new BlockPiece[12]));
        Assert.Equal(-1, Ask(Read));
        Assert.Equal(-1, Ask(Write));
        Assert.Equal(-1, Ask(Write, new BlockPiece[255]));
        Assert.Empty(disk.Requests);
        Assert.Equal(0, Ask(Read, new BlockPiece(grant, 7, 7)));

        // What the guest does not grant, or not for writing.
        Assert.Equal(-1, Ask(Write, new BlockPiece(9999, 0, 0)));
        Assert.Equal(-1, Ask(Read, new BlockPiece(grant, 0, 0), new BlockPiece(0, 0, 0)));
        var readOnly = _machine.Xen.Grants.Grant(page, readOnly: true);
        Assert.Equal(-1, Ask(Read, new BlockPiece(readOnly, 0, 0)));
        Assert.Equal(0, Ask(Write, new BlockPiece(readOnly, 0, 0)));

        // Lists of segments.
        short AskList(byte operation, uint list, int count)
        {
            ring.AddIndirect(operation, 0, list, count);
            return ring.Finish().Status;
        }

        var descriptors = ring.TakePage();
        var list = ring.GrantPage(descriptors, isReadOnly: true);
        for (var n = 0; n < 512; n++) BlockFrontRing.Descriptor(_machine.Xen.Grants.Page(descriptors)[(n * 8)..], new BlockPiece(grant, 0, 0));
        Assert.Equal(0, AskList(Read, list, 1));
        Assert.Equal(0, AskList(Write, list, 256));
        Assert.Equal(-1, AskList(Read, list, 0));
        Assert.Equal(-1, AskList(Read, list, 257));
        Assert.Equal(-1, AskList(Read, list, 65535));
        Assert.Equal(-1, AskList(Read, 9999, 12));
        foreach (var operation in (byte[])[Barrier, Flush, BlockFrontRing.Discard, BlockFrontRing.Indirect, 77]) Assert.Equal(-1, AskList(operation, list, 12));
        _machine.Xen.Grants.Page(descriptors)[(100 * 8) + 5] = 8;
        Assert.Equal(-1, AskList(Write, list, 101));
        Assert.Equal(0, AskList(Write, list, 100));
    }

    [Fact]
    public void OnePageMayBeReadTwiceInARequest()
    {
        foreach (var name in (string[])["linux", "gplpv-64"])
        {
            using var machine = new PvMachine();
            var (disk, front) = machine.Connect(FrontPatterns.Get(name));
            new Random(5).NextBytes(disk.Data);
            var page = front.Ring.TakePage();
            var grant = front.Ring.GrantPage(page, isReadOnly: false);
            front.Ring.Add(Read, 10, new BlockPiece(grant, 0, 1), new BlockPiece(grant, 4, 5), new BlockPiece(grant, 6, 6));
            Assert.Equal(0, front.Ring.Finish().Status);
            Assert.Equal(disk.Data[5120..6144], machine.Xen.Grants.Page(page)[..1024].ToArray());
            Assert.Equal(disk.Data[6144..7680], machine.Xen.Grants.Page(page)[2048..3584].ToArray());
        }
    }

    [Fact]
    public void MorePersistentPagesThanAreKeptAreCopied()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("xenvbd-persistent"), bytes: 8 << 20);
        new Random(2).NextBytes(disk.Data);
        var pages = new int[1500];
        for (var n = 0; n < pages.Length; n++)
        {
            pages[n] = front.Ring.TakePage();
            var id = front.Ring.Add(Read, (ulong)(n * 8), new BlockPiece(front.Ring.GrantPage(pages[n], isReadOnly: false), 0, 7));
            Assert.Equal(new BlockResponse(id, Read, 0), front.Ring.Finish());
        }

        for (var n = 0; n < pages.Length; n++) Assert.True(_machine.Xen.Grants.Page(pages[n]).SequenceEqual(disk.Data.AsSpan(n * 4096, 4096)), $"page {n}");
        Assert.InRange(_machine.Xen.Grants.Mapped, 1000, 1060);
        front.Close();
        _machine.AssertLetGo();
    }

    [Fact]
    public void WhereNoMoreCanBeMappedPersistentPagesAreCopied()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux-default"));
        _machine.Xen.Grants.MaxMapped = _machine.Xen.Grants.Mapped + 1;
        var data = new byte[40 * 512];
        new Random(3).NextBytes(data);
        Assert.Equal(0, front.Ring.Transfer(Write, 3, data));
        Assert.Equal(data, disk.Data.AsSpan(3 * 512, data.Length).ToArray());
    }
}
