using System;
using System.Collections.Generic;
using System.IO;
using Microsoft.Win32.SafeHandles;
using XenDM.Backends.Block;
using XenDM.Backends.Char;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Pci;
using XenDM.Display;
using XenDM.Interop.Libc;
using XenDM.Monitor;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>
/// The process as its monitors see it. Without a machine (a probe) it answers for itself only; commands about a machine fail.
/// </summary>
internal sealed class MonitorTarget : IMonitorTarget, IMachineObserver
{
    private readonly QemuOptions _options;
    private readonly CharBackendFactory _chardevs;
    private readonly IEventLoop _loop;
    private readonly Action<string> _quit;

    /// <param name="quit">Ends the process, with the reason.</param>
    public MonitorTarget(QemuOptions options, CharBackendFactory chardevs, IEventLoop loop, Action<string> quit)
    {
        _options = options;
        _chardevs = chardevs;
        _loop = loop;
        _quit = quit;
    }

    /// <summary>Null for a probe and for a PV guest, and until the machine is made.</summary>
    public Machine? Machine { get; set; }

    /// <summary>A PV or PVH guest, of which there is no machine here.</summary>
    public PvMachine? PvMachine { get; set; }

    public MonitorInput? Input { get; set; }

    /// <summary>Null for none.</summary>
    public GuestVnc? VncServer { get; set; }

    public VncInfo? Vnc => VncServer?.Info;

    private IGuestRun? Run => (IGuestRun?)Machine ?? PvMachine;

    /// <summary>Null where none are served.</summary>
    internal XenBus? PvDevices => Run?.PvDevices;

    /// <summary>Told of what happens; set before the machine runs.</summary>
    public QmpEvents? Events { get; set; }

    public string Package => Program.Version;

    public string Name => _options.Name;

    public string RunState => Run is { } run ? StateName(run.RunState) : "prelaunch";

    public bool IsRunning => Run is { IsRunning: true };

    public IReadOnlyList<ChardevInfo> Chardevs
    {
        get
        {
            var list = new List<ChardevInfo>();
            foreach (var chardev in _chardevs.All.Values) list.Add(new ChardevInfo(chardev.Label, chardev.FileName, chardev.IsAttached));
            return list;
        }
    }

    public IReadOnlyList<BlockInfo> Blocks
    {
        get
        {
            var list = new List<BlockInfo>();
            if (Machine is not null)
                foreach (var drive in Machine.Drives.All) list.Add(Describe(drive));
            if (Run?.PvDevices is { } bus)
            {
                // xentop finds the disk in xenstore by its file; the name is there to tell one from the other.
                foreach (var device in bus.Devices)
                    if (device.Device is IPvDisk { Image: var image }) list.Add(Describe(image, device.Name, "", isCdrom: false, null));
            }

            return list;
        }
    }

    public IReadOnlyList<PciInfo> PciFunctions
    {
        get
        {
            var list = new List<PciInfo>();
            if (Machine is null) return list;
            foreach (var function in Machine.Board.Pci.Functions) list.Add(Describe(function));
            return list;
        }
    }

    public IReadOnlyList<CpuInfo> Cpus
    {
        get
        {
            var list = new List<CpuInfo>();
            for (var i = 0; i < (Machine is null ? 0 : _options.MaxCpus); i++)
                list.Add(new CpuInfo(i, Machine!.Board.Hotplug?.IsOnline(i) ?? i < _options.Cpus));
            return list;
        }
    }

    public IReadOnlyList<OptionInfo> CommandLineOptions
    {
        get
        {
            var list = new List<OptionInfo> { new("run-with", ["chroot", "user", "async-teardown"]) };
            foreach (var option in QemuArguments.ValuedOptions)
                if (option != "-run-with") list.Add(new OptionInfo(option[1..], []));
            return list;
        }
    }

    public MachineCounters Counters
    {
        get
        {
            var regions = new List<RegionCounters>();
            ulong unclaimed = 0;
            foreach (var space in Machine is null ? (Core.Io.AddressSpace[])[] : [Machine.Board.Ports, Machine.Board.Memory])
            {
                unclaimed += space.Unclaimed.Total;
                foreach (var (name, start, reads, writes) in space.ReadsAndWrites()) regions.Add(new RegionCounters(name, space.Space == Core.Io.IoSpace.Port, start, reads, writes));
            }

            var io = Machine?.Board.Io;
            return new MachineCounters(
                io?.Requests ?? 0, io?.Items ?? 0, unclaimed, regions, Environment.ProcessId, Environment.WorkingSet, (long)Environment.CpuUsage.TotalTime.TotalMilliseconds);
        }
    }

    public void Continue()
    {
        if (!(Run ?? Real()).Continue()) throw new QmpException("the guest is off: a toolstack has to start it again");
    }

    public void Stop() => (Run ?? Real()).Stop();

    public void Quit() => _quit("a monitor's quit");

