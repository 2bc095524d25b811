using System;
using System.Runtime.InteropServices;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>What user mode cannot run, as the manuals have it. An exception without a handler ends in shutdown, with its vector kept.</summary>
public sealed unsafe class ProtectedModeTests : IDisposable
{
    private const uint Code = 0x10000;
    private readonly TestMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    private CpuState* Enter32(ReadOnlySpan<byte> code)
    {
        code.CopyTo(_machine.At(Code, code.Length));
        _machine.At(Code + (uint)code.Length, 1)[0] = 0xf4;
        var c = _machine.C;
        c->Cr0 = 0x31;
        for (var s = 0; s < 6; s++)
            c->Seg[s] = new Segment { Selector = s == Segment.Cs ? (ushort)8 : (ushort)16, Limit = uint.MaxValue, Access = s == Segment.Cs ? (ushort)0xc09b : (ushort)0xc093 };
        c->Rip = Code;
        c->IdtLimit = 0;
        _machine.Cpu.Refresh();
        return c;
    }

    /// <summary>SDM 2, ARPL: the destination is written only when its RPL is raised.</summary>
    [Theory]
    [InlineData(0xfff3, false)]
    [InlineData(0xfff0, true)]
    public void Arpl_WritesOnlyWhatItChanges(int selector, bool faults)
    {
        var c = Enter32([0x63, 0x1d, 0x00, 0x00, 0x02, 0x00]); // arpl [0x20000], bx
        c->Seg[Segment.Ds].Access = 0xc091;
        _machine.Cpu.Refresh();
        c->R[3] = 2;
        MemoryMarshal.Write(_machine.At(0x20000, 2), (ushort)selector);
        var result = _machine.Cpu.Run(100);
        Assert.Equal(faults ? RunResult.Shutdown : RunResult.Halted, result);
        if (faults) Assert.Equal(13, _machine.Cpu.FirstException);
    }

    /// <summary>A walk that fails leaves the accessed bits of the upper level; one that succeeds sets them, and a write the dirty bit.</summary>
    [Theory]
    [InlineData(0x30002u, false, 14, 0x2003u, 0x30002u)]
    [InlineData(0x30003u, false, -1, 0x2023u, 0x30023u)]
    [InlineData(0x30003u, true, -1, 0x2023u, 0x30063u)]
    public void PageWalk_SetsAccessedAndDirty(uint entry, bool write, int exception, uint directoryAfter, uint entryAfter)
    {
        // mov [0x400000], eax or mov eax, [0x400000]
        var c = Enter32([write ? (byte)0xa3 : (byte)0xa1, 0x00, 0x00, 0x40, 0x00]);
        MemoryMarshal.Write(_machine.At(0x1000, 4), 0x83u); // the first 4 MiB one to one
        MemoryMarshal.Write(_machine.At(0x1004, 4), 0x2003u);
        MemoryMarshal.Write(_machine.At(0x2000, 4), entry);
        c->Cr3 = 0x1000;
        c->Cr4 = 0x10;
        c->Cr0 |= 0x8000_0000;
        _machine.Cpu.Refresh();
        var result = _machine.Cpu.Run(100);
        Assert.Equal(exception < 0 ? RunResult.Halted : RunResult.Shutdown, result);
        if (exception >= 0) Assert.Equal(exception, _machine.Cpu.FirstException);
        Assert.Equal(directoryAfter, MemoryMarshal.Read<uint>(_machine.At(0x1004, 4)));
        Assert.Equal(entryAfter, MemoryMarshal.Read<uint>(_machine.At(0x2000, 4)));
    }

    /// <summary>Code that overwrites the instruction behind it runs the new one.</summary>
    [Fact]
    public void SelfModifyingCode_TakesEffectAtOnce()
    {
        // mov byte [0x10008], 0x43 (inc ebx over inc eax); nop; inc eax
        var c = Enter32([0xc6, 0x05, 0x08, 0x00, 0x01, 0x00, 0x43, 0x90, 0x40]);
        c->R[0] = c->R[3] = 0;
        Assert.Equal(RunResult.Halted, _machine.Cpu.Run(100));
        Assert.Equal(0ul, c->R[0]);
        Assert.Equal(1ul, c->R[3]);
    }
}
