using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using XenDM.Core.Hypervisor;
using XenDM.Cpu.Fpu;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu;

/// <summary>
/// The registers of a vCPU by number, in the order and with the names that GDB has for x86 (GDB manual, "Standard Target Features", i386), followed
/// by the system registers. Of those, what changes the mode of the CPU can only be read: a value alone would not make it whole.
/// </summary>
public sealed unsafe class CpuRegisters
{
    private const string Core = "org.gnu.gdb.i386.core", Sse = "org.gnu.gdb.i386.sse", Avx = "org.gnu.gdb.i386.avx", Segments = "org.gnu.gdb.i386.segments",
        System = "org.xendm.i386.system";

    private const uint WritableFlags = Flags.Arithmetic | Flags.Tf | Flags.If | Flags.Df | Flags.Iopl | Flags.Nt | Flags.Rf | Flags.Ac | Flags.Id;
    private const int XmmBytes = 16, X87Bytes = 10;

    /// <summary>GDB's order of the first eight: the 64-bit ABI's, or the opcodes'.</summary>
    private static readonly (string Name, int Number)[] s_general64 = [("rax", 0), ("rbx", 3), ("rcx", 1), ("rdx", 2), ("rsi", 6), ("rdi", 7), ("rbp", 5), ("rsp", 4)];
    private static readonly (string Name, int Number)[] s_general32 = [("eax", 0), ("ecx", 1), ("edx", 2), ("ebx", 3), ("esp", 4), ("ebp", 5), ("esi", 6), ("edi", 7)];
    private static readonly (string Name, int Number)[] s_segments =
        [("cs", Segment.Cs), ("ss", Segment.Ss), ("ds", Segment.Ds), ("es", Segment.Es), ("fs", Segment.Fs), ("gs", Segment.Gs)];

    private readonly List<DebugRegister> _all = [];
    private readonly List<(Func<X86Cpu, UInt128> Read, Func<X86Cpu, UInt128, bool>? Write)> _access = [];

    public CpuRegisters(CpuFeatures features)
    {
        var long64 = features.Has64;
        var word = long64 ? 8 : 4;
        foreach (var (name, number) in long64 ? s_general64 : s_general32) AddGeneral(name, number, word);
        for (var r = 8; r < 16 && long64; r++) AddGeneral($"r{r}", r, word);
        ProgramCounter = _all.Count;
        Add(Core, long64 ? "rip" : "eip", word, "code_ptr", null, static cpu => cpu.State->Rip, static (cpu, v) => Set(out cpu.State->Rip, (ulong)v));
        Add(Core, "eflags", 4, "i386_eflags", null, static cpu => Flags.Get(cpu.State), WriteFlags);
        foreach (var (name, number) in s_segments) Add(Core, name, 4, "int32", null, cpu => cpu.State->Seg[number].Selector, (cpu, v) => WriteSelector(cpu, number, v));
        AddX87();
        if (features.Model >= CpuModel.I686) AddSse(long64 ? 16 : 8);
        if (long64) AddBases();
        AddSystem(word, long64);
        if (features.HasAvx) AddVectors(Avx, "ymm{0}h", "uint128", XmmBytes, long64 ? 16 : 8);
    }

    public IReadOnlyList<DebugRegister> All => _all;

    /// <summary>Place of RIP.</summary>
    public int ProgramCounter { get; }

    public UInt128 Read(X86Cpu cpu, int register) => _access[register].Read(cpu);

    /// <returns>False when the register cannot have this value, or none from outside.</returns>
    public bool Write(X86Cpu cpu, int register, UInt128 value)
    {
        if (_access[register].Write is not { } write || !write(cpu, value)) return false;
        cpu.Refresh();
        return true;
    }

    private void Add(string feature, string name, int bytes, string type, string? group, Func<X86Cpu, UInt128> read, Func<X86Cpu, UInt128, bool>? write = null)
    {
        _all.Add(new DebugRegister(feature, name, bytes, type, group));
        _access.Add((read, write));
    }

    private void AddGeneral(string name, int number, int bytes) =>
        Add(Core, name, bytes, number is 4 or 5 ? "data_ptr" : bytes == 8 ? "int64" : "int32", null, cpu => cpu.State->R[number], (cpu, v) => Set(out cpu.State->R[number], (ulong)v));

    /// <summary>Stack and control registers as FXSAVE64 lays them out (SDM 1, table 10-2); the tags in their two-bit form.</summary>
    private void AddX87()
    {
        for (var n = 0; n < 8; n++)
        {
            var offset = 32 + (n * 16);
            Add(Core, $"st{n}", X87Bytes, "i387_ext", null, cpu => Load(CpuState.Fx(cpu.State) + offset, X87Bytes), (cpu, v) => Store(CpuState.Fx(cpu.State) + offset, X87Bytes, v));
        }

        AddX87Control("fctrl", static cpu => Load(CpuState.Fx(cpu.State), 2), static (cpu, v) => Store(CpuState.Fx(cpu.State), 2, v));
        AddX87Control("fstat", static cpu => Load(CpuState.Fx(cpu.State) + 2, 2), static (cpu, v) => Store(CpuState.Fx(cpu.State) + 2, 2, v));
        AddX87Control("ftag", static cpu => X87.FullTags(cpu.State), WriteTags);
        AddX87Control("fiseg", static _ => 0);
        AddX87Control("fioff", static cpu => Load(CpuState.Fx(cpu.State) + 8, 4));
        AddX87Control("foseg", static _ => 0);
        AddX87Control("fooff", static cpu => Load(CpuState.Fx(cpu.State) + 16, 4));
        AddX87Control("fop", static cpu => Load(CpuState.Fx(cpu.State) + 6, 2));
    }

