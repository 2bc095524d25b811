using System;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>Front ends of NICs that mean harm: they hurt themselves only.</summary>
public sealed class HostileNetTests
{
    private const int Canaries = 64;

    [Theory]
    [InlineData(1, null, true)]
    [InlineData(2, null, false)]
    [InlineData(3, 2, true)]
    [InlineData(4, 4, false)]
    public void RingsOfAnyContent(int seed, int? queues, bool isSplit)
    {
        var random = new Random(seed);
        using var machine = new NetMachine(log: false);
        var grants = machine.Xen.Grants;
        var (net, front, twin) = machine.Connect(new NetFrontOptions { Queues = queues, IsSplit = isSplit, Multicast = "1" }, log: false);
        var (otherNet, other, _) = machine.Connect(new NetFrontOptions(), id: 1);

        // Pages that nobody granted stay as they are.
        var canaries = new int[Canaries];
        for (var n = 0; n < Canaries; n++)
        {
            canaries[n] = grants.Allocate();
            grants.Page(canaries[n]).Fill(0xcc);
        }

        var pages = new int[16];
        var references = new uint[48];
        for (var n = 0; n < pages.Length; n++) pages[n] = grants.Allocate();
        for (var n = 0; n < references.Length; n++) references[n] = grants.Grant(pages[n % pages.Length], n % 5 == 0);
        var breaks = 0;
        for (var round = 0; round < 3000; round++)
        {
            var queue = front.Queues[random.Next(front.Queues.Count)];
            net.Full = random.Next(3) == 0;
            for (var count = random.Next(1, 40); count > 0 && queue.Tx.Waiting < queue.Tx.Count; count--) PutAny(queue, random, references);
            for (var count = random.Next(0, 20); count > 0 && queue.Rx.Waiting < queue.Rx.Count; count--) queue.OfferPage(0, Any(random, references));
            Disturb(queue, random, references, pages, grants);
            queue.PushTx();
            queue.PushRx();
            Bring(net, random);
            machine.Pump();
            Disturb(queue, random, references, pages, grants);
            if (random.Next(60) == 0) queue.Tx.RequestProducer = (uint)random.NextInt64();
            if (random.Next(60) == 0) queue.Rx.RequestProducer = (uint)random.NextInt64();
            if (random.Next(20) == 0) queue.Tx.RequestProducer += (uint)random.Next(1, 300);
            if (random.Next(20) == 0) queue.Tx.ResponseProducer = (uint)random.NextInt64();
            machine.Xen.Events.Send(queue.TxPort);
            machine.Xen.Events.Send(queue.RxPort);
            Bring(net, random);
            machine.Pump();
            net.Full = false;
            machine.Pump();
            Skip(queue.Tx, 4);
            Skip(queue.Rx, 8);
            if (front.BackState == 5 || round % 50 == 49)
            {
                // The guest begins anew, and what it does rightly is done.
                breaks++;
                for (var n = 0; n < references.Length; n++) grants.Set(references[n], pages[n % pages.Length], n % 5 == 0);
                front.SetState(1);
                machine.Pump();
                Assert.Same(twin, net.Frontend);
                foreach (var used in front.Queues)
                {
                    // The pages in the ring are not the queue's own.
                    used.Tx.End();
                    used.Rx.End();
                }

                Assert.True(front.Connect(), $"round {round}");
                NetSendTests.AssertWorks(machine, net, front);
            }

            // The neighbour goes on.
            var frame = Frames.Plain(random.Next(14, 20_000), round);
            other.Queue.Offer(5);
            other.Queue.PutFrame(frame);
            other.Queue.PushTx();
            Assert.True(otherNet.Bring(frame));
            machine.Pump();
            Assert.Equal(frame, Assert.Single(otherNet.Sent).Bytes);
            otherNet.Sent.Clear();
            foreach (var (_, status) in other.Queue.TakeSent()) Assert.Equal(0, status);
            Assert.Equal(frame, other.Queue.TryReceive()!.Bytes);
            while (other.Queue.Rx.Waiting > 20)
            {
                Assert.True(otherNet.Bring(Frames.Plain(60)));
                machine.Pump();
                Assert.NotNull(other.Queue.TryReceive());
            }
        }

        Assert.InRange(breaks, 60, 3000);
        Assert.NotEqual(0, net.Count);
        foreach (var canary in canaries) Assert.Equal(-1, grants.Page(canary).IndexOfAnyExcept((byte)0xcc));
        Assert.Equal(4, other.BackState);
        front.SetState(6);
        other.SetState(6);
        machine.Pump();
        machine.AssertLetGo();
    }

