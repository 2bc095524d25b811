using XenDM.Interop.Libc;

namespace XenDM.Interop.Tests;

/// <summary>A test that needs root; skipped for everybody else.</summary>
public sealed class RootFactAttribute : FactAttribute
{
    public RootFactAttribute()
    {
        if (Posix.EffectiveUserId() != 0) Skip = "only root can give up root: dropping privileges is NOT checked";
    }
}
