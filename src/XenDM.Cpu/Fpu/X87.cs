using System;
using Iced.Intel;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Fpu;

/// <summary>x87 exceptions, control instructions and the saved images (SDM 1, chapters 8, 10.5 and 13).</summary>
internal static unsafe class X87
{
    // Offsets in the FXSAVE image.
    private const int Fcw = 0, Fsw = 2, Ftw = 4, Fop = 6, Fip = 8, Fdp = 16, Registers0 = 32;
    private const ushort ErrorSummary = 0x80, Busy = 0x8000;
    private const int Exceptions = 0x3f, BeforeOperation = 7;

    private static ref ushort U16(CpuState* c, int offset) => ref *(ushort*)(CpuState.Fx(c) + offset);

    private static ref ulong U64(CpuState* c, int offset) => ref *(ulong*)(CpuState.Fx(c) + offset);

    public static void Reset(CpuState* c)
    {
        new Span<byte>(CpuState.Fx(c), 512).Clear();
        U16(c, Fcw) = 0x37f;
        *(uint*)(CpuState.Fx(c) + 24) = 0x1f80;
        *(uint*)(CpuState.Fx(c) + 28) = 0xffff;
    }

    /// <summary>An unmasked exception is delivered at the next waiting instruction.</summary>
    public static bool NoPending(CpuState* c, Op* op)
    {
        if ((U16(c, Fsw) & ErrorSummary) == 0) return true;
        if ((c->Cr0 & Control.Cr0Ne) != 0)
        {
            Exits.Raise(c, op, Vectors.Mf, 0);
            return false;
        }

        // Without CR0.NE the FERR# pin raises IRQ 13 on a PC.
        X86Cpu.Of(c).Bus.FloatingPointError(X86Cpu.Of(c));
        return true;
    }

    /// <summary>Runs host code with all exceptions masked, then does what unmasked ones ask for.</summary>
    public static bool Run(CpuState* c, Op* op, HostOp* host, byte* stage, ulong linear)
    {
        var control = U16(c, Fcw);
        if ((control & Exceptions) == Exceptions)
        {
            host->Code(c, stage);
        }
        else
        {
            var before = stackalloc byte[512];
            Buffer.MemoryCopy(CpuState.Fx(c), before, 512, 512);
            var status = U16(c, Fsw);
            U16(c, Fcw) = (ushort)(control | Exceptions);
            U16(c, Fsw) = (ushort)(status & ~(Exceptions | ErrorSummary | Busy));
            host->Code(c, stage);
            var raised = U16(c, Fsw) & Exceptions;
            var unmasked = raised & ~control;
            if ((unmasked & BeforeOperation) != 0)
            {
                // The operands stay; of the status word only the exception shows (and C1 for the stack).
                var shown = (ushort)(U16(c, Fsw) & 0x240 & ((raised & 1) != 0 ? 0x240 : 0));
                Buffer.MemoryCopy(before, CpuState.Fx(c), 512, 512);
                U16(c, Fsw) = (ushort)(status | shown | (raised & (BeforeOperation | 0x40)));
                if (host->Writes != 0) host = null;
            }
            else
            {
                U16(c, Fsw) = (ushort)(U16(c, Fsw) | (status & Exceptions));
            }

            U16(c, Fcw) = control;
            if (unmasked != 0) U16(c, Fsw) |= ErrorSummary | Busy;
            else U16(c, Fsw) = (ushort)((U16(c, Fsw) & ~(ErrorSummary | Busy)) | (status & (ErrorSummary | Busy)));
            Note(c, op, linear);
            // A store whose operand was invalid writes nothing: the instruction ends without its memory write.
            if (host == null)
            {
                Exits.AfterInstruction(c, op);
                return false;
            }

            return true;
        }

        Note(c, op, linear);
        return true;
    }

    /// <summary>Masks all exceptions; gives the guest's control word.</summary>
    public static ushort MaskExceptions(CpuState* c)
    {
        var control = U16(c, Fcw);
        U16(c, Fcw) = (ushort)(control | Exceptions);
        return control;
    }

    public static void RestoreControl(CpuState* c, ushort control)
    {
        U16(c, Fcw) = control;
        UpdateSummary(c);
    }

