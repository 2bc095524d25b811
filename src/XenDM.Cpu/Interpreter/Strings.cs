using System;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Interpreter;

/// <summary>
/// String instructions. Each handler runs as many repetitions as the budget allows, and memory to memory page by page at once. An
/// interrupted repetition leaves its registers as they are and is started again at the same instruction (SDM 1, 7.3.9.2).
/// </summary>
internal static unsafe class Strings
{
    /// <summary>Repetitions between looks at pending events.</summary>
    private const long Slice = 4096;

    private const byte RepE = 1, RepNe = 2;

    // Op.Dst: operand size. Op.Src: 0 no prefix, 1 REP/REPE, 2 REPNE. Op.Aux: addressing as in Operands. Op.Seg: segment of the source.

    private static ulong AddressMask(Op* op) => op->Aux switch { Operands.Long => ulong.MaxValue, Operands.Seg16 => ushort.MaxValue, _ => uint.MaxValue };

    private static void Put(CpuState* c, Op* op, int register, ulong value)
    {
        if (op->Aux == Operands.Seg16) *(ushort*)&c->R[register] = (ushort)value;
        else if (op->Aux == Operands.Long) c->R[register] = value;
        else c->R[register] = (uint)value;
    }

    private static bool Linear(CpuState* c, Op* op, ulong address, int segment, int size, bool write, out ulong linear)
    {
        if (op->Aux <= Operands.Long32)
        {
            linear = address + (segment is Segment.Fs or Segment.Gs ? c->Seg[segment].Base : 0);
            return true;
        }

        return Address.Segmented(c, op, (uint)address, segment, size, write, out linear);
    }

    private static ulong Step(CpuState* c, int size) => (c->Eflags & Flags.Df) != 0 ? 0 - (ulong)size : (ulong)size;

    /// <summary>Ends an instruction whose count ran out, or starts it again.</summary>
    private static Op* Done(CpuState* c, Op* op, bool finished)
    {
        if (finished) return op + 1;
        // An instruction breakpoint does not hit between repetitions (SDM 3, 18.3.1.1).
        if ((c->Dr[7] & 0xff) != 0) c->Eflags |= Flags.Rf;
        // Not counted again, and a chance for interrupts.
        return Exits.To(c, op, Exits.Ip(c, op), c->Budget <= 0 ? ExitKind.Budget : ExitKind.Continue);
    }

    /// <summary>Repetitions in one go; with TF or breakpoints each is looked at (SDM 3, 18.3.1).</summary>
    private static long Allowance(CpuState* c, ulong count) => count <= 1 ? (long)count : (c->Eflags & Flags.Tf) != 0 || X86Cpu.HasWatchpoints(c) ? 1 : (long)Math.Min(count, Slice);

    private static ulong Count(CpuState* c, Op* op) => op->Src == 0 ? 1 : c->R[1] & AddressMask(op);

    private static void Finish(CpuState* c, Op* op, ulong left, long done)
    {
        if (op->Src != 0) Put(c, op, 1, left);
        c->Budget -= done;
    }

    /// <summary>Elements that lie in the page of an address, in the direction of the string; at least 0.</summary>
    private static long InPage(ulong linear, int size, bool down)
    {
        var offset = (long)(linear & 0xfff);
        return down ? offset + size > 0x1000 ? 0 : (offset / size) + 1 : (0x1000 - offset) / size;
    }

    /// <summary>Elements before a 16- or 32-bit address wraps around or leaves its segment.</summary>
    private static long InSegment(CpuState* c, Op* op, ulong address, int segment, int size, bool write)
    {
        if (op->Aux <= Operands.Long32) return op->Aux == Operands.Long ? long.MaxValue : (long)((0x1_0000_0000 - (address & 0xffff_ffff)) / (ulong)size);
        ref var s = ref c->Seg[segment];
        var end = write ? s.WriteEnd : s.ReadEnd;
        if (op->Aux == Operands.Seg16) end = Math.Min(end, 0x10000);
        return address + (ulong)size > end ? 0 : (long)((end - address) / (ulong)size);
    }

