using System.Collections.Generic;

namespace XenDM.Monitor.Tests;

/// <summary>A machine that writes down what is asked of it.</summary>
internal sealed class FakeTarget : IMonitorTarget
{
    public List<string> Calls { get; } = [];

    public QmpEvents? Events { get; set; }

    public string Package => "XenDM 1.2";

    public string Name { get; set; } = "guest";

    public string RunState { get; set; } = "prelaunch";

    public bool IsRunning => RunState == "running";

    public IReadOnlyList<ChardevInfo> Chardevs { get; set; } =
        [new("serial0", "pty:/dev/pts/7", true), new("libxenstat-cmd", "disconnected:unix:/run/xen/qmp-libxenstat-1,server=on", true)];

    public IReadOnlyList<BlockInfo> Blocks { get; set; } =
    [
        new("ide0-hd0", "", false, false, false, "/images/disk.img", "raw", false, 1 << 20, 512, 1024, 1, 2, 3, 4),
        new("ide-5632", "ide-5632", true, true, false, null, "raw", true, 0, 0, 0, 0, 0, 0, 0),
    ];

    public IReadOnlyList<PciInfo> PciFunctions { get; set; } =
        [new("", 0, 0, 0x8086, 0x1237, 0x0600, 0, 0, []), new("nic0", 4, 0, 0x10ec, 0x8139, 0x0200, 1, 5, [new(0, true, false, 0xc000, 256)])];

    public IReadOnlyList<CpuInfo> Cpus { get; set; } = [new(0, true), new(1, false)];

    public IReadOnlyList<OptionInfo> CommandLineOptions { get; } = [new("run-with", ["chroot", "user"]), new("name", ["guest"])];

    public MachineCounters Counters { get; set; } = new(7, 9, 1, [new("ide0 command", true, 0x1f0, 3, 4)], 42, 1 << 20, 250);

    public MonitorInput? Input { get; set; }

    public void Continue()
    {
        Calls.Add("cont");
        if (IsRunning) return;
        RunState = "running";
        Events?.Send("RESUME");
    }

    public void Stop()
    {
        Calls.Add("stop");
        RunState = "paused";
        Events?.Send("STOP");
    }

    public void Quit() => Calls.Add("quit");

    public void Reset()
    {
        Calls.Add("reset");
        Events?.SendWithReason("RESET", byGuest: false);
    }

    public VncInfo? Vnc { get; set; }

    public void SetVncPassword(string password)
    {
        if (Vnc is null) throw new QmpException("Could not set password: there is no VNC display");
        Calls.Add($"vnc password {password}");
    }

    public void ExpireVncPassword(long seconds, bool isFromNow) => Calls.Add($"vnc expires {seconds} {isFromNow}");

    public void SetLink(string name, bool up) => Calls.Add($"link {name} {up}");

    public void AddNetdev(IReadOnlyList<KeyValuePair<string, string>> options) => Calls.Add("netdev " + string.Join(' ', options));

    public void RemoveNetdev(string id) => Calls.Add($"no netdev {id}");

    public void PowerDown() => Calls.Add("powerdown");

    public void WakeUp() => throw new QmpException("Unable to wake up: guest is not in suspended state");

    public void Eject(string id, bool force)
    {
        if (id != "ide-5632") throw QmpException.NoDevice(id);
        Calls.Add($"eject {id} {force}");
    }

    public void ChangeMedium(string id, string fileName, int fd, string? format, bool readOnly) => Calls.Add($"change {id} {fileName} {fd} {format ?? "-"} {readOnly}");

    public void SaveDevices(string fileName, int fd) => Calls.Add($"save {fileName} {fd}");

    public void DumpScreen(string fileName, int fd, bool isPng, string? device, int? head) => Calls.Add($"screen {fileName} {fd} {isPng} {device} {head}");

    public void SetDirtyLog(bool on) => Calls.Add($"dirty-log {on}");

    public void PlugCpu(int socket) => Calls.Add($"cpu {socket}");

    public void Unplug(string id) => throw QmpException.NoDevice(id);

    public string? Human(string command) => command == "info status" ? "VM status: paused\r\n" : null;
}
