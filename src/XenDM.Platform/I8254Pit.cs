using System;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// Intel 8254 interval timer: three counters at 1193182 Hz on ports 0x40 to 0x43, and port 0x61 (gate and output of counter 2, speaker,
/// refresh toggle). Counter 0 drives IRQ 0. Data sheet: Intel 8254 (231164-005). Counts are computed from guest time when they are read.
/// </summary>
public sealed class I8254Pit : IDevice
{
    private const long Hz = 1_193_182;
    private const long Second = 1_000_000_000;

    /// <summary>The refresh toggle of port 0x61 changes every 15.085 µs.</summary>
    private const long RefreshNanoseconds = 15_085;

    private static readonly RegisterTable<I8254Pit> s_ports = new RegisterTable<I8254Pit>("8254", 4)
        .Computed(0, 1, "COUNTER0", read: static p => p._counters[0].Read(), write: static (p, v) => p._counters[0].Write((byte)v))
        .Computed(1, 1, "COUNTER1", read: static p => p._counters[1].Read(), write: static (p, v) => p._counters[1].Write((byte)v))
        .Computed(2, 1, "COUNTER2", read: static p => p._counters[2].Read(), write: static (p, v) => p._counters[2].Write((byte)v))
        .Computed(3, 1, "CONTROL", write: static (p, v) => p.WriteControl((byte)v))
        .Build();

    private static readonly RegisterTable<I8254Pit> s_speaker = new RegisterTable<I8254Pit>("NMI status and control", 1)
        .Computed(0, 1, "NMISC", read: static p => p.ReadSpeaker(), write: static (p, v) => p.WriteSpeaker((byte)v))
        .Build();

    private readonly IVmClock _clock;
    private readonly IrqLine _irq;
    private readonly VmTimer _timer;
    private readonly Counter[] _counters;
    private byte _speaker;

    public I8254Pit(IrqLine irq, IVmClock clock)
    {
        _clock = clock;
        _irq = irq;
        _timer = clock.CreateTimer("pit", Tick);
        _counters = [new(this, 0), new(this, 1), new(this, 2)];
        Reset(ResetKind.Cold);
    }

    public string Id => "pit";

    public void MapPorts(AddressSpace ports)
    {
        ports.Map("pit", 0x40, 4, new TableRegion<I8254Pit>(s_ports, this));
        ports.Map("nmi status", 0x61, 1, new TableRegion<I8254Pit>(s_speaker, this));
    }

    private void WriteControl(byte value)
    {
        var select = value >> 6;
        if (select == 3)
        {
            // Read-back: bits 5 and 4 are active low.
            for (var n = 0; n < 3; n++)
            {
                if ((value & (2 << n)) == 0) continue;
                if ((value & 0x20) == 0) _counters[n].LatchCount();
                if ((value & 0x10) == 0) _counters[n].LatchStatus();
            }
        }
        else if ((value & 0x30) == 0)
        {
            _counters[select].LatchCount();
        }
        else
        {
            _counters[select].Configure(value);
        }
    }

    private uint ReadSpeaker()
    {
        var value = (uint)(_speaker & 0x0f);
        if ((_clock.Now / RefreshNanoseconds & 1) != 0) value |= 0x10;
        if (_counters[2].Output(_clock.Now)) value |= 0x20;
        return value;
    }

    private void WriteSpeaker(byte value)
    {
        _counters[2].SetGate((value & 1) != 0);
        _speaker = (byte)(value & 0x0f);
    }

    /// <summary>Counter 0 changed its output, or was programmed.</summary>
    private void Tick()
    {
        var now = _clock.Now;
        var counter = _counters[0];
        if (counter.PulsedSince(now)) _irq.Pulse();
        _irq.Set(counter.Output(now));
        Arm();
    }

    private void Arm()
    {
        var next = _counters[0].NextChange(_clock.Now);
        if (next == VmTimer.Never) _timer.Cancel();
        else _timer.Arm(next);
    }

