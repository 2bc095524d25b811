using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary>libxenevtchn: event channels of this process. Ports are numbers of this domain; calls return a value or the negative errno.</summary>
public sealed partial class XenEventChannel : XenHandle
{
    private const string Library = "libxenevtchn.so.1";

    /// <exception cref="XenException">The library is not installed, or this process may not open /dev/xen/evtchn.</exception>
    public XenEventChannel()
    {
        Open(Library, static () => xenevtchn_open(0, 0), "/dev/xen/evtchn");
        Fd = xenevtchn_fd(Pointer);
    }

    /// <summary>Readable while a port is pending.</summary>
    public int Fd { get; }

    /// <summary>Joins an event channel that <paramref name="domain"/> offers.</summary>
    /// <returns>The local port.</returns>
    public int BindInterdomain(ushort domain, uint remotePort) => Result(xenevtchn_bind_interdomain(Pointer, domain, remotePort));

    /// <summary>Offers a new event channel to <paramref name="domain"/>.</summary>
    /// <returns>The local port.</returns>
    public int BindUnbound(ushort domain) => Result(xenevtchn_bind_unbound_port(Pointer, domain));

    public int Unbind(int port) => Result(xenevtchn_unbind(Pointer, (uint)port));

    public int Notify(int port) => Result(xenevtchn_notify(Pointer, (uint)port));

    /// <summary>
    /// All ports that fired, in one call; each stays masked until <see cref="Unmask"/>. This and Unmask speak to the device as the library does
    /// (xen/sys/evtchn.h: reading gives port numbers, writing unmasks), but for many ports at once. Blocks while none is pending, unless the
    /// descriptor is non-blocking.
    /// </summary>
    /// <returns>How many, or the negative errno.</returns>
    public int TakePending(Span<uint> ports)
    {
        var bytes = Posix.Read(Fd, MemoryMarshal.AsBytes(ports));
        return bytes < 0 ? (int)bytes : (int)bytes / sizeof(uint);
    }

    /// <returns>0 or the negative errno.</returns>
    public int Unmask(ReadOnlySpan<uint> ports) => (int)Math.Min(0, Posix.Write(Fd, MemoryMarshal.AsBytes(ports)));

    protected override bool ReleaseHandle() => xenevtchn_close(handle) == 0;

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xenevtchn_open(nint logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xenevtchn_close(nint handle);

    [LibraryImport(Library)]
    private static partial int xenevtchn_fd(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_bind_interdomain(nint handle, uint domain, uint port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_bind_unbound_port(nint handle, uint domain);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_unbind(nint handle, uint port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenevtchn_notify(nint handle, uint port);
}
