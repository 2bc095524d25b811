using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Task switches (SDM 3, chapter 7).</summary>
public sealed unsafe class TaskTests : IDisposable
{
    private const int Db = 1, Ts = 10, Np = 11, SsFault = 12, Gp = 13, Vector = 0xf5;
    private const uint Nt = 0x4000, If = 0x200, Vm = 0x20000;
    private const uint NewStack = Inner - 0x400;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    private static string Far(bool call, uint selector) => $"{(call ? "9a" : "ea")}00000000{W(selector)}";

    private static int Offset(bool wide, int segment) => wide ? 0x48 + (segment * 4) : 0x22 + (segment * 2);

    /// <summary>A task with flat segments that goes on at <see cref="Free"/> (0x4000 where that does not fit).</summary>
    private uint Task(bool wide, uint access = 0)
    {
        _board.SetDescriptor(Own, Descriptor(access != 0 ? access : wide ? 0x89u : 0x81, wide ? 0x67u : 0x2b, Tss2));
        var ip = wide ? Free : 0x4000u;
        _board.Poke(ip, "f4");
        for (var n = 0u; n < 0x68; n += 4) _board.Write(Tss2 + n, 0);
        if (wide)
        {
            _board.Write(Tss2 + 0x20, ip);
            _board.Write(Tss2 + 0x24, 0x8d7);
            for (var r = 0u; r < 8; r++) _board.Write(Tss2 + 0x28 + (r * 4), r == 4 ? NewStack : 0x1000_0000 + r);
        }
        else
        {
            _board.Write(Tss2 + 0xe, ip, 2);
            _board.Write(Tss2 + 0x10, 0x8d7, 2);
            for (var r = 0u; r < 8; r++) _board.Write(Tss2 + 0x12 + (r * 2), r == 4 ? NewStack & 0xffff : 0x1000 + r, 2);
        }

        for (var s = 0; s < (wide ? 6 : 4); s++) Segment(s, s == State.Segment.Cs ? Code0 : Data0, wide);
        return ip;
    }

    private void Segment(int segment, uint selector, bool wide = true) => _board.Write(Tss2 + (uint)Offset(wide, segment), selector, 2);

    private CpuState* Enter(string code, int cpl = 0, bool wideOld = true)
    {
        var c = _board.Enter(CodeMode.Prot32, code, cpl);
        if (!wideOld)
        {
            _board.SetDescriptor(TrSelector, Descriptor(0x83, 0x2b, Tss));
            _board.Load(State.Segment.Tr, TrSelector);
        }

        return c;
    }

