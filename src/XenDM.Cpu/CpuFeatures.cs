using System;
using System.Runtime.Intrinsics.X86;
using System.Text;
using Iced.Intel;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu;

/// <summary>Which CPU the guest sees.</summary>
public enum CpuModel
{
    I486,
    I686,
    V1,
    V2,
    V3,
}

/// <summary>CPUID of a model (SDM 2, CPUID), cut to what the host's units can run.</summary>
public sealed class CpuFeatures
{
    // Leaf 1 EDX
    private const uint Fpu = 1, Vme = 1 << 1, De = 1 << 2, Pse = 1 << 3, Tsc = 1 << 4, Msr = 1 << 5, Pae = 1 << 6, Mce = 1 << 7, Cx8 = 1 << 8, Apic = 1 << 9, Sep = 1 << 11, Mtrr = 1 << 12, Pge = 1 << 13,
        Mca = 1 << 14, Cmov = 1 << 15, Pat = 1 << 16, Pse36 = 1 << 17, Clfsh = 1 << 19, Mmx = 1 << 23, Fxsr = 1 << 24, Sse = 1 << 25, Sse2 = 1 << 26, Htt = 1 << 28;

    // Leaf 1 ECX
    private const uint Sse3 = 1, Pclmul = 1 << 1, Monitor = 1 << 3, Ssse3 = 1 << 9, Fma = 1 << 12, Cx16 = 1 << 13, Pcid = 1 << 17, Sse41 = 1 << 19, Sse42 = 1 << 20, X2Apic = 1 << 21, Movbe = 1 << 22, Popcnt = 1 << 23,
        TscDeadline = 1 << 24, Aes = 1 << 25, Xsave = 1 << 26, OsXsave = 1 << 27, Avx = 1 << 28, F16c = 1 << 29, Rdrand = 1 << 30, Hypervisor = 1u << 31;

    // Leaf 7 EBX
    private const uint FsGsBase = 1, Bmi1 = 1 << 3, Avx2 = 1 << 5, Smep = 1 << 7, Bmi2 = 1 << 8, Erms = 1 << 9, Invpcid = 1 << 10, Rdseed = 1 << 18, Adx = 1 << 19, Smap = 1 << 20;

    private const uint Umip = 1 << 2;

    // Leaf 7 EDX: what an interpreter, which never speculates, has to say about itself, so that guests leave their costly precautions out.
    private const uint SpecCtrl = 1 << 26, ArchCapabilities = 1 << 29;

    private readonly uint _leaf1D, _leaf1C, _leaf7B, _leaf7C, _ext1D, _ext1C;

