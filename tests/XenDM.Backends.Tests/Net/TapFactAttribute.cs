using XenDM.Interop.Libc;
using XenDM.Interop.Net;

namespace XenDM.Backends.Tests.Net;

/// <summary>A test that makes a tap interface; skipped where that is not allowed.</summary>
public sealed class TapFactAttribute : FactAttribute
{
    public TapFactAttribute()
    {
        var fd = Tap.Open();
        var result = fd < 0 ? fd : Tap.Attach(fd, "xdt%d", TapFlags.Tap | TapFlags.NoPacketInfo, out _);
        if (fd >= 0) Posix.Close(fd);
        if (result < 0) Skip = $"no tap can be made here ({Errno.Describe(result)}): taps are NOT checked";
        else if (!System.IO.File.Exists("/sbin/ip")) Skip = "no /sbin/ip (iproute2): taps are NOT checked";
    }
}