    public void Reset() => Real().ResetByMonitor();

    public void PowerDown()
    {
        if (!(Real().Board.Pm?.PowerButton() ?? false)) throw new QmpException("the power button of this guest is the hypervisor's: use xl trigger or xl shutdown -F");
        Events?.Send("POWERDOWN");
    }

    public void WakeUp()
    {
        if (!Real().Wake()) throw new QmpException("Unable to wake up: guest is not in suspended state");
    }

    public void Eject(string id, bool force)
    {
        var (drive, tray) = RemovableDrive(id);
        if (!force) RefuseWhenLocked(id, tray);
        Replace(drive, tray, null);
    }

    public void ChangeMedium(string id, string fileName, int fd, string? format, bool readOnly)
    {
        // The descriptor is ours from here on, also when this fails.
        using var owned = fd >= 0 ? new FileDescriptor(fd) : null;
        var (drive, tray) = RemovableDrive(id);
        RefuseWhenLocked(id, tray);
        try
        {
            // A CD drive only reads, whatever was asked for.
            var image = owned is not null ? RawImage.FromFd(Duplicate(fd), fileName, format ?? "raw", true, _loop) : RawImage.Open(fileName, format ?? "raw", true, _loop);
            Replace(drive, tray, image);
        }
        catch (BlockOpenException e)
        {
            throw new QmpException(e.Message);
        }
    }

