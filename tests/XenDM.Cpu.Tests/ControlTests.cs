using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Control and model-specific registers, modes, fast system calls, and what they forbid (SDM 3, 2.5, 5.9 and 10.8; SDM 2; SDM 4).</summary>
public sealed unsafe class ControlTests : IDisposable
{
    private const int Ud = 6, Nm = 7, Gp = 13;
    private const uint Cr0 = 0, Cr3 = 3, Cr4 = 4;
    private const uint Vme = 1, Pvi = 2, Tsd = 4, De = 8, Pse = 0x10, Pae = 0x20, Pge = 0x80, Pce = 0x100, OsFxsr = 0x200, OsXmm = 0x400, Umip = 0x800, FsGsBase = 0x10000, Pcide = 0x20000, OsXsave = 0x40000;
    private const uint Pe = 1, Mp = 2, Em = 4, Ts = 8, Ne = 0x20, Pg = 0x8000_0000, Nw = 0x2000_0000, Cd = 0x4000_0000;
    private const uint Efer = 0xc000_0080, Star = 0xc000_0081, Lstar = 0xc000_0082, Fmask = 0xc000_0084, FsBase = 0xc000_0100, KernelGs = 0xc000_0102, TscAux = 0xc000_0103;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    private static string MovTo(uint register) => $"0f22{0xc0 | (register << 3):x2}"; // mov crN, eax

    /// <summary>SDM 2, MOV to control registers: combinations that raise #GP(0). ET cannot be cleared; reserved bits of the lower half are ignored in CR0.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, Cr0, 0x31ul, -1)]
    [InlineData(CodeMode.Prot32, Cr0, 0x21ul, -1)]
    [InlineData(CodeMode.Prot32, Cr0, (ulong)(Pg | 0x30), Gp)]
    [InlineData(CodeMode.Real, Cr0, (ulong)(Pg | 0x30), Gp)]
    [InlineData(CodeMode.Prot32, Cr0, (ulong)(Nw | 0x31), Gp)]
    [InlineData(CodeMode.Prot32, Cr0, (ulong)(Nw | Cd | 0x31), -1)]
    [InlineData(CodeMode.Prot32, Cr0, 0x1ffa_ffc0 | 0x31ul, -1)]
    [InlineData(CodeMode.Long, Cr0, (1ul << 32) | Pg | 0x31, Gp)]
    [InlineData(CodeMode.Long, Cr0, 0x31ul, Gp)] // PG cannot go in 64-bit mode
    [InlineData(CodeMode.Long, Cr0, Pg | 0x30ul, Gp)]
    [InlineData(CodeMode.Prot32, Cr4, (ulong)(Vme | Pvi | Tsd | De | Pse | Pae | Pge | Pce | OsFxsr | OsXmm | Umip | FsGsBase | OsXsave | 0x300040), -1)]
    [InlineData(CodeMode.Prot32, Cr4, (ulong)Pcide, Gp)]
    [InlineData(CodeMode.Prot32, Cr4, 0x1000ul, Gp)] // LA57
    [InlineData(CodeMode.Prot32, Cr4, 0x2000ul, Gp)] // VMXE
    [InlineData(CodeMode.Prot32, Cr4, 0x4000ul, Gp)]
    [InlineData(CodeMode.Prot32, Cr4, 0x8000ul, Gp)]
    [InlineData(CodeMode.Prot32, Cr4, 0x80_0000ul, Gp)]
    [InlineData(CodeMode.Long, Cr4, 0x240ul, Gp)] // without PAE
    [InlineData(CodeMode.Long, Cr4, 0x660ul | Pcide, -1)]
    [InlineData(CodeMode.Long, Cr4, 0x660ul | (1ul << 32), Gp)]
    [InlineData(CodeMode.Long, Cr3, 0x1000ul | (1ul << 40), Gp)]
    [InlineData(CodeMode.Long, Cr3, 0x1000ul | (1ul << 63), Gp)]
    [InlineData(CodeMode.Long, Cr3, 0x1fe7ul, -1)]
    [InlineData(CodeMode.Prot32, Cr3, 0xffff_ffful, -1)]
    internal void Writes(CodeMode mode, uint register, ulong value, int vector)
    {
        var c = _board.Enter(mode, MovTo(register));
        c->R[0] = value;
        var before = (c->Cr0, c->Cr3, c->Cr4);
        _board.Expect(vector);
        if (vector >= 0) Assert.Equal(before, (c->Cr0, c->Cr3, c->Cr4));
        else Assert.Equal(register == Cr0 ? (value & 0xe005_003f) | 0x10 : value, register == Cr0 ? c->Cr0 : register == Cr3 ? c->Cr3 : c->Cr4);
    }

