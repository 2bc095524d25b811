using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Cpu.State;
using XenDM.Hypervisor.Embedded.Xen.Store;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>A guest that the embedded machine starts as Xen's toolstack does.</summary>
/// <param name="Loader">hvmloader, or another 32-bit ELF file that takes its place.</param>
/// <param name="Firmware">The BIOS that hvmloader starts; empty for none.</param>
/// <param name="Uuid">16 bytes in the order of their text.</param>
public sealed record XenGuestOptions(byte[] Loader, byte[] Firmware, Guid Uuid);

/// <summary>
/// Xen's side of a guest of the embedded machine, as far as its firmware sees it: CPUID leaves, hypercalls, the shared page, xenstore, and the
/// state in which a domain builder leaves memory and the first vCPU. Contract: xen/public, libxenguest of 4.17.
/// </summary>
public sealed unsafe class XenGuest : IDisposable
{
    /// <summary>First of the leaves in which a guest looks for a hypervisor.</summary>
    public const uint CpuidBase = 0x4000_0000;

    /// <summary>Writing an address to it fills the page there with hypercalls.</summary>
    public const uint HypercallMsr = 0x4000_0000;
    private const int StorePort = 1;
    private const int ConsolePort = 2;
    private const int HypercallStubBytes = 32;

    /// <summary>iret is no hypercall of such a guest.</summary>
    private const int IretStub = 23;

    private readonly XenGuestOptions _options;
    private readonly EmbeddedMachine _machine;
    private readonly Hypercalls _hypercalls;
    private readonly DomainBuilder _builder;
    private readonly StoreConnection _connection;

    /// <exception cref="DomainBuildException">The loader is no file that can be started.</exception>
    internal XenGuest(XenGuestOptions options, EmbeddedMachine machine, IMachineLog log)
    {
        _options = options;
        _machine = machine;
        Log = log;
        Physmap = new Physmap(machine.Ram);
        _builder = new DomainBuilder(options, machine.Ram, machine.Cpus.Count);
        _hypercalls = new Hypercalls(this);
        _connection = new StoreConnection(Store, DomainId, log, () => Raise(StorePort));
    }

    /// <summary>What the guest is to dom0.</summary>
    public int DomainId => 1;

    /// <summary>The store that the guest and its builder share.</summary>
    public XenStore Store { get; } = new();

    internal Physmap Physmap { get; }

    internal SharedInfo Shared { get; private set; } = null!;

    internal HvmParameters Parameters { get; } = new();

    internal IMachineLog Log { get; }

    internal ReadOnlySpan<byte> Uuid => _options.Uuid.ToByteArray(bigEndian: true);

    /// <summary>RAM from 1 MiB on, as the builder tells it.</summary>
    internal IReadOnlyList<(ulong Start, ulong Bytes)> MemoryMap => _builder.MemoryMap;

    /// <summary>The guest as its builder leaves it.</summary>
    public void Reset()
    {
        Physmap.Reset();
        Shared = new SharedInfo(Physmap.AllocateSpecial(), _machine.Cpus.Count);
        Shared.Clear();
        Parameters.Clear();
        Store.Clear();
        _builder.FillStore(Store, DomainId, StorePort, ConsolePort);
        _builder.FillMemory(Physmap, Parameters, StorePort, ConsolePort);
        _connection.Connect(Physmap.Bytes(_builder.StorePage));
        _builder.SetFirstVcpu(_machine.Cpus[0]);
    }

    /// <summary>Leaves from <see cref="CpuidBase"/> on.</summary>
    internal (uint A, uint B, uint C, uint D) Cpuid(uint leaf, uint subleaf, int vcpu) => (leaf - CpuidBase) switch
    {
        0 => (CpuidBase + 5, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e),
        1 => (Hypercalls.Version, 0, 0, 0),
        2 => (1, HypercallMsr, 0, 0),
        3 => subleaf switch { 0 => (2, 0, 1_000_000, 0), 1 => (0, 0, 0x8000_0000, 1), 2 => (1_000_000, 0, 0, 0), _ => (0, 0, 0, 0) },
        4 => ((1 << 3) | (1 << 4), (uint)vcpu, (uint)DomainId, 0),
        _ => (0, 0, 0, 0),
    };

    /// <summary>Fills a page with one piece of code for each hypercall.</summary>
    /// <returns>False for #GP: the page is no RAM, or not the first one of them.</returns>
    internal bool WriteHypercallPage(ulong value, X86Cpu cpu)
    {
        Span<byte> page = stackalloc byte[4096];
        if ((value & 0xfff) != 0) return false;
        page.Fill(0xcc);
        for (var number = 0; number < page.Length / HypercallStubBytes; number++)
        {
            var stub = page[(number * HypercallStubBytes)..];
            // mov eax, number; vmcall; ret
            ReadOnlySpan<byte> code = number == IretStub ? [0x0f, 0x0b] : [0xb8, (byte)number, 0, 0, 0, 0x0f, 0x01, 0xc1, 0xc3];
            code.CopyTo(stub);
        }

        Shared.Is64 = Is64(cpu);
        return _machine.Memory.TryWrite(value, page);
    }

    /// <summary>VMCALL or VMMCALL of a vCPU.</summary>
    internal void Call(X86Cpu cpu)
    {
        var c = cpu.State;
        var is64 = Is64(cpu);
        var number = (uint)c->R[0];
        long result;
        if (c->Cpl != 0 || (c->Eflags & Flags.Vm) != 0) result = -Errno.EPERM;
        else if (is64) result = _hypercalls.Call(number, new HypercallArguments(cpu, true, c->R[7], c->R[6], c->R[2], c->R[10], c->R[8]));
        else result = _hypercalls.Call(number, new HypercallArguments(cpu, false, (uint)c->R[3], (uint)c->R[1], (uint)c->R[2], (uint)c->R[6], (uint)c->R[7]));
        c->R[0] = is64 ? (ulong)result : (uint)result;
    }

    /// <summary>The guest tells the other end of an event channel.</summary>
    /// <returns>False when there is no such channel.</returns>
    internal bool Send(uint port)
    {
        switch (port)
        {
            case StorePort:
                _connection.Process();
                return true;
            case ConsolePort:
                return true;
            default:
                return false;
        }
    }

    internal void Shutdown(ShutdownReason reason)
    {
        Log.Guest("xen", $"the guest asks for {reason}");
        _machine.Shutdown(reason);
    }

    /// <summary>The time in the shared page is right again after a change of the guest's clock.</summary>
    internal void UpdateTime(ulong now, Func<int, ulong> tsc)
    {
        for (var n = 0; n < _machine.Cpus.Count; n++) Shared.SetTime(n, now, tsc(n));
    }

    private void Raise(int port) => Shared.SetPending(port, 0);

    private static bool Is64(X86Cpu cpu) => (cpu.State->Mode & 3) == 2;

    public void Dispose() => Physmap.Dispose();
}
