using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Iced.Intel;
using XenDM.Core.State;
using XenDM.Cpu.Decode;
using XenDM.Cpu.Fpu;
using XenDM.Cpu.Interpreter;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu;

/// <summary>Why <see cref="X86Cpu.Run"/> came back.</summary>
public enum RunResult
{
    /// <summary>The slice is used up, or <see cref="X86Cpu.RequestExit"/> was called.</summary>
    Slice,

    /// <summary>The vCPU waits for an interrupt.</summary>
    Halted,

    /// <summary>Triple fault: a PC resets.</summary>
    Shutdown,

    /// <summary>A debugger's breakpoint, watchpoint or step.</summary>
    Debug,
}

/// <summary>What a vCPU that came back with <see cref="RunResult.Debug"/> has met.</summary>
public enum DebugCause
{
    /// <summary>The next instruction is at a breakpoint.</summary>
    Breakpoint,

    /// <summary>The last instruction accessed <see cref="X86Cpu.LastWatch"/>.</summary>
    Watchpoint,

    Step,
}

/// <summary>
/// One x86 vCPU: an interpreter of decoded blocks. Everything runs on the caller's thread. Reset leaves it as after power-on (SDM 3, 9.1.1).
/// </summary>
public sealed unsafe partial class X86Cpu : IDisposable
{
    private readonly GCHandle _self;
    private CpuState* _c;
    private uint _generation;
    private ulong _jumpGeneration;
    private bool _interruptPending, _nmiPending, _nmiBlocked, _debugPending, _debugStep, _trapDropped;
    private ulong _debugHits;
    private bool _stepMode;
    private bool _exitRequested;
    private readonly HashSet<ulong> _breakpoints = [];
    private readonly List<(ulong Address, int Length, int Kind)> _watchpoints = [];
    private readonly Dictionary<string, ulong> _unimplemented = [];
    private long _sliceStart;
    private ulong _instructionsBefore;

    /// <param name="index">Number of the vCPU.</param>
    public X86Cpu(int index, CpuFeatures features, PhysicalMap map, CodeCache code, ICpuBus bus)
    {
        Index = index;
        Features = features;
        Code = code;
        Bus = bus;
        Map = map;
        if (sizeof(CpuState) > CpuState.FxOffset) throw new InvalidOperationException("the state does not fit before its vector part");
        _c = (CpuState*)NativeMemory.AlignedAlloc(CpuState.Bytes, 64);
        new Span<byte>(_c, CpuState.Bytes).Clear();
        _self = GCHandle.Alloc(this, GCHandleType.Weak);
        _c->Self = GCHandle.ToIntPtr(_self);
        _c->Pages = map.Pages;
        _c->PageCount = map.PageCount;
        _c->CodePages = map.CodePages;
        _c->Tlbs = (TlbEntry*)NativeMemory.AlignedAlloc((nuint)(4 * CpuState.TlbEntries * sizeof(TlbEntry)), 64);
        _c->Jumps = (JumpEntry*)NativeMemory.AlignedAlloc((nuint)(CpuState.JumpEntries * sizeof(JumpEntry)), 64);
        // Memory of an earlier vCPU in this process holds entries that look right.
        new Span<JumpEntry>(_c->Jumps, CpuState.JumpEntries).Clear();
        _c->HostMxcsr = 0x1f80;
        code.Add(this);
        map.Changed += MapChanged;
        map.Watching += ForbidWrites;
        Reset();
    }

    public int Index { get; }

    public CpuFeatures Features { get; }

    public ICpuBus Bus { get; }

    public PhysicalMap Map { get; }

    internal CodeCache Code { get; }

    internal MsrFile Msrs { get; } = new();

    /// <summary>The registers, for the machine and for debuggers.</summary>
    public CpuState* State => _c;

    public bool IsHalted { get; private set; }

    /// <summary>Instructions since the start.</summary>
    public ulong Instructions => _instructionsBefore + (ulong)(_sliceStart - _c->Budget - _c->BudgetHeld);

    public bool InterruptsEnabled => (_c->Eflags & Flags.If) != 0;

    internal static X86Cpu Of(CpuState* c) => (X86Cpu)GCHandle.FromIntPtr(c->Self).Target!;

    internal static bool HasWatchpoints(CpuState* c) => (c->Dr[7] & 0xff) != 0 && AnyDataBreakpoint(c) || c->Debugged != 0;

