using System;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Chipset;

public sealed class ChipsetTests
{
    [Fact]
    public void I440Fx_Contract_Holds() => DeviceContract.Check(static () => Make(static b => b.Host), static (board, _) =>
    {
        board.Out32(0xcf8, 0x80000010);
        board.ConfigWrite(0, 0, 0x59, 4, 0x33333330);
        board.ConfigWrite(0, 0, 0x72, 1, 0x5a);
    }, "i440fx");

    [Fact]
    public void Piix3Isa_Contract_Holds() => DeviceContract.Check(static () => Make(static b => b.Isa), static (board, _) =>
    {
        board.ConfigWrite(1, 0, 0x60, 4, 0x050b0a05);
        board.Out8(0xcf9, 2);
    }, "piix3-isa");

    [Fact]
    public void Piix4Pm_Contract_Holds() => DeviceContract.Check(
        static () => Make(static b =>
        {
            b.EnableAcpi();
            return b.Pm;
        }),
        static (board, pm) =>
        {
            board.ConfigWrite(1, 3, 0x40, 4, 0xb001);
            board.ConfigWrite(1, 3, 0x80, 1, 1);
            board.Out8(0xb2, 0xf1);
            board.Out16(0xafe2, 6);
            pm.RaiseGpe(1);
            board.Out8(0xb104, 0xa0);
            board.Out8(0xb102, 0x48);
        },
        "piix4-pm");

    [Fact]
    public void AcpiHotplug_Contract_Holds() => DeviceContract.Check(static () => Make(static b => b.Hotplug), static (_, chip) =>
    {
        chip.DeviceAdded(5);
        chip.RemoveRequested(5);
    }, "acpi-hotplug");

    [Fact]
    public void I8237Dma_Contract_Holds() => DeviceContract.Check(static () => Make(static b => b.Dma), static (board, chip) =>
    {
        board.Out8(0x81, 5);
        board.Out8(0x04, 0x34);
        board.Out8(0x0b, 0x56);
        board.Out8(0xd4, 1);
        chip.SetRequest(2, true);
    }, "i8237");

    [Fact]
    public void IsaGlue_Contract_Holds() => DeviceContract.Check(static () => Make(static b => b.Glue), static (board, _) => board.Out8(0x92, 0), "isa-glue");

    [Fact]
    public void Linux_ProbeOfMechanism1_FindsTheHostBridge()
    {
        var b = new ChipsetBoard();
        b.Board.Out8(0xcfb, 0x01);
        b.Board.Out32(0xcf8, 0x80000000);
        Assert.Equal(0x80000000u, b.Board.In32(0xcf8));
        Assert.Equal(0x12378086u, b.Board.In32(0xcfc));
        Assert.Equal(0x1237, b.Board.In16(0xcfe));
        b.Board.Out32(0xcf8, 0x80000008);
        Assert.Equal(0x06000002u, b.Board.In32(0xcfc));
        b.Board.Out32(0xcf8, 0x80000800);
        Assert.Equal(0x70008086u, b.Board.In32(0xcfc));
        b.Board.Out32(0xcf8, 0x8000080c);
        Assert.Equal(0x80, b.Board.In8(0xcfe));
        b.Board.Out32(0xcf8, 0x80010000);
        Assert.Equal(uint.MaxValue, b.Board.In32(0xcfc));
        b.Board.Out32(0xcf8, 0x00000000);
        Assert.Equal(uint.MaxValue, b.Board.In32(0xcfc));
        Assert.Equal(0xff, b.Board.In8(0xcf8));
    }

    [Fact]
    public void Pam_IsRegistersOnly_SmramLocks()
    {
        var b = new ChipsetBoard();
        b.Board.ConfigWrite(0, 0, 0x59, 1, 0xff);
        b.Board.ConfigWrite(0, 0, 0x5f, 1, 0xff);
        Assert.Equal(0x30u, b.Board.ConfigRead(0, 0, 0x59, 1));
        Assert.Equal(0x33u, b.Board.ConfigRead(0, 0, 0x5f, 1));
        b.Board.ConfigWrite(0, 0, 0x72, 1, 0x48);
        Assert.Equal(0x4au, b.Board.ConfigRead(0, 0, 0x72, 1));
        b.Board.ConfigWrite(0, 0, 0x72, 1, 0x5a);
        Assert.Equal(0x1au, b.Board.ConfigRead(0, 0, 0x72, 1));
        b.Board.ConfigWrite(0, 0, 0x72, 1, 0x60);
        Assert.Equal(0x3au, b.Board.ConfigRead(0, 0, 0x72, 1));
        b.Host.Reset(ResetKind.Warm);
        Assert.Equal(0x02u, b.Board.ConfigRead(0, 0, 0x72, 1));
        b.Board.ConfigWrite(0, 0, 0x72, 1, 0x40);
        Assert.Equal(0x42u, b.Board.ConfigRead(0, 0, 0x72, 1));
    }

