using System;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// Motorola MC146818A real-time clock and its CMOS RAM: index port 0x70, data port 0x71, IRQ 8. Cells 0 to 13 are the clock, 0x32 its
/// century, the other cells up to 127 battery-backed RAM. Data sheet: Motorola DS9603R2.
/// Deviations: the time is computed from guest time when it is looked at, so impossible dates read back as the day that they run over to.
/// UIP is set for the 244 us before a second ends; the update itself takes no time. No daylight saving, no square wave pin. The century
/// follows the data mode (BCD or binary) of the other registers. The index port reads ff. Only the 32.768 kHz time base exists: any other
/// divider setting stops the clock.
/// </summary>
public sealed class Mc146818Rtc : IDevice
{
    /// <summary>Cells of clock and RAM.</summary>
    public const int Cells = 128;
    private const ushort IndexPort = 0x70;
    private const int Seconds = 0;
    private const int SecondsAlarm = 1;
    private const int Minutes = 2;
    private const int MinutesAlarm = 3;
    private const int Hours = 4;
    private const int HoursAlarm = 5;
    private const int Weekday = 6;
    private const int Day = 7;
    private const int Month = 8;
    private const int Year = 9;
    private const int RegA = 10;
    private const int RegB = 11;
    private const int RegC = 12;
    private const int RegD = 13;
    private const int Century = 0x32;

    private const byte UpdateInProgress = 0x80;
    private const byte DividerMask = 0x70;
    private const byte Divider32K = 0x20;
    private const byte BSet = 0x80;
    private const byte BPeriodic = 0x40;
    private const byte BAlarm = 0x20;
    private const byte BUpdate = 0x10;
    private const byte BSquareWave = 0x08;
    private const byte BBinary = 0x04;
    private const byte B24Hours = 0x02;
    private const byte CRequest = 0x80;
    private const byte CPeriodic = 0x40;
    private const byte CAlarm = 0x20;
    private const byte CUpdate = 0x10;
    private const byte DValid = 0x80;
    private const byte AfterNoon = 0x80;
    private const byte AlarmAny = 0xc0;

    private const long Second = 1_000_000_000;
    private const int DaySeconds = 86400;
    private const long UpdateWarning = 244_000;

    /// <summary>Decoded alarm values: any matches, none never does.</summary>
    private const int Any = -1;

    /// <inheritdoc cref="Any"/>
    private const int Impossible = -2;

    private static readonly Frequency s_crystal = new(32768);

    private static readonly RegisterTable<Mc146818Rtc> s_ports = new RegisterTable<Mc146818Rtc>("MC146818", 2)
        .Byte(0, "INDEX", static r => ref r._index, read: static _ => 0xff)
        .Computed(1, 1, "DATA", read: static r => r.ReadCell(), write: static (r, v) => r.WriteCell((byte)v))
        .Build();

    private readonly IrqLine _irq;
    private readonly IVmClock _clock;
    private readonly VmTimer _timer;
    private readonly long _bootTime;
    [Glue("set by the board")]
    private readonly byte[] _presets = new byte[Cells];

    /// <summary>RAM, alarms and control; the time registers only while the clock stands.</summary>
    private readonly byte[] _cells = new byte[Cells];
    private byte _index;
    private byte _flags;

    /// <summary>The divider chain's time less guest time, in ns. A second ends where the chain's time is a whole one.</summary>
    private long _chain;

    /// <summary>Unix seconds less the chain's seconds.</summary>
    private long _calendar;

    /// <summary>Days that the guest's day of the week is ahead of the calendar's, 0 to 6.</summary>
    private int _weekdayShift;

    /// <summary>The chain's time up to which the flags are right.</summary>
    private long _seen;

    /// <param name="irq">IRQ 8, driven by level until register C is read.</param>
    /// <param name="unixNanoseconds">Unix time in ns (of the time zone that the guest keeps) at guest time 0.</param>
    public Mc146818Rtc(IrqLine irq, IVmClock clock, long unixNanoseconds)
    {
        _irq = irq;
        _clock = clock;
        _bootTime = unixNanoseconds;
        _timer = clock.CreateTimer("rtc.event", Update);
        Reset(ResetKind.Cold);
    }

