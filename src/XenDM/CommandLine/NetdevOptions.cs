using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using XenDM.Backends.Net;
using XenDM.Machines;

namespace XenDM.CommandLine;

/// <summary>Reads <c>-netdev</c>, <c>-nic</c>, <c>-net</c> and <c>-object filter-dump</c> in QEMU's words.</summary>
internal static class NetdevOptions
{
    private const int MaxQueues = 8;
    private const string AllTypes = "user, tap, socket, stream and dgram";

    private static readonly string[] s_userKeys =
    [
        "type", "id", "ipv4", "ipv6", "restrict", "net", "host", "dhcpstart", "dns", "ipv6-net", "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns", "hostname", "dnssearch", "domainname",
        "tftp", "tftp-server-name", "bootfile", "hostfwd",
    ];

    private static readonly string[] s_tapKeys = ["type", "id", "ifname", "br", "script", "downscript", "fd", "fds", "vnet_hdr", "vhost", "vhostforce", "vhostfd", "vhostfds", "queues", "sndbuf"];
    private static readonly string[] s_socketKeys = ["type", "id", "fd", "listen", "connect", "mcast", "localaddr", "udp"];
    private static readonly string[] s_streamKeys = ["type", "id", "server", "addr.type", "addr.host", "addr.port", "addr.path", "addr.str", "addr.ipv4", "addr.ipv6", "reconnect", "reconnect-ms"];

    private static readonly string[] s_datagramKeys =
    [
        "type", "id", "local.type", "local.host", "local.port", "local.path", "local.str", "remote.type", "remote.host", "remote.port", "remote.path", "remote.str",
    ];

    private static readonly string[] s_dumpKeys = ["qom-type", "id", "netdev", "file", "maxlen", "queue", "status"];

    /// <summary>Everything that a backend of some type takes.</summary>
    public static IReadOnlyList<string> Keys { get; } = [.. s_userKeys, .. s_tapKeys, .. s_socketKeys, .. s_streamKeys, .. s_datagramKeys];

    /// <summary>All backends, in the order of the command line.</summary>
    /// <exception cref="UsageException">One is wrong, or an id is given twice.</exception>
    public static List<NetdevSpec> FromOptions(QemuOptions options)
    {
        var specs = new List<NetdevSpec>();
        foreach (var list in options.Netdevs)
        {
            var spec = Netdev(list);
            if (specs.Exists(s => s.Id == spec.Id)) throw new UsageException(list.Option, $"id={spec.Id} is given twice");
            specs.Add(spec);
        }

        return specs;
    }

    /// <summary>The ids of backends, for <see cref="Machines.NicSpec"/>.</summary>
    public static List<string> Ids(IReadOnlyList<NetdevSpec> specs)
    {
        var ids = new List<string>();
        foreach (var spec in specs) ids.Add(spec.Id);
        return ids;
    }

    /// <summary>All dumps; each names a backend that is there.</summary>
    /// <exception cref="UsageException">One is wrong.</exception>
    public static List<DumpSpec> Dumps(QemuOptions options, IReadOnlyList<NetdevSpec> netdevs)
    {
        var dumps = new List<DumpSpec>();
        foreach (var list in options.Objects)
        {
            var type = list.Get("qom-type");
            if (type is VncSpec.CredentialsType or VncSpec.SecretType) continue;
            if (type != "filter-dump") throw new UsageException(list.Option, $"'{type}' is not built; known are filter-dump, {VncSpec.CredentialsType} and {VncSpec.SecretType}");
            list.AllowOnly(s_dumpKeys);
            if (list.Get("queue") is { } queue and not "all") throw new UsageException(list.Option, $"queue={queue} is not built; a dump has both directions (all)");
            if (list.Get("status") is { } status and not "on") throw new UsageException(list.Option, $"status={status} is not built; a dump is on from the start");
            var netdev = list.Require("netdev");
            var found = false;
            foreach (var spec in netdevs) found |= spec.Id == netdev;
            if (!found) throw new UsageException(list.Option, $"netdev={netdev}: there is no such -netdev");
            dumps.Add(new DumpSpec(list.Require("id"), netdev, list.Require("file"), (int)list.GetNumber("maxlen", DumpSpec.DefaultMaxBytes, 1, 1 << 20)));
        }

        return dumps;
    }

