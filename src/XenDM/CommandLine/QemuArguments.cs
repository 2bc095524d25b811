using System;
using System.Collections.Generic;

namespace XenDM.CommandLine;

/// <summary>
/// Parses the command line that libxl builds for qemu-xen (libxl_dm.c) and what users add to it through <c>device_model_args</c>. Every
/// option is known here with one line: what it does, or why it is accepted without effect, or that it is not built.
/// </summary>
public static class QemuArguments
{
    internal static readonly string[] ChardevKeys =
    [
        "backend", "id", "path", "fd", "server", "wait", "host", "port", "to", "ipv4", "ipv6", "nodelay", "reconnect", "reconnect-ms", "telnet", "tn3270", "websocket", "abstract",
        "tight", "name", "mux", "logfile", "logappend", "append", "input-path", "signal", "width", "height", "cols", "rows", "chardev", "size", "debug", "localaddr", "localport", "delay",
    ];

    private static readonly string[] s_driveKeys =
    [
        "file", "if", "bus", "unit", "index", "media", "format", "readonly", "id", "cache", "snapshot", "aio", "discard", "detect-zeroes", "copy-on-read", "werror", "rerror",
        "driver", "serial", "auto-read-only", "file.locking", "locking", "cache.direct", "cache.no-flush", "cache.writeback",
    ];

    private static readonly string[] s_globals = ["ide-hd.serial", "ide-hd.ver", "ide-hd.model", "ide-cd.serial", QemuOptions.StrictUnplugGlobal];

    private delegate void Handler(QemuOptions options, string option, string value);

    /// <summary>Options with a value.</summary>
    private static readonly Dictionary<string, Handler> s_valued = new()
    {
        ["-xen-domid"] = static (o, n, v) => o.DomainId = (int)OptionList.Number(n, "domain id", v, 0, 0x7fef),
        ["-chardev"] = static (o, n, v) => o.Chardevs.Add(OptionList.Parse(n, v, "backend", ["path", "logfile"], ChardevKeys)),
        ["-mon"] = static (o, n, v) => o.Monitors.Add(OptionList.Parse(n, v, "chardev")),
        ["-name"] = static (o, _, v) => o.Name = v,
        ["-vnc"] = static (o, _, v) => o.Vnc = v,
        ["-display"] = static (o, _, v) =>
        {
            if (v.StartsWith("vnc=", StringComparison.Ordinal)) o.Vnc = v["vnc=".Length..];
            else o.Display = v;
        },
        ["-k"] = static (o, _, v) => o.Keymap = v,
        ["-kernel"] = static (o, _, v) => o.Kernel = v,
        ["-initrd"] = static (o, _, v) => o.Initrd = v,
        ["-append"] = static (o, _, v) => o.Append = v,
        ["-serial"] = static (o, _, v) => o.Serials.Add(v),
        ["-device"] = static (o, n, v) => o.Devices.Add(OptionList.Parse(n, v, "driver")),
        ["-drive"] = static (o, n, v) => o.Drives.Add(OptionList.Parse(n, v, null, ["file"], s_driveKeys)),
        ["-netdev"] = static (o, n, v) => o.Netdevs.Add(OptionList.Parse(n, v, "type")),
        ["-nic"] = NetdevOptions.ParseNic,
        ["-net"] = NetdevOptions.ParseNet,
        ["-boot"] = ParseBoot,
        ["-usbdevice"] = static (o, _, v) => o.UsbDevices.Add(v),
        ["-smp"] = ParseSmp,
        ["-m"] = ParseMemory,
        ["-machine"] = static (o, n, v) => o.Machine = OptionList.Parse(n, v, "type"),
        ["-M"] = static (o, n, v) => o.Machine = OptionList.Parse(n, v, "type"),
        ["-accel"] = static (o, n, v) => o.Accelerators.Add(OptionList.Parse(n, v, "accel").Require("accel")),
        ["-qtest"] = static (o, _, v) => o.QTest = v,
        ["-qtest-log"] = static (o, _, v) => o.QTestLog = v,
        ["-qmp"] = static (o, n, v) => ParseMonitor(o, n, v, "control"),
        ["-bios"] = static (o, _, v) => o.Bios = v,
        ["-uuid"] = static (o, n, v) => o.Uuid = Guid.TryParse(v, out var uuid) ? uuid : throw new UsageException(n, $"'{v}' is not a UUID"),
        ["-incoming"] = ParseIncoming,
        ["-chroot"] = static (o, _, v) => o.Chroot = v,
        ["-runas"] = static (o, _, v) => o.RunAs = v,
        ["-run-with"] = ParseRunWith,
        ["-monitor"] = static (o, n, v) =>
        {
            if (v is not ("none" or "null" or "/dev/null")) ParseMonitor(o, n, v, "readline");
        },
        ["-parallel"] = static (_, n, v) => Only(n, v, "none", "null", "/dev/null"),
        ["-vga"] = ParseVga,
        ["-global"] = ParseGlobal,
        ["-spice"] = static (_, n, _) => throw new UsageException(n, "SPICE is not built; use VNC"),
        ["-fda"] = static (_, n, _) => throw new UsageException(n, "floppy drives are not built"),
        ["-fdb"] = static (_, n, _) => throw new UsageException(n, "floppy drives are not built"),
        ["-hda"] = static (o, n, v) => AddDrive(o, n, v, 0, "disk"),
        ["-hdb"] = static (o, n, v) => AddDrive(o, n, v, 1, "disk"),
        ["-hdc"] = static (o, n, v) => AddDrive(o, n, v, 2, "disk"),
        ["-hdd"] = static (o, n, v) => AddDrive(o, n, v, 3, "disk"),
        ["-cdrom"] = static (o, n, v) => AddDrive(o, n, v, 2, "cdrom"),
        ["-object"] = static (o, n, v) => o.Objects.Add(OptionList.Parse(n, v, "qom-type")),
        ["-rtc"] = static (_, _, _) => { },
        ["-trace"] = static (_, _, _) => { },
    };

