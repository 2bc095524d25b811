using System.Collections.Generic;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded.Xen.Viridian;
using XenDM.Machines;

namespace XenDM.Run;

/// <summary>What the guest's reset vector leads to.</summary>
internal enum FirmwareKind
{
    /// <summary>A BIOS image that ends at 4 GiB: SeaBIOS, which reads fw_cfg.</summary>
    Bios,

    /// <summary>Xen's hvmloader, an ELF file that is entered in protected mode and starts the BIOS itself.</summary>
    HvmLoader,
}

/// <param name="Path">The image.</param>
/// <param name="Bios">What hvmloader starts.</param>
internal readonly record struct FirmwareChoice(FirmwareKind Kind, string Path, string Bios = "");

internal enum RunDisplay
{
    None,

    /// <summary>The text screen in the terminal that the program was started from.</summary>
    Text,
}

/// <summary>Where the debugger's stub listens: a TCP port of this host, or the path of a Unix socket.</summary>
internal readonly record struct GdbAddress(int Port, string? Path);

/// <summary>A cable of the guest.</summary>
/// <param name="Netdev">What it leads to.</param>
/// <param name="Nic">The emulated NIC; null for none.</param>
/// <param name="Mac">The guest's address, of the emulated NIC and the PV device alike.</param>
/// <param name="IsPv">The guest finds a PV device there.</param>
/// <param name="Dump">File that takes a copy of the frames; null for none.</param>
internal sealed record RunNet(OptionList Netdev, OptionList? Nic, MacAddress Mac, bool IsPv, string? Dump)
{
    /// <summary>Id of the backend.</summary>
    public string Id => Netdev.Require("id");
}

/// <summary>A guest of the embedded machine, as <c>xendm run</c> was asked for it; complete and checked (<see cref="RunArguments"/>).</summary>
internal sealed record RunOptions
{
    public const int MaxCpus = 32;
    public const int MaxSerials = 4;

    /// <summary>PV consoles; Linux has names for 16.</summary>
    public const int MaxConsoles = 8;

    public int MemoryMiB { get; init; } = 512;

    /// <summary>1 to <see cref="MaxCpus"/>.</summary>
    public int Cpus { get; init; } = 1;

    public CpuModel Cpu { get; init; } = CpuModel.V3;

    /// <summary>Disks, and the CD drive at its place (channel 1, unit 0), in the order of the places.</summary>
    public IReadOnlyList<DriveSpec> Drives { get; init; } = [];

    /// <summary>What <c>--net</c> asked for, in order.</summary>
    public IReadOnlyList<RunNet> Nets { get; init; } = [];

    /// <summary>A disk is there for Xen's drivers too.</summary>
    public bool HasPvDisk
    {
        get
        {
            foreach (var drive in Drives)
                if (drive.HasPvTwin) return true;
            return false;
        }
    }

    public string? Kernel { get; init; }

    public string? Initrd { get; init; }

    public string Append { get; init; } = "";

    public FirmwareChoice Firmware { get; init; }

    /// <summary>The VGA's option ROM, or null when none was found.</summary>
    public string? VgaRom { get; init; }

    /// <summary>Up to three of c disk, d CD, n network.</summary>
    public string BootOrder { get; init; } = "cdn";

    /// <summary>The firmware shows its menu.</summary>
    public bool BootMenu { get; init; }

    /// <summary>COM1 to COM4 in the words of <see cref="Backends.Char.CharBackendFactory.FromSerial"/>; <c>none</c> leaves a port out.</summary>
    public IReadOnlyList<string> Serials { get; init; } = ["stdio"];

    public RunDisplay Display { get; init; }

    /// <summary>The VNC server in the words of <c>-vnc</c>; null for none.</summary>
    public string? Vnc { get; init; }

    /// <summary>Layout of the keyboard in the guest, for VNC clients that tell no key codes; null for en-us.</summary>
    public string? Keymap { get; init; }

    /// <summary>In the words of <c>-object</c>: the credentials and secrets of the VNC server.</summary>
    public IReadOnlyList<OptionList> Objects { get; init; } = [];

    /// <summary>The board's display adapter; null for none.</summary>
    public DisplayModel? Vga { get; init; } = DisplayModel.Std;

    /// <summary>File for an animated picture of the screen; null for none.</summary>
    public string? RecordScreen { get; init; }

    /// <summary>The process ends when the guest resets.</summary>
    public bool NoReboot { get; init; }

    /// <summary>The human monitor: <c>stdio</c> or the path of a Unix socket; null for none.</summary>
    public string? Monitor { get; init; }

