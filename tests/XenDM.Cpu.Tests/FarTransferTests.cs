using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Far JMP, CALL, RET and IRET (SDM 3, 5.8 and 6.12.1; SDM 2).</summary>
public sealed unsafe class FarTransferTests : IDisposable
{
    private const int Ts = 10, Np = 11, SsFault = 12, Gp = 13;
    private const uint Vm = 0x20000, Nt = 0x4000, If = 0x200, Iopl3 = 0x3000;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    /// <summary>Where the code went on: at CPL 0 it halted there, above it raised #GP for that.</summary>
    private (ulong Ip, uint Cs, Trap Trap) Run()
    {
        var trap = _board.Run();
        if (trap.Vector == Gp && trap.Error == 0 && trap.Ip is >= Free and < Free + 0x1000) return (trap.Ip, trap.Cs, trap with { Vector = -1 });
        return trap.Vector != -1 ? (trap.Ip, trap.Cs, trap) : (_board.C->Rip - 1, _board.C->Seg[Segment.Cs].Selector, trap);
    }

    private void Expect(int vector, uint error, uint target, uint selector)
    {
        var (ip, cs, trap) = Run();
        Assert.Equal((vector, vector < 0 ? 0 : error), (trap.Vector, vector < 0 ? 0 : trap.Error));
        Assert.Equal(vector < 0 ? target : _board.Start, ip);
        if (vector < 0) Assert.Equal(selector, cs);
    }

    private void Image(uint at, int size, params ulong[] values)
    {
        for (var n = 0; n < values.Length; n++) _board.Write(at + (uint)(n * size), values[n], size);
        _board.C->R[4] = at;
    }

    private ulong[] Frame(uint at, int size, int count)
    {
        var values = new ulong[count];
        for (var n = 0; n < count; n++) values[n] = _board.Read(at + (uint)(n * size), size);
        return values;
    }

    private static string Far(bool call, uint selector, uint offset = Free) => $"{(call ? "9a" : "ea")}{L(offset)}{W(selector)}";

    /// <summary>SDM 3, 5.8.1: nonconforming code at CPL only, conforming code also from less privilege; CPL stays.</summary>
    [Theory]
    [InlineData(0xc09a, 0, 0, -1)]
    [InlineData(0xc09a, 1, 0, Gp)]
    [InlineData(0xc0fa, 0, 0, Gp)]
    [InlineData(0xc0fa, 3, 0, Gp)]
    [InlineData(0xc0fa, 3, 3, -1)]
    [InlineData(0xc0fa, 0, 3, -1)]
    [InlineData(0xc09a, 3, 3, Gp)]
    [InlineData(0xc09e, 3, 3, -1)]
    [InlineData(0xc09e, 3, 0, -1)]
    [InlineData(0xc09c, 0, 3, -1)]
    [InlineData(0xc0be, 1, 1, -1)]
    [InlineData(0xc0fe, 3, 0, Gp)]
    [InlineData(0xc01a, 0, 0, Np)]
    [InlineData(0xc01e, 3, 3, Np)]
    [InlineData(0xc07a, 0, 0, Gp)]
    [InlineData(0xc092, 0, 0, Gp)]
    [InlineData(0x0082, 0, 0, Gp)]
    [InlineData(0x008e, 0, 0, Gp)]
    [InlineData(0x0080, 0, 0, Gp)]
    public void Direct(int access, int rpl, int cpl, int vector)
    {
        foreach (var mode in new[] { CodeMode.Prot32, CodeMode.Compat })
        {
            foreach (var call in new[] { false, true })
            {
                _board.Enter(mode, Far(call, Own | (uint)rpl), cpl);
                _board.Poke(Free, "f4");
                _board.SetDescriptor(Own, Descriptor((uint)access));
                Expect(vector, Own, Free, Own | (uint)cpl);
                Assert.Equal((uint)access & 0xff | (vector < 0 ? 1u : 0), _board.AccessByte(Own));
                if (vector < 0 && call) Assert.Equal([Code + 7, cpl switch { 0 => Code0, 1 => Code1, _ => Code3 }], Frame(Stack - 8, 4, 2));
            }
        }
    }