    /// <summary>SDM 3, 7.2.1, 7.3 and table 7-2: what is saved and loaded; busy bits, back link, NT and TS.</summary>
    [Theory]
    [InlineData("jmp", true, true)]
    [InlineData("jmp", true, false)]
    [InlineData("jmp", false, true)]
    [InlineData("call", true, true)]
    [InlineData("call", false, false)]
    [InlineData("int", true, true)]
    [InlineData("int", true, false)]
    [InlineData("iret", true, true)]
    [InlineData("iret", false, true)]
    [InlineData("gate", true, true)]
    public void Switch(string how, bool wideOld, bool wide)
    {
        var code = how switch { "jmp" => Far(false, Own), "call" => Far(true, Own), "int" => "cdf5", "iret" => "cf", _ => Far(true, Own2) };
        var c = Enter(code, 0, wideOld);
        var ip = Task(wide, how == "iret" ? wide ? 0x8bu : 0x83 : 0);
        _board.SetGate(Vector, Gate(Own, 0, 0x85));
        _board.SetDescriptor(Own2, Gate(Own, 0, 0x85));
        _board.Write(Tss, Own, 2);
        c->Eflags |= If | (how == "iret" ? Nt : 0);
        for (var r = 0u; r < 8; r++) c->R[r] = r == 4 ? Stack : 0x2222_0000 + r;
        Flags.SetArithmetic(c, 0x44);
        Assert.Equal(-1, _board.Run().Vector);

        // The new task.
        Assert.Equal(ip + 1, c->Rip);
        for (var r = 0u; r < 8; r++)
        {
            var value = wide ? r == 4 ? NewStack : 0x1000_0000 + r : r == 4 ? NewStack & 0xffff : 0x1000 + r;
            Assert.Equal(value, c->R[r] & (wide ? uint.MaxValue : 0xffffu));
        }

        var nested = how is "call" or "int" or "gate";
        Assert.Equal(0x8d7 | (nested ? Nt : 0), Flags.Get(c));
        Assert.Equal((Code0, Data0, Own), (c->Seg[1].Selector, c->Seg[2].Selector, c->Seg[State.Segment.Tr].Selector));
        Assert.Equal(wide ? Data0 : 0, c->Seg[State.Segment.Fs].Selector);
        Assert.Equal(8ul, c->Cr0 & 8);
        Assert.Equal(wide ? 0x8bu : 0x83, _board.AccessByte(Own));
        Assert.Equal((wideOld ? 0x89u : 0x81) | (nested ? 2u : 0), _board.AccessByte(TrSelector));
        if (nested) Assert.Equal(TrSelector, _board.Read(Tss2, 2));

        // The old one. NT is not kept by a return.
        var mask = wideOld ? uint.MaxValue : 0xffffu;
        Assert.Equal((Code + (uint)code.Length / 2) & mask, _board.Read(Tss + (wideOld ? 0x20u : 0xe), wideOld ? 4 : 2));
        Assert.Equal((If | 0x46) & mask, _board.Read(Tss + (wideOld ? 0x24u : 0x10), wideOld ? 4 : 2));
        for (var r = 0u; r < 8; r++) Assert.Equal((r == 4 ? Stack : 0x2222_0000 + r) & mask, _board.Read(Tss + (wideOld ? 0x28 + (r * 4) : 0x12 + (r * 2)), wideOld ? 4 : 2));
        for (var s = 0; s < (wideOld ? 6 : 4); s++) Assert.Equal(s == 1 ? Code0 : Data0, _board.Read(Tss + (uint)Offset(wideOld, s), 2));
    }

    /// <summary>SDM 3, table 7-1, before the switch: the old task sees the fault, and nothing has changed.</summary>
    [Theory]
    [InlineData("jmp", 0x8b, 0x67u, 0, 0, Gp)]
    [InlineData("call", 0x8b, 0x67u, 0, 0, Gp)]
    [InlineData("call", 0x83, 0x67u, 0, 0, Gp)]
    [InlineData("call", 0x09, 0x67u, 0, 0, Np)]
    [InlineData("jmp", 0x89, 0x66u, 0, 0, Ts)]
    [InlineData("jmp", 0x81, 0x2au, 0, 0, Ts)]
    [InlineData("jmp", 0x89, 0x67u, 3, 0, Gp)] // RPL
    [InlineData("jmp", 0x89, 0x67u, 0, 3, Gp)] // CPL
    [InlineData("int", 0x8b, 0x67u, 0, 0, Gp)]
    [InlineData("int", 0x09, 0x67u, 0, 0, Np)]
    [InlineData("int", 0x89, 0x66u, 0, 0, Ts)]
    [InlineData("int", 0xc093, 0x67u, 0, 0, Gp)]
    [InlineData("external", 0x8b, 0x67u, 0, 0, Gp)]
    [InlineData("external", 0x09, 0x67u, 0, 0, Np)]
    [InlineData("iret", 0x89, 0x67u, 0, 0, Ts)]
    [InlineData("iret", 0x81, 0x67u, 0, 0, Ts)]
    [InlineData("iret", 0x0b, 0x67u, 0, 0, Np)]
    [InlineData("iret", 0x8b, 0x66u, 0, 0, Ts)]
    [InlineData("gate", 0x8b, 0x67u, 3, 3, Gp)]
    public void Refused(string how, int access, uint limit, int rpl, int cpl, int vector)
    {
        var code = how switch { "jmp" => Far(false, Own | (uint)rpl), "call" => Far(true, Own | (uint)rpl), "int" => "cdf5", "iret" => "cf", "gate" => Far(true, Own2 | (uint)rpl), _ => "90" };
        var c = Enter(code, cpl);
        Task(true);
        _board.SetDescriptor(Own, Descriptor((uint)access, limit, Tss2));
        _board.SetDescriptor(Own2, Gate(Own, 0, 0xe5));
        _board.SetGate(Vector, Gate(Own, 0, 0xe5));
        _board.Write(Tss, Own, 2);
        if (how == "iret") c->Eflags |= Nt;
        if (how == "external")
        {
            c->Eflags |= If;
            _board.Machine.Interrupt = Vector;
            _board.Cpu.SetInterrupt(true);
        }

        _board.Expect(vector, Own | (how == "external" ? 1u : 0));
        Assert.Equal((uint)access & 0xff, _board.AccessByte(Own));
        Assert.Equal((TrSelector, 0ul, 0x8bu), (c->Seg[State.Segment.Tr].Selector, c->Cr0 & 8, _board.AccessByte(TrSelector)));
    }

