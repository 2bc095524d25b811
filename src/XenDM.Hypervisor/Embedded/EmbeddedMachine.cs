using System;
using System.Collections.Generic;
using System.Security.Cryptography;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Cpu.Decode;
using XenDM.Cpu.Mmu;
using XenDM.Hypervisor.Embedded.Xen;
using XenDM.Platform;

namespace XenDM.Hypervisor.Embedded;

/// <summary>What an embedded machine is made of.</summary>
/// <param name="MemoryBytes">A multiple of 4 KiB.</param>
/// <param name="Cpus">1 to 32.</param>
/// <param name="Firmware">Image whose end lies at 4 GiB, and whose last 128 KiB are shadowed below 1 MiB; empty for none.</param>
/// <param name="Icount">Time is a function of the instructions that ran.</param>
/// <param name="Seed">Of the numbers that RDRAND gives with <paramref name="Icount"/>.</param>
/// <param name="StartTime">What the RTC shows at the start, Unix time in nanoseconds.</param>
public sealed record EmbeddedOptions(ulong MemoryBytes, int Cpus, CpuModel Model, byte[] Firmware, bool Icount, int Seed, long StartTime)
{
    /// <summary>The guest is started as Xen's toolstack does, and finds Xen; null for a plain PC.</summary>
    public XenGuestOptions? Xen { get; init; }
}

/// <summary>
/// The home without Xen: software vCPUs, the chips that Xen emulates itself, and Xen's side of an HVM guest, in this process. Everything runs on
/// the machine thread, the vCPUs by turns. An access that no platform chip answers becomes a request to the machine at hop 2, as an ioreq does.
/// </summary>
public sealed class EmbeddedMachine : IHypervisor, ICpuBus, ILocalApicCpu
{
    /// <summary>Guest nanoseconds of an instruction with <see cref="EmbeddedOptions.Icount"/>.</summary>
    public const long IcountNanoseconds = 10;

    /// <summary>CPUID leaf 1, ECX.</summary>
    private const uint HypervisorPresent = 1u << 31;

    private const long MaxSlice = 200_000, MinSlice = 500;
    private const uint AccessMask = 63;
    private const ulong ShadowStart = 0xe_0000, ShadowEnd = 0x10_0000;

    private readonly EmbeddedOptions _options;
    private readonly IMachineLog _log;
    private readonly GuestRam _ram;
    private readonly CodeCache _code;
    private readonly FirmwareRom? _rom;
    private XenGuest? _xen;
    private VideoRam? _video;
    private readonly X86Cpu[] _cpus;
    private readonly LocalApic[] _apics;
    private readonly AddressSpace _ports = new(IoSpace.Port, 0xffff);
    private readonly AddressSpace _memory = new(IoSpace.Memory, ulong.MaxValue);
    private readonly List<IDevice> _devices = [];
    private readonly long[] _tscOffset;
    private readonly bool[] _waitsForStartup;
    private readonly bool[] _onHold;
    private readonly Random _random;
    private VmClock _clock = null!;
    private IRequestHandler _handler = null!;
    private X86Cpu? _running;
    private long _icountSkipped;
    private uint _accesses;
    private ulong _tripleFaults;
    private bool _stop;
    private bool _resetPending;

    /// <exception cref="System.IO.IOException">The host has no memory for it.</exception>
    public EmbeddedMachine(EmbeddedOptions options, IMachineLog log)
    {
        _options = options;
        _log = log;
        _ram = new GuestRam(options.MemoryBytes);
        _code = new CodeCache(_ram.Map, new EmbeddedCode());
        _ram.Code = _code;
        if (options.Firmware.Length > 0) _rom = new FirmwareRom(options.Firmware, _ram.Map);
        _random = new Random(options.Seed);
        _cpus = new X86Cpu[options.Cpus];
        _apics = new LocalApic[options.Cpus];
        _tscOffset = new long[options.Cpus];
        _waitsForStartup = new bool[options.Cpus];
        _onHold = new bool[options.Cpus];
        var features = new CpuFeatures(options.Model, options.Cpus) { ForcesEmulation = options.Xen is { ForcesEmulation: true } };
        for (var n = 0; n < options.Cpus; n++) _cpus[n] = new X86Cpu(n, features, _ram.Map, _code, this) { YieldsOnPause = options.Cpus > 1 };
    }

