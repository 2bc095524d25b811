using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests.Libc;

public sealed unsafe class LibCLayoutTests
{
    private const string Headers = """
        #include <sys/types.h>
        #include <sys/stat.h>
        #include <sys/uio.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        #include <sys/mman.h>
        #include <sys/eventfd.h>
        #include <sys/resource.h>
        #include <sys/prctl.h>
        #include <sys/ioctl.h>
        #include <sys/syscall.h>
        #include <netinet/in.h>
        #include <netinet/tcp.h>
        #include <linux/fs.h>
        #include <linux/falloc.h>
        #include <errno.h>
        #include <fcntl.h>
        #include <netdb.h>
        #include <poll.h>
        #include <pwd.h>
        #include <termios.h>
        #include <time.h>
        #include <unistd.h>
        """;

    private static int At<T>(string field) => (int)Marshal.OffsetOf<T>(field);

    [CompilerFact]
    public void Layouts_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        c.Size("struct iovec", sizeof(IoVector));
        c.Size("struct pollfd", sizeof(PollFd));
        c.Offset("struct pollfd", "events", At<PollFd>(nameof(PollFd.Events)));
        c.Offset("struct pollfd", "revents", At<PollFd>(nameof(PollFd.Returned)));
        c.Size("struct timespec", sizeof(TimeSpec));
        c.Size("struct rlimit", sizeof(ResourceLimit));
        c.Size("struct flock", sizeof(FileLock));
        c.Offset("struct flock", "l_type", At<FileLock>(nameof(FileLock.Type)));
        c.Offset("struct flock", "l_whence", At<FileLock>(nameof(FileLock.Whence)));
        c.Offset("struct flock", "l_start", At<FileLock>(nameof(FileLock.Start)));
        c.Offset("struct flock", "l_len", At<FileLock>(nameof(FileLock.Length)));
        c.Offset("struct flock", "l_pid", At<FileLock>(nameof(FileLock.Process)));
        c.Value("F_RDLCK", (int)LockKind.Shared);
        c.Value("F_WRLCK", (int)LockKind.Exclusive);
        c.Value("F_UNLCK", (int)LockKind.None);
        c.Size("struct stat", sizeof(FileStatus));
        c.Offset("struct stat", "st_ino", At<FileStatus>(nameof(FileStatus.Inode)));
        c.Offset("struct stat", "st_mode", At<FileStatus>(nameof(FileStatus.Mode)));
        c.Offset("struct stat", "st_uid", At<FileStatus>(nameof(FileStatus.Uid)));
        c.Offset("struct stat", "st_gid", At<FileStatus>(nameof(FileStatus.Gid)));
        c.Offset("struct stat", "st_rdev", At<FileStatus>(nameof(FileStatus.DeviceNode)));
        c.Offset("struct stat", "st_size", At<FileStatus>(nameof(FileStatus.Size)));
        c.Offset("struct stat", "st_blksize", At<FileStatus>(nameof(FileStatus.BlockSize)));
        c.Offset("struct stat", "st_blocks", At<FileStatus>(nameof(FileStatus.Blocks)));
        c.Size("struct msghdr", sizeof(MessageHeader));
        c.Offset("struct msghdr", "msg_iov", At<MessageHeader>(nameof(MessageHeader.Vectors)));
        c.Offset("struct msghdr", "msg_iovlen", At<MessageHeader>(nameof(MessageHeader.VectorCount)));
        c.Offset("struct msghdr", "msg_control", At<MessageHeader>(nameof(MessageHeader.Control)));
        c.Offset("struct msghdr", "msg_controllen", At<MessageHeader>(nameof(MessageHeader.ControlLength)));
        c.Offset("struct msghdr", "msg_flags", At<MessageHeader>(nameof(MessageHeader.Flags)));
        c.Size("struct cmsghdr", sizeof(ControlHeader));
        c.Offset("struct cmsghdr", "cmsg_level", At<ControlHeader>(nameof(ControlHeader.Level)));
        c.Offset("struct cmsghdr", "cmsg_type", At<ControlHeader>(nameof(ControlHeader.Type)));
        c.Size("struct termios", sizeof(Termios));
        c.Offset("struct termios", "c_cflag", At<Termios>(nameof(Termios.ControlFlags)));
        c.Offset("struct termios", "c_lflag", At<Termios>(nameof(Termios.LocalFlags)));
        c.Size("struct passwd", sizeof(UserRecord));
        c.Offset("struct passwd", "pw_uid", At<UserRecord>(nameof(UserRecord.Uid)));
        c.Offset("struct passwd", "pw_gid", At<UserRecord>(nameof(UserRecord.Gid)));
        c.Size("struct addrinfo", sizeof(AddressInfo));
        c.Offset("struct addrinfo", "ai_addrlen", At<AddressInfo>(nameof(AddressInfo.AddressLength)));
        c.Offset("struct addrinfo", "ai_addr", At<AddressInfo>(nameof(AddressInfo.Address)));
        c.Offset("struct addrinfo", "ai_next", At<AddressInfo>(nameof(AddressInfo.Next)));
        c.Offset("struct sockaddr_un", "sun_path", 2);
        c.Size("((struct sockaddr_un *)0)->sun_path", 108);
        c.Size("struct sockaddr_in", 16);
        c.Offset("struct sockaddr_in", "sin_addr", 4);
        c.Size("struct sockaddr_in6", 28);
        c.Offset("struct sockaddr_in6", "sin6_addr", 8);
        c.Offset("struct sockaddr_in6", "sin6_scope_id", 24);
        c.Verify();
    }

    [CompilerFact]
    public void PublicConstants_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        c.Value("O_RDWR", (int)OpenFlags.ReadWrite);
        c.Value("O_CREAT", (int)OpenFlags.Create);
        c.Value("O_EXCL", (int)OpenFlags.Exclusive);
        c.Value("O_NOCTTY", (int)OpenFlags.NoControllingTerminal);
        c.Value("O_TRUNC", (int)OpenFlags.Truncate);
        c.Value("O_APPEND", (int)OpenFlags.Append);
        c.Value("O_NONBLOCK", (int)OpenFlags.NonBlocking);
        c.Value("O_DIRECT", (int)OpenFlags.Direct);
        c.Value("O_DIRECTORY", (int)OpenFlags.Directory);
        c.Value("O_NOFOLLOW", (int)OpenFlags.NoFollow);
        c.Value("O_PATH", (int)OpenFlags.PathOnly);
        c.Value("POLLPRI", (int)PollEvents.Priority);
        c.Value("POLLOUT", (int)PollEvents.Writable);
        c.Value("POLLERR", (int)PollEvents.Error);
        c.Value("POLLHUP", (int)PollEvents.Hangup);
        c.Value("POLLNVAL", (int)PollEvents.Invalid);
        c.Value("MAP_FIXED", (int)MapFlags.Fixed);
        c.Value("MAP_ANONYMOUS", (int)MapFlags.Anonymous);
        c.Value("MAP_NORESERVE", (int)MapFlags.NoReserve);
        c.Value("MADV_DONTNEED", (int)MemoryAdvice.DontNeed);
        c.Value("MADV_REMOVE", (int)MemoryAdvice.Remove);
        c.Value("MADV_HUGEPAGE", (int)MemoryAdvice.HugePage);
        c.Value("MADV_NOHUGEPAGE", (int)MemoryAdvice.NoHugePage);
        c.Value("MADV_DONTDUMP", (int)MemoryAdvice.DontDump);
        c.Value("RLIMIT_FSIZE", (int)LimitKind.FileSize);
        c.Value("RLIMIT_CORE", (int)LimitKind.Core);
        c.Value("RLIMIT_NOFILE", (int)LimitKind.OpenFiles);
        c.Value("RLIMIT_MEMLOCK", (int)LimitKind.LockedMemory);
        c.Value("TIOCM_DTR", (int)ModemLines.Dtr);
        c.Value("TIOCM_RTS", (int)ModemLines.Rts);
        c.Value("TIOCM_CTS", (int)ModemLines.Cts);
        c.Value("TIOCM_CAR", (int)ModemLines.CarrierDetect);
        c.Value("TIOCM_RI", (int)ModemLines.Ring);
        c.Value("TIOCM_DSR", (int)ModemLines.Dsr);
        foreach (var field in typeof(Errno).GetFields()) c.Value(field.Name, (int)field.GetRawConstantValue()!);
        c.Verify();
    }

    /// <summary>Private numbers of the wrappers, by the name that C has for them.</summary>
    [CompilerFact]
    public void PrivateConstants_AreThoseOfTheHeaders()
    {
        var c = new HeaderCheck(Headers);
        foreach (var (name, constant) in new[]
        {
            ("O_CLOEXEC", "OpenCloseOnExec"), ("SYS_fstat", "SyscallFstat"), ("BLKDISCARD", "IoctlBlockDiscard"),
            ("BLKSSZGET", "IoctlBlockLogicalSectorSize"), ("BLKGETSIZE64", "IoctlBlockSize64"), ("F_OFD_SETLK", "ControlSetLock"),
            ("FALLOC_FL_KEEP_SIZE", "FallocateKeepSize"), ("FALLOC_FL_PUNCH_HOLE", "FallocatePunchHole"), ("FALLOC_FL_ZERO_RANGE", "FallocateZeroRange"),
            ("EFD_CLOEXEC | EFD_NONBLOCK", "EventFdFlags"), ("CLOCK_MONOTONIC", "ClockMonotonic"), ("AF_UNIX", "FamilyUnix"),
            ("AF_INET", "FamilyInet"), ("AF_INET6", "FamilyInet6"), ("SOCK_STREAM | SOCK_CLOEXEC", "StreamCloseOnExec"),
            ("SOCK_NONBLOCK", "SocketNonBlocking"), ("SOCK_CLOEXEC | SOCK_NONBLOCK", "AcceptFlags"), ("SOL_SOCKET", "LevelSocket"),
            ("SO_REUSEADDR", "OptionReuseAddress"), ("SO_ERROR", "OptionError"), ("IPPROTO_TCP", "LevelTcp"), ("TCP_NODELAY", "OptionTcpNoDelay"),
            ("IPPROTO_IPV6", "LevelIpv6"), ("IPV6_V6ONLY", "OptionIpv6Only"), ("MSG_NOSIGNAL", "MessageNoSignal"),
            ("MSG_CMSG_CLOEXEC", "MessageCloseOnExec"), ("SCM_RIGHTS", "ControlRights"), ("TCSANOW", "TerminalSetNow"),
            ("TIOCMGET", "IoctlModemGet"), ("TIOCMSET", "IoctlModemSet"), ("TIOCSBRK", "IoctlBreakOn"), ("TIOCCBRK", "IoctlBreakOff"),
            ("CSIZE", "ControlSizeMask"), ("CSTOPB", "ControlTwoStopBits"), ("CREAD", "ControlReceiver"), ("PARENB", "ControlParity"),
            ("PARODD", "ControlParityOdd"), ("CLOCAL", "ControlLocal"), ("CRTSCTS", "ControlHardwareFlow"), ("PR_SET_DUMPABLE", "ProcessSetDumpable"),
            ("PR_SET_NAME", "ProcessSetName"), ("PR_SET_NO_NEW_PRIVS", "ProcessNoNewPrivileges"), ("MFD_CLOEXEC", "MemfdCloseOnExec"),
        })
        {
            var field = typeof(Posix).GetField(constant, System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Static);
            Assert.True(field is not null, $"no constant {constant}");
            c.Value(name, System.Convert.ToInt64(field.GetRawConstantValue(), System.Globalization.CultureInfo.InvariantCulture));
        }

        c.Value("B9600", 13);
        c.Value("B115200", 0x1002);
        c.Value("B921600", 0x1007);
        c.Value("B1500000", 0x100a);
        c.Value("B4000000", 0x100f);
        c.Value("CS8", 0x30);
        c.Value("F_GETFL", 3);
        c.Value("F_SETFL", 4);
        c.Value("F_SETFD", 2);
        c.Value("F_DUPFD_CLOEXEC", 1030);
        c.Value("AI_PASSIVE", 1);
        c.Value("SEEK_DATA", 3);
        c.Value("SEEK_HOLE", 4);
        c.Verify();
    }
}
