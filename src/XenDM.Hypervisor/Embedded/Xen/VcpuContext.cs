using System;
using System.Buffers.Binary;
using XenDM.Cpu;
using XenDM.Cpu.State;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>The registers that VCPUOP_initialise gives a vCPU (xen/public/hvm/hvm_vcpu.h, vcpu_hvm_context).</summary>
internal static unsafe class VcpuContext
{
    public const int Bytes = 8 + 160;
    private const int RegistersAt = 8;
    private const ulong Protected = 1, Paging = 1ul << 31, EferLong = (1ul << 8) | (1ul << 10);
    private const ulong KnownCr0 = 0xe005_003f, KnownEfer = (1 << 0) | (1 << 8) | (1 << 10) | (1 << 11);

    /// <summary>Sets them.</summary>
    /// <returns>False when no processor could be in that state; the vCPU is left as it is after INIT.</returns>
    public static bool TryLoad(X86Cpu cpu, ReadOnlySpan<byte> context)
    {
        cpu.Init();
        cpu.Park();
        var registers = context[RegistersAt..];
        return BinaryPrimitives.ReadUInt32LittleEndian(context) switch
        {
            0 => TryLoad32(cpu, registers),
            1 => TryLoad64(cpu, registers),
            _ => false,
        };
    }

    private static bool TryLoad32(X86Cpu cpu, ReadOnlySpan<byte> registers)
    {
        var c = cpu.State;
        var (cr0, efer) = (U32(registers, 40), U64(registers, 56));
        if (!AreValid(cr0, efer) || (efer & EferLong) != 0) return false;
        for (var r = 0; r < 8; r++) c->R[r] = U32(registers, r * 4);
        (c->Rip, c->Eflags) = (U32(registers, 32), Clean(U32(registers, 36)));
        (c->Cr0, c->Cr3, c->Cr4, c->Efer) = (cr0 | 0x10, U32(registers, 44), U32(registers, 48), efer);

        // Bases, then limits, then access rights of cs, ds, ss, es, tr.
        ReadOnlySpan<int> order = [Segment.Cs, Segment.Ds, Segment.Ss, Segment.Es, Segment.Tr];
        for (var n = 0; n < order.Length; n++)
        {
            var access = BinaryPrimitives.ReadUInt16LittleEndian(registers[(104 + (n * 2))..]);
            c->Seg[order[n]] = new Segment { Base = U32(registers, 64 + (n * 4)), Limit = U32(registers, 84 + (n * 4)), Access = (ushort)((access & 0xff) | ((access & 0xf00) << 4)) };
        }

        cpu.Refresh();
        return true;
    }

    private static bool TryLoad64(X86Cpu cpu, ReadOnlySpan<byte> registers)
    {
        var c = cpu.State;
        var (cr0, efer) = (U64(registers, 80), U64(registers, 104));
        if (!AreValid(cr0, efer) || (cr0 & Paging) == 0 || (efer & EferLong) != EferLong) return false;
        for (var r = 0; r < 8; r++) c->R[r] = U64(registers, r * 8);
        (c->Rip, c->Eflags) = (U64(registers, 64), Clean((uint)U64(registers, 72)));
        (c->Cr0, c->Cr3, c->Cr4, c->Efer) = (cr0 | 0x10, U64(registers, 88), U64(registers, 96), efer);
        for (var s = 0; s < 6; s++) c->Seg[s] = new Segment { Limit = uint.MaxValue, Access = (ushort)(s == Segment.Cs ? 0xa09b : 0xc093) };
        c->Seg[Segment.Tr] = new Segment { Limit = 0x67, Access = 0x8b };
        cpu.Refresh();
        return true;
    }

    private static bool AreValid(ulong cr0, ulong efer) => (cr0 & ~KnownCr0) == 0 && ((cr0 & Paging) == 0 || (cr0 & Protected) != 0) && (efer & ~KnownEfer) == 0;

    private static uint Clean(uint flags) => (flags & 0x003f_7700u & ~Flags.Vm) | 2;

    private static uint U32(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);

    private static ulong U64(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt64LittleEndian(data[at..]);
}
