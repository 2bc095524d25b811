using System.Runtime.InteropServices;

namespace XenDM.Interop.Libc;

/// <summary>One piece of a scatter list (<c>struct iovec</c>).</summary>
/// <param name="Address">Host address; the memory must stay where it is until the call returns.</param>
/// <param name="Length">Bytes.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct IoVector(nint Address, nuint Length);

/// <summary>One descriptor to wait for (<c>struct pollfd</c>).</summary>
[StructLayout(LayoutKind.Sequential)]
public struct PollFd
{
    /// <summary>Negative: the entry is skipped.</summary>
    public int Fd;

    public PollEvents Events;

    /// <summary>What happened; filled by the call.</summary>
    public PollEvents Returned;
}

/// <summary>POLL* bits; Error, Hangup and Invalid are reported unasked.</summary>
[System.Flags]
public enum PollEvents : short
{
    None = 0,
    Readable = 0x1,
    Priority = 0x2,
    Writable = 0x4,
    Error = 0x8,
    Hangup = 0x10,

    /// <summary>The descriptor is not open.</summary>
    Invalid = 0x20,
}

/// <summary><c>struct timespec</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TimeSpec
{
    public long Seconds;
    public long Nanoseconds;
}

/// <summary><c>struct stat</c> of x86-64, the fields that are used.</summary>
[StructLayout(LayoutKind.Explicit, Size = 144)]
public struct FileStatus
{
    [FieldOffset(0)] public ulong Device;
    [FieldOffset(8)] public ulong Inode;
    [FieldOffset(24)] public uint Mode;
    [FieldOffset(28)] public uint Uid;
    [FieldOffset(32)] public uint Gid;

    /// <summary>Device number of a device node.</summary>
    [FieldOffset(40)] public ulong DeviceNode;

    /// <summary>Bytes; 0 for a block device (<see cref="Posix.BlockDeviceSize"/>).</summary>
    [FieldOffset(48)] public long Size;

    [FieldOffset(56)] public long BlockSize;

    /// <summary>Allocated units of 512 bytes.</summary>
    [FieldOffset(64)] public long Blocks;

    public readonly bool IsRegular => (Mode & 0xf000) == 0x8000;

    public readonly bool IsDirectory => (Mode & 0xf000) == 0x4000;

    public readonly bool IsBlockDevice => (Mode & 0xf000) == 0x6000;

    public readonly bool IsCharDevice => (Mode & 0xf000) == 0x2000;

    public readonly bool IsPipe => (Mode & 0xf000) == 0x1000;

    public readonly bool IsSocket => (Mode & 0xf000) == 0xc000;
}

/// <summary><c>struct rlimit</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct ResourceLimit
{
    public const ulong Unlimited = ulong.MaxValue;

    public ulong Soft;
    public ulong Hard;
}

/// <summary><c>struct flock</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal struct FileLock
{
    [FieldOffset(0)] public short Type;
    [FieldOffset(2)] public short Whence;
    [FieldOffset(8)] public long Start;
    [FieldOffset(16)] public long Length;
    [FieldOffset(24)] public int Process;
}

/// <summary><c>struct msghdr</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 56)]
internal unsafe struct MessageHeader
{
    [FieldOffset(0)] public void* Name;
    [FieldOffset(8)] public uint NameLength;
    [FieldOffset(16)] public IoVector* Vectors;
    [FieldOffset(24)] public nuint VectorCount;
    [FieldOffset(32)] public void* Control;
    [FieldOffset(40)] public nuint ControlLength;
    [FieldOffset(48)] public int Flags;
}

/// <summary><c>struct cmsghdr</c>; the data follows.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct ControlHeader
{
    [FieldOffset(0)] public nuint Length;
    [FieldOffset(8)] public int Level;
    [FieldOffset(12)] public int Type;
}

/// <summary><c>struct termios</c> of glibc.</summary>
[StructLayout(LayoutKind.Explicit, Size = 60)]
internal struct Termios
{
    [FieldOffset(0)] public uint InputFlags;
    [FieldOffset(4)] public uint OutputFlags;
    [FieldOffset(8)] public uint ControlFlags;
    [FieldOffset(12)] public uint LocalFlags;
}

/// <summary><c>struct passwd</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal unsafe struct UserRecord
{
    [FieldOffset(0)] public byte* Name;
    [FieldOffset(16)] public uint Uid;
    [FieldOffset(20)] public uint Gid;
}

/// <summary><c>struct addrinfo</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 48)]
internal unsafe struct AddressInfo
{
    [FieldOffset(0)] public int Flags;
    [FieldOffset(4)] public int Family;
    [FieldOffset(8)] public int SocketType;
    [FieldOffset(12)] public int Protocol;
    [FieldOffset(16)] public uint AddressLength;
    [FieldOffset(24)] public byte* Address;
    [FieldOffset(40)] public AddressInfo* Next;
}
