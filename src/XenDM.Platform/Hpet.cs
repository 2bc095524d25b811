using System;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// The high precision event timer of an HVM guest at fed00000 (1 KiB): vendor 8086, revision 1, a 64-bit counter of 62.5 MHz, three
/// comparators that can be periodic, interrupts 20 to 23 or the legacy routes (IRQ 0 and 8). Specification: Intel IA-PC HPET 1.0a, section 2.
/// Deviations: no FSB messages. A one-shot comparator that is written with a value just passed (in 32-bit mode less than a millisecond ago)
/// matches at once, as in Xen, so that a slow guest does not wait for the counter to wrap. Periods below a microsecond keep their grid
/// but interrupt once in a microsecond. A comparator at an edge-triggered legacy route keeps the line up until its next match.
/// Accesses are aligned dwords or quadwords; others read all ones or are dropped.
/// </summary>
public sealed class Hpet : IDevice, IIoRegion
{
    /// <summary>Comparators.</summary>
    public const int Comparators = 3;
    private const ulong Address = 0xfed00000;
    private const ulong RegionBytes = 0x400;
    private const int TickShift = 4;
    private const ulong PeriodFemtoseconds = 16_000_000;
    private const ulong Capabilities = (PeriodFemtoseconds << 32) | 0x80860000 | (1 << 15) | (1 << 13) | ((Comparators - 1) << 8) | 1;
    private const int RegCapabilities = 0x000;
    private const int RegConfig = 0x010;
    private const int RegStatus = 0x020;
    private const int RegCounter = 0x0f0;
    private const int RegTimers = 0x100;
    private const int TimerBytes = 0x20;
    private const ulong Enable = 1 << 0;
    private const ulong LegacyRoutes = 1 << 1;
    private const uint FirstGsi = 20;
    private const int Routes = 4;
    private const ulong TimerLevel = 1 << 1;
    private const ulong TimerInterrupt = 1 << 2;
    private const ulong TimerPeriodic = 1 << 3;
    private const ulong TimerSetValue = 1 << 6;
    private const ulong Timer32 = 1 << 8;
    private const int TimerRouteShift = 9;
    private const ulong TimerWritable = TimerLevel | TimerInterrupt | TimerPeriodic | TimerSetValue | Timer32 | (31ul << TimerRouteShift);

    /// <summary>Routes 20 to 23, 64 bits, periodic.</summary>
    private const ulong TimerFixed = (0x00f00000ul << 32) | (1 << 5) | (1 << 4);
    private const ulong JustPassed = 62_500;
    private const ulong MinPeriod = 63;

    /// <summary>Deadlines further off than this many ticks (over a century) are none.</summary>
    private const ulong Horizon = 1ul << 58;

    private readonly IVmClock _clock;
    private readonly IrqLine[] _legacy;
    private readonly IrqLine[] _gsis;
    private readonly Action<bool> _legacyReplacement;
    private readonly Comparator[] _comparators = new Comparator[Comparators];
    private ulong _config;
    private ulong _status;

    /// <summary>The counter's value less the ticks of guest time while it runs; the value itself while it is halted.</summary>
    private ulong _offset;

