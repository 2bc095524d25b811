using System;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Network;

/// <summary>
/// RealTek RTL8139C+ fast Ethernet controller: 10ec:8139 revision 20, class 0200, INTA, BAR0 256 ports and BAR1 256 bytes of the same registers,
/// expansion ROM, DMA. Data sheet: RealTek, "RTL8139C(L)+" revision 1.6, sections 6 (registers) and 9 (descriptors). The older RTL8139C
/// (revision 10), which some drivers insist on, has no C+ mode. This file holds the registers, the timer and the interrupt;
/// <see cref="Rtl8139Transmit"/> and <see cref="Rtl8139Receive"/> are the two DMA engines.
/// Deviations: the link is 100 Mb/s full duplex as soon as the cable is in; power management, wake-up, early receive and transmit, and flow
/// control are plain storage; a frame for which there is no room waits outside for a while instead of being missed at once.
/// </summary>
public sealed class Rtl8139 : PciFunction, INetFrontend
{
    private const ushort Vendor = 0x10ec;
    private const ushort Product = 0x8139;
    private const ushort SubsystemVendor = 0x1af4;
    private const ushort SubsystemId = 0x1100;
    private const uint RegisterBytes = 256;
    private const int AtWake = 0x84;
    private const int WakeBytes = 0x50;

    internal const byte CrEmpty = 1 << 0;
    internal const byte CrTransmit = 1 << 2;
    internal const byte CrReceive = 1 << 3;
    private const byte CrReset = 1 << 4;

    internal const ushort IsrReceived = 1 << 0;
    internal const ushort IsrTransmitted = 1 << 2;
    internal const ushort IsrTransmitError = 1 << 3;
    internal const ushort IsrNoReceive = 1 << 4;
    private const ushort IsrLink = 1 << 5;
    internal const ushort IsrNoTransmit = 1 << 7;
    private const ushort IsrSoftware = 1 << 8;
    private const ushort IsrTimer = 1 << 14;
    private const ushort IsrAll = 0xe1ff;

    internal const uint TcrLoopback = 3 << 17;
    private const uint TcrPlus = 0x7480_0000;
    private const uint TcrOld = 0x7400_0000;
    private const uint TcrMask = 0x0307_07f0;

    private const byte EepromOut = 1 << 0;
    private const byte EepromIn = 1 << 1;
    private const byte EepromClock = 1 << 2;
    private const byte EepromSelect = 1 << 3;
    private const int ModeNormal = 0;
    private const int ModeLoad = 1;
    private const int ModeProgram = 2;
    private const int ModeConfig = 3;
    private const int EepromWords = 64;
    private const ushort EepromId = 0x8129;
    private const int EepromAddress = 7;

    internal const ushort PlusTransmit = 1 << 0;
    internal const ushort PlusReceive = 1 << 1;
    internal const ushort PlusChecksum = 1 << 5;
    internal const ushort PlusVlan = 1 << 6;
    private const ushort PlusMask = 0x007b;

    private const byte PollHigh = 1 << 7;
    private const byte PollNormal = 1 << 6;
    private const byte PollSoftware = 1 << 0;

    private const byte MsrLinkDown = 1 << 2;
    private const ushort BmcrKept = 0x3100;

    /// <summary>10 and 100 Mb/s, can negotiate, extended registers.</summary>
    private const ushort BmsrFixed = 0x7809;
    private const ushort BmsrLink = 0x0024;

    private const uint DumpCommand = 1 << 3;
    private const int TallyBytes = 64;

    /// <summary>The timer counts the clock of the PCI bus: 33 MHz.</summary>
    private const long TimerMegahertz = 33;

