using System.Globalization;
using System.Text.Json;

namespace XenDM.Monitor;

/// <summary>The VNC server's commands and events, in QEMU's words (qapi/ui.json).</summary>
public static class QmpVnc
{
    internal static void Query(VncInfo? vnc, Utf8JsonWriter w)
    {
        w.WriteStartObject();
        w.WriteBoolean("enabled", vnc is not null);
        if (vnc is not null)
        {
            if (vnc.Addresses.Count > 0) WriteAddress(w, vnc.Addresses[0]);
            w.WriteString("auth", vnc.Auth);
            WriteClients(vnc, w);
        }

        w.WriteEndObject();
    }

    internal static void QueryServers(VncInfo? vnc, Utf8JsonWriter w)
    {
        w.WriteStartArray();
        if (vnc is not null)
        {
            w.WriteStartObject();
            w.WriteString("id", "default");
            w.WriteStartArray("server");
            foreach (var address in vnc.Addresses)
            {
                w.WriteStartObject();
                WriteEnd(w, address);
                WriteAuth(vnc, w);
                w.WriteEndObject();
            }

            w.WriteEndArray();
            WriteAuth(vnc, w);
            WriteClients(vnc, w);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    internal static void SetPassword(IMonitorTarget target, QmpArguments a)
    {
        CheckProtocol(a);
        var password = a.Text("password");
        a.OptionalText("display");
        var connected = a.OptionalText("connected") ?? "keep";
        if (connected is not ("keep" or "fail" or "disconnect")) throw new QmpException($"Parameter 'connected' does not accept value '{connected}'");
        if (connected != "keep") throw new QmpException("parameter 'connected' must be 'keep' when 'protocol' is 'vnc'");
        target.SetVncPassword(password);
    }

    internal static void ExpirePassword(IMonitorTarget target, QmpArguments a)
    {
        CheckProtocol(a);
        a.OptionalText("display");
        Expire(target, a.Text("time"));
    }

    /// <param name="when"><c>now</c>, <c>never</c>, <c>+SECONDS</c>, or seconds since 1970.</param>
    /// <exception cref="QmpException">Something else, or there is no server.</exception>
    public static void Expire(IMonitorTarget target, string when)
    {
        var isFromNow = when.StartsWith('+');
        var seconds = when switch
        {
            "now" => 0,
            "never" => long.MaxValue,
            _ => long.TryParse(isFromNow ? when[1..] : when, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number
                : throw new QmpException($"'{when}' must be now, never, +SECONDS or seconds since 1970"),
        };
        target.ExpireVncPassword(seconds, isFromNow);
    }

    internal static void WriteEvent(Utf8JsonWriter w, VncEndInfo server, string auth, VncPeerInfo client)
    {
        w.WriteStartObject("server");
        WriteEnd(w, server);
        w.WriteString("auth", auth);
        w.WriteEndObject();
        w.WriteStartObject("client");
        WritePeer(w, client);
        w.WriteEndObject();
    }

    private static void CheckProtocol(QmpArguments a)
    {
        var protocol = a.Text("protocol");
        if (protocol == "spice") throw new QmpException(QmpException.DeviceNotActive, "SPICE is not in use");
        if (protocol != "vnc") throw new QmpException($"Parameter 'protocol' does not accept value '{protocol}'");
    }

    private static void WriteClients(VncInfo vnc, Utf8JsonWriter w)
    {
        w.WriteStartArray("clients");
        foreach (var client in vnc.Clients)
        {
            w.WriteStartObject();
            WritePeer(w, client);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    /// <summary>The first word is the security type, the others what VeNCrypt holds.</summary>
    private static void WriteAuth(VncInfo vnc, Utf8JsonWriter w)
    {
        var plus = vnc.Auth.IndexOf('+', System.StringComparison.Ordinal);
        w.WriteString("auth", plus < 0 ? vnc.Auth : vnc.Auth[..plus]);
        if (plus >= 0) w.WriteString("vencrypt", vnc.Auth[(plus + 1)..].Replace('+', '-'));
    }

    private static void WritePeer(Utf8JsonWriter w, VncPeerInfo client)
    {
        WriteEnd(w, client.End);
        if (client.CertificateName is not null) w.WriteString("x509_dname", client.CertificateName);
    }

    private static void WriteAddress(Utf8JsonWriter w, VncEndInfo end)
    {
        w.WriteString("host", end.Host);
        w.WriteString("service", end.Service);
        w.WriteString("family", end.Family);
    }

    private static void WriteEnd(Utf8JsonWriter w, VncEndInfo end)
    {
        WriteAddress(w, end);
        w.WriteBoolean("websocket", end.IsWebSocket);
    }
}
