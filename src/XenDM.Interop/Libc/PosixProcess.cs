using System;

namespace XenDM.Interop.Libc;

/// <summary>A line of the user database.</summary>
public sealed record UserEntry(string Name, uint Uid, uint Gid);

/// <summary>RLIMIT_* numbers.</summary>
public enum LimitKind
{
    FileSize = 1,
    Core = 4,
    OpenFiles = 7,
    LockedMemory = 8,
}

/// <summary>
/// What restricts a process. The C library's functions change all threads of the process at once, where the bare system calls would change only the
/// calling thread.
/// </summary>
public static unsafe partial class Posix
{
    private const int ProcessSetDumpable = 4;
    private const int ProcessSetName = 15;
    private const int ProcessNoNewPrivileges = 38;
    private const int SignalFileSize = 25;
    private const nint SignalDefault = 0;
    private const nint SignalIgnore = 1;

    /// <summary>struct sigaction, whose first word is the handler, with room to spare.</summary>
    private const int SignalActionWords = 32;

    /// <summary>Ignores SIGXFSZ: a write behind RLIMIT_FSIZE is then an error (EFBIG) and not the end of the process.</summary>
    public static void IgnoreFileSizeSignal() => LibC.signal(SignalFileSize, SignalIgnore);

    /// <summary>What the parent process may have set for a signal: that it is ignored.</summary>
    /// <param name="number">Linux's number.</param>
    internal static bool IsIgnored(int number) => HandlerOf(number) == SignalIgnore;

    /// <summary>The signal would end the process.</summary>
    /// <inheritdoc cref="IsIgnored"/>
    internal static bool HasDefaultAction(int number) => HandlerOf(number) == SignalDefault;

    internal static void SetIgnored(int number, bool on) => LibC.signal(number, on ? SignalIgnore : SignalDefault);

    private static unsafe nint HandlerOf(int number)
    {
        var action = stackalloc nint[SignalActionWords];
        return LibC.sigaction(number, null, action) == 0 ? action[0] : SignalDefault;
    }

    /// <summary>Makes a directory the root and goes into it.</summary>
    public static int ChangeRoot(string path)
    {
        fixed (byte* p = Utf8.Z(path), root = "/\0"u8)
        {
            var result = (int)Result(LibC.chroot(p));
            return result < 0 ? result : (int)Result(LibC.chdir(root));
        }
    }

    /// <summary>Replaces the supplementary groups.</summary>
    public static int SetGroups(ReadOnlySpan<uint> groups)
    {
        fixed (uint* p = groups) return (int)Result(LibC.setgroups((nuint)groups.Length, p));
    }

    /// <summary>Supplementary groups as the group database has them for a user.</summary>
    public static int InitGroups(string user, uint group)
    {
        fixed (byte* p = Utf8.Z(user)) return (int)Result(LibC.initgroups(p, group));
    }

    /// <summary>Real, effective and saved group.</summary>
    public static int SetGroupId(uint gid) => (int)Result(LibC.setresgid(gid, gid, gid));

    /// <summary>Real, effective and saved user. There is no way back from an ordinary user.</summary>
    public static int SetUserId(uint uid) => (int)Result(LibC.setresuid(uid, uid, uid));

    public static uint EffectiveUserId() => LibC.geteuid();

    public static uint EffectiveGroupId() => LibC.getegid();

    /// <param name="signal">The kernel's number; 0 only asks whether the process is there.</param>
    public static int Kill(int process, int signal) => (int)Result(LibC.kill(process, signal));

    /// <summary>Null when there is no such user.</summary>
    public static UserEntry? FindUser(string name)
    {
        UserRecord record;
        UserRecord* found = null;
        fixed (byte* p = Utf8.Z(name), buffer = new byte[16384])
        {
            LibC.getpwnam_r(p, &record, buffer, 16384, &found);
            return found == null ? null : new UserEntry(Utf8.FromZ(found->Name), found->Uid, found->Gid);
        }
    }

    /// <summary>Null when there is no such user.</summary>
    public static UserEntry? FindUser(uint uid)
    {
        UserRecord record;
        UserRecord* found = null;
        fixed (byte* buffer = new byte[16384])
        {
            LibC.getpwuid_r(uid, &record, buffer, 16384, &found);
            return found == null ? null : new UserEntry(Utf8.FromZ(found->Name), found->Uid, found->Gid);
        }
    }

    /// <summary>No exec can gain privileges any more.</summary>
    public static int SetNoNewPrivileges() => (int)Result(LibC.prctl(ProcessNoNewPrivileges, 1, 0, 0, 0));

    /// <summary>Whether the process may be traced and dumped by its own user.</summary>
    public static int SetDumpable(bool on) => (int)Result(LibC.prctl(ProcessSetDumpable, on ? 1u : 0u, 0, 0, 0));

    /// <summary>Name of the calling thread as ps and top show it; 15 bytes count.</summary>
    public static int SetThreadName(string name)
    {
        fixed (byte* p = Utf8.Z(name)) return (int)Result(LibC.prctl(ProcessSetName, (nuint)p, 0, 0, 0));
    }

    public static int GetLimit(LimitKind kind, out ResourceLimit limit)
    {
        fixed (ResourceLimit* p = &limit) return (int)Result(LibC.getrlimit64((int)kind, p));
    }

    public static int SetLimit(LimitKind kind, ResourceLimit limit) => (int)Result(LibC.setrlimit64((int)kind, &limit));
}
