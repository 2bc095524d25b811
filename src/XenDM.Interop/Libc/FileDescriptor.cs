using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Libc;

/// <summary>A descriptor that is closed once, when its owner disposes it.</summary>
public sealed class FileDescriptor : SafeHandle
{
    public FileDescriptor()
        : base(-1, ownsHandle: true)
    {
    }

    /// <param name="fd">An open descriptor, owned from now on.</param>
    public FileDescriptor(int fd)
        : base(-1, ownsHandle: true) => SetHandle(fd);

    public override bool IsInvalid => (int)handle < 0;

    /// <summary>The number, for <see cref="Posix"/> calls; valid until this object is disposed.</summary>
    public int Fd => IsClosed ? throw new ObjectDisposedException(nameof(FileDescriptor)) : (int)handle;

    protected override bool ReleaseHandle() => Posix.Close((int)handle) >= 0;
}
