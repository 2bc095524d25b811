using System;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// MC146818A real-time clock and 128 bytes of battery-backed RAM: index port 0x70, data port 0x71, IRQ 8. Data sheet: Motorola MC146818A.
/// The time is guest time from a start that the machine gives; interrupt flags are brought up to date when they are looked at.
/// Deviations: the update cycle takes 244 µs before each second, as UIP shows it; the square wave output leads nowhere.
/// </summary>
public sealed class Mc146818Rtc : IDevice
{
    private const int Cells = 128, Seconds = 0, SecondsAlarm = 1, Minutes = 2, MinutesAlarm = 3, Hours = 4, HoursAlarm = 5, WeekDay = 6, Day = 7, Month = 8, Year = 9, A = 10, B = 11, C = 12, D = 13, Century = 0x32;
    private const byte Set = 0x80, Pie = 0x40, Aie = 0x20, Uie = 0x10, Binary = 4, Hours24 = 2;
    private const byte Irqf = 0x80, Pf = 0x40, Af = 0x20, Uf = 0x10;
    private const long SecondNs = 1_000_000_000, UpdateNs = 244_000;

    private static readonly RegisterTable<Mc146818Rtc> s_ports = new RegisterTable<Mc146818Rtc>("RTC", 2)
        .Byte(0, "INDEX", static r => ref r._index, read: static _ => 0xff)
        .Computed(1, 1, "DATA", read: static r => r.Read(), write: static (r, v) => r.Write((byte)v))
        .Build();

    private readonly IVmClock _clock;
    private readonly IrqLine _irq;
    private readonly VmTimer _timer;
    private readonly long _powerOn;
    private readonly byte[] _cells = new byte[Cells];
    private byte _index;

    /// <summary>Unix time in nanoseconds at guest time 0.</summary>
    private long _offset;

    /// <summary>Guest time up to which the flags of register C are right.</summary>
    private long _seen;

    /// <param name="unixNanoseconds">What the clock shows at guest time 0.</param>
    public Mc146818Rtc(IrqLine irq, IVmClock clock, long unixNanoseconds)
    {
        _irq = irq;
        _clock = clock;
        _powerOn = unixNanoseconds;
        _timer = clock.CreateTimer("rtc", Update);
        Reset(ResetKind.Cold);
    }

    public string Id => "rtc";

    public void MapPorts(AddressSpace ports) => ports.Map("rtc", 0x70, 2, new TableRegion<Mc146818Rtc>(s_ports, this));

    /// <summary>Sets a byte of the battery-backed RAM, from 14 on.</summary>
    public void Preset(int cell, byte value) => _cells[cell is >= 14 and < Cells ? cell : throw new ArgumentOutOfRangeException(nameof(cell))] = value;

    private uint Read()
    {
        var cell = _index & (Cells - 1);
        switch (cell)
        {
            case <= Year and not (SecondsAlarm or MinutesAlarm or HoursAlarm):
            case Century:
                if ((_cells[B] & Set) == 0) ShowTime();
                return _cells[cell];
            case A:
                return (uint)(_cells[A] & 0x7f) | ((_cells[B] & Set) == 0 && InUpdate() ? 0x80u : 0);
            case C:
                {
                    Flag();
                    var value = _cells[C];
                    _cells[C] = 0;
                    _irq.Set(false);
                    Arm();
                    return value;
                }

            case D:
                return 0x80;
            default:
                return _cells[cell];
        }
    }

    private void Write(byte value)
    {
        var cell = _index & (Cells - 1);
        switch (cell)
        {
            case <= Year and not (SecondsAlarm or MinutesAlarm or HoursAlarm):
            case Century:
                if ((_cells[B] & Set) == 0) ShowTime();
                _cells[cell] = value;
                if ((_cells[B] & Set) == 0) TakeTime();
                break;
            case A:
                Flag();
                _cells[A] = (byte)(value & 0x7f);
                break;
            case B:
                Flag();
                if ((value & Set) != 0 && (_cells[B] & Set) == 0) ShowTime();
                var leaves = (value & Set) == 0 && (_cells[B] & Set) != 0;
                _cells[B] = (byte)((value & Set) != 0 ? value & ~Uie : value);
                if (leaves) TakeTime();
                break;
            case C or D:
                break;
            default:
                _cells[cell] = value;
                break;
        }

        Update();
    }

    private long Now => _offset + _clock.Now;

    private bool InUpdate() => SecondNs - Modulo(Now, SecondNs) <= UpdateNs;

    private static long Modulo(long value, long by) => ((value % by) + by) % by;

    private byte Encode(int value) => (_cells[B] & Binary) != 0 ? (byte)value : (byte)((value / 10 << 4) | (value % 10));

    private int Decode(int value) => (_cells[B] & Binary) != 0 ? value : ((value >> 4) * 10) + (value & 15);

    private static DateTime FromNanoseconds(long nanoseconds)
    {
        var seconds = Math.Clamp(Math.DivRem(nanoseconds, SecondNs, out var rest) - (rest < 0 ? 1 : 0), 0, 253_402_300_799);
        return DateTime.UnixEpoch.AddSeconds(seconds);
    }

