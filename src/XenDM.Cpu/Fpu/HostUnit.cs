using System;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Fpu;

/// <summary>Handlers of x87, MMX, SSE and AVX instructions that run on the host's own units.</summary>
internal static unsafe class HostUnit
{
    private const uint MxcsrMasks = 0x1f80, MxcsrFlags = 0x3f;

    /// <summary>Whether the unit may be used now (SDM 3, 13.1 and table 2-2).</summary>
    public static bool Available(CpuState* c, Op* op, HostUnitKind unit)
    {
        switch (unit)
        {
            case HostUnitKind.Integer:
                return true;
            case HostUnitKind.X87:
                if ((c->Cr0 & (Control.Cr0Em | Control.Cr0Ts)) != 0)
                {
                    Exits.Raise(c, op, Vectors.Nm, 0);
                    return false;
                }

                return X87.NoPending(c, op);
            case HostUnitKind.Mmx:
                if ((c->Cr0 & Control.Cr0Em) != 0) break;
                if ((c->Cr0 & Control.Cr0Ts) != 0)
                {
                    Exits.Raise(c, op, Vectors.Nm, 0);
                    return false;
                }

                return X87.NoPending(c, op);
            case HostUnitKind.Avx:
                if ((c->Cr4 & Control.Cr4OsXsave) == 0 || (c->Xcr0 & 6) != 6 || !Segmentation.IsProtected(c) || Segmentation.IsV86(c)) break;
                if ((c->Cr0 & Control.Cr0Ts) == 0) return true;
                Exits.Raise(c, op, Vectors.Nm, 0);
                return false;
            default:
                if ((c->Cr0 & Control.Cr0Em) != 0 || (c->Cr4 & Control.Cr4OsFxsr) == 0) break;
                if ((c->Cr0 & Control.Cr0Ts) == 0) return true;
                Exits.Raise(c, op, Vectors.Nm, 0);
                return false;
        }

        Exits.InvalidOpcode(c, op);
        return false;
    }

    public static Op* Run(CpuState* c, Op* op)
    {
        var host = (HostOp*)op->Imm;
        if (!Available(c, op, host->Unit)) return null;
        var stage = CpuState.Stage(c);
        ulong linear = 0;
        int size = host->MemorySize;
        if (size != 0)
        {
            if (!Operands.Linear(c, op, size, host->Writes != 0, out linear)) return null;
            if (host->Alignment > 1 && (linear & (ulong)(host->Alignment - 1)) != 0) return Exits.Protection(c, op);
            if (host->Reads != 0 && !ReadBytes(c, op, linear, stage, size)) return null;
            if (host->Writes != 0 && Memory.HostForWrite(c, linear, size) == null && !Memory.Probe(c, op, linear, size, Access.Write)) return null;
        }

        if (host->FlagsIn != 0) c->StageFlags = Flags.GetArithmetic(c) | 2;
        if (host->Unit == HostUnitKind.X87)
        {
            if (!X87.Run(c, op, host, stage, linear)) return null;
        }
        else if (host->Unit == HostUnitKind.Mmx)
        {
            // The host must not find an x87 exception that is pending and unmasked: with CR0.NE clear the guest may go on in spite of one.
            var control = X87.MaskExceptions(c);
            var done = host->Arithmetic == 0 || RunArithmetic(c, op, host, stage);
            if (host->Arithmetic == 0) host->Code(c, stage);
            X87.RestoreControl(c, control);
            if (!done) return null;
        }
        else if (host->Arithmetic != 0)
        {
            if (!RunArithmetic(c, op, host, stage)) return null;
        }
        else
        {
            host->Code(c, stage);
        }

        if (host->FlagsOut != 0) Flags.SetArithmetic(c, (uint)c->StageFlags & Flags.Arithmetic);
        if (host->Writes != 0 && !WriteBytes(c, op, linear, stage, size)) return null;
        return op + 1;
    }