    private static bool AnyDataBreakpoint(CpuState* c)
    {
        for (var n = 0; n < 4; n++)
            if (((c->Dr[7] >> (n * 2)) & 3) != 0 && ((c->Dr[7] >> (16 + (n * 4))) & 3) is 1 or 3) return true;
        return false;
    }

    /// <summary>Power-on state.</summary>
    public void Reset()
    {
        X87.Reset(_c);
        new Span<byte>(CpuState.Ymm(_c, 0), 512).Clear();
        _c->Mxcsr = 0x1f80;
        _c->Xcr0 = 1;
        Msrs.Reset();
        Init();
    }

    /// <summary>INIT: as reset, but floating point state, memory types and the like stay (SDM 3, table 9-1).</summary>
    public void Init()
    {
        var c = _c;
        for (var r = 0; r < 24; r++) c->R[r] = 0;
        c->R[2] = 0x600;
        c->Eflags = 2;
        Flags.SetArithmetic(c, 0);
        c->Cpl = 0;
        for (var s = 0; s < 6; s++)
        {
            c->Seg[s] = new Segment { Limit = 0xffff, Access = 0x93 };
            Address.Prepare(ref c->Seg[s]);
        }

        c->Seg[Segment.Cs].Selector = 0xf000;
        c->Seg[Segment.Cs].Base = 0xffff_0000;
        c->Seg[Segment.None] = new Segment { Limit = uint.MaxValue, ReadEnd = 1ul << 32, WriteEnd = 1ul << 32, Access = 0xc093 };
        c->Seg[Segment.Ldt] = new Segment { Limit = 0xffff, Access = 0x82 };
        c->Seg[Segment.Tr] = new Segment { Limit = 0xffff, Access = 0x8b };
        c->Rip = 0xfff0;
        c->Cr0 = 0x6000_0010;
        c->Cr2 = c->Cr3 = c->Cr4 = c->Efer = 0;
        c->GdtBase = c->IdtBase = 0;
        c->GdtLimit = c->IdtLimit = 0xffff;
        c->Star = c->Lstar = c->Cstar = c->Fmask = c->KernelGsBase = c->TscAux = 0;
        c->SysenterCs = c->SysenterEsp = c->SysenterEip = 0;
        for (var n = 0; n < 8; n++) c->Dr[n] = 0;
        c->Dr[6] = 0xffff_0ff0;
        c->Dr[7] = 0x400;
        for (var n = 0; n < 4; n++) c->Pdpte[n] = 0;
        c->Shadow = 0;
        IsHalted = false;
        _nmiPending = _nmiBlocked = _debugPending = _debugStep = false;
        _debugHits = 0;
        FlushTlb();
        Segmentation.UpdateMode(c);
        DebugChanged();
    }

    /// <summary>After registers were changed from outside: what is derived from them is computed anew.</summary>
    public void Refresh()
    {
        for (var s = 0; s < 6; s++) Address.Prepare(ref _c->Seg[s]);
        FlushTlb();
        Segmentation.UpdateMode(_c);
        DebugChanged();
    }

    /// <summary>PAUSE ends the turn of this vCPU.</summary>
    public bool YieldsOnPause
    {
        get => _c->YieldOnPause != 0;
        set => _c->YieldOnPause = value ? 1 : 0;
    }

    /// <summary>Ends a halt.</summary>
    public void Wake() => IsHalted = false;

    /// <summary>Guest memory was changed from outside.</summary>
    public void CodeWritten(ulong physical, int length) => Code.Written(physical, length);

    /// <summary>Vector of the exception that began the last double or triple fault.</summary>
    public int FirstException { get; private set; }

    /// <summary>A vCPU that waits for start-up.</summary>
    public void Park() => IsHalted = true;

    /// <summary>Start-up IPI: real mode at vector × 4 KiB.</summary>
    public void Startup(byte vector)
    {
        _c->Seg[Segment.Cs].Selector = (ushort)(vector << 8);
        _c->Seg[Segment.Cs].Base = (ulong)vector << 12;
        _c->Rip = 0;
        IsHalted = false;
        Segmentation.UpdateMode(_c);
    }

    /// <summary>The interrupt controller has, or no longer has, an interrupt for this vCPU.</summary>
    public void SetInterrupt(bool pending)
    {
        _interruptPending = pending;
        if (pending && (InterruptsEnabled || IsHalted)) RequestExit();
    }

