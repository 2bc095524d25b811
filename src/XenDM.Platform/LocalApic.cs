using System;
using System.Numerics;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// The local APIC of one vCPU, as Xen emulates it: version 0x50014, 6 local vectors, id 2 × vCPU, x2APIC mode, timer with one-shot, periodic and TSC
/// deadline on a 1 GHz bus. Memory at 0xfee00000, or MSRs 0x800 to 0x83f. SDM 3, chapter 10.
/// Deviations: no performance, thermal or CMCI interrupts happen (their vectors are registers); SMI is ignored.
/// </summary>
public sealed class LocalApic : IDevice, IIoRegion
{
    public const ulong DefaultBase = 0xfee0_0000;
    private const uint VersionValue = 0x0005_0014;
    private const int Id_ = 0x20, Version = 0x30, Tpr = 0x80, Apr = 0x90, Ppr = 0xa0, Eoi = 0xb0, Ldr = 0xd0, Dfr = 0xe0, Svr = 0xf0, Isr = 0x100, Tmr = 0x180, Irr = 0x200, Esr = 0x280, IcrLow = 0x300, IcrHigh = 0x310,
        LvtTimer = 0x320, LvtThermal = 0x330, LvtPerformance = 0x340, LvtLint0 = 0x350, LvtLint1 = 0x360, LvtError = 0x370, InitialCount = 0x380, CurrentCount = 0x390, Divide = 0x3e0, SelfIpi = 0x3f0;

    private const uint Masked = 1 << 16;
    private const ulong BaseEnable = 1 << 11, BaseX2 = 1 << 10, BaseBsp = 1 << 8;
    private const uint ErrorIllegalRegister = 0x80, ErrorReceiveVector = 0x40, ErrorSendVector = 0x20;

    private readonly int _cpu;
    private readonly ApicBus _bus;
    private readonly IVmClock _clock;
    private readonly ILocalApicCpu _target;
    private readonly Func<int> _acknowledgePic;
    private readonly VmTimer _timer;
    private readonly uint[] _isr = new uint[8], _tmr = new uint[8], _irr = new uint[8];
    private readonly uint[] _lvt = new uint[6];
    private ulong _base;
    private uint _id, _tpr, _ldr, _dfr, _svr, _esr, _esrPending, _icrLow, _icrHigh, _initial, _divide;
    private long _timerStart;
    private ulong _tscDeadline;
    private bool _lint0, _extInt;

    /// <param name="apicId">2 × vCPU under hvmloader, as Xen has it; SeaBIOS's own ACPI tables number them from 0 on.</param>
    /// <param name="acknowledgePic">The acknowledge cycle that an ExtINT forwards to the 8259A.</param>
    public LocalApic(int cpu, uint apicId, ApicBus bus, IVmClock clock, ILocalApicCpu target, Func<int> acknowledgePic)
    {
        _cpu = cpu;
        ApicId = apicId;
        _bus = bus;
        _clock = clock;
        _target = target;
        _acknowledgePic = acknowledgePic;
        _timer = clock.CreateTimer($"lapic{cpu}", TimerExpired);
        bus.Add(this);
        Reset(ResetKind.Cold);
    }

    public string Id => $"lapic{_cpu}";

    /// <summary>The id as CPUID reports it.</summary>
    public uint ApicId { get; }

    /// <summary>Address of the register page.</summary>
    public ulong Base => _base & 0xff_ffff_f000;

    public bool IsX2 => (_base & BaseX2) != 0;

    private bool IsOn => (_base & BaseEnable) != 0;

    internal bool IsEnabled => IsOn && (_svr & 0x100) != 0;

    /// <summary>An interrupt can be delivered now.</summary>
    public bool HasInterrupt => _extInt || (IsEnabled && Highest(_irr) is var vector && vector >> 4 > (int)ProcessorPriority >> 4);

    internal uint ProcessorPriority
    {
        get
        {
            var service = Highest(_isr);
            return service >> 4 > (int)_tpr >> 4 ? (uint)service & 0xf0 : _tpr;
        }
    }

