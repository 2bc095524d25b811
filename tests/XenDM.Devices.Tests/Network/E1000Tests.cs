using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Devices.Network;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Network;

public class E1000Tests : E1000TestBase
{
    private const byte End = 1, Fcs = 2, Ic = 4, Tse = 4, Rs = 8, Vle = 0x40, Ide = 0x80;

    [Fact]
    public void ShowsItsIdentifiersAndBars()
    {
        Assert.Equal(0x100e_8086u, Board.ConfigRead(4, 0, 0, 4));
        Assert.Equal(0x0200_0003u, Board.ConfigRead(4, 0, 8, 4));
        Assert.Equal(1u, Board.ConfigRead(4, 0, 0x3d, 1));
        Board.ConfigWrite(4, 0, 0x10, 4, uint.MaxValue);
        Board.ConfigWrite(4, 0, 0x14, 4, uint.MaxValue);
        Assert.Equal(0xfffe_0000u, Board.ConfigRead(4, 0, 0x10, 4));
        Assert.Equal(0xffff_ffc1u, Board.ConfigRead(4, 0, 0x14, 4));
        Assert.Equal(0u, Board.ConfigRead(4, 0, 0x30, 4));
    }

    [Fact]
    public void ShowsItsBootRom()
    {
        var image = new byte[3000];
        image[0] = 0x55;
        image[2999] = 0x77;
        var chip = new E1000("nic1", Packets.Mac, null, image, Board.Ram, Board.Clock);
        Board.Pci.Add(chip, 5, 0);
        Board.ConfigWrite(5, 0, 0x30, 4, uint.MaxValue);
        Assert.Equal(0xffff_f001u, Board.ConfigRead(5, 0, 0x30, 4));
        Board.ConfigWrite(5, 0, 0x30, 4, 0xf400_0001);
        Board.ConfigWrite(5, 0, 4, 2, 2);
        Assert.Equal(0x55ul, Board.Memory.Read(0xf400_0000, 1));
        Assert.Equal(0xff77ul, Board.Memory.Read(0xf400_0000 + 2999, 2));
    }

    [Fact]
    public void TheEepromHoldsTheAddressAndItsChecksum()
    {
        ushort sum = 0;
        for (var i = 0; i < 64; i++) sum += ReadEeprom(i);
        Assert.Equal(0xbaba, sum);
        Assert.Equal((0x1600, 0x123e, 0x5634), (ReadEeprom(0), ReadEeprom(1), ReadEeprom(2)));
        Assert.Equal(0u, Read(0x10) & 0x200);

        // The same by EERD.
        Write(0x14, (2 << 8) | 1);
        Assert.Equal(0x5634_0210u, Read(0x14));
        Assert.Equal(0x123e_1600u, Read(0x5400));
        Assert.Equal(0x8000_5634u, Read(0x5404));
    }

    [Fact]
    public void TheEepromTakesWritesWhenTheyAreEnabled()
    {
        WriteEeprom(7, 0x4321);
        Assert.NotEqual(0x4321, ReadEeprom(7));
        Frame(0b100_110000, 9);
        WriteEeprom(7, 0x4321);
        Assert.Equal(0x4321, ReadEeprom(7));
        Frame(0b100_000000, 9);
        WriteEeprom(7, 0x1111);
        Assert.Equal(0x4321, ReadEeprom(7));

        void WriteEeprom(int word, ushort value) => Frame(((0b101ul << 6 | (uint)word) << 16) | value, 25);

        void Frame(ulong bits, int count)
        {
            Write(0x10, 0x40);
            Write(0x10, 0x42);
            for (var i = count - 1; i >= 0; i--)
            {
                var bit = ((bits >> i) & 1) != 0 ? 4u : 0;
                Write(0x10, 0x42 | bit);
                Write(0x10, 0x43 | bit);
            }

            Write(0x10, 0x42);
            Write(0x10, 0x40);
        }
    }