    /// <summary>SDM 3, 4.10.1: PCIDE needs a CR3 with context 0 and keeps PG; with it bit 63 of CR3 says that nothing needs to be flushed.</summary>
    [Theory]
    [InlineData("0f22e0", 0x660ul | Pcide, 0x1001ul, 0u, Gp)]
    [InlineData("0f22e0", 0x660ul | Pcide, 0x1000ul, 0u, -1)]
    [InlineData("0f22e0", 0x660ul | Pcide, 0x1001ul, Pcide, -1)]
    [InlineData("0f22d8", 0x1001ul | (1ul << 63), 0x1000ul, Pcide, -1)]
    [InlineData("0f22d8", 0x1001ul | (1ul << 62), 0x1000ul, Pcide, Gp)]
    public void ProcessContexts(string code, ulong value, ulong cr3, uint cr4, int vector)
    {
        var c = _board.Enter(CodeMode.Long, code);
        c->Cr3 = cr3;
        c->Cr4 |= cr4;
        c->R[0] = value;
        _board.Expect(vector);
        if (code == "0f22d8" && vector < 0) Assert.Equal(value & ~(1ul << 63), c->Cr3);
    }

    /// <summary>SDM 3, 10.8.5: turning paging on with EFER.LME needs PAE, no 64-bit code segment and a 32-bit task state.</summary>
    [Theory]
    [InlineData(Pae, 0xc09b, 0x8b, -1)]
    [InlineData(0u, 0xc09b, 0x8b, Gp)]
    [InlineData(Pae, 0xa09b, 0x8b, Gp)]
    [InlineData(Pae, 0xc09b, 0x83, Gp)]
    public void LongModeActivation(uint cr4, int code, int task, int vector)
    {
        var c = _board.Enter(CodeMode.Compat, MovTo(Cr0));
        for (var v = 0; v < 256; v++) _board.Write(Idt + ((uint)v * 8), Gate(Code0, Handlers + ((uint)v * 8), 0x8e), 8);
        c->Cr0 = 0x31;
        c->Cr4 = cr4;
        c->Efer = 0x100;
        c->Seg[Segment.Cs].Access = (ushort)code;
        if ((code & 0x2000) != 0) c->Seg[Segment.Cs].Access |= 0x4000;
        c->Seg[Segment.Tr].Access = (ushort)task;
        c->R[0] = Pg | 0x31;
        var trap = _board.Run();
        Assert.Equal(vector, trap.Vector);
        Assert.Equal(vector < 0 ? 0x500ul : 0x100, c->Efer);
    }

    /// <summary>SDM 3, 2.2.1 and SDM 4: EFER. LME stays while paging is on, LMA is the CPU's, the rest is reserved.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, 0x901ul, -1, 0x901ul)]
    [InlineData(CodeMode.Prot32, 0x400ul, -1, 0ul)]
    [InlineData(CodeMode.Prot32, 0x1000ul, Gp, 0ul)]
    [InlineData(CodeMode.Prot32, 0x2ul, Gp, 0ul)]
    [InlineData(CodeMode.Prot32, 1ul << 32, Gp, 0ul)]
    [InlineData(CodeMode.Long, 0x001ul, Gp, 0x500ul)]
    [InlineData(CodeMode.Long, 0xd01ul, -1, 0xd01ul)]
    [InlineData(CodeMode.Long, 0x101ul, -1, 0x501ul)]
    internal void ExtendedFeatures(CodeMode mode, ulong value, int vector, ulong after)
    {
        var c = _board.Enter(mode, "0f30");
        (c->R[0], c->R[1], c->R[2]) = ((uint)value, Efer, value >> 32);
        _board.Expect(vector);
        Assert.Equal(after, c->Efer);
    }

