using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>Where an interrupt comes from; it decides about privilege checks, the EXT bit and flags.</summary>
internal enum EventKind
{
    External,
    Nmi,
    Exception,

    /// <summary>INT n; in virtual-8086 mode with VME it may go to the 8086 program itself.</summary>
    Software,

    /// <summary>INT3 and INTO: checked as software, never redirected.</summary>
    SoftwareException,
}

/// <summary>Writes a new stack before anything of the CPU's state changes.</summary>
internal unsafe ref struct StackWriter
{
    private readonly CpuState* _c;
    private readonly Op* _op;
    private readonly Segment _stack;
    private readonly bool _user;
    private readonly uint _ext;
    private readonly uint _error;

    /// <param name="switched">The stack is a new one, which error codes name.</param>
    public StackWriter(CpuState* c, Op* op, in Segment stack, ulong pointer, int cpl, bool switched, uint ext = 0)
    {
        _error = (switched ? stack.Selector & 0xfffcu : 0) | ext;
        _c = c;
        _op = op;
        _stack = stack;
        _user = cpl == 3;
        _ext = ext;
        Pointer = pointer;
    }

    public ulong Pointer { get; private set; }

    public bool Push(int size, ulong value)
    {
        var longMode = Segmentation.IsLong(_c) && (size == 8 || Segmentation.Is64(_c));
        var top = Pointer - (ulong)size;
        ulong linear;
        if (longMode)
        {
            linear = top;
            if (!Memory.IsCanonical(linear))
            {
                Exits.Raise(_c, _op, Vectors.Ss, _ext);
                return false;
            }
        }
        else
        {
            top = _stack.Is(Segment.Big) ? (uint)top : (Pointer & ~0xfffful) | (ushort)top;
            var offset = _stack.Is(Segment.Big) ? (uint)top : (ushort)top;
            if (!Address.Allows(in _stack, offset, size, true))
            {
                Exits.Raise(_c, _op, Vectors.Ss, _error);
                return false;
            }

            linear = (uint)(_stack.Base + offset);
        }

        if (!Memory.WriteAs(_c, _op, linear, size, _user, value)) return false;
        Pointer = top;
        return true;
    }
}

/// <summary>Delivery of interrupts and exceptions (SDM 3, 6.12, 6.14 and 20).</summary>
internal static unsafe class Interrupts
{
    private const uint IdtError = 2;

    /// <summary>Goes through the vector's gate. <see cref="CpuState.Rip"/> is what is saved.</summary>
    /// <returns>False when that itself raised an exception; nothing has changed then.</returns>
    public static bool Deliver(CpuState* c, int vector, EventKind kind, uint error, bool hasError)
    {
        if (!Segmentation.IsProtected(c)) return DeliverReal(c, vector);
        if (Segmentation.IsLong(c)) return DeliverLong(c, vector, kind, error, hasError);
        if (kind == EventKind.Software && Segmentation.IsV86(c) && (c->Cr4 & Control.Cr4Vme) != 0 && Redirected(c, vector, out var faulted)) return DeliverV86(c, vector);
        else if (kind == EventKind.Software && Segmentation.IsV86(c) && (c->Cr4 & Control.Cr4Vme) == 0 && ((c->Eflags >> 12) & 3) < 3) return Refuse(c, Vectors.Gp, 0);
        else if (kind == EventKind.Software && Segmentation.IsV86(c) && ((c->Eflags >> 12) & 3) < 3) return Refuse(c, Vectors.Gp, 0);
        return DeliverProtected(c, vector, kind, error, hasError);
    }

    private static bool Refuse(CpuState* c, int vector, uint error)
    {
        Exits.Raise(c, null, vector, error);
        return false;
    }

    private static uint Ext(EventKind kind) => kind is EventKind.Software or EventKind.SoftwareException ? 0u : 1u;

    private static bool DeliverReal(CpuState* c, int vector)
    {
        if ((uint)(vector * 4) + 3 > c->IdtLimit) return Refuse(c, Vectors.Gp, 0);
        if (!Memory.SystemRead(c, null, c->IdtBase + (ulong)(vector * 4), 4, out var entry)) return false;
        if (!PushThree(c)) return false;
        c->Eflags &= ~(Flags.If | Flags.Tf | Flags.Ac | Flags.Rf);
        Segmentation.LoadReal(c, Segment.Cs, (uint)(entry >> 16));
        Segmentation.UpdateMode(c);
        c->Rip = entry & 0xffff;
        return true;
    }

