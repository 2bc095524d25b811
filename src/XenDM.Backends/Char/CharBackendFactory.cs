using System;
using System.Collections.Generic;
using System.Globalization;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Backends.Char;

/// <summary>Makes backends from the words of <c>-chardev</c> and <c>-serial</c>.</summary>
public sealed class CharBackendFactory
{
    private const string AllTypes = "null, file, pipe, pty, serial, socket and stdio";

    /// <summary>What each kind takes besides its id.</summary>
    private static readonly Dictionary<string, string[]> s_keys = new()
    {
        ["null"] = [],
        ["vc"] = ["width", "height", "cols", "rows"],
        ["file"] = ["path", "append"],
        ["pty"] = [],
        ["stdio"] = ["signal"],
        ["pipe"] = ["path"],
        ["serial"] = ["path"],
        ["tty"] = ["path"],
        ["socket"] = ["path", "host", "port", "fd", "server", "wait", "nodelay", "ipv4", "ipv6", "telnet", "reconnect", "reconnect-ms"],
    };

    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;
    private readonly Dictionary<string, CharBackend> _byLabel = [];
    private string? _stdioUser;

    public CharBackendFactory(IEventLoop loop, IMachineLog log)
    {
        _loop = loop;
        _log = log;
    }

    /// <summary>All backends made so far, by label.</summary>
    public IReadOnlyDictionary<string, CharBackend> All => _byLabel;

    /// <summary>A backend from <c>-chardev backend,id=...,key=value...</c>.</summary>
    /// <param name="options">The kind in the key <c>backend</c>.</param>
    /// <exception cref="CharOpenException">A key is missing, wrong or unknown, or the backend cannot be opened.</exception>
    public CharBackend FromChardev(IReadOnlyDictionary<string, string> options)
    {
        var label = options.GetValueOrDefault("id") ?? throw new CharOpenException("-chardev: 'id=' is missing");
        var type = options.GetValueOrDefault("backend")
            ?? throw new CharOpenException($"-chardev {label}: the kind of backend is missing; known are {AllTypes}");
        CheckNew(label);
        CheckKeys(options, label, type);
        return Add(type switch
        {
            "null" or "vc" => new CharBackend(label),
            "file" => new FileChar(label, Required(options, label, "path"), Flag(options, label, "append", false), Warn),
            "pty" => StreamChar.Pty(label, _loop),
            "stdio" => Stdio(label, Flag(options, label, "signal", true)),
            "pipe" => StreamChar.Pipe(label, Required(options, label, "path"), _loop),
            "serial" or "tty" => StreamChar.Device(label, Required(options, label, "path"), "serial", _loop),
            _ => Socket(options, label),
        });
    }

    /// <summary>A backend from a <c>-serial</c> argument.</summary>
    /// <param name="label">serial0 to serial3.</param>
    /// <returns>Null for <c>none</c>: no such port.</returns>
    /// <exception cref="CharOpenException">The argument is wrong, or the backend cannot be opened.</exception>
    public CharBackend? FromSerial(string label, string spec)
    {
        var (kind, rest) = spec.IndexOf(':', StringComparison.Ordinal) is var colon and >= 0 ? (spec[..colon], spec[(colon + 1)..]) : (spec, "");
        switch (kind)
        {
            case "none": return null;
            case "chardev":
                return _byLabel.TryGetValue(rest, out var known) ? known : throw new CharOpenException($"-serial {spec}: there is no -chardev with id={rest}");

            // The monitor that QEMU multiplexes onto the line is left out; QMP has its own sockets.
            case "mon": return FromSerial(label, rest);
        }

        CheckNew(label);
        switch (kind)
        {
            case "null" or "vc": return Add(new CharBackend(label));
            case "pty": return Add(StreamChar.Pty(label, _loop));
            case "stdio": return Add(Stdio(label, signal: true));
            case "file": return Add(new FileChar(label, Path(spec, rest), append: false, Warn));
            case "pipe": return Add(StreamChar.Pipe(label, Path(spec, rest), _loop));
            case "unix": return Add(UnixSerial(label, Path(spec, rest)));
            case "tcp": return Add(TcpSerial(label, spec, rest, telnet: false));
            case "telnet": return Add(TcpSerial(label, spec, rest, telnet: true));
        }

        if (spec.StartsWith('/')) return Add(StreamChar.Device(label, spec, "serial", _loop));
        throw new CharOpenException($"-serial {spec}: not known; known are none, null, pty, stdio, file:, pipe:, unix:, tcp:, telnet:, chardev: and /dev/...");
    }

