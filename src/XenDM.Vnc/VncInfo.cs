namespace XenDM.Vnc;

/// <summary>One end of a connection, as monitors tell it.</summary>
/// <param name="Host">Numeric address; empty at a Unix socket.</param>
/// <param name="Service">Port, or the path of a Unix socket.</param>
/// <param name="Family">ipv4, ipv6 or unix.</param>
public sealed record VncEnd(string Host, string Service, string Family, bool IsWebSocket);

/// <summary>A client.</summary>
/// <param name="Server">The end that it came to.</param>
/// <param name="Peer">Its own end.</param>
/// <param name="CertificateName">Distinguished name of its certificate; null for none.</param>
public sealed record VncClientInfo(VncEnd Server, VncEnd Peer, string? CertificateName);
