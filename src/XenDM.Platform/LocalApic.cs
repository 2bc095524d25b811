using System;
using System.Numerics;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Platform;

/// <summary>
/// The local APIC of one vCPU, as Xen gives it to a guest: version 0x14 with 6 LVT entries, xAPIC page (4 KiB at
/// fee00000) and x2APIC MSRs, timer on a 1 GHz bus clock and with TSC deadline. Specification: Intel SDM volume 3, chapter 11.
/// Deviations: a message arrives at once, so delivery status bits read 0. Arbitration and remote read registers read 0. While the APIC is
/// disabled by SVR, what waits in IRR waits on (Xen does the same). The id is read-only. The thermal and performance entries have no source. INTR of the 8259
/// pair goes past an APIC that is disabled, in either way, on vCPU 0 only: so a firmware that leaves the APIC alone gets its interrupts. Sub-dword writes to the page change the bytes that are written.
/// </summary>
public sealed class LocalApic : IDevice, IIoRegion
{
    /// <summary>Bytes of the register page.</summary>
    public const int PageBytes = 0x1000;

    /// <summary>The first and the last MSR of x2APIC mode.</summary>
    public const uint MsrX2ApicFirst = 0x800;

    /// <inheritdoc cref="MsrX2ApicFirst"/>
    public const uint MsrX2ApicLast = 0x8ff;

    // Register numbers: MSR less 0x800, or offset in the page divided by 16.
    private const int RegId = 0x02;
    private const int RegVersion = 0x03;
    private const int RegTpr = 0x08;
    private const int RegArbitration = 0x09;
    private const int RegPpr = 0x0a;
    private const int RegEoi = 0x0b;
    private const int RegRemoteRead = 0x0c;
    private const int RegLdr = 0x0d;
    private const int RegDfr = 0x0e;
    private const int RegSvr = 0x0f;
    private const int RegIsr = 0x10;
    private const int RegTmr = 0x18;
    private const int RegIrr = 0x20;
    private const int RegEsr = 0x28;
    private const int RegIcr = 0x30;
    private const int RegIcrHigh = 0x31;
    private const int RegLvtTimer = 0x32;
    private const int RegLvtThermal = 0x33;
    private const int RegLvtLint0 = 0x35;
    private const int RegLvtLint1 = 0x36;
    private const int RegLvtError = 0x37;
    private const int RegInitialCount = 0x38;
    private const int RegCurrentCount = 0x39;
    private const int RegDivide = 0x3e;
    private const int RegSelfIpi = 0x3f;

    private const int LvtTimer = 0;
    private const int LvtLint0 = 3;
    private const int LvtLint1 = 4;
    private const int LvtError = 5;
    private const int LvtEntries = 6;
    private const uint Version = 0x14 | ((LvtEntries - 1) << 16);
    private const uint LvtMasked = 1 << 16;
    private const uint LvtLevel = 1 << 15;
    private const uint LvtRemoteIrr = 1 << 14;
    private const uint LvtStatus = 1 << 12;
    private const uint LvtMode = 7 << 8;
    private const uint LvtExtInt = (uint)DeliveryMode.ExtInt << 8;
    private const uint SvrEnable = 1 << 8;
    private const uint SvrWritable = 0x3ff;
    private const uint ErrorSendVector = 1 << 5;
    private const uint ErrorReceiveVector = 1 << 6;
    private const uint ErrorRegister = 1 << 7;
    private const uint IcrWritable = 0x000ccfff;
    private const uint IcrLogical = 1 << 11;
    private const uint IcrAssert = 1 << 14;
    private const uint IcrLevel = 1 << 15;
    private const ulong BaseBsp = 1 << 8;
    private const ulong BaseX2 = 1 << 10;
    private const ulong BaseEnable = 1 << 11;
    private const ulong BaseFlags = BaseBsp | BaseX2 | BaseEnable;
    private const ulong BaseDefault = 0xfee00000;

