using System;
using XenDM.Backends.Net;
using XenDM.Core.Backends;

namespace XenDM.Backends.Tests.Net;

public sealed class NetShareTests : IDisposable
{
    private readonly TestGuest _nic = new();
    private readonly TestGuest _pv = new();
    private readonly Cable _cable = new();
    private readonly NetShare _share;

    public NetShareTests()
    {
        _share = new NetShare(_cable, 2);
        _share.Ports[0].Attach(_nic);
        _share.Ports[1].Attach(_pv);
        _share.Ports[1].ReceiveOffloads = NetOffloads.Checksum | NetOffloads.Tcp4;
    }

    public void Dispose() => _cable.Dispose();

    /// <summary>A cable whose other end is the test.</summary>
    private sealed class Cable() : NetBackend("net0")
    {
        public bool IsFull { get; set; }

        public int Sent { get; private set; }

        public override string Description => "type=test";

        protected override bool HasRoom => !IsFull;

        public bool Bring(in NetFrame frame, byte[] bytes) => Deliver(frame, bytes);

        public void Empty()
        {
            IsFull = false;
            RoomAgain();
        }

        protected override bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes)
        {
            Sent++;
            return true;
        }

        protected override void OnReceiveReady()
        {
        }

        protected override void Close()
        {
        }
    }

    private static byte[] Frame(byte first) => [first, .. new byte[59]];

    [Fact]
    public void WhoSentLastGetsWhatIsForTheGuestAlone()
    {
        Assert.True(_cable.Bring(default, Frame(2)));
        Assert.Equal((1, 1), (_nic.Received.Count, _pv.Received.Count));
        _share.Ports[1].Send(default, Frame(2));
        Assert.Equal(NetOffloads.Checksum | NetOffloads.Tcp4, _cable.ReceiveOffloads);
        _cable.Bring(default, Frame(2));
        Assert.Equal((1, 2), (_nic.Received.Count, _pv.Received.Count));
        _cable.Bring(default, Frame(0xff));
        Assert.Equal((2, 3), (_nic.Received.Count, _pv.Received.Count));
        _share.Ports[0].Send(default, Frame(2));
        Assert.Equal(NetOffloads.None, _cable.ReceiveOffloads);
        _cable.Bring(default, Frame(2));
        Assert.Equal((3, 3), (_nic.Received.Count, _pv.Received.Count));
        Assert.Equal(2, _cable.Sent);
    }

    /// <summary>A NIC that nobody drives does not hold up the PV device; the PV device's own frames wait for it.</summary>
    [Fact]
    public void OnlyTheActiveOneIsWaitedFor()
    {
        _share.Ports[1].Send(default, Frame(2));
        _nic.Room = 0;
        Assert.True(_cable.Bring(default, Frame(0xff)));
        Assert.Single(_pv.Received);
        _pv.Room = 0;
        Assert.False(_cable.Bring(default, Frame(0xff)));
        Assert.Equal(1, _nic.Refused);
        _share.Ports[1].Attach(null);
        _nic.Room = 9;
        Assert.True(_cable.Bring(default, Frame(2)));
        Assert.Single(_nic.Received);
    }

    [Fact]
    public void WhatTheOthersDoNotTakeIsDoneForThem()
    {
        _share.Ports[1].Send(default, Frame(2));
        var frame = Frame(0xff);
        var blank = new NetFrame { NeedsChecksum = true, ChecksumStart = 20, ChecksumOffset = 4 };
        Assert.True(_cable.Bring(blank, frame));
        Assert.True(_pv.Received[0].Frame.NeedsChecksum);
        Assert.False(_nic.Received[0].Frame.NeedsChecksum);
        Assert.Equal(0xff, _nic.Received[0].Bytes[24]);
    }

    /// <summary>A frame that waits is not given undone to whoever takes over meanwhile.</summary>
    [Fact]
    public void AFrameThatWaitsFitsWhoGetsIt()
    {
        _share.Ports[1].Send(default, Frame(2));
        _pv.Room = 0;
        var blank = new NetFrame { NeedsChecksum = true, ChecksumStart = 20, ChecksumOffset = 4 };
        Assert.False(_cable.Bring(blank, Frame(2)));
        _share.Ports[0].Send(default, Frame(2));
        Assert.True(_cable.Bring(blank, Frame(2)));
        Assert.False(Assert.Single(_nic.Received).Frame.NeedsChecksum);
    }

    [Fact]
    public void RoomAndTheSwitchReachThoseWhoWait()
    {
        _cable.IsFull = true;
        Assert.False(_share.Ports[1].Send(default, Frame(2)));
        _cable.Empty();
        Assert.Equal((0, 1), (_nic.SendReadies, _pv.SendReadies));
        _cable.IsLinkUp = false;
        Assert.False(_share.Ports[0].IsLinkUp);
        Assert.Equal([false], _nic.Links);
        Assert.Equal([false], _pv.Links);
    }
}
