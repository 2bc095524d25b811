using System.Collections.Generic;
using System.Globalization;
using XenDM.Hypervisor.Embedded.Xen.Store;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>What a toolstack writes into xenstore for a PV device (libxl_device.c; docs/misc/xenstore-paths.pandoc of Xen).</summary>
/// <param name="Kind">The folder under the guest's <c>device/</c>: vbd, vif, vkbd, vfb, console.</param>
/// <param name="BackendKind">The folder under <c>backend/</c>: qdisk, vif, vkbd, vfb, console.</param>
/// <param name="Id">The device's number.</param>
/// <param name="Front">The front end's own nodes.</param>
/// <param name="Back">The backend's own nodes.</param>
public sealed record PvDeviceNodes(string Kind, string BackendKind, int Id, IReadOnlyList<(string Name, string Value)> Front, IReadOnlyList<(string Name, string Value)> Back)
{
    private const string Initialising = "1";

    internal void Write(XenStore store, int domain)
    {
        var front = $"/local/domain/{domain}/device/{Kind}/{Id}";
        var back = $"/local/domain/0/backend/{BackendKind}/{domain}/{Id}";
        store.Make(front, domain, guestMayWrite: true);
        store.Make(back, domain, guestMayWrite: false);
        foreach (var (name, value) in Back) store.Write($"{back}/{name}", value);
        store.Write($"{back}/frontend", front);
        store.Write($"{back}/frontend-id", domain.ToString(CultureInfo.InvariantCulture));
        store.Write($"{back}/online", "1");
        store.Write($"{front}/backend", back);
        store.Write($"{front}/backend-id", "0");
        foreach (var (name, value) in Front) store.Write($"{front}/{name}", value);

        // With its state a device begins to be one.
        store.Write($"{front}/state", Initialising);
        store.Write($"{back}/state", Initialising);
    }

    /// <summary>A NIC.</summary>
    /// <param name="number">Its handle.</param>
    /// <param name="mac">As text with colons.</param>
    public static PvDeviceNodes Nic(int number, string mac)
    {
        (string, string)[] both = [("handle", number.ToString(CultureInfo.InvariantCulture)), ("mac", mac)];
        return new PvDeviceNodes("vif", "vif", number, both, [.. both, ("type", "vif"), ("hotplug-status", "")]);
    }

    /// <summary>A disk xvda, xvdb, ... whose image the device model opens.</summary>
    /// <param name="number">0 to 15.</param>
    /// <param name="path">Of the image.</param>
    public static PvDeviceNodes Disk(int number, string path, string format, bool readOnly)
    {
        const int xvdMajor = 202;
        var id = (xvdMajor << 8) | (number << 4);
        return new PvDeviceNodes("vbd", "qdisk", id,
            [("virtual-device", id.ToString(CultureInfo.InvariantCulture)), ("device-type", "disk")],
            [("params", $"{(format == "raw" ? "aio" : format)}:{path}"), ("dev", $"xvd{(char)('a' + number)}"), ("type", "qdisk"), ("mode", readOnly ? "r" : "w"), ("device-type", "disk"), ("removable", "0"), ("bootable", "1"), ("discard-enable", "1")]);
    }

    /// <summary>A framebuffer.</summary>
    public static PvDeviceNodes Framebuffer() => new("vfb", "vfb", 0, [], []);

    /// <summary>A keyboard with a pointer.</summary>
    public static PvDeviceNodes Keyboard() => new("vkbd", "vkbd", 0, [], []);

    /// <summary>A console behind the first, which the device model serves. libxl writes what concerns the backend into the front end's folder.</summary>
    /// <param name="number">1 on.</param>
    /// <param name="output">The line, e.g. <c>chardev:ID</c>.</param>
    public static PvDeviceNodes Console(int number, string output)
    {
        const string heldBytes = "1048576";
        return new PvDeviceNodes("console", "console", number,
            [("limit", heldBytes), ("type", "ioemu"), ("output", output), ("tty", ""), ("protocol", "vt100")], [("protocol", "vt100")]);
    }
}
