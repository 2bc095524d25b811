using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.State;
using XenDM.Devices.Network;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Network;

/// <summary>The chip as Linux's 8139too (C mode) and 8139cp (C+ mode) drive it.</summary>
public class Rtl8139Tests
{
    private const ushort P = 0xc100;
    private const int Ring = 0x1_0000, TxBuffers = 0x4_0000;
    private const int TxRing = 0x2000, RxRing = 0x3000, HighRing = 0x4000, RxBuffers = 0x8_0000;
    private const uint Own = 1u << 31, Eor = 1 << 30, Fs = 1 << 29, Ls = 1 << 28, Lgsen = 1 << 27;
    private const int RingLength = 8;

    private readonly TestBoard _board;
    private readonly FakeNet _net;
    private readonly Rtl8139 _chip;
    private int _read;
    private int _tx;

    public Rtl8139Tests() => (_board, _net, _chip) = Make(true);

    private static (TestBoard Board, FakeNet Net, Rtl8139 Chip) Make(bool isPlus)
    {
        var board = new TestBoard(2 << 20);
        var net = new FakeNet();
        var chip = new Rtl8139("nic0", Packets.Mac, net, [], board.Ram, board.Clock, isPlus);
        board.Pci.Add(chip, 4, 0);
        chip.Reset(ResetKind.Cold);
        board.ConfigWrite(4, 0, 0x10, 4, P);
        board.ConfigWrite(4, 0, 0x14, 4, 0xf200_0000);
        board.ConfigWrite(4, 0, 0x04, 2, 7);
        return (board, net, chip);
    }

    private bool Irq => _board.Hypervisor.Intx[4 * 4];

    [Fact]
    public void ShowsItsIdentifiersAndBars()
    {
        Assert.Equal(0x8139_10ecu, _board.ConfigRead(4, 0, 0, 4));
        Assert.Equal(0x0200_0020u, _board.ConfigRead(4, 0, 8, 4));
        _board.ConfigWrite(4, 0, 0x10, 4, uint.MaxValue);
        Assert.Equal(0xffff_ff01u, _board.ConfigRead(4, 0, 0x10, 4));
        _board.ConfigWrite(4, 0, 0x14, 4, uint.MaxValue);
        Assert.Equal(0xffff_ff00u, _board.ConfigRead(4, 0, 0x14, 4));
        _board.ConfigWrite(4, 0, 0x14, 4, 0xf200_0000);
        Assert.Equal(0x123e_1600ul, _board.Memory.Read(0xf200_0000, 4));
        Assert.Equal(0x7480_0000ul, _board.Memory.Read(0xf200_0040, 4) & 0x7cc0_0000);
        var (board, _, _) = Make(isPlus: false);
        Assert.Equal(0x0200_0010u, board.ConfigRead(4, 0, 8, 4));
        Assert.Equal(0x7400_0000u, board.In32(P + 0x40) & 0x7cc0_0000);
        board.Out16(P + 0xe0, 3);
        Assert.Equal(0, board.In16(P + 0xe0));
    }

    [Fact]
    public void TheEepromIsReadAsDriversReadIt()
    {
        // Eight bits of address on a part with six tell its size.
        Assert.NotEqual(0x8129, ReadEeprom(0, 8));
        Assert.Equal(0x8129, ReadEeprom(0, 6));
        Assert.Equal((0x1600, 0x123e, 0x5634), (ReadEeprom(7, 6), ReadEeprom(8, 6), ReadEeprom(9, 6)));
        Assert.Equal((0x10ec, 0x8139), (ReadEeprom(1, 6), ReadEeprom(2, 6)));
    }