    /// <summary>#GP(0) for null selectors and for targets beyond the limit; L with D is reserved in long mode; task states are not for it.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, 0, 0xc09a, Free, 0)]
    [InlineData(CodeMode.Prot32, 3, 0xc09a, Free, 0)]
    [InlineData(CodeMode.Prot32, Own, 0x409a, 0x100000u, 0)]
    [InlineData(CodeMode.Prot32, 0x1000, 0xc09a, Free, 0x1000)]
    [InlineData(CodeMode.Prot32, 0x86, 0x0000, Free, 0x84)]
    [InlineData(CodeMode.Compat, Own, 0xe09a, Free, Own)]
    [InlineData(CodeMode.Compat, Own, 0x0089, Free, Own)]
    [InlineData(CodeMode.Compat, Own, 0x0085, Free, Own)]
    [InlineData(CodeMode.Compat, Own, 0x0084, Free, Own)]
    internal void DirectRefused(CodeMode mode, int selector, int access, uint offset, int error)
    {
        _board.Enter(mode, Far(true, (uint)selector, offset));
        _board.SetDescriptor(Own, Descriptor((uint)access));
        Expect(Gp, (uint)error, 0, 0);
        Assert.Equal(Stack, (uint)_board.C->R[4] + (mode == CodeMode.Compat ? 48u : 16));
    }

    /// <summary>Code of another kind: 16-bit, from compatibility mode to 64-bit mode and back.</summary>
    [Theory]
    [InlineData(CodeMode.Prot32, Code16, "b83412 f4", 0x1234ul)] // mov ax, imm16
    [InlineData(CodeMode.Compat, Code64, "48b8efcdab8967452301 f4", 0x0123456789abcdeful)]
    [InlineData(CodeMode.Compat, Code16, "b83412 f4", 0x1234ul)]
    internal void DirectToOtherCode(CodeMode mode, int selector, string code, ulong rax)
    {
        _board.Enter(mode, Far(false, (uint)selector));
        _board.C->R[0] = 0;
        _board.Poke(Free, code);
        Assert.Equal(-1, Run().Trap.Vector);
        Assert.Equal(rax, _board.C->R[0]);
    }

    [Theory]
    [InlineData("ff2c2500100300", 4, 0)] // jmp far [Data]
    [InlineData("48ff2c2500100300", 8, 0)]
    [InlineData("66ff2c2500100300", 2, 0)]
    [InlineData("ff1c2500100300", 4, 4)] // call far
    [InlineData("48ff1c2500100300", 8, 8)]
    public void IndirectIn64BitMode(string code, int size, int pushed)
    {
        _board.Enter(CodeMode.Long, code);
        var target = size == 2 ? 0x4000u : Free;
        _board.Poke(target, "48b8efcdab8967452301 f4");
        _board.Write(Data, target, size);
        _board.Write(Data + (uint)size, Code64, 2);
        Assert.Equal(target + 10, Run().Ip);
        Assert.Equal(0x0123456789abcdeful, _board.C->R[0]);
        if (pushed != 0) Assert.Equal([Code + (uint)code.Length / 2, Code64], Frame(Stack - (2 * (uint)pushed), pushed, 2));
    }

