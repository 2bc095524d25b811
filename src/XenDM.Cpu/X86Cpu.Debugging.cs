using System;
using XenDM.Cpu.Mmu;
using XenDM.Cpu.State;
using XenDM.Cpu.Supervisor;

namespace XenDM.Cpu;

/// <content>Debug registers, and what a debugger does: breakpoints, watchpoints, steps, memory by linear address.</content>
public sealed unsafe partial class X86Cpu
{
    private bool _watchHit, _singleStep, _skipBreakpoint;

    /// <summary>Debug registers were written.</summary>
    internal void DebugChanged()
    {
        UpdateStepMode();
        FlushTlb();
    }

    private void UpdateStepMode()
    {
        var enabled = false;
        for (var n = 0; n < 4; n++) enabled |= ((_c->Dr[7] >> (n * 2)) & 3) != 0;
        _stepMode = enabled || _breakpoints.Count > 0 || _watchpoints.Count > 0 || _singleStep;
        _c->Debugged = _watchpoints.Count > 0 ? 1 : 0;
    }

    /// <summary>A debugger's breakpoint at a linear address.</summary>
    public void SetBreakpoint(ulong linear, bool on)
    {
        if (on) _breakpoints.Add(linear);
        else _breakpoints.Remove(linear);
        UpdateStepMode();
        RequestExit();
    }

    /// <summary>A debugger's watchpoint. Kind: 1 write, 2 read, 3 both.</summary>
    public void SetWatchpoint(ulong linear, int length, int kind, bool on)
    {
        if (on) _watchpoints.Add((linear, length, kind));
        else _watchpoints.Remove((linear, length, kind));
        UpdateStepMode();
        FlushTlb();
        RequestExit();
    }

    public DebugCause StoppedBy { get; private set; }

    /// <summary>The watchpoint that was hit at last: the first watched byte of the access, and the watchpoint's kind.</summary>
    public (ulong Address, int Kind) LastWatch { get; private set; }

    /// <summary>Stops after one instruction. Interrupts wait meanwhile, unless the vCPU waits for one.</summary>
    public void SingleStep()
    {
        _singleStep = true;
        _skipBreakpoint = true;
        UpdateStepMode();
    }

    /// <summary>Goes on from a breakpoint.</summary>
    public void SkipBreakpoint() => _skipBreakpoint = true;

    /// <summary>A step that was not taken yet is not wanted any more.</summary>
    public void CancelStep()
    {
        _singleStep = _skipBreakpoint = false;
        UpdateStepMode();
    }

    private bool StepMasks => _singleStep && !IsHalted;

    /// <summary>Linear address of the next instruction.</summary>
    public ulong CodeAddress => Memory.Wrap(_c, _c->Seg[Segment.Cs].Base + _c->Rip);

    private bool DebugStop()
    {
        var skip = _skipBreakpoint;
        _skipBreakpoint = false;
        return !skip && _breakpoints.Count > 0 && _breakpoints.Contains(CodeAddress);
    }

    private bool InstructionBreakpoint(CpuState* c)
    {
        if ((c->Eflags & Flags.Rf) != 0) return false;
        var linear = CodeAddress;
        var hits = 0ul;
        for (var n = 0; n < 4; n++)
            if (((c->Dr[7] >> (n * 2)) & 3) != 0 && ((c->Dr[7] >> (16 + (n * 4))) & 3) == 0 && c->Dr[n] == linear) hits |= 1ul << n;
        _debugHits |= hits;
        return hits != 0;
    }

    /// <summary>A port access while debug registers watch: R/W bits 10 stand for ports with CR4.DE (SDM 3, 18.2.4).</summary>
    internal void WatchPort(ushort port, int size)
    {
        var c = _c;
        if ((c->Cr4 & Control.Cr4De) == 0) return;
        for (var n = 0; n < 4; n++)
        {
            if (((c->Dr[7] >> (n * 2)) & 3) == 0 || ((c->Dr[7] >> (16 + (n * 4))) & 3) != 2) continue;
            var length = WatchLength(c, n);
            var start = c->Dr[n] & ~(length - 1);
            if (port >= start + length || (ulong)port + (ulong)size <= start) continue;
            _debugHits |= 1ul << n;
            PendDebug();
        }
    }

    private static ulong WatchLength(CpuState* c, int n) => ((c->Dr[7] >> (18 + (n * 4))) & 3) switch { 0 => 1ul, 1 => 2ul, 2 => 8ul, _ => 4ul };

