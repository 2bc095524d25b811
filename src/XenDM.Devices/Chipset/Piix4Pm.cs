using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// Intel 82371AB (PIIX4), function 3: power management at 00:01.3, 8086:7113 revision 3, with its SMBus host controller. Ports: PM1 control
/// at PMBASE+4 (2), APM control and status 0xb2/0xb3, SMBus at SMBBA (16 registers in 64 ports), and the board's general purpose events at
/// 0xafe0 (4). SCI is level triggered. Data sheet: Intel 290562-001, sections 7 and 8.1.
/// Deviations: PM1 status and enable, and the PM timer (PMBASE+0, +2, +8), are the hypervisor's and not mapped here; so the buttons are its
/// too. There is no SMM: APM commands 0xf1 and 0xf0 switch SCI_EN at once, as the SMM code of a BIOS would. GPE0 sits at 0xafe0 where Xen's
/// ACPI tables say so, not at PMBASE+0xc. The SMBus has no devices: each transfer ends with a device error.
/// </summary>
public sealed class Piix4Pm : PciFunction
{
    private const int Pmba = 0x40;
    private const int Devactb = 0x58;

    /// <summary>Bit 25 of DEVACTB.</summary>
    private const byte DevactbApmcEnable = 0x02;
    private const int Pmregmisc = 0x80;
    private const byte PmIoEnable = 0x01;
    private const int Smbba = 0x90;
    private const int Smbhstcfg = 0xd2;
    private const byte SmbHostEnable = 0x01;

    /// <summary>SMBHSTCFG 3:1: host interrupts go to IRQ 9, which is the SCI.</summary>
    private const byte SmbInterruptMask = 0x0e;
    private const byte SmbInterruptIrq9 = 0x08;
    private const ushort ApmPort = 0xb2;
    private const ushort GpePort = 0xafe0;
    private const ushort SmbusPorts = 64;

    private const ushort SciEnable = 1 << 0;
    private const ushort SleepEnable = 1 << 13;
    private const int SleepTypeShift = 10;
    private const int SleepTypeOff = 0;
    private const int SleepTypeSuspend = 1;
    private const int SleepTypeHibernate = 2;
    private const byte ApmAcpiEnable = 0xf1;
    private const byte ApmAcpiDisable = 0xf0;

    private const byte SmbStart = 0x40;
    private const byte SmbInterruptEnable = 0x01;
    private const byte SmbDeviceError = 0x04;
    private const byte SmbFailed = 0x10;
    private const byte SmbKill = 0x02;
    private const byte SmbEvents = 0x1e;

    private static readonly RegisterTable<Piix4Pm> s_pm1 = new RegisterTable<Piix4Pm>("PIIX4 PM1 control", 2)
        .Word(0, "PM1_CNT", static c => ref c._pm1Control, write: static (c, v) => c.WritePm1Control((ushort)v))
        .Build();

    private static readonly RegisterTable<Piix4Pm> s_apm = new RegisterTable<Piix4Pm>("PIIX4 APM", 2)
        .Byte(0, "APMC", static c => ref c._apmControl, after: static c => c.ApmCommand())
        .Byte(1, "APMS", static c => ref c._apmStatus)
        .Build();

    private static readonly RegisterTable<Piix4Pm> s_gpe = new RegisterTable<Piix4Pm>("general purpose events", 4)
        .Word(0, "GPE0_STS", static c => ref c._gpeStatus, mask: 0, clear: 0xffff, after: static c => c.UpdateSci())
        .Word(2, "GPE0_EN", static c => ref c._gpeEnable, after: static c => c.UpdateSci())
        .Build();

    private static readonly RegisterTable<Piix4Pm> s_smbus = new RegisterTable<Piix4Pm>("PIIX4 SMBus", SmbusPorts)
        .Byte(0x0, "SMBHSTSTS", static c => ref c._smbStatus, mask: 0, clear: SmbEvents, after: static c => c.UpdateSci())
        .Byte(0x1, "SMBSLVSTS", static c => ref c._smbSlaveStatus, mask: 0, clear: 0x3c)
        .Byte(0x2, "SMBHSTCNT", static c => ref c._smbControl, read: static c => c.ReadSmbControl(), write: static (c, v) => c.WriteSmbControl((byte)v))
        .Byte(0x3, "SMBHSTCMD", static c => ref c._smbCommand)
        .Byte(0x4, "SMBHSTADD", static c => ref c._smbAddress)
        .Byte(0x5, "SMBHSTDAT0", static c => ref c._smbData0)
        .Byte(0x6, "SMBHSTDAT1", static c => ref c._smbData1)
        .Computed(0x7, 1, "SMBBLKDAT", read: static c => c.ReadSmbBlock(), write: static (c, v) => c.WriteSmbBlock((byte)v))
        .Byte(0x8, "SMBSLVCNT", static c => ref c._smbSlaveControl, mask: 0x0d)
        .Byte(0x9, "SMBSHDWCMD", static c => ref c._smbShadowCommand, mask: 0)
        .Word(0xa, "SMBSLVEVT", static c => ref c._smbSlaveEvent)
        .Word(0xc, "SMBSLVDAT", static c => ref c._smbSlaveData, mask: 0)
        .Reserved(0xe, SmbusPorts - 0xe)
        .Build();

