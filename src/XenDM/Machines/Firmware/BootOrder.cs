using System.Collections.Generic;
using System.Text;

namespace XenDM.Machines.Firmware;

/// <summary>What firmware may boot from.</summary>
internal enum BootSource
{
    Disk,
    Cdrom,
}

/// <summary>A drive on the PIIX3's IDE channels.</summary>
/// <param name="Channel">0 or 1.</param>
/// <param name="Unit">0 master, 1 slave.</param>
internal readonly record struct BootDrive(BootSource Source, int Channel, int Unit);

/// <summary>Makes the lines of <c>bootorder</c>: Open Firmware paths, the first is tried first. What is not listed comes last.</summary>
internal static class BootOrder
{
    private const string PciRoot = "/pci@i0cf8";

    /// <param name="letters">c disks, d CDs, n network cards; others are passed over.</param>
    /// <param name="drives">In the order in which drives of one kind are tried.</param>
    /// <param name="nics">PCI device numbers of network cards.</param>
    /// <param name="firstRoms">fw_cfg names of option ROMs to boot before all else, such as a kernel's.</param>
    public static byte[] Lines(string letters, IReadOnlyList<BootDrive> drives, IReadOnlyList<int> nics, IReadOnlyList<string> firstRoms)
    {
        var lines = new List<string>();
        foreach (var rom in firstRoms) lines.Add($"/rom@{rom}");
        foreach (var letter in letters)
        {
            if (letter == 'n')
            {
                foreach (var device in nics) lines.Add($"{PciRoot}/ethernet@{device:x}/ethernet-phy@0");
                continue;
            }

            foreach (var drive in drives)
            {
                var match = drive.Source == BootSource.Disk ? 'c' : 'd';
                if (match == letter) lines.Add($"{PciRoot}/ide@1,1/drive@{drive.Channel}/disk@{drive.Unit}");
            }
        }

        return Encoding.ASCII.GetBytes(string.Join('\n', lines) + "\0");
    }
}
