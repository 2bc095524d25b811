using Iced.Intel;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>IN and OUT, and the I/O permission map (SDM 1, 18.5.2).</summary>
internal static unsafe class PortAccess
{
    public static bool Allowed(CpuState* c, Op* op, ushort port, int size)
    {
        if (!Segmentation.IsProtected(c) || (!Segmentation.IsV86(c) && c->Cpl <= (int)((c->Eflags >> 12) & 3))) return true;
        ref var tr = ref c->Seg[Segment.Tr];
        if ((tr.Type & 8) != 0 && tr.Limit >= 0x67)
        {
            if (!Memory.SystemRead(c, op, tr.Base + 0x66, 2, out var map)) return false;
            var at = (uint)map + ((uint)port >> 3);
            if (at + 1 <= tr.Limit)
            {
                if (!Memory.SystemRead(c, op, tr.Base + at, 2, out var bits)) return false;
                if (((bits >> (port & 7)) & ((1u << size) - 1)) == 0) return true;
            }
        }

        Exits.Protection(c, op);
        return false;
    }

    /// <summary>IN; Op.Dst the size.</summary>
    public static Op* In(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var port = i->GetOpKind(1) == OpKind.Register ? (ushort)c->R[2] : (ushort)(byte)i->GetImmediate(1);
        if (!Allowed(c, op, port, size)) return null;
        var cpu = X86Cpu.Of(c);
        Operands.Set(c, 0, size, cpu.Bus.ReadPort(port, size));
        if (cpu.StepMode) cpu.WatchPort(port, size);
        return op + 1;
    }

    public static Op* Out(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var port = i->GetOpKind(0) == OpKind.Register ? (ushort)c->R[2] : (ushort)(byte)i->GetImmediate(0);
        if (!Allowed(c, op, port, size)) return null;
        var cpu = X86Cpu.Of(c);
        cpu.Bus.WritePort(port, size, Operands.Get(c, 0, size));
        if (cpu.StepMode) cpu.WatchPort(port, size);
        return op + 1;
    }
}

/// <summary>Instructions of the operating system.</summary>
internal static unsafe class SystemInstructions
{
    private static bool Privileged(CpuState* c, Op* op)
    {
        if (c->Cpl == 0) return true;
        Exits.Protection(c, op);
        return false;
    }

    /// <summary>SGDT, SIDT, SLDT, STR and SMSW at CPL above 0 while CR4.UMIP is set.</summary>
    private static bool UserMode(CpuState* c, Op* op)
    {
        if (c->Cpl == 0 || (c->Cr4 & Control.Cr4Umip) == 0) return true;
        Exits.Protection(c, op);
        return false;
    }

    public static Op* Undefined(CpuState* c, Op* op)
    {
        X86Cpu.Of(c).CountUndefined(op);
        return Exits.InvalidOpcode(c, op);
    }

    public static Op* Hlt(CpuState* c, Op* op) => Privileged(c, op) ? Exits.AfterInstruction(c, op, ExitKind.Halt) : null;

    /// <summary>CLI and STI, with VME and PVI (SDM 2, CLI).</summary>
    public static Op* Cli(CpuState* c, Op* op)
    {
        var iopl = (int)((c->Eflags >> 12) & 3);
        if (!Segmentation.IsProtected(c) || (Segmentation.IsV86(c) ? iopl == 3 : c->Cpl <= iopl)) c->Eflags &= ~Flags.If;
        else if (Segmentation.IsV86(c) ? (c->Cr4 & Control.Cr4Vme) != 0 : c->Cpl == 3 && (c->Cr4 & Control.Cr4Pvi) != 0) c->Eflags &= ~Flags.Vif;
        else return Exits.Protection(c, op);
        return op + 1;
    }

    public static Op* Sti(CpuState* c, Op* op)
    {
        var iopl = (int)((c->Eflags >> 12) & 3);
        if (!Segmentation.IsProtected(c) || (Segmentation.IsV86(c) ? iopl == 3 : c->Cpl <= iopl))
        {
            var cpu = X86Cpu.Of(c);
            if ((c->Eflags & Flags.If) == 0) Shadow(c, op, CpuState.ShadowSti);
            c->Eflags |= Flags.If;
            cpu.FlagsChanged();
            // What waits is taken after the next instruction, even if that is CLI or one that the block goes on behind.
            if (cpu.InterruptPending) return Exits.AfterInstruction(c, op);
        }
        else if ((c->Eflags & Flags.Vip) == 0 && (Segmentation.IsV86(c) ? (c->Cr4 & Control.Cr4Vme) != 0 : c->Cpl == 3 && (c->Cr4 & Control.Cr4Pvi) != 0))
        {
            c->Eflags |= Flags.Vif;
        }
        else
        {
            return Exits.Protection(c, op);
        }

        return op + 1;
    }

