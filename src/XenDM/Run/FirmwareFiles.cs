using System;
using System.Collections.Generic;
using System.IO;
using XenDM.CommandLine;
using XenDM.Machines;

namespace XenDM.Run;

/// <summary>Firmware of the distribution: where its packages put it, then what <see cref="DemoAssets"/> keeps.</summary>
internal static class FirmwareFiles
{
    private static readonly string[] s_folders = ["/usr/share/seabios", "/usr/share/qemu", "/usr/share/qemu-kvm", "/usr/local/share/qemu"];
    private static readonly string[] s_xenRoots = ["/usr/lib", "/usr/libexec", "/usr/local/lib"];

    /// <summary>SeaBIOS, or an empty text.</summary>
    public static string SeaBiosOrNone() => Find("bios-256k.bin") ?? "";

    /// <exception cref="UsageException">There is none.</exception>
    public static string SeaBios() => Find("bios-256k.bin") ?? throw new UsageException("--firmware", "no SeaBIOS on this host: install the package seabios, or give --firmware FILE");

    /// <summary>The option ROM of a display adapter, or null.</summary>
    public static string? VgaRom(DisplayModel model) => Find(model.RomName);

    /// <summary>Xen's hvmloader of the newest version that is installed.</summary>
    /// <exception cref="UsageException">There is none.</exception>
    public static string HvmLoader()
    {
        var found = new List<string>();
        foreach (var root in s_xenRoots)
        {
            if (!Directory.Exists(root)) continue;
            foreach (var folder in Directory.EnumerateDirectories(root, "xen*"))
            {
                var file = Path.Combine(folder, "boot", "hvmloader");
                if (File.Exists(file)) found.Add(file);
            }
        }

        found.Sort(StringComparer.Ordinal);
        return found.Count > 0 ? found[^1] : throw new UsageException("--firmware", "no hvmloader on this host: install the package xen-utils-4.17 (or your version's), or give --firmware FILE");
    }

    private static string? Find(string name)
    {
        foreach (var folder in s_folders)
        {
            var file = Path.Combine(folder, name);
            if (File.Exists(file)) return file;
        }

        var kept = Path.Combine(DemoAssets.Folder, name);
        return File.Exists(kept) ? kept : null;
    }
}
