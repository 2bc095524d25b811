using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu.Mmu;

/// <summary>What an access wants of a page.</summary>
internal enum Access
{
    Read,
    Write,
    Execute,
}

/// <summary>Linear to physical by the guest's page tables (SDM 3, chapter 4): 32-bit with PSE, PAE, and 4-level paging.</summary>
internal static unsafe class PageWalk
{
    public const uint ErrorPresent = 1, ErrorWrite = 2, ErrorUser = 4, ErrorReserved = 8, ErrorFetch = 16;
    private const ulong Present = 1, Write = 2, User = 4, Accessed = 0x20, Dirty = 0x40, Large = 0x80, Nx = 1ul << 63;
    private const ulong AddressBits = 0x000f_ffff_ffff_f000;

    /// <summary>Physical address bits that the CPU reports; bits above must be clear in entries.</summary>
    public const int PhysicalBits = 40;

    private const ulong ReservedHigh = 0x000f_ffff_ffff_ffff & ~((1ul << PhysicalBits) - 1);

    /// <summary>Of a page: writable and dirty, so that writes need no walk any more.</summary>
    public const uint MayWrite = 1;

    /// <summary>Of a page: 2 or 4 MiB, or 1 GiB.</summary>
    public const uint IsLarge = 2, IsGiant = 4;

    /// <param name="user">The access is made with user rights.</param>
    /// <param name="smap">Supervisor data accesses to user pages fail.</param>
    /// <param name="physical">Address of the byte.</param>
    /// <param name="rights"><see cref="MayWrite"/>, <see cref="IsLarge"/>, <see cref="IsGiant"/>.</param>
    /// <param name="error">Error code of the page fault.</param>
    /// <param name="quiet">A debugger looks: accessed and dirty bits stay.</param>
    public static bool Translate(CpuState* c, ulong linear, Access access, bool user, bool smap, out ulong physical, out uint rights, out uint error, bool quiet = false)
    {
        rights = MayWrite;
        error = 0;
        physical = linear;
        if ((c->Cr0 & Control.Cr0Pg) == 0) return true;
        error = (access == Access.Write ? ErrorWrite : 0) | (user ? ErrorUser : 0) |
            (access == Access.Execute && ((c->Efer & Control.EferNxe) != 0 && (c->Cr4 & Control.Cr4Pae) != 0 || (c->Cr4 & Control.Cr4Smep) != 0) ? ErrorFetch : 0);
        if ((c->Cr4 & Control.Cr4Pae) == 0) return Walk32(c, (uint)linear, access, user, smap, out physical, ref rights, ref error, quiet);

        var longMode = (c->Efer & Control.EferLma) != 0;
        ulong table, rightsMask = Write | User, nx = 0;
        int level;
        if (longMode)
        {
            table = c->Cr3 & AddressBits;
            level = 4;
        }
        else
        {
            var pdpte = c->Pdpte[(linear >> 30) & 3];
            if ((pdpte & Present) == 0) return false;
            table = pdpte & AddressBits;
            level = 2;
        }

        // Accessed bits are set when the whole walk is known to succeed, as the first CPUs with paging did; later ones may do either.
        var upper = stackalloc ulong*[3];
        var visited = 0;
        var nxe = (c->Efer & Control.EferNxe) != 0;
        while (true)
        {
            var shift = 12 + ((level - 1) * 9);
            var slot = Entry(c, table + (((linear >> shift) & 511) << 3));
            if (slot == null) return false;
            var entry = *(ulong*)slot;
            if ((entry & Present) == 0) return false;
            var reserved = ReservedHigh | (nxe ? 0 : Nx);
            if (!longMode) reserved |= 0x7ff0_0000_0000_0000;
            var leaf = level == 1 || ((entry & Large) != 0 && level <= 3 && longMode || (entry & Large) != 0 && level == 2);
            if (level == 4) reserved |= Large;
            if (leaf && level > 1) reserved |= ((1ul << shift) - 1) & ~0x1ffful;
            if ((entry & reserved) != 0)
            {
                error |= ErrorReserved | ErrorPresent;
                return false;
            }

            rightsMask &= entry;
            nx |= entry & Nx;
            if (!leaf)
            {
                upper[visited++] = (ulong*)slot;
                table = entry & AddressBits;
                level--;
                continue;
            }

            if (!Allowed(c, rightsMask, nx != 0, access, user, smap, ref rights))
            {
                error |= ErrorPresent;
                return false;
            }

            for (var n = 0; n < visited && !quiet; n++)
                if ((*upper[n] & Accessed) == 0) *upper[n] |= Accessed;
            SetAccessed(slot, entry, access, quiet, ref rights);
            if (level > 1) rights |= level == 2 ? IsLarge : IsGiant;
            var offsetMask = (1ul << shift) - 1;
            physical = (entry & AddressBits & ~offsetMask) | (linear & offsetMask);
            return true;
        }
    }

