namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>Numbers of xen/public/xen.h that several hypercalls share, and the error codes that only Xen's answers use (xen/public/errno.h).</summary>
internal static class XenConstants
{
    /// <summary>DOMID_SELF.</summary>
    public const ushort DomainSelf = 0x7ff0;

    /// <summary>The domain of the backends.</summary>
    public const ushort DomainZero = 0;

    /// <summary>Error codes beyond those of <see cref="Interop.Libc.Errno"/>.</summary>
    public const int E2BIG = 7, EXDEV = 18, ETIME = 62;

    /// <summary>VIRQ_TIMER, VIRQ_DEBUG.</summary>
    public const int VirqTimer = 0, VirqDebug = 1;

    /// <summary>NR_VIRQS.</summary>
    public const int Virqs = 24;

    /// <summary>Virtual interrupts that each vCPU has for itself: timer, debug, xenoprof, xenpmu.</summary>
    public const uint PerVcpuVirqs = (1 << 0) | (1 << 1) | (1 << 7) | (1 << 13);
}