    [Fact]
    public void ThePhyHasNegotiatedAndDoesItAgain()
    {
        Assert.Equal((0x0141, 0x0c20), (ReadPhy(2), ReadPhy(3)));
        ReadPhy(1);
        Assert.Equal(0x24, ReadPhy(1) & 0x24);
        Assert.Equal(0x8000, ReadPhy(17) & 0xc000);
        Assert.Equal(0x283u, Read(8) & 0x2c3);
        Start();
        WritePhy(0, 0x1340);
        Assert.Equal(0u, Read(8) & 2);
        Assert.Equal(0, ReadPhy(1) & 0x24);
        Assert.Equal(LinkCause, Read(Icr));
        Board.Advance(2_000_000);
        Assert.Equal(2u, Read(8) & 2);
        Assert.True(Irq);
        Assert.Equal(LinkCause, Read(Icr));
        Assert.Equal(0, ReadPhy(1) & 4);
        Assert.Equal(0x24, ReadPhy(1) & 0x24);

        // There is no PHY at another address.
        Write(0x20, (2u << 21) | (2u << 26) | (1 << 29));
        Assert.Equal(0x5000_0000u, Read(0x20) & 0x5000_0000);
        Assert.Equal(0x200u, Read(Icr));
    }

    [Fact]
    public void TheCableIsPulledAndPutBack()
    {
        Start();
        Net.IsLinkUp = false;
        Assert.True(Irq);
        Assert.Equal(LinkCause, Read(Icr));
        Assert.Equal(0u, Read(8) & 2);
        Assert.Empty(Bring(Packets.Raw(Packets.Mac, 100)).Bytes);
        Net.IsLinkUp = true;
        Assert.Equal(LinkCause, Read(Icr));
        Assert.NotEmpty(Bring(Packets.Raw(Packets.Mac, 100)).Bytes);
    }

    [Fact]
    public void SendsALegacyPacketOutOfTwoBuffers()
    {
        Start();
        var packet = Packets.Raw(Packets.Peer, 300);
        Legacy(packet.AsSpan(0, 100), Rs);
        Legacy(packet.AsSpan(100), End | Fcs | Rs);
        Doorbell();
        var (frame, bytes) = Assert.Single(Net.Sent);
        Assert.Equal(packet, bytes);
        Assert.False(frame.NeedsChecksum);
        Assert.Equal((1, 1), (TxStatus(0), TxStatus(1)));
        Assert.Equal(2u, Read(Tdh));
        Assert.True(Irq);
        Assert.Equal(TxCause | 2, Read(Icr));
        Assert.False(Irq);
        Assert.Equal((1u, 304u, 0u), (Read(0x4080), Read(0x4090), Read(0x4094)));
        Assert.Equal((0u, 0u), (Read(0x4080), Read(0x4090)));
    }

    [Fact]
    public void PadsShortFramesAndTakesTheDriversFcsOff()
    {
        Start();
        Legacy(Packets.Raw(Packets.Peer, 20), End | Fcs);
        Legacy(Packets.Raw(Packets.Peer, 104), End);
        Doorbell();
        Assert.Equal(60, Net.Sent[0].Bytes.Length);
        Assert.Equal(new byte[40], Net.Sent[0].Bytes[20..]);
        Assert.Equal(100, Net.Sent[1].Bytes.Length);
        Assert.Equal(0, TxStatus(0));
    }

    [Fact]
    public void InsertsAChecksumByALegacyDescriptor()
    {
        Start();
        var packet = Packets.Udp4(100, sums: false);
        Packets.Write16(packet, 24, (ushort)~Packets.Sum(packet.AsSpan(14, 20), 0));
        Packets.Write16(packet, 40, Packets.Pseudo4(packet.AsSpan(14), 17, 108));
        Legacy(packet, End | Fcs | Ic | Rs, cso: 40, css: 34);
        Doorbell();
        Assert.True(Packets.SumsAreRight(Net.Sent[0].Bytes));
        Assert.False(Net.Sent[0].Frame.NeedsChecksum);
    }

    [Fact]
    public void LeavesAChecksumToTheBackendWhereItStandsAsUsual()
    {
        Start();
        var packet = Packets.Tcp4(1000, sums: false);
        var pseudo = Packets.Pseudo4(packet.AsSpan(14), 6, 1020);
        Packets.Write16(packet, 50, pseudo);
        Context(14, 24, 33, 34, 50, 0);
        Data(packet, End | Fcs | Rs, options: 3);
        Doorbell();
        var (frame, bytes) = Net.Sent[0];
        Assert.True(frame.NeedsChecksum);
        Assert.Equal((34, 16, NetSegmentation.None), (frame.ChecksumStart, frame.ChecksumOffset, frame.Segmentation));
        Assert.Equal(pseudo, Packets.Read16(bytes, 50));
        Finish(frame, bytes);
        Assert.True(Packets.SumsAreRight(bytes));
    }

