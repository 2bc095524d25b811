using Iced.Intel;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Interpreter;

/// <summary>Operands of instructions that have no handler of their own per width and addressing: read and written by the decoded instruction in Imm.</summary>
internal static unsafe class Operands
{
    /// <summary>Aux of such an operation: how memory is addressed.</summary>
    public const byte Long = 0, Long32 = 1, Seg32 = 2, Seg16 = 3;

    public static Instruction* Of(Op* op) => (Instruction*)op->Imm;

    public static bool Linear(CpuState* c, Op* op, int size, bool write, out ulong linear) => Linear(c, op, size, write, 0, out linear);

    /// <param name="displace">Added to the address before it is cut to its width.</param>
    public static bool Linear(CpuState* c, Op* op, int size, bool write, ulong displace, out ulong linear)
    {
        var address = Address.Effective(c, op) + displace;
        switch (op->Aux)
        {
            case Long:
                linear = address + c->Seg[op->Seg].Base;
                return true;
            case Long32:
                linear = (uint)address + c->Seg[op->Seg].Base;
                return true;
            default:
                return Address.Segmented(c, op, op->Aux == Seg16 ? (ushort)address : (uint)address, op->Seg, size, write, out linear);
        }
    }

    public static bool ReadMemory(CpuState* c, Op* op, int size, ulong displace, out ulong value)
    {
        value = 0;
        return Linear(c, op, size, false, displace, out var at) && Load(c, op, at, size, out value);
    }

    public static bool WriteMemory(CpuState* c, Op* op, int size, ulong displace, ulong value) =>
        Linear(c, op, size, true, displace, out var at) && Store(c, op, at, size, value);

    public static bool Load(CpuState* c, Op* op, ulong linear, int size, out ulong value) => size switch
    {
        1 => Memory.Read<byte>(c, op, linear, out value),
        2 => Memory.Read<ushort>(c, op, linear, out value),
        4 => Memory.Read<uint>(c, op, linear, out value),
        8 => Memory.Read<ulong>(c, op, linear, out value),
        _ => Memory.ReadSlow(c, op, linear, size, out value),
    };

    public static bool Store(CpuState* c, Op* op, ulong linear, int size, ulong value) => size switch
    {
        1 => Memory.Write<byte>(c, op, linear, value),
        2 => Memory.Write<ushort>(c, op, linear, value),
        4 => Memory.Write<uint>(c, op, linear, value),
        8 => Memory.Write<ulong>(c, op, linear, value),
        _ => Memory.WriteSlow(c, op, linear, size, value),
    };

    /// <summary>Reads operand <paramref name="index"/>, a register, memory or constant.</summary>
    public static bool Read(CpuState* c, Op* op, int index, int size, out ulong value)
    {
        var i = Of(op);
        var kind = i->GetOpKind(index);
        switch (kind)
        {
            case OpKind.Register:
                value = Get(c, Registers.Offset(i->GetOpRegister(index)), size);
                return true;
            case OpKind.Memory:
                return ReadMemory(c, op, size, 0, out value);
            default:
                value = i->GetImmediate(index) & Mask(size);
                return true;
        }
    }

    /// <summary>Writes operand <paramref name="index"/>, a register or memory.</summary>
    public static bool Write(CpuState* c, Op* op, int index, int size, ulong value)
    {
        var i = Of(op);
        if (i->GetOpKind(index) != OpKind.Register) return WriteMemory(c, op, size, 0, value);
        Set(c, Registers.Offset(i->GetOpRegister(index)), size, value);
        return true;
    }

    /// <summary>Reads an operand that will be written: a fault of the write comes first.</summary>
    public static bool ReadForWrite(CpuState* c, Op* op, int index, int size, out ulong value)
    {
        value = 0;
        if (Of(op)->GetOpKind(index) == OpKind.Register) return Read(c, op, index, size, out value);
        return Linear(c, op, size, true, out var at) && Memory.ReadForWrite(c, op, at, size, out value);
    }

    public static ulong Mask(int size) => ulong.MaxValue >> (64 - (size * 8));

