using System;
using System.Buffers.Binary;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Cpu;
using XenDM.Platform;

namespace XenDM.Hypervisor.Embedded.Xen.Viridian;

/// <summary>
/// Microsoft's hypervisor interface for guests that look for it, as Xen offers it beside its own: CPUID leaves at 4000_0000, with Xen's moved up by 100,
/// MSRs, and hypercalls with bit 31 set in EAX. Specification: Hypervisor Top Level Functional Specification 6.0.
/// </summary>
internal sealed class ViridianGuest : IStateful
{
    /// <summary>How far Xen's leaves are up, and Xen's MSR.</summary>
    public const uint XenLeaves = 0x100, XenMsrs = 0x200;

    /// <summary>Set by the code in the hypercall page, where Xen's own calls have small numbers.</summary>
    public const uint CallBit = 0x8000_0000;

    private const uint MaxLeaf = XenGuest.CpuidBase + 6;
    private const uint GuestOsId = 0x4000_0000, HypercallPage = 0x4000_0001, VpIndex = 0x4000_0002, TimeRefCount = 0x4000_0020, ReferenceTsc = 0x4000_0021;
    private const uint TscFrequency = 0x4000_0022, ApicFrequency = 0x4000_0023, Eoi = 0x4000_0070, Icr = 0x4000_0071, Tpr = 0x4000_0072, VpAssistPage = 0x4000_0073;
    private const uint Scontrol = 0x4000_0080, Sversion = 0x4000_0081, Siefp = 0x4000_0082, Simp = 0x4000_0083, Eom = 0x4000_0084, Sint0 = 0x4000_0090, Stimer0 = 0x4000_00b0;
    private const ulong EnableBit = 1;
    private const ulong Frequency = 1_000_000_000;
    private const int Unit = 100;

    /// <summary>2^64 / 100, rounded up: what a TSC of nanoseconds is multiplied with for units of 100.</summary>
    private const ulong TscScale = (ulong.MaxValue / Unit) + 1;

    /// <summary>Registers of the local APIC, in steps of 16 bytes or one MSR.</summary>
    private const uint ApicTpr = 0x08, ApicEoi = 0x0b, ApicIcr = 0x30, FirstX2Apic = 0x800;
    private const uint LongSpinWait = 8;
    private const ulong Success = 0, InvalidCode = 2;

    private readonly ViridianFeatures _features;
    private readonly EmbeddedMachine _machine;
    private readonly IVmClock _clock;
    private readonly GuestPage _tscPage;
    private readonly GuestPage[] _assist;
    private readonly SyntheticInterrupts[] _synic;
    private ulong _guestOsId, _hypercallPage;
    private uint _tscSequence;

    /// <summary>The TSC of the first vCPU at guest time 0.</summary>
    private long _tscStart;

    public ViridianGuest(ViridianFeatures features, EmbeddedMachine machine, Physmap physmap, IVmClock clock, Action<int, byte> raise)
    {
        _features = features;
        _machine = machine;
        _clock = clock;
        _tscPage = new GuestPage(physmap);
        var vcpus = machine.Cpus.Count;
        _assist = new GuestPage[vcpus];
        _synic = new SyntheticInterrupts[vcpus];
        for (var n = 0; n < vcpus; n++)
        {
            var vcpu = n;
            _assist[n] = new GuestPage(physmap);
            _synic[n] = new SyntheticInterrupts(n, physmap, clock, vector => raise(vcpu, vector));
        }
    }

    public void Reset()
    {
        foreach (var page in _assist) page.Forget();
        foreach (var synic in _synic) synic.Reset();
        _tscPage.Forget();
        (_guestOsId, _hypercallPage, _tscSequence, _tscStart) = (0, 0, 0, 0);
    }

    /// <summary>Leaves from <see cref="XenGuest.CpuidBase"/> on (TLFS 2.4).</summary>
    public (uint A, uint B, uint C, uint D) Cpuid(uint leaf) => (leaf - XenGuest.CpuidBase) switch
    {
        0 => (MaxLeaf, 0x7263_694d, 0x666f_736f, 0x7648_2074),
        1 => (0x3123_7648, 0, 0, 0),
        // Build, version: none before the guest has said who it is.
        2 => _guestOsId == 0 ? default : (0x1772u, (6u << 16) | 1, 0u, 0u),
        3 => (Privileges, 0, 0, Has(ViridianFeatures.Frequencies) ? 1u << 8 : 0),
        // A relaxed view of timers; after so many turns of a lock the guest says that it waits for long.
        4 => (1 << 5, 2047, 0, 0),
        5 => ((uint)_synic.Length, (uint)_synic.Length, 0, 0),
        _ => default,
    };