    [Fact]
    public void NothingGrowsUnderRingsOfAnyContent()
    {
        var random = new Random(5);
        using var machine = new NetMachine(log: false);
        var grants = machine.Xen.Grants;
        var (net, front, _) = machine.Connect(new NetFrontOptions { Multicast = "1" }, log: false);
        var queue = front.Queue;
        var pages = new int[16];
        var references = new uint[48];
        for (var n = 0; n < pages.Length; n++) pages[n] = grants.Allocate();
        for (var n = 0; n < references.Length; n++) references[n] = grants.Grant(pages[n % pages.Length], n % 5 == 0);
        long allocated = 0;
        var least = long.MaxValue;
        var frame = Frames.Plain(9000);
        for (var round = 0; round < 4000; round++)
        {
            for (var count = random.Next(1, 40); count > 0 && queue.Tx.Waiting < queue.Tx.Count - 4; count--) PutAny(queue, random, references, chains: false);
            while (queue.Rx.Waiting < queue.Rx.Count) queue.OfferPage(0, Any(random, references));
            var before = GC.GetAllocatedBytesForCurrentThread();
            queue.PushTx();
            queue.PushRx();
            for (var n = 0; n < 5; n++) net.Bring(frame.AsSpan(0, random.Next(1, 9000)));
            machine.Pump();
            allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            Skip(queue.Tx, 4);
            Skip(queue.Rx, 8);
            if (round % 10 != 9) continue;
            if (round > 1000) least = Math.Min(least, allocated);
            allocated = 0;
        }

        Assert.Equal(0, least);
        Assert.Equal(4, front.BackState);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnIndexThatIsNonsenseEndsTheConnection(bool isTx)
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.Connect(new NetFrontOptions());
        var queue = front.Queue;
        (isTx ? queue.Tx : queue.Rx).RequestProducer = (uint)queue.Tx.Count + 1;
        machine.Xen.Events.Send(queue.TxPort);
        net.Bring(Frames.Plain(100));
        machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.Contains("more requests than room", machine.ErrorOf(0), StringComparison.Ordinal);
        Assert.Same(twin, net.Frontend);
        machine.AssertLetGo();
        Assert.Single(machine.Log, line => line.Contains("more requests", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(20, false)]
    [InlineData(21, true)]
    public void AChainWithoutEnd(int pieces, bool ends)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var page = machine.Xen.Grants.Allocate();
        Frames.Plain(100).CopyTo(machine.Xen.Grants.Page(page));
        var grant = machine.Xen.Grants.Grant(page);
        for (var n = 0; n < pieces; n++) front.Queue.Put(grant, 0, n < pieces - 1 ? NetFrontQueue.MoreData : 0, n == 0 ? pieces * 20 : 20);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal(ends ? 5 : 4, front.BackState);
        Assert.Equal(ends ? 0 : 1, net.Sent.Count);
    }

    [Theory]
    [InlineData(4, false)]
    [InlineData(5, true)]
    [InlineData(200, true)]
    public void ExtraInfosWithoutEnd(int extras, bool ends)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var page = machine.Xen.Grants.Allocate();
        Frames.Plain(100).CopyTo(machine.Xen.Grants.Page(page));
        front.Queue.Put(machine.Xen.Grants.Grant(page), 0, NetFrontQueue.Extra, 100);
        for (var n = 0; n < extras; n++) front.Queue.PutExtra(4, n < extras - 1);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal(ends ? 5 : 4, front.BackState);
        Assert.Equal(ends ? 0 : 1, net.Sent.Count);
        if (!ends) Assert.Equal(1 + extras, front.Queue.TakeSent().Count);
    }

