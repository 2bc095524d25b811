using System.Text;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Pci;
using XenDM.Core.State;
using XenDM.Core.Tracing;

namespace XenDM.Devices.XenPlatform;

/// <summary>
/// What the board does when PV drivers take over: emulated devices go, so that no disk and no NIC shows twice. Called while the guest waits
/// for its port write; when a call returns, the devices are drained, flushed and gone.
/// </summary>
public interface IUnplug
{
    /// <param name="all">All IDE, SATA and SCSI disks; false: all IDE and SATA disks but the primary master. CD drives always stay.</param>
    void UnplugDisks(bool all);

    /// <summary>All functions of class 0200.</summary>
    void UnplugNics();

    /// <summary>All NVMe functions.</summary>
    void UnplugNvme();
}

/// <summary>Drivers that must not take over; as xen/docs/misc/hvm-emulated-unplug.pandoc has it.</summary>
public interface IDriverBlacklist
{
    /// <summary>Called while the guest waits for its port write.</summary>
    /// <param name="product">The name that goes with a product number.</param>
    /// <param name="build">What the driver says of itself.</param>
    bool Contains(string product, uint build);
}

/// <summary>
/// The Xen platform device at 00:02.0: 5853:0001, class ff80, revision 1, INTA (raised by Xen, never by this chip), BAR0 256 ports, BAR1
/// 16 MiB of prefetchable address space for grant frames; and the fixed ports 0x10 to 0x1f with the unplug protocol. No DMA.
/// Specification: xen/docs/misc/hvm-emulated-unplug.pandoc.
/// Deviations: none.
/// </summary>
public sealed class XenPlatformDevice : PciFunction
{
    private const ushort FixedPort = 0x10;
    private const ushort FixedPorts = 16;
    private const uint IoBarBytes = 0x100;
    private const uint MemoryBarBytes = 16 << 20;
    private const ushort Magic = 0x49d2;

    /// <summary>The driver that announced itself is to leave the emulated devices alone. It may unplug all the same.</summary>
    private const ushort MagicBlacklisted = 0xd249;
    private const byte ProtocolVersion = 1;
    private const int AtFlags = 0;
    private const int AtLog = 2;
    private const int BarUnplugAll = 4;
    private const int BarUnplug = 8;
    private const byte FlagRomLocked = 0x01;

    /// <summary>The BIOS area, c0000 to fffff.</summary>
    private const ulong RomFirstPage = 0xc0;
    private const uint RomPages = 0x40;
    private const int LineBytes = 4096;

    private const ushort UnplugAllDisks = 1 << 0;
    private const ushort UnplugAllNics = 1 << 1;
    private const ushort UnplugAuxiliaryDisks = 1 << 2;
    private const ushort UnplugNvmeDisks = 1 << 3;

    private readonly IHypervisor _hypervisor;
    private readonly IUnplug _unplug;
    private readonly IMachineLog _log;
    private readonly IDriverBlacklist? _blacklist;
    [Glue("a line of log that is not ended yet")]
    private readonly byte[] _line = new byte[LineBytes];
    [Glue("a line of log that is not ended yet; after a restore its rest stands alone")]
    private int _lineLength;
    [Glue("unplugs that were logged past the rate limit")]
    private ushort _logged;
    [Glue("a mapping; made when the function comes onto the bus")]
    private RegionMapping? _fixedMapping;
    private byte _flags;
    private ushort _product;
    private uint _build;
    private bool _isBlacklisted;

    /// <param name="blacklist">Null: no driver is on it.</param>
    public XenPlatformDevice(IHypervisor hypervisor, IUnplug unplug, IMachineLog log, IDriverBlacklist? blacklist = null)
        : base("xen-platform", 0x5853, 0x0001, 0xff8000, 1, hypervisor.Memory)
    {
        _hypervisor = hypervisor;
        _unplug = unplug;
        _log = log;
        _blacklist = blacklist;
        SetSubsystem(0x5853, 0x0001);
        SetDefault16(PciConstants.Command, PciConstants.CommandIo | PciConstants.CommandMemory);
        SetInterruptPin(1);
        AddBar(0, BarKind.Io, IoBarBytes, new BarPorts(this), "ports");
        AddBar(1, BarKind.MemoryPrefetchable, MemoryBarBytes, new EmptyMemory(), "grant space");
    }

    /// <summary>The ROM area is write-protected.</summary>
    public bool IsRomLocked => (_flags & FlagRomLocked) != 0;

    /// <summary>The driver that announced itself, for the log.</summary>
    public string Driver => $"product {_product} ({ProductName(_product) ?? (_product == 0 ? "none given" : "unknown")}) build {_build}";

    public override int StateVersion => 2;

    protected override void OnAttached() => _fixedMapping = Bus!.Ports.Map("xen-platform fixed ports", FixedPort, FixedPorts, new FixedPortRegion(this));

    protected override void OnDetached() => _fixedMapping?.Remove();

    private void WriteFlags(byte value)
    {
        var locked = (value & FlagRomLocked) != 0;
        if (_hypervisor.SetMemoryKind(RomFirstPage, RomPages, locked ? MemoryKind.RamReadOnly : MemoryKind.Ram)) _flags = locked ? FlagRomLocked : (byte)0;
        else _log.Guest(Id, "the hypervisor refused to change the protection of the ROM area");
    }