    private readonly ApicBus _bus;
    private readonly ILocalApicCpu _target;
    private readonly Func<int> _acknowledgePic;
    private readonly LocalApicTimer _timer;
    private readonly ulong _baseWritable;
    private readonly ulong[] _irr = new ulong[4];
    private readonly ulong[] _isr = new ulong[4];
    private readonly ulong[] _tmr = new ulong[4];
    private readonly uint[] _lvt = new uint[LvtEntries];
    private ulong _base;
    private uint _tpr;
    private uint _ldr;
    private uint _dfr;
    private uint _svr;
    private uint _esr;
    private uint _errors;
    private uint _icr;
    private uint _icrHigh;
    private bool _lint0;
    private bool _lint1;

    /// <summary>An ExtINT message of the IOAPIC came and waits for its acknowledge.</summary>
    private bool _extInt;

    [Glue("from IRR: the highest vector, or -1")]
    private int _irrTop = -1;

    [Glue("from TPR and ISR")]
    private uint _ppr;

    /// <param name="cpu">Number of the vCPU; APICs are made in this order.</param>
    /// <param name="apicId">2 × vCPU as Xen has it, or what the firmware's tables say; 0 to 254.</param>
    /// <param name="acknowledgePic">The acknowledge cycle that an ExtINT forwards to the 8259 pair.</param>
    /// <param name="timeOfTsc">
    /// Guest time in ns (rounded up) at which the vCPU's TSC reaches a value; what lies in the past fires at once. Null: a tick is a
    /// nanosecond of guest time. After the TSC itself was written, <see cref="TscChanged"/> must be called.
    /// </param>
    /// <param name="physicalBits">Width of physical addresses, for the reserved bits of IA32_APIC_BASE; 36 to 52.</param>
    public LocalApic(int cpu, uint apicId, ApicBus bus, IVmClock clock, ILocalApicCpu target, Func<int> acknowledgePic, Func<ulong, long>? timeOfTsc = null, int physicalBits = 40)
    {
        Vcpu = cpu;
        ApicId = apicId;
        Id = $"lapic{cpu}";
        _bus = bus;
        _target = target;
        _acknowledgePic = acknowledgePic;
        _baseWritable = BaseFlags | (((1ul << physicalBits) - 1) & ~0xffful);
        _timer = new LocalApicTimer(Id, clock, timeOfTsc ?? (static tsc => (long)Math.Min(tsc, long.MaxValue)), TimerExpired);
        bus.Add(this);
        Reset(ResetKind.Cold);
    }

    public string Id { get; }

    public int Vcpu { get; }

    /// <summary>The id in ACPI tables and in CPUID.</summary>
    public uint ApicId { get; }

    /// <summary>INTR of the processor: there is something to <see cref="Acknowledge"/>.</summary>
    [Glue("from IRR, PPR and LINT0")]
    public bool HasInterrupt { get; private set; }

    /// <summary>Where the register page lies.</summary>
    public ulong Base => _base & ~0xffful;

    /// <summary>The register page answers: enabled and not in x2APIC mode.</summary>
    public bool AnswersMemory => (_base & (BaseEnable | BaseX2)) == BaseEnable;

    public bool IsX2Apic => (_base & BaseX2) != 0;

    /// <summary>Enabled in IA32_APIC_BASE; CPUID leaf 1 shows it in EDX bit 9.</summary>
    public bool IsGloballyEnabled => (_base & BaseEnable) != 0;

    /// <summary>Takes interrupts: enabled in IA32_APIC_BASE and in SVR.</summary>
    public bool IsEnabled => IsGloballyEnabled && (_svr & SvrEnable) != 0;

    /// <summary>IA32_APIC_BASE.</summary>
    public ulong BaseMsr => _base;

    /// <summary>PPR.</summary>
    public uint ProcessorPriority => _ppr;

    /// <summary>The task priority register as CR8 has it, 0 to 15.</summary>
    public int TaskPriority
    {
        get => (int)_tpr >> 4;
        set => WriteTpr(((uint)value & 15) << 4);
    }

