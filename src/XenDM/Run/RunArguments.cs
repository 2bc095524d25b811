using System;
using System.Collections.Generic;
using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.IO;
using XenDM.CommandLine;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded.Xen.Viridian;
using XenDM.Machines;

namespace XenDM.Run;

/// <summary>The command line of <c>xendm run</c>: every mistake is found here, before anything is touched, and named with its option.</summary>
internal static class RunArguments
{
    private const int MinMemoryMiB = 4;
    private const int MaxMemoryMiB = 1 << 20;
    private const int DrivePlaces = 4;
    private const int CdromPlace = 2;
    private const int MaxSocketPath = 107;
    private const int DefaultGdbPort = 1234;
    private static readonly string[] s_diskKeys = ["file", "format", "readonly", "snapshot", "pv", "strict"];

    private static readonly Option<string?> s_memory = new("--memory", "-m");
    private static readonly Option<string?> s_cpus = new("--cpus");
    private static readonly Option<string?> s_cpu = new("--cpu");
    private static readonly Option<string[]> s_disk = new("--disk");
    private static readonly Option<string?> s_cdrom = new("--cdrom");
    private static readonly Option<string[]> s_net = new("--net");
    private static readonly Option<string?> s_kernel = new("--kernel");
    private static readonly Option<string?> s_initrd = new("--initrd");
    private static readonly Option<string?> s_append = new("--append");
    private static readonly Option<string?> s_firmware = new("--firmware");
    private static readonly Option<string?> s_boot = new("--boot");
    private static readonly Option<string[]> s_serial = new("--serial");
    private static readonly Option<string?> s_display = new("--display");
    private static readonly Option<string?> s_vnc = new("--vnc");
    private static readonly Option<string?> s_keymap = new("--keymap", "-k");
    private static readonly Option<string[]> s_object = new("--object");
    private static readonly Option<string?> s_vga = new("--vga");
    private static readonly Option<string?> s_recordScreen = new("--record-screen");
    private static readonly Option<string[]> s_console = new("--console");
    private static readonly Option<bool> s_pvDisplay = Flag("--pv-display");
    private static readonly Option<bool> s_noXen = Flag("--no-xen");
    private static readonly Option<string?> s_viridian = new("--viridian");
    private static readonly Option<bool> s_forcedEmulation = Flag("--hvm-fep");
    private static readonly Option<bool> s_noReboot = Flag("--no-reboot");
    private static readonly Option<string?> s_monitor = new("--monitor");
    private static readonly Option<string?> s_qmp = new("--qmp");
    private static readonly Option<string?> s_web = new("--web") { Arity = ArgumentArity.ZeroOrOne };
    private static readonly Option<string?> s_clock = new("--clock");
    private static readonly Option<string?> s_seed = new("--seed");
    private static readonly Option<bool> s_log = Flag("--log");
    private static readonly Option<string[]> s_trace = new("--trace");
    private static readonly Option<string?> s_gdb = new("--gdb") { Arity = ArgumentArity.ZeroOrOne };
    private static readonly Option<bool> s_demo = Flag("--demo");
    private static readonly Option<bool> s_hash = Flag("--hash");
    private static readonly Option<string?> s_debugExit = new("--debug-exit") { Arity = ArgumentArity.ZeroOrOne };
    private static readonly Option<bool> s_testDevice = Flag("--test-device");
    private static readonly Option<bool> s_help = Flag("--help", "-h", "-?");

    private static readonly Command s_command = new("run")
    {
        s_memory, s_cpus, s_cpu, s_disk, s_cdrom, s_net, s_kernel, s_initrd, s_append, s_firmware, s_boot, s_serial, s_display, s_vnc, s_keymap, s_object, s_vga, s_recordScreen, s_noReboot, s_monitor, s_qmp, s_clock, s_seed, s_log, s_trace,
        s_web, s_gdb, s_demo, s_hash, s_noXen, s_viridian, s_forcedEmulation, s_console, s_pvDisplay, s_debugExit, s_testDevice, s_help,
    };

    /// <summary>Every option, for the test that the help text has them all.</summary>
    public static IEnumerable<Option> All => s_command.Options;

