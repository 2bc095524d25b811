using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Supervisor;

/// <summary>Descriptors and segment registers (SDM 3, chapters 3 and 5).</summary>
internal static unsafe class Segmentation
{
    public static bool IsProtected(CpuState* c) => (c->Cr0 & Control.Cr0Pe) != 0;

    public static bool IsV86(CpuState* c) => (c->Eflags & Flags.Vm) != 0;

    public static bool IsLong(CpuState* c) => (c->Efer & Control.EferLma) != 0;

    public static bool Is64(CpuState* c) => (c->Mode & 3) == 2;

    /// <summary>After CS, SS, CPL, or a control register changed: what code means, which TLB serves, which cached jumps count.</summary>
    public static void UpdateMode(CpuState* c)
    {
        ref var cs = ref c->Seg[Segment.Cs];
        var size = IsLong(c) && cs.Is(Segment.Long) ? 2u : cs.Is(Segment.Big) ? 1u : 0u;
        c->Mode = size | (c->Seg[Segment.Ss].Is(Segment.Big) ? CpuState.ModeStack32 : 0);
        c->CodeLimit = cs.Limit;
        if (size == 2)
        {
            // CS, DS, ES and SS have no base in 64-bit mode.
            cs.Base = 0;
        }

        UpdateTlb(c);
        c->JumpTag = (c->JumpTag & ~0xfful) | c->Mode | (c->Cpl == 3 ? 0x10u : 0);
    }

    /// <summary>After CPL, AC, CR0.AM or CR4.SMAP changed.</summary>
    public static void UpdateTlb(CpuState* c)
    {
        var kind = c->Cpl == 3 ? (c->Cr0 & Control.Cr0Am) != 0 && (c->Eflags & Flags.Ac) != 0 ? 3 : 0
            : (c->Cr4 & Control.Cr4Smap) != 0 && (c->Eflags & Flags.Ac) == 0 ? 1 : 2;
        c->Tlb = c->Tlbs + (kind * CpuState.TlbEntries);
    }

    /// <summary>The selector without RPL, as error codes have it.</summary>
    public static uint Error(uint selector) => selector & 0xfffc;

    /// <summary>Reads a descriptor by selector.</summary>
    /// <returns>False when it lies beyond its table (nothing raised), or memory faulted (raised, <paramref name="faulted"/>).</returns>
    public static bool TryRead(CpuState* c, Op* op, uint selector, out ulong descriptor, out ulong at, out bool faulted)
    {
        descriptor = 0;
        faulted = false;
        var index = selector & 0xfff8;
        ulong tableBase;
        uint limit;
        if ((selector & 4) != 0)
        {
            ref var ldt = ref c->Seg[Segment.Ldt];
            tableBase = ldt.Base;
            limit = ldt.Is(Segment.Present) ? ldt.Limit : 0;
        }
        else
        {
            tableBase = c->GdtBase;
            limit = c->GdtLimit;
        }

        at = tableBase + index;
        if (index + 7 > limit) return false;
        faulted = !Memory.SystemRead(c, op, at, 8, out descriptor);
        return !faulted;
    }

    /// <summary>The same with an exception for selectors beyond the table.</summary>
    public static bool Read(CpuState* c, Op* op, uint selector, int vector, out ulong descriptor, out ulong at, uint ext = 0)
    {
        if (TryRead(c, op, selector, out descriptor, out at, out var faulted)) return true;
        if (!faulted) Exits.Raise(c, op, vector, Error(selector) | ext);
        return false;
    }

    public static ushort AccessOf(ulong descriptor) => (ushort)((descriptor >> 40) & 0xf0ff);

    public static int DplOf(ulong descriptor) => (int)(descriptor >> 45) & 3;

    public static uint LimitOf(ulong descriptor)
    {
        var limit = (uint)(descriptor & 0xffff) | ((uint)(descriptor >> 32) & 0xf0000);
        return (AccessOf(descriptor) & Segment.Granular) != 0 ? (limit << 12) | 0xfff : limit;
    }