    /// <summary>Nanoseconds for the machine's clock.</summary>
    public long TimeSource() => _options.Icount ? (long)InstructionCount() * IcountNanoseconds + _icountSkipped : Interop.Libc.Posix.MonotonicNanoseconds();

    /// <summary>Makes the platform's chips and Xen's side; the clock's source is <see cref="TimeSource"/>.</summary>
    /// <exception cref="DomainBuildException">The guest's loader cannot be started.</exception>
    public void Build(VmClock clock)
    {
        _clock = clock;
        clock.EarlierDeadline = () => _running?.RequestExit();
        Bus = new ApicBus();
        for (var n = 0; n < _apics.Length; n++)
        {
            _apics[n] = new LocalApic(n, (uint)(2 * n), Bus, clock, this, AcknowledgePic);
            _devices.Add(_apics[n]);
        }

        var ioApic = new IoApic(Bus);
        Pic = new I8259Pic(new IrqLine(Bus, ApicBus.Lint0));
        Router = new IrqRouter(Pic, ioApic, Bus);
        Pit = new I8254Pit(Router.PlatformLine(0), clock);
        Rtc = new Mc146818Rtc(Router.PlatformLine(8), clock, _options.StartTime);
        PmTimer = new PmTimer(Router.PlatformLine(9), clock);
        IrqLine[] hpetLines = [Router.PlatformLine(20, true), Router.PlatformLine(21, true), Router.PlatformLine(22, true), Router.PlatformLine(23, true)];
        var hpet = new Hpet(clock, [Router.PlatformLine(0, isHpet: true), Router.PlatformLine(8, isHpet: true)], hpetLines, Router.SetLegacyReplacement);
        _devices.AddRange([ioApic, Pic, Router, Pit, Rtc, PmTimer, hpet]);
        _ports.BeginChange();
        Pic.MapPorts(_ports);
        Pit.MapPorts(_ports);
        Rtc.MapPorts(_ports);
        PmTimer.MapPorts(_ports);
        _ports.EndChange();
        ioApic.MapMemory(_memory);
        hpet.MapMemory(_memory);
        if (_options.Xen is { } xen) _xen = new XenGuest(xen, this, clock, _options.StartTime, _log);
        PresetCmos();
    }

    public ApicBus Bus { get; private set; } = null!;

    public I8259Pic Pic { get; private set; } = null!;

    public IrqRouter Router { get; private set; } = null!;

    public I8254Pit Pit { get; private set; } = null!;

    public Mc146818Rtc Rtc { get; private set; } = null!;

    public PmTimer PmTimer { get; private set; } = null!;

    public IReadOnlyList<X86Cpu> Cpus => _cpus;

    /// <summary>Xen's side of the guest; null for a plain PC.</summary>
    public XenGuest? Xen => _xen;

    public GuestRam Ram => _ram;

    /// <summary>The platform's chips, for the monitor and for hashes.</summary>
    public IReadOnlyList<IDevice> Devices => _devices;

    /// <summary>The ports and memory of <see cref="Devices"/>, which come before the board's.</summary>
    public IReadOnlyList<AddressSpace> Spaces => [_ports, _memory];

    public IGuestMemory Memory => _ram;

    public int MaxVcpus => _cpus.Length;

    public bool DirtyLogging { get; set; }

    /// <summary>Requests of the vCPUs are served: the guest runs.</summary>
    public bool Serving
    {
        get;
        set
        {
            var held = field && !value;
            field = value;
            if (held) Held?.Invoke();
        }
    }

    /// <summary>Told when the guest stops running.</summary>
    public Action? Held { get; set; }

    /// <summary>Called when the guest asks for a reset or switches off, after the chips know.</summary>
    public Action<ShutdownReason>? Ended { get; set; }

