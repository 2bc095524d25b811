using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>Frames to a guest.</summary>
public sealed class NetReceiveTests
{
    [Theory]
    [InlineData(14, 1)]
    [InlineData(60, 1)]
    [InlineData(1514, 1)]
    [InlineData(4096, 1)]
    [InlineData(4097, 2)]
    [InlineData(9014, 3)]
    [InlineData(65535, 16)]
    [InlineData(65549, 17)]
    public void AFrameOfAnySize(int length, int pieces)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var frame = Frames.Plain(length);
        front.Queue.Offer(20);
        machine.Pump();
        Assert.True(net.Bring(frame));
        machine.Pump();
        var received = front.Queue.TryReceive();
        Assert.NotNull(received);
        Assert.Equal(frame, received.Bytes);
        Assert.Equal((pieces, 0, 0), (received.Pieces, received.Status, received.Flags & ~NetFrontQueue.MoreData));
        Assert.Null(front.Queue.TryReceive());
        Assert.Equal(20 - pieces, front.Queue.Rx.Waiting);
        Assert.Equal((1, length, 0), (machine.Counters().ReceivedFrames, machine.Counters().ReceivedBytes, machine.Counters().ReceiveErrors));
    }

    [Fact]
    public void NothingIsWrittenBehindAFrame()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var page = machine.Xen.Grants.Allocate();
        machine.Xen.Grants.Page(page).Fill(0xaa);
        front.Queue.OfferPage(page, machine.Xen.Grants.Grant(page));
        front.Queue.PushRx();
        Assert.True(net.Bring(Frames.Plain(100)));
        machine.Pump();
        Assert.NotNull(front.Queue.TryReceive());
        Assert.Equal(-1, machine.Xen.Grants.Page(page)[100..].IndexOfAnyExcept((byte)0xaa));
    }

    [Theory]
    [InlineData(false, false, 0)]
    [InlineData(false, true, NetFrontQueue.RxDataValidated)]
    [InlineData(true, false, NetFrontQueue.RxDataValidated | NetFrontQueue.RxChecksumBlank)]
    public void ChecksumsAreToldAsTheyAre(bool isBlank, bool isValid, int flags)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        front.Queue.Offer(1);
        Assert.True(net.Bring(new NetFrame { NeedsChecksum = isBlank, IsValid = isValid, ChecksumStart = 34, ChecksumOffset = 16 }, Frames.Tcp(false, 100)));
        machine.Pump();
        Assert.Equal(flags, front.Queue.TryReceive()!.Flags);
    }

    [Theory]
    [InlineData(false, 1000, 1)]
    [InlineData(true, 1000, 1)]
    [InlineData(false, 20_000, 5)]
    [InlineData(true, 60_000, 15)]
    public void Gso(bool isIpv6, int payload, int pieces)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var frame = Frames.Tcp(isIpv6, payload);
        front.Queue.Offer(pieces + 2);
        var told = new NetFrame { NeedsChecksum = true, Segmentation = isIpv6 ? NetSegmentation.Tcp6 : NetSegmentation.Tcp4, SegmentBytes = 1428, HeaderBytes = (ushort)(frame.Length - payload) };
        Assert.True(net.Bring(told, frame));
        Assert.True(net.Bring(Frames.Plain(64)));
        machine.Pump();
        var received = front.Queue.TryReceive()!;
        Assert.Equal(frame, received.Bytes);
        Assert.Equal(pieces, received.Pieces);
        Assert.Equal(NetFrontQueue.RxDataValidated | NetFrontQueue.RxChecksumBlank | NetFrontQueue.Extra, received.Flags & ~NetFrontQueue.MoreData);
        Assert.Equal([1, 0, 0x94, 0x05, (byte)(isIpv6 ? 2 : 1), 0, 0, 0], received.Extra);
        Assert.Equal(Frames.Plain(64), front.Queue.TryReceive()!.Bytes);
        Assert.Equal(0, front.Queue.Rx.Waiting);
    }

    [Fact]
    public void WithoutRoomAFrameWaits()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var frames = new[] { Frames.Plain(100, 1), Frames.Plain(200, 2), Frames.Plain(300, 3) };
        foreach (var frame in frames) Assert.False(net.Bring(frame));
        machine.Pump();
        Assert.Null(front.Queue.TryReceive());
        front.Queue.Offer(2);
        machine.Pump();
        Assert.Equal(1, net.Waiting);
        Assert.Equal(frames[0], front.Queue.TryReceive()!.Bytes);
        Assert.Equal(frames[1], front.Queue.TryReceive()!.Bytes);
        front.Queue.Offer(1);
        machine.Pump();
        Assert.Equal(0, net.Waiting);
        Assert.Equal(frames[2], front.Queue.TryReceive()!.Bytes);
    }

    /// <summary>The guest offers page by page, and sends an event only when it is asked to.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    public void AFrameThatNeedsMoreRoomThanThereIsComesWhenThereIsEnough(int before)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var frame = Frames.Tcp(false, 64_000);
        front.Queue.Offer(before);
        machine.Pump();
        var kicks = front.Queue.Kicks;
        Assert.False(net.Bring(new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1448, HeaderBytes = 54 }, frame));
        for (var n = before; n < 17; n++)
        {
            machine.Pump();
            Assert.Null(front.Queue.TryReceive());
            front.Queue.Offer(1);
        }

        machine.Pump();
        Assert.Equal(0, net.Waiting);
        Assert.Equal(frame, front.Queue.TryReceive()!.Bytes);
        Assert.Equal(kicks + 1, front.Queue.Kicks);
    }

    [Fact]
    public void AFrontEndThatTakesOnePageGetsNoMore()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { TakesPieces = false });
        front.Queue.Offer(8);
        Assert.True(net.Bring(Frames.Plain(4097)));
        Assert.True(net.Bring(Frames.Plain(4096)));
        machine.Pump();
        Assert.Equal(4096, front.Queue.TryReceive()!.Bytes.Length);
        Assert.Null(front.Queue.TryReceive());
        Assert.Equal(1, machine.Counters().ReceiveErrors);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void APageThatCannotBeWrittenFailsTheFrameOnly(bool isReadOnly)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        var grants = machine.Xen.Grants;
        var page = grants.Allocate();
        grants.Page(page).Fill(0x55);
        var reference = grants.Grant(page, isReadOnly);
        front.Queue.Offer(1, push: false);
        front.Queue.OfferPage(page, reference);
        front.Queue.Offer(2);
        if (!isReadOnly) grants.Set(reference, null);
        Assert.True(net.Bring(Frames.Plain(9000)));
        Assert.True(net.Bring(Frames.Plain(500)));
        machine.Pump();
        var failed = front.Queue.TryReceive()!;
        Assert.Equal((-1, 3), (failed.Status, failed.Pieces));
        Assert.Equal(-1, grants.Page(page).IndexOfAnyExcept((byte)0x55));
        Assert.Equal(Frames.Plain(500), front.Queue.TryReceive()!.Bytes);
        Assert.Equal((1, 1), (machine.Counters().ReceivedFrames, machine.Counters().ReceiveErrors));
        NetSendTests.AssertWorks(machine, net, front);
    }

    [Fact]
    public void SeveralFramesOfOneTurnAreOneEvent()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions());
        front.Queue.Offer(64);
        machine.Pump();
        Assert.Null(front.Queue.TryReceive());
        var before = machine.Xen.Events.Count(front.Queue.RxPort);
        for (var n = 0; n < 64; n++) Assert.True(net.Bring(Frames.Plain(60, n)));
        machine.Pump();
        Assert.Equal(before + 1, machine.Xen.Events.Count(front.Queue.RxPort));
        for (var n = 0; n < 64; n++) Assert.Equal(Frames.Plain(60, n), front.Queue.TryReceive()!.Bytes);
    }

    [Fact]
    public void AConnectionStaysInOneQueue()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 2 });
        foreach (var queue in front.Queues) queue.Offer(200);
        var counts = new int[2];
        for (ushort port = 1; port < 65; port++)
        {
            var frame = Frames.Tcp(port % 2 == 0, 100, port);
            Assert.True(net.Bring(frame));
            Assert.True(net.Bring(frame));
            machine.Pump();
            var of = front.Queues[0].Rx.Ready > 0 ? 0 : 1;
            Assert.Equal(frame, front.Queues[of].TryReceive()!.Bytes);
            Assert.Equal(frame, front.Queues[of].TryReceive()!.Bytes);
            Assert.Equal(0, front.Queues[1 - of].Rx.Ready);
            counts[of]++;
        }

        Assert.All(counts, count => Assert.InRange(count, 10, 54));
    }

    /// <summary>One queue is full: the others go on, and it gets what waited, in order.</summary>
    [Fact]
    public void AQueueWithoutRoomHoldsUpNoOther()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 2 });
        foreach (var queue in front.Queues) queue.Offer(1);
        var ofQueue = new Dictionary<ushort, int>();
        for (ushort port = 1; port < 30; port++)
        {
            Assert.True(net.Bring(Frames.Tcp(false, 100, port)));
            machine.Pump();
            var at = front.Queues[0].Rx.Ready > 0 ? 0 : 1;
            Assert.NotNull(front.Queues[at].TryReceive());
            front.Queues[at].Offer(1);
            ofQueue[port] = at;
        }

        machine.Pump();
        front.Queues[1].Offer(200);
        var waiting = new List<byte[]>();
        var sizes = 0;
        for (var round = 0; round < 10; round++)
        {
            foreach (var (port, queue) in ofQueue)
            {
                var frame = Frames.Tcp(false, 100 + sizes++, port);
                Assert.True(net.Bring(frame));
                machine.Pump();
                if (queue == 0)
                {
                    waiting.Add(frame);
                    continue;
                }

                Assert.Equal(frame, front.Queues[1].TryReceive()!.Bytes);
                front.Queues[1].Offer(1);
            }
        }

        foreach (var frame in waiting)
        {
            Assert.Equal(frame, front.Queues[0].TryReceive()!.Bytes);
            Assert.Null(front.Queues[0].TryReceive());
            front.Queues[0].Offer(1);
            machine.Pump();
        }

        Assert.Equal((0, 0), (machine.Counters().ReceiveDrops, machine.Counters().ReceiveErrors));
    }

    [Fact]
    public void WhatWaitsForOneOfSeveralQueuesEnds()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 2 });
        var frame = Frames.Tcp(false, 60_000);
        var told = new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1400, HeaderBytes = 54 };
        for (var n = 0; n < 10; n++) Assert.True(net.Bring(told, frame));
        machine.Pump();
        Assert.Equal(6, machine.Counters().ReceiveDrops);
        foreach (var queue in front.Queues) queue.Offer(200);
        machine.Pump();
        var at = front.Queues[0].Rx.Ready > 0 ? 0 : 1;
        for (var n = 0; n < 4; n++) Assert.Equal(frame, front.Queues[at].TryReceive()!.Bytes);
        Assert.Null(front.Queues[at].TryReceive());
        Assert.True(net.Bring(told, frame));
        machine.Pump();
        Assert.Equal(frame, front.Queues[at].TryReceive()!.Bytes);
        Assert.Equal((5, 6), (machine.Counters().ReceivedFrames, machine.Counters().ReceiveDrops));
    }

    /// <summary>Frames of any size come and go at any time; what is not lost comes as it was, in order.</summary>
    [Fact]
    public void WhatWaitsStaysInOrder()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 2 });
        var random = new Random(2);
        var expected = new Queue<byte[]>();
        long lost = 0;
        for (var round = 0; round < 3000; round++)
        {
            // Not IP: all of them are the first queue's.
            var frame = Frames.Plain(random.Next(3) == 0 ? random.Next(14, 65_000) : random.Next(14, 1600), round);
            Assert.True(net.Bring(frame));
            if (machine.Counters().ReceiveDrops == lost) expected.Enqueue(frame);
            lost = machine.Counters().ReceiveDrops;
            var room = front.Queue.Rx.Count - front.Queue.Rx.Waiting;
            if (random.Next(40) == 0) front.Queue.Offer(Math.Min(room, random.Next(1, 100)));
            machine.Pump();
            while (front.Queue.TryReceive() is { } received) Assert.Equal(expected.Dequeue(), received.Bytes);
        }

        Assert.InRange(lost, 100, 2900);
    }

    [Fact]
    public void MulticastIsWhatTheGuestAskedFor()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Multicast = "1" });
        front.Queue.Offer(50);
        byte[] wanted = [0x01, 0x00, 0x5e, 1, 2, 3], other = [0x33, 0x33, 0, 0, 0, 1], all = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], own = [0x00, 0x16, 0x3e, 0, 0, 1];
        Assert.Equal("0011", Gets(machine, net, front, wanted, other, all, own));
        Assert.Equal([0, 1], Ask(machine, front, 2, wanted));
        Assert.Equal("1011", Gets(machine, net, front, wanted, other, all, own));
        Assert.Equal([0, 1], Ask(machine, front, 2, other));
        Assert.Equal([0, 1], Ask(machine, front, 3, wanted));
        Assert.Equal("0111", Gets(machine, net, front, wanted, other, all, own));
        Assert.Equal([-1, 1], Ask(machine, front, 2, own));
        Assert.Empty(net.Sent);

        // It may want all, and later what it has in its list.
        front.WriteFront("request-multicast-control", "0");
        machine.Pump();
        Assert.Equal("1111", Gets(machine, net, front, wanted, other, all, own));
        front.WriteFront("request-multicast-control", "1");
        machine.Pump();
        Assert.Equal("0111", Gets(machine, net, front, wanted, other, all, own));
    }

    [Fact]
    public void TheListOfMulticastAddressesEnds()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Multicast = "1" });
        for (byte n = 0; n < 64; n++) Assert.Equal([0, 1], Ask(machine, front, 2, [1, 0, 0, 0, 0, n]));
        Assert.Equal([0, 1], Ask(machine, front, 2, [1, 0, 0, 0, 0, 63]));
        Assert.Equal([-1, 1], Ask(machine, front, 2, [1, 0, 0, 0, 1, 0]));
        Assert.Equal([0, 1], Ask(machine, front, 3, [1, 0, 0, 0, 0, 5]));
        Assert.Equal([0, 1], Ask(machine, front, 2, [1, 0, 0, 0, 1, 0]));
        front.Queue.Offer(10);
        Assert.Equal("101", Gets(machine, net, front, [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 5], [1, 0, 0, 0, 0, 63]));
    }

    /// <summary>Asks for a multicast address, or no more for it.</summary>
    /// <returns>The states of the answers.</returns>
    private static int[] Ask(NetMachine machine, NetFront front, byte type, byte[] address)
    {
        front.Queue.Put(0, 0, NetFrontQueue.Extra, 0);
        front.Queue.PutExtra(type, false, address);
        front.Queue.PushTx();
        machine.Pump();
        return [.. front.Queue.TakeSent().ConvertAll(answer => (int)answer.Status)];
    }

    /// <summary>For each destination whether a frame to it reaches the guest.</summary>
    private static string Gets(NetMachine machine, FakeNet net, NetFront front, params byte[][] destinations)
    {
        var text = "";
        foreach (var destination in destinations)
        {
            var frame = Frames.Plain(100);
            destination.CopyTo(frame, 0);
            Assert.True(net.Bring(frame));
            machine.Pump();
            var received = front.Queue.TryReceive();
            if (received is not null) Assert.Equal(frame, received.Bytes);
            text += received is null ? "0" : "1";
        }

        return text;
    }
}
