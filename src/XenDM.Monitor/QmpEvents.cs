using System;
using System.Collections.Generic;
using System.Text.Json;

namespace XenDM.Monitor;

/// <summary>Tells every session what happens to the machine.</summary>
public sealed class QmpEvents
{
    private readonly Func<(long Seconds, int Microseconds)> _time;
    private readonly List<QmpSession> _sessions = [];

    /// <param name="time">The host's wall clock since 1970.</param>
    public QmpEvents(Func<(long Seconds, int Microseconds)> time) => _time = time;

    public void Add(QmpSession session) => _sessions.Add(session);

    /// <summary>An event without data: STOP, RESUME, POWERDOWN, SUSPEND, WAKEUP.</summary>
    public void Send(string name) => Send(name, null);

    /// <param name="name">RESET or SHUTDOWN.</param>
    public void SendWithReason(string name, bool byGuest) => Send(name, w =>
    {
        w.WriteBoolean("guest", byGuest);
        w.WriteString("reason", (name, byGuest) switch
        {
            ("RESET", true) => "guest-reset",
            ("RESET", false) => "host-qmp-system-reset",
            (_, true) => "guest-shutdown",
            _ => "host-qmp-quit",
        });
    });

    public void BlockIoError(string device, bool isWrite, bool noSpace, string reason) => Send("BLOCK_IO_ERROR", w =>
    {
        w.WriteString("device", device);
        w.WriteString("node-name", device);
        w.WriteString("operation", isWrite ? "write" : "read");
        w.WriteString("action", "report");
        w.WriteBoolean("nospace", noSpace);
        w.WriteString("reason", reason);
    });

    public void TrayMoved(string device, string id, bool isOpen) => Send("DEVICE_TRAY_MOVED", w =>
    {
        w.WriteString("device", device);
        w.WriteString("id", id);
        w.WriteBoolean("tray-open", isOpen);
    });

    /// <param name="name">VNC_CONNECTED, VNC_INITIALIZED or VNC_DISCONNECTED.</param>
    public void Vnc(string name, VncEndInfo server, string auth, VncPeerInfo client) => Send(name, w => QmpVnc.WriteEvent(w, server, auth, client));

    private void Send(string name, Action<Utf8JsonWriter>? data)
    {
        var (seconds, microseconds) = _time();
        foreach (var session in _sessions)
            session.SendEvent(w =>
            {
                w.WriteStartObject();
                w.WriteStartObject("timestamp");
                w.WriteNumber("seconds", seconds);
                w.WriteNumber("microseconds", microseconds);
                w.WriteEndObject();
                w.WriteString("event", name);
                if (data is not null)
                {
                    w.WriteStartObject("data");
                    data(w);
                    w.WriteEndObject();
                }

                w.WriteEndObject();
            });
    }
}