    [Fact]
    public void ARingThatIsRefilledForEverLeavesRoomForOthers()
    {
        using var machine = new NetMachine(log: false);
        var (net, front, _) = machine.Connect(new NetFrontOptions(), log: false);
        var (otherNet, other, _) = machine.Connect(new NetFrontOptions(), id: 1);
        var page = machine.Xen.Grants.Allocate();
        Frames.Plain(60).CopyTo(machine.Xen.Grants.Page(page));
        var grant = machine.Xen.Grants.Grant(page);
        var queue = front.Queue;
        for (var n = 0; n < queue.Tx.Count; n++) queue.Put(grant, 0, 0, 60);

        // As a thread of the guest that fills the ring again with each frame that leaves it.
        var refilled = 0;
        net.OnSend = () =>
        {
            if (otherNet.Count > 0 || ++refilled > 100_000) return;
            queue.Tx.RequestProducer++;
        };
        queue.PushTx();
        other.Queue.PutFrame(Frames.Plain(70));
        other.Queue.PushTx();
        machine.Pump();
        Assert.Equal(1, otherNet.Count);
        Assert.InRange(refilled, 1, 2 * queue.Tx.Count);
    }

    /// <summary>A request of the kinds that hurt most.</summary>
    private static void PutAny(NetFrontQueue queue, Random random, uint[] references, bool chains = true)
    {
        var size = random.Next(6) switch { 0 => random.Next(0x10000), 1 => 0, 2 => random.Next(14), 3 => 4096, _ => random.Next(14, 1515) };
        var offset = random.Next(5) switch { 0 => random.Next(0x10000), 1 => 4096, 2 => random.Next(4096), _ => 0 };
        var flags = random.Next(4) switch { 0 => random.Next(0x10000), 1 => NetFrontQueue.MoreData, 2 => NetFrontQueue.Extra, _ => NetFrontQueue.ChecksumBlank };
        if (!chains) flags &= ~NetFrontQueue.MoreData;
        queue.Put(Any(random, references), offset, flags, size);
        if ((flags & NetFrontQueue.Extra) == 0) return;
        Span<byte> body = stackalloc byte[6];
        random.NextBytes(body);
        if (random.Next(3) != 0) body[2] = (byte)random.Next(4);
        queue.PutExtra((byte)random.Next(6), chains && random.Next(3) == 0, body);
    }

    private static uint Any(Random random, uint[] references) => random.Next(10) == 0 ? (uint)random.NextInt64() : references[random.Next(references.Length)];

    /// <summary>Takes grants away, or makes their pages read-only or others, or fills them with something that looks like TCP.</summary>
    private static void Disturb(NetFrontQueue queue, Random random, uint[] references, int[] pages, FakeGrants grants)
    {
        for (var n = 0; n < 4; n++) grants.Set(references[random.Next(references.Length)], random.Next(3) == 0 ? null : pages[random.Next(pages.Length)], random.Next(3) == 0);
        var page = grants.Page(pages[random.Next(pages.Length)]);
        random.NextBytes(page);
        Frames.Tcp(random.Next(2) == 0, random.Next(0, 3000)).CopyTo(page);
        if (random.Next(2) == 0) page[random.Next(80)] = (byte)random.Next(256);
        if (random.Next(30) == 0) random.NextBytes(queue.Tx.Slot(random.Next(queue.Tx.Count)));
        if (random.Next(30) == 0) random.NextBytes(queue.Rx.Slot(random.Next(queue.Rx.Count)));
    }

    private static void Bring(FakeNet net, Random random)
    {
        var frame = Frames.Tcp(random.Next(2) == 0, random.Next(0, 64_000), (ushort)random.Next(100));
        if (random.Next(4) == 0) frame[0] |= 1;
        net.Drop();
        net.Bring(random.Next(2) == 0 ? default : new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1000, HeaderBytes = 54 }, frame);
    }

    /// <summary>Forgets responses; the ring goes on from there.</summary>
    private static void Skip(NetFrontRing ring, int bytes)
    {
        Span<byte> response = stackalloc byte[8];
        for (var ready = Math.Min(ring.Ready, ring.Waiting); ready > 0; ready--) ring.Take(response[..bytes]);
    }
}
