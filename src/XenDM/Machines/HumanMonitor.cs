using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Backends.Net;
using XenDM.CommandLine;
using XenDM.Core.Input;
using XenDM.Core.State;
using XenDM.Monitor;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>The human monitor's commands, in QEMU's words: <c>info</c> about the machine, memory, and the buttons of the case.</summary>
internal sealed class HumanMonitor
{
    /// <summary>Before each line that a person types.</summary>
    public const string Prompt = "(xendm) ";

    /// <summary>Most bytes of memory that one command shows.</summary>
    private const int MaxDump = 4096;
    private const int DumpRow = 16;

    private static readonly Dictionary<string, (string Help, Action<HumanMonitor, StringBuilder, string[]> Run)> s_commands = new()
    {
        ["xp"] = ("/COUNTFORMATSIZE ADDRESS -- guest memory at a physical address; format x, d, u or c, size b, h, w or g", static (m, o, w) => m.Dump(o, w, linear: false)),
        ["x"] = ("/COUNTFORMATSIZE ADDRESS -- the same at a linear address of the first vCPU; format i disassembles", static (m, o, w) => m.Dump(o, w, linear: true)),
        ["stop"] = ("-- hold the guest", static (m, o, w) => m._target.Stop()),
        ["cont"] = ("-- let it go on", static (m, o, w) => m._target.Continue()),
        ["system_reset"] = ("-- press the reset button", static (m, o, w) => m._target.Reset()),
        ["system_powerdown"] = ("-- press the power button", static (m, o, w) => m._target.PowerDown()),
        ["set_link"] = ("NAME on|off -- put the cable of a NIC or net backend in, or pull it out", static (m, o, w) => m.SetLink(o, w)),
        ["hostfwd_add"] = ("[NETDEV] [tcp|udp]:[HOSTADDRESS]:HOSTPORT-[GUESTADDRESS]:GUESTPORT -- lead a port of the host into the guest", static (m, o, w) => m.AddForward(o, w)),
        ["hostfwd_remove"] = ("[NETDEV] [tcp|udp]:[HOSTADDRESS]:HOSTPORT -- end that", static (m, o, w) => m.RemoveForward(o, w)),
        ["sendkey"] = ("KEY[-KEY...] [MILLISECONDS] -- press keys together, by QEMU's names, and release them; for example sendkey ctrl-alt-f1", static (m, o, w) => m.SendKey(o, w)),
        ["mouse_move"] = ("X Y [WHEEL] -- move the mouse, and turn its wheel towards the user", static (m, o, w) => m.MoveMouse(o, w)),
        ["mouse_button"] = ("SUM -- which of its buttons are down: 1 the left, 2 the middle, 4 the right one", static (m, o, w) => m.PressButtons(o, w)),
        ["mouse_set"] = ("INDEX -- the mouse that movements go to; see info mice", static (m, o, w) => m.ChooseMouse(o, w)),
        ["netdev_del"] = ("ID -- take a net backend away", static (m, o, w) => m._target.RemoveNetdev(w.Length > 1 ? w[1] : "")),
        ["change"] = ("vnc password TEXT -- the password of the VNC server", static (m, o, w) => m.Change(o, w)),
        ["set_password"] = ("vnc TEXT -- the same", static (m, o, w) => m.SetPassword(o, w)),
        ["expire_password"] = ("vnc now|never|+SECONDS|SECONDS -- when it ends, from now or since 1970", static (m, o, w) => m.ExpirePassword(o, w)),
        ["screendump"] = ("FILE [-f png|ppm] [DEVICE [HEAD]] -- a picture of the screen; PPM unless -f says otherwise", static (m, o, w) => m.DumpScreen(o, w)),
        ["quit"] = ("-- end the process", static (m, o, w) => m._target.Quit()),
    };

