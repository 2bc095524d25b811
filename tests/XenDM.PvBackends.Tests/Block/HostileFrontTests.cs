using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Block;

/// <summary>Front ends that mean harm: they hurt themselves only.</summary>
public sealed class HostileFrontTests
{
    private const byte Write = BlockFrontRing.Write, Flush = BlockFrontRing.Flush;
    private const int Canaries = 64;

    [Theory]
    [InlineData("gplpv-64", 1)]
    [InlineData("gplpv-32", 2)]
    [InlineData("xenvbd-64", 3)]
    [InlineData("xenvbd-persistent", 4)]
    [InlineData("linux", 5)]
    [InlineData("linux-pae", 6)]
    [InlineData("linux-untrusted", 7)]
    public void RequestsOfAnyContent(string pattern, int seed)
    {
        var random = new Random(seed);
        using var machine = new PvMachine();
        machine.GuestAllowed = false;
        var grants = machine.Xen.Grants;
        var (disk, front) = machine.Connect(FrontPatterns.Get(pattern), bytes: 256 << 10, log: false);
        var (neighbour, other) = machine.Connect(FrontPatterns.Get("linux"), id: 51728, log: false);
        new Random(77).NextBytes(neighbour.Data);

        // Pages that nobody granted stay as they are.
        var canaries = new int[Canaries];
        for (var n = 0; n < Canaries; n++)
        {
            canaries[n] = grants.Allocate();
            grants.Page(canaries[n]).Fill(0xcc);
        }

        var pages = new int[24];
        var references = new uint[64];
        for (var n = 0; n < pages.Length; n++) pages[n] = grants.Allocate();
        for (var n = 0; n < references.Length; n++) references[n] = grants.Grant(pages[n % pages.Length], n % 5 == 0);
        var breaks = 0;
        for (var round = 0; round < 3000; round++)
        {
            var ring = front.Rings[random.Next(front.Rings.Count)];
            disk.Hold = random.Next(3) == 0;
            if (random.Next(8) == 0) disk.Errors[random.Next(disk.Data.Length) & ~511] = 5;
            if (disk.Errors.Count > 8) disk.Errors.Clear();
            for (var count = random.Next(1, 12); count > 0 && ring.Waiting < ring.Count; count--) PutAny(ring, random, references, pages, machine, disk.Data.Length);
            ring.Push();
            if (random.Next(4) == 0) Disturb(ring, random, references, pages, machine);
            machine.Pump();
            if (random.Next(4) == 0) Disturb(ring, random, references, pages, machine);
            disk.Release();
            machine.Pump();
            if (random.Next(60) == 0) ring.RequestProducer = (uint)random.NextInt64();
            if (random.Next(60) == 0) ring.ResponseProducer = (uint)random.NextInt64();
            ring.Kick();
            machine.Pump();
            while (ring.Waiting > 0 && ring.TryTake(out _))
            {
            }

            if (front.BackState == 5 || round % 50 == 49)
            {
                // The guest begins anew, and what it does rightly is done.
                breaks++;
                disk.Errors.Clear();
                foreach (var reference in references) grants.Set(reference, pages[reference % (uint)pages.Length]);
                front.SetState(1);
                machine.Pump();
                front.EndRings();
                Assert.True(front.Connect(), $"round {round}");
                Assert.Equal(0, front.Ring.Do(Flush));
                Assert.Equal(0, front.Ring.Transfer(Write, 8, new byte[12 * 4096]));
            }

            var sector = random.Next(0, 2040);
            var data = new byte[random.Next(1, 8) * 512];
            Assert.Equal(0, other.Ring.Transfer(BlockFrontRing.Read, (ulong)sector, data));
            Assert.True(data.AsSpan().SequenceEqual(neighbour.Data.AsSpan(sector * 512, data.Length)), $"round {round}");
        }

        Assert.InRange(breaks, 60, 3000);
        Assert.Equal(0, disk.Outside);
        foreach (var canary in canaries) Assert.Equal(4096, grants.Page(canary).Count((byte)0xcc));
        Assert.Equal(4, other.BackState);
        front.SetState(6);
        other.SetState(6);
        machine.Pump();
        machine.AssertLetGo();
    }

