using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Libc;

/// <summary>O_* flags of Linux on x86-64. Every open here also sets O_CLOEXEC.</summary>
[Flags]
public enum OpenFlags
{
    ReadOnly = 0,
    WriteOnly = 1,
    ReadWrite = 2,
    Create = 0x40,
    Exclusive = 0x80,
    NoControllingTerminal = 0x100,
    Truncate = 0x200,
    Append = 0x400,
    NonBlocking = 0x800,
    Direct = 0x4000,
    Directory = 0x10000,

    /// <summary>The last part of the path is not followed when it is a symbolic link.</summary>
    NoFollow = 0x20000,

    /// <summary>A handle to look at the file (<see cref="Posix.FStat"/>), not to read or write: works for sockets too.</summary>
    PathOnly = 0x200000,
}

/// <summary>F_RDLCK, F_WRLCK and F_UNLCK.</summary>
public enum LockKind : short
{
    Shared = 0,
    Exclusive = 1,
    None = 2,
}

/// <summary>
/// Thin wrappers over the C library. Each returns the value of the call, or the negative errno; none throws. Calls that a signal interrupts are
/// made again.
/// </summary>
public static unsafe partial class Posix
{
    private const int ReadNoWait = 8;
    /// <summary>The most pieces that one scatter call takes (IOV_MAX).</summary>
    public const int MaxVectors = 1024;

    private const int OpenCloseOnExec = 0x80000;
    private const int SyscallFstat = 5;

    // linux/fs.h
    private const uint IoctlBlockDiscard = 0x1277;
    private const uint IoctlBlockLogicalSectorSize = 0x1268;
    private const uint IoctlBlockSize64 = 0x80081272;

    private const int ControlSetLock = 37; // F_OFD_SETLK

    private const int FallocateKeepSize = 1;
    private const int FallocatePunchHole = 2;
    private const int FallocateZeroRange = 0x10;

    /// <summary>Opens a file, close-on-exec.</summary>
    /// <param name="mode">Permission bits for a file that is created.</param>
    /// <returns>The descriptor, or the negative errno.</returns>
    public static int Open(string path, OpenFlags flags, uint mode = 0x1a4 /* 0644 */)
    {
        fixed (byte* p = Utf8.Z(path))
        {
            int fd;
            do fd = (int)Result(LibC.open(p, (int)flags | OpenCloseOnExec, mode));
            while (fd == -Errno.EINTR);
            return fd;
        }
    }

    public static int Close(int fd) => (int)Result(LibC.close(fd));