    private static void Note(CpuState* c, Op* op, ulong linear)
    {
        U64(c, Fip) = Exits.Ip(c, op);
        if (linear != 0) U64(c, Fdp) = linear;
        U16(c, Fop) = 0;
    }

    // Control instructions. They do not wait, but for FWAIT, FLDCW, FLDENV and FRSTOR.

    public static Op* ControlOp(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        if (i->Mnemonic == Mnemonic.Wait)
        {
            if ((c->Cr0 & (Control.Cr0Mp | Control.Cr0Ts)) == (Control.Cr0Mp | Control.Cr0Ts)) return Exits.Raise(c, op, Vectors.Nm, 0);
            return NoPending(c, op) ? op + 1 : null;
        }

        if ((c->Cr0 & (Control.Cr0Em | Control.Cr0Ts)) != 0) return Exits.Raise(c, op, Vectors.Nm, 0);
        switch (i->Mnemonic)
        {
            case Mnemonic.Fninit:
                Initialise(c);
                return op + 1;
            case Mnemonic.Fnclex:
                U16(c, Fsw) &= 0x7f00;
                return op + 1;
            case Mnemonic.Fnstcw:
                return Operands.WriteMemory(c, op, 2, 0, U16(c, Fcw)) ? op + 1 : null;
            case Mnemonic.Fnstsw:
                return Operands.Write(c, op, 0, 2, U16(c, Fsw)) ? op + 1 : null;
            case Mnemonic.Fldcw:
                {
                    if (!NoPending(c, op) || !Operands.ReadMemory(c, op, 2, 0, out var value)) return null;
                    U16(c, Fcw) = (ushort)((value & 0x1f3f) | 0x40);
                    UpdateSummary(c);
                    return op + 1;
                }

            case Mnemonic.Fnstenv:
                if (!WriteEnvironment(c, op, out _)) return null;
                U16(c, Fcw) |= Exceptions;
                UpdateSummary(c);
                return op + 1;
            case Mnemonic.Fldenv:
                return NoPending(c, op) && ReadEnvironment(c, op, out _) ? op + 1 : null;
            case Mnemonic.Fnsave:
                return Save(c, op);
            case Mnemonic.Frstor:
                return NoPending(c, op) ? Restore(c, op) : null;
            default:
                // FNENI, FNDISI, FNSETPM of the 8087 and 80287 do nothing.
                return op + 1;
        }
    }

    private static void UpdateSummary(CpuState* c)
    {
        var unmasked = U16(c, Fsw) & ~U16(c, Fcw) & Exceptions;
        U16(c, Fsw) = (ushort)((U16(c, Fsw) & ~(ErrorSummary | Busy)) | (unmasked != 0 ? ErrorSummary | Busy : 0));
    }

    /// <summary>The two-bit tags of the environment from the one-bit tags kept here.</summary>
    public static ushort FullTags(CpuState* c)
    {
        var top = (U16(c, Fsw) >> 11) & 7;
        var tags = 0;
        for (var physical = 0; physical < 8; physical++)
        {
            var tag = 3;
            if ((U16(c, Ftw) >> physical & 1) != 0)
            {
                var r = CpuState.Fx(c) + Registers0 + (((physical - top) & 7) * 16);
                var exponent = *(ushort*)(r + 8) & 0x7fff;
                var mantissa = *(ulong*)r;
                tag = exponent == 0 && mantissa == 0 ? 1 : exponent is 0 or 0x7fff || mantissa >> 63 == 0 ? 2 : 0;
            }

            tags |= tag << (physical * 2);
        }

        return (ushort)tags;
    }

    /// <summary>14 or 28 bytes, real or protected layout (SDM 1, figures 8-9 to 8-12).</summary>
    private static bool WriteEnvironment(CpuState* c, Op* op, out int bytes)
    {
        var wide = op->Dst == 4;
        bytes = wide ? 28 : 14;
        var unit = wide ? 4 : 2;
        var real = !Segmentation.IsProtected(c) || Segmentation.IsV86(c);
        ulong ip = (uint)U64(c, Fip), dp = (uint)U64(c, Fdp), cs = 0, ds = 0, opcode = (ulong)U16(c, Fop) & 0x7ff;
        var v = stackalloc ulong[7];
        v[0] = U16(c, Fcw);
        v[1] = U16(c, Fsw);
        v[2] = FullTags(c);
        if (real)
        {
            v[3] = ip & 0xffff;
            v[4] = ((ip >> 16) << 12) | opcode;
            v[5] = dp & 0xffff;
            v[6] = (dp >> 16) << 12;
        }
        else
        {
            v[3] = ip;
            v[4] = cs | (wide ? opcode << 16 : 0);
            v[5] = dp;
            v[6] = ds;
        }

        for (var n = 0; n < 7; n++)
        {
            var value = wide ? v[n] | (n is 0 or 1 or 2 || (n == 6 && !real) ? 0xffff_0000 : 0) : v[n] & 0xffff;
            if (!Operands.WriteMemory(c, op, unit, (ulong)(n * unit), value & Operands.Mask(unit))) return false;
        }

        return true;
    }

