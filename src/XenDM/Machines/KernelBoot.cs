using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Text;
using XenDM.CommandLine;
using XenDM.Core.Memory;
using XenDM.Devices.Firmware;
using XenDM.Interop.Libc;

namespace XenDM.Machines;

/// <summary>Direct kernel boot (<c>-kernel</c>): the files behind fw_cfg and our boot ROM, which SeaBIOS finds there (firmware/README.md).</summary>
internal sealed class KernelBoot
{
    private const string RomFile = "genroms/xendm-linuxboot.bin";
    private const ulong LowMemoryLimit = 0xf000_0000;

    private readonly IKernelImage _image;
    private readonly FwCfgReader _kernel;
    private readonly FwCfgReader? _initrd;
    private readonly ulong _low;
    private readonly ulong _high;

    private KernelBoot(IKernelImage image, FwCfgReader kernel, FwCfgReader? initrd, ulong low, ulong high)
    {
        _image = image;
        _kernel = kernel;
        _initrd = initrd;
        _low = low;
        _high = high;
    }

    /// <summary>Opens the files and looks at the kernel.</summary>
    /// <returns>Null without <c>-kernel</c>.</returns>
    /// <exception cref="UsageException">A file cannot be read, or is no kernel.</exception>
    /// <param name="lowLimit">Most RAM below 4 GiB.</param>
    /// <param name="dashes">How the options begin in messages.</param>
    public static KernelBoot? Open(QemuOptions options, ulong lowLimit = LowMemoryLimit, string dashes = "-")
    {
        if (options.Kernel is null) return null;
        var kernel = Open(dashes + "kernel", options.Kernel, out var kernelLength);
        var head = new byte[Math.Min(kernelLength, LinuxKernelImage.HeadBytes)];
        if (!ReadAt(kernel, 0, head)) throw new UsageException(dashes + "kernel", $"'{options.Kernel}' cannot be read");
        var ram = (ulong)options.MemoryMiB << 20;
        var low = Math.Min(ram, lowLimit);
        if (MultibootImage.IsMultiboot(head)) return OpenMultiboot(options, kernel, head, kernelLength, low, ram - low, dashes);
        FwCfgReader? initrdReader = null;
        long initrdLength = 0;
        if (options.Initrd is not null)
        {
            var initrd = Open(dashes + "initrd", options.Initrd, out initrdLength);
            initrdReader = (offset, destination) => ReadAt(initrd, offset, destination);
        }

        try
        {
            var image = LinuxKernelImage.Create(head, kernelLength, options.Append, initrdLength, low);
            return new KernelBoot(image, (offset, destination) => ReadAt(kernel, offset, destination), initrdReader, low, ram - low);
        }
        catch (LinuxKernelException e)
        {
            throw new UsageException(dashes + "kernel", $"'{options.Kernel}': {e.Message}");
        }
    }

    /// <summary>A Multiboot kernel; what is given as initial ramdisk are its modules.</summary>
    private static KernelBoot OpenMultiboot(QemuOptions options, FileDescriptor kernel, ReadOnlySpan<byte> head, long kernelLength, ulong low, ulong high, string dashes)
    {
        var modules = new List<MultibootModule>();
        var files = new List<FileDescriptor>();
        foreach (var (path, text) in MultibootImage.ModuleList(options.Initrd))
        {
            files.Add(Open(dashes + "initrd", path, out var length));
            modules.Add(new MultibootModule(length, text));
        }

        try
        {
            var image = MultibootImage.Create(head, kernelLength, options.Kernel!, options.Append, modules, low);
            return new KernelBoot(image, (offset, destination) => ReadAt(kernel, offset, destination), (offset, destination) => image.ReadModules(offset, destination, (index, at, part) => ReadAt(files[index], at, part)), low, high);
        }
        catch (MultibootException e)
        {
            throw new UsageException(dashes + "kernel", $"'{options.Kernel}': {e.Message}");
        }
    }

    /// <summary>The chip with everything that the firmware asks for.</summary>
    public FwCfg MakeChip(IGuestMemory memory)
    {
        var config = new FwCfg(memory);
        AddTo(config);
        config.AddFile("etc/e820", E820(_low, _high));
        return config;
    }

    /// <summary>The kernel's items on a chip that has firmware's own already.</summary>
    public void AddTo(FwCfg config)
    {
        _image.AddTo(config, _kernel, _initrd);
        config.AddFile(RomFile, BootRom());
        config.AddFile("bootorder", Encoding.ASCII.GetBytes($"/rom@{RomFile}\n\0"));
    }

    private static FileDescriptor Open(string option, string path, out long length)
    {
        var fd = Posix.Open(path, OpenFlags.ReadOnly);
        if (fd < 0) throw new UsageException(option, $"cannot open '{path}': {Errno.Describe(fd)}");
        var file = new FileDescriptor(fd);
        if (Posix.FStat(fd, out var status) < 0 || !status.IsRegular || status.Size == 0) throw new UsageException(option, $"'{path}' is not a file with something in it");
        length = status.Size;
        return file;
    }

    private static bool ReadAt(FileDescriptor file, long offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var count = Posix.PRead(file.Fd, destination, offset);
            if (count <= 0) return false;
            offset += count;
            destination = destination[(int)count..];
        }

        return true;
    }

    private static byte[] BootRom()
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("xendm-linuxboot.bin") ?? throw new InvalidOperationException("the boot ROM is not in this program");
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>The RAM below and above 4 GiB: address, length and type 1.</summary>
    public static byte[] E820(ulong low, ulong high)
    {
        var map = new byte[high > 0 ? 40 : 20];
        Entry(map, 0, low);
        if (high > 0) Entry(map.AsSpan(20), 1ul << 32, high);
        return map;

        static void Entry(Span<byte> entry, ulong start, ulong length)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(entry, start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], 1);
        }
    }
}
