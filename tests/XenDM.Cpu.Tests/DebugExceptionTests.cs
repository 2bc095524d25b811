using System;
using System.Runtime.InteropServices;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>
/// Debug exceptions, and what of the system's instructions faults, in 64-bit mode (SDM 3, 6.8.3 and 18.2). Every vector has a handler that
/// halts; a test looks at what is on its stack and lets it return.
/// </summary>
public sealed unsafe class DebugExceptionTests : IDisposable
{
    private const uint Code = 0x10000;
    private const uint Idt = 0x6000;
    private const uint Gdt = 0x7000;
    private const uint Handlers = 0x20000;
    private const uint StackTop = 0x30000;
    private const uint Data = 0x31000;
    private const int Db = 1;
    private const int Bp = 3;
    private const int Ud = 6;
    private const int Gp = 13;
    private const ulong Clear = 0xffff_0ff0;
    private const ulong SingleStep = 0x4000;
    private const uint Tf = 0x100;
    private const uint If = 0x200;
    private const uint Rf = 0x10000;

    private TestMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    private CpuState* Enter(ReadOnlySpan<byte> code)
    {
        _machine.EnterLongMode(Code);
        code.CopyTo(_machine.At(Code, code.Length));
        MemoryMarshal.Write(_machine.At(Gdt + 8, 8), 0x00af9b000000fffful);
        MemoryMarshal.Write(_machine.At(Gdt + 16, 8), 0x00cf93000000fffful);
        for (var vector = 0u; vector < 256; vector++)
        {
            var handler = Handlers + (vector * 8);
            MemoryMarshal.Write(_machine.At(Idt + (vector * 16), 8), 0x8e00_0008_0000ul | (handler & 0xffff) | ((ulong)(handler >> 16) << 48) | (8ul << 16));
            ReadOnlySpan<byte> body = [0xf4, 0x48, 0xcf]; // hlt; iretq
            body.CopyTo(_machine.At(handler, 3));
        }

        var c = _machine.C;
        (c->IdtBase, c->IdtLimit, c->GdtBase, c->GdtLimit) = (Idt, 0xfff, Gdt, 0x1f);
        c->R[4] = StackTop;
        c->R[0] = 16;
        _machine.Cpu.Refresh();
        return c;
    }

    private int Run(out ulong rip)
    {
        _machine.Cpu.Wake();
        var result = RunResult.Slice;
        for (var turn = 0; turn < 20 && result == RunResult.Slice; turn++) result = _machine.Cpu.Run(1000);
        Assert.Equal(RunResult.Halted, result);
        var c = _machine.C;
        rip = 0;
        if (c->Rip < Handlers) return -1;
        var vector = (int)((c->Rip - Handlers) / 8);
        var error = vector is 8 or (>= 10 and <= 14);
        rip = MemoryMarshal.Read<ulong>(_machine.At(c->R[4] + (error ? 8ul : 0), 8)) - Code;
        return vector;
    }

    private void Expect(int vector, ulong offset)
    {
        Assert.Equal(vector, Run(out var rip));
        Assert.Equal(offset, rip);
    }

    private void ExpectDebug(ulong offset, ulong dr6)
    {
        Expect(Db, offset);
        Assert.Equal(Clear | dr6, _machine.C->Dr[6]);
        _machine.C->Dr[6] = Clear;
    }

    private void Watch(int register, ulong address, uint kind)
    {
        var c = _machine.C;
        c->Dr[register] = address;
        c->Dr[7] |= (2u << (register * 2)) | (kind << (16 + (register * 4)));
        _machine.Cpu.Refresh();
    }

    [Fact]
    public void SingleStep_TrapsBehindEveryInstruction()
    {
        var c = Enter([0x90, 0x90, 0xf4]);
        c->Eflags |= Tf;
        ExpectDebug(1, SingleStep);
        ExpectDebug(2, SingleStep);
    }

    /// <summary>Xen's prefix of forced emulation makes one step of itself and the instruction behind it; that one's fault points behind the prefix.</summary>
    [Fact]
    public void ForcedEmulation_IsOneStepWithItsInstruction()
    {
        ReadOnlySpan<byte> code = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x90, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0x0b]; // prefix; nop; prefix; ud2
        var c = Enter(code);
        Expect(Ud, 0);

