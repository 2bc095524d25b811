using System;

namespace XenDM.Cpu;

/// <summary>What a vCPU finds outside itself: devices, the interrupt controller, the clock, a hypervisor.</summary>
public interface ICpuBus
{
    /// <summary>Reads memory that is not RAM; 1 to 8 bytes within a page.</summary>
    ulong ReadMemory(ulong address, int size);

    void WriteMemory(ulong address, int size, ulong value);

    ulong ReadPort(ushort port, int size);

    void WritePort(ushort port, int size, ulong value);

    /// <summary>REP INS: the same port again and again.</summary>
    void ReadPortBlock(ushort port, int size, Span<byte> data);

    void WritePortBlock(ushort port, int size, ReadOnlySpan<byte> data);

    /// <summary>Takes the interrupt that is pending for the vCPU.</summary>
    /// <returns>Its vector, or -1 when there is none any more.</returns>
    int AcknowledgeInterrupt(X86Cpu cpu);

    /// <summary>The time-stamp counter.</summary>
    ulong ReadTsc(X86Cpu cpu);

    void WriteTsc(X86Cpu cpu, ulong value);

    /// <summary>Registers of the platform (local APIC). False: not one of these, or #GP.</summary>
    bool ReadMsr(X86Cpu cpu, uint index, out ulong value);

    /// <inheritdoc cref="ReadMsr"/>
    bool WriteMsr(X86Cpu cpu, uint index, ulong value);

    /// <summary>CR8.</summary>
    int TaskPriority(X86Cpu cpu);

    void SetTaskPriority(X86Cpu cpu, int value);

    (uint A, uint B, uint C, uint D) Cpuid(X86Cpu cpu, uint leaf, uint subleaf);

    /// <summary>VMCALL or VMMCALL. False: there is no hypervisor.</summary>
    bool Hypercall(X86Cpu cpu);

    /// <summary>An unmasked x87 exception with CR0.NE clear: IRQ 13 on a PC.</summary>
    void FloatingPointError(X86Cpu cpu);

    /// <summary>A number for RDRAND.</summary>
    ulong Random();

    /// <summary>Something the guest did that is not built; said once for each.</summary>
    void Unimplemented(X86Cpu cpu, string what);
}