    /// <summary>FLAGS, CS and IP as 16-bit values on the present stack.</summary>
    private static bool PushThree(CpuState* c)
    {
        ref var stack = ref c->Seg[Segment.Ss];
        var writer = new StackWriter(c, null, in stack, c->R[4], c->Cpl, false);
        var flags = Flags.Get(c);
        // With VME below IOPL 3 the program sees VIF as IF, and IOPL 3.
        if (Segmentation.IsV86(c) && ((flags >> 12) & 3) < 3) flags = (flags & ~Flags.If) | ((flags & Flags.Vif) != 0 ? Flags.If : 0) | Flags.Iopl;
        if (!writer.Push(2, flags & 0xffff) || !writer.Push(2, c->Seg[Segment.Cs].Selector) || !writer.Push(2, c->Rip & 0xffff)) return false;
        Operands.SetStackPointer(c, writer.Pointer);
        return true;
    }

    /// <summary>The redirection bitmap below the I/O map says 0: the 8086 program's own handler gets it (SDM 3, 20.3.1).</summary>
    private static bool Redirected(CpuState* c, int vector, out bool faulted)
    {
        faulted = false;
        ref var tr = ref c->Seg[Segment.Tr];
        if (!Memory.SystemRead(c, null, tr.Base + 0x66, 2, out var map)) return false;
        if (map < 32 || map > tr.Limit) return false;
        return Memory.SystemRead(c, null, tr.Base + map - 32 + (ulong)(vector >> 3), 1, out var bits) && ((bits >> (vector & 7)) & 1) == 0;
    }

    private static bool DeliverV86(CpuState* c, int vector)
    {
        if (!Memory.SystemRead(c, null, (ulong)(vector * 4), 4, out var entry) || !PushThree(c)) return false;
        if (((c->Eflags >> 12) & 3) == 3) c->Eflags &= ~Flags.If;
        else c->Eflags &= ~Flags.Vif;
        c->Eflags &= ~(Flags.Tf | Flags.Nt);
        Segmentation.LoadV86(c, Segment.Cs, (uint)(entry >> 16));
        Segmentation.UpdateMode(c);
        c->Rip = entry & 0xffff;
        return true;
    }

    private static bool DeliverProtected(CpuState* c, int vector, EventKind kind, uint error, bool hasError)
    {
        var ext = Ext(kind);
        var gateError = (uint)(vector * 8) | IdtError | ext;
        if ((uint)(vector * 8) + 7 > c->IdtLimit) return Refuse(c, Vectors.Gp, gateError);
        if (!Memory.SystemRead(c, null, c->IdtBase + (ulong)(vector * 8), 8, out var gate)) return false;
        var type = (int)(gate >> 40) & 0x1f;
        if (type is not (5 or 6 or 7 or 14 or 15)) return Refuse(c, Vectors.Gp, gateError);
        if (ext == 0 && Segmentation.DplOf(gate) < c->Cpl) return Refuse(c, Vectors.Gp, gateError);
        if (!Segmentation.IsPresent(gate)) return Refuse(c, Vectors.Np, gateError);
        var selector = (uint)(gate >> 16) & 0xffff;
        if (type == 5) return DeliverToTask(c, selector, ext, error, hasError);

        var size = type >= 14 ? 4 : 2;
        var ip = (gate & 0xffff) | (size == 4 ? (gate >> 32) & 0xffff_0000 : 0);
        if ((selector & 0xfffc) == 0) return Refuse(c, Vectors.Gp, ext);
        if (!Segmentation.Read(c, null, selector, Vectors.Gp, out var code, out var at, ext)) return false;
        var dpl = Segmentation.DplOf(code);
        if (!Segmentation.IsCode(code) || dpl > c->Cpl) return Refuse(c, Vectors.Gp, Segmentation.Error(selector) | ext);
        if (!Segmentation.IsPresent(code)) return Refuse(c, Vectors.Np, Segmentation.Error(selector) | ext);
        var conforming = (Segmentation.AccessOf(code) & Segment.Conforming) != 0;
        var v86 = Segmentation.IsV86(c);
        var cpl = conforming ? c->Cpl : dpl;
        if (v86 && (conforming || dpl != 0)) return Refuse(c, Vectors.Gp, Segmentation.Error(selector) | ext);
        if (ip > Segmentation.LimitOf(code)) return Refuse(c, Vectors.Gp, ext);

        Segment stack = c->Seg[Segment.Ss];
        uint stackSelector = stack.Selector;
        var pointer = c->R[4];
        var inner = cpl < c->Cpl;
        if (inner && !InnerStack(c, null, cpl, ext, out stack, out stackSelector, out pointer, 0)) return false;
        var writer = new StackWriter(c, null, in stack, pointer, cpl, inner, ext);
        if (v86)
        {
            if (!writer.Push(size, c->Seg[Segment.Gs].Selector) || !writer.Push(size, c->Seg[Segment.Fs].Selector) ||
                !writer.Push(size, c->Seg[Segment.Ds].Selector) || !writer.Push(size, c->Seg[Segment.Es].Selector)) return false;
        }

        if (inner && (!writer.Push(size, c->Seg[Segment.Ss].Selector) || !writer.Push(size, c->R[4] & Operands.Mask(size)))) return false;
        if (!writer.Push(size, Saved(c, kind, vector) & Operands.Mask(size)) || !writer.Push(size, c->Seg[Segment.Cs].Selector) || !writer.Push(size, c->Rip & Operands.Mask(size))) return false;
        if (hasError && !writer.Push(size, error & Operands.Mask(size))) return false;
        if (!Segmentation.MarkAccessed(c, null, ref code, at)) return false;

        if (v86)
        {
            Segmentation.LoadNull(c, Segment.Gs, 0);
            Segmentation.LoadNull(c, Segment.Fs, 0);
            Segmentation.LoadNull(c, Segment.Ds, 0);
            Segmentation.LoadNull(c, Segment.Es, 0);
        }

        c->Eflags &= ~(Flags.Tf | Flags.Vm | Flags.Rf | Flags.Nt | ((type & 1) == 0 ? Flags.If : 0));
        c->Seg[Segment.Cs] = Segmentation.Make((selector & 0xfffc) | (uint)cpl, code);
        c->Cpl = cpl;
        if (inner)
        {
            c->Seg[Segment.Ss] = stack;
            c->Seg[Segment.Ss].Selector = (ushort)stackSelector;
        }

        Segmentation.UpdateMode(c);
        Operands.SetStackPointer(c, writer.Pointer);
        c->Rip = ip;
        return true;
    }

