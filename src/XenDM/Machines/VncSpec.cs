using System;
using System.IO;
using System.Text;
using XenDM.CommandLine;
using XenDM.Vnc;
using XenDM.Vnc.Keymaps;

namespace XenDM.Machines;

/// <summary>The VNC server of a command line: <c>-vnc</c> in QEMU's words, with what other options say of it.</summary>
internal static class VncSpec
{
    private const string Option = "-vnc";
    internal const string CredentialsType = "tls-creds-x509", SecretType = "secret";
    private const int MaxKeyDelay = 1000;

    private static readonly string[] s_keys =
    [
        "vnc", "to", "password", "password-secret", "websocket", "tls-creds", "share", "lossy", "key-delay-ms", "ipv4", "ipv6", "non-adaptive", "lock-key-sync", "power-control", "id",
        "display", "head", "connections",
    ];

    /// <returns>Null when there is to be none.</returns>
    /// <exception cref="UsageException">The first mistake.</exception>
    public static VncOptions? FromOptions(QemuOptions options)
    {
        if (options.Vnc is null or "none") return null;
        var list = OptionList.Parse(Option, options.Vnc, "vnc", null, s_keys);
        foreach (var pair in list.Pairs)
            if (pair.Key is "reverse" or "sasl" or "tls-authz" or "sasl-authz" or "acl" or "audiodev") throw new UsageException(Option, $"'{pair.Key}' is not built");
        list.AllowOnly(s_keys);
        var address = list.Require("vnc");
        if (address == "none") return null;
        var vnc = new VncOptions
        {
            NeedsPassword = list.GetBool("password", false) || list.Get("password-secret") is not null,
            Password = list.Get("password-secret") is { } secret ? Secret(options, secret) : null,
            WebSocket = WebSocket(list.Get("websocket")),
            Credentials = list.Get("tls-creds") is { } id ? Credentials(options, id) : null,
            IsLossy = list.GetBool("lossy", false),
            KeyDelay = (int)list.GetNumber("key-delay-ms", 10, 0, MaxKeyDelay),
            AllowsIPv4 = list.GetBool("ipv4", !list.GetBool("ipv6", false)),
            AllowsIPv6 = list.GetBool("ipv6", !list.GetBool("ipv4", false)),
            MaxClients = (int)list.GetNumber("connections", 64, 1, 1024),
            Sharing = list.Get("share") switch
            {
                null or "allow-exclusive" => VncSharing.AllowExclusive,
                "force-shared" => VncSharing.ForceShared,
                "ignore" => VncSharing.Ignore,
                var share => throw new UsageException(Option, $"share={share} must be allow-exclusive, force-shared or ignore"),
            },
            Keymap = KeymapName(options.Keymap ?? Keymap.Default),
            Title = options.Name.Length > 0 ? $"XenDM ({options.Name})" : "XenDM",
        };

        // What only QEMU can do without is not an error where it is switched off.
        if (list.GetBool("power-control", false)) throw new UsageException(Option, "'power-control' is not built");
        if (address.StartsWith("unix:", StringComparison.Ordinal)) return vnc with { UnixPath = UnixPath(address[5..]) };
        var colon = address.LastIndexOf(':');
        if (colon < 0) throw new UsageException(Option, $"'{address}' must be HOST:DISPLAY, unix:PATH or none");
        var display = (int)OptionList.Number(Option, "display", address[(colon + 1)..], 0, VncOptions.MaxDisplay);
        return vnc with { Host = Host(address[..colon]), Display = display, LastDisplay = (int)list.GetNumber("to", display, 0, VncOptions.MaxDisplay) };
    }

    private static string KeymapName(string name)
    {
        foreach (var known in Keymap.Names)
            if (known == name) return name;
        throw new UsageException("-k", $"there is no keyboard layout '{name}'; there are {string.Join(", ", Keymap.Names)}");
    }

    private static string UnixPath(string path)
    {
        const int max = 107;
        if (path.Length == 0) throw new UsageException(Option, "unix: the path of a socket is missing");
        return Encoding.UTF8.GetByteCount(path) <= max ? path : throw new UsageException(Option, $"'{path}' is longer than the {max} bytes that the path of a socket may have");
    }

    /// <summary>IPv6 addresses stand in brackets.</summary>
    private static string Host(string text) => text.StartsWith('[') && text.EndsWith(']') ? text[1..^1] : text;

    private static VncWebSocket? WebSocket(string? text)
    {
        if (text is null or "off") return null;
        if (text is "on" or "") return new VncWebSocket(null, null);
        var colon = text.LastIndexOf(':');
        var port = (int)OptionList.Number(Option, "websocket", text[(colon + 1)..], 1, ushort.MaxValue);
        return new VncWebSocket(colon < 0 ? null : Host(text[..colon]), port);
    }

    private static OptionList Find(QemuOptions options, string id, string type)
    {
        foreach (var item in options.Objects)
            if (item.Get("id") == id && item.Get("qom-type") == type) return item;
        throw new UsageException(Option, $"there is no -object {type} with id={id}");
    }

    private static VncCredentials Credentials(QemuOptions options, string id)
    {
        var item = Find(options, id, CredentialsType);
        item.AllowOnly("qom-type", "id", "dir", "endpoint", "verify-peer", "priority", "sanity-check");
        if (item.Get("endpoint") is { } endpoint and not "server") throw new UsageException(item.Option, $"endpoint={endpoint}: a VNC server needs the credentials of a server");
        return new VncCredentials(item.Require("dir"), item.GetBool("verify-peer", true));
    }

    private static string Secret(QemuOptions options, string id)
    {
        var item = Find(options, id, SecretType);
        item.AllowOnly("qom-type", "id", "data", "file", "format");
        try
        {
            var text = item.Get("file") is { } file ? File.ReadAllText(file, Encoding.Latin1) : item.Require("data");
            return (item.Get("format") ?? "raw") switch
            {
                "raw" => text,
                "base64" => Encoding.Latin1.GetString(Convert.FromBase64String(text)),
                var format => throw new UsageException(item.Option, $"format={format} must be raw or base64"),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            throw new UsageException(item.Option, $"the secret '{id}' cannot be read: {e.Message}");
        }
    }

    /// <summary>The moment that <c>expire_password</c> names.</summary>
    public static DateTimeOffset Expiry(long seconds, bool isFromNow)
    {
        if (seconds == long.MaxValue) return DateTimeOffset.MaxValue;
        var now = isFromNow ? DateTimeOffset.UtcNow.ToUnixTimeSeconds() : 0;
        return DateTimeOffset.FromUnixTimeSeconds(Math.Min(seconds, DateTimeOffset.MaxValue.ToUnixTimeSeconds() - now) + now);
    }
}