    private static Option<bool> Flag(string name, params string[] aliases) => new(name, aliases) { Arity = ArgumentArity.Zero };

    /// <summary>The option stands on the command line; flags have a result of their own even where they do not.</summary>
    private static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    /// <returns>Null when the user asks for help.</returns>
    /// <exception cref="UsageException">The first mistake.</exception>
    public static RunOptions? Parse(IReadOnlyList<string> arguments)
    {
        var parsed = s_command.Parse(arguments, new ParserConfiguration { EnablePosixBundling = false, ResponseFileTokenReplacer = null });
        if (IsGiven(parsed, s_help)) return null;
        CheckSyntax(parsed);
        var demo = IsGiven(parsed, s_demo);
        var kernel = parsed.GetValue(s_kernel);
        var initrd = parsed.GetValue(s_initrd);
        var append = parsed.GetValue(s_append);
        if (demo && kernel is not null) throw new UsageException("--demo", "brings its own kernel; leave out --kernel");
        if (demo && initrd is not null) throw new UsageException("--demo", "brings its own initial ramdisk; leave out --initrd");
        if (initrd is not null && kernel is null) throw new UsageException("--initrd", "needs --kernel");
        if (append is not null && kernel is null && !demo) throw new UsageException("--append", "is a kernel's command line and needs --kernel");
        if (kernel is not null) CheckFile("--kernel", kernel, writable: false);
        var display = Display(parsed.GetValue(s_display));
        var (order, menu) = Boot(parsed.GetValue(s_boot));
        var icount = Clock(parsed.GetValue(s_clock));
        var consoles = Consoles(parsed.GetValue(s_console) ?? []);
        var console = consoles.Count > 0 ? consoles[0] : null;
        if (IsGiven(parsed, s_pvDisplay) && IsGiven(parsed, s_noXen)) throw new UsageException("--pv-display", "is Xen's, which --no-xen hides");
        if (IsGiven(parsed, s_forcedEmulation) && IsGiven(parsed, s_noXen)) throw new UsageException("--hvm-fep", "is offered by Xen, which --no-xen hides");
        if (console is not null && IsGiven(parsed, s_noXen)) throw new UsageException("--console", "is Xen's, which --no-xen hides");
        var vga = Vga(parsed.GetValue(s_vga), display);
        var options = new RunOptions
        {
            MemoryMiB = Memory(parsed.GetValue(s_memory) ?? "512M"),
            Cpus = (int)Number("--cpus", parsed.GetValue(s_cpus), 1, 1, RunOptions.MaxCpus),
            Cpu = Model(parsed.GetValue(s_cpu) ?? "v3"),
            Drives = Drives(parsed.GetValue(s_disk) ?? [], parsed.GetValue(s_cdrom)),
            Nets = Nets(parsed.GetValue(s_net) ?? [], !IsGiven(parsed, s_noXen)),
            Kernel = kernel,
            Initrd = initrd,
            Append = append ?? "",
            Firmware = Firmware(parsed.GetValue(s_firmware), demo),
            VgaRom = vga is null ? null : FirmwareFiles.VgaRom(vga),
            BootOrder = order,
            BootMenu = menu,
            Serials = Serials(parsed.GetValue(s_serial) ?? [], display != RunDisplay.None || consoles.Contains("stdio")),
            Console = console == "none" ? null : console,
            PvDisplay = IsGiven(parsed, s_pvDisplay),
            MoreConsoles = consoles.Count > 1 ? consoles[1..] : [],
            Display = display,
            Vnc = parsed.GetValue(s_vnc),
            Keymap = parsed.GetValue(s_keymap),
            Objects = Array.ConvertAll(parsed.GetValue(s_object) ?? [], static o => OptionList.Parse("--object", o, "qom-type")),
            RecordScreen = parsed.GetValue(s_recordScreen),
            Vga = vga,
            HasXen = !IsGiven(parsed, s_noXen),
            Viridian = Viridian(parsed.GetValue(s_viridian), !IsGiven(parsed, s_noXen)),
            ForcesEmulation = IsGiven(parsed, s_forcedEmulation),
            NoReboot = IsGiven(parsed, s_noReboot),
            Monitor = Monitor(parsed.GetValue(s_monitor)),
            Qmp = parsed.GetValue(s_qmp) is { } qmp ? SocketPath("--qmp", qmp) : null,
            Web = IsGiven(parsed, s_web) ? parsed.GetValue(s_web) ?? "" : null,
            Icount = icount,
            Seed = Seed(parsed.GetValue(s_seed), icount),
            Log = IsGiven(parsed, s_log),
            Trace = Trace(parsed.GetValue(s_trace) ?? []),
            Gdb = !IsGiven(parsed, s_gdb) ? null : Gdb(parsed.GetValue(s_gdb)),
            Demo = demo,
            Hash = IsGiven(parsed, s_hash),
            DebugExitPort = IsGiven(parsed, s_debugExit) ? Port("--debug-exit", parsed.GetValue(s_debugExit)) : null,
            TestDevice = IsGiven(parsed, s_testDevice),
        };
        if (!options.HasXen && options.HasPvDisk) throw new UsageException("--disk", "'pv' is a disk for Xen's drivers, and --no-xen hides Xen");
        if (!options.HasXen && options.Firmware.Kind == FirmwareKind.HvmLoader) throw new UsageException("--no-xen", "hides Xen, which hvmloader and what else is given as an ELF file with --firmware cannot do without");
        if (options.RecordScreen is { } recording)
        {
            if (options.Vga is null) throw new UsageException("--record-screen", "there is no screen with --vga none");
            if (recording.Length == 0) throw new UsageException("--record-screen", "the name of a file is missing");
            if (Path.GetDirectoryName(Path.GetFullPath(recording)) is { } folder && !Directory.Exists(folder)) throw new UsageException("--record-screen", $"'{recording}': there is no folder '{folder}'");
        }

        CheckStandardInput(options);
        return options;
    }

