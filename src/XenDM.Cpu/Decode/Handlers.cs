using XenDM.Cpu.Interpreter;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Decode;

/// <summary>A handler by its address.</summary>
internal unsafe struct Handler
{
    public delegate*<CpuState*, Op*, Op*> Address;

    public static implicit operator Handler(delegate*<CpuState*, Op*, Op*> address) => new() { Address = address };
}

/// <summary>Chooses the handler of an operation by width (1, 2, 4, 8 bytes) and addressing (as in <see cref="Operands"/>).</summary>
internal static unsafe class Handlers
{
    // By operation, width and addressing, for the forms that an arithmetic instruction can have.

    public static Handler RegReg<TOp>(int size) where TOp : struct, IBinary => size switch
    {
        1 => (Handler)(&Arithmetic.RegReg<TOp, byte>),
        2 => (Handler)(&Arithmetic.RegReg<TOp, ushort>),
        4 => (Handler)(&Arithmetic.RegReg<TOp, uint>),
        _ => (Handler)(&Arithmetic.RegReg<TOp, ulong>),
    };

    public static Handler RegImm<TOp>(int size) where TOp : struct, IBinary => size switch
    {
        1 => (Handler)(&Arithmetic.RegImm<TOp, byte>),
        2 => (Handler)(&Arithmetic.RegImm<TOp, ushort>),
        4 => (Handler)(&Arithmetic.RegImm<TOp, uint>),
        _ => (Handler)(&Arithmetic.RegImm<TOp, ulong>),
    };

    public static Handler RegMem<TOp>(int size, int a) where TOp : struct, IBinary => size switch
    {
        1 => RegMem<TOp, byte>(a),
        2 => RegMem<TOp, ushort>(a),
        4 => RegMem<TOp, uint>(a),
        _ => RegMem<TOp, ulong>(a),
    };

    private static Handler RegMem<TOp, T>(int a) where TOp : struct, IBinary where T : unmanaged => a switch
    {
        0 => (Handler)(&Arithmetic.RegMem<TOp, T, Long>),
        1 => (Handler)(&Arithmetic.RegMem<TOp, T, Long32>),
        2 => (Handler)(&Arithmetic.RegMem<TOp, T, Seg32>),
        _ => (Handler)(&Arithmetic.RegMem<TOp, T, Seg16>),
    };

    public static Handler MemReg<TOp>(int size, int a) where TOp : struct, IBinary => size switch
    {
        1 => MemReg<TOp, byte>(a),
        2 => MemReg<TOp, ushort>(a),
        4 => MemReg<TOp, uint>(a),
        _ => MemReg<TOp, ulong>(a),
    };

    private static Handler MemReg<TOp, T>(int a) where TOp : struct, IBinary where T : unmanaged => a switch
    {
        0 => (Handler)(&Arithmetic.MemReg<TOp, T, Long>),
        1 => (Handler)(&Arithmetic.MemReg<TOp, T, Long32>),
        2 => (Handler)(&Arithmetic.MemReg<TOp, T, Seg32>),
        _ => (Handler)(&Arithmetic.MemReg<TOp, T, Seg16>),
    };

    public static Handler MemImm<TOp>(int size, int a) where TOp : struct, IBinary => size switch
    {
        1 => MemImm<TOp, byte>(a),
        2 => MemImm<TOp, ushort>(a),
        4 => MemImm<TOp, uint>(a),
        _ => MemImm<TOp, ulong>(a),
    };

    private static Handler MemImm<TOp, T>(int a) where TOp : struct, IBinary where T : unmanaged => a switch
    {
        0 => (Handler)(&Arithmetic.MemImm<TOp, T, Long>),
        1 => (Handler)(&Arithmetic.MemImm<TOp, T, Long32>),
        2 => (Handler)(&Arithmetic.MemImm<TOp, T, Seg32>),
        _ => (Handler)(&Arithmetic.MemImm<TOp, T, Seg16>),
    };

    public static Handler Unary<TOp>(int size, bool memory, int a) where TOp : struct, IUnary => size switch
    {
        1 => Unary<TOp, byte>(memory, a),
        2 => Unary<TOp, ushort>(memory, a),
        4 => Unary<TOp, uint>(memory, a),
        _ => Unary<TOp, ulong>(memory, a),
    };

    private static Handler Unary<TOp, T>(bool memory, int a) where TOp : struct, IUnary where T : unmanaged => !memory ? (Handler)(&Arithmetic.Reg<TOp, T>) : a switch
    {
        0 => (Handler)(&Arithmetic.Mem<TOp, T, Long>),
        1 => (Handler)(&Arithmetic.Mem<TOp, T, Long32>),
        2 => (Handler)(&Arithmetic.Mem<TOp, T, Seg32>),
        _ => (Handler)(&Arithmetic.Mem<TOp, T, Seg16>),
    };

