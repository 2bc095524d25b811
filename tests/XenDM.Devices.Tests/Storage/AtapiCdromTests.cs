using System;
using System.Buffers.Binary;

namespace XenDM.Devices.Tests.Storage;

public class AtapiCdromTests : IdeTestBase
{
    private const byte Locked = 0x53;

    public AtapiCdromTests()
    {
        // No unit attention after power on.
        Packet(0x00);
        Assert.Equal((0, 0), Sense());
    }

    [Fact]
    public void ResetShowsThePacketSignature()
    {
        Board.Out8(Secondary + 0x206, 4);
        Board.Out8(Secondary + 0x206, 0);
        Assert.Equal((0x14, 0xeb), (Board.In8(Secondary + 4), Board.In8(Secondary + 5)));
    }

    [Fact]
    public void AtaIdentifyIsAbortedWithTheSignature()
    {
        Board.Out8(Secondary + 7, 0xec);
        Assert.Equal(Err, TakeInterrupt(Secondary) & Err);
        Assert.Equal((0x14, 0xeb), (Board.In8(Secondary + 4), Board.In8(Secondary + 5)));
        Board.Out8(Secondary + 7, 0xa1);
        Assert.Equal(Drq, TakeInterrupt(Secondary) & Drq);
        Assert.Equal(0x85c0, BinaryPrimitives.ReadUInt16LittleEndian(ReadData(512, Secondary)));
        Assert.Equal(0, Status(Secondary) & Drq);
    }

    [Fact]
    public void InquiryIsCutToWhatIsAllowed()
    {
        var reply = Reply(36, 0x12, 0, 0, 0, 36);
        Assert.Equal(5, reply[0]);
        Assert.Equal("XenDM   DVD-ROM", System.Text.Encoding.ASCII.GetString(reply, 8, 15));
        Assert.Equal(5, Reply(5, 0x12, 0, 0, 0, 5).Length);
    }

    [Fact]
    public void ReadsComeInBlocksOfTheHostsLimit()
    {
        var data = Reply(4 * 2048, 0x28, 0, 0, 0, 0, 10, 0, 0, 4);
        Assert.Equal(Disc.Data[20480..28672], data);
    }

    [Fact]
    public void LongReadsRefillTheBuffer()
    {
        var data = Reply(100 * 2048, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 100);
        Assert.Equal(Disc.Data[..(100 * 2048)], data);
    }

    [Fact]
    public void ReadsByDmaGoToGuestPages()
    {
        SetTable(Secondary, (0x20000, 0x8000), (0x40000, 0x8000));
        Board.Out8(Secondary + 1, 1);
        SendPacket(0x28, 0, 0, 0, 0, 3, 0, 0, 32);
        StartBusMaster(Secondary, toMemory: true);
        Assert.Equal(Ready | Seek, TakeInterrupt(Secondary));
        Assert.Equal(4, BmStatus(Secondary) & 7);
        Assert.Equal(Disc.Data[6144..(6144 + 0x8000)], Board.Ram.Bytes.Slice(0x20000, 0x8000).ToArray());
        Assert.Equal(Disc.Data[(6144 + 0x8000)..(6144 + 0x10000)], Board.Ram.Bytes.Slice(0x40000, 0x8000).ToArray());
        Assert.Equal(3, Board.In8(Secondary + 2));
    }

    [Fact]
    public void RepliesByDmaToo()
    {
        SetTable(Secondary, (0x20000, 36));
        Board.Out8(Secondary + 1, 1);
        SendPacket(0x12, 0, 0, 0, 36);
        StartBusMaster(Secondary, toMemory: true);
        TakeInterrupt(Secondary);
        Assert.Equal(5, Board.Ram.Bytes[0x20000]);
    }

    [Theory]
    [InlineData(512u, 1)]
    [InlineData(511u, 2)]
    [InlineData(uint.MaxValue, 0xffff)]
    public void BehindTheEndOfTheDiscIsRefused(uint block, int count)
    {
        Packet(0x28, 0, (byte)(block >> 24), (byte)(block >> 16), (byte)(block >> 8), (byte)block, 0, (byte)(count >> 8), (byte)count);
        Assert.Equal((5, 0x21), Sense());
        Assert.Empty(Disc.Requests);
    }

    [Fact]
    public void CapacityAndTableOfContents()
    {
        Assert.Equal([0, 0, 1, 0xff, 0, 0, 8, 0], Reply(8, 0x25));
        var toc = Reply(20, 0x43, 0, 0, 0, 0, 0, 0, 0, 20);
        Assert.Equal((1, 0xaa, 512u), (toc[6], toc[14], BinaryPrimitives.ReadUInt32BigEndian(toc.AsSpan(16))));
        var msf = Reply(20, 0x43, 2, 0, 0, 0, 0, 0, 0, 20);
        Assert.Equal([0, 0, 2, 0], msf[8..12]);
    }