    /// <summary>What <see cref="SetInterrupt"/> said last.</summary>
    public bool IsInterruptPending => _interruptPending;

    public void RaiseNmi()
    {
        _nmiPending = true;
        RequestExit();
    }

    internal void NmiReturned() => _nmiBlocked = false;

    /// <summary>A debug trap is due after the instruction; its cause is in DR6 already, or is the single step.</summary>
    internal void PendDebug(bool step = false)
    {
        _debugPending = true;
        _debugStep |= step;
        RequestExit();
    }

    /// <summary>The instruction ends without the trap of a single step (INT n, SYSCALL that clears TF).</summary>
    internal void DropTrap() => _trapDropped = true;

    /// <summary>The one debug exception of INT1 takes over what waits (SDM 3, 18.3.1.4 does not tell the two apart).</summary>
    internal void MergeDebug()
    {
        _c->Dr[6] = (_c->Dr[6] & ~0xful) | _debugHits;
        _debugHits = 0;
        _debugPending = _debugStep = false;
    }

    internal bool InterruptPending => _interruptPending;

    /// <summary>Instructions run one by one: breakpoints are set, so that RF matters.</summary>
    internal bool StepMode => _stepMode;

    /// <summary>IF or TF may have changed.</summary>
    internal void FlagsChanged()
    {
        if (((_c->Eflags & Flags.If) != 0 && _interruptPending) || (_c->Eflags & Flags.Tf) != 0) RequestExit();
    }

    /// <summary>Ends the running slice at the next block.</summary>
    public void RequestExit()
    {
        _exitRequested = true;
        if (_c->Budget <= 0) return;
        _c->BudgetHeld += _c->Budget;
        _c->Budget = 0;
    }

    /// <summary>Runs up to about so many instructions.</summary>
    /// <param name="instructions">At least 1. The slice ends at the end of a block.</param>
    public RunResult Run(long instructions)
    {
        var c = _c;
        _instructionsBefore = Instructions;
        _sliceStart = instructions;
        c->Budget = instructions;
        c->BudgetHeld = 0;
        _exitRequested = false;
        while (true)
        {
            if (c->BudgetHeld != 0)
            {
                c->Budget += c->BudgetHeld;
                c->BudgetHeld = 0;
            }

            if (!Events(c)) return RunResult.Shutdown;
            if (IsHalted) return RunResult.Halted;
            if (c->Budget <= 0) return RunResult.Slice;
            if (_exitRequested)
            {
                _exitRequested = false;
                return RunResult.Slice;
            }

            if (!Code.HasRoom) Code.Clear();
            if (_stepMode || (c->Eflags & Flags.Tf) != 0 || InShadow(c))
            {
                if (!Step(c, out var stop)) return RunResult.Shutdown;
                if (stop) return RunResult.Debug;
                continue;
            }

            c->Shadow = 0;
            var block = FindBlock();
            if (block != null)
            {
                c->Budget -= block->Count;
                c->R[CpuState.BlockIpRegister] = c->Rip;
                c->Exit = ExitKind.Continue;
                var op = block->Ops;
                do op = op->Handler(c, op);
                while (op != null);
            }

            switch (c->Exit)
            {
                case ExitKind.Exception:
                    // Counted, or a handler that faults for ever would never use its slice up.
                    c->Budget--;
                    if (!Raise(c)) return RunResult.Shutdown;
                    break;
                case ExitKind.Halt:
                    IsHalted = true;
                    break;
                case ExitKind.Yield:
                    return RunResult.Slice;
                default:
                    break;
            }
        }
    }

