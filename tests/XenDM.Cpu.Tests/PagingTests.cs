using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

public enum PagingKind
{
    Legacy,
    Pae,
    FourLevel,
}

/// <summary>
/// Paging (SDM 3, chapter 4). The first 2 MiB are mapped one to one, for the supervisor but for what code above level 0 needs; the page under
/// test is at 8 MiB and leads to <see cref="Free"/>.
/// </summary>
public sealed unsafe class PagingTests : IDisposable
{
    private const int Gp = 13, Pf = 14;
    private const ulong P = 1, Rw = 2, Us = 4, Accessed = 0x20, Dirty = 0x40, Large = 0x80, Nx = 1ul << 63;
    private const uint Page = 0x80_0000, Pdpt = 0x2000, Directory = 0x3000, Identity = 0x4000, Table = 0x5000, PaeTop = 0x1000;
    private const uint Wp = 0x10000, Smep = 0x100000, Smap = 0x200000, Nxe = 0x800, Ac = 0x40000, Pge = 0x80, Pse = 0x10, Pae = 0x20, Pcide = 0x20000;

    private readonly SystemBoard _board = new();
    private PagingKind _kind;

    public void Dispose() => _board.Dispose();

    private int EntryBytes => _kind == PagingKind.Legacy ? 4 : 8;

    private uint Upper => Directory + (_kind == PagingKind.Legacy ? 2 * 4u : 4 * 8);

    private CpuState* Enter(PagingKind kind, string code, int cpl, ulong upper, ulong entry)
    {
        _kind = kind;
        var c = _board.Enter(kind == PagingKind.FourLevel ? CodeMode.Long : CodeMode.Prot32, code, cpl);
        foreach (var at in new[] { PaeTop, Pdpt, Directory, Identity, Table })
            for (var n = 0u; n < 0x1000; n += 8) _board.Write(at + n, 0, 8);
        for (var n = 0u; n < 512; n++)
        {
            var user = cpl == 3 && n is Code >> 12 or (Stack - 1) >> 12 or Data >> 12;
            _board.Write(Identity + (n * (uint)EntryBytes), (n << 12) | (user ? 7u : 3), EntryBytes);
        }

        _board.Write(Directory, Identity | 7, EntryBytes);
        _board.Write(Upper, upper, EntryBytes);
        _board.Write(Table, entry, EntryBytes);
        switch (kind)
        {
            case PagingKind.Legacy:
                c->Cr3 = Directory;
                break;
            case PagingKind.Pae:
                _board.Write(PaeTop, Directory | 1, 8);
                c->Pdpte[0] = Directory | 1;
                c->Cr3 = PaeTop;
                c->Cr4 |= Pae;
                break;
            default:
                _board.Write(PaeTop, Pdpt | 7, 8);
                _board.Write(Pdpt, Directory | 7, 8);
                c->Cr3 = PaeTop;
                break;
        }

        c->Cr0 |= 0x8000_0000;
        _board.Poke(Free, "f4");
        _board.Write(Free + 4, 0x12345678);
        return c;
    }

    private static string CodeOf(string access, uint at = Page + 4) => access switch
    {
        "r" => $"8b042500000000"[..2] + $"0425{L(at)}",
        "w" => $"890425{L(at)}",
        _ => $"b8{L(at - 4)}ffe0",
    };

    /// <summary>An access to the page: error code of the page fault, or -1. Code that got there halts, or may not.</summary>
    private void Expect(int error, string access, uint at = Page + 4)
    {
        var trap = _board.Run();
        if (error < 0)
        {
            if (access == "x" && trap.Vector == Gp) Assert.Equal(at - 4, (uint)trap.Ip);
            else Assert.Equal(-1, trap.Vector);
            return;
        }

        Assert.Equal((Pf, (uint)error), (trap.Vector, trap.Error));
        Assert.Equal(access == "x" ? at - 4 : at, _board.C->Cr2);
        Assert.Equal(access == "x" ? at - 4 : Code, trap.Ip);
    }