    /// <returns>Bytes read, 0 at the end of the file, or the negative errno.</returns>
    public static long Read(int fd, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            long result;
            do result = Result(LibC.read(fd, p, (nuint)buffer.Length));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <returns>Bytes written (fewer than asked for where a file system or a pipe is full), or the negative errno.</returns>
    public static long Write(int fd, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            long result;
            do result = Result(LibC.write(fd, p, (nuint)buffer.Length));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <inheritdoc cref="Read"/>
    public static long PRead(int fd, Span<byte> buffer, long offset)
    {
        fixed (byte* p = buffer)
        {
            long result;
            do result = Result(LibC.pread64(fd, p, (nuint)buffer.Length, offset));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <inheritdoc cref="Write"/>
    public static long PWrite(int fd, ReadOnlySpan<byte> buffer, long offset)
    {
        fixed (byte* p = buffer)
        {
            long result;
            do result = Result(LibC.pwrite64(fd, p, (nuint)buffer.Length, offset));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>Reads into several pieces of memory. More than <see cref="MaxVectors"/> pieces are cut: the caller goes on with what is left.</summary>
    /// <inheritdoc cref="Read"/>
    public static long PReadV(int fd, ReadOnlySpan<IoVector> vectors, long offset)
    {
        fixed (IoVector* p = vectors)
        {
            long result;
            do result = Result(LibC.preadv64(fd, p, Math.Min(vectors.Length, MaxVectors), offset));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    /// <summary>
    /// As <see cref="PReadV"/>, but only what is in memory already (RWF_NOWAIT): never waits for a disk. -EAGAIN when nothing is, -EOPNOTSUPP where
    /// the file system cannot say.
    /// </summary>
    public static long PReadVNoWait(int fd, ReadOnlySpan<IoVector> vectors, long offset)
    {
        fixed (IoVector* p = vectors) return Result(LibC.preadv64v2(fd, p, Math.Min(vectors.Length, MaxVectors), offset, ReadNoWait));
    }

    /// <summary>Writes from several pieces of memory. More than <see cref="MaxVectors"/> pieces are cut: the caller goes on with what is left.</summary>
    /// <inheritdoc cref="Write"/>
    public static long PWriteV(int fd, ReadOnlySpan<IoVector> vectors, long offset)
    {
        fixed (IoVector* p = vectors)
        {
            long result;
            do result = Result(LibC.pwritev64(fd, p, Math.Min(vectors.Length, MaxVectors), offset));
            while (result == -Errno.EINTR);
            return result;
        }
    }

    public static int FDataSync(int fd)
    {
        int result;
        do result = (int)Result(LibC.fdatasync(fd));
        while (result == -Errno.EINTR);
        return result;
    }

    /// <summary>Gives the storage of a range back; it reads zero afterwards and the size stays.</summary>
    /// <returns>0, -EOPNOTSUPP where the file system cannot, or another negative errno.</returns>
    public static int PunchHole(int fd, long offset, long length) => Fallocate(fd, FallocatePunchHole | FallocateKeepSize, offset, length);

    /// <summary>Makes a range read zero and keeps it allocated; the size stays.</summary>
    /// <inheritdoc cref="PunchHole"/>
    public static int ZeroRange(int fd, long offset, long length) => Fallocate(fd, FallocateZeroRange | FallocateKeepSize, offset, length);

    /// <summary>Allocates a range and extends the file to its end.</summary>
    /// <inheritdoc cref="PunchHole"/>
    public static int Allocate(int fd, long offset, long length) => Fallocate(fd, 0, offset, length);

    public static int FTruncate(int fd, long length)
    {
        int result;
        do result = (int)Result(LibC.ftruncate64(fd, length));
        while (result == -Errno.EINTR);
        return result;
    }

    /// <summary>Asked of the kernel itself: older C libraries have no fstat symbol.</summary>
    public static int FStat(int fd, out FileStatus status)
    {
        fixed (FileStatus* p = &status) return (int)Result(LibC.syscall(SyscallFstat, fd, (nint)p, 0));
    }

    /// <summary>Position of the end: the size of a file, and of a block device as well.</summary>
    public static long SeekEnd(int fd) => Result(LibC.lseek64(fd, 0, 2));

    /// <summary>Sets the position of the next <see cref="Read"/> or <see cref="Write"/>.</summary>
    public static long Seek(int fd, long offset) => Result(LibC.lseek64(fd, offset, 0));

    /// <summary>The first byte at or after <paramref name="offset"/> that is stored, or -ENXIO when only a hole follows.</summary>
    public static long SeekData(int fd, long offset) => Result(LibC.lseek64(fd, offset, 3));

    /// <summary>The first byte at or after <paramref name="offset"/> that is not stored (the end of the file counts), or -ENXIO past the end.</summary>
    public static long SeekHole(int fd, long offset) => Result(LibC.lseek64(fd, offset, 4));

    public static int Unlink(string path)
    {
        fixed (byte* p = Utf8.Z(path)) return (int)Result(LibC.unlink(p));
    }

    /// <summary>Bytes of a block device, or the negative errno (-ENOTTY for other files).</summary>
    public static long BlockDeviceSize(int fd)
    {
        ulong size = 0;
        var result = Result(LibC.ioctl(fd, IoctlBlockSize64, &size));
        return result < 0 ? result : (long)size;
    }

    /// <summary>Logical sector size of a block device in bytes, or the negative errno.</summary>
    public static int BlockDeviceSectorSize(int fd)
    {
        int size = 0;
        var result = (int)Result(LibC.ioctl(fd, IoctlBlockLogicalSectorSize, &size));
        return result < 0 ? result : size;
    }

    /// <summary>Discards bytes of a block device; both numbers are multiples of its sector size.</summary>
    public static int BlockDeviceDiscard(int fd, long offset, long length)
    {
        var range = stackalloc ulong[2] { (ulong)offset, (ulong)length };
        return (int)Result(LibC.ioctl(fd, IoctlBlockDiscard, range));
    }

    /// <summary>Sets or clears O_NONBLOCK.</summary>
    public static int SetNonBlocking(int fd, bool on)
    {
        var flags = (int)Result(LibC.fcntl(fd, 3 /* F_GETFL */, 0));
        if (flags < 0) return flags;
        var wanted = on ? flags | (int)OpenFlags.NonBlocking : flags & ~(int)OpenFlags.NonBlocking;
        return wanted == flags ? 0 : (int)Result(LibC.fcntl(fd, 4 /* F_SETFL */, wanted));
    }

    /// <summary>Sets or clears close-on-exec: descriptors that libxl passed are inherited without it.</summary>
    public static int SetCloseOnExec(int fd, bool on) => (int)Result(LibC.fcntl(fd, 2 /* F_SETFD */, on ? 1 : 0));

    /// <summary>A second descriptor of the same open file, close-on-exec.</summary>
    public static int Duplicate(int fd) => (int)Result(LibC.fcntl(fd, 1030 /* F_DUPFD_CLOEXEC */, 0));

    /// <summary>O_* flags of an open descriptor (access mode in the low two bits), or the negative errno.</summary>
    public static int GetOpenFlags(int fd) => (int)Result(LibC.fcntl(fd, 3, 0));

    /// <summary>
    /// Locks a range of bytes, or unlocks it, without waiting (F_OFD_SETLK). The lock belongs to the open file: it conflicts with another open of
    /// the same file in this process too, and goes when the last descriptor of this open is closed.
    /// </summary>
    /// <param name="length">0: to the end, however far the file grows.</param>
    /// <returns>0, -EAGAIN when somebody else holds a lock in the way, or another negative errno (-EBADF: not open for what the lock needs).</returns>
    public static int SetLock(int fd, LockKind kind, long offset = 0, long length = 0)
    {
        var range = new FileLock { Type = (short)kind, Start = offset, Length = length };
        return (int)Result(LibC.fcntl(fd, ControlSetLock, (nint)(&range)));
    }

    private static int Fallocate(int fd, int mode, long offset, long length)
    {
        int result;
        do result = (int)Result(LibC.fallocate64(fd, mode, offset, length));
        while (result == -Errno.EINTR);
        return result;
    }

    private static long Result(long value) => value >= 0 ? value : -Marshal.GetLastPInvokeError();
}
