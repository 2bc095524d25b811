using System;
using System.Buffers.Binary;
using System.Net;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>The control ring: hashes of frames, and the queues that they lead to.</summary>
public sealed class NetControlTests
{
    private const ushort GetFlags = 1, SetFlags = 2, SetKey = 3, GetMappingSize = 4, SetMappingSize = 5, SetMapping = 6, SetAlgorithm = 7;
    private const uint Okay = 0, NotSupported = 1, Invalid = 2, Overflow = 3;

    /// <summary>The key of the published examples ("Verifying the RSS hash calculation" of Windows' driver documentation).</summary>
    private static readonly byte[] s_key = Convert.FromHexString("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa");

    [Theory]
    [InlineData("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e8fc2, 0x51ccc178)]
    [InlineData("199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718262a, 0xc626b0ea)]
    [InlineData("24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0a5de, 0x5c2b394a)]
    [InlineData("38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xafc7327f)]
    [InlineData("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d1809c5, 0x10e828a2)]
    [InlineData("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc18cd5, 0x40207d3d)]
    [InlineData("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c461c, 0xdde51bbf)]
    [InlineData("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x4b61e985, 0x02d1feef)]
    public void ThePublishedHashes(string source, int sourcePort, string destination, int destinationPort, uint addresses, uint withPorts)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { HasControl = true });
        Hash(front, 15);
        var frame = Tcp(source, sourcePort, destination, destinationPort);
        var isIpv6 = source.Contains(':', StringComparison.Ordinal);
        Assert.Equal(Extra(isIpv6 ? 3 : 1, withPorts), Receive(machine, net, front, frame).Extra);

        // Another protocol, and a fragment, have no ports.
        frame[isIpv6 ? 20 : 23] = 17;
        Assert.Equal(Extra(isIpv6 ? 2 : 0, addresses), Receive(machine, net, front, frame).Extra);
        frame[isIpv6 ? 20 : 23] = 6;
        if (!isIpv6) frame[20] = 0x20;
        else frame[20] = 44;
        Assert.Equal(Extra(isIpv6 ? 2 : 0, addresses), Receive(machine, net, front, frame).Extra);

        // What is not wanted is not there.
        Assert.Equal((Okay, 0u), front.Ask(SetFlags, isIpv6 ? 4u : 1u));
        Assert.Equal(Extra(isIpv6 ? 2 : 0, addresses), Receive(machine, net, front, Tcp(source, sourcePort, destination, destinationPort)).Extra);
        Assert.Equal((Okay, 0u), front.Ask(SetFlags, isIpv6 ? 1u : 4u));
        Assert.Empty(Receive(machine, net, front, Tcp(source, sourcePort, destination, destinationPort)).Extra);
        front.Close();
        machine.AssertLetGo();
    }

    [Fact]
    public void AHashComesBehindWhatIsSaidOfSegments()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { HasControl = true });
        Hash(front, 15);
        foreach (var payload in (int[])[100, 20_000])
        {
            var frame = Tcp("66.9.149.187", 2794, "161.142.100.80", 1766, payload);
            front.Queue.Offer(10);
            Assert.True(net.Bring(new NetFrame { NeedsChecksum = true, Segmentation = NetSegmentation.Tcp4, SegmentBytes = 1400, HeaderBytes = 54 }, frame));
            machine.Pump();
            var received = front.Queue.TryReceive()!;
            Assert.Equal(frame, received.Bytes);
            Assert.Equal([1, 1, 0x78, 5, 1, 0, 0, 0, .. Extra(1, 0x51ccc178)], received.Extra);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(128)]
    public void TheTableSaysWhichQueue(int entries)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 3, HasControl = true });
        Hash(front, 15);
        var table = new byte[entries * 4];
        var random = new Random(entries);
        for (var n = 0; n < entries; n++) table[n * 4] = (byte)random.Next(3);
        Assert.Equal((Okay, 0u), front.Ask(SetMappingSize, (uint)entries));

        // In two parts.
        var half = entries / 2;
        if (entries > 0)
        {
            Assert.Equal((Okay, 0u), front.Ask(SetMapping, table.AsSpan(0, half * 4), (uint)half));
            Assert.Equal((Okay, 0u), front.Ask(SetMapping, table.AsSpan(half * 4), (uint)(entries - half), (uint)half));
        }

        foreach (var queue in front.Queues) queue.Offer(200);
        for (var port = 1; port <= 100; port++)
        {
            var frame = Tcp("10.0.0.1", port, "10.0.0.2", 80);
            Assert.True(net.Bring(frame));
            machine.Pump();
            var at = front.Queues.FindIndex(queue => queue.Rx.Ready > 0);
            var received = front.Queues[at].TryReceive()!;
            Assert.Equal(frame, received.Bytes);
            var hash = BinaryPrimitives.ReadUInt32LittleEndian(received.Extra.AsSpan(4));
            Assert.Equal(entries == 0 ? (int)(hash % 3) : table[(int)(hash % (uint)entries) * 4], at);
        }

        // What has no hash goes where 0 leads.
        Assert.True(net.Bring(Frames.Plain(100)));
        machine.Pump();
        Assert.Empty(front.Queues[entries == 0 ? 0 : table[0]].TryReceive()!.Extra);
    }

    [Fact]
    public void WhatIsAskedForInTheWrongOrderOrTooMuch()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 2, HasControl = true });
        Assert.Equal((NotSupported, 0u), front.Ask(GetFlags));
        Assert.Equal((Invalid, 0u), front.Ask(SetFlags, 1));
        Assert.Equal((Invalid, 0u), front.Ask(SetAlgorithm, 2));
        Assert.Equal((Okay, 0u), front.Ask(SetAlgorithm, 1));
        Assert.Equal((Okay, 15u), front.Ask(GetFlags));
        Assert.Equal((Invalid, 0u), front.Ask(SetFlags, 16));
        Assert.Equal((Okay, 128u), front.Ask(GetMappingSize));
        Assert.Equal((Invalid, 0u), front.Ask(SetMappingSize, 129));
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, new byte[4], 1));
        Assert.Equal((Okay, 0u), front.Ask(SetMappingSize, 128));
        Assert.Equal((Overflow, 0u), front.Ask(SetMapping, new byte[4], 129));
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, new byte[4], 1, 128));
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, new byte[8], 2, 127));
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, new byte[8], 2, uint.MaxValue));
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, 99_999, 1));

        // No queue has number 2, and none of the table is taken over.
        Assert.Equal((Invalid, 0u), front.Ask(SetMapping, new byte[] { 1, 0, 0, 0, 2, 0, 0, 0 }, 2));
        Assert.Equal((Overflow, 0u), front.Ask(SetKey, s_key, 41));
        Assert.Equal((Invalid, 0u), front.Ask(SetKey, 99_999, 40));
        foreach (var type in (ushort[])[0, 8, 9, 10, 11, ushort.MaxValue]) Assert.Equal((NotSupported, 0u), front.Ask(type, 0, 1, 1));
        Hash(front, 15);
        var frame = Tcp("66.9.149.187", 2794, "161.142.100.80", 1766);
        front.Queue.Offer(4);
        Assert.True(net.Bring(frame));
        machine.Pump();
        Assert.Equal(Extra(1, 0x51ccc178), front.Queue.TryReceive()!.Extra);

        // A key of no bytes is zero; without an algorithm there is no hash.
        Assert.Equal((Okay, 0u), front.Ask(SetKey, 0, 0));
        Assert.True(net.Bring(frame));
        machine.Pump();
        Assert.Equal(Extra(1, 0), front.Queue.TryReceive()!.Extra);
        Assert.Equal((Okay, 0u), front.Ask(SetAlgorithm, 0));
        foreach (var queue in front.Queues) queue.Offer(4);
        Assert.True(net.Bring(frame));
        machine.Pump();
        Assert.Empty((front.Queue.TryReceive() ?? front.Queues[1].TryReceive())!.Extra);
    }

    [Fact]
    public void ADriverThatIsLoadedAgainBeginsWithoutAHash()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { HasControl = true });
        Hash(front, 15);
        front.Close();
        machine.AssertLetGo();
        front.SetState(1);
        Assert.True(front.Connect());
        Assert.Empty(Receive(machine, net, front, Tcp("1.2.3.4", 1, "5.6.7.8", 2)).Extra);
        Assert.Equal((NotSupported, 0u), front.Ask(GetFlags));
    }

    [Theory]
    [InlineData("event-channel-ctrl", null)]
    [InlineData("event-channel-ctrl", "999")]
    [InlineData("event-channel-ctrl", "0")]
    [InlineData("ctrl-ring-ref", "4000")]
    [InlineData("ctrl-ring-ref", "x")]
    [InlineData("rx-ring-ref", null)]
    public void AControlRingThatCannotBeTaken(string node, string? value)
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions { HasControl = true });
        machine.Pump();
        Assert.Equal("1", front.ReadBack("feature-ctrl-ring"));
        front.MakeQueues();
        front.WriteNodes();
        if (value is null) front.RemoveFront(node);
        else front.WriteFront(node, value);
        front.SetState(4);
        machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.Same(twin, net.Frontend);
        machine.AssertLetGo();
    }

    [Fact]
    public void AControlRingWithMoreThanItHoldsEndsTheConnection()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.Connect(new NetFrontOptions { HasControl = true });
        front.Control!.RequestProducer = 1000;
        machine.Xen.Events.Send(front.ControlPort);
        machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.Contains("control ring", machine.ErrorOf(0), StringComparison.Ordinal);
        Assert.Same(twin, net.Frontend);
        machine.AssertLetGo();
    }

    /// <summary>Anything in the ring, as fast as it goes.</summary>
    [Fact]
    public void NonsenseInTheControlRingIsAnswered()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = 4, HasControl = true });
        var random = new Random(4);
        var page = machine.Xen.Grants.Allocate();
        var grant = machine.Xen.Grants.Grant(page);
        Span<byte> response = stackalloc byte[12];
        foreach (var queue in front.Queues) queue.Offer(200);
        for (var round = 0; round < 500; round++)
        {
            if (round % 3 == 0) random.NextBytes(machine.Xen.Grants.Page(page));
            else machine.Xen.Grants.Page(page).Clear();
            var count = random.Next(1, front.Control!.Count);
            for (var n = 0; n < count; n++) front.PutControl((ushort)random.Next(0, 9), Number(random, grant), Number(random, grant), Number(random, grant));
            front.Control.Push();
            machine.Xen.Events.Send(front.ControlPort);
            net.Bring(Tcp("10.1.2.3", random.Next(65536), "10.3.2.1", 22));
            net.Drop();
            machine.Pump();
            Assert.Equal(count, front.Control.Ready);
            for (; count > 0; count--)
            {
                front.Control.Take(response);
                Assert.InRange(BinaryPrimitives.ReadUInt32LittleEndian(response[4..]), Okay, Overflow);
            }

            foreach (var queue in front.Queues)
            {
                for (var received = queue.TryReceive(); received is not null; received = queue.TryReceive()) queue.Offer(received.Pieces);
            }
        }

        Assert.Equal(4, front.BackState);
    }

    private static uint Number(Random random, uint grant) => random.Next(4) switch
    {
        0 => grant,
        1 => (uint)random.Next(0, 200),
        2 => (uint)random.Next(0, 4),
        _ => (uint)random.NextInt64(uint.MaxValue),
    };

    /// <summary>Chooses Toeplitz with the published key.</summary>
    private static void Hash(NetFront front, uint kinds)
    {
        Assert.Equal((Okay, 0u), front.Ask(SetAlgorithm, 1));
        Assert.Equal((Okay, 0u), front.Ask(SetKey, s_key, (uint)s_key.Length));
        Assert.Equal((Okay, 0u), front.Ask(SetFlags, kinds));
    }

    private static NetReceived Receive(NetMachine machine, FakeNet net, NetFront front, byte[] frame)
    {
        front.Queue.Offer(4);
        Assert.True(net.Bring(frame));
        machine.Pump();
        var received = front.Queue.TryReceive()!;
        Assert.Equal(frame, received.Bytes);
        return received;
    }

    private static byte[] Extra(int kind, uint hash) => [4, 0, (byte)kind, 1, (byte)hash, (byte)(hash >> 8), (byte)(hash >> 16), (byte)(hash >> 24)];

    private static byte[] Tcp(string source, int sourcePort, string destination, int destinationPort, int payload = 20)
    {
        var (from, to) = (IPAddress.Parse(source).GetAddressBytes(), IPAddress.Parse(destination).GetAddressBytes());
        var isIpv6 = from.Length == 16;
        var frame = Frames.Tcp(isIpv6, payload);
        var at = isIpv6 ? 22 : 26;
        from.CopyTo(frame, at);
        to.CopyTo(frame, at + from.Length);
        at += 2 * from.Length;
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at), (ushort)sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(at + 2), (ushort)destinationPort);
        return frame;
    }
}