    /// <param name="cpus">vCPUs of the machine, for the topology leaves.</param>
    public CpuFeatures(CpuModel model, int cpus)
    {
        Model = model;
        Cpus = cpus;
        _leaf1D = Fpu | Vme | De | Pse | Tsc | Msr | Mce | Cx8 | Apic;
        if (model >= CpuModel.I686) _leaf1D |= Pae | Sep | Mtrr | Pge | Mca | Cmov | Pat | Pse36 | Clfsh | Mmx | Fxsr | Sse | Sse2;
        if (cpus > 1) _leaf1D |= Htt;
        _leaf1C = X2Apic | TscDeadline | Hypervisor;
        if (model == CpuModel.I486) _leaf1C = 0;
        if (model >= CpuModel.V1)
        {
            Has64 = true;
            HasNx = true;
            _ext1D = (1 << 11) | (1 << 20) | (1 << 26) | (1 << 27) | (1 << 29);
            _ext1C = 1;
        }

        if (model == CpuModel.I686)
        {
            HasNx = true;
            _ext1D = 1 << 20;
        }

        if (model >= CpuModel.V2) _leaf1C |= Sse3 | Ssse3 | Cx16 | Sse41 | Sse42 | Popcnt;
        if (model >= CpuModel.V3)
        {
            _leaf1C |= Movbe | Rdrand | Pcid | Xsave | (Aes_ ? Aes : 0) | (Pclmul_ ? Pclmul : 0);
            _leaf7B = FsGsBase | Smep | Smap | Erms | Invpcid | Rdseed | Adx;
            _leaf7C = Umip;
            _ext1C |= 1 << 5;
            if (HostHasAvx())
            {
                HasAvx = true;
                _leaf1C |= Avx | F16c | Fma;
                _leaf7B |= Bmi1 | Bmi2 | Avx2;
            }
        }

        var cr4 = Control.Cr4Vme | Control.Cr4Pvi | Control.Cr4Tsd | Control.Cr4De | Control.Cr4Pse | Control.Cr4Mce;
        if (model >= CpuModel.I686) cr4 |= Control.Cr4Pae | Control.Cr4Pge | Control.Cr4Pce | Control.Cr4OsFxsr | Control.Cr4OsXmmExcpt;
        if (model >= CpuModel.V3) cr4 |= Control.Cr4Umip | Control.Cr4FsGsBase | Control.Cr4OsXsave | Control.Cr4Smep | Control.Cr4Smap | (Has64 ? Control.Cr4Pcide : 0);
        Cr4Mask = cr4;
        Array.Fill(_known, true);
        _known[(int)CpuidFeature.CX8] = Bit(_leaf1D, Cx8);
        _known[(int)CpuidFeature.SEP] = Bit(_leaf1D, Sep);
        _known[(int)CpuidFeature.CMOV] = Bit(_leaf1D, Cmov);
        _known[(int)CpuidFeature.CLFSH] = Bit(_leaf1D, Clfsh);
        _known[(int)CpuidFeature.MMX] = Bit(_leaf1D, Mmx);
        _known[(int)CpuidFeature.FXSR] = Bit(_leaf1D, Fxsr);
        _known[(int)CpuidFeature.SSE] = Bit(_leaf1D, Sse);
        _known[(int)CpuidFeature.SSE2] = Bit(_leaf1D, Sse2);
        _known[(int)CpuidFeature.MULTIBYTENOP] = model >= CpuModel.I686;
        _known[(int)CpuidFeature.SSE3] = Bit(_leaf1C, Sse3);
        _known[(int)CpuidFeature.PCLMULQDQ] = Bit(_leaf1C, Pclmul);
        _known[(int)CpuidFeature.MONITOR] = Bit(_leaf1C, Monitor);
        _known[(int)CpuidFeature.SSSE3] = Bit(_leaf1C, Ssse3);
        _known[(int)CpuidFeature.FMA] = Bit(_leaf1C, Fma);
        _known[(int)CpuidFeature.CMPXCHG16B] = Bit(_leaf1C, Cx16);
        _known[(int)CpuidFeature.SSE4_1] = Bit(_leaf1C, Sse41);
        _known[(int)CpuidFeature.SSE4_2] = Bit(_leaf1C, Sse42);
        _known[(int)CpuidFeature.MOVBE] = Bit(_leaf1C, Movbe);
        _known[(int)CpuidFeature.POPCNT] = Bit(_leaf1C, Popcnt);
        _known[(int)CpuidFeature.AES] = Bit(_leaf1C, Aes);
        _known[(int)CpuidFeature.XSAVE] = Bit(_leaf1C, Xsave);
        _known[(int)CpuidFeature.XSAVEOPT] = Bit(_leaf1C, Xsave);
        _known[(int)CpuidFeature.AVX] = Bit(_leaf1C, Avx);
        _known[(int)CpuidFeature.F16C] = Bit(_leaf1C, F16c);
        _known[(int)CpuidFeature.RDRAND] = Bit(_leaf1C, Rdrand);
        _known[(int)CpuidFeature.FSGSBASE] = Bit(_leaf7B, FsGsBase);
        _known[(int)CpuidFeature.BMI1] = Bit(_leaf7B, Bmi1);
        _known[(int)CpuidFeature.AVX2] = Bit(_leaf7B, Avx2);
        _known[(int)CpuidFeature.BMI2] = Bit(_leaf7B, Bmi2);
        _known[(int)CpuidFeature.INVPCID] = Bit(_leaf7B, Invpcid);
        _known[(int)CpuidFeature.RDSEED] = Bit(_leaf7B, Rdseed);
        _known[(int)CpuidFeature.ADX] = Bit(_leaf7B, Adx);
        _known[(int)CpuidFeature.SMAP] = Bit(_leaf7B, Smap);
        _known[(int)CpuidFeature.CLFLUSHOPT] = _known[(int)CpuidFeature.CLWB] = _known[(int)CpuidFeature.RDPID] = false;
        _known[(int)CpuidFeature.RDTSCP] = Bit(_ext1D, 1 << 27);
        _known[(int)CpuidFeature.LZCNT] = Bit(_ext1C, 1 << 5);
    }

