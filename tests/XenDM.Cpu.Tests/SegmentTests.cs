using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Loads of segment registers and what segments forbid (SDM 3, 3.4 and 5; SDM 2, MOV).</summary>
public sealed unsafe class SegmentTests : IDisposable
{
    private const string Ds = "8ed8", Es = "8ec0", Fs = "8ee0", Gs = "8ee8", Ss = "8ed0";
    private const int Ud = 6, Np = 11, SsFault = 12, Gp = 13;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    /// <summary>SDM 2, MOV, "loading a segment register": type, DPL, RPL and CPL, presence, and the accessed bit.</summary>
    [Theory]
    // Data: DPL must not be below CPL and RPL.
    [InlineData(Ds, 0xc092, 0, 0, -1)]
    [InlineData(Es, 0xc092, 3, 0, Gp)]
    [InlineData(Fs, 0xc0f2, 3, 0, -1)]
    [InlineData(Gs, 0xc0f2, 3, 3, -1)]
    [InlineData(Gs, 0xc0f2, 0, 3, -1)]
    [InlineData(Ds, 0xc092, 0, 3, Gp)]
    [InlineData(Ds, 0xc0b2, 1, 0, -1)]
    [InlineData(Ds, 0xc0b2, 2, 0, Gp)]
    [InlineData(Es, 0xc0b2, 1, 1, -1)]
    [InlineData(Fs, 0xc090, 0, 0, -1)]
    [InlineData(Gs, 0xc096, 0, 0, -1)]
    // Code: readable, and nonconforming as data.
    [InlineData(Ds, 0xc098, 0, 0, Gp)]
    [InlineData(Ds, 0xc09a, 0, 0, -1)]
    [InlineData(Ds, 0xc09a, 3, 3, Gp)]
    [InlineData(Ds, 0xc09a, 3, 0, Gp)]
    [InlineData(Ds, 0xc09e, 3, 3, -1)]
    [InlineData(Es, 0xc09c, 3, 3, Gp)]
    // Presence comes after type and privilege.
    [InlineData(Ds, 0xc012, 0, 0, Np)]
    [InlineData(Es, 0xc01a, 0, 0, Np)]
    [InlineData(Fs, 0xc01e, 3, 3, Np)]
    [InlineData(Gs, 0xc018, 0, 0, Gp)]
    [InlineData(Ds, 0xc012, 3, 0, Gp)]
    // System segments and gates.
    [InlineData(Ds, 0x0082, 0, 0, Gp)]
    [InlineData(Es, 0x0089, 0, 0, Gp)]
    [InlineData(Fs, 0x008c, 0, 0, Gp)]
    [InlineData(Gs, 0x0080, 0, 0, Gp)]
    // SS: writable data, RPL = DPL = CPL.
    [InlineData(Ss, 0xc092, 0, 0, -1)]
    [InlineData(Ss, 0xc096, 0, 0, -1)]
    [InlineData(Ss, 0xc090, 0, 0, Gp)]
    [InlineData(Ss, 0xc09a, 0, 0, Gp)]
    [InlineData(Ss, 0xc092, 3, 0, Gp)]
    [InlineData(Ss, 0xc0f2, 3, 0, Gp)]
    [InlineData(Ss, 0xc0f2, 0, 0, Gp)]
    [InlineData(Ss, 0xc0f2, 3, 3, -1)]
    [InlineData(Ss, 0xc0f2, 0, 3, Gp)]
    [InlineData(Ss, 0xc092, 0, 3, Gp)]
    [InlineData(Ss, 0xc012, 0, 0, SsFault)]
    [InlineData(Ss, 0xc010, 0, 0, Gp)]
    [InlineData(Ss, 0x0089, 0, 0, Gp)]
    public void Loads_CheckTheDescriptor(string code, int access, int rpl, int cpl, int vector)
    {
        foreach (var (mode, table) in new[] { (CodeMode.Prot32, 0), (CodeMode.Prot32, 4), (CodeMode.Compat, 0), (CodeMode.Long, 4) })
        {
            if (mode == CodeMode.Long && cpl == 1) continue;
            var c = _board.Enter(mode, code, cpl);
            var selector = (uint)(Own | table);
            _board.SetDescriptor(selector, Descriptor((uint)access));
            c->R[0] = selector | (uint)rpl;
            _board.Expect(vector, selector);
            Assert.Equal((uint)(access & 0xff) | (vector < 0 ? 1u : 0), _board.AccessByte(selector));
            if (vector < 0 && cpl == 0) Assert.Equal(selector | (uint)rpl, c->Seg[SegmentOf(code)].Selector);
        }
    }

