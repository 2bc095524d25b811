using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Backends.Char;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Devices.Firmware;
using XenDM.Display;
using XenDM.Hosting;
using XenDM.Hypervisor;
using XenDM.Hypervisor.Embedded;
using XenDM.Hypervisor.Embedded.Xen;
using XenDM.Interop.Libc;
using XenDM.Machines;
using XenDM.Machines.Firmware;
using XenDM.Monitor;
using XenDM.Monitor.Gdb;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.Console;
using XenDM.PvBackends.Display;
using XenDM.PvBackends.Input;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;

namespace XenDM.Run;

/// <summary>Puts a process together that runs a guest on the embedded machine: the board of <see cref="Host"/> on another hypervisor.</summary>
internal sealed class EmbeddedHost : IDisposable
{
    /// <summary>What the guest is called where it asks a hypervisor; the same in every run.</summary>
    private static readonly Guid s_uuid = new("5e0ad3a1-7c3b-4d7e-9d51-0e2f6a1b9c47");

    private const string FirstConsole = "console";

    private readonly RunOptions _options;
    private readonly ProcessLog _log;
    private readonly EmbeddedMachine _embedded;
    private readonly VmClock _clock;
    private readonly PollLoop _loop;
    private readonly CharBackendFactory _chardevs;
    private readonly Stack<IDisposable> _resources = new();
    private readonly TerminationSignals _signals;
    private readonly FdSets _fds = new(static fd => Posix.Close(fd), Posix.Duplicate);
    private readonly Machine _machine;
    private readonly DriveTable _drives;
    private readonly NetdevTable _netdevs;
    private GdbSession? _debugger;
    private XenPorts? _ports;
    private int _status;