    private void Changed(int index)
    {
        if (index != 0) return;
        _irq.Set(_counters[0].Output(_clock.Now));
        Arm();
    }

    public void Reset(ResetKind kind)
    {
        foreach (var counter in _counters) counter.Reset();
        _speaker = 0;
        _timer.Cancel();
        _irq.Set(false);
    }

    public void State(StateVisitor s)
    {
        for (var n = 0; n < 3; n++) _counters[n].State(s, $"counter{n}-");
        s.U8("speaker", ref _speaker);
        s.Line("irq", _irq);
        s.Timer(_timer);
    }

    /// <summary>One counter. Its time line begins when it is loaded; what it shows is a function of the ticks since then.</summary>
    private sealed class Counter(I8254Pit pit, int index)
    {
        private byte _mode, _access, _status;
        private bool _bcd, _gate, _loaded, _writeHigh, _readHigh, _latched, _statusLatched;
        private ushort _reload, _latch, _partial;
        private long _start, _seen;

        /// <summary>Ticks of a full count.</summary>
        private long Period => _reload == 0 ? _bcd ? 10_000 : 65_536 : _bcd ? FromBcd(_reload) : _reload;

        private static long FromBcd(ushort value) => ((value >> 12) * 1000) + ((value >> 8 & 15) * 100) + ((value >> 4 & 15) * 10) + (value & 15);

        private static ushort ToBcd(long value) => (ushort)((value / 1000 % 10 << 12) | (value / 100 % 10 << 8) | (value / 10 % 10 << 4) | (value % 10));

        private static long Nanoseconds(long ticks) => (long)(((Int128)ticks * Second + Hz - 1) / Hz);

        private long Ticks(long now) => (long)((Int128)(now - _start) * Hz / Second);

        public void Configure(byte control)
        {
            _access = (byte)(control >> 4 & 3);
            _mode = (byte)(control >> 1 & 7);
            if (_mode > 5) _mode &= 3;
            _bcd = (control & 1) != 0;
            _loaded = _writeHigh = _readHigh = _latched = _statusLatched = false;
            pit.Changed(index);
        }

        public void Write(byte value)
        {
            switch (_access)
            {
                case 1:
                    Load(value);
                    break;
                case 2:
                    Load((ushort)(value << 8));
                    break;
                default:
                    if (!_writeHigh)
                    {
                        _partial = value;
                        _writeHigh = true;
                        // In mode 0 the first byte stops the count.
                        if (_mode == 0) _loaded = false;
                    }
                    else
                    {
                        _writeHigh = false;
                        Load((ushort)(_partial | (value << 8)));
                    }

                    break;
            }
        }

        private void Load(ushort value)
        {
            var running = _loaded;
            _reload = value;
            // Modes 1 and 5 wait for the gate; a new count in modes 2 and 3 is used from the next period on, which guests do not rely on.
            if (_mode is 1 or 5)
            {
                if (!running) _start = long.MaxValue;
            }
            else
            {
                _start = pit._clock.Now;
            }

            _loaded = true;
            _seen = pit._clock.Now;
            pit.Changed(index);
        }

        public void SetGate(bool gate)
        {
            if (gate == _gate) return;
            // A rising gate starts modes 1, 2, 3 and 5 again. Modes 0 and 4 only pause, here from the start.
            if (gate) _start = pit._clock.Now;
            _gate = gate;
            pit.Changed(index);
        }

        /// <summary>The present count.</summary>
        private ushort Count(long now)
        {
            if (!_loaded || _start == long.MaxValue) return _reload;
            var ticks = Math.Max(0, Ticks(now));
            var period = Period;
            var range = _bcd ? 10_000 : 65_536;
            var count = _mode switch
            {
                2 => period - (ticks % period),
                // Mode 3 counts down by two, twice in each period.
                3 => (period - (ticks * 2 % period)) & ~1L,
                _ => (((period - ticks) % range) + range) % range,
            };
            return _bcd ? ToBcd(count % 10_000) : (ushort)count;
        }

