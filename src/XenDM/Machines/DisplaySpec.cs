using System;
using System.IO;
using System.Numerics;
using XenDM.CommandLine;

namespace XenDM.Machines;

/// <summary>A kind of display adapter.</summary>
/// <param name="Driver">Its name on command lines.</param>
/// <param name="RomName">The file of its VGA BIOS in the distribution's packages.</param>
/// <param name="DefaultMiB">Its video memory unless another size is asked for; sizes are powers of two.</param>
internal sealed record DisplayModel(string Driver, string RomName, int DefaultMiB, int MinMiB, int MaxMiB)
{
    /// <summary>Bochs's adapter.</summary>
    public static readonly DisplayModel Std = new("VGA", "vgabios-stdvga.bin", 16, 1, 256);

    /// <summary>Cirrus Logic's CL-GD5446.</summary>
    public static readonly DisplayModel Cirrus = new("cirrus-vga", "vgabios-cirrus.bin", 4, 4, 16);

    /// <summary>The model of a driver's name; null when it is none.</summary>
    public static DisplayModel? Find(string? driver) => driver == Std.Driver ? Std : driver == Cirrus.Driver ? Cirrus : null;
}

/// <summary>The display adapter that was asked for.</summary>
/// <param name="MemoryMiB">Its video memory, a power of two that the model can have.</param>
/// <param name="RomFile">Its VGA BIOS, or null for the distribution's.</param>
internal sealed record DisplaySpec(DisplayModel Model, int MemoryMiB, string? RomFile)
{
    private const int MaxRomBytes = 256 << 10;
    private static readonly string[] s_romFolders = ["/usr/share/seabios", "/usr/share/qemu", "/usr/share/vgabios"];

    /// <returns>Null when the machine has none.</returns>
    /// <exception cref="UsageException">There are two, or one of its properties is wrong.</exception>
    public static DisplaySpec? FromOptions(QemuOptions options)
    {
        DisplaySpec? found = null;
        foreach (var device in options.Devices)
        {
            if (DisplayModel.Find(device.Get("driver")) is not { } model) continue;
            if (found is not null) throw new UsageException(device.Option, "the machine can have one display adapter");
            device.AllowOnly("driver", "id", "vgamem_mb", "romfile");
            var mib = (int)device.GetNumber("vgamem_mb", model.DefaultMiB, model.MinMiB, model.MaxMiB);
            if (!BitOperations.IsPow2(mib)) throw new UsageException(device.Option, $"vgamem_mb={mib} must be a power of two");
            found = new DisplaySpec(model, mib, device.Get("romfile"));
        }

        return found;
    }

    /// <summary>Bytes of the VGA BIOS.</summary>
    /// <exception cref="UsageException">There is none, or it cannot be read.</exception>
    public byte[] ReadRom()
    {
        var known = Array.ConvertAll(s_romFolders, folder => Path.Combine(folder, Model.RomName));
        var path = RomFile ?? Array.Find(known, File.Exists) ?? throw new UsageException("-device", $"no VGA BIOS found at {string.Join(" or ", known)}: install the package seabios, or give romfile=FILE");
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