    /// <summary>No interrupt before the end of the next instruction.</summary>
    private static void Shadow(CpuState* c, Op* op, int kind)
    {
        c->ShadowRip = Exits.NextIp(c, op);
        c->Shadow = kind;
    }

    /// <summary>
    /// What asks Xen to emulate the instruction behind it (see <see cref="CpuFeatures.ForcesEmulation"/>): the two are one step, and resume from a
    /// fault anew.
    /// </summary>
    public static Op* ForceEmulation(CpuState* c, Op* op)
    {
        Shadow(c, op, CpuState.ShadowPrefix);
        return Exits.AfterInstruction(c, op);
    }

    public static Op* Pushf(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var flags = Flags.Get(c);
        if (Segmentation.IsV86(c) && ((flags >> 12) & 3) < 3)
        {
            if ((c->Cr4 & Control.Cr4Vme) == 0 || size != 2) return Exits.Protection(c, op);
            flags = (flags & ~Flags.If) | ((flags & Flags.Vif) != 0 ? Flags.If : 0) | Flags.Iopl;
        }

        return Operands.Push(c, op, size, flags & ~(Flags.Vm | Flags.Rf) & Operands.Mask(size)) ? op + 1 : null;
    }

    public static Op* Popf(CpuState* c, Op* op)
    {
        int size = op->Dst;
        if (Segmentation.IsV86(c) && ((c->Eflags >> 12) & 3) < 3 && ((c->Cr4 & Control.Cr4Vme) == 0 || size != 2)) return Exits.Protection(c, op);
        if (!Operands.Peek(c, op, size, 0, out var value)) return null;
        var had = c->Eflags;
        if (Segmentation.IsV86(c))
        {
            if (((c->Eflags >> 12) & 3) < 3 && ((value & Flags.Tf) != 0 || ((value & Flags.If) != 0 && (c->Eflags & Flags.Vip) != 0))) return Exits.Protection(c, op);
            Operands.MoveStack(c, size);
            FarTransfers.LoadFlagsV86(c, (uint)value & ~Flags.Rf, size);
        }
        else
        {
            Operands.MoveStack(c, size);
            var keep = c->Eflags & (Flags.Vif | Flags.Vip);
            FarTransfers.LoadFlags(c, value & ~(ulong)Flags.Rf, size, c->Cpl);
            c->Eflags = (c->Eflags & ~(Flags.Vif | Flags.Vip)) | keep;
        }

        // TF is looked at between blocks; a pending interrupt too.
        return ((had ^ c->Eflags) & (Flags.Tf | Flags.If | Flags.Ac)) != 0 ? Exits.AfterInstruction(c, op) : op + 1;
    }

    /// <summary>INT n, INT3, INTO, INT1.</summary>
    public static Op* Interrupt(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var vector = i->Mnemonic switch { Mnemonic.Int3 => Vectors.Bp, Mnemonic.Into => Vectors.Of, Mnemonic.Int1 => Vectors.Db, _ => (int)(byte)i->GetImmediate(0) };
        if (i->Mnemonic == Mnemonic.Into && !Flags.GetOf(c)) return op + 1;
        var at = Exits.Ip(c, op);
        c->Rip = Exits.NextIp(c, op);
        var kind = i->Mnemonic switch { Mnemonic.Int => EventKind.Software, Mnemonic.Int1 => EventKind.Exception, _ => EventKind.SoftwareException };
        if (Interrupts.Deliver(c, vector, kind, 0, false))
        {
            var cpu = X86Cpu.Of(c);
            cpu.DropTrap();
            if (i->Mnemonic == Mnemonic.Int1)
            {
                cpu.MergeDebug();
                c->Dr[7] &= ~0x2000ul;
            }

            return Exits.To(c, op, c->Rip);
        }

        c->Rip = at;
        c->Budget += op->Remaining + 1;
        return null;
    }

    public static Op* Cpuid(CpuState* c, Op* op)
    {
        var cpu = X86Cpu.Of(c);
        if (c->Cpl > 0 && cpu.Msrs.FaultsCpuid) return Exits.Protection(c, op);
        var (a, b, cc, d) = cpu.Bus.Cpuid(cpu, (uint)c->R[0], (uint)c->R[1]);
        c->R[0] = a;
        c->R[3] = b;
        c->R[1] = cc;
        c->R[2] = d;
        return op + 1;
    }