    /// <summary>SDM 3, 5.8.3 and table 5-1: who may use a call gate, and what it may lead to.</summary>
    [Theory]
    [InlineData(true, 0x8c, 0, 0, 0xc09a, -1, 0)]
    [InlineData(false, 0x8c, 0, 0, 0xc09a, -1, 0)]
    [InlineData(true, 0x8c, 0, 3, 0xc09a, Gp, Own)]
    [InlineData(true, 0xac, 2, 0, 0xc09a, Gp, Own)]
    [InlineData(true, 0xec, 3, 3, 0xc09a, -1, 0)]
    [InlineData(true, 0xec, 0, 3, 0xc09a, -1, 0)]
    [InlineData(false, 0xec, 3, 3, 0xc09a, Gp, Own2)]
    [InlineData(false, 0xec, 3, 3, 0xc09e, -1, 0)]
    [InlineData(true, 0xec, 3, 3, 0xc09e, -1, 0)]
    [InlineData(true, 0xec, 3, 3, 0xc0fa, -1, 0)]
    [InlineData(true, 0xec, 3, 3, 0xc0ba, -1, 0)]
    [InlineData(true, 0xec, 3, 0, 0xc0fa, Gp, Own2)]
    [InlineData(true, 0xec, 3, 1, 0xc0fe, Gp, Own2)]
    [InlineData(true, 0x6c, 3, 3, 0xc09a, Np, Own)]
    [InlineData(true, 0x0c, 0, 3, 0xc09a, Gp, Own)]
    [InlineData(true, 0xec, 3, 3, 0xc01a, Np, Own2)]
    [InlineData(true, 0xec, 3, 3, 0xc092, Gp, Own2)]
    [InlineData(true, 0xec, 3, 3, 0x0089, Gp, Own2)]
    [InlineData(true, 0xee, 3, 3, 0xc09a, Gp, Own)]
    [InlineData(true, 0xef, 3, 3, 0xc09a, Gp, Own)]
    [InlineData(true, 0xec, 3, 3, 0x409a, Gp, 0)]
    public void CallGates(bool call, int gate, int rpl, int cpl, int access, int vector, int error)
    {
        _board.Enter(CodeMode.Prot32, Far(call, Own | (uint)rpl, 0xdddd_dddd), cpl);
        _board.Poke(Free, "f4");
        _board.SetDescriptor(Own, Gate(Own2 | 3, Free, (uint)gate));
        _board.SetDescriptor(Own2, Descriptor((uint)access, access == 0x409a ? 0x100 : 0xfffffu));
        var dpl = (access >> 5) & 3;
        var to = call && (access & 4) == 0 ? dpl : cpl;
        Expect(vector, (uint)error, Free, Own2 | (uint)to);
    }

    [Theory]
    [InlineData(0, Gp, 0)]
    [InlineData(0x1000, Gp, 0x1000)]
    [InlineData(0x84, Gp, 0x84)]
    public void CallGates_ToNothing(int selector, int vector, int error)
    {
        _board.Enter(CodeMode.Prot32, Far(true, Own));
        _board.SetDescriptor(Own, Gate((uint)selector, Free, 0x8c));
        Expect(vector, (uint)error, 0, 0);
    }

    /// <summary>SDM 3, 5.8.5: the stack of the inner level gets SS, ESP, the parameters, CS and EIP; RET n takes them from both stacks.</summary>
    [Theory]
    [InlineData(0xec, 4, 3)]
    [InlineData(0xec, 4, 0)]
    [InlineData(0xe4, 2, 5)]
    [InlineData(0xec, 4, 31)]
    public void CallGates_CopyParameters(int gate, int size, int count)
    {
        var c = _board.Enter(CodeMode.Prot32, Far(true, Own) + "f4", 3);
        var target = size == 2 ? 0x4000u : Free;
        _board.Poke(target, size == 4 ? $"f4ca{W((uint)(count * size))}" : $"f466ca{W((uint)(count * size))}");
        _board.SetDescriptor(Own, Gate(Code0, target, (uint)gate, (uint)count));
        c->R[4] = Stack - (uint)(count * size);
        for (var n = 0; n < count; n++) _board.Write(c->R[4] + (ulong)(n * size), (ulong)n + 0x1234, size);
        if (size == 2) _board.Load(Segment.Cs, Code3);
        Assert.Equal(target, _board.Run().Vector == -1 ? (uint)c->Rip - 1 : 0);
        Assert.Equal((0, (uint)Code0, (uint)Data0), (c->Cpl, c->Seg[Segment.Cs].Selector, c->Seg[Segment.Ss].Selector));
        var mask = size == 2 ? 0xffffu : uint.MaxValue;
        var frame = Frame((uint)c->R[4], size, count + 4);
        Assert.Equal(Inner - (uint)((count + 4) * size), c->R[4]);
        Assert.Equal([(Code + 7) & mask, Code3, (Stack - (uint)(count * size)) & mask, Data3], [frame[0], frame[1], frame[^2], frame[^1]]);
        for (var n = 0; n < count; n++) Assert.Equal((ulong)n + 0x1234, frame[n + 2]);
        if (size == 2) return; // half of the return address was lost
        var trap = _board.Run();
        Assert.Equal((Gp, Code + 7, (uint)Code3, Stack, (uint)Data3), (trap.Vector, (uint)trap.Ip, trap.Cs, (uint)trap.Sp, trap.Ss));
    }