    /// <summary>SDM 3, 4.6.1 and 4.7: rights of all levels together, CR0.WP, and the bits of the error code.</summary>
    [Theory]
    // Not present, at either level.
    [InlineData("r", 0, 7ul, 0ul, 0u, 0)]
    [InlineData("w", 0, 7ul, 6ul, 0u, 2)]
    [InlineData("r", 3, 0ul, 7ul, 0u, 4)]
    [InlineData("w", 3, 7ul, 0ul, 0u, 6)]
    [InlineData("x", 3, 7ul, 0ul, 0u, 4)]
    // Supervisor.
    [InlineData("r", 0, 3ul, 3ul, 0u, -1)]
    [InlineData("r", 0, 7ul, 7ul, 0u, -1)]
    [InlineData("x", 0, 7ul, 7ul, 0u, -1)]
    [InlineData("w", 0, 1ul, 1ul, 0u, -1)]
    [InlineData("w", 0, 1ul, 3ul, Wp, 3)]
    [InlineData("w", 0, 3ul, 1ul, Wp, 3)]
    [InlineData("w", 0, 5ul, 7ul, Wp, 3)]
    [InlineData("w", 0, 3ul, 3ul, Wp, -1)]
    [InlineData("r", 0, 1ul, 1ul, Wp, -1)]
    // User.
    [InlineData("r", 3, 7ul, 3ul, 0u, 5)]
    [InlineData("r", 3, 3ul, 7ul, 0u, 5)]
    [InlineData("w", 3, 3ul, 7ul, 0u, 7)]
    [InlineData("x", 3, 3ul, 7ul, 0u, 5)]
    [InlineData("r", 3, 5ul, 5ul, 0u, -1)]
    [InlineData("w", 3, 7ul, 5ul, 0u, 7)]
    [InlineData("w", 3, 5ul, 7ul, 0u, 7)]
    [InlineData("w", 3, 7ul, 7ul, 0u, -1)]
    [InlineData("x", 3, 5ul, 5ul, 0u, -1)]
    public void Rights(string access, int cpl, ulong upper, ulong entry, uint cr0, int error)
    {
        foreach (var kind in Enum.GetValues<PagingKind>())
        {
            upper = (upper & 7) | Table;
            entry = (entry & 7) | Free;
            var c = Enter(kind, CodeOf(access), cpl, upper, entry);
            c->Cr0 |= cr0;
            Expect(error, access);
            // SDM 3, 4.8: accessed and dirty, of what was used.
            var used = error < 0 ? Accessed : 0;
            Assert.Equal(upper | used, _board.Read(Upper, EntryBytes) & ~Accessed | used);
            Assert.Equal(entry | used | (error < 0 && access == "w" ? Dirty : 0), _board.Read(Table, EntryBytes));
            if (error < 0) Assert.NotEqual(0ul, _board.Read(Upper, EntryBytes) & Accessed);
        }
    }

    /// <summary>SDM 3, 4.6: execute-disable, SMEP and SMAP. The fetch bit shows only where one of the first two is on (4.7).</summary>
    [Theory]
    [InlineData("x", 0, 7ul, 7ul | Nx, Nxe, 0u, 0u, 0x11)]
    [InlineData("x", 0, 7ul | Nx, 7ul, Nxe, 0u, 0u, 0x11)]
    [InlineData("x", 3, 7ul, 7ul | Nx, Nxe, 0u, 0u, 0x15)]
    [InlineData("r", 3, 7ul, 7ul | Nx, Nxe, 0u, 0u, -1)]
    [InlineData("x", 0, 7ul, 0ul, Nxe, 0u, 0u, 0x10)]
    [InlineData("x", 0, 7ul, 0ul, 0u, Smep, 0u, 0x10)]
    [InlineData("x", 0, 7ul, 0ul, 0u, 0u, 0u, 0)]
    [InlineData("r", 0, 7ul, 7ul | Nx, 0u, 0u, 0u, 9)] // reserved without NXE
    [InlineData("x", 3, 7ul | Nx, 7ul, 0u, 0u, 0u, 0xd)]
    [InlineData("x", 0, 7ul, 7ul, 0u, Smep, 0u, 0x11)]
    [InlineData("x", 0, 7ul, 3ul, 0u, Smep, 0u, -1)]
    [InlineData("x", 0, 3ul, 7ul, 0u, Smep, 0u, -1)]
    [InlineData("x", 3, 7ul, 7ul, 0u, Smep, 0u, -1)]
    [InlineData("r", 0, 7ul, 7ul, 0u, Smep, 0u, -1)]
    [InlineData("r", 0, 7ul, 7ul, 0u, Smap, 0u, 1)]
    [InlineData("w", 0, 7ul, 7ul, 0u, Smap, 0u, 3)]
    [InlineData("r", 0, 7ul, 7ul, 0u, Smap, Ac, -1)]
    [InlineData("w", 0, 7ul, 7ul, 0u, Smap, Ac, -1)]
    [InlineData("r", 0, 7ul, 3ul, 0u, Smap, 0u, -1)]
    [InlineData("x", 0, 7ul, 7ul, 0u, Smap, 0u, -1)]
    [InlineData("r", 3, 7ul, 7ul, 0u, Smap, 0u, -1)]
    public void Protections(string access, int cpl, ulong upper, ulong entry, uint efer, uint cr4, uint flags, int error)
    {
        foreach (var kind in new[] { PagingKind.Pae, PagingKind.FourLevel })
        {
            var c = Enter(kind, CodeOf(access), cpl, upper | Table, entry | (entry != 0 ? Free : 0));
            c->Efer |= efer;
            c->Cr4 |= cr4;
            c->Eflags |= flags;
            Expect(error, access);
        }
    }