    [Fact]
    public void AHostErrorIsAMediumError()
    {
        Disc.Errors[0] = 5;
        Packet(0x28, 0, 0, 0, 0, 0, 0, 0, 1);
        WaitIdle(Secondary);
        Assert.Equal((3, 0x11), Sense());
        Assert.Equal("BLOCK_IO_ERROR ide-5632 read 5", Assert.Single(Board.Events));
    }

    [Fact]
    public void ChangingTheDiscIsSeenAsNoMediumThenAttention()
    {
        Tray.MediumChanged(null);
        Packet(0x00);
        Assert.Equal((2, 0x3a), Sense());
        var disc = new XenDM.Testing.FakeDisk(Board.Loop, 1 << 16, readOnly: true);
        Tray.MediumChanged(disc);
        var media = Reply(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
        Assert.Equal((2, 2), (media[4], media[5]));
        Packet(0x00);
        Assert.Equal((6, 0x28), Sense());
        Packet(0x00);
        Assert.Equal((0, 0), Sense());
        Assert.Equal([0, 0, 0, 31, 0, 0, 8, 0], Reply(8, 0x25));
        Assert.Equal(["DEVICE_TRAY_MOVED ide-5632 cd0 open", "DEVICE_TRAY_MOVED ide-5632 cd0 closed"], Board.Events);
    }

    [Fact]
    public void ALockedTrayStaysAndTheGuestHearsOfTheWish()
    {
        Packet(0x1e, 0, 0, 0, 1);
        Assert.True(Tray.IsTrayLocked);
        Packet(0x1b, 0, 0, 0, 2);
        Assert.Equal((5, Locked), Sense());
        Tray.EjectRequested();
        Assert.Equal(1, Reply(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8)[4]);
        Packet(0x1e);
        Packet(0x1b, 0, 0, 0, 2);
        Assert.True(Tray.IsTrayOpen);
        Packet(0x1b, 0, 0, 0, 3);
        Assert.False(Tray.IsTrayOpen);
    }

    [Fact]
    public void ModePagesAndConfigurationHaveTheirLengths()
    {
        var mode = Reply(30, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 96);
        Assert.Equal((28, 0x2a), (mode[1], mode[8]));
        var all = Reply(8 + 8 + 16 + 22, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 96);
        Assert.Equal(all.Length - 2, all[1]);
        var configuration = Reply(8, 0x46, 0, 0, 0, 0, 0, 0, 0, 8);
        Assert.Equal(8, configuration[7]);
    }

    [Theory]
    [InlineData(0xff)]
    [InlineData(0x2a)]
    [InlineData(0x04)]
    public void UnknownCommandsAreRefused(byte command)
    {
        Packet(command);
        Assert.Equal((5, 0x20), Sense());
    }

    [Fact]
    public void ByteLimitsOfZeroOneAndOddStillMoveEverything()
    {
        foreach (var limit in (int[])[0, 1, 3, 0xffff])
        {
            Board.Out8(Secondary + 4, limit);
            Board.Out8(Secondary + 5, limit >> 8);
            SendPacket(0x28, 0, 0, 0, 0, 0, 0, 0, 1);
            Assert.Equal(Disc.Data[..2048], Collect());
        }
    }

    private void SendPacket(params byte[] packet)
    {
        Board.Out8(Secondary + 6, 0xa0);
        Board.Out8(Secondary + 7, 0xa0);
        Assert.Equal(Drq, Status(Secondary) & Drq);
        Assert.Equal(1, Board.In8(Secondary + 2) & 3);
        var bytes = new byte[12];
        packet.CopyTo(bytes, 0);
        WriteData(bytes, Secondary);
    }

    private void Packet(params byte[] packet)
    {
        Board.Out8(Secondary + 1, 0);
        SendPacket(packet);
        WaitIdle(Secondary);
    }

    private byte[] Reply(int expected, params byte[] packet)
    {
        Board.Out8(Secondary + 1, 0);
        Board.Out8(Secondary + 4, 0x00);
        Board.Out8(Secondary + 5, 0x08);
        SendPacket(packet);
        var reply = Collect();
        Assert.Equal(expected, reply.Length);
        return reply;
    }

    private byte[] Collect()
    {
        using var all = new System.IO.MemoryStream();
        while ((TakeInterrupt(Secondary) & Drq) != 0)
        {
            Assert.Equal(2, Board.In8(Secondary + 2) & 3);
            var length = Board.In8(Secondary + 4) | (Board.In8(Secondary + 5) << 8);
            all.Write(ReadData((length + 1) & ~1, Secondary).AsSpan(0, length));
        }

        Assert.Equal(3, Board.In8(Secondary + 2) & 3);
        return all.ToArray();
    }

    private (int Key, int Code) Sense()
    {
        Board.In8(Secondary + 7);
        var sense = Reply(18, 0x03, 0, 0, 0, 18);
        return (sense[2], sense[12]);
    }
}