    [Fact]
    public void Hvmloader_PirqRoutes_ReachTheHypervisor()
    {
        var b = new ChipsetBoard();
        for (var link = 0; link < 4; link++) Assert.Equal(0x80u, b.Board.ConfigRead(1, 0, 0x60 + link, 1));
        int[] irqs = [5, 10, 11, 5];
        for (var link = 0; link < 4; link++) b.Board.ConfigWrite(1, 0, 0x60 + link, 1, (uint)irqs[link]);
        Assert.Equal(irqs, b.Board.Hypervisor.LinkRoutes);
        b.Board.ConfigWrite(1, 0, 0x60, 4, 0x0d02088b);
        Assert.Equal([0, 0, 0, 0], b.Board.Hypervisor.LinkRoutes);
        b.Board.ConfigWrite(1, 0, 0x61, 1, 0x0e);
        b.Isa.Reset(ResetKind.Warm);
        Assert.Equal(0, b.Board.Hypervisor.LinkRoutes[1]);
    }

    [Fact]
    public void Restore_DoesNotAnnounceRoutesAgain()
    {
        var b = new ChipsetBoard();
        b.Board.ConfigWrite(1, 0, 0x60, 1, 5);
        using var stream = new System.IO.MemoryStream();
        StateWriter.Save([b.Isa], stream);
        var other = new ChipsetBoard();
        other.Board.Hypervisor.LinkRoutes[0] = 77;
        StateReader.Load([other.Isa], stream.ToArray());
        Assert.Equal(77, other.Board.Hypervisor.LinkRoutes[0]);
        other.Board.ConfigWrite(1, 0, 0x60, 1, 0x80);
        Assert.Equal(0, other.Board.Hypervisor.LinkRoutes[0]);
    }

    [Theory]
    [InlineData(0xcf9, 0x02, 0)]
    [InlineData(0xcf9, 0x06, 1)]
    [InlineData(0xcf9, 0x0e, 1)]
    [InlineData(0x92, 0x02, 0)]
    [InlineData(0x92, 0x03, 1)]
    public void ResetPorts(ushort port, int value, int resets)
    {
        var b = new ChipsetBoard();
        b.Board.Out8(port, value);
        Assert.Equal(resets, b.Board.Requests.Count);
        Assert.Equal(value & 2, b.Board.In8(port) & 2);
    }

    [Fact]
    public void Hvmloader_EnablesAcpi_AndSeesSciEn()
    {
        var b = new ChipsetBoard();
        Assert.Equal(0x71138086u, b.Board.ConfigRead(1, 3, 0, 4));
        Assert.Equal(0xffff, b.Board.In16(0xb004));
        b.EnableAcpi();
        Assert.Equal(1, b.Board.In16(0xb004) & 1);
        b.Board.Out8(0xb2, 0xf0);
        Assert.Equal(0, b.Board.In16(0xb004));
        Assert.Equal(0xffff, b.Board.In16(0xb000));
    }

    [Theory]
    [InlineData(0, "poweroff")]
    [InlineData(1, "suspend")]
    [InlineData(2, "poweroff")]
    public void SleepTypes(int type, string request)
    {
        var b = new ChipsetBoard();
        b.EnableAcpi();
        b.Board.Out16(0xb004, (type << 10) | 1);
        Assert.Empty(b.Board.Requests);
        b.Board.Out16(0xb004, (type << 10) | 0x2001);
        Assert.Equal([request], b.Board.Requests);
        Assert.Equal((type << 10) | 1, b.Board.In16(0xb004));
    }

    [Fact]
    public void SleepByBytes_AsSomeFirmwareWrites()
    {
        var b = new ChipsetBoard();
        b.EnableAcpi();
        b.Board.Out8(0xb005, 0x24);
        Assert.Equal(["suspend"], b.Board.Requests);
        Assert.Equal(1, b.Board.In8(0xb004));
    }

