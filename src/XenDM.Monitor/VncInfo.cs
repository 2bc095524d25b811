using System.Collections.Generic;

namespace XenDM.Monitor;

/// <summary>One end of a VNC connection.</summary>
/// <param name="Host">Numeric address; empty at a Unix socket.</param>
/// <param name="Service">Port, or the path of a Unix socket.</param>
/// <param name="Family">ipv4, ipv6 or unix.</param>
public sealed record VncEndInfo(string Host, string Service, string Family, bool IsWebSocket);

/// <param name="CertificateName">Null without a certificate.</param>
public sealed record VncPeerInfo(VncEndInfo End, string? CertificateName);

/// <summary>A VNC server as <c>query-vnc</c> shows it.</summary>
/// <param name="Addresses">Where it listens; the first one is where toolstacks send people to.</param>
/// <param name="Auth">none, vnc, or vencrypt with what is within, joined by plus signs.</param>
/// <param name="Clients">Those who were let in.</param>
public sealed record VncInfo(IReadOnlyList<VncEndInfo> Addresses, string Auth, IReadOnlyList<VncPeerInfo> Clients);