    /// <summary>Options without a value. Those that do nothing ask for what is always so.</summary>
    private static readonly Dictionary<string, Action<QemuOptions>> s_plain = new()
    {
        ["-S"] = static o => o.StartPaused = true,
        ["-no-shutdown"] = static o => o.NoShutdown = true,
        ["-no-acpi"] = static o => o.NoAcpi = true,
        ["-xen-attach"] = static o => o.XenAttach = true,
        ["-xen-domid-restrict"] = static o => o.DomainRestrict = true,
        ["-usb"] = static o => o.Usb = true,
        ["-nodefaults"] = static o => o.NoDefaults = true,
        ["-no-user-config"] = static _ => { },
        ["-nographic"] = static _ => { },
        ["-no-fd-bootchk"] = static o => o.NoFloppyCheck = true,
        ["-no-reboot"] = static o => o.NoReboot = true,
        ["-enable-xen"] = static _ => { },
    };

    /// <summary>All options with a value, for <c>query-command-line-options</c>.</summary>
    public static IEnumerable<string> ValuedOptions => s_valued.Keys;

    /// <exception cref="UsageException">An option is unknown or wrong. Nothing was touched.</exception>
    public static QemuOptions Parse(ReadOnlySpan<string> arguments)
    {
        var options = new QemuOptions();
        for (var i = 0; i < arguments.Length; i++)
        {
            // QEMU takes every option with one dash or with two.
            var name = arguments[i].StartsWith("--", StringComparison.Ordinal) ? arguments[i][1..] : arguments[i];
            if (s_plain.TryGetValue(name, out var plain)) plain(options);
            else if (s_valued.TryGetValue(name, out var valued))
            {
                if (++i == arguments.Length) throw new UsageException(name, "a value must follow");
                valued(options, name, arguments[i]);
            }
            else if (name.StartsWith('-')) throw new UsageException(name, "this option is not known");
            else throw new UsageException("", $"'{name}' is not an option; a disk is given with -drive");
        }

        NetdevOptions.JoinNets(options);
        CheckAccelerators(options);
        if (options.Append.Length > 0 && options.Kernel is null) throw new UsageException("-append", "needs -kernel");
        if (options.Initrd is not null && options.Kernel is null) throw new UsageException("-initrd", "needs -kernel");
        return options;
    }

    private static void Only(string option, string value, params string[] allowed)
    {
        if (Array.IndexOf(allowed, value) < 0) throw new UsageException(option, $"'{value}' is not built; known is {string.Join(", ", allowed)}");
    }

    /// <summary>QEMU takes the first one that works; here that is the one which runs no CPU, where it is named, and else Xen.</summary>
    private static void CheckAccelerators(QemuOptions options)
    {
        if (options.Machine?.Get("accel") is { } list) options.Accelerators.AddRange(list.Split(':'));
        if (options.IsQTest) return;
        foreach (var accelerator in options.Accelerators) Only("-accel", accelerator, "xen", "qtest");
    }

    /// <summary>Several of these add up.</summary>
    private static void ParseBoot(QemuOptions options, string name, string value)
    {
        var list = OptionList.Parse(name, value, "order");
        list.AllowOnly("order", "once", "menu", "splash", "splash-time", "reboot-timeout", "strict");
        foreach (var (key, word) in list.Pairs)
        {
            if (key == "order") (options.BootOrder, options.BootOrderGiven) = (word, true);
            else if (key == "once") options.BootOnce = word;
            else options.Boot[key] = word;
        }
    }