    public static Op* Rdtsc(CpuState* c, Op* op)
    {
        if (c->Cpl > 0 && (c->Cr4 & Control.Cr4Tsd) != 0) return Exits.Protection(c, op);
        var cpu = X86Cpu.Of(c);
        var tsc = cpu.Bus.ReadTsc(cpu);
        c->R[0] = (uint)tsc;
        c->R[2] = tsc >> 32;
        if (Operands.Of(op)->Mnemonic == Mnemonic.Rdtscp) c->R[1] = (uint)c->TscAux;
        return op + 1;
    }

    public static Op* Rdpid(CpuState* c, Op* op)
    {
        *(ulong*)((byte*)c + Registers.Offset(Operands.Of(op)->Op0Register)) = (uint)c->TscAux;
        return op + 1;
    }

    /// <summary>No counters: RDPMC faults as for an index that does not exist.</summary>
    public static Op* Rdpmc(CpuState* c, Op* op) => Exits.Protection(c, op);

    public static Op* Rdmsr(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        var cpu = X86Cpu.Of(c);
        if (!SystemRegisters.ReadMsr(c, (uint)c->R[1], out var value))
        {
            cpu.CountMsr((uint)c->R[1]);
            return Exits.Protection(c, op);
        }

        c->R[0] = (uint)value;
        c->R[2] = value >> 32;
        return op + 1;
    }

    public static Op* Wrmsr(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        if (!SystemRegisters.WriteMsr(c, (uint)c->R[1], (uint)c->R[0] | (c->R[2] << 32)))
        {
            X86Cpu.Of(c).CountMsr((uint)c->R[1]);
            return Exits.Protection(c, op);
        }

        // EFER and FS/GS bases change what code means; and an interrupt may be due (x2APIC).
        return Exits.AfterInstruction(c, op);
    }

    public static Op* MoveFromControl(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        var i = Operands.Of(op);
        ulong value;
        switch (i->Op1Register)
        {
            case Register.CR0: value = c->Cr0; break;
            case Register.CR2: value = c->Cr2; break;
            case Register.CR3: value = c->Cr3; break;
            case Register.CR4: value = c->Cr4; break;
            case Register.CR8: value = (ulong)X86Cpu.Of(c).Bus.TaskPriority(X86Cpu.Of(c)); break;
            default: return Exits.InvalidOpcode(c, op);
        }

        Operands.Set(c, Registers.Offset(i->Op0Register), Segmentation.Is64(c) ? 8 : 4, value);
        return op + 1;
    }

    public static Op* MoveToControl(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        var i = Operands.Of(op);
        var value = Operands.Get(c, Registers.Offset(i->Op1Register), Segmentation.Is64(c) ? 8 : 4);
        bool ok;
        switch (i->Op0Register)
        {
            case Register.CR0: ok = SystemRegisters.SetCr0(c, value); break;
            case Register.CR2: c->Cr2 = value; ok = true; break;
            case Register.CR3: ok = SystemRegisters.SetCr3(c, value); break;
            case Register.CR4: ok = SystemRegisters.SetCr4(c, value); break;
            case Register.CR8:
                ok = value <= 15;
                if (ok) X86Cpu.Of(c).Bus.SetTaskPriority(X86Cpu.Of(c), (int)value);
                break;
            default: return Exits.InvalidOpcode(c, op);
        }

        return ok ? Exits.AfterInstruction(c, op) : Exits.Protection(c, op);
    }

    public static Op* Clts(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        c->Cr0 &= ~Control.Cr0Ts;
        return op + 1;
    }

    public static Op* Lmsw(CpuState* c, Op* op)
    {
        if (!Privileged(c, op) || !Operands.Read(c, op, 0, 2, out var value)) return null;
        // PE can be set but not cleared.
        var next = (c->Cr0 & ~0xeul) | (value & 0xf) | (c->Cr0 & Control.Cr0Pe);
        return SystemRegisters.SetCr0(c, next) ? Exits.AfterInstruction(c, op) : Exits.Protection(c, op);
    }

    public static Op* Smsw(CpuState* c, Op* op)
    {
        if (!UserMode(c, op)) return null;
        var i = Operands.Of(op);
        return Operands.Write(c, op, 0, i->GetOpKind(0) == OpKind.Register ? op->Dst : 2, c->Cr0 & (i->GetOpKind(0) == OpKind.Register ? Operands.Mask(op->Dst) : 0xffff)) ? op + 1 : null;
    }