    private static readonly RegisterTable<Rtl8139> s_registers = new RegisterTable<Rtl8139>("RTL8139C+", (int)RegisterBytes)
        .Dword(0x00, "IDR0", static c => ref c._idr0, write: static (c, v) => c.WriteAddress(ref c._idr0, v))
        .Dword(0x04, "IDR4", static c => ref c._idr4, write: static (c, v) => c.WriteAddress(ref c._idr4, v & 0xffff))
        .Dword(0x08, "MAR0", static c => ref c.Mar0)
        .Dword(0x0c, "MAR4", static c => ref c.Mar4)
        .Dword(0x10, "TSD0", static c => ref c.Tsd[0], reset: Rtl8139Transmit.TsdOwn, write: static (c, v) => c.WriteStatus(0, v))
        .Dword(0x14, "TSD1", static c => ref c.Tsd[1], reset: Rtl8139Transmit.TsdOwn, write: static (c, v) => c.WriteStatus(1, v))
        .Dword(0x18, "TSD2", static c => ref c.Tsd[2], reset: Rtl8139Transmit.TsdOwn, write: static (c, v) => c.WriteStatus(2, v))
        .Dword(0x1c, "TSD3", static c => ref c.Tsd[3], reset: Rtl8139Transmit.TsdOwn, write: static (c, v) => c.WriteStatus(3, v))
        .Dword(0x20, "TSAD0", static c => ref c.Tsad[0], after: static c => c._transmit.NormalWritten())
        .Dword(0x24, "TSAD1", static c => ref c.Tsad[1], after: static c => c._transmit.NormalWritten())
        .Dword(0x28, "TSAD2", static c => ref c.Tsad[2], after: static c => c._transmit.HighWritten())
        .Dword(0x2c, "TSAD3", static c => ref c.Tsad[3], after: static c => c._transmit.HighWritten())
        .Dword(0x30, "RBSTART", static c => ref c.Rbstart)
        .Computed(0x34, 2, "ERBCR", read: static _ => 0, write: static (_, _) => { })
        .Computed(0x36, 1, "ERSR", read: static _ => 0, write: static (_, _) => { })
        .Byte(0x37, "CR", static c => ref c.Cr, read: static c => c.ReadCr(), write: static (c, v) => c.WriteCr((byte)v))
        .Word(0x38, "CAPR", static c => ref c.Capr, reset: Rtl8139Receive.CaprInitial, after: static c => c._receive.Offer())
        .Word(0x3a, "CBR", static c => ref c.Cbr, mask: 0)
        .Word(0x3c, "IMR", static c => ref c._imr, mask: IsrAll, after: static c => c.MaskWritten())
        .Word(0x3e, "ISR", static c => ref c._isr, mask: 0, clear: IsrAll, after: static c => c.UpdateIrq())
        .Dword(0x40, "TCR", static c => ref c.Tcr, write: static (c, v) => c.Tcr = (v & TcrMask) | c._version)
        .Dword(0x44, "RCR", static c => ref c.Rcr, mask: 0x0f03_ffbf, after: static c => c._receive.Offer())
        .Computed(0x48, 4, "TCTR", read: static c => c.ReadTimer(), write: static (c, _) => c.RestartTimer())
        .Dword(0x4c, "MPC", static c => ref c.Mpc, write: static (c, _) => c.Mpc = 0)
        .Byte(0x50, "9346CR", static c => ref c._eepromControl, read: static c => c.ReadEeprom(), write: static (c, v) => c.WriteEeprom((byte)v))
        .Byte(0x51, "CONFIG0", static c => ref c._config0, mask: 0)
        .Byte(0x52, "CONFIG1", static c => ref c._config1, reset: 0x0c, write: static (c, v) => c.WriteConfig(ref c._config1, v, 0xf1))
        .Reserved(0x53, 1)
        .Dword(0x54, "TimerInt", static c => ref c._timerInt, after: static c => c.ArmTimer())
        .Byte(0x58, "MSR", static c => ref c._msr, mask: 0xc0, read: static c => c._msr | (c.IsLinkUp ? 0u : MsrLinkDown))
        .Byte(0x59, "CONFIG3", static c => ref c._config3, reset: 0x01, write: static (c, v) => c.WriteConfig(ref c._config3, v, 0x70))
        .Byte(0x5a, "CONFIG4", static c => ref c._config4, write: static (c, v) => c.WriteConfig(ref c._config4, v, 0xfd))
        .Byte(0x5b, "HLTCLK", static c => ref c._haltClock)
        .Word(0x5c, "MULINT", static c => ref c._mulint)
        .Computed(0x5e, 1, "RERID", read: static _ => 0x10, write: static (_, _) => { })
        .Reserved(0x5f, 1)
        .Computed(0x60, 2, "TSAD", read: static c => c._transmit.Summary(), write: static (_, _) => { })
        .Word(0x62, "BMCR", static c => ref c._bmcr, reset: BmcrKept, write: static (c, v) => c.WriteBmcr((ushort)v))
        .Computed(0x64, 2, "BMSR", read: static c => BmsrFixed | (c.IsLinkUp ? BmsrLink : 0u), write: static (_, _) => { })
        .Word(0x66, "ANAR", static c => ref c._anar, reset: 0x05e1, mask: 0x2de0)
        .Computed(0x68, 2, "ANLPAR", read: static c => c.IsLinkUp ? 0x45e1u : 0, write: static (_, _) => { })
        .Computed(0x6a, 2, "ANER", read: static c => c.IsLinkUp ? 1u : 0, write: static (_, _) => { })
        .Word(0x6c, "DIS", static c => ref c._plain[0], mask: 0)
        .Word(0x6e, "FCSC", static c => ref c._plain[1], mask: 0)
        .Word(0x70, "NWAYTR", static c => ref c._plain[2])
        .Word(0x72, "REC", static c => ref c._plain[3], mask: 0)
        .Word(0x74, "CSCR", static c => ref c._plain[4], reset: 0x03c8)
        .Reserved(0x76, 2)
        .Dword(0x78, "PHY1_PARM", static c => ref c._phy[0])
        .Dword(0x7c, "TW_PARM", static c => ref c._phy[1])
        .Dword(0x80, "PHY2_PARM", static c => ref c._phy[2])
        .Reserved(AtWake, WakeBytes)
        .Reserved(0xd4, 4)
        .Byte(0xd8, "CONFIG5", static c => ref c._config5, mask: 0x7e, clear: 0x01)
        .Computed(0xd9, 1, "TPPoll", read: static _ => 0, write: static (c, v) => c.Poll((byte)v))
        .Reserved(0xda, 6)
        .Word(0xe0, "CPCR", static c => ref c.Cpcr, write: static (c, v) => c.WriteCpcr((ushort)v))
        .Word(0xe2, "IntrMitigate", static c => ref c._plain[5])
        .Dword(0xe4, "RDSAR", static c => ref c.Rdsar, mask: 0xffff_ff00, after: static c => c._receive.RingWritten())
        .Dword(0xe8, "RDSARH", static c => ref c.Rdsarh, after: static c => c._receive.RingWritten())
        .Byte(0xec, "ETThR", static c => ref c._earlyThreshold, mask: 0x3f)
        .Reserved(0xed, 3)
        .Dword(0xf0, "FER", static c => ref c._phy[3])
        .Dword(0xf4, "FEMR", static c => ref c._phy[4])
        .Dword(0xf8, "FPSR", static c => ref c._phy[5], mask: 0)
        .Dword(0xfc, "FFER", static c => ref c._phy[6])
        .Build();

