using System.Collections.Generic;
using System.Net;

namespace XenDM.Backends.Net;

/// <summary>A net backend that was asked for, checked as far as that goes without touching the host.</summary>
/// <param name="Id">The netdev's id; NICs name it.</param>
public abstract record NetdevSpec(string Id);

/// <summary>A port of the host that leads into the guest.</summary>
/// <param name="IsUdp">UDP; else TCP.</param>
/// <param name="Host">Where the host listens; any address with <see cref="IPAddress.Any"/>.</param>
/// <param name="HostPort">0 lets the kernel choose.</param>
/// <param name="Guest">Any: the address that DHCP gives first.</param>
public sealed record PortForward(bool IsUdp, IPAddress Host, int HostPort, IPAddress Guest, int GuestPort)
{
    public override string ToString() =>
        $"{(IsUdp ? "udp" : "tcp")}:{(Host.Equals(IPAddress.Any) ? "" : Host)}:{HostPort}-{(Guest.Equals(IPAddress.Any) ? "" : Guest)}:{GuestPort}";
}

/// <summary>User-mode NAT: a router, DHCP, DNS and TFTP server inside this process, and the host's own sockets behind it.</summary>
public sealed record UserNetdev(string Id) : NetdevSpec(Id)
{
    public bool HasIpv4 { get; init; } = true;

    public bool HasIpv6 { get; init; } = true;

    /// <summary>The guest reaches this network only, and what is forwarded.</summary>
    public bool IsRestricted { get; init; }

    public IPNetwork Network { get; init; } = IPNetwork.Parse("10.0.2.0/24");

    /// <summary>The router, behind which the host is; null for the second address of the network.</summary>
    public IPAddress? Host { get; init; }

    /// <summary>The first address that DHCP gives; null for the 15th of the network.</summary>
    public IPAddress? DhcpStart { get; init; }

    /// <summary>The name server that guests are told of; null for the third address of the network.</summary>
    public IPAddress? Dns { get; init; }

    public IPNetwork Network6 { get; init; } = IPNetwork.Parse("fec0::/64");

    /// <inheritdoc cref="Host"/>
    public IPAddress? Host6 { get; init; }

    /// <inheritdoc cref="Dns"/>
    public IPAddress? Dns6 { get; init; }

    /// <summary>Name that DHCP tells the guest.</summary>
    public string? HostName { get; init; }

    public string? DomainName { get; init; }

    public IReadOnlyList<string> DnsSearch { get; init; } = [];

    /// <summary>Folder that the TFTP server serves; null for no such server.</summary>
    public string? Tftp { get; init; }

    public string? TftpServerName { get; init; }

    /// <summary>File for network boot that DHCP tells the guest.</summary>
    public string? BootFile { get; init; }

    public IReadOnlyList<PortForward> Forwards { get; init; } = [];
}

/// <summary>A tap interface of the host.</summary>
public sealed record TapNetdev(string Id) : NetdevSpec(Id)
{
    /// <summary>Its name, made when there is none; a pattern such as <c>tap%d</c> for the next free one. Null with <see cref="Fds"/>.</summary>
    public string? Interface { get; init; } = "tap%d";

    /// <summary>Open descriptors of one tap, one per queue, owned by the backend.</summary>
    public IReadOnlyList<int> Fds { get; init; } = [];

    /// <summary>1 to 8.</summary>
    public int Queues { get; init; } = 1;

    /// <summary>The kernel is asked to take and give frames undone.</summary>
    public bool HasVnetHeader { get; init; } = true;

    /// <summary>Bytes that the kernel holds for the guest before the guest has to wait; 0 for the kernel's own limit.</summary>
    public int SendBuffer { get; init; }
}

/// <summary>What carries the frames of a <see cref="SocketNetdev"/>.</summary>
public enum NetSocketKind
{
    /// <summary>A connection that somebody else begins; each frame after its length in 4 bytes, big endian.</summary>
    Listen,

    /// <summary>The same begun by us.</summary>
    Connect,

    /// <summary>Each frame a datagram.</summary>
    Datagram,

    /// <summary>Each frame a datagram to an IPv4 multicast group: one wire for all who join.</summary>
    Multicast,
}

/// <summary>Frames over a socket of the host, to another device model as a rule.</summary>
public sealed record SocketNetdev(string Id, NetSocketKind Kind) : NetdevSpec(Id)
{
    /// <summary>Path of a unix socket: where a server listens or a client connects, or where a datagram socket is bound; null for others.</summary>
    public string? Path { get; init; }

    /// <summary>Where datagrams go to, for unix sockets.</summary>
    public string? PeerPath { get; init; }

    /// <summary>Where a server listens or a datagram socket is bound; the multicast interface's address.</summary>
    public IPEndPoint? Local { get; init; }

    /// <summary>Name or address of the other end; the multicast group.</summary>
    public string Host { get; init; } = "";

    public int Port { get; init; }

    /// <summary>A connected or bound socket, owned by the backend; -1 for none.</summary>
    public int Fd { get; init; } = -1;

    /// <summary>Seconds after which a client tries again; 0 for never.</summary>
    public int ReconnectSeconds { get; init; }
}

/// <summary>Frames of a netdev go into a pcap file.</summary>
/// <param name="Id">Name of the dump.</param>
/// <param name="NetdevId">Whose frames.</param>
/// <param name="MaxBytes">Longer frames are cut in the file.</param>
public sealed record DumpSpec(string Id, string NetdevId, string File, int MaxBytes = DumpSpec.DefaultMaxBytes)
{
    public const int DefaultMaxBytes = 65536;
}
