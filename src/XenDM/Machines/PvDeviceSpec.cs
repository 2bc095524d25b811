using System.Collections.Generic;
using System.Numerics;
using XenDM.CommandLine;
using XenDM.Devices.XenPlatform;

namespace XenDM.Machines;

/// <summary>A placeholder for PV drivers (<c>-device xen-pvdevice</c>), as the command line asks for it.</summary>
/// <param name="Bytes">Of its memory BAR.</param>
/// <param name="NicsBefore">How many NICs stand before it on the command line, and get their slots first.</param>
internal sealed record PvDeviceSpec(string Id, ushort Vendor, ushort Device, byte Revision, uint Bytes, int NicsBefore)
{
    public const string Driver = "xen-pvdevice";
    private const uint MaxBytes = 256 << 20;

    /// <summary>All of them in the order of the command line.</summary>
    /// <exception cref="UsageException">One is wrong.</exception>
    public static List<PvDeviceSpec> FromOptions(QemuOptions options)
    {
        var specs = new List<PvDeviceSpec>();
        var nics = 0;
        foreach (var device in options.Devices)
        {
            var driver = device.Require("driver");
            if (NicSpec.IsModel(driver)) nics++;
            if (driver != Driver) continue;
            device.AllowOnly("driver", "id", "vendor-id", "device-id", "revision", "size");
            device.Require("device-id");
            var bytes = (uint)device.GetNumber("size", XenPvDevice.DefaultBytes, 16, MaxBytes);
            if (!BitOperations.IsPow2(bytes)) throw new UsageException(device.Option, $"{Driver}: size={bytes} must be a power of two");
            var id = device.Get("id") ?? $"{Driver}-{specs.Count}";
            var vendor = (ushort)device.GetNumber("vendor-id", XenPvDevice.DefaultVendor, 0, 0xfffe);
            specs.Add(new PvDeviceSpec(id, vendor, (ushort)device.GetNumber("device-id", 0, 0, 0xfffe), (byte)device.GetNumber("revision", XenPvDevice.DefaultRevision, 0, 0xff), bytes, nics));
        }

        return specs;
    }
}