    private static bool ReadEnvironment(CpuState* c, Op* op, out int bytes)
    {
        var wide = op->Dst == 4;
        bytes = wide ? 28 : 14;
        var unit = wide ? 4 : 2;
        var v = stackalloc ulong[7];
        for (var n = 0; n < 7; n++)
            if (!Operands.ReadMemory(c, op, unit, (ulong)(n * unit), out v[n])) return false;
        U16(c, Fcw) = (ushort)((v[0] & 0x1f3f) | 0x40);
        Rotate(c, (int)((v[1] >> 11) & 7) - ((U16(c, Fsw) >> 11) & 7));
        U16(c, Fsw) = (ushort)v[1];
        var tags = 0;
        for (var n = 0; n < 8; n++)
            if (((v[2] >> (n * 2)) & 3) != 3) tags |= 1 << n;
        U16(c, Ftw) = (ushort)tags;
        U64(c, Fip) = v[3];
        U64(c, Fdp) = v[5];
        UpdateSummary(c);
        return true;
    }

    /// <summary>The image lists the registers from TOP on: when TOP alone changes, the list turns.</summary>
    private static void Rotate(CpuState* c, int by)
    {
        if ((by & 7) == 0) return;
        var registers = CpuState.Fx(c) + Registers0;
        var old = stackalloc byte[128];
        Buffer.MemoryCopy(registers, old, 128, 128);
        for (var n = 0; n < 8; n++) Buffer.MemoryCopy(old + (((n + by) & 7) * 16), registers + (n * 16), 16, 16);
    }

    private static Op* Save(CpuState* c, Op* op)
    {
        var size = op->Dst == 4 ? 28 : 14;
        if (!Operands.Linear(c, op, size + 80, true, out var at) || !Memory.Probe(c, op, at, size + 80, Access.Write)) return null;
        if (!WriteEnvironment(c, op, out var bytes)) return null;
        for (var n = 0; n < 8; n++)
        {
            var r = CpuState.Fx(c) + Registers0 + (n * 16);
            if (!Operands.WriteMemory(c, op, 8, (ulong)(bytes + (n * 10)), *(ulong*)r) || !Operands.WriteMemory(c, op, 2, (ulong)(bytes + (n * 10) + 8), *(ushort*)(r + 8))) return null;
        }

        Initialise(c);
        return op + 1;
    }

    /// <summary>FNINIT: the registers keep what they hold.</summary>
    private static void Initialise(CpuState* c)
    {
        Rotate(c, -((U16(c, Fsw) >> 11) & 7));
        U16(c, Fcw) = 0x37f;
        U16(c, Fsw) = 0;
        U16(c, Ftw) = 0;
        U16(c, Fop) = 0;
        U64(c, Fip) = U64(c, Fdp) = 0;
    }

    private static Op* Restore(CpuState* c, Op* op)
    {
        var bytes = op->Dst == 4 ? 28 : 14;
        var registers = stackalloc byte[80];
        if (!Operands.Linear(c, op, bytes + 80, false, out var at) || !HostUnit.ReadBytes(c, op, at + (ulong)bytes, registers, 80)) return null;
        if (!ReadEnvironment(c, op, out _)) return null;
        for (var n = 0; n < 8; n++)
        {
            var r = CpuState.Fx(c) + Registers0 + (n * 16);
            *(ulong*)r = *(ulong*)(registers + (n * 10));
            *(ulong*)(r + 8) = *(ushort*)(registers + (n * 10) + 8);
        }

        return op + 1;
    }

    // FXSAVE, XSAVE and MXCSR.