    /// <summary>IA32_TSC_DEADLINE: 0 when none is pending. Setting it does nothing unless the timer is in deadline mode.</summary>
    public ulong TscDeadline
    {
        get => _timer.Deadline;
        set => _timer.WriteDeadline(value);
    }

    /// <summary>
    /// The processor's interrupt acknowledge: an interrupt of the 8259 pair first, then the highest of the APIC, which goes in service.
    /// </summary>
    /// <returns>The vector, or -1 when <see cref="HasInterrupt"/> is false.</returns>
    public int Acknowledge()
    {
        if (!HasInterrupt) return -1;
        if (HasExtInt)
        {
            _extInt = false;
            var vector = _acknowledgePic();
            Update();
            return vector;
        }

        var taken = _irrTop;
        if (!IsDeliverable) return -1;
        _irr[taken >> 6] &= ~(1ul << taken);
        _isr[taken >> 6] |= 1ul << taken;
        UpdatePriority();
        _irrTop = Highest(_irr);
        Update();
        return taken;
    }

    /// <summary>The relation between this vCPU's TSC and guest time changed: a pending deadline moves.</summary>
    public void TscChanged() => _timer.Rearm();

    public ulong Read(ulong offset, int size)
    {
        var lane = (int)offset & 15;
        if (!AnswersMemory) return ulong.MaxValue;
        if (lane >= 4) return 0;
        var value = (ulong)ReadPage((int)(offset >> 4) & 0xff) >> (8 * lane);
        return size >= 8 ? value : value & AddressSpace.Mask(size);
    }

    public void Write(ulong offset, int size, ulong value)
    {
        var lane = (int)offset & 15;
        if (lane >= 4 || !AnswersMemory) return;
        var register = (int)(offset >> 4) & 0xff;
        var written = (uint)value;
        if (size < 4 || lane != 0)
        {
            var mask = (uint)AddressSpace.Mask(Math.Min(size, 4 - lane)) << (8 * lane);
            var old = register is RegEoi or RegEsr ? 0 : ReadRegister(register, out _);
            written = (old & ~mask) | (((uint)value << (8 * lane)) & mask);
        }

        WritePage(register, written);
    }

    /// <summary>Reads an x2APIC register.</summary>
    /// <param name="msr"><see cref="MsrX2ApicFirst"/> to <see cref="MsrX2ApicLast"/>.</param>
    /// <returns>False for a general protection fault.</returns>
    public bool ReadMsr(uint msr, out ulong value)
    {
        value = 0;
        if (!IsX2Apic || msr is < MsrX2ApicFirst or > MsrX2ApicLast) return false;
        var register = (int)(msr - MsrX2ApicFirst);
        if (register is RegArbitration or RegEoi or RegRemoteRead or RegDfr or RegIcrHigh or RegSelfIpi) return false;
        var low = ReadRegister(register, out var exists);
        value = register == RegIcr ? low | ((ulong)_icrHigh << 32) : low;
        return exists;
    }

    /// <summary>Writes an x2APIC register.</summary>
    /// <inheritdoc cref="ReadMsr"/>
    public bool WriteMsr(uint msr, ulong value)
    {
        if (!IsX2Apic || msr is < MsrX2ApicFirst or > MsrX2ApicLast) return false;
        var register = (int)(msr - MsrX2ApicFirst);
        if ((value & ~X2Writable(register)) != 0) return false;
        switch (register)
        {
            case RegTpr or RegEoi or RegSvr or RegEsr or RegInitialCount or RegDivide:
            case >= RegLvtTimer and <= RegLvtError:
                WriteRegister(register, (uint)value);
                return true;
            case RegIcr:
                _icrHigh = (uint)(value >> 32);
                WriteIcr((uint)value);
                return true;
            case RegSelfIpi:
                SelfIpi((byte)value);
                return true;
            default:
                return false;
        }
    }

