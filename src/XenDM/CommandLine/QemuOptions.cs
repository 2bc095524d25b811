using System;
using System.Collections.Generic;

namespace XenDM.CommandLine;

/// <summary>A QEMU-style command line, parsed and not yet acted on. Order within a list is the order on the command line.</summary>
public sealed class QemuOptions
{
    /// <summary><c>-xen-domid</c>; -1 when not given.</summary>
    public int DomainId { get; set; } = -1;

    /// <summary><c>-xen-attach</c>: the domain exists already (PV and PVH guests).</summary>
    public bool XenAttach { get; set; }

    /// <summary><c>-xen-domid-restrict</c>: after set-up only this domain may be touched, and xenstore not at all.</summary>
    public bool DomainRestrict { get; set; }

    public string? Chroot { get; set; }

    /// <summary>User name, or <c>uid:gid</c>.</summary>
    public string? RunAs { get; set; }

    /// <summary><c>-incoming fd:N</c>: the descriptor; -1 when not given.</summary>
    public int IncomingFd { get; set; } = -1;

    /// <summary><c>-S</c>: wait for <c>cont</c>.</summary>
    public bool StartPaused { get; set; }

    /// <summary><c>-no-shutdown</c>: the process stays when the guest powers off.</summary>
    public bool NoShutdown { get; set; }

    /// <summary><c>-no-acpi</c>: no PIIX4 power management function.</summary>
    public bool NoAcpi { get; set; }

    /// <summary>Type in the key <c>type</c>, then its properties.</summary>
    public OptionList? Machine { get; set; }

    public string MachineType => Machine?.Get("type") ?? (IsQTest ? "pc" : "xenfv");

    public string Name { get; set; } = "";

    public int MemoryMiB { get; set; } = 128;

    public int Cpus { get; set; } = 1;

    public int MaxCpus { get; set; } = 1;

    public string BootOrder { get; set; } = "cda";

    /// <summary><c>-boot</c> says something about the order.</summary>
    public bool BootOrderGiven { get; set; }

    /// <summary><c>-boot once=</c>: the order until the first reset.</summary>
    public string? BootOnce { get; set; }

    /// <summary>Everything else that <c>-boot</c> said, by key.</summary>
    public Dictionary<string, string> Boot { get; } = [];

    /// <summary><c>-nodefaults</c>: no drive that was not asked for.</summary>
    public bool NoDefaults { get; set; }

    /// <summary><c>-no-reboot</c>: a reset ends the process.</summary>
    public bool NoReboot { get; set; }

    /// <summary><c>-no-fd-bootchk</c>: firmware shall not look for a boot signature on floppies.</summary>
    public bool NoFloppyCheck { get; set; }

    /// <summary><c>-bios</c>: an image that ends at 4 GiB.</summary>
    public string? Bios { get; set; }

    /// <summary><c>-uuid</c>.</summary>
    public Guid Uuid { get; set; }

    public string? Kernel { get; set; }

    public string? Initrd { get; set; }

    public string Append { get; set; } = "";

    public string? Vnc { get; set; }

    public string? Keymap { get; set; }

    /// <summary>The last <c>-display</c>.</summary>
    public string Display { get; set; } = "none";

    /// <summary><c>-accel</c> and the machine's <c>accel=</c>, in order.</summary>
    public List<string> Accelerators { get; } = [];

    /// <summary>No CPU runs: a client on the character backend <see cref="QTest"/> drives the board.</summary>
    public bool IsQTest => QTest is not null || Accelerators.Contains("qtest");

    /// <summary><c>-qtest</c>: where the client is, in the words of <c>-serial</c>.</summary>
    public string? QTest { get; set; }

    /// <summary><c>-qtest-log</c>: a file, or none.</summary>
    public string QTestLog { get; set; } = "none";

    /// <summary><c>-global driver.property=value</c>.</summary>
    public Dictionary<string, string> Globals { get; } = [];

    /// <summary>The global that refuses emulated disks to a guest while its PV drivers use the same images: on or off.</summary>
    public const string StrictUnplugGlobal = "xen-platform.strict-unplug";

    /// <exception cref="UsageException">Neither on nor off.</exception>
    public bool IsUnplugStrict => Globals.TryGetValue(StrictUnplugGlobal, out var value) && OptionList.Parse("-global", $"{StrictUnplugGlobal}={OptionList.Escape(value)}").GetBool(StrictUnplugGlobal, false);

    public List<OptionList> Chardevs { get; } = [];

    public List<OptionList> Monitors { get; } = [];

    public List<OptionList> Devices { get; } = [];

    public List<OptionList> Drives { get; } = [];

    public List<OptionList> Netdevs { get; } = [];

    /// <summary><c>-net</c>, as far as it is no <c>none</c>; joined to <see cref="Netdevs"/> and <see cref="Devices"/> in the end.</summary>
    public List<OptionList> Nets { get; } = [];

    /// <summary><c>-object</c>, its type in the key <c>qom-type</c>.</summary>
    public List<OptionList> Objects { get; } = [];

    public List<string> Serials { get; } = [];

    public List<string> UsbDevices { get; } = [];

    public bool Usb { get; set; }
}