    /// <summary>Any disk bit starts with IDE and SCSI disks, as drivers have come to know it: bit 3 alone takes them too.</summary>
    private void Unplug(ushort mask)
    {
        if ((mask & (UnplugAllDisks | UnplugAllNics | UnplugAuxiliaryDisks | UnplugNvmeDisks)) == 0) return;
        Report(mask);
        var auxiliaryOnly = (mask & (UnplugAllDisks | UnplugAuxiliaryDisks)) == UnplugAuxiliaryDisks;
        if ((mask & (UnplugAllDisks | UnplugAuxiliaryDisks | UnplugNvmeDisks)) != 0) _unplug.UnplugDisks(all: !auxiliaryOnly);
        if ((mask & UnplugNvmeDisks) != 0) _unplug.UnplugNvme();
        if ((mask & UnplugAllNics) != 0) _unplug.UnplugNics();
    }

    /// <summary>The first unplug of each kind is always logged; a guest that goes on is limited.</summary>
    private void Report(ushort mask)
    {
        var isNew = (mask & ~_logged) != 0;
        if (!isNew && !_log.GuestAllowed) return;
        _logged |= mask;
        var text = $"unplug{((mask & UnplugAllDisks) != 0 ? " disks" : "")}{((mask & UnplugAuxiliaryDisks) != 0 ? " auxiliary-disks" : "")}" +
            $"{((mask & UnplugAllNics) != 0 ? " nics" : "")}{((mask & UnplugNvmeDisks) != 0 ? " nvme" : "")} by driver {Driver}";
        if (isNew) _log.Info(Id, text);
        else _log.Guest(Id, text);
    }

    /// <summary>A driver says which build it is. A product without a name cannot be on the blacklist.</summary>
    private void Announce(uint build)
    {
        _build = build;
        _isBlacklisted = ProductName(_product) is { } product && (_blacklist?.Contains(product, build) ?? false);
        if (_isBlacklisted && _log.GuestAllowed) _log.Guest(Id, $"driver {Driver} is on the blacklist");
    }

    /// <summary>Null for numbers that nobody has (xen/include/public/hvm/pvdrivers.h).</summary>
    private static string? ProductName(ushort product) => product switch
    {
        1 => "xensource-windows",
        2 => "gplpv-windows",
        3 => "linux",
        4 => "xenserver-windows-v7.0+",
        5 => "xenserver-windows-v7.2+",
        0xffff => "experimental",
        _ => null,
    };

    private void LogByte(byte value)
    {
        if (value == '\n' || _lineLength == LineBytes) FlushLine();
        if (value is not (byte)'\n' and not (byte)'\r') _line[_lineLength++] = value is >= 0x20 and < 0x7f or (byte)'\t' ? value : (byte)'?';
    }

    private void FlushLine()
    {
        if (_lineLength > 0 && _log.GuestAllowed) _log.Guest(Id, Encoding.ASCII.GetString(_line, 0, _lineLength));
        _lineLength = 0;
    }

    /// <summary>What an access means depends on its width, so this is no table of registers.</summary>
    private sealed class FixedPortRegion(XenPlatformDevice chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => (offset, size) switch
        {
            (AtFlags, 1) => chip._flags,
            (AtFlags, 2) => chip._isBlacklisted ? MagicBlacklisted : Magic,
            (AtLog, 1) => ProtocolVersion,
            _ => AddressSpace.Mask(size),
        };

        public void Write(ulong offset, int size, ulong value)
        {
            switch (offset, size)
            {
                case (AtFlags, 1): chip.WriteFlags((byte)value); break;
                case (AtFlags, 2): chip.Unplug((ushort)value); break;
                case (AtFlags, 4): chip.Announce((uint)value); break;
                case (AtLog, 1): chip.LogByte((byte)value); break;
                case (AtLog, 2): chip._product = (ushort)value; break;
            }
        }
    }

    /// <summary>The older way to the same: flags at 0, unplug of everything at 4, unplug by number or log at 8.</summary>
    private sealed class BarPorts(XenPlatformDevice chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size) => offset == AtFlags && size == 1 ? chip._flags : AddressSpace.Mask(size);

        public void Write(ulong offset, int size, ulong value)
        {
            switch (offset)
            {
                case AtFlags: chip.WriteFlags((byte)value); break;
                case BarUnplugAll when value == 1: chip.Unplug(UnplugAllDisks | UnplugAllNics); break;
                case BarUnplug when value == 1: chip.Unplug(UnplugAllDisks); break;
                case BarUnplug when value == 2: chip.Unplug(UnplugAllNics); break;
                case BarUnplug: chip.LogByte((byte)value); break;
            }
        }
    }

    private sealed class EmptyMemory : IIoRegion
    {
        public ulong Read(ulong offset, int size) => 0;

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        if (IsRomLocked) _hypervisor.SetMemoryKind(RomFirstPage, RomPages, MemoryKind.Ram);
        _flags = 0;
        _product = 0;
        _build = 0;
        _isBlacklisted = false;
        _lineLength = 0;
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.U8("flags", ref _flags);
        s.U16("product", ref _product);
        s.U32("build", ref _build);
        s.Bool("blacklisted", ref _isBlacklisted, since: 2);
    }

    /// <summary>Page types do not travel with the guest's memory.</summary>
    public override void Restored()
    {
        base.Restored();
        if (IsRomLocked) _hypervisor.SetMemoryKind(RomFirstPage, RomPages, MemoryKind.RamReadOnly);
    }
}
