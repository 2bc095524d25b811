using System;
using System.Runtime.InteropServices;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Network;

/// <summary>
/// Intel 82540EM gigabit Ethernet controller ("e1000"): 8086:100e revision 3, class 0200, INTA, BAR0 128 KiB of registers, BAR1 64 ports with
/// a window on them, expansion ROM, DMA from and to descriptor rings. Data sheet: Intel 317453, "PCI/PCI-X Family of Gigabit Ethernet
/// Controllers Software Developer's Manual", chapters 3 (descriptors), 5 (EEPROM), 13 (registers). This file holds the registers and the
/// interrupts; <see cref="E1000Transmit"/> and <see cref="E1000Receive"/> are the two DMA engines, <see cref="E1000Phy"/> the PHY.
/// Deviations: no MSI and no power management capability; wake-up, flow control, TBI and half duplex are plain storage, and the packet
/// buffer behind 10000 reads zero; descriptors are written back at once, whatever TXDCTL and RXDCTL say; a packet for which there is no
/// descriptor waits outside instead of being missed; at most 64 KiB are cut into segments for one packet.
/// </summary>
public sealed class E1000 : PciFunction, INetFrontend
{
    private const ushort Vendor = 0x8086;
    private const ushort Product = 0x100e;
    private const ushort SubsystemVendor = 0x1af4;
    private const ushort SubsystemId = 0x1100;
    private const uint RegisterBytes = 128 << 10;
    private const uint PortBytes = 64;
    private const int AtStatistics = 0x4000;
    private const int StatisticsBytes = 0x100;
    private const int AtFilters = 0x5200;
    private const int FiltersBytes = 0xa00;
    private const int AtAddresses = 0x5400;
    private const int AddressesBytes = 0x80;
    private const int TableBytes = 0x5200;

    internal const uint CtrlInitial = 0x0000_0201;
    internal const uint CtrlLinkReset = 1 << 3;
    internal const uint CtrlReset = 1 << 26;
    internal const uint CtrlVlanMode = 1 << 30;
    internal const uint CtrlPhyReset = 1u << 31;
    internal const uint ExtEepromReset = 1 << 13;

    /// <summary>Full duplex, 1000 Mb/s as set and as detected.</summary>
    private const uint StatusFixed = 0x281;
    private const uint StatusLinkUp = 1 << 1;
    private const uint StatusTransmitOff = 1 << 4;

    private const uint EecdClock = 1 << 0;
    private const uint EecdSelect = 1 << 1;
    private const uint EecdIn = 1 << 2;
    private const uint EecdOut = 1 << 3;
    private const uint EecdRequest = 1 << 6;
    private const uint EecdGrant = 1 << 7;
    private const uint EecdPresent = 1 << 8;
    private const uint EecdKept = 0x77;
    private const uint EerdStart = 1 << 0;
    private const uint EerdDone = 1 << 4;
    private const int EepromWords = 64;
    private const int EepromChecksumWord = 0x3f;
    private const ushort EepromChecksum = 0xbaba;

    private const uint MdicWrite = 1 << 26;
    private const uint MdicRead = 2 << 26;
    private const uint MdicReady = 1 << 28;
    private const uint MdicInterrupt = 1 << 29;
    private const uint MdicError = 1 << 30;

    internal const uint IcrTransmitted = 1 << 0;
    internal const uint IcrTransmitEmpty = 1 << 1;
    internal const uint IcrLink = 1 << 2;
    internal const uint IcrReceiveLow = 1 << 4;
    internal const uint IcrOverrun = 1 << 6;
    internal const uint IcrReceived = 1 << 7;
    internal const uint IcrMdio = 1 << 9;
    internal const uint IcrSmallPacket = 1 << 16;
    private const uint IcrAll = 0x1_ffff;

    /// <summary>Unit of ITR in nanoseconds.</summary>
    private const long ThrottleUnit = 256;

    /// <summary>RAH: the address is valid.</summary>
    private const uint AddressValid = 1u << 31;
    private const uint AddressHighMask = 0x8003_ffff;

