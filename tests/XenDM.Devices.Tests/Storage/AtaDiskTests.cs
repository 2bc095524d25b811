using System;
using System.Buffers.Binary;
using System.Text;
using XenDM.Core.Backends;

namespace XenDM.Devices.Tests.Storage;

public class AtaDiskTests : IdeTestBase
{
    [Fact]
    public void ResetShowsTheSignatureOfADiskAndNothingOnTheEmptyPlace()
    {
        Board.Out8(Primary + 0x206, 0x04);
        Board.Out8(Primary + 0x206, 0x00);
        Assert.Equal((1, 1, 0, 0), (Board.In8(Primary + 2), Board.In8(Primary + 3), Board.In8(Primary + 4), Board.In8(Primary + 5)));
        Assert.Equal(Ready | Seek, Status());
        Board.Out8(Primary + 6, 0xb0);
        Board.Out8(Primary + 2, 0x55);
        Assert.Equal((0, 0), (Board.In8(Primary + 2), Status()));
    }

    [Fact]
    public void IdentifyTellsWhatDriversLookFor()
    {
        Command28(0xec, 0, 0);
        Assert.Equal(Ready | Seek | Drq, TakeInterrupt());
        var data = ReadData(512);
        Assert.Equal("SERIAL", Swapped(data, 10, 20));
        Assert.Equal("XenDM HARDDISK", Swapped(data, 27, 40));
        Assert.Equal(8192u, BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(120)));
        Assert.Equal(8192u, BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(200)));
        Assert.Equal(0x3f, data[88 * 2]);
        Assert.Equal(9, data[128 * 2]);
        byte sum = 0;
        foreach (var b in data) sum += b;
        Assert.Equal(0, sum);
        Assert.Equal(Ready | Seek, Status());
    }

    [Fact]
    public void SectorsAreReadOneInterruptEach()
    {
        Command28(0x20, 5, 3);
        for (var sector = 5; sector < 8; sector++)
        {
            Assert.Equal(Ready | Seek | Drq, TakeInterrupt());
            Assert.Equal(Sector(sector), ReadData(512));
        }

        Assert.Equal(Ready | Seek, Status());
        Assert.Equal(7, Board.In8(Primary + 3));
    }

    [Fact]
    public void RepInsReadsAWholeSector()
    {
        Command28(0x20, 9, 1);
        TakeInterrupt();
        Assert.Equal(Sector(9), ReadDataRep(512));
    }

    [Fact]
    public void MultipleSectorsComeInBlocks()
    {
        Board.Out8(Primary + 2, 4);
        Board.Out8(Primary + 7, 0xc6);
        TakeInterrupt();
        Command28(0xc4, 0, 10);
        for (var sector = 0; sector < 10; sector += 4)
        {
            TakeInterrupt();
            for (var i = sector; i < Math.Min(10, sector + 4); i++) Assert.Equal(Sector(i), ReadData(512));
        }

        Assert.Equal(Ready | Seek, Status());
        Command28(0xc4, 0, 1);
        TakeInterrupt();
    }

    [Fact]
    public void MultipleWithoutASizeIsAborted()
    {
        Command28(0xc4, 0, 1);
        Assert.Equal(Ready | Seek | Err, TakeInterrupt());
        Assert.Equal(0x04, Board.In8(Primary + 1));
    }

    [Fact]
    public void AddressesByCylinderHeadAndSector()
    {
        Board.Out8(Primary + 6, 0xa1);
        Board.Out8(Primary + 2, 1);
        Board.Out8(Primary + 3, 2);
        Board.Out8(Primary + 4, 1);
        Board.Out8(Primary + 5, 0);
        Board.Out8(Primary + 7, 0x20);
        TakeInterrupt();
        Assert.Equal(Sector(((16 + 1) * 63) + 1), ReadData(512));
        Board.Out8(Primary + 3, 64);
        Board.Out8(Primary + 7, 0x20);
        Assert.Equal(Err, TakeInterrupt() & Err);
        Assert.Equal(0x10, Board.In8(Primary + 1));
    }

    [Fact]
    public void WritesReachTheImageAndAskForDataWithoutAnInterruptFirst()
    {
        var data = Bytes(1024, 3);
        Command28(0x30, 100, 2);
        Assert.Equal(Ready | Seek | Drq, Status());
        Assert.False(Board.Hypervisor.IsaLevel(14));
        WriteData(data.AsSpan(0, 512));
        Assert.Equal(Ready | Seek | Drq, TakeInterrupt());
        WriteData(data.AsSpan(512));
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal(data, Disk.Data[51200..52224]);
    }

    [Fact]
    public void Lba48ReadsAndShowsTheLastSectorInBothHalves()
    {
        Command48(0x24, 8190, 2);
        TakeInterrupt();
        Assert.Equal(Sector(8190), ReadData(512));
        TakeInterrupt();
        Assert.Equal(Sector(8191), ReadData(512));
        Assert.Equal(0xff, Board.In8(Primary + 3));
        Board.Out8(Primary + 0x206, 0x80);
        Assert.Equal(0, Board.In8(Primary + 3));
    }

    [Theory]
    [InlineData(8192u, 1)]
    [InlineData(8190u, 3)]
    [InlineData(0x0fff_ffffu, 0)]
    public void BehindTheEndIsRefusedBeforeAnyTransfer(uint lba, int count)
    {
        Command28(0x20, lba, count);
        Assert.Equal(Err, TakeInterrupt() & Err);
        Assert.Equal(0x10, Board.In8(Primary + 1));
        Assert.Empty(Disk.Requests);
        Command48(0x24, ulong.MaxValue >> 16, 0);
        Assert.Equal(Err, TakeInterrupt() & Err);
    }

    [Fact]
    public void DmaReadGoesStraightToScatteredPages()
    {
        SetTable(Primary, (0x20000, 512), (0x31000, 1536), (0x42f00, 2048));
        Command28(0xc8, 16, 8);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal(4, BmStatus() & 7);
        Assert.Equal(Disk.Data[8192..8704], Board.Ram.Bytes.Slice(0x20000, 512).ToArray());
        Assert.Equal(Disk.Data[8704..10240], Board.Ram.Bytes.Slice(0x31000, 1536).ToArray());
        Assert.Equal(Disk.Data[10240..12288], Board.Ram.Bytes.Slice(0x42f00, 2048).ToArray());
        Assert.Equal(0, Board.Ram.Pins);
        Assert.NotEmpty(Board.Ram.Written);
        StopBusMaster();
        Assert.Equal(0, BmStatus() & 7);
    }

    [Fact]
    public void DmaWriteBeforeTheBusMasterWaits()
    {
        new Random(5).NextBytes(Board.Ram.Bytes.Slice(0x20000, 4096));
        SetTable(Primary, (0x20000, 4096));
        Command28(0xca, 40, 8);
        Assert.Equal(Ready | Seek | Drq, Status());
        StartBusMaster(Primary, toMemory: false);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal(Board.Ram.Bytes.Slice(0x20000, 4096).ToArray(), Disk.Data[20480..24576]);
    }

    [Fact]
    public void ACountOfZeroIs64KiBAndLargeTransfersComeInSlices()
    {
        var entries = new (uint, int)[32];
        for (var i = 0; i < entries.Length; i++) entries[i] = ((uint)(0x200000 + (i * 0x10000)), 0);
        SetTable(Primary, entries);
        Command48(0x25, 0, 4096);
        StartBusMaster(Primary, toMemory: true);
        TakeInterrupt();
        Assert.Equal(Disk.Data[..(2 << 20)], Board.Ram.Bytes.Slice(0x200000, 2 << 20).ToArray());
        Assert.Equal(0, Board.Ram.Pins);
    }

    [Fact]
    public void ATableThatIsTooLongLeavesTheBusMasterActive()
    {
        SetTable(Primary, (0x20000, 4096));
        Command28(0xc8, 0, 1);
        StartBusMaster(Primary, toMemory: true);
        TakeInterrupt();
        Assert.Equal(5, BmStatus() & 7);
    }

    [Fact]
    public void ATableThatIsTooShortStopsWithoutAnInterruptAndAResetHelps()
    {
        SetTable(Primary, (0x20000, 512));
        Command28(0xc8, 0, 8);
        StartBusMaster(Primary, toMemory: true);
        Board.Loop.RunPosted();
        Assert.Equal(0, BmStatus() & 7);
        Assert.False(Board.Hypervisor.IsaLevel(14));
        StopBusMaster();
        SoftReset();
        Command28(0x20, 5, 1);
        TakeInterrupt();
        Assert.Equal(Sector(5), ReadData(512));
    }

    [Fact]
    public void ATableOutsideOfRamIsAnErrorOfTheBusMaster()
    {
        Board.Out32(BusMaster + 4, 0xfff0_0000);
        Command28(0xc8, 0, 1);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(2, BmStatus() & 3);
    }

    [Fact]
    public void MemoryThatIsNoRamIsAnErrorOfTheBusMaster()
    {
        SetTable(Primary, (0xe000_0000, 512));
        Command28(0xc8, 0, 1);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(2, BmStatus() & 3);
        Assert.Equal(0, Board.Ram.Pins);
    }

    [Fact]
    public void WithoutBusMasteringNothingMoves()
    {
        Board.ConfigWrite(1, 1, 4, 2, 1);
        SetTable(Primary, (0x20000, 512));
        Command28(0xc8, 0, 1);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(5, BmStatus() & 7);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        StopBusMaster();
        Command28(0xca, 0, 1);
        StartBusMaster(Primary, toMemory: false);
        Assert.Equal(2, BmStatus() & 3);
        Assert.Empty(Disk.Requests);
    }

    [Fact]
    public void AHostErrorNamesTheSectorAndTheDrive()
    {
        Disk.Errors[512 * 22] = 5;
        SetTable(Primary, (0x20000, 4096));
        Command28(0xc8, 20, 8);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(Ready | Seek | Err, TakeInterrupt());
        Assert.Equal((0x40, 22), (Board.In8(Primary + 1), Board.In8(Primary + 3)));
        Assert.Equal("BLOCK_IO_ERROR disk0 read 5", Assert.Single(Board.Events));
        Command28(0x20, 20, 8);
        Assert.Equal(Err, TakeInterrupt() & Err);
        Assert.Equal(22, Board.In8(Primary + 3));
    }

    [Fact]
    public void AFullDiskOfTheHostIsAnErrorOfThatWrite()
    {
        Disk.Errors[512 * 50] = 28;
        Command28(0x30, 50, 1);
        WriteData(Bytes(512, 1));
        Assert.Equal(Err, TakeInterrupt() & Err);
        Assert.Equal("BLOCK_IO_ERROR disk0 write 28", Assert.Single(Board.Events));
    }

    [Fact]
    public void FlushReachesTheImage()
    {
        Command28(0xe7, 0, 0);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal(BlockOperation.Flush, Disk.Requests[^1].Operation);
    }

    [Fact]
    public void WithTheWriteCacheOffEveryWriteIsFlushed()
    {
        Features(0x82);
        Command28(0x30, 1, 1);
        WriteData(Bytes(512, 2));
        TakeInterrupt();
        Assert.Equal([BlockOperation.Flush, BlockOperation.Write, BlockOperation.Flush], Disk.Requests.ConvertAll(static r => r.Operation));
        Features(0x02);
        Command28(0x30, 1, 1);
        WriteData(Bytes(512, 2));
        TakeInterrupt();
        Assert.Equal(BlockOperation.Write, Disk.Requests[^1].Operation);
    }

    [Fact]
    public void TrimDiscardsTheRanges()
    {
        BinaryPrimitives.WriteUInt64LittleEndian(Board.Ram.Bytes[0x20000..], (4ul << 48) | 100);
        BinaryPrimitives.WriteUInt64LittleEndian(Board.Ram.Bytes[0x20008..], (1ul << 48) | 8191);
        SetTable(Primary, (0x20000, 512));
        Board.Out8(Primary + 1, 1);
        Command48(0x06, 0, 1);
        StartBusMaster(Primary, toMemory: false);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal([(BlockOperation.Discard, 51200L, 2048L), (BlockOperation.Discard, 8191L * 512, 512L)], Disk.Requests);
        BinaryPrimitives.WriteUInt64LittleEndian(Board.Ram.Bytes[0x20000..], (0xfffful << 48) | 100);
        SetTable(Primary, (0x20000, 512));
        Board.Out8(Primary + 1, 1);
        Command48(0x06, 0, 1);
        StartBusMaster(Primary, toMemory: false);
        Assert.Equal(Err, TakeInterrupt() & Err);
    }

    [Fact]
    public void SmartIsHealthyAndSecurityFrozen()
    {
        Board.Out8(Primary + 1, 0xda);
        Command28(0xb0, 0xc24f00, 0);
        Assert.Equal(Ready | Seek, TakeInterrupt());
        Assert.Equal((0x4f, 0xc2), (Board.In8(Primary + 4), Board.In8(Primary + 5)));
        Board.Out8(Primary + 1, 0xd0);
        Command28(0xb0, 0xc24f00, 1);
        TakeInterrupt();
        byte sum = 0;
        foreach (var b in ReadData(512)) sum += b;
        Assert.Equal(0, sum);
        Command28(0xf1, 0, 0);
        Assert.Equal(Err, TakeInterrupt() & Err);
    }

    [Fact]
    public void UnknownCommandsAreAborted()
    {
        foreach (var command in (byte[])[0x00, 0x22, 0x50, 0x87, 0xa0, 0xa1, 0xc0, 0xfe])
        {
            Command28(command, 0, 0);
            Assert.Equal(Ready | Seek | Err, TakeInterrupt());
            Assert.Equal(0x04, Board.In8(Primary + 1));
        }
    }

    [Fact]
    public void MaskedInterruptsDoNotReachTheLine()
    {
        Board.Out8(Primary + 0x206, 0x02);
        Command28(0x20, 0, 1);
        WaitIdle();
        Assert.False(Board.Hypervisor.IsaLevel(14));
        Board.Out8(Primary + 0x206, 0x00);
        Assert.True(Board.Hypervisor.IsaLevel(14));
    }

    [Fact]
    public void AResetInTheMiddleLetsTheRequestGo()
    {
        Disk.Hold = true;
        SetTable(Primary, (0x20000, 4096));
        Command28(0xc8, 0, 8);
        StartBusMaster(Primary, toMemory: true);
        Assert.Equal(1, Disk.InFlight);
        Assert.NotEqual(0, Board.Ram.Pins);
        StopBusMaster();
        SoftReset();
        Assert.Equal(Ready | Seek, Status());

        // The next command waits for the image to give the old request back.
        Command28(0x20, 3, 1);
        Assert.Equal(Busy, Status() & Busy);
        Disk.Release();
        TakeInterrupt();
        Assert.Equal(Sector(3), ReadData(512));
        Assert.Equal(0, Board.Ram.Pins);
    }

    [Fact]
    public void StoppingTheBusMasterInTheMiddleDoesNotLosePins()
    {
        Disk.Hold = true;
        SetTable(Primary, (0x20000, 4096));
        Command28(0xca, 0, 8);
        StartBusMaster(Primary, toMemory: false);
        StopBusMaster();
        Disk.Release();
        Board.Loop.RunPosted();
        Assert.Equal(0, Board.Ram.Pins);
        SoftReset();
        Command28(0x20, 3, 1);
        TakeInterrupt();
    }

    [Fact]
    public void UnplugTakesDisksAfterAFlushAndKeepsTheCd()
    {
        Ide.UnplugDisks(auxiliaryOnly: false);
        Assert.Equal(BlockOperation.Flush, Disk.Requests[^1].Operation);
        Assert.Equal(0, Status());
        Command28(0x20, 0, 1);
        Assert.Equal(0, Status());
        Assert.Equal(["ide-5632"], Ide.Drives);
        Assert.Equal(0x14, Board.In8(Secondary + 4));
    }

    [Fact]
    public void AuxiliaryUnplugKeepsThePrimaryMaster()
    {
        Ide.UnplugDisks(auxiliaryOnly: true);
        Assert.Equal(["disk0", "ide-5632"], Ide.Drives);
    }

    [Fact]
    public void ADiskThatIsTakenAbortsWhatMovesData()
    {
        var taken = false;
        Ide.Guard(0, 0, () => taken);
        Command28(0x20, 5, 1);
        TakeInterrupt();
        Assert.Equal(Sector(5), ReadData(512));
        var before = Sector(5);
        Command28(0x30, 5, 1);
        taken = true;
        var requests = Disk.Requests.Count;
        WriteData(Bytes(512, 1));
        Refused();
        foreach (var command in (byte[])[0x20, 0x30, 0x40])
        {
            Command28(command, 5, 1);
            Refused();
        }

        SetTable(Primary, (0x10000, 512));
        Command28(0xc8, 5, 1);
        Refused();
        taken = false;
        Command28(0xc8, 5, 1);
        taken = true;
        StartBusMaster(Primary, toMemory: true);
        Refused();
        StopBusMaster();
        Assert.Equal(requests, Disk.Requests.Count);
        Assert.Equal(before, Sector(5));
        Assert.Single(Board.Log);
        Command28(0xec, 0, 1);
        Assert.Equal(Ready | Seek | Drq, TakeInterrupt());
        ReadData(512);
        taken = false;
        Command28(0x20, 5, 1);
        TakeInterrupt();
        Assert.Equal(before, ReadData(512));
    }

    private void Refused()
    {
        Assert.Equal(Ready | Seek | Err, TakeInterrupt());
        Assert.Equal(0x04, Board.In8(Primary + 1));
    }

    private void SoftReset()
    {
        Board.Out8(Primary + 0x206, 0x04);
        Board.Out8(Primary + 0x206, 0x00);
    }

    private void Features(byte feature)
    {
        Board.Out8(Primary + 1, feature);
        Command28(0xef, 0, 0);
        Assert.Equal(Ready | Seek, TakeInterrupt());
    }

    private byte[] Sector(int number) => Disk.Data[(number * 512)..((number + 1) * 512)];

    private static byte[] Bytes(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static string Swapped(byte[] data, int word, int length)
    {
        var text = new byte[length];
        for (var i = 0; i < length; i++) text[i] = data[(word * 2) + (i ^ 1)];
        return Encoding.ASCII.GetString(text).TrimEnd();
    }
}
