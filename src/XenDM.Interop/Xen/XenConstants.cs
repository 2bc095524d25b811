namespace XenDM.Interop.Xen;

/// <summary>Numbers of Xen's public headers (xen/public/hvm/ioreq.h, dm_op.h, params.h, memory.h, sched.h, hvm_op.h).</summary>
public static class XenConstants
{
    public const int PageShift = 12;
    public const int PageSize = 1 << PageShift;

    /// <summary>vCPUs that have a slot on the one page of synchronous requests.</summary>
    public const int MaxIoreqVcpus = 128;

    /// <summary>HVM_IOREQSRV_BUFIOREQ_ATOMIC: Xen keeps the ring's pointers small, with both changed at once.</summary>
    public const int BufferedIoreqAtomic = 2;

    /// <summary>XENMEM_resource_ioreq_server.</summary>
    public const uint ResourceIoreqServer = 0;

    /// <summary>XENMEM_resource_ioreq_server_frame_bufioreq: the ring's page; the synchronous pages follow.</summary>
    public const ulong ResourceFrameBuffered = 0;

    /// <summary>XENMEM_resource_ioreq_server_frame_ioreq(0).</summary>
    public const ulong ResourceFrameIoreq = 1;

    /// <summary>XEN_DMOP_MEM_CACHEATTR_WB.</summary>
    public const uint CacheWriteBack = 6;

    /// <summary>XEN_DMOP_MEM_CACHEATTR_DELETE: the range is no longer pinned.</summary>
    public const uint CacheUnpinned = uint.MaxValue;

    /// <summary>HVM_PARAM_ACPI_S_STATE.</summary>
    public const uint ParamAcpiSleepState = 14;

    /// <summary>HVMMEM_ram_rw.</summary>
    public const uint MemoryRamReadWrite = 0;

    /// <summary>HVMMEM_ram_ro.</summary>
    public const uint MemoryRamReadOnly = 1;

    /// <summary>SHUTDOWN_poweroff.</summary>
    public const uint ShutdownPowerOff = 0;

    /// <summary>SHUTDOWN_reboot.</summary>
    public const uint ShutdownReboot = 1;

    /// <summary>DOMID_FIRST_RESERVED: guests are below.</summary>
    public const ushort FirstReservedDomain = 0x7ff0;
}

/// <summary>IOREQ_TYPE_*.</summary>
public enum IoreqType : byte
{
    Port = 0,

    /// <summary>IOREQ_TYPE_COPY: memory-mapped I/O.</summary>
    Memory = 1,
    PciConfig = 2,
    TimeOffset = 7,
    Invalidate = 8,
}

/// <summary>STATE_IOREQ_* and STATE_IORESP_READY. Only ever go round in this order: Xen ends a guest whose device model goes back.</summary>
public enum IoreqState : byte
{
    None = 0,
    Ready = 1,
    InProcess = 2,
    ResponseReady = 3,
}
