using System;
using XenDM.Cpu.State;
using static XenDM.Cpu.Tests.SystemBoard;

namespace XenDM.Cpu.Tests;

/// <summary>Virtual-8086 mode, its extensions, and I/O permission (SDM 3, chapter 21; SDM 1, 19.5).</summary>
public sealed unsafe class VirtualModeTests : IDisposable
{
    private const int Gp = 13, Vector = 0xf5;
    private const uint Tf = 0x100, If = 0x200, Nt = 0x4000, Vif = 0x80000, Vip = 0x100000, Iopl3 = 0x3000, Vm = 0x20000, Rf = 0x10000;
    private const uint Map = 0x100;

    private readonly SystemBoard _board = new();

    public void Dispose() => _board.Dispose();

    /// <summary>V86 code with an I/O map at 0x100 of the task state, all ports forbidden, and the redirection map before it, all to the monitor.</summary>
    private CpuState* Enter(string code, int iopl, bool vme = false, CodeMode mode = CodeMode.V86)
    {
        var c = _board.Enter(mode, code, mode == CodeMode.V86 ? 0 : 3);
        c->Eflags |= (uint)iopl << 12;
        if (vme) c->Cr4 |= 1;
        _board.Write(Tss + 0x66, Map, 2);
        for (var n = 0u; n < 0x2020; n += 4) _board.Write(Tss + Map - 32 + n, uint.MaxValue);
        c->Seg[Segment.Tr].Limit = Map + 0x2000;
        return c;
    }

    /// <summary>SDM 3, 21.2.7 and tables of SDM 2: what depends on IOPL, and what is privileged at any IOPL.</summary>
    [Theory]
    [InlineData("fa", true)] // cli
    [InlineData("fb", true)]
    [InlineData("9c", true)] // pushf
    [InlineData("9d", true)]
    [InlineData("669c", true)]
    [InlineData("669d", true)]
    [InlineData("cdf5", true)]
    [InlineData("cf", true)] // iret
    [InlineData("66cf", true)]
    [InlineData("f4", null)] // hlt
    [InlineData("0f06", null)] // clts
    [InlineData("0f01f0", null)] // lmsw ax
    [InlineData("0f20c0", null)] // mov eax, cr0
    [InlineData("0f22c0", null)]
    [InlineData("0f21c0", null)] // mov eax, dr0
    [InlineData("0f23c0", null)]
    [InlineData("0f32", null)] // rdmsr
    [InlineData("0f30", null)]
    [InlineData("0f08", null)] // invd
    [InlineData("0f09", null)]
    [InlineData("0f0138", null)] // invlpg
    [InlineData("0f0110", null)] // lgdt
    [InlineData("0f0118", null)]
    [InlineData("0f34 0f35", null)] // sysexit behind sysenter, which #GP without its MSR
    [InlineData("0f01e0", false)] // smsw ax
    [InlineData("0f0106", false)] // sgdt
    [InlineData("cc", false)]
    [InlineData("0fa2", false)] // cpuid
    public void Sensitive(string code, bool? byIopl)
    {
        for (var iopl = 0; iopl <= 3; iopl += 3)
        {
            Enter(code, iopl);
            var trap = _board.Run();
            if (byIopl == null || (byIopl == true && iopl < 3)) Assert.Equal((Gp, 0u, 0u), (trap.Vector, trap.Error, (uint)trap.Ip));
            else Assert.False(trap is { Vector: Gp, Ip: 0 });
        }
    }

    /// <summary>SDM 2, POPF and PUSHF in V86 with IOPL 3: IOPL, VIF, VIP and VM stay.</summary>
    [Theory]
    [InlineData("669d", 4, 0x003f_cfd7u & ~Tf, 0x0026_7fd7u & ~Tf)]
    [InlineData("9d", 2, 0xcfd7u & ~Tf, 0x0002_7fd7u & ~Tf)]
    public void Popf(string code, int size, uint image, uint after)
    {
        var c = Enter(code, 3);
        _board.Write(0x30000 + c->R[4], image, size);
        var trap = _board.Run();
        Assert.Equal((-1, after), (trap.Vector, (uint)trap.Flags & ~Rf));
    }

