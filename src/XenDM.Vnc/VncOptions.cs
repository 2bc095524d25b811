using System;
using XenDM.Core.Display;

namespace XenDM.Vnc;

/// <summary>Who may look at the same time.</summary>
public enum VncSharing
{
    /// <summary>A client that asks for the screen alone gets it: the others are sent away, and no one else comes in meanwhile.</summary>
    AllowExclusive,

    /// <summary>A client that asks for the screen alone is sent away.</summary>
    ForceShared,

    /// <summary>What clients ask for makes no difference.</summary>
    Ignore,
}

/// <summary>Where browsers connect.</summary>
/// <param name="Host">Null: the host of the server itself.</param>
/// <param name="Port">Null: 5700 and the number of the display.</param>
public sealed record VncWebSocket(string? Host, int? Port);

/// <summary>The X.509 credentials of the server.</summary>
/// <param name="Folder">Holds server-cert.pem and server-key.pem, and ca-cert.pem where peers are verified.</param>
/// <param name="VerifyPeer">A client must have a certificate of that authority.</param>
public sealed record VncCredentials(string Folder, bool VerifyPeer);

/// <summary>A VNC server as it was asked for.</summary>
public sealed record VncOptions
{
    /// <summary>TCP port of display 0, and of display 0 for browsers.</summary>
    public const int FirstPort = 5900, FirstWebPort = 5700;

    /// <summary>Largest number of a display.</summary>
    public const int MaxDisplay = 65535 - FirstPort;

    /// <summary>A name or address; empty: all addresses of this host.</summary>
    public string Host { get; init; } = "";

    public int Display { get; init; }

    /// <summary>While ports are taken the next display is tried, up to this one.</summary>
    public int LastDisplay { get; init; }

    /// <summary>A TCP port instead of that of the display; 0 for any.</summary>
    public int? Port { get; init; }

    /// <summary>A Unix socket instead of host and display.</summary>
    public string? UnixPath { get; init; }

    public VncWebSocket? WebSocket { get; init; }

    /// <summary>False leaves IPv4, or IPv6, out.</summary>
    public bool AllowsIPv4 { get; init; } = true;

    public bool AllowsIPv6 { get; init; } = true;

    /// <summary>Clients must know the password; while none is set, none gets in.</summary>
    public bool NeedsPassword { get; init; }

    /// <summary>The password from the start; null for none yet.</summary>
    public string? Password { get; init; }

    public VncCredentials? Credentials { get; init; }

    public VncSharing Sharing { get; init; }

    /// <summary>Clients that ask for it get JPEG.</summary>
    public bool IsLossy { get; init; }

    /// <summary>Milliseconds from one key to the next, so that the guest's keyboard keeps up.</summary>
    public int KeyDelay { get; init; } = 10;

    /// <summary>Name of the keyboard's layout in the guest, for clients that tell no key codes.</summary>
    public string Keymap { get; init; } = "en-us";

    /// <summary>The window's title at the client.</summary>
    public string Title { get; init; } = "XenDM";

    /// <summary>Clients that are let in at the same time.</summary>
    public int MaxClients { get; init; } = 64;

    /// <summary>Connections at the same time that are not let in yet; one more sends the oldest away.</summary>
    public int MaxStrangers { get; init; } = 32;

    /// <summary>How long a client may take to be let in; a person types the password meanwhile.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Makes an encoder of JPEG pictures; null for none.</summary>
    public Func<IJpegEncoder?>? Jpeg { get; init; }
}
