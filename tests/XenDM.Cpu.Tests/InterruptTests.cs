using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Interrupts and exceptions through gates of every kind (SDM 3, chapter 6; SDM 2, INT).</summary>
public sealed unsafe class InterruptTests : IDisposable
{
    private const int Bp = 3, Of = 4, Ud = 6, Df = 8, Ts = 10, Np = 11, SsFault = 12, Gp = 13, Pf = 14, Vector = 0xf5;
    private const uint If = 0x200, Tf = 0x100, Nt = 0x4000, Rf = 0x10000, Vm = 0x20000, Iopl3 = 0x3000;
    private const string Int = "cdf5";

    /// <summary>Error code of a gate; external events and exceptions set bit 0.</summary>
    private const uint GateError = (Vector * 8) + 2, Ext = 1;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    private CpuState* Enter(CodeMode mode, string code, int cpl = 0)
    {
        var c = _board.Enter(mode, code, cpl);
        _board.Machine.Interrupt = Vector;
        return c;
    }

    private void Gate(uint access, uint selector, uint count = 0, ulong upper = 0) => _board.SetGate(Vector, SystemBoard.Gate(selector, Handlers + (Vector * 8), access, count), upper);

    /// <summary>SDM 3, 6.12 and table 6-2; SDM 2, INT: gate types, the DPL check of software interrupts, and their error codes.</summary>
    [Theory]
    [InlineData(0x8e, 0, Code0, -1, 0u)]
    [InlineData(0xee, 3, Code0, -1, 0u)]
    [InlineData(0x8e, 3, Code0, Gp, GateError)]
    [InlineData(0xae, 3, Code0, Gp, GateError)]
    [InlineData(0xef, 3, Code0, -1, 0u)]
    [InlineData(0x6e, 3, Code0, Np, GateError)]
    [InlineData(0x0e, 3, Code0, Gp, GateError)]
    [InlineData(0x8c, 0, Code0, Gp, GateError)] // a call gate
    [InlineData(0x84, 0, Code0, Gp, GateError)]
    [InlineData(0x89, 0, Code0, Gp, GateError)]
    [InlineData(0x9e, 0, Code0, Gp, GateError)]
    [InlineData(0x80, 0, Code0, Gp, GateError)]
    [InlineData(0xee, 0, 0, Gp, 0u)]
    [InlineData(0xee, 0, 3, Gp, 0u)]
    [InlineData(0xee, 0, 0x1000, Gp, 0x1000u)]
    [InlineData(0xee, 0, Data0, Gp, (uint)Data0)]
    [InlineData(0xee, 0, Code3, Gp, Code3 & ~3u)]
    [InlineData(0xee, 0, Own, Np, (uint)Own)]
    [InlineData(0xee, 3, Own2, -1, 0u)] // conforming
    [InlineData(0xee, 0, Own3, Gp, 0u)] // a small limit
    public void Gates(int access, int cpl, int selector, int vector, uint error)
    {
        foreach (var external in new[] { false, true })
        {
            // Events from outside look at no DPL, and say so.
            if (external && (access & 0x60) != 0x60 && cpl == 3) continue;
            var c = Enter(CodeMode.Prot32, external ? "90" : Int, cpl);
            _board.SetDescriptor(Own, Descriptor(0xc01a));
            _board.SetDescriptor(Own2, Descriptor(0xc09e));
            _board.SetDescriptor(Own3, Descriptor(0x409a, 0x100));
            Gate((uint)access, (uint)selector);
            if (external)
            {
                c->Eflags |= If;
                _board.Cpu.SetInterrupt(true);
            }

            var trap = _board.Run();
            if (vector < 0 && selector == Own2 && cpl == 3)
            {
                // The handler runs at level 3, where HLT faults.
                Assert.Equal((Gp, Handlers + (Vector * 8), Own2 | 3u), (trap.Vector, (uint)trap.Ip, trap.Cs));
                continue;
            }

            Assert.Equal((vector < 0 ? Vector : vector, vector < 0 ? 0 : error | (external ? Ext : 0)), (trap.Vector, trap.Error));
            Assert.Equal(Code + (vector < 0 && !external ? 2u : 0), trap.Ip);
        }
    }

