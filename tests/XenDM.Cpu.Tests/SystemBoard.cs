using System;
using System.Buffers.Binary;
using XenDM.Cpu.State;

namespace XenDM.Cpu.Tests;

/// <summary>What a handler finds: vector (-1: none, the code came to its end; -2: shutdown) and the frame on its stack.</summary>
internal readonly record struct Trap(int Vector, uint Error = 0, ulong Ip = 0, uint Cs = 0, ulong Flags = 0, ulong Sp = 0, uint Ss = 0);

internal enum CodeMode
{
    Real,
    V86,
    Prot16,
    Prot32,
    Compat,
    Long,
}

/// <summary>
/// A machine with descriptor tables, task states, stacks and handlers that halt, for every mode. Addresses are physical and linear ones alike.
/// Code ends with HLT; above CPL 0 its #GP(0) counts as the end.
/// </summary>
internal sealed unsafe class SystemBoard : IDisposable
{
    public const uint Paging = 0x1000, Idt = 0x6000, Gdt = 0x7000, Ldt = 0x8000, Tss = 0x9000, Tss2 = 0xb000, Code = 0x10000, Handlers = 0x20000,
        Data = 0x31000, Stack = 0x38000, Inner = 0x3a000, Ist = 0x3c000, Free = 0x40000;

    public const ushort Code0 = 8, Data0 = 0x10, Code3 = 0x1b, Data3 = 0x23, Code64 = 0x28, User64 = 0x33, Code16 = 0x38, Data16 = 0x40, Code1 = 0x49, Data1 = 0x51,
        TrSelector = 0x60, LdtSelector = 0x70, Own = 0x80, Own2 = 0x90, Own3 = 0xa0;

    private readonly CpuModel _model;
    private uint _end;

    public SystemBoard(CpuModel model = CpuModel.V3)
    {
        _model = model;
        Machine = new TestMachine(model);
    }

    public TestMachine Machine { get; }

    public X86Cpu Cpu => Machine.Cpu;

    public CpuState* C => Machine.C;

    public CodeMode Mode { get; private set; }

    public void Dispose() => Machine.Dispose();

    public static string Hex(ulong value, int bytes)
    {
        Span<byte> data = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(data, value);
        return Convert.ToHexString(data[..bytes]);
    }

    public static string W(uint value) => Hex(value, 2);

    public static string L(uint value) => Hex(value, 4);

    public ulong Read(ulong at, int bytes)
    {
        ulong value = 0;
        for (var n = 0; n < bytes; n++) value |= (ulong)Machine.At(at + (ulong)n, 1)[0] << (n * 8);
        return value;
    }

    public void Write(ulong at, ulong value, int bytes = 4)
    {
        for (var n = 0; n < bytes; n++) Machine.At(at + (ulong)n, 1)[0] = (byte)(value >> (n * 8));
        Cpu.CodeWritten(at, bytes);
    }

    /// <returns>Bytes written.</returns>
    public int Poke(ulong at, string code)
    {
        var bytes = Convert.FromHexString(code.Replace(" ", "", StringComparison.Ordinal));
        bytes.CopyTo(Machine.At(at, bytes.Length));
        Cpu.CodeWritten(at, bytes.Length);
        return bytes.Length;
    }

    /// <param name="access">Bits 7:0 as in byte 5, 15:12 as in the upper half of byte 6 of a descriptor.</param>
    public static ulong Descriptor(uint access, uint limit = 0xfffff, uint at = 0) =>
        (limit & 0xffff) | ((ulong)(at & 0xff_ffff) << 16) | ((ulong)(access & 0xff) << 40) | ((ulong)((limit >> 16) & 15) << 48) | ((ulong)(access >> 12) << 52) | ((ulong)(at >> 24) << 56);

    public static ulong Gate(uint selector, uint offset, uint access, uint count = 0) =>
        (offset & 0xffff) | ((ulong)selector << 16) | ((ulong)count << 32) | ((ulong)access << 40) | ((ulong)(offset >> 16) << 48);

    public void SetDescriptor(uint selector, ulong descriptor, ulong upper = ulong.MaxValue)
    {
        var table = (selector & 4) != 0 ? Ldt : Gdt;
        Write(table + (selector & 0xfff8), descriptor, 8);
        if (upper != ulong.MaxValue) Write(table + (selector & 0xfff8) + 8, upper, 8);
    }