    /// <summary>SMEP and SMAP are there for 32-bit paging too.</summary>
    [Theory]
    [InlineData("x", Smep, 0u, 0x11)]
    [InlineData("r", Smap, 0u, 1)]
    [InlineData("r", Smap, Ac, -1)]
    public void Protections_OfLegacyPaging(string access, uint cr4, uint flags, int error)
    {
        var c = Enter(PagingKind.Legacy, CodeOf(access), 0, Table | 7, Free | 7);
        c->Cr4 |= cr4;
        c->Eflags |= flags;
        Expect(error, access);
    }

    /// <summary>SDM 3, 4.6.1: the CPU's own accesses at level 0 obey SMAP whatever AC says, and those at level 3 are the supervisor's.</summary>
    [Theory]
    [InlineData(0, Smap, Ac, 7u, 1)]
    [InlineData(0, Smap, 0u, 7u, 1)]
    [InlineData(0, 0u, 0u, 7u, -1)]
    [InlineData(0, Smap, 0u, 3u, -1)]
    [InlineData(3, 0u, 0u, 3u, -1)]
    [InlineData(3, Smap, Ac, 7u, 1)]
    public void ImplicitAccesses(int cpl, uint cr4, uint flags, uint table, int error)
    {
        // A descriptor in a table of its own; the handlers' code segment is in the page of the ordinary one.
        var c = Enter(PagingKind.FourLevel, "8ed8", cpl, Table | 7, Free | table);
        _board.Write(Free + 0x80, Descriptor(0xc0f3), 8);
        (c->Seg[Segment.Ldt].Base, c->Seg[Segment.Ldt].Limit) = (Page, 0xfff);
        c->R[0] = 0x84 | (uint)cpl;
        c->Cr4 |= cr4;
        c->Eflags |= flags;
        var trap = _board.Run();
        if (error < 0) Assert.Equal(-1, trap.Vector);
        else Assert.Equal((Pf, (uint)error, Page + 0x80ul), (trap.Vector, trap.Error, c->Cr2));
    }

    /// <summary>SDM 3, 4.3 to 4.5: reserved bits with 40 address bits. P, RSVD and what the access was.</summary>
    [Theory]
    [InlineData(PagingKind.Legacy, 0x20_0087ul, 0ul, true)] // bit 21 of a 4 MiB page
    [InlineData(PagingKind.Legacy, 0x87ul, 0ul, false)]
    [InlineData(PagingKind.Pae, 7ul | (1ul << 40), 7ul, true)]
    [InlineData(PagingKind.Pae, 7ul, 7ul | (1ul << 40), true)]
    [InlineData(PagingKind.Pae, 7ul, 7ul | (1ul << 51), true)]
    [InlineData(PagingKind.Pae, 7ul, 7ul | (1ul << 52), true)]
    [InlineData(PagingKind.Pae, 7ul, 7ul | (1ul << 62), true)]
    [InlineData(PagingKind.Pae, 0x2087ul, 0ul, true)] // bits 20:13 of a 2 MiB page
    [InlineData(PagingKind.Pae, 0x10_0087ul, 0ul, true)]
    [InlineData(PagingKind.Pae, 0x1087ul, 0ul, false)] // PAT
    [InlineData(PagingKind.Pae, 7ul, 0x187ul, false)]
    [InlineData(PagingKind.FourLevel, 7ul | (1ul << 40), 7ul, true)]
    [InlineData(PagingKind.FourLevel, 7ul, 7ul | (1ul << 51), true)]
    [InlineData(PagingKind.FourLevel, 7ul | (1ul << 52), 7ul | (0x7fful << 52), false)] // ignored there
    [InlineData(PagingKind.FourLevel, 0x2087ul, 0ul, true)]
    [InlineData(PagingKind.FourLevel, 0x10_0087ul, 0ul, true)]
    public void ReservedBits(PagingKind kind, ulong upper, ulong entry, bool faults)
    {
        foreach (var (access, cpl, error) in new[] { ("r", 0, 9), ("w", 3, 0xf) })
        {
            var c = Enter(kind, CodeOf(access), cpl, upper | ((upper & Large) == 0 ? Table : 0), entry | Free);
            c->Cr4 |= Pse;
            Expect(faults ? error : -1, access);
        }
    }

