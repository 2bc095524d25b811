using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// Xen's part of the ACPI fixed hardware, as the FADT of an HVM guest has it: PM1a event block (0xb000, 4 ports) and the 32-bit PM timer of
/// 3.579545 MHz (0xb008, 4 ports; also at 0x608). SCI is level triggered. Specification: ACPI 6.4, sections 4.8.3.1 (PM1 event) and 4.8.3.3 (PM timer).
/// PM1a control and the general purpose events are the chipset's. Deviation: SCI does not look at SCI_EN, which is not here (as in Xen).
/// </summary>
public sealed class PmTimer : IDevice
{
    private const ushort EventPort = 0xb000;
    private const ushort TimerPort = 0xb008;

    /// <summary>SeaBIOS, when it does not find itself on Xen, programs the PIIX4 for 0x600 and waits by the timer there.</summary>
    private const ushort SeaBiosTimerPort = 0x608;
    private const ushort TimerStatus = 1 << 0;
    private const ushort BusMasterStatus = 1 << 4;
    private const ushort GlobalStatus = 1 << 5;
    private const ushort PowerButton = 1 << 8;
    private const ushort SleepButton = 1 << 9;
    private const ushort RtcStatus = 1 << 10;
    private const ushort WakeStatus = 1 << 15;
    private const ushort SciSources = TimerStatus | GlobalStatus | PowerButton | SleepButton | RtcStatus;
    private const ushort StatusBits = SciSources | BusMasterStatus | WakeStatus;

    /// <summary>TMR_STS is set when this bit of the timer changes either way.</summary>
    private const int CarryBit = 31;

    private static readonly Frequency s_crystal = new(3579545);

    private static readonly RegisterTable<PmTimer> s_events = new RegisterTable<PmTimer>("PM1a event", 4)
        .Word(0, "PM1a_STS", static p => ref p._status, mask: 0, clear: StatusBits, read: static p => p.ReadStatus(), write: static (p, v) => p.WriteStatus((ushort)v))
        .Word(2, "PM1a_EN", static p => ref p._enable, mask: SciSources, after: static p => p.EnableWritten())
        .Build();

    private static readonly RegisterTable<PmTimer> s_timer = new RegisterTable<PmTimer>("PM timer", 4)
        .Computed(0, 4, "PM_TMR", read: static p => (uint)p.Ticks, write: static (_, _) => { })
        .Build();

    private readonly IrqLine _sci;
    private readonly IVmClock _clock;
    private readonly VmTimer _carry;
    private ushort _status;
    private ushort _enable;

    /// <summary>Changes of the carry bit that TMR_STS has seen.</summary>
    private long _carries;

    /// <param name="sci">The system control interrupt (ISA IRQ 9), driven by level.</param>
    public PmTimer(IrqLine sci, IVmClock clock)
    {
        _sci = sci;
        _clock = clock;
        _carry = clock.CreateTimer("pm-timer", Update);
        Reset(ResetKind.Cold);
    }

    public string Id => "pm-timer";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("pm1a event", EventPort, 4, new TableRegion<PmTimer>(s_events, this));
        ports.Map("pm timer", TimerPort, 4, new TableRegion<PmTimer>(s_timer, this));
        ports.Map("pm timer of SeaBIOS", SeaBiosTimerPort, 4, new TableRegion<PmTimer>(s_timer, this));
    }

    /// <summary>The guest sees a press of the power button.</summary>
    public void PressPowerButton() => Raise(PowerButton);

    /// <summary>The guest sees a press of the sleep button.</summary>
    public void PressSleepButton() => Raise(SleepButton);

    /// <summary>The machine woke from S3: WAK_STS.</summary>
    public void Woken() => Raise(WakeStatus);

    private long Ticks => s_crystal.Ticks(_clock.Now);

    private void Raise(ushort bit)
    {
        _status |= bit;
        Update();
    }

    private uint ReadStatus()
    {
        CatchUp();
        return _status;
    }

    private void WriteStatus(ushort value)
    {
        CatchUp();
        _status &= (ushort)~(value & StatusBits);
        Update();
    }

    private void EnableWritten() => Update();

    private void CatchUp()
    {
        var carries = Ticks >> CarryBit;
        if (carries == _carries) return;
        _carries = carries;
        _status |= TimerStatus;
    }

    private void Update()
    {
        CatchUp();
        _sci.Set((_status & _enable & SciSources) != 0);
        if ((_enable & TimerStatus) != 0 && (_status & TimerStatus) == 0) _carry.Arm(s_crystal.Time((_carries + 1) << CarryBit));
        else _carry.Cancel();
    }

    /// <summary>The timer itself runs on.</summary>
    public void Reset(ResetKind kind)
    {
        s_events.Reset(this);
        _carries = Ticks >> CarryBit;
        Update();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_events, this);
        s.I64("carries", ref _carries);
        s.Timer(_carry);
        s.Line("sci", _sci);
    }
}
