using System;
using System.Collections.Generic;

namespace XenDM.Core.Hypervisor;

/// <summary>A register as a debugger shows it.</summary>
/// <param name="Feature">The set of registers it belongs to, e.g. <c>org.gnu.gdb.i386.core</c>.</param>
/// <param name="Bytes">1 to 16.</param>
/// <param name="Type">What the bytes mean, in the words of GDB's target descriptions.</param>
/// <param name="Group">Under which it is listed, or null for the general ones.</param>
public sealed record DebugRegister(string Feature, string Name, int Bytes, string Type, string? Group);

/// <summary>Where a debugger wants to stop; numbered as the Z packets of GDB are.</summary>
public enum DebugPoint
{
    SoftwareBreakpoint = 0,
    HardwareBreakpoint = 1,
    WriteWatch = 2,
    ReadWatch = 3,
    AccessWatch = 4,
}

/// <summary>What a vCPU does when the machine goes on.</summary>
public enum DebugAction
{
    Hold,
    Continue,

    /// <summary>One instruction.</summary>
    Step,
}

public enum DebugReason
{
    /// <summary>Somebody asked for it: the debugger, or a monitor.</summary>
    Paused,

    /// <summary>A step is done, or something was reached that has no name.</summary>
    Stepped,

    /// <summary><see cref="DebugStop.Point"/> was reached.</summary>
    Reached,
}

/// <summary>Why the machine stands still.</summary>
/// <param name="Point">With <see cref="DebugReason.Reached"/>.</param>
/// <param name="Address">Of a watchpoint: the first byte that was accessed and is watched.</param>
public readonly record struct DebugStop(int Cpu, DebugReason Reason, DebugPoint Point = default, ulong Address = 0);

/// <summary>A machine as a debugger sees it. Machine thread only. When one vCPU stops, all do.</summary>
public interface IDebugTarget
{
    /// <summary>GDB's name, e.g. <c>i386:x86-64</c>.</summary>
    string Architecture { get; }

    /// <summary>The registers of each vCPU.</summary>
    IReadOnlyList<DebugRegister> Registers { get; }

    /// <summary>Place of the program counter in <see cref="Registers"/>.</summary>
    int ProgramCounter { get; }

    int Cpus { get; }

    bool IsRunning { get; }

    /// <summary>Addresses of memory are guest physical ones, not those of the vCPU.</summary>
    bool PhysicalAddresses { get; set; }

    /// <summary>Told each time the machine stops.</summary>
    Action<DebugStop>? Stopped { get; set; }

    /// <summary>For a list of vCPUs: what it is doing.</summary>
    string Describe(int cpu);

    UInt128 ReadRegister(int cpu, int register);

    /// <returns>False when the vCPU cannot have this value, or the register cannot be changed from outside.</returns>
    bool WriteRegister(int cpu, int register, UInt128 value);

    /// <summary>Reads memory without a trace in the guest; chips are not asked.</summary>
    /// <returns>Bytes up to the first that is no memory.</returns>
    int ReadMemory(int cpu, ulong address, Span<byte> data);

    /// <returns>False, with nothing written, when not all of it is RAM.</returns>
    bool WriteMemory(int cpu, ulong address, ReadOnlySpan<byte> data);

    /// <summary>Sets or takes away a point, for all vCPUs. To do it twice is to do it once.</summary>
    /// <param name="length">Bytes that a watchpoint covers.</param>
    /// <returns>False when there are too many.</returns>
    bool SetPoint(DebugPoint point, ulong address, int length, bool on);

    void ClearPoints();

    /// <summary>Lets the machine go on.</summary>
    /// <param name="actions">One a vCPU.</param>
    /// <returns>False when it cannot: the guest is off.</returns>
    bool Resume(ReadOnlySpan<DebugAction> actions);

    /// <summary>Stops the machine, if it runs.</summary>
    void Stop();
}
