using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Interpreter;

/// <summary>Ways out of the interpreter loop. All give null, which a handler returns.</summary>
internal static unsafe class Exits
{
    /// <summary>A fault of the instruction: it has no effect, and the saved IP is its own.</summary>
    public static Op* Raise(CpuState* c, Op* op, int vector, uint error)
    {
        AtInstruction(c, op);
        c->Exit = ExitKind.Exception;
        c->Vector = vector;
        c->ErrorCode = error;
        c->HasErrorCode = vector is Vectors.Df or (>= Vectors.Ts and <= Vectors.Pf) or Vectors.Ac ? 1 : 0;
        return null;
    }

    public static Op* PageFault(CpuState* c, Op* op, ulong linear, uint error)
    {
        c->Cr2 = linear;
        return Raise(c, op, Vectors.Pf, error);
    }

    public static Op* InvalidOpcode(CpuState* c, Op* op) => Raise(c, op, Vectors.Ud, 0);

    public static Op* Protection(CpuState* c, Op* op, uint error = 0) => Raise(c, op, Vectors.Gp, error);

    /// <summary>Leaves the loop before the instruction.</summary>
    public static void AtInstruction(CpuState* c, Op* op)
    {
        if (op == null) return;
        c->Rip = Ip(c, op);
        c->Budget += op->Remaining + 1;
    }

    /// <summary>The instruction is done and the loop is left: what code means has changed, or an event is due.</summary>
    public static Op* AfterInstruction(CpuState* c, Op* op, ExitKind kind = ExitKind.Continue) => To(c, op, NextIp(c, op), kind);

    /// <summary>Leaves the loop for an address.</summary>
    public static Op* To(CpuState* c, Op* op, ulong ip, ExitKind kind = ExitKind.Continue)
    {
        c->Rip = ip;
        c->Budget += op->Remaining;
        c->Exit = kind;
        return null;
    }

    public static ulong Ip(CpuState* c, Op* op) => MaskIp(c, c->R[CpuState.BlockIpRegister] + op->Ip);

    public static ulong NextIp(CpuState* c, Op* op) => MaskIp(c, c->R[CpuState.BlockIpRegister] + op->NextIp);

    /// <summary>Code goes on from one instruction to the next with 32 bits of IP in 16-bit segments too, up to their limit; branches alone cut it.</summary>
    public static ulong MaskIp(CpuState* c, ulong ip) => (c->Mode & 3) == 2 ? ip : (uint)ip;

    /// <summary>Patched over the instructions of a block whose page was written: what follows is decoded again.</summary>
    public static Op* Stale(CpuState* c, Op* op)
    {
        AtInstruction(c, op);
        c->Exit = ExitKind.Continue;
        return null;
    }
}