    /// <summary>SDM 3, 6.14.1: 64-bit gates only, of 16 bytes, to 64-bit code.</summary>
    [Theory]
    [InlineData(0xee, 3, Code64, 0ul, -1, 0u)]
    [InlineData(0x8e, 3, Code64, 0ul, Gp, GateError)]
    [InlineData(0x6e, 3, Code64, 0ul, Np, GateError)]
    [InlineData(0x86, 0, Code64, 0ul, Gp, GateError)]
    [InlineData(0x87, 0, Code64, 0ul, Gp, GateError)]
    [InlineData(0x85, 0, TrSelector, 0ul, Gp, GateError)]
    [InlineData(0x8e, 0, Code0, 0ul, Gp, (uint)Code0)]
    [InlineData(0x8e, 0, Own, 0ul, Gp, (uint)Own)]
    [InlineData(0x8e, 0, 0, 0ul, Gp, 0u)]
    [InlineData(0x8e, 0, User64, 0ul, Gp, User64 & ~3u)]
    [InlineData(0x8e, 0, Code64, 0x8000ul, Gp, 0u)]
    public void GatesOfLongMode(int access, int cpl, int selector, ulong upper, int vector, uint error)
    {
        foreach (var mode in new[] { CodeMode.Long, CodeMode.Compat })
        {
            Enter(mode, Int, cpl);
            _board.SetDescriptor(Own, Descriptor(0xe09a));
            Gate((uint)access, (uint)selector, 0, upper);
            var trap = _board.Run();
            Assert.Equal((vector < 0 ? Vector : vector, error), (trap.Vector, trap.Error));
        }
    }

    /// <summary>A table that ends too early: the last byte of the gate counts.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, (Vector * 8) + 7, -1, 0u)]
    [InlineData(CodeMode.Prot32, (Vector * 8) + 6, Gp, GateError)]
    [InlineData(CodeMode.Long, (Vector * 16) + 15, -1, 0u)]
    [InlineData(CodeMode.Long, (Vector * 16) + 14, Gp, GateError)]
    [InlineData(CodeMode.Real, (Vector * 4) + 3, -1, 0u)]
    [InlineData(CodeMode.Real, (Vector * 4) + 2, Gp, 0u)]
    internal void TableLimit(CodeMode mode, int limit, int vector, uint error)
    {
        var c = Enter(mode, Int);
        c->IdtLimit = (uint)limit;
        var trap = _board.Run();
        Assert.Equal((vector < 0 ? Vector : vector, error), (trap.Vector, trap.Error));
    }

    /// <summary>SDM 3, 6.12.1.3: interrupt gates clear IF, both clear TF, NT, RF and VM; the frame keeps them. Sizes 16 and 32.</summary>
    [Theory]
    [InlineData(0xee, 0, true)]
    [InlineData(0xef, 0, false)]
    [InlineData(0xe6, 0, true)]
    [InlineData(0xe7, 0, false)]
    [InlineData(0xee, 3, true)]
    [InlineData(0xe7, 3, false)]
    public void GateFlagsAndFrame(int access, int cpl, bool clearsIf)
    {
        var c = Enter(CodeMode.Prot32, Int, cpl);
        var target = 0x4000u;
        _board.Poke(target, "f4");
        _board.SetGate(Vector, SystemBoard.Gate(Code0, target, (uint)access));
        c->Eflags |= If | Nt | Iopl3 | 0x400;
        Flags.SetArithmetic(c, 0x8d5);
        Assert.Equal(-1, _board.Run().Vector); // not one of the usual handlers
        Assert.Equal(target + 1, c->Rip);
        var size = (access & 8) != 0 ? 4u : 2u;
        var mask = size == 4 ? uint.MaxValue : 0xffffu;
        ulong[] frame = [(Code + 2) & mask, cpl == 3 ? Code3 : Code0, (If | Nt | Iopl3 | 0x400 | 0x8d7) & mask, Stack & mask, Data3];
        var bottom = cpl == 3 ? Inner : Stack;
        var count = cpl == 3 ? 5u : 3u;
        Assert.Equal(bottom - (count * size), c->R[4]);
        for (var n = 0u; n < count; n++) Assert.Equal(frame[n], _board.Read(c->R[4] + (n * size), (int)size));
        Assert.Equal(clearsIf ? 0 : If, c->Eflags & If);
        Assert.Equal(Iopl3 | 0x400, c->Eflags & (Nt | Iopl3 | 0x400 | Tf));
    }

