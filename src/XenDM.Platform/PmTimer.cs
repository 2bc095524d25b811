using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// The part of the ACPI power management block that Xen keeps: PM1a status and enable (0xb000, 0xb002) and the 32-bit power management timer at
/// 3579545 Hz (0xb008). SCI on IRQ 9. ACPI 6.4, 4.8.3. Control (0xb004) belongs to the PIIX4.
/// </summary>
public sealed class PmTimer : IDevice
{
    private const long Hz = 3_579_545, Second = 1_000_000_000;
    private const ushort TimerStatus = 1, GlobalStatus = 0x20, PowerButton = 0x100, SleepButton = 0x200, RtcStatus = 0x400, WakeStatus = 0x8000;

    private static readonly RegisterTable<PmTimer> s_events = new RegisterTable<PmTimer>("PM1a event", 4)
        .Word(0, "PM1a_STS", static p => ref p._status, mask: 0, clear: TimerStatus | GlobalStatus | PowerButton | SleepButton | RtcStatus | WakeStatus, after: static p => p.Update())
        .Word(2, "PM1a_EN", static p => ref p._enable, mask: TimerStatus | GlobalStatus | PowerButton | SleepButton | RtcStatus, after: static p => p.Update())
        .Build();

    private static readonly RegisterTable<PmTimer> s_timer = new RegisterTable<PmTimer>("PM timer", 4)
        .Computed(0, 4, "PM_TMR", read: static p => p.Count())
        .Build();

    private readonly IVmClock _clock;
    private readonly IrqLine _sci;
    private readonly VmTimer _overflow;
    private ushort _status, _enable;

    public PmTimer(IrqLine sci, IVmClock clock)
    {
        _sci = sci;
        _clock = clock;
        _overflow = clock.CreateTimer("pm-timer", Overflow);
        Reset(ResetKind.Cold);
    }

    public string Id => "pm-timer";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("PM1a event", 0xb000, 4, new TableRegion<PmTimer>(s_events, this));
        ports.Map("PM timer", 0xb008, 4, new TableRegion<PmTimer>(s_timer, this));
        // SeaBIOS programs the PIIX4 for this place and waits by it.
        ports.Map("PM timer of SeaBIOS", 0x608, 4, new TableRegion<PmTimer>(s_timer, this));
    }

    public void PressPowerButton()
    {
        _status |= PowerButton;
        Update();
    }

    public void PressSleepButton()
    {
        _status |= SleepButton;
        Update();
    }

    private uint Count() => (uint)((System.Int128)_clock.Now * Hz / Second);

    private void Update()
    {
        _sci.Set((_status & _enable) != 0);
        if ((_enable & TimerStatus) == 0 || (_status & TimerStatus) != 0) _overflow.Cancel();
        else if (!_overflow.IsArmed) ArmOverflow();
    }

    /// <summary>TMR_STS rises whenever bit 31 of the timer changes.</summary>
    private void ArmOverflow()
    {
        var left = 0x8000_0000L - (Count() & 0x7fff_ffff);
        _overflow.ArmAfter((left * Second / Hz) + 1);
    }

    private void Overflow()
    {
        _status |= TimerStatus;
        Update();
    }

    public void Reset(ResetKind kind)
    {
        s_events.Reset(this);
        _overflow.Cancel();
        _sci.Set(false);
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_events, this);
        s.Line("sci", _sci);
        s.Timer(_overflow);
    }
}