    public static ulong Get(CpuState* c, byte offset, int size) => size switch
    {
        1 => Width.Reg<byte>(c, offset),
        2 => Width.Reg<ushort>(c, offset),
        4 => Width.Reg<uint>(c, offset),
        _ => Width.Reg<ulong>(c, offset),
    };

    public static void Set(CpuState* c, byte offset, int size, ulong value)
    {
        switch (size)
        {
            case 1: Width.SetReg<byte>(c, offset, value); break;
            case 2: Width.SetReg<ushort>(c, offset, value); break;
            case 4: Width.SetReg<uint>(c, offset, value); break;
            default: Width.SetReg<ulong>(c, offset, value); break;
        }
    }

    public static long SignExtend(ulong value, int size) => size switch
    {
        1 => (sbyte)value,
        2 => (short)value,
        4 => (int)value,
        _ => (long)value,
    };

    /// <summary>Pushes on the stack in its width.</summary>
    public static bool Push(CpuState* c, Op* op, int size, ulong value)
    {
        if ((c->Mode & 3) == 2) return size == 8 ? Stack64.Push<ulong>(c, op, value) : size == 4 ? Stack64.Push<uint>(c, op, value) : Stack64.Push<ushort>(c, op, value);
        return (c->Mode & CpuState.ModeStack32) != 0
            ? size == 4 ? Stack32.Push<uint>(c, op, value) : Stack32.Push<ushort>(c, op, value)
            : size == 4 ? Stack16.Push<uint>(c, op, value) : Stack16.Push<ushort>(c, op, value);
    }

    /// <summary>Reads the stack at a distance from its top.</summary>
    public static bool Peek(CpuState* c, Op* op, int size, int distance, out ulong value)
    {
        if ((c->Mode & 3) == 2)
        {
            return size == 8 ? Stack64.Read<ulong>(c, op, distance, out value) : size == 4 ? Stack64.Read<uint>(c, op, distance, out value) : Stack64.Read<ushort>(c, op, distance, out value);
        }

        return (c->Mode & CpuState.ModeStack32) != 0
            ? size == 4 ? Stack32.Read<uint>(c, op, distance, out value) : Stack32.Read<ushort>(c, op, distance, out value)
            : size == 4 ? Stack16.Read<uint>(c, op, distance, out value) : Stack16.Read<ushort>(c, op, distance, out value);
    }

    public static void MoveStack(CpuState* c, long bytes)
    {
        if ((c->Mode & 3) == 2) Stack64.Move(c, bytes);
        else if ((c->Mode & CpuState.ModeStack32) != 0) Stack32.Move(c, bytes);
        else Stack16.Move(c, bytes);
    }

    /// <summary>The stack pointer in the stack's width.</summary>
    public static ulong StackPointer(CpuState* c) => (c->Mode & 3) == 2 ? c->R[4] : (c->Mode & CpuState.ModeStack32) != 0 ? (uint)c->R[4] : (ushort)c->R[4];

    public static void SetStackPointer(CpuState* c, ulong value)
    {
        if ((c->Mode & 3) == 2) c->R[4] = value;
        else if ((c->Mode & CpuState.ModeStack32) != 0) c->R[4] = (uint)value;
        else *(ushort*)&c->R[4] = (ushort)value;
    }
}

internal static class Registers
{
    /// <summary>Byte offset of a general register in <see cref="CpuState"/>.</summary>
    public static byte Offset(Register register)
    {
        if (register is >= Register.AH and <= Register.BH) return (byte)(((register - Register.AH) * 8) + 1);
        var number = register switch
        {
            >= Register.AL and <= Register.BL => register - Register.AL,
            >= Register.SPL and <= Register.R15L => register - Register.SPL + 4,
            >= Register.AX and <= Register.R15W => register - Register.AX,
            >= Register.EAX and <= Register.R15D => register - Register.EAX,
            >= Register.RAX and <= Register.R15 => register - Register.RAX,
            _ => CpuState.ZeroRegister,
        };
        return (byte)(number * 8);
    }

    /// <summary>Index into the segments, in Intel's order.</summary>
    public static int Segment(Register register) => register is >= Register.ES and <= Register.GS ? register - Register.ES : State.Segment.None;
}
