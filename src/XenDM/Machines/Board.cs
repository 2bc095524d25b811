using System;
using System.Collections.Generic;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Devices.Chipset;
using XenDM.Devices.Display.Cirrus;
using XenDM.Devices.Display.Vga;
using XenDM.Devices.Firmware;
using XenDM.Devices.Input;
using XenDM.Devices.Network;
using XenDM.Devices.Serial;
using XenDM.Devices.Storage.Ide;
using XenDM.Devices.XenPlatform;

namespace XenDM.Machines;

/// <summary>What differs from board to board.</summary>
/// <param name="XenPlatform">The xen-platform function is there (<c>xenfv</c>; not on <c>pc</c>).</param>
/// <param name="Acpi">The PIIX4 power management function and ACPI hot-plug are there.</param>
/// <param name="OnlineCpus">vCPUs that run from the start.</param>
/// <param name="MaxCpus">vCPUs that can be.</param>
/// <param name="Serial">A backend for each of up to four ports; null leaves the port out.</param>
/// <param name="BootOrder">Up to three of a, c, d, n.</param>
/// <param name="KernelFiles">fw_cfg with a kernel to boot, or null for none.</param>
/// <param name="PowerButton">Presses the power button where PM1 status lives; null where only the hypervisor can.</param>
/// <param name="Display">The display adapter, or null for none.</param>
/// <param name="FirmwareIds">SeaBIOS runs on the board without hvmloader.</param>
internal sealed record BoardOptions(bool XenPlatform, bool Acpi, int OnlineCpus, int MaxCpus, IReadOnlyList<ICharBackend?> Serial, string BootOrder, FwCfg? KernelFiles, bool FirmwareIds = false, Func<bool>? PowerButton = null, DisplayAdapter? Display = null)
{
    /// <summary>
    /// Disks, by drive id, and NICs that stay when a guest's drivers unplug them, because there are no PV devices in their place; null where a
    /// toolstack made one for each.
    /// </summary>
    public Predicate<string>? IsKept { get; init; }

    /// <summary>PV drivers that must not take over; null for none.</summary>
    public IDriverBlacklist? Blacklist { get; init; }

    /// <summary>Told which RAM below 1 MiB the guest sees; null where it is always there.</summary>
    public ShadowRamChanged? Shadow { get; init; }

    /// <summary>The emulated NICs, in the order of their slots.</summary>
    public IReadOnlyList<NicSpec> Nics { get; init; } = [];

    /// <summary>Placeholders for PV drivers, in the order of their slots.</summary>
    public IReadOnlyList<PvDeviceSpec> PvDevices { get; init; } = [];

    /// <summary>What the NICs' cables lead to.</summary>
    public NetdevTable? Netdevs { get; init; }

    /// <summary>Finds the other end of a cable by its netdev's id, where that is not in <see cref="Netdevs"/>.</summary>
    public Func<string, INetBackend?>? FindNet { get; init; }
}

/// <summary>A display adapter.</summary>
/// <param name="Memory">Its video memory, provided by the home of the machine.</param>
/// <param name="Rom">Image of its VGA BIOS; empty where firmware brings its own.</param>
internal sealed record DisplayAdapter(DisplayModel Model, VideoMemory Memory, byte[] Rom);

/// <summary>
/// The i440FX/PIIX3 PC that QEMU calls <c>xenfv</c>: the chips at the places where hvmloader, the ACPI tables and guests expect them (PCI
/// slots are given out in the order of the list, so that guests find their devices again). This is the one place where chips are wired.
/// </summary>
internal sealed class Board : IIrqSink, IUnplug
{
    private const ushort NicClass = 0x0200;
    private const ushort NvmeClass = 0x0108;
    private const int PlatformSlot = 2;
    private const int Com1Irq = 4;
    private const int Com2Irq = 3;
    private static readonly ushort[] s_serialPorts = [0x3f8, 0x2f8, 0x3e8, 0x2e8];

    private readonly IHypervisor _hypervisor;
    private readonly IMachineLog _log;
    private readonly BoardOptions _options;
    private readonly XenPlatformDevice? _platform;
    private readonly List<IDevice> _devices = [];
    private readonly List<PciFunction> _nics = [];
    private readonly List<(PciFunction Function, int Device, int Number)> _unplugged = [];

