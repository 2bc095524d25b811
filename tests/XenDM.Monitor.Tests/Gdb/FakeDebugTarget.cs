using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;

namespace XenDM.Monitor.Tests.Gdb;

/// <summary>Two vCPUs with three registers, and 256 bytes of memory at 0x1000 of which the upper half is ROM.</summary>
internal sealed class FakeDebugTarget : IDebugTarget
{
    public const ulong Start = 0x1000;

    public byte[] Bytes { get; } = new byte[256];

    public UInt128[,] Values { get; } = new UInt128[2, 3];

    public List<string> Calls { get; } = [];

    public string Architecture => "i386:x86-64";

    public IReadOnlyList<DebugRegister> Registers { get; } =
    [
        new("org.gnu.gdb.i386.core", "rax", 8, "int64", null), new("org.gnu.gdb.i386.core", "rip", 8, "code_ptr", null), new("org.gnu.gdb.i386.sse", "xmm0", 16, "vec128", "vector"),
    ];

    public int ProgramCounter => 1;

    public int Cpus => 2;

    public bool IsRunning { get; set; }

    public bool CanRun { get; set; } = true;

    public bool PhysicalAddresses { get; set; }

    public Action<DebugStop>? Stopped { get; set; }

    public string Describe(int cpu) => $"vCPU {cpu}";

    public UInt128 ReadRegister(int cpu, int register) => Values[cpu, register];

    public bool WriteRegister(int cpu, int register, UInt128 value)
    {
        if (register == 0 && value == 0xbad) return false;
        Calls.Add($"{Registers[register].Name} of {cpu}");
        Values[cpu, register] = value;
        return true;
    }

    public int ReadMemory(int cpu, ulong address, Span<byte> data)
    {
        if (address < Start || address >= Start + 256) return 0;
        var count = Math.Min(data.Length, (int)(Start + 256 - address));
        Bytes.AsSpan((int)(address - Start), count).CopyTo(data);
        return count;
    }

    public bool WriteMemory(int cpu, ulong address, ReadOnlySpan<byte> data)
    {
        if (address < Start || address + (ulong)data.Length > Start + 128) return false;
        data.CopyTo(Bytes.AsSpan((int)(address - Start)));
        return true;
    }

    public bool SetPoint(DebugPoint point, ulong address, int length, bool on)
    {
        Calls.Add($"{(on ? "set" : "clear")} {point} {address:x} {length}");
        return address != 0xffff;
    }

    public void ClearPoints() => Calls.Add("clear all");

    public bool Resume(ReadOnlySpan<DebugAction> actions)
    {
        Calls.Add(string.Join(' ', actions.ToArray()));
        return IsRunning = CanRun;
    }

    public void Stop() => Halt(new DebugStop(0, DebugReason.Paused));

    public void Halt(DebugStop stop)
    {
        if (!IsRunning) return;
        IsRunning = false;
        Stopped?.Invoke(stop);
    }
}