    /// <summary>SDM 3, 6.14.2: five or six quadwords on a stack aligned to 16 bytes, SS null after a change of level.</summary>
    [Theory]
    [InlineData(CodeMode.Long, 0, Stack, Stack)]
    [InlineData(CodeMode.Long, 0, Stack - 3, Stack - 16)]
    [InlineData(CodeMode.Long, 3, Stack - 8, Inner)]
    [InlineData(CodeMode.Compat, 3, Stack - 8, Inner)]
    [InlineData(CodeMode.Compat, 0, Stack - 4, Stack - 16)]
    internal void FrameOfLongMode(CodeMode mode, int cpl, uint sp, uint top)
    {
        var c = Enter(mode, "0f0b", cpl);
        c->R[4] = sp;
        var ss = c->Seg[Segment.Ss].Selector;
        var cs = c->Seg[Segment.Cs].Selector;
        var trap = _board.Run();
        Assert.Equal(new Trap(Ud, 0, Code, cs, Rf | 2, sp, ss), trap);
        Assert.Equal(top - 40ul, c->R[4]);
        Assert.Equal(cpl == 0 ? ss : 0, c->Seg[Segment.Ss].Selector);
    }

    /// <summary>SDM 3, 6.14.5: the interrupt stack table, also without a change of level.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void InterruptStackTable(int cpl)
    {
        for (var ist = 1u; ist <= 7; ist++)
        {
            var c = Enter(CodeMode.Long, Int, cpl);
            Gate(0xee, Code64, ist);
            Assert.Equal(Vector, _board.Run().Vector);
            Assert.Equal(Ist + ((ist - 1) * 0x400) - 40, c->R[4]);
            Assert.Equal(cpl == 3 ? 0 : Data0, c->Seg[Segment.Ss].Selector);
        }
    }

    [Theory]
    [InlineData(1, 0x8000_0000_0000ul, 0x1fffu, SsFault, 0u)]
    [InlineData(1, Ist, 0x2au, Ts, (uint)TrSelector)]
    [InlineData(1, Ist, 0x2bu, -1, 0u)]
    public void InterruptStackTable_Faults(int ist, ulong stack, uint limit, int vector, uint error)
    {
        var c = Enter(CodeMode.Long, Int);
        Gate(0xee, Code64, (uint)ist);
        _board.Write(Tss + 36, stack, 8);
        c->Seg[Segment.Tr].Limit = limit;
        var trap = _board.Run();
        Assert.Equal((vector < 0 ? Vector : vector, error), (trap.Vector, trap.Error));
    }

    /// <summary>The stack of the inner level (SDM 2, INT): a handler at level 1, so that others still have theirs.</summary>
    [Theory]
    [InlineData(0, 0xc0b2, 0xfffffu, Ts, 0)]
    [InlineData(Own3, 0xc0b2, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc092, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc0b0, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc032, 0xfffffu, SsFault, Own3)]
    [InlineData(Own3 | 1, 0x40b2, 0xfffu, SsFault, Own3)]
    public void NewStack(int selector, int access, uint limit, int vector, int error)
    {
        foreach (var external in new[] { false, true })
        {
            var c = Enter(CodeMode.Prot32, external ? "90" : Int, 3);
            Gate(0xee, Code1);
            _board.SetDescriptor(Own3, Descriptor((uint)access, limit));
            _board.Write(Tss + 16, (uint)selector);
            if (external)
            {
                c->Eflags |= If;
                _board.Cpu.SetInterrupt(true);
            }

            var trap = _board.Run();
            Assert.Equal((vector, (uint)error | (external ? Ext : 0), Code), (trap.Vector, trap.Error, (uint)trap.Ip));
        }
    }