    [Fact]
    public void ConfigurationIsLocked()
    {
        _board.Out8(P + 0x52, 0x31);
        _board.Out32(P, 0x44332211);
        _board.Out16(P + 0x62, 0);
        Assert.Equal((0x0c, 0x123e_1600u, 0x3100), (_board.In8(P + 0x52), _board.In32(P), _board.In16(P + 0x62)));
        _board.Out8(P + 0x50, 0xc0);
        _board.Out8(P + 0x52, 0x31);
        _board.Out8(P + 0x59, 0xff);
        _board.Out32(P, 0x44332211);
        _board.Out8(P + 4, 0x55);
        _board.Out16(P + 0x62, 0);
        Assert.Equal((0x3d, 0x71, 0x44332211u, 0x5655, 0), (_board.In8(P + 0x52), _board.In8(P + 0x59), _board.In32(P), _board.In16(P + 4), _board.In16(P + 0x62)));
        _board.Out8(P + 0x50, 0);
        _board.Out8(P + 0x37, 0x10);
        Assert.Equal((0, 0x44332211u), (_board.In8(P + 0x37) & 0x10, _board.In32(P)));

        // Auto-load brings the address back.
        _board.Out8(P + 0x50, 0x40);
        Assert.Equal((0, 0x123e_1600u), (_board.In8(P + 0x50) & 0xc0, _board.In32(P)));
    }

    [Fact]
    public void TheLinkIsUpUntilTheCableIsPulled()
    {
        Assert.Equal((0, 0x24, 0x45e1), (_board.In8(P + 0x58) & 4, _board.In16(P + 0x64) & 0x24, _board.In16(P + 0x68)));
        _board.Out16(P + 0x3c, 0x20);
        _net.IsLinkUp = false;
        Assert.True(Irq);
        Assert.Equal((0x20, 4, 0), (_board.In16(P + 0x3e), _board.In8(P + 0x58) & 4, _board.In16(P + 0x64) & 4));
        _board.Out16(P + 0x3e, 0x20);
        Assert.False(Irq);
        _net.IsLinkUp = true;
        Assert.True(Irq);
    }

    [Fact]
    public void SendsFromItsFourDescriptors()
    {
        StartOld();
        for (var i = 0; i < 6; i++)
        {
            var frame = Packets.Raw(Packets.Peer, 100 + i);
            frame.CopyTo(_board.Ram.Bytes[(TxBuffers + (i % 4 * 0x800))..]);
            _board.Out32((ushort)(P + 0x10 + (i % 4 * 4)), (uint)frame.Length | (8 << 16));
            Assert.Equal(frame, _net.Sent[i].Bytes);
            Assert.Equal(0xa000u | (uint)frame.Length | (8 << 16), _board.In32((ushort)(P + 0x10 + (i % 4 * 4))));
            Assert.True(Irq);
            _board.Out16(P + 0x3e, 4);
            Assert.False(Irq);
        }

        Assert.Equal(0xf00f, _board.In16(P + 0x60));

        // A wire that is full: descriptors stay the chip's, and are sent in order.
        _net.Full = true;
        for (var i = 2; i < 5; i++) _board.Out32((ushort)(P + 0x10 + (i % 4 * 4)), (uint)(60 + i));
        Assert.Equal(6, _net.Sent.Count);
        Assert.Equal(0u, _board.In32(P + 0x18) & 0x2000);
        _net.Full = false;
        Assert.Equal(new[] { 62, 63, 64 }, Array.ConvertAll(_net.Sent.GetRange(6, 3).ToArray(), static s => s.Bytes.Length));
    }