    /// <summary>CR8.</summary>
    public int TaskPriority
    {
        get => (int)_tpr >> 4;
        set => SetTpr((uint)value << 4);
    }

    /// <summary>Takes the highest interrupt.</summary>
    /// <returns>The vector, or -1 when there is none.</returns>
    public int Acknowledge()
    {
        if (_extInt)
        {
            var vector = _acknowledgePic();
            UpdateExtInt();
            return vector;
        }

        if (!HasInterrupt) return -1;
        var highest = Highest(_irr);
        Clear(_irr, highest);
        Put(_isr, highest);
        _target.InterruptChanged(_cpu);
        return highest;
    }

    /// <summary>The INTR wire of the 8259A, which is LINT0 of every vCPU.</summary>
    public void SetLint0(bool level)
    {
        _lint0 = level;
        UpdateExtInt();
    }

    /// <summary>LINT0 passes the 8259A on when it is in ExtINT mode, or the APIC is off (virtual wire through the disabled APIC, vCPU 0 only).</summary>
    private void UpdateExtInt()
    {
        var was = _extInt;
        _extInt = _lint0 && (IsOn ? (_lvt[3] & Masked) == 0 && (_lvt[3] >> 8 & 7) == (uint)DeliveryMode.ExtInt && (_svr & 0x100) != 0 || (_cpu == 0 && (_svr & 0x100) == 0) : _cpu == 0);
        if (was != _extInt) _target.InterruptChanged(_cpu);
    }

    internal bool Matches(uint destination, bool logical, bool wide)
    {
        if (!IsOn) return false;
        var broadcast = wide ? uint.MaxValue : 0xffu;
        if (destination == broadcast) return true;
        if (!logical) return (IsX2 ? ApicId : _id >> 24) == destination;
        if (IsX2)
        {
            var ldr = X2Ldr;
            if (!wide) return false;
            return ldr >> 16 == destination >> 16 && (ldr & destination & 0xffff) != 0;
        }

        var mine = _ldr >> 24;
        if (_dfr >> 28 == 15) return (mine & destination) != 0;
        return mine >> 4 == destination >> 4 && (mine & destination & 15) != 0;
    }

    private uint X2Ldr => (ApicId >> 4 << 16) | (1u << (int)(ApicId & 15));

    internal void Accept(DeliveryMode mode, byte vector, bool level)
    {
        switch (mode)
        {
            case DeliveryMode.Fixed or DeliveryMode.LowestPriority:
                if (!IsEnabled) return;
                if (vector < 16)
                {
                    Error(ErrorReceiveVector);
                    return;
                }

                Put(_irr, vector);
                if (level) Put(_tmr, vector);
                else Clear(_tmr, vector);
                _target.InterruptChanged(_cpu);
                break;
            case DeliveryMode.Nmi:
                _target.Nmi(_cpu);
                break;
            case DeliveryMode.Init:
                _target.Init(_cpu);
                break;
            case DeliveryMode.Startup:
                _target.Startup(_cpu, vector);
                break;
            default:
                break;
        }
    }

    private void Error(uint bit)
    {
        _esrPending |= bit;
        var lvt = _lvt[5];
        if ((lvt & Masked) == 0) Accept(DeliveryMode.Fixed, (byte)lvt, false);
    }

    private static int Highest(uint[] bits)
    {
        for (var n = 7; n >= 0; n--)
            if (bits[n] != 0) return (n * 32) + BitOperations.Log2(bits[n]);
        return -1;
    }

    private static void Put(uint[] bits, int vector) => bits[vector >> 5] |= 1u << (vector & 31);

    private static void Clear(uint[] bits, int vector) => bits[vector >> 5] &= ~(1u << (vector & 31));

    // Registers. Memory accesses are 32-bit and aligned; others read zero and write nothing.

