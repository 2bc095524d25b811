using XenDM.Core.State;
using XenDM.Devices.Storage.Ide;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Storage;

public class Piix3IdeContractTests
{
    [Fact]
    public void KeepsTheContractInTheMiddleOfAWrite() => DeviceContract.Check(Make, static (board, _) =>
    {
        board.Out8(0x1f6, 0xe0);
        board.Out8(0x1f2, 2);
        board.Out8(0x1f3, 9);
        board.Out8(0x1f7, 0x30);
        for (var i = 0; i < 100; i++) board.Out16(0x1f0, i);
        board.Out8(0x176, 0xa0);
        board.Out8(0x177, 0xa0);
        board.Out16(0x170, 0x12);
    }, "piix3-ide");

    [Fact]
    public void ADmaCommandBeforeItsBusMasterSurvivesARestore()
    {
        var (board, ide) = Make();
        board.ConfigWrite(1, 1, 0x20, 4, 0xc000);
        board.ConfigWrite(1, 1, 4, 2, 5);
        board.Out8(0x1f6, 0xe0);
        board.Out8(0x1f2, 1);
        board.Out8(0x1f3, 3);
        board.Out8(0x1f7, 0xc8);
        using var saved = new System.IO.MemoryStream();
        StateWriter.Save([ide], saved);

        var (other, restored) = Make();
        StateReader.Load([restored], saved.ToArray());
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(other.Ram.Bytes[0x1000..], 0x20000);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(other.Ram.Bytes[0x1004..], 0x8000_0200);
        other.Out32(0xc004, 0x1000);
        other.Out8(0xc000, 9);
        other.Loop.RunPosted();
        Assert.True(other.Hypervisor.IsaLevel(14));
        Assert.Equal(3, other.Ram.Bytes[0x20000]);
    }

    private static (TestBoard Board, Piix3Ide Ide) Make()
    {
        var board = new TestBoard();
        var ide = new Piix3Ide("piix3-ide", board.Ram, board.IsaLine(14), board.IsaLine(15), board, board);
        board.Pci.Add(ide, 1, 1);
        var disk = new FakeDisk(board.Loop, 1 << 20);
        for (var i = 0; i < disk.Data.Length; i++) disk.Data[i] = (byte)(i / 512);
        ide.AttachDisk(0, 0, "disk0", disk, "S", writeCache: true);
        ide.AttachCdrom(1, 0, "cd", "cd0", null, "C");
        ide.Reset(ResetKind.Cold);
        return (board, ide);
    }
}