    /// <summary>Writes of MSRs: reserved bits, addresses that are not canonical, and registers that do not exist raise #GP(0) and change nothing.</summary>
    [Theory]
    [InlineData(Lstar, 0x7fff_ffff_fffful, -1)]
    [InlineData(Lstar, 0x8000_0000_0000ul, Gp)]
    [InlineData(0xc000_0083u, 0x8000_0000_0000ul, Gp)]
    [InlineData(FsBase, 0xffff_8000_0000_0000ul, -1)]
    [InlineData(FsBase, 0xffff_0000_0000_0000ul, Gp)]
    [InlineData(0xc000_0101u, 0x8000_0000_0000ul, Gp)]
    [InlineData(KernelGs, 0x8000_0000_0000ul, Gp)]
    [InlineData(0x175u, 0x8000_0000_0000ul, Gp)]
    [InlineData(0x176u, 0x8000_0000_0000ul, Gp)]
    [InlineData(0x174u, 0x1234ul, -1)]
    [InlineData(Star, 0x123456789abcdef0ul, -1)]
    [InlineData(Fmask, 0x4_7700ul, -1)]
    [InlineData(Fmask, 5ul | (1ul << 32), Gp)]
    [InlineData(TscAux, 7ul, -1)]
    [InlineData(TscAux, 5ul | (1ul << 32), Gp)]
    [InlineData(0x277u, 0x0007_0406_0007_0406ul, -1)]
    [InlineData(0x277u, 0x0007_0406_0007_0402ul, Gp)]
    [InlineData(0x277u, 0x0807_0406_0007_0406ul, Gp)]
    [InlineData(0x2ffu, 0xc06ul, -1)]
    [InlineData(0x2ffu, 0x100ul, Gp)]
    [InlineData(0xfeu, 0ul, Gp)]
    [InlineData(0x12345678u, 0ul, Gp)]
    [InlineData(0xc001_1029u, 0ul, Gp)]
    public void ModelSpecificRegisters(uint index, ulong value, int vector)
    {
        // wrmsr, and what rdmsr says before and after
        var c = _board.Enter(CodeMode.Long, "0f32 4189c0 4189d1 4489d04489da 0f30 0f32".Replace(" ", "", StringComparison.Ordinal));
        c->R[1] = index;
        var exists = index is not (0x12345678 or 0xc001_1029);
        c->R[10] = (uint)value;
        c->R[11] = value >> 32;
        var trap = _board.Run();
        Assert.Equal((vector, 0u), (trap.Vector, trap.Error));
        if (vector < 0) Assert.Equal(value, (uint)c->R[0] | (c->R[2] << 32));
        if (vector < 0 || !exists) return;
        var before = (uint)c->R[8] | (c->R[9] << 32);
        // Once more, only to read.
        _board.Poke(Code, "0f32f4");
        c->Rip = Code;
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(before, (uint)c->R[0] | (c->R[2] << 32));
    }

