using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Block;

/// <summary>What reaches the image in which order, and what the guest is told when.</summary>
public sealed class RequestOrderTests : IDisposable
{
    private const byte Read = BlockFrontRing.Read, Write = BlockFrontRing.Write, Barrier = BlockFrontRing.Barrier, Flush = BlockFrontRing.Flush;

    private readonly PvMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    /// <summary>Requests of one page each on a grant of their own.</summary>
    private ulong Add(BlockFrontRing ring, byte operation, ulong sector, byte fill = 0)
    {
        var page = ring.TakePage();
        _machine.Xen.Grants.Page(page).Fill(fill);
        return ring.Add(operation, sector, new BlockPiece(ring.GrantPage(page, isReadOnly: operation != Read), 0, 7));
    }

    private List<BlockResponse> Responses(BlockFrontRing ring)
    {
        _machine.Pump();
        var list = new List<BlockResponse>();
        while (ring.TryTake(out var response)) list.Add(response);
        return list;
    }

    [Theory]
    [MemberData(nameof(FrontPatterns.Names), MemberType = typeof(FrontPatterns))]
    public void AFlushIsAnsweredWhenTheImageIsFlushed(string pattern)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(pattern));
        disk.Hold = true;
        var write = Add(front.Ring, Write, 0, 0x11);
        front.Ring.Push();
        Assert.Empty(Responses(front.Ring));
        disk.Release(0);
        Assert.Equal([new BlockResponse(write, Write, 0)], Responses(front.Ring));

        // The flush is asked for after the write was done, and its answer is not there before it is done.
        var flush = front.Ring.Add(Flush, 0);
        front.Ring.Push();
        Assert.Empty(Responses(front.Ring));
        Assert.Equal([BlockOperation.Write, BlockOperation.Flush], disk.Requests.ConvertAll(static r => r.Operation));
        var before = front.Ring.ResponseProducer;
        disk.Release(0);
        Assert.Equal(before, front.Ring.ResponseProducer);
        Assert.Equal([new BlockResponse(flush, Flush, 0)], Responses(front.Ring));
    }

    [Fact]
    public void WritesBeforeAFlushInTheSameTurnAreSubmittedBeforeIt()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux"));
        for (var n = 0; n < 4; n++) Add(front.Ring, Write, (ulong)n * 8);
        front.Ring.Add(Flush, 0);
        for (var n = 4; n < 6; n++) Add(front.Ring, Write, (ulong)n * 8);
        front.Ring.Push();
        Assert.Equal(7, Responses(front.Ring).Count);
        Assert.Equal([(BlockOperation.Write, 0L, 16384L), (BlockOperation.Flush, 0L, 0L), (BlockOperation.Write, 16384L, 8192L)], disk.Requests);
    }

    [Theory]
    [InlineData("gplpv-64", true)]
    [InlineData("gplpv-64", false)]
    [InlineData("linux", true)]
    [InlineData("xenvbd-32", false)]
    public void ABarrierIsAlone(string pattern, bool hasData)
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get(pattern));
        disk.Hold = true;
        List<ulong> ids = [Add(front.Ring, Write, 0, 1), Add(front.Ring, Write, 80, 2), hasData ? Add(front.Ring, Barrier, 8, 3) : front.Ring.Add(Barrier, 0), Add(front.Ring, Write, 0, 4), Add(front.Ring, Read, 80), front.Ring.Add(Flush, 0)];
        front.Ring.Push();
        Assert.Empty(Responses(front.Ring));
        Assert.Equal([BlockOperation.Write, BlockOperation.Write], disk.Requests.ConvertAll(static r => r.Operation));

        // One is done: the barrier waits on.
        disk.Release(1);
        Assert.Equal([new BlockResponse(ids[1], Write, 0)], Responses(front.Ring));
        Assert.Equal(2, disk.Requests.Count);
        disk.Release(0);
        Assert.Equal([new BlockResponse(ids[0], Write, 0)], Responses(front.Ring));
        var stages = hasData ? 3 : 1;
        for (var stage = 1; stage <= stages; stage++)
        {
            Assert.Equal(2 + stage, disk.Requests.Count);
            Assert.Equal(stage == 2 ? BlockOperation.Write : BlockOperation.Flush, disk.Requests[^1].Operation);
            Assert.Equal(1, disk.InFlight);
            disk.Release(0);
            Assert.Equal(stage < stages ? [] : [new BlockResponse(ids[2], Barrier, 0)], Responses(front.Ring));
        }

        // What came after it starts now.
        Assert.Equal(5 + stages, disk.Requests.Count);
        disk.Release();
        Assert.Equal([new BlockResponse(ids[3], Write, 0), new BlockResponse(ids[4], Read, 0), new BlockResponse(ids[5], Flush, 0)], Responses(front.Ring));
        Assert.Equal(0, front.Ring.Do(Barrier));
        Assert.Equal(4, disk.Data[0]);
    }

    [Fact]
    public void BarriersFollowOneAnother()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("gplpv-32"));
        for (var n = 0; n < 20; n++) _ = n % 3 == 0 ? Add(front.Ring, Write, (ulong)n * 8, (byte)n) : n % 3 == 1 ? front.Ring.Add(Barrier, 0) : Add(front.Ring, Barrier, (ulong)n * 8, (byte)n);
        front.Ring.Push();
        var responses = Responses(front.Ring);
        Assert.Equal(20, responses.Count);
        for (var n = 0; n < 20; n++) Assert.Equal((ulong)n + 1, responses[n].Id);
        Assert.All(responses, static r => Assert.Equal(0, r.Status));
        for (var n = 0; n < 20; n++) Assert.Equal(n % 3 == 1 ? 0 : n, disk.Data[n * 4096]);
    }

    [Fact]
    public void ABarrierThatFailsLetsTheOthersGoOn()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("gplpv-64"));
        disk.Errors[8 * 512] = 28;
        Add(front.Ring, Barrier, 8);
        Add(front.Ring, Write, 16);
        front.Ring.Push();
        Assert.Equal([new BlockResponse(1, Barrier, -1), new BlockResponse(2, Write, 0)], Responses(front.Ring));
        Assert.Equal(["xvda write 28"], _machine.Events);
        disk.FlushError = 5;
        front.Ring.Add(Barrier, 0);
        front.Ring.Add(Flush, 0);
        Add(front.Ring, Barrier, 24);
        Add(front.Ring, Write, 16);
        front.Ring.Push();
        Assert.Equal([new BlockResponse(3, Barrier, -1), new BlockResponse(4, Flush, -1), new BlockResponse(5, Barrier, -1), new BlockResponse(6, Write, 0)], Responses(front.Ring));
        Assert.Equal(4, _machine.Events.Count);
    }

    [Fact]
    public void ABarrierWhosePagesAreGoneIsAnsweredAndOthersGoOn()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("gplpv-64"));
        front.Ring.Add(Barrier, 0, new BlockPiece(9999, 0, 7));
        Add(front.Ring, Write, 16);
        front.Ring.Push();
        Assert.Equal([new BlockResponse(1, Barrier, -1), new BlockResponse(2, Write, 0)], Responses(front.Ring));
    }

    [Fact]
    public void NeighboursAreOneRequest()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("xenvbd-64"));
        disk.Hold = true;
        for (var n = 0; n < 8; n++) Add(front.Ring, Read, (ulong)n * 8);
        for (var n = 20; n < 24; n++) Add(front.Ring, Read, (ulong)n * 8);
        for (var n = 24; n < 30; n++) Add(front.Ring, Write, (ulong)n * 8);
        front.Ring.Push();
        Assert.Empty(Responses(front.Ring));
        Assert.Equal([(BlockOperation.Read, 0L, 32768L), (BlockOperation.Read, 81920L, 16384L), (BlockOperation.Write, 98304L, 24576L)], disk.Requests);
        disk.Release(2);
        Assert.Equal([19UL - 6, 14, 15, 16, 17, 18], Responses(front.Ring).ConvertAll(static r => r.Id));
        disk.Release();
        Assert.Equal(12, Responses(front.Ring).Count);
    }

    [Fact]
    public void OfNeighboursOnlyThatWithTheErrorFails()
    {
        foreach (var name in (string[])["xenvbd-64", "linux"])
        {
            using var machine = new PvMachine();
            var (disk, front) = machine.Connect(FrontPatterns.Get(name));
            new Random(1).NextBytes(disk.Data);
            disk.Errors[(5 * 4096) + 1024] = 5;
            disk.Errors[9 * 4096] = 5;
            var pages = new int[12];
            for (var n = 0; n < pages.Length; n++)
            {
                pages[n] = front.Ring.TakePage();
                front.Ring.Add(Read, (ulong)n * 8, new BlockPiece(front.Ring.GrantPage(pages[n], isReadOnly: false), 0, 7));
            }

            front.Ring.Push();
            machine.Pump();
            var failed = new List<ulong>();
            for (var n = 0; n < pages.Length; n++)
            {
                Assert.True(front.Ring.TryTake(out var response));
                if (response.Status != 0) failed.Add(response.Id);
                else Assert.True(machine.Xen.Grants.Page(pages[response.Id - 1]).SequenceEqual(disk.Data.AsSpan((int)(response.Id - 1) * 4096, 4096)));
            }

            Assert.Equal([6UL, 10UL], failed);
            Assert.Equal("xvda read 5", machine.Events[0]);
        }
    }

    [Fact]
    public void HostErrorsAreTold()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux-untrusted"));
        disk.Errors[4096] = 28;
        Assert.Equal(-1, front.Ring.Transfer(Write, 8, new byte[512]));
        Assert.Equal(0, front.Ring.Transfer(Write, 9, new byte[512]));
        Assert.Equal(["xvda write 28"], _machine.Events);
        Assert.Equal(-1, front.Ring.Transfer(Read, 0, new byte[8192]));
        Assert.Equal(["xvda write 28", "xvda read 28"], _machine.Events);
    }

    [Fact]
    public void ErrorsAsFastAsAGuestCanCauseThemAreToldOnceATurn()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux"));
        for (var sector = 0; sector < 64; sector++) disk.Errors[sector * 512] = 5;
        for (var n = 0; n < 64; n++) Add(front.Ring, Read, (ulong)n * 16 % 64);
        front.Ring.Push();
        disk.Hold = true;
        _machine.Pump();
        disk.Release();
        Assert.Equal(64, Responses(front.Ring).Count);
        Assert.InRange(_machine.Events.Count, 1, 8);
    }

    [Fact]
    public void EventsAreSentAsTheGuestAsksForThem()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("gplpv-64"));
        var events = _machine.Xen.Events;
        disk.Hold = true;
        for (var n = 0; n < 8; n++) Add(front.Ring, Read, (ulong)n * 100);
        front.Ring.Push();
        _machine.Pump();
        var before = events.Count(front.Ring.Port);

        // The guest wants to be told of the fourth.
        front.Ring.ResponseEvent = front.Ring.ResponseProducer + 4;
        for (var n = 0; n < 3; n++)
        {
            disk.Release(0);
            _machine.Pump();
        }

        Assert.Equal(before, events.Count(front.Ring.Port));
        disk.Release(0);
        _machine.Pump();
        Assert.Equal(before + 1, events.Count(front.Ring.Port));
        disk.Release();
        _machine.Pump();
        Assert.Equal(before + 1, events.Count(front.Ring.Port));
        Assert.Equal(8, Responses(front.Ring).Count);
    }

    [Fact]
    public void AFrontEndIsAskedForAnEventOnceTheRingIsEmpty()
    {
        var (_, front) = _machine.Connect(FrontPatterns.Get("linux"));
        Assert.Equal(front.Ring.RequestProducer + 1, front.Ring.RequestEvent);
        for (var n = 1; n <= 200; n++)
        {
            Assert.Equal(0, front.Ring.Do(Flush));
            Assert.Equal(n, front.Ring.Kicks);
        }
    }

    [Fact]
    public void ADrainLeavesNothingThatTheGuestAskedFor()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux"));
        disk.Hold = true;
        for (var n = 0; n < 30; n++) _ = n % 7 == 3 ? Add(front.Ring, Barrier, (ulong)n * 8, (byte)n) : Add(front.Ring, Write, (ulong)n * 8, (byte)n);
        front.Ring.Push();
        _machine.Bus.Drain();
        Assert.Equal(0, disk.InFlight);
        for (var n = 0; n < 30; n++) Assert.Equal(n, disk.Data[n * 4096]);
        for (var n = 0; n < 30; n++) Assert.True(front.Ring.TryTake(out _));
        Assert.Equal(30, (int)front.Ring.ResponseProducer);
    }

    [Fact]
    public void ClosingAnswersWhatRuns()
    {
        var (disk, front) = _machine.Connect(FrontPatterns.Get("linux-untrusted"));
        disk.Hold = true;
        for (var n = 0; n < 10; n++) Add(front.Ring, Write, (ulong)n * 8, (byte)n);
        Add(front.Ring, Barrier, 800);
        Add(front.Ring, Write, 900);
        front.Ring.Push();
        _machine.Pump();
        front.SetState(5);
        _machine.Pump();
        Assert.Equal(0, disk.InFlight);
        for (var n = 0; n < 10; n++) Assert.True(front.Ring.TryTake(out _), $"{n}");
        for (var n = 0; n < 10; n++) Assert.Equal(n, disk.Data[n * 4096]);
        Assert.Equal(5, front.BackState);
        _machine.AssertLetGo();
        var shown = front.Ring.ResponseProducer;
        front.Ring.Kick();
        _machine.Pump();
        Assert.Equal(shown, front.Ring.ResponseProducer);
    }
}