    private static int SegmentOf(string mov) => (Convert.ToInt32(mov[2..], 16) >> 3) & 7;

    /// <summary>Null selectors: allowed for data, not for SS but in 64-bit mode above user level with RPL = CPL (SDM 2, MOV).</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, Ds, 0, 0, -1)]
    [InlineData(CodeMode.Prot32, Gs, 3, 3, -1)]
    [InlineData(CodeMode.Prot32, Ss, 0, 0, Gp)]
    [InlineData(CodeMode.Prot32, Ss, 3, 3, Gp)]
    [InlineData(CodeMode.Compat, Ss, 0, 0, Gp)]
    [InlineData(CodeMode.Long, Ss, 0, 0, -1)]
    [InlineData(CodeMode.Long, Ss, 3, 0, Gp)]
    [InlineData(CodeMode.Long, Ss, 3, 3, Gp)]
    [InlineData(CodeMode.Long, Ds, 2, 3, -1)]
    internal void NullSelectors(CodeMode mode, string code, int rpl, int cpl, int vector)
    {
        var c = _board.Enter(mode, code, cpl);
        c->R[0] = (uint)rpl;
        _board.Expect(vector);
    }

    /// <summary>SDM 3, 3.4.2: nothing is accessed through a null selector, not even its first byte.</summary>
    [Theory]
    [InlineData("8a0500000000", Gp)] // mov al, [0]
    [InlineData("880500000000", Gp)]
    [InlineData("8b0510000000", Gp)]
    [InlineData("ac", Gp)] // lodsb
    [InlineData("268a0500000000", -1)]
    public void NullSelectors_ForbidAccess(string code, int vector)
    {
        var c = _board.Enter(CodeMode.Prot32, Ds + code);
        c->R[0] = 0;
        c->R[6] = 0;
        _board.Expect(vector, 0, 2);
    }

    /// <summary>SDM 3, 6.13: the error code is the selector without RPL; TI stays. Beyond the table: #GP.</summary>
    [Theory]
    [InlineData(0x0ff8, 0xffe, Gp, 0xff8)]
    [InlineData(0x0ff8, 0xfff, -1, 0)]
    [InlineData(0x1003, 0xfff, Gp, 0x1000)]
    [InlineData(0xffff, 0xfff, Gp, 0xfffc)]
    [InlineData(0x0fff, 0xfff, -1, 0)] // the last of the LDT
    [InlineData(0x0084, 0, Gp, 0x84)] // no LDT
    public void SelectorsBeyondTheTable(int selector, int limit, int vector, int error)
    {
        var c = _board.Enter(CodeMode.Prot32, Ds);
        _board.SetDescriptor((uint)selector & 0xffc, Descriptor(0xc0f3));
        c->R[0] = (uint)selector;
        if (limit == 0) c->Seg[Segment.Ldt] = default;
        else c->GdtLimit = (uint)limit;
        _board.Expect(vector, (uint)error);
    }

