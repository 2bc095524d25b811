using System;
using System.Collections.Generic;
using System.Text.Json;
using XenDM.Core.Backends;

namespace XenDM.Monitor;

/// <summary>
/// The QMP commands, one method each, in the table at the top. The machine behind is an <see cref="IMonitorTarget"/>; sessions share the sets of
/// descriptors.
/// </summary>
public sealed class QmpCommands
{
    /// <summary>The version that is announced: toolstacks switch behaviour by it, and this is the one whose commands are followed.</summary>
    private const int Major = 8, Minor = 2, Micro = 0;

    private static readonly Dictionary<string, Command> s_commands = new()
    {
        ["qmp_capabilities"] = new(static (_, a, _, w) => Negotiate(a, w), "enable"),
        ["query-version"] = new(static (c, _, _, w) => c.WriteVersion(w)),
        ["query-commands"] = new(static (_, _, _, w) => QueryCommands(w)),
        ["query-name"] = new(static (c, _, _, w) => c.QueryName(w)),
        ["query-uuid"] = new(static (c, _, _, w) => c.QueryUuid(w)),
        ["query-target"] = new(static (_, _, _, w) => QueryTarget(w)),
        ["query-status"] = new(static (c, _, _, w) => c.QueryStatus(w)),
        ["cont"] = new(static (c, _, _, w) => Do(w, c._target.Continue)),
        ["stop"] = new(static (c, _, _, w) => Do(w, c._target.Stop)),
        ["quit"] = new(static (c, _, _, w) => Do(w, () => c._quit = true)),
        ["system_reset"] = new(static (c, _, _, w) => Do(w, c._target.Reset)),
        ["system_powerdown"] = new(static (c, _, _, w) => Do(w, c._target.PowerDown)),
        ["system_wakeup"] = new(static (c, _, _, w) => Do(w, c._target.WakeUp)),
        ["query-chardev"] = new(static (c, _, _, w) => c.QueryChardev(w)),
        ["query-vnc"] = new(static (c, _, _, w) => QmpVnc.Query(c._target.Vnc, w)),
        ["query-vnc-servers"] = new(static (c, _, _, w) => QmpVnc.QueryServers(c._target.Vnc, w)),
        ["change-vnc-password"] = new(static (c, a, _, w) => Do(w, () => c._target.SetVncPassword(a.Text("password"))), "password"),
        ["set_password"] = new(static (c, a, _, w) => Do(w, () => QmpVnc.SetPassword(c._target, a)), "protocol", "password", "connected", "display"),
        ["expire_password"] = new(static (c, a, _, w) => Do(w, () => QmpVnc.ExpirePassword(c._target, a)), "protocol", "time", "display"),
        ["query-mice"] = new(static (c, _, _, w) => QmpInput.QueryMice(c._target.Input, w)),
        ["send-key"] = new(static (c, a, _, w) => Do(w, () => QmpInput.SendKey(c._target.Input, a)), "keys", "hold-time"),
        ["input-send-event"] = new(static (c, a, _, w) => Do(w, () => QmpInput.SendEvents(c._target.Input, a)), "device", "head", "events"),
        ["query-block"] = new(static (c, _, _, w) => c.QueryBlock(w)),
        ["query-blockstats"] = new(static (c, _, _, w) => c.QueryBlockStats(w), "query-nodes"),
        ["query-block-jobs"] = new(static (_, _, _, w) => EmptyArray(w)),
        ["query-iothreads"] = new(static (_, _, _, w) => EmptyArray(w)),
        ["query-pci"] = new(static (c, _, _, w) => c.QueryPci(w)),
        ["query-cpus-fast"] = new(static (c, _, _, w) => c.QueryCpus(w)),
        ["query-hotpluggable-cpus"] = new(static (c, _, _, w) => c.QueryHotpluggableCpus(w)),
        ["query-machines"] = new(static (_, _, _, w) => QueryMachines(w)),
        ["query-command-line-options"] = new(static (c, a, _, w) => c.QueryCommandLineOptions(a, w), "option"),
        ["query-events"] = new(static (_, _, _, w) => QueryEvents(w)),
        ["query-kvm"] = new(static (_, _, _, w) => QueryKvm(w)),
        ["eject"] = new(static (c, a, _, w) => c.Eject(a, w), "id", "device", "force"),
        ["blockdev-change-medium"] = new(
            static (c, a, _, w) => c.ChangeMedium(a, w), "id", "device", "filename", "format", "read-only-mode", "force"),
        ["add-fd"] = new(static (c, a, b, w) => c.AddFd(a, b, w), "fdset-id", "opaque"),
        ["remove-fd"] = new(static (c, a, _, w) => c.RemoveFd(a, w), "fdset-id", "fd"),
        ["query-fdsets"] = new(static (c, _, _, w) => c.QueryFdSets(w)),
        ["device_add"] = new(static (c, a, _, w) => c.DeviceAdd(a, w)) { TakesAnyArgument = true },
        ["device_del"] = new(static (c, a, _, w) => c.DeviceDel(a, w), "id"),
        ["set_link"] = new(static (c, a, _, w) => c.SetLink(a, w), "name", "up"),
        ["netdev_add"] = new(static (c, a, _, w) => c.AddNetdev(a, w)) { TakesAnyArgument = true },
        ["netdev_del"] = new(static (c, a, _, w) => c.RemoveNetdev(a, w), "id"),
        ["screendump"] = new(static (c, a, _, w) => c.DumpScreen(a, w), "filename", "format", "device", "head"),
        ["xen-save-devices-state"] = new(static (c, a, _, w) => c.SaveDevices(a, w), "filename", "live"),
        ["xen-load-devices-state"] = new(static (_, a, _, _) => LoadDevices(a), "filename"),
        ["xen-set-global-dirty-log"] = new(static (c, a, _, w) => c.SetDirtyLog(a, w), "enable"),
        ["x-xendm-counters"] = new(static (c, _, _, w) => c.QueryCounters(w)),
        ["human-monitor-command"] = new(static (c, a, _, w) => c.Human(a, w), "command-line", "cpu-index"),
    };