    /// <summary>Reserved bits of the upper levels of 4-level paging: PS of a PML4 entry, and 29:13 of a 1 GiB page.</summary>
    [Theory]
    [InlineData(Pdpt | 0x87ul, 0ul, true)]
    [InlineData(Pdpt | 7ul, 0x2087ul, true)]
    [InlineData(Pdpt | 7ul, 0x2000_0087ul, true)]
    [InlineData(Pdpt | 7ul, 0x87ul, false)]
    [InlineData(Pdpt | 7ul, 0x1087ul, false)]
    public void ReservedBits_OfTheUpperLevels(ulong top, ulong pdpte, bool faults)
    {
        // Another 512 GiB: 0x80_0000_0000 + Free.
        var c = Enter(PagingKind.FourLevel, "48a10400048080000000", 0, 0, 0);
        const uint Other = Free + 0x2000;
        for (var n = 0u; n < 0x1000; n += 8) _board.Write(Other + n, 0, 8);
        _board.Write(PaeTop + 8, (top & ~0xf000ul) | Other, 8);
        _board.Write(Other + 16, pdpte, 8);
        var trap = _board.Run();
        if (faults) Assert.Equal((Pf, 9u, 0x80_8004_0004ul), (trap.Vector, trap.Error, c->Cr2));
        else Assert.Equal((-1, 0x12345678ul), (trap.Vector, c->R[0] & uint.MaxValue));
        if (!faults) Assert.Equal(Accessed, _board.Read(Other + 16, 8) & (Accessed | Dirty));
    }

    /// <summary>Large pages: address bits, accessed and dirty at their own level; PS counts for nothing without CR4.PSE in 32-bit paging.</summary>
    [Theory]
    [InlineData(PagingKind.Legacy, Pse, 0x40_0087ul, 0x40_4004u)]
    [InlineData(PagingKind.Legacy, 0u, Table | 0x87ul, Free + 4)]
    [InlineData(PagingKind.Pae, 0u, 0x40_0087ul, 0x40_4004u)]
    [InlineData(PagingKind.FourLevel, 0u, 0x40_0087ul, 0x40_4004u)]
    public void LargePages(PagingKind kind, uint cr4, ulong upper, uint target)
    {
        var at = target == Free + 4 ? Page + 4 : Page + 0x4004;
        var c = Enter(kind, $"890425{L(at)}", 0, upper, Free | 7);
        c->Cr4 |= cr4;
        c->R[0] = 0xabcdef01;
        Expect(-1, "w");
        Assert.Equal(0xabcdef01, _board.Read(target, 4));
        Assert.Equal(Accessed | (target == Free + 4 ? 0 : Dirty), _board.Read(Upper, EntryBytes) & (Accessed | Dirty));
    }

    /// <summary>PSE-36 (SDM 3, table 4-4): bits 20:13 are address bits 39:32, where nothing is here.</summary>
    [Fact]
    public void Pse36()
    {
        var c = Enter(PagingKind.Legacy, CodeOf("r"), 0, 0x2087, 0);
        c->Cr4 |= Pse;
        Expect(-1, "r");
        Assert.Equal(0xffff_fffful, c->R[0]);
    }

    /// <summary>What crosses into a page that is not there: CR2 has the first address of it, and nothing is written.</summary>
    [Theory]
    [InlineData("r", 0)]
    [InlineData("w", 2)]
    [InlineData("push", 2)]
    [InlineData("x", 0)]
    public void Crossing(string access, int error)
    {
        foreach (var kind in Enum.GetValues<PagingKind>())
        {
            const uint Last = Page + 0xffe;
            var code = access switch { "r" => $"8b0425{L(Last)}", "w" => $"890425{L(Last)}", "push" => "50", _ => $"b8{L(Last)}ffe0" };
            var c = Enter(kind, code, 0, Table | 7, Free | 7);
            _board.Write(Free + 0xffe, 0x05b8, 2); // mov eax, ...
            if (access == "push") c->R[4] = kind == PagingKind.FourLevel ? Page + 0x1004 : Page + 0x1002;
            if (access == "push")
            {
                // A page fault on the stack needs another one for its handler.
                _board.SetDescriptor(Own, Descriptor(0x89, 0x67, Tss2));
                if (kind != PagingKind.FourLevel) continue;
                _board.SetGate(Pf, Gate(Code64, Handlers + (Pf * 8), 0x8e, 1));
            }

            var trap = _board.Run();
            Assert.Equal((Pf, (uint)error, Page + 0x1000ul), (trap.Vector, trap.Error, c->Cr2));
            Assert.Equal(0x05b8ul, _board.Read(Free + 0xffe, 2));
        }
    }