    public string Id => "rtc";

    /// <summary>Bit 7 of the index port: NMI is masked.</summary>
    public bool IsNmiMasked => (_index & 0x80) != 0;

    public void MapPorts(AddressSpace ports) => ports.Map(Id, IndexPort, 2, new TableRegion<Mc146818Rtc>(s_ports, this));

    /// <summary>Sets a cell of the RAM, now and at each power on: memory sizes, boot order.</summary>
    /// <param name="cell">14 to 127.</param>
    public void Preset(int cell, byte value)
    {
        if (cell is <= RegD or >= Cells) throw new ArgumentOutOfRangeException(nameof(cell), cell, "not a cell of the RAM");
        _presets[cell] = _cells[cell] = value;
    }

    private long ChainNow => _clock.Now + _chain;

    private bool DividerRuns => (_cells[RegA] & DividerMask) == Divider32K;

    /// <summary>The time advances: neither SET nor a stopped divider.</summary>
    private bool IsRunning => DividerRuns && (_cells[RegB] & BSet) == 0;

    private bool IsBinary => (_cells[RegB] & BBinary) != 0;

    private static bool IsTime(int cell) => cell is Seconds or Minutes or Hours or Weekday or Day or Month or Year or Century;

    private byte ReadCell()
    {
        var cell = _index & (Cells - 1);
        switch (cell)
        {
            case RegA:
                return (byte)(_cells[RegA] | (IsRunning && ChainNow % Second >= Second - UpdateWarning ? UpdateInProgress : 0));
            case RegC:
                return ReadFlags();
            case RegD:
                return DValid;
        }

        if (IsRunning && IsTime(cell)) StoreTime();
        return _cells[cell];
    }

    private void WriteCell(byte value)
    {
        var cell = _index & (Cells - 1);
        switch (cell)
        {
            case RegA:
                CatchUp();
                SetControl((byte)(value & 0x7f), _cells[RegB]);
                break;
            case RegB:
                CatchUp();

                // SET ends the update cycle and with it the interrupt at its end.
                if ((value & BSet) != 0) value &= unchecked((byte)~BUpdate);
                SetControl(_cells[RegA], value);
                break;
            case RegC or RegD:
                return;
            default:
                if (IsTime(cell)) WriteTime(cell, value);
                else if (cell <= HoursAlarm)
                {
                    CatchUp();
                    _cells[cell] = value;
                }
                else
                {
                    _cells[cell] = value;
                    return;
                }

                break;
        }

        Update();
    }

    private byte ReadFlags()
    {
        CatchUp();
        var flags = _flags;
        if ((flags & _cells[RegB] & (CPeriodic | CAlarm | CUpdate)) != 0) flags |= CRequest;
        _flags = 0;
        Update();
        return flags;
    }

    private void WriteTime(int cell, byte value)
    {
        if (!IsRunning)
        {
            _cells[cell] = value;
            return;
        }

        CatchUp();
        StoreTime();
        _cells[cell] = value;
        LoadTime();
    }

    /// <summary>Registers A and B: when the clock stops the time goes to its registers, when it starts it is taken from them.</summary>
    private void SetControl(byte a, byte b)
    {
        var wasRunning = IsRunning;
        var hadDivider = DividerRuns;
        if (wasRunning) StoreTime();
        _cells[RegA] = a;
        _cells[RegB] = b;
        if (DividerRuns && !hadDivider)
        {
            // The first update comes half a second after the divider is released.
            _chain = (Second / 2) - _clock.Now;
            _seen = ChainNow;
        }

        if (IsRunning && !wasRunning) LoadTime();
    }

