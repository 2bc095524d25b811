using System;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web;

/// <summary>Where a device model listens for QMP or VNC clients: the path of a Unix socket, or a host and a TCP port.</summary>
/// <param name="Path">Null for TCP.</param>
/// <param name="Host">A name or an address without brackets; empty for a Unix socket.</param>
/// <param name="Port">1 to 65535; 0 for a Unix socket.</param>
public sealed record PeerAddress(string? Path, string Host = "", int Port = 0)
{
    /// <summary>Bytes that the path of a Unix socket may have (sun_path in unix(7), without its final zero).</summary>
    private const int MaxPathBytes = 107;

    /// <param name="text"><c>unix:PATH</c>, a path with a slash in it, <c>HOST:PORT</c> or <c>[ADDRESS]:PORT</c>.</param>
    public static bool TryParse(string text, [NotNullWhen(true)] out PeerAddress? address)
    {
        address = null;
        var path = text.StartsWith("unix:", StringComparison.Ordinal) ? text["unix:".Length..] : text.Contains('/', StringComparison.Ordinal) ? text : null;
        if (path is not null)
        {
            if (path.Length == 0 || System.Text.Encoding.UTF8.GetByteCount(path) > MaxPathBytes || path.Contains('\0', StringComparison.Ordinal)) return false;
            address = new PeerAddress(System.IO.Path.GetFullPath(path));
            return true;
        }

        if (text.StartsWith("tcp:", StringComparison.Ordinal)) text = text["tcp:".Length..];
        var colon = text.LastIndexOf(':');
        if (colon < 0 || !int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port is 0 or > 65535) return false;
        var host = text[..colon];
        if (host.StartsWith('[') && host.EndsWith(']')) host = host[1..^1];
        else if (host.Contains(':', StringComparison.Ordinal)) return false;
        address = new PeerAddress(null, host.Length > 0 ? host : "localhost", port);
        return true;
    }

    /// <exception cref="SocketException">Nobody listens there.</exception>
    public async Task<Socket> ConnectAsync(CancellationToken cancel)
    {
        var socket = Path is null ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true } : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            if (Path is not null) await socket.ConnectAsync(new UnixDomainSocketEndPoint(Path), cancel).ConfigureAwait(false);
            else await socket.ConnectAsync(Host, Port, cancel).ConfigureAwait(false);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public override string ToString() => Path is not null ? $"unix:{Path}" : Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    /// <summary>The address at which a listener can be reached from here, where it listens on all of them.</summary>
    /// <param name="fallback">The host that asked is on the other end of a TCP connection to this host.</param>
    public static string Reachable(string host, string fallback) =>
        host.Length == 0 || (IPAddress.TryParse(host, out var ip) && (ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any))) ? fallback : host;
}