    public static Op* Fxsave(CpuState* c, Op* op)
    {
        if ((c->Cr0 & (Control.Cr0Em | Control.Cr0Ts)) != 0) return Exits.Raise(c, op, Vectors.Nm, 0);
        if (!Operands.Linear(c, op, 512, Operands.Of(op)->Mnemonic is Mnemonic.Fxsave or Mnemonic.Fxsave64, out var at)) return null;
        if ((at & 15) != 0) return Exits.Protection(c, op);
        var image = stackalloc byte[512];
        if (Operands.Of(op)->Mnemonic is Mnemonic.Fxsave or Mnemonic.Fxsave64)
        {
            if (!HostUnit.ReadBytes(c, op, at, image, 512)) return null;
            Legacy(c, image, 3);
            return HostUnit.WriteBytes(c, op, at, image, (c->Cr4 & Control.Cr4OsFxsr) != 0 ? 416 : 160) ? op + 1 : null;
        }

        if (!HostUnit.ReadBytes(c, op, at, image, 512)) return null;
        if ((*(uint*)(image + 24) & ~0xffffu) != 0) return Exits.Protection(c, op);
        LoadLegacy(c, image, (c->Cr4 & Control.Cr4OsFxsr) != 0 ? 3u : 1u);
        return op + 1;
    }

    /// <summary>Fills the first 512 bytes of a saved image. Components: 1 x87, 2 SSE.</summary>
    private static void Legacy(CpuState* c, byte* image, ulong components)
    {
        if ((components & 1) != 0)
        {
            Buffer.MemoryCopy(CpuState.Fx(c), image, 24, 24);
            image[5] = 0;
            Buffer.MemoryCopy(CpuState.Fx(c) + Registers0, image + Registers0, 128, 128);
            for (var n = 0; n < 8; n++) new Span<byte>(image + Registers0 + (n * 16) + 10, 6).Clear();
        }

        if ((components & 2) == 0) return;
        *(uint*)(image + 24) = c->Mxcsr;
        *(uint*)(image + 28) = 0xffff;
        var count = Segmentation.Is64(c) ? 16 : 8;
        for (var n = 0; n < count; n++) Buffer.MemoryCopy(CpuState.Ymm(c, n), image + 160 + (n * 16), 16, 16);
    }

    private static void LoadLegacy(CpuState* c, byte* image, ulong components)
    {
        if ((components & 1) != 0)
        {
            Buffer.MemoryCopy(image, CpuState.Fx(c), 24, 24);
            CpuState.Fx(c)[5] = 0;
            U16(c, Fcw) = (ushort)((U16(c, Fcw) & 0x1f3f) | 0x40);
            Buffer.MemoryCopy(image + Registers0, CpuState.Fx(c) + Registers0, 128, 128);
            UpdateSummary(c);
        }

        if ((components & 2) == 0) return;
        c->Mxcsr = *(uint*)(image + 24) & 0xffff;
        var count = Segmentation.Is64(c) ? 16 : 8;
        for (var n = 0; n < count; n++) Buffer.MemoryCopy(image + 160 + (n * 16), CpuState.Ymm(c, n), 16, 16);
    }

    public static Op* Xsave(CpuState* c, Op* op)
    {
        var features = X86Cpu.Of(c).Features;
        if (!features.HasXsave || (c->Cr4 & Control.Cr4OsXsave) == 0) return Exits.InvalidOpcode(c, op);
        if ((c->Cr0 & Control.Cr0Ts) != 0) return Exits.Raise(c, op, Vectors.Nm, 0);
        var wanted = ((uint)c->R[0] | (c->R[2] << 32)) & c->Xcr0;
        if (!Operands.Linear(c, op, 576, true, out var at)) return null;
        if ((at & 63) != 0) return Exits.Protection(c, op);
        var bytes = (int)CpuFeatures.XsaveBytes(wanted);
        var image = stackalloc byte[832];
        if (!HostUnit.ReadBytes(c, op, at, image, bytes)) return null;
        Legacy(c, image, wanted & 3);
        if ((wanted & 6) != 0)
        {
            *(uint*)(image + 24) = c->Mxcsr;
            *(uint*)(image + 28) = 0xffff;
        }

        if ((wanted & 4) != 0)
        {
            var count = Segmentation.Is64(c) ? 16 : 8;
            for (var n = 0; n < count; n++) Buffer.MemoryCopy(CpuState.Ymm(c, n) + 16, image + 576 + (n * 16), 16, 16);
        }

        *(ulong*)(image + 512) = (*(ulong*)(image + 512) & ~wanted) | wanted;
        return HostUnit.WriteBytes(c, op, at, image, bytes) ? op + 1 : null;
    }