    private byte EncodeHour(int hour)
    {
        if ((_cells[B] & Hours24) != 0) return Encode(hour);
        return (byte)(Encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
    }

    private int DecodeHour(byte value)
    {
        if ((_cells[B] & Hours24) != 0) return Decode(value);
        return (Decode(value & 0x7f) % 12) + ((value & 0x80) != 0 ? 12 : 0);
    }

    private void ShowTime()
    {
        var t = FromNanoseconds(Now);
        _cells[Seconds] = Encode(t.Second);
        _cells[Minutes] = Encode(t.Minute);
        _cells[Hours] = EncodeHour(t.Hour);
        _cells[WeekDay] = Encode((int)t.DayOfWeek + 1);
        _cells[Day] = Encode(t.Day);
        _cells[Month] = Encode(t.Month);
        _cells[Year] = Encode(t.Year % 100);
        _cells[Century] = Encode(t.Year / 100);
    }

    /// <summary>The clock goes on from what the registers say; what no calendar has is cut to its range.</summary>
    private void TakeTime()
    {
        var year = Math.Clamp((Decode(_cells[Century]) * 100) + Decode(_cells[Year]), 1970, 9999);
        var month = Math.Clamp(Decode(_cells[Month]), 1, 12);
        var day = Math.Clamp(Decode(_cells[Day]), 1, DateTime.DaysInMonth(year, month));
        var t = new DateTime(year, month, day, Math.Clamp(DecodeHour(_cells[Hours]), 0, 23), Math.Clamp(Decode(_cells[Minutes]), 0, 59), Math.Clamp(Decode(_cells[Seconds]), 0, 59), DateTimeKind.Utc);
        _offset = ((t - DateTime.UnixEpoch).Ticks * 100) - _clock.Now;
        _seen = _clock.Now;
    }

    /// <summary>Nanoseconds of a periodic interval, or 0 when there is none.</summary>
    private long Period()
    {
        var rate = _cells[A] & 15;
        if (rate == 0 || (_cells[A] >> 4 & 7) > 2) return 0;
        if (rate < 3) rate += 7;
        return (1L << (rate - 1)) * SecondNs / 32_768;
    }

    private bool AlarmMatches(DateTime t) => Matches(_cells[SecondsAlarm], t.Second, false) && Matches(_cells[MinutesAlarm], t.Minute, false) && Matches(_cells[HoursAlarm], t.Hour, true);

    private bool Matches(byte alarm, int value, bool hour) => alarm >= 0xc0 || (hour ? DecodeHour(alarm) : Decode(alarm)) == value;

    /// <summary>Brings register C up to date.</summary>
    private void Flag()
    {
        var now = _clock.Now;
        if (now <= _seen) return;
        var from = _offset + _seen;
        var to = _offset + now;
        if (Period() is > 0 and var period && from / period != to / period) _cells[C] |= Pf;
        var seconds = Math.Min((to / SecondNs) - (from / SecondNs), 86_400);
        if (seconds > 0 && (_cells[B] & Set) == 0)
        {
            _cells[C] |= Uf;
            var t = FromNanoseconds(to);
            for (var n = 0L; n < seconds; n++)
            {
                if (!AlarmMatches(t.AddSeconds(-n))) continue;
                _cells[C] |= Af;
                break;
            }
        }

        _seen = now;
        var active = _cells[C] & _cells[B] & (Pf | Af | Uf);
        if (active != 0) _cells[C] |= Irqf;
    }

    private void Update()
    {
        Flag();
        var active = (_cells[C] & _cells[B] & (Pf | Af | Uf)) != 0;
        _cells[C] = (byte)(active ? _cells[C] | Irqf : _cells[C] & ~Irqf);
        _irq.Set(active);
        Arm();
    }

    /// <summary>The next time that an enabled flag can rise. While one is up nothing more happens.</summary>
    private void Arm()
    {
        var enabled = _cells[B] & (Pie | Aie | Uie) & ~_cells[C];
        if (_irq.Level || enabled == 0)
        {
            _timer.Cancel();
            return;
        }

        var now = Now;
        var next = long.MaxValue;
        if ((enabled & Pie) != 0 && Period() is > 0 and var period) next = (now / period + 1) * period;
        if ((enabled & (Aie | Uie)) != 0) next = Math.Min(next, (now / SecondNs + 1) * SecondNs);
        if (next == long.MaxValue) _timer.Cancel();
        else _timer.Arm(next - _offset);
    }

    /// <summary>The battery keeps time and RAM; a reset clears the interrupt enables and flags (data sheet, RESET).</summary>
    public void Reset(ResetKind kind)
    {
        _index = 0;
        if (kind == ResetKind.Cold)
        {
            Array.Clear(_cells);
            _cells[A] = 0x26;
            _cells[B] = Hours24;
            _offset = _powerOn;
            _seen = _clock.Now;
        }

        _cells[B] &= unchecked((byte)~(Pie | Aie | Uie));
        _cells[C] = 0;
        _irq.Set(false);
        _timer.Cancel();
    }

    public void State(StateVisitor s)
    {
        s.Registers(s_ports, this);
        s.Bytes("cells", _cells);
        s.I64("offset", ref _offset);
        s.I64("seen", ref _seen);
        s.Line("irq", _irq);
        s.Timer(_timer);
    }
}