    /// <summary>Ends a backend and forgets it; its label is free again.</summary>
    public void Close(CharBackend backend)
    {
        if (_byLabel.GetValueOrDefault(backend.Label) == backend) _byLabel.Remove(backend.Label);
        backend.Dispose();
    }

    private void CheckNew(string label)
    {
        if (_byLabel.ContainsKey(label)) throw new CharOpenException($"-chardev: id={label} is given twice");
    }

    private static void CheckKeys(IReadOnlyDictionary<string, string> options, string label, string type)
    {
        if (!s_keys.TryGetValue(type, out var known)) throw new CharOpenException($"-chardev {label}: '{type}' is not built; known are {AllTypes}");
        foreach (var (key, value) in options)
        {
            if (key is "id" or "backend" || Array.IndexOf(known, key) >= 0) continue;
            if (key is "mux" && value is "off" or "no") continue;
            var others = known.Length > 0 ? "; known are " + string.Join(", ", known) : "";
            throw new CharOpenException($"-chardev {label}: '{key}={value}' is not known for {type}{others}");
        }
    }

    private static string Path(string spec, string rest) => rest.Length > 0 ? rest : throw new CharOpenException($"-serial {spec}: a path is missing");

    private StreamChar Stdio(string label, bool signal)
    {
        if (_stdioUser is not null) throw new CharOpenException($"chardev {label}: standard input and output are used by {_stdioUser} already");
        var stdio = StreamChar.Stdio(label, _loop, signal);
        _stdioUser = label;
        return stdio;
    }

    private CharBackend Add(CharBackend backend)
    {
        _byLabel.Add(backend.Label, backend);
        return backend;
    }

    private SocketChar Socket(IReadOnlyDictionary<string, string> options, string label)
    {
        var server = Flag(options, label, "server", false);
        var fd = options.TryGetValue("fd", out var number) ? Number(label, "fd", number, int.MaxValue) : -1;
        var path = options.GetValueOrDefault("path");
        var kinds = (fd >= 0 ? 1 : 0) + (path is not null ? 1 : 0) + (options.ContainsKey("port") ? 1 : 0);
        if (kinds != 1) throw new CharOpenException($"-chardev {label}: exactly one of 'path=', 'port=' and 'fd=' is needed");
        var reconnect = options.TryGetValue("reconnect", out var seconds) ? Number(label, "reconnect", seconds, 86400) * 1000
            : options.TryGetValue("reconnect-ms", out var milliseconds) ? Number(label, "reconnect-ms", milliseconds, 86_400_000) : 0;
        if (server && reconnect > 0) throw new CharOpenException($"-chardev {label}: 'reconnect=' is for clients, not with server=on");
        if (!server && options.ContainsKey("wait")) throw new CharOpenException($"-chardev {label}: 'wait=' is for servers, not with server=off");
        if (fd >= 0 && reconnect > 0) throw new CharOpenException($"-chardev {label}: 'reconnect=' needs an address, not 'fd='");
        var (ipv4, ipv6) = (Flag(options, label, "ipv4", !options.ContainsKey("ipv6")), Flag(options, label, "ipv6", !options.ContainsKey("ipv4")));
        if (!ipv4 && !ipv6) throw new CharOpenException($"-chardev {label}: one of ipv4 and ipv6 must be on");
        var port = kinds == 1 && fd < 0 && path is null ? Number(label, "port", options["port"], 65535) : 0;
        return Open(label, new SocketAddressSpec(path, Host(options.GetValueOrDefault("host") ?? ""), port, fd, server, Flag(options, label, "nodelay", true))
        {
            AllowIpv4 = ipv4,
            AllowIpv6 = ipv6,
            IsTelnet = Flag(options, label, "telnet", false),
            Reconnect = TimeSpan.FromMilliseconds(reconnect),
        }, Flag(options, label, "wait", server));
    }

