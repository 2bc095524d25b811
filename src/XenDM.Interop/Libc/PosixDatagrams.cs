using System;
using System.Buffers.Binary;
using System.Net;

namespace XenDM.Interop.Libc;

public static unsafe partial class Posix
{
    private const int DatagramFlags = 2 | 0x80800; // SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK
    private const int LevelIp = 0;
    private const int OptionMulticastInterface = 32;
    private const int OptionMulticastLoop = 34;
    private const int OptionAddMembership = 35;

    /// <summary>The most bytes that a socket's address has.</summary>
    public const int MaxSocketAddress = 128;

    /// <summary>An address as <see cref="SendTo"/> takes it.</summary>
    public static byte[] SocketAddress(IPEndPoint endPoint)
    {
        Span<byte> address = stackalloc byte[28];
        return address[..InetAddress(endPoint, address)].ToArray();
    }

    /// <inheritdoc cref="SocketAddress(IPEndPoint)"/>
    /// <returns>Empty where the path is too long.</returns>
    public static byte[] SocketAddress(string path)
    {
        Span<byte> address = stackalloc byte[2 + UnixPathLength];
        var length = UnixAddress(path, address);
        return length < 0 ? [] : address[..length].ToArray();
    }

    /// <summary>A datagram socket that is bound to an address: non-blocking, close-on-exec.</summary>
    /// <param name="address">From <see cref="SocketAddress(IPEndPoint)"/>.</param>
    /// <param name="share">Others may be bound there too.</param>
    /// <returns>The descriptor, or the negative errno.</returns>
    public static int DatagramSocket(ReadOnlySpan<byte> address, bool share)
    {
        if (address.Length < 2) return -Errno.EINVAL;
        var fd = (int)Result(LibC.socket(BinaryPrimitives.ReadUInt16LittleEndian(address), DatagramFlags, 0));
        if (fd < 0) return fd;
        var on = 1;
        if (share) LibC.setsockopt(fd, LevelSocket, OptionReuseAddress, &on, sizeof(int));
        int result;
        fixed (byte* p = address) result = (int)Result(LibC.bind(fd, p, (uint)address.Length));
        if (result >= 0) return fd;
        Close(fd);
        return result;
    }

    /// <summary>Receives what is sent to an IPv4 multicast group.</summary>
    /// <param name="through">Address of the interface; any for the system's choice.</param>
    public static int JoinGroup(int fd, IPAddress group, IPAddress through)
    {
        Span<byte> request = stackalloc byte[8];
        group.TryWriteBytes(request, out _);
        through.TryWriteBytes(request[4..], out _);
        fixed (byte* p = request) return (int)Result(LibC.setsockopt(fd, LevelIp, OptionAddMembership, p, (uint)request.Length));
    }

    /// <summary>What is sent to IPv4 groups goes out through this interface, and to others of this host.</summary>
    /// <inheritdoc cref="JoinGroup"/>
    public static int SetGroupInterface(int fd, IPAddress through)
    {
        Span<byte> address = stackalloc byte[4];
        through.TryWriteBytes(address, out _);
        var on = 1;
        fixed (byte* p = address)
        {
            var result = (int)Result(LibC.setsockopt(fd, LevelIp, OptionMulticastInterface, p, (uint)address.Length));
            return result < 0 ? result : (int)Result(LibC.setsockopt(fd, LevelIp, OptionMulticastLoop, &on, sizeof(int)));
        }
    }

    /// <summary>Chooses where a datagram socket sends to, and with that the address that it sends from.</summary>
    /// <returns>0, or the negative errno: -ECONNREFUSED when nobody has a unix socket's path any more.</returns>
    public static int ConnectDatagram(int fd, ReadOnlySpan<byte> address)
    {
        fixed (byte* p = address) return (int)Result(LibC.connect(fd, p, (uint)address.Length));
    }

    /// <summary>Sends a datagram.</summary>
    /// <param name="address">Empty: where the socket is connected to.</param>
    public static int SendTo(int fd, ReadOnlySpan<byte> data, ReadOnlySpan<byte> address)
    {
        fixed (byte* p = data, to = address)
        {
            int result;
            do result = (int)Result(LibC.sendto(fd, p, (nuint)data.Length, MessageNoSignal, to, (uint)address.Length));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>Receives a datagram; what does not fit is lost.</summary>
    /// <param name="address">Of the sender, up to <see cref="MaxSocketAddress"/> bytes.</param>
    /// <param name="addressLength">Bytes of it; 0 where the sender has none.</param>
    public static int ReceiveFrom(int fd, Span<byte> data, Span<byte> address, out int addressLength)
    {
        fixed (byte* p = data, from = address)
        {
            int result;
            uint length;
            do
            {
                length = (uint)address.Length;
                result = (int)Result(LibC.recvfrom(fd, p, (nuint)data.Length, 0, from, &length));
            }
            while (result == -Errno.EINTR);
            addressLength = result < 0 ? 0 : (int)Math.Min(length, (uint)address.Length);
            return result;
        }
    }
}