    /// <summary>SDM 2, CALL: the new stack. From level 3 to 1, because the handlers need that of level 0.</summary>
    [Theory]
    [InlineData(0, 0xc0b2, 0xfffffu, Ts, 0)]
    [InlineData(Own3, 0xc0b2, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 2, 0xc0b2, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc092, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc0b0, 0xfffffu, Ts, Own3)]
    [InlineData(Own3 | 1, 0xc0ba, 0xfffffu, Ts, Own3)]
    [InlineData(0x1001, 0xc0b2, 0xfffffu, Ts, 0x1000)]
    [InlineData(Own3 | 1, 0xc032, 0xfffffu, SsFault, Own3)]
    [InlineData(Own3 | 1, 0x40b2, 0xfffu, SsFault, Own3)]
    [InlineData(Own3 | 1, 0xc0b2, 0xfffffu, -1, 0)]
    public void CallGates_CheckTheNewStack(int selector, int access, uint limit, int vector, int error)
    {
        _board.Enter(CodeMode.Prot32, Far(true, Own), 3);
        _board.Poke(Free, "f4");
        _board.SetDescriptor(Own, Gate(Code1, Free, 0xec));
        _board.SetDescriptor(Own3, Descriptor((uint)access, limit));
        _board.Write(Tss + 16, (uint)selector);
        Expect(vector, (uint)error, Free, Code1);
        if (vector < 0) Assert.Equal((uint)access & 0xff | 1, _board.AccessByte(Own3));
    }

    [Fact]
    public void CallGates_FindTheStackInTheTaskState()
    {
        _board.Enter(CodeMode.Prot32, Far(true, Own), 3);
        _board.SetDescriptor(Own, Gate(Code1, Free, 0xec));
        _board.C->Seg[Segment.Tr].Limit = 0xb; // stack 0 only
        Expect(Ts, TrSelector, 0, 0);
    }

    /// <summary>SDM 3, 5.8.3.1: gates of 16 bytes to 64-bit code; from compatibility mode everything pushed has 64 bits as well.</summary>
    [Theory]
    [InlineData(CodeMode.Compat, 0, 0xa09a, 0xec, 0ul, -1, 0)]
    [InlineData(CodeMode.Compat, 3, 0xa09a, 0xec, 0ul, -1, 0)]
    [InlineData(CodeMode.Long, 3, 0xa09a, 0xec, 0ul, -1, 0)]
    [InlineData(CodeMode.Long, 0, 0xa09a, 0xec, 0ul, -1, 0)]
    [InlineData(CodeMode.Compat, 3, 0xa0fa, 0xec, 0ul, -1, 0)]
    [InlineData(CodeMode.Compat, 3, 0xc09a, 0xec, 0ul, Gp, Own2)]
    [InlineData(CodeMode.Compat, 3, 0xe09a, 0xec, 0ul, Gp, Own2)]
    [InlineData(CodeMode.Compat, 3, 0xa09a, 0xec, 0x8000ul, Gp, 0)]
    [InlineData(CodeMode.Compat, 3, 0xa09a, 0xec, 0x100_0000_0000ul, Gp, Own)]
    [InlineData(CodeMode.Compat, 3, 0xa09a, 0xe4, 0ul, Gp, Own)]
    internal void CallGates_InLongMode(CodeMode mode, int cpl, int access, int gate, ulong upper, int vector, int error)
    {
        var c = _board.Enter(mode, mode == CodeMode.Long ? "ff1c2500100300" : Far(true, Own | 3), cpl);
        var stack = c->Seg[Segment.Ss].Selector;
        var code = c->Seg[Segment.Cs].Selector;
        _board.Write(Data, Free);
        _board.Write(Data + 4, Own | 3, 2);
        _board.Poke(Free, "f4");
        _board.SetDescriptor(Own, Gate(Own2, Free, (uint)gate), upper);
        _board.SetDescriptor(Own2, Descriptor((uint)access));
        var (ip, _, trap) = Run();
        Assert.Equal((vector, (uint)error), (trap.Vector, vector < 0 ? 0 : trap.Error));
        if (vector >= 0) return;
        Assert.Equal(Free, ip);
        var inner = cpl == 3 && access == 0xa09a;
        var frame = Frame(inner ? Inner - 32 : Stack - 16, 8, inner ? 4 : 2);
        Assert.Equal([Code + 7, code], frame[..2]);
        if (!inner) return;
        Assert.Equal([Stack, stack], frame[2..]);
        Assert.Equal(0, c->Seg[Segment.Ss].Selector);
    }

