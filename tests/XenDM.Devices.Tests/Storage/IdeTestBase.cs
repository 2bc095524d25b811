using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Devices.Storage.Ide;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Storage;

/// <summary>A board with a disk as primary master and a CD drive as secondary master, and the register dance of a driver.</summary>
public abstract class IdeTestBase
{
    protected const ushort Primary = 0x1f0;
    protected const ushort Secondary = 0x170;
    protected const ushort BusMaster = 0xc000;
    protected const byte Busy = 0x80, Ready = 0x40, Seek = 0x10, Drq = 0x08, Err = 0x01;

    protected IdeTestBase(int diskBytes = 4 << 20, bool readOnly = false, bool writeCache = true)
    {
        Disk = new FakeDisk(Board.Loop, diskBytes, readOnly);
        new Random(7).NextBytes(Disk.Data);
        Disc = new FakeDisk(Board.Loop, 1 << 20, readOnly: true);
        new Random(8).NextBytes(Disc.Data);
        Ide = new Piix3Ide("piix3-ide", Board.Ram, Board.IsaLine(14), Board.IsaLine(15), Board, Board);
        Board.Pci.Add(Ide, 1, 1);
        Ide.AttachDisk(0, 0, "disk0", Disk, "SERIAL", writeCache);
        Tray = Ide.AttachCdrom(1, 0, "ide-5632", "cd0", Disc, "CDSERIAL");
        Ide.Reset(ResetKind.Cold);
        Board.ConfigWrite(1, 1, 0x20, 4, BusMaster);
        Board.ConfigWrite(1, 1, 4, 2, 5);
    }

    protected TestBoard Board { get; } = new(8 << 20);

    protected FakeDisk Disk { get; }

    protected FakeDisk Disc { get; }

    protected Piix3Ide Ide { get; }

    protected IMediumListener Tray { get; }

    protected byte Status(ushort port = Primary) => Board.In8((ushort)(port + 0x206));

    /// <summary>Writes a 28-bit address and a command.</summary>
    protected void Command28(byte command, uint lba, int count, ushort port = Primary, int unit = 0)
    {
        Board.Out8((ushort)(port + 6), 0xe0 | (unit << 4) | (int)(lba >> 24));
        Board.Out8((ushort)(port + 2), count);
        Board.Out8((ushort)(port + 3), (int)lba);
        Board.Out8((ushort)(port + 4), (int)(lba >> 8));
        Board.Out8((ushort)(port + 5), (int)(lba >> 16));
        Board.Out8((ushort)(port + 7), command);
    }

    /// <summary>Writes a 48-bit address and a command: each register twice, the high half first.</summary>
    protected void Command48(byte command, ulong lba, int count)
    {
        Board.Out8(Primary + 6, 0xe0);
        Board.Out8(Primary + 2, count >> 8);
        Board.Out8(Primary + 3, (int)(lba >> 24));
        Board.Out8(Primary + 4, (int)(lba >> 32));
        Board.Out8(Primary + 5, (int)(lba >> 40));
        Board.Out8(Primary + 2, count);
        Board.Out8(Primary + 3, (int)lba);
        Board.Out8(Primary + 4, (int)(lba >> 8));
        Board.Out8(Primary + 5, (int)(lba >> 16));
        Board.Out8(Primary + 7, command);
    }

    /// <summary>Runs completions until the drive is no longer busy.</summary>
    protected void WaitIdle(ushort port = Primary)
    {
        for (var i = 0; i < 1000 && (Status(port) & Busy) != 0; i++) Board.Loop.RunPosted();
        Assert.Equal(0, Status(port) & Busy);
    }

    /// <summary>Waits for the interrupt and takes it by reading Status.</summary>
    /// <returns>Status.</returns>
    protected byte TakeInterrupt(ushort port = Primary)
    {
        WaitIdle(port);
        Assert.True(Board.Hypervisor.IsaLevel(port == Primary ? 14 : 15), "no interrupt");
        var status = Board.In8((ushort)(port + 7));
        Assert.False(Board.Hypervisor.IsaLevel(port == Primary ? 14 : 15), "the interrupt stays");
        return status;
    }

    protected byte[] ReadData(int bytes, ushort port = Primary)
    {
        var data = new byte[bytes];
        for (var i = 0; i < bytes; i += 2) BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(i), Board.In16(port));
        return data;
    }

    protected void WriteData(ReadOnlySpan<byte> data, ushort port = Primary)
    {
        for (var i = 0; i < data.Length; i += 2) Board.Out16(port, data[i] | (data[i + 1] << 8));
    }

    /// <summary>The same through <c>rep insw</c>.</summary>
    protected byte[] ReadDataRep(int bytes, ushort port = Primary)
    {
        var request = new IoRequest { Space = IoSpace.Port, Address = port, IsRead = true, Size = 2, Count = (uint)(bytes / 2), DataIsPointer = true, Data = 0x10000 };
        Board.Io.Dispatch(ref request);
        return Board.Ram.Bytes.Slice(0x10000, bytes).ToArray();
    }

    /// <summary>Puts a table of the bus master at 0x1000 and its address into the channel's register.</summary>
    protected void SetTable(ushort port, params (uint Address, int Bytes)[] entries)
    {
        for (var i = 0; i < entries.Length; i++)
        {
            var entry = Board.Ram.Bytes.Slice(0x1000 + (i * 8), 8);
            BinaryPrimitives.WriteUInt32LittleEndian(entry, entries[i].Address);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], (uint)(entries[i].Bytes & 0xffff) | (i == entries.Length - 1 ? 0x8000_0000 : 0));
        }

        Board.Out32((ushort)(Bm(port) + 4), 0x1000);
        Board.Out8((ushort)(Bm(port) + 2), 6);
    }

    protected void StartBusMaster(ushort port, bool toMemory)
    {
        Board.Out8(Bm(port), toMemory ? 8 : 0);
        Board.Out8(Bm(port), toMemory ? 9 : 1);
    }

    protected byte BmStatus(ushort port = Primary) => Board.In8((ushort)(Bm(port) + 2));

    protected void StopBusMaster(ushort port = Primary)
    {
        Board.Out8(Bm(port), 0);
        Board.Out8((ushort)(Bm(port) + 2), 6);
    }

    protected static ushort Bm(ushort port) => port == Primary ? BusMaster : (ushort)(BusMaster + 8);
}