    public ulong Read(ulong offset, int size)
    {
        if (size != 4 || (offset & 15) != 0)
        {
            // A part of a register, as some guests read it.
            if ((offset & 15) + (ulong)size > 4) return 0;
            return ReadRegister((int)offset & 0xff0) >> (int)((offset & 3) * 8);
        }

        return ReadRegister((int)offset);
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (size == 4 && (offset & 15) == 0 && !IsX2) WriteRegister((int)offset, (uint)value);
    }

    private uint ReadRegister(int register)
    {
        switch (register)
        {
            case Id_: return IsX2 ? ApicId : _id;
            case Version: return VersionValue;
            case Tpr: return _tpr;
            case Apr: return 0;
            case Ppr: return ProcessorPriority;
            case Ldr: return IsX2 ? X2Ldr : _ldr;
            case Dfr: return _dfr;
            case Svr: return _svr;
            case >= Isr and < Isr + 0x80: return _isr[(register - Isr) >> 4];
            case >= Tmr and < Tmr + 0x80: return _tmr[(register - Tmr) >> 4];
            case >= Irr and < Irr + 0x80: return _irr[(register - Irr) >> 4];
            case Esr: return _esr;
            case IcrLow: return _icrLow;
            case IcrHigh: return _icrHigh;
            case >= LvtTimer and <= LvtError: return _lvt[(register - LvtTimer) >> 4];
            case InitialCount: return _initial;
            case CurrentCount: return Current();
            case Divide: return _divide;
            default:
                Error(ErrorIllegalRegister);
                return 0;
        }
    }

    private void WriteRegister(int register, uint value)
    {
        switch (register)
        {
            case Id_: _id = value & 0xff00_0000; break;
            case Tpr: SetTpr(value & 0xff); break;
            case Eoi: EndOfInterrupt(); break;
            case Ldr: _ldr = value & 0xff00_0000; break;
            case Dfr: _dfr = value | 0x0fff_ffff; break;
            case Svr:
                _svr = value & 0x3ff;
                if ((value & 0x100) == 0)
                    for (var n = 0; n < 6; n++) _lvt[n] |= Masked;
                UpdateExtInt();
                _target.InterruptChanged(_cpu);
                break;
            case Esr:
                _esr = _esrPending;
                _esrPending = 0;
                break;
            case IcrLow:
                _icrLow = value & 0x000c_cfff;
                Send(_icrLow, _icrHigh >> 24, false);
                break;
            case IcrHigh: _icrHigh = value & 0xff00_0000; break;
            case >= LvtTimer and <= LvtError: WriteLvt((register - LvtTimer) >> 4, value); break;
            case InitialCount:
                _initial = value;
                StartTimer();
                break;
            case Divide:
                {
                    var left = Current();
                    _divide = value & 0xb;
                    // The count goes on from where it is at the new speed.
                    if (_initial != 0 && Mode() != 2) _timerStart = _clock.Now - ((long)(_initial - left) * Divisor);
                    ArmTimer();
                    break;
                }

            case Version or Apr or Ppr or CurrentCount: break;
            case >= Isr and < Isr + 0x180: break;
            default: Error(ErrorIllegalRegister); break;
        }
    }

    private void WriteLvt(int index, uint value)
    {
        // SDM 3, figure 10-8: which bits each entry has.
        var mask = index switch { 0 => 0x7_10ffu, 1 or 2 => 0x1_17ffu, 3 or 4 => 0x1_f7ffu, _ => 0x1_10ffu };
        value &= mask & ~0x1000u;
        if ((_svr & 0x100) == 0) value |= Masked;
        var before = _lvt[index];
        _lvt[index] = value;
        if (index == 3) UpdateExtInt();
        if (index != 0) return;
        if (((before ^ value) >> 17 & 3) != 0)
        {
            // A change between deadline and count modes disarms the timer.
            if ((before >> 17 & 3) == 2 || (value >> 17 & 3) == 2)
            {
                _tscDeadline = 0;
                _initial = 0;
            }

            ArmTimer();
        }
    }

    private void SetTpr(uint value)
    {
        _tpr = value;
        _target.InterruptChanged(_cpu);
    }