    /// <summary>Writes IA32_APIC_BASE: enables, relocates, changes the mode.</summary>
    /// <returns>False for a general protection fault: reserved bits, or a change of mode that there is not.</returns>
    public bool WriteBaseMsr(ulong value)
    {
        if ((value & ~_baseWritable) != 0) return false;
        var enable = (value & BaseEnable) != 0;
        var x2 = (value & BaseX2) != 0;
        if (x2 && !enable) return false;

        // x2APIC mode is entered from xAPIC mode only, and left by disabling only.
        if (x2 && !IsGloballyEnabled) return false;
        if (IsX2Apic && enable && !x2) return false;
        var wasEnabled = IsGloballyEnabled;
        var wasX2 = IsX2Apic;
        _base = value;
        if (enable != wasEnabled) ResetRegisters();
        if (x2 && !wasX2)
        {
            _icrHigh = 0;
            _ldr = ((ApicId & ~15u) << 12) | (1u << (int)(ApicId & 15));
        }

        Update();
        return true;
    }

    /// <summary>The processor was reset by INIT, not by this bus (a triple fault that the machine turns into INIT).</summary>
    public void InitReset()
    {
        ResetRegisters();
        Update(always: true);
    }

    /// <summary>A message is for this APIC.</summary>
    internal bool Matches(uint destination, bool isLogical)
    {
        if (!IsGloballyEnabled) return false;
        if (destination == ApicBus.Broadcast) return true;
        if (!isLogical) return destination == ApicId || (destination == 0xff && !IsX2Apic);
        if (IsX2Apic) return destination >> 16 == _ldr >> 16 && (destination & _ldr & 0xffff) != 0;
        if (destination > 0xff) return false;
        if (destination == 0xff) return true;
        var own = _ldr >> 24;
        if (_dfr >> 28 == 0xf) return (own & destination) != 0;
        return (destination >> 4 == own >> 4 || destination >> 4 == 0xf) && (own & destination & 0xf) != 0;
    }

    /// <summary>Takes a message whose destination matched.</summary>
    internal void Accept(in ApicMessage message)
    {
        if (!IsGloballyEnabled) return;
        switch (message.Delivery)
        {
            case DeliveryMode.Fixed:
            case DeliveryMode.LowestPriority:
                Request(message.Vector, message.IsLevel);
                break;
            case DeliveryMode.Smi:
                _target.Smi(Vcpu);
                break;
            case DeliveryMode.Nmi:
                _target.Nmi(Vcpu);
                break;
            case DeliveryMode.Init:
                InitReset();
                _target.Init(Vcpu);
                break;
            case DeliveryMode.Startup:
                _target.Startup(Vcpu, message.Vector);
                break;
            case DeliveryMode.ExtInt:
                _extInt = true;
                Update();
                break;
        }
    }

    /// <summary>Raises a vector as an edge, past the bus: Xen's per-vCPU event upcall. Dropped while the APIC is disabled.</summary>
    public void Raise(byte vector) => Request(vector, isLevel: false);

    /// <summary>The INTR wire of the 8259 pair, which is LINT0 of every vCPU.</summary>
    public void SetLint0(bool level) => SetLint(LvtLint0, ref _lint0, level);

    /// <summary>The NMI wire, which is LINT1 of every vCPU.</summary>
    public void SetLint1(bool level) => SetLint(LvtLint1, ref _lint1, level);

    private bool HasExtInt
    {
        get
        {
            if (!_lint0) return false;
            if (!IsEnabled && Vcpu == 0) return true;
            return IsGloballyEnabled && (_extInt || (_lvt[LvtLint0] & (LvtMasked | LvtMode)) == LvtExtInt);
        }
    }

    private bool IsDeliverable => _irrTop > (int)(_ppr | 15) && IsEnabled;

    private void Update(bool always = false)
    {
        var pending = IsDeliverable || HasExtInt;
        if (pending == HasInterrupt && !always) return;
        HasInterrupt = pending;
        _target.InterruptChanged(Vcpu);
    }