    public static Op* Movs(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var left = Count(c, op);
        var budget = Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        var down = (long)step < 0;
        long done = 0;
        while (left > 0 && done < budget)
        {
            ulong si = c->R[6] & mask, di = c->R[7] & mask;
            if (!Linear(c, op, si, op->Seg, size, false, out var from) || !Linear(c, op, di, Segment.Es, size, true, out var to)) return Fault(c, op, left, done);
            if (!down && left > 1)
            {
                var run = Math.Min(Math.Min(InPage(from, size, false), InPage(to, size, false)), Math.Min((long)Math.Min(left, long.MaxValue), budget - done));
                run = Math.Min(run, Math.Min(InSegment(c, op, si, op->Seg, size, false), InSegment(c, op, di, Segment.Es, size, true)));
                var source = run > 1 ? Memory.HostForRead(c, from, size) : null;
                var target = run > 1 ? Memory.HostForWrite(c, to, size) : null;
                if (source != null && target != null)
                {
                    var bytes = run * size;
                    // Overlap with the target just above the source spreads the first elements: the order of the elements matters.
                    if (target > source && target < source + bytes) Forward(source, target, size, run);
                    else Buffer.MemoryCopy(source, target, bytes, bytes);
                    Put(c, op, 6, si + (ulong)bytes);
                    Put(c, op, 7, di + (ulong)bytes);
                    left -= (ulong)run;
                    done += run;
                    continue;
                }
            }

            if (!Operands.Load(c, op, from, size, out var value) || !Operands.Store(c, op, to, size, value)) return Fault(c, op, left, done);
            Put(c, op, 6, si + step);
            Put(c, op, 7, di + step);
            left--;
            done++;
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0);
    }

    private static void Forward(byte* source, byte* target, int size, long count)
    {
        for (long i = 0; i < count; i++, source += size, target += size)
        {
            switch (size)
            {
                case 1: *target = *source; break;
                case 2: *(ushort*)target = *(ushort*)source; break;
                case 4: *(uint*)target = *(uint*)source; break;
                default: *(ulong*)target = *(ulong*)source; break;
            }
        }
    }

    private static Op* Fault(CpuState* c, Op* op, ulong left, long done)
    {
        Finish(c, op, left, done);
        return null;
    }

    public static Op* Stos(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var left = Count(c, op);
        var budget = Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        var value = Operands.Get(c, 0, size);
        var down = (long)step < 0;
        long done = 0;
        while (left > 0 && done < budget)
        {
            var di = c->R[7] & mask;
            if (!Linear(c, op, di, Segment.Es, size, true, out var to)) return Fault(c, op, left, done);
            if (!down && left > 1)
            {
                var run = Math.Min(Math.Min(InPage(to, size, false), InSegment(c, op, di, Segment.Es, size, true)), Math.Min((long)Math.Min(left, long.MaxValue), budget - done));
                var target = run > 1 ? Memory.HostForWrite(c, to, size) : null;
                if (target != null)
                {
                    switch (size)
                    {
                        case 1: new Span<byte>(target, (int)run).Fill((byte)value); break;
                        case 2: new Span<ushort>(target, (int)run).Fill((ushort)value); break;
                        case 4: new Span<uint>(target, (int)run).Fill((uint)value); break;
                        default: new Span<ulong>(target, (int)run).Fill(value); break;
                    }

                    Put(c, op, 7, di + (ulong)(run * size));
                    left -= (ulong)run;
                    done += run;
                    continue;
                }
            }

            if (!Operands.Store(c, op, to, size, value)) return Fault(c, op, left, done);
            Put(c, op, 7, di + step);
            left--;
            done++;
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0);
    }

    public static Op* Lods(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var left = Count(c, op);
        var budget = Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        long done = 0;
        for (; left > 0 && done < budget; left--, done++)
        {
            var si = c->R[6] & mask;
            if (!Linear(c, op, si, op->Seg, size, false, out var from) || !Operands.Load(c, op, from, size, out var value)) return Fault(c, op, left, done);
            Operands.Set(c, 0, size, value);
            Put(c, op, 6, si + step);
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0);
    }

    public static Op* Scas(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var left = Count(c, op);
        var budget = Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        var a = Operands.Get(c, 0, size);
        long done = 0;
        var stop = false;
        while (left > 0 && done < budget && !stop)
        {
            var di = c->R[7] & mask;
            if (!Linear(c, op, di, Segment.Es, size, false, out var at) || !Operands.Load(c, op, at, size, out var b)) return Fault(c, op, left, done);
            Compare(c, a, b, size);
            Put(c, op, 7, di + step);
            left--;
            done++;
            stop = op->Src != 0 && Flags.GetZf(c) != (op->Src == RepE);
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0 || stop);
    }

