using System.Runtime.CompilerServices;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Interpreter;

/// <summary>Handlers that move data: MOV, MOVZX, MOVSX, LEA, XCHG, CMOV, SETcc, PUSH, POP.</summary>
internal static unsafe class Moves
{
    public static Op* RegReg<T>(CpuState* c, Op* op) where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, Width.Reg<T>(c, op->Src));
        return op + 1;
    }

    public static Op* RegImm<T>(CpuState* c, Op* op) where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, op->Imm);
        return op + 1;
    }

    // The way past the TLB is a method of its own: so the usual way needs no stack frame.

    public static Op* RegMem<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), false, out var at)) return null;
        var host = Memory.ForRead<T>(c, at);
        if (host == null) return RegMemSlow<T>(c, op, at);
        Width.SetReg<T>(c, op->Dst, Width.Load<T>(host));
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* RegMemSlow<T>(CpuState* c, Op* op, ulong at) where T : unmanaged
    {
        if (!Memory.ReadSlow(c, op, at, sizeof(T), out var value)) return null;
        Width.SetReg<T>(c, op->Dst, value);
        return op + 1;
    }

    public static Op* MemReg<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), true, out var at)) return null;
        var host = Memory.InPlace<T>(c, at);
        if (host == null) return MemRegSlow<T>(c, op, at);
        Width.Store<T>(host, Width.Reg<T>(c, op->Src));
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* MemRegSlow<T>(CpuState* c, Op* op, ulong at) where T : unmanaged => Memory.WriteSlow(c, op, at, sizeof(T), Width.Reg<T>(c, op->Src)) ? op + 1 : null;

    public static Op* MemImm<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing =>
        TA.Linear(c, op, sizeof(T), true, out var at) && Memory.Write<T>(c, op, at, op->Imm) ? op + 1 : null;

    public static Op* ZeroExtendReg<TTo, TFrom>(CpuState* c, Op* op) where TTo : unmanaged where TFrom : unmanaged
    {
        Width.SetReg<TTo>(c, op->Dst, Width.Reg<TFrom>(c, op->Src));
        return op + 1;
    }

    public static Op* SignExtendReg<TTo, TFrom>(CpuState* c, Op* op) where TTo : unmanaged where TFrom : unmanaged
    {
        Width.SetReg<TTo>(c, op->Dst, (ulong)Width.SignExtend<TFrom>(Width.Reg<TFrom>(c, op->Src)));
        return op + 1;
    }

    public static Op* ZeroExtendMem<TTo, TFrom, TA>(CpuState* c, Op* op) where TTo : unmanaged where TFrom : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(TFrom), false, out var at)) return null;
        var host = Memory.ForRead<TFrom>(c, at);
        if (host == null) return ZeroExtendMemSlow<TTo, TFrom>(c, op, at);
        Width.SetReg<TTo>(c, op->Dst, Width.Load<TFrom>(host));
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* ZeroExtendMemSlow<TTo, TFrom>(CpuState* c, Op* op, ulong at) where TTo : unmanaged where TFrom : unmanaged
    {
        if (!Memory.ReadSlow(c, op, at, sizeof(TFrom), out var value)) return null;
        Width.SetReg<TTo>(c, op->Dst, value);
        return op + 1;
    }

    public static Op* SignExtendMem<TTo, TFrom, TA>(CpuState* c, Op* op) where TTo : unmanaged where TFrom : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(TFrom), false, out var at)) return null;
        var host = Memory.ForRead<TFrom>(c, at);
        if (host == null) return SignExtendMemSlow<TTo, TFrom>(c, op, at);
        Width.SetReg<TTo>(c, op->Dst, (ulong)Width.SignExtend<TFrom>(Width.Load<TFrom>(host)));
        return op + 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* SignExtendMemSlow<TTo, TFrom>(CpuState* c, Op* op, ulong at) where TTo : unmanaged where TFrom : unmanaged
    {
        if (!Memory.ReadSlow(c, op, at, sizeof(TFrom), out var value)) return null;
        Width.SetReg<TTo>(c, op->Dst, (ulong)Width.SignExtend<TFrom>(value));
        return op + 1;
    }

    /// <summary>LEA; Scale and base as for memory, Aux the address width in bytes.</summary>
    public static Op* Lea<T>(CpuState* c, Op* op) where T : unmanaged
    {
        var address = Address.Effective(c, op);
        if (op->Aux == 4) address = (uint)address;
        else if (op->Aux == 2) address = (ushort)address;
        Width.SetReg<T>(c, op->Dst, address);
        return op + 1;
    }

    public static Op* Lea64(CpuState* c, Op* op)
    {
        *(ulong*)((byte*)c + op->Dst) = Address.Effective(c, op);
        return op + 1;
    }

    public static Op* XchgReg<T>(CpuState* c, Op* op) where T : unmanaged
    {
        var a = Width.Reg<T>(c, op->Dst);
        Width.SetReg<T>(c, op->Dst, Width.Reg<T>(c, op->Src));
        Width.SetReg<T>(c, op->Src, a);
        return op + 1;
    }

    public static Op* XchgMem<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), true, out var at)) return null;
        var b = Width.Reg<T>(c, op->Src);
        var host = Memory.InPlace<T>(c, at);
        if (host != null)
        {
            Width.SetReg<T>(c, op->Src, Width.Load<T>(host));
            Width.Store<T>(host, b);
            return op + 1;
        }

        if (!Memory.ReadForWrite(c, op, at, sizeof(T), out var a) || !Memory.WriteSlow(c, op, at, sizeof(T), b)) return null;
        Width.SetReg<T>(c, op->Src, a);
        return op + 1;
    }

    /// <summary>CMOVcc: a 32-bit destination is zero-extended whether the condition holds or not (SDM 2, CMOVcc).</summary>
    public static Op* CmovReg<T>(CpuState* c, Op* op) where T : unmanaged
    {
        Width.SetReg<T>(c, op->Dst, Width.Reg<T>(c, Flags.Condition(c, op->Aux) ? op->Src : op->Dst));
        return op + 1;
    }

    public static Op* CmovMem<T, TA>(CpuState* c, Op* op) where T : unmanaged where TA : struct, IAddressing
    {
        if (!TA.Linear(c, op, sizeof(T), false, out var at) || !Memory.Read<T>(c, op, at, out var value)) return null;
        Width.SetReg<T>(c, op->Dst, Flags.Condition(c, op->Aux) ? value : Width.Reg<T>(c, op->Dst));
        return op + 1;
    }

    public static Op* SetccReg(CpuState* c, Op* op)
    {
        *((byte*)c + op->Dst) = Flags.Condition(c, op->Aux) ? (byte)1 : (byte)0;
        return op + 1;
    }

    public static Op* SetccMem<TA>(CpuState* c, Op* op) where TA : struct, IAddressing =>
        TA.Linear(c, op, 1, true, out var at) && Memory.Write<byte>(c, op, at, Flags.Condition(c, op->Aux) ? 1ul : 0) ? op + 1 : null;

    public static Op* PushReg<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack => TS.Push<T>(c, op, Width.Reg<T>(c, op->Dst)) ? op + 1 : null;

    public static Op* PushImm<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack => TS.Push<T>(c, op, op->Imm) ? op + 1 : null;

    public static Op* PopReg<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack
    {
        if (!TS.Read<T>(c, op, 0, out var value)) return null;
        TS.Move(c, sizeof(T));
        Width.SetReg<T>(c, op->Dst, value);
        return op + 1;
    }

    public static Op* Leave<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack
    {
        if (!TS.ReadAt<T>(c, op, c->R[5], out var value)) return null;
        TS.SetPointer(c, c->R[5] + (ulong)sizeof(T));
        Width.SetReg<T>(c, 5 * 8, value);
        return op + 1;
    }
}