    /// <summary>PPR is the higher of the task priority and the class in service.</summary>
    private void UpdatePriority()
    {
        var served = Math.Max(0, Highest(_isr)) & 0xf0;
        _ppr = (_tpr & 0xf0) >= served ? _tpr : (uint)served;
    }

    private void WriteTpr(uint value)
    {
        _tpr = value & 0xff;
        UpdatePriority();
        Update();
    }

    private void Request(byte vector, bool isLevel)
    {
        if (!IsEnabled) return;
        if (vector < 16)
        {
            ReportError(ErrorReceiveVector);
            return;
        }

        var bit = 1ul << vector;
        _irr[vector >> 6] |= bit;
        if (isLevel) _tmr[vector >> 6] |= bit;
        else _tmr[vector >> 6] &= ~bit;
        if (vector > _irrTop) _irrTop = vector;
        Update();
    }

    private void EndOfInterrupt()
    {
        var vector = Highest(_isr);
        if (vector < 0) return;
        _isr[vector >> 6] &= ~(1ul << vector);
        UpdatePriority();
        if ((_tmr[vector >> 6] & (1ul << vector)) != 0)
        {
            EndLint(LvtLint0, vector, _lint0);
            EndLint(LvtLint1, vector, _lint1);
            _bus.EndOfInterrupt((byte)vector);
        }

        Update();
    }

    /// <summary>A level at a LINT pin that requests a vector requests it again when it is still up at the end of the interrupt.</summary>
    private void EndLint(int entry, int vector, bool level)
    {
        if ((_lvt[entry] & LvtRemoteIrr) == 0 || (byte)_lvt[entry] != vector) return;
        _lvt[entry] &= ~LvtRemoteIrr;
        if (level) LintRequests(entry);
    }

    private void SetLint(int entry, ref bool pin, bool level)
    {
        if (pin == level) return;
        pin = level;
        if (level) LintRequests(entry);
        if (entry == LvtLint0) Update();
    }

    private void LintRequests(int entry)
    {
        var lvt = _lvt[entry];
        if ((lvt & LvtMasked) != 0 || !IsGloballyEnabled) return;
        switch ((DeliveryMode)((lvt >> 8) & 7))
        {
            case DeliveryMode.Fixed:
                if ((lvt & LvtRemoteIrr) != 0) return;
                if ((lvt & LvtLevel) != 0 && IsEnabled) _lvt[entry] |= LvtRemoteIrr;
                Request((byte)lvt, (lvt & LvtLevel) != 0);
                break;
            case DeliveryMode.Nmi:
                _target.Nmi(Vcpu);
                break;
            case DeliveryMode.Smi:
                _target.Smi(Vcpu);
                break;
            case DeliveryMode.Init:
                InitReset();
                _target.Init(Vcpu);
                break;
        }
    }

    private void TimerExpired() => Request((byte)_lvt[LvtTimer], isLevel: false);

    private void ReportError(uint error)
    {
        _errors |= error;
        var lvt = _lvt[LvtError];
        if ((lvt & LvtMasked) != 0) return;

        // An error interrupt with a bad vector is an error too, but raises no other.
        if ((byte)lvt < 16) _errors |= ErrorReceiveVector;
        else Request((byte)lvt, isLevel: false);
    }

    private void SelfIpi(byte vector)
    {
        if (vector < 16) ReportError(ErrorSendVector);
        else Request(vector, isLevel: false);
    }