    private void AddX87Control(string name, Func<X86Cpu, UInt128> read, Func<X86Cpu, UInt128, bool>? write = null) => Add(Core, name, 4, "int32", "float", read, write);

    private void AddSse(int count)
    {
        AddVectors(Sse, "xmm{0}", "vec128", 0, count);
        Add(Sse, "mxcsr", 4, "i386_mxcsr", "vector", static cpu => cpu.State->Mxcsr, static (cpu, v) => v <= 0xffff && Set(out cpu.State->Mxcsr, (uint)v));
    }

    private void AddVectors(string feature, string name, string type, int offset, int count)
    {
        for (var n = 0; n < count; n++)
        {
            var number = n;
            Add(feature, string.Format(name, n), XmmBytes, type, "vector",
                cpu => Load(CpuState.Ymm(cpu.State, number) + offset, XmmBytes), (cpu, v) => Store(CpuState.Ymm(cpu.State, number) + offset, XmmBytes, v));
        }
    }

    private void AddBases()
    {
        Add(Segments, "fs_base", 8, "int64", null, static cpu => cpu.State->Seg[Segment.Fs].Base, static (cpu, v) => SetBase(ref cpu.State->Seg[Segment.Fs].Base, v));
        Add(Segments, "gs_base", 8, "int64", null, static cpu => cpu.State->Seg[Segment.Gs].Base, static (cpu, v) => SetBase(ref cpu.State->Seg[Segment.Gs].Base, v));
        AddSystem("k_gs_base", 8, static cpu => cpu.State->KernelGsBase, static (cpu, v) => SetBase(ref cpu.State->KernelGsBase, v));
    }

    private void AddSystem(int word, bool long64)
    {
        AddSystem("cr0", word, static cpu => cpu.State->Cr0);
        AddSystem("cr2", word, static cpu => cpu.State->Cr2, static (cpu, v) => Set(out cpu.State->Cr2, (ulong)v));
        AddSystem("cr3", word, static cpu => cpu.State->Cr3, WriteCr3);
        AddSystem("cr4", word, static cpu => cpu.State->Cr4);
        if (!long64) return;
        AddSystem("cr8", word, static cpu => (UInt128)cpu.Bus.TaskPriority(cpu), WriteCr8);
        AddSystem("efer", word, static cpu => cpu.State->Efer);
    }

    private void AddSystem(string name, int bytes, Func<X86Cpu, UInt128> read, Func<X86Cpu, UInt128, bool>? write = null) =>
        Add(System, name, bytes, bytes == 8 ? "uint64" : "uint32", "system", read, write);

    private static bool WriteFlags(X86Cpu cpu, UInt128 value)
    {
        var c = cpu.State;
        var flags = (uint)value;
        if (((flags ^ Flags.Get(c)) & ~WritableFlags) != 0) return false;
        Flags.SetArithmetic(c, flags & Flags.Arithmetic);
        return Set(out c->Eflags, (flags & ~Flags.Arithmetic) | 2);
    }

    /// <summary>In protected mode a selector stands for a descriptor, and is left alone.</summary>
    private static bool WriteSelector(X86Cpu cpu, int segment, UInt128 value)
    {
        var c = cpu.State;
        if (value > ushort.MaxValue || (Segmentation.IsProtected(c) && !Segmentation.IsV86(c))) return false;
        c->Seg[segment].Selector = (ushort)value;
        return Set(out c->Seg[segment].Base, (ulong)value << 4);
    }

    private static bool WriteTags(X86Cpu cpu, UInt128 value)
    {
        byte used = 0;
        for (var n = 0; n < 8; n++)
            if (((uint)value >> (n * 2) & 3) != 3) used |= (byte)(1 << n);
        return Store(CpuState.Fx(cpu.State) + 4, 1, used);
    }

    /// <summary>Not with 32-bit PAE paging, where the CPU holds what CR3 pointed to when it was loaded.</summary>
    private static bool WriteCr3(X86Cpu cpu, UInt128 value)
    {
        var c = cpu.State;
        if ((c->Cr4 & Control.Cr4Pae) != 0 && (c->Efer & Control.EferLma) == 0) return false;
        return value >> PageWalk.PhysicalBits == 0 && Set(out c->Cr3, (ulong)value);
    }

    private static bool WriteCr8(X86Cpu cpu, UInt128 value)
    {
        if (value > 15) return false;
        cpu.Bus.SetTaskPriority(cpu, (int)value);
        return true;
    }

    private static bool SetBase(ref ulong place, UInt128 value) => Memory.IsCanonical((ulong)value) && Set(out place, (ulong)value);

    private static bool Set<T>(out T place, T value)
    {
        place = value;
        return true;
    }

    private static UInt128 Load(byte* from, int bytes)
    {
        UInt128 value = 0;
        Unsafe.CopyBlockUnaligned(&value, from, (uint)bytes);
        return value;
    }

    private static bool Store(byte* to, int bytes, UInt128 value)
    {
        Unsafe.CopyBlockUnaligned(to, &value, (uint)bytes);
        return true;
    }
}