    /// <summary>SDM 3, 21.3 and table 21-2: six ways for INT n.</summary>
    [Theory]
    [InlineData(false, false, 3, "monitor")]
    [InlineData(false, false, 0, "#GP")]
    [InlineData(true, true, 3, "monitor")]
    [InlineData(true, true, 0, "#GP")]
    [InlineData(true, false, 3, "program")]
    [InlineData(true, false, 0, "program")]
    public void Interrupts(bool vme, bool bit, int iopl, string where)
    {
        var c = Enter("cdf5", iopl, vme);
        if (!bit) _board.Write(Tss + Map - 32 + (Vector >> 3), 0xff & ~(1u << (Vector & 7)), 1);
        _board.Write(Vector * 4, 0x4000_1234);
        _board.Poke(0x41234, "f4");
        c->Eflags |= Vif | 0x400;
        if (iopl == 3) c->Eflags |= If;
        var trap = _board.Run();
        switch (where)
        {
            case "#GP":
                Assert.Equal((Gp, 0u, 0u), (trap.Vector, trap.Error, (uint)trap.Ip));
                break;
            case "monitor":
                Assert.Equal((Vector, 2u), (trap.Vector, (uint)trap.Ip));
                break;
            default:
                // The handler of the program halts, which its monitor sees.
                Assert.Equal((Gp, 0x1234u, 0x4000u), (trap.Vector, (uint)trap.Ip, trap.Cs));
                Assert.Equal(0x8000u - 6, (uint)trap.Sp);
                Assert.Equal([2ul, Code >> 4], [_board.Read(0x30000 + trap.Sp, 2), _board.Read(0x30000 + trap.Sp + 2, 2)]);
                // IOPL 3: IF as it was. Below: VIF in its place and IOPL 3.
                Assert.Equal(Iopl3 | If | 0x402, (uint)_board.Read(0x30000 + trap.Sp + 4, 2));
                Assert.Equal(iopl == 3 ? Vif : 0, (uint)trap.Flags & (Vif | If));
                break;
        }
    }

    /// <summary>SDM 3, 21.3.1: the map is below the I/O map and may be cut by the limit: then the monitor is asked.</summary>
    [Theory]
    [InlineData(0x1fu, 0x2000u)]
    [InlineData(0x100u, 0xffu)]
    public void Interrupts_WithoutAMap(uint map, uint limit)
    {
        var c = Enter("cdf5", 3, true);
        for (var n = 0u; n < 32; n += 4) _board.Write(Tss + Map - 32 + n, 0);
        _board.Write(Tss + 0x66, map, 2);
        c->Seg[Segment.Tr].Limit = limit;
        Assert.Equal(Vector, _board.Run().Vector);
    }

    /// <summary>SDM 3, 21.3 with IOPL below 3: CLI, STI, PUSHF, POPF and IRET work on VIF; what would let a pending interrupt in faults.</summary>
    [Theory]
    [InlineData("fa", Vif, 0u, -1, 0u)]
    [InlineData("fb", 0u, 0u, -1, Vif)]
    [InlineData("fb", Vip, 0u, Gp, Vip)]
    [InlineData("fa", Vif | Vip, 0u, -1, Vip)]
    [InlineData("9d", 0u, If, -1, Vif)]
    [InlineData("9d", Vif, 0u, -1, 0u)]
    [InlineData("9d", Vip, If, Gp, Vip)]
    [InlineData("9d", Vip | Vif, 0u, -1, Vip)]
    [InlineData("9d", 0u, Tf, Gp, 0u)]
    [InlineData("669d", 0u, If, Gp, 0u)]
    [InlineData("669c", 0u, If, Gp, 0u)]
    [InlineData("9c", Vif, 0u, -1, Vif)]
    [InlineData("9c", 0u, 0u, -1, 0u)]
    [InlineData("cf", 0u, If, -1, Vif)]
    [InlineData("cf", Vip, If, Gp, Vip)]
    [InlineData("cf", 0u, Tf, Gp, 0u)]
    [InlineData("66cf", 0u, If, Gp, 0u)]
    public void VirtualInterruptFlag(string code, uint before, uint image, int vector, uint after)
    {
        var c = Enter(code, 0, true);
        c->Eflags |= before;
        var iret = code.EndsWith("cf", StringComparison.Ordinal);
        var at = 0x30000 + (uint)c->R[4];
        _board.Write(at, iret ? (Code << 12) | 1 : image | 2, 4);
        if (iret) _board.Write(at + 4, image | 2, 2);
        var trap = _board.Run();
        Assert.Equal((vector, after), (trap.Vector, (uint)trap.Flags & (Vif | Vip | If)));
        if (code == "9c") Assert.Equal((before != 0 ? If : 0) | Iopl3 | 2, (uint)_board.Read(at - 2, 2));
    }

