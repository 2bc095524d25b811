using System;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>The PV disks that lead to the image of an emulated disk, as far as this process serves them.</summary>
/// <param name="devices">The PV devices, once they are there.</param>
internal sealed class PvTwin(Drive drive, Func<XenBus?> devices)
{
    /// <summary>Keeps a guest from its emulated disks while its PV drivers use the same images.</summary>
    /// <param name="all">All disks; false: those that ask for it.</param>
    public static void Guard(Board board, DriveTable drives, Func<XenBus?> devices, bool all)
    {
        foreach (var drive in drives.All)
            if (!drive.Spec.IsCdrom && (all || drive.Spec.IsStrict)) board.Ide.Guard(drive.Spec.Channel, drive.Spec.Unit, new PvTwin(drive, devices).IsConnected);
    }

    /// <summary>Asked at every command of the disk: no allocation.</summary>
    public bool IsConnected()
    {
        if (devices() is not { } bus) return false;
        for (var i = 0; i < bus.Devices.Count; i++)
        {
            var device = bus.Devices[i];
            if (device.IsConnected && device.Device is IPvDisk { Image: var image } && (image == drive.Image || image.FileName == drive.Spec.File)) return true;
        }

        return false;
    }
}