    [Theory]
    [InlineData("gplpv-64")]
    [InlineData("xenvbd-64")]
    [InlineData("xenvbd-32")]
    public void NothingGrowsUnderRequestsOfAnyContent(string pattern)
    {
        var random = new Random(9);
        using var machine = new PvMachine();
        machine.GuestAllowed = false;
        var (disk, front) = machine.Connect(FrontPatterns.Get(pattern), bytes: 256 << 10, log: false);
        var pages = new int[24];
        var references = new uint[64];
        for (var n = 0; n < pages.Length; n++) pages[n] = machine.Xen.Grants.Allocate();
        for (var n = 0; n < references.Length; n++) references[n] = machine.Xen.Grants.Grant(pages[n % pages.Length], n % 5 == 0);
        long allocated = 0;
        for (var round = 0; round < 6000; round++)
        {
            var ring = front.Ring;
            disk.Hold = round % 4 == 0;
            for (var count = disk.Hold ? ring.Count : random.Next(1, 12); count > 0 && ring.Waiting < ring.Count; count--) PutAny(ring, random, references, pages, machine, disk.Data.Length, ringToo: false);
            ring.Push();
            var before = GC.GetAllocatedBytesForCurrentThread();
            machine.Pump();
            disk.Hold = false;
            disk.Drain();
            machine.Pump();
            if (round >= 3000) allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            while (ring.TryTake(out _))
            {
            }

            Assert.Equal(0, ring.Waiting);
        }

        // A handful of arrays for a request that is larger than all before it; FakeDisk's list of what it holds.
        Assert.InRange(allocated, 0, 1 << 20);
        Assert.Equal(4, front.BackState);
        Assert.Equal(0, disk.Outside);
    }

    [Theory]
    [InlineData("linux", 1)]
    [InlineData("xenvbd-64", 2)]
    [InlineData("gplpv-32", 3)]
    [InlineData("xenvbd-persistent", 4)]
    public void MemoryThatChangesWhileItIsRead(string pattern, int seed)
    {
        using var machine = new PvMachine();
        machine.GuestAllowed = false;
        var grants = machine.Xen.Grants;
        var (disk, front, plane) = machine.AddThreadedDisk(FrontPatterns.Get(pattern), 256 << 10, 51712);
        var (neighbour, other, otherPlane) = machine.AddThreadedDisk(FrontPatterns.Get("linux"), 1 << 20, 51728);
        new Random(77).NextBytes(neighbour.Data);
        Assert.True(front.Connect());
        Assert.True(other.Connect());
        var pages = new int[8];
        var references = new uint[8];
        for (var n = 0; n < pages.Length; n++) references[n] = grants.Grant(pages[n] = grants.Allocate());
        var data = new byte[4096];
        for (var life = 0; life < 25; life++)
        {
            // One vCPU scribbles over ring, descriptors and data without a pause while another one sends events.
            var stop = false;
            var ring = front.Ring;
            var scribbler = new Thread(() =>
            {
                var random = new Random(seed + life);
                while (!Volatile.Read(ref stop))
                {
                    var target = random.Next(4) == 0 ? pages[random.Next(pages.Length)] : ring.Pages[random.Next(ring.Pages.Count)];
                    var page = grants.Page(target);
                    var at = random.Next(64, 4096 - 8) & ~3;
                    page[at] = random.Next(2) == 0 ? (byte)random.Next(8) : (byte)random.Next(256);
                    BlockFrontRing.Descriptor(page[at..], new BlockPiece(references[random.Next(8)], (byte)random.Next(9), (byte)random.Next(9)));
                    var produced = ring.ResponseProducer + (uint)random.Next(ring.Count / 2);
                    ring.RequestProducer = random.Next(2000) == 0 ? (uint)random.Next() : produced;
                    if (random.Next(50) == 0) grants.Set(references[random.Next(8)], random.Next(2) == 0 ? null : pages[random.Next(8)], random.Next(2) == 0);
                    ring.Kick();
                }
            });
            scribbler.Start();
            for (var n = 0; n < 10; n++)
            {
                var sector = (ulong)((life * 10) + n);
                Assert.Equal(0, other.Ring.Transfer(BlockFrontRing.Read, sector, data));
                Assert.True(data.AsSpan().SequenceEqual(neighbour.Data.AsSpan((int)sector * 512, 4096)));
            }

            Volatile.Write(ref stop, true);
            scribbler.Join();
            machine.Pump();
            front.SetState(1);
            machine.Pump();
            front.EndRings();
            for (var n = 0; n < references.Length; n++) grants.Set(references[n], pages[n]);
            Assert.True(front.Connect(), $"life {life}");
            Assert.Equal(0, front.Ring.Do(Flush));
        }

        front.SetState(6);
        other.SetState(6);
        machine.Pump();
        machine.AssertLetGo();
        Assert.Equal(0, disk.Outside);
        machine.Bus.Dispose();
        plane.Dispose();
        otherPlane.Dispose();
    }

