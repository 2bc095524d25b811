using Iced.Intel;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>Far JMP, CALL, RET and IRET, with call gates and tasks (SDM 3, 5.8 and 6.12; SDM 2).</summary>
internal static unsafe class FarTransfers
{
    /// <summary>Far JMP and CALL with the pointer in the instruction or in memory. Op.Dst: operand size.</summary>
    public static Op* Direct(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        int size = op->Dst;
        uint selector;
        ulong ip;
        if (i->GetOpKind(0) == OpKind.Memory)
        {
            if (!Operands.ReadMemory(c, op, size, 0, out ip) || !Operands.ReadMemory(c, op, 2, (ulong)size, out var s)) return null;
            selector = (uint)s;
        }
        else
        {
            selector = i->FarBranchSelector;
            ip = i->GetOpKind(0) == OpKind.FarBranch16 ? i->FarBranch16 : i->FarBranch32;
        }

        return Go(c, op, selector, ip, size, i->Mnemonic == Mnemonic.Call);
    }

    private static Op* Go(CpuState* c, Op* op, uint selector, ulong ip, int size, bool call)
    {
        if (!Segmentation.IsProtected(c) || Segmentation.IsV86(c))
        {
            if (ip > c->Seg[Segment.Cs].Limit) return Exits.Protection(c, op);
            if (call)
            {
                var saved = c->R[4];
                if (!Operands.Push(c, op, size, c->Seg[Segment.Cs].Selector)) return null;
                if (!Operands.Push(c, op, size, Exits.NextIp(c, op) & Operands.Mask(size)))
                {
                    c->R[4] = saved;
                    return null;
                }
            }

            if (Segmentation.IsV86(c)) LoadCsV86(c, selector);
            else Segmentation.LoadReal(c, Segment.Cs, selector);
            Segmentation.UpdateMode(c);
            return Exits.To(c, op, ip);
        }

        if ((selector & 0xfffc) == 0) return Exits.Protection(c, op);
        if (!Segmentation.Read(c, op, selector, Vectors.Gp, out var descriptor, out var at)) return null;
        if (Segmentation.IsCode(descriptor))
        {
            if (!Segmentation.CheckCode(c, op, selector, descriptor)) return null;
            if (!Segmentation.IpFits(c, descriptor, ip)) return Exits.Protection(c, op);
            return SameLevel(c, op, selector, descriptor, at, ip, size, call);
        }

        var type = (int)(descriptor >> 40) & 0x1f;
        if (Segmentation.IsLong(c) && type != 0xc) return Exits.Protection(c, op, Segmentation.Error(selector));
        var dpl = Segmentation.DplOf(descriptor);
        switch (type)
        {
            case 4 or 0xc:
                if (dpl < c->Cpl || (selector & 3) > dpl) return Exits.Protection(c, op, Segmentation.Error(selector));
                if (!Segmentation.IsPresent(descriptor)) return Exits.Raise(c, op, Vectors.Np, Segmentation.Error(selector));
                return ThroughGate(c, op, selector, descriptor, at, type == 0xc ? 4 : 2, call);
            case 5:
                if (dpl < c->Cpl || (selector & 3) > dpl) return Exits.Protection(c, op, Segmentation.Error(selector));
                if (!Segmentation.IsPresent(descriptor)) return Exits.Raise(c, op, Vectors.Np, Segmentation.Error(selector));
                return SwitchTask(c, op, (uint)(descriptor >> 16) & 0xffff, call);
            case 1 or 9:
                if (dpl < c->Cpl || (selector & 3) > dpl) return Exits.Protection(c, op, Segmentation.Error(selector));
                return SwitchTask(c, op, selector, call);
            default:
                return Exits.Protection(c, op, Segmentation.Error(selector));
        }
    }

    private static void LoadCsV86(CpuState* c, uint selector)
    {
        Segmentation.LoadV86(c, Segment.Cs, selector);
        c->Seg[Segment.Cs].Access = 0xf3;
    }