    /// <exception cref="UsageException">Something that was asked for cannot be had.</exception>
    public EmbeddedHost(RunOptions options, ProcessLog log)
    {
        _options = options;
        _log = log;
        var board = options.Board();
        Catalogue.Check(board, displays: true);
        var kernel = KernelBoot.Open(board, GuestRam.HoleStart, "--");
        var loader = options.Firmware.Kind == FirmwareKind.HvmLoader;
        var firmware = ReadFirmware(loader ? options.Firmware.Bios : options.Firmware.Path);
        var start = options.Icount ? 0 : (DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks) * 100;
        _embedded = new EmbeddedMachine(new EmbeddedOptions((ulong)board.MemoryMiB << 20, board.Cpus, options.Cpu, loader ? [] : firmware, options.Icount, options.Seed, start)
        {
            Xen = options.HasXen ? new XenGuestOptions(loader ? ReadFirmware(options.Firmware.Path) : [], loader ? firmware : [], s_uuid) { Devices = PvDevices(), Viridian = options.Viridian, ForcesEmulation = options.ForcesEmulation } : null,
        }, log);
        _clock = new VmClock(_embedded.TimeSource);
        BuildPlatform(options);
        _loop = new PollLoop(_clock);
        _signals = new TerminationSignals();
        _loop.Watch(_signals.Fd, FdEvents.Readable, _ => { _signals.Take(); Quit(0); });
        _chardevs = new CharBackendFactory(_loop, log);
        foreach (var chardev in board.Chardevs) _resources.Push(_chardevs.FromChardev(chardev.ToDictionary()));
        var serial = new List<ICharBackend?>();
        foreach (var spec in board.Serials)
        {
            var backend = OpenLine("--serial", $"serial{serial.Count}", spec);
            if (backend is not null) _resources.Push(backend);
            serial.Add(backend);
        }

        if (options.Console is { } console && OpenLine("--console", FirstConsole, console) is { } first)
        {
            _resources.Push(first);
            _embedded.Xen!.AttachConsole(first);
        }

        for (var n = 0; n < options.MoreConsoles.Count; n++)
            if (OpenLine("--console", ConsoleLabel(n + 1), options.MoreConsoles[n]) is { } line) _resources.Push(line);

        _drives = new DriveTable(options.Drives, _loop, log);
        _netdevs = NetdevTable.Open(board, _loop, log);
        _machine = new Machine(_embedded, _clock, on => _embedded.Serving = on, log);
        var config = new FwCfg(_embedded.Memory);
        var chips = new Board(new BoardOptions(options.HasXen, true, board.Cpus, board.Cpus, serial, board.BootOrder, loader && kernel is null ? null : config, FirmwareIds: !loader, PowerButton: PressPowerButton, Display: MakeDisplay(board)) { IsKept = id => !HasPvTwin(id), Blacklist = new DriverBlacklist(() => _ports?.Store, log), Nics = NicSpec.FromOptions(board), Netdevs = _netdevs }, _embedded, _clock, _machine, _machine, log);
        if (!loader) AddFirmwareItems(config, board, chips, kernel is not null);
        kernel?.AddTo(config);
        chips.Ports.Map("debug console", loader ? DebugConsole.XenPort : DebugConsole.Port, 1, new DebugConsole(log));
        if (options.TestDevice) TestDevices.Map(chips.Ports, chips.Memory, _embedded);
        if (options.DebugExitPort is { } port) chips.Ports.Map("debug exit", port, DebugExit.Bytes, new DebugExit(Quit), priority: 1);
        if (chips.Vga is null) chips.Memory.Map("no display", 0xa_0000, 0x2_0000, new Nothing(), priority: -1);
        Host.AttachDrives(chips, _drives);
        PvTwin.Guard(chips, _drives, () => _machine.PvDevices, all: false);
        _machine.Install(chips, _drives);
        _machine.Netdevs = _netdevs;
        _machine.Platform = _embedded.Devices;
        _machine.Cpus = new EmbeddedCpus(_embedded.Cpus);
        _embedded.Attach(_machine);
        _embedded.Ended = Ended;
        _embedded.TripleFault = _machine.ResetByMonitor;
        chips.Reset(ResetKind.Cold);
        _embedded.Reset();
        PresetBootOrder(board.BootOrder);
        if (_embedded.Xen is { } xen)
        {
            var ports = _ports = xen.CreatePorts(_loop);
            var images = new PvImages(_drives, _loop, options.Icount);
            IPvKind[] kinds = [new BlockKind(new BlockHost(ports, xen.DomainId, images, _loop, _machine)), new NetKind("vif", ports, xen.DomainId, new PvNets(_netdevs, _loop, NetIds(options)), _loop), new ConsoleKind(ports, xen.DomainId, new PvLines(_chardevs), _loop), new FramebufferKind(ports, xen.DomainId, _loop, _machine.Screen), new KeyboardKind(ports, xen.DomainId, _machine.Input, _clock)];
            _machine.PvDevices = new XenBus(ports, xen.DomainId, 0, kinds, _loop, log);
        }

        var target = new MonitorTarget(board, _chardevs, _loop, _ => Quit(0)) { Machine = _machine, Input = new MonitorInput(_machine.Input, _clock) };
        _machine.Observers.Add(target);
        if (GuestVnc.Start(VncSpec.FromOptions(board), _machine, _loop, log, () => target.Events) is { } vnc)
        {
            _resources.Push(vnc);
            target.VncServer = vnc;
            Console.Error.WriteLine($"xendm: VNC at {vnc.Address}");
        }

        Monitors.Attach(board, _chardevs, target, _fds, _resources);
        if (options.Gdb is { } gdb) AttachDebugger(gdb, new HumanMonitor(target, _machine));
        foreach (var chip in options.Trace) Trace(chip);
        if (options.RecordScreen is { } recording) _resources.Push(Record(recording));
        if (options.Display == RunDisplay.Text)
            _resources.Push(new MachineTerminal(_machine, new HumanMonitor(target, _machine), _loop, PressPowerButton, () => Quit(0)));
    }

    /// <summary>Runs until the guest or the user ends it.</summary>
    /// <returns>Exit status: 0 after a power-off.</returns>
    public int Run()
    {
        if (_debugger is null) _machine.Continue();
        _embedded.Run(_loop);
        if (_options.Hash) Console.WriteLine($"state {_embedded.HashState(_machine.Board.Devices)}");
        return _status;
    }