    public static Handler ShiftReg<TOp>(int size, bool byCl) where TOp : struct, IShift => size switch
    {
        1 => byCl ? (Handler)(&Shifts.RegCl<TOp, byte>) : (Handler)(&Shifts.RegImm<TOp, byte>),
        2 => byCl ? (Handler)(&Shifts.RegCl<TOp, ushort>) : (Handler)(&Shifts.RegImm<TOp, ushort>),
        4 => byCl ? (Handler)(&Shifts.RegCl<TOp, uint>) : (Handler)(&Shifts.RegImm<TOp, uint>),
        _ => byCl ? (Handler)(&Shifts.RegCl<TOp, ulong>) : (Handler)(&Shifts.RegImm<TOp, ulong>),
    };

    public static Handler ShiftMem<TOp>(int size, int a) where TOp : struct, IShift => size switch
    {
        1 => ShiftMem<TOp, byte>(a),
        2 => ShiftMem<TOp, ushort>(a),
        4 => ShiftMem<TOp, uint>(a),
        _ => ShiftMem<TOp, ulong>(a),
    };

    private static Handler ShiftMem<TOp, T>(int a) where TOp : struct, IShift where T : unmanaged => a switch
    {
        0 => (Handler)(&Shifts.Mem<TOp, T, Long>),
        1 => (Handler)(&Shifts.Mem<TOp, T, Long32>),
        2 => (Handler)(&Shifts.Mem<TOp, T, Seg32>),
        _ => (Handler)(&Shifts.Mem<TOp, T, Seg16>),
    };

    // Moves.

    public static Handler MoveRegReg(int size) => size switch
    {
        1 => (Handler)(&Moves.RegReg<byte>),
        2 => (Handler)(&Moves.RegReg<ushort>),
        4 => (Handler)(&Moves.RegReg<uint>),
        _ => (Handler)(&Moves.RegReg<ulong>),
    };

    public static Handler MoveRegImm(int size) => size switch
    {
        1 => (Handler)(&Moves.RegImm<byte>),
        2 => (Handler)(&Moves.RegImm<ushort>),
        4 => (Handler)(&Moves.RegImm<uint>),
        _ => (Handler)(&Moves.RegImm<ulong>),
    };

    public static Handler MoveRegMem(int size, int a) => size switch
    {
        1 => MoveRegMem<byte>(a),
        2 => MoveRegMem<ushort>(a),
        4 => MoveRegMem<uint>(a),
        _ => MoveRegMem<ulong>(a),
    };

    private static Handler MoveRegMem<T>(int a) where T : unmanaged => a switch
    {
        0 => (Handler)(&Moves.RegMem<T, Long>),
        1 => (Handler)(&Moves.RegMem<T, Long32>),
        2 => (Handler)(&Moves.RegMem<T, Seg32>),
        _ => (Handler)(&Moves.RegMem<T, Seg16>),
    };

    public static Handler MoveMemReg(int size, int a) => size switch
    {
        1 => MoveMemReg<byte>(a),
        2 => MoveMemReg<ushort>(a),
        4 => MoveMemReg<uint>(a),
        _ => MoveMemReg<ulong>(a),
    };

    private static Handler MoveMemReg<T>(int a) where T : unmanaged => a switch
    {
        0 => (Handler)(&Moves.MemReg<T, Long>),
        1 => (Handler)(&Moves.MemReg<T, Long32>),
        2 => (Handler)(&Moves.MemReg<T, Seg32>),
        _ => (Handler)(&Moves.MemReg<T, Seg16>),
    };

    public static Handler MoveMemImm(int size, int a) => size switch
    {
        1 => MoveMemImm<byte>(a),
        2 => MoveMemImm<ushort>(a),
        4 => MoveMemImm<uint>(a),
        _ => MoveMemImm<ulong>(a),
    };

    private static Handler MoveMemImm<T>(int a) where T : unmanaged => a switch
    {
        0 => (Handler)(&Moves.MemImm<T, Long>),
        1 => (Handler)(&Moves.MemImm<T, Long32>),
        2 => (Handler)(&Moves.MemImm<T, Seg32>),
        _ => (Handler)(&Moves.MemImm<T, Seg16>),
    };

    public static Handler Extend(bool signed, int to, int from, bool memory, int a) => to switch
    {
        2 => Extend<ushort>(signed, from, memory, a),
        4 => Extend<uint>(signed, from, memory, a),
        _ => Extend<ulong>(signed, from, memory, a),
    };

    private static Handler Extend<TTo>(bool signed, int from, bool memory, int a) where TTo : unmanaged => from switch
    {
        1 => Extend<TTo, byte>(signed, memory, a),
        2 => Extend<TTo, ushort>(signed, memory, a),
        _ => Extend<TTo, uint>(signed, memory, a),
    };