    public static Op* Xrstor(CpuState* c, Op* op)
    {
        var features = X86Cpu.Of(c).Features;
        if (!features.HasXsave || (c->Cr4 & Control.Cr4OsXsave) == 0) return Exits.InvalidOpcode(c, op);
        if ((c->Cr0 & Control.Cr0Ts) != 0) return Exits.Raise(c, op, Vectors.Nm, 0);
        var wanted = ((uint)c->R[0] | (c->R[2] << 32)) & c->Xcr0;
        if (!Operands.Linear(c, op, 576, false, out var at)) return null;
        if ((at & 63) != 0) return Exits.Protection(c, op);
        var bytes = (int)CpuFeatures.XsaveBytes(wanted);
        var image = stackalloc byte[832];
        if (!HostUnit.ReadBytes(c, op, at, image, bytes)) return null;
        var present = *(ulong*)(image + 512);
        if ((present & ~c->Xcr0) != 0 || *(ulong*)(image + 520) != 0 || *(ulong*)(image + 528) != 0) return Exits.Protection(c, op);
        if ((wanted & 6) != 0 && (*(uint*)(image + 24) & ~0xffffu) != 0) return Exits.Protection(c, op);
        if ((wanted & 1) != 0)
        {
            if ((present & 1) != 0) LoadLegacy(c, image, 1);
            else ResetX87(c);
        }

        var count = Segmentation.Is64(c) ? 16 : 8;
        if ((wanted & 6) != 0) c->Mxcsr = *(uint*)(image + 24) & 0xffff;
        for (var n = 0; n < count; n++)
        {
            if ((wanted & 2) != 0)
            {
                if ((present & 2) != 0) Buffer.MemoryCopy(image + 160 + (n * 16), CpuState.Ymm(c, n), 16, 16);
                else new Span<byte>(CpuState.Ymm(c, n), 16).Clear();
            }

            if ((wanted & 4) != 0)
            {
                if ((present & 4) != 0) Buffer.MemoryCopy(image + 576 + (n * 16), CpuState.Ymm(c, n) + 16, 16, 16);
                else new Span<byte>(CpuState.Ymm(c, n) + 16, 16).Clear();
            }
        }

        return op + 1;
    }

    private static void ResetX87(CpuState* c)
    {
        new Span<byte>(CpuState.Fx(c), 24).Clear();
        new Span<byte>(CpuState.Fx(c) + Registers0, 128).Clear();
        U16(c, Fcw) = 0x37f;
    }

    public static Op* MxcsrOp(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var vex = i->Mnemonic is Mnemonic.Vldmxcsr or Mnemonic.Vstmxcsr;
        if (!HostUnit.Available(c, op, vex ? HostUnitKind.Avx : HostUnitKind.Sse)) return null;
        if (i->Mnemonic is Mnemonic.Stmxcsr or Mnemonic.Vstmxcsr) return Operands.WriteMemory(c, op, 4, 0, c->Mxcsr) ? op + 1 : null;
        if (!Operands.ReadMemory(c, op, 4, 0, out var value)) return null;
        if ((value & ~0xfffful) != 0) return Exits.Protection(c, op);
        c->Mxcsr = (uint)value;
        return op + 1;
    }

    public static Op* ZeroVectors(CpuState* c, Op* op)
    {
        if (!HostUnit.Available(c, op, HostUnitKind.Avx)) return null;
        var all = Operands.Of(op)->Mnemonic == Mnemonic.Vzeroall;
        var count = Segmentation.Is64(c) ? 16 : 8;
        for (var n = 0; n < count; n++) new Span<byte>(CpuState.Ymm(c, n) + (all ? 0 : 16), all ? 32 : 16).Clear();
        return op + 1;
    }