    private static string[] NetIds(RunOptions options)
    {
        var ids = new string[options.Nets.Count];
        for (var n = 0; n < ids.Length; n++) ids[n] = options.Nets[n].Id;
        return ids;
    }

    /// <summary>The machine waits where it is until the debugger lets it go.</summary>
    private void AttachDebugger(GdbAddress address, HumanMonitor monitor)
    {
        Dictionary<string, string> socket = new() { ["backend"] = "socket", ["id"] = "gdb", ["server"] = "on", ["wait"] = "off" };
        if (address.Path is { } path) socket["path"] = path;
        else (socket["host"], socket["port"]) = ("127.0.0.1", $"{address.Port}");
        var backend = _chardevs.FromChardev(socket);
        _resources.Push(backend);
        _debugger = new GdbSession(backend, new EmbeddedDebugger(_embedded, _machine.Continue, _machine.Stop), monitor.Run, () => Quit(0));
        _resources.Push(_debugger);
        Console.Error.WriteLine($"xendm: waits for a debugger: target remote {address.Path ?? $":{address.Port}"}");
    }

    private ScreenRecorder Record(string path)
    {
        try
        {
            return new ScreenRecorder(path, _machine.Screen, _clock, _log);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException("--record-screen", $"'{path}' cannot be written: {e.Message}");
        }
    }

    private void BuildPlatform(RunOptions options)
    {
        try
        {
            _embedded.Build(_clock);
        }
        catch (DomainBuildException e)
        {
            throw new UsageException("--firmware", $"'{options.Firmware.Path}': {e.Message}");
        }
    }

    private DisplayAdapter? MakeDisplay(QemuOptions board) =>
        DisplaySpec.FromOptions(board) is { } spec ? new DisplayAdapter(spec.Model, _embedded.CreateVideoMemory(spec.MemoryMiB << 20), spec.ReadRom()) : null;

    private bool PressPowerButton()
    {
        _embedded.PmTimer.PressPowerButton();
        return true;
    }

    private void Ended(ShutdownReason reason)
    {
        if (reason == ShutdownReason.Reboot && !_options.NoReboot)
        {
            _machine.PvDevices?.Clear();
            _machine.Board.Replug();
            return;
        }

        Quit(reason == ShutdownReason.Crash ? 1 : 0);
    }

    /// <summary>The PV devices, numbered in the order of their options.</summary>
    private List<PvDeviceNodes> PvDevices()
    {
        var devices = new List<PvDeviceNodes>();
        foreach (var drive in _options.Drives)
            if (drive.HasPvTwin) devices.Add(PvDeviceNodes.Disk(devices.Count, drive.File!, drive.Format, drive.ReadOnly));
        for (var n = 0; n < _options.Nets.Count; n++)
            if (_options.Nets[n].IsPv) devices.Add(PvDeviceNodes.Nic(n, _options.Nets[n].Mac.ToString()));
        for (var n = 0; n < _options.MoreConsoles.Count; n++)
            if (_options.MoreConsoles[n] != "none") devices.Add(PvDeviceNodes.Console(n + 1, $"chardev:{ConsoleLabel(n + 1)}"));
        if (_options.PvDisplay) devices.AddRange(PvDeviceNodes.Framebuffer(), PvDeviceNodes.Keyboard());
        return devices;
    }

    private static string ConsoleLabel(int number) => $"{FirstConsole}{number}";

    /// <param name="id">Of an emulated drive or NIC.</param>
    private bool HasPvTwin(string id)
    {
        foreach (var net in _options.Nets)
            if (net.IsPv && net.Nic?.Get("id") == id) return true;
        foreach (var drive in _options.Drives)
            if (drive.HasPvTwin && drive.Id == id) return true;
        return false;
    }

    private void Quit(int status)
    {
        _status = status;
        _debugger?.Exited(status);
        foreach (var cpu in _embedded.Cpus) _log.Info("exit", $"vCPU {cpu.Index} {(cpu.IsHalted ? "halted" : "running")} at {cpu.Describe()} after {cpu.Instructions} instructions");
        _embedded.Stop();
        _loop.Stop();
    }

