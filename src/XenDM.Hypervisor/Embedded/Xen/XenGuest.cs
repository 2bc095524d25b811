using System;
using System.Collections.Generic;
using System.Security.Cryptography;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Cpu.State;
using XenDM.Hypervisor.Embedded.Xen.Backends;
using XenDM.Hypervisor.Embedded.Xen.Events;
using XenDM.Hypervisor.Embedded.Xen.Grants;
using XenDM.Hypervisor.Embedded.Xen.Store;
using XenDM.Hypervisor.Embedded.Xen.Viridian;
using XenDM.Interop.Libc;
using XenDM.Platform;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>What Xen's toolstack would know of a guest of the embedded machine.</summary>
/// <param name="Loader">hvmloader, or another 32-bit ELF file that takes its place; empty where the machine's own firmware starts the guest, which finds Xen all the same.</param>
/// <param name="Firmware">The BIOS that hvmloader starts; empty for none.</param>
/// <param name="Uuid">16 bytes in the order of their text.</param>
public sealed record XenGuestOptions(byte[] Loader, byte[] Firmware, Guid Uuid)
{
    /// <summary>The PV devices that the guest finds in xenstore.</summary>
    public IReadOnlyList<PvDeviceNodes> Devices { get; init; } = [];

    /// <summary>What the guest finds of Microsoft's hypervisor interface, for Windows.</summary>
    public ViridianFeatures Viridian { get; init; }

    /// <inheritdoc cref="CpuFeatures.ForcesEmulation"/>
    public bool ForcesEmulation { get; init; }
}

/// <summary>
/// Xen's side of a guest of the embedded machine: CPUID leaves, hypercalls, the shared page, event channels, grants, xenstore, and the state in
/// which a domain builder leaves memory and the first vCPU. Contract: xen/public, libxenguest of 4.17.
/// </summary>
public sealed unsafe class XenGuest : IDevice, IDisposable
{
    /// <summary>First of the leaves in which a guest looks for a hypervisor.</summary>
    public const uint CpuidBase = 0x4000_0000;

    /// <summary>MSRs of hypervisors: from the first up to, and without, the other.</summary>
    public const uint FirstMsr = 0x4000_0000, EndOfMsrs = 0x4000_0400;

    /// <summary>List entries or frames that one hypercall works on: below a tenth of a second.</summary>
    private const ulong WorkOfACall = 1 << 16;

    private const ulong Paging = 1ul << 31;
    private const int StorePort = 1;
    private const int ConsolePort = 2;
    private const int HypercallStubBytes = 32;

    /// <summary>iret is no hypercall of such a guest.</summary>
    private const int IretStub = 23;

    private readonly XenGuestOptions _options;
    private readonly IVmClock _clock;
    private readonly long _startTime;
    private readonly Hypercalls _hypercalls;
    private readonly DomainBuilder _builder;
    private readonly StoreConnection _connection;
    private readonly StorePeer _storePeer;
    private readonly ConsoleRing _console;
    private readonly EmbeddedGrants _backendGrants;
    private readonly ViridianGuest? _viridian;

    /// <summary>Xen's own leaves begin here, and writing an address to the MSR fills the page there with hypercalls.</summary>
    private readonly uint _firstLeaf = CpuidBase, _hypercallMsr = FirstMsr;

    /// <param name="startTime">Unix time in nanoseconds when guest time is 0.</param>
    /// <exception cref="DomainBuildException">The loader is no file that can be started.</exception>
    internal XenGuest(XenGuestOptions options, EmbeddedMachine machine, IVmClock clock, long startTime, IMachineLog log)
    {
        _options = options;
        _clock = clock;
        _startTime = startTime;
        Machine = machine;
        Log = log;
        Physmap = new Physmap(machine.Ram);
        MaxPages = Physmap.Pages;
        Shared = new SharedInfo(Physmap.AllocateSpecial());
        Vcpus = new XenVcpu[machine.Cpus.Count];
        for (var n = 0; n < Vcpus.Length; n++) Vcpus[n] = new XenVcpu(n, machine.Cpus[n], Physmap);
        Timers = new XenTimers(clock, Vcpus.Length, vcpu => Events!.RaiseVirq(vcpu, XenConstants.VirqTimer), vcpu => Vcpus[vcpu].Wake(), WatchdogExpired);
        if (options.Viridian != ViridianFeatures.None)
        {
            _viridian = new ViridianGuest(options.Viridian, machine, Physmap, clock, machine.RaiseLocalVector);
            (_firstLeaf, _hypercallMsr) = (CpuidBase + ViridianGuest.XenLeaves, FirstMsr + ViridianGuest.XenMsrs);
        }

        Events = new EventChannels(Physmap, machine, Vcpus, DomainId);
        Grants = new GrantTable(Physmap, (ushort)DomainId);
        _backendGrants = new EmbeddedGrants(Grants, Physmap);
        _builder = new DomainBuilder(options, machine.Ram, machine.Cpus.Count);
        _hypercalls = new Hypercalls(this);
        _connection = new StoreConnection(Store, DomainId, log, () => Events.SetPending(StorePort));
        _storePeer = new StorePeer(_connection);
        _console = new ConsoleRing(log, () => Events.SetPending(ConsolePort));
    }

