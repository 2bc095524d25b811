using System;
using System.IO;
using System.Numerics;
using XenDM.CommandLine;

namespace XenDM.Machines;

/// <summary>The display adapter that was asked for.</summary>
/// <param name="MemoryMiB">Its video memory, a power of two from 1 to 256.</param>
/// <param name="RomFile">Its VGA BIOS, or null for the distribution's.</param>
internal sealed record DisplaySpec(int MemoryMiB, string? RomFile)
{
    private const int DefaultMiB = 16;
    private const int MaxMiB = 256;
    private const int MaxRomBytes = 256 << 10;
    private static readonly string[] s_roms = ["/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin", "/usr/share/vgabios/vgabios-stdvga.bin"];

    /// <returns>Null when the machine has none.</returns>
    /// <exception cref="UsageException">There are two, or one of its properties is wrong.</exception>
    public static DisplaySpec? FromOptions(QemuOptions options)
    {
        DisplaySpec? found = null;
        foreach (var device in options.Devices)
        {
            if (device.Get("driver") != "VGA") continue;
            if (found is not null) throw new UsageException(device.Option, "the machine can have one display adapter");
            device.AllowOnly("driver", "id", "vgamem_mb", "romfile");
            var mib = (int)device.GetNumber("vgamem_mb", DefaultMiB, 1, MaxMiB);
            if (!BitOperations.IsPow2(mib)) throw new UsageException(device.Option, $"vgamem_mb={mib} must be a power of two");
            found = new DisplaySpec(mib, device.Get("romfile"));
        }

        return found;
    }

    /// <summary>Bytes of the VGA BIOS.</summary>
    /// <exception cref="UsageException">There is none, or it cannot be read.</exception>
    public byte[] ReadRom()
    {
        var path = RomFile ?? Array.Find(s_roms, File.Exists) ?? throw new UsageException("-device", $"no VGA BIOS found at {string.Join(" or ", s_roms)}: install the package seabios, or give romfile=FILE");
        try
        {
            var image = File.ReadAllBytes(path);
            if (image.Length is < 512 or > MaxRomBytes || image[0] != 0x55 || image[1] != 0xaa) throw new UsageException("-device", $"'{path}' is no VGA BIOS of up to {MaxRomBytes} bytes");
            return image;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException("-device", $"romfile '{path}' cannot be read: {e.Message}");
        }
    }
}
