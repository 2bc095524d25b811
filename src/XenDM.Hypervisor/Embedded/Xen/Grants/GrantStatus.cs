namespace XenDM.Hypervisor.Embedded.Xen.Grants;

/// <summary>GNTST_* of xen/public/grant_table.h.</summary>
internal enum GrantStatus : short
{
    Okay = 0,
    GeneralError = -1,
    BadDomain = -2,
    BadReference = -3,
    BadHandle = -4,
    PermissionDenied = -8,
    BadPage = -9,
    BadCopyArgument = -10,
    Busy = -12,
}