    public static Op* Cmps(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var left = Count(c, op);
        var budget = Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        long done = 0;
        var stop = false;
        while (left > 0 && done < budget && !stop)
        {
            ulong si = c->R[6] & mask, di = c->R[7] & mask;
            if (!Linear(c, op, si, op->Seg, size, false, out var first) || !Operands.Load(c, op, first, size, out var a)) return Fault(c, op, left, done);
            if (!Linear(c, op, di, Segment.Es, size, false, out var second) || !Operands.Load(c, op, second, size, out var b)) return Fault(c, op, left, done);
            Compare(c, a, b, size);
            Put(c, op, 6, si + step);
            Put(c, op, 7, di + step);
            left--;
            done++;
            stop = op->Src != 0 && Flags.GetZf(c) != (op->Src == RepE);
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0 || stop);
    }

    private static void Compare(CpuState* c, ulong a, ulong b, int size)
    {
        switch (size)
        {
            case 1: Sub.Run<byte>(c, a, b); break;
            case 2: Sub.Run<ushort>(c, a, b); break;
            case 4: Sub.Run<uint>(c, a, b); break;
            default: Sub.Run<ulong>(c, a, b); break;
        }
    }

    public static Op* Ins(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var port = (ushort)c->R[2];
        if (!PortAccess.Allowed(c, op, port, size)) return null;
        var left = Count(c, op);
        var cpu = X86Cpu.Of(c);
        var budget = cpu.StepMode ? (long)Math.Min(left, 1) : Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        long done = 0;
        while (left > 0 && done < budget)
        {
            var di = c->R[7] & mask;
            // The write must be possible before the device is asked: its answer cannot be given back.
            if (!Linear(c, op, di, Segment.Es, size, true, out var to) || !Memory.Probe(c, op, to, size, Access.Write)) return Fault(c, op, left, done);
            if (left > 1 && (long)step > 0)
            {
                var run = Math.Min(Math.Min(InPage(to, size, false), InSegment(c, op, di, Segment.Es, size, true)), Math.Min((long)Math.Min(left, long.MaxValue), budget - done));
                var target = run > 1 ? Memory.HostForWrite(c, to, size) : null;
                if (target != null)
                {
                    cpu.Bus.ReadPortBlock(port, size, new Span<byte>(target, (int)(run * size)));
                    Put(c, op, 7, di + (ulong)(run * size));
                    left -= (ulong)run;
                    done += run;
                    continue;
                }
            }

            var value = cpu.Bus.ReadPort(port, size);
            if (cpu.StepMode) cpu.WatchPort(port, size);
            if (!Operands.Store(c, op, to, size, value)) return Fault(c, op, left, done);
            Put(c, op, 7, di + step);
            left--;
            done++;
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0);
    }

    public static Op* Outs(CpuState* c, Op* op)
    {
        int size = op->Dst;
        var port = (ushort)c->R[2];
        if (!PortAccess.Allowed(c, op, port, size)) return null;
        var left = Count(c, op);
        var cpu = X86Cpu.Of(c);
        var budget = cpu.StepMode ? (long)Math.Min(left, 1) : Allowance(c, left);
        var step = Step(c, size);
        var mask = AddressMask(op);
        long done = 0;
        while (left > 0 && done < budget)
        {
            var si = c->R[6] & mask;
            if (!Linear(c, op, si, op->Seg, size, false, out var from)) return Fault(c, op, left, done);
            if (left > 1 && (long)step > 0)
            {
                var run = Math.Min(Math.Min(InPage(from, size, false), InSegment(c, op, si, op->Seg, size, false)), Math.Min((long)Math.Min(left, long.MaxValue), budget - done));
                var source = run > 1 ? Memory.HostForRead(c, from, size) : null;
                if (source != null)
                {
                    cpu.Bus.WritePortBlock(port, size, new ReadOnlySpan<byte>(source, (int)(run * size)));
                    Put(c, op, 6, si + (ulong)(run * size));
                    left -= (ulong)run;
                    done += run;
                    continue;
                }
            }

            if (!Operands.Load(c, op, from, size, out var value)) return Fault(c, op, left, done);
            cpu.Bus.WritePort(port, size, value);
            if (cpu.StepMode) cpu.WatchPort(port, size);
            Put(c, op, 6, si + step);
            left--;
            done++;
        }

        Finish(c, op, left, done - 1);
        return Done(c, op, left == 0);
    }
}