    /// <summary>A vCPU gave up: a PC resets.</summary>
    public Action? TripleFault { get; set; }

    /// <summary>Instructions of all vCPUs.</summary>
    public ulong InstructionCount()
    {
        var sum = 0ul;
        foreach (var cpu in _cpus) sum += cpu.Instructions;
        return sum;
    }

    /// <summary>A hash of everything that the guest can see: RAM, vCPUs, the platform's chips and the board's.</summary>
    public string HashState(IEnumerable<IDevice> board)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var page = new byte[1 << 20];
        for (ulong at = 0; at < _options.MemoryBytes; at += (ulong)page.Length)
        {
            var length = (int)Math.Min((ulong)page.Length, _options.MemoryBytes - at);
            _ram.CopyOut(at, page.AsSpan(0, length));
            hash.AppendData(page, 0, length);
        }

        if (_video is not null) hash.AppendData(_video.Bytes);
        foreach (var cpu in _cpus) hash.AppendData(System.Text.Encoding.UTF8.GetBytes(StateDumper.Dump(new CpuDevice(cpu))));
        foreach (var device in _devices) hash.AppendData(System.Text.Encoding.UTF8.GetBytes(StateDumper.Dump(device)));
        foreach (var device in board) hash.AppendData(System.Text.Encoding.UTF8.GetBytes(StateDumper.Dump(device)));
        // A dump shortens long fields.
        hash.AppendData(BitConverter.GetBytes(StateHasher.Hash([.. _devices, .. board])));
        _xen?.AppendTo(hash);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private sealed class CpuDevice(X86Cpu cpu) : IDevice
    {
        public string Id => $"cpu{cpu.Index}";

        public void Reset(ResetKind kind) => cpu.Reset();

        public void State(StateVisitor s) => cpu.Save(s);
    }

    /// <summary>Makes the memory of the display adapter, once.</summary>
    /// <param name="bytes">A power of two from 256 KiB to 256 MiB.</param>
    /// <exception cref="System.IO.IOException">The host has no memory for it.</exception>
    public VideoMemory CreateVideoMemory(int bytes)
    {
        var firmware = ((ulong)_options.Firmware.Length + PhysicalMap.FlagBits) & ~PhysicalMap.FlagBits;
        return _video = new VideoRam(bytes, _ram.Map, _ram.Low, GuestRam.FourGiB - firmware);
    }

    public void Attach(IRequestHandler handler) => _handler = handler;

    /// <summary>Puts vCPUs, platform and firmware where power-on has them. RAM is left.</summary>
    public void Reset()
    {
        foreach (var device in _devices) device.Reset(ResetKind.Cold);
        PresetCmos();
        for (var n = 0; n < _cpus.Length; n++)
        {
            _cpus[n].Reset();
            _waitsForStartup[n] = n != 0;
            if (n != 0) _cpus[n].Park();
            _tscOffset[n] = 0;
        }

        _xen?.Reset();
        UpdateXenTime();
        if (_rom is null) return;
        var image = _options.Firmware;
        var bytes = (int)Math.Min((ulong)image.Length, ShadowEnd - ShadowStart);
        _ram.TryWrite(ShadowEnd - (ulong)bytes, image.AsSpan(image.Length - bytes));
    }

    /// <summary>Where firmware looks for the size of memory and the number of vCPUs.</summary>
    private void PresetCmos()
    {
        var extended = Math.Min((_ram.Low - (1 << 20)) >> 10, 0xffff);
        Rtc.Preset(0x15, 0x80);
        Rtc.Preset(0x16, 0x02);
        Rtc.Preset(0x17, (byte)extended);
        Rtc.Preset(0x18, (byte)(extended >> 8));
        Rtc.Preset(0x30, (byte)extended);
        Rtc.Preset(0x31, (byte)(extended >> 8));
        var above16 = _ram.Low > 16 << 20 ? Math.Min((_ram.Low - (16 << 20)) >> 16, 0xffff) : 0;
        Rtc.Preset(0x34, (byte)above16);
        Rtc.Preset(0x35, (byte)(above16 >> 8));
        var high = _ram.High >> 16;
        Rtc.Preset(0x5b, (byte)high);
        Rtc.Preset(0x5c, (byte)(high >> 8));
        Rtc.Preset(0x5d, (byte)(high >> 16));
        Rtc.Preset(0x5f, (byte)(_cpus.Length - 1));
        Rtc.Preset(0x14, 0x06);
    }

