using XenDM.CommandLine;

namespace XenDM.Machines;

/// <summary>Which machines and devices can be asked for. What is not built is refused by name before anything is touched.</summary>
internal static class Catalogue
{
    /// <param name="displays">There is a terminal to show a screen on.</param>
    /// <exception cref="UsageException">Something is asked for that is not built.</exception>
    public static void Check(QemuOptions options, bool displays)
    {
        var machine = options.MachineType;
        switch (machine)
        {
            case "none" or "xenfv" or "xenfv-3.1" or "xenfv-4.2" or "pc": break;
            case var pc when options.IsQTest && pc.StartsWith("pc-i440fx-", System.StringComparison.Ordinal): break;
            case "xenpv":
                CheckPv(options);
                break;
            default: throw new UsageException("-machine", $"{machine} is not known; known are xenfv, pc, xenpv and none");
        }

        if (options.XenAttach && machine != "xenpv") throw new UsageException("-xen-attach", $"is for -machine xenpv, not {machine}");
        if (options.Machine?.GetBool("igd-passthru", false) ?? false) throw new UsageException("-machine", "igd-passthru is not built");
        foreach (var device in options.Devices)
        {
            var driver = device.Require("driver");
            if (driver is not ("ide-cd" or "ide-hd" or "VGA" or "cirrus-vga" or PvDeviceSpec.Driver) && !NicSpec.IsModel(driver)) throw new UsageException(device.Option, $"the model '{driver}' is not built; known are ide-cd, ide-hd, VGA, cirrus-vga, {PvDeviceSpec.Driver}, {string.Join(", ", NicSpec.Models)}");
        }

        DisplaySpec.FromOptions(options);
        PvDeviceSpec.FromOptions(options);
        _ = options.IsUnplugStrict;
        VncSpec.FromOptions(options);
        if (options.Usb) throw new UsageException("-usb", "USB is not built");
        if (options.UsbDevices.Count > 0) throw new UsageException("-usbdevice", "USB is not built");
        NetdevOptions.Dumps(options, NetdevOptions.FromOptions(options));
        foreach (var nic in NicSpec.FromOptions(options)) NicRom.Check(nic);
        if (options.Display is not ("none" or "vc") && !(displays && options.Display == "text")) throw new UsageException("-display", $"'{options.Display}' is not built; known is none");
        if (options.Serials.Count > 4) throw new UsageException("-serial", "the board has four serial ports");
    }

    /// <summary>A PV or PVH guest has no board that these could be put on.</summary>
    private static void CheckPv(QemuOptions options)
    {
        if (options.IsQTest) throw new UsageException("-machine", "xenpv has no board to test");
        foreach (var device in options.Devices) throw NoBoard(device.Option);
        foreach (var drive in options.Drives) throw NoBoard(drive.Option);
        foreach (var netdev in options.Netdevs) throw NoBoard(netdev.Option);
        foreach (var serial in options.Serials)
            if (serial is not ("none" or "null" or "/dev/null")) throw NoBoard("-serial");
        if (options.Kernel is not null) throw NoBoard("-kernel");
        if (options.IncomingFd >= 0) throw new UsageException("-incoming", "a xenpv machine has no state to restore");

        static UsageException NoBoard(string option) => new(option, "a xenpv machine has no board: its devices come from xenstore");
    }
}