    /// <summary>The events that can come.</summary>
    private static readonly string[] s_events = ["BLOCK_IO_ERROR", "DEVICE_TRAY_MOVED", "POWERDOWN", "RESET", "RESUME", "SHUTDOWN", "STOP", "SUSPEND", "VNC_CONNECTED", "VNC_DISCONNECTED", "VNC_INITIALIZED", "WAKEUP"];

    private delegate void Handler(QmpCommands commands, QmpArguments arguments, ICharBackend backend, Utf8JsonWriter writer);

    /// <param name="Run">Writes the value of the reply, or throws <see cref="QmpException"/>.</param>
    /// <param name="Arguments">The names that are known; any other is refused.</param>
    private sealed record Command(Handler Run, params string[] Arguments)
    {
        /// <summary>The driver behind the command says what it takes.</summary>
        public bool TakesAnyArgument { get; init; }
    }

    private readonly IMonitorTarget _target;
    private readonly FdSets _fds;
    private readonly Action<int> _closeFd;
    private bool _quit;
    private int _clients;

    /// <param name="closeFd">Closes a descriptor that a client passed.</param>
    public QmpCommands(IMonitorTarget target, FdSets fds, Action<int> closeFd)
    {
        _target = target;
        _fds = fds;
        _closeFd = closeFd;
    }

    /// <exception cref="QmpException">The command is unknown or failed.</exception>
    internal void Execute(string name, QmpArguments arguments, ICharBackend backend, Utf8JsonWriter writer)
    {
        if (!s_commands.TryGetValue(name, out var command)) throw new QmpException(QmpException.CommandNotFound, $"The command {name} has not been found");
        if (!command.TakesAnyArgument) arguments.AllowOnly(command.Arguments);
        command.Run(this, arguments, backend, writer);
    }