    private readonly INetBackend? _backend;
    private readonly IVmClock _clock;
    private readonly Rtl8139Transmit _transmit;
    private readonly Rtl8139Receive _receive;
    private readonly Microwire _eeprom = new(EepromWords);
    private readonly VmTimer _timer;

    /// <summary>Not saved: after a restore it tells the guest of another cable.</summary>
    private readonly VmTimer _linkCheck;
    private readonly bool _isPlus;
    private readonly uint _version;
    private readonly ushort[] _plain = new ushort[6];
    private readonly uint[] _phy = new uint[7];
    private readonly byte[] _wake = new byte[WakeBytes];
    internal readonly uint[] Tsd = new uint[Rtl8139Transmit.OldDescriptors];
    internal readonly uint[] Tsad = new uint[Rtl8139Transmit.OldDescriptors];
    internal uint Mar0, Mar4, Rbstart, Tcr, Rcr, Mpc, Rdsar, Rdsarh;
    internal ushort Capr, Cbr, Cpcr;
    internal byte Cr;
    private uint _idr0;
    private uint _idr4;
    private ushort _imr;
    private ushort _isr;
    private uint _timerInt;
    private long _timerStart;
    private byte _eepromControl;
    private byte _config0;
    private byte _config1;
    private byte _config3;
    private byte _config4;
    private byte _config5;
    private byte _msr;
    private byte _haltClock;
    private byte _earlyThreshold;
    private ushort _mulint;
    private ushort _bmcr;
    private ushort _anar;