    /// <summary>One instruction, with the looks that a debugger and TF ask for.</summary>
    private bool Step(CpuState* c, out bool stop)
    {
        stop = false;
        if (DebugStop())
        {
            StoppedBy = DebugCause.Breakpoint;
            return stop = true;
        }

        var afterStack = c->Shadow == CpuState.ShadowStack && InShadow(c);
        c->Shadow = 0;
        var trap = (c->Eflags & Flags.Tf) != 0;
        // The instruction behind a load of SS runs as if RF were set (SDM 3, 6.8.3).
        if (!afterStack && InstructionBreakpoint(c)) return RaiseDebug(c, false);
        c->Eflags &= ~Flags.Rf;
        _trapDropped = false;
        var waited = _debugPending;
        var hits = _debugHits;
        var before = c->Budget;
        var block = FindBlock();
        var done = true;
        if (block != null)
        {
            c->R[CpuState.BlockIpRegister] = c->Rip;
            c->Exit = ExitKind.Continue;
            var next = block->Ops->Handler(c, block->Ops);
            if (next != null) c->Rip = Exits.MaskIp(c, c->R[CpuState.BlockIpRegister] + next->Ip);
        }

        // An exit that was asked for meanwhile is remembered apart from the budget.
        c->Budget = before - 1;
        c->BudgetHeld = 0;
        switch (c->Exit)
        {
            case ExitKind.Exception:
                done = false;
                if (!Raise(c)) return false;
                break;
            case ExitKind.Halt:
                IsHalted = true;
                break;
            default:
                break;
        }

        if (!done)
        {
            // What the fault cut short will be seen again; what waited since a load of SS comes before the handler's first instruction.
            _debugHits = hits;
            _debugPending = waited;
            if (waited && !RaiseDebug(c, false)) return false;
        }
        else if (c->Shadow == CpuState.ShadowStack && !afterStack)
        {
            // Debug traps of a load of SS wait for the next instruction, but not from one load to another.
        }
        else if (c->Shadow == CpuState.ShadowPrefix)
        {
            // The step ends with the instruction behind it.
        }
        else
        {
            if (afterStack && c->Shadow == CpuState.ShadowStack) c->Shadow = 0;
            trap &= !_trapDropped;
            if ((_debugPending || trap) && !RaiseDebug(c, trap)) return false;
        }

        if (_watchHit || _singleStep)
        {
            StoppedBy = _watchHit ? DebugCause.Watchpoint : DebugCause.Step;
            _watchHit = false;
            _singleStep = false;
            stop = true;
            UpdateStepMode();
        }

        return true;
    }

    private static bool InShadow(CpuState* c) => c->Shadow != 0 && c->ShadowRip == c->Rip;

    /// <summary>A debug exception for what was found: bits 0 to 3 of DR6 are those of this one, the others are only ever set (SDM 3, 18.2.3).</summary>
    private bool RaiseDebug(CpuState* c, bool step)
    {
        MergeDebugInto(c, step || _debugStep);
        IsHalted = false;
        Exits.Raise(c, null, Vectors.Db, 0);
        return Raise(c);
    }

    private void MergeDebugInto(CpuState* c, bool step)
    {
        MergeDebug();
        if (step) c->Dr[6] |= 0x4000;
    }

    /// <summary>Interrupts that can be taken now. False: triple fault.</summary>
    private bool Events(CpuState* c)
    {
        if (_debugPending && !_stepMode && !RaiseDebug(c, false)) return false;
        if (InShadow(c) && !IsHalted) return true;
        if (_nmiPending && !_nmiBlocked && !StepMasks)
        {
            _nmiPending = false;
            _nmiBlocked = true;
            IsHalted = false;
            return Deliver(c, Vectors.Nmi, EventKind.Nmi, 0, false);
        }

        if (!_interruptPending || (c->Eflags & Flags.If) == 0 || StepMasks) return true;
        var vector = Bus.AcknowledgeInterrupt(this);
        if (vector < 0) return true;
        IsHalted = false;
        return Deliver(c, vector, EventKind.External, 0, false);
    }

    private bool Raise(CpuState* c) => Deliver(c, c->Vector, EventKind.Exception, c->ErrorCode, c->HasErrorCode != 0);

    /// <summary>Delivers an event; a fault on the way becomes a double fault, and one there ends it (SDM 3, 6.15 interrupt 8).</summary>
    private bool Deliver(CpuState* c, int vector, EventKind kind, uint error, bool hasError)
    {
        if (!Segmentation.IsProtected(c)) hasError = false;
        var first = vector;
        while (true)
        {
            if (Interrupts.Deliver(c, vector, kind, error, hasError))
            {
                // General detection ends with the debug exception, so that its handler can use the registers (SDM 3, 18.2.4).
                if (vector == Vectors.Db && kind == EventKind.Exception) c->Dr[7] &= ~0x2000ul;
                c->Exit = ExitKind.Continue;
                return true;
            }

            FirstException = first;
            if (vector == Vectors.Df && kind == EventKind.Exception) return false;
            int second = c->Vector;
            var firstContributes = kind == EventKind.Exception && Contributes(vector);
            if ((firstContributes && Contributes(second)) || (kind == EventKind.Exception && vector == Vectors.Pf && (second == Vectors.Pf || Contributes(second))))
            {
                (vector, error, hasError) = (Vectors.Df, 0, true);
            }
            else
            {
                (vector, error, hasError) = (second, c->ErrorCode, c->HasErrorCode != 0);
            }

            if (!Segmentation.IsProtected(c)) hasError = false;
            kind = EventKind.Exception;
        }
    }

