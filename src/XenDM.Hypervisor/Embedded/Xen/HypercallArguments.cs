using System;
using System.Buffers.Binary;
using XenDM.Cpu;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>One hypercall: its arguments, and the caller's memory with the layout of its structures.</summary>
/// <param name="Is64">The caller runs 64-bit code: structures have 64-bit longs and pointers.</param>
internal readonly record struct HypercallArguments(X86Cpu Cpu, bool Is64, ulong A1, ulong A2, ulong A3, ulong A4, ulong A5)
{
    /// <summary>Bytes of a long or a pointer.</summary>
    public int LongBytes => Is64 ? 8 : 4;

    /// <summary>Copies from the caller's linear memory.</summary>
    /// <returns>False when a page is not there: the call fails with EFAULT.</returns>
    public bool TryRead(ulong address, Span<byte> data) => Cpu.TryCopyFromGuest(Address(address), data);

    /// <inheritdoc cref="TryRead"/>
    public bool TryWrite(ulong address, ReadOnlySpan<byte> data) => Cpu.TryCopyToGuest(Address(address), data);

    /// <summary>A long or pointer in a structure that was read.</summary>
    public ulong Long(ReadOnlySpan<byte> data, int at) => Is64 ? BinaryPrimitives.ReadUInt64LittleEndian(data[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);

    private ulong Address(ulong address) => Is64 ? address : (uint)address;
}
