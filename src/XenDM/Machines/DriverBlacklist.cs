using System;
using System.Globalization;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.Devices.XenPlatform;

namespace XenDM.Machines;

/// <summary>The blacklist of PV drivers where administrators write it: a node for each product and build (xen/docs/misc/hvm-emulated-unplug.pandoc).</summary>
/// <param name="store">xenstore, once it is there; null for none.</param>
internal sealed class DriverBlacklist(Func<IXenStore?> store, IMachineLog log) : IDriverBlacklist
{
    private const string Folder = "/mh/driver-blacklist";

    public bool Contains(string product, uint build)
    {
        try
        {
            return store()?.Read(string.Create(CultureInfo.InvariantCulture, $"{Folder}/{product}/{build}")) is not null;
        }
        catch (StoreException e)
        {
            if (log.GuestAllowed) log.Guest("xen-platform", $"xenstore says {e.Error} at {Folder}");
            return false;
        }
    }
}
