using System;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// One counter of the 8254. Nothing ticks: the value and OUT follow from the tick at which the counting element was loaded. All times are
/// ticks of the 1.193182 MHz clock; a count is loaded with the tick after it was written.
/// </summary>
internal sealed class PitChannel : IStateful
{
    /// <summary>No further rise of OUT.</summary>
    public const long Never = -1;
    private const int FullCount = 0x10000;
    private const int FullCountBcd = 10000;
    private const byte StatusOut = 0x80;
    private const byte StatusNull = 0x40;

    private readonly bool _gateAtReset;

    /// <summary>Bits 5:4 access, 3:1 mode, 0 BCD, as the control word had them.</summary>
    private byte _control;
    private bool _gate;

    /// <summary>The count register: what was written last, 1 to 65536.</summary>
    private int _register;

    /// <summary>The count that the counting element was loaded with.</summary>
    private int _count;

    /// <summary>The count register waits to be loaded.</summary>
    private bool _isNull;

    /// <summary>A whole count was written since the control word.</summary>
    private bool _hasCount;

    /// <summary>A count was loaded since the control word.</summary>
    private bool _loaded;

    /// <summary>The element counts, from <see cref="_start"/> on.</summary>
    private bool _counting;

    /// <summary>The tick at which the element held the whole count.</summary>
    private long _start;

    /// <summary>Ticks counted when the gate stopped it.</summary>
    private long _stopped;

    /// <summary>Modes 2 and 3: when the waiting count is loaded.</summary>
    private long _reloadAt;

    private byte _low;
    private bool _writesHigh;
    private bool _readsHigh;
    private bool _latched;
    private ushort _latch;
    private bool _statusLatched;
    private byte _status;

    /// <param name="gate">The gate's level after reset.</param>
    public PitChannel(bool gate) => _gateAtReset = gate;

    /// <summary>0 to 5; the codes 6 and 7 are modes 2 and 3.</summary>
    public int Mode => ((_control >> 1) & 7) is var mode && mode > 5 ? mode - 4 : mode;

    private int Access => (_control >> 4) & 3;

    private bool IsBcd => (_control & 1) != 0;

    public bool Gate => _gate;

    /// <param name="value">The control word; bits 5:4 not 0.</param>
    public void WriteControl(byte value)
    {
        _control = (byte)(value & 0x3f);
        _isNull = true;
        _hasCount = _loaded = _counting = false;
        _stopped = 0;
        _writesHigh = _readsHigh = false;
        _latched = _statusLatched = false;
    }

    public void WriteCount(byte value, long now)
    {
        switch (Access)
        {
            case 1: SetCount(value, now); break;
            case 2: SetCount(value << 8, now); break;
            default:
                if (_writesHigh) SetCount((value << 8) | _low, now);
                else
                {
                    _low = value;

                    // The first byte stops the count in mode 0, and OUT is low until it runs out anew.
                    if (Mode == 0)
                    {
                        _stopped = Elapsed(now);
                        _loaded = _counting = false;
                    }
                }

                _writesHigh = !_writesHigh;
                break;
        }
    }

    public byte Read(long now)
    {
        if (_statusLatched)
        {
            _statusLatched = false;
            return _status;
        }

        var value = _latched ? _latch : Value(now);
        if (Access == 1)
        {
            _latched = false;
            return (byte)value;
        }

        if (Access == 3 && !_readsHigh)
        {
            _readsHigh = true;
            return (byte)value;
        }

        _latched = _readsHigh = false;
        return (byte)(value >> 8);
    }

    /// <summary>A latched value stays until it is read: later commands are lost.</summary>
    public void LatchCount(long now)
    {
        if (_latched) return;
        _latch = Value(now);
        _latched = true;
    }

    public void LatchStatus(long now)
    {
        if (_statusLatched) return;
        _status = (byte)((Out(now) ? StatusOut : 0) | (_isNull ? StatusNull : 0) | _control);
        _statusLatched = true;
    }

    /// <summary>Modes 0 and 4 count while the gate is high, 2 and 3 start anew with its rise, 1 and 5 are triggered by it.</summary>
    public void SetGate(bool level, long now)
    {
        if (level == _gate) return;
        Settle(now);
        _gate = level;
        var mode = Mode;
        if (mode is 0 or 4)
        {
            if (!_loaded) return;
            if (level) _start = now - _stopped;
            else _stopped = Elapsed(now);
            _counting = level;
        }
        else if (!level)
        {
            if (mode is 2 or 3) Stop(now);
        }
        else if (_hasCount) Load(now);
    }

    /// <summary>The OUT pin.</summary>
    public bool Out(long now)
    {
        Settle(now);
        switch (Mode)
        {
            case 0: return _loaded && Elapsed(now) >= _count;
            case 1: return !_loaded || Elapsed(now) >= _count;
            case 2: return !_counting || _count == 1 || Elapsed(now) % _count != _count - 1;
            case 3: return !_counting || Elapsed(now) % _count < (_count + 1) / 2;
            default: return !_loaded || Elapsed(now) != _count;
        }
    }