    private uint Privileges
    {
        get
        {
            // APIC access, hypercalls, VP index.
            var bits = (1u << 4) | (1 << 5) | (1 << 6);
            if (Has(ViridianFeatures.TimeReferenceCount)) bits |= 1 << 1;
            if (Has(ViridianFeatures.Synic)) bits |= 1 << 2;
            if (Has(ViridianFeatures.Stimer)) bits |= 1 << 3;
            if (Has(ViridianFeatures.ReferenceTsc)) bits |= 1 << 9;
            if (Has(ViridianFeatures.Frequencies)) bits |= 1 << 11;
            return bits;
        }
    }

    /// <returns>False for #GP.</returns>
    public bool ReadMsr(X86Cpu cpu, LocalApic apic, uint index, out ulong value)
    {
        value = 0;
        if (!IsThere(index)) return false;
        var synic = _synic[cpu.Index];
        switch (index)
        {
            case GuestOsId: value = _guestOsId; return true;
            case HypercallPage: value = _hypercallPage; return true;
            case VpIndex: value = (uint)cpu.Index; return true;
            case TimeRefCount: value = (ulong)_clock.Now / Unit; return true;
            case ReferenceTsc: value = _tscPage.Value; return true;
            case TscFrequency or ApicFrequency: value = Frequency; return true;
            case Icr: value = apic.IsX2Apic ? ReadApic(apic, ApicIcr) : (ReadApic(apic, ApicIcr + 1) << 32) | ReadApic(apic, ApicIcr); return true;
            case Tpr: value = ReadApic(apic, ApicTpr); return true;
            case VpAssistPage: value = _assist[cpu.Index].Value; return true;
            case Scontrol: value = synic.Control; return true;
            case Sversion: value = 1; return true;
            case Siefp: value = synic.Events.Value; return true;
            case Simp: value = synic.Messages.Value; return true;
            case Eom: return true;
            case >= Sint0 and < Sint0 + SyntheticInterrupts.Sources: value = synic.Source((int)(index - Sint0)); return true;
            case >= Stimer0 and < Stimer0 + (2 * SyntheticInterrupts.Timers):
                var timer = (int)(index - Stimer0) / 2;
                value = (index & 1) == 0 ? synic.Config(timer) : synic.Count(timer);
                return true;
            default: return false;
        }
    }

    /// <inheritdoc cref="ReadMsr"/>
    public bool WriteMsr(X86Cpu cpu, LocalApic apic, uint index, ulong value)
    {
        if (!IsThere(index)) return false;
        var synic = _synic[cpu.Index];
        switch (index)
        {
            case GuestOsId:
                _guestOsId = value;
                if (value == 0) _hypercallPage &= ~EnableBit;
                return true;
            case HypercallPage: return SetHypercallPage(value);
            case ReferenceTsc:
                _tscPage.Set(value);
                FillTscPage();
                return true;
            case Eoi: WriteApic(apic, ApicEoi, 0); return true;
            case Icr:
                if (apic.IsX2Apic) return apic.WriteMsr(FirstX2Apic + ApicIcr, value);
                WriteApic(apic, ApicIcr + 1, value >> 32);
                WriteApic(apic, ApicIcr, (uint)value);
                return true;
            case Tpr: WriteApic(apic, ApicTpr, (byte)value); return true;
            case VpAssistPage: SetAssistPage(_assist[cpu.Index], value); return true;
            case Scontrol: synic.Control = value; return true;
            case Siefp: synic.Events.Set(value); return true;
            case Simp: synic.Messages.Set(value); return true;
            case Eom: synic.EndOfMessage(); return true;
            case >= Sint0 and < Sint0 + SyntheticInterrupts.Sources: return synic.SetSource((int)(index - Sint0), value);
            case >= Stimer0 and < Stimer0 + (2 * SyntheticInterrupts.Timers):
                var timer = (int)(index - Stimer0) / 2;
                if ((index & 1) == 0) synic.SetConfig(timer, value);
                else synic.SetCount(timer, value);
                return true;

            // VP index, counters, frequencies and version cannot be written.
            default: return false;
        }
    }