    /// <summary>One backend.</summary>
    /// <exception cref="UsageException">It is wrong.</exception>
    public static NetdevSpec Netdev(OptionList list)
    {
        var id = list.Require("id");
        return list.Require("type") switch
        {
            "user" => User(id, list),
            "tap" => Tap(id, list),
            "socket" => Socket(id, list),
            "stream" => Stream(id, list),
            "dgram" => Datagram(id, list),
            var type => throw new UsageException(list.Option, $"'{type}' is not built; known are {AllTypes}"),
        };
    }

    /// <summary><c>-nic</c>: a backend with its NIC.</summary>
    public static void ParseNic(QemuOptions options, string name, string value)
    {
        if (value == "none") return;
        var list = OptionList.Parse(name, value, "type");
        var id = list.Get("id") ?? $"nicdev{options.Netdevs.Count}";
        var (netdev, device) = Split(list, id);
        options.Netdevs.Add(netdev);
        options.Devices.Add(device);
    }

    /// <summary>Tells the words of a NIC from those of its backend.</summary>
    public static (OptionList Netdev, OptionList Device) Split(OptionList list, string id)
    {
        var netdev = $"{OptionList.Escape(list.Require("type"))},id={OptionList.Escape(id)}";
        var device = $"{OptionList.Escape(list.Get("model") ?? Machines.NicSpec.DefaultModel)},netdev={OptionList.Escape(id)}";
        foreach (var (key, value) in list.Pairs)
        {
            if (key is "mac" or "romfile" or "rombar" or "bootindex" or "addr") device += $",{key}={OptionList.Escape(value)}";
            else if (key == "macaddr") device += $",mac={OptionList.Escape(value)}";
            else if (key is not ("type" or "id" or "model")) netdev += $",{key}={OptionList.Escape(value)}";
        }

        return (OptionList.Parse(list.Option, netdev, "type"), OptionList.Parse(list.Option, device, "driver"));
    }

    /// <summary><c>-net none</c>, and the older form of one NIC and one backend.</summary>
    public static void ParseNet(QemuOptions options, string name, string value)
    {
        if (value == "none") return;
        options.Nets.Add(OptionList.Parse(name, value, "type"));
    }

    /// <summary>Joins <c>-net nic</c> with the backend that was given for it.</summary>
    /// <exception cref="UsageException">There are several: those were on one wire, which is not built.</exception>
    public static void JoinNets(QemuOptions options)
    {
        OptionList? nic = null, backend = null;
        foreach (var list in options.Nets)
        {
            if (list.Require("type") == "nic")
            {
                if (list.Get("netdev") is null && nic is not null) throw new UsageException("-net", "several NICs on one wire are not built; use -nic, once for each");
                if (list.Get("netdev") is null) nic = list;
                else options.Devices.Add(NicDevice(list, list.Get("netdev")!));
            }
            else if (backend is not null) throw new UsageException("-net", "several backends on one wire are not built; use -nic, once for each");
            else backend = list;
        }

        if (nic is null && backend is null) return;
        const string id = "net-wire";
        if (backend is not null) options.Netdevs.Add(Split(backend, id).Netdev);
        if (nic is not null) options.Devices.Add(NicDevice(nic, backend is null ? "" : id));
    }

