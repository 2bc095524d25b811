using System.Runtime.InteropServices;

namespace XenDM.Interop.Slirp;

/// <summary><c>SlirpConfig</c> of libslirp.h, the fields of version 1, which all versions since 4.0 take. Addresses are in the order of the wire.</summary>
[StructLayout(LayoutKind.Explicit, Size = 184)]
internal unsafe struct SlirpConfig
{
    [FieldOffset(0)] public uint Version;
    [FieldOffset(4)] public int Restricted;
    [FieldOffset(8)] public byte HasIpv4;
    [FieldOffset(12)] public uint Network;
    [FieldOffset(16)] public uint Mask;
    [FieldOffset(20)] public uint Host;
    [FieldOffset(24)] public byte HasIpv6;
    [FieldOffset(28)] public fixed byte Prefix6[16];
    [FieldOffset(44)] public byte Prefix6Length;
    [FieldOffset(48)] public fixed byte Host6[16];
    [FieldOffset(64)] public byte* HostName;
    [FieldOffset(72)] public byte* TftpServerName;
    [FieldOffset(80)] public byte* TftpPath;
    [FieldOffset(88)] public byte* BootFile;
    [FieldOffset(96)] public uint DhcpStart;
    [FieldOffset(100)] public uint NameServer;
    [FieldOffset(104)] public fixed byte NameServer6[16];

    /// <summary>Ends with a null.</summary>
    [FieldOffset(120)] public byte** DnsSearch;
    [FieldOffset(128)] public byte* DomainName;

    /// <summary>0: 1500 bytes.</summary>
    [FieldOffset(136)] public nuint Mtu;
    [FieldOffset(144)] public nuint Mru;
    [FieldOffset(152)] public byte DisableHostLoopback;
    [FieldOffset(153)] public byte EnableEmulation;
}

/// <summary><c>SlirpCb</c> of libslirp.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SlirpCallbacks
{
    public delegate* unmanaged<byte*, nuint, nint, nint> SendPacket;
    public delegate* unmanaged<byte*, nint, void> GuestError;
    public delegate* unmanaged<nint, long> ClockNanoseconds;
    public delegate* unmanaged<delegate* unmanaged<nint, void>, nint, nint, nint> TimerNew;
    public delegate* unmanaged<nint, nint, void> TimerFree;
    public delegate* unmanaged<nint, long, nint, void> TimerModify;
    public delegate* unmanaged<int, nint, void> RegisterPollFd;
    public delegate* unmanaged<int, nint, void> UnregisterPollFd;
    public delegate* unmanaged<nint, void> Notify;

    // Version 4 of the configuration.
    public nint InitCompleted;
    public nint TimerNewOpaque;
}