    private static bool Contributes(int vector) => vector is Vectors.De or (>= Vectors.Ts and <= Vectors.Gp);

    /// <summary>The block at the present IP, decoded if need be; null after a fault of the fetch (raised) or when the cache is full.</summary>
    internal Block* FindBlock()
    {
        var c = _c;
        c->Exit = ExitKind.Continue;
        var linear = c->Seg[Segment.Cs].Base + c->Rip;
        if ((c->Mode & 3) != 2)
        {
            if (c->Rip > c->CodeLimit)
            {
                Exits.Protection(c, null);
                return null;
            }

            linear = Memory.Wrap(c, linear);
        }
        else if (!Memory.IsCanonical(linear))
        {
            Exits.Protection(c, null);
            return null;
        }

        if (!FetchAddress(linear, out var physical)) return null;
        var block = Code.Find(physical, c->Mode);
        if (block != null && block->SecondPage != ulong.MaxValue)
        {
            if (!FetchAddress(Memory.Wrap(c, (linear | 0xfff) + 1), out var second)) return null;
            if (block->SecondPage == (second & ~0xffful)) return block;
            if (!Code.HasRoom) return null;
            return Code.Decode(c, physical, c->Rip, second, out _);
        }

        if (block == null)
        {
            if (!Code.HasRoom) return null;
            block = Code.Decode(c, physical, c->Rip, ulong.MaxValue, out var crosses);
            if (crosses)
            {
                if (!FetchAddress(Memory.Wrap(c, (linear | 0xfff) + 1), out var second)) return null;
                return Code.Decode(c, physical, c->Rip, second, out _);
            }

            if (block == null) return null;
        }

        // The jump cache is looked up with the address as the branch computes it.
        var key = c->Seg[Segment.Cs].Base + c->Rip;
        var entry = c->Jumps + Branches.JumpIndex(key);
        entry->Linear = key;
        entry->Tag = c->JumpTag;
        entry->Block = block;
        return block;
    }

    private bool FetchAddress(ulong linear, out ulong physical)
    {
        var c = _c;
        if (PageWalk.Translate(c, linear, Access.Execute, c->Cpl == 3, false, out physical, out _, out var error)) return true;
        Exits.PageFault(c, null, linear, error);
        return false;
    }

    // Translation caches.

    /// <summary>All translations are out of date.</summary>
    internal void FlushTlb()
    {
        _generation++;
        if (_generation > 0xffe)
        {
            _generation = 1;
            ClearTlb();
        }
        else if (_generation == 1)
        {
            ClearTlb();
        }

        new Span<ulong>(_c->LargePages, 8).Clear();
        _c->GiantPages = 0;
        _c->TlbGeneration = _generation;
        NextJumpGeneration();
    }

    private void ClearTlb()
    {
        var lines = _c->Tlbs;
        for (var n = 0; n < 4 * CpuState.TlbEntries; n++)
        {
            lines[n].ReadTag = TlbEntry.NoTag;
            lines[n].WriteTag = TlbEntry.NoTag;
        }
    }

    private void NextJumpGeneration()
    {
        _jumpGeneration++;
        _c->JumpTag = (_jumpGeneration << 8) | (_c->JumpTag & 0xff);
    }

    internal void InvalidatePage(ulong linear)
    {
        if (Memory.MayBeLarge(_c, linear))
        {
            FlushTlb();
            return;
        }

        for (var kind = 0; kind < 3; kind++)
        {
            var line = Memory.Line(_c->Tlbs + (kind * CpuState.TlbEntries), linear);
            line->ReadTag = TlbEntry.NoTag;
            line->WriteTag = TlbEntry.NoTag;
        }

        NextJumpGeneration();
    }