        public bool Output(long now)
        {
            if (!_loaded) return _mode != 0;
            if (_start == long.MaxValue) return true;
            var ticks = Ticks(now);
            var period = Period;
            return _mode switch
            {
                0 => ticks >= period,
                1 => ticks >= period,
                2 => !_gate || ticks % period != period - 1,
                3 => !_gate || ticks % period < (period + 1) / 2,
                _ => ticks != period,
            };
        }

        /// <summary>Modes 2, 4 and 5 go low for one tick: the rising edge afterwards is the interrupt.</summary>
        public bool PulsedSince(long now)
        {
            var from = Ticks(_seen);
            var to = Ticks(now);
            _seen = now;
            if (!_loaded || _start == long.MaxValue || !_gate) return false;
            return _mode switch
            {
                2 or 3 => from / Period != to / Period,
                4 or 5 => from <= Period && to > Period,
                _ => false,
            };
        }

        /// <summary>When the output changes next in a way that matters to an interrupt controller.</summary>
        public long NextChange(long now)
        {
            if (!_loaded || _start == long.MaxValue || !_gate) return VmTimer.Never;
            var ticks = Ticks(now);
            var period = Period;
            switch (_mode)
            {
                case 0 or 1:
                    return ticks < period ? _start + Nanoseconds(period) : VmTimer.Never;
                case 2:
                    return _start + Nanoseconds((ticks / period + 1) * period);
                case 3:
                    {
                        var half = (period + 1) / 2;
                        var into = ticks % period;
                        return _start + Nanoseconds(into < half ? ticks - into + half : ticks - into + period);
                    }

                default:
                    return ticks <= period ? _start + Nanoseconds(period + 1) : VmTimer.Never;
            }
        }

        public uint Read()
        {
            if (_statusLatched)
            {
                _statusLatched = false;
                return _status;
            }

            var count = _latched ? _latch : Count(pit._clock.Now);
            switch (_access)
            {
                case 1:
                    _latched = false;
                    return (byte)count;
                case 2:
                    _latched = false;
                    return (uint)count >> 8;
                default:
                    _readHigh = !_readHigh;
                    if (_readHigh) return (byte)count;
                    _latched = false;
                    return (uint)count >> 8;
            }
        }

        public void LatchCount()
        {
            if (_latched) return;
            _latch = Count(pit._clock.Now);
            _latched = true;
        }

        public void LatchStatus()
        {
            if (_statusLatched) return;
            _status = (byte)((Output(pit._clock.Now) ? 0x80 : 0) | (_loaded ? 0 : 0x40) | (_access << 4) | (_mode << 1) | (_bcd ? 1 : 0));
            _statusLatched = true;
        }

        public void Reset()
        {
            _mode = 3;
            _access = 3;
            _status = 0;
            _bcd = _loaded = _writeHigh = _readHigh = _latched = _statusLatched = false;
            _gate = index != 2;
            _reload = _latch = _partial = 0;
            _start = _seen = 0;
        }

        public void State(StateVisitor s, string prefix)
        {
            s.U8(prefix + "mode", ref _mode);
            s.U8(prefix + "access", ref _access);
            s.U8(prefix + "status", ref _status);
            s.Bool(prefix + "bcd", ref _bcd);
            s.Bool(prefix + "gate", ref _gate);
            s.Bool(prefix + "loaded", ref _loaded);
            s.Bool(prefix + "write-high", ref _writeHigh);
            s.Bool(prefix + "read-high", ref _readHigh);
            s.Bool(prefix + "latched", ref _latched);
            s.Bool(prefix + "status-latched", ref _statusLatched);
            s.U16(prefix + "reload", ref _reload);
            s.U16(prefix + "latch", ref _latch);
            s.U16(prefix + "partial", ref _partial);
            s.I64(prefix + "start", ref _start);
            s.I64(prefix + "seen", ref _seen);
        }
    }
}