    /// <summary>SDM 3, 5.9: instructions of level 0, in every mode with levels; #GP(0).</summary>
    [Theory]
    [InlineData("0f01 15 00100300")] // lgdt
    [InlineData("0f01 1d 00100300")]
    [InlineData("0f00d0")] // lldt
    [InlineData("0f00d8")]
    [InlineData("0f20c0")]
    [InlineData("0f22c0")]
    [InlineData("0f20d8")]
    [InlineData("0f22e0")]
    [InlineData("0f21f8")]
    [InlineData("0f23f8")]
    [InlineData("0f01f0")] // lmsw
    [InlineData("0f06")]
    [InlineData("0f32")]
    [InlineData("0f30")]
    [InlineData("0f013d00100300")] // invlpg
    [InlineData("0f08")]
    [InlineData("0f09")]
    [InlineData("fa")]
    [InlineData("fb")]
    [InlineData("e460")]
    [InlineData("0f33")] // rdpmc, without counters
    [InlineData("660f3882 05 00100300")] // invpcid
    [InlineData("0f01d1")] // xsetbv
    public void Privileged(string code)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Compat, CodeMode.Long })
        {
            var c = _board.Enter(mode, code, 3);
            c->Cr4 |= OsXsave;
            c->R[1] = 0xfffffff;
            _board.Expect(Gp);
        }
    }

    /// <summary>CR4.UMIP (SDM 3, 2.5) takes SGDT, SIDT, SLDT, STR and SMSW from level 3, CR4.TSD RDTSC.</summary>
    [Theory]
    [InlineData("0f0105 00100300", Umip)]
    [InlineData("0f010d 00100300", Umip)]
    [InlineData("0f00c0", Umip)]
    [InlineData("0f00c8", Umip)]
    [InlineData("0f01e0", Umip)]
    [InlineData("0f31", Tsd)]
    [InlineData("0f01f9", Tsd)] // rdtscp
    public void NotForUsers(string code, uint bit)
    {
        foreach (var (cpl, set) in new[] { (0, false), (0, true), (3, false), (3, true) })
        {
            var c = _board.Enter(CodeMode.Prot32, code, cpl);
            if (set) c->Cr4 |= bit;
            _board.Expect(cpl == 3 && set ? Gp : -1);
        }
    }

    /// <summary>CPUID faulting, as Xen offers it to its guests: told by bit 31 of MSR_PLATFORM_INFO, switched on by MSR_MISC_FEATURES_ENABLES.</summary>
    [Fact]
    public void CpuidIsNotForUsersWhenItFaults()
    {
        foreach (var (cpl, on) in new[] { (0, 0ul), (0, 1ul), (3, 0ul), (3, 1ul) })
        {
            _ = _board.Enter(CodeMode.Prot32, "0fa2", cpl);
            Assert.True(_board.Machine.Cpu.Msrs.Write(0x140, on));
            _board.Expect(cpl == 3 && on == 1 ? Gp : -1);
        }

        var msrs = _board.Machine.Cpu.Msrs;
        Assert.True(msrs.Read(0xce, out var info) && (info & (1ul << 31)) != 0);
        Assert.False(msrs.Write(0x140, 2));
        Assert.False(msrs.Write(0xce, info));
    }

    /// <summary>SDM 2, LMSW: the low four bits, but PE is not cleared. SMSW, CLTS.</summary>
    [Theory]
    [InlineData("0f01f0", 0xfffful, 0x3ful)]
    [InlineData("0f01f0", 0ul, 0x31ul)]
    [InlineData("0f01f0", 0xful, 0x3ful)]
    [InlineData("0f06", 0ul, 0x31ul)]
    public void MachineStatus(string code, ulong value, ulong after)
    {
        var c = _board.Enter(CodeMode.Prot32, code + "0f01e3"); // smsw ebx
        if (code == "0f06") c->Cr0 |= Ts;
        c->R[0] = value;
        c->R[3] = 0;
        _board.Expect(-1);
        Assert.Equal((after, after), (c->Cr0, c->R[3] & 0xffff));
    }

    /// <summary>LMSW leads from real mode to protected mode, MOV to CR0 back; CPL is 0 in both.</summary>
    [Fact]
    public void RealToProtectedAndBack()
    {
        var c = _board.Enter(CodeMode.Real, $"b80100 0f01f0 66ea{L(Free)}{W(Code0)}");
        _board.Write(Data + 4, 0xcafe1234);
        _board.Poke(Free, $"66b8{W(Data0)} 8ed8 8ed0 bc00800300 8b1d04100300 ea00110000{W(Own)}");
        _board.SetDescriptor(Own, Descriptor(0x009b, 0xffff, Free));
        _board.Poke(Free + 0x1100, $"0f20c0 24fe 0f22c0 ea{W(0x1180)}{W(Free >> 4)}");
        _board.Poke(Free + 0x1180, "b80030 8ed8 8b0e0410 f4"); // mov ax, 0x3000; mov ds, ax; mov cx, [0x1004]
        _board.Expect(-1);
        Assert.Equal((0xcafe1234ul, 0x1234ul, 0x30ul), (c->R[3], c->R[1] & 0xffff, c->Cr0));
        Assert.Equal((0, (ushort)(Free >> 4), (ulong)Free), (c->Cpl, c->Seg[Segment.Cs].Selector, c->Seg[Segment.Cs].Base));
    }

    /// <summary>SDM 3, 10.8.5 and 10.8.5.4: protected mode, PAE, long mode, compatibility and 64-bit code, and all the way back.</summary>
    [Fact]
    public void ProtectedToLongAndBack()
    {
        // mov eax, cr4 | PAE; cr3; efer.lme; cr0.pg: compatibility mode; jmp far to 64-bit code
        var c = _board.Enter(CodeMode.Compat, $"b820060000 0f22e0 b800100000 0f22d8 b9800000c0 0f32 0d00010000 0f30 0f20c0 0d00000080 0f22c0 ea{L(Free)}{W(Code64)}");
        c->Cr0 = 0x31;
        c->Cr4 = c->Efer = c->Cr3 = 0;
        // A 64-bit constant shows what it is; then a far return to compatibility mode, paging off, LME off.
        _board.Poke(Free, $"48bb8877665544332211 6a08 68{L(Free + 0x100)} 48cb");
        _board.Poke(Free + 0x100, "0f20c0 25ffffff7f 0f22c0 b9800000c0 0f32 25fffeffff 0f30 89d8 40 f4");
        _board.Expect(-1);
        Assert.Equal((0x1122334455667788ul, 0x5566_7789ul, 0ul, 0x31ul, 1u), (c->R[3], c->R[0], c->Efer, c->Cr0, c->Mode & 3));
    }

    /// <summary>SDM 3, table 2-2 and 13.1: #NM and #UD by CR0.EM, MP, TS and CR4.OSFXSR.</summary>
    [Theory]
    // x87
    [InlineData("d9e8", 0u, OsFxsr, -1)] // fld1
    [InlineData("d9e8", Ts, OsFxsr, Nm)]
    [InlineData("d9e8", Em, OsFxsr, Nm)]
    [InlineData("d9e8", Ts | Em | Mp, OsFxsr, Nm)]
    [InlineData("9b", Ts, OsFxsr, -1)] // wait
    [InlineData("9b", Em | Mp, OsFxsr, -1)]
    [InlineData("9b", Ts | Mp, OsFxsr, Nm)]
    [InlineData("dbe3", Ts, OsFxsr, Nm)] // fninit
    // MMX
    [InlineData("0fefc0", 0u, 0u, -1)] // pxor mm0
    [InlineData("0fefc0", Ts, 0u, Nm)]
    [InlineData("0fefc0", Em, 0u, Ud)]
    [InlineData("0fefc0", Em | Ts, 0u, Ud)]
    [InlineData("0f77", Em, 0u, Ud)] // emms
    // SSE
    [InlineData("0f57c0", 0u, OsFxsr, -1)] // xorps
    [InlineData("0f57c0", 0u, 0u, Ud)]
    [InlineData("0f57c0", Em, OsFxsr, Ud)]
    [InlineData("0f57c0", Ts, OsFxsr, Nm)]
    [InlineData("0f57c0", Ts, 0u, Ud)]
    [InlineData("660fefc0", Ts | Em, OsFxsr, Ud)]
    [InlineData("0fae1500100300", 0u, 0u, Ud)] // ldmxcsr
    [InlineData("0fae1500100300", Ts, OsFxsr, Nm)]
    [InlineData("660f3828c1", 0u, 0u, Ud)]
    [InlineData("660f2ac0", Ts, OsFxsr, Nm)] // cvtpi2pd
    // FXSAVE
    [InlineData("0fae0500100300", 0u, 0u, -1)]
    [InlineData("0fae0500100300", Ts, 0u, Nm)]
    [InlineData("0fae0500100300", Em, 0u, Nm)]
    // not of the unit
    [InlineData("0faef8", Ts | Em, 0u, -1)] // sfence
    [InlineData("0fc305 00100300", Ts, OsFxsr, -1)] // movnti
    [InlineData("0f180500100300", Em | Ts, 0u, -1)] // prefetchnta
    [InlineData("f20f38f0c0", Em | Ts, 0u, -1)] // crc32
    [InlineData("f30fb8c0", Em | Ts, 0u, -1)] // popcnt
    public void UnitAvailability(string code, uint cr0, uint cr4, int vector)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Real })
        {
            if (mode == CodeMode.Real && code.Contains("00100300", StringComparison.Ordinal)) continue;
            var c = _board.Enter(mode, code);
            _board.Write(Data, 0x1f80);
            c->Cr0 |= cr0;
            c->Cr4 = cr4;
            _board.Expect(vector);
        }
    }

    /// <summary>SDM 1, 14.3: VEX code needs OSXSAVE and its bits in XCR0; XSAVE and XGETBV need OSXSAVE.</summary>
    [Theory]
    [InlineData("c5fc57c0", 0u, 7ul, 0u, Ud)]
    [InlineData("c5fc57c0", OsXsave, 3ul, 0u, Ud)]
    [InlineData("c5fc57c0", OsXsave, 7ul, 0u, -1)]
    [InlineData("c5fc57c0", OsXsave, 7ul, Ts, Nm)]
    [InlineData("c5fc57c0", OsXsave, 7ul, Em, -1)]
    [InlineData("c4e278f2c0", 0u, 1ul, Ts, -1)] // andn: general registers
    [InlineData("0f01d0", 0u, 7ul, 0u, Ud)]
    [InlineData("0f01d0", OsXsave, 7ul, Ts, -1)]
    [InlineData("0fae242500100300", 0u, 7ul, 0u, Ud)] // xsave
    [InlineData("0fae242500100300", OsXsave, 7ul, Ts, Nm)]
    [InlineData("0fae242500100300", OsXsave, 7ul, 0u, -1)]
    [InlineData("0fae242501100300", OsXsave, 7ul, 0u, Gp)] // alignment
    [InlineData("f0 0fae242500100300", OsXsave, 7ul, 0u, Ud)]
    public void ExtendedStates(string code, uint cr4, ulong xcr0, uint cr0, int vector)
    {
        if (!_board.Cpu.Features.HasAvx && code.StartsWith('c')) return;
        var c = _board.Enter(CodeMode.Long, code);
        c->Cr4 = (c->Cr4 & ~(ulong)OsXsave) | cr4;
        c->Xcr0 = xcr0;
        c->Cr0 |= cr0;
        c->R[1] = 0;
        c->R[0] = c->R[2] = 0;
        _board.Expect(vector);
    }

    /// <summary>SDM 2, XSETBV.</summary>
    [Theory]
    [InlineData(0u, 1ul, -1)]
    [InlineData(0u, 3ul, -1)]
    [InlineData(0u, 0ul, Gp)]
    [InlineData(0u, 2ul, Gp)]
    [InlineData(0u, 5ul, Gp)]
    [InlineData(0u, 9ul, Gp)]
    [InlineData(0u, 1ul | (1ul << 62), Gp)]
    [InlineData(1u, 1ul, Gp)]
    public void Xsetbv(uint index, ulong value, int vector)
    {
        var c = _board.Enter(CodeMode.Long, "0f01d1");
        (c->R[0], c->R[1], c->R[2]) = ((uint)value, index, value >> 32);
        _board.Expect(vector);
    }

    /// <summary>SDM 2, SYSCALL: CS and SS from STAR[47:32], RCX, R11 and FMASK.</summary>
    [Theory]
    [InlineData(CodeMode.Long, 1ul, -1)]
    [InlineData(CodeMode.Long, 0ul, Ud)]
    [InlineData(CodeMode.Compat, 1ul, Ud)]
    [InlineData(CodeMode.Prot32, 1ul, Ud)]
    internal void Syscall(CodeMode mode, ulong sce, int vector)
    {
        var c = _board.Enter(mode, "0f05", 3);
        c->Efer |= sce;
        c->Star = 0x0048_0028ul << 32;
        c->Lstar = Free;
        c->Fmask = 0x4_4300;
        c->Eflags |= 0x4_4600;
        Flags.SetArithmetic(c, 0x8d5);
        _board.Poke(Free, "f4");
        _board.Expect(vector);
        if (vector >= 0) return;
        Assert.Equal((Free + 1ul, Code + 2ul, 0x4_4ed7ul, 0x4d7u | 0x800), (c->Rip, c->R[1], c->R[11], Flags.Get(c)));
        Assert.Equal((0x28, 0x30, 0, 0xa09b, 0xc093), (c->Seg[Segment.Cs].Selector, c->Seg[Segment.Ss].Selector, c->Cpl, c->Seg[Segment.Cs].Access, c->Seg[Segment.Ss].Access));
        Assert.Equal((uint.MaxValue, 0ul, uint.MaxValue), (c->Seg[Segment.Cs].Limit, c->Seg[Segment.Ss].Base, c->Seg[Segment.Ss].Limit));
    }

    /// <summary>SDM 2, SYSRET: to 64-bit or compatibility mode by its operand size; RF and VM stay clear, VIF to ID come from R11.</summary>
    [Theory]
    [InlineData("480f07", 0, Free, 1ul, -1, 0x33u, 0x2bu)]
    [InlineData("0f07", 0, Free, 1ul, -1, 0x23u, 0x2bu)]
    [InlineData("480f07", 3, Free, 1ul, Gp, 0u, 0u)]
    [InlineData("480f07", 0, Free, 0ul, Ud, 0u, 0u)]
    [InlineData("480f07", 0, 0x8000_0000_0000ul, 1ul, Gp, 0u, 0u)]
    [InlineData("0f07", 0, 0xffff_ffff_0000_0000ul | Free, 1ul, -1, 0x23u, 0x2bu)]
    public void Sysret(string code, int cpl, ulong target, ulong sce, int vector, uint cs, uint ss)
    {
        var c = _board.Enter(CodeMode.Long, code, cpl);
        c->Efer |= sce;
        c->Star = 0x0023_0000ul << 32;
        c->R[1] = target;
        c->R[11] = 0xffff_ffff_ffff_fcff;
        _board.Poke(Free, "f4");
        var trap = _board.Run();
        if (vector >= 0)
        {
            Assert.Equal((vector, 0u, Code), (trap.Vector, trap.Error, (uint)trap.Ip));
            return;
        }

        Assert.Equal((Gp, Free, cs, ss, 0x3d_7cd7u), (trap.Vector, (uint)trap.Ip, trap.Cs, trap.Ss, (uint)trap.Flags & ~0x1_0000u | (uint)(trap.Flags & 0x1_0000)));
    }

    /// <summary>SDM 2, SYSENTER and SYSEXIT: selectors at fixed distances from SYSENTER_CS.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, 0x0bul, -1)]
    [InlineData(CodeMode.Compat, 0x28ul, -1)]
    [InlineData(CodeMode.Long, 0x28ul, -1)]
    [InlineData(CodeMode.Prot32, 0ul, Gp)]
    [InlineData(CodeMode.Prot32, 3ul, Gp)]
    [InlineData(CodeMode.Real, 8ul, Gp)]
    [InlineData(CodeMode.V86, 8ul, -1)]
    internal void Sysenter(CodeMode mode, ulong selector, int vector)
    {
        var c = _board.Enter(mode, "0f34", mode == CodeMode.Real ? 0 : 3);
        c->SysenterCs = selector;
        c->SysenterEip = Free;
        c->SysenterEsp = Inner;
        c->Eflags |= 0x4600;
        _board.Poke(Free, "f4");
        _board.Expect(vector);
        if (vector >= 0) return;
        var wide = mode >= CodeMode.Compat;
        Assert.Equal((Free + 1ul, (ulong)Inner, 0x4402u, 0), (c->Rip, c->R[4], Flags.Get(c), c->Cpl));
        Assert.Equal((selector & 0xfffc, (selector & 0xfffc) + 8, wide ? 0xa09b : 0xc09b, 0xc093), (c->Seg[Segment.Cs].Selector, c->Seg[Segment.Ss].Selector, c->Seg[Segment.Cs].Access, c->Seg[Segment.Ss].Access));
    }

    [Theory]
    [InlineData(CodeMode.Prot32, "0f35", 0, 0x8ul, (ulong)Free, 0x1bu)]
    [InlineData(CodeMode.Long, "0f35", 0, 0x8ul, (ulong)Free, 0x1bu)]
    [InlineData(CodeMode.Long, "480f35", 0, 0x8ul, (ulong)Free, 0x2bu)]
    [InlineData(CodeMode.Prot32, "0f35", 3, 0x8ul, (ulong)Free, 0u)]
    [InlineData(CodeMode.Prot32, "0f35", 0, 0x3ul, (ulong)Free, 0u)]
    [InlineData(CodeMode.Real, "0f35", 0, 0x8ul, (ulong)Free, 0u)]
    [InlineData(CodeMode.Long, "480f35", 0, 0x8ul, 0x8000_0000_0000ul, 0u)]
    internal void Sysexit(CodeMode mode, string code, int cpl, ulong selector, ulong target, uint cs)
    {
        var c = _board.Enter(mode, code, cpl);
        c->SysenterCs = selector;
        c->R[1] = Stack - 0x40;
        c->R[2] = target;
        _board.Poke(Free, "f4");
        var trap = _board.Run();
        if (cs == 0) Assert.Equal((Gp, 0u, _board.Start), (trap.Vector, trap.Error, (uint)trap.Ip));
        else Assert.Equal((Gp, Free, cs, cs + 8, Stack - 0x40ul), (trap.Vector, (uint)trap.Ip, trap.Cs, trap.Ss, trap.Sp));
    }

    /// <summary>SWAPGS and FSGSBASE exist in 64-bit mode only.</summary>
    [Theory]
    [InlineData(CodeMode.Long, "0f01f8", 0, 0u, -1)]
    [InlineData(CodeMode.Long, "0f01f8", 3, 0u, Gp)]
    [InlineData(CodeMode.Compat, "0f01f8", 0, 0u, Ud)]
    [InlineData(CodeMode.Prot32, "0f01f8", 0, 0u, Ud)]
    [InlineData(CodeMode.Long, "f30faec0", 3, FsGsBase, -1)] // rdfsbase eax
    [InlineData(CodeMode.Long, "f30faec0", 0, 0u, Ud)]
    [InlineData(CodeMode.Long, "f3480faed0", 3, FsGsBase, -1)] // wrfsbase rax
    [InlineData(CodeMode.Compat, "f30faec0", 0, FsGsBase, Ud)]
    internal void Bases(CodeMode mode, string code, int cpl, uint cr4, int vector)
    {
        var c = _board.Enter(mode, code, cpl);
        c->Cr4 |= cr4;
        c->R[0] = 0x1234_5678_9abc;
        (c->Seg[Segment.Gs].Base, c->KernelGsBase, c->Seg[Segment.Fs].Base) = (0x1111, 0x2222, 0xffff_8000_1234_5678);
        _board.Expect(vector);
        if (vector >= 0) return;
        if (code == "0f01f8") Assert.Equal((0x2222ul, 0x1111ul), (c->Seg[Segment.Gs].Base, c->KernelGsBase));
        if (code == "f30faec0") Assert.Equal(0x1234_5678ul, c->R[0]);
        if (code == "f3480faed0") Assert.Equal(0x1234_5678_9abcul, c->Seg[Segment.Fs].Base);
    }

    [Theory]
    [InlineData("f3480faed0", 0x8000_0000_0000ul, Gp)]
    [InlineData("f3480faed8", 0x8000_0000_0000ul, Gp)]
    [InlineData("f30faed0", 0xffff_ffff_8000_0000ul, -1)]
    public void Bases_AreCanonical(string code, ulong value, int vector)
    {
        var c = _board.Enter(CodeMode.Long, code);
        c->Cr4 |= FsGsBase;
        c->R[0] = value;
        _board.Expect(vector);
    }

    /// <summary>Control registers that do not exist, and debug registers 4 and 5 with CR4.DE.</summary>
    [Theory]
    [InlineData("0f20c8", 0u, Ud)] // cr1
    [InlineData("0f22e8", 0u, Ud)] // cr5
    [InlineData("0f20f8", 0u, Ud)] // cr7
    [InlineData("0f21e0", 0u, -1)] // dr4
    [InlineData("0f21e0", De, Ud)]
    [InlineData("0f23e8", De, Ud)]
    [InlineData("f00f22d8", 0u, Ud)]
    public void RegistersThatAreNot(string code, uint cr4, int vector)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        c->Cr4 = cr4;
        _board.Expect(vector);
    }
}
