using System;
using System.Runtime.InteropServices;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>What only code with 16-bit addresses shows.</summary>
public sealed unsafe class RealModeTests : IDisposable
{
    private readonly TestMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    private CpuState* Run(ReadOnlySpan<byte> code, Action prepare)
    {
        var c = _machine.C;
        c->Seg[Segment.Cs].Selector = 0x1000;
        c->Seg[Segment.Cs].Base = 0x10000;
        c->Rip = 0;
        code.CopyTo(_machine.At(0x10000, code.Length));
        _machine.At(0x10000 + (ulong)code.Length, 1)[0] = 0xf4;
        prepare();
        _machine.Cpu.Refresh();
        Assert.Equal(RunResult.Halted, _machine.Cpu.Run(100));
        return c;
    }

    /// <summary>BX and AL add up in 16 bits; the upper half of EBX counts for nothing.</summary>
    [Theory]
    [InlineData(0x0000_c000u, 0xc0ef)]
    [InlineData(0x1234_c000u, 0xc0ef)]
    [InlineData(0x0000_ff80u, 0x006f)]
    public void Xlat_AddsIn16Bits(uint ebx, int address)
    {
        var c = Run([0xd7], () =>
        {
            _machine.C->R[0] = 0x89abcdef;
            _machine.C->R[3] = ebx;
            _machine.At((ulong)address, 1)[0] = 0xf0;
        });
        Assert.Equal(0x89abcdf0ul, c->R[0]);
    }

    /// <summary>A loop that changes a byte beside itself takes interrupts, also one that came while STI held it back.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(1000)]
    public void ALoopThatWritesIntoItsPageTakesInterrupts(int before)
    {
        // sti; again: xchg cs:[0xf0], cl; test cl, cl; je again; hlt - and the handler: mov byte cs:[0xf0], 1; iret
        byte[] code = [0xfb, 0x2e, 0x86, 0x0e, 0xf0, 0x00, 0x84, 0xc9, 0x74, 0xf7, 0xf4];
        byte[] handler = [0x2e, 0xc6, 0x06, 0xf0, 0x00, 0x01, 0xcf];
        code.CopyTo(_machine.At(0x1_0100, code.Length));
        handler.CopyTo(_machine.At(0x1_0200, handler.Length));
        MemoryMarshal.Write(_machine.At(8 * 4, 4), 0x1000_0200);
        var c = _machine.C;
        c->Seg[Segment.Cs].Selector = 0x1000;
        c->Seg[Segment.Cs].Base = 0x1_0000;
        c->Rip = 0x100;
        c->R[4] = 0x8000;
        _machine.Cpu.Refresh();
        if (before > 0) Assert.Equal(RunResult.Slice, _machine.Cpu.Run(before));
        _machine.Interrupt = 8;
        _machine.Cpu.SetInterrupt(true);
        var result = RunResult.Slice;
        for (var slices = 0; slices < 10 && result == RunResult.Slice; slices++) result = _machine.Cpu.Run(100);
        Assert.Equal((RunResult.Halted, 0x10bul), (result, c->Rip));
    }
}
