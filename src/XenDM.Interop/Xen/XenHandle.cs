using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Xen;

/// <summary>A handle of one of Xen's libraries: a pointer that is closed once.</summary>
public abstract class XenHandle : SafeHandle
{
    private protected XenHandle()
        : base(0, ownsHandle: true)
    {
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>The pointer for calls; throws after it was closed, so that a late call cannot touch freed memory.</summary>
    private protected nint Pointer => IsClosed ? throw new ObjectDisposedException(GetType().Name) : handle;

    /// <summary>0 stays 0 and -1 becomes the negative errno; a value of the call stays.</summary>
    private protected static int Result(int value) => value >= 0 ? value : -Math.Max(1, Marshal.GetLastPInvokeError());

    /// <summary>Opens through <paramref name="open"/>, with one clear line where the library or the device is not there.</summary>
    private protected void Open(Func<nint> open, string what)
    {
        nint opened;
        try
        {
            opened = open();
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw XenException.Missing(e);
        }

        if (opened == 0) throw new XenException($"cannot open {what}", -Marshal.GetLastPInvokeError());
        SetHandle(opened);
    }
}