/// <summary>The stack by its address width.</summary>
internal unsafe interface IStack
{
    static abstract bool Push<T>(CpuState* c, Op* op, ulong value) where T : unmanaged;

    /// <summary>Reads at a distance from the top without moving it.</summary>
    static abstract bool Read<T>(CpuState* c, Op* op, int distance, out ulong value) where T : unmanaged;

    static abstract bool ReadAt<T>(CpuState* c, Op* op, ulong pointer, out ulong value) where T : unmanaged;

    static abstract void Move(CpuState* c, long bytes);

    static abstract void SetPointer(CpuState* c, ulong pointer);
}

internal readonly struct Stack64 : IStack
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Push<T>(CpuState* c, Op* op, ulong value) where T : unmanaged
    {
        var top = c->R[4] - (ulong)sizeof(T);
        if (!Memory.Write<T>(c, op, top, value)) return false;
        c->R[4] = top;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Read<T>(CpuState* c, Op* op, int distance, out ulong value) where T : unmanaged => Memory.Read<T>(c, op, c->R[4] + (ulong)distance, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool ReadAt<T>(CpuState* c, Op* op, ulong pointer, out ulong value) where T : unmanaged => Memory.Read<T>(c, op, pointer, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe void Move(CpuState* c, long bytes) => c->R[4] += (ulong)bytes;

    public static unsafe void SetPointer(CpuState* c, ulong pointer) => c->R[4] = pointer;
}

internal readonly struct Stack32 : IStack
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool Push<T>(CpuState* c, Op* op, ulong value) where T : unmanaged
    {
        var top = (uint)c->R[4] - (uint)sizeof(T);
        if (!Address.Segmented(c, op, top, Segment.Ss, sizeof(T), true, out var at) || !Memory.Write<T>(c, op, at, value)) return false;
        c->R[4] = top;
        return true;
    }

    public static unsafe bool Read<T>(CpuState* c, Op* op, int distance, out ulong value) where T : unmanaged => ReadAt<T>(c, op, c->R[4] + (ulong)distance, out value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe bool ReadAt<T>(CpuState* c, Op* op, ulong pointer, out ulong value) where T : unmanaged
    {
        value = 0;
        return Address.Segmented(c, op, (uint)pointer, Segment.Ss, sizeof(T), false, out var at) && Memory.Read<T>(c, op, at, out value);
    }

    public static unsafe void Move(CpuState* c, long bytes) => c->R[4] = (uint)(c->R[4] + (ulong)bytes);

    public static unsafe void SetPointer(CpuState* c, ulong pointer) => c->R[4] = (uint)pointer;
}

internal readonly struct Stack16 : IStack
{
    public static unsafe bool Push<T>(CpuState* c, Op* op, ulong value) where T : unmanaged
    {
        var top = (ushort)(c->R[4] - (ulong)sizeof(T));
        if (!Address.Segmented(c, op, top, Segment.Ss, sizeof(T), true, out var at) || !Memory.Write<T>(c, op, at, value)) return false;
        *(ushort*)&c->R[4] = top;
        return true;
    }

    public static unsafe bool Read<T>(CpuState* c, Op* op, int distance, out ulong value) where T : unmanaged => ReadAt<T>(c, op, c->R[4] + (ulong)distance, out value);

    public static unsafe bool ReadAt<T>(CpuState* c, Op* op, ulong pointer, out ulong value) where T : unmanaged
    {
        value = 0;
        return Address.Segmented(c, op, (ushort)pointer, Segment.Ss, sizeof(T), false, out var at) && Memory.Read<T>(c, op, at, out value);
    }

    public static unsafe void Move(CpuState* c, long bytes) => *(ushort*)&c->R[4] += (ushort)bytes;

    public static unsafe void SetPointer(CpuState* c, ulong pointer) => *(ushort*)&c->R[4] = (ushort)pointer;
}