    /// <summary>Writing the low half of the ICR sends.</summary>
    private void WriteIcr(uint value)
    {
        _icr = value & IcrWritable;
        var delivery = (DeliveryMode)((value >> 8) & 7);
        var isLevel = (value & IcrLevel) != 0;

        // The de-assert of INIT sets arbitration ids only, which there are none of.
        if (delivery == DeliveryMode.Init && isLevel && (value & IcrAssert) == 0) return;
        if (delivery is DeliveryMode.ExtInt or (DeliveryMode)3) return;
        if (delivery is DeliveryMode.Fixed or DeliveryMode.LowestPriority && (byte)value < 16)
        {
            ReportError(ErrorSendVector);
            return;
        }

        // IPIs are edges: processors of this kind ignore the trigger bit.
        var destination = IsX2Apic ? _icrHigh : _icrHigh >> 24;
        if (!IsX2Apic && destination == 0xff) destination = ApicBus.Broadcast;
        var message = new ApicMessage(destination, (value & IcrLogical) != 0, delivery, (byte)value, IsLevel: false);
        switch ((value >> 18) & 3)
        {
            case 0: _bus.Deliver(message); break;
            case 1: Accept(message); break;
            case 2: _bus.DeliverToAll(message with { Destination = ApicBus.Broadcast }, except: null); break;
            default: _bus.DeliverToAll(message with { Destination = ApicBus.Broadcast }, except: this); break;
        }
    }

    private uint ReadPage(int register)
    {
        var value = ReadRegister(register, out var exists);
        if (!exists) ReportError(ErrorRegister);
        return value;
    }

    private void WritePage(int register, uint value)
    {
        switch (register)
        {
            case RegLdr:
                _ldr = value & 0xff000000;
                break;
            case RegDfr:
                _dfr = value | 0x0fffffff;
                break;
            case RegIcrHigh:
                _icrHigh = value & 0xff000000;
                break;
            case RegIcr:
                WriteIcr(value);
                break;
            default:
                WriteRegister(register, value);
                break;
        }
    }

    private uint ReadRegister(int register, out bool exists)
    {
        exists = true;
        switch (register)
        {
            case RegId: return IsX2Apic ? ApicId : ApicId << 24;
            case RegVersion: return Version;
            case RegTpr: return _tpr;
            case RegArbitration or RegRemoteRead or RegEoi: return 0;
            case RegPpr: return _ppr;
            case RegLdr: return _ldr;
            case RegDfr: return _dfr;
            case RegSvr: return _svr;
            case >= RegIsr and < RegTmr: return Part(_isr, register - RegIsr);
            case >= RegTmr and < RegIrr: return Part(_tmr, register - RegTmr);
            case >= RegIrr and < RegEsr: return Part(_irr, register - RegIrr);
            case RegEsr: return _esr;
            case RegIcr: return _icr;
            case RegIcrHigh: return _icrHigh;
            case >= RegLvtTimer and <= RegLvtError: return _lvt[register - RegLvtTimer];
            case RegInitialCount: return _timer.Initial;
            case RegCurrentCount: return _timer.Current;
            case RegDivide: return _timer.Divide;
        }

        exists = false;
        return 0;
    }

    /// <summary>The registers that page and MSRs write alike.</summary>
    private void WriteRegister(int register, uint value)
    {
        switch (register)
        {
            case RegTpr:
                WriteTpr(value);
                break;
            case RegEoi:
                EndOfInterrupt();
                break;
            case RegSvr:
                WriteSvr(value);
                break;
            case RegEsr:
                // A write shows the errors since the last one.
                _esr = _errors;
                _errors = 0;
                break;
            case >= RegLvtTimer and <= RegLvtError:
                WriteLvt(register - RegLvtTimer, value);
                break;
            case RegInitialCount:
                _timer.WriteInitial(value);
                break;
            case RegDivide:
                _timer.WriteDivide(value);
                break;
            case RegId or RegVersion or RegArbitration or RegPpr or RegRemoteRead or RegCurrentCount:
            case >= RegIsr and < RegEsr:
                break;
            default:
                ReportError(ErrorRegister);
                break;
        }
    }

    /// <summary>Disabling the APIC masks all local sources.</summary>
    private void WriteSvr(uint value)
    {
        _svr = value & SvrWritable;
        if ((value & SvrEnable) == 0)
            for (var i = 0; i < LvtEntries; i++) WriteLvt(i, _lvt[i] | LvtMasked);
        Update();
    }

