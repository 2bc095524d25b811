using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using XenDM.Core.State;
using XenDM.Devices.Firmware;
using XenDM.Machines.Firmware;
using XenDM.Testing;

namespace XenDM.Tests.Firmware;

public class FirmwareConfigTests
{
    private static byte[] Read(TestBoard board, ushort key, int count)
    {
        board.Out16(0x510, key);
        return [.. Enumerable.Range(0, count).Select(_ => board.In8(0x511))];
    }

    private static Dictionary<string, byte[]> Files(TestBoard board)
    {
        var count = BinaryPrimitives.ReadInt32BigEndian(Read(board, FwCfg.KeyFileDirectory, 4));
        var directory = Read(board, FwCfg.KeyFileDirectory, 4 + (64 * count));
        var files = new Dictionary<string, byte[]>();
        for (var i = 0; i < count; i++)
        {
            var entry = directory.AsSpan(4 + (64 * i), 64);
            var name = Encoding.ASCII.GetString(entry[8..]).TrimEnd('\0');
            files.Add(name, Read(board, BinaryPrimitives.ReadUInt16BigEndian(entry[4..]), BinaryPrimitives.ReadInt32BigEndian(entry)));
        }

        return files;
    }

    private static (TestBoard Board, Dictionary<string, byte[]> Files) Make(FirmwareOptions options)
    {
        var board = new TestBoard();
        var chip = new FwCfg(board.Hypervisor.Memory);
        FirmwareConfig.AddTo(chip, options);
        chip.MapPorts(board.Ports);
        chip.Reset(ResetKind.Cold);
        return (board, Files(board));
    }

    [Fact]
    public void SeaBiosFindsAllThatItReads()
    {
        var memory = MemoryLayout.Split(5ul << 30);
        var (board, files) = Make(new FirmwareOptions(memory, new AcpiOptions(4, 6, memory.Low))
        {
            BootOrder = [1, 0],
            BootMenu = true,
            SerialConsole = true,
            VgaRom = [0x55, 0xaa, 1],
            OptionRoms = [("nic.rom", [0x55, 0xaa, 2])],
        });
        Assert.Equal(
            [
                "bootorder", "etc/acpi/rsdp", "etc/acpi/tables", "etc/boot-menu-wait", "etc/e820", "etc/sercon-port", "etc/show-boot-menu", "etc/smbios/smbios-anchor",
                "etc/smbios/smbios-tables", "etc/system-states", "etc/table-loader", "genroms/nic.rom", "vgaroms/vga.bin",
            ],
            files.Keys);
        Assert.Equal((4, 6), (Read(board, 5, 2)[0], Read(board, 15, 2)[0]));
        Assert.Equal(1, Read(board, 0x8002, 1)[0]);
        var e820 = files["etc/e820"];
        Assert.Equal(40, e820.Length);
        Assert.Equal((0ul, 0xe000_0000ul), (BinaryPrimitives.ReadUInt64LittleEndian(e820), BinaryPrimitives.ReadUInt64LittleEndian(e820.AsSpan(8))));
        Assert.Equal((1ul << 32, (5ul << 30) - 0xe000_0000), (BinaryPrimitives.ReadUInt64LittleEndian(e820.AsSpan(20)), BinaryPrimitives.ReadUInt64LittleEndian(e820.AsSpan(28))));
        Assert.Equal(files["etc/smbios/smbios-tables"].Length, BinaryPrimitives.ReadUInt16LittleEndian(files["etc/smbios/smbios-anchor"].AsSpan(22)));
    }

    [Fact]
    public void WhatIsNotAskedForIsNotThere()
    {
        var (_, files) = Make(new FirmwareOptions(MemoryLayout.Split(64 << 20), new AcpiOptions(1, 1, 64 << 20)));
        Assert.Equal(20, files["etc/e820"].Length);
        Assert.DoesNotContain("bootorder", files.Keys);
        Assert.DoesNotContain("etc/sercon-port", files.Keys);
        Assert.DoesNotContain("etc/boot-menu-wait", files.Keys);
    }

    [Fact]
    public void BootOrderNamesPaths()
    {
        BootDrive[] drives = [new(BootSource.Disk, 0, 0), new(BootSource.Disk, 0, 1), new(BootSource.Cdrom, 1, 0)];
        Assert.Equal(
            "/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/ide@1,1/drive@0/disk@0\n/pci@i0cf8/ide@1,1/drive@0/disk@1\n/pci@i0cf8/ethernet@4/ethernet-phy@0\0",
            Encoding.ASCII.GetString(BootOrder.Lines("dcn", drives, [4], [])));
        Assert.Equal("/rom@genroms/k.bin\n/pci@i0cf8/ide@1,1/drive@1/disk@0\0", Encoding.ASCII.GetString(BootOrder.Lines("d", drives, [], ["genroms/k.bin"])));
    }

    [Theory]
    [InlineData(512ul << 20, 0xffff, 0x1f00, 0u)]
    [InlineData(8ul << 20, 0x1c00, 0, 0u)]
    [InlineData(6ul << 30, 0xffff, 0xdf00, 0xa000u)]
    public void CmosTellsTheSizesToo(ulong bytes, int extendedKib, int above16, uint above4G)
    {
        var cells = MemoryLayout.Split(bytes).CmosCells().ToDictionary(static c => c.Cell, static c => (int)c.Value);
        Assert.Equal(640, cells[0x15] | (cells[0x16] << 8));
        Assert.Equal((extendedKib, extendedKib), (cells[0x17] | (cells[0x18] << 8), cells[0x30] | (cells[0x31] << 8)));
        Assert.Equal(above16, cells[0x34] | (cells[0x35] << 8));
        Assert.Equal(above4G, (uint)(cells[0x5b] | (cells[0x5c] << 8) | (cells[0x5d] << 16)));
    }
}