    private static Handler Extend<TTo, TFrom>(bool signed, bool memory, int a) where TTo : unmanaged where TFrom : unmanaged => (signed, memory, a) switch
    {
        (false, false, _) => (Handler)(&Moves.ZeroExtendReg<TTo, TFrom>),
        (true, false, _) => (Handler)(&Moves.SignExtendReg<TTo, TFrom>),
        (false, true, 0) => (Handler)(&Moves.ZeroExtendMem<TTo, TFrom, Long>),
        (false, true, 1) => (Handler)(&Moves.ZeroExtendMem<TTo, TFrom, Long32>),
        (false, true, 2) => (Handler)(&Moves.ZeroExtendMem<TTo, TFrom, Seg32>),
        (false, true, _) => (Handler)(&Moves.ZeroExtendMem<TTo, TFrom, Seg16>),
        (true, true, 0) => (Handler)(&Moves.SignExtendMem<TTo, TFrom, Long>),
        (true, true, 1) => (Handler)(&Moves.SignExtendMem<TTo, TFrom, Long32>),
        (true, true, 2) => (Handler)(&Moves.SignExtendMem<TTo, TFrom, Seg32>),
        _ => (Handler)(&Moves.SignExtendMem<TTo, TFrom, Seg16>),
    };

    public static Handler Lea(int size, int a) => size switch
    {
        8 when a == Operands.Long => (Handler)(&Moves.Lea64),
        8 => (Handler)(&Moves.Lea<ulong>),
        4 => (Handler)(&Moves.Lea<uint>),
        _ => (Handler)(&Moves.Lea<ushort>),
    };

    public static Handler Xchg(int size, bool memory, int a) => size switch
    {
        1 => Xchg<byte>(memory, a),
        2 => Xchg<ushort>(memory, a),
        4 => Xchg<uint>(memory, a),
        _ => Xchg<ulong>(memory, a),
    };

    private static Handler Xchg<T>(bool memory, int a) where T : unmanaged => !memory ? (Handler)(&Moves.XchgReg<T>) : a switch
    {
        0 => (Handler)(&Moves.XchgMem<T, Long>),
        1 => (Handler)(&Moves.XchgMem<T, Long32>),
        2 => (Handler)(&Moves.XchgMem<T, Seg32>),
        _ => (Handler)(&Moves.XchgMem<T, Seg16>),
    };

    public static Handler Cmov(int size, bool memory, int a) => size switch
    {
        2 => Cmov<ushort>(memory, a),
        4 => Cmov<uint>(memory, a),
        _ => Cmov<ulong>(memory, a),
    };

    private static Handler Cmov<T>(bool memory, int a) where T : unmanaged => !memory ? (Handler)(&Moves.CmovReg<T>) : a switch
    {
        0 => (Handler)(&Moves.CmovMem<T, Long>),
        1 => (Handler)(&Moves.CmovMem<T, Long32>),
        2 => (Handler)(&Moves.CmovMem<T, Seg32>),
        _ => (Handler)(&Moves.CmovMem<T, Seg16>),
    };

    public static Handler Setcc(bool memory, int a) => !memory ? (Handler)(&Moves.SetccReg) : a switch
    {
        0 => (Handler)(&Moves.SetccMem<Long>),
        1 => (Handler)(&Moves.SetccMem<Long32>),
        2 => (Handler)(&Moves.SetccMem<Seg32>),
        _ => (Handler)(&Moves.SetccMem<Seg16>),
    };

    public static Handler Imul2(int size, bool memory, int a) => size switch
    {
        2 => Imul2<ushort>(memory, a),
        4 => Imul2<uint>(memory, a),
        _ => Imul2<ulong>(memory, a),
    };

    private static Handler Imul2<T>(bool memory, int a) where T : unmanaged => !memory ? (Handler)(&Shifts.ImulRegReg<T>) : a switch
    {
        0 => (Handler)(&Shifts.ImulRegMem<T, Long>),
        1 => (Handler)(&Shifts.ImulRegMem<T, Long32>),
        2 => (Handler)(&Shifts.ImulRegMem<T, Seg32>),
        _ => (Handler)(&Shifts.ImulRegMem<T, Seg16>),
    };

    public static Handler Imul3(int size, bool memory, int a) => size switch
    {
        2 => Imul3<ushort>(memory, a),
        4 => Imul3<uint>(memory, a),
        _ => Imul3<ulong>(memory, a),
    };

    private static Handler Imul3<T>(bool memory, int a) where T : unmanaged => !memory ? (Handler)(&Shifts.ImulRegRegImm<T>) : a switch
    {
        0 => (Handler)(&Shifts.ImulRegMemImm<T, Long>),
        1 => (Handler)(&Shifts.ImulRegMemImm<T, Long32>),
        2 => (Handler)(&Shifts.ImulRegMemImm<T, Seg32>),
        _ => (Handler)(&Shifts.ImulRegMemImm<T, Seg16>),
    };

