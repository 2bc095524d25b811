using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>Hardware task switches (SDM 3, chapter 7).</summary>
internal static unsafe class Tasks
{
    public enum Kind
    {
        Jump,
        Call,
        Return,
        Interrupt,
    }

    private const ulong BusyBit = 1ul << 41;

    /// <summary>Width of the new task's stack operands: 4 for a 32-bit TSS.</summary>
    public static int OperandSize(CpuState* c, uint selector) =>
        Segmentation.TryRead(c, null, selector, out var descriptor, out _, out _) && (descriptor & (1ul << 43)) != 0 ? 4 : 2;

    /// <summary>Saves the present task, loads another. <see cref="CpuState.Rip"/> is the new task's IP afterwards.</summary>
    /// <param name="next">IP that the present task goes on at.</param>
    /// <returns>False after an exception; before the switch is committed nothing has changed.</returns>
    public static bool Switch(CpuState* c, Op* op, uint selector, Kind kind, ulong next, uint ext = 0)
    {
        var vector = kind == Kind.Return ? Vectors.Ts : Vectors.Gp;
        if ((selector & 4) != 0 || (selector & 0xfffc) == 0) return Segmentation.Fail(c, op, vector, selector, ext);
        if (!Segmentation.Read(c, op, selector, vector, out var descriptor, out var at, ext)) return false;
        var type = (int)(descriptor >> 40) & 0x1f;
        var wanted = kind == Kind.Return ? 3 : 1;
        if ((type & ~8) != wanted) return Segmentation.Fail(c, op, vector, selector, ext);
        if (!Segmentation.IsPresent(descriptor)) return Segmentation.Fail(c, op, Vectors.Np, selector, ext);
        var wide = (type & 8) != 0;
        var limit = Segmentation.LimitOf(descriptor);
        if (limit < (wide ? 0x67u : 0x2bu)) return Segmentation.Fail(c, op, Vectors.Ts, selector, ext);

        ref var old = ref c->Seg[Segment.Tr];
        var oldWide = (old.Type & 8) != 0;
        var newBase = Segmentation.BaseOf(descriptor);

        // Everything is read first; both tasks have to be reachable.
        var v = stackalloc ulong[26];
        var fields = wide ? 26 : 22;
        for (var n = 0; n < fields; n++)
        {
            var (offset, size) = wide ? (n * 4, 4) : (n * 2, 2);
            if (!Memory.SystemRead(c, op, newBase + (ulong)offset, size, out v[n])) return false;
        }

        var (first, last) = oldWide ? (0x20u, 0x5fu) : (0xeu, 0x29u);
        if (!Memory.Resolve(c, op, Memory.Wrap(c, old.Base + first), Access.Write, false, out _) || !Memory.Resolve(c, op, Memory.Wrap(c, old.Base + last), Access.Write, false, out _)) return false;
        var flags = Flags.Get(c);
        if (kind == Kind.Return) flags &= ~Flags.Nt;
        if (!SaveTask(c, op, old.Base, oldWide, flags, next)) return false;

        // The old descriptor becomes available, except for a nested task.
        if (kind is Kind.Jump or Kind.Return && !MarkBusy(c, op, old.Selector, false)) return false;
        if (kind != Kind.Return && !MarkBusy(c, op, selector, true)) return false;
        if (kind is Kind.Call or Kind.Interrupt && !Memory.SystemWrite(c, op, newBase, 2, old.Selector)) return false;

        // Committed: faults from here on belong to the new task.
        c->Seg[Segment.Tr] = Segmentation.Make(selector, descriptor | BusyBit);
        c->Cr0 |= Control.Cr0Ts;
        // Local breakpoints end with the task (SDM 3, 18.2.4).
        if ((c->Dr[7] & 0x155) != 0)
        {
            c->Dr[7] &= ~0x155ul;
            X86Cpu.Of(c).DebugChanged();
        }

        uint newFlags;
        ulong ip;
        if (wide)
        {
            if ((c->Cr0 & Control.Cr0Pg) != 0) SystemRegisters.SetCr3(c, v[7]);
            ip = v[8];
            newFlags = (uint)v[9];
            for (var r = 0; r < 8; r++) c->R[r] = v[10 + r];
        }
        else
        {
            ip = v[7];
            newFlags = (uint)v[8];
            for (var r = 0; r < 8; r++) c->R[r] = 0xffff_0000 | v[9 + r];
        }

        if (kind is Kind.Call or Kind.Interrupt) newFlags |= Flags.Nt;
        c->Eflags = newFlags & (Flags.Tf | Flags.If | Flags.Df | Flags.Iopl | Flags.Nt | Flags.Rf | Flags.Vm | Flags.Ac | Flags.Vif | Flags.Vip | Flags.Id);
        Flags.SetArithmetic(c, newFlags & Flags.Arithmetic);
        c->Rip = ip;
        X86Cpu.Of(c).FlagsChanged();

        var es = (uint)v[wide ? 18 : 17] & 0xffff;
        var cs = (uint)v[wide ? 19 : 18] & 0xffff;
        var ss = (uint)v[wide ? 20 : 19] & 0xffff;
        var ds = (uint)v[wide ? 21 : 20] & 0xffff;
        var fs = wide ? (uint)v[22] & 0xffff : 0;
        var gs = wide ? (uint)v[23] & 0xffff : 0;
        var ldt = (uint)v[wide ? 24 : 21] & 0xffff;
        return LoadSegments(c, es, cs, ss, ds, fs, gs, ldt, ext) && CheckTrap(c, wide, v[25]);
    }