    internal void ClientCame() => _clients++;

    /// <summary>
    /// Passed descriptors outlive their connection while the guest is not running yet, as with QEMU: a toolstack may come back for them. Later,
    /// nobody will ask for what the last client left behind; drives have duplicates.
    /// </summary>
    internal void ClientLeft()
    {
        if (--_clients == 0 && _target.IsRunning) _fds.Clear();
    }

    /// <summary>What may only happen once the client has its reply.</summary>
    internal void AfterReply()
    {
        if (!_quit) return;
        _quit = false;
        _target.Quit();
    }

    internal void CloseFd(int fd) => _closeFd(fd);

    internal void WriteGreeting(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteStartObject("QMP");
        w.WritePropertyName("version");
        WriteVersion(w);
        w.WriteStartArray("capabilities");
        w.WriteEndArray();
        w.WriteEndObject();
        w.WriteEndObject();
    }

    /// <summary>The greeting offers no capability, so none can be switched on.</summary>
    private static void Negotiate(QmpArguments a, Utf8JsonWriter w)
    {
        if (a.FirstOfArray("enable") is { } capability) throw new QmpException($"Capability '{capability}' is not available");
        Empty(w);
    }

    private static void Empty(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteEndObject();
    }

    private static void EmptyArray(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        w.WriteEndArray();
    }

    private static void Do(Utf8JsonWriter w, Action action)
    {
        action();
        Empty(w);
    }

    private void WriteVersion(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteStartObject("qemu");
        w.WriteNumber("major", Major);
        w.WriteNumber("minor", Minor);
        w.WriteNumber("micro", Micro);
        w.WriteEndObject();
        w.WriteString("package", _target.Package);
        w.WriteEndObject();
    }

    private static void QueryCommands(Utf8JsonWriter w) => WriteNames(w, s_commands.Keys);

    private static void QueryEvents(Utf8JsonWriter w) => WriteNames(w, s_events);