    /// <summary>Runs the guest on the machine thread until <see cref="Stop"/>.</summary>
    public void Run(PollLoop loop)
    {
        // What the guest has asked of a chip or a backend is not to wait for the end of the slice.
        loop.PostedByItself = () => _running?.RequestExit();
        while (!_stop)
        {
            if (!Serving)
            {
                loop.RunOnce(wait: true);
                continue;
            }

            var ran = false;
            foreach (var cpu in _cpus)
            {
                if (_stop || !Serving) break;
                ran |= RunSlice(cpu);
            }

            if (_resetPending) FinishReset();
            if (ran)
            {
                loop.RunOnce(wait: false);
            }
            else if (_options.Icount && _clock.NextDeadline != VmTimer.Never)
            {
                // Nobody runs: guest time goes on to the next timer at once.
                _icountSkipped += Math.Max(0, _clock.NextDeadline - _clock.Now);
                loop.RunOnce(wait: false);
            }
            else
            {
                loop.RunOnce(wait: true);
            }
        }

        _stop = false;
    }

    public void Stop() => _stop = true;

    /// <summary>A vCPU does not run, whatever the others do.</summary>
    public void Hold(int cpu, bool on) => _onHold[cpu] = on;

    /// <returns>False when the vCPU has nothing to do.</returns>
    private bool RunSlice(X86Cpu cpu)
    {
        if (_waitsForStartup[cpu.Index] || _onHold[cpu.Index]) return false;
        if (_xen is { } xen && !xen.Enter(cpu.Index)) return false;
        var wait = _clock.NextDeadline == VmTimer.Never ? long.MaxValue : _clock.NextDeadline - _clock.Now;
        // About ten nanoseconds an instruction, so that a timer is not late by much.
        var slice = Math.Clamp(wait / IcountNanoseconds, MinSlice, MaxSlice);
        if (_cpus.Length > 1) slice = Math.Min(slice, 20_000);
        var before = cpu.Instructions;
        _running = cpu;
        var result = cpu.Run(slice);
        _running = null;
        switch (result)
        {
            case RunResult.Shutdown:
                var fault = $"vCPU {cpu.Index}: triple fault at {cpu.Describe()}; the machine resets";

                // The first one is said in any case: a machine that only resets again and again tells nobody why.
                if (_tripleFaults++ == 0) _log.Warn("cpu", fault);
                else _log.Guest("cpu", fault);
                TripleFault?.Invoke();
                return true;
            case RunResult.Halted:
                _xen?.Halted(cpu.Index);
                return cpu.Instructions != before;
            case RunResult.Debug:
                DebugStop?.Invoke(cpu);
                return true;
            default:
                return true;
        }
    }

    /// <summary>A breakpoint, watchpoint or step stopped the vCPU.</summary>
    public Action<X86Cpu>? DebugStop { get; set; }

    private void FinishReset()
    {
        _resetPending = false;
        Ended?.Invoke(ShutdownReason.Reboot);
        Reset();
    }

    // Interrupts.

    private int AcknowledgePic() => Pic.Acknowledge();

    void ILocalApicCpu.InterruptChanged(int cpu)
    {
        // The chips reset their lines while they are made.
        if (_apics[cpu] is null) return;
        UpdateInterrupt(cpu);
        if (_apics[cpu].HasInterrupt) _xen?.Wake(cpu);
    }

    /// <summary>The vCPU is told whether its local APIC, the 8259 pair or Xen's event callback has something for it.</summary>
    internal void UpdateInterrupt(int cpu) => _cpus[cpu].SetInterrupt(_apics[cpu].HasInterrupt || _xen?.PendingVector(cpu) >= 0);

    /// <summary>An interrupt controller has something for the vCPU.</summary>
    internal bool HasInterrupt(int cpu) => _apics[cpu].HasInterrupt;