    /// <summary>A call through the page, or with the bit set.</summary>
    /// <param name="input">Its code is in the lowest 16 bits.</param>
    /// <returns>The result value.</returns>
    public static ulong Call(X86Cpu cpu, ulong input)
    {
        if ((ushort)input != LongSpinWait) return InvalidCode;
        cpu.RequestExit();
        return Success;
    }

    /// <summary>The vCPU has taken an interrupt, which the hypervisor may have to end for it.</summary>
    public void Acknowledged(int vcpu, LocalApic apic, int vector)
    {
        if (Has(ViridianFeatures.Synic) && _synic[vcpu].IsAutoEoi(vector)) WriteApic(apic, ApicEoi, 0);
    }

    /// <summary>The relation of the TSC to guest time is another one.</summary>
    public void UpdateTime(long now, ulong tsc)
    {
        _tscStart = (long)tsc - now;
        FillTscPage();
    }

    private bool Has(ViridianFeatures features) => (_features & features) != 0;

    private bool IsThere(uint index) => index switch
    {
        TimeRefCount => Has(ViridianFeatures.TimeReferenceCount),
        ReferenceTsc => Has(ViridianFeatures.ReferenceTsc),
        TscFrequency or ApicFrequency => Has(ViridianFeatures.Frequencies),
        >= Scontrol and < Stimer0 => Has(ViridianFeatures.Synic),
        >= Stimer0 and < Stimer0 + (2 * SyntheticInterrupts.Timers) => Has(ViridianFeatures.Stimer),
        _ => true,
    };

    private static ulong ReadApic(LocalApic apic, uint register)
    {
        if (!apic.IsX2Apic) return apic.Read(register << 4, 4);
        apic.ReadMsr(FirstX2Apic + register, out var value);
        return value;
    }

    private static void WriteApic(LocalApic apic, uint register, ulong value)
    {
        if (apic.IsX2Apic) apic.WriteMsr(FirstX2Apic + register, value);
        else apic.Write(register << 4, 4, value);
    }

    /// <summary>Fills the guest's page with the code of a call. A guest that has not said who it is has no calls.</summary>
    private bool SetHypercallPage(ulong value)
    {
        if (_guestOsId == 0) value &= ~EnableBit;
        _hypercallPage = value;
        if ((value & EnableBit) == 0) return true;

        // or eax, 80000000h; vmcall; ret
        ReadOnlySpan<byte> code = [0x0d, 0, 0, 0, 0x80, 0x0f, 0x01, 0xc1, 0xc3];
        Span<byte> page = stackalloc byte[4096];
        page.Fill(0xcc);
        code.CopyTo(page);
        _machine.Memory.TryWrite(value & ~0xffful, page);
        return true;
    }

    /// <summary>The first word says whether the guest may leave out an end of interrupt: never.</summary>
    private static void SetAssistPage(GuestPage page, ulong value)
    {
        page.Set(value);
        if (page.Host == 0) return;
        Physmap.Bytes(page.Host)[..4].Clear();
        page.Written();
    }

    /// <summary>Sequence, scale, offset: time = (TSC * scale) / 2^64 + offset, in units of 100 ns (TLFS 12.7).</summary>
    private void FillTscPage()
    {
        if (_tscPage.Host == 0) return;
        var page = Physmap.Bytes(_tscPage.Host);

        // 0 is for a page that is not to be used.
        _tscSequence = _tscSequence + 1 is 0 or uint.MaxValue ? 1 : _tscSequence + 1;
        BinaryPrimitives.WriteUInt64LittleEndian(page[8..], TscScale);
        BinaryPrimitives.WriteInt64LittleEndian(page[16..], -(_tscStart / Unit));
        BinaryPrimitives.WriteUInt32LittleEndian(page, _tscSequence);
        _tscPage.Written();
    }

    void IStateful.State(StateVisitor s)
    {
        s.U64("guest-os", ref _guestOsId);
        s.U64("hypercall-page", ref _hypercallPage);
        s.Child("tsc-page", _tscPage);
        s.U32("tsc-sequence", ref _tscSequence);
        s.I64("tsc-start", ref _tscStart);
        for (var n = 0; n < _synic.Length; n++)
        {
            s.Child($"assist{n}", _assist[n]);
            s.Child($"synic{n}", _synic[n]);
        }
    }
}