    [Fact]
    public void CallGates_OfLongModeLieWithinTheTable()
    {
        var c = _board.Enter(CodeMode.Compat, Far(true, 0xff8));
        _board.SetDescriptor(0xff8, Gate(Code64, Free, 0x8c));
        Expect(Gp, 0xff8, 0, 0);
        Assert.Equal(0xfffu, c->GdtLimit);
    }

    /// <summary>A fault on the way leaves the stack pointer: the accessed bit of the code segment in a page that cannot be written.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Faults_LeaveTheStack(bool call)
    {
        var c = _board.Enter(CodeMode.Compat, call ? Far(true, 0xff0) : "cb");
        _board.SetDescriptor(0xff0, Descriptor(0xc09a));
        if (!call) Image(Stack - 8, 4, Free, 0xff0);
        var sp = c->R[4];
        // The first 2 MiB in small pages, that of the table read-only.
        for (var n = 0u; n < 512; n++) _board.Write(Free + 0x1000 + (n * 8), (n << 12) | (n == Gdt >> 12 ? 5u : 7u), 8);
        _board.Write(0x3000, (Free + 0x1000) | 7, 8);
        c->Cr0 |= 0x10000;
        var trap = _board.Run();
        Assert.Equal((14, 3u, sp), (trap.Vector, trap.Error, trap.Sp));
    }

    /// <summary>SDM 2, RET: code for the same and for outer levels.</summary>
    [Theory]
    [InlineData(0xc09a, 0, 0, -1, 0)]
    [InlineData(0xc09a, 0, 3, Gp, Own)] // RPL below CPL
    [InlineData(0xc0fa, 0, 0, Gp, Own)]
    [InlineData(0xc09a, 3, 0, Gp, Own)]
    [InlineData(0xc0fa, 3, 0, -1, 0)]
    [InlineData(0xc0fa, 3, 3, -1, 0)]
    [InlineData(0xc09e, 3, 3, -1, 0)]
    [InlineData(0xc09e, 3, 0, -1, 0)]
    [InlineData(0xc0fe, 1, 0, Gp, Own)]
    [InlineData(0xc01a, 0, 0, Np, Own)]
    [InlineData(0xc07a, 3, 0, Np, Own)]
    [InlineData(0xc092, 0, 0, Gp, Own)]
    [InlineData(0x0089, 0, 0, Gp, Own)]
    [InlineData(0x40fa, 3, 0, Gp, 0)]
    [InlineData(0x409a, 0, 0, Gp, 0)]
    public void Return_ChecksTheCode(int access, int rpl, int cpl, int vector, int error)
    {
        foreach (var (code, flags) in new[] { ("cb", false), ("ca0000", false), ("cf", true) })
        {
            _board.Enter(CodeMode.Prot32, code, cpl);
            _board.Poke(Free, "f4");
            _board.SetDescriptor(Own, Descriptor((uint)access, (access & 0x8000) != 0 ? 0xfffffu : 0x100));
            ulong[] image = flags ? [Free, Own | (uint)rpl, 2, Stack, Data3] : [Free, Own | (uint)rpl, Stack, Data3];
            Image(Stack - 0x40, 4, image);
            Expect(vector, (uint)error, Free, Own | (uint)rpl);
        }
    }

    [Theory]
    [InlineData(0, Gp, 0)]
    [InlineData(3, Gp, 0)]
    [InlineData(0x1000, Gp, 0x1000)]
    public void Return_NeedsACodeSelector(int selector, int vector, int error)
    {
        foreach (var code in new[] { "cb", "cf" })
        {
            _board.Enter(CodeMode.Prot32, code);
            Image(Stack - 0x40, 4, Free, (uint)selector, 2);
            Expect(vector, (uint)error, 0, 0);
        }
    }

