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
using XenDM.Hosting;
using XenDM.Hypervisor;
using XenDM.Hypervisor.QTest;
using XenDM.Interop.Libc;
using XenDM.Machines;
using XenDM.Monitor;

namespace XenDM;

/// <summary>Puts a process together that a test program drives: the board of <see cref="Host"/> with no CPU (<c>-accel qtest</c>).</summary>
internal sealed class QTestHost : IDisposable
{
    private readonly QemuOptions _options;
    private readonly ProcessLog _log;
    private readonly VmClock _clock;
    private readonly PollLoop _loop;
    private readonly CharBackendFactory _chardevs;
    private readonly Stack<IDisposable> _resources = new();
    private readonly TerminationSignals _signals;
    private readonly FdSets _fds = new(static fd => Posix.Close(fd), Posix.Duplicate);
    private readonly MonitorTarget _target;
    private QTestHypervisor? _hypervisor;
    private DriveTable? _drives;
    private NetdevTable? _netdevs;
    private StreamWriter? _trace;
    private string _why = "";

    /// <exception cref="UsageException">Something that was asked for cannot be had.</exception>
    public QTestHost(QemuOptions options, ProcessLog log)
    {
        _options = options;
        _log = log;
        _clock = new VmClock(() => _hypervisor?.Now ?? 0);
        _loop = new PollLoop(_clock);
        _signals = new TerminationSignals();
        _loop.Watch(_signals.Fd, FdEvents.Readable, _ => Quit($"signal {_signals.Take()}"));
        _chardevs = new CharBackendFactory(_loop, log);
        _target = new MonitorTarget(options, _chardevs, _loop, Quit);
        try
        {
            SetUp();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Runs until somebody ends it.</summary>
    /// <returns>Why it ended.</returns>
    public string Run()
    {
        _loop.Run();
        return _why;
    }

    public void Dispose()
    {
        _drives?.Flush(_log);
        _drives?.Dispose();
        _netdevs?.Dispose();
        while (_resources.TryPop(out var resource)) resource.Dispose();
        _trace?.Dispose();
        _fds.Dispose();
        _signals.Dispose();
        _loop.Dispose();
        _hypervisor?.Dispose();
    }

    private void SetUp()
    {
        Catalogue.Check(_options, displays: true);
        if (_options.Display == "text") throw new UsageException("-display", "text needs a machine with vCPUs: see xendm run");
        foreach (var chardev in _options.Chardevs) _resources.Push(_chardevs.FromChardev(chardev.ToDictionary()));
        var client = _options.QTest is { } spec ? _chardevs.FromSerial("qtest", spec) : null;
        if (client is not null) _resources.Push(client);
        var machine = _options.MachineType == "none" ? null : MakeMachine();
        if (machine is null) MakeNothing();
        Monitors.Attach(_options, _chardevs, _target, _fds, _resources);
        if (!_options.StartPaused) machine?.Continue();
        if (client is null || _hypervisor is null) return;
        _resources.Push(new QTestSession(client, _hypervisor, _loop, OpenTrace()));
    }

    /// <summary>Without a machine a client can still speak to us; nobody answers its accesses.</summary>
    private void MakeNothing()
    {
        _hypervisor = new QTestHypervisor(2 << 20, _options.MaxCpus, []);
        _hypervisor.Build(_clock, 0);
        _hypervisor.Attach(new Silence(), new AddressSpace(IoSpace.Memory, ulong.MaxValue));
    }

    private sealed class Silence : IRequestHandler
    {
        public void Handle(ref IoRequest request)
        {
            if (request.IsRead) request.Data = ulong.MaxValue;
        }
    }

    private Machine MakeMachine()
    {
        var serial = new List<ICharBackend?>();
        foreach (var spec in _options.Serials)
        {
            var backend = _chardevs.FromSerial($"serial{serial.Count}", spec);
            if (backend is not null) _resources.Push(backend);
            serial.Add(backend);
        }

        // The first line is there without being asked for; what it says goes nowhere.
        if (serial.Count == 0 && !_options.NoDefaults) serial.Add(_chardevs.FromSerial("serial0", "null"));
        _drives = new DriveTable(Drives(), _loop, _log);
        _netdevs = NetdevTable.Open(_options, _loop, _log);
        _hypervisor = new QTestHypervisor((ulong)_options.MemoryMiB << 20, _options.MaxCpus, ReadFirmware());
        _hypervisor.Build(_clock, (DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks) * 100);
        var machine = new Machine(_hypervisor, _clock, static _ => { }, _log);
        var config = new FwCfg(_hypervisor.Memory);
        AddFirmwareItems(config);
        KernelBoot.Open(_options, Hypervisor.Embedded.GuestRam.HoleStart)?.AddTo(config);
        var order = BootOrder(_options.BootOrderGiven ? _options.BootOrder : "cad");
        var board = new Board(new BoardOptions(false, !_options.NoAcpi, _options.Cpus, _options.MaxCpus, serial, order, config, PowerButton: PressPowerButton, Display: MakeDisplay()) { Shadow = _hypervisor.SetShadow, Nics = NicSpec.FromOptions(_options), PvDevices = PvDeviceSpec.FromOptions(_options), Netdevs = _netdevs },
            _hypervisor, _clock, machine, machine, _log);
        Host.AttachDrives(board, _drives);
        machine.Install(board, _drives);
        machine.Netdevs = _netdevs;
        machine.Observers.Add(_target);
        _hypervisor.Attach(machine, board.Memory);
        _hypervisor.Ended = reason => Ended(reason, order);
        board.Reset(ResetKind.Cold);
        _hypervisor.Reset(ResetKind.Cold);
        PresetCmos(_options.BootOnce is { } once ? BootOrder(once) : order);
        _target.Machine = machine;
        _target.Input = new MonitorInput(machine.Input, _clock);
        return machine;
    }

    private DisplayAdapter? MakeDisplay() =>
        DisplaySpec.FromOptions(_options) is { } spec ? new DisplayAdapter(spec.Model, _hypervisor!.CreateVideoMemory(spec.MemoryMiB << 20), spec.ReadRom()) : null;

    /// <summary>A PC has a CD drive as the second channel's master, unless something else was put there.</summary>
    private List<DriveSpec> Drives()
    {
        var specs = DriveSpec.FromOptions(_options);
        if (!_options.NoDefaults && !specs.Exists(static s => s is { Channel: 1, Unit: 0 }))
            specs.Add(new DriveSpec("ide1-cd0", "", null, "raw", true, true, 1, 0, true, ""));
        return specs;
    }

    private byte[] ReadFirmware()
    {
        var path = _options.Bios;
        foreach (var drive in _options.Drives)
            if (drive.Get("if") == "pflash") path = drive.Require("file");
        if (path is null) return [];
        var image = File.ReadAllBytes(path);
        return image.Length is >= 4096 and <= 16 << 20 ? image : throw new UsageException("-bios", $"'{path}' has {image.Length} bytes; a BIOS has between 4 KiB and 16 MiB");
    }

    private static string BootOrder(string order)
    {
        foreach (var letter in order)
            if (!"abcdn".Contains(letter, StringComparison.Ordinal)) throw new UsageException("-boot", $"'{letter}' is no boot device: a and b floppies, c disk, d CD, n network");
        return order.Length > 3 ? order[..3] : order;
    }

    /// <summary>What firmware and test programs look up: the keys are those of QEMU's fw_cfg (docs/specs/fw_cfg).</summary>
    private void AddFirmwareItems(FwCfg config)
    {
        const ushort keyUuid = 2, keyRam = 3, keyNoGraphic = 4, keyCpus = 5, keyNuma = 0xd, keyBootMenu = 0xe, keyMaxCpus = 0xf;
        config.Add(keyUuid, _options.Uuid.ToByteArray(bigEndian: true));
        config.Add(keyRam, BitConverter.GetBytes(_hypervisor!.MemoryBytes));
        config.AddU16(keyNoGraphic, 0);
        config.AddU16(keyCpus, (ushort)_options.Cpus);
        config.Add(keyNuma, new byte[8 + (8 * _options.MaxCpus)]);
        config.AddU16(keyBootMenu, (ushort)(_options.Boot.GetValueOrDefault("menu") == "on" ? 1 : 0));
        config.AddU16(keyMaxCpus, (ushort)_options.MaxCpus);
        var (low, high) = _hypervisor.RamSplit;
        config.AddFile("etc/e820", KernelBoot.E820(low, high));
        if (_options.Boot.TryGetValue("reboot-timeout", out var timeout)) config.AddFile("etc/boot-fail-wait", BitConverter.GetBytes((int)OptionList.Number("-boot", "reboot-timeout", timeout, -1, 0xffff)));
        if (_options.Boot.TryGetValue("splash-time", out var splash)) config.AddFile("etc/boot-menu-wait", BitConverter.GetBytes((ushort)OptionList.Number("-boot", "splash-time", splash, 0, 0xffff)));
    }

    /// <summary>Where firmware finds the boot order (cells 0x3d and 0x38), memory and CPUs.</summary>
    private void PresetCmos(string order)
    {
        var rtc = _hypervisor!.Rtc;
        Span<byte> devices = stackalloc byte[3];
        for (var n = 0; n < order.Length; n++) devices[n] = order[n] switch { 'a' or 'b' => (byte)1, 'c' => (byte)2, 'd' => (byte)3, _ => (byte)4 };
        rtc.Preset(0x3d, (byte)(devices[0] | (devices[1] << 4)));
        rtc.Preset(0x38, (byte)((devices[2] << 4) | (_options.NoFloppyCheck ? 1 : 0)));
        rtc.Preset(0x14, 0x06);
        var (low, high) = _hypervisor.RamSplit;
        Word(0x15, 640);
        Word(0x17, Math.Min((low >> 10) - 1024, 0xffff));
        Word(0x30, Math.Min((low >> 10) - 1024, 0xffff));
        Word(0x34, low > 16 << 20 ? Math.Min((low - (16 << 20)) >> 16, 0xffff) : 0);
        Word(0x5b, high >> 16);
        rtc.Preset(0x5d, (byte)(high >> 32));
        rtc.Preset(0x5f, (byte)(_options.Cpus - 1));

        void Word(int cell, ulong value)
        {
            rtc.Preset(cell, (byte)value);
            rtc.Preset(cell + 1, (byte)(value >> 8));
        }
    }

    private bool PressPowerButton()
    {
        _hypervisor!.PmTimer.PressPowerButton();
        return true;
    }

    private void Ended(ShutdownReason reason, string order)
    {
        if (reason == ShutdownReason.Reboot && !_options.NoReboot) PresetCmos(order);
        else if (!_options.NoShutdown) Quit($"the guest ended ({reason})");
    }

    private void Quit(string why)
    {
        if (_why.Length == 0) _why = why;
        _loop.Stop();
    }

    private Action<string>? OpenTrace()
    {
        if (_options.QTestLog is "none" or "/dev/null") return null;
        _trace = new StreamWriter(new FileStream(_options.QTestLog, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite, 1)) { AutoFlush = true };
        return _trace.WriteLine;
    }
}