    [Fact]
    public void ReceivesIntoItsRing()
    {
        StartOld();
        Assert.Equal(1, _board.In8(P + 0x37) & 1);
        for (var i = 0; i < 40; i++)
        {
            var frame = Packets.Raw(Packets.Mac, 60 + (i * 37), (byte)i);
            Assert.True(_net.Bring(frame));
            Assert.True(Irq);
            _board.Out16(P + 0x3e, 1);
            Assert.Equal(0, _board.In8(P + 0x37) & 1);
            var (status, bytes) = ReadOld(wraps: false);
            Assert.Equal(0x4001, status);
            Assert.Equal(frame, bytes[..^4]);
            Assert.Equal(Packets.Crc(frame), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(frame.Length)));
            Assert.Equal(1, _board.In8(P + 0x37) & 1);
        }
    }

    [Fact]
    public void WithoutWrapAFrameGoesOnAtTheStart()
    {
        StartOld(0xe);
        for (var i = 0; i < 20; i++)
        {
            var frame = Packets.Raw(Packets.Mac, 1400, (byte)i);
            _net.Bring(frame);
            Assert.Equal(frame, ReadOld(wraps: true).Bytes[..^4]);
        }

        Assert.Equal(new byte[64], _board.Ram.Bytes.Slice(Ring + 8192, 64).ToArray());
    }

    [Fact]
    public void FramesWaitWhileTheRingIsFull()
    {
        StartOld();
        for (var i = 0; i < 10; i++) _net.Bring(Packets.Raw(Packets.Mac, 1400, (byte)i));
        Assert.Equal(5, _net.Waiting);
        for (var i = 0; i < 10; i++) Assert.Equal(Packets.Raw(Packets.Mac, 1400, (byte)i), ReadOld(wraps: false).Bytes[..^4]);
        Assert.Equal(0, _net.Waiting);
        for (var i = 0; i < 10; i++) _net.Bring(Packets.Raw(Packets.Mac, 1400));
        _board.Out8(P + 0x37, 4);
        Assert.Equal(0, _net.Waiting);
    }

    /// <summary>8139too leaves its loop after some frames with all interrupts acknowledged.</summary>
    [Fact]
    public void ADriverThatLostSightOfTheRingIsToldAgain()
    {
        StartOld();
        for (var i = 0; i < 10; i++) _net.Bring(Packets.Raw(Packets.Mac, 1400, (byte)i));
        ReadOld(wraps: false);
        _board.Out16(P + 0x3e, 0xffff);
        Assert.False(Irq);
        _board.Advance(1_100_000);
        Assert.True(Irq);

        // One that never comes back misses frames.
        _board.Advance(2_000_000_000);
        Assert.Equal(0, _net.Waiting);
        Assert.Equal((0x11, 4u), (_board.In16(P + 0x3e) & 0x11, _board.In32(P + 0x4c)));
    }

    [Fact]
    public void FiltersByAddress()
    {
        byte[] multicast = [0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb];
        byte[] broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        StartOld(0x80);
        Assert.False(Taken(Packets.Mac) || Taken(broadcast) || Taken(multicast) || Taken(Packets.Peer));
        StartOld(0x82);
        Assert.True(Taken(Packets.Mac));
        Assert.False(Taken(broadcast) || Taken(Packets.Peer));
        StartOld(0x88);
        Assert.True(Taken(broadcast));
        StartOld(0x81);
        Assert.True(Taken(Packets.Peer));
        StartOld(0x84);
        Assert.False(Taken(multicast));

        // The driver's own sum: the CRC with the first bit at the top.
        var crc = uint.MaxValue;
        foreach (var one in multicast)
            for (var bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (((crc >> 31) ^ ((uint)one >> bit & 1)) != 0 ? 0x04c11db7u : 0);
        var index = (int)(crc >> 26);
        _board.Out32((ushort)(P + 8 + (index / 32 * 4)), 1u << (index & 31));
        Assert.True(Taken(multicast));
        multicast[5] ^= 1;
        Assert.False(Taken(multicast));

        bool Taken(byte[] to)
        {
            _board.Out16(P + 0x3e, 0xffff);
            _net.Bring(Packets.Raw(to, 70));
            return (_board.In16(P + 0x3e) & 1) != 0;
        }
    }

    [Fact]
    public void SendsFromARingInPlusMode()
    {
        StartPlus();
        var frame = Packets.Raw(Packets.Peer, 500);
        Put(frame.AsSpan(0, 200), Fs);
        Put(frame.AsSpan(200), Ls);
        _board.Out8(P + 0xd9, 0x40);
        Assert.Equal(frame, Assert.Single(_net.Sent).Bytes);
        Assert.Equal((0u, 0u), (Options(TxRing) & Own, Options(TxRing + 16) & Own));
        Assert.Equal(0x84, _board.In16(P + 0x3e));
        Assert.True(Irq);
        for (var i = 0; i < 30; i++)
        {
            Put(Packets.Raw(Packets.Peer, 60 + i), Fs | Ls);
            _board.Out8(P + 0xd9, 0x40);
        }

        Assert.Equal(31, _net.Sent.Count);

        // The high priority ring goes first.
        Put(Packets.Raw(Packets.Peer, 777), Fs | Ls);
        WriteDescriptor(HighRing, 0x1234, TxBuffers, Own | Eor | Fs | Ls | 888, 0);
        _board.Out8(P + 0xd9, 0xc0);
        Assert.Equal((888, 777), (_net.Sent[31].Bytes.Length, _net.Sent[32].Bytes.Length));
    }

    [Theory]
    [InlineData(0x50000u, false)]
    [InlineData(0x50000u, true)]
    [InlineData(0x60000u, false)]
    [InlineData(0x60000u, true)]
    public void FillsSumsIn(uint flags, bool tag)
    {
        StartPlus();
        var frame = flags == 0x50000 ? Packets.Tcp4(700, sums: false) : Packets.Udp4(33, sums: false);
        Put(frame, Fs | Ls | flags, tag ? 0x0520u | (1 << 17) : 0);
        _board.Out8(P + 0xd9, 0x40);
        var (undone, bytes) = Assert.Single(_net.Sent);
        Assert.Equal(!tag, undone.NeedsChecksum);
        if (tag)
        {
            Assert.Equal(0x8100_2005u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(12)));
            bytes = [.. bytes[..12], .. bytes[16..]];
        }
        else
        {
            Packets.Write16(bytes, undone.ChecksumStart + undone.ChecksumOffset, (ushort)~Packets.Sum(bytes.AsSpan(undone.ChecksumStart), 0));
        }

        Assert.True(Packets.SumsAreRight(bytes));
    }

    [Fact]
    public void LeavesALargeSendToTheBackend()
    {
        StartPlus();
        var frame = Packets.Tcp4(6000, sums: false, options: 12);
        Put(frame.AsSpan(0, 66), Fs | Lgsen | (1448u << 16));
        Put(frame.AsSpan(66), Ls | Lgsen | (1448u << 16));
        _board.Out8(P + 0xd9, 0x40);
        var (undone, bytes) = Assert.Single(_net.Sent);
        Assert.Equal((NetSegmentation.Tcp4, 1448, 66, 34), (undone.Segmentation, undone.SegmentBytes, undone.HeaderBytes, undone.ChecksumStart));
        Packets.Write16(bytes, 50, (ushort)~Packets.Sum(bytes.AsSpan(34), 0));
        Assert.True(Packets.SumsAreRight(bytes));
    }

    [Fact]
    public void CutsALargeSendThatABackendWouldCutOtherwise()
    {
        StartPlus();
        var frame = Packets.Tcp4(6000, sums: false, flags: 0x99);
        Put(frame, Fs | Ls | Lgsen | (1448u << 16), 0x0700 | (1 << 17));
        _net.Full = true;
        _board.Out8(P + 0xd9, 0x40);
        Assert.NotEqual(0u, Options(TxRing) & Own);
        _net.Full = false;
        Assert.Equal(5, _net.Sent.Count);
        var at = 54;
        for (var i = 0; i < 5; i++)
        {
            var bytes = _net.Sent[i].Bytes;
            Assert.Equal(0x8100_0007u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(12)));
            bytes = [.. bytes[..12], .. bytes[16..]];
            Assert.True(Packets.SumsAreRight(bytes), $"segment {i}");
            Assert.Equal(0xffff_f000u + (uint)(at - 54), BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(38)));
            Assert.Equal(i == 4 ? 0x99 : 0x90, bytes[47]);
            Assert.Equal(frame.AsSpan(at, bytes.Length - 54), bytes.AsSpan(54));
            at += bytes.Length - 54;
        }

        Assert.Equal(frame.Length, at);
        Assert.Equal(0u, Options(TxRing) & Own);
    }

    [Fact]
    public void ReceivesIntoDescriptorsInPlusMode()
    {
        StartPlus();
        for (var i = 0; i < 20; i++)
        {
            var frame = Packets.Raw(Packets.Mac, 40 + (i * 70), (byte)i);
            Assert.True(_net.Bring(frame));
            var (options, _, bytes) = TakePlus();
            Assert.Equal(Fs | Ls | (1u << 25), options & 0xffff_e000 & ~Eor);
            Assert.Equal(frame, bytes[..frame.Length]);
            Assert.Equal(Math.Max(60, frame.Length) + 4, bytes.Length);
            Assert.Equal(Packets.Crc(bytes.AsSpan(0, bytes.Length - 4)), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(bytes.Length - 4)));
        }
    }

    [Fact]
    public void ChecksSumsAndStripsTags()
    {
        StartPlus(cpcr: 0x63);
        var tcp = Packets.Tcp4(100, sums: true);
        Assert.Equal(0x1_0000u, Bring(tcp) & 0x3_e000);
        tcp[80] ^= 1;
        Assert.Equal(0x1_2000u, Bring(tcp) & 0x3_e000);
        Assert.Equal(0x2_0000u, Bring(Packets.Udp4(100, sums: true)) & 0x3_e000);
        tcp = Packets.Tcp4(100, sums: true);
        tcp[22] ^= 1;
        Assert.Equal(0x8000u, Bring(tcp) & 0x8000);
        Assert.Equal(0u, Bring(Packets.Raw(Packets.Mac, 100)) & 0x3_e000);
        tcp = Packets.Tcp4(100, sums: true);
        _net.Bring(Packets.Tagged(tcp, 0x2005));
        var (options, tag, bytes) = TakePlus();
        Assert.Equal((0x1_0000u, 0x1_0520u), (options & 0x3_e000, tag));
        Assert.Equal(tcp, bytes[..^4]);

        uint Bring(byte[] frame)
        {
            _net.Bring(frame);
            return TakePlus().Options;
        }
    }

    [Fact]
    public void SpreadsAFrameOverDescriptors()
    {
        StartPlus(bufferBytes: 512);
        var frame = Packets.Raw(Packets.Mac, 1400);
        _net.Bring(frame);
        Assert.Equal(Fs | 512, Options(RxRing));
        Assert.Equal(512u, Options(RxRing + 16));
        Assert.Equal(Ls | (1u << 25) | 1404, Options(RxRing + 32));
        Assert.NotEqual(0u, Options(RxRing + 48) & Own);
    }

    [Fact]
    public void FramesWaitForDescriptorsAndThenAreMissed()
    {
        StartPlus();
        for (var i = 0; i < 12; i++) _net.Bring(Packets.Raw(Packets.Mac, 100 + i));
        Assert.Equal(4, _net.Waiting);
        Assert.Equal(0x11, _board.In16(P + 0x3e) & 0x11);

        // The driver takes them out, and tells by enabling its interrupts again.
        for (var i = 0; i < 8; i++) Assert.Equal(104 + i, TakePlus().Bytes.Length);
        _board.Out16(P + 0x3c, 0x80ff);
        Assert.Equal(0, _net.Waiting);
        for (var i = 0; i < 12; i++) _net.Bring(Packets.Raw(Packets.Mac, 100 + i));
        Assert.Equal(8, _net.Waiting);

        // One that does not tell is looked at by time.
        for (var i = 0; i < 8; i++) TakePlus();
        _board.Advance(1_100_000);
        Assert.Equal(0, _net.Waiting);
        for (var i = 0; i < 3; i++) _net.Bring(Packets.Raw(Packets.Mac, 100));
        _board.Advance(2_000_000_000);
        Assert.Equal(0, _net.Waiting);
        Assert.InRange(_board.In32(P + 0x4c), 1u, 3u);
        _board.Out32(P + 0x4c, 5);
        Assert.Equal(0u, _board.In32(P + 0x4c));
        TakePlus();
        Assert.True(_net.Bring(Packets.Raw(Packets.Mac, 100)));
    }

    [Fact]
    public void DumpsItsTallyCounters()
    {
        StartPlus();
        Put(Packets.Raw(Packets.Peer, 100), Fs | Ls);
        _board.Out8(P + 0xd9, 0x40);
        _net.Bring(Packets.Raw(Packets.Mac, 100));
        _net.Bring(Packets.Raw([255, 255, 255, 255, 255, 255], 100));
        _board.Out32(P + 0x14, 0);
        _board.Out32(P + 0x10, 0x5000 | 8);
        Assert.Equal(0x5000u, _board.In32(P + 0x10));
        var tally = _board.Ram.Bytes.Slice(0x5000, 64);
        Assert.Equal((1ul, 2ul, 1ul, 1ul), (U64(tally), U64(tally[8..]), U64(tally[40..]), U64(tally[48..])));

        static ulong U64(ReadOnlySpan<byte> at) => BinaryPrimitives.ReadUInt64LittleEndian(at);
    }

    [Fact]
    public void TheTimerCountsAndInterrupts()
    {
        _board.Out16(P + 0x3c, 0x4000);
        _board.Out32(P + 0x48, 0);
        _board.Out32(P + 0x54, 33_000);
        _board.Advance(500_000);
        Assert.Equal(16_500u, _board.In32(P + 0x48));
        Assert.False(Irq);
        _board.Advance(501_000);
        Assert.True(Irq);
        _board.Out16(P + 0x3e, 0x4000);
        _board.Advance(10_000_000);
        Assert.False(Irq);
        _board.Out32(P + 0x48, 0);
        _board.Advance(1_001_000);
        Assert.True(Irq);
        _board.Out8(P + 0xd9, 1);
        Assert.Equal(0x4100, _board.In16(P + 0x3e));
    }

    [Fact]
    public void LoopsBack()
    {
        StartOld();
        _board.Out32(P + 0x40, 0x60000);
        var frame = Packets.Raw(Packets.Mac, 100);
        frame.CopyTo(_board.Ram.Bytes[TxBuffers..]);
        _board.Out32(P + 0x10, 100);
        Assert.Equal(frame, ReadOld(wraps: false).Bytes[..^4]);
        for (var i = 1; i < 300; i++) _board.Out32((ushort)(P + 0x10 + (i % 4 * 4)), 100);
        Assert.Empty(_net.Sent);
    }

    [Fact]
    public void HostileRingsEnd()
    {
        StartPlus();

        // All descriptors are the chip's, none ends the ring, buffers lie nowhere, lengths lie.
        for (var i = 0; i < 64; i++) WriteDescriptor(TxRing + (i * 16), 0, 0xf000_0000_0000ul, Own | (i % 3 == 0 ? Fs : 0) | (i % 2 == 0 ? Ls : 0) | 0xffff, uint.MaxValue);
        _board.Out8(P + 0xd9, 0xc0);
        for (var i = 0; i < 10; i++) _board.Advance(100_000);
        foreach (var (_, bytes) in _net.Sent) Assert.InRange(bytes.Length, 14, 8196);

        // IP and TCP lengths beyond the packet (XSA-140), and a large send of one byte at a time.
        StartPlus();
        _net.Sent.Clear();
        foreach (var (at, value) in (ReadOnlySpan<(int, byte)>)[(14, 0x4f), (14, 0x41), (16, 0xff), (46, 0xf0), (46, 0x00), (17, 0x01)])
        {
            var frame = Packets.Tcp4(10, sums: false);
            frame[at] = value;
            Put(frame, Fs | Ls | 0x50000);
            _board.Out8(P + 0xd9, 0x40);
            Put(frame, Fs | Ls | Lgsen | (100 << 16));
            _board.Out8(P + 0xd9, 0x40);
        }

        _net.Sent.Clear();
        Put(Packets.Tcp4(60000, sums: false), Fs | Ls | Lgsen | (1 << 16));
        _board.Out8(P + 0xd9, 0x40);
        Assert.InRange(_net.Sent.Count, 100, 10000);
        for (var i = 0; i < 100; i++) _board.Advance(100_000);
        Assert.Equal(60000, _net.Sent.Count);

        // The chip's own registers, and nothing, as rings.
        _board.Out32(P + 0xe4, 0xf200_0000);
        _net.Bring(Packets.Raw(Packets.Mac, 100));
        _board.Advance(2_000_000_000);
        Assert.Equal(0, _net.Waiting);
        _board.Out32(P + 0x20, 0xf200_0000);
        _board.Out8(P + 0xd9, 0x40);
    }

    [Fact]
    public void AWaitingPacketSurvivesARestore()
    {
        StartPlus();
        _net.Full = true;
        Put(Packets.Tcp4(300, sums: false), Fs | Ls | 0x50000, 0x0700 | (1 << 17));
        _board.Out8(P + 0xd9, 0x40);
        using var saved = new System.IO.MemoryStream();
        StateWriter.Save([_chip], saved);
        var (board, net, chip) = Make(true);
        _board.Ram.Bytes.CopyTo(board.Ram.Bytes);
        StateReader.Load([chip], saved.ToArray());
        board.Advance(1);
        var bytes = Assert.Single(net.Sent).Bytes;
        Assert.True(Packets.SumsAreRight([.. bytes[..12], .. bytes[16..]]));
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32LittleEndian(board.Ram.Bytes[TxRing..]) & Own);
        var (_, _, old) = Make(false);
        Assert.Throws<StateException>(() => StateReader.Load([old], saved.ToArray()));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var (board, _, chip) = Make(true);
        return (board, chip);
    }, static (board, chip) =>
    {
        board.Out8(P + 0x50, 0xc0);
        board.Out32(P, 0x12345678);
        board.Out8(P + 0x50, 0x88);
        board.Out8(P + 0x50, 0x8e);
        board.Out16(P + 0xe0, 0x63);
        board.Out32(P + 0xe4, 0x3000);
        board.Out32(P + 0x20, 0x2000);
        board.Out8(P + 0x37, 0x0c);
        board.Out32(P + 0x54, 777);
        board.Out16(P + 0x3c, 0xffff);
        board.Out8(P + 0x90, 5);
        BinaryPrimitives.WriteUInt32LittleEndian(board.Ram.Bytes[0x2000..], Own | Fs | 50);
        board.Out8(P + 0xd9, 0x41);
    }, "rtl8139");

    [Theory]
    [InlineData(1, true)]
    [InlineData(2, true)]
    [InlineData(3, true)]
    [InlineData(4, false)]
    public void SurvivesNoise(int seed, bool plus)
    {
        var bytes = new byte[2000];
        ChipFuzz.Run(_board, [_chip], 40_000, seed, random =>
        {
            _board.ConfigWrite(4, 0, 0x10, 4, P);
            _board.ConfigWrite(4, 0, 0x04, 2, 7);
            random.NextBytes(_board.Ram.Bytes.Slice(0x2000 + (random.Next(3) * 0x1000), 0x1000));
            if (random.Next(3) == 0 && plus) StartPlus((ushort)random.Next(0x100), random.Next(0x2000));
            else if (random.Next(3) == 0) StartOld((uint)random.Next(0x10000));
            _board.Out8(P + 0xd9, random.Next(256));
            _board.Out32((ushort)(P + 0x10 + (random.Next(4) * 4)), (uint)random.Next(0x2000));
            random.NextBytes(bytes);
            if (random.Next(2) == 0) Packets.Mac.CopyTo(bytes, 0);
            _net.Bring(bytes.AsSpan(0, random.Next(14, bytes.Length)));
            _net.Full = random.Next(4) == 0;
            if (random.Next(8) == 0) _net.IsLinkUp = !_net.IsLinkUp;
            _net.Sent.Clear();
        });
    }

    /// <summary>As 8139too's rtl8139_hw_start: reset, enable, a ring of 8 KiB.</summary>
    private void StartOld(uint rcr = 0x8e)
    {
        _board.Out8(P + 0x37, 0x10);
        for (var i = 0; i < 4; i++) _board.Out32((ushort)(P + 0x20 + (i * 4)), (uint)(TxBuffers + (i * 0x800)));
        _board.Out32(P + 0x30, Ring);
        _board.Out8(P + 0x37, 0x0c);
        _board.Out32(P + 0x44, rcr);
        _board.Out16(P + 0x3c, 0xe07f);
        _read = 0;
    }

    /// <summary>Takes a frame out of the ring as the driver does.</summary>
    private (ushort Status, byte[] Bytes) ReadOld(bool wraps)
    {
        var header = _board.Ram.Bytes.Slice(Ring + (_read % 8192), 4);
        var (status, length) = (BinaryPrimitives.ReadUInt16LittleEndian(header), BinaryPrimitives.ReadUInt16LittleEndian(header[2..]));
        var bytes = new byte[length];
        for (var i = 0; i < length; i++) bytes[i] = _board.Ram.Bytes[Ring + (wraps ? (_read + 4 + i) % 8192 : (_read % 8192) + 4 + i)];
        _read = (_read + length + 4 + 3) & ~3;
        _board.Out16(P + 0x38, _read - 16);
        return (status, bytes);
    }

    /// <summary>As 8139cp's cp_init_hw, with rings of eight.</summary>
    private void StartPlus(ushort cpcr = 3, int bufferBytes = 1536)
    {
        _board.Out8(P + 0x37, 0x10);
        for (var i = 0; i < RingLength; i++)
        {
            var end = i == RingLength - 1 ? Eor : 0;
            WriteDescriptor(RxRing + (i * 16), 0, (ulong)(RxBuffers + (i * 0x1000)), Own | end | (uint)bufferBytes, 0);
            WriteDescriptor(TxRing + (i * 16), 0, 0, end, 0);
        }

        _board.Out16(P + 0xe0, cpcr);
        _board.Out32(P + 0x28, HighRing);
        _board.Out32(P + 0x2c, 0);
        _board.Out32(P + 0xe4, RxRing);
        _board.Out32(P + 0xe8, 0);
        _board.Out32(P + 0x20, TxRing);
        _board.Out32(P + 0x24, 0);
        _board.Out8(P + 0x37, 0x0c);
        _board.Out32(P + 0x44, 0xa40e);
        _board.Out16(P + 0x3c, 0x80ff);
        _read = _tx = 0;
    }

    private void Put(ReadOnlySpan<byte> data, uint flags, uint tag = 0)
    {
        var buffer = data.Length > 0x1000 ? 0x10_0000 : TxBuffers + (_tx * 0x1000);
        data.CopyTo(_board.Ram.Bytes[buffer..]);
        WriteDescriptor(TxRing + (_tx * 16), 0, (ulong)buffer, Own | (_tx == RingLength - 1 ? Eor : 0) | flags | (uint)data.Length, tag);
        _tx = (_tx + 1) % RingLength;
    }

    private void WriteDescriptor(int at, int pattern, ulong buffer, uint options, uint options2)
    {
        if (pattern != 0) _board.Ram.Bytes.Slice((int)buffer, 1024).Fill((byte)pattern);
        var descriptor = _board.Ram.Bytes.Slice(at, 16);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor, options);
        BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], options2);
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor[8..], buffer);
    }

    private uint Options(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_board.Ram.Bytes[at..]);

    private (uint Options, uint Tag, byte[] Bytes) TakePlus()
    {
        var at = RxRing + (_read * 16);
        var options = Options(at);
        Assert.Equal(0u, options & Own);
        var tag = Options(at + 4);
        var bytes = _board.Ram.Bytes.Slice(RxBuffers + (_read * 0x1000), (int)(options & 0x1fff)).ToArray();
        WriteDescriptor(at, 0, (ulong)(RxBuffers + (_read * 0x1000)), Own | (options & Eor) | 1536, 0);
        _read = (_read + 1) % RingLength;
        return (options, tag, bytes);
    }

    private ushort ReadEeprom(int word, int addressBits)
    {
        _board.Out8(P + 0x50, 0x80);
        _board.Out8(P + 0x50, 0x88);
        for (var i = addressBits + 2; i >= 0; i--)
        {
            var bit = ((((6 << addressBits) | word) >> i) & 1) != 0 ? 2 : 0;
            _board.Out8(P + 0x50, 0x88 | bit);
            _board.Out8(P + 0x50, 0x8c | bit);
        }

        _board.Out8(P + 0x50, 0x88);
        ushort value = 0;
        for (var i = 0; i < 16; i++)
        {
            _board.Out8(P + 0x50, 0x8c);
            value = (ushort)((value << 1) | (_board.In8(P + 0x50) & 1));
            _board.Out8(P + 0x50, 0x88);
        }

        _board.Out8(P + 0x50, 0);
        return value;
    }
}
