using System;
using XenDM.Core.Backends;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Net;

/// <summary>PV NICs come and go.</summary>
public sealed class NetConnectTests
{
    [Theory]
    [InlineData(null, true)]
    [InlineData(null, false)]
    [InlineData(1, true)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(2, false)]
    [InlineData(4, true)]
    public void QueuesAndEventChannels(int? queues, bool isSplit)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { Queues = queues, IsSplit = isSplit });
        var count = queues ?? 1;
        Assert.Equal(count * 2, machine.Xen.Grants.Mapped);
        Assert.Equal(count * (isSplit ? 2 : 1), machine.Xen.Events.Bound);
        foreach (var queue in front.Queues)
        {
            Assert.Contains((queue.Tx.Reference, queue.TxPort), machine.Xen.Grants.Rings);
            Assert.Contains((queue.Rx.Reference, queue.RxPort), machine.Xen.Grants.Rings);
            queue.Offer(100);
            var sent = net.Sent.Count;
            queue.PutFrame(Frames.Plain(100, sent));
            queue.PushTx();
            machine.Pump();
            Assert.Equal(Frames.Plain(100, sent), net.Sent[sent].Bytes);
            Assert.Single(queue.TakeSent());
            Assert.NotEqual(0, machine.Xen.Events.Count(queue.TxPort));
        }

        for (ushort port = 1; port < 40; port++) Assert.True(net.Bring(Frames.Tcp(false, 10, port)));
        machine.Pump();
        foreach (var queue in front.Queues)
        {
            Assert.NotNull(queue.TryReceive());
            Assert.NotEqual(0, machine.Xen.Events.Count(queue.RxPort));
        }

        front.Close();
        machine.AssertLetGo();
    }

    [Fact]
    public void WhatIsOffered()
    {
        using var machine = new NetMachine();
        var (_, front, _) = machine.AddNic(new NetFrontOptions());
        machine.Pump();
        Assert.Equal(2, front.BackState);
        foreach (var name in (string[])["feature-rx-copy", "feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6", "feature-ipv6-csum-offload", "feature-split-event-channels", "feature-multicast-control", "feature-dynamic-multicast-control"]) Assert.Equal("1", front.ReadBack(name));
        Assert.Equal("4", front.ReadBack("multi-queue-max-queues"));
        Assert.Equal("connected", front.ReadBack("hotplug-status"));
    }

    [Theory]
    [InlineData(true, true, true, true, false, NetOffloads.Checksum | NetOffloads.Tcp4 | NetOffloads.Tcp6)]
    [InlineData(true, true, false, true, false, NetOffloads.Checksum | NetOffloads.Tcp4)]
    [InlineData(true, false, true, true, false, NetOffloads.Checksum | NetOffloads.Tcp6)]
    [InlineData(false, true, true, true, false, NetOffloads.Checksum)]
    [InlineData(true, true, true, false, false, NetOffloads.None)]
    [InlineData(true, true, true, true, true, NetOffloads.None)]
    public void TheNetIsToldWhatTheFrontEndTakesUndone(bool sg, bool gso4, bool gso6, bool blank6, bool noBlank, NetOffloads offloads)
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.Connect(new NetFrontOptions { TakesPieces = sg, TakesGso4 = gso4, TakesGso6 = gso6, TakesBlank6 = blank6, TakesNoBlank = noBlank });
        Assert.Equal(offloads, net.ReceiveOffloads);
        front.Close();
        Assert.Equal(NetOffloads.None, net.ReceiveOffloads);
    }

    [Fact]
    public void TheEmulatedTwinHasTheNetAtAllOtherTimes()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions());
        machine.Pump();
        Assert.Same(twin, net.Frontend);
        for (var round = 1; round <= 3; round++)
        {
            Assert.True(front.Connect());
            Assert.NotSame(twin, net.Frontend);
            front.Queue.Offer(4);
            Assert.True(net.Bring(Frames.Plain(100)));
            machine.Pump();
            Assert.NotNull(front.Queue.TryReceive());
            Assert.Equal(round - 1, twin.Received);
            front.Close();
            machine.AssertLetGo();
            Assert.Same(twin, net.Frontend);
            Assert.Equal(round, twin.Readied);
            net.Bring(Frames.Plain(100));
            Assert.Equal(round, twin.Received);

            // The driver is loaded again.
            front.SetState(1);
        }
    }

    [Fact]
    public void AGuestThatBeginsAnewWithoutAWord()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.Connect(new NetFrontOptions { Queues = 2 });
        for (var round = 0; round < 5; round++)
        {
            front.SetState(1);
            machine.Pump();
            Assert.Equal(2, front.BackState);
            Assert.Same(twin, net.Frontend);
            machine.AssertLetGo();
            front.EndQueues();
            Assert.True(front.Connect());
            NetSendTests.AssertWorks(machine, net, front);
        }
    }

    [Theory]
    [InlineData("tx-ring-ref", null)]
    [InlineData("tx-ring-ref", "4000")]
    [InlineData("rx-ring-ref", null)]
    [InlineData("rx-ring-ref", "x")]
    [InlineData("event-channel-tx", "999")]
    [InlineData("event-channel-rx", "999")]
    [InlineData("event-channel-rx", null)]
    [InlineData("event-channel-tx", "0")]
    [InlineData("multi-queue-num-queues", "0")]
    [InlineData("multi-queue-num-queues", "2")]
    [InlineData("multi-queue-num-queues", "5")]
    [InlineData("request-rx-copy", "0")]
    [InlineData("request-rx-copy", null)]
    public void AFrontEndThatCannotBeConnectedTakesNothingFromTheTwin(string node, string? value)
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions());
        machine.Pump();
        front.MakeQueues();
        front.WriteNodes();
        if (value is null) front.RemoveFront(node);
        else front.WriteFront(node, value);
        front.SetState(4);
        machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.StartsWith("22 ", machine.ErrorOf(0), StringComparison.Ordinal);
        Assert.Same(twin, net.Frontend);
        machine.AssertLetGo();
        front.SetState(6);
        machine.Pump();
        front.EndQueues();
        front.SetState(1);
        Assert.True(front.Connect());
        NetSendTests.AssertWorks(machine, net, front);
    }

    [Fact]
    public void TheSecondOfTwoQueuesCannotBeConnected()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions { Queues = 2 });
        machine.Pump();
        front.MakeQueues();
        front.WriteNodes();
        front.RemoveFront("queue-1/rx-ring-ref");

        // What the first one has to send already is sent.
        front.Queue.PutFrame(Frames.Plain(100));
        front.Queue.PushTx();
        front.SetState(4);
        machine.Pump();
        Assert.Equal(5, front.BackState);
        Assert.Same(twin, net.Frontend);
        machine.AssertLetGo();
    }

    [Fact]
    public void AFrameThatWasSentBeforeTheNetWasThere()
    {
        using var machine = new NetMachine();
        var (net, front, _) = machine.AddNic(new NetFrontOptions());
        net.Full = true;
        machine.Pump();
        front.MakeQueues();
        front.WriteNodes();
        front.Queue.PutFrame(Frames.Plain(100));
        front.Queue.PushTx();
        front.SetState(4);
        machine.Pump();
        Assert.Equal(4, front.BackState);
        Assert.Empty(net.Sent);
        net.Full = false;
        machine.Pump();
        Assert.Single(net.Sent);
    }

    [Fact]
    public void ATwinThatIsUnpluggedMeanwhileHasNoNetAfterwards()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.Connect(new NetFrontOptions());
        net.Detach(twin);
        Assert.NotNull(net.Frontend);
        NetSendTests.AssertWorks(machine, net, front);
        front.Close();
        Assert.Null(net.Frontend);
        Assert.Equal(0, twin.Readied);
    }

    [Fact]
    public void ATwinThatIsThereAgainHasTheNetAfterwards()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions());
        net.Detach(twin);
        Assert.True(front.Connect());
        net.Attach(twin);
        Assert.NotSame(twin, net.Frontend);
        NetSendTests.AssertWorks(machine, net, front);
        front.Close();
        Assert.Same(twin, net.Frontend);
    }

    [Fact]
    public void TheCable()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.AddNic(new NetFrontOptions());
        machine.Pump();
        Assert.Equal("1", front.ReadBack("carrier"));
        net.IsLinkUp = false;
        Assert.True(front.Connect());
        Assert.Equal("0", front.ReadBack("carrier"));
        net.IsLinkUp = true;
        machine.Pump();
        Assert.Equal("1", front.ReadBack("carrier"));
        net.IsLinkUp = false;
        machine.Pump();
        Assert.Equal("0", front.ReadBack("carrier"));

        // It is told when it has the net again.
        Assert.Equal(1, twin.LinkChanges);
        front.Close();
        Assert.Equal(2, twin.LinkChanges);
    }

    [Fact]
    public void TheToolstackTakesANicAway()
    {
        using var machine = new NetMachine();
        var (net, front, twin) = machine.Connect(new NetFrontOptions());
        front.WriteBack("online", "0");
        front.WriteBack("state", "5");
        machine.Pump();
        front.Close();
        Assert.Equal(6, front.BackState);
        Assert.Same(twin, net.Frontend);
        Assert.Empty(machine.Bus.Devices);
        machine.AssertLetGo();
    }
}