    private static readonly RegisterTable<E1000> s_registers = new RegisterTable<E1000>("82540EM", TableBytes)
        .Dword(0x0000, "CTRL", static c => ref c._ctrl, reset: CtrlInitial, write: static (c, v) => c.WriteCtrl(v))
        .Computed(0x0004, 4, "CTRL'", read: static c => c._ctrl, write: static (c, v) => c.WriteCtrl(v))
        .Computed(0x0008, 4, "STATUS", read: static c => c.ReadStatus(), write: static (_, _) => { })
        .Reserved(0x000c, 4)
        .Dword(0x0010, "EECD", static c => ref c._eecd, read: static c => c.ReadEecd(), write: static (c, v) => c.WriteEecd(v))
        .Dword(0x0014, "EERD", static c => ref c._eerd, write: static (c, v) => c.WriteEerd(v))
        .Dword(0x0018, "CTRL_EXT", static c => ref c._ctrlExt, write: static (c, v) => c.WriteCtrlExt(v))
        .Dword(0x001c, "FLA", static c => ref c._plain[0])
        .Dword(0x0020, "MDIC", static c => ref c._mdic, reset: MdicReady, write: static (c, v) => c.WriteMdic(v))
        .Reserved(0x0024, 4)
        .Dword(0x0028, "FCAL", static c => ref c._plain[1])
        .Dword(0x002c, "FCAH", static c => ref c._plain[2], mask: 0xffff)
        .Dword(0x0030, "FCT", static c => ref c._plain[3], mask: 0xffff)
        .Reserved(0x0034, 4)
        .Dword(0x0038, "VET", static c => ref c.VlanType, reset: 0x8100, mask: 0xffff)
        .Reserved(0x003c, 0x84)
        .Dword(0x00c0, "ICR", static c => ref c._icr, read: static c => c.ReadIcr(), write: static (c, v) => c.ClearCauses(v))
        .Dword(0x00c4, "ITR", static c => ref c._itr, mask: 0xffff, after: static c => c.ThrottleWritten())
        .Computed(0x00c8, 4, "ICS", read: static _ => 0, write: static (c, v) => c.Raise(v & IcrAll))
        .Reserved(0x00cc, 4)
        .Dword(0x00d0, "IMS", static c => ref c._ims, write: static (c, v) => c.WriteMask(c._ims | v))
        .Reserved(0x00d4, 4)
        .Computed(0x00d8, 4, "IMC", read: static _ => 0, write: static (c, v) => c.WriteMask(c._ims & ~v))
        .Reserved(0x00dc, 0x24)
        .Dword(0x0100, "RCTL", static c => ref c.Rctl, mask: 0x06df_f3fe, after: static c => c._receive.Offer())
        .Reserved(0x0104, 0x6c)
        .Dword(0x0170, "FCTTV", static c => ref c._plain[4], mask: 0xffff)
        .Reserved(0x0174, 4)
        .Dword(0x0178, "TXCW", static c => ref c._plain[5], mask: 0xc000_ffff)
        .Reserved(0x017c, 4)
        .Dword(0x0180, "RXCW", static c => ref c._plain[6], mask: 0)
        .Reserved(0x0184, 0x27c)
        .Dword(0x0400, "TCTL", static c => ref c.Tctl, mask: 0x03ff_fffa, after: static c => c._transmit.Kick())
        .Reserved(0x0404, 0xc)
        .Dword(0x0410, "TIPG", static c => ref c._plain[7], mask: 0x3fff_ffff)
        .Dword(0x0414, "TBT", static c => ref c._plain[8])
        .Reserved(0x0418, 0x40)
        .Dword(0x0458, "AIFS", static c => ref c._plain[9], mask: 0xffff)
        .Reserved(0x045c, 0x9a4)
        .Dword(0x0e00, "LEDCTL", static c => ref c._plain[10], reset: 0x0706_8302)
        .Reserved(0x0e04, 0x1fc)
        .Dword(0x1000, "PBA", static c => ref c._plain[11], reset: 0x0010_0030)
        .Reserved(0x1004, 0x115c)
        .Dword(0x2160, "FCRTL", static c => ref c._plain[12], mask: 0x8000_fff8)
        .Reserved(0x2164, 4)
        .Dword(0x2168, "FCRTH", static c => ref c._plain[13], mask: 0xfff8)
        .Reserved(0x216c, 0x2a4)
        .Dword(0x2410, "RDFH", static c => ref c._plain[14], mask: 0x1fff)
        .Reserved(0x2414, 4)
        .Dword(0x2418, "RDFT", static c => ref c._plain[15], mask: 0x1fff)
        .Reserved(0x241c, 4)
        .Dword(0x2420, "RDFHS", static c => ref c._plain[16], mask: 0x1fff)
        .Reserved(0x2424, 4)
        .Dword(0x2428, "RDFTS", static c => ref c._plain[17], mask: 0x1fff)
        .Reserved(0x242c, 4)
        .Dword(0x2430, "RDFPC", static c => ref c._plain[18], mask: 0x1fff)
        .Reserved(0x2434, 0x3cc)
        .Dword(0x2800, "RDBAL", static c => ref c.Rdbal, mask: 0xffff_fff0)
        .Dword(0x2804, "RDBAH", static c => ref c.Rdbah)
        .Dword(0x2808, "RDLEN", static c => ref c.Rdlen, mask: 0xfff80)
        .Reserved(0x280c, 4)
        .Dword(0x2810, "RDH", static c => ref c.Rdh, mask: 0xffff)
        .Reserved(0x2814, 4)
        .Dword(0x2818, "RDT", static c => ref c.Rdt, mask: 0xffff, after: static c => c._receive.Offer())
        .Reserved(0x281c, 4)
        .Dword(0x2820, "RDTR", static c => ref c.Rdtr, write: static (c, v) => c._receive.WriteDelay(v))
        .Reserved(0x2824, 4)
        .Dword(0x2828, "RXDCTL", static c => ref c._plain[19], reset: 0x0001_0000, mask: 0x013f_3f3f)
        .Dword(0x282c, "RADV", static c => ref c.Radv, mask: 0xffff)
        .Reserved(0x2830, 0x3d0)
        .Dword(0x2c00, "RSRPD", static c => ref c.Rsrpd, mask: 0xfff)
        .Reserved(0x2c04, 0x3fc)
        .Dword(0x3000, "TXDMAC", static c => ref c._plain[20], mask: 1)
        .Reserved(0x3004, 0x40c)
        .Dword(0x3410, "TDFH", static c => ref c._plain[21], mask: 0x1fff)
        .Reserved(0x3414, 4)
        .Dword(0x3418, "TDFT", static c => ref c._plain[22], mask: 0x1fff)
        .Reserved(0x341c, 4)
        .Dword(0x3420, "TDFHS", static c => ref c._plain[23], mask: 0x1fff)
        .Reserved(0x3424, 4)
        .Dword(0x3428, "TDFTS", static c => ref c._plain[24], mask: 0x1fff)
        .Reserved(0x342c, 4)
        .Dword(0x3430, "TDFPC", static c => ref c._plain[25], mask: 0x1fff)
        .Reserved(0x3434, 0x3cc)
        .Dword(0x3800, "TDBAL", static c => ref c.Tdbal, mask: 0xffff_fff0)
        .Dword(0x3804, "TDBAH", static c => ref c.Tdbah)
        .Dword(0x3808, "TDLEN", static c => ref c.Tdlen, mask: 0xfff80)
        .Reserved(0x380c, 4)
        .Dword(0x3810, "TDH", static c => ref c.Tdh, mask: 0xffff)
        .Reserved(0x3814, 4)
        .Dword(0x3818, "TDT", static c => ref c.Tdt, mask: 0xffff, after: static c => c._transmit.Kick())
        .Reserved(0x381c, 4)
        .Dword(0x3820, "TIDV", static c => ref c.Tidv, write: static (c, v) => c._transmit.WriteDelay(v))
        .Reserved(0x3824, 4)
        .Dword(0x3828, "TXDCTL", static c => ref c._plain[26])
        .Dword(0x382c, "TADV", static c => ref c.Tadv, mask: 0xffff)
        .Dword(0x3830, "TSPMT", static c => ref c._plain[27], reset: 0x0100_0400)
        .Reserved(0x3834, 0x17cc)
        .Dword(0x5000, "RXCSUM", static c => ref c.Rxcsum, mask: 0x7ff)
        .Reserved(0x5004, 0x1fc)
        .Build();

