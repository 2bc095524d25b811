using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Cpu;
using XenDM.Cpu.Mmu;

namespace XenDM.Hypervisor.Embedded;

/// <summary>The embedded machine as a debugger sees it. Where none is attached, no vCPU knows of it.</summary>
public sealed unsafe class EmbeddedDebugger : IDebugTarget
{
    private const int MaxPoints = 4096;

    private readonly EmbeddedMachine _machine;
    private readonly Func<bool> _resume;
    private readonly Action _stop;
    private readonly CpuRegisters _registers;
    private readonly HashSet<(DebugPoint Point, ulong Address, int Length)> _points = [];
    private DebugStop? _cause;
    private (X86Cpu Cpu, ulong Address)? _atBreakpoint;

    /// <param name="resume">Lets the machine run; false when its guest is off.</param>
    /// <param name="stop">Holds the machine.</param>
    public EmbeddedDebugger(EmbeddedMachine machine, Func<bool> resume, Action stop)
    {
        _machine = machine;
        _resume = resume;
        _stop = stop;
        _registers = new CpuRegisters(machine.Cpus[0].Features);
        machine.DebugStop = OnDebugStop;
        machine.Held = OnHeld;
    }

    public string Architecture => _machine.Cpus[0].Features.Has64 ? "i386:x86-64" : "i386";

    public IReadOnlyList<DebugRegister> Registers => _registers.All;

    public int ProgramCounter => _registers.ProgramCounter;

    public int Cpus => _machine.Cpus.Count;

    public bool IsRunning => _machine.Serving;

    public bool PhysicalAddresses { get; set; }

    public Action<DebugStop>? Stopped { get; set; }

    public string Describe(int cpu) => $"vCPU {cpu}, {(_machine.Cpus[cpu].IsHalted ? "halted" : "running")}";

    public UInt128 ReadRegister(int cpu, int register) => _registers.Read(_machine.Cpus[cpu], register);

    public bool WriteRegister(int cpu, int register, UInt128 value) => _registers.Write(_machine.Cpus[cpu], register, value);

    public int ReadMemory(int cpu, ulong address, Span<byte> data)
    {
        var done = 0;
        while (done < data.Length)
        {
            var piece = Piece(_machine.Cpus[cpu], address + (ulong)done, data.Length - done, out _, out _);
            if (piece.IsEmpty) break;
            piece.CopyTo(data[done..]);
            done += piece.Length;
        }

        return done;
    }

    public bool WriteMemory(int cpu, ulong address, ReadOnlySpan<byte> data)
    {
        var vcpu = _machine.Cpus[cpu];
        for (var done = 0; done < data.Length;)
        {
            var piece = Piece(vcpu, address + (ulong)done, data.Length - done, out _, out var writable);
            if (piece.IsEmpty || !writable) return false;
            done += piece.Length;
        }

        for (var done = 0; done < data.Length;)
        {
            var piece = Piece(vcpu, address + (ulong)done, data.Length - done, out var physical, out _);
            data.Slice(done, piece.Length).CopyTo(piece);
            vcpu.CodeWritten(physical, piece.Length);
            vcpu.Map.NoteWrite(physical, piece.Length);
            done += piece.Length;
        }

        return true;
    }

    /// <summary>Memory from an address on, to the end of its page at most; empty where there is none.</summary>
    private Span<byte> Piece(X86Cpu cpu, ulong address, int length, out ulong physical, out bool writable)
    {
        physical = address;
        writable = false;
        if (!PhysicalAddresses && !cpu.TryTranslate(address, out physical)) return default;
        var host = cpu.Map.Find(physical, out writable);
        return host == null ? default : new Span<byte>(host, Math.Min(length, (int)(PhysicalMap.PageSize - (physical & PhysicalMap.FlagBits))));
    }

    public bool SetPoint(DebugPoint point, ulong address, int length, bool on)
    {
        var key = (point, address, length);
        if (on && _points.Count == MaxPoints && !_points.Contains(key)) return false;
        if (on ? !_points.Add(key) : !_points.Remove(key)) return true;
        if (point >= DebugPoint.WriteWatch)
        {
            var kind = point switch { DebugPoint.WriteWatch => 1, DebugPoint.ReadWatch => 2, _ => 3 };
            foreach (var cpu in _machine.Cpus) cpu.SetWatchpoint(address, length, kind, on);
            return true;
        }

        // Both kinds of breakpoint are one to the CPU.
        var wanted = FindBreakpoint(address) is not null;
        foreach (var cpu in _machine.Cpus) cpu.SetBreakpoint(address, wanted);
        return true;
    }

    public void ClearPoints()
    {
        foreach (var (point, address, length) in new List<(DebugPoint, ulong, int)>(_points)) SetPoint(point, address, length, on: false);
    }

    private DebugPoint? FindBreakpoint(ulong address)
    {
        foreach (var (point, at, _) in _points)
            if (at == address && point < DebugPoint.WriteWatch) return point;
        return null;
    }

    public bool Resume(ReadOnlySpan<DebugAction> actions)
    {
        for (var n = 0; n < actions.Length; n++)
        {
            _machine.Hold(n, actions[n] == DebugAction.Hold);
            if (actions[n] == DebugAction.Step) _machine.Cpus[n].SingleStep();
        }

        // Once reported, a breakpoint lets its vCPU pass.
        if (_atBreakpoint is { } at && actions[at.Cpu.Index] != DebugAction.Hold)
        {
            if (at.Cpu.CodeAddress == at.Address) at.Cpu.SkipBreakpoint();
            _atBreakpoint = null;
        }

        _cause = null;
        if (_resume()) return true;
        LetGo();
        return false;
    }

    public void Stop() => _stop();

    private void OnDebugStop(X86Cpu cpu)
    {
        _cause = cpu.StoppedBy switch
        {
            DebugCause.Breakpoint => AtBreakpoint(cpu),
            DebugCause.Watchpoint => new DebugStop(cpu.Index, DebugReason.Reached, cpu.LastWatch.Kind switch { 1 => DebugPoint.WriteWatch, 2 => DebugPoint.ReadWatch, _ => DebugPoint.AccessWatch }, cpu.LastWatch.Address),
            _ => new DebugStop(cpu.Index, DebugReason.Stepped),
        };
        _stop();
    }

    /// <summary>
    /// GDB knows no segments: where the code segment does not begin at 0 it cannot tell which breakpoint this is, and would take one that we name for
    /// a mistake and go on. So we name none.
    /// </summary>
    private DebugStop AtBreakpoint(X86Cpu cpu)
    {
        var address = cpu.CodeAddress;
        _atBreakpoint = (cpu, address);
        return cpu.State->Rip == address && FindBreakpoint(address) is { } point ? new DebugStop(cpu.Index, DebugReason.Reached, point) : new DebugStop(cpu.Index, DebugReason.Stepped);
    }

    private void OnHeld()
    {
        LetGo();
        Stopped?.Invoke(_cause ?? new DebugStop(0, DebugReason.Paused));
        _cause = null;
    }

    /// <summary>What a debugger asked of single vCPUs holds until the next stop.</summary>
    private void LetGo()
    {
        foreach (var cpu in _machine.Cpus)
        {
            cpu.CancelStep();
            _machine.Hold(cpu.Index, false);
        }
    }
}