    /// <summary>Task gates: presence and privilege of the gate, and what it names.</summary>
    [Theory]
    [InlineData(0x85, 0, 0, Own, -1, 0)]
    [InlineData(0x85, 3, 0, Own, Gp, Own2)]
    [InlineData(0x85, 0, 3, Own, Gp, Own2)]
    [InlineData(0xe5, 3, 3, Own, -1, 0)]
    [InlineData(0x05, 0, 0, Own, Np, Own2)]
    [InlineData(0x85, 0, 0, 0, Gp, 0)]
    [InlineData(0x85, 0, 0, Own | 4, Gp, Own | 4)]
    [InlineData(0x85, 0, 0, 0x1000, Gp, 0x1000)]
    [InlineData(0x85, 0, 0, Data0, Gp, Data0)]
    public void TaskGates(int access, int rpl, int cpl, int selector, int vector, int error)
    {
        Enter(Far(false, Own2 | (uint)rpl), cpl);
        Task(true);
        _board.SetDescriptor(Own2, Gate((uint)selector, 0, (uint)access));
        _board.Expect(vector, (uint)error);
    }

    /// <summary>SDM 3, table 7-1, after the switch: the new task sees the fault, at its first instruction. The segments come from <see cref="Own2"/>.</summary>
    [Theory]
    [InlineData(State.Segment.Cs, 0, 0xc09b, Ts, 0)]
    [InlineData(State.Segment.Cs, 0x1000, 0xc09b, Ts, 0x1000)]
    [InlineData(State.Segment.Cs, Own2, 0xc093, Ts, Own2)]
    [InlineData(State.Segment.Cs, Own2, 0xc0fb, Ts, Own2)]
    [InlineData(State.Segment.Cs, Own2, 0xc01b, Np, Own2)]
    [InlineData(State.Segment.Cs, Own2, 0xc09f, -1, 0)]
    [InlineData(State.Segment.Ss, 0, 0xc093, Ts, 0)]
    [InlineData(State.Segment.Ss, 0x1000, 0xc093, Ts, 0x1000)]
    [InlineData(State.Segment.Ss, Own2, 0xc091, Ts, Own2)]
    [InlineData(State.Segment.Ss, Own2 | 3, 0xc093, Ts, Own2)]
    [InlineData(State.Segment.Ss, Own2, 0xc0f3, Ts, Own2)]
    [InlineData(State.Segment.Ss, Own2, 0xc013, SsFault, Own2)]
    [InlineData(State.Segment.Ds, Own2, 0xc099, Ts, Own2)]
    [InlineData(State.Segment.Ds, Own2 | 3, 0xc093, Ts, Own2)]
    [InlineData(State.Segment.Es, Own2, 0x0089, Ts, Own2)]
    [InlineData(State.Segment.Es, 0x1000, 0xc093, Ts, 0x1000)]
    [InlineData(State.Segment.Fs, Own2, 0xc013, Np, Own2)]
    [InlineData(State.Segment.Gs, Own2, 0xc092, -1, 0)]
    [InlineData(State.Segment.Gs, 0, 0xc092, -1, 0)]
    [InlineData(State.Segment.Ldt, Own2, 0x0082, -1, 0)]
    [InlineData(State.Segment.Ldt, Own2, 0x0002, Ts, Own2)]
    [InlineData(State.Segment.Ldt, Own2, 0x0089, Ts, Own2)]
    [InlineData(State.Segment.Ldt, Own2 | 4, 0x0082, Ts, Own2 | 4)]
    [InlineData(State.Segment.Ldt, 0x1000, 0x0082, Ts, 0x1000)]
    public void SegmentsOfTheNewTask(int segment, int selector, int access, int vector, int error)
    {
        var c = Enter(Far(false, Own));
        Task(true);
        _board.SetDescriptor(Own2, Descriptor((uint)access, 0xfffff));
        if (segment == State.Segment.Ldt) _board.Write(Tss2 + 0x60, (uint)selector, 2);
        else Segment(segment, (uint)selector);
        // The handler runs in a task: the new one may have no stack or code. It halts at Free + 0x100.
        const uint Third = Tss2 + 0x400;
        if (vector >= 0)
        {
            _board.SetDescriptor(Own3, Descriptor(0x89, 0x67, Third));
            _board.SetGate(vector, Gate(Own3, 0, 0x85));
            _board.Write(Third + 0x20, Free + 0x100);
            _board.Write(Third + 0x38, Inner - 0x200);
            for (var s = 0u; s < 4; s++) _board.Write(Third + 0x48 + (s * 4), s == 1 ? Code0 : Data0);
            _board.Poke(Free + 0x100, "f4");
        }

        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(0x8bu, _board.AccessByte(Own)); // the switch has happened
        if (vector < 0)
        {
            Assert.Equal(Free + 1, c->Rip);
            Assert.Equal(selector, c->Seg[segment].Selector);
            return;
        }

        Assert.Equal(Free + 0x101, c->Rip);
        Assert.Equal((uint)error, (uint)_board.Read(Inner - 0x204, 4));
        Assert.Equal(Own, _board.Read(Third, 2));
        Assert.Equal(Free, _board.Read(Tss2 + 0x20, 4));
    }