    [Fact]
    public void PciHotplug_AddRemoveEject()
    {
        var b = new ChipsetBoard();
        b.EnableAcpi();
        b.Board.Out16(0xafe2, 0x0006);
        b.Hotplug.DeviceAdded(6);
        Assert.True(b.Board.Hypervisor.IsaLevel(ChipsetBoard.Sci));
        Assert.Equal(0x40u, b.Board.In32(0xae00));
        Assert.Equal(0x40u, b.Board.In32(0xae00));
        Assert.Equal(0x02, b.Board.In8(0xafe0));
        b.Board.Out8(0xafe0, 0x02);
        Assert.False(b.Board.Hypervisor.IsaLevel(ChipsetBoard.Sci));
        b.Hotplug.RemoveRequested(6);
        Assert.Equal(0x40u, b.Board.In32(0xae04));
        Assert.Equal(0x40u, b.Board.In32(0xae0c));
        b.Board.Out32(0xae08, 0xc0);
        Assert.Equal([6], b.Ejected);
        Assert.Equal(0u, b.Board.In32(0xae00) | b.Board.In32(0xae04) | b.Board.In32(0xae08));
        b.Hotplug.RemoveRequested(3);
        b.Hotplug.Reset(ResetKind.Warm);
        Assert.Equal([6, 3], b.Ejected);
    }

    [Fact]
    public void CpuHotplug_SetsTheBitmap()
    {
        var b = new ChipsetBoard();
        b.EnableAcpi();
        b.Board.Out8(0xafe2, 0x04);
        Assert.Equal(0x03, b.Board.In8(0xaf00));
        Assert.True(b.Hotplug.OnlineCpu(127));
        Assert.False(b.Hotplug.OnlineCpu(127));
        Assert.False(b.Hotplug.OnlineCpu(128));
        Assert.Equal(0x80, b.Board.In8(0xaf0f));
        Assert.Equal(0, b.Board.In8(0xaf10));
        Assert.True(b.Board.Hypervisor.IsaLevel(ChipsetBoard.Sci));
    }

    [Fact]
    public void Gpe_BeforeAcpi_WaitsForSciEn()
    {
        var b = new ChipsetBoard();
        b.Board.Out8(0xafe2, 0x02);
        b.Hotplug.DeviceAdded(4);
        Assert.False(b.Board.Hypervisor.IsaLevel(ChipsetBoard.Sci));
        b.EnableAcpi();
        Assert.True(b.Board.Hypervisor.IsaLevel(ChipsetBoard.Sci));
    }

    [Fact]
    public void Linux_SmbusQuickCommand_FindsNobodyAndDoesNotHang()
    {
        var b = new ChipsetBoard();
        Assert.Equal(0xb101u, b.Board.ConfigRead(1, 3, 0x90, 4));
        Assert.Equal(1u, b.Board.ConfigRead(1, 3, 0xd2, 1) & 1);
        b.Board.Out8(0xb100, 0x1e);
        b.Board.Out8(0xb104, 0xa0);
        b.Board.Out8(0xb102, 0x40);
        Assert.Equal(0x04, b.Board.In8(0xb100));
        b.Board.Out8(0xb100, 0xff);
        Assert.Equal(0x00, b.Board.In8(0xb100));
    }

    [Fact]
    public void PowerButton_GoesWhereTheBoardSays()
    {
        var b = new ChipsetBoard();
        Assert.False(b.Pm.PowerButton());
    }

    [Fact]
    public void Dma_FloppyRead_EndsWithTerminalCount()
    {
        var b = new ChipsetBoard();
        Program(b.Board, mode: 0x46, address: 0x1234, count: 511, page: 1);
        var sector = new byte[512];
        for (var i = 0; i < 512; i++) sector[i] = (byte)i;
        Assert.True(b.Dma.IsReady(2));
        Assert.Equal(300, b.Dma.WriteMemory(2, sector.AsSpan(0, 300), out var tc));
        Assert.False(tc);
        Assert.Equal(212, b.Dma.WriteMemory(2, sector.AsSpan(300), out tc));
        Assert.True(tc);
        Assert.Equal(sector, b.Board.Ram.Bytes.Slice(0x11234, 512).ToArray());
        Assert.Equal(0x04, b.Board.In8(0x08));
        Assert.Equal(0x00, b.Board.In8(0x08));
        Assert.False(b.Dma.IsReady(2));
        Assert.Equal(0, b.Dma.WriteMemory(2, sector, out _));
    }