    private static bool Walk32(CpuState* c, uint linear, Access access, bool user, bool smap, out ulong physical, ref uint rights, ref uint error, bool quiet)
    {
        physical = 0;
        var slot = Entry(c, (c->Cr3 & 0xffff_f000) + ((linear >> 22) << 2));
        if (slot == null) return false;
        var entry = *(uint*)slot;
        if ((entry & Present) == 0) return false;
        ulong rightsMask = entry & (Write | User);
        byte* directory = null;
        if ((entry & Large) != 0 && (c->Cr4 & Control.Cr4Pse) != 0)
        {
            // PSE-36 (SDM 3, table 4-4): bits 20:13 are address bits 39:32, bit 21 is reserved.
            if ((entry & (1u << 21)) != 0)
            {
                error |= ErrorReserved | ErrorPresent;
                return false;
            }

            physical = (entry & 0xffc0_0000) | ((ulong)((entry >> 13) & 0xff) << 32) | (linear & 0x3f_ffff);
        }
        else
        {
            directory = slot;
            slot = Entry(c, (entry & 0xffff_f000) + (((linear >> 12) & 1023) << 2));
            if (slot == null) return false;
            entry = *(uint*)slot;
            if ((entry & Present) == 0) return false;
            rightsMask &= entry;
            physical = (entry & 0xffff_f000) | (linear & 0xfff);
        }

        if (directory == null) rights |= IsLarge;
        if (!Allowed(c, rightsMask, false, access, user, smap, ref rights))
        {
            error |= ErrorPresent;
            return false;
        }

        if (!quiet)
        {
            if (directory != null && (*(uint*)directory & Accessed) == 0) *(uint*)directory |= (uint)Accessed;
            var set = entry | (uint)Accessed | (access == Access.Write ? (uint)Dirty : 0);
            if (set != entry) *(uint*)slot = set;
            entry = set;
        }

        if ((entry & Dirty) == 0) rights &= ~MayWrite;
        return true;
    }

    /// <summary>SDM 3, 4.6.1.</summary>
    private static bool Allowed(CpuState* c, ulong mask, bool nx, Access access, bool user, bool smap, ref uint rights)
    {
        var userPage = (mask & User) != 0;
        var writable = (mask & Write) != 0 || (!user && (c->Cr0 & Control.Cr0Wp) == 0);
        if (user && !userPage) return false;
        if (!user && userPage && access != Access.Execute && smap) return false;
        if (!user && userPage && access == Access.Execute && (c->Cr4 & Control.Cr4Smep) != 0) return false;
        if (access == Access.Execute && nx) return false;
        if (access == Access.Write && !writable) return false;
        if (!writable) rights &= ~MayWrite;
        return true;
    }

    private static void SetAccessed(byte* slot, ulong entry, Access access, bool quiet, ref uint rights)
    {
        if (!quiet)
        {
            var set = entry | Accessed | (access == Access.Write ? Dirty : 0);
            if (set != entry) *(ulong*)slot = set;
            entry = set;
        }

        if ((entry & Dirty) == 0) rights &= ~MayWrite;
    }

    /// <summary>The page table entry in host memory; null where the tables lie outside RAM, which counts as not present.</summary>
    private static byte* Entry(CpuState* c, ulong physical)
    {
        var page = physical >> 12;
        var entry = page < c->PageCount ? c->Pages[page] : 0;
        if ((entry & PhysicalMap.Watched) != 0) X86Cpu.Of(c).Map.Touch(page);
        return (entry & PhysicalMap.Writable) == 0 ? null : (byte*)(entry & ~PhysicalMap.FlagBits) + (physical & PhysicalMap.FlagBits);
    }
}
