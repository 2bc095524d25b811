using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>What a fault leaves behind: nothing, but the finished repetitions of string instructions (SDM 3, 6.6; SDM 1, 7.3.9.2). Alignment checks.</summary>
public sealed unsafe class PreciseTests : IDisposable
{
    private const int SsFault = 12, Gp = 13, Pf = 14, Ac = 17;
    private const uint Hole = 0x48000, ReadOnly = 0x4a000;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    /// <summary>32-bit user code with the first 4 MiB one to one, a missing page and a read-only one.</summary>
    private CpuState* Enter(string code, int cpl = 3)
    {
        var c = _board.Enter(CodeMode.Prot32, code, cpl);
        for (var n = 0u; n < 1024; n++) _board.Write(0x4000 + (n * 4), n == Hole >> 12 ? 0 : (n << 12) | (n == ReadOnly >> 12 ? 5u : 7u));
        _board.Write(Paging, 0x4007);
        c->Cr3 = Paging;
        c->Cr0 |= 0x8000_0000;
        return c;
    }

    /// <summary>Repetitions up to the page that is missing: counter, pointers and IP of the one that faults.</summary>
    [Theory]
    [InlineData("f3aa", 0, Hole - 5u, 16u, 11u, 0, 5, 6u)] // rep stosb
    [InlineData("f3ab", 0, Hole - 8u, 16u, 14u, 0, 8, 6u)]
    [InlineData("f3ab", 0, Hole - 10u, 16u, 14u, 0, 8, 6u)] // the third crosses
    [InlineData("66f3ab", 0, Hole - 6u, 16u, 13u, 0, 6, 6u)]
    [InlineData("f3a4", Data, Hole - 3u, 16u, 13u, 3, 3, 6u)] // rep movsb, to
    [InlineData("f3a4", Hole - 3, Data, 16u, 13u, 3, 3, 4u)] // from
    [InlineData("f3a5", Data, Hole - 12u, 16u, 13u, 12, 12, 6u)]
    [InlineData("f3a5", Hole - 12, Data, 16u, 13u, 12, 12, 4u)]
    [InlineData("f3ac", Hole - 4, 0u, 16u, 12u, 4, 0, 4u)] // rep lodsb
    [InlineData("f3ae", 0, Hole - 4u, 16u, 12u, 0, 4, 4u)] // repe scasb
    [InlineData("f2ae", 0, Hole - 4u, 2u, 0u, 0, 2, 0u)]
    [InlineData("f3a6", Hole - 4, Data, 16u, 12u, 4, 4, 4u)] // repe cmpsb
    [InlineData("f3a6", Data, Hole - 4u, 16u, 12u, 4, 4, 4u)]
    [InlineData("fdf3aa", 0, Hole + 0x1003u, 16u, 12u, 0, -4, 6u)] // down
    [InlineData("fdf3a4", Hole + 0x1001, Data, 16u, 14u, -2, -2, 4u)]
    [InlineData("f3a4", Data, ReadOnly - 2u, 16u, 14u, 2, 2, 7u)]
    [InlineData("f36c", 0, Hole - 2u, 16u, 14u, 0, 2, 6u)] // rep insb
    [InlineData("f36e", Hole - 2, 0u, 16u, 14u, 2, 0, 4u)] // rep outsb
    public void Repetitions(string code, uint si, uint di, uint count, uint left, int stepSi, int stepDi, uint error)
    {
        var c = Enter(code);
        c->Eflags |= 0x3000;
        (c->R[0], c->R[1], c->R[6], c->R[7]) = (0x5555_5500 * (code[^1] == 'e' ? 0u : 1), count, si, di);
        var trap = _board.Run();
        if (error != 0) Assert.Equal((Pf, error, Code + (code.StartsWith("fd", StringComparison.Ordinal) ? 1u : 0)), (trap.Vector, trap.Error, (uint)trap.Ip));
        Assert.Equal((code == "f2ae" ? 1u : left, si + (uint)stepSi, di + (uint)(code == "f2ae" ? 1 : stepDi)), ((uint)c->R[1], (uint)c->R[6], (uint)c->R[7]));
    }

