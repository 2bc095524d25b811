using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Backends.Char;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Hosting;
using XenDM.Hypervisor;
using XenDM.Hypervisor.Xen;
using XenDM.Hypervisor.Xen.Ports;
using XenDM.Interop.Libc;
using XenDM.Machines;
using XenDM.Monitor;
using XenDM.PvBackends.Block;
using XenDM.PvBackends.Console;
using XenDM.PvBackends.Display;
using XenDM.PvBackends.Input;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;

namespace XenDM;

/// <summary>
/// Puts a process together from its command line, in the order in which mistakes cost least: options, character backends, images, Xen, board,
/// saved state, privileges; then it runs the loop. What was made is undone in reverse.
/// </summary>
internal sealed class Host : IDisposable
{
    private readonly QemuOptions _options;
    private readonly ProcessLog _log;
    private readonly VmClock _clock = new(Posix.MonotonicNanoseconds);
    private readonly PollLoop _loop;
    private readonly CharBackendFactory _chardevs;
    private readonly MonitorTarget _target;
    private readonly FdSets _fds = new(static fd => Posix.Close(fd), Posix.Duplicate);
    private readonly Stack<IDisposable> _resources = new();
    private readonly TerminationSignals _signals;
    private XenHypervisor? _xen;
    private XenVideoMemory? _video;
    private DriveTable? _drives;
    private NetdevTable? _netdevs;
    private DeviceModelStore? _store;
    private XenBackendPorts? _ports;
    private XenBus? _pvDevices;
    private string _why = "";

    public Host(QemuOptions options, ProcessLog log)
    {
        _options = options;
        _log = log;
        _loop = new PollLoop(_clock);
        _signals = new TerminationSignals();
        _loop.Watch(_signals.Fd, FdEvents.Readable, _ => Quit($"signal {_signals.Take()}"));
        _chardevs = new CharBackendFactory(_loop, log);
        _target = new MonitorTarget(options, _chardevs, _loop, Quit);
    }

    /// <summary>Sets everything up and runs until somebody ends it.</summary>
    /// <returns>Why it ended.</returns>
    public string Run()
    {
        Catalogue.Check(_options, displays: false);
        foreach (var chardev in _options.Chardevs) _resources.Push(_chardevs.FromChardev(chardev.ToDictionary()));
        Monitors.Check(_options, _chardevs);
        if (_options.MachineType == "none") _log.Phase("probe: there is no machine");
        else if (_options.MachineType == "xenpv") SetUpPvMachine();
        else SetUpMachine();
        Monitors.Attach(_options, _chardevs, _target, _fds, _resources);
        _log.Phase("ready");
        _loop.Run();
        return _why;
    }

    public void Dispose()
    {
        if (_video?.Looks is { Asked: > 0 } looks) _log.Info("video memory", $"Xen was asked {looks.Asked} times what the guest wrote and could not tell {looks.Unknown} times");
        // Who looks at the screen keeps track of video memory, which goes with the hypervisor.
        _target.VncServer?.Dispose();
        _pvDevices?.Dispose();
        _drives?.Flush(_log);
        _ports?.Dispose();
        _xen?.Dispose();
        _store?.Dispose();
        _drives?.Dispose();
        _netdevs?.Dispose();
        while (_resources.TryPop(out var resource)) resource.Dispose();
        _fds.Dispose();
        _signals.Dispose();
        _loop.Dispose();
    }

    private void Quit(string why)
    {
        if (_why.Length == 0) _why = why;
        _loop.Stop();
    }