    /// <summary>SDM 2, RET: the stack of the outer level.</summary>
    [Theory]
    [InlineData(Own2 | 3, 0xc0f2, -1, 0)]
    [InlineData(0, 0xc0f2, Gp, 0)]
    [InlineData(3, 0xc0f2, Gp, 0)]
    [InlineData(Own2, 0xc0f2, Gp, Own2)]
    [InlineData(Own2 | 3, 0xc092, Gp, Own2)]
    [InlineData(Own2 | 3, 0xc0f0, Gp, Own2)]
    [InlineData(Own2 | 3, 0xc0fa, Gp, Own2)]
    [InlineData(Own2 | 3, 0xc072, SsFault, Own2)]
    [InlineData(0x1003, 0xc0f2, Gp, 0x1000)]
    public void Return_ChecksTheStack(int selector, int access, int vector, int error)
    {
        foreach (var (code, flags) in new[] { ("cb", false), ("cf", true) })
        {
            _board.Enter(CodeMode.Prot32, code);
            _board.Poke(Free, "f4");
            _board.SetDescriptor(Own2, Descriptor((uint)access));
            ulong[] image = flags ? [Free, Code3, 2, Stack, (uint)selector] : [Free, Code3, Stack, (uint)selector];
            Image(Stack - 0x40, 4, image);
            Expect(vector, (uint)error, Free, Code3);
            if (vector < 0) Assert.Equal((uint)access & 0xff | 1, _board.AccessByte(Own2));
        }
    }

    /// <summary>SDM 2, RET: data and nonconforming code segments more privileged than the new level become null.</summary>
    [Theory]
    [InlineData(0xc093, true)]
    [InlineData(0xc0b3, true)]
    [InlineData(0xc0f3, false)]
    [InlineData(0xc09b, true)]
    [InlineData(0xc0fb, false)]
    [InlineData(0xc09f, false)]
    public void Return_ClearsSegments(int access, bool cleared)
    {
        foreach (var code in new[] { "cb", "cf" })
        {
            var c = _board.Enter(CodeMode.Prot32, code);
            _board.Poke(Free, "f4");
            _board.SetDescriptor(Own, Descriptor((uint)access));
            foreach (var s in new[] { Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs }) _board.Load(s, Own);
            ulong[] image = code == "cf" ? [Free, Code3, 2, Stack, Data3] : [Free, Code3, Stack, Data3];
            Image(Stack - 0x40, 4, image);
            Assert.Equal(-1, Run().Trap.Vector);
            foreach (var s in new[] { Segment.Ds, Segment.Es, Segment.Fs, Segment.Gs }) Assert.Equal(cleared ? 0 : Own, c->Seg[s].Selector);
        }
    }

    /// <summary>RET n skips parameters on both stacks; a 16-bit one takes 16-bit items.</summary>
    [Theory]
    [InlineData("ca1000", 4, 0)]
    [InlineData("ca1000", 4, 3)]
    [InlineData("66ca1000", 2, 0)]
    [InlineData("66ca1000", 2, 3)]
    public void Return_ReleasesParameters(string code, int size, int rpl)
    {
        _board.Enter(CodeMode.Prot32, code);
        var target = size == 2 ? 0x4000u : Free;
        _board.Poke(target, "f4");
        Image(Stack - 0x40, size, target, rpl == 3 ? Code3 : Code0, 1, 2, 3, 4);
        var at = Stack - 0x40 + (uint)(2 * size) + 0x10;
        var outer = 0x8000u; // fits 16 bits
        _board.Write(at, outer, size);
        _board.Write(at + (uint)size, Data3, size);
        var trap = _board.Run();
        if (rpl == 0) Assert.Equal((-1, at), (trap.Vector, (uint)_board.C->R[4]));
        else Assert.Equal((Gp, target, outer + 0x10), (trap.Vector, (uint)trap.Ip, (uint)trap.Sp));
    }

    /// <summary>A stack of 16 bits: only SP is loaded on the way out (SDM 3, 5.8.6).</summary>
    [Fact]
    public void Return_ToASmallStack()
    {
        var c = _board.Enter(CodeMode.Prot32, "cf");
        _board.Poke(Free, "89e0f4"); // mov eax, esp
        _board.SetDescriptor(Own, Descriptor(0x80f2));
        Image(Stack - 0x40, 4, Free, Code3, 2, 0x12344000, Own | 3);
        var trap = _board.Run();
        Assert.Equal((Gp, (uint)Free + 2, 0x4000u), (trap.Vector, (uint)trap.Ip, (uint)c->R[0] & 0xffff));
    }