    private static readonly RegisterTable<E1000> s_ports = new RegisterTable<E1000>("82540EM ports", (int)PortBytes)
        .Dword(0, "IOADDR", static c => ref c._ioAddress)
        .Computed(4, 4, "IODATA", read: static c => (uint)c._window.Read(c._ioAddress, 4), write: static (c, v) => c._window.Write(c._ioAddress, 4, v))
        .Reserved(8, (int)PortBytes - 8)
        .Build();

    private readonly INetBackend? _backend;
    private readonly IVmClock _clock;
    private readonly IIoRegion _window;
    private readonly E1000Transmit _transmit;
    private readonly E1000Receive _receive;
    private readonly E1000Phy _phy;
    private readonly Microwire _eeprom = new(EepromWords);
    private readonly VmTimer _throttle;
    private readonly uint[] _plain = new uint[28];
    private readonly uint[] _statistics = new uint[StatisticsBytes / 4];
    private readonly uint[] _filters = new uint[FiltersBytes / 4];
    private uint _ctrl;
    private uint _ctrlExt;
    private uint _eecd;
    private uint _eerd;
    private uint _mdic;
    private uint _icr;
    private uint _ims;
    private uint _itr;
    private uint _ioAddress;
    private bool _asserted;
    private long _quietUntil;
    internal uint VlanType, Rctl, Rdbal, Rdbah, Rdlen, Rdh, Rdt, Rdtr, Radv, Rsrpd, Rxcsum, Tctl, Tdbal, Tdbah, Tdlen, Tdh, Tdt, Tidv, Tadv;