    /// <summary>A data access while debug registers or a debugger watch memory. Always true: these are traps.</summary>
    internal bool Watch(ulong linear, int size, bool write)
    {
        var c = _c;
        for (var n = 0; n < 4; n++)
        {
            var kind = (c->Dr[7] >> (16 + (n * 4))) & 3;
            if (((c->Dr[7] >> (n * 2)) & 3) == 0 || kind is not (1 or 3) || (kind == 1 && !write)) continue;
            var length = WatchLength(c, n);
            var start = c->Dr[n] & ~(length - 1);
            if (linear >= start + length || linear + (ulong)size <= start) continue;
            _debugHits |= 1ul << n;
            PendDebug();
        }

        foreach (var (address, length, kind) in _watchpoints)
        {
            if ((kind & (write ? 1 : 2)) == 0 || linear >= address + (ulong)length || linear + (ulong)size <= address) continue;
            LastWatch = (Math.Max(linear, address), kind);
            _watchHit = true;
        }

        return true;
    }

    /// <summary>Reads guest memory as the vCPU sees it, without side effects.</summary>
    /// <returns>False where nothing is mapped.</returns>
    public bool TryReadLinear(ulong linear, Span<byte> data)
    {
        for (var n = 0; n < data.Length; n++)
        {
            if (!TryTranslate(linear + (ulong)n, out var physical)) return false;
            var host = Map.Find(physical, out _);
            if (host == null) return false;
            data[n] = *host;
        }

        return true;
    }

    public bool TryWriteLinear(ulong linear, ReadOnlySpan<byte> data)
    {
        for (var n = 0; n < data.Length; n++)
        {
            if (!TryTranslate(linear + (ulong)n, out var physical)) return false;
            var host = Map.Find(physical, out _);
            if (host == null) return false;
            *host = data[n];
            Code.Written(physical, 1);
        }

        return true;
    }

    /// <summary>Reads RAM as supervisor code of the vCPU would, for a hypervisor.</summary>
    /// <returns>False where such code would fault, or where there is no RAM.</returns>
    public bool TryCopyFromGuest(ulong linear, Span<byte> data)
    {
        while (!data.IsEmpty)
        {
            var piece = data[..(int)Math.Min((ulong)data.Length, PhysicalMap.PageSize - (linear & PhysicalMap.FlagBits))];
            if (!PageWalk.Translate(_c, linear, Access.Read, false, false, out var physical, out _, out _)) return false;
            var host = Map.Find(physical, out _);
            if (host == null) return false;
            new ReadOnlySpan<byte>(host, piece.Length).CopyTo(piece);
            data = data[piece.Length..];
            linear += (ulong)piece.Length;
        }

        return true;
    }

    /// <summary>Writes RAM as supervisor code of the vCPU would, for a hypervisor.</summary>
    /// <returns>False where such code would fault, or where there is no RAM; what lies before it is written.</returns>
    public bool TryCopyToGuest(ulong linear, ReadOnlySpan<byte> data)
    {
        while (!data.IsEmpty)
        {
            var piece = data[..(int)Math.Min((ulong)data.Length, PhysicalMap.PageSize - (linear & PhysicalMap.FlagBits))];
            if (!PageWalk.Translate(_c, linear, Access.Write, false, false, out var physical, out _, out _)) return false;
            var host = Map.Find(physical, out var writable);
            if (host == null || !writable) return false;
            piece.CopyTo(new Span<byte>(host, piece.Length));
            Code.Written(physical, piece.Length);
            Map.NoteWrite(physical, piece.Length);
            data = data[piece.Length..];
            linear += (ulong)piece.Length;
        }

        return true;
    }

    /// <summary>Linear to physical without a trace.</summary>
    public bool TryTranslate(ulong linear, out ulong physical)
    {
        physical = 0;
        return (!Segmentation.IsLong(_c) || Memory.IsCanonical(linear)) && PageWalk.Translate(_c, linear, Access.Read, false, false, out physical, out _, out _, true);
    }

    /// <summary>Where the vCPU is, for log lines.</summary>
    public string Describe() => $"{_c->Seg[Segment.Cs].Selector:x4}:{_c->Rip:x} (cr0 {_c->Cr0:x}, cr3 {_c->Cr3:x})";
}