    /// <summary>A stack without room that stays the same has no selector in its error code; the handler of #SS comes with a task here.</summary>
    [Theory]
    [InlineData(false, 0u)]
    [InlineData(true, Ext)]
    public void PresentStack_WithoutRoom(bool external, uint error)
    {
        var c = Enter(CodeMode.Prot32, external ? "90" : Int);
        _board.SetDescriptor(Own3, Descriptor(0x4093, 0xfff));
        _board.Load(Segment.Ss, Own3);
        if (external)
        {
            c->Eflags |= If;
            _board.Cpu.SetInterrupt(true);
        }

        SetTask(SsFault);
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal((Free + 1, error), ((uint)c->Rip, (uint)_board.Read(Inner - 0x404, 4)));
    }

    /// <summary>A vector gets a task of its own, with its code at <see cref="Free"/>.</summary>
    private void SetTask(int vector)
    {
        _board.SetDescriptor(Own, Descriptor(0x89, 0x67, Tss2));
        _board.SetGate(vector, SystemBoard.Gate(Own, 0, 0x85));
        _board.Poke(Free, "f4");
        _board.Write(Tss2 + 0x20, Free);
        _board.Write(Tss2 + 0x38, Inner - 0x400);
        foreach (var (offset, selector) in new[] { (0x48, Data0), (0x4c, Code0), (0x50, Data0), (0x54, Data0) }) _board.Write(Tss2 + (uint)offset, selector);
    }

    /// <summary>SDM 3, table 6-1: which exceptions push an error code, what IP they save, and RF, which faults set.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, "31c9f7f1", 0, 2u, Rf)] // div
    [InlineData(CodeMode.Prot32, "cc", Bp, 1u, 0u)]
    [InlineData(CodeMode.Prot32, "b07f0401ce", Of, 5u, 0u)]
    [InlineData(CodeMode.Prot32, "f1", 1, 1u, 0u)]
    [InlineData(CodeMode.Prot32, "31c0620500100300", 5, 2u, Rf)] // bound eax, [Data] with bounds 1 to 0
    [InlineData(CodeMode.Prot32, "0f0b", Ud, 0u, Rf)]
    [InlineData(CodeMode.Prot32, "0fff c0", Ud, 0u, Rf)]
    [InlineData(CodeMode.Prot32, "0fb9c0", Ud, 0u, Rf)]
    [InlineData(CodeMode.Long, "cc", Bp, 1u, 0u)]
    [InlineData(CodeMode.Long, "ce", Ud, 0u, Rf)]
    [InlineData(CodeMode.Long, "f1", 1, 1u, 0u)]
    [InlineData(CodeMode.Long, "31c9f7f1", 0, 2u, Rf)]
    [InlineData(CodeMode.Real, "cc", Bp, 1u, 0u)]
    [InlineData(CodeMode.Real, "31c9f7f1", 0, 2u, 0u)]
    internal void Exceptions(CodeMode mode, string code, int vector, uint offset, uint flags)
    {
        Enter(mode, code);
        _board.Write(Data, 1);
        var trap = _board.Run();
        Assert.Equal((vector, _board.Start + offset, flags), (trap.Vector, (uint)trap.Ip, (uint)trap.Flags & Rf));
    }