    private readonly IrqLine _sci;
    private readonly IMachineControl _control;
    private readonly Func<bool>? _powerButton;
    private readonly RegionMapping?[] _mappings = new RegionMapping?[4];
    private readonly byte[] _smbBlock = new byte[32];
    private ushort _pm1Control;
    private byte _apmControl;
    private byte _apmStatus;
    private ushort _gpeStatus;
    private ushort _gpeEnable;
    private byte _smbStatus;
    private byte _smbSlaveStatus;
    private byte _smbControl;
    private byte _smbCommand;
    private byte _smbAddress;
    private byte _smbData0;
    private byte _smbData1;
    private byte _smbSlaveControl;
    private byte _smbShadowCommand;
    private ushort _smbSlaveEvent;
    private ushort _smbSlaveData;
    private int _smbBlockIndex;

    /// <param name="sci">The system control interrupt (ISA IRQ 9), driven by level.</param>
    /// <param name="powerButton">Presses the power button where PM1 status lives; null or false: nothing there can do it.</param>
    /// <param name="smbusBase">Where the firmware would have put the SMBus, as nothing in Xen's does.</param>
    /// <param name="smiConfigured">Firmware finds system management interrupts set up (DEVACTB.APMC_EN) and does not try: there is no such mode here.</param>
    public Piix4Pm(IGuestMemory memory, IrqLine sci, IMachineControl control, Func<bool>? powerButton = null, ushort smbusBase = 0xb100, bool smiConfigured = false)
        : base("piix4-pm", 0x8086, 0x7113, 0x068000, 3, memory)
    {
        _sci = sci;
        _control = control;
        _powerButton = powerButton;
        SetDefault16(PciConstants.Status, 0x0280);
        SetWritable16(PciConstants.Command, PciConstants.CommandIo);
        SetInterruptPin(1);
        SetDefault32(Pmba, 1);
        SetWritable16(Pmba, 0xffc0);

        // CNTA to DEVRESJ: activity timers and trap ranges, which nothing here uses.
        for (var register = 0x44; register < 0x80; register++) SetWritable8(register, 0xff);
        if (smiConfigured) SetDefault8(Devactb + 3, DevactbApmcEnable);
        SetWritable8(Pmregmisc, PmIoEnable);
        SetDefault32(Smbba, smbusBase | 1u);
        SetWritable16(Smbba, 0xfff0);
        SetDefault8(Smbhstcfg, SmbInterruptIrq9 | SmbHostEnable);
        SetWritable8(Smbhstcfg, SmbInterruptMask | SmbHostEnable);
        for (var register = 0xd3; register <= 0xd5; register++) SetWritable8(register, 0xff);
    }

    /// <summary>SCI_EN: the guest's ACPI is in charge.</summary>
    public bool IsAcpiEnabled => (_pm1Control & SciEnable) != 0;

    /// <summary>An event of the board: its status bit latches and the SCI follows the enable bit.</summary>
    /// <param name="bit">0 to 15.</param>
    public void RaiseGpe(int bit)
    {
        _gpeStatus |= (ushort)(1 << (bit & 15));
        UpdateSci();
    }

    /// <summary>
    /// Presses the power button. PM1 status is not in this chip (see the deviations): on the embedded machine the callback sets it, on Xen
    /// only the toolstack can (<c>xl trigger</c>) and nothing happens here.
    /// </summary>
    /// <returns>False when nobody took it.</returns>
    public bool PowerButton() => _powerButton?.Invoke() ?? false;

