using System;
using System.IO;
using XenDM.CommandLine;
using XenDM.Core.Pci;
using XenDM.Core.Tracing;

namespace XenDM.Machines;

/// <summary>The boot ROM of a NIC: the file that was asked for, or iPXE as distributions build it for this model.</summary>
internal static class NicRom
{
    private const int MinBytes = 512;
    private static readonly string[] s_folders = ["/usr/lib/ipxe/qemu", "/usr/share/qemu", "/usr/share/ipxe/qemu"];

    /// <summary>The ROM that was asked for by name is there, before anything is touched.</summary>
    /// <exception cref="UsageException">It is not, or it is no ROM.</exception>
    public static void Check(NicSpec nic)
    {
        if (!string.IsNullOrEmpty(nic.RomFile)) ReadFile(nic, nic.RomFile);
    }

    /// <returns>The image; empty for none. A host without the distribution's is told so, and its guests cannot boot from the network.</returns>
    /// <exception cref="UsageException">It cannot be read, or is no ROM.</exception>
    public static byte[] Read(NicSpec nic, IMachineLog log)
    {
        if (nic.RomFile is { } named) return named.Length > 0 ? ReadFile(nic, named) : [];

        var model = nic.Model == NicSpec.Rtl8139C ? NicSpec.Rtl8139 : nic.Model;

        // Images of the first kind boot under both BIOS and UEFI.
        foreach (var kind in (ReadOnlySpan<string>)["efi", "pxe"])
        {
            foreach (var folder in s_folders)
            {
                var path = Path.Combine(folder, $"{kind}-{model}.rom");
                if (File.Exists(path)) return ReadFile(nic, path);
            }
        }

        log.Warn("net", $"{nic.Model} has no boot ROM: there is no efi-{model}.rom in {string.Join(" or ", s_folders)} (package ipxe-qemu); romfile=FILE gives one, an empty romfile= says that none is wanted");
        return [];
    }

    private static byte[] ReadFile(NicSpec nic, string path)
    {
        const string option = "-device";
        try
        {
            var image = File.ReadAllBytes(path);
            return image.Length is >= MinBytes and <= OptionRom.MaxBytes && image[0] == 0x55 && image[1] == 0xaa
                ? image : throw new UsageException(option, $"{nic.Model}: romfile '{path}' is no option ROM of up to {OptionRom.MaxBytes >> 10} KiB");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(option, $"{nic.Model}: romfile '{path}' cannot be read: {e.Message}");
        }
    }
}