    /// <param name="parts">What the chips talk to outside the guest.</param>
    public Board(BoardOptions options, IHypervisor hypervisor, IVmClock clock, IMachineControl control, IMachineEvents events, IMachineLog log)
    {
        _hypervisor = hypervisor;
        _log = log;
        _options = options;
        var ram = hypervisor.Memory;
        Ports = new AddressSpace(IoSpace.Port, 0xffff);
        Memory = new AddressSpace(IoSpace.Memory, ulong.MaxValue);
        Ports.BeginChange();
        Memory.BeginChange();
        Pci = new PciBus(Ports, Memory, hypervisor);
        Io = new IoDispatcher(Ports, Memory, Pci, ram);

        var isa = new Piix3Isa(hypervisor, control);
        AddPci(new I440Fx(ram, isa.ResetControl, options.FirmwareIds, options.Shadow), 0, 0);
        AddPci(isa, 1, 0);
        Ide = new Piix3Ide("piix3-ide", ram, IsaLine(14), IsaLine(15), events, log);
        AddPci(Ide, 1, 1);
        if (options.Acpi)
        {
            Pm = new Piix4Pm(ram, IsaLine(9), control, options.PowerButton, smiConfigured: options.FirmwareIds);
            AddPci(Pm, 1, 3);
            Hotplug = new AcpiHotplug(Pm.RaiseGpe, Eject, options.OnlineCpus);
            Hotplug.MapPorts(Ports);
            _devices.Add(Hotplug);
        }

        if (options.XenPlatform)
        {
            _platform = new XenPlatformDevice(hypervisor, this, log, options.Blacklist);
            AddPci(_platform, PlatformSlot, 0);
        }

        if (options.Display is { } display)
        {
            Vga = display.Model == DisplayModel.Cirrus ? new CirrusVga("vga", display.Memory, display.Rom, ram, clock) : new StdVga("vga", display.Memory, display.Rom, ram, clock);
            AddPci(Vga, Pci.FirstFreeDevice(), 0);
        }

        AddPvDevices(options, ram);
        foreach (var spec in options.Nics)
        {
            AddNic(spec, options, ram, clock);
            AddPvDevices(options, ram);
        }

        AddIsa(control, clock, ram, options);
        if (options.KernelFiles is { } kernel)
        {
            kernel.MapPorts(Ports);
            _devices.Add(kernel);
        }

        Ports.EndChange();
        Memory.EndChange();
    }

    public AddressSpace Ports { get; }

    public AddressSpace Memory { get; }

    public PciBus Pci { get; }

    public IoDispatcher Io { get; }

    public Piix3Ide Ide { get; }

    /// <summary>Null with <c>-no-acpi</c>.</summary>
    public Piix4Pm? Pm { get; }

    /// <inheritdoc cref="Pm"/>
    public AcpiHotplug? Hotplug { get; }

    /// <summary>The display adapter; null without one.</summary>
    public VgaAdapter? Vga { get; }

    /// <summary>The emulated NICs, in the order of the command line; those that the guest unplugged too.</summary>
    public IReadOnlyList<PciFunction> Nics => _nics;

    /// <summary>PCI device numbers of the NICs, in the order in which they are booted from: by their boot index, then by the command line.</summary>
    public int[] NicBootOrder()
    {
        var order = new int[_nics.Count];
        var keys = new long[_nics.Count];
        for (var i = 0; i < order.Length; i++)
        {
            order[i] = _nics[i].Device;
            keys[i] = ((long)(_options.Nics[i].BootIndex < 0 ? int.MaxValue : _options.Nics[i].BootIndex) << 32) | (uint)i;
        }

        Array.Sort(keys, order);
        return order;
    }

    /// <summary>A bit for each slot that the guest unplugged: the board is made whole from its options, so a saved machine says what went.</summary>
    /// <seealso cref="TakeAway"/>
    public uint EmptiedSlots
    {
        get
        {
            var slots = 0u;
            foreach (var (_, device, _) in _unplugged) slots |= 1u << device;
            return slots;
        }
    }

    /// <summary>After the chips of a saved machine were restored: its guest had unplugged these.</summary>
    /// <param name="slots">As <see cref="EmptiedSlots"/> had it then; only what can be unplugged goes.</param>
    public void TakeAway(uint slots)
    {
        foreach (var function in new List<PciFunction>(Pci.Functions))
            if (function.ClassId is NicClass or NvmeClass && (slots >> function.Device & 1) != 0) TakeOff(function);
    }

    /// <summary>Every chip, in the order of construction.</summary>
    public IReadOnlyList<IDevice> Devices => _devices;

    /// <summary>Tells the hypervisor which addresses are ours, now and whenever they change.</summary>
    public void Announce()
    {
        Ports.AddListener(_hypervisor);
        Memory.AddListener(_hypervisor);
    }

    public void Reset(ResetKind kind)
    {
        foreach (var device in _devices) device.Reset(kind);
    }

    /// <summary>Puts back what a guest unplugged, for a machine that starts anew in the same process.</summary>
    public void Replug()
    {
        Ide.Replug();
        foreach (var (function, device, number) in _unplugged) Pci.Add(function, device, number);
        _unplugged.Clear();
    }

    void IIrqSink.SetLevel(int input, bool level) => _hypervisor.SetIsaIrq(input, level);