    /// <summary>SDM 2, IRET: which flags come back, by CPL and IOPL.</summary>
    [Theory]
    [InlineData("cf", 0, 0u, 0x003f_4fd7u & ~Nt, 0x003e_4ed7u & ~Nt & ~Vm | 0x100)] // all, but VM without a return to V86
    [InlineData("cf", 3, 0u, 0x003c_3ed7u, 0x0024_0cd7u)]
    [InlineData("cf", 3, Iopl3, 0x003c_0ed7u, 0x0024_3ed7u)]
    [InlineData("66cf", 3, Iopl3, 0x0cd7u, 0x3cd7u)]
    public void InterruptReturn_TakesFlags(string code, int cpl, uint before, uint image, uint after)
    {
        var c = _board.Enter(CodeMode.Prot32, code, cpl);
        c->Eflags |= before;
        image &= ~(Vm | 0x10100u);
        after &= ~(Vm | 0x10100u);
        var size = code == "cf" ? 4 : 2;
        var target = size == 2 ? 0x4000u : Free;
        _board.Poke(target, "f4");
        Image(Stack - 0x40, size, target, cpl == 3 ? Code3 : Code0, image);
        var trap = _board.Run();
        Assert.Equal(after | 2, cpl == 3 ? trap.Flags & ~0x10000ul : Flags.Get(c));
    }

    /// <summary>SDM 2, IRET: to V86 with its nine items, at CPL 0 only; EIP must fit 64 KiB.</summary>
    [Fact]
    public void InterruptReturn_ToV86()
    {
        _board.Enter(CodeMode.Prot32, "cf");
        _board.Poke(0x41000, "f4");
        Image(Stack - 0x40, 4, 0x1000, 0xffff_4000, Vm | Iopl3 | If | 0xd7, 0x12348000, 0x3000, 0x1111, 0x2222, 0x3333, 0x4444);
        var trap = _board.Run();
        Assert.Equal((Gp, 0u, 0x1000u, 0x4000u, Vm | Iopl3 | If | 0x100d7u, 0x12348000u, 0x3000u), (trap.Vector, trap.Error, (uint)trap.Ip, trap.Cs, (uint)trap.Flags, (uint)trap.Sp, trap.Ss));
        Assert.Equal([0x1111, 0x2222, 0x3333, 0x4444], Frame(Inner - 16, 4, 4));
        Assert.Equal(0, _board.C->Seg[Segment.Ds].Selector);
        Assert.Equal((uint)0, (uint)_board.C->Eflags & Vm);
    }

    [Fact]
    public void InterruptReturn_ToV86NeedsA16BitAddress()
    {
        _board.Enter(CodeMode.Prot32, "cf");
        Image(Stack - 0x40, 4, 0x10000, 0x4000, Vm, 0x8000, 0x3000, 1, 2, 3, 4);
        Expect(Gp, 0, 0, 0);
    }

    [Fact]
    public void InterruptReturn_WithVmAboveLevel0()
    {
        _board.Enter(CodeMode.Prot32, "cf", 3);
        _board.Poke(Free, "f4");
        Image(Stack - 0x40, 4, Free, Code3, Vm | 2, 0x8000, 0x3000);
        var trap = _board.Run();
        Assert.Equal((Gp, Free, 0u), (trap.Vector, (uint)trap.Ip, (uint)trap.Flags & Vm));
    }