    /// <summary>SDM 3, 21.4: PVI gives CLI and STI of level 3 the virtual flag; PUSHF and POPF know nothing of it.</summary>
    [Theory]
    [InlineData("fb", true, 0u, -1, Vif)]
    [InlineData("fa", true, Vif, -1, 0u)]
    [InlineData("fb", true, Vip, Gp, Vip)]
    [InlineData("fb", false, 0u, Gp, 0u)]
    [InlineData("fa", false, Vif, Gp, Vif)]
    public void ProtectedModeVirtualInterrupts(string code, bool pvi, uint before, int vector, uint after)
    {
        var c = Enter(code, 0, mode: CodeMode.Prot32);
        if (pvi) c->Cr4 |= 2;
        c->Eflags |= before;
        var trap = _board.Run();
        Assert.Equal((vector, after), (trap.Vector, (uint)trap.Flags & (Vif | Vip | If)));
    }

    /// <summary>CLI, STI, POPF and IN by CPL and IOPL in protected mode (SDM 1, 19.5.1).</summary>
    [Theory]
    [InlineData("fa", 0, Gp)]
    [InlineData("fa", 2, Gp)]
    [InlineData("fa", 3, -1)]
    [InlineData("fb", 2, Gp)]
    [InlineData("fb", 3, -1)]
    [InlineData("e460", 2, Gp)]
    [InlineData("e460", 3, -1)]
    [InlineData("ee", 2, Gp)]
    [InlineData("ee", 3, -1)]
    [InlineData("6c", 2, Gp)]
    [InlineData("6e", 3, -1)]
    [InlineData("9d", 0, -1)]
    public void IoPrivilege(string code, int iopl, int vector)
    {
        var c = Enter(code, iopl, mode: CodeMode.Prot32);
        c->R[6] = c->R[7] = Data;
        _board.Write(Stack, If | Iopl3 | 2);
        var trap = _board.Run();
        Assert.Equal((vector, 0u), (trap.Vector, trap.Error));
        if (code == "9d") Assert.Equal(0u, (uint)trap.Flags & (If | Iopl3));
    }

    /// <summary>SDM 1, 19.5.2: every byte of the access needs its bit; the map ends where the limit cuts it; V86 looks at it at any IOPL.</summary>
    [Theory]
    [InlineData("ec", 0x60, 0x60, 1, 0x2000, -1)] // in al, dx
    [InlineData("ec", 0x61, 0x60, 1, 0x2000, Gp)]
    [InlineData("ed", 0x60, 0x60, 1, 0x2000, Gp)]
    [InlineData("ed", 0x60, 0x60, 4, 0x2000, -1)]
    [InlineData("66ed", 0x60, 0x60, 2, 0x2000, -1)]
    [InlineData("66ed", 0x60, 0x60, 1, 0x2000, Gp)]
    [InlineData("ed", 0x3e, 0x3e, 4, 0x2000, -1)] // over a boundary of bytes
    [InlineData("ed", 0x3e, 0x3e, 3, 0x2000, Gp)]
    [InlineData("ef", 0x3e, 0x3e, 4, 0x2000, -1)]
    [InlineData("ec", 0xfff8, 0xfff8, 8, 0x2000, -1)]
    [InlineData("ec", 0xfff8, 0xfff8, 8, 0x1fff, Gp)]
    [InlineData("ec", 0x78, 0x78, 8, 0xf, Gp)] // the byte behind has to exist
    [InlineData("ec", 0x78, 0x78, 8, 0x10, -1)]
    [InlineData("6d", 0x60, 0x60, 4, 0x2000, -1)]
    [InlineData("6f", 0x60, 0x60, 3, 0x2000, Gp)]
    public void IoMap(string code, int port, int first, int count, int limit, int vector)
    {
        foreach (var (mode, iopl) in new[] { (CodeMode.Prot32, 0), (CodeMode.V86, 0), (CodeMode.V86, 3), (CodeMode.Long, 0), (CodeMode.Compat, 2) })
        {
            var text = mode == CodeMode.V86 ? code.StartsWith("66", StringComparison.Ordinal) ? code[2..] : code is "ed" or "ef" or "6d" or "6f" ? "66" + code : code : code;
            var c = Enter(text, iopl, mode: mode);
            c->R[2] = (uint)port;
            c->R[6] = c->R[7] = mode == CodeMode.V86 ? 0x1000 : Data;
            for (var n = first; n < first + count; n++)
            {
                var at = Tss + Map + (uint)(n >> 3);
                _board.Write(at, _board.Read(at, 1) & ~(1ul << (n & 7)), 1);
            }

            c->Seg[Segment.Tr].Limit = Map + (uint)limit;
            var trap = _board.Run();
            Assert.Equal((vector, 0u), (trap.Vector, trap.Error));
        }
    }