    /// <summary>The level of the cable that the guest was told.</summary>
    private bool _link;

    /// <param name="id">Unique on the board, e.g. <c>nic0</c>.</param>
    /// <param name="mac">The six bytes of its address, in the order of the wire.</param>
    /// <param name="backend">The other end of the cable; null for none, and no link.</param>
    /// <param name="rom">Image of its boot ROM, up to 1 MiB; empty for none.</param>
    /// <param name="isPlus">An RTL8139C+; false for the RTL8139C.</param>
    public Rtl8139(string id, ReadOnlySpan<byte> mac, INetBackend? backend, ReadOnlySpan<byte> rom, IGuestMemory ram, IVmClock clock, bool isPlus = true)
        : base(id, Vendor, Product, 0x020000, (byte)(isPlus ? 0x20 : 0x10), ram)
    {
        _backend = backend;
        _clock = clock;
        _isPlus = isPlus;
        _version = isPlus ? TcrPlus : TcrOld;
        _transmit = new Rtl8139Transmit(this, backend, clock);
        _receive = new Rtl8139Receive(this, backend, clock);
        _timer = clock.CreateTimer(id + ".timer", TimerMatched);
        _linkCheck = clock.CreateTimer(id + ".link", RefreshLink);
        SetSubsystem(SubsystemVendor, SubsystemId);
        SetInterruptPin(1);
        ProgramEeprom(mac);
        var registers = new RegisterBlock(this);
        AddBar(0, BarKind.Io, RegisterBytes, registers, "ports");
        AddBar(1, BarKind.Memory, RegisterBytes, registers, "registers");
        if (rom.IsEmpty) return;
        var image = new OptionRom(rom);
        AddRom((uint)image.Size, image);
    }

    internal Dma Memory => Dma;

    internal bool IsLinkUp => _link;

    internal bool IsLooped => (Tcr & TcrLoopback) == TcrLoopback;

    internal bool IsPlusTransmit => (Cpcr & PlusTransmit) != 0;

    internal bool IsPlusReceive => (Cpcr & PlusReceive) != 0;

    /// <summary>The chip's address: four bytes, and two.</summary>
    internal (uint Low, ushort High) Address => (_idr0, (ushort)_idr4);

    /// <summary>A frame comes back that the chip itself sends.</summary>
    internal void Loop(ReadOnlySpan<byte> frame) => _receive.Take(default, frame);

    protected override void OnAttached() => _backend?.Attach(this);

    protected override void OnDetached()
    {
        _backend?.Detach(this);
        _transmit.Stop();
        _receive.Stop();
        _timer.Cancel();
    }

    protected override void ConfigWritten(int register, int size)
    {
        if (!Overlaps(register, size, PciConstants.Command, 2)) return;
        _receive.Offer();
        _transmit.Kick();
    }

    private bool CanConfigure => _eepromControl >> 6 == ModeConfig;

    private void WriteAddress(ref uint register, uint value)
    {
        if (CanConfigure) register = value;
    }

