using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Xen;

/// <summary>libxentoolcore: limits every open Xen handle of this process to one guest.</summary>
public static partial class XenToolCore
{
    private const string Library = "libxentoolcore.so.1";

    /// <summary>
    /// There is no way back. Afterwards xenstore handles and <see cref="XenCall"/> fail, the others work for this guest only; handles that are
    /// opened later are not restricted, so none may be opened after this.
    /// </summary>
    /// <exception cref="XenException">The library is not installed.</exception>
    /// <returns>0 or the negative errno.</returns>
    public static int RestrictAll(ushort domain)
    {
        try
        {
            return xentoolcore_restrict_all(domain) == 0 ? 0 : -Marshal.GetLastPInvokeError();
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw XenException.Missing(Library, e);
        }
    }

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xentoolcore_restrict_all(ushort domain);
}