    /// <summary>A monitor on a backend of its own, in the words of <c>-serial</c>.</summary>
    private static void ParseMonitor(QemuOptions options, string name, string value, string mode)
    {
        var id = $"{(mode == "control" ? "qmp" : "monitor")}{options.Monitors.Count}";
        var (kind, rest) = value.IndexOf(':', StringComparison.Ordinal) is var colon and >= 0 ? (value[..colon], value[(colon + 1)..]) : (value, "");
        var backend = kind switch
        {
            "unix" => $"socket,path={rest}",
            "tcp" when rest.IndexOf(':', StringComparison.Ordinal) is var port and >= 0 => $"socket,host={rest[..port]},port={rest[(port + 1)..]}",
            "stdio" or "pty" or "null" => kind,
            _ => throw new UsageException(name, $"'{value}' must be unix:PATH, tcp:HOST:PORT, stdio or pty"),
        };
        options.Chardevs.Add(OptionList.Parse("-chardev", $"{backend},id={id}", "backend", ["path", "logfile"], [.. ChardevKeys, "nowait"]));
        options.Monitors.Add(OptionList.Parse("-mon", $"chardev={id},mode={mode}"));
    }

    private static void ParseGlobal(QemuOptions options, string name, string value)
    {
        var equals = value.IndexOf('=', StringComparison.Ordinal);
        if (equals < 0 || !value.AsSpan(0, equals).Contains('.')) throw new UsageException(name, $"'{value}' must be DRIVER.PROPERTY=VALUE");
        if (Array.IndexOf(s_globals, value[..equals]) < 0) throw new UsageException(name, $"'{value}' has no effect here; known are {string.Join(", ", s_globals)}");
        options.Globals[value[..equals]] = value[(equals + 1)..];
    }

    /// <summary>QEMU's short form of <c>-device VGA</c>.</summary>
    private static void ParseVga(QemuOptions options, string name, string value)
    {
        Only(name, value, "none", "std", "cirrus");
        if (value != "none") options.Devices.Add(OptionList.Parse(name, value == "std" ? "VGA" : "cirrus-vga", "driver"));
    }

    private static void ParseSmp(QemuOptions options, string name, string value)
    {
        var list = OptionList.Parse(name, value, "cpus");
        list.AllowOnly("cpus", "maxcpus", "sockets", "cores", "threads", "dies", "clusters");
        options.Cpus = (int)list.GetNumber("cpus", 1, 1, 128);
        options.MaxCpus = (int)list.GetNumber("maxcpus", options.Cpus, 1, 128);
        if (options.MaxCpus < options.Cpus) throw new UsageException(name, $"maxcpus={options.MaxCpus} is less than cpus={options.Cpus}");
    }

    private static void ParseMemory(QemuOptions options, string name, string value)
    {
        var size = OptionList.Parse(name, value, "size").Require("size");
        var unit = size.Length > 0 ? char.ToUpperInvariant(size[^1]) : 'M';
        var digits = char.IsAsciiLetter(unit) ? size[..^1] : size;
        var scale = unit switch { 'G' => 1024L, 'T' => 1024 * 1024, 'M' => 1, _ => char.IsAsciiDigit(unit) ? 1 : 0 };
        if (scale == 0) throw new UsageException(name, $"'{size}' must be in MiB, or end in G or T");
        options.MemoryMiB = checked((int)(OptionList.Number(name, "size", digits, 1, 16 << 20) * scale));
    }

    private static void ParseIncoming(QemuOptions options, string name, string value)
    {
        if (!value.StartsWith("fd:", StringComparison.Ordinal)) throw new UsageException(name, $"'{value}' must be fd:NUMBER");
        options.IncomingFd = (int)OptionList.Number(name, "fd", value[3..], 0, int.MaxValue);
    }

    private static void ParseRunWith(QemuOptions options, string name, string value)
    {
        var list = OptionList.Parse(name, value);
        list.AllowOnly("chroot", "user", "async-teardown");
        options.Chroot = list.Get("chroot") ?? options.Chroot;
        options.RunAs = list.Get("user") ?? options.RunAs;
    }

    private static void AddDrive(QemuOptions options, string name, string file, int index, string media) =>
        options.Drives.Add(OptionList.Parse(name, $"if=ide,index={index},media={media}{(media == "cdrom" ? ",readonly=on" : "")},format=raw,file={file.Replace(",", ",,", StringComparison.Ordinal)}", null, ["file"], s_driveKeys));
}