    /// <summary>An edge at the vCPU's local APIC, past the bus.</summary>
    internal void RaiseLocalVector(int cpu, byte vector) => _apics[cpu].Raise(vector);

    /// <summary>The vCPU was started and not taken down: for Xen one that halts with interrupts off is down.</summary>
    internal bool IsOnline(int cpu) => !_waitsForStartup[cpu] && (!_cpus[cpu].IsHalted || _cpus[cpu].InterruptsEnabled);

    /// <summary>A vCPU may still do something.</summary>
    internal bool IsAnyOnline
    {
        get
        {
            for (var n = 0; n < _cpus.Length; n++)
                if (IsOnline(n)) return true;
            return false;
        }
    }

    /// <summary>Starts a vCPU where its registers say.</summary>
    internal void SetOnline(int cpu)
    {
        if (!_waitsForStartup[cpu]) return;
        _waitsForStartup[cpu] = false;
        _cpus[cpu].Wake();
        _running?.RequestExit();
    }

    /// <summary>The vCPU does not run before it is started anew.</summary>
    internal void SetOffline(int cpu)
    {
        _waitsForStartup[cpu] = true;
        _cpus[cpu].Park();
        _cpus[cpu].RequestExit();
    }

    void ILocalApicCpu.Nmi(int cpu)
    {
        _xen?.Wake(cpu);
        _cpus[cpu].RaiseNmi();
    }

    void ILocalApicCpu.Init(int cpu)
    {
        _xen?.Wake(cpu);
        _cpus[cpu].Init();
        _apics[cpu].InitReset();
        if (cpu != 0)
        {
            _cpus[cpu].Park();
            _waitsForStartup[cpu] = true;
        }

        _cpus[cpu].RequestExit();
    }

    void ILocalApicCpu.Startup(int cpu, byte vector)
    {
        if (!_waitsForStartup[cpu]) return;
        _waitsForStartup[cpu] = false;
        _cpus[cpu].Startup(vector);
        _running?.RequestExit();
    }

    public void SetIsaIrq(int irq, bool level) => Router.SetIsaIrq(irq, level);

    public void SetPciIntx(int device, int pin, bool level) => Router.SetPciIntx(device, pin, level);

    public void SetPciLinkRoute(int link, int irq) => Router.SetPciLinkRoute(link, irq);

    public void InjectMsi(ulong address, uint data) => Router.InjectMsi(address, data);

    // The vCPU's bus.

    /// <summary>Chips take much longer than the instructions of a slice are thought to: timers that are due end it.</summary>
    private void CountAccess()
    {
        if ((++_accesses & AccessMask) == 0 && _clock.NextDeadline <= _clock.Now) _running?.RequestExit();
    }

    ulong ICpuBus.ReadMemory(ulong address, int size)
    {
        CountAccess();
        var apic = _apics[_running!.Index];
        if ((address & ~0xffful) == apic.Base && (apic.BaseMsr & 0xc00) == 0x800) return apic.Read(address & 0xfff, size);
        if (Answers(_memory, address)) return _memory.Read(address, size);
        if (size is not (1 or 2 or 4 or 8)) return ReadOdd(address, size);
        var request = new IoRequest { Space = IoSpace.Memory, IsRead = true, Size = (uint)size, Count = 1, Address = address };
        _handler.Handle(ref request);
        return request.Data;
    }

    private ulong ReadOdd(ulong address, int size)
    {
        ulong value = 0;
        for (var n = 0; n < size; n++) value |= ((ICpuBus)this).ReadMemory(address + (ulong)n, 1) << (n * 8);
        return value;
    }