    /// <summary>Sets the flags of everything that happened since the last look.</summary>
    private void CatchUp()
    {
        if (!DividerRuns) return;
        var now = ChainNow;
        var seen = _seen;
        _seen = now;
        var period = PeriodTicks;
        if (period != 0 && s_crystal.Ticks(now) / period != s_crystal.Ticks(seen) / period) _flags |= CPeriodic;
        if (!IsRunning || now / Second == seen / Second) return;
        _flags |= CUpdate;
        if ((_flags & CAlarm) == 0 && NextAlarm(seen / Second) <= now / Second) _flags |= CAlarm;
    }

    private void Update()
    {
        CatchUp();
        _irq.Set((_flags & _cells[RegB] & (CPeriodic | CAlarm | CUpdate)) != 0);
        if (_irq.Level || !DividerRuns)
        {
            _timer.Cancel();
            return;
        }

        // No flag of an enabled interrupt is set, so the next one of them is the next event.
        var next = VmTimer.Never;
        var now = ChainNow;
        if ((_cells[RegB] & BPeriodic) != 0 && PeriodTicks is var period and not 0) next = s_crystal.Time(((s_crystal.Ticks(now) / period) + 1) * period);
        if (IsRunning && (_cells[RegB] & BUpdate) != 0) next = Math.Min(next, ((now / Second) + 1) * Second);
        if (IsRunning && (_cells[RegB] & BAlarm) != 0 && NextAlarm(now / Second) is var alarm and not VmTimer.Never) next = Math.Min(next, alarm * Second);
        if (next == VmTimer.Never) _timer.Cancel();
        else _timer.Arm(next - _chain);
    }

    /// <summary>32.768 kHz ticks of a period: rates 1 and 2 are those of 8 and 9, 0 is off.</summary>
    private long PeriodTicks => (_cells[RegA] & 15) switch
    {
        0 => 0,
        1 => 128,
        2 => 256,
        var rate => 1L << (rate - 1),
    };

    /// <summary>The chain's second, after the given one, in which the alarm is next reached; <see cref="VmTimer.Never"/> when it cannot be.</summary>
    private long NextAlarm(long chainSecond)
    {
        var second = Alarm(_cells[SecondsAlarm], 60);
        var minute = Alarm(_cells[MinutesAlarm], 60);
        var hour = _cells[HoursAlarm] >= AlarmAny ? Any : DecodeHours(_cells[HoursAlarm]) is var h and < 24 ? h : Impossible;
        if (second == Impossible || minute == Impossible || hour == Impossible) return VmTimer.Never;
        var start = chainSecond + 1;
        var time = (int)Modulo(start + _calendar, DaySeconds);

        // From the next second on: only hours and minutes that match are looked into, so there are at most three of each to walk.
        for (int step = 0, at = time; step <= 24; step++, at = ((at / 3600) + 1) * 3600)
        {
            if (hour != Any && hour != at / 3600 % 24) continue;
            for (var end = ((at / 3600) + 1) * 3600; at < end; at = ((at / 60) + 1) * 60)
            {
                if (minute != Any && minute != at / 60 % 60) continue;
                var within = second == Any ? at % 60 : second;
                if (within >= at % 60) return start + (at / 60 * 60) + within - time;
            }

            at--;
        }

        return VmTimer.Never;
    }

    private int Alarm(byte value, int limit)
    {
        if (value >= AlarmAny) return Any;
        var number = Decode(value);
        return number < limit ? number : Impossible;
    }

    /// <summary>The time registers from the calendar.</summary>
    private void StoreTime()
    {
        var time = (ChainNow / Second) + _calendar;
        var days = time >= 0 ? time / DaySeconds : ((time + 1) / DaySeconds) - 1;
        var seconds = (int)(time - (days * DaySeconds));
        var (year, month, day) = FromDays(days);
        _cells[Seconds] = Encode(seconds % 60);
        _cells[Minutes] = Encode(seconds / 60 % 60);
        _cells[Hours] = EncodeHours(seconds / 3600);

        // 1970-01-01 was a Thursday; Sunday is 1.
        _cells[Weekday] = Encode((int)Modulo(days + 4 + _weekdayShift, 7) + 1);
        _cells[Day] = Encode(day);
        _cells[Month] = Encode(month);
        _cells[Year] = Encode((int)Modulo(year, 100));
        _cells[Century] = Encode((int)Modulo(year / 100, 100));
    }

