using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenDM.Cpu.Decode;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>A vCPU with some RAM and nothing else. Ports keep what was written to them.</summary>
internal sealed unsafe class TestMachine : ICpuBus, IDisposable
{
    public const int RamBytes = 8 << 20;

    private readonly byte* _ram;
    private readonly PhysicalMap _map;
    private readonly CodeCache _code;

    public TestMachine(CpuModel model = CpuModel.V3, bool forcesEmulation = false)
    {
        _ram = (byte*)NativeMemory.AlignedAlloc(RamBytes, 4096);
        new Span<byte>(_ram, RamBytes).Clear();
        _map = new PhysicalMap(RamBytes >> 12);
        _map.Map(0, RamBytes >> 12, (nint)_ram, true);
        _code = new CodeCache(_map, new CodeMemory());
        Cpu = new X86Cpu(0, new CpuFeatures(model, 1) { ForcesEmulation = forcesEmulation }, _map, _code, this);
    }

    public X86Cpu Cpu { get; }

    public CpuState* C => Cpu.State;

    public Span<byte> Ram => new(_ram, RamBytes);

    public nint RamAddress => (nint)_ram;

    public PhysicalMap Map => _map;

    public Dictionary<ushort, ulong> Ports { get; } = [];

    public List<string> NotBuilt { get; } = [];

    public int Interrupt { get; set; } = -1;

    public Span<byte> At(ulong address, int length) => Ram.Slice((int)address, length);

    /// <summary>64-bit mode at CPL 0 with the first gigabyte mapped one to one by the tables at 0x1000.</summary>
    public void EnterLongMode(ulong rip)
    {
        MemoryMarshal.Write(At(0x1000, 8), 0x2007ul);
        MemoryMarshal.Write(At(0x2000, 8), 0x3007ul);
        for (var n = 0; n < 4; n++) MemoryMarshal.Write(At(0x3000 + (ulong)(n * 8), 8), (ulong)(n << 21) | 0xe7);
        var c = C;
        c->Cr4 = 0x20 | 0x200 | 0x400 | 0x40000;
        c->Efer = 0x500;
        c->Cr3 = 0x1000;
        c->Cr0 = 0x8000_0031;
        c->Xcr0 = 7;
        for (var s = 0; s < 6; s++)
            c->Seg[s] = new Segment { Selector = s == Segment.Cs ? (ushort)8 : (ushort)16, Limit = uint.MaxValue, Access = s == Segment.Cs ? (ushort)0xa09b : (ushort)0xc093 };
        c->Rip = rip;
        c->Mode = 2 | CpuState.ModeStack32;
        Cpu.Refresh();
    }

    ulong ICpuBus.ReadMemory(ulong address, int size) => ulong.MaxValue;

    void ICpuBus.WriteMemory(ulong address, int size, ulong value)
    {
    }

    ulong ICpuBus.ReadPort(ushort port, int size) => Ports.GetValueOrDefault(port, ulong.MaxValue);

    void ICpuBus.WritePort(ushort port, int size, ulong value) => Ports[port] = value;

    void ICpuBus.ReadPortBlock(ushort port, int size, Span<byte> data) => data.Fill(0x5a);

    void ICpuBus.WritePortBlock(ushort port, int size, ReadOnlySpan<byte> data)
    {
    }

    int ICpuBus.AcknowledgeInterrupt(X86Cpu cpu)
    {
        cpu.SetInterrupt(false);
        return Interrupt;
    }

    ulong ICpuBus.ReadTsc(X86Cpu cpu) => cpu.Instructions;

    void ICpuBus.WriteTsc(X86Cpu cpu, ulong value)
    {
    }

    bool ICpuBus.ReadMsr(X86Cpu cpu, uint index, out ulong value)
    {
        value = 0;
        return false;
    }

    bool ICpuBus.WriteMsr(X86Cpu cpu, uint index, ulong value) => false;

    int ICpuBus.TaskPriority(X86Cpu cpu) => 0;

    void ICpuBus.SetTaskPriority(X86Cpu cpu, int value)
    {
    }

    (uint A, uint B, uint C, uint D) ICpuBus.Cpuid(X86Cpu cpu, uint leaf, uint subleaf) => cpu.Features.Read(leaf, subleaf, 0, cpu.State->Cr4, cpu.State->Xcr0);

    bool ICpuBus.Hypercall(X86Cpu cpu) => false;

    void ICpuBus.FloatingPointError(X86Cpu cpu)
    {
    }

    ulong ICpuBus.Random() => 4;

    void ICpuBus.Unimplemented(X86Cpu cpu, string what) => NotBuilt.Add(what);

    public void Dispose()
    {
        Cpu.Dispose();
        _code.Dispose();
        _map.Dispose();
        NativeMemory.AlignedFree(_ram);
    }
}