    [Theory]
    [InlineData(true, 0)]
    [InlineData(false, 1053)]
    public void ChecksumsThatStandElsewhereAreTheChips(bool tag, int end)
    {
        Start();
        Write(0, Read(0) | (1u << 30));
        var packet = Packets.Tcp4(1000, sums: false);
        Packets.Write16(packet, 50, Packets.Pseudo4(packet.AsSpan(14), 6, 1020));
        Context(14, 24, 33, 34, 50, end);
        Data(packet, (byte)(End | Fcs | Rs | (tag ? Vle : 0)), options: 3, special: 0x2005);
        Doorbell();
        var (frame, bytes) = Net.Sent[0];
        Assert.False(frame.NeedsChecksum);
        if (tag)
        {
            Assert.Equal((0x8100, 0x2005, 0x0800), (Packets.Read16(bytes, 12), Packets.Read16(bytes, 14), Packets.Read16(bytes, 16)));
            bytes = [.. bytes[..12], .. bytes[16..]];
        }

        Assert.Equal(packet.Length, bytes.Length);
        Assert.True(Packets.SumsAreRight(bytes));
    }

    [Theory]
    [InlineData(false, 0x18, 0)]
    [InlineData(true, 0x18, 0)]
    [InlineData(false, 0x19, 12)]
    public void LeavesSegmentsToTheBackend(bool ipv6, byte flags, int options)
    {
        Start();
        var packet = MakeTso(5000, ipv6, flags, options, out var header);
        Data(packet.AsSpan(0, header), Fcs | Tse, options: 3);
        Data(packet.AsSpan(header), End | Fcs | Tse | Rs, options: 3);
        Doorbell();
        var (frame, bytes) = Assert.Single(Net.Sent);
        Assert.Equal((ipv6 ? NetSegmentation.Tcp6 : NetSegmentation.Tcp4, 1448, header), (frame.Segmentation, frame.SegmentBytes, frame.HeaderBytes));
        Assert.True(frame.NeedsChecksum);
        Finish(frame, bytes);
        Assert.True(Packets.SumsAreRight(bytes));
        Assert.Equal(packet[header..], bytes[header..]);
        Assert.Equal((4u, 1u), (Read(0x4080), Read(0x40f8)));
    }

