using System;
using System.Buffers.Binary;
using System.Text;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Devices.Firmware;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Firmware;

public sealed class FwCfgTests
{
    private static (TestBoard Board, FwCfg Chip) Make()
    {
        var board = new TestBoard();
        var chip = new FwCfg(board.Hypervisor.Memory);
        chip.MapPorts(board.Ports);
        chip.Reset(ResetKind.Cold);
        return (board, chip);
    }

    private static byte[] ReadItem(TestBoard board, ushort key, int count)
    {
        board.Out16(0x510, key);
        var data = new byte[count];
        for (var i = 0; i < count; i++) data[i] = board.In8(0x511);
        return data;
    }

    private static uint RunDma(TestBoard board, uint control, uint length, ulong address, uint descriptor = 0x1000)
    {
        var raw = board.Ram.Bytes.Slice((int)descriptor, 16);
        BinaryPrimitives.WriteUInt32BigEndian(raw, control);
        BinaryPrimitives.WriteUInt32BigEndian(raw[4..], length);
        BinaryPrimitives.WriteUInt64BigEndian(raw[8..], address);
        board.Out32(0x514, 0);
        board.Out32(0x518, BinaryPrimitives.ReverseEndianness(descriptor));
        return BinaryPrimitives.ReadUInt32BigEndian(board.Ram.Bytes[(int)descriptor..]);
    }

    [Fact]
    public void Contract_Holds() => DeviceContract.Check(Make, static (board, _) =>
    {
        ReadItem(board, FwCfg.KeySignature, 2);
        board.Out32(0x514, 0x01000000);
    }, "fw_cfg");

    [Fact]
    public void SeaBios_Probe_FindsSignatureAndDma()
    {
        var (board, _) = Make();
        Assert.Equal("QEMU"u8.ToArray(), ReadItem(board, 0, 4));
        Assert.Equal(0, board.In8(0x511));
        Assert.Equal(3, ReadItem(board, 1, 4)[0]);
        Assert.Equal(0x554d4551u, board.In32(0x514));
        Assert.Equal(0x47464320u, board.In32(0x518));
    }

    [Fact]
    public void Files_AreSortedAndNumberedFrom20()
    {
        var (board, chip) = Make();
        chip.AddFile("etc/zeta", [1, 2, 3]);
        chip.AddFile("bootorder", [9]);
        var directory = ReadItem(board, FwCfg.KeyFileDirectory, 4 + 128);
        Assert.Equal(2, directory[3]);
        Assert.Equal("bootorder", Encoding.ASCII.GetString(directory, 12, 9));
        Assert.Equal(0x20, BinaryPrimitives.ReadUInt16BigEndian(directory.AsSpan(8)));
        Assert.Equal("etc/zeta", Encoding.ASCII.GetString(directory, 76, 8));
        Assert.Equal(3u, BinaryPrimitives.ReadUInt32BigEndian(directory.AsSpan(68)));
        Assert.Equal(new byte[] { 1, 2, 3 }, ReadItem(board, 0x21, 3));
        Assert.Throws<ArgumentException>(() => chip.AddFile("bootorder", [1]));
        Assert.Throws<ArgumentException>(() => chip.AddFile(new string('a', 56), [1]));
    }

    [Fact]
    public void Dma_ReadsBigItem_FromItsSource()
    {
        var (board, chip) = Make();
        chip.Add(FwCfg.KeyInitrdData, 300_000, static (offset, destination) =>
        {
            for (var i = 0; i < destination.Length; i++) destination[i] = (byte)((offset + i) * 7);
            return true;
        });
        Assert.Equal(0u, RunDma(board, (FwCfg.KeyInitrdData << 16) | 8 | 2, 100_000, 0x2000));
        Assert.Equal(0u, RunDma(board, 4, 50_000, 0));
        Assert.Equal(0u, RunDma(board, 2, 150_000, 0x2000 + 150_000));
        for (var i = 0; i < 100_000; i++) Assert.Equal((byte)(i * 7), board.Ram.Bytes[0x2000 + i]);
        for (var i = 150_000; i < 300_000; i++) Assert.Equal((byte)(i * 7), board.Ram.Bytes[0x2000 + i]);

        board.Out16(0x510, FwCfg.KeyInitrdData);
        for (var i = 0; i < 40_000; i++) Assert.Equal((byte)(i * 7), board.In8(0x511));
    }

    [Fact]
    public void Dma_BadRequests_SetTheErrorBit()
    {
        var (board, chip) = Make();
        chip.Add(0x30, 16, static (_, _) => false);
        Assert.Equal(1u, RunDma(board, 16, 4, 0x2000));
        Assert.Equal(1u, RunDma(board, 2, uint.MaxValue, 0x2000));
        Assert.Equal(1u, RunDma(board, 2, 4, ulong.MaxValue - 1));
        Assert.Equal(1u, RunDma(board, 2, 4, 1ul << 40));
        Assert.Equal(1u, RunDma(board, (0x30 << 16) | 10, 16, 0x2000));
        board.Out32(0x514, uint.MaxValue);
        board.Out32(0x518, uint.MaxValue);
        Assert.Equal(0u, RunDma(board, 8 | 2, 4, 0x2000));
        Assert.Equal("QEMU"u8.ToArray(), board.Ram.Bytes.Slice(0x2000, 4).ToArray());
    }

    [Fact]
    public void RepInsb_ReadsAndStopsAtTheEnd()
    {
        var (board, chip) = Make();
        chip.AddText(FwCfg.KeyCommandLineData, "root=/dev/sda");
        board.Out16(0x510, FwCfg.KeyCommandLineData);
        var request = new IoRequest { Space = IoSpace.Port, Address = 0x511, Size = 1, Count = 20, IsRead = true, DataIsPointer = true, Data = 0x3000 };
        board.Io.Dispatch(ref request);
        Assert.Equal("root=/dev/sda\0\0\0\0\0\0\0", Encoding.ASCII.GetString(board.Ram.Bytes.Slice(0x3000, 20)));
    }

    [Fact]
    public void UnknownKey_ReadsZeros()
    {
        var (board, _) = Make();
        Assert.Equal(new byte[3], ReadItem(board, 0x1234, 3));
        Assert.Equal(0u, RunDma(board, 2, 64, 0x2000));
    }

    [Fact]
    public void RandomAccesses_AreHarmless()
    {
        var (board, chip) = Make();
        chip.Add(FwCfg.KeyKernelData, 5000, static (_, destination) => destination.Length % 2 == 0);
        ChipFuzz.Run(board, [chip], 20_000, 3, random => random.NextBytes(board.Ram.Bytes.Slice(random.Next(1 << 19), 64)));
    }
}
