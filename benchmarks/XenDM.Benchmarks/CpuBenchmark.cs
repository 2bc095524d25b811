using System;
using BenchmarkDotNet.Attributes;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Cpu.State;
using XenDM.Hypervisor.Embedded;

namespace XenDM.Benchmarks;

/// <summary>The software vCPU: time of one guest instruction in small endless loops of flat 32-bit code.</summary>
[MemoryDiagnoser]
public unsafe class CpuBenchmark : IDisposable
{
    private const int Instructions = 100_000;
    private const uint Code = 0x10_0000;
    private const uint Data = 0x20_0000;
    private readonly EmbeddedMachine _machine = new(new EmbeddedOptions(16 << 20, 1, CpuModel.V3, [], true, 0, 0), SilentLog.Instance);

    public CpuBenchmark()
    {
        _machine.Build(new VmClock(_machine.TimeSource));
        _machine.Reset();
    }

    /// <summary>add eax, ebx; xor ecx, eax; shr ecx, 3; cmp eax, ecx; jne on; on: dec edx; jmp.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Instructions)]
    public ulong Integer() => Run([0x01, 0xd8, 0x31, 0xc1, 0xc1, 0xe9, 0x03, 0x39, 0xc8, 0x75, 0x00, 0x4a, 0xeb, 0xf2]);

    /// <summary>mov eax, [esi]; mov [esi+64], eax; movzx ecx, byte [esi+1]; add [esi+8], ecx; jmp.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Memory() => Run([0x8b, 0x06, 0x89, 0x46, 0x40, 0x0f, 0xb6, 0x4e, 0x01, 0x01, 0x4e, 0x08, 0xeb, 0xf2]);

    /// <summary>call; push eax; pop ebx; ret; jmp.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Calls() => Run([0xe8, 0x02, 0x00, 0x00, 0x00, 0xeb, 0xf9, 0x50, 0x5b, 0xc3]);

    /// <summary>movaps xmm0, xmm1; paddd xmm0, [esi]; movaps [esi], xmm0; jmp: pieces of host code.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Vectors() => Run([0x0f, 0x28, 0xc1, 0x66, 0x0f, 0xfe, 0x06, 0x0f, 0x29, 0x06, 0xeb, 0xf4]);

    /// <summary>mov ecx, 4096; mov edi, edx; rep stosb; jmp: a repetition counts as an instruction.</summary>
    [Benchmark(OperationsPerInvoke = Instructions)]
    public ulong Strings() => Run([0xb9, 0x00, 0x10, 0x00, 0x00, 0x89, 0xd7, 0xf3, 0xaa, 0xeb, 0xf5]);

    private ulong Run(ReadOnlySpan<byte> code)
    {
        var cpu = _machine.Cpus[0];
        var c = cpu.State;
        if (c->Rip is < Code or > Code + 64)
        {
            _machine.Memory.TryWrite(Code, code);
            for (var s = 0; s < 6; s++) c->Seg[s] = new Segment { Limit = uint.MaxValue, Access = (ushort)(s == Segment.Cs ? 0xc09b : 0xc093) };
            c->Cr0 = 0x11;
            c->Cr4 = 0x200;
            c->R[2] = c->R[6] = Data;
            c->R[4] = Data - 0x1000;
            c->Rip = Code;
            cpu.Refresh();
        }

        cpu.Run(Instructions);
        return c->R[0];
    }

    public void Dispose()
    {
        _machine.Dispose();
        GC.SuppressFinalize(this);
    }
}