    private static bool CheckTrap(CpuState* c, bool wide, ulong trap)
    {
        // The T flag raises a debug exception when the new task starts (SDM 3, 7.2.1).
        if (wide && (trap & 1) != 0)
        {
            c->Dr[6] |= 0x8000;
            X86Cpu.Of(c).PendDebug();
        }

        return true;
    }

    private static bool SaveTask(CpuState* c, Op* op, ulong at, bool wide, uint flags, ulong next)
    {
        if (wide)
        {
            if (!Memory.SystemWrite(c, op, at + 0x20, 4, (uint)next) || !Memory.SystemWrite(c, op, at + 0x24, 4, flags)) return false;
            for (var r = 0; r < 8; r++)
                if (!Memory.SystemWrite(c, op, at + 0x28 + (ulong)(r * 4), 4, (uint)c->R[r])) return false;
            for (var s = 0; s < 6; s++)
                if (!Memory.SystemWrite(c, op, at + 0x48 + (ulong)(s * 4), 2, c->Seg[s].Selector)) return false;
            return true;
        }

        if (!Memory.SystemWrite(c, op, at + 0xe, 2, (ushort)next) || !Memory.SystemWrite(c, op, at + 0x10, 2, (ushort)flags)) return false;
        for (var r = 0; r < 8; r++)
            if (!Memory.SystemWrite(c, op, at + 0x12 + (ulong)(r * 2), 2, (ushort)c->R[r])) return false;
        for (var s = 0; s < 4; s++)
            if (!Memory.SystemWrite(c, op, at + 0x22 + (ulong)(s * 2), 2, c->Seg[s].Selector)) return false;
        return true;
    }

    private static bool MarkBusy(CpuState* c, Op* op, uint selector, bool busy)
    {
        var at = c->GdtBase + (selector & 0xfff8) + 5;
        if (!Memory.SystemRead(c, op, at, 1, out var type)) return false;
        return Memory.SystemWrite(c, op, at, 1, busy ? type | 2 : type & ~2ul);
    }

