using System;
using System.Collections.Generic;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Display;
using XenDM.Monitor;
using XenDM.Vnc;

namespace XenDM.Machines;

/// <summary>The VNC server of a guest as its monitors see it.</summary>
internal sealed class GuestVnc : IDisposable
{
    private readonly VncServer _server;

    private GuestVnc(VncServer server) => _server = server;

    /// <summary>Opens the server's sockets; clients are served from now on.</summary>
    /// <param name="options">Null: there is to be none.</param>
    /// <param name="events">Asked for each event anew: monitors come later.</param>
    /// <exception cref="UsageException">An address cannot be had, or the credentials cannot be read.</exception>
    public static GuestVnc? Start(VncOptions? options, IGuestRun guest, IEventLoop loop, IMachineLog log, Func<QmpEvents?> events)
    {
        if (options is null) return null;
        VncServer? server = null;
        try
        {
            options = options with { Jpeg = () => HostJpeg.Open(text => loop.Post(() => log.Warn("vnc", text))) };

            // A later root directory lacks the library; once loaded it is found by its name.
            if (options.IsLossy) HostJpeg.Open(text => log.Warn("vnc", text))?.Dispose();
            server = new VncServer(options, guest.Screen, guest.Input, loop, log);
            var vnc = new GuestVnc(server);
            server.Connected = client => vnc.Tell(events(), "VNC_CONNECTED", client);
            server.Initialized = client => vnc.Tell(events(), "VNC_INITIALIZED", client);
            server.Disconnected = client => vnc.Tell(events(), "VNC_DISCONNECTED", client);
            server.Listen();
            foreach (var address in server.Addresses) log.Info("vnc", $"{(address.IsWebSocket ? "WebSocket" : "VNC")} at {address.Host}{(address.Host.Length > 0 ? ":" : "")}{address.Service}");
            return vnc;
        }
        catch (VncException e)
        {
            server?.Dispose();
            throw new UsageException("-vnc", e.Message);
        }
    }

    /// <summary>What clients can connect to: the first address.</summary>
    public string Address => _server.Addresses is [var first, ..] ? first.Family == "unix" ? first.Service : $"{(first.Family == "ipv6" ? $"[{first.Host}]" : first.Host)}:{first.Service}" : "";

    public VncInfo Info
    {
        get
        {
            var clients = new List<VncPeerInfo>();
            foreach (var client in _server.Clients) clients.Add(Describe(client));
            var addresses = new List<VncEndInfo>();
            foreach (var address in _server.Addresses) addresses.Add(Describe(address));
            return new VncInfo(addresses, _server.Security, clients);
        }
    }

    /// <returns>False when the server asks for no passwords.</returns>
    public bool SetPassword(string password)
    {
        if (!_server.Options.NeedsPassword) return false;
        _server.SetPassword(password);
        return true;
    }

    public void ExpirePassword(DateTimeOffset when) => _server.ExpirePassword(when);

    public void Dispose() => _server.Dispose();

    private static VncEndInfo Describe(VncEnd end) => new(end.Host, end.Service, end.Family, end.IsWebSocket);

    private static VncPeerInfo Describe(VncClientInfo client) => new(Describe(client.Peer), client.CertificateName);

    private void Tell(QmpEvents? events, string name, VncClientInfo client) => events?.Vnc(name, Describe(client.Server), _server.Security, Describe(client));
}