    protected override void OnAttached()
    {
        var ports = Bus!.Ports;
        _mappings[0] = ports.Map("piix4-pm PM1", 0, 2, new TableRegion<Piix4Pm>(s_pm1, this), enabled: false);
        _mappings[1] = ports.Map("piix4-pm SMBus", 0, SmbusPorts, new TableRegion<Piix4Pm>(s_smbus, this), enabled: false);
        _mappings[2] = ports.Map("piix4-pm APM", ApmPort, 2, new TableRegion<Piix4Pm>(s_apm, this));
        _mappings[3] = ports.Map("piix4-pm GPE0", GpePort, 4, new TableRegion<Piix4Pm>(s_gpe, this));
        PlaceBlocks();
    }

    protected override void OnDetached()
    {
        foreach (var mapping in _mappings) mapping?.Remove();
        _sci.Set(false);
    }

    protected override void ConfigWritten(int register, int size)
    {
        if (Overlaps(register, size, Pmba, 4) || Overlaps(register, size, Pmregmisc, 1) || Overlaps(register, size, Smbba, 4) || Overlaps(register, size, Smbhstcfg, 1))
        {
            PlaceBlocks();
            UpdateSci();
        }
    }

    private void PlaceBlocks()
    {
        var pm = BinaryPrimitives.ReadUInt16LittleEndian(Config[Pmba..]) & 0xffc0;
        var smbus = BinaryPrimitives.ReadUInt16LittleEndian(Config[Smbba..]) & 0xfff0;
        _mappings[0]?.Place((ulong)pm + 4, (Config[Pmregmisc] & PmIoEnable) != 0 && pm != 0);
        _mappings[1]?.Place((ulong)smbus, (Config[Smbhstcfg] & SmbHostEnable) != 0 && smbus is not 0 and <= 0x10000 - SmbusPorts);
    }

    /// <summary>SLP_EN starts the sleep that SLP_TYP names and never reads back; the types are those of Xen's ACPI tables.</summary>
    private void WritePm1Control(ushort value)
    {
        _pm1Control = (ushort)(value & 0x1c03);
        UpdateSci();
        if ((value & SleepEnable) == 0) return;
        switch ((value >> SleepTypeShift) & 7)
        {
            case SleepTypeOff: _control.RequestPowerOff("ACPI S5"); break;
            case SleepTypeSuspend: _control.RequestSuspend("ACPI S3"); break;
            case SleepTypeHibernate: _control.RequestPowerOff("ACPI S4"); break;
        }
    }

    private void ApmCommand()
    {
        if (_apmControl == ApmAcpiEnable) _pm1Control |= SciEnable;
        else if (_apmControl == ApmAcpiDisable) _pm1Control &= unchecked((ushort)~SciEnable);
        UpdateSci();
    }

    private void UpdateSci()
    {
        var events = (_gpeStatus & _gpeEnable) != 0 && IsAcpiEnabled;
        var smbus = (_smbControl & SmbInterruptEnable) != 0 && (_smbStatus & SmbEvents) != 0 && (Config[Smbhstcfg] & SmbInterruptMask) == SmbInterruptIrq9;
        _sci.Set(events || smbus);
    }

    /// <summary>Reading the control register rewinds the block data.</summary>
    private uint ReadSmbControl()
    {
        _smbBlockIndex = 0;
        return _smbControl;
    }

    /// <summary>No slave acknowledges its address, so a transfer is over as soon as it starts.</summary>
    private void WriteSmbControl(byte value)
    {
        _smbControl = (byte)(value & 0x1f);
        if ((value & SmbKill) != 0) _smbStatus |= SmbFailed;
        else if ((value & SmbStart) != 0) _smbStatus |= SmbDeviceError;
        UpdateSci();
    }

    private byte ReadSmbBlock()
    {
        var value = _smbBlock[_smbBlockIndex & 31];
        _smbBlockIndex = (_smbBlockIndex + 1) & 31;
        return value;
    }

    private void WriteSmbBlock(byte value)
    {
        _smbBlock[_smbBlockIndex & 31] = value;
        _smbBlockIndex = (_smbBlockIndex + 1) & 31;
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        s_pm1.Reset(this);
        s_apm.Reset(this);
        s_gpe.Reset(this);
        s_smbus.Reset(this);
        _smbBlock.AsSpan().Clear();
        _smbBlockIndex = 0;
        PlaceBlocks();
        UpdateSci();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Registers(s_pm1, this);
        s.Registers(s_apm, this);
        s.Registers(s_gpe, this);
        s.Registers(s_smbus, this);
        s.Bytes("SMBBLKDAT", _smbBlock);
        s.I32("SMBBLKDAT.index", ref _smbBlockIndex, 0, 31);
        s.Line("sci", _sci);
    }

    public override void Restored()
    {
        base.Restored();
        PlaceBlocks();
    }
}