    private static OptionList NicDevice(OptionList nic, string netdev)
    {
        nic.AllowOnly("type", "netdev", "macaddr", "model", "addr", "name", "vectors");
        var text = $"{OptionList.Escape(nic.Get("model") ?? Machines.NicSpec.DefaultModel)},netdev={OptionList.Escape(netdev)}";
        if (nic.Get("macaddr") is { } mac) text += $",mac={OptionList.Escape(mac)}";
        if (nic.Get("addr") is { } address) text += $",addr={OptionList.Escape(address)}";
        if (nic.Get("name") is { } id) text += $",id={OptionList.Escape(id)}";
        return OptionList.Parse("-net", text, "driver");
    }

    private static UserNetdev User(string id, OptionList list)
    {
        list.AllowOnly(s_userKeys);
        var spec = new UserNetdev(id);
        var network = list.Get("net") is { } net ? Network(list, "net", net, AddressFamily.InterNetwork) : spec.Network;
        if (network.PrefixLength > 28) throw new UsageException(list.Option, $"net={network}: has no room for the router, the name server and guests");
        var network6 = spec.Network6;
        if (list.Get("ipv6-net") is { } net6) network6 = Network(list, "ipv6-net", net6, AddressFamily.InterNetworkV6);
        else if (list.Get("ipv6-prefix") is { } prefix) network6 = Network(list, "ipv6-prefix", $"{prefix}/{list.GetNumber("ipv6-prefixlen", 64, 0, 126)}", AddressFamily.InterNetworkV6);
        var search = new List<string>();
        var forwards = new List<PortForward>();
        foreach (var (key, value) in list.Pairs)
        {
            if (key == "dnssearch") search.Add(value);
            else if (key == "hostfwd") forwards.Add(Forward(list.Option, value));
        }

        spec = spec with
        {
            // Naming one of the two leaves the other out, unless it is named as well.
            HasIpv4 = list.GetBool("ipv4", list.Get("ipv6") is null || !list.GetBool("ipv6", true)),
            HasIpv6 = list.GetBool("ipv6", list.Get("ipv4") is null || !list.GetBool("ipv4", true)),
            IsRestricted = list.GetBool("restrict", false),
            Network = network,
            Network6 = network6,
            Host = Inside(list, "host", network),
            DhcpStart = Inside(list, "dhcpstart", network),
            Dns = Inside(list, "dns", network),
            Host6 = Inside(list, "ipv6-host", network6),
            Dns6 = Inside(list, "ipv6-dns", network6),
            HostName = Short(list, "hostname", 33),
            DomainName = Short(list, "domainname", 255),
            DnsSearch = search,
            Tftp = list.Get("tftp"),
            TftpServerName = Short(list, "tftp-server-name", 255),
            BootFile = Short(list, "bootfile", 127),
            Forwards = forwards,
        };
        if (!spec.HasIpv4 && !spec.HasIpv6) throw new UsageException(list.Option, "ipv4=off,ipv6=off leaves nothing");
        if (spec.Tftp is { } folder && !System.IO.Directory.Exists(folder)) throw new UsageException(list.Option, $"tftp='{folder}' is no folder");
        return spec;
    }

    /// <summary>A forward in the words <c>[tcp|udp]:[HOSTADDRESS]:HOSTPORT-[GUESTADDRESS]:GUESTPORT</c>.</summary>
    /// <exception cref="UsageException">It is something else.</exception>
    public static PortForward Forward(string option, string text)
    {
        UsageException Wrong(string why) => new(option, $"'hostfwd={text}': {why}; write [tcp|udp]:[HOSTADDRESS]:HOSTPORT-[GUESTADDRESS]:GUESTPORT");
        var dash = text.IndexOf('-', StringComparison.Ordinal);
        if (dash < 0) throw Wrong("the guest's side is missing");
        var host = text[..dash].Split(':');
        var guest = text[(dash + 1)..].Split(':');
        if (host.Length != 3 || guest.Length != 2) throw Wrong("parts are missing");
        if (host[0] is not ("" or "tcp" or "udp")) throw Wrong($"'{host[0]}' is neither tcp nor udp");
        if (!TryAddress(host[1], out var hostAddress)) throw Wrong($"'{host[1]}' is no IPv4 address");
        if (!TryAddress(guest[0], out var guestAddress)) throw Wrong($"'{guest[0]}' is no IPv4 address");
        if (!TryPort(host[2], 0, out var hostPort)) throw Wrong($"'{host[2]}' is no port");
        if (!TryPort(guest[1], 1, out var guestPort)) throw Wrong($"'{guest[1]}' is no port");
        return new PortForward(host[0] == "udp", hostAddress, hostPort, guestAddress, guestPort);
    }