    private void SetUpMachine()
    {
        var identity = FindUser();
        var serial = OpenSerialPorts();
        _drives = new DriveTable(DriveSpec.FromOptions(_options), _loop, _log);
        _netdevs = NetdevTable.Open(_options, _loop, _log);
        var kernel = KernelBoot.Open(_options);
        var bootOrder = BootOrder();
        var saved = _options.IncomingFd >= 0 ? ReadIncoming(_options.IncomingFd) : null;
        _log.Phase("images and chardevs open");

        CheckDomain();
        _xen = new XenHypervisor(_options.DomainId, _options.MaxCpus, _log);
        if (!_options.DomainRestrict) _store = new DeviceModelStore(_options.DomainId);
        _log.Phase("ioreq server made");

        var machine = new Machine(_xen, _clock, on => _xen.Serving = on, _log);
        var platform = _options.MachineType != "pc";
        var display = MakeDisplay(saved is not null, out _video);
        var board = new Board(new BoardOptions(platform, !_options.NoAcpi, _options.Cpus, _options.MaxCpus, serial, bootOrder, kernel?.MakeChip(_xen.Memory), Display: display) { Blacklist = new DriverBlacklist(() => _ports?.Ports.Store, _log), Nics = NicSpec.FromOptions(_options), PvDevices = PvDeviceSpec.FromOptions(_options), Netdevs = _netdevs }, _xen, _clock, machine, machine, _log);
        AttachDrives(board, _drives);
        PvTwin.Guard(board, _drives, () => machine.PvDevices, _options.IsUnplugStrict);
        machine.Install(board, _drives);
        machine.Netdevs = _netdevs;
        if (Environment.ProcessorCount == 1) _loop.OthersWork = () => _drives.IsBusy;
        machine.Observers.Add(_target);
        board.Reset(ResetKind.Cold);
        board.Announce();
        _xen.Start(_loop, machine);
        _log.Phase("board built");

        if (saved is not null)
        {
            machine.Load(saved);
            _video?.Arrived();
            _log.Phase("saved state restored");
        }

        machine.PvDevices = ServePvDevices(machine, machine.Input, machine.Screen);
        StartVnc(machine);
        DropPrivileges(identity);
        _target.Machine = machine;
        _target.Input = new MonitorInput(machine.Input, _clock);
        machine.Started = () => _store?.Announce("running");
        if (!_options.StartPaused) machine.Continue();
    }

    /// <param name="incoming">The guest is restored and has its video memory.</param>
    private DisplayAdapter? MakeDisplay(bool incoming, out XenVideoMemory? video)
    {
        const long endOfLowRam = 0xf000_0000;
        video = null;
        if (DisplaySpec.FromOptions(_options) is not { } spec) return null;
        var lowBytes = _options.Machine?.GetNumber("max-ram-below-4g", endOfLowRam, 1 << 20, endOfLowRam) ?? endOfLowRam;
        video = _xen!.CreateVideoMemory(spec.MemoryMiB << 20, (ulong)_options.MemoryMiB << 20, (ulong)lowBytes, incoming);
        return new DisplayAdapter(spec.Model, video, spec.ReadRom());
    }

    /// <summary>A PV or PVH guest: its devices come from xenstore, and there is nothing else.</summary>
    private void SetUpPvMachine()
    {
        var identity = FindUser();
        CheckDomain();
        var machine = new PvMachine();

        // There is no machine here whose stop would stop the clock.
        _clock.Start();
        _drives = new DriveTable([], _loop, _log);
        machine.PvDevices = ServePvDevices(machine, machine.Input, machine.Screen);
        if (!_options.DomainRestrict) _store = new DeviceModelStore(_options.DomainId);
        _log.Phase("xenstore open");
        machine.Observers.Add(_target);
        StartVnc(machine);
        DropPrivileges(identity);
        _target.PvMachine = machine;
        _target.Input = new MonitorInput(machine.Input, _clock);
        machine.Started = () => _store?.Announce("running");
        if (!_options.StartPaused) machine.Continue();
    }

    /// <summary>The toolstack asks for the port as soon as the guest is said to run, and files may be out of reach later.</summary>
    private void StartVnc(IGuestRun guest)
    {
        if (GuestVnc.Start(VncSpec.FromOptions(_options), guest, _loop, _log, () => _target.Events) is not { } vnc) return;
        _resources.Push(vnc);
        _target.VncServer = vnc;
        _log.Phase("VNC server listens");
    }

    private void CheckDomain()
    {
        if (_options.DomainId < 0) throw new UsageException("-xen-domid", "is missing: this program is started by xl or libxl for a Xen guest");
    }

    /// <summary>Serves the guest's PV devices from now on. A restricted process has no xenstore, so it cannot learn of any.</summary>
    private XenBus? ServePvDevices(IMachineEvents events, InputHub input, ScreenHub screen)
    {
        if (_options.DomainRestrict)
        {
            _log.Info("start", "-xen-domid-restrict: no xenstore, so PV devices of this guest (qdisk and the like) are not served");
            return null;
        }

        _ports = new XenBackendPorts(_loop, _log);
        var disks = new BlockKind(new BlockHost(_ports.Ports, _options.DomainId, new PvImages(_drives!, _loop, isRepeatable: false), _loop, events));
        var consoles = new ConsoleKind(_ports.Ports, _options.DomainId, new PvLines(_chardevs), _loop);
        var screens = new FramebufferKind(_ports.Ports, _options.DomainId, _loop, screen);
        List<IPvKind> kinds = [disks, new KeyboardKind(_ports.Ports, _options.DomainId, input, _clock), screens, consoles];

        // The host's kernel serves vif.
        if (_netdevs is not null) kinds.Add(new NetKind("qnic", _ports.Ports, _options.DomainId, new PvNets(_netdevs, _loop), _loop));
        _pvDevices = new XenBus(_ports.Ports, _options.DomainId, _ports.OwnDomain, kinds, _loop, _log);
        return _pvDevices;
    }