    /// <summary>SDM 3, 5.3 and table 3-1: byte and page granular limits, expand-down segments, rights.</summary>
    [Theory]
    [InlineData(0x4092, 0xfffu, 0xfffu, 1, false, false)]
    [InlineData(0x4092, 0xfffu, 0xfffu, 2, false, true)]
    [InlineData(0x4092, 0xfffu, 0xffcu, 4, true, false)]
    [InlineData(0x4092, 0xfffu, 0xffdu, 4, true, true)]
    [InlineData(0x4092, 0u, 0u, 1, true, false)]
    [InlineData(0x4092, 0u, 1u, 1, true, true)]
    [InlineData(0xc092, 0u, 0xfffu, 1, false, false)]
    [InlineData(0xc092, 0u, 0x1000u, 1, false, true)]
    [InlineData(0xc092, 1u, 0x1ffcu, 4, false, false)]
    [InlineData(0xc092, 1u, 0x1ffdu, 4, false, true)]
    [InlineData(0x4096, 0xfffu, 0xfffu, 1, false, true)]
    [InlineData(0x4096, 0xfffu, 0x1000u, 1, true, false)]
    [InlineData(0x4096, 0xfffu, 0xfffffffcu, 4, false, false)]
    [InlineData(0x4096, 0xfffu, 0u, 1, false, true)]
    [InlineData(0x0096, 0xfffu, 0xffffu, 1, false, false)]
    [InlineData(0x0096, 0xfffu, 0xffffu, 2, false, true)]
    [InlineData(0x0096, 0xfffu, 0x10000u, 1, false, true)]
    [InlineData(0x0096, 0xfffu, 0x1000u, 4, true, false)]
    [InlineData(0xc096, 0xfu, 0xffffu, 1, false, true)]
    [InlineData(0xc096, 0xfu, 0x10000u, 1, false, false)]
    [InlineData(0x4090, 0xfffu, 0x10u, 4, false, false)]
    [InlineData(0x4090, 0xfffu, 0x10u, 4, true, true)]
    [InlineData(0x4094, 0xfffu, 0x1000u, 4, false, false)]
    [InlineData(0x4094, 0xfffu, 0x1000u, 4, true, true)]
    [InlineData(0x409a, 0xfffu, 0x10u, 4, false, false)]
    [InlineData(0x409a, 0xfffu, 0x10u, 4, true, true)]
    [InlineData(0x409a, 0xfffu, 0xffdu, 4, false, true)]
    [InlineData(0x409e, 0xfffu, 0xffdu, 2, false, false)]
    public void Limits(int access, uint limit, uint offset, int size, bool write, bool faults)
    {
        foreach (var segment in new[] { Segment.Fs, Segment.Ss })
        {
            if (segment == Segment.Ss && (access & 0x1a) != 0x12) continue;
            var opcode = (size == 1 ? 0x8a : 0x8b) - (write ? 2 : 0);
            _board.Enter(CodeMode.Prot32, $"{(size == 2 ? "66" : "")}{(segment == Segment.Ss ? "36" : "64")}{opcode:x2}05{L(offset)}");
            _board.SetDescriptor(Own, Descriptor((uint)access | 1, limit, (access & 4) != 0 && (access & 8) == 0 ? 0 : Free));
            // A handler needs a stack: SS faults are told by the shutdown's first vector.
            _board.Load(segment, Own);
            if (segment == Segment.Fs)
            {
                _board.Expect(faults ? Gp : -1);
                continue;
            }

            var trap = _board.Run();
            if (!faults) Assert.Equal(-1, trap.Vector);
            else if (trap.Vector == -2) Assert.Equal(SsFault, _board.Cpu.FirstException);
            else Assert.Equal(SsFault, trap.Vector);
        }
    }

