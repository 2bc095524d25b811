using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Net;
using System.Text;

namespace XenDM.Interop.Libc;

public static unsafe partial class Posix
{
    private const int FamilyUnix = 1;
    private const int FamilyInet = 2;
    private const int FamilyInet6 = 10;
    private const int StreamCloseOnExec = 1 | 0x80000; // SOCK_STREAM | SOCK_CLOEXEC
    private const int SocketNonBlocking = 0x800;
    private const int AcceptFlags = 0x80800; // SOCK_CLOEXEC | SOCK_NONBLOCK
    private const int LevelSocket = 1;
    private const int OptionReuseAddress = 2;
    private const int OptionError = 4;
    private const int LevelTcp = 6;
    private const int OptionTcpNoDelay = 1;
    private const int LevelIpv6 = 41;
    private const int OptionIpv6Only = 26;
    private const int MessageNoSignal = 0x4000;
    private const int MessageCloseOnExec = 0x40000000;
    private const int ControlRights = 1;

    /// <summary>The most descriptors that one <see cref="Receive"/> takes; the kernel passes up to 253.</summary>
    public const int MaxPassedFds = 253;

    /// <summary>Bytes in sockaddr_un's path, with its zero.</summary>
    private const int UnixPathLength = 108;

    /// <summary>A listening unix stream socket. A stale path must be unlinked before.</summary>
    /// <returns>The descriptor (blocking, close-on-exec), or the negative errno; -ENAMETOOLONG past 107 bytes of path.</returns>
    public static int UnixListen(string path, int backlog)
    {
        Span<byte> address = stackalloc byte[2 + UnixPathLength];
        var length = UnixAddress(path, address);
        return length < 0 ? length : Listen(FamilyUnix, address[..length], backlog);
    }

    /// <summary>A connected unix stream socket (close-on-exec), or the negative errno.</summary>
    /// <param name="nonBlocking">-EAGAIN instead of waiting for a server whose backlog is full.</param>
    public static int UnixConnect(string path, bool nonBlocking = false)
    {
        Span<byte> address = stackalloc byte[2 + UnixPathLength];
        var length = UnixAddress(path, address);
        return length < 0 ? length : Connect(FamilyUnix, address[..length], nonBlocking);
    }

    /// <summary>A listening TCP socket on an IPv4 or IPv6 address (IPv6 sockets take IPv6 only); port 0 lets the kernel choose.</summary>
    /// <returns>The descriptor (blocking, close-on-exec), or the negative errno.</returns>
    public static int TcpListen(IPEndPoint endPoint, int backlog)
    {
        Span<byte> address = stackalloc byte[28];
        var length = InetAddress(endPoint, address);
        return Listen(BinaryPrimitives.ReadUInt16LittleEndian(address), address[..length], backlog);
    }

    /// <summary>A TCP connection. Without blocking it is under way on return: wait until it is writable, then ask <see cref="PendingSocketError"/>.</summary>
    /// <returns>The descriptor (close-on-exec), or the negative errno.</returns>
    public static int TcpConnect(IPEndPoint endPoint, bool nonBlocking)
    {
        Span<byte> address = stackalloc byte[28];
        var length = InetAddress(endPoint, address);
        return Connect(BinaryPrimitives.ReadUInt16LittleEndian(address), address[..length], nonBlocking);
    }

    /// <summary>Two connected unix stream sockets, close-on-exec.</summary>
    public static int SocketPair(out int first, out int second)
    {
        var fds = stackalloc int[2];
        var result = (int)Result(LibC.socketpair(FamilyUnix, StreamCloseOnExec, 0, fds));
        (first, second) = result < 0 ? (-1, -1) : (fds[0], fds[1]);
        return result;
    }

    /// <summary>The next connection of a listening socket: non-blocking, close-on-exec. -EAGAIN when a non-blocking listener has none.</summary>
    public static int Accept(int fd)
    {
        int result;
        do result = (int)Result(LibC.accept4(fd, null, null, AcceptFlags));
        while (result == -Errno.EINTR);
        return result;
    }

    /// <summary>Where a TCP socket is bound, or null.</summary>
    public static IPEndPoint? LocalEndPoint(int fd)
    {
        var address = stackalloc byte[128];
        uint length = 128;
        return LibC.getsockname(fd, address, &length) < 0 ? null : EndPoint(new ReadOnlySpan<byte>(address, (int)length));
    }