    private static void WriteNames(Utf8JsonWriter w, IEnumerable<string> names)
    {
        w.WriteStartArray();
        foreach (var name in names)
        {
            w.WriteStartObject();
            w.WriteString("name", name);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private void QueryName(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        if (_target.Name.Length > 0) w.WriteString("name", _target.Name);
        w.WriteEndObject();
    }

    private void QueryUuid(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteString("UUID", _target.Uuid);
        w.WriteEndObject();
    }

    private static void QueryTarget(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteString("arch", "x86_64");
        w.WriteEndObject();
    }

    /// <summary>The boards that libxl asks for, and the one of its probe.</summary>
    private static void QueryMachines(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var (name, cpus) in (ReadOnlySpan<(string, int)>)[("xenfv", 128), ("pc", 128), ("none", 0)])
        {
            w.WriteStartObject();
            w.WriteString("name", name);
            w.WriteNumber("cpu-max", cpus);
            w.WriteBoolean("hotpluggable-cpus", cpus > 0);
            w.WriteBoolean("numa-mem-supported", false);
            w.WriteBoolean("deprecated", false);
            w.WriteBoolean("acpi", cpus > 0);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private void QueryStatus(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteString("status", _target.RunState);
        w.WriteBoolean("running", _target.IsRunning);
        w.WriteEndObject();
    }

    /// <summary>Ours: for viewers that show what a guest does.</summary>
    private void QueryCounters(Utf8JsonWriter w)
    {
        var counters = _target.Counters;
        w.WriteStartObject();
        w.WriteNumber("requests", counters.Requests);
        w.WriteNumber("items", counters.Items);
        w.WriteNumber("unclaimed", counters.Unclaimed);
        w.WriteStartArray("regions");
        foreach (var region in counters.Regions)
        {
            w.WriteStartObject();
            w.WriteString("name", region.Name);
            w.WriteString("space", region.IsPort ? "port" : "memory");
            w.WriteNumber("address", region.Address);
            w.WriteNumber("reads", region.Reads);
            w.WriteNumber("writes", region.Writes);
            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteStartObject("process");
        w.WriteNumber("pid", counters.Pid);
        w.WriteNumber("memory-bytes", counters.MemoryBytes);
        w.WriteNumber("cpu-ms", counters.CpuMilliseconds);
        w.WriteEndObject();
        w.WriteEndObject();
    }

    private void QueryChardev(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var chardev in _target.Chardevs)
        {
            w.WriteStartObject();
            w.WriteBoolean("frontend-open", chardev.FrontendOpen);
            w.WriteString("filename", chardev.FileName);
            w.WriteString("label", chardev.Label);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private static void QueryKvm(Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteBoolean("enabled", false);
        w.WriteBoolean("present", false);
        w.WriteEndObject();
    }

    private void QueryBlock(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var block in _target.Blocks)
        {
            w.WriteStartObject();
            w.WriteString("device", block.Device);
            w.WriteString("qdev", block.QdevId);
            w.WriteString("type", "unknown");
            w.WriteBoolean("removable", block.Removable);
            w.WriteBoolean("locked", block.Locked);
            if (block.Removable) w.WriteBoolean("tray_open", block.TrayOpen);
            w.WriteString("io-status", "ok");
            if (block.File is not null) WriteInserted(w, block);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private static void WriteInserted(Utf8JsonWriter w, BlockInfo block)
    {
        w.WriteStartObject("inserted");
        w.WriteString("file", block.File);
        w.WriteString("drv", block.Format);
        w.WriteBoolean("ro", block.ReadOnly);
        w.WriteBoolean("encrypted", false);
        w.WriteStartObject("image");
        w.WriteString("filename", block.File);
        w.WriteString("format", block.Format);
        w.WriteNumber("virtual-size", block.Bytes);
        w.WriteEndObject();
        w.WriteEndObject();
    }

    private void QueryBlockStats(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var block in _target.Blocks)
        {
            w.WriteStartObject();
            w.WriteString("device", block.Device);
            w.WriteString("qdev", block.QdevId);
            w.WriteStartObject("stats");
            w.WriteNumber("rd_bytes", block.ReadBytes);
            w.WriteNumber("wr_bytes", block.WrittenBytes);
            w.WriteNumber("rd_operations", block.ReadOperations);
            w.WriteNumber("wr_operations", block.WriteOperations);
            w.WriteNumber("flush_operations", block.FlushOperations);
            w.WriteNumber("failed_operations", block.FailedOperations);
            w.WriteEndObject();
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private void QueryPci(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        w.WriteStartObject();
        w.WriteNumber("bus", 0);
        w.WriteStartArray("devices");
        foreach (var function in _target.PciFunctions) WritePciFunction(w, function);
        w.WriteEndArray();
        w.WriteEndObject();
        w.WriteEndArray();
    }

    private static void WritePciFunction(Utf8JsonWriter w, PciInfo function)
    {
        w.WriteStartObject();
        w.WriteNumber("bus", 0);
        w.WriteNumber("slot", function.Slot);
        w.WriteNumber("function", function.Function);
        w.WriteString("qdev_id", function.QdevId);
        w.WriteStartObject("class_info");
        w.WriteNumber("class", function.ClassId);
        w.WriteEndObject();
        w.WriteStartObject("id");
        w.WriteNumber("vendor", function.Vendor);
        w.WriteNumber("device", function.Device);
        w.WriteEndObject();
        if (function.InterruptPin != 0)
        {
            w.WriteNumber("irq", function.InterruptLine);
            w.WriteNumber("irq_pin", function.InterruptPin);
        }

        w.WriteStartArray("regions");
        foreach (var bar in function.Bars)
        {
            w.WriteStartObject();
            w.WriteNumber("bar", bar.Bar);
            w.WriteString("type", bar.IsIo ? "io" : "memory");
            w.WriteNumber("address", bar.Address);
            w.WriteNumber("size", bar.Size);
            if (!bar.IsIo)
            {
                w.WriteBoolean("prefetch", bar.Prefetch);
                w.WriteBoolean("mem_type_64", false);
            }

            w.WriteEndObject();
        }

        w.WriteEndArray();
        w.WriteEndObject();
    }

    private void QueryCpus(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var cpu in _target.Cpus)
        {
            if (!cpu.Online) continue;
            w.WriteStartObject();
            w.WriteNumber("cpu-index", cpu.Index);
            w.WriteString("qom-path", CpuPath(cpu.Index));
            w.WriteNumber("thread-id", 0);
            WriteCpuProperties(w, cpu.Index);
            w.WriteString("target", "x86_64");
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private void QueryHotpluggableCpus(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        for (var i = _target.Cpus.Count - 1; i >= 0; i--)
        {
            var cpu = _target.Cpus[i];
            w.WriteStartObject();
            WriteCpuProperties(w, cpu.Index);
            w.WriteNumber("vcpus-count", 1);
            if (cpu.Online) w.WriteString("qom-path", CpuPath(cpu.Index));
            w.WriteString("type", CpuType);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    /// <summary>The driver name that <c>device_add</c> takes for a vCPU.</summary>
    private const string CpuType = "qemu32-i386-cpu";

    private static string CpuPath(int index) => $"/machine/unattached/cpu[{index}]";

    private static void WriteCpuProperties(Utf8JsonWriter w, int index)
    {
        w.WriteStartObject("props");
        w.WriteNumber("socket-id", index);
        w.WriteNumber("core-id", 0);
        w.WriteNumber("thread-id", 0);
        w.WriteEndObject();
    }

    private void QueryCommandLineOptions(QmpArguments a, Utf8JsonWriter w)
    {
        var wanted = a.OptionalText("option");
        var found = false;
        w.WriteStartArray();
        foreach (var option in _target.CommandLineOptions)
        {
            if (wanted is not null && option.Option != wanted) continue;
            found = true;
            w.WriteStartObject();
            w.WriteString("option", option.Option);
            w.WriteStartArray("parameters");
            foreach (var parameter in option.Parameters)
            {
                w.WriteStartObject();
                w.WriteString("name", parameter);
                w.WriteString("type", "string");
                w.WriteEndObject();
            }

            w.WriteEndArray();
            w.WriteEndObject();
        }

        w.WriteEndArray();
        if (!found && wanted is not null) throw new QmpException($"invalid option name: {wanted}");
    }

    /// <summary>The drive by <c>id</c> (of the device) or by <c>device</c> (of the drive, older clients).</summary>
    private static string DriveName(QmpArguments a) => (a.OptionalText("id"), a.OptionalText("device")) switch
    {
        ({ } id, null) => id,
        (null, { } device) => device,
        _ => throw new QmpException("Need exactly one of 'device' and 'id'"),
    };

    private void Eject(QmpArguments a, Utf8JsonWriter w)
    {
        _target.Eject(DriveName(a), a.OptionalBool("force") ?? false);
        Empty(w);
    }

    private void ChangeMedium(QmpArguments a, Utf8JsonWriter w)
    {
        var name = DriveName(a);
        var file = a.Text("filename");
        var format = a.OptionalText("format");
        a.OptionalBool("force");
        var mode = a.OptionalText("read-only-mode") ?? "retain";
        if (mode is not ("retain" or "read-only" or "read-write")) throw new QmpException($"Parameter 'read-only-mode' does not accept value '{mode}'");
        _target.ChangeMedium(name, file, _fds.Duplicate(file), format, mode != "read-write");
        Empty(w);
    }

    private void AddFd(QmpArguments a, ICharBackend backend, Utf8JsonWriter w)
    {
        // Taken first, so that a command that fails does not leave its descriptor to the next one.
        var fd = backend.TakeFd();
        if (fd < 0) throw new QmpException("No file descriptor supplied via SCM_RIGHTS");
        try
        {
            var set = _fds.Add(fd, a.OptionalInteger("fdset-id") ?? -1, a.OptionalText("opaque"));
            w.WriteStartObject();
            w.WriteNumber("fdset-id", set);
            w.WriteNumber("fd", fd);
            w.WriteEndObject();
        }
        catch (QmpException)
        {
            CloseFd(fd);
            throw;
        }
    }

    private void RemoveFd(QmpArguments a, Utf8JsonWriter w)
    {
        _fds.Remove(a.Integer("fdset-id"), a.OptionalInteger("fd") ?? -1);
        Empty(w);
    }

    private void QueryFdSets(Utf8JsonWriter w)
    {
        w.WriteStartArray();
        foreach (var (set, entries) in _fds.All)
        {
            w.WriteStartObject();
            w.WriteNumber("fdset-id", set);
            w.WriteStartArray("fds");
            foreach (var entry in entries)
            {
                w.WriteStartObject();
                w.WriteNumber("fd", entry.Fd);
                if (entry.Opaque is not null) w.WriteString("opaque", entry.Opaque);
                w.WriteEndObject();
            }

            w.WriteEndArray();
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    private void DeviceAdd(QmpArguments a, Utf8JsonWriter w)
    {
        var driver = a.Text("driver");
        a.OptionalText("id");
        if (driver != CpuType) throw new QmpException($"'{driver}' is not a valid device model name");
        _target.PlugCpu(a.Integer("socket-id"));
        Empty(w);
    }

    private void DeviceDel(QmpArguments a, Utf8JsonWriter w)
    {
        _target.Unplug(a.Text("id"));
        Empty(w);
    }

    private void SetLink(QmpArguments a, Utf8JsonWriter w)
    {
        _target.SetLink(a.Text("name"), a.Bool("up"));
        Empty(w);
    }

    private void AddNetdev(QmpArguments a, Utf8JsonWriter w)
    {
        a.Text("type");
        a.Text("id");
        _target.AddNetdev(a.Flatten());
        Empty(w);
    }

    private void RemoveNetdev(QmpArguments a, Utf8JsonWriter w)
    {
        _target.RemoveNetdev(a.Text("id"));
        Empty(w);
    }

    private void SaveDevices(QmpArguments a, Utf8JsonWriter w)
    {
        a.OptionalBool("live");
        var file = a.Text("filename");
        _target.SaveDevices(file, _fds.Resolve(file));
        Empty(w);
    }

    private void DumpScreen(QmpArguments a, Utf8JsonWriter w)
    {
        var file = a.Text("filename");
        var format = a.OptionalText("format") ?? "ppm";
        if (format is not ("ppm" or "png")) throw new QmpException($"Parameter 'format' does not accept value '{format}'");
        _target.DumpScreen(file, _fds.Resolve(file), format == "png", a.OptionalText("device"), a.OptionalInteger("head"));
        Empty(w);
    }

    /// <summary>Only COLO loads into a machine that runs; a restore comes through the command line.</summary>
    private static void LoadDevices(QmpArguments a)
    {
        a.Text("filename");
        throw new QmpException("Device state can only be loaded at the start, with '-incoming fd:N'");
    }

    private void SetDirtyLog(QmpArguments a, Utf8JsonWriter w)
    {
        _target.SetDirtyLog(a.Bool("enable"));
        Empty(w);
    }

    private void Human(QmpArguments a, Utf8JsonWriter w)
    {
        var line = a.Text("command-line").Trim();
        a.OptionalInteger("cpu-index");
        w.WriteStringValue(line.Length == 0 ? "" : _target.Human(line) ?? $"unknown command: '{line}'\r\n");
    }
}