    /// <summary>INT3 and INTO look at the DPL of their gates; INT1 does not (SDM 2, INT).</summary>
    [Theory]
    [InlineData("cc", 3, 0x8e, Gp, 0x1au, 0u)]
    [InlineData("cc", 3, 0xee, Bp, 0u, 1u)]
    [InlineData("b07f0401ce", 4, 0x8e, Gp, 0x22u, 4u)]
    [InlineData("f1", 1, 0x8e, 1, 0u, 1u)]
    [InlineData("cd03", 3, 0x8e, Gp, 0x1au, 0u)]
    [InlineData("cd01", 1, 0x8e, Gp, 0x0au, 0u)]
    [InlineData("cd0d", 13, 0x8e, Gp, 0x6au, 0u)]
    [InlineData("f1", 1, 0x0e, Np, 0x0bu, 0u)] // from the CPU: EXT
    public void SoftwareExceptions(string code, int gate, int access, int vector, uint error, uint offset)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Long })
        {
            if (mode == CodeMode.Long && code.EndsWith("ce", StringComparison.Ordinal)) continue;
            Enter(mode, code, 3);
            _board.SetGate(gate, SystemBoard.Gate(mode == CodeMode.Long ? Code64 : Code0, Handlers + ((uint)gate * 8), (uint)access));
            var trap = _board.Run();
            Assert.Equal((vector, error, Code + offset), (trap.Vector, trap.Error, (uint)trap.Ip));
        }
    }

    /// <summary>
    /// SDM 3, 6.15, interrupt 8, tables 6-4 and 6-5: contributory after contributory and page fault or contributory after page fault are double
    /// faults with error code 0; others are handled one after the other. A third one is a shutdown.
    /// </summary>
    [Theory]
    [InlineData("0f0b", Ud, Np, (Ud * 8) + 3)] // benign, then #NP
    [InlineData("31c9f7f1", 0, Df, 0)] // #DE, then #NP
    [InlineData("b8001000008ed8", Gp, Df, 0)]
    [InlineData("a100008000", Pf, Df, 0)] // #PF, then #NP
    [InlineData("cdf5", Vector, Np, (Vector * 8) + 2)]
    public void DoubleFaults(string code, int missing, int vector, int error)
    {
        foreach (var triple in new[] { false, true })
        {
            if (triple && vector != Df) continue;
            var c = Enter(CodeMode.Prot32, code);
            Small(c);
            _board.SetGate(missing, SystemBoard.Gate(Code0, Handlers, 0x6e));
            if (triple) _board.SetGate(Df, SystemBoard.Gate(Code0, Handlers, 0x0e));
            var trap = _board.Run();
            if (triple)
            {
                Assert.Equal((-2, missing), (trap.Vector, _board.Cpu.FirstException));
                continue;
            }

            Assert.Equal((vector, (uint)error), (trap.Vector, trap.Error));
        }
    }

    /// <summary>32-bit paging with the first 4 MiB one to one and nothing above; the page at <see cref="Free"/> + 0x8000 is missing.</summary>
    private void Small(CpuState* c)
    {
        for (var n = 0u; n < 1024; n++) _board.Write(0x4000 + (n * 4), n == (Free + 0x8000) >> 12 ? 0 : (n << 12) | 7);
        _board.Write(Paging, 0x4007);
        c->Cr3 = Paging;
        c->Cr0 |= 0x8000_0000;
    }

    /// <summary>Page faults on the stack of the handler: after #PF a double fault, after #GP a page fault of its own.</summary>
    [Theory]
    [InlineData("a100008000", Df, 0u)]
    [InlineData("0f01f0", Pf, 2u)] // lmsw ax, privileged
    [InlineData("cdf5", Pf, 2u)]
    public void DoubleFaults_OfTheStack(string code, int vector, uint error)
    {
        var c = Enter(CodeMode.Prot32, code, 3);
        Small(c);
        _board.Write(Tss + 4, Free + 0x8800);
        // The others get the stack of a task.
        SetTask(Df);
        _board.SetGate(Pf, vector == Pf ? SystemBoard.Gate(Own, 0, 0x85) : SystemBoard.Gate(Code0, Handlers + (Pf * 8), 0x8e));
        _board.Write(Tss2 + 0x1c, Paging);
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal((Free + 1, error), ((uint)c->Rip, (uint)_board.Read(Inner - 0x404, 4)));
    }

    /// <summary>SDM 3, 6.8.3 and SDM 2, STI: one instruction after STI and after loads of SS runs before an interrupt; STI again does not hold it longer.</summary>
    [Theory]
    [InlineData("fb9090", false, 2u)]
    [InlineData("fbfb90", false, 2u)]
    [InlineData("8ed090", true, 0u)]
    [InlineData("9d9090", false, 1u)] // popf
    public void Shadow(string code, bool enabled, uint offset)
    {
        var c = Enter(CodeMode.Prot32, code);
        c->R[0] = Data0;
        _board.Write(Stack, If | 2);
        if (enabled) c->Eflags |= If;
        _board.Cpu.SetInterrupt(true);
        var trap = _board.Run();
        Assert.Equal((Vector, Code + offset), (trap.Vector, (uint)trap.Ip));
    }

    /// <summary>SDM 2, STI: CLI right behind it takes its effect back.</summary>
    [Fact]
    public void Shadow_CliEndsIt()
    {
        Enter(CodeMode.Prot32, "fbfa9090");
        _board.Cpu.SetInterrupt(true);
        _board.Expect(-1);
    }

    /// <summary>MOV SS and POP SS in a row: an interrupt that comes between waits.</summary>
    [Theory]
    [InlineData("b0018ed09090", 0)]
    [InlineData("16179090", 0)]
    public void Shadow_OfTheStack(string code, int start)
    {
        var c = Enter(CodeMode.Prot32, "fa" + "fb" + code, start);
        c->R[0] = Data0;
        // STI's own shadow covers the instruction before the load of SS.
        _board.Cpu.SetInterrupt(true);
        var trap = _board.Run();
        Assert.Equal(Vector, trap.Vector);
        Assert.Equal(Code + (code.StartsWith("b0", StringComparison.Ordinal) ? 4u : 3), trap.Ip);
    }

    /// <summary>SDM 3, 6.7.1: a second NMI waits for IRET.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, "cf")]
    [InlineData(CodeMode.Long, "48cf")]
    [InlineData(CodeMode.Real, "cf")]
    internal void Nmi_IsBlockedUntilIret(CodeMode mode, string iret)
    {
        var c = Enter(mode, "9090");
        _board.Poke(Handlers + 16, "f490f4" + iret);
        _board.Cpu.RaiseNmi();
        Assert.Equal(2, _board.Run().Vector);
        _board.Cpu.RaiseNmi();
        Assert.Equal(RunResult.Halted, Again());
        var at = mode == CodeMode.Real ? 0x13u : Handlers + 19;
        Assert.Equal(at, c->Rip); // still in the first
        Assert.Equal(2, _board.Run().Vector);
        Assert.Equal(RunResult.Halted, Again());
        Assert.Equal(at, c->Rip);
        Assert.Equal(-1, _board.Run().Vector);
    }

    private RunResult Again()
    {
        _board.Cpu.Wake();
        var result = RunResult.Slice;
        for (var n = 0; n < 10 && result == RunResult.Slice; n++) result = _board.Cpu.Run(100);
        return result;
    }

    /// <summary>NMI ignores IF; a halt ends with it, and with an interrupt only if IF is set.</summary>
    [Theory]
    [InlineData(true, false, 2)]
    [InlineData(true, true, 2)]
    [InlineData(false, true, Vector)]
    [InlineData(false, false, -1)]
    public void Halt_Ends(bool nmi, bool enabled, int vector)
    {
        var c = Enter(CodeMode.Prot32, "");
        if (enabled) c->Eflags |= If;
        Assert.Equal(-1, _board.Run().Vector);
        if (nmi) _board.Cpu.RaiseNmi();
        else _board.Cpu.SetInterrupt(true);
        var result = RunResult.Slice;
        for (var n = 0; n < 10 && result == RunResult.Slice; n++) result = _board.Cpu.Run(100);
        Assert.Equal(RunResult.Halted, result);
        Assert.Equal(vector < 0 ? Code + 1 : Handlers + ((uint)vector * 8) + 1, c->Rip);
    }

    /// <summary>Real mode: FLAGS, CS and IP; IF, TF and AC go (SDM 2, INT).</summary>
    [Fact]
    public void RealMode()
    {
        var c = Enter(CodeMode.Real, Int);
        c->Eflags |= If | 0x40000 | Iopl3 | Nt;
        var trap = _board.Run();
        Assert.Equal((Vector, 2u, Code >> 4, If | Iopl3 | Nt | 2), (trap.Vector, (uint)trap.Ip, trap.Cs, (uint)trap.Flags));
        Assert.Equal(Iopl3 | Nt, c->Eflags & (If | 0x40000 | Iopl3 | Nt));
        Assert.Equal((Stack & 0xffff) - 6, c->R[4]);
    }
}