    /// <summary>A page holds code from now on: writes to it have to be seen.</summary>
    internal void ForbidWrites(ulong physical) => ForbidWrites(physical >> PhysicalMap.PageBits, 1);

    /// <summary>The next write to each of some pages has to be seen.</summary>
    private void ForbidWrites(ulong firstPage, ulong pages)
    {
        var lines = _c->Tlbs;
        for (var n = 0; n < 3 * CpuState.TlbEntries; n++)
            if ((lines[n].Physical >> PhysicalMap.PageBits) - firstPage < pages) lines[n].WriteTag = TlbEntry.NoTag;
    }

    internal void ForgetCode() => NextJumpGeneration();

    private void MapChanged()
    {
        FlushTlb();
        RequestExit();
    }

    // What is not built.

    internal void CountUndefined(Op* op)
    {
        var i = Operands.Of(op);
        if (i != null && !i->IsInvalid && i->Mnemonic is not (Mnemonic.Ud0 or Mnemonic.Ud1 or Mnemonic.Ud2)) Count(i->Mnemonic.ToString());
    }

    internal void CountMsr(uint index) => Count($"MSR {index:x}");

    private void Count(string what)
    {
        if (_unimplemented.Count > 1000) return;
        if (!_unimplemented.TryGetValue(what, out var count)) Bus.Unimplemented(this, what);
        _unimplemented[what] = count + 1;
    }

    /// <summary>What the guest asked for and is not there, with counts.</summary>
    public IReadOnlyDictionary<string, ulong> Unimplemented => _unimplemented;

    /// <summary>All that the guest can see of the vCPU.</summary>
    public void Save(StateVisitor s)
    {
        var c = _c;
        for (var r = 0; r < 16; r++) s.U64($"r{r}", ref c->R[r]);
        s.U64("rip", ref c->Rip);
        ulong flags = Flags.Get(c);
        s.U64("rflags", ref flags);
        Flags.SetArithmetic(c, (uint)flags & Flags.Arithmetic);
        c->Eflags = ((uint)flags & ~Flags.Arithmetic) | 2;
        for (var n = 0; n < 9; n++)
        {
            if (n == Segment.None) continue;
            ref var segment = ref c->Seg[n];
            s.U64($"seg{n}-base", ref segment.Base);
            s.U32($"seg{n}-limit", ref segment.Limit);
            s.U16($"seg{n}-selector", ref segment.Selector);
            s.U16($"seg{n}-access", ref segment.Access);
        }

        s.U64("cr0", ref c->Cr0);
        s.U64("cr2", ref c->Cr2);
        s.U64("cr3", ref c->Cr3);
        s.U64("cr4", ref c->Cr4);
        s.U64("efer", ref c->Efer);
        s.U64("gdt", ref c->GdtBase);
        s.U64("idt", ref c->IdtBase);
        s.U32("gdt-limit", ref c->GdtLimit);
        s.U32("idt-limit", ref c->IdtLimit);
        s.U64("star", ref c->Star);
        s.U64("lstar", ref c->Lstar);
        s.U64("cstar", ref c->Cstar);
        s.U64("fmask", ref c->Fmask);
        s.U64("kernel-gs", ref c->KernelGsBase);
        s.U64("tsc-aux", ref c->TscAux);
        s.U64("sysenter-cs", ref c->SysenterCs);
        s.U64("sysenter-esp", ref c->SysenterEsp);
        s.U64("sysenter-eip", ref c->SysenterEip);
        s.U64("xcr0", ref c->Xcr0);
        s.U32("mxcsr", ref c->Mxcsr);
        for (var n = 0; n < 8; n++) s.U64($"dr{n}", ref c->Dr[n]);
        for (var n = 0; n < 4; n++) s.U64($"pdpte{n}", ref c->Pdpte[n]);
        s.Bytes("fx", new Span<byte>(CpuState.Fx(c), 512));
        s.Bytes("ymm", new Span<byte>(CpuState.Ymm(c, 0), 512));
        Msrs.State(s);
    }

    public void Dispose()
    {
        if (_c == null) return;
        Map.Changed -= MapChanged;
        Map.Watching -= ForbidWrites;
        Code.Remove(this);
        NativeMemory.AlignedFree(_c->Tlbs);
        NativeMemory.AlignedFree(_c->Jumps);
        NativeMemory.AlignedFree(_c);
        _c = null;
        _self.Free();
    }
}
