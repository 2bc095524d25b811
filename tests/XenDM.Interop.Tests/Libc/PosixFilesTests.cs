using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;
using XenDM.Testing;

namespace XenDM.Interop.Tests.Libc;

public sealed class PosixFilesTests
{
    private static FileDescriptor Create(TempFolder folder) =>
        new(Posix.Open(folder.File("image"), OpenFlags.ReadWrite | OpenFlags.Create | OpenFlags.Exclusive));

    [Fact]
    public void Open_MissingFile_ReturnsErrno()
    {
        using var folder = new TempFolder();
        var result = Posix.Open(folder.File("nothing"), OpenFlags.ReadOnly);
        Assert.Equal(-Errno.ENOENT, result);
        Assert.Equal("No such file or directory", Errno.Describe(result));
    }

    [Fact]
    public void ScatterWriteAndRead_CarryTheSameBytes()
    {
        using var folder = new TempFolder();
        using var file = Create(folder);
        var source = GC.AllocateArray<byte>(6000, pinned: true);
        new Random(7).NextBytes(source);
        var from = Marshal.UnsafeAddrOfPinnedArrayElement(source, 0);
        Assert.Equal(6000, Posix.PWriteV(file.Fd, [new IoVector(from, 10), new IoVector(from + 10, 4990), new IoVector(from + 5000, 1000)], 512));
        Assert.Equal(0, Posix.FDataSync(file.Fd));

        var target = GC.AllocateArray<byte>(7000, pinned: true);
        var to = Marshal.UnsafeAddrOfPinnedArrayElement(target, 0);
        Assert.Equal(6000, Posix.PReadV(file.Fd, [new IoVector(to, 4096), new IoVector(to + 4096, 2904)], 512));
        Assert.Equal(source, target[..6000]);
        Assert.Equal(0, Posix.PReadV(file.Fd, [new IoVector(to, 4096)], 6512));
    }

    [Fact]
    public void PunchHole_ReadsZeroAndKeepsTheSize()
    {
        using var folder = new TempFolder();
        using var file = Create(folder);
        var data = new byte[1 << 20];
        Array.Fill(data, (byte)0x5a);
        Assert.Equal(data.Length, Posix.PWrite(file.Fd, data, 0));
        var result = Posix.PunchHole(file.Fd, 65536, 131072);
        if (result == -Errno.EOPNOTSUPP) return; // the file system of the temporary folder decides
        Assert.Equal(0, result);
        Assert.Equal(data.Length, Posix.SeekEnd(file.Fd));
        Assert.Equal(16, Posix.PRead(file.Fd, data.AsSpan(0, 16), 70000));
        Assert.All(data[..16], b => Assert.Equal(0, b));
        Assert.Equal(65536, Posix.SeekHole(file.Fd, 0));
        Assert.Equal(65536 + 131072, Posix.SeekData(file.Fd, 65536));
    }

    [Fact]
    public void Lock_BelongsToTheOpenFile()
    {
        using var folder = new TempFolder();
        using var first = Create(folder);
        using var second = new FileDescriptor(Posix.Open(folder.File("image"), OpenFlags.ReadOnly));
        Assert.Equal(0, Posix.SetLock(first.Fd, LockKind.Exclusive, 100, 1));
        Assert.Equal(-Errno.EAGAIN, Posix.SetLock(second.Fd, LockKind.Shared));
        Assert.Equal(0, Posix.SetLock(second.Fd, LockKind.Shared, 101, 1));
        Assert.Equal(-Errno.EBADF, Posix.SetLock(second.Fd, LockKind.Exclusive));

        // A second descriptor of the same open file holds the lock as well, and keeps it when the first is closed.
        using var copy = new FileDescriptor(Posix.Duplicate(first.Fd));
        Assert.Equal(0, Posix.SetLock(copy.Fd, LockKind.Exclusive, 100, 1));
        first.Dispose();
        Assert.Equal(-Errno.EAGAIN, Posix.SetLock(second.Fd, LockKind.Shared, 100, 1));
        Assert.Equal(0, Posix.SetLock(copy.Fd, LockKind.None));
        Assert.Equal(0, Posix.SetLock(second.Fd, LockKind.Shared, 100, 1));
    }

    [Fact]
    public void TransfersAndWaits_DoNotAllocate()
    {
        using var file = new FileDescriptor(Posix.MemoryFile("test"));
        using var wake = new FileDescriptor(Posix.EventFd());
        var memory = GC.AllocateArray<byte>(8192, pinned: true);
        var address = Marshal.UnsafeAddrOfPinnedArrayElement(memory, 0);
        IoVector[] vectors = [new IoVector(address, 4096), new IoVector(address + 4096, 4096)];
        PollFd[] fds = [new PollFd { Fd = wake.Fd, Events = PollEvents.Readable }];
        Assert.Equal(0, Allocations.Of(Transfer));

        void Transfer()
        {
            Posix.PWriteV(file.Fd, vectors, 0);
            Posix.PReadV(file.Fd, vectors, 0);
            Posix.PRead(file.Fd, memory, 0);
            Posix.SignalEventFd(wake.Fd);
            Posix.Poll(fds, 1_000_000);
            Posix.DrainEventFd(wake.Fd);
            Posix.MonotonicNanoseconds();
        }
    }

    [Fact]
    public void FStat_TellsWhatItIs()
    {
        using var folder = new TempFolder();
        using var file = Create(folder);
        Assert.Equal(0, Posix.FTruncate(file.Fd, 12345));
        Assert.Equal(0, Posix.FStat(file.Fd, out var status));
        Assert.True(status.IsRegular && !status.IsDirectory && !status.IsBlockDevice);
        Assert.Equal(12345, status.Size);
        Assert.Equal(0x180u, status.Mode & 0x1c0); // owner reads and writes; the umask decides the rest
        using var nothing = new FileDescriptor(Posix.Open("/dev/null", OpenFlags.ReadWrite));
        Assert.Equal(0, Posix.FStat(nothing.Fd, out status));
        Assert.True(status.IsCharDevice);
        Assert.Equal(-Errno.ENOTTY, Posix.BlockDeviceSize(nothing.Fd));
        Assert.Equal(-Errno.EBADF, Posix.FStat(-1, out _));
    }

    [Fact]
    public void FileDescriptor_ClosesOnce()
    {
        var fd = Posix.Open("/dev/null", OpenFlags.ReadOnly);
        var owner = new FileDescriptor(fd);
        owner.Dispose();
        owner.Dispose();
        Assert.Throws<ObjectDisposedException>(() => owner.Fd);
    }

    [Fact]
    public void Map_MemoryFile_SharesBytes()
    {
        using var file = new FileDescriptor(Posix.MemoryFile("test"));
        Assert.Equal(0, Posix.FTruncate(file.Fd, 4096));
        Assert.Equal(0, Posix.Map(0, 4096, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Shared, file.Fd, 0, out var address));
        Marshal.WriteInt32(address, 100, 0x11223344);
        Span<byte> read = stackalloc byte[4];
        Assert.Equal(4, Posix.PRead(file.Fd, read, 100));
        Assert.Equal(0x11223344, BitConverter.ToInt32(read));
        Assert.Equal(0, Posix.Unmap(address, 4096));
        Assert.Equal(-Errno.EINVAL, Posix.Map(0, 0, MemoryProtection.Read, MapFlags.Private | MapFlags.Anonymous, -1, 0, out address));
        Assert.Equal(0, address);
    }
}
