using System;
using System.Collections.Generic;
using System.Globalization;
using XenDM.CommandLine;
using XenDM.Core.Backends;

namespace XenDM.Machines;

/// <summary>One NIC of the board, as the command line asks for it.</summary>
/// <param name="Model">One of <see cref="Models"/>.</param>
/// <param name="Id">Name of the device in QMP; empty where none was given.</param>
/// <param name="NetdevId">Its backend in the <see cref="NetdevTable"/>; empty for a NIC without a cable.</param>
internal sealed record NicSpec(string Model, string Id, string NetdevId, MacAddress Mac)
{
    public const string E1000 = "e1000";
    public const string Rtl8139 = "rtl8139";

    /// <summary>The chip before the C+, for drivers that take no other.</summary>
    public const string Rtl8139C = "rtl8139c";

    /// <summary>The model where none was asked for.</summary>
    public const string DefaultModel = E1000;

    /// <summary>Where addresses begin that nobody chose: locally administered, and known to users of other device models.</summary>
    private const ulong FirstMac = 0x525400123456;

    private static readonly string[] s_keys = ["driver", "id", "netdev", "mac", "romfile", "rombar", "bootindex", "bus", "addr"];

    /// <summary>The models that can be asked for.</summary>
    public static IReadOnlyList<string> Models { get; } = [E1000, Rtl8139, Rtl8139C];

    /// <summary>The option ROM: null for the distribution's, empty for none.</summary>
    public string? RomFile { get; init; }

    /// <summary>Place in the boot order; -1 for none of its own.</summary>
    public int BootIndex { get; init; } = -1;

    /// <summary>PCI device number that was asked for; -1 for the next free one.</summary>
    public int Slot { get; init; } = -1;

    /// <summary>Name of the chip's state and of its lines in the log.</summary>
    public string ChipId(int index) => Id.Length > 0 ? Id : $"{Model}-{index}";

    /// <summary>The address of a NIC for which nobody chose one.</summary>
    /// <param name="index">Of the NIC on the command line.</param>
    public static MacAddress DefaultMac(int index) => new(FirstMac + (ulong)index);

    /// <summary>The driver's name of a <c>-device</c> stands for a NIC.</summary>
    public static bool IsModel(string driver) => Canonical(driver) is not null;

    /// <summary>All NICs in the order of the command line. Their netdevs may stand before or after them.</summary>
    /// <param name="netdevs">Ids of all backends.</param>
    /// <exception cref="UsageException">A NIC is wrong, its netdev is not there, or two share one.</exception>
    public static List<NicSpec> FromOptions(QemuOptions options, IReadOnlyCollection<string> netdevs)
    {
        var nics = new List<NicSpec>();
        var unused = new HashSet<string>(netdevs);
        foreach (var device in options.Devices)
        {
            if (Canonical(device.Require("driver")) is not { } model) continue;
            device.AllowOnly(s_keys);
            var netdev = device.Get("netdev") ?? "";
            if (netdev.Length > 0 && !unused.Remove(netdev)) throw new UsageException(device.Option, $"{model}: there is no -netdev with id={netdev}, or another device uses it");
            nics.Add(new NicSpec(model, device.Get("id") ?? "", netdev, Address(device, nics.Count))
            {
                RomFile = device.GetNumber("rombar", 1, 0, 1) == 0 ? "" : device.Get("romfile"),
                BootIndex = (int)device.GetNumber("bootindex", -1, -1, int.MaxValue),
                Slot = FindSlot(device),
            });
        }

        return nics;
    }

    /// <summary>All NICs of a command line with its backends.</summary>
    /// <exception cref="UsageException">Something about them is wrong.</exception>
    public static List<NicSpec> FromOptions(QemuOptions options) => FromOptions(options, NetdevOptions.Ids(NetdevOptions.FromOptions(options)));

    /// <exception cref="UsageException">Not an address of a NIC.</exception>
    public static MacAddress ParseMac(string option, string text)
    {
        if (!MacAddress.TryParse(text, out var mac)) throw new UsageException(option, $"'mac={text}' must be six pairs of hexadecimal digits, such as 00:16:3e:12:34:56");
        return !mac.IsMulticast && mac.Value != 0 ? mac : throw new UsageException(option, $"'mac={text}' is no address of a single NIC");
    }

    private static MacAddress Address(OptionList device, int index) => device.Get("mac") is { } text ? ParseMac(device.Option, text) : DefaultMac(index);

    private static string? Canonical(string driver) => driver switch
    {
        E1000 or "e1000-82540em" => E1000,
        Rtl8139 or Rtl8139C => driver,
        _ => null,
    };

    /// <summary>SLOT or SLOT.0, in hexadecimal as in lspci.</summary>
    private static int FindSlot(OptionList device)
    {
        if (device.Get("bus") is { } bus and not "pci.0") throw new UsageException(device.Option, $"bus={bus}: there is pci.0");
        if (device.Get("addr") is not { } text) return -1;
        var slot = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text[2..] : text;
        if (slot.EndsWith(".0", StringComparison.Ordinal)) slot = slot[..^2];
        return int.TryParse(slot, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number) && number is > 0 and < 32
            ? number : throw new UsageException(device.Option, $"addr={text} must be a PCI device number from 1 to 1f");
    }
}
