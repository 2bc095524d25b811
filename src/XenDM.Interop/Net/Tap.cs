using System;
using System.Runtime.InteropServices;
using System.Text;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Net;

/// <summary>The fields of <c>struct virtio_net_hdr</c> (linux/virtio_net.h), which stands before each frame of a tap with a vnet header; little endian on x86.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
public struct VnetHeader
{
    public const int Bytes = 10;
    public const byte NeedsChecksum = 1;
    public const byte DataValid = 2;
    public const byte SegmentTcp4 = 1;
    public const byte SegmentTcp6 = 4;

    /// <summary>Or'ed to the segmentation: the first segment tells of congestion.</summary>
    public const byte SegmentEcn = 0x80;

    public byte Flags;
    public byte Segmentation;
    public ushort HeaderBytes;
    public ushort SegmentBytes;
    public ushort ChecksumStart;
    public ushort ChecksumOffset;
}

/// <summary>IFF_* of linux/if_tun.h.</summary>
[Flags]
public enum TapFlags : ushort
{
    None = 0,
    Tap = 2,
    MultiQueue = 0x100,
    NoPacketInfo = 0x1000,
    VnetHeader = 0x4000,
}

/// <summary>TUN_F_*: what a tap may leave undone in the frames that are read from it.</summary>
[Flags]
public enum TapOffloads
{
    None = 0,
    Checksum = 1,
    Tcp4 = 2,
    Tcp6 = 4,
    TcpEcn = 8,
}

/// <summary>Tap interfaces (Documentation/networking/tuntap.rst). Calls return a value or the negative errno.</summary>
public static unsafe class Tap
{
    public const string Device = "/dev/net/tun";

    /// <summary>Bytes of an interface's name, with its zero.</summary>
    public const int NameBytes = 16;

    // linux/if_tun.h.
    internal const uint SetInterface = 0x400454ca, GetFeatures = 0x800454cf, SetOffloads = 0x400454d0, GetInterface = 0x800454d2, SetSendBuffer = 0x400454d4, SetHeaderSize = 0x400454d8;

    /// <summary><c>struct ifreq</c>.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 40)]
    internal struct InterfaceRequest
    {
        [FieldOffset(0)] public fixed byte Name[NameBytes];
        [FieldOffset(16)] public ushort Flags;
    }

    /// <summary>Opens <see cref="Device"/>, non-blocking and close-on-exec.</summary>
    public static int Open() => Posix.Open(Device, OpenFlags.ReadWrite | OpenFlags.NonBlocking);

    /// <summary>Joins the interface of this name, or makes it: then it goes with its last descriptor.</summary>
    /// <param name="name">May hold %d for the next free number.</param>
    /// <param name="actual">The interface's name.</param>
    public static int Attach(int fd, string name, TapFlags flags, out string actual)
    {
        var request = new InterfaceRequest { Flags = (ushort)flags };
        actual = name;
        if (Encoding.UTF8.GetByteCount(name) >= NameBytes) return -Errno.ENAMETOOLONG;
        Encoding.UTF8.GetBytes(name, new Span<byte>(request.Name, NameBytes));
        var result = Result(LibC.ioctl(fd, SetInterface, &request));
        actual = Name(request);
        return result;
    }

    /// <summary>What a descriptor that somebody else opened is joined to.</summary>
    public static int Describe(int fd, out string name, out TapFlags flags)
    {
        InterfaceRequest request;
        var result = Result(LibC.ioctl(fd, GetInterface, &request));
        (name, flags) = result < 0 ? ("", TapFlags.None) : (Name(request), (TapFlags)request.Flags);
        return result;
    }

    /// <summary>What this kernel's taps can.</summary>
    public static TapFlags Features(int fd)
    {
        uint features;
        return LibC.ioctl(fd, GetFeatures, &features) < 0 ? TapFlags.None : (TapFlags)features;
    }

    /// <summary>Says what frames that are read may leave undone.</summary>
    public static int SetReadOffloads(int fd, TapOffloads offloads) => Result(LibC.ioctl(fd, SetOffloads, (void*)(nuint)(uint)offloads));

    /// <summary>Most bytes that wait in the kernel before a write says so.</summary>
    public static int SetWriteBuffer(int fd, int bytes) => Result(LibC.ioctl(fd, SetSendBuffer, &bytes));

    /// <summary>Bytes of the vnet header: 10 or more.</summary>
    public static int SetVnetHeaderBytes(int fd, int bytes) => Result(LibC.ioctl(fd, SetHeaderSize, &bytes));

    /// <summary>Writes one frame from up to three pieces of memory; a piece may be empty.</summary>
    /// <returns>Bytes written, -EAGAIN when there is no room, or another negative errno.</returns>
    public static int Write(int fd, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        const int pieces = 3;
        fixed (byte* a = first, b = second, c = third)
        {
            var vectors = stackalloc IoVector[pieces];
            vectors[0] = new IoVector((nint)a, (nuint)first.Length);
            vectors[1] = new IoVector((nint)b, (nuint)second.Length);
            vectors[2] = new IoVector((nint)c, (nuint)third.Length);
            int result;
            do result = (int)LongResult(LibC.writev(fd, vectors, pieces));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    private static string Name(in InterfaceRequest request)
    {
        fixed (byte* name = request.Name)
        {
            var bytes = new ReadOnlySpan<byte>(name, NameBytes);
            var end = bytes.IndexOf((byte)0);
            return Encoding.UTF8.GetString(end < 0 ? bytes : bytes[..end]);
        }
    }

    private static int Result(int value) => (int)LongResult(value);

    private static long LongResult(long value) => value >= 0 ? value : -Marshal.GetLastPInvokeError();
}