    /// <param name="id">Unique on the board, e.g. <c>nic0</c>.</param>
    /// <param name="mac">The six bytes of its address, in the order of the wire.</param>
    /// <param name="backend">The other end of the cable; null for none, and no link.</param>
    /// <param name="rom">Image of its boot ROM, up to 1 MiB; empty for none.</param>
    public E1000(string id, ReadOnlySpan<byte> mac, INetBackend? backend, ReadOnlySpan<byte> rom, IGuestMemory ram, IVmClock clock)
        : base(id, Vendor, Product, 0x020000, 3, ram)
    {
        _backend = backend;
        _clock = clock;
        _phy = new E1000Phy(this, clock);
        _transmit = new E1000Transmit(this, backend, clock);
        _receive = new E1000Receive(this, backend, clock);
        _throttle = clock.CreateTimer(id + ".itr", UpdateIrq);
        SetSubsystem(SubsystemVendor, SubsystemId);
        SetInterruptPin(1);
        ProgramEeprom(mac);
        _window = new RegisterWindow(this);
        AddBar(0, BarKind.Memory, RegisterBytes, _window, "registers");
        AddBar(1, BarKind.Io, PortBytes, new TableRegion<E1000>(s_ports, this), "ports");
        if (rom.IsEmpty) return;
        var image = new OptionRom(rom);
        AddRom((uint)image.Size, image);
    }

    internal Dma Memory => Dma;

    internal uint Ctrl => _ctrl;

    /// <summary>MTA, RAL/RAH, VFTA and the filters behind them: the words from 5200 to 5bff.</summary>
    internal ReadOnlySpan<uint> Filters => _filters;

    /// <summary>Frames go round: the MAC or the PHY is looped back.</summary>
    internal bool IsLooped => (Rctl & E1000Receive.RctlLoopback) != 0 || _phy.IsLooped;

    internal bool IsCableIn => _backend is { IsLinkUp: true };

    internal bool IsLinkUp => _phy.IsLinkUp;

    /// <summary>A frame comes back that the chip itself sends.</summary>
    internal void Loop(ReadOnlySpan<byte> frame) => _receive.Take(default, frame);

    protected override void OnAttached() => _backend?.Attach(this);

    protected override void OnDetached()
    {
        _backend?.Detach(this);
        _transmit.Stop();
        _receive.Stop();
        _phy.Stop();
        _throttle.Cancel();
    }

    protected override void ConfigWritten(int register, int size)
    {
        if (!Overlaps(register, size, PciConstants.Command, 2)) return;
        _receive.Offer();
        _transmit.Kick();
    }

    private void WriteCtrl(uint value)
    {
        if ((value & CtrlReset) != 0)
        {
            ResetMac();
            return;
        }

        if ((value & ~_ctrl & CtrlPhyReset) != 0) _phy.Reset();
        _ctrl = value & ~CtrlLinkReset;
    }