    private static bool RunArithmetic(CpuState* c, Op* op, HostOp* host, byte* stage)
    {
        c->StageMxcsr = (c->Mxcsr & ~MxcsrFlags) | MxcsrMasks;
        if ((c->Mxcsr & MxcsrMasks) == MxcsrMasks)
        {
            host->Code(c, stage);
            c->Mxcsr |= c->StageMxcsr & MxcsrFlags;
            return true;
        }

        // With exceptions unmasked nothing may change when one happens.
        var vectors = stackalloc byte[512];
        var registers = stackalloc ulong[16];
        var fx = stackalloc byte[512];
        Buffer.MemoryCopy(CpuState.Fx(c), fx, 512, 512);
        Buffer.MemoryCopy(CpuState.Ymm(c, 0), vectors, 512, 512);
        Buffer.MemoryCopy(c->R, registers, 128, 128);
        host->Code(c, stage);
        var raised = c->StageMxcsr & MxcsrFlags;
        var unmasked = raised & ~(c->Mxcsr >> 7);
        if (unmasked == 0)
        {
            c->Mxcsr |= raised;
            return true;
        }

        // Exceptions found before the operation hide those of its result (SDM 1, 11.5.3).
        if ((unmasked & 7) != 0) raised &= 7;
        c->Mxcsr |= raised;
        Buffer.MemoryCopy(vectors, CpuState.Ymm(c, 0), 512, 512);
        Buffer.MemoryCopy(registers, c->R, 128, 128);
        Buffer.MemoryCopy(fx, CpuState.Fx(c), 512, 512);
        Exits.Raise(c, op, (c->Cr4 & Control.Cr4OsXmmExcpt) != 0 ? Vectors.Xm : Vectors.Ud, 0);
        return false;
    }

    /// <summary>Copies guest memory into a buffer; the bytes are read in pieces of at most 8.</summary>
    public static bool ReadBytes(CpuState* c, Op* op, ulong linear, byte* to, int size)
    {
        var host = Memory.HostForRead(c, linear, size);
        if (host != null)
        {
            Buffer.MemoryCopy(host, to, size, size);
            return true;
        }

        for (var done = 0; done < size;)
        {
            var piece = Math.Min(8, size - done);
            if (!Memory.ReadSlow(c, op, linear + (ulong)done, piece, out var value)) return false;
            for (var n = 0; n < piece; n++) to[done + n] = (byte)(value >> (n * 8));
            done += piece;
        }

        return true;
    }

    /// <summary>Copies to guest memory; faults come before the first byte is written.</summary>
    public static bool WriteBytes(CpuState* c, Op* op, ulong linear, byte* from, int size)
    {
        var host = Memory.HostForWrite(c, linear, size);
        if (host != null)
        {
            Buffer.MemoryCopy(from, host, size, size);
            return true;
        }

        if (!Memory.Probe(c, op, linear, size, Access.Write)) return false;
        for (var done = 0; done < size;)
        {
            var piece = Math.Min(8, size - done);
            ulong value = 0;
            for (var n = 0; n < piece; n++) value |= (ulong)from[done + n] << (n * 8);
            if (!Memory.WriteSlow(c, op, linear + (ulong)done, piece, value)) return false;
            done += piece;
        }

        return true;
    }

    // The commonest moves need no host code.

    /// <summary>MOVAPS, MOVUPS, MOVDQA, MOVDQU between registers. Dst and Src are register numbers.</summary>
    public static Op* MoveRegister(CpuState* c, Op* op)
    {
        if (!Available(c, op, HostUnitKind.Sse)) return null;
        var from = (ulong*)CpuState.Ymm(c, op->Src);
        var to = (ulong*)CpuState.Ymm(c, op->Dst);
        (to[0], to[1]) = (from[0], from[1]);
        return op + 1;
    }

    /// <summary>The same from memory; Imm is the alignment.</summary>
    public static Op* MoveLoad(CpuState* c, Op* op)
    {
        if (!Available(c, op, HostUnitKind.Sse) || !Operands.Linear(c, op, 16, false, out var at)) return null;
        if ((at & op->Imm) != 0) return Exits.Protection(c, op);
        var to = CpuState.Ymm(c, op->Dst);
        var host = Memory.HostForRead(c, at, 16);
        if (host != null)
        {
            (((ulong*)to)[0], ((ulong*)to)[1]) = (((ulong*)host)[0], ((ulong*)host)[1]);
            return op + 1;
        }

        var bytes = CpuState.Stage(c);
        if (!ReadBytes(c, op, at, bytes, 16)) return null;
        Buffer.MemoryCopy(bytes, to, 16, 16);
        return op + 1;
    }

    public static Op* MoveStore(CpuState* c, Op* op)
    {
        if (!Available(c, op, HostUnitKind.Sse) || !Operands.Linear(c, op, 16, true, out var at)) return null;
        if ((at & op->Imm) != 0) return Exits.Protection(c, op);
        var from = CpuState.Ymm(c, op->Src);
        var host = Memory.HostForWrite(c, at, 16);
        if (host == null) return WriteBytes(c, op, at, from, 16) ? op + 1 : null;
        (((ulong*)host)[0], ((ulong*)host)[1]) = (((ulong*)from)[0], ((ulong*)from)[1]);
        return op + 1;
    }
}
