using System.Runtime.CompilerServices;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Interpreter;

/// <summary>
/// Handlers that leave straight-line code. A direct branch within its page keeps a pointer to its target block in Imm: source and target share
/// the mapping they run through, and a write to the page drops both. Other branches go through the jump cache.
/// </summary>
internal static unsafe class Branches
{
    /// <summary>Starts a block: counts its instructions and leaves the loop when the budget is used up or the block is dead.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* Enter(CpuState* c, Op* from, Block* block, ulong ip)
    {
        c->Budget -= block->Count;
        if (c->Budget < 0) return CannotEnter(c, from, block, ip);
        c->R[CpuState.BlockIpRegister] = ip;
        return block->Ops;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* CannotEnter(CpuState* c, Op* from, Block* block, ulong ip)
    {
        c->Budget += block->Count;
        c->Rip = ip;
        c->Exit = ExitKind.Continue;
        if (block->Count == Block.Dead)
        {
            if (from->Imm == (ulong)block) from->Imm = 0;
        }
        else
        {
            c->Exit = ExitKind.Budget;
        }

        return null;
    }

    /// <summary>To any address, through the jump cache.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Jump(CpuState* c, Op* op, ulong ip)
    {
        c->Budget += op->Remaining;
        var linear = CpuState.SegmentAt(c, Segment.Cs)->Base + ip;
        var entry = c->Jumps + JumpIndex(linear);
        if (entry->Linear == linear && entry->Tag == c->JumpTag) return Enter(c, op, entry->Block, ip);
        return JumpSlow(c, op, ip);
    }

    public static ulong JumpIndex(ulong linear) => (linear ^ (linear >> 12)) & (CpuState.JumpEntries - 1);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* JumpSlow(CpuState* c, Op* op, ulong ip)
    {
        c->Rip = ip;
        var block = X86Cpu.Of(c).FindBlock();
        return block == null ? null : Enter(c, op, block, ip);
    }

    /// <summary>To an address in the same page, known when the code was decoded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Op* Linked(CpuState* c, Op* op, ulong ip)
    {
        c->Budget += op->Remaining;
        var block = (Block*)op->Imm;
        return block != null ? Enter(c, op, block, ip) : LinkedSlow(c, op, ip);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static Op* LinkedSlow(CpuState* c, Op* op, ulong ip)
    {
        c->Rip = ip;
        var from = c->R[CpuState.BlockIpRegister];
        var block = X86Cpu.Of(c).FindBlock();
        if (block == null) return null;
        // Blocks whose last instruction crosses into the next page depend on that page's mapping too.
        var baseAddress = c->Seg[Segment.Cs].Base;
        if (((baseAddress + from) ^ (baseAddress + ip)) >> 12 == 0 && block->SecondPage == ulong.MaxValue)
            op->Imm = (ulong)block;
        return Enter(c, op, block, ip);
    }

    // Near branches. Targets lie at a distance from the start of the block (Disp). Outside 64-bit mode the target has the operand size's width and
    // must lie within CS's limit.

    public static Op* JumpNear64(CpuState* c, Op* op) => Linked(c, op, c->R[CpuState.BlockIpRegister] + (ulong)op->Disp);

    public static Op* JumpFar64(CpuState* c, Op* op) => Jump(c, op, c->R[CpuState.BlockIpRegister] + (ulong)op->Disp);

    private static bool Target(CpuState* c, Op* op, out ulong ip) => Target(c, op, c->R[CpuState.BlockIpRegister] + (ulong)op->Disp, op->Scale, out ip);

    /// <param name="size">Operand size in bytes.</param>
    public static bool Target(CpuState* c, Op* op, ulong address, int size, out ulong ip)
    {
        ip = size == 2 ? (ushort)address : size == 4 ? (uint)address : address;
        if ((c->Mode & 3) == 2)
        {
            if (Mmu.Memory.IsCanonical(ip)) return true;
        }
        else if (ip <= c->CodeLimit)
        {
            return true;
        }

        Exits.Protection(c, op);
        return false;
    }

    public static Op* JumpLegacy(CpuState* c, Op* op) => Target(c, op, out var ip) ? Jump(c, op, ip) : null;

    /// <summary>The end of a block that has no branch.</summary>
    public static Op* FallThrough(CpuState* c, Op* op)
    {
        var ip = Exits.MaskIp(c, c->R[CpuState.BlockIpRegister] + op->Ip);
        return Jump(c, op, ip);
    }

    public static Op* Jcc64<TCond>(CpuState* c, Op* op) where TCond : struct, ICondition => TCond.Holds(c) ? Linked(c, op, c->R[CpuState.BlockIpRegister] + (ulong)op->Disp) : op + 1;

    public static Op* JccFar64<TCond>(CpuState* c, Op* op) where TCond : struct, ICondition => TCond.Holds(c) ? Jump(c, op, c->R[CpuState.BlockIpRegister] + (ulong)op->Disp) : op + 1;

    public static Op* JccLegacy<TCond>(CpuState* c, Op* op) where TCond : struct, ICondition => TCond.Holds(c) ? Target(c, op, out var ip) ? Jump(c, op, ip) : null : op + 1;

    /// <summary>JCXZ, LOOP, LOOPE, LOOPNE: Aux 0 to 3 as listed; Src the width of the count in bytes.</summary>
    public static Op* Loop(CpuState* c, Op* op)
    {
        var mask = op->Src == 8 ? ulong.MaxValue : op->Src == 4 ? uint.MaxValue : ushort.MaxValue;
        var count = c->R[1] & mask;
        bool taken;
        if (op->Aux == 0)
        {
            taken = count == 0;
        }
        else
        {
            count = (count - 1) & mask;
            taken = count != 0 && (op->Aux == 1 || Flags.GetZf(c) == (op->Aux == 2));
        }

        ulong ip = 0;
        if (taken && !Target(c, op, out ip)) return null;
        if (op->Aux != 0)
        {
            if (op->Src == 2) *(ushort*)&c->R[1] = (ushort)count;
            else c->R[1] = count;
        }

        return taken ? Jump(c, op, ip) : op + 1;
    }

    public static Op* Call64(CpuState* c, Op* op)
    {
        var start = c->R[CpuState.BlockIpRegister];
        return Stack64.Push<ulong>(c, op, start + op->NextIp) ? Jump(c, op, start + (ulong)op->Disp) : null;
    }

    public static Op* CallLegacy<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack =>
        Target(c, op, out var ip) && TS.Push<T>(c, op, Exits.NextIp(c, op)) ? Jump(c, op, ip) : null;

    public static Op* Ret64(CpuState* c, Op* op)
    {
        if (!Stack64.Read<ulong>(c, op, 0, out var ip)) return null;
        if (!Mmu.Memory.IsCanonical(ip)) return Exits.Protection(c, op);
        c->R[4] += 8 + op->Imm;
        return Jump(c, op, ip);
    }

    public static Op* RetLegacy<T, TS>(CpuState* c, Op* op) where T : unmanaged where TS : struct, IStack
    {
        if (!TS.Read<T>(c, op, 0, out var address) || !Target(c, op, address, sizeof(T), out var ip)) return null;
        TS.Move(c, sizeof(T) + (long)op->Imm);
        return Jump(c, op, ip);
    }

    public static Op* JumpReg64(CpuState* c, Op* op) => JumpTo64(c, op, *(ulong*)((byte*)c + op->Dst));

    public static Op* JumpMem64<TA>(CpuState* c, Op* op) where TA : struct, IAddressing =>
        TA.Linear(c, op, 8, false, out var at) && Mmu.Memory.Read<ulong>(c, op, at, out var ip) ? JumpTo64(c, op, ip) : null;

    private static Op* JumpTo64(CpuState* c, Op* op, ulong ip) => Mmu.Memory.IsCanonical(ip) ? Jump(c, op, ip) : Exits.Protection(c, op);

    public static Op* CallReg64(CpuState* c, Op* op) => CallTo64(c, op, *(ulong*)((byte*)c + op->Dst));

    public static Op* CallMem64<TA>(CpuState* c, Op* op) where TA : struct, IAddressing =>
        TA.Linear(c, op, 8, false, out var at) && Mmu.Memory.Read<ulong>(c, op, at, out var ip) ? CallTo64(c, op, ip) : null;

    private static Op* CallTo64(CpuState* c, Op* op, ulong ip)
    {
        if (!Mmu.Memory.IsCanonical(ip)) return Exits.Protection(c, op);
        return Stack64.Push<ulong>(c, op, c->R[CpuState.BlockIpRegister] + op->NextIp) ? Jump(c, op, ip) : null;
    }
}

/// <summary>A condition code as a type, so that each has its own handler.</summary>
internal unsafe interface ICondition
{
    static abstract bool Holds(CpuState* c);
}

internal readonly struct O : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetOf(c); }
internal readonly struct No : ICondition { public static unsafe bool Holds(CpuState* c) => !Flags.GetOf(c); }
internal readonly struct B : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetCf(c); }
internal readonly struct Ae : ICondition { public static unsafe bool Holds(CpuState* c) => !Flags.GetCf(c); }
internal readonly struct E : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetZf(c); }
internal readonly struct Ne : ICondition { public static unsafe bool Holds(CpuState* c) => !Flags.GetZf(c); }
internal readonly struct Be : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetCf(c) || Flags.GetZf(c); }
internal readonly struct A : ICondition { public static unsafe bool Holds(CpuState* c) => !(Flags.GetCf(c) || Flags.GetZf(c)); }
internal readonly struct S : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetSf(c); }
internal readonly struct Ns : ICondition { public static unsafe bool Holds(CpuState* c) => !Flags.GetSf(c); }
internal readonly struct P : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetPf(c); }
internal readonly struct Np : ICondition { public static unsafe bool Holds(CpuState* c) => !Flags.GetPf(c); }
internal readonly struct Lt : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetSf(c) != Flags.GetOf(c); }
internal readonly struct Ge : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetSf(c) == Flags.GetOf(c); }
internal readonly struct Le : ICondition { public static unsafe bool Holds(CpuState* c) => Flags.GetZf(c) || Flags.GetSf(c) != Flags.GetOf(c); }
internal readonly struct Gt : ICondition { public static unsafe bool Holds(CpuState* c) => !(Flags.GetZf(c) || Flags.GetSf(c) != Flags.GetOf(c)); }