    private static bool NoDebugAccess(CpuState* c, Op* op)
    {
        if (c->Cpl != 0)
        {
            Exits.Protection(c, op);
            return true;
        }

        // General detect: DR7.GD (SDM 3, 17.2.4).
        if ((c->Dr[7] & 0x2000) != 0)
        {
            c->Dr[6] |= 0x2000;
            Exits.Raise(c, op, Vectors.Db, 0);
            return true;
        }

        return false;
    }

    private static int DebugRegister(CpuState* c, Op* op, Register register)
    {
        var n = register - Register.DR0;
        if (n is 4 or 5)
        {
            if ((c->Cr4 & Control.Cr4De) != 0)
            {
                Exits.InvalidOpcode(c, op);
                return -1;
            }

            n += 2;
        }

        if (n <= 7) return n;
        Exits.InvalidOpcode(c, op);
        return -1;
    }

    public static Op* MoveFromDebug(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var n = DebugRegister(c, op, i->Op1Register);
        if (n < 0 || NoDebugAccess(c, op)) return null;
        Operands.Set(c, Registers.Offset(i->Op0Register), Segmentation.Is64(c) ? 8 : 4, c->Dr[n]);
        return op + 1;
    }

    public static Op* MoveToDebug(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var n = DebugRegister(c, op, i->Op0Register);
        if (n < 0 || NoDebugAccess(c, op)) return null;
        var value = Operands.Get(c, Registers.Offset(i->Op1Register), Segmentation.Is64(c) ? 8 : 4);
        if (n >= 6 && value >> 32 != 0) return Exits.Protection(c, op);
        c->Dr[n] = n == 6 ? (value & 0xe00f) | 0xffff_0ff0 : n == 7 ? (value & 0xffff_27ff) | 0x400 : value;
        X86Cpu.Of(c).DebugChanged();
        return Exits.AfterInstruction(c, op);
    }

    public static Op* Invlpg(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        var linear = Address.Effective(c, op);
        if (op->Aux == Operands.Seg16) linear = (ushort)linear;
        else if (op->Aux != Operands.Long) linear = (uint)linear;
        X86Cpu.Of(c).InvalidatePage(Memory.Wrap(c, linear + c->Seg[op->Seg].Base));
        return Exits.AfterInstruction(c, op);
    }

    public static Op* Invpcid(CpuState* c, Op* op)
    {
        if (!Privileged(c, op)) return null;
        var type = Operands.Get(c, Registers.Offset(Operands.Of(op)->Op0Register), Segmentation.Is64(c) ? 8 : 4);
        if (!Operands.ReadMemory(c, op, 8, 0, out var pcid) || !Operands.ReadMemory(c, op, 8, 8, out var linear)) return null;
        if (type > 3 || pcid >> 12 != 0 || (type <= 1 && pcid != 0 && (c->Cr4 & Control.Cr4Pcide) == 0) || (type == 0 && !Memory.IsCanonical(linear))) return Exits.Protection(c, op);
        X86Cpu.Of(c).FlushTlb();
        return Exits.AfterInstruction(c, op);
    }

    /// <summary>INVD, WBINVD: nothing is cached.</summary>
    public static Op* CacheControl(CpuState* c, Op* op) => Privileged(c, op) ? op + 1 : null;

    /// <summary>CLFLUSH and friends only check the address.</summary>
    public static Op* CacheLine(CpuState* c, Op* op) => Operands.ReadMemory(c, op, 1, 0, out _) ? op + 1 : null;

    public static Op* Monitor(CpuState* c, Op* op) => c->Cpl != 0 ? Undefined(c, op) : op + 1;

    /// <summary>MWAIT ends at once, as hardware may (SDM 2, MWAIT).</summary>
    public static Op* Mwait(CpuState* c, Op* op) => c->Cpl != 0 ? Undefined(c, op) : op + 1;

    public static Op* TableRegister(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var long64 = Segmentation.Is64(c);
        var load = i->Mnemonic is Mnemonic.Lgdt or Mnemonic.Lidt;
        var idt = i->Mnemonic is Mnemonic.Lidt or Mnemonic.Sidt;
        if (load)
        {
            if (!Privileged(c, op)) return null;
            if (!Operands.ReadMemory(c, op, 2, 0, out var limit) || !Operands.ReadMemory(c, op, long64 ? 8 : 4, 2, out var address)) return null;
            if (!long64 && op->Dst == 2) address &= 0xff_ffff;
            if (long64 && !Memory.IsCanonical(address)) return Exits.Protection(c, op);
            if (idt) (c->IdtBase, c->IdtLimit) = (address, (uint)limit);
            else (c->GdtBase, c->GdtLimit) = (address, (uint)limit);
            return op + 1;
        }

        if (!UserMode(c, op)) return null;
        var (b, l) = idt ? (c->IdtBase, c->IdtLimit) : (c->GdtBase, c->GdtLimit);
        return Operands.WriteMemory(c, op, 2, 0, l) && Operands.WriteMemory(c, op, long64 ? 8 : 4, 2, long64 ? b : (uint)b) ? op + 1 : null;
    }