    private static Op* SwitchTask(CpuState* c, Op* op, uint selector, bool call)
    {
        var next = Exits.NextIp(c, op);
        if (!Tasks.Switch(c, op, selector, call ? Tasks.Kind.Call : Tasks.Kind.Jump, next)) return null;
        return Exits.To(c, op, c->Rip);
    }

    /// <summary>To code that runs at the present level; the stack pointer moves when nothing can fault any more.</summary>
    private static Op* SameLevel(CpuState* c, Op* op, uint selector, ulong code, ulong at, ulong ip, int size, bool call)
    {
        var writer = new StackWriter(c, op, in c->Seg[Segment.Ss], c->R[4], c->Cpl, false);
        if (call && !(writer.Push(size, c->Seg[Segment.Cs].Selector) && writer.Push(size, Exits.NextIp(c, op) & Operands.Mask(size)))) return null;
        if (!Segmentation.SetCs(c, op, selector, code, at, c->Cpl)) return null;
        if (call) Operands.SetStackPointer(c, writer.Pointer);
        return Exits.To(c, op, ip);
    }

    private static Op* ThroughGate(CpuState* c, Op* op, uint gateSelector, ulong gate, ulong gateAt, int size, bool call)
    {
        var selector = (uint)(gate >> 16) & 0xffff;
        var ip = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000);
        var longMode = Segmentation.IsLong(c);
        if (longMode)
        {
            if ((gateSelector & 0xfff8) + 15 > ((gateSelector & 4) != 0 ? c->Seg[Segment.Ldt].Limit : c->GdtLimit)) return Exits.Protection(c, op, Segmentation.Error(gateSelector));
            if (!Memory.SystemRead(c, op, gateAt + 8, 8, out var upper)) return null;
            // The type field of the upper half must be zero (SDM 3, 5.8.3.1).
            if (((upper >> 40) & 0x1f) != 0) return Exits.Protection(c, op, Segmentation.Error(gateSelector));
            ip |= upper << 32;
            size = 8;
        }
        else if (size == 2)
        {
            ip &= 0xffff;
        }

