using System;

namespace XenDM.Interop.Libc;

/// <summary>PROT_* bits.</summary>
[Flags]
public enum MemoryProtection
{
    None = 0,
    Read = 1,
    Write = 2,
    Execute = 4,
}

/// <summary>MAP_* bits.</summary>
[Flags]
public enum MapFlags
{
    Shared = 0x01,
    Private = 0x02,
    Fixed = 0x10,
    Anonymous = 0x20,
    NoReserve = 0x4000,
}

/// <summary>MADV_* values.</summary>
public enum MemoryAdvice
{
    DontNeed = 4,
    Remove = 9,
    HugePage = 14,
    NoHugePage = 15,
    DontDump = 16,
}

public static unsafe partial class Posix
{
    private const uint MemfdCloseOnExec = 1;

    /// <param name="address">A wish, or the place with <see cref="MapFlags.Fixed"/>.</param>
    /// <param name="fd">-1 with <see cref="MapFlags.Anonymous"/>.</param>
    /// <param name="mapped">Where it is.</param>
    /// <returns>0 or the negative errno.</returns>
    public static int Map(nint address, nuint length, MemoryProtection protection, MapFlags flags, int fd, long offset, out nint mapped)
    {
        mapped = LibC.mmap64(address, length, (int)protection, (int)flags, fd, offset);
        if (mapped != -1) return 0;
        mapped = 0;
        return (int)Result(-1);
    }

    public static int Unmap(nint address, nuint length) => (int)Result(LibC.munmap(address, length));

    public static int Advise(nint address, nuint length, MemoryAdvice advice) => (int)Result(LibC.madvise(address, length, (int)advice));

    /// <summary>A file that lives in memory only, close-on-exec. RLIMIT_FSIZE limits it too.</summary>
    public static int MemoryFile(string name)
    {
        fixed (byte* p = Utf8.Z(name)) return (int)Result(LibC.memfd_create(p, MemfdCloseOnExec));
    }
}