    /// <summary>A task of another privilege; RPL of CS is the new CPL. One with VM is a V86 task.</summary>
    [Theory]
    [InlineData(2u, Code3, Data3)]
    [InlineData(Vm | 2, 0x4000, 0x3000)]
    public void OtherLevel(uint flags, int cs, int ss)
    {
        Enter(Far(false, Own));
        Task(true);
        _board.Write(Tss2 + 0x24, flags);
        _board.Write(Tss2 + 4, Inner);
        _board.Write(Tss2 + 8, Data0);
        foreach (var s in new[] { 0, 2, 3, 4, 5 }) Segment(s, (uint)ss);
        Segment(State.Segment.Cs, (uint)cs);
        if ((flags & Vm) != 0) _board.Write(Tss2 + 0x20, 0);
        var trap = _board.Run();
        Assert.Equal((Gp, (uint)cs, (uint)ss), (trap.Vector, trap.Cs, trap.Ss));
        Assert.Equal(flags & Vm, (uint)trap.Flags & Vm);
        Assert.Equal((flags & Vm) != 0 ? 0ul : Free, trap.Ip);
    }

    /// <summary>CR3 comes with the task while paging is on (SDM 3, 7.2.1), and not from a 286 one.</summary>
    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void PageDirectory(bool wide, bool paging)
    {
        var c = Enter(Far(false, Own));
        Task(wide);
        _board.Write(Paging, 0x83);
        _board.Write(Paging + 0x1000, 0x83);
        c->Cr4 = 0x10;
        c->Cr3 = Paging;
        if (paging) c->Cr0 |= 0x8000_0000;
        if (wide) _board.Write(Tss2 + 0x1c, Paging + 0x1000);
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(wide && paging ? Paging + 0x1000 : Paging, c->Cr3);
    }

    /// <summary>SDM 3, 18.3.1.5 and 18.2.4: the T flag traps before the first instruction of the task; a switch clears the local enables of DR7.</summary>
    [Theory]
    [InlineData("jmp")]
    [InlineData("int")]
    public void TrapFlag(string how)
    {
        var c = Enter(how == "jmp" ? Far(false, Own) : "cdf5");
        Task(true);
        _board.SetGate(Vector, Gate(Own, 0, 0x85));
        _board.Write(Tss2 + 0x64, 1);
        c->Dr[7] = 0x755;
        var trap = _board.Run();
        Assert.Equal((Db, Free), (trap.Vector, (uint)trap.Ip));
        Assert.Equal(0x8000ul, c->Dr[6] & 0xe00f);
        Assert.Equal(0x600ul, c->Dr[7]);
    }