    private void Trace(string chip)
    {
        void Tell(string text) => Console.Error.WriteLine($"{_clock.Now / 1000,12} us {text}");
        var found = false;
        foreach (var space in (AddressSpace[])[.. _embedded.Spaces, _machine.Board.Ports, _machine.Board.Memory]) found |= space.Trace(chip, Tell);
        if (!found) throw new UsageException("--trace", $"there is no chip '{chip}'; the register blocks that the monitor's 'info mtree' lists begin with the names");
    }

    /// <summary>The user is told the name of a terminal that was made for them.</summary>
    private CharBackend? OpenLine(string option, string label, string spec)
    {
        try
        {
            var backend = _chardevs.FromSerial(label, spec);
            if (spec == "pty") Console.Error.WriteLine($"xendm: {label} is {backend!.FileName}");
            return backend;
        }
        catch (CharOpenException e)
        {
            throw new UsageException(option, $"{spec}: {e.Message}");
        }
    }

    private static byte[] ReadFirmware(string path)
    {
        try
        {
            var image = File.ReadAllBytes(path);
            if (image.Length is < 4096 or > 16 << 20) throw new UsageException("--firmware", $"'{path}' has {image.Length} bytes; a BIOS has between 4 KiB and 16 MiB");
            return image;
        }
        catch (IOException e)
        {
            throw new UsageException("--firmware", $"'{path}' cannot be read: {e.Message}");
        }
    }

    /// <summary>What SeaBIOS asks the board for.</summary>
    private void AddFirmwareItems(FwCfg config, QemuOptions board, Board chips, bool hasKernel)
    {
        var memory = new MemoryLayout((uint)_embedded.Ram.Low, _embedded.Ram.High);
        var serialPorts = 0;
        for (var port = 0; port < board.Serials.Count; port++)
            if (board.Serials[port] != "none") serialPorts |= 1 << port;
        var drives = new List<BootDrive>();
        foreach (var drive in _drives.All) drives.Add(new BootDrive(drive.Spec.IsCdrom ? BootSource.Cdrom : BootSource.Disk, drive.Spec.Channel, drive.Spec.Unit));
        FirmwareConfig.AddTo(config, new FirmwareOptions(memory, new AcpiOptions(board.Cpus, board.MaxCpus, memory.Low) { PmControl = AcpiOptions.SeaBiosPmControl, SerialPorts = serialPorts })
        {
            // Who has no screen sees what firmware and boot loaders write on it at COM1, whose input counts as the keyboard's.
            SerialConsole = _options.Display == RunDisplay.None && (serialPorts & 1) != 0,
            // A kernel's own boot ROM comes first, and its order is made with it.
            BootMenu = _options.BootMenu,
            BootOrder = hasKernel ? [] : BootOrder.Lines(board.BootOrder, drives, chips.NicBootOrder(), []),
        });
    }

    /// <summary>The boot order lies in the battery-backed RAM (cells 0x3d and 0x38 of the Bochs BIOS, which SeaBIOS reads too).</summary>
    private void PresetBootOrder(string order)
    {
        Span<byte> devices = stackalloc byte[3];
        for (var n = 0; n < Math.Min(3, order.Length); n++) devices[n] = order[n] switch { 'a' => (byte)1, 'c' => (byte)2, 'd' => (byte)3, _ => (byte)4 };
        _embedded.Rtc.Preset(0x3d, (byte)(devices[0] | (devices[1] << 4)));
        _embedded.Rtc.Preset(0x38, (byte)(devices[2] << 4));
    }

    public void Dispose()
    {
        _machine.PvDevices?.Dispose();
        _drives.Flush(_log);
        _drives.Dispose();
        _netdevs.Dispose();
        while (_resources.TryPop(out var resource)) resource.Dispose();
        _fds.Dispose();
        _signals.Dispose();
        _loop.Dispose();
        _embedded.Dispose();
    }
}