    /// <summary>SDM 3, 6.14.3 and 6.14.4: from 64-bit mode SS:RSP is always popped, whatever the operand size; NT raises #GP.</summary>
    [Theory]
    [InlineData("48cf", 8, Code64, Data0, 0u, -1, 0)]
    [InlineData("cf", 4, Code64, Data0, 0u, -1, 0)]
    [InlineData("66cf", 2, Code64, Data0, 0u, -1, 0)]
    [InlineData("48cf", 8, Code64, 0, 0u, -1, 0)]
    [InlineData("48cf", 8, Code64, 3, 0u, Gp, 0)]
    [InlineData("48cf", 8, User64, Data3, 0u, -1, 0)]
    [InlineData("48cf", 8, User64, 3, 0u, Gp, 0)]
    [InlineData("48cf", 8, User64, Data0, 0u, Gp, Data0)]
    [InlineData("48cf", 8, Code3, Data3, 0u, -1, 0)]
    [InlineData("48cf", 8, Code3, 3, 0u, Gp, 0)]
    [InlineData("48cf", 8, Code0, Data0, 0u, -1, 0)]
    [InlineData("48cf", 8, Code0, 0, 0u, Gp, 0)]
    [InlineData("48cf", 8, Code64, Data0, Nt, Gp, 0)]
    [InlineData("48cb", 8, User64, Data3, 0u, -1, 0)]
    [InlineData("48cb", 8, User64, 3, 0u, Gp, 0)]
    [InlineData("cb", 4, Code3, Data3, 0u, -1, 0)]
    public void InterruptReturn_InLongMode(string code, int size, int cs, int ss, uint flags, int vector, int error)
    {
        var c = _board.Enter(CodeMode.Long, code);
        c->Eflags |= flags;
        var target = size == 2 ? 0x4000u : Free;
        var sp = size == 2 ? 0x8000u : Stack - 0x100;
        _board.Poke(target, "f4");
        ulong[] image = code.EndsWith("cf", StringComparison.Ordinal) ? [target, (uint)cs, 2, sp, (uint)ss] : [target, (uint)cs, sp, (uint)ss];
        Image(Stack - 0x40, size, image);
        var trap = _board.Run();
        if (vector >= 0)
        {
            Assert.Equal((vector, (uint)error, Code), (trap.Vector, trap.Error, (uint)trap.Ip));
            return;
        }

        var (stack, pointer) = (cs & 3) == 3 ? (trap.Ss, trap.Sp) : (c->Seg[Segment.Ss].Selector, c->R[4]);
        Assert.Equal(((uint)ss, sp), (stack, pointer));
        Assert.Equal((cs & 3) == 3 ? (Gp, target) : (-1, target + 1), (trap.Vector, (uint)((cs & 3) == 3 ? trap.Ip : c->Rip)));
    }

    /// <summary>Addresses that are not canonical: SDM 2, RET and IRET.</summary>
    [Theory]
    [InlineData("48cf")]
    [InlineData("48cb")]
    [InlineData("c3")]
    public void Return_NeedsACanonicalAddress(string code)
    {
        _board.Enter(CodeMode.Long, code);
        Image(Stack - 0x40, 8, 0x8000_0000_0000, Code64, 2, Stack, Data0);
        Expect(Gp, 0, 0, 0);
    }

    /// <summary>Real mode: no checks but that of the limit; VIF and VIP stay (SDM 2, IRET).</summary>
    [Theory]
    [InlineData("ea34120040", -1)]
    [InlineData("9a34120040", -1)]
    [InlineData("66ea3412000000400000", -1)]
    [InlineData("66ea3412010000400000", Gp)]
    [InlineData("669a3412010000400000", Gp)]
    public void RealMode(string code, int vector)
    {
        foreach (var mode in new[] { CodeMode.Real, CodeMode.V86 })
        {
            var c = _board.Enter(mode, code);
            _board.Poke(0x41234, "f4");
            var trap = _board.Run();
            if (vector >= 0) Assert.Equal((vector, 0u), (trap.Vector, (uint)trap.Ip));
            else if (mode == CodeMode.V86) Assert.Equal((Gp, 0x1234u, 0x4000u), (trap.Vector, (uint)trap.Ip, trap.Cs));
            else Assert.Equal((-1, 0x1235u, (ushort)0x4000), (trap.Vector, (uint)c->Rip, c->Seg[Segment.Cs].Selector));
        }
    }

    [Fact]
    public void RealMode_InterruptReturn()
    {
        var c = _board.Enter(CodeMode.Real, "66cf");
        _board.Poke(0x41234, "f4");
        for (var n = 0u; n < 3; n++) _board.Write(Stack - 12 + (n * 4), new uint[] { 0x1234, 0x4000, 0x3e_3ed7 & ~0x10100u }[n]);
        c->R[4] -= 12;
        Assert.Equal(-1, _board.Run().Vector);
        Assert.Equal(0x24_3ed7u, Flags.Get(c) & ~0x10000u);
    }
}