    public static Handler BitReg(int size) => size switch
    {
        2 => (Handler)(&Shifts.BitReg<ushort>),
        4 => (Handler)(&Shifts.BitReg<uint>),
        _ => (Handler)(&Shifts.BitReg<ulong>),
    };

    public static Handler Bswap(int size) => size switch
    {
        2 => (Handler)(&Shifts.Bswap<ushort>),
        4 => (Handler)(&Shifts.Bswap<uint>),
        _ => (Handler)(&Shifts.Bswap<ulong>),
    };

    // The stack, by the width of its pointer: 0 16 bits, 1 32 bits, 2 64 bits.

    public static Handler PushReg(int size, int stack) => stack switch
    {
        2 => size == 8 ? (Handler)(&Moves.PushReg<ulong, Stack64>) : (Handler)(&Moves.PushReg<ushort, Stack64>),
        1 => size == 4 ? (Handler)(&Moves.PushReg<uint, Stack32>) : (Handler)(&Moves.PushReg<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Moves.PushReg<uint, Stack16>) : (Handler)(&Moves.PushReg<ushort, Stack16>),
    };

    public static Handler PushImm(int size, int stack) => stack switch
    {
        2 => size == 8 ? (Handler)(&Moves.PushImm<ulong, Stack64>) : (Handler)(&Moves.PushImm<ushort, Stack64>),
        1 => size == 4 ? (Handler)(&Moves.PushImm<uint, Stack32>) : (Handler)(&Moves.PushImm<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Moves.PushImm<uint, Stack16>) : (Handler)(&Moves.PushImm<ushort, Stack16>),
    };

    public static Handler PopReg(int size, int stack) => stack switch
    {
        2 => size == 8 ? (Handler)(&Moves.PopReg<ulong, Stack64>) : (Handler)(&Moves.PopReg<ushort, Stack64>),
        1 => size == 4 ? (Handler)(&Moves.PopReg<uint, Stack32>) : (Handler)(&Moves.PopReg<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Moves.PopReg<uint, Stack16>) : (Handler)(&Moves.PopReg<ushort, Stack16>),
    };

    public static Handler Leave(int size, int stack) => stack switch
    {
        2 => size == 8 ? (Handler)(&Moves.Leave<ulong, Stack64>) : (Handler)(&Moves.Leave<ushort, Stack64>),
        1 => size == 4 ? (Handler)(&Moves.Leave<uint, Stack32>) : (Handler)(&Moves.Leave<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Moves.Leave<uint, Stack16>) : (Handler)(&Moves.Leave<ushort, Stack16>),
    };

    public static Handler Call(int size, int stack) => stack switch
    {
        2 => (Handler)(&Branches.Call64),
        1 => size == 4 ? (Handler)(&Branches.CallLegacy<uint, Stack32>) : (Handler)(&Branches.CallLegacy<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Branches.CallLegacy<uint, Stack16>) : (Handler)(&Branches.CallLegacy<ushort, Stack16>),
    };

    public static Handler Ret(int size, int stack) => stack switch
    {
        2 => size == 8 ? (Handler)(&Branches.Ret64) : (Handler)(&Branches.RetLegacy<ushort, Stack64>),
        1 => size == 4 ? (Handler)(&Branches.RetLegacy<uint, Stack32>) : (Handler)(&Branches.RetLegacy<ushort, Stack32>),
        _ => size == 4 ? (Handler)(&Branches.RetLegacy<uint, Stack16>) : (Handler)(&Branches.RetLegacy<ushort, Stack16>),
    };

    /// <param name="kind">0 linked within the page, 1 to another page, 2 outside 64-bit mode.</param>
    public static Handler Jcc(int condition, int kind) => condition switch
    {
        0 => Jcc<O>(kind),
        1 => Jcc<No>(kind),
        2 => Jcc<B>(kind),
        3 => Jcc<Ae>(kind),
        4 => Jcc<E>(kind),
        5 => Jcc<Ne>(kind),
        6 => Jcc<Be>(kind),
        7 => Jcc<A>(kind),
        8 => Jcc<S>(kind),
        9 => Jcc<Ns>(kind),
        10 => Jcc<P>(kind),
        11 => Jcc<Np>(kind),
        12 => Jcc<Lt>(kind),
        13 => Jcc<Ge>(kind),
        14 => Jcc<Le>(kind),
        _ => Jcc<Gt>(kind),
    };

    private static Handler Jcc<TCond>(int kind) where TCond : struct, ICondition => kind switch
    {
        0 => (Handler)(&Branches.Jcc64<TCond>),
        1 => (Handler)(&Branches.JccFar64<TCond>),
        _ => (Handler)(&Branches.JccLegacy<TCond>),
    };
}
