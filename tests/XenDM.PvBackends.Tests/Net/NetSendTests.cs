using System;
using System.Buffers.Binary;
using System.Linq;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>Frames from a guest.</summary>
public sealed class NetSendTests
{
    private static readonly NetFrontOptions Linux = new();

    [Theory]
    [InlineData(14, 0)]
    [InlineData(60, 100)]
    [InlineData(1514, 2582)]
    [InlineData(4096, 0)]
    public void OnePiece(int length, int offset)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frame = Frames.Plain(length);
        var id = front.Queue.PutFrame(frame, offset: offset);
        front.Queue.PushTx();
        machine.Pump();
        var (sent, bytes) = Assert.Single(net.Sent);
        Assert.Equal(frame, bytes);
        Assert.False(sent.NeedsChecksum);
        Assert.False(sent.IsValid);
        Assert.Equal((id, 0), Assert.Single(front.Queue.TakeSent()));
        Assert.Equal((1, length, 0), (machine.Counters().SentFrames, machine.Counters().SentBytes, machine.Counters().SendErrors));
    }

    [Theory]
    [InlineData(4097, 0, new int[0])]
    [InlineData(9000, 4000, new[] { 96 })]
    [InlineData(65535, 0, new[] { 4095 })]
    [InlineData(18, 0, new[] { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 })]
    [InlineData(1514, 200, new[] { 14, 20, 20, 700 })]
    public void ManyPieces(int length, int offset, int[] pieces)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frame = Frames.Plain(length);
        front.Queue.PutFrame(frame, offset: offset, pieces: pieces);
        var slots = front.Queue.Tx.Waiting;
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal(frame, Assert.Single(net.Sent).Bytes);
        var answers = front.Queue.TakeSent();
        Assert.Equal(slots, answers.Count);
        Assert.All(answers, answer => Assert.Equal(0, answer.Status));
    }

    [Theory]
    [InlineData(false, 1)]
    [InlineData(true, 2)]
    public void Gso(bool isIpv6, byte kind)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frame = Frames.Tcp(isIpv6, 30_000);
        var headers = isIpv6 ? Frames.Ipv6Tcp : Frames.Ipv4Tcp;

        // The headers have a piece of their own, as Linux has it. The flag for the checksum is missing, as some drivers have it.
        var id = front.Queue.PutFrame(frame, segmentBytes: 1440, segmentKind: kind, pieces: headers);
        front.Queue.PushTx();
        machine.Pump();
        var (sent, bytes) = Assert.Single(net.Sent);
        Assert.Equal(isIpv6 ? NetSegmentation.Tcp6 : NetSegmentation.Tcp4, sent.Segmentation);
        Assert.Equal(1440, sent.SegmentBytes);
        Assert.Equal(headers, sent.HeaderBytes);
        AssertBlank(sent, frame, bytes, isIpv6);
        var answers = front.Queue.TakeSent();
        Assert.Equal((id, 0), answers[0]);
        Assert.Equal(1, answers[1].Status);
        Assert.All(answers.Skip(2), answer => Assert.Equal(0, answer.Status));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ABlankChecksumGetsItsPseudoSum(bool isIpv6)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frame = Frames.Tcp(isIpv6, 400);
        front.Queue.PutFrame(frame, NetFrontQueue.ChecksumBlank | NetFrontQueue.DataValidated);
        front.Queue.PushTx();
        machine.Pump();
        var (sent, bytes) = Assert.Single(net.Sent);
        Assert.True(sent.IsValid);
        Assert.Equal(NetSegmentation.None, sent.Segmentation);
        AssertBlank(sent, frame, bytes, isIpv6);
    }

    [Fact]
    public void ABlankChecksumOfSomethingElseIsLeftAlone()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frame = Frames.Plain(200);
        front.Queue.PutFrame(frame, NetFrontQueue.ChecksumBlank);
        front.Queue.PushTx();
        machine.Pump();
        var (sent, bytes) = Assert.Single(net.Sent);
        Assert.False(sent.NeedsChecksum);
        Assert.Equal(frame, bytes);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public void APartOfAFrameWaitsForTheRest(int shown)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var queue = front.Queue;
        var frame = Frames.Tcp(false, 15_000);

        // 5 pieces and an extra info; nobody sees the slots behind those that were shown.
        queue.PutFrame(frame, segmentBytes: 1448, pieces: [54, 4000, 4000, 4000]);
        Assert.Equal(6u, queue.Tx.Produced);
        queue.Tx.RequestProducer = (uint)shown;
        machine.Xen.Events.Send(queue.TxPort);
        machine.Pump();
        Assert.Empty(net.Sent);
        Assert.Empty(queue.TakeSent());
        Assert.Equal((uint)shown + 1, queue.Tx.RequestEvent);
        queue.Tx.RequestProducer = 6;
        machine.Xen.Events.Send(queue.TxPort);
        machine.Pump();
        Assert.Single(net.Sent);
        Assert.Equal(6, queue.TakeSent().Count);
        Assert.Equal(4, front.BackState);
    }

    [Fact]
    public void AFrameIsHeldWhileTheNetIsFull()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var frames = Enumerable.Range(0, 20).Select(n => Frames.Plain(200 + n, n)).ToArray();
        net.Full = true;
        foreach (var frame in frames) front.Queue.PutFrame(frame);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Empty(net.Sent);

        // The first one was taken off the ring and waits; the others wait in the ring.
        Assert.Single(front.Queue.TakeSent());
        front.Queue.PushTx();
        machine.Pump();
        net.Full = false;
        machine.Pump();
        Assert.Equal(frames, net.Sent.Select(sent => sent.Bytes));
        Assert.Equal(19, front.Queue.TakeSent().Count);
    }

    [Fact]
    public void ARingThatIsFullAgainAndAgain()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var queue = front.Queue;
        for (var round = 0; round < 20; round++)
        {
            for (var n = 0; n < queue.Tx.Count; n++) queue.PutFrame(Frames.Plain(60, n));
            queue.PushTx();
            machine.Pump();
            Assert.Equal(queue.Tx.Count, queue.TakeSent().Count);
        }

        Assert.Equal(20 * queue.Tx.Count, net.Sent.Count);

        // One event for each full ring; the backend tells the guest as rarely.
        Assert.InRange(queue.Kicks, 1, 20);
        Assert.InRange(machine.Xen.Events.Count(queue.TxPort), 1, 40);
    }

    [Theory]
    [InlineData(13, 0)]
    [InlineData(0, 0)]
    [InlineData(4097, 0)]
    [InlineData(100, 4000)]
    [InlineData(65535, 65535)]
    public void AFrameThatCannotBeIsAnError(int size, int offset)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var queue = front.Queue;
        var page = machine.Xen.Grants.Allocate();
        var id = queue.Put(machine.Xen.Grants.Grant(page), offset, 0, size);
        queue.PushTx();
        machine.Pump();
        Assert.Equal((id, -1), Assert.Single(queue.TakeSent()));
        Assert.Empty(net.Sent);
        Assert.Equal(1, machine.Counters().SendErrors);
        AssertWorks(machine, net, front);
    }

    [Fact]
    public void PiecesThatAreMoreThanTheWhole()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var grant = machine.Xen.Grants.Grant(machine.Xen.Grants.Allocate());
        front.Queue.Put(grant, 0, NetFrontQueue.MoreData, 100);
        front.Queue.Put(grant, 0, NetFrontQueue.MoreData, 60);
        front.Queue.Put(grant, 0, 0, 40);
        front.Queue.Put(grant, 0, NetFrontQueue.MoreData, 100);
        front.Queue.Put(grant, 0, 0, 0);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal([-1, -1, -1, -1, -1], front.Queue.TakeSent().Select(answer => (int)answer.Status));
        Assert.Empty(net.Sent);
        AssertWorks(machine, net, front);
    }

    [Fact]
    public void AGrantThatIsNone()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var grant = machine.Xen.Grants.Grant(machine.Xen.Grants.Allocate());
        front.Queue.Put(grant, 0, NetFrontQueue.MoreData, 100);
        front.Queue.Put(9999, 0, 0, 40);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal([-1, -1], front.Queue.TakeSent().Select(answer => (int)answer.Status));
        Assert.Empty(net.Sent);
        AssertWorks(machine, net, front);
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1448, 0)]
    [InlineData(1448, 3)]
    [InlineData(1448, 2)]
    public void SegmentsThatCannotBe(int segmentBytes, byte kind)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(Linux);
        var page = machine.Xen.Grants.Allocate();
        var frame = Frames.Tcp(false, 3000);
        frame.CopyTo(machine.Xen.Grants.Page(page));
        front.Queue.Put(machine.Xen.Grants.Grant(page), 0, NetFrontQueue.Extra | NetFrontQueue.ChecksumBlank, frame.Length);
        front.Queue.PutExtra(1, false, (byte)segmentBytes, (byte)(segmentBytes >> 8), kind);
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal([-1, 1], front.Queue.TakeSent().Select(answer => (int)answer.Status));
        Assert.Empty(net.Sent);
        AssertWorks(machine, net, front);
    }

    internal static void AssertWorks(NetMachine machine, FakeNet net, NetFront front)
    {
        var before = net.Count;
        front.Queue.PutFrame(Frames.Plain(77));
        front.Queue.PushTx();
        machine.Pump();
        Assert.Equal(before + 1, net.Count);
        Assert.Equal(0, front.Queue.TakeSent()[^1].Status);
        Assert.Equal(4, front.BackState);
    }

    private static void AssertBlank(in NetFrame sent, byte[] frame, byte[] bytes, bool isIpv6)
    {
        var transport = isIpv6 ? 54 : 34;
        Assert.True(sent.NeedsChecksum);
        Assert.Equal(transport, sent.ChecksumStart);
        Assert.Equal(16, sent.ChecksumOffset);
        Assert.Equal(Frames.PseudoSum(frame, isIpv6), BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(transport + 16)));
        var expected = frame.ToArray();
        bytes.AsSpan(transport + 16, 2).CopyTo(expected.AsSpan(transport + 16));
        Assert.Equal(expected, bytes);
    }
}
