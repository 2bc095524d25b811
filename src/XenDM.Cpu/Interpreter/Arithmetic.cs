using System.Runtime.CompilerServices;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Interpreter;

/// <summary>A two-operand operation with flags. Values have zero upper bits; the result may have rubbish above its width.</summary>
internal unsafe interface IBinary
{
    static abstract bool Stores { get; }

    static abstract ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged;
}

internal readonly struct Add : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a + b;
        Flags.Set<T>(c, r, (a & b) | ((a | b) & ~r));
        return r;
    }
}

internal readonly struct Adc : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a + b + (c->FlagAux >> 63);
        Flags.Set<T>(c, r, (a & b) | ((a | b) & ~r));
        return r;
    }
}

internal readonly struct Sub : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a - b;
        Flags.Set<T>(c, r, (~a & b) | ((~a | b) & r));
        return r;
    }
}

internal readonly struct Sbb : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a - b - (c->FlagAux >> 63);
        Flags.Set<T>(c, r, (~a & b) | ((~a | b) & r));
        return r;
    }
}

internal readonly struct Cmp : IBinary
{
    public static bool Stores => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged => Sub.Run<T>(c, a, b);
}

internal readonly struct And : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a & b;
        Flags.SetLogic<T>(c, r);
        return r;
    }
}

internal readonly struct Test : IBinary
{
    public static bool Stores => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged => And.Run<T>(c, a, b);
}

internal readonly struct Or : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a | b;
        Flags.SetLogic<T>(c, r);
        return r;
    }
}

internal readonly struct Xor : IBinary
{
    public static bool Stores => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a, ulong b) where T : unmanaged
    {
        var r = a ^ b;
        Flags.SetLogic<T>(c, r);
        return r;
    }
}

/// <summary>A one-operand operation.</summary>
internal unsafe interface IUnary
{
    static abstract ulong Run<T>(CpuState* c, ulong a) where T : unmanaged;
}

internal readonly struct Inc : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a) where T : unmanaged
    {
        var cf = Flags.GetCf(c);
        var r = a + 1;
        Flags.Set<T>(c, r, a & ~r);
        Flags.SetCf(c, cf);
        return r;
    }
}

internal readonly struct Dec : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a) where T : unmanaged
    {
        var cf = Flags.GetCf(c);
        var r = a - 1;
        Flags.Set<T>(c, r, ~a & r);
        Flags.SetCf(c, cf);
        return r;
    }
}

internal readonly struct Neg : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a) where T : unmanaged => Sub.Run<T>(c, 0, a);
}

internal readonly struct Not : IUnary
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Run<T>(CpuState* c, ulong a) where T : unmanaged => ~a;
}

/// <summary>Handlers of two- and one-operand arithmetic, by operation, width and addressing.</summary>
internal static unsafe class Arithmetic
{
    public static Op* RegReg<TOp, T>(CpuState* c, Op* op) where TOp : struct, IBinary where T : unmanaged
    {
        var r = TOp.Run<T>(c, Width.Reg<T>(c, op->Dst), Width.Reg<T>(c, op->Src));
        if (TOp.Stores) Width.SetReg<T>(c, op->Dst, r);
        return op + 1;
    }

    public static Op* RegImm<TOp, T>(CpuState* c, Op* op) where TOp : struct, IBinary where T : unmanaged
    {
        var r = TOp.Run<T>(c, Width.Reg<T>(c, op->Dst), op->Imm);
        if (TOp.Stores) Width.SetReg<T>(c, op->Dst, r);
        return op + 1;
    }

    public static Op* RegMem<TOp, T, TA>(CpuState* c, Op* op) where TOp : struct, IBinary where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), false, out var at)) return null;
        var host = Memory.ForRead<T>(c, at);
        if (host == null) return RegMemSlow<TOp, T>(c, op, at);
        var r = TOp.Run<T>(c, Width.Reg<T>(c, op->Dst), Width.Load<T>(host));
        if (TOp.Stores) Width.SetReg<T>(c, op->Dst, r);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* RegMemSlow<TOp, T>(CpuState* c, Op* op, ulong at) where TOp : struct, IBinary where T : unmanaged
    {
        if (!Memory.ReadSlow(c, op, at, sizeof(T), out var b)) return null;
        var r = TOp.Run<T>(c, Width.Reg<T>(c, op->Dst), b);
        if (TOp.Stores) Width.SetReg<T>(c, op->Dst, r);
        return op + 1;
    }

    public static Op* MemReg<TOp, T, TA>(CpuState* c, Op* op) where TOp : struct, IBinary where T : unmanaged where TA : struct, IAddressing =>
        MemValue<TOp, T, TA>(c, op, Width.Reg<T>(c, op->Src));

    public static Op* MemImm<TOp, T, TA>(CpuState* c, Op* op) where TOp : struct, IBinary where T : unmanaged where TA : struct, IAddressing =>
        MemValue<TOp, T, TA>(c, op, op->Imm);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* MemValue<TOp, T, TA>(CpuState* c, Op* op, ulong b) where TOp : struct, IBinary where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), TOp.Stores, out var at)) return null;
        var host = TOp.Stores ? Memory.InPlace<T>(c, at) : Memory.ForRead<T>(c, at);
        if (host == null) return MemValueSlow<TOp, T>(c, op, at, b);
        var r = TOp.Run<T>(c, Width.Load<T>(host), b);
        if (TOp.Stores) Width.Store<T>(host, r);
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* MemValueSlow<TOp, T>(CpuState* c, Op* op, ulong at, ulong b) where TOp : struct, IBinary where T : unmanaged
    {
        ulong a;
        if (!TOp.Stores)
        {
            if (!Memory.ReadSlow(c, op, at, sizeof(T), out a)) return null;
            TOp.Run<T>(c, a, b);
            return op + 1;
        }

        if (!Memory.ReadForWrite(c, op, at, sizeof(T), out a)) return null;
        return Memory.WriteSlow(c, op, at, sizeof(T), Width.ZeroExtend<T>(TOp.Run<T>(c, a, b))) ? op + 1 : null;
    }

    public static Op* Reg<TOp, T>(CpuState* c, Op* op) where TOp : struct, IUnary where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, TOp.Run<T>(c, Width.Reg<T>(c, op->Dst)));
        return op + 1;
    }

    public static Op* Mem<TOp, T, TA>(CpuState* c, Op* op) where TOp : struct, IUnary where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), true, out var at)) return null;
        var host = Memory.InPlace<T>(c, at);
        if (host != null)
        {
            Width.Store<T>(host, TOp.Run<T>(c, Width.Load<T>(host)));
            return op + 1;
        }

        if (!Memory.ReadForWrite(c, op, at, sizeof(T), out var a)) return null;
        return Memory.WriteSlow(c, op, at, sizeof(T), Width.ZeroExtend<T>(TOp.Run<T>(c, a))) ? op + 1 : null;
    }
}