    public static ulong BaseOf(ulong descriptor) => ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 32) & 0xff00_0000);

    public static bool IsPresent(ulong descriptor) => (descriptor & (1ul << 47)) != 0;

    public static Segment Make(uint selector, ulong descriptor)
    {
        var s = new Segment { Selector = (ushort)selector, Access = AccessOf(descriptor), Limit = LimitOf(descriptor), Base = BaseOf(descriptor) };
        Address.Prepare(ref s);
        return s;
    }

    /// <summary>Sets the accessed bit in the table.</summary>
    public static bool MarkAccessed(CpuState* c, Op* op, ref ulong descriptor, ulong at)
    {
        if ((descriptor & (1ul << 40)) != 0) return true;
        descriptor |= 1ul << 40;
        return Memory.SystemWrite(c, op, at + 5, 1, (descriptor >> 40) & 0xff);
    }

    /// <summary>A segment as real mode loads it: the base changes, limit and rights stay (SDM 3, 20.1.1 and what "unreal mode" relies on).</summary>
    public static void LoadReal(CpuState* c, int segment, uint selector)
    {
        ref var s = ref c->Seg[segment];
        s.Selector = (ushort)selector;
        s.Base = (selector & 0xffff) << 4;
        if (segment == Segment.Cs)
        {
            s.Access = (ushort)((s.Access & ~0x6f) | 0x93);
        }
        else if (!s.Is(Segment.Present | Segment.NonSystem))
        {
            s.Access = 0x93;
            s.Limit = 0xffff;
        }

        Address.Prepare(ref s);
    }

    public static void LoadV86(CpuState* c, int segment, uint selector)
    {
        ref var s = ref c->Seg[segment];
        s = new Segment { Selector = (ushort)selector, Base = (ulong)(ushort)selector << 4, Limit = 0xffff, Access = 0xf3 };
        Address.Prepare(ref s);
    }

    /// <summary>MOV, POP and LDS-like loads of DS, ES, FS, GS and SS (SDM 2, MOV).</summary>
    public static bool Load(CpuState* c, Op* op, int segment, uint selector)
    {
        selector &= 0xffff;
        if (!IsProtected(c))
        {
            LoadReal(c, segment, selector);
            if (segment == Segment.Ss) UpdateMode(c);
            return true;
        }

        if (IsV86(c))
        {
            LoadV86(c, segment, selector);
            if (segment == Segment.Ss) UpdateMode(c);
            return true;
        }

        if ((selector & 0xfffc) == 0)
        {
            if (segment == Segment.Ss && !(Is64(c) && c->Cpl != 3 && (selector & 3) == c->Cpl))
            {
                Exits.Protection(c, op);
                return false;
            }

            LoadNull(c, segment, selector);
            if (segment == Segment.Ss) UpdateMode(c);
            return true;
        }

        if (!Read(c, op, selector, Vectors.Gp, out var descriptor, out var at)) return false;
        var access = AccessOf(descriptor);
        var dpl = DplOf(descriptor);
        var rpl = (int)selector & 3;
        if (segment == Segment.Ss)
        {
            if (rpl != c->Cpl || dpl != c->Cpl || (access & (Segment.NonSystem | Segment.Code | Segment.Writable)) != (Segment.NonSystem | Segment.Writable))
                return Fail(c, op, Vectors.Gp, selector);
            if (!IsPresent(descriptor)) return Fail(c, op, Vectors.Ss, selector);
        }
        else
        {
            var code = (access & Segment.Code) != 0;
            if ((access & Segment.NonSystem) == 0 || (code && (access & Segment.Writable) == 0)) return Fail(c, op, Vectors.Gp, selector);
            if ((!code || (access & Segment.Conforming) == 0) && (rpl > dpl || c->Cpl > dpl)) return Fail(c, op, Vectors.Gp, selector);
            if (!IsPresent(descriptor)) return Fail(c, op, Vectors.Np, selector);
        }

        if (!MarkAccessed(c, op, ref descriptor, at)) return false;
        c->Seg[segment] = Make(selector, descriptor);
        if (segment == Segment.Ss) UpdateMode(c);
        return true;
    }

    /// <summary>A null selector: the segment cannot be used outside 64-bit mode.</summary>
    public static void LoadNull(CpuState* c, int segment, uint selector)
    {
        ref var s = ref c->Seg[segment];
        s.Selector = (ushort)selector;
        s.Access = (ushort)(segment == Segment.Ss ? (c->Cpl << 5) | (s.Access & Segment.Big) : 0);
        // In 64-bit mode a null selector clears the base of FS and GS, as CPUs of the first vendor do.
        s.Base = 0;
        s.Limit = 0;
        Address.Prepare(ref s);
    }

    public static bool Fail(CpuState* c, Op* op, int vector, uint selector, uint ext = 0)
    {
        Exits.Raise(c, op, vector, Error(selector) | ext);
        return false;
    }

    /// <summary>Checks a code segment for a far jump or call without a gate (SDM 3, 5.8.1).</summary>
    public static bool CheckCode(CpuState* c, Op* op, uint selector, ulong descriptor)
    {
        var access = AccessOf(descriptor);
        var dpl = DplOf(descriptor);
        if ((access & Segment.Conforming) != 0)
        {
            if (dpl > c->Cpl) return Fail(c, op, Vectors.Gp, selector);
        }
        else if ((selector & 3) > c->Cpl || dpl != c->Cpl)
        {
            return Fail(c, op, Vectors.Gp, selector);
        }

        // L and D together are reserved in long mode.
        if (IsLong(c) && (access & (Segment.Long | Segment.Big)) == (Segment.Long | Segment.Big)) return Fail(c, op, Vectors.Gp, selector);
        return IsPresent(descriptor) || Fail(c, op, Vectors.Np, selector);
    }

    public static bool IsCode(ulong descriptor) => (AccessOf(descriptor) & (Segment.NonSystem | Segment.Code)) == (Segment.NonSystem | Segment.Code);

    /// <summary>Puts a checked code segment into CS at a privilege level.</summary>
    public static bool SetCs(CpuState* c, Op* op, uint selector, ulong descriptor, ulong at, int cpl)
    {
        if (!MarkAccessed(c, op, ref descriptor, at)) return false;
        c->Seg[Segment.Cs] = Make((selector & 0xfffc) | (uint)cpl, descriptor);
        c->Cpl = cpl;
        UpdateMode(c);
        return true;
    }

    /// <summary>Whether an IP fits a code segment.</summary>
    public static bool IpFits(CpuState* c, ulong descriptor, ulong ip) =>
        IsLong(c) && (AccessOf(descriptor) & Segment.Long) != 0 ? Memory.IsCanonical(ip) : ip <= LimitOf(descriptor);
}