    /// <summary>What the guest is to dom0.</summary>
    public int DomainId => 1;

    public string Id => "xen";

    /// <summary>The store that the guest and its builder share.</summary>
    public XenStore Store { get; } = new();

    internal EmbeddedMachine Machine { get; }

    internal Physmap Physmap { get; }

    internal SharedInfo Shared { get; private set; }

    internal XenVcpu[] Vcpus { get; }

    internal EventChannels Events { get; }

    internal GrantTable Grants { get; }

    internal XenTimers Timers { get; }

    internal HvmParameters Parameters { get; } = new();

    internal IMachineLog Log { get; }

    /// <summary>Guest time in ns.</summary>
    internal ulong Now => (ulong)_clock.Now;

    /// <summary>Pages of RAM that the guest was started with.</summary>
    internal ulong MaxPages { get; }

    internal ReadOnlySpan<byte> Uuid => _options.Uuid.ToByteArray(bigEndian: true);

    /// <summary>RAM from 1 MiB on, as the builder tells it.</summary>
    internal IReadOnlyList<(ulong Start, ulong Bytes)> MemoryMap => _builder.MemoryMap;

    internal bool IsSelf(ushort domain) => domain == XenConstants.DomainSelf || domain == DomainId;

    /// <summary>The guest as its builder leaves it.</summary>
    public void Reset()
    {
        Physmap.Reset();
        Shared = new SharedInfo(Physmap.AllocateSpecial());
        Shared.SetLayout(false, _startTime);
        foreach (var vcpu in Vcpus) vcpu.Reset(Shared);
        Events.Reset(Shared);
        Timers.Reset();
        _viridian?.Reset();
        Parameters.Clear();
        Store.Clear();
        _builder.FillStore(Store, DomainId, StorePort, ConsolePort);
        foreach (var device in _options.Devices) device.Write(Store, DomainId);
        _builder.FillMemory(Physmap, Parameters, StorePort, ConsolePort);
        Grants.Reset(DomainBuilder.ConsoleFrame, DomainBuilder.StoreFrame);
        Events.AllocateUnbound(XenConstants.DomainZero);
        Events.AllocateUnbound(XenConstants.DomainZero);
        Physmap.TryHold(DomainBuilder.StoreFrame, out var storePage);
        _connection.Connect(Physmap.Bytes(storePage));
        Events.TryBindPeer(StorePort, _storePeer);
        Physmap.TryHold(DomainBuilder.ConsoleFrame, out var consolePage);
        _console.Connect(consolePage);
        Events.TryBindPeer(ConsolePort, _console);
        if (_options.Loader.Length > 0) _builder.SetFirstVcpu(Machine.Cpus[0]);
    }

    /// <summary>What PV backends of domain 0 use in this machine.</summary>
    /// <param name="loop">The machine thread's, on which this is called.</param>
    public XenPorts CreatePorts(IEventLoop loop) =>
        new(new EmbeddedStore(Store, loop), _backendGrants, new EmbeddedEventChannels(Events, DomainId, loop, _backendGrants.DropCode)) { Foreign = new EmbeddedForeignPages(DomainId, Physmap, _backendGrants.Written) };

    /// <summary>Leads the guest's first console (hvc0) somewhere. Once, before the machine runs.</summary>
    public void AttachConsole(ICharBackend backend) => _console.Attach(backend);

    void IDevice.Reset(ResetKind kind)
    {
    }

    /// <summary>
    /// A PC's BIOS would take Xen for a reason to look for what hvmloader leaves it, so it finds none: without a loader Xen shows itself to code
    /// that uses paging.
    /// </summary>
    internal bool IsVisible(X86Cpu cpu) => _options.Loader.Length > 0 || (cpu.State->Cr0 & Paging) != 0;