    /// <summary>An exception with an error code through a task gate pushes it on the new stack, in the width of the new task (SDM 3, 6.13).</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ErrorCode(bool wide)
    {
        var c = Enter("b8001000008ed8"); // mov ds, 0x1000
        Task(wide);
        _board.SetGate(Gp, Gate(Own, 0, 0x85));
        Assert.Equal(-1, _board.Run().Vector);
        var top = wide ? NewStack : (NewStack & 0xffff) | (c->R[4] & 0xffff_0000);
        Assert.Equal(wide ? top - 4 : top - 2, c->R[4]);
        if (wide) Assert.Equal(0x1000ul, _board.Read(c->R[4], 4));
        Assert.Equal(Code + 5ul, _board.Read(Tss + 0x20, 4));
    }

    /// <summary>A call and the return from it: the first task goes on behind the call, and both are as they were.</summary>
    [Fact]
    public void CallAndReturn()
    {
        var c = Enter(Far(true, Own) + "40");
        var ip = Task(true);
        _board.Poke(ip, "cf43f4"); // iret; inc ebx
        c->R[0] = 5;
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal((6ul, Code + 9ul, (ulong)Stack), (c->R[0], c->Rip, c->R[4]));
        Assert.Equal((0x8bu, 0x89u), (_board.AccessByte(TrSelector), _board.AccessByte(Own)));
        Assert.Equal(0u, c->Eflags & Nt);
        Assert.Equal(ip + 1, _board.Read(Tss2 + 0x20, 4));
        Assert.Equal(0ul, _board.Read(Tss2 + 0x24, 4) & Nt);
    }

    /// <summary>A page of the new task's state that is missing: the old task sees the fault and nothing has changed. The old state's page likewise.</summary>
    [Theory]
    [InlineData(Tss2, 0u)]
    [InlineData(Tss, 2u)]
    public void MissingPages(uint missing, uint error)
    {
        foreach (var cpl in new[] { 0, 3 })
        {
            // The state of level 0's stack lies in the first bytes of the page before.
            var c = Enter(Far(false, Own | (uint)cpl), cpl);
            Task(true);
            _board.SetDescriptor(Own, Descriptor(0xe9, 0x67, Tss2));
            if (missing == Tss)
            {
                for (var n = 0u; n < 0x20; n += 4) _board.Write(Tss - 0x10 + n, _board.Read(Tss + n, 4));
                c->Seg[State.Segment.Tr].Base = Tss - 0x10;
            }

            for (var n = 0u; n < 1024; n++) _board.Write(0x4000 + (n * 4), n == missing >> 12 ? 0 : (n << 12) | 7);
            _board.Write(Paging, 0x4007);
            c->Cr3 = Paging;
            c->Cr0 |= 0x8000_0000;
            if (missing == Tss && cpl == 3) continue;
            var trap = _board.Run();
            Assert.Equal((14, error, Code), (trap.Vector, trap.Error, (uint)trap.Ip));
            Assert.Equal(missing >> 12, c->Cr2 >> 12);
            Assert.Equal((TrSelector, 0xe9u), (c->Seg[State.Segment.Tr].Selector, _board.AccessByte(Own)));
        }
    }

    /// <summary>Task states belong to the supervisor: a switch from level 3 uses its pages, without a trace.</summary>
    [Fact]
    public void SupervisorPages()
    {
        var c = Enter(Far(false, Own | 3), 3);
        Task(true);
        _board.SetDescriptor(Own, Descriptor(0xe9, 0x67, Tss2));
        _board.Write(Tss2 + 0x1c, Paging);
        for (var n = 0u; n < 1024; n++) _board.Write(0x4000 + (n * 4), (n << 12) | (n is Tss >> 12 or Tss2 >> 12 or Gdt >> 12 ? 3u : 7u));
        _board.Write(Paging, 0x4007);
        c->Cr3 = Paging;
        c->Cr0 |= 0x8000_0000;
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal((Free + 1ul, 0ul), (c->Rip, c->Cr2));
    }
}