    /// <summary>SDM 2, LxS and POP: a fault leaves register and stack pointer; LSS takes writable data, and a segment that is not there raises #SS.</summary>
    [Theory]
    [InlineData("c50500100300", 0xc012, Np)] // lds eax, [Data]
    [InlineData("c40500100300", 0xc092, -1)]
    [InlineData("0fb20500100300", 0xc012, SsFault)]
    [InlineData("0fb20500100300", 0xc090, Gp)]
    [InlineData("0fb40500100300", 0xc098, Gp)]
    [InlineData("0fb50500100300", 0xc09a, -1)]
    public void FarPointers(string code, int access, int vector)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        _board.SetDescriptor(Own, Descriptor((uint)access));
        _board.Write(Data, 0x12345678);
        _board.Write(Data + 4, Own, 2);
        c->R[0] = 0x55;
        _board.Expect(vector, Own);
        Assert.Equal(vector < 0 ? 0x12345678ul : 0x55, c->R[0]);
    }

    [Theory]
    [InlineData("1f", 0xc092, -1)] // pop ds
    [InlineData("07", 0xc012, Np)]
    [InlineData("0fa1", 0xc098, Gp)]
    [InlineData("17", 0xc012, SsFault)]
    [InlineData("17", 0xc092, -1)]
    public void PopOfASegment(string code, int access, int vector)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        _board.SetDescriptor(Own, Descriptor((uint)access));
        c->R[4] -= 4;
        _board.Write(c->R[4], 0xffff_0000 | Own);
        _board.Expect(vector, Own);
        Assert.Equal(vector < 0 ? Stack : Stack - 20, c->R[4]); // flags, CS, EIP and the error code
    }

    /// <summary>SDM 2, LLDT and LTR: only from the GDT, present and of their type; LTR sets the busy bit.</summary>
    [Theory]
    [InlineData("0f00d0", 0x82, 0x80, -1, 0)] // lldt ax
    [InlineData("0f00d0", 0x82, 0x00, -1, 0)]
    [InlineData("0f00d0", 0x82, 0x84, Gp, 0x84)]
    [InlineData("0f00d0", 0x02, 0x80, Np, 0x80)]
    [InlineData("0f00d0", 0x89, 0x83, Gp, 0x80)]
    [InlineData("0f00d0", 0x92, 0x80, Gp, 0x80)]
    [InlineData("0f00d0", 0x82, 0x1000, Gp, 0x1000)]
    [InlineData("0f00d8", 0x89, 0x80, -1, 0)] // ltr ax
    [InlineData("0f00d8", 0x81, 0x80, -1, 0)]
    [InlineData("0f00d8", 0x8b, 0x80, Gp, 0x80)]
    [InlineData("0f00d8", 0x83, 0x80, Gp, 0x80)]
    [InlineData("0f00d8", 0x09, 0x80, Np, 0x80)]
    [InlineData("0f00d8", 0x89, 0x00, Gp, 0)]
    [InlineData("0f00d8", 0x89, 0x87, Gp, 0x84)]
    [InlineData("0f00d8", 0x85, 0x80, Gp, 0x80)]
    public void TableRegisters(string code, int access, int selector, int vector, int error)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        _board.SetDescriptor(Own, Descriptor((uint)access, 0x67, Free));
        c->R[0] = (uint)selector;
        _board.Expect(vector, (uint)error);
        if (code == "0f00d8") Assert.Equal((uint)access | (vector < 0 ? 2u : 0), _board.AccessByte(Own));
    }

    /// <summary>In long mode these descriptors have 16 bytes, all within the table, and there are no 16-bit task states.</summary>
    [Theory]
    [InlineData("0f00d0", 0x82, 0xff0, 0ul, -1)]
    [InlineData("0f00d0", 0x82, 0xff8, 0ul, Gp)]
    [InlineData("0f00d0", 0x82, 0xff0, 0x100_0000_0000ul, Gp)]
    [InlineData("0f00d8", 0x89, 0xff0, 0ul, -1)]
    [InlineData("0f00d8", 0x81, 0xff0, 0ul, Gp)]
    [InlineData("0f00d8", 0x89, 0xff8, 0ul, Gp)]
    public void TableRegisters_InLongMode(string code, int access, int selector, ulong upper, int vector)
    {
        var c = _board.Enter(CodeMode.Long, code);
        _board.SetDescriptor((uint)selector, Descriptor((uint)access, 0x67, Free), upper);
        c->R[0] = (uint)selector;
        _board.Expect(vector, (uint)selector);
    }

    /// <summary>SDM 2, LAR, LSL, VERR, VERW: ZF and the destination, which stays when the selector cannot be used.</summary>
    [Theory]
    [InlineData("0f02c8", 0xc0f3, 3, 3, 0xc0f300u)] // lar ecx, eax
    [InlineData("660f02c8", 0xc0f3, 3, 3, 0xf300u)]
    [InlineData("0f02c8", 0xc093, 0, 3, 0u)]
    [InlineData("0f02c8", 0xc093, 3, 0, 0u)]
    [InlineData("0f02c8", 0xc09f, 3, 3, 0xc09f00u)]
    [InlineData("0f02c8", 0x008c, 0, 0, 0x8c00u)]
    [InlineData("0f02c8", 0x0085, 0, 0, 0x8500u)]
    [InlineData("0f02c8", 0x0081, 0, 0, 0x8100u)]
    [InlineData("0f02c8", 0x008e, 0, 0, 0u)]
    [InlineData("0f02c8", 0x0080, 0, 0, 0u)]
    [InlineData("0f02c8", 0x0013, 0, 0, 0x1300u)] // presence does not matter
    [InlineData("0f03c8", 0x4093, 0, 0, 0x123u)] // lsl ecx, eax
    [InlineData("0f03c8", 0xc093, 0, 0, 0x123fffu)]
    [InlineData("660f03c8", 0xc093, 0, 0, 0x3fffu)]
    [InlineData("0f03c8", 0x0089, 0, 0, 0x123u)]
    [InlineData("0f03c8", 0x0082, 0, 0, 0x123u)]
    [InlineData("0f03c8", 0x008c, 0, 0, 0u)]
    [InlineData("0f03c8", 0x0085, 0, 0, 0u)]
    [InlineData("0f00e0", 0xc0f1, 3, 3, 1u)] // verr ax
    [InlineData("0f00e0", 0xc0f9, 3, 3, 0u)]
    [InlineData("0f00e0", 0xc0fb, 3, 3, 1u)]
    [InlineData("0f00e0", 0xc09f, 3, 3, 1u)]
    [InlineData("0f00e0", 0xc091, 0, 3, 0u)]
    [InlineData("0f00e0", 0x0089, 0, 0, 0u)]
    [InlineData("0f00e8", 0xc0f3, 3, 3, 1u)] // verw ax
    [InlineData("0f00e8", 0xc0f1, 3, 3, 0u)]
    [InlineData("0f00e8", 0xc0fb, 3, 3, 0u)]
    [InlineData("0f00e8", 0xc093, 0, 3, 0u)]
    public void Inspection(string code, int access, int rpl, int cpl, uint result)
    {
        var c = _board.Enter(CodeMode.Prot32, code, cpl);
        _board.SetDescriptor(Own, Descriptor((uint)access, 0x123));
        c->R[0] = Own | (uint)rpl;
        c->R[1] = 0x5555;
        var trap = _board.Run();
        Assert.Equal(-1, trap.Vector);
        var flags = cpl == 0 ? Flags.Get(c) : (uint)trap.Flags;
        Assert.Equal(result != 0, (flags & Flags.Zf) != 0);
        if (!code.Contains("0f00", StringComparison.Ordinal)) Assert.Equal(result != 0 ? result & ~0xf0000ul | (code.Contains("03c8", StringComparison.Ordinal) ? result & 0xf0000 : 0) : 0x5555, c->R[1]);
        Assert.Equal((uint)access & 0xff, _board.AccessByte(Own));
    }

    /// <summary>These instructions exist in protected mode only.</summary>
    [Theory]
    [InlineData("0f00c0")] // sldt
    [InlineData("0f00c8")] // str
    [InlineData("0f00d0")] // lldt
    [InlineData("0f00d8")] // ltr
    [InlineData("0f00e0")] // verr
    [InlineData("0f00e8")] // verw
    [InlineData("0f02c8")] // lar
    [InlineData("0f03c8")] // lsl
    [InlineData("63c8")] // arpl
    public void ProtectedOnly(string code)
    {
        foreach (var mode in new[] { CodeMode.Real, CodeMode.V86 })
        {
            _board.Enter(mode, code);
            _board.Expect(Ud);
        }
    }

    /// <summary>16-bit code goes on beyond 64 KiB where its segment does: what cuts IP is a branch of 16 bits. With the limit at 64 KiB it faults.</summary>
    [Theory]
    [InlineData(0xf_fffful, 0x1_fffeu, -1)]
    [InlineData(0xf_fffful, 0xfffeu, -1)]
    [InlineData(0xfffful, 0xfffeu, Gp)]
    public void SixteenBitCode_IsNotCutAt64KiB(ulong limit, uint ip, int vector)
    {
        foreach (var mode in new[] { CodeMode.Real, CodeMode.Prot16 })
        {
            var c = _board.Enter(mode, "");
            c->Seg[Segment.Cs].Limit = (uint)limit;
            c->Seg[Segment.Cs].Base = 0x10_0000;
            c->Rip = ip;
            _board.Poke(0x10_0000 + ip, "40 40 40 eb01 f4 40 f4"); // inc ax three times; jmp over hlt; inc ax
            c->R[0] = 0;
            if (vector >= 0)
            {
                Assert.Equal(vector, _board.Run().Vector);
                Assert.Equal(2ul, c->R[0]);
                continue;
            }

            // The short jump's target has 16 bits.
            _board.Poke(0x10_0000 + ((ip + 6) & 0xffff), "40 f4");
            Assert.Equal(-1, _board.Run().Vector);
            Assert.Equal((4ul, (ip + 8) & 0xffff), (c->R[0], (uint)c->Rip));
        }
    }

    /// <summary>Code that runs beyond the limit of CS, in one piece or by a branch (SDM 3, 5.3).</summary>
    [Theory]
    [InlineData("909090", 2, 2u)]
    [InlineData("90b878563412", 4, 1u)]
    [InlineData("eb10", 5, 0u)]
    [InlineData("e810000000", 8, 0u)]
    [InlineData("68100000 00c3", 7, 5u)]
    [InlineData("b810000000ffe0", 8, 5u)]
    [InlineData("31c07410", 8, 2u)]
    public void CodeLimit(string code, int bytes, uint offset)
    {
        var c = _board.Enter(CodeMode.Prot32, code);
        c->Seg[Segment.Cs].Limit = Code + (uint)bytes - 1;
        // The targets lie behind: taken relative to the code.
        c->Seg[Segment.Cs].Base = 0;
        if (code.Contains("b810", StringComparison.Ordinal)) _board.Poke(Code, $"b8{L(Code + 16)}ffe0");
        if (code.StartsWith("68", StringComparison.Ordinal)) _board.Poke(Code, $"68{L(Code + 16)}c3");
        _board.Expect(Gp, 0, offset);
    }

    /// <summary>SDM 2, ARPL: sets ZF when it raised the RPL.</summary>
    [Theory]
    [InlineData(0x80, 3, 0x83, true)]
    [InlineData(0x83, 1, 0x83, false)]
    [InlineData(0x81, 1, 0x81, false)]
    public void Arpl(int selector, int other, int result, bool zero)
    {
        var c = _board.Enter(CodeMode.Prot32, "63c8");
        c->R[0] = (uint)selector;
        c->R[1] = (uint)other;
        _board.Expect(-1);
        Assert.Equal((ulong)result, c->R[0]);
        Assert.Equal(zero, Flags.GetZf(c));
    }

    /// <summary>SDM 3, 20.1.1: in real mode only the base changes, so limits of a time in protected mode stay.</summary>
    [Fact]
    public void UnrealMode_KeepsItsLimit()
    {
        var c = _board.Enter(CodeMode.Real, "b80040 8ed8 66678b1d00001000"); // mov ax, 0x4000; mov ds, ax; mov ebx, [0x100000]
        c->Seg[Segment.Ds].Limit = uint.MaxValue;
        c->Seg[Segment.Ds].Access = 0xc093;
        _board.Write(0x140000, 0x1234567);
        _board.Expect(-1);
        Assert.Equal(0x1234567ul, c->R[3]);
    }

    /// <summary>SDM 3, 20.1.1 and table 20-1: accesses beyond 64 KiB raise #GP, of the stack #SS, without error codes.</summary>
    [Theory]
    [InlineData("a1ffff", Gp)]
    [InlineData("36a1ffff", SsFault)]
    [InlineData("a1feff", -1)]
    [InlineData("67a100000100", Gp)]
    public void RealModeLimits(string code, int vector)
    {
        _board.Enter(CodeMode.Real, code);
        _board.Expect(vector);
    }
}