    private void EndOfInterrupt()
    {
        var vector = Highest(_isr);
        if (vector < 0) return;
        Clear(_isr, vector);
        if ((_tmr[vector >> 5] >> (vector & 31) & 1) != 0) _bus.EndOfInterrupt((byte)vector);
        _target.InterruptChanged(_cpu);
    }

    private void Send(uint low, uint destination, bool wide)
    {
        var mode = (DeliveryMode)(low >> 8 & 7);
        var vector = (byte)low;
        if (mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority && vector < 16)
        {
            Error(ErrorSendVector);
            return;
        }

        // INIT level de-assert only touches arbitration ids, which nobody sees.
        if (mode == DeliveryMode.Init && (low & 0xc000) == 0x8000) return;
        switch (low >> 18 & 3)
        {
            case 0:
                _bus.Deliver(destination, (low & 0x800) != 0, wide, mode, vector, false);
                break;
            case 1:
                Accept(mode == DeliveryMode.LowestPriority ? DeliveryMode.Fixed : mode, vector, false);
                break;
            default:
                foreach (var apic in _bus.Apics)
                    if (apic.IsOn && (apic != this || (low >> 18 & 3) == 2)) apic.Accept(mode == DeliveryMode.LowestPriority ? DeliveryMode.Fixed : mode, vector, false);
                break;
        }
    }

    // Timer.

    private uint Mode() => _lvt[0] >> 17 & 3;

    /// <summary>Nanoseconds of one count: the bus runs at 1 GHz.</summary>
    private int Divisor => (((_divide & 8) >> 1) | (_divide & 3)) == 7 ? 1 : 2 << (int)(((_divide & 8) >> 1) | (_divide & 3));

    private uint Current()
    {
        if (_initial == 0 || Mode() == 2) return 0;
        var counted = (_clock.Now - _timerStart) / Divisor;
        if (Mode() == 1) return (uint)(_initial - (counted % _initial));
        return counted >= _initial ? 0 : (uint)(_initial - counted);
    }

    private void StartTimer()
    {
        if (Mode() == 2) return;
        _timerStart = _clock.Now;
        ArmTimer();
    }

    private void ArmTimer()
    {
        switch (Mode())
        {
            case 0 when _initial != 0:
                {
                    var deadline = _timerStart + ((long)_initial * Divisor);
                    if (deadline > _clock.Now) _timer.Arm(deadline);
                    else _timer.Cancel();
                    break;
                }

            case 1 when _initial != 0:
                {
                    var period = (long)_initial * Divisor;
                    _timer.Arm(_timerStart + (((_clock.Now - _timerStart) / period + 1) * period));
                    break;
                }

            case 2 when _tscDeadline != 0:
                _timer.Arm((long)Math.Min(_tscDeadline, long.MaxValue - 1));
                break;
            default:
                _timer.Cancel();
                break;
        }
    }

    private void TimerExpired()
    {
        if (Mode() == 2) _tscDeadline = 0;
        var lvt = _lvt[0];
        if ((lvt & Masked) == 0) Accept(DeliveryMode.Fixed, (byte)lvt, false);
        if (Mode() == 1) ArmTimer();
    }

    /// <summary>IA32_TSC_DEADLINE in nanoseconds of guest time; 0 disarms.</summary>
    public ulong TscDeadline
    {
        get => Mode() == 2 ? _tscDeadline : 0;
        set
        {
            if (Mode() != 2) return;
            _tscDeadline = value;
            ArmTimer();
        }
    }

    // MSRs.

    public ulong BaseMsr => _base;

    /// <returns>False for #GP.</returns>
    public bool WriteBaseMsr(ulong value)
    {
        if ((value & ~(0xff_ffff_f000ul | BaseEnable | BaseX2 | BaseBsp)) != 0) return false;
        var on = (value & BaseEnable) != 0;
        var x2 = (value & BaseX2) != 0;
        // x2APIC needs the enable bit, and is left only through the disabled state (SDM 3, 10.12.5).
        if (x2 && !on) return false;
        if (IsX2 && on && !x2) return false;
        if (!IsOn && x2) return false;
        var wasOn = IsOn;
        _base = (value & ~BaseBsp) | (_base & BaseBsp);
        if (wasOn && !on) ResetRegisters();
        UpdateExtInt();
        _target.InterruptChanged(_cpu);
        return true;
    }

