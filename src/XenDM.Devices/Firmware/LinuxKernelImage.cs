using System;
using System.Buffers.Binary;
using System.Text;

namespace XenDM.Devices.Firmware;

/// <summary>A file that cannot be booted as a Linux kernel; the message says why.</summary>
public sealed class LinuxKernelException : Exception
{
    public LinuxKernelException(string message)
        : base(message)
    {
    }
}

/// <summary>
/// A Linux bzImage for x86, split as its boot protocol asks: real-mode set-up code with the header filled in, and the protected-mode kernel,
/// which stays in its file. Specification: Linux, Documentation/arch/x86/boot.rst, protocol 2.02 or newer.
/// </summary>
public sealed class LinuxKernelImage : IKernelImage
{
    /// <summary>Bytes from the start of the file that are enough to make an image (less when the file is shorter).</summary>
    public const int HeadBytes = 256 * SectorBytes;

    /// <summary>Where the boot ROM puts the set-up code, the command line and the kernel.</summary>
    public const uint SetupAddress = 0x10000;

    /// <inheritdoc cref="SetupAddress"/>
    public const uint CommandLineAddress = 0x20000;

    /// <inheritdoc cref="SetupAddress"/>
    public const uint KernelAddress = 0x100000;

    private const int SectorBytes = 512;
    private const int MinHeaderBytes = 0x268;
    private const int SetupSectors = 0x1f1;
    private const int DefaultSetupSectors = 4;
    private const int BootFlag = 0x1fe;
    private const int HeaderMagic = 0x202;
    private const int ProtocolVersion = 0x206;
    private const int TypeOfLoader = 0x210;
    private const int LoadFlags = 0x211;
    private const int RamdiskImage = 0x218;
    private const int RamdiskSize = 0x21c;
    private const int HeapEnd = 0x224;
    private const int CommandLinePointer = 0x228;
    private const int InitrdAddressMax = 0x22c;
    private const int ExtendedLoadFlags = 0x236;
    private const int CommandLineSize = 0x238;
    private const int PreferredAddress = 0x258;
    private const int InitSize = 0x260;
    private const ushort OldestProtocol = 0x0202;
    private const byte LoadedHigh = 0x01;
    private const byte CanUseHeap = 0x80;
    private const ushort LoadableAbove4G = 0x02;

    /// <summary>A loader without a number of its own.</summary>
    private const byte UnknownLoader = 0xff;

    /// <summary>The limit before protocol 2.03 told it.</summary>
    private const uint OldInitrdMax = 0x37ff_ffff;

    /// <summary>The limit before protocol 2.06 told it, without the final zero.</summary>
    private const int OldCommandLineMax = 255;

    /// <summary>SeaBIOS keeps its tables at the top of low memory; the ramdisk stays clear of them.</summary>
    private const uint FirmwareReserve = 1 << 20;

    private LinuxKernelImage(byte[] setup, long kernelSize, uint initrdAddress, uint initrdSize, byte[] commandLine)
    {
        Setup = setup;
        KernelSize = (uint)kernelSize;
        InitrdAddress = initrdAddress;
        InitrdSize = initrdSize;
        CommandLine = commandLine;
    }

    /// <summary>The set-up code, header filled in.</summary>
    public byte[] Setup { get; }

    /// <summary>Where the kernel begins in the file.</summary>
    public long KernelOffset => Setup.Length;

    /// <summary>Bytes of the kernel.</summary>
    public uint KernelSize { get; }

    /// <summary>Guest physical address of the ramdisk; 0 without one.</summary>
    public uint InitrdAddress { get; }

    /// <summary>Bytes of the ramdisk.</summary>
    public uint InitrdSize { get; }

    /// <summary>The command line with its final zero.</summary>
    public byte[] CommandLine { get; }