    /// <summary>What the parser itself found wrong, in our words.</summary>
    private static void CheckSyntax(ParseResult parsed)
    {
        foreach (var token in parsed.UnmatchedTokens)
        {
            if (!token.StartsWith('-')) throw new UsageException("", $"'{token}' is not an option; a disk is given with --disk, a kernel with --kernel (see xendm run --help)");
            var name = token.Split('=')[0];
            throw new UsageException(name, "this option is not known; xendm run --help lists them");
        }

        foreach (var error in parsed.Errors)
        {
            if (error.SymbolResult is not OptionResult result) throw new UsageException("", error.Message);
            var more = result.Tokens.Count > 0 || result.Option.Arity.MaximumNumberOfValues == 0;
            throw new UsageException(result.Option.Name, result.Option.Arity.MaximumNumberOfValues == 0 ? "takes no value" : more ? "is given more than once" : "a value must follow");
        }
    }

    /// <summary>A size such as 512M or 2G; a plain number is MiB.</summary>
    public static int Memory(string text)
    {
        var digits = text.Length > 0 && char.IsAsciiLetter(text[^1]) ? text[..^1] : text;
        var unit = digits.Length == text.Length ? 'M' : char.ToUpperInvariant(text[^1]);
        var scale = unit switch { 'K' => 1L << 10, 'M' => 1L << 20, 'G' => 1L << 30, _ => 0 };
        if (scale == 0 || !long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var count) || count > long.MaxValue / scale)
            throw new UsageException("--memory", $"'{text}' is no size; write for example 512M or 2G");
        var bytes = count * scale;
        if (bytes % (1 << 20) != 0) throw new UsageException("--memory", $"'{text}' is not a whole number of MiB");
        if (bytes >> 20 is < MinMemoryMiB or > MaxMemoryMiB) throw new UsageException("--memory", $"'{text}' must lie between {MinMemoryMiB}M and {MaxMemoryMiB >> 10}G");
        return (int)(bytes >> 20);
    }

    private static CpuModel Model(string text) => text.ToLowerInvariant() switch
    {
        "v3" => CpuModel.V3,
        "v2" => CpuModel.V2,
        "v1" => CpuModel.V1,
        "i686" => CpuModel.I686,
        "486" or "i486" => CpuModel.I486,
        _ => throw new UsageException("--cpu", $"'{text}' is not known; there are v3, v2, v1 (levels of x86-64), i686 and 486"),
    };

    private static ViridianFeatures Viridian(string? text, bool hasXen)
    {
        if (text is null) return ViridianFeatures.None;
        if (!hasXen) throw new UsageException("--viridian", "is offered by Xen, which --no-xen hides");
        if (!ViridianWords.TryParse(text.Split(',', StringSplitOptions.TrimEntries), out var features, out var unknown)) throw new UsageException("--viridian", $"'{unknown}' is not known; there are {ViridianWords.All}");
        return features;
    }

    private static long Number(string option, string? text, long otherwise, long min, long max) => text is null ? otherwise : OptionList.Number(option, option, text, min, max);

    /// <summary>The disks in the order of the places hda, hdb, hdc, hdd; a CD has hdc.</summary>
    private static List<DriveSpec> Drives(string[] disks, string? cdrom)
    {
        var drives = new List<DriveSpec>();
        var writable = new HashSet<string>();
        var place = 0;
        foreach (var text in disks)
        {
            if (place == CdromPlace && cdrom is not null) place++;
            if (place >= DrivePlaces) throw new UsageException("--disk", $"'{text}' has no place: there are {DrivePlaces} IDE drives{(cdrom is null ? "" : ", one of them the CD's")}");
            drives.Add(Disk(text, place++, writable));
        }

        if (cdrom is null) return drives;
        if (cdrom.Length == 0) throw new UsageException("--cdrom", "a file must follow");
        CheckFile("--cdrom", cdrom, writable: false);
        drives.Add(new DriveSpec("cdrom", "", cdrom, "raw", true, true, CdromPlace / 2, CdromPlace % 2, false, ""));
        drives.Sort(static (a, b) => ((a.Channel * 2) + a.Unit).CompareTo((b.Channel * 2) + b.Unit));
        return drives;
    }

    private static DriveSpec Disk(string text, int place, HashSet<string> writable)
    {
        var list = OptionList.Parse("--disk", text, "file", ["file"], s_diskKeys);
        list.AllowOnly(s_diskKeys);
        var file = list.Require("file");
        if (file.Length == 0) throw new UsageException("--disk", "the name of a file is missing");
        var format = list.Get("format") ?? "raw";
        if (format != "raw") throw new UsageException("--disk", $"'format={format}' is not built; known is raw");
        var readOnly = list.GetBool("readonly", false);
        var snapshot = list.GetBool("snapshot", false);
        if (readOnly && snapshot) throw new UsageException("--disk", $"'{file}': readonly and snapshot exclude each other; with snapshot the guest may write and the file stays as it is");
        var isPv = list.GetBool("pv", false);
        var isStrict = list.GetBool("strict", false);
        if (isStrict && !isPv) throw new UsageException("--disk", $"'{file}': strict keeps the guest from the IDE disk while it uses the PV disk, and needs pv");
        CheckFile("--disk", file, writable: !readOnly && !snapshot);
        if (!readOnly && !snapshot && !writable.Add(Path.GetFullPath(file))) throw new UsageException("--disk", $"'{file}' is given twice; two disks cannot write to one file");
        return new DriveSpec($"disk{place}", "", file, format, readOnly, false, place / 2, place % 2, true, "") { IsSnapshot = snapshot, HasPvTwin = isPv, IsStrict = isStrict };
    }

    /// <summary>The cables; everything about them is checked that can be without the host's help.</summary>
    private static List<RunNet> Nets(string[] texts, bool hasXen)
    {
        const string option = "--net";
        var nets = new List<RunNet>();
        foreach (var text in texts)
        {
            if (text == "none") continue;
            var net = Net(OptionList.Parse(option, NetWords(text), "type", ["pcap", "tftp"], [.. NetdevOptions.Keys, "model", "mac", "pcap", "pv", "romfile", "bootindex"]), nets.Count);
            if (net.IsPv && !hasXen) throw new UsageException(option, "pv devices are Xen's, which --no-xen hides");
            nets.Add(net);
        }

        if (nets.Count > 0 && nets.Count != texts.Length) throw new UsageException(option, "none excludes others");
        return nets;
    }

    /// <summary>Turns <c>tap=IF</c> and <c>socket=KIND:WHERE</c> into the words of a backend.</summary>
    private static string NetWords(string text)
    {
        var comma = text.IndexOf(',', StringComparison.Ordinal);
        var (head, rest) = comma < 0 ? (text, "") : (text[..comma], text[comma..]);
        if (head.StartsWith("tap=", StringComparison.Ordinal)) return $"tap,ifname={head[4..]}{rest}";
        if (!head.StartsWith("socket=", StringComparison.Ordinal)) return text;
        var where = head[7..];
        var colon = where.IndexOf(':', StringComparison.Ordinal);
        return (colon < 0 ? "" : where[..colon]) switch
        {
            "listen" or "connect" or "mcast" => $"socket,{where[..colon]}={where[(colon + 1)..]}{rest}",
            "unix" => $"stream,addr.type=unix,addr.path={where[(colon + 1)..]},server=on{rest}",
            "unix-connect" => $"stream,addr.type=unix,addr.path={where[(colon + 1)..]}{rest}",
            _ => throw new UsageException("--net", $"'{head}' is not known; there are socket=listen:[HOST]:PORT, connect:HOST:PORT, mcast:ADDRESS:PORT, unix:PATH and unix-connect:PATH"),
        };
    }

    private static RunNet Net(OptionList list, int index)
    {
        var id = list.Get("id") ?? $"net{index}";
        var model = list.Get("model") ?? NicSpec.DefaultModel;
        if (model != "none" && !NicSpec.IsModel(model)) throw new UsageException("--net", $"model={model} is not known; there are {string.Join(", ", NicSpec.Models)} and none");
        var mac = list.Get("mac") is { } text ? NicSpec.ParseMac("--net", text) : NicSpec.DefaultMac(index);
        var isPv = list.GetBool("pv", false);
        if (model == "none" && !isPv) throw new UsageException("--net", "model=none leaves a cable without a NIC, unless there is pv");
        var dump = list.Get("pcap");
        if (dump is { Length: 0 }) throw new UsageException("--net", "pcap=: the name of a file is missing");
        var netdev = $"{OptionList.Escape(list.Require("type"))},id={OptionList.Escape(id)}";
        var nic = $"{model},id=nic{index},netdev={OptionList.Escape(id)},mac={mac}";
        foreach (var (key, value) in list.Pairs)
        {
            if (key is "romfile" or "bootindex") nic += $",{key}={OptionList.Escape(value)}";
            else if (key is not ("type" or "id" or "model" or "mac" or "pcap" or "pv")) netdev += $",{key}={OptionList.Escape(value)}";
        }

        var parsed = OptionList.Parse("--net", netdev, "type");
        NetdevOptions.Netdev(parsed);
        return new RunNet(parsed, model == "none" ? null : OptionList.Parse("--net", nic, "driver"), mac, isPv, dump);
    }

    /// <summary>A file that is there, is no folder and may be opened.</summary>
    private static void CheckFile(string option, string path, bool writable)
    {
        if (Directory.Exists(path)) throw new UsageException(option, $"'{path}' is a folder");
        if (!File.Exists(path)) throw new UsageException(option, $"'{path}' is not there");
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, writable ? FileAccess.ReadWrite : FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (UnauthorizedAccessException)
        {
            throw new UsageException(option, writable ? $"'{path}' may not be written by this user; ',snapshot' leaves the file as it is" : $"'{path}' may not be read by this user");
        }
        catch (IOException e)
        {
            throw new UsageException(option, $"'{path}': {e.Message}");
        }
    }

    private static FirmwareChoice Firmware(string? text, bool demo)
    {
        switch (text)
        {
            case "hvmloader":
                return new FirmwareChoice(FirmwareKind.HvmLoader, FirmwareFiles.HvmLoader(), FirmwareFiles.SeaBios());
            case null when demo:
                // Where the host has none it comes with the rest.
                return new FirmwareChoice(FirmwareKind.Bios, FirmwareFiles.SeaBiosOrNone());
            case null or "seabios":
                return new FirmwareChoice(FirmwareKind.Bios, FirmwareFiles.SeaBios());
        }

        CheckFile("--firmware", text, writable: false);
        Span<byte> magic = stackalloc byte[4];
        using var file = File.OpenHandle(text);
        var isElf = RandomAccess.Read(file, magic, 0) == magic.Length && magic.SequenceEqual("\u007fELF"u8);
        return isElf ? new FirmwareChoice(FirmwareKind.HvmLoader, text, FirmwareFiles.SeaBios()) : new FirmwareChoice(FirmwareKind.Bios, text);
    }

    private static (string Order, bool Menu) Boot(string? text)
    {
        const string all = "cdn";
        if (text is null) return (all, false);
        var menu = false;
        var order = "";
        foreach (var word in text.Split(','))
        {
            if (word == "menu") menu = true;
            else order += word;
        }

        for (var i = 0; i < order.Length; i++)
        {
            if (!all.Contains(order[i], StringComparison.Ordinal)) throw new UsageException("--boot", $"'{order[i]}' is no boot device; write letters of c disk, d CD, n network in the order to try, or menu");
            if (order.IndexOf(order[i]) != i) throw new UsageException("--boot", $"'{order[i]}' is there twice");
        }

        if (order.Length == 0 && !menu) throw new UsageException("--boot", "a value must follow: letters of c disk, d CD, n network in the order to try, or menu");
        return (order.Length > 0 ? order : all, menu);
    }

    /// <summary>The first is the domain's own, the others are devices.</summary>
    private static List<string> Consoles(string[] texts)
    {
        if (texts.Length > RunOptions.MaxConsoles) throw new UsageException("--console", $"there are {RunOptions.MaxConsoles} PV consoles");
        var consoles = new List<string>();
        foreach (var text in texts) consoles.Add(Line("--console", text));
        return consoles;
    }

    private static List<string> Serials(string[] texts, bool terminalIsTaken)
    {
        if (texts.Length > RunOptions.MaxSerials) throw new UsageException("--serial", $"there are {RunOptions.MaxSerials} serial ports");
        var serials = new List<string>();
        foreach (var text in texts) serials.Add(Line("--serial", text));

        // The terminal belongs to the screen or the PV console where there is one.
        if (serials.Count == 0) serials.Add(terminalIsTaken ? "null" : "stdio");
        return serials;
    }

    private static string Line(string option, string text)
    {
        if (text is "stdio" or "pty" or "null" or "none") return text;
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        var (kind, rest) = colon < 0 ? (text, "") : (text[..colon], text[(colon + 1)..]);
        switch (kind)
        {
            case "file" or "pipe":
                if (rest.Length == 0) throw new UsageException(option, $"'{text}': the name of a file is missing");
                return text;
            case "unix" or "socket" or "tcp":
                var words = rest.Split(',', 2);
                var role = words.Length > 1 ? words[1] : "server";
                if (role is not ("server" or "client")) throw new UsageException(option, $"'{text}': '{role}' is not known; server listens, client connects");
                if (kind == "tcp")
                {
                    var last = words[0].LastIndexOf(':');
                    if (last < 0) throw new UsageException(option, $"'{text}' must be tcp:HOST:PORT");
                    Number(option, words[0][(last + 1)..], 0, 1, 65535);
                }
                else
                {
                    SocketPath(option, words[0]);
                }

                return $"{(kind == "tcp" ? "tcp" : "unix")}:{words[0]}{(role == "server" ? ",server,nowait" : "")}";
        }

        if (text.StartsWith("/dev/", StringComparison.Ordinal)) return text;
        throw new UsageException(option, $"'{text}' is not known; there are stdio, pty, null, none, file:PATH, pipe:PATH, unix:PATH, tcp:HOST:PORT and /dev/...");
    }

    private static RunDisplay Display(string? text) => text switch
    {
        null or "none" => RunDisplay.None,
        "text" => RunDisplay.Text,
        _ => throw new UsageException("--display", $"'{text}' is not known; there are none and text, the text screen in this terminal"),
    };

    /// <summary>Without its option ROM the standard adapter is left out, but one that was asked for by name is missed.</summary>
    private static DisplayModel? Vga(string? text, RunDisplay display) => text switch
    {
        "none" when display == RunDisplay.Text => throw new UsageException("--vga", "none leaves --display text without a screen"),
        "none" => null,
        null or "std" => DisplayModel.Std,
        "cirrus" => FirmwareFiles.VgaRom(DisplayModel.Cirrus) is not null ? DisplayModel.Cirrus : throw new UsageException("--vga", $"no {DisplayModel.Cirrus.RomName} on this host: install the package seabios"),
        _ => throw new UsageException("--vga", $"'{text}' is not known; there are std, cirrus and none"),
    };

    private static string? Monitor(string? text)
    {
        if (text is null or "stdio") return text;
        return SocketPath("--monitor", text.StartsWith("unix:", StringComparison.Ordinal) ? text["unix:".Length..] : text);
    }

    private static string SocketPath(string option, string path)
    {
        if (path.Length == 0) throw new UsageException(option, "the path of a socket is missing");
        if (System.Text.Encoding.UTF8.GetByteCount(path) > MaxSocketPath) throw new UsageException(option, $"'{path}' is longer than the {MaxSocketPath} bytes that the path of a socket may have");
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder && !Directory.Exists(folder)) throw new UsageException(option, $"'{path}': there is no folder '{folder}'");
        return path;
    }

    private static bool Clock(string? text) => text switch
    {
        null or "real" => false,
        "icount" => true,
        _ => throw new UsageException("--clock", $"'{text}' is not known; there are real, and icount: guest time is a function of the instructions that ran"),
    };

    private static int Seed(string? text, bool icount)
    {
        if (text is not null && !icount) throw new UsageException("--seed", "needs --clock icount: in real time no two runs are the same");
        return (int)Number("--seed", text, 0, 0, int.MaxValue);
    }

    private static List<string> Trace(string[] texts)
    {
        var names = new List<string>();
        foreach (var text in texts)
            foreach (var name in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)) names.Add(name);
        if (texts.Length > 0 && names.Count == 0) throw new UsageException("--trace", "the name of a chip must follow; 'info devices' of the monitor lists them");
        return names;
    }

    private static GdbAddress Gdb(string? text)
    {
        if (text is null) return new GdbAddress(DefaultGdbPort, null);
        var digits = text.StartsWith(':') ? text[1..] : text;
        if (digits.Length > 0 && char.IsAsciiDigit(digits[0])) return new GdbAddress((int)Number("--gdb", digits, 0, 1, 65535), null);
        return new GdbAddress(0, SocketPath("--gdb", text));
    }

    /// <summary>An I/O port, decimal or with 0x; the usual one when none is given.</summary>
    private static ushort Port(string option, string? text)
    {
        if (text is null) return DebugExit.DefaultPort;
        if (!MemoryFormat.TryAddress(text, out var port) || port > ushort.MaxValue - DebugExit.Bytes) throw new UsageException(option, $"'{text}' is no I/O port; write for example 0x501");
        return (ushort)port;
    }

    /// <summary>Standard input can be read by one only.</summary>
    private static void CheckStandardInput(RunOptions options)
    {
        var user = options.Display == RunDisplay.Text ? "--display text" : null;
        foreach (var console in (IEnumerable<string?>)[options.Console, .. options.MoreConsoles])
        {
            if (console != "stdio") continue;
            if (user is not null) throw new UsageException("--console", $"stdio is taken by {user}; give --console pty, or file:PATH");
            user = "--console stdio";
        }

        foreach (var serial in options.Serials)
        {
            if (serial != "stdio") continue;
            if (user is not null) throw new UsageException("--serial", $"stdio is taken by {user}; give --serial pty, or file:PATH");
            user = "--serial stdio";
        }

        if (options.Monitor == "stdio" && user is not null) throw new UsageException("--monitor", $"stdio is taken by {user}; give --serial pty or none, or --monitor PATH for a socket");
    }
}
