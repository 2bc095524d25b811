using System;
using System.IO;

namespace XenDM.Interop.Libc;

/// <summary>
/// Memory for machine code, mapped twice: written through one address, run through the other. So no page is ever both, and a kernel's rules
/// against that do not matter.
/// </summary>
public sealed class ExecutableMemory : IDisposable
{
    /// <param name="length">Bytes, a multiple of the page size.</param>
    /// <exception cref="IOException">The kernel does not allow it.</exception>
    public ExecutableMemory(int length)
    {
        Length = length;
        var fd = Check(Posix.MemoryFile("xendm-code"));
        try
        {
            Check(Posix.FTruncate(fd, length));
            Check(Posix.Map(0, (nuint)length, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Shared, fd, 0, out var writable));
            Writable = writable;
            Check(Posix.Map(0, (nuint)length, MemoryProtection.Read | MemoryProtection.Execute, MapFlags.Shared, fd, 0, out var executable));
            Executable = executable;
        }
        finally
        {
            Posix.Close(fd);
        }
    }

    public nint Writable { get; private set; }

    public nint Executable { get; private set; }

    public int Length { get; }

    public void Dispose()
    {
        if (Writable != 0) Posix.Unmap(Writable, (nuint)Length);
        if (Executable != 0) Posix.Unmap(Executable, (nuint)Length);
        Writable = Executable = 0;
    }

    private static int Check(int result) => result >= 0 ? result : throw new IOException($"no memory for machine code: {Errno.Describe(-result)}");
}