    [Theory]
    [InlineData(false, 0x98, 0, false)]
    [InlineData(true, 0x91, 0, false)]
    [InlineData(false, 0x19, 0, true)]
    [InlineData(true, 0x19, 0, true)]
    [InlineData(false, 0x99, 8, true)]
    public void CutsSegmentsWhichABackendWouldCutOtherwise(bool ipv6, byte flags, int options, bool tag)
    {
        Start();
        Write(0, Read(0) | (1u << 30));
        var packet = MakeTso(5000, ipv6, flags, options, out var header);
        Data(packet, (byte)(End | Fcs | Tse | Rs | (tag ? Vle : 0)), options: 3, special: 7);
        Doorbell();
        Assert.Equal(4, Net.Sent.Count);
        var at = header;
        for (var i = 0; i < 4; i++)
        {
            var bytes = Net.Sent[i].Bytes;
            Assert.Equal(NetSegmentation.None, Net.Sent[i].Frame.Segmentation);
            if (tag)
            {
                Assert.Equal(0x8100_0007u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(12)));
                bytes = [.. bytes[..12], .. bytes[16..]];
            }

            Assert.True(Packets.SumsAreRight(bytes), $"segment {i}");
            var tcp = bytes.AsSpan(ipv6 ? 54 : 34);
            Assert.Equal(BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(ipv6 ? 58 : 38)) + (uint)(at - header), BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]));
            Assert.Equal(i == 3 ? flags : flags & ~9, tcp[13]);
            if (!ipv6) Assert.Equal((ushort)(0xfffe + i), Packets.Read16(bytes, 18));
            var length = Math.Min(1448, packet.Length - at);
            Assert.Equal(packet.AsSpan(at, length), bytes.AsSpan(header));
            at += length;
        }

        Assert.Equal(packet.Length, at);
    }

    [Fact]
    public void ARefusedPacketIsSentWhenThereIsRoom()
    {
        Start();
        Write(0, Read(0) | (1u << 30));
        Net.Full = true;
        var packet = MakeTso(5000, ipv6: false, 0x98, 0, out var header);
        Data(packet, End | Fcs | Tse | Rs, options: 3);
        Legacy(Packets.Raw(Packets.Peer, 99), End | Fcs | Rs);
        Doorbell();
        Assert.Empty(Net.Sent);
        Assert.Equal((0, 1u), (TxStatus(1), Read(Tdh)));

        // The guest is moved while the packet waits.
        var (board, net, chip) = Make();
        using var saved = new System.IO.MemoryStream();
        StateWriter.Save([Chip], saved);
        Board.Ram.Bytes.CopyTo(board.Ram.Bytes);
        StateReader.Load([chip], saved.ToArray());
        board.Advance(1);
        Net.Full = false;
        foreach (var sent in (System.Collections.Generic.List<(NetFrame, byte[])>[])[Net.Sent, net.Sent])
        {
            Assert.Equal(5, sent.Count);
            for (var i = 0; i < 4; i++) Assert.True(Packets.SumsAreRight(sent[i].Item2));
            Assert.Equal(99, sent[4].Item2.Length);
        }

        Assert.Equal((1, 1, 3u), (TxStatus(1), TxStatus(2), Read(Tdh)));
        Assert.Equal(54, header);
    }

    [Fact]
    public void ARefusedPacketIsNotSummedTwice()
    {
        Start();
        Net.Full = true;
        var packet = Packets.Tcp4(500, sums: false);
        Packets.Write16(packet, 50, Packets.Pseudo4(packet.AsSpan(14), 6, 520));
        Context(14, 24, 33, 34, 50, 553);
        Data(packet, End | Fcs | Rs, options: 3);
        Doorbell();
        var (board, net, chip) = Make();
        using var saved = new System.IO.MemoryStream();
        StateWriter.Save([Chip], saved);
        Board.Ram.Bytes.CopyTo(board.Ram.Bytes);
        StateReader.Load([chip], saved.ToArray());
        board.Advance(1);
        Assert.True(Packets.SumsAreRight(Assert.Single(net.Sent).Bytes));
    }

    [Fact]
    public void InterruptsOfTransmissionAreDelayed()
    {
        Start();
        Write(0x3820, 8);
        Write(0x382c, 12);
        for (var i = 0; i < 3; i++)
        {
            Legacy(Packets.Raw(Packets.Peer, 100), End | Fcs | Rs | Ide);
            Doorbell();
            Board.Advance(5_000);
            Assert.Equal(i == 2, Irq);
        }

        Assert.Equal(3, Net.Sent.Count);
        Legacy(Packets.Raw(Packets.Peer, 100), End | Fcs | Rs | Ide);
        Read(Icr);
        Doorbell();
        Assert.False(Irq);
        Write(0x3820, 0x8000_0008);
        Assert.True(Irq);
    }

    [Fact]
    public void ReceivesWithItsChecksum()
    {
        Start();
        var frame = Packets.Raw(Packets.Mac, 333);
        var (bytes, status, errors, sum, _) = Bring(frame);
        Assert.Equal(frame, bytes[..333]);
        Assert.Equal(Packets.Crc(frame), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(333)));
        Assert.Equal((7, 0), (status, errors));
        Assert.Equal((ushort)~Packets.Sum(frame, 0), sum);
        Assert.True(Irq);
        Assert.Equal(RxCause, Read(Icr) & RxCause);
        Assert.Equal((1u, 337u), (Read(0x4074), Read(0x4088)));
        Start(RxOn | (1u << 26));
        Assert.Equal(frame, Bring(frame).Bytes);
        Assert.Equal(60, Bring(Packets.Raw(Packets.Mac, 42)).Bytes.Length);
    }

    [Theory]
    [InlineData(0u, 2048)]
    [InlineData(0x1_0000u, 1024)]
    [InlineData(0x3_0000u, 256)]
    [InlineData(0x203_0000u, 4096)]
    [InlineData(0x201_0000u, 16384)]
    public void SpreadsAFrameOverBuffers(uint size, int bufferBytes)
    {
        Start(RxOn | size | (1u << 26));
        var frame = Packets.Raw(Packets.Mac, 1500);
        Assert.True(Net.Bring(frame));
        Assert.Equal((uint)((1500 + bufferBytes - 1) / bufferBytes), Read(Rdh));
        Assert.Equal(frame, Take().Bytes);
    }

    [Fact]
    public void LongFramesNeedLongPacketEnable()
    {
        Start();
        Assert.Empty(Bring(Packets.Raw(Packets.Mac, 1519)).Bytes);
        Assert.Equal(1u, Read(0x40ac));
        Assert.Equal(1518, Bring(Packets.Raw(Packets.Mac, 1518)).Bytes.Length - 4);
        Start(RxOn | 0x20 | 0x202_0000 | (1u << 26));
        Assert.Equal(9014, Bring(Packets.Raw(Packets.Mac, 9014)).Bytes.Length);
    }

    [Fact]
    public void FiltersByAddress()
    {
        byte[] multicast = [0x01, 0x00, 0x5e, 0x12, 0x34, 0x56];
        byte[] broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        byte[] other = [0x00, 0x16, 0x3e, 0x12, 0x34, 0x57];
        Start();
        Assert.NotEmpty(Bring(Packets.Raw(broadcast, 60)).Bytes);
        Assert.Empty(Bring(Packets.Raw(other, 60)).Bytes);
        Assert.Empty(Bring(Packets.Raw(multicast, 60)).Bytes);

        // Bits 47:36 of the address are 563.
        Write(0x5200 + ((0x563 >> 5) * 4), 1u << (0x563 & 31));
        Assert.Equal(0x87, Bring(Packets.Raw(multicast, 60)).Status);
        multicast[5] = 0x66;
        Assert.Empty(Bring(Packets.Raw(multicast, 60)).Bytes);
        Write(0x5418, 0x123e_1600);
        Write(0x541c, 0x8000_5734);
        Assert.Equal(7, Bring(Packets.Raw(other, 60)).Status);
        Start(2);
        Assert.Empty(Bring(Packets.Raw(broadcast, 60)).Bytes);
        Start(2 | 8);
        Assert.NotEmpty(Bring(Packets.Raw([0, 1, 2, 3, 4, 5], 60)).Bytes);
        Start(2 | 0x10);
        Assert.NotEmpty(Bring(Packets.Raw(multicast, 60)).Bytes);
    }

    [Fact]
    public void FiltersAndStripsVlanTags()
    {
        Start(RxOn | (1 << 18) | (1 << 26));
        Write(0, Read(0) | (1u << 30));
        var frame = Packets.Raw(Packets.Mac, 200);
        Assert.Empty(Bring(Packets.Tagged(frame, 0x2123)).Bytes);
        Write(0x5600 + ((0x123 >> 5) * 4), 1u << (0x123 & 31));
        var (bytes, status, _, _, special) = Bring(Packets.Tagged(frame, 0x2123));
        Assert.Equal(frame, bytes);
        Assert.Equal((0xf, 0x2123), (status, special));
        Write(0, Read(0) & ~(1u << 30));
        Assert.Equal(Packets.Tagged(frame, 0x2123), Bring(Packets.Tagged(frame, 0x2123)).Bytes);
        Start();
        Write(0, Read(0) | (1u << 30));
        var tagged = Packets.Tagged(frame, 5);
        Assert.Equal(Packets.Crc(tagged), BinaryPrimitives.ReadUInt32LittleEndian(Bring(tagged).Bytes.AsSpan(200)));
    }

    [Fact]
    public void ChecksSums()
    {
        Start();
        Write(0x5000, 0x300);
        var frame = Packets.Tcp4(777, sums: true);
        Assert.Equal((0x63, 0), Checked(frame));
        frame[100] ^= 1;
        Assert.Equal((0x63, 0x20), Checked(frame));
        Net.Bring(frame, isValid: true);
        Assert.Equal(0, Take().Errors);
        frame[22] ^= 1;
        Assert.Equal(0x60, Checked(frame).Errors & 0x60);
        Assert.Equal((0x63, 0), Checked(Packets.Udp4(31, sums: true)));
        Assert.Equal((0x23, 0), Checked(Packets.Tcp6(200, sums: true)));
        var none = Packets.Udp4(31, sums: true);
        none[40] = none[41] = 0;
        Assert.Equal((0x47 & ~4, 0), Checked(none));
        Assert.Equal((7, 0), Checked(Packets.Raw(Packets.Mac, 90)));
        var fragment = Packets.Tcp4(100, sums: true);
        fragment[20] = 0x20;
        Assert.Equal(0x40, Checked(fragment).Status & 0x60);

        (int Status, int Errors) Checked(byte[] packet)
        {
            var (_, status, errors, _, _) = Bring(packet);
            return (status, errors);
        }
    }

    [Fact]
    public void FramesWaitWhileTheRingIsFull()
    {
        Start();
        for (var i = 0; i < 10; i++) Net.Bring(Packets.Raw(Packets.Mac, 100 + i));
        Assert.Equal(3, Net.Waiting);
        Assert.Equal(Read(Rdt), Read(Rdh));
        Assert.Equal(0x10u, Read(Icr) & 0x10);
        for (var i = 0; i < 10; i++) Assert.Equal(104 + i, Take().Bytes.Length);
        Assert.Equal(0, Net.Waiting);
        for (var i = 0; i < 10; i++) Net.Bring(Packets.Raw(Packets.Mac, 100));
        Write(Rctl, 0);
        Assert.Equal(0, Net.Waiting);
    }

    [Fact]
    public void InterruptsAreThrottled()
    {
        Start();
        Write(Itr, 400);
        Bring(Packets.Raw(Packets.Mac, 100));
        Assert.True(Irq);
        Read(Icr);
        Assert.False(Irq);
        Bring(Packets.Raw(Packets.Mac, 100));
        Board.Advance(50_000);
        Assert.False(Irq);
        Board.Advance(60_000);
        Assert.True(Irq);
        Read(Icr);
        Bring(Packets.Raw(Packets.Mac, 100));
        Assert.False(Irq);
        Write(Itr, 0);
        Assert.True(Irq);
    }

    [Fact]
    public void InterruptsOfReceptionAreDelayed()
    {
        Start();
        Write(0x2820, 10);
        Write(0x282c, 15);
        Bring(Packets.Raw(Packets.Mac, 100));
        Board.Advance(8_000);
        Bring(Packets.Raw(Packets.Mac, 100));
        Assert.False(Irq);
        Board.Advance(8_000);
        Assert.True(Irq);
    }

    [Fact]
    public void CausesAreSetMaskedAndCleared()
    {
        Start(mask: 0);
        for (var bit = 0; bit < 10; bit++)
        {
            var cause = 1u << bit;
            Write(Ics, cause);
            Assert.False(Irq);
            Write(Ims, cause);
            Assert.True(Irq);
            Assert.Equal(cause, Read(Ims));
            Write(Imc, cause);
            Assert.False(Irq);
            Write(Icr, cause);
            Assert.Equal(0u, Read(Icr));
        }
    }

    [Theory]
    [InlineData(0x28u, uint.MaxValue)]
    [InlineData(0x2cu, 0xffffu)]
    [InlineData(0x38u, 0xffffu)]
    [InlineData(0x2820u, 0xffffu)]
    [InlineData(0x2808u, 0xfff80u)]
    [InlineData(0x2168u, 0xfff8u)]
    [InlineData(0x410u, 0x3fff_ffffu)]
    [InlineData(0x3808u, 0xfff80u)]
    [InlineData(0x5404u, 0x8003_ffffu)]
    [InlineData(0x53fcu, uint.MaxValue)]
    [InlineData(0x57fcu, uint.MaxValue)]
    public void RegistersKeepWhatTheirBitsAllow(uint register, uint mask)
    {
        foreach (var pattern in (uint[])[0x5a5a5a5a, 0xa5a5a5a5, 0, 0xffffffff])
        {
            Write(register, pattern);
            Assert.Equal(pattern & mask, Read(register));
        }
    }

    [Fact]
    public void ThePortsLeadToTheRegisters()
    {
        Board.Out32(Ports, 0x5400);
        Assert.Equal(0x123e_1600u, Board.In32(Ports + 4));
        Board.Out32(Ports + 4, 0x1111_2222);
        Assert.Equal(0x1111_2222u, Read(0x5400));
        Board.Out32(Ports, 0xffff_ffff);
        Assert.Equal(0u, Board.In32(Ports + 4));
    }

    [Fact]
    public void LoopsBackByMacAndPhy()
    {
        Start(RxOn | 0x40 | (1 << 26));
        Legacy(Packets.Raw(Packets.Mac, 200), End | Fcs | Rs);
        Doorbell();
        Assert.Equal(200, Take().Bytes.Length);
        Start(RxOn | (1 << 26));
        WritePhy(0, 0x4140);
        for (var i = 0; i < 20; i++)
        {
            Legacy(Packets.Raw(Packets.Mac, 100), End | Fcs | Rs);
            Doorbell();
        }

        Assert.Equal(100, Take().Bytes.Length);
        Assert.Empty(Net.Sent);
        Assert.True(Net.Bring(Packets.Raw(Packets.Mac, 100)));
    }

    [Fact]
    public void CtrlRstBringsTheRegistersBack()
    {
        Start();
        Write(0x5400, 1);
        Bring(Packets.Raw(Packets.Mac, 100));
        Write(0, Read(0) | (1 << 26));
        Assert.False(Irq);
        Assert.Equal((0u, 0u, 0u, 0u, 0x123e_1600u), (Read(Rctl), Read(Tctl), Read(Ims), Read(Icr), Read(0x5400)));
        Assert.Equal(0u, Read(0) & (1 << 26));
        Assert.Equal(2u, Read(8) & 2);
    }

    [Fact]
    public void HostileRingsEnd()
    {
        Start();

        // A tail outside the ring, a ring without an end of packet, descriptors and buffers where no RAM is, too much for a packet.
        Write(Tdt, 0xffff);
        Write(Tdt, 0);
        Write(0x3808, 0xfff80);
        Board.Ram.Bytes.Slice(TxRing, 0x8000).Fill(0x20);
        Write(Tdt, 0xfff0);
        for (var i = 0; i < 20; i++) Board.Advance(100_000);
        Write(0x3800, 0xf000_0000);
        Write(Tdt, 5);
        for (var i = 0; i < 20; i++) Board.Advance(100_000);
        Assert.Equal(5u, Read(Tdh));
        Write(0x3800, (uint)Bar);
        Write(Tdt, 9);
        Write(0x2800, (uint)Bar);
        Net.Bring(Packets.Raw(Packets.Mac, 300));
        Write(0, Read(0) | (1 << 26));
        Start();
        for (var i = 0; i < 3; i++) Data(new byte[30000], i == 2 ? (byte)(End | Rs | Fcs) : (byte)0, 0);
        Doorbell();
        Assert.Empty(Net.Sent);
        Assert.Equal(1, TxStatus(2));
        Legacy(Packets.Raw(Packets.Peer, 64), End | Fcs | Rs);
        Doorbell();
        Assert.Single(Net.Sent);

        // Segments of one byte: not all in one doorbell.
        Context(14, 24, 33, 34, 50, 0, command: 7, payload: 60000, header: 254, segment: 1);
        Data(new byte[60000], End | Fcs | Tse | Rs, 3);
        Doorbell();
        Assert.InRange(Net.Sent.Count, 100, 10000);
        for (var i = 0; i < 100; i++) Board.Advance(100_000);
        Assert.Equal(1 + 60000 - 254, Net.Sent.Count);
        Assert.Equal(6u, Read(Tdh));
    }

    [Fact]
    public void WithoutBusMasteringNothingMoves()
    {
        Start();
        Board.ConfigWrite(4, 0, 4, 2, 3);
        Legacy(Packets.Raw(Packets.Peer, 64), End | Fcs | Rs);
        Doorbell();
        Assert.Empty(Net.Sent);
        Assert.Empty(Bring(Packets.Raw(Packets.Mac, 64)).Bytes);
        Board.ConfigWrite(4, 0, 4, 2, 7);
        Assert.Single(Net.Sent);
    }

    [Fact]
    public void UnpluggedItLetsTheCableGo()
    {
        Start();
        Write(Ics, 4);
        Board.Pci.Remove(Chip);
        Assert.False(Irq);
        Assert.False(Net.IsAttached);
        Chip.Reset(ResetKind.Warm);
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var (board, _, chip) = Make();
        return (board, chip);
    }, static (board, chip) =>
    {
        board.Memory.Write(Bar + 0x3800, 4, TxRing);
        board.Memory.Write(Bar + 0x3808, 4, 128);
        board.Memory.Write(Bar + Tctl, 4, 0xa);
        board.Ram.Bytes[TxRing + 8] = 33;
        board.Memory.Write(Bar + Tdt, 4, 1);
        board.Memory.Write(Bar + Rctl, 4, 0x8002);
        board.Memory.Write(Bar + Itr, 4, 99);
        board.Memory.Write(Bar + Ims, 4, 0x9d);
        board.Memory.Write(Bar + Ics, 4, 4);
        board.Memory.Write(Bar + 0x10, 4, 0x42);
        board.Memory.Write(Bar + 0x10, 4, 0x47);
        board.Memory.Write(Bar + 0x20, 4, 0x0420_1340);
        board.Out32(Ports, 0x5204);
        board.Out32(Ports + 4, 0x1234_5678);
    }, "e1000");

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void SurvivesNoise(int seed)
    {
        var bytes = new byte[2000];
        ChipFuzz.Run(Board, [Chip], 40_000, seed, random =>
        {
            // Mostly a working chip: rings in RAM that is full of noise, and doorbells.
            Board.ConfigWrite(4, 0, 0x10, 4, (uint)Bar);
            Board.ConfigWrite(4, 0, 0x14, 4, Ports);
            Board.ConfigWrite(4, 0, 0x04, 2, 7);
            random.NextBytes(Board.Ram.Bytes.Slice(random.Next(4) * 0x1000, 0x1000));
            if (random.Next(3) == 0) Start((uint)random.Next(), (uint)random.Next());
            Write(random.Next(2) == 0 ? Tdt : Rdt, (uint)random.Next(0, 12));
            Write((uint)random.Next(0x6000) & ~3u, (uint)random.NextInt64(1L << 32));
            Read((uint)random.Next(0x20000) & ~3u);
            random.NextBytes(bytes);
            if (random.Next(2) == 0) Packets.Mac.CopyTo(bytes, 0);
            Net.Bring(bytes.AsSpan(0, random.Next(14, bytes.Length)));
            Net.Full = random.Next(4) == 0;
            if (random.Next(8) == 0) Net.IsLinkUp = !Net.IsLinkUp;
            Net.Sent.Clear();
        });
    }

    /// <summary>A packet to cut as Linux hands it over, with its context in the ring.</summary>
    private byte[] MakeTso(int payload, bool ipv6, byte flags, int options, out int header)
    {
        byte[] packet;
        if (ipv6)
        {
            packet = Packets.Tcp6(payload, sums: false);
            packet[67] = flags;
            Packets.Write16(packet, 18, 0);
            Packets.Write16(packet, 70, Packets.Pseudo6(packet.AsSpan(14), 6, 0));
            header = 74;
            Context(14, 0, 0, 54, 70, 0, command: 5, payload: payload, header: header, segment: 1448);
            return packet;
        }

        packet = Packets.Tcp4(payload, sums: false, flags, options);
        Packets.Write16(packet, 16, 0);
        Packets.Write16(packet, 50, Packets.Pseudo4(packet.AsSpan(14), 6, 0));
        header = 54 + options;
        Context(14, 24, 33, 34, 50, 0, command: 7, payload: payload, header: header, segment: 1448);
        return packet;
    }

    /// <summary>Does what was left undone but for the cutting.</summary>
    private static void Finish(NetFrame frame, byte[] bytes) =>
        Packets.Write16(bytes, frame.ChecksumStart + frame.ChecksumOffset, (ushort)~Packets.Sum(bytes.AsSpan(frame.ChecksumStart), 0));
}
