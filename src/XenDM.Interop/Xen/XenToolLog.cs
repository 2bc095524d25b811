using System.Runtime.InteropServices;

namespace XenDM.Interop.Xen;

/// <summary>
/// libxentoollog: where Xen's libraries write what goes wrong. Left alone they write a line to standard error each time, also for what a guest can
/// cause as often as it likes (grants that it does not grant).
/// </summary>
internal static partial class XenToolLog
{
    private const string Library = "libxentoollog.so.1";

    /// <summary>XTL_CRITICAL: the libraries have nothing to say at this level.</summary>
    private const int Critical = 9;

    private static nint s_quiet;

    /// <summary>A logger for a library that need not say what its return values tell; 0 where there is none, which stands for the usual one.</summary>
    public static nint Quiet
    {
        get
        {
            if (s_quiet == 0 && NativeLibrary.TryLoad(Library, out _)) s_quiet = Create();
            return s_quiet;
        }
    }

    private static nint Create()
    {
        var stderr = Marshal.ReadIntPtr(NativeLibrary.GetExport(NativeLibrary.Load("libc.so.6"), "stderr"));
        return xtl_createlogger_stdiostream(stderr, Critical, 0);
    }

    [LibraryImport(Library)]
    private static partial nint xtl_createlogger_stdiostream(nint file, int minimum, uint flags);
}