    /// <summary>A leaf is a hypervisor's.</summary>
    internal bool HasLeaf(uint leaf) => leaf >= CpuidBase && leaf < _firstLeaf + 0x100;

    /// <summary>Leaves for which <see cref="HasLeaf"/> is true.</summary>
    internal (uint A, uint B, uint C, uint D) Cpuid(uint leaf, uint subleaf, int vcpu)
    {
        if (leaf < _firstLeaf) return _viridian!.Cpuid(leaf);
        return (leaf - _firstLeaf) switch
        {
            0 => (_firstLeaf + 5, 0x566e_6558, 0x6558_4d4d, 0x4d4d_566e),
            1 => (VersionOperations.Version, 0, 0, 0),
            2 => (1, _hypercallMsr, 0, 0),
            3 => subleaf switch { 0 => (2, 0, 1_000_000, 0), 1 => (0, 0, 0x8000_0000, 1), 2 => (1_000_000, 0, 0, 0), _ => (0, 0, 0, 0) },
            4 => ((1 << 3) | (1 << 4), (uint)vcpu, (uint)DomainId, 0),
            _ => (0, 0, 0, 0),
        };
    }

    /// <returns>False for #GP.</returns>
    internal bool ReadMsr(X86Cpu cpu, LocalApic apic, uint index, out ulong value)
    {
        value = 0;
        return index == _hypercallMsr || (_viridian?.ReadMsr(cpu, apic, index, out value) ?? false);
    }

    /// <inheritdoc cref="ReadMsr"/>
    internal bool WriteMsr(X86Cpu cpu, LocalApic apic, uint index, ulong value)
    {
        if (index == _hypercallMsr) return WriteHypercallPage(value, cpu);
        if (_viridian is null) return false;
        FollowLine();
        return _viridian.WriteMsr(cpu, apic, index, value);
    }

    /// <summary>Fills a page with one piece of code for each hypercall.</summary>
    /// <returns>False for #GP: the page is no RAM, or not the first one of them.</returns>
    private bool WriteHypercallPage(ulong value, X86Cpu cpu)
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

