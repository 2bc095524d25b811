using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary>A handle of one of Xen's libraries: a pointer that is closed once.</summary>
public abstract class XenHandle : SafeHandle
{
    private const string Privcmd = "/dev/xen/privcmd";

    /// <summary>Where xenfs has it; the libraries try it second.</summary>
    private const string OlderPrivcmd = "/proc/xen/privcmd";

    private protected XenHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The pointer for calls; throws after it was closed, so that a late call cannot touch freed memory.</summary>
    private protected nint Pointer => IsClosed ? throw new ObjectDisposedException(GetType().Name) : handle;

    /// <summary>0 stays 0 and -1 becomes the negative errno; a value of the call stays.</summary>
    private protected static int Result(int value) => value >= 0 ? value : -Math.Max(1, Marshal.GetLastPInvokeError());

    /// <summary>
    /// Opens a library that works through privcmd. The device is tried first: the libraries write a line of their own to standard error when it
    /// is not there, and the one line of this process is to be the only one.
    /// </summary>
    private protected void OpenPrivileged(string library, Func<nint> open)
    {
        var result = AccessPrivcmd();
        if (result == -Errno.ENOENT) throw new XenException($"no Xen here: cannot open {Privcmd}", result);
        if (result < 0) throw new XenException($"cannot open {Privcmd}", result);
        Open(library, open, Privcmd);
    }

    /// <summary>Opens through <paramref name="open"/>, with one clear line where the library or the device is not there.</summary>
    /// <param name="what">What is opened, in words.</param>
    private protected void Open(string library, Func<nint> open, string what)
    {
        nint opened;
        try
        {
            opened = open();
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw XenException.Missing(library, e);
        }

        if (opened == 0) throw new XenException($"cannot open {what}", -Marshal.GetLastPInvokeError());
        SetHandle(opened);
    }

    private static unsafe int AccessPrivcmd()
    {
        const int readAndWrite = 6;
        fixed (byte* device = Utf8.Z(Privcmd), older = Utf8.Z(OlderPrivcmd))
        {
            if (LibC.access(device, readAndWrite) == 0) return 0;
            var error = Marshal.GetLastPInvokeError();
            return error == Errno.ENOENT && LibC.access(older, readAndWrite) == 0 ? 0 : -error;
        }
    }
}