    private void WriteCtrlExt(uint value)
    {
        _ctrlExt = value & ~ExtEepromReset;
        if ((value & ExtEepromReset) != 0) LoadAddress();
    }

    private uint ReadStatus() => StatusFixed | (IsLinkUp ? StatusLinkUp : 0) | ((Tctl & E1000Transmit.TctlEnable) == 0 ? StatusTransmitOff : 0);

    private uint ReadEecd() => _eecd | EecdPresent | (_eeprom.Out ? EecdOut : 0) | ((_eecd & EecdRequest) != 0 ? EecdGrant : 0);

    private void WriteEecd(uint value)
    {
        _eecd = value & EecdKept;
        _eeprom.Drive((value & EecdSelect) != 0, (value & EecdClock) != 0, (value & EecdIn) != 0);
    }

    private void WriteEerd(uint value)
    {
        var word = (int)(value >> 8) & 0xff;
        _eerd = value & 0xff00;
        if ((value & EerdStart) != 0) _eerd |= EerdDone | (word < EepromWords ? (uint)_eeprom[word] << 16 : 0);
    }

    private void WriteMdic(uint value)
    {
        const int address = 1;
        var register = (int)(value >> 16) & 0x1f;
        _mdic = (value & 0x2fff_ffff) | MdicReady;
        if (((value >> 21) & 0x1f) != address) _mdic |= MdicError;
        else if ((value & (MdicWrite | MdicRead)) == MdicRead) _mdic = (_mdic & ~0xffffu) | _phy.Read(register);
        else if ((value & (MdicWrite | MdicRead)) == MdicWrite) _phy.Write(register, (ushort)value);
        if ((value & MdicInterrupt) != 0) Raise(IcrMdio);
    }

    private uint ReadIcr()
    {
        var value = _icr;
        ClearCauses(uint.MaxValue);
        return value;
    }

    private void ClearCauses(uint causes)
    {
        _icr &= ~causes;
        UpdateIrq();
    }

    private void WriteMask(uint value)
    {
        _ims = value & IcrAll;
        UpdateIrq();
    }

    private void ThrottleWritten()
    {
        if (_itr != 0) return;
        _quietUntil = 0;
        UpdateIrq();
    }

    internal void Raise(uint causes)
    {
        _icr |= causes;
        UpdateIrq();
    }

    /// <summary>The line rises when a cause is there and the interval since it last rose is over; it falls with the last cause.</summary>
    private void UpdateIrq()
    {
        if ((_icr & _ims) == 0)
        {
            if (!_asserted) return;
            _asserted = false;
            SetIntx(false);
        }
        else if (!_asserted)
        {
            if (_itr != 0)
            {
                var now = _clock.Now;
                if (now < _quietUntil)
                {
                    if (!_throttle.IsArmed) _throttle.Arm(_quietUntil);
                    return;
                }

                _quietUntil = now + (_itr * ThrottleUnit);
            }

            _asserted = true;
            SetIntx(true);
        }
    }

    /// <summary>A counter stops at its end.</summary>
    /// <param name="offset">Its register.</param>
    internal void Count(int offset)
    {
        ref var counter = ref _statistics[(offset - AtStatistics) / 4];
        if (counter != uint.MaxValue) counter++;
    }

    /// <summary>Adds to a counter of 64 bits, whose low half is at <paramref name="offset"/>.</summary>
    internal void Count64(int offset, uint bytes)
    {
        var index = (offset - AtStatistics) / 4;
        var sum = _statistics[index] | ((ulong)_statistics[index + 1] << 32);
        sum += bytes;
        _statistics[index] = (uint)sum;
        _statistics[index + 1] = (uint)(sum >> 32);
    }

    /// <summary>Reading clears a counter. Of those with two halves both are cleared with the high one.</summary>
    private uint ReadStatistic(int index)
    {
        const int received = 0x88 / 4, sent = 0x90 / 4, total = 0xc0 / 4, totalSent = 0xc8 / 4;
        var value = _statistics[index];
        if (index is received or sent or total or totalSent) return value;
        _statistics[index] = 0;
        if (index is received + 1 or sent + 1 or total + 1 or totalSent + 1) _statistics[index - 1] = 0;
        return value;
    }