    /// <summary>Looked up before the root changes, while the user database is within reach.</summary>
    private PrivilegeDrop.Identity? FindUser()
    {
        if (_options.RunAs is not { } user) return null;
        return PrivilegeDrop.Find(user, out var error) ?? throw new UsageException("-runas", error);
    }

    private List<ICharBackend?> OpenSerialPorts()
    {
        var ports = new List<ICharBackend?>();
        foreach (var spec in _options.Serials)
        {
            var backend = _chardevs.FromSerial($"serial{ports.Count}", spec);
            if (backend is not null) _resources.Push(backend);
            ports.Add(backend);
        }

        return ports;
    }

    private string BootOrder()
    {
        var order = _options.BootOrder;
        foreach (var letter in order)
            if (!"abcdn".Contains(letter, StringComparison.Ordinal)) throw new UsageException("-boot", $"'{letter}' is no boot device: a floppy, c disk, d CD, n network");
        return order.Length > 3 ? order[..3] : order;
    }

    internal static void AttachDrives(Board board, DriveTable drives)
    {
        foreach (var drive in drives.All)
        {
            var spec = drive.Spec;
            var serial = spec.Serial.Length > 0 ? spec.Serial : $"XD{(spec.Channel * 2) + spec.Unit + 1:d5}";
            if (spec.IsCdrom) drive.Tray = board.Ide.AttachCdrom(spec.Channel, spec.Unit, spec.Id, spec.DeviceId, drive.Image, serial);
            else board.Ide.AttachDisk(spec.Channel, spec.Unit, spec.Id, drive.Image!, serial, spec.WriteCache, spec.Model, spec.Revision);
        }
    }

    private static byte[] ReadIncoming(int fd)
    {
        const int maxBytes = 256 << 20;
        using var file = new FileDescriptor(fd);
        using var bytes = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (true)
        {
            var count = Posix.Read(fd, buffer);
            if (count < 0) throw new UsageException("-incoming", $"cannot read descriptor {fd}: {Errno.Describe(count)}");
            if (count == 0) return bytes.ToArray();
            bytes.Write(buffer, 0, (int)count);
            if (bytes.Length > maxBytes) throw new UsageException("-incoming", $"the saved state is larger than {maxBytes} bytes");
        }
    }

    /// <summary>From here on the process has what it needs and no more.</summary>
    private void DropPrivileges(PrivilegeDrop.Identity? identity)
    {
        AllowImages(_drives!.LargestWritable);
        if (_options.DomainRestrict) XenHypervisor.Restrict(_options.DomainId);
        if (_options.Chroot is null && identity is null) return;
        if (PrivilegeDrop.Apply(_options.Chroot, identity) is { } error) throw new UsageException("", error);
        _log.Phase($"privileges dropped (uid {Posix.EffectiveUserId()}, root {_options.Chroot ?? "/"})");
    }

    /// <summary>
    /// libxl limits the size of files to 256 KiB under dm_restrict; the kernel applies that to every write behind this offset, also inside an
    /// existing image. The limit is lifted to the size of the largest image, and the signal that comes with it is ignored, so that a
    /// write beyond is an error of that one request.
    /// </summary>
    private void AllowImages(long largest)
    {
        Posix.IgnoreFileSizeSignal();
        if (Posix.GetLimit(LimitKind.FileSize, out var limit) < 0 || limit.Soft >= (ulong)largest) return;
        var result = Posix.SetLimit(LimitKind.FileSize, new ResourceLimit { Soft = (ulong)largest, Hard = Math.Max(limit.Hard, (ulong)largest) });
        if (result < 0) _log.Warn("start", $"file size limit of {limit.Soft} bytes: writes to images behind it will fail ({Errno.Describe(result)})");
        else _log.Info("start", $"file size limit raised from {limit.Soft} to {largest} bytes, the size of the largest image");
    }
}