    /// <summary>The same at the end of a segment.</summary>
    [Theory]
    [InlineData("f3aa", 0xffcu, 4)]
    [InlineData("f3ab", 0xff4u, 3)]
    [InlineData("f3ab", 0xff5u, 2)]
    [InlineData("f3a4", 0xffcu, 4)]
    public void Repetitions_AtTheLimit(string code, uint di, int done)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        _board.SetDescriptor(Own, Descriptor(0x4093, 0xfff, Free));
        _board.Load(Segment.Es, Own);
        (c->R[1], c->R[6], c->R[7]) = (100, Data, di);
        _board.Expect(Gp);
        Assert.Equal(100ul - (uint)done, c->R[1]);
    }

    /// <summary>Registers, flags and memory stay when an instruction faults in its middle.</summary>
    [Theory]
    // A stack that reaches into the hole.
    [InlineData("60", Hole + 0x1010, Hole + 0xffcu, 6u)] // pushad
    [InlineData("6660", Hole + 0x1008, Hole + 0xffeu, 6u)]
    [InlineData("61", Hole - 0x10, Hole, 4u)] // popad
    [InlineData("c8200000", Hole + 0x1004, Hole + 0xfe0u, 6u)] // enter 32, 0
    [InlineData("c8000003", Hole + 0x1008, Hole + 0x1cu, 4u)] // enter 0, 3, with the frame in the hole
    [InlineData("9a000000001b00", Hole + 0x1004, Hole + 0xffcu, 6u)] // call far
    [InlineData("cb", Hole - 4, Hole, 4u)]
    [InlineData("cf", Hole - 8, Hole, 4u)]
    [InlineData("c9", Stack, Hole + 0x20u, 4u)] // leave
    [InlineData("8f0500800400", Stack - 4, Hole, 6u)] // pop [Hole]
    [InlineData("ff3500800400", Stack, Hole, 4u)]
    [InlineData("ff1500800400", Stack, Hole, 4u)]
    [InlineData("e800000000", Hole + 0x1000, Hole + 0xffcu, 6u)]
    [InlineData("6a01", Hole + 0x1000, Hole + 0xffcu, 6u)]
    [InlineData("1f", Hole, Hole, 4u)] // pop ds
    // Read, then write to what cannot be written.
    [InlineData("010500a00400", Stack, ReadOnly, 7u)] // add
    [InlineData("ff0500a00400", Stack, ReadOnly, 7u)]
    [InlineData("870500a00400", Stack, ReadOnly, 7u)] // xchg
    [InlineData("0fc10500a00400", Stack, ReadOnly, 7u)] // xadd
    [InlineData("0fb10d00a00400", Stack, ReadOnly, 7u)] // cmpxchg that does not compare equal
    [InlineData("0fc70d00a00400", Stack, ReadOnly, 7u)] // cmpxchg8b
    [InlineData("f00fc70d00a00400", Stack, ReadOnly, 7u)]
    [InlineData("d12500a00400", Stack, ReadOnly, 7u)] // shl
    [InlineData("0fab0500a00400", Stack, ReadOnly + 4u, 7u)] // bts, bit 0x22
    [InlineData("0fa40500a0040004", Stack, ReadOnly, 7u)] // shld
    [InlineData("f71d00a00400", Stack, ReadOnly, 7u)] // neg
    [InlineData("0f9405 00a00400", Stack, ReadOnly, 7u)] // sete
    [InlineData("0f010500a00400", Stack, ReadOnly, 7u)] // sgdt
    [InlineData("dd1d00a00400", Stack, ReadOnly, 7u)] // fstp qword
    [InlineData("0fae0500a00400", Stack, ReadOnly, 7u)] // fxsave
    public void NothingChanges(string code, uint sp, uint cr2, uint error)
    {
        var c = Enter(code);
        for (var r = 0u; r < 8; r++) c->R[r] = r switch { 0 => 0x22, 4 => sp, 5 => Hole + 0x20, _ => 0x1111_1100 + r };
        Flags.SetArithmetic(c, 0x8d5);
        var (fsw, cs) = (*(ushort*)(CpuState.Fx(c) + 2), c->Seg[Segment.Cs].Selector);
        var trap = _board.Run();
        Assert.Equal((Pf, error, cr2, Code, (uint)cs, sp, 0x108d7u), (trap.Vector, trap.Error, (uint)c->Cr2, (uint)trap.Ip, trap.Cs, (uint)trap.Sp, (uint)trap.Flags));
        for (var r = 0u; r < 8; r++)
            if (r != 4) Assert.Equal(r switch { 0 => 0x22u, 5 => Hole + 0x20, _ => 0x1111_1100 + r }, c->R[r]);
        Assert.Equal(fsw, *(ushort*)(CpuState.Fx(c) + 2));
    }

    /// <summary>SDM 2, CMPXCHG8B: a comparison that fails writes the old value back and loads it.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, "0fc70d00100300", 4, true)]
    [InlineData(CodeMode.Prot32, "0fc70d00100300", 4, false)]
    [InlineData(CodeMode.Long, "480fc70c2500100300", 8, true)]
    [InlineData(CodeMode.Long, "480fc70c2500100300", 8, false)]
    internal void CompareAndExchange(CodeMode mode, string code, int half, bool equal)
    {
        var c = _board.Enter(mode, code);
        _board.Write(Data, 0x1111, half);
        _board.Write(Data + (uint)half, 0x2222, half);
        (c->R[0], c->R[2], c->R[3], c->R[1]) = (equal ? 0x1111u : 0, 0x2222, 0x3333, 0x4444);
        _board.Expect(-1);
        Assert.Equal(equal, Flags.GetZf(c));
        Assert.Equal(equal ? (0x3333ul, 0x4444ul) : (0x1111ul, 0x2222ul), (_board.Read(Data, half), _board.Read(Data + (uint)half, half)));
        Assert.Equal((0x1111ul, 0x2222ul), (c->R[0], c->R[2]));
    }

    /// <summary>SDM 3, 6.15, interrupt 17: level 3 with CR0.AM and AC, data of 2, 4 and 8 bytes. The error code is 0.</summary>
    [Theory]
    [InlineData("8b0425", 1u, Ac)]
    [InlineData("8b0425", 2u, Ac)]
    [InlineData("8b0425", 4u, -1)]
    [InlineData("668b0425", 1u, Ac)]
    [InlineData("668b0425", 2u, -1)]
    [InlineData("8a0425", 1u, -1)]
    [InlineData("890425", 3u, Ac)]
    [InlineData("010425", 1u, Ac)]
    [InlineData("870425", 1u, Ac)]
    [InlineData("dd0425", 4u, Ac)] // fld qword
    [InlineData("dd0425", 8u, -1)]
    [InlineData("d90425", 2u, Ac)] // fld dword
    [InlineData("0f280425", 1u, Gp)] // movaps
    [InlineData("0fae0425", 8u, Gp)] // fxsave
    public void Alignment(string code, uint offset, int vector)
    {
        foreach (var (mode, am, ac, cpl) in new[] { (CodeMode.Prot32, true, true, 3), (CodeMode.Long, true, true, 3), (CodeMode.Prot32, false, true, 3), (CodeMode.Prot32, true, false, 3), (CodeMode.Prot32, true, true, 0) })
        {
            var c = _board.Enter(mode, code + L(Data + offset), cpl);
            c->Cr4 |= 0x600;
            if (am) c->Cr0 |= 0x40000;
            if (ac) c->Eflags |= 0x40000;
            _board.Expect(vector == Ac && !(am && ac && cpl == 3) ? -1 : vector);
        }
    }

    /// <summary>The stack is aligned as well; a word of it to 2 bytes.</summary>
    [Theory]
    [InlineData("50", 2u, Ac)]
    [InlineData("50", 4u, -1)]
    [InlineData("6650", 2u, -1)]
    [InlineData("6650", 1u, Ac)]
    [InlineData("e800000000", 2u, Ac)]
    [InlineData("a5", 2u, Ac)] // movsd
    [InlineData("a4", 1u, -1)]
    public void Alignment_OfTheStackAndStrings(string code, uint offset, int vector)
    {
        var c = _board.Enter(CodeMode.Prot32, code, 3);
        c->Cr0 |= 0x40000;
        c->Eflags |= 0x40000;
        c->R[4] = Stack - 0x100 + offset;
        (c->R[6], c->R[7]) = (Data + offset, Data + 0x100);
        _board.Expect(vector);
    }

    /// <summary>SDM 3, 18.2.4 and table 18-2: which accesses a breakpoint of a length hits. Addresses are aligned to it.</summary>
    [Theory]
    [InlineData(1, 0, 0u, "890425", 0u, true)]
    [InlineData(1, 0, 0u, "8b0425", 0u, false)] // writes only
    [InlineData(3, 0, 0u, "8b0425", 0u, true)]
    [InlineData(3, 0, 3u, "8b0425", 0u, true)]
    [InlineData(3, 0, 4u, "8b0425", 0u, false)]
    [InlineData(3, 0, 0u, "8a0425", 1u, false)]
    [InlineData(3, 1, 1u, "8a0425", 0u, true)] // length 2 at 1 is at 0
    [InlineData(3, 1, 1u, "8a0425", 2u, false)]
    [InlineData(3, 3, 0u, "8a0425", 3u, true)]
    [InlineData(3, 3, 0u, "8a0425", 4u, false)]
    [InlineData(3, 3, 6u, "8a0425", 4u, true)]
    [InlineData(3, 3, 4u, "8b0425", 1u, true)] // reaches in
    [InlineData(3, 2, 0u, "8a0425", 7u, true)]
    [InlineData(3, 2, 0u, "8a0425", 8u, false)]
    [InlineData(1, 3, 0u, "010425", 0u, true)]
    [InlineData(0, 0, 0u, "890425", 0u, false)] // execution
    [InlineData(2, 0, 0u, "890425", 0u, false)] // a port
    public void DataBreakpoints(int kind, int length, uint at, string code, uint access, bool hits)
    {
        foreach (var enable in new[] { 1, 2, 0 })
        {
            var c = _board.Enter(CodeMode.Prot32, code + L(Data + access) + "90");
            c->Dr[2] = Data + at;
            c->Dr[7] = 0x400 | ((ulong)enable << 4) | ((ulong)kind << 24) | ((ulong)length << 26);
            var trap = _board.Run();
            Assert.Equal(hits && enable != 0 ? 1 : -1, trap.Vector);
            if (hits && enable != 0) Assert.Equal((Code + (uint)code.Length / 2 + 4, 0xffff_0ff4ul), ((uint)trap.Ip, c->Dr[6]));
        }
    }

    /// <summary>Fixed bits of DR6 and DR7 (SDM 3, 18.2.3 and 18.2.4).</summary>
    [Theory]
    [InlineData("0f23f0 0f21f3", 0ul, 0xffff_0ff0ul)]
    [InlineData("0f23f0 0f21f3", 0xffff_fffful, 0xffff_effful)]
    [InlineData("0f23f8 0f21fb", 0ul, 0x400ul)]
    [InlineData("0f23f8 0f21fb", 0x5555_d400ul, 0x5555_0400ul)]
    public void DebugRegisters(string code, ulong value, ulong after)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        c->R[0] = value;
        _board.Expect(-1);
        Assert.Equal(after, c->R[3]);
    }

    /// <summary>SDM 3, 18.3.1.4: with TF behind every instruction; POPF and IRET that set it trap behind the next; repetitions each.</summary>
    [Theory]
    [InlineData("9d9090", false, 2u)]
    [InlineData("cf", false, 0x101u)]
    [InlineData("9090", true, 1u)]
    [InlineData("f3aa90", true, 0u)]
    [InlineData("f3a490", true, 0u)]
    [InlineData("f3ad90", true, 0u)]
    [InlineData("f3a690", true, 0u)]
    [InlineData("9d90", true, 1u)] // popf that clears it
    [InlineData("8ed09090", true, 3u)]
    public void SingleStep(string code, bool trap, uint offset)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        if (trap) c->Eflags |= 0x100;
        (c->R[0], c->R[1], c->R[6], c->R[7]) = (Data0, 3, Data, Data + 0x100);
        _board.Poke(Code + 0x100, "9090f4");
        _board.Write(Stack, code == "cf" ? Code + 0x100 : trap ? 2u : 0x102);
        _board.Write(Stack + 4, Code0);
        _board.Write(Stack + 8, 0x102);
        var result = _board.Run();
        Assert.Equal((1, Code + offset, 0xffff_4ff0ul), (result.Vector, (uint)result.Ip, c->Dr[6]));
        if (code.StartsWith("f3", StringComparison.Ordinal)) Assert.Equal(2ul, c->R[1]);
    }

    /// <summary>A data breakpoint within a repetition traps behind the repetition that hits (SDM 3, 18.3.1.2).</summary>
    [Theory]
    [InlineData("f3aa90", 2u)]
    [InlineData("f3a490", 2u)]
    public void Repetitions_WithABreakpoint(string code, uint left)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        (c->R[1], c->R[6], c->R[7]) = (5, Data + 0x100, Data);
        c->Dr[0] = Data + 2;
        c->Dr[7] = 0x1_0402;
        var trap = _board.Run();
        Assert.Equal((1, Code, left, Data + 3u), (trap.Vector, (uint)trap.Ip, (uint)c->R[1], (uint)c->R[7]));
    }

    /// <summary>Instruction breakpoints are faults of length 1; RF in the returned flags lets the instruction run (SDM 3, 18.3.1.1).</summary>
    [Fact]
    public void InstructionBreakpoint()
    {
        var c = _board.Enter(CodeMode.Prot32, "404040");
        c->R[0] = 0;
        c->Dr[3] = Code + 1;
        c->Dr[7] = 0x480;
        _board.Poke(Handlers + 8, "f4 cf");
        var trap = _board.Run();
        Assert.Equal((1, Code + 1u, 1ul, 0xffff_0ff8ul), (trap.Vector, (uint)trap.Ip, c->R[0], c->Dr[6]));
        _board.Write(c->R[4] + 8, trap.Flags | 0x10000);
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(3ul, c->R[0]);
    }

    /// <summary>An instruction breakpoint at a repetition that was begun does not hit again; the frame of a trap between has RF (SDM 3, 18.3.1.1).</summary>
    [Fact]
    public void InstructionBreakpoint_OfARepetition()
    {
        var c = _board.Enter(CodeMode.Prot32, "f3aa");
        (c->R[1], c->R[7]) = (6000, Data);
        (c->Dr[0], c->Dr[1]) = (Code, Data + 4500);
        c->Dr[7] = 0x10_040a;
        c->Eflags |= 0x10000;
        var trap = _board.Run();
        Assert.Equal((1, Code, 0x10000u, 0xffff_0ff2ul, 6000ul - 4501), (trap.Vector, (uint)trap.Ip, (uint)trap.Flags & 0x10000, c->Dr[6], c->R[1]));
        _board.Poke(Handlers + 8, "f4cf");
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(0ul, c->R[1]);
    }

    /// <summary>Breakpoints of ports with CR4.DE, by length (SDM 3, 18.2.4).</summary>
    [Theory]
    [InlineData("ec", 0x60u, 0, 0x60u, true)]
    [InlineData("ec", 0x61u, 0, 0x60u, false)]
    [InlineData("ec", 0x61u, 1, 0x60u, true)]
    [InlineData("ec", 0x63u, 3, 0x60u, true)]
    [InlineData("ed", 0x5eu, 0, 0x60u, true)]
    [InlineData("ef", 0x5eu, 0, 0x60u, true)]
    [InlineData("ef", 0x5eu, 0, 0x62u, false)]
    [InlineData("6c", 0x60u, 0, 0x60u, true)]
    [InlineData("6e", 0x60u, 0, 0x60u, true)]
    public void PortBreakpoints(string code, uint port, int length, uint at, bool hits)
    {
        foreach (var extensions in new[] { true, false })
        {
            var c = _board.Enter(CodeMode.Prot32, code + "90");
            (c->R[2], c->R[6], c->R[7]) = (port, Data, Data);
            c->Dr[1] = at;
            c->Dr[7] = 0x404 | (2ul << 20) | ((ulong)length << 22);
            if (extensions) c->Cr4 |= 8;
            Assert.Equal(hits && extensions ? 1 : -1, _board.Run().Vector);
        }
    }
}