    /// <summary>Faults set RF in the saved flags, so that an instruction breakpoint does not hit again (SDM 3, 17.3.1.1).</summary>
    private static ulong Saved(CpuState* c, EventKind kind, int vector) => Flags.Get(c) | (kind == EventKind.Exception && vector != Vectors.Db ? Flags.Rf : 0);

    private static bool DeliverToTask(CpuState* c, uint selector, uint ext, uint error, bool hasError)
    {
        var size = Tasks.OperandSize(c, selector);
        if (!Tasks.Switch(c, null, selector, Tasks.Kind.Interrupt, c->Rip, ext)) return false;
        return !hasError || Operands.Push(c, null, size, error);
    }

    /// <summary>The stack of an inner level from the task state segment.</summary>
    /// <param name="ist">Interrupt stack table entry in long mode, 0 for none.</param>
    public static bool InnerStack(CpuState* c, Op* op, int cpl, uint ext, out Segment stack, out uint selector, out ulong pointer, int ist)
    {
        ref var tr = ref c->Seg[Segment.Tr];
        stack = default;
        selector = 0;
        pointer = 0;
        var trError = (tr.Selector & 0xfffcu) | ext;
        if (Segmentation.IsLong(c))
        {
            var offset = ist != 0 ? 36 + ((ist - 1) * 8) : 4 + (cpl * 8);
            if ((uint)offset + 7 > tr.Limit) return Fail(c, op, Vectors.Ts, trError);
            if (!Memory.SystemRead(c, op, tr.Base + (ulong)offset, 8, out pointer)) return false;
            if (!Memory.IsCanonical(pointer)) return Fail(c, op, Vectors.Ss, ext);
            selector = (uint)cpl;
            stack = new Segment { Selector = (ushort)cpl, Access = (ushort)(cpl << 5) };
            return true;
        }

        var wide = (tr.Type & 8) != 0;
        var at = wide ? 4 + (cpl * 8) : 2 + (cpl * 4);
        if ((uint)at + (wide ? 7u : 3u) > tr.Limit) return Fail(c, op, Vectors.Ts, trError);
        if (!Memory.SystemRead(c, op, tr.Base + (ulong)at, wide ? 4 : 2, out pointer) || !Memory.SystemRead(c, op, tr.Base + (ulong)at + (wide ? 4u : 2u), 2, out var raw)) return false;
        selector = (uint)raw;
        if ((selector & 0xfffc) == 0) return Fail(c, op, Vectors.Ts, ext);
        if (!Segmentation.Read(c, op, selector, Vectors.Ts, out var descriptor, out var descriptorAt, ext)) return false;
        if ((selector & 3) != cpl || Segmentation.DplOf(descriptor) != cpl ||
            (Segmentation.AccessOf(descriptor) & (Segment.NonSystem | Segment.Code | Segment.Writable)) != (Segment.NonSystem | Segment.Writable))
            return Segmentation.Fail(c, op, Vectors.Ts, selector, ext);
        if (!Segmentation.IsPresent(descriptor)) return Segmentation.Fail(c, op, Vectors.Ss, selector, ext);
        if (!Segmentation.MarkAccessed(c, op, ref descriptor, descriptorAt)) return false;
        stack = Segmentation.Make(selector, descriptor);
        return true;
    }

