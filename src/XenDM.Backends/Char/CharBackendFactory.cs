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
    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;
    private readonly Dictionary<string, CharBackend> _byLabel = [];

    public CharBackendFactory(IEventLoop loop, IMachineLog log)
    {
        _loop = loop;
        _log = log;
    }

    /// <summary>All backends made so far, by label.</summary>
    public IReadOnlyDictionary<string, CharBackend> All => _byLabel;

    /// <summary>A backend from <c>-chardev backend,id=...,key=value...</c>.</summary>
    /// <exception cref="CharOpenException">A key is missing or wrong, or the backend cannot be opened.</exception>
    public CharBackend FromChardev(IReadOnlyDictionary<string, string> options)
    {
        var label = options.GetValueOrDefault("id") ?? throw new CharOpenException("-chardev: 'id=' is missing");
        var type = options.GetValueOrDefault("backend") ?? throw new CharOpenException($"-chardev {label}: the kind of backend is missing; known are {AllTypes}");
        return Add(type switch
        {
            "null" or "vc" or "ringbuf" => new CharBackend(label),
            "file" => new FileChar(label, Required(options, label, "path"), Flag(options, label, "append", false), Warn),
            "pty" => StreamChar.Pty(label, _loop),
            "stdio" => StreamChar.Stdio(label, _loop, Flag(options, label, "signal", true)),
            "pipe" => StreamChar.Pipe(label, Required(options, label, "path"), _loop),
            "serial" or "tty" => StreamChar.Device(label, Required(options, label, "path"), "serial", _loop),
            "socket" => Socket(options, label),
            _ => throw new CharOpenException($"-chardev {label}: '{type}' is not built; known are {AllTypes}"),
        });
    }

    /// <summary>A backend from a <c>-serial</c> argument.</summary>
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
            case "mon": return FromSerial(label, rest);
            case "null" or "vc": return Add(new CharBackend(label));
            case "pty": return Add(StreamChar.Pty(label, _loop));
            case "stdio": return Add(StreamChar.Stdio(label, _loop, signal: true));
            case "file": return Add(new FileChar(label, rest, append: false, Warn));
            case "pipe": return Add(StreamChar.Pipe(label, rest, _loop));
            case "unix": return Add(UnixSerial(label, rest));
            case "tcp": return Add(TcpSerial(label, rest));
        }

        if (spec.StartsWith('/')) return Add(StreamChar.Device(label, spec, "serial", _loop));
        throw new CharOpenException($"-serial {spec}: not known; known are none, null, pty, stdio, file:, pipe:, unix:, tcp:, chardev: and /dev/...");
    }

    private CharBackend Add(CharBackend backend)
    {
        if (_byLabel.TryAdd(backend.Label, backend)) return backend;
        backend.Dispose();
        throw new CharOpenException($"-chardev: id={backend.Label} is given twice");
    }

    private SocketChar Socket(IReadOnlyDictionary<string, string> options, string label)
    {
        foreach (var key in (ReadOnlySpan<string>)["telnet", "websocket", "tn3270", "abstract"])
            if (Flag(options, label, key, false)) throw new CharOpenException($"-chardev {label}: {key} is not built");
        var server = Flag(options, label, "server", false);
        var fd = options.TryGetValue("fd", out var number) ? Number(label, "fd", number, int.MaxValue) : -1;
        var path = options.GetValueOrDefault("path");
        if (fd < 0 && path is null && !options.ContainsKey("port")) throw new CharOpenException($"-chardev {label}: one of 'path=', 'port=' and 'fd=' is needed");
        var port = fd < 0 && path is null ? Number(label, "port", options["port"], 65535) : 0;
        return Open(label, new SocketAddressSpec(path, options.GetValueOrDefault("host") ?? "", port, fd, server, Flag(options, label, "nodelay", true)), Flag(options, label, "wait", server));
    }

    private SocketChar UnixSerial(string label, string rest)
    {
        var words = rest.Split(',');
        var (server, wait) = ServerWords(label, words);
        return Open(label, new SocketAddressSpec(words[0], "", 0, -1, server, false), wait);
    }

    private SocketChar TcpSerial(string label, string rest)
    {
        var words = rest.Split(',');
        var colon = words[0].LastIndexOf(':');
        if (colon < 0) throw new CharOpenException($"-serial tcp:{rest}: HOST:PORT is needed");
        var (server, wait) = ServerWords(label, words);
        return Open(label, new SocketAddressSpec(null, words[0][..colon].Trim('[', ']'), Number(label, "port", words[0][(colon + 1)..], 65535), -1, server, true), wait);
    }

    private SocketChar Open(string label, SocketAddressSpec address, bool wait)
    {
        var socket = new SocketChar(label, address, _loop);
        if (!wait || !address.IsServer) return socket;
        _log.Info(label, $"waits for a connection to {socket.FileName}");
        socket.WaitForClient();
        return socket;
    }

    private static (bool Server, bool Wait) ServerWords(string label, string[] words)
    {
        bool server = false, wait = true;
        for (var i = 1; i < words.Length; i++)
        {
            switch (words[i])
            {
                case "server" or "server=on": server = true; break;
                case "server=off": break;
                case "nowait" or "wait=off": wait = false; break;
                case "wait" or "wait=on" or "nodelay" or "nodelay=on": break;
                default: throw new CharOpenException($"{label}: '{words[i]}' is not known");
            }
        }

        return (server, wait);
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
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= max ? number : throw new CharOpenException($"-chardev {label}: '{key}={text}' must be a number up to {max}");

    private void Warn(string text) => _log.Warn("chardev", text);
}