        if ((selector & 0xfffc) == 0) return Exits.Protection(c, op);
        if (!Segmentation.Read(c, op, selector, Vectors.Gp, out var code, out var at)) return null;
        var dpl = Segmentation.DplOf(code);
        var access = Segmentation.AccessOf(code);
        if (!Segmentation.IsCode(code) || dpl > c->Cpl || (longMode && (access & (Segment.Long | Segment.Big)) != Segment.Long)) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!call && (access & Segment.Conforming) == 0 && dpl != c->Cpl) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!Segmentation.IsPresent(code)) return Exits.Raise(c, op, Vectors.Np, Segmentation.Error(selector));
        if (!Segmentation.IpFits(c, code, ip)) return Exits.Protection(c, op);
        if (!call || (access & Segment.Conforming) != 0 || dpl == c->Cpl)
        {
            return SameLevel(c, op, selector, code, at, ip, size, call);
        }

        // To an inner level: the new stack comes from the task state, parameters are copied.
        if (!Interrupts.InnerStack(c, op, dpl, 0, out var stack, out var stackSelector, out var pointer, 0)) return null;
        var parameters = longMode ? 0 : (int)(gate >> 32) & 31;
        var writer = new StackWriter(c, op, in stack, pointer, dpl, true);
        var ok = writer.Push(size, c->Seg[Segment.Ss].Selector) && writer.Push(size, c->R[4] & Operands.Mask(size));
        for (var n = parameters - 1; ok && n >= 0; n--)
            ok = Operands.Peek(c, op, size, n * size, out var value) && writer.Push(size, value);
        ok = ok && writer.Push(size, c->Seg[Segment.Cs].Selector) && writer.Push(size, Exits.NextIp(c, op) & Operands.Mask(size));
        if (!ok) return null;
        if (!Segmentation.MarkAccessed(c, op, ref code, at)) return null;
        c->Seg[Segment.Cs] = Segmentation.Make((selector & 0xfffc) | (uint)dpl, code);
        c->Cpl = dpl;
        c->Seg[Segment.Ss] = stack;
        c->Seg[Segment.Ss].Selector = (ushort)stackSelector;
        Segmentation.UpdateMode(c);
        Operands.SetStackPointer(c, writer.Pointer);
        return Exits.To(c, op, ip);
    }

    /// <summary>RETF; Op.Dst the operand size.</summary>
    public static Op* Return(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        int size = op->Dst;
        var release = i->OpCount > 0 ? (long)(ushort)i->GetImmediate(0) : 0;
        if (!Operands.Peek(c, op, size, 0, out var ip) || !Operands.Peek(c, op, size, size, out var raw)) return null;
        var selector = (uint)raw & 0xffff;
        if (!Segmentation.IsProtected(c) || Segmentation.IsV86(c))
        {
            if (ip > c->Seg[Segment.Cs].Limit) return Exits.Protection(c, op);
            Operands.MoveStack(c, (2 * size) + release);
            if (Segmentation.IsV86(c)) LoadCsV86(c, selector);
            else Segmentation.LoadReal(c, Segment.Cs, selector);
            Segmentation.UpdateMode(c);
            return Exits.To(c, op, ip);
        }

        if (!CheckReturnCode(c, op, selector, ip, out var code, out var at)) return null;
        var rpl = (int)selector & 3;
        if (rpl == c->Cpl)
        {
            var saved = c->R[4];
            Operands.MoveStack(c, (2 * size) + release);
            if (Segmentation.SetCs(c, op, selector, code, at, rpl)) return Exits.To(c, op, ip);
            c->R[4] = saved;
            return null;
        }

        if (!Operands.Peek(c, op, size, (2 * size) + (int)release, out var pointer) || !Operands.Peek(c, op, size, (3 * size) + (int)release, out raw)) return null;
        return Outward(c, op, selector, code, at, ip, (uint)raw & 0xffff, pointer, release, size) ? Exits.To(c, op, ip) : null;
    }

    private static bool CheckReturnCode(CpuState* c, Op* op, uint selector, ulong ip, out ulong code, out ulong at)
    {
        code = at = 0;
        if ((selector & 0xfffc) == 0)
        {
            Exits.Protection(c, op);
            return false;
        }

        if (!Segmentation.Read(c, op, selector, Vectors.Gp, out code, out at)) return false;
        var rpl = (int)selector & 3;
        var access = Segmentation.AccessOf(code);
        var dpl = Segmentation.DplOf(code);
        if (!Segmentation.IsCode(code) || rpl < c->Cpl || ((access & Segment.Conforming) != 0 ? dpl > rpl : dpl != rpl) ||
            (Segmentation.IsLong(c) && (access & (Segment.Long | Segment.Big)) == (Segment.Long | Segment.Big)))
            return Segmentation.Fail(c, op, Vectors.Gp, selector);
        if (!Segmentation.IsPresent(code)) return Segmentation.Fail(c, op, Vectors.Np, selector);
        if (Segmentation.IpFits(c, code, ip)) return true;
        Exits.Protection(c, op);
        return false;
    }

    /// <summary>Return to an outer level: stack and code change, data segments that are too privileged become null.</summary>
    private static bool Outward(CpuState* c, Op* op, uint selector, ulong code, ulong at, ulong ip, uint stackSelector, ulong pointer, long release, int size)
    {
        var rpl = (int)selector & 3;
        var to64 = Segmentation.IsLong(c) && (Segmentation.AccessOf(code) & Segment.Long) != 0;
        Segment stack;
        if ((stackSelector & 0xfffc) == 0)
        {
            if (!to64 || rpl == 3 || (stackSelector & 3) != rpl)
            {
                Exits.Protection(c, op);
                return false;
            }

            stack = new Segment { Selector = (ushort)stackSelector, Access = (ushort)(rpl << 5) };
        }
        else
        {
            if (!Segmentation.Read(c, op, stackSelector, Vectors.Gp, out var descriptor, out var stackAt)) return false;
            var access = Segmentation.AccessOf(descriptor);
            if ((stackSelector & 3) != rpl || Segmentation.DplOf(descriptor) != rpl ||
                (access & (Segment.NonSystem | Segment.Code | Segment.Writable)) != (Segment.NonSystem | Segment.Writable))
                return Segmentation.Fail(c, op, Vectors.Gp, stackSelector);
            if (!Segmentation.IsPresent(descriptor)) return Segmentation.Fail(c, op, Vectors.Ss, stackSelector);
            if (!Segmentation.MarkAccessed(c, op, ref descriptor, stackAt)) return false;
            stack = Segmentation.Make(stackSelector, descriptor);
        }

        if (!Segmentation.MarkAccessed(c, op, ref code, at)) return false;
        c->Seg[Segment.Cs] = Segmentation.Make(selector, code);
        c->Cpl = rpl;
        c->Seg[Segment.Ss] = stack;
        Segmentation.UpdateMode(c);
        if (Segmentation.Is64(c)) c->R[4] = pointer + (ulong)release;
        else if ((c->Mode & CpuState.ModeStack32) != 0) c->R[4] = (uint)(pointer + (ulong)release);
        else if (size == 2) *(ushort*)&c->R[4] = (ushort)(pointer + (ulong)release);
        else *(ushort*)&c->R[4] = (ushort)(pointer + (ulong)release);
        DropData(c);
        return true;
    }

    /// <summary>
    /// SDM 2, RET: data and nonconforming code segments with a DPL below the new CPL are set to null. A null selector loses its RPL, and in 64-bit
    /// mode keeps its base.
    /// </summary>
    private static void DropData(CpuState* c)
    {
        for (var s = 0; s < 6; s++)
        {
            if (s is Segment.Cs or Segment.Ss) continue;
            ref var segment = ref c->Seg[s];
            if ((segment.Selector & 0xfffc) == 0) segment.Selector = 0;
            else if (segment.Dpl < c->Cpl && (segment.Access & (Segment.Code | Segment.Conforming)) != (Segment.Code | Segment.Conforming) && segment.Is(Segment.Present))
            {
                var was = segment.Base;
                Segmentation.LoadNull(c, s, 0);
                if (Segmentation.Is64(c)) segment.Base = was;
            }
        }
    }

    /// <summary>IRET; Op.Dst the operand size.</summary>
    public static Op* InterruptReturn(CpuState* c, Op* op)
    {
        int size = op->Dst;
        X86Cpu.Of(c).NmiReturned();
        if (!Segmentation.IsProtected(c)) return ReturnReal(c, op, size);
        if (Segmentation.IsV86(c)) return ReturnFromV86(c, op, size);
        if ((c->Eflags & Flags.Nt) != 0)
        {
            if (Segmentation.IsLong(c)) return Exits.Protection(c, op);
            if (!Memory.SystemRead(c, op, c->Seg[Segment.Tr].Base, 2, out var link)) return null;
            return Tasks.Switch(c, op, (uint)link, Tasks.Kind.Return, Exits.NextIp(c, op)) ? Exits.To(c, op, c->Rip) : null;
        }

        if (!Operands.Peek(c, op, size, 0, out var ip) || !Operands.Peek(c, op, size, size, out var raw) || !Operands.Peek(c, op, size, 2 * size, out var flags)) return null;
        if ((flags & Flags.Vm) != 0 && c->Cpl == 0 && size == 4 && !Segmentation.IsLong(c)) return ReturnToV86(c, op, ip, (uint)raw, (uint)flags);

        var selector = (uint)raw & 0xffff;
        if (!CheckReturnCode(c, op, selector, ip, out var code, out var at)) return null;
        var rpl = (int)selector & 3;
        var cpl = c->Cpl;
        if (rpl > cpl || Segmentation.Is64(c))
        {
            // In 64-bit mode the stack pointer is always popped (SDM 3, 6.14.3).
            if (!Operands.Peek(c, op, size, 3 * size, out var pointer) || !Operands.Peek(c, op, size, 4 * size, out raw)) return null;
            if (rpl > cpl)
            {
                if (!Outward(c, op, selector, code, at, ip, (uint)raw & 0xffff, pointer, 0, size)) return null;
            }
            else if (!SameLevelLong(c, op, selector, code, at, (uint)raw & 0xffff, pointer))
            {
                return null;
            }

        }
        else
        {
            var saved = c->R[4];
            Operands.MoveStack(c, 3 * size);
            if (!Segmentation.SetCs(c, op, selector, code, at, rpl))
            {
                c->R[4] = saved;
                return null;
            }
        }

        LoadFlags(c, flags, size, cpl);
        return Exits.To(c, op, ip);
    }

    private static bool SameLevelLong(CpuState* c, Op* op, uint selector, ulong code, ulong at, uint stackSelector, ulong pointer)
    {
        Segment stack;
        var to64 = (Segmentation.AccessOf(code) & Segment.Long) != 0;
        if ((stackSelector & 0xfffc) == 0)
        {
            if (!to64 || c->Cpl == 3 || (stackSelector & 3) != c->Cpl)
            {
                Exits.Protection(c, op);
                return false;
            }

            stack = new Segment { Selector = (ushort)stackSelector, Access = (ushort)(c->Cpl << 5) };
        }
        else
        {
            if (!Segmentation.Read(c, op, stackSelector, Vectors.Gp, out var descriptor, out var stackAt)) return false;
            var access = Segmentation.AccessOf(descriptor);
            if ((stackSelector & 3) != c->Cpl || Segmentation.DplOf(descriptor) != c->Cpl ||
                (access & (Segment.NonSystem | Segment.Code | Segment.Writable)) != (Segment.NonSystem | Segment.Writable))
                return Segmentation.Fail(c, op, Vectors.Gp, stackSelector);
            if (!Segmentation.IsPresent(descriptor)) return Segmentation.Fail(c, op, Vectors.Ss, stackSelector);
            if (!Segmentation.MarkAccessed(c, op, ref descriptor, stackAt)) return false;
            stack = Segmentation.Make(stackSelector, descriptor);
        }

        if (!Segmentation.SetCs(c, op, selector, code, at, c->Cpl)) return false;
        c->Seg[Segment.Ss] = stack;
        Segmentation.UpdateMode(c);
        if (to64) c->R[4] = pointer;
        else Operands.SetStackPointer(c, pointer);
        return true;
    }

    /// <summary>EFLAGS as IRET and POPF take them at a privilege level.</summary>
    public static void LoadFlags(CpuState* c, ulong value, int size, int cpl)
    {
        var mask = Flags.Tf | Flags.Df | Flags.Nt;
        if (size > 2) mask |= Flags.Rf | Flags.Ac | Flags.Id;
        if (cpl == 0) mask |= Flags.Iopl | (size > 2 ? Flags.Vif | Flags.Vip : 0);
        if (cpl <= (int)((c->Eflags >> 12) & 3)) mask |= Flags.If;
        Flags.SetArithmetic(c, (uint)value & Flags.Arithmetic);
        c->Eflags = (c->Eflags & ~mask) | ((uint)value & mask);
        DropResume(c);
        Segmentation.UpdateTlb(c);
        X86Cpu.Of(c).FlagsChanged();
    }

    /// <summary>RF is for the next instruction only. Where no breakpoints are set it would stay, because nobody looks at it; so it goes at once.</summary>
    private static void DropResume(CpuState* c)
    {
        if (!X86Cpu.Of(c).StepMode) c->Eflags &= ~Flags.Rf;
    }

    private static Op* ReturnReal(CpuState* c, Op* op, int size)
    {
        if (!Operands.Peek(c, op, size, 0, out var ip) || !Operands.Peek(c, op, size, size, out var selector) || !Operands.Peek(c, op, size, 2 * size, out var flags)) return null;
        if (ip > c->Seg[Segment.Cs].Limit) return Exits.Protection(c, op);
        Operands.MoveStack(c, 3 * size);
        Segmentation.LoadReal(c, Segment.Cs, (uint)selector & 0xffff);
        Segmentation.UpdateMode(c);
        var keep = c->Eflags & (Flags.Vif | Flags.Vip);
        LoadFlags(c, flags, size, 0);
        c->Eflags = (c->Eflags & ~(Flags.Vif | Flags.Vip)) | keep;
        return Exits.To(c, op, ip);
    }

    private static Op* ReturnFromV86(CpuState* c, Op* op, int size)
    {
        var iopl = (c->Eflags >> 12) & 3;
        var vme = (c->Cr4 & Control.Cr4Vme) != 0;
        if (iopl < 3 && !(vme && size == 2)) return Exits.Protection(c, op);
        if (!Operands.Peek(c, op, size, 0, out var ip) || !Operands.Peek(c, op, size, size, out var selector) || !Operands.Peek(c, op, size, 2 * size, out var flags)) return null;
        if (ip > 0xffff) return Exits.Protection(c, op);
        if (iopl < 3)
        {
            // With VME the virtual interrupt flag stands for IF (SDM 3, 20.3).
            if ((flags & Flags.Tf) != 0 || ((flags & Flags.If) != 0 && (c->Eflags & Flags.Vip) != 0)) return Exits.Protection(c, op);
        }

        Operands.MoveStack(c, 3 * size);
        LoadCsV86(c, (uint)selector & 0xffff);
        Segmentation.UpdateMode(c);
        LoadFlagsV86(c, (uint)flags, size);
        return Exits.To(c, op, ip);
    }

    /// <summary>POPF and IRET in virtual-8086 mode: IOPL stays; with VME below IOPL 3, IF goes to VIF.</summary>
    public static void LoadFlagsV86(CpuState* c, uint flags, int size)
    {
        var mask = Flags.Tf | Flags.Df | Flags.Nt;
        if (size > 2) mask |= Flags.Rf | Flags.Ac | Flags.Id;
        if (((c->Eflags >> 12) & 3) == 3) mask |= Flags.If;
        else c->Eflags = (flags & Flags.If) != 0 ? c->Eflags | Flags.Vif : c->Eflags & ~Flags.Vif;
        Flags.SetArithmetic(c, flags & Flags.Arithmetic);
        c->Eflags = (c->Eflags & ~mask) | (flags & mask);
        DropResume(c);
        Segmentation.UpdateTlb(c);
        X86Cpu.Of(c).FlagsChanged();
    }

    private static Op* ReturnToV86(CpuState* c, Op* op, ulong ip, uint selector, uint flags)
    {
        var v = stackalloc ulong[6];
        for (var n = 0; n < 6; n++)
            if (!Operands.Peek(c, op, 4, 12 + (n * 4), out v[n])) return null;
        if (ip > 0xffff) return Exits.Protection(c, op);
        c->Eflags = (flags & (Flags.Tf | Flags.If | Flags.Df | Flags.Iopl | Flags.Nt | Flags.Rf | Flags.Vm | Flags.Ac | Flags.Vif | Flags.Vip | Flags.Id)) | 2;
        Flags.SetArithmetic(c, flags & Flags.Arithmetic);
        DropResume(c);
        c->Cpl = 3;
        LoadCsV86(c, selector & 0xffff);
        Segmentation.LoadV86(c, Segment.Ss, (uint)v[1] & 0xffff);
        Segmentation.LoadV86(c, Segment.Es, (uint)v[2] & 0xffff);
        Segmentation.LoadV86(c, Segment.Ds, (uint)v[3] & 0xffff);
        Segmentation.LoadV86(c, Segment.Fs, (uint)v[4] & 0xffff);
        Segmentation.LoadV86(c, Segment.Gs, (uint)v[5] & 0xffff);
        c->R[4] = (uint)v[0];
        Segmentation.UpdateMode(c);
        X86Cpu.Of(c).FlagsChanged();
        return Exits.To(c, op, ip);
    }
}