    /// <param name="legacy">Two lines: IRQ 0 for comparator 0 and IRQ 8 for comparator 1 under legacy replacement.</param>
    /// <param name="gsis">Four lines: global system interrupts 20 to 23.</param>
    /// <param name="legacyReplacement">Called when legacy replacement goes on or off: cuts PIT and RTC from IRQ 0 and 8.</param>
    public Hpet(IVmClock clock, IrqLine[] legacy, IrqLine[] gsis, Action<bool> legacyReplacement)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(legacy.Length, 2);
        ArgumentOutOfRangeException.ThrowIfNotEqual(gsis.Length, Routes);
        _clock = clock;
        _legacy = legacy;
        _gsis = gsis;
        _legacyReplacement = legacyReplacement;
        for (var i = 0; i < Comparators; i++) _comparators[i] = new Comparator(this, i);
        Reset(ResetKind.Cold);
    }

    public string Id => "hpet";

    public void MapMemory(AddressSpace memory) => memory.Map(Id, Address, RegionBytes, this);

    /// <summary>The main counter.</summary>
    public ulong Counter => IsRunning ? _offset + Ticks : _offset;

    private bool IsRunning => (_config & Enable) != 0;

    private bool IsLegacy => (_config & LegacyRoutes) != 0;

    private ulong Ticks => (ulong)_clock.Now >> TickShift;

    public ulong Read(ulong offset, int size)
    {
        if (size is not (4 or 8) || (offset & (ulong)(size - 1)) != 0) return ulong.MaxValue;
        return ReadRegister((int)offset & 0x3f8) >> (8 * ((int)offset & 4));
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size is not (4 or 8) || (offset & (ulong)(size - 1)) != 0) return;
        var register = (int)offset & 0x3f8;
        var isHigh = (offset & 4) != 0;
        var mask = size == 8 ? ulong.MaxValue : isHigh ? 0xffffffff00000000 : 0xffffffff;
        if (isHigh) value <<= 32;
        switch (register)
        {
            case RegConfig:
                WriteConfig((_config & ~mask) | (value & mask));
                break;
            case RegStatus:
                WriteStatus(value & mask);
                break;
            case RegCounter:
                WriteCounter((Counter & ~mask) | (value & mask));
                break;
            case >= RegTimers and < RegTimers + (Comparators * TimerBytes):
                _comparators[(register - RegTimers) / TimerBytes].Write(register & (TimerBytes - 1), value & mask, mask);
                break;
        }
    }

    private ulong ReadRegister(int register)
    {
        switch (register)
        {
            case RegCounter: return Counter;
            case RegCapabilities: return Capabilities;
            case RegConfig: return _config;
            case RegStatus: return _status;
            case >= RegTimers and < RegTimers + (Comparators * TimerBytes):
                return _comparators[(register - RegTimers) / TimerBytes].Read(register & (TimerBytes - 1));
            default: return 0;
        }
    }

    private void WriteConfig(ulong value)
    {
        var changed = (value ^ _config) & (Enable | LegacyRoutes);
        if ((changed & Enable) != 0)
        {
            foreach (var comparator in _comparators) comparator.CatchUp();
            _offset = (value & Enable) != 0 ? _offset - Ticks : Counter;
        }

        if ((changed & LegacyRoutes) != 0) ReleaseLines();
        _config = value & (Enable | LegacyRoutes);
        if ((changed & LegacyRoutes) != 0) _legacyReplacement(IsLegacy);
        Rearm();
    }

    private void WriteStatus(ulong value)
    {
        for (var i = 0; i < Comparators; i++)
            if ((value & _status & (1ul << i)) != 0) _comparators[i].Lower();
        _status &= ~value;
        UpdateLevels();
    }

    private void WriteCounter(ulong value)
    {
        foreach (var comparator in _comparators) comparator.CatchUp();
        _offset = IsRunning ? value - Ticks : value;
        Rearm();
    }

    private void Rearm()
    {
        foreach (var comparator in _comparators) comparator.Arm(isWritten: false);
        UpdateLevels();
    }

    /// <summary>Before the routes change, no line stays up for a comparator that is no longer on it.</summary>
    private void ReleaseLines()
    {
        foreach (var line in _legacy) line.Set(false);
        foreach (var line in _gsis) line.Set(false);
    }

    /// <summary>The line of a comparator, or null when it is routed nowhere.</summary>
    private IrqLine? LineOf(int index, ulong config)
    {
        if (IsLegacy && index < 2) return _legacy[index];
        var route = ((uint)(config >> TimerRouteShift) & 31) - FirstGsi;
        return route < Routes ? _gsis[route] : null;
    }

    /// <summary>Level-triggered comparators hold their line while their status bit is set; two may share one.</summary>
    private void UpdateLevels()
    {
        for (var i = 0; i < Comparators; i++)
        {
            var line = LineOf(i, _comparators[i].Config);
            if (line is null) continue;
            var levels = false;
            var isUp = false;
            for (var other = 0; other < Comparators; other++)
            {
                if (LineOf(other, _comparators[other].Config) != line || (_comparators[other].Config & TimerLevel) == 0) continue;
                levels = true;
                isUp |= (_status & (1ul << other)) != 0 && (_comparators[other].Config & TimerInterrupt) != 0;
            }

            if (levels) line.Set(isUp);
        }
    }

    private void Match(int index)
    {
        var config = _comparators[index].Config;
        if ((config & TimerLevel) != 0)
        {
            _status |= 1ul << index;
            UpdateLevels();
            return;
        }

        if ((config & TimerInterrupt) == 0 || LineOf(index, config) is not { } line) return;
        line.Set(false);
        line.Set(true);

        // The input of an 8259 must stay up until it is acknowledged; the routes beyond 16 are shared with PCI.
        if (!IsLegacy || index >= 2) line.Set(false);
    }

    public void Reset(ResetKind kind)
    {
        var wasLegacy = IsLegacy;
        _config = _status = _offset = 0;
        foreach (var comparator in _comparators) comparator.Reset();
        ReleaseLines();
        if (wasLegacy) _legacyReplacement(false);
    }

    public void State(StateVisitor s)
    {
        s.U64("GEN_CONF", ref _config);
        s.U64("GINTR_STA", ref _status);
        s.U64("offset", ref _offset);
        for (var i = 0; i < Comparators; i++) s.Child(i switch { 0 => "timer0", 1 => "timer1", _ => "timer2" }, _comparators[i]);
        s.Line("irq0", _legacy[0]);
        s.Line("irq8", _legacy[1]);
        for (var i = 0; i < Routes; i++) s.Line($"gsi{FirstGsi + (uint)i}", _gsis[i]);
    }

    /// <summary>One comparator.</summary>
    private sealed class Comparator : IStateful
    {
        private readonly Hpet _hpet;
        private readonly int _index;
        private readonly VmTimer _timer;
        private ulong _config;
        private ulong _value;
        private ulong _period;

        /// <summary>The low half of a value was written with VAL_SET: its high half is still to come.</summary>
        private bool _highFollows;

        /// <summary>The value written with VAL_SET, until the period is written by itself.</summary>
        private ulong _first;
        private bool _periodFollows;

        public Comparator(Hpet hpet, int index)
        {
            _hpet = hpet;
            _index = index;
            _timer = hpet._clock.CreateTimer($"hpet.{index}", Expired);
        }

        public ulong Config => _config;

        private bool IsPeriodic => (_config & TimerPeriodic) != 0;

        private ulong Mask => (_config & Timer32) != 0 ? uint.MaxValue : ulong.MaxValue;

        public ulong Read(int register)
        {
            switch (register)
            {
                case 0x00: return _config | TimerFixed;
                case 0x08:
                    CatchUp();
                    return _value;
                default: return 0;
            }
        }

        public void Write(int register, ulong value, ulong mask)
        {
            if (register == 0x00) WriteConfig((_config & ~mask) | value);
            else if (register == 0x08) WriteValue(value, mask);
        }

        private void WriteConfig(ulong value)
        {
            CatchUp();
            var old = _config;
            _config = value & TimerWritable;
            _highFollows = _periodFollows = false;
            if ((_config & Timer32) != 0)
            {
                _value = (uint)_value;
                _period = (uint)_period;
            }

            // What the old route or trigger mode held up falls.
            if (((old ^ _config) & (TimerLevel | (31ul << TimerRouteShift))) != 0) _hpet.LineOf(_index, old)?.Set(false);
            if ((_config & TimerLevel) == 0) _hpet._status &= ~(1ul << _index);
            if (((old ^ _config) & (TimerInterrupt | TimerPeriodic | Timer32 | TimerLevel)) != 0) Arm(isWritten: false);
            _hpet.UpdateLevels();
        }

        /// <summary>
        /// A periodic comparator takes a value as its period, and with VAL_SET as its next match too. Drivers write the match first and the
        /// period then; should the match pass in between, the period counts from it all the same.
        /// </summary>
        private void WriteValue(ulong value, ulong mask)
        {
            var isHighHalf = mask == 0xffffffff00000000;
            var setsValue = !IsPeriodic || (_config & TimerSetValue) != 0 || (isHighHalf && _highFollows);
            _highFollows = setsValue && IsPeriodic && mask == 0xffffffff;
            _config &= ~TimerSetValue;
            if (setsValue) _value = _first = ((_value & ~mask) | value) & Mask;
            else if (_periodFollows) _value = _first;
            _periodFollows = setsValue && IsPeriodic;
            if (IsPeriodic) _period = ((_period & ~mask) | value) & Mask;
            Arm(setsValue);
        }

        /// <summary>Moves the next match of a periodic comparator past the counter.</summary>
        public void CatchUp()
        {
            if (!IsPeriodic || _period == 0 || !_hpet.IsRunning) return;
            var counter = _hpet.Counter;
            var passed = (counter - _value) & Mask;

            // More than half of the range behind is ahead.
            if (passed > Mask >> 1) return;
            _value = (_value + (((passed / _period) + 1) * _period)) & Mask;
        }

        /// <param name="isWritten">The value was written: it may have passed already.</param>
        public void Arm(bool isWritten)
        {
            if (!_hpet.IsRunning || (_config & (TimerInterrupt | TimerLevel)) == 0)
            {
                _timer.Cancel();
                return;
            }

            var counter = _hpet.Counter;
            if (IsPeriodic && !isWritten) CatchUp();
            var ahead = (_value - counter) & Mask;
            var passed = (counter - _value) & Mask;
            if (isWritten && ahead != 0 && passed <= (Mask == uint.MaxValue ? JustPassed : Mask >> 1)) ahead = 0;
            else if (ahead == 0 && !isWritten) ahead = Mask;
            if (ahead > Horizon) _timer.Cancel();
            else _timer.Arm((long)((_hpet.Ticks + ahead) << TickShift));
        }

        private void Expired()
        {
            if (IsPeriodic && _period != 0)
            {
                CatchUp();
                var ahead = (_value - _hpet.Counter) & Mask;
                if (_period < MinPeriod) ahead += (MinPeriod + _period - 1) / _period * _period;
                if (ahead <= Horizon) _timer.Arm((long)((_hpet.Ticks + ahead) << TickShift));
            }
            else if (Mask == uint.MaxValue)
            {
                // A 32-bit comparator matches each time that the low half of the counter comes round.
                var ahead = (_value - _hpet.Counter - 1) & Mask;
                _timer.Arm((long)((_hpet.Ticks + ahead + 1) << TickShift));
            }

            _hpet.Match(_index);
        }

        /// <summary>The status bit was cleared; edge lines are not held.</summary>
        public void Lower()
        {
            if ((_config & TimerLevel) != 0) _hpet.LineOf(_index, _config)?.Set(false);
        }

        public void Reset()
        {
            _config = 0;
            _value = ulong.MaxValue;
            _period = 0;
            _first = 0;
            _highFollows = _periodFollows = false;
            _timer.Cancel();
        }

        public void State(StateVisitor s)
        {
            s.U64("config", ref _config);
            s.U64("value", ref _value);
            s.U64("period", ref _period);
            s.U64("first", ref _first);
            s.Bool("high-follows", ref _highFollows);
            s.Bool("period-follows", ref _periodFollows);
            s.Timer(_timer);
        }
    }
}