    private void WriteLvt(int entry, uint value)
    {
        var old = _lvt[entry];
        value = (value & LvtWritable(entry)) | (old & LvtRemoteIrr);
        if ((_svr & SvrEnable) == 0) value |= LvtMasked;
        if ((value & LvtLevel) == 0) value &= ~LvtRemoteIrr;
        _lvt[entry] = value;
        if (entry == LvtTimer) _timer.SetLvt(value);
        else if (entry is LvtLint0 or LvtLint1)
        {
            // A level that is up when its entry is opened requests.
            if ((old & LvtMasked) != 0 && (value & (LvtMode | LvtLevel)) == LvtLevel && (entry == LvtLint0 ? _lint0 : _lint1)) LintRequests(entry);
            Update();
        }
    }

    private static uint LvtWritable(int entry) => entry switch
    {
        LvtTimer => 0x000700ff,
        LvtLint0 or LvtLint1 => 0x0001a7ff,
        LvtError => 0x000100ff,
        _ => 0x000107ff,
    };

    /// <summary>Bits that an MSR write may have set: the register's own, and those that are read-only rather than reserved.</summary>
    private static ulong X2Writable(int register) => register switch
    {
        RegTpr => 0xff,
        RegEoi or RegEsr => 0,
        RegSvr => SvrWritable,
        RegIcr => IcrWritable | 0xffffffff00000000,
        >= RegLvtTimer and <= RegLvtError => LvtWritable(register - RegLvtTimer) | LvtStatus | (register is RegLvtLint0 or RegLvtLint1 ? LvtRemoteIrr : 0),
        RegInitialCount => uint.MaxValue,
        RegDivide => 0xb,
        RegSelfIpi => 0xff,
        _ => 0,
    };

    private static uint Part(ulong[] set, int index) => (uint)(set[(index >> 1) & 3] >> ((index & 1) * 32));

    private static int Highest(ulong[] set)
    {
        for (var i = 3; i >= 0; i--)
            if (set[i] != 0) return (i * 64) + BitOperations.Log2(set[i]);
        return -1;
    }

    /// <summary>What INIT and enabling reset: all but the mode and the place.</summary>
    private void ResetRegisters()
    {
        Array.Clear(_irr);
        Array.Clear(_isr);
        Array.Clear(_tmr);
        _irrTop = -1;
        Array.Fill(_lvt, LvtMasked);
        _tpr = _ppr = 0;
        _ldr = IsX2Apic ? ((ApicId & ~15u) << 12) | (1u << (int)(ApicId & 15)) : 0;
        _dfr = uint.MaxValue;
        _svr = 0xff;
        _esr = _errors = 0;
        _icr = _icrHigh = 0;
        _extInt = false;
        _timer.Reset();
    }

    /// <summary>The LINT pins keep their levels, which are others'.</summary>
    public void Reset(ResetKind kind)
    {
        _base = BaseDefault | BaseEnable | (Vcpu == 0 ? BaseBsp : 0);
        ResetRegisters();
        Update(always: true);
    }

    public void State(StateVisitor s)
    {
        s.U64("IA32_APIC_BASE", ref _base);
        s.U32("TPR", ref _tpr);
        s.U32("LDR", ref _ldr);
        s.U32("DFR", ref _dfr);
        s.U32("SVR", ref _svr);
        s.U32("ESR", ref _esr);
        s.U32("errors", ref _errors);
        s.U32("ICR", ref _icr);
        s.U32("ICR2", ref _icrHigh);
        for (var i = 0; i < 4; i++)
        {
            s.U64($"IRR{i}", ref _irr[i]);
            s.U64($"ISR{i}", ref _isr[i]);
            s.U64($"TMR{i}", ref _tmr[i]);
        }

        for (var i = 0; i < LvtEntries; i++) s.U32($"LVT{i}", ref _lvt[i]);
        s.Bool("lint0", ref _lint0);
        s.Bool("lint1", ref _lint1);
        s.Bool("extint", ref _extInt);
        s.Child("timer", _timer);
    }

    public void Restored()
    {
        _irrTop = Highest(_irr);
        UpdatePriority();
        HasInterrupt = IsDeliverable || HasExtInt;
    }
}