    /// <summary>Masked moves and gathers: elements whose mask is clear touch no memory.</summary>
    public static Op* Masked(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        if (i->Mnemonic is Mnemonic.Maskmovdqu or Mnemonic.Maskmovq or Mnemonic.Vmaskmovdqu) return MaskedBytes(c, op);
        if (!HostUnit.Available(c, op, HostUnitKind.Avx)) return null;
        var ymm = i->Op0Register.IsYMM() || i->Op1Register.IsYMM() || i->Op2Register.IsYMM();
        if (i->IsVsib) return Gather(c, op);
        var element = i->Mnemonic is Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovq ? 8 : 4;
        var store = i->GetOpKind(0) == OpKind.Memory;
        var bytes = ymm ? 32 : 16;
        var mask = CpuState.Ymm(c, i->Op1Register.GetNumber());
        var result = stackalloc byte[32];
        new Span<byte>(result, 32).Clear();
        for (var n = 0; n < bytes; n += element)
        {
            if ((mask[n + element - 1] & 0x80) == 0) continue;
            if (store)
            {
                var from = CpuState.Ymm(c, i->Op2Register.GetNumber()) + n;
                if (!Operands.WriteMemory(c, op, element, (ulong)n, element == 8 ? *(ulong*)from : *(uint*)from)) return null;
            }
            else
            {
                if (!Operands.ReadMemory(c, op, element, (ulong)n, out var value)) return null;
                if (element == 8) *(ulong*)(result + n) = value;
                else *(uint*)(result + n) = (uint)value;
            }
        }

        if (!store) Buffer.MemoryCopy(result, CpuState.Ymm(c, i->Op0Register.GetNumber()), 32, 32);
        return op + 1;
    }

    private static Op* MaskedBytes(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var mmx = i->Mnemonic == Mnemonic.Maskmovq;
        if (!HostUnit.Available(c, op, mmx ? HostUnitKind.Mmx : i->Mnemonic == Mnemonic.Maskmovdqu ? HostUnitKind.Sse : HostUnitKind.Avx)) return null;
        var first = i->OpCount - 2;
        var data = mmx ? CpuState.Fx(c) + Registers0 + (i->GetOpRegister(first).GetNumber() * 16) : CpuState.Ymm(c, i->GetOpRegister(first).GetNumber());
        var mask = mmx ? CpuState.Fx(c) + Registers0 + (i->GetOpRegister(first + 1).GetNumber() * 16) : CpuState.Ymm(c, i->GetOpRegister(first + 1).GetNumber());
        for (var n = 0; n < (mmx ? 8 : 16); n++)
            if ((mask[n] & 0x80) != 0 && !Operands.WriteMemory(c, op, 1, (ulong)n, data[n])) return null;
        return op + 1;
    }

    private static Op* Gather(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var element = i->Mnemonic is Mnemonic.Vpgatherdq or Mnemonic.Vpgatherqq or Mnemonic.Vgatherdpd or Mnemonic.Vgatherqpd ? 8 : 4;
        var index = i->Mnemonic is Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq or Mnemonic.Vgatherqps or Mnemonic.Vgatherqpd ? 8 : 4;
        var vector = i->Op0Register.IsYMM() ? 32 : 16;
        var indexBytes = i->MemoryIndex.IsYMM() ? 32 : 16;
        var count = Math.Min(vector / element, indexBytes / index);
        int d = i->Op0Register.GetNumber(), x = i->MemoryIndex.GetNumber(), m = i->Op2Register.GetNumber();
        if (d == x || d == m || x == m) return Exits.InvalidOpcode(c, op);
        var destination = CpuState.Ymm(c, d);
        var mask = CpuState.Ymm(c, m);
        for (var n = 0; n < count; n++)
        {
            if ((mask[(n * element) + element - 1] & 0x80) != 0)
            {
                var at = CpuState.Ymm(c, x) + (n * index);
                var offset = (ulong)((index == 8 ? *(long*)at : *(int*)at) * i->MemoryIndexScale);
                if (!Operands.ReadMemory(c, op, element, offset, out var value)) return null;
                if (element == 8) ((ulong*)destination)[n] = value;
                else ((uint*)destination)[n] = (uint)value;
            }

            new Span<byte>(mask + (n * element), element).Clear();
        }

        new Span<byte>(mask, 32).Clear();
        new Span<byte>(destination + (count * element), 32 - (count * element)).Clear();
        return op + 1;
    }
}