    /// <summary>A page that was read is written: the dirty bit comes with the write (SDM 3, 4.8).</summary>
    [Fact]
    public void Dirty_ComesWithTheFirstWrite()
    {
        Enter(PagingKind.FourLevel, CodeOf("r") + "8b1c2500500000" + CodeOf("w"), 0, Table | 7, Free | 7); // mov ebx, [Table]
        Expect(-1, "r");
        Assert.Equal(Accessed, _board.C->R[3] & (Accessed | Dirty));
        Assert.Equal(Dirty, _board.Read(Table, 8) & Dirty);
    }

    /// <summary>
    /// SDM 3, 4.10.4.1: what makes changed entries count. The page is read, its entry cleared, something invalidates, and it is read again.
    /// </summary>
    [Theory]
    [InlineData("0f013c2500008000", 0u, 0u)] // invlpg [Page]
    [InlineData("0f013c25ff0f8000", 0u, 0u)]
    [InlineData("0f013c2500008000", Pge, 0x100u)]
    [InlineData("0f20d80f22d8", 0u, 0u)] // mov rax, cr3; mov cr3, rax
    [InlineData("0f20e0 340080f0000f22e0", 0u, 0u)] // mov cr4 with PGE turned
    [InlineData("0f20e03480 0f22e0", Pge, 0x100u)]
    [InlineData("66 0f3882 1c25 00100300", 0u, 0u)] // invpcid by rbx = 0 to 3
    public void Invalidation(string code, uint cr4, uint global)
    {
        if (code.Contains("340080", StringComparison.Ordinal)) code = "0f20e0 0d80000000 0f22e0";
        for (var type = 0u; type < (code.StartsWith("66", StringComparison.Ordinal) ? 4 : 1); type++)
        {
            if (global != 0 && type is 1 or 3) continue;
            var c = Enter(PagingKind.FourLevel, CodeOf("r") + "c7042500500000 00000000" + code + "8b142504008000", 0, Table | 7, Free | 7 | global);
            c->Cr4 |= cr4;
            c->R[3] = type;
            c->R[2] = 0x55;
            _board.Write(Data, 0, 8);
            _board.Write(Data + 8, Page, 8);
            var trap = _board.Run();
            Assert.Equal((Pf, 0u, Page + 4ul, 0x55ul), (trap.Vector, trap.Error, c->Cr2, c->R[2]));
        }
    }

    /// <summary>SDM 3, 4.10.4.1: INVLPG within a large page invalidates all of it.</summary>
    [Theory]
    [InlineData(PagingKind.Legacy)]
    [InlineData(PagingKind.Pae)]
    [InlineData(PagingKind.FourLevel)]
    public void Invalidation_OfLargePages(PagingKind kind)
    {
        // mov eax, [Page + 0x5000]; mov [directory], 0; invlpg [Page]; mov edx, [Page + 0x5000]
        var c = Enter(kind, $"8b0425{L(Page + 0x5000)} c70425{L(Directory + (kind == PagingKind.Legacy ? 8u : 32))}00000000 0f013c25{L(Page)} 8b1425{L(Page + 0x5000)}", 0, 0x40_0087, 0);
        c->Cr4 |= Pse;
        var trap = _board.Run();
        Assert.Equal((Pf, 0u, Page + 0x5000ul), (trap.Vector, trap.Error, c->Cr2));
    }

    [Fact]
    public void Invalidation_OfGiantPages()
    {
        // 1 GiB at 0x4000_0000: mov eax, [..+0x40000]; mov [pdpte], 0; invlpg [0x4000_0000]; mov edx, [..+0x40000]
        var c = Enter(PagingKind.FourLevel, "8b042500000440 c704250820000000000000 0f013c2500000040 8b142500000440", 0, 0, 0);
        _board.Write(Pdpt + 8, 0x87, 8);
        var trap = _board.Run();
        Assert.Equal((Pf, 0u, 0x4004_0000ul), (trap.Vector, trap.Error, c->Cr2));
    }