    public void SaveDevices(string fileName, int fd)
    {
        var machine = Real();
        var wasRunning = machine.IsRunning;
        machine.Stop();
        try
        {
            using var file = fd >= 0 ? new FileStream(new SafeFileHandle(Duplicate(fd), ownsHandle: true), FileAccess.Write, 0) : new FileStream(fileName, FileMode.Create, FileAccess.Write);
            machine.Save(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QmpException($"cannot write '{fileName}': {e.Message}");
        }
        finally
        {
            if (wasRunning) machine.Continue();
        }
    }

    public void DumpScreen(string fileName, int fd, bool isPng, string? device, int? head)
    {
        if (device is not null && !IsDisplay(device)) throw QmpException.NoDevice(device);
        if (head is not (null or 0)) throw new QmpException($"There is no head {head}");
        if (head is not null && device is null) throw new QmpException("'head' must be specified together with 'device'");
        var screen = Run?.Screen ?? throw new QmpException("There is no console to take a screendump from");
        screen.Refresh();
        if (screen.Frame.Width == 0) throw new QmpException("There is no console to take a screendump from");
        try
        {
            using var file = fd >= 0 ? new FileStream(new SafeFileHandle(Duplicate(fd), ownsHandle: true), FileAccess.Write, 0) : new FileStream(fileName, FileMode.Create, FileAccess.Write);
            using var buffered = new BufferedStream(file, 64 << 10);
            Picture.Write(screen.Picture, buffered, isPng);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new QmpException($"failed to open file '{fileName}': {e.Message}");
        }
    }

    private bool IsDisplay(string id)
    {
        foreach (var device in Machine?.Board.Devices ?? [])
            if (device is IScreenSource && device.Id == id) return true;
        return false;
    }

    public void SetDirtyLog(bool on) => Real().SetDirtyLog(on);

    public void PlugCpu(int socket)
    {
        if (socket >= _options.MaxCpus) throw new QmpException($"Invalid CPU socket-id: {socket} must be in range 0:{_options.MaxCpus - 1}");
        if (!(Real().Board.Hotplug?.OnlineCpu(socket) ?? false)) throw new QmpException($"CPU[{socket}] exists, or this machine has no ACPI to tell the guest");
    }

    public void Unplug(string id) => throw QmpException.NoDevice(id);

    /// <summary>The net backends; a process without a machine has none.</summary>
    public NetdevTable? Netdevs => Machine?.Netdevs;

    /// <summary>The NICs of the command line; those of a machine that is being probed are none.</summary>
    public IReadOnlyList<NicSpec> Nics => Machine is null ? [] : NicSpec.FromOptions(_options);

    public void SetLink(string name, bool up)
    {
        var backend = Netdevs?.Find(name);
        foreach (var nic in Nics)
            if (backend is null && nic.Id == name) backend = Netdevs?.Find(nic.NetdevId);
        if (backend is null) throw QmpException.NoDevice(name);
        backend.IsLinkUp = up;
    }

    public void AddNetdev(IReadOnlyList<KeyValuePair<string, string>> options)
    {
        var netdevs = Netdevs ?? throw new QmpException("this process has no net backends");
        var text = new System.Text.StringBuilder();
        foreach (var (key, value) in options) text.Append(text.Length > 0 ? "," : "").Append(key).Append('=').Append(OptionList.Escape(value));
        try
        {
            netdevs.Add(NetdevOptions.Netdev(OptionList.Parse("netdev_add", text.ToString())));
        }
        catch (Exception e) when (e is UsageException or Backends.Net.NetOpenException)
        {
            throw new QmpException(e.Message);
        }
    }

    public void RemoveNetdev(string id)
    {
        if (Netdevs?.Remove(id) != true) throw QmpException.NoDevice(id);
    }

    public void SetVncPassword(string password)
    {
        if (VncServer is null) throw new QmpException("Could not set password: there is no VNC display");
        if (!VncServer.SetPassword(password)) throw new QmpException("Could not set password: the VNC server asks for none, say password=on");
    }

    public void ExpireVncPassword(long seconds, bool isFromNow)
    {
        if (VncServer is null) throw new QmpException("Could not set password expire time: there is no VNC display");
        VncServer.ExpirePassword(VncSpec.Expiry(seconds, isFromNow));
    }

    public string? Human(string command) => new HumanMonitor(this, Machine).Run(command);

    public void StateChanged(MachineState from, MachineState to)
    {
        if (to == MachineState.Running) Events?.Send(from == MachineState.Suspended ? "WAKEUP" : "RESUME");
        else if (to == MachineState.Suspended) Events?.Send("SUSPEND");
        else if (from == MachineState.Running) Events?.Send("STOP");
    }

    void IMachineObserver.Reset(bool byGuest) => Events?.SendWithReason("RESET", byGuest);

    public void ShutDown(bool byGuest) => Events?.SendWithReason("SHUTDOWN", byGuest);

    public void BlockIoError(string device, bool isWrite, int errno, string reason) =>
        Events?.BlockIoError(device, isWrite, errno == Errno.ENOSPC, reason.Length > 0 ? reason : Errno.Describe(errno));

    public void TrayMoved(string device, string id, bool isOpen) => Events?.TrayMoved(device, id, isOpen);

    private static string StateName(MachineState state) => state switch
    {
        MachineState.Prelaunch => "prelaunch",
        MachineState.InMigrate => "inmigrate",
        MachineState.Running => "running",
        MachineState.PostMigrate => "postmigrate",
        MachineState.Shutdown => "shutdown",
        MachineState.Suspended => "suspended",
        _ => "paused",
    };

    private static BlockInfo Describe(Drive drive) => Describe(drive.Image, drive.Spec.Id, drive.Spec.DeviceId, drive.Tray is not null, drive.Tray);

    private static BlockInfo Describe(IBlockBackend? image, string id, string deviceId, bool isCdrom, IMediumListener? tray)
    {
        var statistics = image?.Statistics ?? new BlockStatistics();
        return new BlockInfo(
            id, deviceId, isCdrom, tray?.IsTrayLocked ?? false, tray?.IsTrayOpen ?? false,
            image?.FileName, image?.Format ?? "raw", image?.IsReadOnly ?? true, image?.LengthBytes ?? 0,
            statistics.ReadBytes, statistics.WrittenBytes, statistics.ReadOperations, statistics.WriteOperations, statistics.FlushOperations, statistics.FailedOperations);
    }

    private static PciInfo Describe(PciFunction function)
    {
        var bars = new List<PciBarInfo>();
        foreach (var (index, kind, address, size) in function.Bars)
            bars.Add(new PciBarInfo(index, kind == BarKind.Io, kind == BarKind.MemoryPrefetchable, address, size));

        // Chips of the board itself have no id of the user's.
        return new PciInfo("", function.Device, function.Function, function.VendorId, function.DeviceId, function.ClassId, function.InterruptPin,
            (int)function.ReadConfig(PciConstants.InterruptLine, 1), bars);
    }

    /// <summary>A guest that has locked the tray is asked to let go of the disc.</summary>
    private static void RefuseWhenLocked(string id, IMediumListener tray)
    {
        if (tray is not { IsTrayLocked: true, IsTrayOpen: false }) return;
        tray.EjectRequested();
        throw new QmpException($"Device '{id}' is locked and force was not specified, wait for tray to open and try again");
    }

    private static int Duplicate(int fd)
    {
        var copy = Posix.Duplicate(fd);
        return copy >= 0 ? copy : throw new QmpException($"cannot use the file descriptor: {Errno.Describe(copy)}");
    }

    private Machine Real() => Machine ?? throw new QmpException(PvMachine is null
        ? "there is no machine: this process was started to be probed"
        : "there is no machine: the guest is one of Xen's own (PV or PVH), and this process has its PV devices only");

    private (Drive Drive, IMediumListener Tray) RemovableDrive(string id)
    {
        var drive = Real().Drives.Find(id) ?? throw QmpException.NoDevice(id);
        return (drive, drive.Tray ?? throw new QmpException($"Device '{id}' is not removable"));
    }

    private static void Replace(Drive drive, IMediumListener tray, IBlockBackend? image)
    {
        var old = drive.Image;
        tray.MediumChanged(image);
        drive.Image = image;
        old?.Dispose();
    }
}