    private SocketChar UnixSerial(string label, string rest)
    {
        var words = rest.Split(',');
        var known = ServerWords(label, words);
        return Open(label, new SocketAddressSpec(words[0], "", 0, -1, known.Server, false) { Reconnect = known.Reconnect }, known.Wait);
    }

    private SocketChar TcpSerial(string label, string spec, string rest, bool telnet)
    {
        var words = rest.Split(',');
        var colon = words[0].LastIndexOf(':');
        if (colon < 0) throw new CharOpenException($"-serial {spec}: HOST:PORT is needed");
        var known = ServerWords(label, words);
        var port = Number(label, "port", words[0][(colon + 1)..], 65535);
        var address = new SocketAddressSpec(null, Host(words[0][..colon]), port, -1, known.Server, true) { IsTelnet = telnet, Reconnect = known.Reconnect };
        return Open(label, address, known.Wait);
    }

    /// <summary>IPv6 addresses may stand in brackets.</summary>
    private static string Host(string text) => text.StartsWith('[') && text.EndsWith(']') ? text[1..^1] : text;

    private SocketChar Open(string label, SocketAddressSpec address, bool wait)
    {
        var socket = new SocketChar(label, address, _loop, Warn);
        if (!wait || !address.IsServer) return socket;
        _log.Info(label, $"waits for a connection to {socket.FileName}");
        socket.WaitForClient();
        return socket;
    }

    /// <summary>The words behind an address: <c>server,nowait</c> and their newer forms.</summary>
    private static (bool Server, bool Wait, TimeSpan Reconnect) ServerWords(string label, string[] words)
    {
        bool server = false, wait = true;
        var reconnect = TimeSpan.Zero;
        for (var i = 1; i < words.Length; i++)
        {
            switch (words[i])
            {
                case "server" or "server=on": server = true; break;
                case "server=off": server = false; break;
                case "nowait" or "wait=off": wait = false; break;
                case "wait" or "wait=on": wait = true; break;
                case "nodelay" or "nodelay=on" or "delay=off": break;
                case var word when word.StartsWith("reconnect=", StringComparison.Ordinal):
                    reconnect = TimeSpan.FromSeconds(Number(label, "reconnect", word["reconnect=".Length..], 86400));
                    break;
                default:
                    throw new CharOpenException($"chardev {label}: '{words[i]}' is not known here; known are server, nowait, nodelay and reconnect=SECONDS");
            }
        }

        if (server && reconnect > TimeSpan.Zero) throw new CharOpenException($"chardev {label}: 'reconnect=' is for clients, not with server");
        return (server, wait, reconnect);
    }

    private static string Required(IReadOnlyDictionary<string, string> options, string label, string key) =>
        options.GetValueOrDefault(key) ?? throw new CharOpenException($"-chardev {label}: '{key}=' is missing");

    private static bool Flag(IReadOnlyDictionary<string, string> options, string label, string key, bool otherwise) => options.GetValueOrDefault(key) switch
    {
        null => otherwise,
        "on" or "yes" or "true" or "y" => true,
        "off" or "no" or "false" or "n" => false,
        var value => throw new CharOpenException($"-chardev {label}: '{key}={value}' must be on or off"),
    };

    private static int Number(string label, string key, string text, int max) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= max
            ? number
            : throw new CharOpenException($"-chardev {label}: '{key}={text}' must be a number up to {max}");

    private void Warn(string text) => _log.Warn("chardev", text);
}