        _machine.Dispose();
        _machine = new TestMachine(forcesEmulation: true);
        c = Enter(code);
        c->Eflags |= Tf;
        ExpectDebug(6, SingleStep);
        c->Eflags &= ~Tf;
        MemoryMarshal.Write(_machine.At(c->R[4] + 16, 8), MemoryMarshal.Read<ulong>(_machine.At(c->R[4] + 16, 8)) & ~(ulong)Tf);
        Expect(Ud, 11);
    }

    /// <summary>The prefix is known across the border of two pages, and where a block of code ends in it.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void ForcedEmulation_MayCrossPages(int before)
    {
        _machine.Dispose();
        _machine = new TestMachine(forcesEmulation: true);
        var c = Enter([]);
        ReadOnlySpan<byte> code = [0x90, 0x0f, 0x0b, 0x78, 0x65, 0x6e, 0xb0, 0x55, 0xf4]; // nop; prefix; mov al, 0x55; hlt
        var start = 0x1000 - before - 1;
        code.CopyTo(_machine.At((ulong)(Code + start), code.Length));
        c->Rip += (ulong)start;
        Assert.Equal(-1, Run(out _));
        Assert.Equal(0x55ul, c->R[0] & 0xff);
    }

    /// <summary>Each repetition of a string instruction is a step.</summary>
    [Fact]
    public void SingleStep_TrapsBehindEveryRepetition()
    {
        var c = Enter([0xf3, 0xaa, 0x90]); // rep stosb; nop
        (c->R[1], c->R[7]) = (3, Data);
        c->Eflags |= Tf;
        ExpectDebug(0, SingleStep);
        Assert.Equal(2ul, c->R[1]);
        ExpectDebug(0, SingleStep);
        ExpectDebug(2, SingleStep);
        Assert.Equal((0ul, Data + 3ul), (c->R[1], c->R[7]));
    }

    /// <summary>The trap of a data breakpoint comes behind the repetition that hit it.</summary>
    [Fact]
    public void DataBreakpoint_TrapsBehindTheRepetitionThatHitsIt()
    {
        var c = Enter([0xf3, 0xaa, 0x90]); // rep stosb; nop
        (c->R[1], c->R[7]) = (8, Data);
        Watch(0, Data + 2, 1);
        ExpectDebug(0, 1);
        Assert.Equal((5ul, Data + 3ul), (c->R[1], c->R[7]));
    }

    [Fact]
    public void SingleStep_WaitsForTheInstructionBehindALoadOfSs()
    {
        var c = Enter([0x8e, 0xd0, 0x90, 0x90]); // mov ss, ax; nop; nop
        c->Eflags |= Tf;
        ExpectDebug(3, SingleStep);
        ExpectDebug(4, SingleStep);
    }

    [Fact]
    public void SingleStep_EndsAHalt()
    {
        var c = Enter([0xf4, 0x90]);
        c->Eflags |= Tf;
        ExpectDebug(1, SingleStep);
    }

    [Fact]
    public void SingleStep_DoesNotTrapBehindAnInterruptInstruction()
    {
        var c = Enter([0xcc, 0x90]);
        c->Eflags |= Tf;
        Expect(Bp, 1);
        Assert.Equal(Clear, c->Dr[6]);
        ExpectDebug(2, SingleStep);
    }

    [Fact]
    public void DataBreakpoint_OfALoadOfSsWaits()
    {
        Enter([0x8e, 0x14, 0x25, 0x00, 0x10, 0x03, 0x00, 0x90, 0x90]); // mov ss, [Data]; nop; nop
        _machine.At(Data, 1)[0] = 16;
        Watch(1, Data, 3);
        ExpectDebug(8, 2);
    }

    [Fact]
    public void DataBreakpoint_OfALoadOfSsComesOnTopOfAnInterruptInstruction()
    {
        Enter([0x8e, 0x14, 0x25, 0x00, 0x10, 0x03, 0x00, 0xcc]);
        _machine.At(Data, 1)[0] = 16;
        Watch(1, Data, 3);
        ExpectDebug(Handlers - Code + (Bp * 8), 2);
        Expect(Bp, 8);
    }

    [Fact]
    public void DataBreakpoint_OfALoadOfSsIsOneWithThatOfInt1()
    {
        Enter([0x8e, 0x14, 0x25, 0x00, 0x10, 0x03, 0x00, 0xf1, 0xf4]);
        _machine.At(Data, 1)[0] = 16;
        Watch(1, Data, 3);
        ExpectDebug(8, 2);
        Assert.Equal(-1, Run(out _));
    }

    [Fact]
    public void Dr6_TellsOnlyTheLastBreakpointButKeepsTheRest()
    {
        var c = Enter([0x90, 0x90]);
        c->Dr[6] = Clear | SingleStep | 2;
        Watch(2, Code + 1, 0);
        ExpectDebug(1, SingleStep | 4);
    }

    [Fact]
    public void ResumeFlag_IsGoneAfterOneInstruction()
    {
        // iretq to itself with RF; then breakpoints are switched on and the next one hits.
        var c = Enter([0x48, 0xcf, 0x90, 0x0f, 0x23, 0xf8, 0x90]); // iretq; nop; mov dr7, rax; nop
        c->Dr[0] = Code + 6;
        c->R[0] = 0x402;
        ulong[] frame = [Code + 2, 8, Rf | 2, StackTop, 16];
        c->R[4] = StackTop - 40;
        for (var i = 0; i < frame.Length; i++) MemoryMarshal.Write(_machine.At(StackTop - 40 + (uint)(8 * i), 8), frame[i]);
        ExpectDebug(6, 1);
    }

    [Fact]
    public void GeneralDetection_EndsWhenItsExceptionBegins()
    {
        var c = Enter([0x90, 0x0f, 0x21, 0xf3, 0x90, 0xf4]); // nop; mov rbx, dr6
        c->Dr[7] |= 0x2000;
        ExpectDebug(1, 0x2000);
        Assert.Equal(0x400ul, c->Dr[7]);
        Assert.Equal(-1, Run(out _));
    }

    [Fact]
    public void PortBreakpoint_TrapsWithDebugExtensions()
    {
        var c = Enter([0xe4, 0x61, 0xe4, 0x60, 0x90]); // in al, 0x61; in al, 0x60
        c->Cr4 |= 8;
        Watch(3, 0x60, 2);
        ExpectDebug(4, 8);
    }

    [Fact]
    public void Sysret_TrapsBeforeTheFirstInstruction()
    {
        var c = Enter([0x48, 0x0f, 0x07, 0x90, 0x90]); // sysretq
        c->Efer |= 1;
        c->Star = 0x20ul << 48;
        c->R[1] = Code + 3;
        c->R[11] = Tf | 2;
        c->Seg[Segment.Tr] = new Segment { Base = 0x8000, Limit = 0x67, Access = 0x8b };
        MemoryMarshal.Write(_machine.At(0x8004, 8), (ulong)StackTop);
        ExpectDebug(3, SingleStep);
    }

    [Theory]
    [InlineData(Tf, 0x40ul)]
    [InlineData(0u, 0ul)]
    public void Syscall_TrapsOnlyWithTheFlagStillSet(uint mask, ulong firstTrap)
    {
        var c = Enter([0x0f, 0x05]);
        new byte[] { 0x90, 0xcc }.CopyTo(_machine.At(Code + 0x40, 2));
        c->Efer |= 1;
        c->Star = 8ul << 32;
        c->Lstar = Code + 0x40;
        c->Fmask = mask;
        c->Eflags |= Tf;
        if (mask != 0) Expect(Bp, firstTrap + 2);
        else ExpectDebug(0x40, SingleStep);
    }

    /// <summary>An interrupt that waits comes after the instruction behind STI, also when CLI follows that.</summary>
    [Fact]
    public void Sti_LetsAWaitingInterruptInBeforeCli()
    {
        Enter([0xfb, 0x90, 0xfa, 0xf4]);
        _machine.Interrupt = 0x40;
        _machine.Cpu.SetInterrupt(true);
        Expect(0x40, 2);
    }

    [Fact]
    public void Clac_NeedsTheFeatureButNotItsUse()
    {
        var c = Enter([0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca, 0xf4]); // stac; clac
        Assert.Equal(0ul, c->Cr4 & (1 << 21));
        Assert.Equal(-1, Run(out _));
    }

    /// <summary>SDM 2, INVPCID: without CR4.PCIDE only context 0 can be named.</summary>
    [Theory]
    [InlineData(0, 0ul, -1)]
    [InlineData(1, 1ul, Gp)]
    [InlineData(2, 1ul, -1)]
    [InlineData(3, 0x1000ul, Gp)]
    [InlineData(4, 0ul, Gp)]
    public void Invpcid_ChecksItsDescriptor(int type, ulong context, int vector)
    {
        var c = Enter([0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0x00, 0x10, 0x03, 0x00, 0xf4]); // invpcid rax, [Data]
        c->R[0] = (ulong)type;
        MemoryMarshal.Write(_machine.At(Data, 8), context);
        Assert.Equal(vector, Run(out _));
    }

    /// <summary>A base that is not canonical cannot come into LDTR or TR.</summary>
    [Theory]
    [InlineData(0xd0, 0x00008200u, 0x00007fffu, -1)]
    [InlineData(0xd0, 0x00008200u, 0x00008000u, Gp)]
    [InlineData(0xd8, 0x00008900u, 0x00007fffu, -1)]
    [InlineData(0xd8, 0x00008900u, 0xaaaaaaaau, Gp)]
    public void TableRegisters_TakeCanonicalBases(int modRm, uint access, uint upper, int vector)
    {
        var c = Enter([0x0f, 0x00, (byte)modRm, 0xf4]); // lldt ax, ltr ax
        c->R[0] = 16;
        MemoryMarshal.Write(_machine.At(Gdt + 16, 8), ((ulong)access << 32) | 0x67);
        MemoryMarshal.Write(_machine.At(Gdt + 24, 8), (ulong)upper);
        Assert.Equal(vector, Run(out _));
        if (vector < 0) return;
        Assert.Equal(access, MemoryMarshal.Read<uint>(_machine.At(Gdt + 20, 4)));
    }

    /// <summary>A return to an outer level takes the RPL from null selectors; FS keeps its base.</summary>
    [Fact]
    public void Iret_ClearsNullSelectors()
    {
        var c = Enter([0x48, 0xcf, 0xf4]); // iretq; hlt, which faults in user mode
        MemoryMarshal.Write(_machine.At(Gdt + 16, 8), 0x00cff3000000fffful);
        MemoryMarshal.Write(_machine.At(Gdt + 24, 8), 0x00affb000000fffful);
        c->Seg[Segment.Tr] = new Segment { Base = 0x8000, Limit = 0x67, Access = 0x8b };
        MemoryMarshal.Write(_machine.At(0x8004, 8), (ulong)StackTop);
        ulong[] frame = [Code + 2, 24 | 3, 2, StackTop - 0x100, 16 | 3];
        c->R[4] = StackTop - 0x200;
        for (var i = 0; i < frame.Length; i++) MemoryMarshal.Write(_machine.At(StackTop - 0x200 + (uint)(8 * i), 8), frame[i]);
        for (var s = 0; s < 6; s++)
            if (s is not (Segment.Cs or Segment.Ss)) c->Seg[s] = new Segment { Selector = 3, Base = 0x1234 };
        _machine.Cpu.Refresh();
        Expect(Gp, 2);
        Assert.Equal(0, c->Seg[Segment.Ds].Selector);
        Assert.Equal(0, c->Seg[Segment.Es].Selector);
        Assert.Equal(0, c->Seg[Segment.Fs].Selector);
        Assert.Equal(0x1234ul, c->Seg[Segment.Fs].Base);
    }

    [Fact]
    public void SysenterRegisters_StayWhenAWriteFaults()
    {
        var c = Enter([0x0f, 0x30, 0xf4]); // wrmsr
        c->SysenterEip = 0x1234;
        c->R[1] = 0x176;
        c->R[2] = 0x8000;
        Assert.Equal(Gp, Run(out _));
        Assert.Equal(0x1234ul, c->SysenterEip);
    }
}