    /// <summary>MSRs 0x800 to 0x8ff in x2APIC mode.</summary>
    public bool ReadMsr(uint index, out ulong value)
    {
        value = 0;
        if (!IsX2) return false;
        var register = (int)(index - 0x800) << 4;
        switch (register)
        {
            case IcrLow: value = _icrLow | ((ulong)_icrHigh << 32); return true;
            case Id_ or Version or Tpr or Ppr or Ldr or Svr or Esr or InitialCount or CurrentCount or Divide: break;
            case >= Isr and < Irr + 0x80: break;
            case >= LvtTimer and <= LvtError: break;
            default: return false;
        }

        value = ReadRegister(register);
        return true;
    }

    /// <inheritdoc cref="ReadMsr"/>
    public bool WriteMsr(uint index, ulong value)
    {
        if (!IsX2) return false;
        var register = (int)(index - 0x800) << 4;
        if (register != IcrLow && value >> 32 != 0) return false;
        switch (register)
        {
            case IcrLow:
                _icrLow = (uint)value & 0x000c_cfff;
                _icrHigh = (uint)(value >> 32);
                Send(_icrLow, _icrHigh, true);
                return true;
            case SelfIpi:
                if (value >> 8 != 0) return false;
                Send(0x4_0000u | (uint)value, 0, true);
                return true;
            case Eoi or Esr:
                if (value != 0) return false;
                break;
            case Tpr:
                if (value >> 8 != 0) return false;
                break;
            case Svr:
                if ((value & ~0x3fful) != 0) return false;
                break;
            case InitialCount or Divide: break;
            case >= LvtTimer and <= LvtError: break;
            default: return false;
        }

        WriteRegister(register, (uint)value);
        return true;
    }

    private void ResetRegisters()
    {
        _id = ApicId << 24;
        Array.Clear(_isr);
        Array.Clear(_tmr);
        Array.Clear(_irr);
        Array.Fill(_lvt, Masked);
        _tpr = _ldr = _esr = _esrPending = _icrLow = _icrHigh = _initial = _divide = 0;
        _dfr = uint.MaxValue;
        _svr = 0xff;
        _timerStart = 0;
        _tscDeadline = 0;
        _timer.Cancel();
    }

    /// <summary>INIT: the registers, but not the base address (SDM 3, 10.4.7.3).</summary>
    public void InitReset()
    {
        ResetRegisters();
        UpdateExtInt();
    }

    public void Reset(ResetKind kind)
    {
        _base = DefaultBase | BaseEnable | (_cpu == 0 ? BaseBsp : 0);
        ResetRegisters();
        UpdateExtInt();
        _target.InterruptChanged(_cpu);
    }

    public void State(StateVisitor s)
    {
        s.U64("base", ref _base);
        s.U32("id", ref _id);
        s.U32("tpr", ref _tpr);
        s.U32("ldr", ref _ldr);
        s.U32("dfr", ref _dfr);
        s.U32("svr", ref _svr);
        s.U32("esr", ref _esr);
        s.U32("esr-pending", ref _esrPending);
        s.U32("icr-low", ref _icrLow);
        s.U32("icr-high", ref _icrHigh);
        s.U32("initial", ref _initial);
        s.U32("divide", ref _divide);
        for (var n = 0; n < 6; n++) s.U32($"lvt{n}", ref _lvt[n]);
        for (var n = 0; n < 8; n++)
        {
            s.U32($"isr{n}", ref _isr[n]);
            s.U32($"tmr{n}", ref _tmr[n]);
            s.U32($"irr{n}", ref _irr[n]);
        }

        s.I64("timer-start", ref _timerStart);
        s.U64("tsc-deadline", ref _tscDeadline);
        s.Bool("lint0", ref _lint0);
        s.Bool("ext-int", ref _extInt);
        s.Timer(_timer);
    }
}