    /// <summary>The next tick after now at which OUT rises, or <see cref="Never"/>.</summary>
    public long NextRise(long now)
    {
        Settle(now);
        if (!_counting) return Never;
        switch (Mode)
        {
            case 0:
            case 1: return now < _start + _count ? _start + _count : Never;
            case 2:
            case 3:
                var rise = _start + (((Elapsed(now) / _count) + 1) * _count);
                if (!_isNull || _reloadAt > rise) return rise;
                return _reloadAt == rise ? rise : _reloadAt + (_register / 2);
            default: return now <= _start + _count ? _start + _count + 1 : Never;
        }
    }

    private long Elapsed(long now) => _counting ? Math.Max(0, now - _start) : _stopped;

    private void SetCount(int raw, long now)
    {
        Settle(now);
        _register = IsBcd ? FromBcd(raw) : raw;
        if (_register == 0) _register = IsBcd ? FullCountBcd : FullCount;
        _isNull = _hasCount = true;
        switch (Mode)
        {
            case 0:
            case 4: Load(now); break;
            case 1:
            case 5: break;
            default:
                if (!_loaded) Load(now);
                else if (_counting) _reloadAt = NextReload(now);
                break;
        }
    }

    private void Load(long now)
    {
        _count = _register;
        _start = now + 1;
        _stopped = 0;
        _isNull = false;
        _reloadAt = 0;
        _loaded = true;
        _counting = _gate;
    }

    /// <summary>Mode 2 takes a new count at the end of the period, mode 3 at the end of the half that runs.</summary>
    private long NextReload(long now)
    {
        var position = Elapsed(now) % _count;
        var period = now < _start ? _start : now - position;
        var half = (_count + 1) / 2;
        return Mode == 3 && position < half ? period + half : period + _count;
    }

    private void Settle(long now)
    {
        if (!_isNull || !_counting || Mode is not (2 or 3) || now < _reloadAt) return;
        var position = (_reloadAt - _start) % _count;
        _start = position == 0 ? _reloadAt : _reloadAt - ((_register + 1) / 2);
        _count = _register;
        _isNull = false;
    }

    private void Stop(long now)
    {
        _stopped = Elapsed(now) % Math.Max(1, _count);
        _counting = false;
    }

    /// <summary>What the counting element holds, as the guest reads it.</summary>
    private ushort Value(long now)
    {
        Settle(now);
        var elapsed = Elapsed(now);
        var modulus = IsBcd ? FullCountBcd : FullCount;
        long value;
        if (Mode == 2) value = _count - (_count == 0 ? 0 : elapsed % _count);
        else if (Mode == 3) value = SquareValue(elapsed);
        else value = (((_count - elapsed) % modulus) + modulus) % modulus;
        return IsBcd ? ToBcd((int)(value % FullCountBcd)) : (ushort)value;
    }

    /// <summary>Mode 3 counts down by two, twice in a period; an odd count is loaded less one and its first half is a tick longer.</summary>
    private long SquareValue(long elapsed)
    {
        if (_count <= 1) return 0;
        var position = elapsed % _count;
        var half = (_count + 1) / 2;
        return (_count & ~1) - (2 * (position < half ? position : position - half));
    }

    private static int FromBcd(int raw) => (raw & 15) + (((raw >> 4) & 15) * 10) + (((raw >> 8) & 15) * 100) + (((raw >> 12) & 15) * 1000);

    private static ushort ToBcd(int value) => (ushort)((value % 10) | (value / 10 % 10 << 4) | (value / 100 % 10 << 8) | (value / 1000 % 10 << 12));

    public void Reset()
    {
        WriteControl(0x30);
        _gate = _gateAtReset;
        _register = _count = 0;
        _start = _reloadAt = 0;
        _low = _status = 0;
        _latch = 0;
    }

    public void State(StateVisitor s)
    {
        s.U8("control", ref _control);
        s.Bool("gate", ref _gate);
        s.I32("register", ref _register, 0, FullCount);
        s.I32("count", ref _count, 0, FullCount);
        s.Bool("null", ref _isNull);
        s.Bool("has-count", ref _hasCount);
        s.Bool("loaded", ref _loaded);
        s.Bool("counting", ref _counting);
        s.I64("start", ref _start);
        s.I64("stopped", ref _stopped);
        s.I64("reload-at", ref _reloadAt);
        s.U8("write.low", ref _low);
        s.Bool("write.high-next", ref _writesHigh);
        s.Bool("read.high-next", ref _readsHigh);
        s.Bool("latched", ref _latched);
        s.U16("latch", ref _latch);
        s.Bool("status-latched", ref _statusLatched);
        s.U8("status", ref _status);

        // A count of 0 never counts: the divisions rely on it.
        if (s.IsLoading && (_loaded || _counting) && _count == 0) s.Fail("count", "a loaded count is at least 1");
    }
}
