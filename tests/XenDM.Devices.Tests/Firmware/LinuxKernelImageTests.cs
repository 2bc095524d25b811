using System;
using System.Buffers.Binary;
using XenDM.Core.State;
using XenDM.Devices.Firmware;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Firmware;

public sealed class LinuxKernelImageTests
{
    private const ulong Memory = 256 << 20;

    private static byte[] Kernel(ushort protocol = 0x020f, int kernelBytes = 5000)
    {
        var file = new byte[(5 * 512) + kernelBytes];
        for (var i = 5 * 512; i < file.Length; i++) file[i] = (byte)(i * 13);
        file[0x1f1] = 4;
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x1fe), 0xaa55);
        "HdrS"u8.CopyTo(file.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x206), protocol);
        file[0x211] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x22c), 0x7fffffff);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x238), 2047);
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(0x258), 0x1000000);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x260), 0x2000000);
        return file;
    }

    private static string Error(byte[] file, ulong memory = Memory, long initrd = 0, string line = "") =>
        Assert.Throws<LinuxKernelException>(() => LinuxKernelImage.Create(file, file.Length, line, initrd, memory)).Message;

    [Fact]
    public void Header_IsFilledIn()
    {
        var file = Kernel();
        var image = LinuxKernelImage.Create(file, file.Length, "console=ttyS0", 3_000_000, Memory);
        Assert.Equal(5 * 512, image.KernelOffset);
        Assert.Equal(5000u, image.KernelSize);
        Assert.Equal(0xff, image.Setup[0x210]);
        Assert.Equal(0x81, image.Setup[0x211]);
        Assert.Equal(0xfe00, BinaryPrimitives.ReadUInt16LittleEndian(image.Setup.AsSpan(0x224)));
        Assert.Equal(0x20000u, BinaryPrimitives.ReadUInt32LittleEndian(image.Setup.AsSpan(0x228)));
        Assert.Equal(image.InitrdAddress, BinaryPrimitives.ReadUInt32LittleEndian(image.Setup.AsSpan(0x218)));
        Assert.Equal(3_000_000u, BinaryPrimitives.ReadUInt32LittleEndian(image.Setup.AsSpan(0x21c)));
        Assert.Equal(0u, image.InitrdAddress & 0xfff);
        Assert.True(image.InitrdAddress + 3_000_000ul <= Memory - (1 << 20));
    }

    [Fact]
    public void Errors_SayWhatIsWrong()
    {
        Assert.Contains("not a Linux kernel", Error(new byte[4096]), StringComparison.Ordinal);
        Assert.Contains("not a Linux kernel", Error([]), StringComparison.Ordinal);
        Assert.Contains("2.01 is too old", Error(Kernel(0x0201)), StringComparison.Ordinal);
        Assert.Contains("cut off", Error(Kernel()[..2000]), StringComparison.Ordinal);
        var low = Kernel();
        low[0x211] = 0;
        Assert.Contains("zImage", Error(low), StringComparison.Ordinal);
        Assert.Contains("kernel needs", Error(Kernel(), 32 << 20), StringComparison.Ordinal);
        Assert.Contains("ramdisk", Error(Kernel(), Memory, 250 << 20), StringComparison.Ordinal);
        Assert.Contains("ramdisk", Error(Kernel(), Memory, 1L << 40), StringComparison.Ordinal);
        Assert.Contains("command line", Error(Kernel(), line: new string('x', 3000)), StringComparison.Ordinal);
    }

    [Fact]
    public void Parts_ComeThroughFwCfg()
    {
        var board = new TestBoard();
        var config = new FwCfg(board.Hypervisor.Memory);
        config.MapPorts(board.Ports);
        config.Reset(ResetKind.Cold);
        var file = Kernel();
        LinuxKernelImage.Create(file, file.Length, "quiet", 8, Memory).AddTo(
            config,
            (offset, destination) => file.AsSpan((int)offset, destination.Length).TryCopyTo(destination),
            static (_, destination) =>
            {
                destination.Fill(0x5a);
                return true;
            });
        board.Out16(0x510, FwCfg.KeyKernelData);
        for (var i = 0; i < 5000; i++) Assert.Equal(file[(5 * 512) + i], board.In8(0x511));
        board.Out16(0x510, FwCfg.KeyInitrdData);
        Assert.Equal(0x5a, board.In8(0x511));
        board.Out16(0x510, FwCfg.KeyCommandLineSize);
        Assert.Equal(6, board.In8(0x511));
    }
}