    private static bool Bit(uint leaf, uint bit) => (leaf & bit) != 0;

    /// <summary>Instruction sets that the model has, and all that CPUID says nothing of.</summary>
    private readonly bool[] _known = new bool[Enum.GetValues<CpuidFeature>().Length];

    /// <summary>Whether the model has an instruction.</summary>
    internal bool Has(in Instruction i)
    {
        foreach (var feature in i.CpuidFeatures)
            if (!_known[(int)feature]) return false;
        return true;
    }

    /// <summary>Where the model has no TZCNT and LZCNT, their prefix means nothing.</summary>
    internal DecoderOptions Decoding => (Bit(_leaf7B, Bmi1) ? DecoderOptions.None : DecoderOptions.NoMPFX_0FBC) | (Bit(_ext1C, 1 << 5) ? DecoderOptions.None : DecoderOptions.NoMPFX_0FBD);

    /// <summary>
    /// AVX2, FMA, F16C, BMI1 and BMI2 on the host, with an operating system that keeps the upper halves. Asked of the CPU itself: what
    /// <c>Avx2.IsSupported</c> says is, in a program compiled ahead of time, what the compiler was allowed to use.
    /// </summary>
    public static bool HostHasAvx()
    {
        if (!X86Base.IsSupported || X86Base.CpuId(0, 0).Eax < 0xd) return false;
        var basic = (uint)X86Base.CpuId(1, 0).Ecx;
        var extended = (uint)X86Base.CpuId(7, 0).Ebx;
        const uint Needed1 = OsXsave | Avx | F16c | Fma, Needed7 = Bmi1 | Avx2 | Bmi2;
        // Leaf 0xd tells the size of the state that the system has switched on: 832 bytes with the upper halves.
        return (basic & Needed1) == Needed1 && (extended & Needed7) == Needed7 && X86Base.CpuId(0xd, 0).Ebx >= (int)XsaveBytes(4);
    }

    private static bool Aes_ => System.Runtime.Intrinsics.X86.Aes.IsSupported;

    private static bool Pclmul_ => Pclmulqdq.IsSupported;

    public CpuModel Model { get; }

    public int Cpus { get; }

    public bool Has64 { get; }

    public bool HasNx { get; }

    public bool HasAvx { get; }

    public bool HasXsave => (_leaf1C & Xsave) != 0;

    /// <summary>
    /// UD2 with the letters "xen" behind it is a prefix of five bytes: Xen emulates the instruction that follows (its option hvm_fep, for tests of its
    /// emulator). Here each instruction is emulated, with it and without.
    /// </summary>
    public bool ForcesEmulation { get; init; }

    internal ulong Cr4Mask { get; }

    /// <summary>XCR0 bits that may be set.</summary>
    internal ulong Xcr0Mask => HasAvx ? 7ul : 3ul;

    /// <summary>Bytes of an XSAVE area for a set of components (SDM 1, 13.4).</summary>
    public static uint XsaveBytes(ulong components) => (components & 4) != 0 ? 832u : 576u;