    [Fact]
    public void Dma_Autoinit_WrapsInItsPage()
    {
        var b = new ChipsetBoard();
        Program(b.Board, mode: 0x5a, address: 0xfff0, count: 31, page: 2);
        for (var i = 0; i < 16; i++)
        {
            b.Board.Ram.Bytes[0x2fff0 + i] = (byte)(i + 1);
            b.Board.Ram.Bytes[0x20000 + i] = (byte)(i + 17);
        }

        var data = new byte[64];
        Assert.Equal(32, b.Dma.ReadMemory(2, data, out var tc));
        Assert.True(tc);
        for (var i = 0; i < 32; i++) Assert.Equal(i + 1, data[i]);
        Assert.True(b.Dma.IsReady(2));
        Assert.Equal(32, b.Dma.ReadMemory(2, data, out _));
    }

    [Fact]
    public void Dma_DecrementAndWords()
    {
        var b = new ChipsetBoard();
        Program(b.Board, mode: 0x66, address: 0x0003, count: 3, page: 1);
        Assert.Equal(4, b.Dma.WriteMemory(2, [1, 2, 3, 4], out _));
        Assert.Equal(new byte[] { 4, 3, 2, 1 }, b.Board.Ram.Bytes.Slice(0x10000, 4).ToArray());

        // Channel 5 counts words: address 0x100 is byte 0x200 of its page, whose bit 0 does not count.
        b.Board.Out8(0xd8, 0);
        b.Board.Out8(0xd6, 0x45);
        b.Board.Out8(0xc4, 0x00);
        b.Board.Out8(0xc4, 0x01);
        b.Board.Out8(0xc6, 0x01);
        b.Board.Out8(0xc6, 0x00);
        b.Board.Out8(0x8b, 0x05);
        b.Board.Out8(0xd4, 0x01);
        Assert.Equal(4, b.Dma.WriteMemory(5, [9, 8, 7, 6, 5], out var tc));
        Assert.True(tc);
        Assert.Equal(new byte[] { 9, 8, 7, 6 }, b.Board.Ram.Bytes.Slice(0x40200, 4).ToArray());
    }

    [Fact]
    public void Dma_ReadyCallback_WhenUnmaskedWithRequest()
    {
        var b = new ChipsetBoard();
        var calls = 0;
        b.Dma.Connect(2, () => calls++);
        b.Dma.SetRequest(2, true);
        Assert.Equal(0x40, b.Board.In8(0x08) & 0xf0);
        Program(b.Board, mode: 0x46, address: 0, count: 1, page: 1);
        Assert.Equal(1, calls);
        Assert.Equal(0, b.Dma.WriteMemory(3, [1], out _));
    }

    [Fact]
    public void PagePorts_KeepWhatIsWritten()
    {
        var b = new ChipsetBoard();
        Assert.NotEqual(0x1f, b.Board.In8(0x88));
        b.Board.Out8(0x80, 0xff);
        Assert.Equal(0xff, b.Board.In8(0x80));
    }

    [Theory]
    [InlineData(11)]
    [InlineData(12)]
    public void RandomAccesses_AreHarmless(int seed)
    {
        var b = new ChipsetBoard();
        var data = new byte[700];
        ChipFuzz.Run(b.Board, b.Chips, 20_000, seed, random =>
        {
            var channel = random.Next(8);
            b.Dma.SetRequest(channel, random.Next(2) == 0);
            if (random.Next(2) == 0) b.Dma.WriteMemory(channel, data.AsSpan(0, random.Next(700)), out _);
            else b.Dma.ReadMemory(channel, data.AsSpan(0, random.Next(700)), out _);
            b.Hotplug.DeviceAdded(random.Next(32));
            b.Hotplug.RemoveRequested(random.Next(32));
        });
    }

    private static void Program(TestBoard board, int mode, int address, int count, int page)
    {
        board.Out8(0x0a, 0x06);
        board.Out8(0x0c, 0);
        board.Out8(0x0b, mode);
        board.Out8(0x04, address & 0xff);
        board.Out8(0x04, address >> 8);
        board.Out8(0x05, count & 0xff);
        board.Out8(0x05, count >> 8);
        board.Out8(0x81, page);
        board.Out8(0x0a, 0x02);
    }

    private static (TestBoard Board, T Chip) Make<T>(System.Func<ChipsetBoard, T> pick)
    {
        var b = new ChipsetBoard();
        return (b.Board, pick(b));
    }
}