    /// <summary>The calendar from the time registers; the part of the running second is kept.</summary>
    private void LoadTime()
    {
        var month = Decode(_cells[Month]);
        var year = (Decode(_cells[Century]) * 100) + Decode(_cells[Year]) + ((month + 11) / 12) - 1;
        var days = ToDays(year, ((month + 11) % 12) + 1) + Decode(_cells[Day]) - 1;
        var seconds = (DecodeHours(_cells[Hours]) * 3600) + (Decode(_cells[Minutes]) * 60) + Decode(_cells[Seconds]);
        var time = (days * DaySeconds) + seconds;
        _calendar = time - (ChainNow / Second);
        var weekday = Decode(_cells[Weekday]) - 1;
        days = time >= 0 ? time / DaySeconds : ((time + 1) / DaySeconds) - 1;
        _weekdayShift = (int)Modulo(weekday - days - 4, 7);
    }

    private byte Encode(int value) => IsBinary ? (byte)value : (byte)((value / 10 << 4) | (value % 10));

    private int Decode(byte value) => IsBinary ? value : ((value >> 4) * 10) + (value & 15);

    private byte EncodeHours(int hour)
    {
        if ((_cells[RegB] & B24Hours) != 0) return Encode(hour);
        return (byte)(Encode(((hour + 11) % 12) + 1) | (hour >= 12 ? AfterNoon : 0));
    }

    private int DecodeHours(byte value)
    {
        if ((_cells[RegB] & B24Hours) != 0) return Decode(value);
        return (Decode((byte)(value & 0x7f)) % 12) + ((value & AfterNoon) != 0 ? 12 : 0);
    }

    private static long Modulo(long value, long modulus) => ((value % modulus) + modulus) % modulus;

    /// <summary>Days since 1970-01-01 of the first of a month, in the Gregorian calendar.</summary>
    /// <param name="month">1 to 12.</param>
    private static long ToDays(long year, int month)
    {
        // Years that begin in March have their leap day at the end.
        var y = month <= 2 ? year - 1 : year;
        var era = (y >= 0 ? y : y - 399) / 400;
        var ofEra = y - (era * 400);
        var ofYear = ((153 * ((month + 9) % 12)) + 2) / 5;
        return (era * 146097) + (ofEra * 365) + (ofEra / 4) - (ofEra / 100) + ofYear - 719468;
    }

    private static (long Year, int Month, int Day) FromDays(long days)
    {
        // A guess that is never too late and at most a year early.
        var year = 1970 + (long)Math.Floor(days / 365.2425) - 1;
        while (ToDays(year + 1, 1) <= days) year++;
        var month = 1;
        while (month < 12 && ToDays(year, month + 1) <= days) month++;
        return (year, month, (int)(days - ToDays(year, month)) + 1);
    }

    /// <summary>RESET stops the interrupts and keeps time and RAM, as a battery does; power on sets them up anew.</summary>
    public void Reset(ResetKind kind)
    {
        s_ports.Reset(this);
        if (kind == ResetKind.Cold)
        {
            _presets.AsSpan().CopyTo(_cells);
            _cells[RegA] = Divider32K | 6;
            _cells[RegB] = B24Hours;
            _chain = Modulo(_bootTime, Second);
            _calendar = (_bootTime - _chain) / Second;
            _weekdayShift = 0;
        }

        CatchUp();
        _cells[RegB] &= unchecked((byte)~(BPeriodic | BAlarm | BUpdate | BSquareWave));
        _flags = 0;
        _seen = ChainNow;
        Update();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_ports, this);
        s.Bytes("cells", _cells);
        s.U8("flags", ref _flags);
        s.I64("chain", ref _chain);
        s.I64("calendar", ref _calendar);
        s.I32("weekday-shift", ref _weekdayShift, 0, 6);
        s.I64("seen", ref _seen);
        s.Timer(_timer);
        s.Line("irq", _irq);
    }
}