    void ICpuBus.WriteMemory(ulong address, int size, ulong value)
    {
        CountAccess();
        var apic = _apics[_running!.Index];
        if ((address & ~0xffful) == apic.Base && (apic.BaseMsr & 0xc00) == 0x800)
        {
            _xen?.FollowLine();
            apic.Write(address & 0xfff, size, value);
            return;
        }

        if (Answers(_memory, address))
        {
            _memory.Write(address, size, value);
            return;
        }

        if (size is not (1 or 2 or 4 or 8))
        {
            for (var n = 0; n < size; n++) ((ICpuBus)this).WriteMemory(address + (ulong)n, 1, (byte)(value >> (n * 8)));
            return;
        }

        var request = new IoRequest { Space = IoSpace.Memory, Size = (uint)size, Count = 1, Address = address, Data = value };
        _handler.Handle(ref request);
    }

    private static bool Answers(AddressSpace space, ulong address) => space.IsMapped(address);

    ulong ICpuBus.ReadPort(ushort port, int size)
    {
        CountAccess();
        if (Answers(_ports, port)) return _ports.Read(port, size);
        var request = new IoRequest { Space = IoSpace.Port, IsRead = true, Size = (uint)size, Count = 1, Address = port };
        _handler.Handle(ref request);
        return request.Data;
    }

    void ICpuBus.WritePort(ushort port, int size, ulong value)
    {
        CountAccess();
        if (Answers(_ports, port))
        {
            _xen?.FollowLine();
            _ports.Write(port, size, value);
            return;
        }

        var request = new IoRequest { Space = IoSpace.Port, Size = (uint)size, Count = 1, Address = port, Data = value };
        _handler.Handle(ref request);
    }

    void ICpuBus.ReadPortBlock(ushort port, int size, Span<byte> data)
    {
        // Items one by one: a block register of a chip has its own path behind the same dispatcher.
        for (var n = 0; n + size <= data.Length; n += size)
        {
            var value = ((ICpuBus)this).ReadPort(port, size);
            for (var b = 0; b < size; b++) data[n + b] = (byte)(value >> (b * 8));
        }
    }

    void ICpuBus.WritePortBlock(ushort port, int size, ReadOnlySpan<byte> data)
    {
        for (var n = 0; n + size <= data.Length; n += size)
        {
            ulong value = 0;
            for (var b = 0; b < size; b++) value |= (ulong)data[n + b] << (b * 8);
            ((ICpuBus)this).WritePort(port, size, value);
        }
    }

    int ICpuBus.AcknowledgeInterrupt(X86Cpu cpu)
    {
        // Before the controllers' interrupts, and for as long as the guest leaves the byte set.
        if (_xen?.PendingVector(cpu.Index) is >= 0 and var callback) return callback;
        if (cpu.Index == 0) _xen?.FollowLine();
        var vector = _apics[cpu.Index].Acknowledge();
        _xen?.Acknowledged(cpu.Index, _apics[cpu.Index], vector);
        UpdateInterrupt(cpu.Index);
        return vector;
    }

    /// <summary>The TSC counts nanoseconds of guest time: 1 GHz.</summary>
    ulong ICpuBus.ReadTsc(X86Cpu cpu) => (ulong)(_clock.Now + _tscOffset[cpu.Index]);

    void ICpuBus.WriteTsc(X86Cpu cpu, ulong value)
    {
        _tscOffset[cpu.Index] = (long)value - _clock.Now;
        UpdateXenTime();
    }

    private void UpdateXenTime()
    {
        var now = _clock.Now;
        _xen?.UpdateTime((ulong)now, n => (ulong)(now + _tscOffset[n]));
    }

    bool ICpuBus.ReadMsr(X86Cpu cpu, uint index, out ulong value)
    {
        var apic = _apics[cpu.Index];
        value = 0;
        switch (index)
        {
            case 0x1b: value = apic.BaseMsr; return true;
            case 0x6e0: value = apic.TscDeadline == 0 ? 0 : apic.TscDeadline + (ulong)_tscOffset[cpu.Index]; return true;
            case >= 0x800 and < 0x900: return apic.ReadMsr(index, out value);
            case >= XenGuest.FirstMsr and < XenGuest.EndOfMsrs: return _xen is { } xen && xen.IsVisible(cpu) && xen.ReadMsr(cpu, apic, index, out value);
            default: return false;
        }
    }