    private static readonly Dictionary<string, (string Help, Action<HumanMonitor, StringBuilder, string> Run)> s_topics = new()
    {
        ["version"] = ("name and version of this program", static (m, o, _) => Line(o, m._target.Package)),
        ["name"] = ("name of the guest", static (m, o, _) => Line(o, m._target.Name)),
        ["status"] = ("run state", static (m, o, _) => Line(o, $"VM status: {m._target.RunState}")),
        ["chardev"] = ("character backends", static (m, o, _) => m.Chardevs(o)),
        ["block"] = ("drives", static (m, o, _) => m.Blocks(o)),
        ["blockstats"] = ("what the drives have moved", static (m, o, _) => m.BlockStats(o)),
        ["vnc"] = ("the VNC server and its clients", static (m, o, _) => m.Vnc(o)),
        ["mice"] = ("mice and tablets; the one that gets movements has an asterisk", static (m, o, _) => m.Mice(o)),
        ["pci"] = ("PCI functions", static (m, o, _) => m.Pci(o)),
        ["network"] = ("NICs and net backends, and what went over their cables", static (m, o, _) => m.Network(o)),
        ["usernet"] = ("connections through user-mode NAT", static (m, o, _) => m.Connections(o)),
        ["cpus"] = ("vCPUs", static (m, o, _) => m.Cpus(o)),
        ["registers"] = ("registers of the vCPUs and the code that comes next", static (m, o, _) => m.Registers(o)),
        ["mtree"] = ("ports and memory by device", static (m, o, _) => m.Map(o)),
        ["devices"] = ("the chips", static (m, o, _) => m.Devices(o)),
        ["device"] = ("state of one chip: info device NAME", static (m, o, name) => m.Device(o, name)),
        ["timers"] = ("timers that are armed", static (m, o, _) => m.Timers(o)),
        ["irq"] = ("interrupt controllers and their inputs", static (m, o, _) => m.Interrupts(o)),
        ["io"] = ("requests served, by register block, and accesses that nobody answered", static (m, o, _) => m.Io(o)),
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
    public string? Run(string line)
    {
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0) return "";
        var output = new StringBuilder();
        if (words[0] == "help" || (words[0] == "info" && words.Length == 1))
        {
            if (words[0] == "help")
                foreach (var (name, entry) in s_commands) Line(output, $"{name} {entry.Help}");
            foreach (var (name, topic) in s_topics) Line(output, $"info {name} -- {topic.Help}");
            return output.ToString();
        }

        // x/4xw is x with a format.
        var slash = words[0].IndexOf('/', StringComparison.Ordinal);
        if (s_commands.TryGetValue(slash < 0 ? words[0] : words[0][..slash], out var command))
        {
            try
            {
                command.Run(this, output, words);
            }
            catch (QmpException e)
            {
                Line(output, e.Message);
            }

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

    private void Vnc(StringBuilder output)
    {
        if (_target.Vnc is not { } vnc)
        {
            Line(output, "Server: disabled");
            return;
        }

        Line(output, "default:");
        foreach (var address in vnc.Addresses) Line(output, $"  Server: {Describe(address)}");
        Line(output, $"  Auth: {vnc.Auth}");
        foreach (var client in vnc.Clients) Line(output, $"  Client: {Describe(client.End)}{(client.CertificateName is { } name ? $" {name}" : "")}");
    }

    private static string Describe(VncEndInfo end) =>
        $"{end.Host}{(end.Host.Length > 0 ? ":" : "")}{end.Service} ({end.Family}{(end.IsWebSocket ? " WebSocket" : "")})";

    private void Change(StringBuilder output, string[] words)
    {
        if (words is ["change", "vnc", "password" or "passwd", var text]) _target.SetVncPassword(text);
        else Line(output, "write change vnc password TEXT");
    }

    private void SetPassword(StringBuilder output, string[] words)
    {
        if (words.Length is 3 or 4 && words[1] == "vnc" && (words.Length == 3 || words[3] == "keep")) _target.SetVncPassword(words[2]);
        else Line(output, "write set_password vnc TEXT");
    }

    private void ExpirePassword(StringBuilder output, string[] words)
    {
        if (words is [_, "vnc", var when]) QmpVnc.Expire(_target, when);
        else Line(output, "write expire_password vnc now, never, +SECONDS, or seconds since 1970");
    }

    private MonitorInput Input => _target.Input ?? throw new QmpException("there is no guest to type to");

    private void SendKey(StringBuilder output, string[] words)
    {
        var keys = new List<ushort>();
        var hold = MonitorInput.DefaultHold;
        if (words.Length is not (2 or 3) || (words.Length == 3 && (!int.TryParse(words[2], out hold) || hold < 0))) Line(output, "write sendkey KEY[-KEY...] [MILLISECONDS]");
        else if (KeyNames.TryParse(words[1], keys) is { } wrong) Line(output, $"invalid parameter: {wrong}");
        else Input.Send(keys, hold);
    }

    private void MoveMouse(StringBuilder output, string[] words)
    {
        var wheel = 0;
        if (words.Length is not (3 or 4) || !int.TryParse(words[1], out var x) || !int.TryParse(words[2], out var y) || (words.Length == 4 && !int.TryParse(words[3], out wheel)))
            Line(output, "write mouse_move X Y [WHEEL]");
        else Input.MoveBy(x, y, wheel, 0);
    }

    private void PressButtons(StringBuilder output, string[] words)
    {
        if (words.Length != 2 || !int.TryParse(words[1], out var sum) || sum is < 0 or > 7)
        {
            Line(output, "write mouse_button SUM, from 0 to 7");
            return;
        }

        // Here the second one is the middle, elsewhere it is the third.
        Input.Press(((sum & 1) != 0 ? PointerButtons.Left : 0) | ((sum & 2) != 0 ? PointerButtons.Middle : 0) | ((sum & 4) != 0 ? PointerButtons.Right : 0));
    }

    private void ChooseMouse(StringBuilder output, string[] words)
    {
        if (words.Length == 2 && int.TryParse(words[1], out var index)) Input.Choose(index);
        else Line(output, "write mouse_set INDEX");
    }

    private void Mice(StringBuilder output)
    {
        if (_target.Input is not { Pointers.Count: > 0 } input)
        {
            Line(output, "No mouse devices connected");
            return;
        }

        for (var n = 0; n < input.Pointers.Count; n++)
            Line(output, $"{(input.Pointers[n] == input.Pointer ? '*' : ' ')} Mouse #{n}: {input.Pointers[n].Name}{(input.Pointers[n].IsAbsolute ? " (absolute)" : "")}");
    }

    private void Network(StringBuilder output)
    {
        var shown = new List<string>();
        foreach (var nic in _target is MonitorTarget target ? target.Nics : [])
        {
            Line(output, $"{nic.Id}: index=0,type=nic,model={nic.Model},macaddr={nic.Mac}");
            if (_machine?.Netdevs?.Find(nic.NetdevId) is not { } backend) continue;
            shown.Add(backend.Id);
            Line(output, $" \\ {Describe(backend)}");
        }

        foreach (var backend in _machine?.Netdevs?.All ?? [])
            if (!shown.Contains(backend.Id)) Line(output, Describe(backend));
        if (_target is not MonitorTarget { PvDevices: { } bus }) return;
        foreach (var device in bus.Devices)
            if (device.Device is NetDevice nic) Line(output, Describe(device, nic));
    }

    private static string Describe(XenBusDevice device, NetDevice nic)
    {
        var c = nic.Counters;
        return $"{device.Name}: index=0,type=pv,netdev={nic.NetId},queues={nic.Queues},{(device.IsConnected ? "connected" : "not connected")}; from the guest {c.SentFrames} frames, {c.SentBytes} bytes, {c.SendErrors} wrong;"
            + $" for the guest {c.ReceivedFrames} frames, {c.ReceivedBytes} bytes, {c.ReceiveErrors} wrong, {c.ReceiveDrops} dropped";
    }

    private static string Describe(NetBackend backend)
    {
        var s = backend.Statistics;
        return $"{backend.Id}: index=0,{backend.Description},link={(backend.IsLinkUp ? "up" : "down")}; from the guest {s.SentFrames} frames, {s.SentBytes} bytes, {s.SendDrops} dropped;"
            + $" for the guest {s.ReceivedFrames} frames, {s.ReceivedBytes} bytes, {s.ReceiveDrops} dropped";
    }

    private void Connections(StringBuilder output)
    {
        foreach (var backend in _machine?.Netdevs?.All ?? [])
        {
            if (backend is not UserNet user) continue;
            Line(output, $"{user.Id}:");
            output.Append(user.Connections.Replace("\n", "\r\n", StringComparison.Ordinal));
        }
    }

    private void SetLink(StringBuilder output, string[] words)
    {
        if (words.Length == 3 && words[2] is "on" or "off") _target.SetLink(words[1], words[2] == "on");
        else Line(output, "write set_link NAME on, or off");
    }

    private void DumpScreen(StringBuilder output, string[] words)
    {
        var rest = new List<string>(words[1..]);
        var isPng = false;
        var option = rest.IndexOf("-f");
        var isRight = option < 0 || (option + 1 < rest.Count && rest[option + 1] is "png" or "ppm");
        if (isRight && option >= 0)
        {
            isPng = rest[option + 1] == "png";
            rest.RemoveRange(option, 2);
        }

        var head = 0;
        if (isRight && rest.Count is >= 1 and <= 3 && (rest.Count < 3 || int.TryParse(rest[2], out head)))
            _target.DumpScreen(rest[0], -1, isPng, rest.Count > 1 ? rest[1] : null, rest.Count > 2 ? head : null);
        else
            Line(output, "write screendump FILE [-f png|ppm] [DEVICE [HEAD]]");
    }

    private void AddForward(StringBuilder output, string[] words)
    {
        if (FindUserNet(output, words) is not { } user) return;
        try
        {
            if (user.Forward(NetdevOptions.Forward(words[0], words[^1])) is { } error) Line(output, error);
        }
        catch (UsageException e)
        {
            Line(output, e.Message);
        }
    }

    private void RemoveForward(StringBuilder output, string[] words)
    {
        if (FindUserNet(output, words) is not { } user) return;
        try
        {
            // The guest's side is not asked for.
            var forward = NetdevOptions.Forward(words[0], $"{words[^1]}-:1");
            Line(output, user.RemoveForward(forward.IsUdp, forward.Host, forward.HostPort) ? $"host forwarding rule for {words[^1]} removed" : $"host forwarding rule for {words[^1]} not found");
        }
        catch (UsageException e)
        {
            Line(output, e.Message);
        }
    }

    /// <summary>The user-mode NAT that a command names, or the first one.</summary>
    private UserNet? FindUserNet(StringBuilder output, string[] words)
    {
        if (words.Length is 2 or 3)
        {
            foreach (var backend in _machine?.Netdevs?.All ?? [])
                if (backend is UserNet user && (words.Length == 2 || user.Id == words[1])) return user;
        }

        Line(output, words.Length is 2 or 3 ? "there is no such user-mode NAT" : $"write {words[0]} [NETDEV] RULE");
        return null;
    }

    private void Cpus(StringBuilder output)
    {
        foreach (var cpu in _target.Cpus) Line(output, $"CPU #{cpu.Index}: {(cpu.Online ? "online" : "offline")}");
    }

    private void Registers(StringBuilder output)
    {
        if (_machine?.Cpus is { } cpus) output.Append(cpus.Registers().Replace("\n", "\r\n", StringComparison.Ordinal));
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

    /// <summary>The state of the interrupt controllers, where they are ours.</summary>
    private void Interrupts(StringBuilder output)
    {
        var found = false;
        foreach (var device in _machine?.Platform ?? [])
        {
            if (!device.Id.StartsWith("pic", StringComparison.Ordinal) && !device.Id.StartsWith("ioapic", StringComparison.Ordinal) && !device.Id.StartsWith("lapic", StringComparison.Ordinal)
                && !device.Id.StartsWith("irq", StringComparison.Ordinal)) continue;
            found = true;
            Line(output, $"{device.Id}:");
            output.Append(StateDumper.Dump(device).Replace("\n", "\r\n", StringComparison.Ordinal));
        }

        if (!found) Line(output, "the interrupt controllers belong to the hypervisor");
    }

    /// <summary>Carries out x and xp: words are the command with its format, and the address.</summary>
    private void Dump(StringBuilder output, string[] words, bool linear)
    {
        if (_machine is null) return;
        if (linear && _machine.Cpus is null)
        {
            Line(output, "the vCPUs belong to the hypervisor; xp shows physical memory");
            return;
        }

        var slash = words[0].IndexOf('/', StringComparison.Ordinal);
        if (!MemoryFormat.TryParse(slash < 0 ? "" : words[0][(slash + 1)..], out var format) || words.Length != 2 || !MemoryFormat.TryAddress(words[1], out var address))
        {
            Line(output, $"write {(linear ? "x" : "xp")}/COUNTFORMATSIZE ADDRESS, for example {(linear ? "x/10i 0xfff0" : "xp/16xw 0x7c00")}");
            return;
        }

        if (format.IsCode)
        {
            Line(output, linear ? _machine.Cpus!.Disassemble(address, Math.Min(format.Count, MaxDump / DumpRow)).TrimEnd().Replace("\n", "\r\n", StringComparison.Ordinal) : "i needs a linear address: use x");
            return;
        }

        var bytes = new byte[Math.Min((long)format.Count * format.Size, MaxDump)];
        for (var at = 0; at < bytes.Length; at += DumpRow)
        {
            var row = bytes.AsSpan(at, Math.Min(DumpRow, bytes.Length - at));
            var there = linear ? _machine.Cpus!.TryReadLinear(address + (ulong)at, row) : _machine.Memory.TryRead(address + (ulong)at, row);
            Line(output, there ? $"{address + (ulong)at:x16}:{format.Show(row)}" : $"{address + (ulong)at:x16}: no memory");
            if (!there) break;
        }
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
            foreach (var (name, start, count) in space.Accesses()) Line(output, $"{space.Space} {start:x} {name}: {count}");
        foreach (var space in (Core.Io.AddressSpace[])[_machine.Board.Ports, _machine.Board.Memory])
            foreach (var (address, count) in space.Unclaimed.Counts) Line(output, $"nobody answers {space.Space} {address:x}: {count}");
    }
}
