using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Vnc;

/// <summary>The sockets that clients come to.</summary>
internal sealed class VncListener : IDisposable
{
    private const int Backlog = 64;
    private const int KeepAliveSeconds = 60;
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(1);

    private readonly List<(Socket Socket, VncEnd End)> _sockets = [];
    private string? _path;

    private VncListener()
    {
    }

    public IReadOnlyList<VncEnd> Ends => _sockets.ConvertAll(static s => s.End);

    /// <summary>-1 for none.</summary>
    public int Display { get; private set; } = -1;

    /// <exception cref="VncException">An address cannot be had.</exception>
    public static VncListener Open(VncOptions options)
    {
        var listener = new VncListener();
        try
        {
            listener.OpenAll(options);
            return listener;
        }
        catch
        {
            listener.Dispose();
            throw;
        }
    }

    public void Start(VncServer server, CancellationToken stop)
    {
        foreach (var (socket, end) in _sockets) _ = AcceptAsync(server, socket, end, stop);
    }

    public void Dispose()
    {
        foreach (var (socket, _) in _sockets) socket.Dispose();
        if (_path is not null) File.Delete(_path);
    }

    private void OpenAll(VncOptions options)
    {
        if (options.UnixPath is { } path)
        {
            OpenUnix(path);
            if (options.WebSocket is { } web) OpenTcp(options, web.Host ?? "", web.Port ?? VncOptions.FirstWebPort, isWeb: true);
            return;
        }

        for (var display = options.Display; ; display++)
        {
            try
            {
                OpenTcp(options, options.Host, options.Port ?? VncOptions.FirstPort + display, isWeb: false);
                if (options.WebSocket is { } web) OpenTcp(options, web.Host ?? options.Host, web.Port ?? VncOptions.FirstWebPort + display, isWeb: true);
                Display = display;
                return;
            }
            catch (VncException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse } && display < options.LastDisplay)
            {
                foreach (var (socket, _) in _sockets) socket.Dispose();
                _sockets.Clear();
            }
        }
    }

    private void OpenUnix(string path)
    {
        try
        {
            // A socket that a process left behind is in the way; anything else is not ours to take away.
            if (File.Exists(path) && IsLeftOver(path)) File.Delete(path);
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            _sockets.Add((socket, new VncEnd("", path, "unix", false)));
            socket.Bind(new UnixDomainSocketEndPoint(path));
            _path = Path.GetFullPath(path);
            socket.Listen(Backlog);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new VncException($"cannot listen at '{path}': {e.Message}", e);
        }
    }

    private static bool IsLeftOver(string path)
    {
        try
        {
            // A file opens, a socket does not.
            using var file = File.OpenHandle(path);
            return false;
        }
        catch (IOException)
        {
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return false;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode == SocketError.ConnectionRefused;
        }
    }

    private void OpenTcp(VncOptions options, string host, int port, bool isWeb)
    {
        SocketException? failure = null;
        var isOpen = false;
        if (port > ushort.MaxValue) throw new VncException($"there is no port {port}");
        foreach (var address in Resolve(options, host))
        {
            Socket? socket = null;
            try
            {
                socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                if (address.AddressFamily == AddressFamily.InterNetworkV6) socket.DualMode = address.Equals(IPAddress.IPv6Any) && options.AllowsIPv4;
                socket.Bind(new IPEndPoint(address, port));
                socket.Listen(Backlog);
                _sockets.Add((socket, Describe(socket.LocalEndPoint!, isWeb)));
                isOpen = true;
            }
            catch (SocketException e)
            {
                socket?.Dispose();

                // A name stands for addresses that not every host has; but what another one has taken is taken.
                failure = e;
                if (e.SocketErrorCode == SocketError.AddressAlreadyInUse) break;
            }
        }

        var isTaken = failure?.SocketErrorCode == SocketError.AddressAlreadyInUse;
        if (!isOpen || isTaken) throw new VncException($"cannot listen at {(host.Length == 0 ? "any address" : host)}, port {port}: {failure?.Message ?? "it has no such address"}", failure!);
    }

    /// <returns>Addresses to listen at, IPv4 first.</returns>
    private static List<IPAddress> Resolve(VncOptions options, string host)
    {
        if (host.Length == 0) return [options.AllowsIPv6 && Socket.OSSupportsIPv6 ? IPAddress.IPv6Any : IPAddress.Any];
        var addresses = new List<IPAddress>();
        try
        {
            addresses.AddRange(IPAddress.TryParse(host, out var literal) ? [literal] : Dns.GetHostAddresses(host));
        }
        catch (SocketException e)
        {
            throw new VncException($"there is no host '{host}': {e.Message}", e);
        }

        addresses.RemoveAll(a => !(a.AddressFamily == AddressFamily.InterNetwork ? options.AllowsIPv4 : options.AllowsIPv6));
        addresses.Sort(static (a, b) => (a.AddressFamily == AddressFamily.InterNetworkV6).CompareTo(b.AddressFamily == AddressFamily.InterNetworkV6));
        return addresses;
    }

    private static VncEnd Describe(EndPoint? end, bool isWeb)
    {
        if (end is not IPEndPoint ip) return new VncEnd("", "", "unix", isWeb);
        var address = ip.Address.IsIPv4MappedToIPv6 ? ip.Address.MapToIPv4() : ip.Address;
        var service = ip.Port.ToString(CultureInfo.InvariantCulture);
        return new VncEnd(address.ToString(), service, address.AddressFamily == AddressFamily.InterNetworkV6 ? "ipv6" : "ipv4", isWeb);
    }

    private static async Task AcceptAsync(VncServer server, Socket listener, VncEnd end, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(stop);
                var peer = end.Family == "unix" ? end with { Service = "" } : Describe(socket.RemoteEndPoint, end.IsWebSocket);
                if (end.Family != "unix") Tune(socket);
                _ = server.ServeAsync(new NetworkStream(socket, ownsSocket: true), end, peer, end.IsWebSocket);
            }
            catch (SocketException e)
            {
                // Out of descriptors, or a client that was gone before it was there: others may have more luck later.
                server.Tell($"a connection could not be taken: {e.Message}");
                await Task.Delay(s_pause, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private static void Tune(Socket socket)
    {
        try
        {
            socket.NoDelay = true;
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, KeepAliveSeconds);
        }
        catch (SocketException)
        {
            // It is gone again, which its task will find out.
        }
    }
}