    /// <summary>Path of the Unix socket for QMP clients; null for none.</summary>
    public string? Qmp { get; init; }

    /// <summary>Where the pages of <c>xendm-web</c> are, empty for any free port of this host; null for no such thing.</summary>
    public string? Web { get; init; }

    /// <summary>The folder for the sockets that <see cref="WebViewer"/> connects to; null without one.</summary>
    public string? WebFolder { get; init; }

    /// <summary>Guest time is a function of the instructions that ran.</summary>
    public bool Icount { get; init; }

    /// <summary>Of the random numbers with <see cref="Icount"/>.</summary>
    public int Seed { get; init; }

    /// <summary>What the machine does is said on standard error; otherwise warnings only.</summary>
    public bool Log { get; init; }

    /// <summary>Chips whose accesses are traced, by id.</summary>
    public IReadOnlyList<string> Trace { get; init; } = [];

    /// <summary>The PV console, in the words that serial ports have too; null for none.</summary>
    public string? Console { get; init; }

    /// <summary>PV consoles behind the first, from hvc1 on; <c>none</c> leaves a number out.</summary>
    public IReadOnlyList<string> MoreConsoles { get; init; } = [];

    /// <summary>A PV framebuffer, and a PV keyboard with its pointer.</summary>
    public bool PvDisplay { get; init; }

    /// <summary>The guest finds Xen, with all that its PV drivers ask for.</summary>
    public bool HasXen { get; init; } = true;

    /// <summary>What the guest finds of Microsoft's hypervisor interface beside Xen's.</summary>
    public ViridianFeatures Viridian { get; init; }

    /// <summary>The guest finds the prefix of forced emulation, as of a Xen that was started with hvm_fep.</summary>
    public bool ForcesEmulation { get; init; }

    public GdbAddress? Gdb { get; init; }

    /// <summary>The kernel, the initial ramdisk and what the host lacks of firmware come from the distribution's packages.</summary>
    public bool Demo { get; init; }

    /// <summary>Port whose first write ends the process; null for none.</summary>
    public ushort? DebugExitPort { get; init; }

    /// <summary>Ports and memory for test programs.</summary>
    public bool TestDevice { get; init; }

    /// <summary>The state of the whole machine is hashed at the end.</summary>
    public bool Hash { get; init; }

    /// <summary>The same in the form that the parts shared with the QEMU-style command line take. The drives are not in it.</summary>
    public QemuOptions Board()
    {
        var board = new QemuOptions
        {
            DomainId = 0,
            Name = "guest",
            Machine = OptionList.Parse("-machine", "pc", "type"),
            MemoryMiB = MemoryMiB,
            Cpus = Cpus,
            MaxCpus = Cpus,
            BootOrder = BootOrder,
            Kernel = Kernel,
            Initrd = Initrd,
            Append = Append,
            Display = Display == RunDisplay.Text ? "text" : "none",
            Vnc = Vnc,
            Keymap = Keymap,
        };
        if (Vga is not null && VgaRom is not null) board.Devices.Add(OptionList.Parse("--vga", $"{Vga.Driver},romfile={OptionList.Escape(VgaRom)}", "driver"));
        foreach (var net in Nets)
        {
            board.Netdevs.Add(net.Netdev);
            if (net.Nic is { } nic) board.Devices.Add(nic);
            if (net.Dump is { } dump) board.Objects.Add(OptionList.Parse("--net", $"filter-dump,id={net.Id}-pcap,netdev={net.Id},file={OptionList.Escape(dump)}", "qom-type"));
        }

        board.Objects.AddRange(Objects);
        board.Serials.AddRange(Serials);
        if (Qmp is not null) AddMonitor(board, "qmp", $"socket,path={OptionList.Escape(Qmp)},server=on,wait=off", "control");
        if (WebFolder is not null)
        {
            AddMonitor(board, "web", $"socket,path={OptionList.Escape(WebViewer.QmpSocket(WebFolder))},server=on,wait=off", "control");
            board.Vnc ??= $"unix:{OptionList.Escape(WebViewer.VncSocket(WebFolder))}";
        }

        if (Monitor is not null) AddMonitor(board, "monitor", Monitor == "stdio" ? "stdio,signal=off" : $"socket,path={OptionList.Escape(Monitor)},server=on,wait=off", "readline");
        return board;
    }

    private static void AddMonitor(QemuOptions board, string id, string backend, string mode)
    {
        board.Chardevs.Add(OptionList.Parse("-chardev", $"{backend},id={id}", "backend"));
        board.Monitors.Add(OptionList.Parse("-mon", $"chardev={id},mode={mode}"));
    }
}