    public uint AccessByte(uint selector) => (uint)Read(((selector & 4) != 0 ? Ldt : Gdt) + (selector & 0xfff8) + 5, 1);

    public void SetGate(int vector, ulong gate, ulong upper = 0)
    {
        var size = Mode >= CodeMode.Compat ? 16u : 8u;
        Write(Idt + ((uint)vector * size), gate, 8);
        if (size == 16) Write(Idt + ((uint)vector * size) + 8, upper, 8);
    }

    /// <summary>Puts what a selector names into a segment register, without the CPU.</summary>
    public void Load(int segment, uint selector)
    {
        var d = Read(((selector & 4) != 0 ? Ldt : Gdt) + (selector & 0xfff8), 8);
        var limit = (uint)(d & 0xffff) | ((uint)(d >> 32) & 0xf0000);
        C->Seg[segment] = new Segment
        {
            Selector = (ushort)selector,
            Access = (ushort)((d >> 40) & 0xf0ff),
            Base = ((d >> 16) & 0xff_ffff) | ((d >> 32) & 0xff00_0000),
            Limit = (d >> 55 & 1) != 0 ? (limit << 12) | 0xfff : limit,
        };
    }

    /// <summary>Sets everything up for a mode.</summary>
    public CpuState* Enter(CodeMode mode, string code, int cpl = 0)
    {
        Mode = mode;
        var longMode = mode >= CodeMode.Compat;
        Cpu.Reset();
        var c = C;
        if (longMode && _model >= CpuModel.V1)
        {
            Machine.EnterLongMode(Code);
            if (_model < CpuModel.V3) c->Cr4 &= ~0x40000ul;
        }

        ReadOnlySpan<(uint Selector, uint Access)> flat =
        [
            (Code0, 0xc09b), (Data0, 0xc093), (Code3, 0xc0fb), (Data3, 0xc0f3), (Code64, 0xa09b), (User64, 0xa0fb), (Code16, 0x809b), (Data16, 0x8093), (Code1, 0xc0bb), (Data1, 0xc0b3),
        ];
        foreach (var (selector, access) in flat) SetDescriptor(selector, Descriptor(access));
        SetDescriptor(TrSelector, Descriptor(0x8b, 0x1fff, Tss), 0);
        SetDescriptor(LdtSelector, Descriptor(0x82, 0xfff, Ldt), 0);
        if (mode == CodeMode.Real)
        {
            for (var vector = 0u; vector < 256; vector++) Write(vector * 4, (Handlers >> 4 << 16) | (vector * 8), 4);
        }
        else
        {
            for (var vector = 0; vector < 256; vector++)
            {
                var dpl = vector is 3 or 4 or >= 0xf0 ? 0x60u : 0;
                SetGate(vector, Gate(longMode ? Code64 : Code0, Handlers + ((uint)vector * 8), 0x8e | dpl));
            }
        }

        for (var vector = 0u; vector < 256; vector++) Machine.At(Handlers + (vector * 8), 1)[0] = 0xf4;
        c->GdtBase = Gdt;
        c->GdtLimit = 0xfff;
        c->IdtBase = mode == CodeMode.Real ? 0 : Idt;
        c->IdtLimit = mode == CodeMode.Real ? 0x3ffu : longMode ? 0xfffu : 0x7ff;
        c->Eflags = 2;
        c->R[4] = Stack;
        c->Cpl = cpl;
        if (mode is CodeMode.Real or CodeMode.V86)
        {
            for (var s = 0; s < 6; s++)
            {
                c->Seg[s] = new Segment { Limit = 0xffff, Access = mode == CodeMode.V86 ? (ushort)0xf3 : s == Segment.Cs ? (ushort)0x9b : (ushort)0x93, Selector = 0x3000, Base = 0x30000 };
            }

            (c->Seg[Segment.Cs].Selector, c->Seg[Segment.Cs].Base) = ((ushort)(Code >> 4), Code);
            c->R[4] = Stack & 0xffff;
            c->Rip = 0;
            c->Cr0 = mode == CodeMode.V86 ? 0x31 : 0x30ul;
            if (mode == CodeMode.V86)
            {
                c->Eflags = 0x20002;
                c->Cpl = 3;
            }
        }
        else
        {
            c->Cr0 = longMode ? 0x8000_0031 : 0x31ul;
            var codeSelector = mode switch { CodeMode.Long => cpl == 3 ? User64 : Code64, CodeMode.Prot16 => Code16, _ => cpl switch { 3 => Code3, 1 => Code1, _ => Code0 } };
            var dataSelector = cpl switch { 3 => Data3, 1 => Data1, _ => mode == CodeMode.Prot16 ? Data16 : Data0 };
            for (var s = 0; s < 6; s++) Load(s, s == Segment.Cs ? codeSelector : dataSelector);
            c->Rip = Code;
            if (mode == CodeMode.Prot16)
            {
                c->Seg[Segment.Cs].Base = Code;
                c->Rip = 0;
                for (var s = 0; s < 6; s++)
                    if (s != Segment.Cs) c->Seg[s].Base = 0x30000;
                c->R[4] = Stack & 0xffff;
            }
        }

        Load(Segment.Tr, TrSelector);
        Load(Segment.Ldt, LdtSelector);
        if (longMode)
        {
            for (var n = 0u; n < 3; n++) Write(Tss + 4 + (n * 8), Inner, 8);
            for (var n = 0u; n < 7; n++) Write(Tss + 36 + (n * 8), Ist + (n * 0x400), 8);
        }
        else
        {
            Write(Tss + 4, Inner);
            Write(Tss + 8, Data0);
            Write(Tss + 12, Inner - 0x800);
            Write(Tss + 16, Data1);
        }

        Write(Tss + 0x66, 0xffff, 2); // no I/O map
        _end = (uint)Poke(Code, code + "F4") - 1;
        Cpu.Refresh();
        return c;
    }