    /// <summary>The words that drivers look at, and a checksum that makes the sum of all words baba.</summary>
    private void ProgramEeprom(ReadOnlySpan<byte> mac)
    {
        for (var i = 0; i < 3; i++) _eeprom[i] = (ushort)(mac[2 * i] | (mac[(2 * i) + 1] << 8));
        // Initialisation control words: valid, identifiers are loaded from here, no power management; symmetric and asymmetric pause.
        _eeprom[0x0a] = 0x4003;
        _eeprom[0x0b] = SubsystemId;
        _eeprom[0x0c] = SubsystemVendor;
        _eeprom[0x0d] = Product;
        _eeprom[0x0e] = Vendor;
        _eeprom[0x0f] = 0x3000;
        for (var i = 0x30; i < EepromChecksumWord; i++) _eeprom[i] = 0xffff;
        ushort sum = 0;
        for (var i = 0; i < EepromChecksumWord; i++) sum += _eeprom[i];
        _eeprom[EepromChecksumWord] = (ushort)(EepromChecksum - sum);
    }

    private void LoadAddress()
    {
        const int low = (AtAddresses - AtFilters) / 4;
        _filters[low] = _eeprom[0] | ((uint)_eeprom[1] << 16);
        _filters[low + 1] = _eeprom[2] | AddressValid;
    }

    /// <summary>The registers as BAR0 shows them: the table, counters and filters, and zeroes.</summary>
    private sealed class RegisterWindow(E1000 chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            if (offset is >= AtStatistics and < AtStatistics + StatisticsBytes)
                return (size < 4 ? chip._statistics[(int)(offset - AtStatistics) / 4] : chip.ReadStatistic((int)(offset - AtStatistics) / 4)) >> (8 * ((int)offset & 3));
            if (offset is >= AtFilters and < AtFilters + FiltersBytes) return chip._filters[(int)(offset - AtFilters) / 4] >> (8 * ((int)offset & 3));
            return offset < TableBytes ? s_registers.Read(chip, offset, size) : 0;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (offset is >= AtFilters and < AtFilters + FiltersBytes)
            {
                // The chip takes these words whole.
                if ((offset & 3) != 0 || size < 4) return;
                var isHigh = offset is >= AtAddresses and < AtAddresses + AddressesBytes && (offset & 4) != 0;
                chip._filters[(int)(offset - AtFilters) / 4] = (uint)value & (isHigh ? AddressHighMask : uint.MaxValue);
            }
            else if (offset < TableBytes && offset is not (>= AtStatistics and < AtStatistics + StatisticsBytes))
            {
                s_registers.Write(chip, offset, size, value);
            }
        }
    }

    bool INetFrontend.Receive(in NetFrame frame, ReadOnlySpan<byte> bytes) => _receive.FromOutside(frame, bytes);

    void INetFrontend.SendReady() => _transmit.Kick();

    void INetFrontend.LinkChanged(bool up) => _phy.Refresh();

    /// <summary>CTRL.RST: everything but the PHY, the PCI function and the EEPROM.</summary>
    private void ResetMac()
    {
        s_registers.Reset(this);
        _statistics.AsSpan().Clear();
        _filters.AsSpan().Clear();
        _throttle.Cancel();
        _quietUntil = 0;
        _transmit.Stop();
        _receive.Stop();
        LoadAddress();
        UpdateIrq();
        _receive.Offer();
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        s_ports.Reset(this);
        _asserted = false;
        _eeprom.Reset();
        _phy.Stop();
        ResetMac();
        _phy.PowerOn();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Registers(s_registers, this);
        s.Registers(s_ports, this);
        s.Bytes("statistics", MemoryMarshal.AsBytes(_statistics.AsSpan()));
        s.Bytes("filters", MemoryMarshal.AsBytes(_filters.AsSpan()));
        s.Bool("asserted", ref _asserted);
        s.I64("quiet-until", ref _quietUntil);
        s.Timer(_throttle);
        s.Child("eeprom", _eeprom);
        s.Child("phy", _phy);
        s.Child("transmit", _transmit);
        s.Child("receive", _receive);
    }

    public override void Restored()
    {
        base.Restored();
        _phy.Restored();
        _transmit.Restored();
    }
}