    /// <summary>The other end of a TCP connection, or null.</summary>
    public static IPEndPoint? RemoteEndPoint(int fd)
    {
        var address = stackalloc byte[128];
        uint length = 128;
        return LibC.getpeername(fd, address, &length) < 0 ? null : EndPoint(new ReadOnlySpan<byte>(address, (int)length));
    }

    /// <summary>How a non-blocking connect ended: 0, or the negative errno.</summary>
    public static int PendingSocketError(int fd)
    {
        int value;
        uint length = sizeof(int);
        var result = (int)Result(LibC.getsockopt(fd, LevelSocket, OptionError, &value, &length));
        return result < 0 ? result : -value;
    }

    /// <summary>Small packets go out at once.</summary>
    public static int SetNoDelay(int fd)
    {
        var on = 1;
        return (int)Result(LibC.setsockopt(fd, LevelTcp, OptionTcpNoDelay, &on, sizeof(int)));
    }

    /// <summary>Sends without raising SIGPIPE.</summary>
    /// <returns>Bytes sent, -EAGAIN when a non-blocking socket is full, or another negative errno.</returns>
    public static int Send(int fd, ReadOnlySpan<byte> data)
    {
        fixed (byte* p = data)
        {
            int result;
            do result = (int)Result(LibC.send(fd, p, (nuint)data.Length, MessageNoSignal));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>
    /// Receives from a unix socket together with the descriptors that travel along (SCM_RIGHTS). They are close-on-exec and the caller's; those that
    /// <paramref name="fds"/> has no room for are closed.
    /// </summary>
    /// <param name="fdCount">Descriptors stored, also when the result is 0 or an error.</param>
    /// <returns>Bytes received, 0 at the end, or the negative errno (-EAGAIN on a non-blocking socket).</returns>
    public static int Receive(int fd, Span<byte> data, Span<int> fds, out int fdCount)
    {
        const int controlLength = 16 + (((MaxPassedFds * 4) + 7) & ~7);
        var control = stackalloc ulong[controlLength / 8];
        fdCount = 0;
        fixed (byte* p = data)
        {
            var vector = new IoVector((nint)p, (nuint)data.Length);
            var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = controlLength };
            int result;
            do result = (int)Result(LibC.recvmsg(fd, &message, MessageCloseOnExec));
            while (result == -Errno.EINTR);
            if (result < 0) return result;

            var offset = 0;
            var end = (int)message.ControlLength;
            while (offset + sizeof(ControlHeader) <= end)
            {
                var header = (ControlHeader*)((byte*)control + offset);
                var length = (int)Math.Min(header->Length, (nuint)(end - offset));
                if (length < sizeof(ControlHeader)) break;
                if (header->Level == LevelSocket && header->Type == ControlRights)
                {
                    var passed = new ReadOnlySpan<int>(header + 1, (length - sizeof(ControlHeader)) / sizeof(int));
                    foreach (var one in passed)
                    {
                        if (fdCount < fds.Length) fds[fdCount++] = one;
                        else Close(one);
                    }
                }

                offset += (length + 7) & ~7;
            }

            return result;
        }
    }

    /// <summary>Sends data, at least one byte, with descriptors on its first byte. They stay open here.</summary>
    /// <returns>Bytes sent, or the negative errno.</returns>
    public static int SendWithFds(int fd, ReadOnlySpan<byte> data, ReadOnlySpan<int> fds)
    {
        if (fds.Length > MaxPassedFds) return -Errno.EINVAL;
        var controlLength = fds.IsEmpty ? 0 : 16 + (((fds.Length * sizeof(int)) + 7) & ~7);
        var control = stackalloc ulong[(controlLength / 8) + 1];
        if (!fds.IsEmpty)
        {
            var header = (ControlHeader*)control;
            header->Length = (nuint)(16 + (fds.Length * sizeof(int)));
            header->Level = LevelSocket;
            header->Type = ControlRights;
            fds.CopyTo(new Span<int>(header + 1, fds.Length));
        }

        fixed (byte* p = data)
        {
            var vector = new IoVector((nint)p, (nuint)data.Length);
            var message = new MessageHeader
            {
                Vectors = &vector,
                VectorCount = 1,
                Control = fds.IsEmpty ? null : control,
                ControlLength = (nuint)controlLength,
            };
            int result;
            do result = (int)Result(LibC.sendmsg(fd, &message, MessageNoSignal));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>Addresses of a host name or number, in the order in which they should be tried. May ask a name server: not for the machine thread.</summary>
    /// <param name="host">Empty: every local address (for listening).</param>
    /// <returns>Nothing when the name is not known.</returns>
    public static IReadOnlyList<IPEndPoint> Resolve(string host, int port)
    {
        var found = new List<IPEndPoint>();
        var hints = new AddressInfo { Flags = host.Length == 0 ? 1 : 0 /* AI_PASSIVE */, SocketType = 1 };
        AddressInfo* list = null;
        fixed (byte* node = Utf8.Z(host), service = Utf8.Z(port.ToString()))
        {
            if (LibC.getaddrinfo(host.Length == 0 ? null : node, service, &hints, &list) != 0) return found;
        }

        for (var item = list; item != null; item = item->Next)
        {
            var endPoint = EndPoint(new ReadOnlySpan<byte>(item->Address, (int)item->AddressLength));
            if (endPoint is not null && !found.Contains(endPoint)) found.Add(endPoint);
        }

        LibC.freeaddrinfo(list);
        return found;
    }

    private static int Listen(int family, ReadOnlySpan<byte> address, int backlog)
    {
        var fd = (int)Result(LibC.socket(family, StreamCloseOnExec, 0));
        if (fd < 0) return fd;
        var on = 1;
        if (family != FamilyUnix) LibC.setsockopt(fd, LevelSocket, OptionReuseAddress, &on, sizeof(int));
        if (family == FamilyInet6) LibC.setsockopt(fd, LevelIpv6, OptionIpv6Only, &on, sizeof(int));
        int result;
        fixed (byte* p = address) result = (int)Result(LibC.bind(fd, p, (uint)address.Length));
        if (result >= 0) result = (int)Result(LibC.listen(fd, backlog));
        if (result >= 0) return fd;
        Close(fd);
        return result;
    }

    private static int Connect(int family, ReadOnlySpan<byte> address, bool nonBlocking)
    {
        var fd = (int)Result(LibC.socket(family, StreamCloseOnExec | (nonBlocking ? SocketNonBlocking : 0), 0));
        if (fd < 0) return fd;
        int result;
        fixed (byte* p = address) result = (int)Result(LibC.connect(fd, p, (uint)address.Length));
        if (result >= 0 || (nonBlocking && result == -Errno.EINPROGRESS)) return fd;
        Close(fd);
        return result;
    }

    private static int UnixAddress(string path, Span<byte> address)
    {
        var bytes = Encoding.UTF8.GetByteCount(path);
        if (bytes >= UnixPathLength) return -Errno.ENAMETOOLONG;
        address.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(address, FamilyUnix);
        Encoding.UTF8.GetBytes(path, address[2..]);
        return 2 + bytes + 1;
    }

    /// <summary>sockaddr_in: family, port (big endian), address. sockaddr_in6: family, port, flow, address, scope.</summary>
    private static int InetAddress(IPEndPoint endPoint, Span<byte> address)
    {
        address.Clear();
        var isV6 = endPoint.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        BinaryPrimitives.WriteUInt16LittleEndian(address, (ushort)(isV6 ? FamilyInet6 : FamilyInet));
        BinaryPrimitives.WriteUInt16BigEndian(address[2..], (ushort)endPoint.Port);
        endPoint.Address.TryWriteBytes(address[(isV6 ? 8 : 4)..], out _);
        if (!isV6) return 16;
        BinaryPrimitives.WriteUInt32LittleEndian(address[24..], (uint)endPoint.Address.ScopeId);
        return 28;
    }

    private static IPEndPoint? EndPoint(ReadOnlySpan<byte> address)
    {
        if (address.Length < 2) return null;
        var family = BinaryPrimitives.ReadUInt16LittleEndian(address);
        if (family == FamilyInet && address.Length >= 16)
            return new IPEndPoint(new IPAddress(address.Slice(4, 4)), BinaryPrimitives.ReadUInt16BigEndian(address[2..]));
        if (family == FamilyInet6 && address.Length >= 28)
        {
            var scope = BinaryPrimitives.ReadUInt32LittleEndian(address[24..]);
            return new IPEndPoint(new IPAddress(address.Slice(8, 16), scope), BinaryPrimitives.ReadUInt16BigEndian(address[2..]));
        }

        return null;
    }
}
