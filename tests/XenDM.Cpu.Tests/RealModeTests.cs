using System;
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
}
