using System.Runtime.CompilerServices;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Interpreter;

/// <summary>How an instruction's memory operand becomes a linear address. A type argument, so that each handler has its own code for it.</summary>
internal unsafe interface IAddressing
{
    /// <returns>False after a segmentation fault was raised.</returns>
    static abstract bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear);
}

/// <summary>64-bit mode: base + index × scale + displacement + base of FS, GS or nothing.</summary>
internal readonly struct Long : IAddressing
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear)
    {
        linear = Address.Effective(c, op) + CpuState.SegmentAt(c, op->Seg)->Base;
        return true;
    }
}

/// <summary>64-bit mode with 32-bit addresses.</summary>
internal readonly struct Long32 : IAddressing
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear)
    {
        linear = (uint)Address.Effective(c, op) + CpuState.SegmentAt(c, op->Seg)->Base;
        return true;
    }
}

/// <summary>Segmented modes with 32-bit addresses.</summary>
internal readonly struct Seg32 : IAddressing
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear) =>
        Address.Segmented(c, op, (uint)Address.Effective(c, op), op->Seg, size, write, out linear);
}

/// <summary>Segmented modes with 16-bit addresses.</summary>
internal readonly struct Seg16 : IAddressing
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear) =>
        Address.Segmented(c, op, (ushort)Address.Effective(c, op), op->Seg, size, write, out linear);
}

internal static unsafe class Address
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Effective(CpuState* c, Op* op) =>
        *(ulong*)((byte*)c + op->Base) + (*(ulong*)((byte*)c + op->Index) << op->Scale) + (ulong)op->Disp;

    /// <summary>Segment limit and rights (SDM 3, 5.3), and the base.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Segmented(CpuState* c, Op* op, uint offset, int segment, int size, bool write, out ulong linear)
    {
        var s = CpuState.SegmentAt(c, segment);
        linear = (uint)(s->Base + offset);
        return (ulong)offset + (ulong)size <= (write ? s->WriteEnd : s->ReadEnd) || SegmentedSlow(c, op, offset, segment, size, write);
    }

    private static bool SegmentedSlow(CpuState* c, Op* op, uint offset, int segment, int size, bool write)
    {
        ref var s = ref c->Seg[segment];
        if (Allows(in s, offset, size, write)) return true;
        Exits.Raise(c, op, segment == Segment.Ss ? Vectors.Ss : Vectors.Gp, 0);
        return false;
    }

    /// <summary>The whole check of an access against a segment.</summary>
    public static bool Allows(in Segment s, uint offset, int size, bool write)
    {
        if (!s.Is(Segment.Present | Segment.NonSystem)) return false;
        var code = s.Is(Segment.Code);
        if (write ? code || !s.Is(Segment.Writable) : code && !s.Is(Segment.Writable)) return false;
        var last = (ulong)offset + (ulong)(size - 1);
        if (code || !s.Is(Segment.ExpandDown)) return last <= s.Limit;
        return offset > s.Limit && last <= (s.Is(Segment.Big) ? uint.MaxValue : ushort.MaxValue);
    }

    /// <summary>Precomputes the quick check after a segment register was loaded.</summary>
    public static void Prepare(ref Segment s)
    {
        var up = s.Is(Segment.Code) || !s.Is(Segment.ExpandDown);
        var usable = s.Is(Segment.Present | Segment.NonSystem) && up;
        var code = s.Is(Segment.Code);
        s.ReadEnd = usable && (!code || s.Is(Segment.Writable)) ? s.Limit + 1ul : 0;
        s.WriteEnd = usable && !code && s.Is(Segment.Writable) ? s.Limit + 1ul : 0;
    }
}