    /// <summary>A leaf as the guest reads it.</summary>
    /// <param name="apicId">Initial APIC id of the vCPU.</param>
    public (uint A, uint B, uint C, uint D) Read(uint leaf, uint subleaf, uint apicId, ulong cr4, ulong xcr0)
    {
        var max = Model >= CpuModel.V3 ? 0xdu : Model >= CpuModel.I686 ? 0xbu : 1u;
        if (leaf < 0x8000_0000 && leaf > max) leaf = max;
        switch (leaf)
        {
            case 0:
                return (max, 0x756e_6547, 0x6c65_746e, 0x4965_6e69);
            case 1:
                {
                    uint signature = Model switch { CpuModel.I486 => 0x480, CpuModel.I686 => 0x6d8, _ => 0x306c3 };
                    var logical = Cpus > 1 ? (uint)Math.Min(255, Cpus * 2) << 16 : 0;
                    return (signature, (apicId << 24) | logical | 0x800, _leaf1C | ((cr4 & Control.Cr4OsXsave) != 0 ? OsXsave : 0), _leaf1D);
                }

            case 2:
                return (0x00ff_ff01, 0, 0, 0);
            case 4:
                // 32 KiB 8-way L1 data and instruction caches, a 2 MiB 16-way L2.
                return subleaf switch
                {
                    0 => (0x121, 0x01c0_003f, 63, 0),
                    1 => (0x122, 0x01c0_003f, 63, 0),
                    2 => (0x143, 0x03c0_003f, 2047, 0),
                    _ => (0, 0, 0, 0),
                };
            case 6:
                return (4, 0, 0, 0); // the APIC timer runs on in deep sleep
            case 7:
                return subleaf == 0 ? (0u, _leaf7B, _leaf7C, SpecCtrl | ArchCapabilities) : (0u, 0u, 0u, 0u);
            case 0xb:
                // APIC ids are even: one thread a core and one bit for it.
                return subleaf switch
                {
                    0 => (1, 1, 0x100, apicId),
                    1 => (8, (uint)Cpus, 0x201, apicId),
                    _ => (0, 0, subleaf & 0xff, apicId),
                };
            case 0xd:
                return subleaf switch
                {
                    0 => ((uint)Xcr0Mask, XsaveBytes(xcr0), XsaveBytes(Xcr0Mask), 0),
                    1 => (1, 0, 0, 0), // XSAVEOPT
                    2 => HasAvx ? (256u, 576u, 0u, 0u) : (0u, 0u, 0u, 0u),
                    _ => (0, 0, 0, 0),
                };
            case 0x8000_0000:
                return (Model == CpuModel.I486 ? 0u : 0x8000_0008, 0, 0, 0);
            case 0x8000_0001:
                return (0, 0, _ext1C, _ext1D);
            case >= 0x8000_0002 and <= 0x8000_0004:
                return Brand((int)(leaf - 0x8000_0002));
            case 0x8000_0006:
                return (0, 0, 0x0800_6040, 0);
            case 0x8000_0007:
                return (0, 0, 0, 0x100); // invariant TSC
            case 0x8000_0008:
                return (Mmu.PageWalk.PhysicalBits | (Has64 ? 48u << 8 : 32u << 8), 0, 0, 0);
            default:
                return (0, 0, 0, 0);
        }
    }

    private (uint A, uint B, uint C, uint D) Brand(int part)
    {
        Span<byte> name = stackalloc byte[48];
        Encoding.ASCII.GetBytes($"XenDM software CPU ({Model switch { CpuModel.I486 => "486", CpuModel.I686 => "i686", CpuModel.V1 => "x86-64-v1", CpuModel.V2 => "x86-64-v2", _ => "x86-64-v3" }})", name);
        var words = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, uint>(name)[(part * 4)..];
        return (words[0], words[1], words[2], words[3]);
    }
}