    /// <summary>CR0.WP and CR4.SMAP count from the next access on (SDM 3, 4.10.4.1), with pages that were used before.</summary>
    [Theory]
    [InlineData("0f20c00d000001000f22c0", 5u, 3u)] // WP
    [InlineData("0f20e00d000020000f22e0", 7u, 3u)] // SMAP
    public void RightsOfThePage_AreCheckedAnew(string code, uint entry, uint error)
    {
        Enter(PagingKind.FourLevel, CodeOf("w") + code + CodeOf("w"), 0, Table | 7, Free | entry);
        var trap = _board.Run();
        Assert.Equal((Pf, error), (trap.Vector, trap.Error));
    }

    /// <summary>SDM 3, 4.4.1: MOV to CR3 checks and loads the four pointers; reserved bits raise #GP(0) and leave CR3.</summary>
    [Theory]
    [InlineData(1ul, -1)]
    [InlineData(0ul, -1)]
    [InlineData(0x1e6ul, -1)] // not present: nothing is reserved
    [InlineData(3ul, Gp)]
    [InlineData(5ul, Gp)]
    [InlineData(0x21ul, Gp)]
    [InlineData(0x101ul, Gp)]
    [InlineData(0xe01ul, -1)]
    [InlineData(1ul | (1ul << 40), Gp)]
    [InlineData(1ul | (1ul << 39), -1)]
    [InlineData(1ul | Nx, Gp)]
    public void PageDirectoryPointers(ulong third, int vector)
    {
        var c = Enter(PagingKind.Pae, $"b8{L(Free + 0x1020)} 0f22d8", 0, 0, 0);
        _board.Write(Free + 0x1020, Directory | 1, 8);
        _board.Write(Free + 0x1038, third, 8);
        var trap = _board.Run();
        Assert.Equal(vector, trap.Vector);
        Assert.Equal(vector < 0 ? Free + 0x1020ul : PaeTop, c->Cr3);
        if (vector < 0) Assert.Equal(third, c->Pdpte[3]);
    }

    /// <summary>The pointers are registers: a change in memory counts with the next load of CR3, and CR0.PG or CR4 load them too.</summary>
    [Theory]
    [InlineData("", 0x1, true)]
    [InlineData("0f20d80f22d8", 0x1, false)]
    [InlineData("0f20e034800f22e0", 0x1, false)] // PGE
    public void PageDirectoryPointers_AreRegisters(string code, int dummy, bool works)
    {
        Assert.Equal(1, dummy);
        // The second gigabyte, which maps the same.
        var c = Enter(PagingKind.Pae, $"c70425{L(PaeTop + 8)}00000000 {code} 8b0425{L(0x4000_0000 + Free + 4)}", 0, 0, 0);
        _board.Write(PaeTop + 8, Directory | 1, 8);
        c->Pdpte[1] = Directory | 1;
        var trap = _board.Run();
        Assert.Equal(works ? -1 : Pf, trap.Vector);
    }

    /// <summary>Accesses of 64-bit mode to addresses that are not canonical raise #GP(0), #SS(0) through the stack (SDM 1, 3.3.7.1).</summary>
    [Theory]
    [InlineData("488b03", Gp)] // mov rax, [rbx]
    [InlineData("488903", Gp)]
    [InlineData("ff23", Gp)]
    [InlineData("ffe3", Gp)]
    [InlineData("ac", Gp)]
    [InlineData("48 8b4500", 12)] // mov rax, [rbp]
    [InlineData("58", 12)]
    [InlineData("50", 12)]
    [InlineData("c3", 12)]
    [InlineData("e800000000", 12)]
    [InlineData("488d03", -1)] // lea
    [InlineData("0f18 03", -1)] // prefetch
    [InlineData("0f013b", -1)] // invlpg
    public void CanonicalAddresses(string code, int vector)
    {
        var c = Enter(PagingKind.FourLevel, code, 0, 0, 0);
        c->R[3] = c->R[5] = c->R[6] = 0x8000_0000_0000;
        if (code is "58" or "50" or "c3" or "e800000000") c->R[4] = 0x8000_0000_0010;
        foreach (var v in new[] { 12, 13 }) _board.SetGate(v, Gate(Code64, Handlers + ((uint)v * 8), 0x8e, 1));
        _board.Expect(vector);
    }
}