    /// <summary>The new task's segments. Exceptions here are taken in the new task.</summary>
    private static bool LoadSegments(CpuState* c, uint es, uint cs, uint ss, uint ds, uint fs, uint gs, uint ldt, uint ext)
    {
        for (var s = 0; s < 6; s++) Segmentation.LoadNull(c, s, s switch { 0 => es, 1 => cs, 2 => ss, 3 => ds, 4 => fs, _ => gs });
        c->Seg[Segment.Ldt] = new Segment { Selector = (ushort)ldt };
        if ((ldt & 0xfffc) != 0)
        {
            if ((ldt & 4) != 0 || !Segmentation.Read(c, null, ldt, Vectors.Ts, out var d, out _, ext)) return Segmentation.Fail(c, null, Vectors.Ts, ldt, ext);
            if (((d >> 40) & 0x1f) != 2 || !Segmentation.IsPresent(d)) return Segmentation.Fail(c, null, Vectors.Ts, ldt, ext);
            c->Seg[Segment.Ldt] = Segmentation.Make(ldt, d);
        }

        if ((c->Eflags & Flags.Vm) != 0)
        {
            c->Cpl = 3;
            Segmentation.LoadV86(c, Segment.Es, es);
            Segmentation.LoadV86(c, Segment.Cs, cs);
            Segmentation.LoadV86(c, Segment.Ss, ss);
            Segmentation.LoadV86(c, Segment.Ds, ds);
            Segmentation.LoadV86(c, Segment.Fs, fs);
            Segmentation.LoadV86(c, Segment.Gs, gs);
            Segmentation.UpdateMode(c);
            return true;
        }

        c->Cpl = (int)cs & 3;
        Segmentation.UpdateMode(c);
        if ((cs & 0xfffc) == 0) return Segmentation.Fail(c, null, Vectors.Ts, cs, ext);
        if (!Segmentation.Read(c, null, cs, Vectors.Ts, out var code, out var at, ext)) return false;
        var access = Segmentation.AccessOf(code);
        if (!Segmentation.IsCode(code) || ((access & Segment.Conforming) != 0 ? Segmentation.DplOf(code) > (cs & 3) : Segmentation.DplOf(code) != (cs & 3)))
            return Segmentation.Fail(c, null, Vectors.Ts, cs, ext);
        if (!Segmentation.IsPresent(code)) return Segmentation.Fail(c, null, Vectors.Np, cs, ext);

        if ((ss & 0xfffc) == 0) return Segmentation.Fail(c, null, Vectors.Ts, ss, ext);
        if (!Segmentation.Read(c, null, ss, Vectors.Ts, out var stack, out var stackAt, ext)) return false;
        if ((ss & 3) != c->Cpl || Segmentation.DplOf(stack) != c->Cpl ||
            (Segmentation.AccessOf(stack) & (Segment.NonSystem | Segment.Code | Segment.Writable)) != (Segment.NonSystem | Segment.Writable))
            return Segmentation.Fail(c, null, Vectors.Ts, ss, ext);
        if (!Segmentation.IsPresent(stack)) return Segmentation.Fail(c, null, Vectors.Ss, ss, ext);
        if (!Segmentation.MarkAccessed(c, null, ref stack, stackAt)) return false;
        c->Seg[Segment.Ss] = Segmentation.Make(ss, stack);
        if (!Segmentation.SetCs(c, null, cs, code, at, c->Cpl)) return false;
        return LoadData(c, Segment.Es, es, ext) && LoadData(c, Segment.Ds, ds, ext) && LoadData(c, Segment.Fs, fs, ext) && LoadData(c, Segment.Gs, gs, ext);
    }

    private static bool LoadData(CpuState* c, int segment, uint selector, uint ext)
    {
        if ((selector & 0xfffc) == 0) return true;
        if (!Segmentation.Read(c, null, selector, Vectors.Ts, out var d, out var at, ext)) return false;
        var access = Segmentation.AccessOf(d);
        var code = (access & Segment.Code) != 0;
        if ((access & Segment.NonSystem) == 0 || (code && (access & Segment.Writable) == 0)) return Segmentation.Fail(c, null, Vectors.Ts, selector, ext);
        if ((!code || (access & Segment.Conforming) == 0) && ((int)(selector & 3) > Segmentation.DplOf(d) || c->Cpl > Segmentation.DplOf(d)))
            return Segmentation.Fail(c, null, Vectors.Ts, selector, ext);
        if (!Segmentation.IsPresent(d)) return Segmentation.Fail(c, null, Vectors.Np, selector, ext);
        if (!Segmentation.MarkAccessed(c, null, ref d, at)) return false;
        c->Seg[segment] = Segmentation.Make(selector, d);
        return true;
    }
}