    private static bool TryAddress(string text, out IPAddress address)
    {
        address = IPAddress.Any;
        return text.Length == 0 || (IPAddress.TryParse(text, out address!) && address.AddressFamily == AddressFamily.InterNetwork);
    }

    private static bool TryPort(string text, int least, out int port) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port >= least && port <= ushort.MaxValue;

    private static IPNetwork Network(OptionList list, string key, string text, AddressFamily family)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        var isV4 = family == AddressFamily.InterNetwork;
        var bits = isV4 ? 32 : 128;
        if (!IPAddress.TryParse(slash < 0 ? text : text[..slash], out var address) || address.AddressFamily != family) throw new UsageException(list.Option, $"'{key}={text}' is no network");
        var bytes = address.GetAddressBytes();
        int length;
        if (slash < 0) length = !isV4 ? 64 : bytes[0] < 128 ? 8 : bytes[0] < 192 ? 16 : 24;
        else if (int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out length) && length <= bits)
        {
        }
        else if (!isV4 || !IPAddress.TryParse(text.AsSpan(slash + 1), out var mask) || !TryLength(mask, out length)) throw new UsageException(list.Option, $"'{key}={text}': the length of the network is no number up to {bits}");

        for (var bit = length; bit < bits; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        return new IPNetwork(new IPAddress(bytes), length);
    }

    private static bool TryLength(IPAddress mask, out int length)
    {
        var bits = 0U;
        foreach (var one in mask.GetAddressBytes()) bits = (bits << 8) | one;
        length = System.Numerics.BitOperations.LeadingZeroCount(~bits);
        return bits == (length == 0 ? 0 : uint.MaxValue << (32 - length));
    }

    private static IPAddress? Inside(OptionList list, string key, IPNetwork network)
    {
        if (list.Get(key) is not { } text) return null;
        if (!IPAddress.TryParse(text, out var address) || address.AddressFamily != network.BaseAddress.AddressFamily) throw new UsageException(list.Option, $"'{key}={text}' is no address");
        return network.Contains(address) && !address.Equals(network.BaseAddress) ? address : throw new UsageException(list.Option, $"'{key}={text}' lies outside of the network {network}");
    }

    private static string? Short(OptionList list, string key, int most)
    {
        if (list.Get(key) is not { } text) return null;
        return System.Text.Encoding.UTF8.GetByteCount(text) <= most ? text : throw new UsageException(list.Option, $"'{key}=' has up to {most} characters");
    }

    private static TapNetdev Tap(string id, OptionList list)
    {
        list.AllowOnly(s_tapKeys);
        if (list.GetBool("vhost", false) || list.GetBool("vhostforce", false) || list.Get("vhostfd") is not null || list.Get("vhostfds") is not null)
            throw new UsageException(list.Option, "vhost is not built: it serves virtio, which this board does not have");
        foreach (var key in (ReadOnlySpan<string>)["script", "downscript"])
            if (list.Get(key) is { Length: > 0 } script and not "no") throw new UsageException(list.Option, $"{key}={script}: scripts are not run here; say {key}=no and set the interface up outside");
        var fds = new List<int>();
        if (list.Get("fd") is not null) fds.Add((int)list.GetNumber("fd", 0, 0, int.MaxValue));
        if (list.Get("fds") is { } several)
        {
            if (fds.Count > 0) throw new UsageException(list.Option, "fd= and fds= exclude each other");
            foreach (var text in several.Split(':')) fds.Add((int)OptionList.Number(list.Option, "fds", text, 0, int.MaxValue));
        }

        if (fds.Count > MaxQueues) throw new UsageException(list.Option, $"fds= has up to {MaxQueues} descriptors");
        if (fds.Count > 0 && (list.Get("ifname") is not null || list.Get("queues") is not null)) throw new UsageException(list.Option, "ifname= and queues= have no effect on open descriptors");
        var name = list.Get("ifname");
        if (name is not null && (name.Length is 0 or > 15 || name.AsSpan().IndexOfAny('/', ' ') >= 0)) throw new UsageException(list.Option, $"'ifname={name}' is no name of an interface (up to 15 characters)");
        return new TapNetdev(id)
        {
            Interface = fds.Count > 0 ? null : name ?? "tap%d",
            Fds = fds,
            Queues = fds.Count > 0 ? fds.Count : (int)list.GetNumber("queues", 1, 1, MaxQueues),
            HasVnetHeader = list.GetBool("vnet_hdr", true),
            SendBuffer = (int)list.GetNumber("sndbuf", 0, 0, int.MaxValue),
        };
    }

    private static SocketNetdev Socket(string id, OptionList list)
    {
        list.AllowOnly(s_socketKeys);
        var kinds = 0;
        foreach (var key in (ReadOnlySpan<string>)["fd", "listen", "connect", "mcast", "udp"]) kinds += list.Get(key) is null ? 0 : 1;
        if (kinds != 1) throw new UsageException(list.Option, "exactly one of fd=, listen=, connect=, mcast= and udp= must be given");
        if (list.Get("localaddr") is not null && list.Get("mcast") is null && list.Get("udp") is null) throw new UsageException(list.Option, "localaddr= belongs to mcast= or udp=");
        if (list.Get("fd") is not null) return new SocketNetdev(id, NetSocketKind.Connect) { Fd = (int)list.GetNumber("fd", 0, 0, int.MaxValue) };
        if (list.Get("listen") is { } listen) return new SocketNetdev(id, NetSocketKind.Listen) { Local = EndPoint(list, "listen", listen) };
        if (list.Get("connect") is { } connect)
        {
            var (host, port) = HostAndPort(list, "connect", connect);
            return new SocketNetdev(id, NetSocketKind.Connect) { Host = host, Port = port };
        }

        if (list.Get("mcast") is { } group)
        {
            var (host, port) = HostAndPort(list, "mcast", group);
            if (!IPAddress.TryParse(host, out var address) || address.AddressFamily != AddressFamily.InterNetwork || address.GetAddressBytes()[0] is < 224 or > 239)
                throw new UsageException(list.Option, $"'mcast={group}' must be an IPv4 multicast address (224.0.0.0 to 239.255.255.255) and a port");
            var through = IPAddress.Any;
            if (list.Get("localaddr") is { } local && !TryAddress(local, out through)) throw new UsageException(list.Option, $"'localaddr={local}' is no IPv4 address");
            return new SocketNetdev(id, NetSocketKind.Multicast) { Host = host, Port = port, Local = new IPEndPoint(through, port) };
        }

        var (peer, peerPort) = HostAndPort(list, "udp", list.Require("udp"));
        return new SocketNetdev(id, NetSocketKind.Datagram) { Host = peer, Port = peerPort, Local = EndPoint(list, "localaddr", list.Require("localaddr")) };
    }

    private static SocketNetdev Stream(string id, OptionList list)
    {
        list.AllowOnly(s_streamKeys);
        var isServer = list.GetBool("server", false);
        var reconnect = (int)list.GetNumber("reconnect", 0, 0, 86400);
        if (list.Get("reconnect-ms") is not null) reconnect = (int)((list.GetNumber("reconnect-ms", 0, 0, 86_400_000) + 999) / 1000);
        if (isServer && reconnect > 0) throw new UsageException(list.Option, "reconnect= belongs to clients");
        var spec = new SocketNetdev(id, isServer ? NetSocketKind.Listen : NetSocketKind.Connect) { ReconnectSeconds = reconnect };
        switch (list.Require("addr.type"))
        {
            case "unix": return spec with { Path = list.Require("addr.path") };
            case "fd" when !isServer: return spec with { Fd = (int)OptionList.Number(list.Option, "addr.str", list.Require("addr.str"), 0, int.MaxValue) };
            case "inet":
                var (host, port) = (list.Require("addr.host"), Port(list, "addr.port", list.Require("addr.port")));
                return isServer ? spec with { Local = new IPEndPoint(Address(list, "addr.host", host), port) } : spec with { Host = host, Port = port };
            case var type: throw new UsageException(list.Option, $"addr.type={type} is not built{(isServer ? " for a server" : "")}; known are inet and unix, and fd for a connection");
        }
    }

    private static SocketNetdev Datagram(string id, OptionList list)
    {
        list.AllowOnly(s_datagramKeys);
        var (local, remote) = (list.Get("local.type"), list.Get("remote.type"));
        if (remote == "inet" && list.Get("remote.host") is { } group && IPAddress.TryParse(group, out var address) && address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes()[0] is >= 224 and <= 239)
        {
            var port = Port(list, "remote.port", list.Require("remote.port"));
            var through = local is null ? IPAddress.Any : local == "inet" ? Address(list, "local.host", list.Require("local.host")) : throw new UsageException(list.Option, $"local.type={local} is not built for multicast; known is inet");
            return new SocketNetdev(id, NetSocketKind.Multicast) { Host = group, Port = port, Local = new IPEndPoint(through, port) };
        }

        switch (local)
        {
            case "inet" when remote == "inet":
                return new SocketNetdev(id, NetSocketKind.Datagram)
                {
                    Local = new IPEndPoint(Address(list, "local.host", list.Require("local.host")), Port(list, "local.port", list.Require("local.port"))),
                    Host = list.Require("remote.host"),
                    Port = Port(list, "remote.port", list.Require("remote.port")),
                };
            case "unix" when remote == "unix": return new SocketNetdev(id, NetSocketKind.Datagram) { Path = list.Require("local.path"), PeerPath = list.Require("remote.path") };
            case "fd" when remote is null: return new SocketNetdev(id, NetSocketKind.Datagram) { Fd = (int)OptionList.Number(list.Option, "local.str", list.Require("local.str"), 0, int.MaxValue) };
            default: throw new UsageException(list.Option, $"local.type={local ?? "(none)"} with remote.type={remote ?? "(none)"} is not built; known are inet or unix for both, a multicast group as remote, and local.type=fd alone");
        }
    }

    private static (string Host, int Port) HostAndPort(OptionList list, string key, string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0) throw new UsageException(list.Option, $"'{key}={text}' must be HOST:PORT");
        return (text[..colon].Trim('[', ']'), Port(list, key, text[(colon + 1)..]));
    }

    private static IPEndPoint EndPoint(OptionList list, string key, string text)
    {
        var (host, port) = HostAndPort(list, key, text);
        return new IPEndPoint(Address(list, key, host), port);
    }

    /// <summary>An address of this host; no names, for which somebody would have to be asked.</summary>
    private static IPAddress Address(OptionList list, string key, string text)
    {
        if (text.Length == 0) return IPAddress.Any;
        if (text == "localhost") return IPAddress.Loopback;
        return IPAddress.TryParse(text, out var address) ? address : throw new UsageException(list.Option, $"'{key}': '{text}' is no address of this host");
    }

    private static int Port(OptionList list, string key, string text) => (int)OptionList.Number(list.Option, key, text, 0, ushort.MaxValue);
}