    private void WriteConfig(ref byte register, uint value, byte mask)
    {
        if (CanConfigure) register = (byte)((register & ~mask) | ((byte)value & mask));
    }

    /// <summary>In C+ mode the first two of these are the address and the command of the tally counters' dump.</summary>
    private void WriteStatus(int index, uint value)
    {
        if (!IsPlusTransmit && !IsPlusReceive)
        {
            _transmit.WriteOld(index, value);
            return;
        }

        Tsd[index] = value;
        if (index == 0 && (value & DumpCommand) != 0) DumpTally();
    }

    private void DumpTally()
    {
        Span<byte> tally = stackalloc byte[TallyBytes];
        tally.Clear();
        _transmit.WriteTally(tally);
        _receive.WriteTally(tally);
        Dma.TryWrite(((ulong)Tsd[1] << 32) | (Tsd[0] & ~(uint)(TallyBytes - 1)), tally);
        Tsd[0] &= ~DumpCommand;
    }

    private uint ReadCr() => Cr | (uint)(_receive.IsEmpty ? CrEmpty : 0);

    private void WriteCr(byte value)
    {
        if ((value & CrReset) != 0)
        {
            SoftReset();
            return;
        }

        var changed = value ^ Cr;
        Cr = (byte)(value & (CrTransmit | CrReceive));
        if ((changed & CrReceive) != 0) _receive.Enabled();
        if ((changed & CrTransmit) != 0) _transmit.Enabled();
    }

    private void WriteCpcr(ushort value)
    {
        Cpcr = _isPlus ? (ushort)(value & PlusMask) : (ushort)0;
        _receive.Offer();
    }

    private void Poll(byte value)
    {
        if (!_isPlus) return;
        if ((value & PollSoftware) != 0) Raise(IsrSoftware);
        _transmit.Poll((value & PollHigh) != 0, (value & PollNormal) != 0);
    }

    private byte ReadEeprom()
    {
        var value = (byte)(_eepromControl & ~EepromOut);
        return _eepromControl >> 6 == ModeProgram && _eeprom.Out ? (byte)(value | EepromOut) : value;
    }

    private void WriteEeprom(byte value)
    {
        _eepromControl = (byte)(value & 0xce);
        switch (value >> 6)
        {
            case ModeProgram: _eeprom.Drive((value & EepromSelect) != 0, (value & EepromClock) != 0, (value & EepromIn) != 0); break;
            case ModeLoad:
                LoadEeprom();
                _eepromControl = ModeNormal;
                break;
            default: _eeprom.Drive(false, false, false); break;
        }
    }

    private void WriteBmcr(ushort value)
    {
        if (CanConfigure) _bmcr = (value & 0x8000) != 0 ? BmcrKept : (ushort)(value & BmcrKept);
    }

    private uint ReadTimer() => (uint)Ticks;

    private long Ticks => (_clock.Now - _timerStart) * TimerMegahertz / 1000;

    private void RestartTimer()
    {
        _timerStart = _clock.Now;
        ArmTimer();
    }

    /// <summary>The counter matches once in each of its rounds.</summary>
    private void ArmTimer()
    {
        if (_timerInt == 0)
        {
            _timer.Cancel();
            return;
        }

        var left = unchecked(_timerInt - (uint)Ticks);
        _timer.ArmAfter(((left == 0 ? 1L << 32 : left) * 1000 / TimerMegahertz) + 1);
    }

    private void TimerMatched()
    {
        Raise(IsrTimer);
        ArmTimer();
    }

    internal void Raise(ushort causes)
    {
        _isr |= causes;
        UpdateIrq();
    }

    /// <summary>Drivers that took frames out of the descriptors tell by nothing else than that they want interrupts again.</summary>
    private void MaskWritten()
    {
        // A driver that stops in the middle of the ring, because its turn is over, has acknowledged what is still there: Linux' 8139too polls only
        // after that cause. It hears of the rest when it wants interrupts again.
        if (!IsPlusReceive && (Cr & CrReceive) != 0 && !_receive.IsEmpty) _isr |= IsrReceived;
        UpdateIrq();
        _receive.Offer();
    }