    bool ICpuBus.WriteMsr(X86Cpu cpu, uint index, ulong value)
    {
        var apic = _apics[cpu.Index];
        switch (index)
        {
            case 0x1b: return apic.WriteBaseMsr(value);
            case 0x6e0:
                apic.TscDeadline = value == 0 ? 0 : Math.Max(1, value - (ulong)_tscOffset[cpu.Index]);
                return true;
            case >= 0x800 and < 0x900:
                _xen?.FollowLine();
                return apic.WriteMsr(index, value);
            case >= XenGuest.FirstMsr and < XenGuest.EndOfMsrs: return _xen is { } xen && xen.IsVisible(cpu) && xen.WriteMsr(cpu, apic, index, value);
            default: return false;
        }
    }

    int ICpuBus.TaskPriority(X86Cpu cpu) => _apics[cpu.Index].TaskPriority;

    void ICpuBus.SetTaskPriority(X86Cpu cpu, int value) => _apics[cpu.Index].TaskPriority = value;

    (uint A, uint B, uint C, uint D) ICpuBus.Cpuid(X86Cpu cpu, uint leaf, uint subleaf)
    {
        var xen = _xen is { } guest && guest.IsVisible(cpu) ? guest : null;
        if (xen is not null && xen.HasLeaf(leaf)) return xen.Cpuid(leaf, subleaf, cpu.Index);
        if (leaf is >= XenGuest.CpuidBase and < XenGuest.CpuidBase + 0x100) return (0, 0, 0, 0);
        // The TSC runs at 1 GHz (leaf 0x15: crystal 1 GHz, ratio 1).
        var apic = _apics[cpu.Index];
        var result = cpu.Features.Read(leaf, subleaf, apic.ApicId, ControlRegister4(cpu), ExtendedControl(cpu));
        // An APIC that is switched off is not reported (SDM 3, 11.4.3).
        if (leaf == 1 && (apic.BaseMsr & 0x800) == 0) result.D &= ~(1u << 9);
        if (leaf == 1 && xen is not null) result.C |= HypervisorPresent;
        return result;
    }

    private static unsafe ulong ControlRegister4(X86Cpu cpu) => cpu.State->Cr4;

    private static unsafe ulong ExtendedControl(X86Cpu cpu) => cpu.State->Xcr0;

    bool ICpuBus.Hypercall(X86Cpu cpu)
    {
        _xen?.Call(cpu);
        return _xen is not null;
    }

    void ICpuBus.FloatingPointError(X86Cpu cpu)
    {
        Router.SetIsaIrq(13, true);
        Router.SetIsaIrq(13, false);
    }

    ulong ICpuBus.Random()
    {
        if (_options.Icount) return (ulong)_random.NextInt64() ^ ((ulong)_random.NextInt64() << 1);
        Span<byte> bytes = stackalloc byte[8];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }

    void ICpuBus.Unimplemented(X86Cpu cpu, string what) => _log.Guest("cpu", $"vCPU {cpu.Index}: {what} is not built, at {cpu.Describe()}");

    // The board's side.

    public void RangeAdded(IoSpace space, ulong start, ulong end)
    {
    }

    public void RangeRemoved(IoSpace space, ulong start, ulong end)
    {
    }

    public void PciFunctionAdded(int bus, int device, int function)
    {
    }

    public void PciFunctionRemoved(int bus, int device, int function)
    {
    }

    public bool SetMemoryKind(ulong firstPage, uint pages, MemoryKind kind) => true;

    public void Shutdown(ShutdownReason reason)
    {
        if (reason == ShutdownReason.Reboot)
        {
            // The vCPU that asked is still inside its instruction.
            _resetPending = true;
            _running?.RequestExit();
            return;
        }

        Ended?.Invoke(reason);
        _running?.RequestExit();
    }

    public void SetAcpiSleepState(int state)
    {
        if (state == 0)
        {
            Reset();
        }
    }

    public void Dispose()
    {
        foreach (var cpu in _cpus) cpu.Dispose();
        _code.Dispose();
        _xen?.Dispose();
        _video?.Dispose();
        _rom?.Dispose();
        _ram.Dispose();
    }
}
