using System.Runtime.CompilerServices;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Mmu;

/// <summary>
/// Accesses to linear memory. The inline part compares one tag: the page of the access's last byte, with the TLB's generation. An access that
/// crosses into the next page never has the tag of its first page, so one comparison covers that too.
/// </summary>
internal static unsafe class Memory
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TlbEntry* Line(TlbEntry* tlb, ulong linear) => tlb + ((linear >> 12) & (CpuState.TlbEntries - 1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Tag(CpuState* c, ulong linear, int size) => ((linear + (ulong)(size - 1)) & ~0xffful) | c->TlbGeneration;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Read<T>(CpuState* c, Op* op, ulong linear, out ulong value) where T : unmanaged
    {
        var line = Line(c->Tlb, linear);
        if (line->ReadTag == Tag(c, linear, sizeof(T)))
        {
            value = Width.Load<T>((byte*)linear + line->Addend);
            return true;
        }

        return ReadSlow(c, op, linear, sizeof(T), out value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Write<T>(CpuState* c, Op* op, ulong linear, ulong value) where T : unmanaged
    {
        var line = Line(c->Tlb, linear);
        if (line->WriteTag == Tag(c, linear, sizeof(T)))
        {
            Width.Store<T>((byte*)linear + line->Addend, value);
            return true;
        }

        return WriteSlow(c, op, linear, sizeof(T), value);
    }

    /// <summary>Where a read may take its bytes from; null: use <see cref="ReadSlow"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* ForRead<T>(CpuState* c, ulong linear) where T : unmanaged
    {
        var line = Line(c->Tlb, linear);
        return line->ReadTag == Tag(c, linear, sizeof(T)) ? (byte*)linear + line->Addend : null;
    }

    /// <summary>Where a read-modify-write may work in place; null: use <see cref="ReadForWrite"/> and <see cref="WriteSlow"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* InPlace<T>(CpuState* c, ulong linear) where T : unmanaged
    {
        var line = Line(c->Tlb, linear);
        return line->WriteTag == Tag(c, linear, sizeof(T)) ? (byte*)linear + line->Addend : null;
    }

    /// <summary>Host address for reading <paramref name="size"/> bytes (at most to the page's end), or null when the access has to take the long way.</summary>
    public static byte* HostForRead(CpuState* c, ulong linear, int size)
    {
        var line = Line(c->Tlb, linear);
        return line->ReadTag == Tag(c, linear, size) ? (byte*)linear + line->Addend : null;
    }

    /// <inheritdoc cref="HostForRead"/>
    public static byte* HostForWrite(CpuState* c, ulong linear, int size)
    {
        var line = Line(c->Tlb, linear);
        return line->WriteTag == Tag(c, linear, size) ? (byte*)linear + line->Addend : null;
    }

    /// <summary>Reads after the check that the same bytes can be written.</summary>
    public static bool ReadForWrite(CpuState* c, Op* op, ulong linear, int size, out ulong value)
    {
        value = 0;
        return Probe(c, op, linear, size, Access.Write) && ReadSlow(c, op, linear, size, out value);
    }

    /// <summary>Faults as an access would, without one.</summary>
    public static bool Probe(CpuState* c, Op* op, ulong linear, int size, Access access)
    {
        if (!CheckLinear(c, op, linear, size)) return false;
        if (!Resolve(c, op, linear, access, c->Cpl == 3, out _)) return false;
        return SamePage(linear, size) || Resolve(c, op, Wrap(c, linear + (ulong)size - 1), access, c->Cpl == 3, out _);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool ReadSlow(CpuState* c, Op* op, ulong linear, int size, out ulong value)
    {
        value = 0;
        if (!CheckLinear(c, op, linear, size)) return false;
        return ReadAs(c, op, linear, size, c->Cpl == 3, out value);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool WriteSlow(CpuState* c, Op* op, ulong linear, int size, ulong value)
    {
        if (!CheckLinear(c, op, linear, size)) return false;
        return WriteAs(c, op, linear, size, c->Cpl == 3, value);
    }

    /// <summary>An access of the CPU itself to a descriptor table, a task or a stack of inner privilege.</summary>
    public static bool SystemRead(CpuState* c, Op* op, ulong linear, int size, out ulong value) => ReadAs(c, op, Wrap(c, linear), size, false, out value, true);

    /// <inheritdoc cref="SystemRead"/>
    public static bool SystemWrite(CpuState* c, Op* op, ulong linear, int size, ulong value) => WriteAs(c, op, Wrap(c, linear), size, false, value, true);

    public static bool ReadAs(CpuState* c, Op* op, ulong linear, int size, bool user, out ulong value, bool system = false)
    {
        value = 0;
        if (!Resolve(c, op, linear, Access.Read, user, out var physical, system)) return false;
        if (SamePage(linear, size))
        {
            value = ReadPhysical(c, physical, size);
        }
        else
        {
            var first = (int)(0x1000 - (linear & 0xfff));
            if (!Resolve(c, op, Wrap(c, linear + (ulong)first), Access.Read, user, out var second, system)) return false;
            for (var i = 0; i < size; i++) value |= ReadPhysical(c, i < first ? physical + (ulong)i : second + (ulong)(i - first), 1) << (i * 8);
        }

        return !X86Cpu.HasWatchpoints(c) || X86Cpu.Of(c).Watch(linear, size, false);
    }

    public static bool WriteAs(CpuState* c, Op* op, ulong linear, int size, bool user, ulong value, bool system = false)
    {
        if (!Resolve(c, op, linear, Access.Write, user, out var physical, system)) return false;
        if (SamePage(linear, size))
        {
            WritePhysical(c, physical, size, value);
        }
        else
        {
            var first = (int)(0x1000 - (linear & 0xfff));
            if (!Resolve(c, op, Wrap(c, linear + (ulong)first), Access.Write, user, out var second, system)) return false;
            for (var i = 0; i < size; i++) WritePhysical(c, i < first ? physical + (ulong)i : second + (ulong)(i - first), 1, (byte)(value >> (i * 8)));
        }

        return !X86Cpu.HasWatchpoints(c) || X86Cpu.Of(c).Watch(linear, size, true);
    }

    /// <summary>Reads guest physical memory or the bus; 1 to 8 bytes within a page.</summary>
    public static ulong ReadPhysical(CpuState* c, ulong physical, int size)
    {
        var entry = Page(c, physical);
        if (entry == 0) return X86Cpu.Of(c).Bus.ReadMemory(physical, size);
        var at = (byte*)(entry & ~PhysicalMap.FlagBits) + (physical & PhysicalMap.FlagBits);
        return size switch
        {
            1 => *at,
            2 => *(ushort*)at,
            4 => *(uint*)at,
            8 => *(ulong*)at,
            _ => Odd(at, size),
        };

        static ulong Odd(byte* at, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)at[i] << (i * 8);
            return value;
        }
    }

    public static void WritePhysical(CpuState* c, ulong physical, int size, ulong value)
    {
        var entry = Page(c, physical);
        if (entry == 0)
        {
            X86Cpu.Of(c).Bus.WriteMemory(physical, size, value);
            return;
        }

        if ((entry & (PhysicalMap.Writable | PhysicalMap.Watched)) != PhysicalMap.Writable)
        {
            if ((entry & PhysicalMap.Writable) == 0) return;
            X86Cpu.Of(c).Map.Touch(physical >> 12);
        }

        var at = (byte*)(entry & ~PhysicalMap.FlagBits) + (physical & PhysicalMap.FlagBits);
        switch (size)
        {
            case 1: *at = (byte)value; break;
            case 2: *(ushort*)at = (ushort)value; break;
            case 4: *(uint*)at = (uint)value; break;
            case 8: *(ulong*)at = value; break;
            default:
                for (var i = 0; i < size; i++) at[i] = (byte)(value >> (i * 8));
                break;
        }

        if (IsCode(c, physical)) X86Cpu.Of(c).Code.Written(physical, size);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Page(CpuState* c, ulong physical)
    {
        var page = physical >> 12;
        return page < c->PageCount ? c->Pages[page] : 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsCode(CpuState* c, ulong physical) => (c->CodePages[physical >> 17] >> (int)((physical >> 12) & 31) & 1) != 0;

    private static bool SamePage(ulong linear, int size) => ((linear ^ (linear + (ulong)size - 1)) & ~0xffful) == 0;

    /// <summary>Linear addresses have 32 bits outside long mode.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Wrap(CpuState* c, ulong linear) => (c->Efer & Control.EferLma) != 0 ? linear : (uint)linear;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsCanonical(ulong address) => (ulong)((long)(address << 16) >> 16) == address;

    /// <summary>Canonical form in 64-bit mode, and alignment where it is asked for.</summary>
    private static bool CheckLinear(CpuState* c, Op* op, ulong linear, int size)
    {
        if ((c->Mode & 3) == 2 && !(IsCanonical(linear) && IsCanonical(linear + (ulong)size - 1)))
        {
            var stack = op != null && op->Seg == Segment.None && (op->Base == 4 * 8 || op->Base == 5 * 8);
            Exits.Raise(c, op, stack ? Vectors.Ss : Vectors.Gp, 0);
            return false;
        }

        if (c->Tlb == c->Tlbs + (3 * CpuState.TlbEntries) && (linear & (ulong)(size - 1)) != 0 && size is 2 or 4 or 8)
        {
            Exits.Raise(c, op, Vectors.Ac, 0);
            return false;
        }

        return true;
    }

    /// <summary>Translates through the TLB or the page tables and fills the TLB.</summary>
    /// <param name="system">The CPU's own access to a table, which obeys SMAP whatever AC says (SDM 3, 4.6.1).</param>
    public static bool Resolve(CpuState* c, Op* op, ulong linear, Access access, bool user, out ulong physical, bool system = false)
    {
        var kind = user ? 0 : (system && (c->Cr4 & Control.Cr4Smap) != 0) || c->Cpl == 3 || c->Tlb == c->Tlbs + CpuState.TlbEntries ? 1 : 2;
        var smap = kind == 1 && (c->Cr4 & Control.Cr4Smap) != 0;
        var line = Line(c->Tlbs + (kind * CpuState.TlbEntries), linear);
        var tag = (linear & ~0xffful) | c->TlbGeneration;
        if ((access == Access.Write ? line->WriteTag : line->ReadTag) == tag)
        {
            physical = line->Physical | (linear & 0xfff);
            return true;
        }

        if (!PageWalk.Translate(c, linear, access, user, smap, out physical, out var rights, out var error))
        {
            Exits.PageFault(c, op, linear, error);
            return false;
        }

        var entry = Page(c, physical);
        if (entry == 0) return true;
        if (rights > PageWalk.MayWrite) NoteLarge(c, linear, rights);
        if ((entry & PhysicalMap.Watched) != 0 && access == Access.Write)
        {
            X86Cpu.Of(c).Map.Touch(physical >> 12);
            entry &= ~PhysicalMap.Watched;
        }

        var watched = X86Cpu.HasWatchpoints(c);
        line->Addend = (nint)((entry & ~PhysicalMap.FlagBits) - (linear & ~0xffful));
        line->Physical = physical & ~0xffful;
        line->ReadTag = watched ? TlbEntry.NoTag : tag;
        line->WriteTag = !watched && (rights & PageWalk.MayWrite) != 0 && (entry & (PhysicalMap.Writable | PhysicalMap.Watched)) == PhysicalMap.Writable && !IsCode(c, physical) ? tag : TlbEntry.NoTag;
        return true;
    }

    /// <summary>The TLB holds pieces of a large page: INVLPG within it has to find them all (<see cref="CpuState.LargePages"/>).</summary>
    private static void NoteLarge(CpuState* c, ulong linear, uint rights)
    {
        if ((rights & PageWalk.IsGiant) != 0) c->GiantPages |= 1ul << (int)(linear >> 30);
        else c->LargePages[(linear >> 27) & 7] |= 1ul << (int)(linear >> 21);
    }

    /// <summary>Whether a piece of a large page around an address may be in the TLB. 4 MiB pages are two of 2 MiB.</summary>
    public static bool MayBeLarge(CpuState* c, ulong linear) =>
        ((c->LargePages[(linear >> 27) & 7] >> ((int)(linear >> 21) & 62)) & 3) != 0 || ((c->GiantPages >> ((int)(linear >> 30) & 63)) & 1) != 0;
}
