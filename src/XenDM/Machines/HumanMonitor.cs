using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.State;
using XenDM.Monitor;

namespace XenDM.Machines;

/// <summary>The commands of <c>human-monitor-command</c>: <c>info</c> about the machine, as text for people.</summary>
internal sealed class HumanMonitor
{
    private static readonly Dictionary<string, (string Help, Action<HumanMonitor, StringBuilder, string> Run)> s_topics = new()
    {
        ["version"] = ("name and version of this program", static (m, o, _) => Line(o, m._target.Package)),
        ["name"] = ("name of the guest", static (m, o, _) => Line(o, m._target.Name)),
        ["status"] = ("run state", static (m, o, _) => Line(o, $"VM status: {m._target.RunState}")),
        ["chardev"] = ("character backends", static (m, o, _) => m.Chardevs(o)),
        ["block"] = ("drives", static (m, o, _) => m.Blocks(o)),
        ["blockstats"] = ("what the drives have moved", static (m, o, _) => m.BlockStats(o)),
        ["pci"] = ("PCI functions", static (m, o, _) => m.Pci(o)),
        ["cpus"] = ("vCPUs", static (m, o, _) => m.Cpus(o)),
        ["registers"] = ("registers of the vCPUs and the code that comes next", static (m, o, _) => m.Registers(o)),
        ["mtree"] = ("ports and memory by device", static (m, o, _) => m.Map(o)),
        ["devices"] = ("the chips", static (m, o, _) => m.Devices(o)),
        ["device"] = ("state of one chip: info device NAME", static (m, o, name) => m.Device(o, name)),
        ["timers"] = ("timers that are armed", static (m, o, _) => m.Timers(o)),
        ["io"] = ("requests served and accesses that nobody answered", static (m, o, _) => m.Io(o)),
    };

    private readonly IMonitorTarget _target;
    private readonly Machine? _machine;

    /// <param name="machine">Null without a machine.</param>
    public HumanMonitor(IMonitorTarget target, Machine? machine)
    {
        _target = target;
        _machine = machine;
    }

    /// <returns>Null when there is no such command.</returns>
    public string? Run(string command)
    {
        var words = command.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0) return "";
        var output = new StringBuilder();
        if (words[0] == "help" || (words[0] == "info" && words.Length == 1))
        {
            foreach (var (name, topic) in s_topics) Line(output, $"info {name} -- {topic.Help}");
            return output.ToString();
        }

        if (words[0] != "info" || !s_topics.TryGetValue(words[1], out var found)) return null;
        found.Run(this, output, words.Length > 2 ? words[2] : "");
        return output.ToString();
    }

    private static void Line(StringBuilder output, string text) => output.Append(text).Append("\r\n");

    private void Chardevs(StringBuilder output)
    {
        foreach (var chardev in _target.Chardevs) Line(output, $"{chardev.Label}: filename={chardev.FileName}");
    }

    private void Blocks(StringBuilder output)
    {
        foreach (var block in _target.Blocks)
            Line(output, $"{block.Device}: {(block.File is null ? "[not inserted]" : $"{block.File} ({block.Format}{(block.ReadOnly ? ", read-only" : "")}, {block.Bytes} bytes)")}"
                + (block.Removable ? $", tray {(block.TrayOpen ? "open" : "closed")}{(block.Locked ? ", locked" : "")}" : ""));
    }

    private void BlockStats(StringBuilder output)
    {
        foreach (var block in _target.Blocks)
            Line(output, $"{block.Device}: rd_bytes={block.ReadBytes} wr_bytes={block.WrittenBytes} rd_operations={block.ReadOperations} wr_operations={block.WriteOperations}"
                + $" flush_operations={block.FlushOperations} failed_operations={block.FailedOperations}");
    }

    private void Pci(StringBuilder output)
    {
        foreach (var function in _target.PciFunctions)
        {
            Line(output, $"00:{function.Slot:x2}.{function.Function} {function.Vendor:x4}:{function.Device:x4} class {function.ClassId:x4}");
            foreach (var bar in function.Bars) Line(output, $"  BAR{bar.Bar} {(bar.IsIo ? "I/O" : "memory")} {bar.Address:x} size {bar.Size:x}");
        }
    }

    private void Cpus(StringBuilder output)
    {
        foreach (var cpu in _target.Cpus) Line(output, $"CPU #{cpu.Index}: {(cpu.Online ? "online" : "offline")}");
    }

    private void Registers(StringBuilder output)
    {
        if (_machine?.Registers is { } registers) output.Append(registers().Replace("\n", "\r\n", StringComparison.Ordinal));
        else Line(output, "the vCPUs belong to the hypervisor");
    }

    private void Map(StringBuilder output)
    {
        if (_machine is null) return;
        Line(output, "ports:");
        foreach (var (start, end, name) in _machine.Board.Ports.Windows()) Line(output, $"  {start:x4}-{end:x4} {name}");
        Line(output, "memory:");
        foreach (var (start, end, name) in _machine.Board.Memory.Windows()) Line(output, $"  {start:x}-{end:x} {name}");
    }

    private void Devices(StringBuilder output)
    {
        if (_machine is null) return;
        foreach (var device in _machine.Board.Devices) Line(output, device.Id);
        foreach (var device in _machine.Platform) Line(output, device.Id);
    }

    private void Device(StringBuilder output, string name)
    {
        if (_machine is null) return;
        foreach (var device in _machine.Board.Devices)
            if (device.Id == name) output.Append(StateDumper.Dump(device).Replace("\n", "\r\n", StringComparison.Ordinal));
        foreach (var device in _machine.Platform)
            if (device.Id == name) output.Append(StateDumper.Dump(device).Replace("\n", "\r\n", StringComparison.Ordinal));
        if (output.Length == 0) Line(output, $"there is no device '{name}'; see info devices");
    }

    private void Timers(StringBuilder output)
    {
        if (_machine is null) return;
        Line(output, $"now {_machine.Clock.Now} ns");
        foreach (var timer in _machine.Clock.Timers)
            if (timer.IsArmed) Line(output, $"{timer.Name} at {timer.Deadline} ns");
    }

    private void Io(StringBuilder output)
    {
        if (_machine is null) return;
        Line(output, $"{_machine.Board.Io.Requests} requests, {_machine.Board.Io.Items} items");
        foreach (var space in (Core.Io.AddressSpace[])[_machine.Board.Ports, _machine.Board.Memory])
            foreach (var (address, count) in space.Unclaimed.Counts) Line(output, $"nobody answers {space.Space} {address:x}: {count}");
    }
}