        LatchLayout(Is64(cpu));
        return Machine.Memory.TryWrite(value, page);
    }

    /// <summary>The shared page has the layout of the code that asks for it.</summary>
    internal void LatchLayout(bool is64)
    {
        Shared.SetLayout(is64, _startTime);
        foreach (var vcpu in Vcpus) vcpu.RepairTime();
    }

    /// <summary>The guest wants to see the shared page at a frame.</summary>
    internal bool TryShowShared(ulong gfn)
    {
        foreach (var vcpu in Vcpus) vcpu.RepairTime();
        return Physmap.TryShow(gfn, Shared.Page);
    }

    /// <summary>Takes from what one hypercall may work on, lists within lists included, so that no guest holds the machine up.</summary>
    /// <param name="units">Entries of a list, or frames.</param>
    /// <returns>False when it is too much: the call is to be refused or cut short.</returns>
    internal bool TrySpend(ulong units)
    {
        if (units > WorkLeft) return false;
        WorkLeft -= units;
        return true;
    }

    /// <summary>What is left for the hypercall that runs.</summary>
    internal ulong WorkLeft { get; private set; }

    /// <summary>VMCALL or VMMCALL of a vCPU.</summary>
    internal void Call(X86Cpu cpu)
    {
        WorkLeft = WorkOfACall;
        var c = cpu.State;
        var is64 = Is64(cpu);
        var number = (uint)c->R[0];
        long result;
        if (c->Cpl != 0 || (c->Eflags & Flags.Vm) != 0) result = -Errno.EPERM;
        else if (_viridian is not null && (number & ViridianGuest.CallBit) != 0)
        {
            result = (long)ViridianGuest.Call(cpu, is64 ? c->R[1] : c->R[0]);
            if (!is64) c->R[2] = (uint)(result >> 32);
        }
        else if (is64) result = _hypercalls.Call(number, new HypercallArguments(cpu, true, c->R[7], c->R[6], c->R[2], c->R[10], c->R[8]));
        else result = _hypercalls.Call(number, new HypercallArguments(cpu, false, (uint)c->R[3], (uint)c->R[1], (uint)c->R[2], (uint)c->R[6], (uint)c->R[7]));
        c->R[0] = is64 ? (ulong)result : (uint)result;
    }

    // The vCPUs' life.

    /// <summary>Before a vCPU runs.</summary>
    /// <returns>False when it waits in a hypercall.</returns>
    internal bool Enter(int index)
    {
        var vcpu = Vcpus[index];
        if (_backendGrants.HasWritten) _backendGrants.DropCode();
        if (vcpu.Wait != VcpuWait.None)
        {
            if (vcpu.State == Runstate.Running) vcpu.SetState(Runstate.Blocked, Now);
            return false;
        }

        vcpu.RepairTime();
        Timers.StopPoll(index);
        if (index == 0) Events.Upcall.Follow();
        if (Events.Upcall.Pending(vcpu) >= 0) Machine.UpdateInterrupt(index);
        if (vcpu.State != Runstate.Running && !vcpu.Cpu.IsHalted)
        {
            vcpu.SetState(Runstate.Running, Now);
            vcpu.UpdateAreas(Now);
        }
        else if (vcpu.HasStaleTime)
        {
            vcpu.UpdateAreas(Now);
        }

        return true;
    }

    /// <summary>The vCPU waits in a hypercall (SCHEDOP_block, SCHEDOP_poll).</summary>
    public bool IsWaiting(int vcpu) => Vcpus[vcpu].Wait != VcpuWait.None;

    /// <summary>After a vCPU ran until it halted.</summary>
    internal void Halted(int index)
    {
        if (Vcpus[index].State == Runstate.Running) Vcpus[index].SetState(Runstate.Blocked, Now);
    }

    /// <summary>An interrupt for a vCPU ends its waiting.</summary>
    internal void Wake(int index) => Vcpus[index].Wake();

    /// <summary>A vCPU need not wait: an event or an interrupt is there that it can take.</summary>
    internal bool HasWork(XenVcpu vcpu) => vcpu.UpcallPending || (Machine.HasInterrupt(vcpu.Index) && vcpu.Cpu.InterruptsEnabled);

    /// <summary>The vector of the event callback that the vCPU takes now, or -1.</summary>
    internal int PendingVector(int index) => Events.Upcall.Pending(Vcpus[index]);

    /// <summary>An interrupt controller is about to be used: the callback's line must have the level that the guest expects.</summary>
    internal void FollowLine()
    {
        if (Events.Upcall.IsAsserted) Events.Upcall.Follow();
    }

    internal void Shutdown(ShutdownReason reason)
    {
        Log.Guest("xen", $"the guest asks for {reason}");
        Machine.Shutdown(reason);
    }

    /// <summary>The time in the shared page is right again after a change of the guest's clock.</summary>
    internal void UpdateTime(ulong now, Func<int, ulong> tsc)
    {
        for (var n = 0; n < Vcpus.Length; n++) Vcpus[n].SetTime(now, tsc(n));
        _viridian?.UpdateTime((long)now, tsc(0));
    }

    /// <summary>The vCPU has taken an interrupt of its local APIC.</summary>
    internal void Acknowledged(int index, LocalApic apic, int vector) => _viridian?.Acknowledged(index, apic, vector);

    private void WatchdogExpired(ShutdownReason reason)
    {
        Log.Guest("xen", "the guest's watchdog has run out");
        Machine.Shutdown(reason);
    }

    private static bool Is64(X86Cpu cpu) => (cpu.State->Mode & 3) == 2;

    private sealed class StorePeer(StoreConnection connection) : IEventPeer
    {
        public void Notified() => connection.Process();

        public void Closed()
        {
        }
    }

    /// <summary>Adds all that is not in RAM or in a chip to a hash of the machine.</summary>
    internal void AppendTo(IncrementalHash hash)
    {
        Physmap.AppendTo(hash);
        Store.AppendTo(hash);
        _connection.AppendTo(hash);
        hash.AppendData(BitConverter.GetBytes(StateHasher.Hash([this])));
    }

    /// <summary>For hashes and dumps; a machine with Xen in it is not restored.</summary>
    public void State(StateVisitor s)
    {
        if (s.IsLoading) s.Fail("", "a guest that finds Xen cannot be restored");
        var is64 = Shared.Is64;
        s.Bool("is64", ref is64);
        s.Child("parameters", Parameters);
        foreach (var vcpu in Vcpus) s.Child($"vcpu{vcpu.Index}", vcpu);
        s.Child("timers", Timers);
        s.Child("events", Events);
        s.Child("grants", Grants);
        s.Child("store", _connection);
        if (_viridian is not null) s.Child("viridian", _viridian);
    }

    public void Dispose() => Physmap.Dispose();
}
