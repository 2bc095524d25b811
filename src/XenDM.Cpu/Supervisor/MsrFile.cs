using System.Collections.Generic;
using XenDM.Core.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>
/// Registers that only keep what was written: memory types, machine check, microcode and power states that guests poke (SDM 4, table 2-2).
/// </summary>
public sealed class MsrFile
{
    private const uint SpeculationControl = 0x48, PredictionCommand = 0x49, ArchCapabilities = 0x10a;
    private const uint PlatformInfo = 0xce, MiscFeaturesEnables = 0x140;

    /// <summary>MSR_PLATFORM_INFO bit 31: there is CPUID faulting; MSR_MISC_FEATURES_ENABLES bit 0: it is on (SDM 4, chapter 2).</summary>
    private const ulong HasCpuidFaulting = 1ul << 31, CpuidFaulting = 1;


    /// <summary>
    /// IA32_ARCH_CAPABILITIES: none of the flaws that come from running ahead (SDM 4, table 2-2): RDCL, L1D flush, SSB, MDS, page size change, TAA,
    /// SBDR, FBSDP, PSDP, BHI, GDS, RFDS, ITS; and IBRS may stay on.
    /// </summary>
    private const ulong NoFlaws = 1 | (1 << 1) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 8) | (7 << 13) | (1 << 20) | (3 << 26) | (1ul << 62);
    private const uint MtrrCap = 0xfe, MtrrDefault = 0x2ff, Pat = 0x277;
    private readonly SortedDictionary<uint, ulong> _values = [];

    public MsrFile() => Reset();

    public void Reset()
    {
        _values.Clear();
        _values[MtrrCap] = 0x508;
        for (var n = 0x200u; n < 0x210; n++) _values[n] = 0;
        foreach (var n in (uint[])[0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f]) _values[n] = 0;
        _values[MtrrDefault] = 0;
        _values[Pat] = 0x0007_0406_0007_0406;
        _values[0x17] = 0; // IA32_PLATFORM_ID
        _values[0x2a] = 0; // EBL_CR_POWERON
        _values[0x3a] = 1; // IA32_FEATURE_CONTROL: locked
        _values[0x3b] = 0; // IA32_TSC_ADJUST
        _values[0x79] = 0; // IA32_BIOS_UPDT_TRIG
        _values[0x8b] = 0x1_0000_0000; // IA32_BIOS_SIGN_ID
        _values[SpeculationControl] = 0;
        _values[PredictionCommand] = 0;
        _values[ArchCapabilities] = NoFlaws;
        _values[PlatformInfo] = HasCpuidFaulting;
        _values[MiscFeaturesEnables] = 0;
        _values[0x179] = 0; // IA32_MCG_CAP: no banks
        _values[0x17a] = 0; // IA32_MCG_STATUS
        _values[0x198] = 0; // IA32_PERF_STATUS
        _values[0x199] = 0; // IA32_PERF_CTL
        _values[0x1a0] = 1; // IA32_MISC_ENABLE: fast strings
        _values[0x1d9] = 0; // IA32_DEBUGCTL
        _values[0xe7] = 0; // IA32_MPERF
        _values[0xe8] = 0; // IA32_APERF
    }

    /// <summary>CPUID is for the supervisor only.</summary>
    internal bool FaultsCpuid => (_values[MiscFeaturesEnables] & CpuidFaulting) != 0;

    public bool Read(uint index, out ulong value) => _values.TryGetValue(index, out value) && index != PredictionCommand;

    public bool Write(uint index, ulong value)
    {
        if (!_values.ContainsKey(index)) return false;
        switch (index)
        {
            case SpeculationControl:
                if (value > 7) return false;
                break;
            case PredictionCommand:
                return value <= 1;
            case ArchCapabilities or MtrrCap or 0x17 or PlatformInfo or 0x179 or 0x198:
                return false;
            case MiscFeaturesEnables:
                if ((value & ~CpuidFaulting) != 0) return false;
                break;
            case Pat:
                for (var n = 0; n < 8; n++)
                    if (((value >> (n * 8)) & 0xff) is not (0 or 1 or 4 or 5 or 6 or 7)) return false;
                break;
            case MtrrDefault:
                if ((value & ~0xcfful) != 0) return false;
                break;
            case 0x3a:
                return false;
            case 0x8b or 0x79:
                return true;
            default:
                break;
        }

        _values[index] = value;
        return true;
    }

    public void State(StateVisitor s)
    {
        foreach (var index in (uint[])[.. _values.Keys])
        {
            var value = _values[index];
            s.U64($"msr-{index:x}", ref value);
            _values[index] = value;
        }
    }
}