    private static bool ProtectedOnly(CpuState* c, Op* op)
    {
        if (Segmentation.IsProtected(c) && !Segmentation.IsV86(c)) return true;
        Exits.InvalidOpcode(c, op);
        return false;
    }

    public static Op* StoreSelector(CpuState* c, Op* op)
    {
        if (!ProtectedOnly(c, op) || !UserMode(c, op)) return null;
        var i = Operands.Of(op);
        var selector = c->Seg[i->Mnemonic == Mnemonic.Sldt ? Segment.Ldt : Segment.Tr].Selector;
        return Operands.Write(c, op, 0, i->GetOpKind(0) == OpKind.Register ? op->Dst : 2, selector) ? op + 1 : null;
    }

    public static Op* Lldt(CpuState* c, Op* op)
    {
        if (!ProtectedOnly(c, op) || !Privileged(c, op) || !Operands.Read(c, op, 0, 2, out var raw)) return null;
        var selector = (uint)raw;
        if ((selector & 0xfffc) == 0)
        {
            c->Seg[Segment.Ldt] = new Segment { Selector = (ushort)selector };
            return op + 1;
        }

        if ((selector & 4) != 0) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!ReadSystem(c, op, selector, out var descriptor, out var upper, out _)) return null;
        if (((descriptor >> 40) & 0x1f) != 2) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!Segmentation.IsPresent(descriptor)) return Exits.Raise(c, op, Vectors.Np, Segmentation.Error(selector));
        var table = Segmentation.Make(selector, descriptor);
        table.Base |= upper << 32;
        if (!Memory.IsCanonical(table.Base)) return Exits.Protection(c, op, Segmentation.Error(selector));
        c->Seg[Segment.Ldt] = table;
        return op + 1;
    }

    /// <summary>A system descriptor has 16 bytes in long mode.</summary>
    private static bool ReadSystem(CpuState* c, Op* op, uint selector, out ulong descriptor, out ulong upper, out ulong at)
    {
        upper = 0;
        if (!Segmentation.Read(c, op, selector, Vectors.Gp, out descriptor, out at)) return false;
        if (!Segmentation.IsLong(c)) return true;
        if ((selector & 0xfff8) + 15 > c->GdtLimit) return Segmentation.Fail(c, op, Vectors.Gp, selector);
        if (!Memory.SystemRead(c, op, at + 8, 8, out upper)) return false;
        if (((upper >> 40) & 0x1f) != 0) return Segmentation.Fail(c, op, Vectors.Gp, selector);
        upper &= 0xffff_ffff;
        return true;
    }

    public static Op* Ltr(CpuState* c, Op* op)
    {
        if (!ProtectedOnly(c, op) || !Privileged(c, op) || !Operands.Read(c, op, 0, 2, out var raw)) return null;
        var selector = (uint)raw;
        if ((selector & 0xfffc) == 0) return Exits.Protection(c, op);
        if ((selector & 4) != 0) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!ReadSystem(c, op, selector, out var descriptor, out var upper, out var at)) return null;
        var type = (int)(descriptor >> 40) & 0x1f;
        if (type != 9 && (type != 1 || Segmentation.IsLong(c))) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!Segmentation.IsPresent(descriptor)) return Exits.Raise(c, op, Vectors.Np, Segmentation.Error(selector));
        var task = Segmentation.Make(selector, descriptor | (2ul << 40));
        task.Base |= upper << 32;
        if (!Memory.IsCanonical(task.Base)) return Exits.Protection(c, op, Segmentation.Error(selector));
        if (!Memory.SystemWrite(c, op, at + 5, 1, ((descriptor >> 40) & 0xff) | 2)) return null;
        c->Seg[Segment.Tr] = task;
        return op + 1;
    }

    /// <summary>LAR, LSL, VERR, VERW: ZF says whether the selector can be used (SDM 2).</summary>
    public static Op* Inspect(CpuState* c, Op* op)
    {
        if (!ProtectedOnly(c, op)) return null;
        var i = Operands.Of(op);
        var source = i->OpCount - 1;
        if (!Operands.Read(c, op, source, 2, out var raw)) return null;
        var selector = (uint)raw;
        var ok = false;
        ulong descriptor = 0;
        if ((selector & 0xfffc) != 0)
        {
            if (!Segmentation.TryRead(c, op, selector, out descriptor, out _, out var faulted))
            {
                if (faulted) return null;
            }
            else
            {
                ok = Visible(c, i->Mnemonic, selector, descriptor);
            }
        }

        if (ok && i->Mnemonic == Mnemonic.Lar) Operands.Set(c, Registers.Offset(i->Op0Register), op->Dst, (descriptor >> 32) & (op->Dst == 2 ? 0xff00u : 0x00ff_ff00u));
        else if (ok && i->Mnemonic == Mnemonic.Lsl) Operands.Set(c, Registers.Offset(i->Op0Register), op->Dst, Segmentation.LimitOf(descriptor));
        var flags = Flags.GetArithmetic(c);
        Flags.SetArithmetic(c, ok ? flags | Flags.Zf : flags & ~Flags.Zf);
        return op + 1;
    }

    private static bool Visible(CpuState* c, Mnemonic mnemonic, uint selector, ulong descriptor)
    {
        var access = Segmentation.AccessOf(descriptor);
        var type = (int)access & 0x1f;
        var system = (type & 0x10) == 0;
        var code = !system && (access & Segment.Code) != 0;
        var conforming = code && (access & Segment.Conforming) != 0;
        if (!conforming && (c->Cpl > Segmentation.DplOf(descriptor) || (selector & 3) > Segmentation.DplOf(descriptor))) return false;
        return mnemonic switch
        {
            Mnemonic.Lar => !system || (Segmentation.IsLong(c) ? type is 2 or 9 or 0xb or 0xc : type is 1 or 2 or 3 or 4 or 5 or 9 or 0xb or 0xc),
            Mnemonic.Lsl => !system || (Segmentation.IsLong(c) ? type is 2 or 9 or 0xb : type is 1 or 2 or 3 or 9 or 0xb),
            Mnemonic.Verr => !system && (!code || (access & Segment.Writable) != 0),
            _ => !system && !code && (access & Segment.Writable) != 0,
        };
    }

    public static Op* Arpl(CpuState* c, Op* op)
    {
        if (!ProtectedOnly(c, op) || !Operands.Read(c, op, 0, 2, out var a) || !Operands.Read(c, op, 1, 2, out var b)) return null;
        var adjust = (a & 3) < (b & 3);
        if (adjust && !Operands.Write(c, op, 0, 2, (a & ~3ul) | (b & 3))) return null;
        var flags = Flags.GetArithmetic(c);
        Flags.SetArithmetic(c, adjust ? flags | Flags.Zf : flags & ~Flags.Zf);
        return op + 1;
    }

    // Segment registers.

    public static Op* MoveFromSegment(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var selector = c->Seg[Registers.Segment(i->Op1Register)].Selector;
        return Operands.Write(c, op, 0, i->GetOpKind(0) == OpKind.Register ? op->Dst : 2, selector) ? op + 1 : null;
    }

    public static Op* MoveToSegment(CpuState* c, Op* op)
    {
        var i = Operands.Of(op);
        var segment = Registers.Segment(i->Op0Register);
        if (segment is Segment.Cs or Segment.None) return Exits.InvalidOpcode(c, op);
        if (!Operands.Read(c, op, 1, 2, out var selector) || !Segmentation.Load(c, op, segment, (uint)selector)) return null;
        return AfterSegment(c, op, segment);
    }

    /// <summary>A load of SS holds interrupts back, and changes how the stack is addressed.</summary>
    private static Op* AfterSegment(CpuState* c, Op* op, int segment)
    {
        if (segment != Segment.Ss) return op + 1;
        Shadow(c, op, CpuState.ShadowStack);
        return Exits.AfterInstruction(c, op);
    }

    public static Op* PushSegment(CpuState* c, Op* op)
    {
        int size = op->Dst;
        return Operands.Push(c, op, size, c->Seg[Registers.Segment(Operands.Of(op)->Op0Register)].Selector) ? op + 1 : null;
    }

    public static Op* PopSegment(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var segment = Registers.Segment(Operands.Of(op)->Op0Register);
        if (!Operands.Peek(c, op, size, 0, out var selector)) return null;
        // The width of the stack as it is now counts, also when SS is loaded.
        var mode = c->Mode;
        if (!Segmentation.Load(c, op, segment, (uint)selector & 0xffff)) return null;
        if ((mode & 3) == 2) c->R[4] += (ulong)size;
        else if ((mode & CpuState.ModeStack32) != 0) c->R[4] = (uint)(c->R[4] + (ulong)size);
        else *(ushort*)&c->R[4] += (ushort)size;
        return AfterSegment(c, op, segment);
    }

    /// <summary>LDS, LES, LFS, LGS, LSS.</summary>
    public static Op* LoadFarPointer(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var i = Operands.Of(op);
        var segment = i->Mnemonic switch { Mnemonic.Lds => Segment.Ds, Mnemonic.Les => Segment.Es, Mnemonic.Lfs => Segment.Fs, Mnemonic.Lgs => Segment.Gs, _ => Segment.Ss };
        if (!Operands.ReadMemory(c, op, size, 0, out var offset) || !Operands.ReadMemory(c, op, 2, (ulong)size, out var selector)) return null;
        if (!Segmentation.Load(c, op, segment, (uint)selector)) return null;
        Operands.Set(c, Registers.Offset(i->Op0Register), size, offset);
        return segment == Segment.Ss ? Exits.AfterInstruction(c, op) : op + 1;
    }

    // Fast system calls (SDM 2; APM 3 for SYSCALL outside 64-bit mode).

    public static Op* Syscall(CpuState* c, Op* op)
    {
        if ((c->Efer & Control.EferSce) == 0 || !Segmentation.IsProtected(c)) return Exits.InvalidOpcode(c, op);
        // The first vendor's CPUs know it in 64-bit mode only.
        if (!Segmentation.Is64(c)) return Exits.InvalidOpcode(c, op);
        c->R[1] = Exits.NextIp(c, op);
        c->R[11] = Flags.Get(c) & ~Flags.Rf;
        var flags = Flags.Get(c) & ~((uint)c->Fmask | Flags.Rf);
        Flags.SetArithmetic(c, flags & Flags.Arithmetic);
        c->Eflags = (flags & ~Flags.Arithmetic) | 2;
        FlatSegments(c, (uint)(c->Star >> 32) & 0xfffc, 0, true);
        // A single step traps here only if TF is still set.
        if ((flags & Flags.Tf) == 0) X86Cpu.Of(c).DropTrap();
        X86Cpu.Of(c).FlagsChanged();
        return Branches.Jump(c, op, c->Lstar);
    }

    public static Op* Sysret(CpuState* c, Op* op)
    {
        if ((c->Efer & Control.EferSce) == 0 || !Segmentation.Is64(c)) return Exits.InvalidOpcode(c, op);
        if (c->Cpl != 0) return Exits.Protection(c, op);
        var to64 = op->Dst == 8;
        if (to64 && !Memory.IsCanonical(c->R[1])) return Exits.Protection(c, op);
        var selector = (uint)(c->Star >> 48) & 0xffff;
        var flags = (uint)c->R[11] & 0x3c7fd7;
        Flags.SetArithmetic(c, flags & Flags.Arithmetic);
        c->Eflags = (flags & ~(Flags.Arithmetic | Flags.Rf | Flags.Vm)) | 2;
        Flat(c, Segment.Cs, (to64 ? selector + 16 : selector) | 3, to64 ? (ushort)0xa0fb : (ushort)0xc0fb);
        Flat(c, Segment.Ss, (selector + 8) | 3, 0xc0f3);
        c->Cpl = 3;
        Segmentation.UpdateMode(c);
        X86Cpu.Of(c).FlagsChanged();
        var ip = to64 ? c->R[1] : (uint)c->R[1];
        if ((c->Eflags & Flags.Tf) == 0) return Branches.Jump(c, op, ip);
        // Unlike after IRET, a restored TF traps before the first instruction.
        X86Cpu.Of(c).PendDebug(step: true);
        return Exits.To(c, op, ip);
    }

    private static void FlatSegments(CpuState* c, uint selector, int cpl, bool code64)
    {
        var dpl = (ushort)(cpl << 5);
        Flat(c, Segment.Cs, selector, (ushort)((code64 ? 0xa09b : 0xc09b) | dpl));
        Flat(c, Segment.Ss, selector + 8, (ushort)(0xc093 | dpl));
        c->Cpl = cpl;
        Segmentation.UpdateMode(c);
    }

    private static void Flat(CpuState* c, int segment, uint selector, ushort access)
    {
        ref var s = ref c->Seg[segment];
        s = new Segment { Selector = (ushort)selector, Access = access, Limit = uint.MaxValue };
        Address.Prepare(ref s);
    }

    public static Op* Sysenter(CpuState* c, Op* op)
    {
        if (!Segmentation.IsProtected(c) || (c->SysenterCs & 0xfffc) == 0) return Exits.Protection(c, op);
        c->Eflags &= ~(Flags.Vm | Flags.If | Flags.Rf);
        var longMode = Segmentation.IsLong(c);
        FlatSegments(c, (uint)c->SysenterCs & 0xfffc, 0, longMode);
        c->R[4] = longMode ? c->SysenterEsp : (uint)c->SysenterEsp;
        return Exits.To(c, op, longMode ? c->SysenterEip : (uint)c->SysenterEip);
    }

    public static Op* Sysexit(CpuState* c, Op* op)
    {
        if (!Segmentation.IsProtected(c) || (c->SysenterCs & 0xfffc) == 0 || c->Cpl != 0) return Exits.Protection(c, op);
        var to64 = op->Dst == 8;
        if (to64 && !(Memory.IsCanonical(c->R[1]) && Memory.IsCanonical(c->R[2]))) return Exits.Protection(c, op);
        var selector = ((uint)c->SysenterCs & 0xfffc) + (to64 ? 32u : 16u);
        Flat(c, Segment.Cs, selector | 3, to64 ? (ushort)0xa0fb : (ushort)0xc0fb);
        Flat(c, Segment.Ss, (selector + 8) | 3, 0xc0f3);
        c->Cpl = 3;
        Segmentation.UpdateMode(c);
        c->R[4] = to64 ? c->R[1] : (uint)c->R[1];
        return Exits.To(c, op, to64 ? c->R[2] : (uint)c->R[2]);
    }

    public static Op* Swapgs(CpuState* c, Op* op)
    {
        if (!Segmentation.Is64(c)) return Exits.InvalidOpcode(c, op);
        if (!Privileged(c, op)) return null;
        (c->Seg[Segment.Gs].Base, c->KernelGsBase) = (c->KernelGsBase, c->Seg[Segment.Gs].Base);
        return op + 1;
    }

    public static Op* FsGsBase(CpuState* c, Op* op)
    {
        if (!Segmentation.Is64(c) || (c->Cr4 & Control.Cr4FsGsBase) == 0) return Exits.InvalidOpcode(c, op);
        var i = Operands.Of(op);
        var register = Registers.Offset(i->Op0Register);
        ref var segment = ref c->Seg[i->Mnemonic is Mnemonic.Rdfsbase or Mnemonic.Wrfsbase ? Segment.Fs : Segment.Gs];
        if (i->Mnemonic is Mnemonic.Rdfsbase or Mnemonic.Rdgsbase)
        {
            Operands.Set(c, register, op->Dst, segment.Base);
            return op + 1;
        }

        var value = Operands.Get(c, register, op->Dst);
        if (!Memory.IsCanonical(value)) return Exits.Protection(c, op);
        segment.Base = value;
        return op + 1;
    }

    public static Op* SmapAc(CpuState* c, Op* op)
    {
        if (c->Cpl != 0 || (X86Cpu.Of(c).Features.Cr4Mask & Control.Cr4Smap) == 0) return Exits.InvalidOpcode(c, op);
        if (Operands.Of(op)->Mnemonic == Mnemonic.Stac) c->Eflags |= Flags.Ac;
        else c->Eflags &= ~Flags.Ac;
        Segmentation.UpdateTlb(c);
        return op + 1;
    }

    public static Op* Xgetbv(CpuState* c, Op* op)
    {
        if ((c->Cr4 & Control.Cr4OsXsave) == 0) return Exits.InvalidOpcode(c, op);
        if ((uint)c->R[1] != 0) return Exits.Protection(c, op);
        c->R[0] = (uint)c->Xcr0;
        c->R[2] = c->Xcr0 >> 32;
        return op + 1;
    }

    public static Op* Xsetbv(CpuState* c, Op* op)
    {
        if ((c->Cr4 & Control.Cr4OsXsave) == 0) return Exits.InvalidOpcode(c, op);
        if (!Privileged(c, op)) return null;
        var value = (uint)c->R[0] | (c->R[2] << 32);
        if ((uint)c->R[1] != 0 || (value & 1) == 0 || (value & ~X86Cpu.Of(c).Features.Xcr0Mask) != 0 || (value & 6) == 4) return Exits.Protection(c, op);
        c->Xcr0 = value;
        return Exits.AfterInstruction(c, op);
    }

    /// <summary>VMCALL and VMMCALL: a hypercall where the machine offers any.</summary>
    public static Op* Hypercall(CpuState* c, Op* op)
    {
        var cpu = X86Cpu.Of(c);
        c->Rip = Exits.Ip(c, op);
        return cpu.Bus.Hypercall(cpu) ? Exits.AfterInstruction(c, op) : Undefined(c, op);
    }
}