    private static bool Fail(CpuState* c, Op* op, int vector, uint error)
    {
        Exits.Raise(c, op, vector, error);
        return false;
    }

    private static bool DeliverLong(CpuState* c, int vector, EventKind kind, uint error, bool hasError)
    {
        var ext = Ext(kind);
        var gateError = (uint)(vector * 8) | IdtError | ext;
        if ((uint)(vector * 16) + 15 > c->IdtLimit) return Refuse(c, Vectors.Gp, gateError);
        var at = c->IdtBase + (ulong)(vector * 16);
        if (!Memory.SystemRead(c, null, at, 8, out var gate) || !Memory.SystemRead(c, null, at + 8, 8, out var upper)) return false;
        var type = (int)(gate >> 40) & 0x1f;
        if (type is not (14 or 15)) return Refuse(c, Vectors.Gp, gateError);
        if (ext == 0 && Segmentation.DplOf(gate) < c->Cpl) return Refuse(c, Vectors.Gp, gateError);
        if (!Segmentation.IsPresent(gate)) return Refuse(c, Vectors.Np, gateError);
        var selector = (uint)(gate >> 16) & 0xffff;
        var ip = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) | (upper << 32);
        if ((selector & 0xfffc) == 0) return Refuse(c, Vectors.Gp, ext);
        if (!Segmentation.Read(c, null, selector, Vectors.Gp, out var code, out var codeAt, ext)) return false;
        var access = Segmentation.AccessOf(code);
        var dpl = Segmentation.DplOf(code);
        if (!Segmentation.IsCode(code) || dpl > c->Cpl || (access & (Segment.Long | Segment.Big)) != Segment.Long) return Refuse(c, Vectors.Gp, Segmentation.Error(selector) | ext);
        if (!Segmentation.IsPresent(code)) return Refuse(c, Vectors.Np, Segmentation.Error(selector) | ext);
        if (!Memory.IsCanonical(ip)) return Refuse(c, Vectors.Gp, ext);
        var cpl = (access & Segment.Conforming) != 0 ? c->Cpl : dpl;
        var ist = (int)(gate >> 32) & 7;
        var inner = cpl < c->Cpl;
        var pointer = c->R[4];
        var stack = c->Seg[Segment.Ss];
        uint stackSelector = stack.Selector;
        if (inner || ist != 0)
        {
            if (!InnerStack(c, null, cpl, ext, out var newStack, out var newSelector, out pointer, ist)) return false;
            if (inner) (stack, stackSelector) = (newStack, newSelector);
        }

        pointer &= ~15ul;
        var writer = new StackWriter(c, null, in stack, pointer, cpl, inner, ext);
        if (!writer.Push(8, c->Seg[Segment.Ss].Selector) || !writer.Push(8, c->R[4]) || !writer.Push(8, Saved(c, kind, vector)) ||
            !writer.Push(8, c->Seg[Segment.Cs].Selector) || !writer.Push(8, c->Rip) || (hasError && !writer.Push(8, error))) return false;
        if (!Segmentation.MarkAccessed(c, null, ref code, codeAt)) return false;
        c->Eflags &= ~(Flags.Tf | Flags.Vm | Flags.Rf | Flags.Nt | (type == 14 ? Flags.If : 0));
        c->Seg[Segment.Cs] = Segmentation.Make((selector & 0xfffc) | (uint)cpl, code);
        c->Cpl = cpl;
        if (inner)
        {
            c->Seg[Segment.Ss] = stack;
            c->Seg[Segment.Ss].Selector = (ushort)stackSelector;
        }

        Segmentation.UpdateMode(c);
        c->R[4] = writer.Pointer;
        c->Rip = ip;
        return true;
    }
}