    /// <summary>Takes a kernel apart.</summary>
    /// <param name="head">The start of the file: <see cref="HeadBytes"/>, or all of a shorter file.</param>
    /// <param name="fileLength">Bytes of the whole file.</param>
    /// <param name="initrdLength">Bytes of the ramdisk, 0 for none.</param>
    /// <param name="lowMemory">Bytes of RAM below 4 GiB.</param>
    /// <exception cref="LinuxKernelException">The file is no kernel, too old or cut off, or something does not fit in memory.</exception>
    public static LinuxKernelImage Create(ReadOnlySpan<byte> head, long fileLength, string commandLine, long initrdLength, ulong lowMemory)
    {
        if (head.Length < MinHeaderBytes || BinaryPrimitives.ReadUInt16LittleEndian(head[BootFlag..]) != 0xaa55 || !head.Slice(HeaderMagic, 4).SequenceEqual("HdrS"u8))
            throw new LinuxKernelException("not a Linux kernel for x86 (no boot header)");
        var protocol = BinaryPrimitives.ReadUInt16LittleEndian(head[ProtocolVersion..]);
        if (protocol < OldestProtocol) throw new LinuxKernelException($"its boot protocol {protocol >> 8}.{protocol & 0xff:d2} is too old, 2.02 is needed");
        if ((head[LoadFlags] & LoadedHigh) == 0) throw new LinuxKernelException("a zImage, which loads below 1 MiB; a bzImage is needed");
        var sectors = head[SetupSectors] == 0 ? DefaultSetupSectors : head[SetupSectors];
        var setupLength = (sectors + 1) * SectorBytes;
        if (setupLength >= fileLength || setupLength > head.Length) throw new LinuxKernelException($"cut off: {fileLength} bytes, {setupLength} of them set-up code");
        var kernelSize = fileLength - setupLength;
        var memoryEnd = Math.Min(lowMemory, uint.MaxValue);
        if (kernelSize > uint.MaxValue) throw new LinuxKernelException($"{kernelSize} bytes are too long for a kernel");
        var kernelEnd = KernelAddress + (ulong)kernelSize;
        if (protocol >= 0x020a) kernelEnd = Math.Max(kernelEnd, Math.Min(BinaryPrimitives.ReadUInt64LittleEndian(head[PreferredAddress..]), uint.MaxValue) + BinaryPrimitives.ReadUInt32LittleEndian(head[InitSize..]));
        if (kernelEnd > memoryEnd) throw new LinuxKernelException($"the kernel needs {kernelEnd >> 20} MiB of memory below 4 GiB, the guest has {memoryEnd >> 20}");
        var text = CommandLineBytes(commandLine, protocol >= 0x0206 ? BinaryPrimitives.ReadUInt32LittleEndian(head[CommandLineSize..]) : OldCommandLineMax);
        var initrd = initrdLength == 0 ? 0 : PlaceInitrd(head, protocol, initrdLength, memoryEnd, kernelEnd);

        var setup = head[..setupLength].ToArray();
        setup[TypeOfLoader] = UnknownLoader;
        setup[LoadFlags] |= CanUseHeap;
        BinaryPrimitives.WriteUInt16LittleEndian(setup.AsSpan(HeapEnd), (ushort)(CommandLineAddress - SetupAddress - 0x200));
        BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(CommandLinePointer), CommandLineAddress);
        BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(RamdiskImage), initrd);
        BinaryPrimitives.WriteUInt32LittleEndian(setup.AsSpan(RamdiskSize), (uint)initrdLength);
        return new LinuxKernelImage(setup, kernelSize, initrd, (uint)initrdLength, text);
    }

    /// <inheritdoc/>
    public void AddTo(FwCfg config, FwCfgReader kernelFile, FwCfgReader? initrd)
    {
        var kernelOffset = KernelOffset;
        config.AddU32(FwCfg.KeySetupAddress, SetupAddress);
        config.AddU32(FwCfg.KeySetupSize, (uint)Setup.Length);
        config.Add(FwCfg.KeySetupData, Setup);
        config.AddU32(FwCfg.KeyKernelAddress, KernelAddress);
        config.AddU32(FwCfg.KeyKernelSize, KernelSize);
        config.Add(FwCfg.KeyKernelData, KernelSize, (offset, destination) => kernelFile(kernelOffset + offset, destination));
        config.AddU32(FwCfg.KeyCommandLineAddress, CommandLineAddress);
        config.AddU32(FwCfg.KeyCommandLineSize, (uint)CommandLine.Length);
        config.Add(FwCfg.KeyCommandLineData, CommandLine);
        config.AddU32(FwCfg.KeyInitrdAddress, InitrdAddress);
        config.AddU32(FwCfg.KeyInitrdSize, initrd is null ? 0 : InitrdSize);
        if (initrd is not null) config.Add(FwCfg.KeyInitrdData, InitrdSize, initrd);
    }

    private static byte[] CommandLineBytes(string text, uint max)
    {
        var bytes = Encoding.UTF8.GetBytes(text + "\0");
        if (bytes.Length - 1 > max) throw new LinuxKernelException($"the command line has {bytes.Length - 1} bytes, this kernel takes {max}");
        return bytes;
    }

    /// <summary>As high as the kernel allows, on a page boundary.</summary>
    private static uint PlaceInitrd(ReadOnlySpan<byte> head, ushort protocol, long length, ulong memoryEnd, ulong kernelEnd)
    {
        var max = protocol >= 0x0203 ? BinaryPrimitives.ReadUInt32LittleEndian(head[InitrdAddressMax..]) : OldInitrdMax;
        if (protocol >= 0x020c && (BinaryPrimitives.ReadUInt16LittleEndian(head[ExtendedLoadFlags..]) & LoadableAbove4G) != 0) max = uint.MaxValue;
        var end = Math.Min(max + 1ul, memoryEnd - Math.Min(memoryEnd, FirmwareReserve));
        if ((ulong)length > end || end - (ulong)length < kernelEnd + 4095) throw new LinuxKernelException($"{length} bytes of ramdisk do not fit in the guest's memory");
        return (uint)(end - (ulong)length) & ~0xfffu;
    }
}