    private void UpdateIrq() => SetIntx((_isr & _imr) != 0);

    /// <summary>The words that the chip loads from the EEPROM and drivers read there: identifiers, address, configuration.</summary>
    private void ProgramEeprom(ReadOnlySpan<byte> mac)
    {
        _eeprom[0] = EepromId;
        _eeprom[1] = Vendor;
        _eeprom[2] = Product;
        _eeprom[3] = SubsystemVendor;
        _eeprom[4] = SubsystemId;
        _eeprom[5] = 0x2040;
        _eeprom[6] = 0x0101;
        for (var i = 0; i < 3; i++) _eeprom[EepromAddress + i] = (ushort)(mac[2 * i] | (mac[(2 * i) + 1] << 8));
    }

    private void LoadEeprom()
    {
        _idr0 = _eeprom[EepromAddress] | ((uint)_eeprom[EepromAddress + 1] << 16);
        _idr4 = _eeprom[EepromAddress + 2];
    }

    private sealed class RegisterBlock(Rtl8139 chip) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            if (offset < AtWake || offset + (uint)size > AtWake + WakeBytes) return s_registers.Read(chip, offset, size);
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)chip._wake[(int)offset - AtWake + i] << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (offset < AtWake || offset + (uint)size > AtWake + WakeBytes) s_registers.Write(chip, offset, size, value);
            else
                for (var i = 0; i < size; i++) chip._wake[(int)offset - AtWake + i] = (byte)(value >> (8 * i));
        }
    }

    bool INetFrontend.Receive(in NetFrame frame, ReadOnlySpan<byte> bytes) => _receive.FromOutside(frame, bytes);

    void INetFrontend.SendReady() => _transmit.Kick();

    void INetFrontend.LinkChanged(bool up) => RefreshLink();

    private void RefreshLink()
    {
        var up = _backend is { IsLinkUp: true };
        if (up == _link) return;
        _link = up;
        Raise(IsrLink);
    }

    /// <summary>CR.RST: the address and the multicast filter stay (section 6.7), and so does what the EEPROM and the driver configured.</summary>
    private void SoftReset()
    {
        var (idr0, idr4, mar0, mar4) = (_idr0, _idr4, Mar0, Mar4);
        var (config1, config3, config4, config5, bmcr, anar, control) = (_config1, _config3, _config4, _config5, _bmcr, _anar, _eepromControl);
        s_registers.Reset(this);
        (_idr0, _idr4, Mar0, Mar4) = (idr0, idr4, mar0, mar4);
        (_config1, _config3, _config4, _config5, _bmcr, _anar, _eepromControl) = (config1, config3, config4, config5, bmcr, anar, control);
        ResetEngines();
    }

    private void ResetEngines()
    {
        Tcr = _version;
        _timerStart = _clock.Now;
        _timer.Cancel();
        _transmit.Stop();
        _receive.Stop();
        UpdateIrq();
        _receive.Offer();
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        s_registers.Reset(this);
        _wake.AsSpan().Clear();
        _eeprom.Reset();
        LoadEeprom();
        _link = _backend is { IsLinkUp: true };
        _transmit.ClearTally();
        _receive.ClearTally();
        ResetEngines();
        _timerStart = 0;
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Same("plus", _isPlus ? 1u : 0);
        s.Registers(s_registers, this);
        s.Bytes("wake", _wake);
        s.I64("timer-start", ref _timerStart);
        s.Timer(_timer);
        s.Bool("link", ref _link);
        s.Child("eeprom", _eeprom);
        s.Child("transmit", _transmit);
        s.Child("receive", _receive);
    }

    public override void Restored()
    {
        base.Restored();
        _transmit.Restored();
        _linkCheck.ArmAfter(0);
    }
}