    private void AddIsa(IMachineControl control, IVmClock clock, IGuestMemory ram, BoardOptions options)
    {
        var cmos = new CmosRam(options.BootOrder);
        cmos.MapPorts(Ports);
        _devices.Add(cmos);
        var dma = new I8237Dma(ram);
        dma.MapPorts(Ports);
        _devices.Add(dma);
        var glue = new IsaGlue(control);
        glue.MapPorts(Ports);
        _devices.Add(glue);
        Keyboard = new I8042(IsaLine(1), IsaLine(12), clock, control);
        Keyboard.MapPorts(Ports);
        _devices.Add(Keyboard);

        // COM1 and COM3 share an interrupt, and COM2 and COM4 do.
        IrqJunction[] lines = [new(IsaLine(Com1Irq)), new(IsaLine(Com2Irq))];
        for (var i = 0; i < Math.Min(options.Serial.Count, s_serialPorts.Length); i++)
        {
            if (options.Serial[i] is not { } backend) continue;
            var uart = new Uart16550($"serial{i}", lines[i & 1].Input(i >> 1), clock, backend);
            uart.MapPorts(Ports, s_serialPorts[i]);
            _devices.Add(uart);
        }
    }

    /// <summary>The keyboard controller with its keyboard and mouse.</summary>
    public I8042 Keyboard { get; private set; } = null!;

    /// <exception cref="UsageException">Its boot ROM cannot be read, or there is no place for it.</exception>
    private void AddNic(NicSpec spec, BoardOptions options, IGuestMemory ram, IVmClock clock)
    {
        const string option = "-device";
        var backend = spec.NetdevId.Length > 0 ? options.Netdevs?.Find(spec.NetdevId) ?? options.FindNet?.Invoke(spec.NetdevId) : null;
        var id = spec.ChipId(_nics.Count);
        var slot = spec.Slot >= 0 ? spec.Slot : Pci.FirstFreeDevice();
        if (slot < 0) throw new UsageException(option, $"{spec.Model}: all PCI slots are taken");
        if (Pci.Find(slot, 0) is { } other) throw new UsageException(option, $"{spec.Model}: PCI slot {slot:x} is taken by {other.Id}");
        var rom = NicRom.Read(spec, _log);
        PciFunction nic = spec.Model switch
        {
            NicSpec.E1000 => new E1000(id, spec.Mac.ToArray(), backend, rom, ram, clock),
            NicSpec.Rtl8139 => new Rtl8139(id, spec.Mac.ToArray(), backend, rom, ram, clock),
            NicSpec.Rtl8139C => new Rtl8139(id, spec.Mac.ToArray(), backend, rom, ram, clock, isPlus: false),
            _ => throw new UsageException(option, $"the model '{spec.Model}' is not built"),
        };
        AddPci(nic, slot, 0);
        _nics.Add(nic);
    }

    /// <summary>Those that stand on the command line between the NICs that are there and the next one.</summary>
    /// <exception cref="UsageException">There is no place for one.</exception>
    private void AddPvDevices(BoardOptions options, IGuestMemory ram)
    {
        foreach (var spec in options.PvDevices)
        {
            if (spec.NicsBefore != _nics.Count) continue;
            var slot = Pci.FirstFreeDevice();
            if (slot < 0) throw new UsageException("-device", $"{PvDeviceSpec.Driver}: all PCI slots are taken");
            AddPci(new XenPvDevice(spec.Id, spec.Vendor, spec.Device, spec.Revision, spec.Bytes, ram), slot, 0);
        }
    }

    private void AddPci(PciFunction function, int device, int number)
    {
        Pci.Add(function, device, number);
        _devices.Add(function);
    }

    void IUnplug.UnplugDisks(bool all) => Ide.UnplugDisks(auxiliaryOnly: !all, _options.IsKept);

    void IUnplug.UnplugNics()
    {
        foreach (var function in FunctionsOfClass(NicClass)) Unplug(function);
    }

    void IUnplug.UnplugNvme()
    {
        foreach (var function in FunctionsOfClass(NvmeClass)) Unplug(function);
    }

    private void Unplug(PciFunction function)
    {
        if (_options.IsKept?.Invoke(function.Id) ?? false) return;
        TakeOff(function);
        _log.Info(function.Id, $"unplugged by driver {_platform?.Driver}");
    }

    /// <summary>A NIC lets go of its cable too.</summary>
    private void TakeOff(PciFunction function)
    {
        _unplugged.Add((function, function.Device, function.Function));
        Pci.Remove(function);
    }

    private List<PciFunction> FunctionsOfClass(ushort classId)
    {
        var found = new List<PciFunction>();
        foreach (var function in Pci.Functions)
            if (function.ClassId == classId) found.Add(function);
        return found;
    }

    private IrqLine IsaLine(int irq) => new(this, irq);

    /// <summary>The guest let go of a PCI slot (ACPI _EJ0).</summary>
    private void Eject(int slot)
    {
        _log.Guest("acpi", $"the guest ejected PCI slot {slot:x2}");
        for (var number = 7; number >= 0; number--)
            if (Pci.Find(slot, number) is { } function) Pci.Remove(function);
    }
}