    /// <summary>A 286 task state has no map, nor has one that is too short for the pointer.</summary>
    [Theory]
    [InlineData(0x83, 0x2000u)]
    [InlineData(0x8b, 0x66u)]
    public void IoMap_Missing(int access, uint limit)
    {
        var c = Enter("ec", 0, mode: CodeMode.Prot32);
        for (var n = 0u; n < 0x2000; n += 4) _board.Write(Tss + Map + n, 0);
        if (access == 0x83) _board.Write(Tss + 2, (Data0 << 16) | 0xa000u);
        c->Seg[Segment.Tr].Access = (ushort)access;
        c->Seg[Segment.Tr].Limit = limit;
        _board.Expect(Gp);
    }

    /// <summary>SDM 3, 21.2.1: segments of V86 code have limits of 64 KiB; A20 is no matter of the CPU.</summary>
    [Theory]
    [InlineData("a1ffff", Gp)]
    [InlineData("36a1ffff", 12)]
    [InlineData("b8ffff8ed8a1f0ff", -1)]
    public void Limits(string code, int vector)
    {
        Enter(code, 3);
        _board.Expect(vector);
    }

    /// <summary>An interrupt of V86 code: nine items on the stack of level 0, null data segments (SDM 3, 21.3.1.1).</summary>
    [Fact]
    public void ExternalInterrupt()
    {
        var c = Enter("90", 0);
        c->Eflags |= If | Nt;
        for (var s = 2; s < 6; s++) (c->Seg[s].Selector, c->Seg[s].Base) = ((ushort)(0x3000 + s), 0x30000 + (uint)(s * 16));
        _board.Machine.Interrupt = Vector;
        _board.Cpu.SetInterrupt(true);
        var trap = _board.Run();
        Assert.Equal(new Trap(Vector, 0, 0, Code >> 4, Vm | If | Nt | 2, Stack & 0xffff, 0x3002), trap);
        ulong[] segments = [0x3000, 0x3003, 0x3004, 0x3005];
        for (var n = 0; n < 4; n++) Assert.Equal(segments[n], _board.Read(Inner - 16 + (uint)(n * 4), 4));
        foreach (var s in new[] { 0, 3, 4, 5 }) Assert.Equal((0, 0), (c->Seg[s].Selector, c->Seg[s].Access));
        Assert.Equal(0u, c->Eflags & (Vm | If | Nt));
    }

    /// <summary>Handlers of V86 code run at level 0 (SDM 3, 21.3.1.1): other code segments raise #GP with their selector.</summary>
    [Theory]
    [InlineData(Code1, Code1 & ~3)]
    [InlineData(Own, Own)]
    public void HandlersAreOfLevel0(int selector, int error)
    {
        Enter("cdf5", 3);
        _board.SetDescriptor(Own, Descriptor(0xc09f));
        _board.SetGate(Vector, Gate((uint)selector, Handlers, 0xee));
        _board.Expect(Gp, (uint)error);
    }
}