    /// <summary>Where code begins, in the IP of the mode.</summary>
    public uint Start => Mode is CodeMode.Real or CodeMode.V86 or CodeMode.Prot16 ? 0 : Code;

    /// <summary>Runs to a handler, the end or a shutdown.</summary>
    /// <param name="refresh">Registers were changed from outside.</param>
    public Trap Run(bool refresh = true)
    {
        if (refresh) Cpu.Refresh();
        Cpu.Wake();
        var result = RunResult.Slice;
        for (var turn = 0; turn < 50 && result == RunResult.Slice; turn++) result = Cpu.Run(10_000);
        if (result == RunResult.Shutdown) return new Trap(-2);
        Assert.Equal(RunResult.Halted, result);
        var c = C;
        var linear = c->Seg[Segment.Cs].Base + c->Rip - 1;
        if (linear is < Handlers or >= Handlers + 0x800) return new Trap(-1);
        var vector = (int)(linear - Handlers) / 8;
        var longMode = (c->Efer & 0x400) != 0;
        var real = (c->Cr0 & 1) == 0;
        var size = longMode ? 8 : real || (Read(Idt + ((uint)vector * 8) + 5, 1) & 8) == 0 ? 2 : 4;
        var sp = longMode ? c->R[4] : c->Seg[Segment.Ss].Base + ((c->Seg[Segment.Ss].Access & 0x4000) != 0 ? (uint)c->R[4] : (ushort)c->R[4]);
        ulong Next()
        {
            sp += (ulong)size;
            return Read(sp - (ulong)size, size);
        }

        var error = !real && vector is 8 or (>= 10 and <= 14) or 17 && !real ? (uint)Next() : 0;
        var (ip, cs, flags) = (Next(), (uint)Next() & 0xffff, Next());
        var outer = longMode || (!real && ((flags & 0x20000) != 0 || (cs & 3) > (uint)c->Cpl));
        var trap = new Trap(vector, error, ip, cs, flags, outer ? Next() : 0, outer ? (uint)Next() & 0xffff : 0);
        return vector == 13 && error == 0 && ip == Start + _end && ((cs & 3) != 0 || (flags & 0x20000) != 0) ? trap with { Vector = -1 } : trap;
    }

    /// <summary>Runs to an exception, and checks its error code and that it came at the first instruction.</summary>
    public Trap Expect(int vector, uint error = 0, uint offset = 0)
    {
        var trap = Run();
        Assert.Equal((vector, error), (trap.Vector, trap.Vector < 0 ? error : trap.Error));
        if (vector >= 0) Assert.Equal(Start + offset, trap.Ip);
        return trap;
    }
}