    [Fact]
    public void ANeighbourGoesOnWhileAnotherRingIsKeptBusy()
    {
        using var machine = new PvMachine();
        var (disk, front) = machine.Connect(FrontPatterns.Get("gplpv-64"));
        var (_, other) = machine.Connect(FrontPatterns.Get("linux"), id: 51728);
        var page = front.Ring.TakePage();
        var grant = front.Ring.GrantPage(page, isReadOnly: false);

        // On one loop even: a guest that fills its ring as fast as it is emptied does not keep the loop.
        var port = front.Ring.Port;
        var added = 0;
        Action? refill = null;
        refill = () =>
        {
            while (front.Ring.TryTake(out _))
            {
            }

            while (front.Ring.Waiting < front.Ring.Count) front.Ring.Add(0, 0, new BlockPiece(grant, 0, 0));
            front.Ring.Push();
            if (++added < 20_000) machine.Loop.Post(refill!);
        };
        refill();
        var id = other.Ring.Add(Flush, 0);
        other.Ring.Push();
        BlockResponse response = default;
        machine.Loop.RunUntil(() => other.Ring.TryTake(out response));
        Assert.Equal(new BlockResponse(id, Flush, 0), response);
        Assert.InRange(added, 1, 100);
        Assert.True(disk.Count > 0);
        Assert.True(machine.Xen.Events.Count(port) >= 0);
    }

    [Fact]
    public void TheRingsOwnPagesAreNoData()
    {
        // A guest that reads the disk into its own ring gets what it asked for: a ring of noise, and an end.
        using var machine = new PvMachine();
        var (disk, front) = machine.Connect(FrontPatterns.Get("gplpv-64"));
        new Random(3).NextBytes(disk.Data);
        for (var round = 0; round < 50; round++)
        {
            for (var n = 0; n < 4; n++) front.Ring.Add(0, (ulong)(round * 8), new BlockPiece(front.Ring.References[0], (byte)(n % 8), 7));
            front.Ring.Push();
            machine.Pump();
            front.SetState(1);
            Assert.True(front.Connect(), $"round {round}");
        }

        Assert.Equal(0, disk.Outside);
    }

    [Fact]
    public void AGuestThatCannotBeToldIsStillServed()
    {
        using var machine = new PvMachine();
        var (_, front) = machine.Connect(FrontPatterns.Get("gplpv-64"));
        machine.Xen.Events.Close(front.Ring.Port);
        for (var n = 0; n < 10; n++) front.Ring.Add(Flush, 0);
        front.Ring.Push();
        machine.Pump();
        front.SetState(1);
        Assert.True(front.Connect());
        Assert.Equal(0, front.Ring.Do(Flush));
    }

    private static void PutAny(BlockFrontRing ring, Random random, uint[] references, int[] pages, PvMachine machine, int bytes, bool ringToo = true)
    {
        ulong Sector() => random.Next(6) switch
        {
            0 => (ulong)random.NextInt64(),
            1 => ulong.MaxValue - (ulong)random.Next(16),
            2 => (ulong)((bytes / 512) - random.Next(4)),
            3 => (ulong)random.Next(4) << random.Next(64),
            _ => (ulong)random.Next(bytes / 512),
        };
        BlockPiece Piece()
        {
            var reference = random.Next(12) == 0 ? (uint)random.Next() : ringToo && random.Next(40) == 0 ? ring.References[0] : references[random.Next(references.Length)];
            return random.Next(8) == 0 ? new BlockPiece(reference, (byte)random.Next(256), (byte)random.Next(256)) : new BlockPiece(reference, (byte)random.Next(4), (byte)random.Next(4, 8));
        }

        switch (random.Next(8))
        {
            case 0:
                var noise = new byte[108];
                random.NextBytes(noise);
                noise[0] &= 7;
                ring.Put(noise);
                break;
            case 1:
                ring.AddDiscard(Sector(), random.Next(2) == 0 ? (ulong)random.Next(64) : Sector(), (byte)random.Next(3));
                break;
            case 2:
            case 3:
                // Lists stand in pages that other requests are read into.
                var count = random.Next(6) == 0 ? random.Next(65536) : random.Next(0, 260);
                var list = machine.Xen.Grants.Page(pages[0]);
                for (var n = 0; n < 512; n++) BlockFrontRing.Descriptor(list[(n * 8)..], Piece());
                ring.AddIndirect((byte)random.Next(8), (ulong)random.Next(64), references[0], count);
                break;
            case 4:
                ring.Add((byte)random.Next(256), Sector(), Piece());
                break;
            default:
                var pieces = new List<BlockPiece>();
                for (var n = random.Next(10) == 0 ? random.Next(256) : random.Next(12); n > 0; n--) pieces.Add(Piece());
                ring.Add((byte)random.Next(4), Sector(), [.. pieces]);
                break;
        }
    }

    private static void Disturb(BlockFrontRing ring, Random random, uint[] references, int[] pages, PvMachine machine)
    {
        switch (random.Next(4))
        {
            case 0:
                machine.Xen.Grants.Set(references[random.Next(references.Length)], random.Next(3) == 0 ? null : pages[random.Next(pages.Length)], random.Next(3) == 0);
                break;
            case 1:
                random.NextBytes(machine.Xen.Grants.Page(ring.Pages[random.Next(ring.Pages.Count)])[64..]);
                break;
            case 2:
                random.NextBytes(machine.Xen.Grants.Page(pages[random.Next(pages.Length)]));
                break;
            default:
                ring.ResponseEvent = (uint)random.NextInt64();
                break;
        }
    }
}
