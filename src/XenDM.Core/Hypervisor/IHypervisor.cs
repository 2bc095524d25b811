using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;

namespace XenDM.Core.Hypervisor;

/// <summary>Reasons of <c>SCHEDOP_shutdown</c> (xen/public/sched.h).</summary>
public enum ShutdownReason
{
    PowerOff = 0,
    Reboot = 1,
    Suspend = 2,
    Crash = 3,
}

/// <summary>How guest pages answer (HVMMEM_*, xen/public/hvm/hvm_op.h).</summary>
public enum MemoryKind
{
    Ram = 0,
    RamReadOnly = 1,
}

/// <summary>
/// The guest as the board sees it. Three implementations: Xen, the embedded machine, and a scripted driver for tests. Machine thread only.
/// </summary>
public interface IHypervisor : IAddressSpaceListener, IDisposable
{
    IGuestMemory Memory { get; }

    /// <summary>vCPUs that can exist.</summary>
    int MaxVcpus { get; }

    /// <summary>Level of ISA interrupt <paramref name="irq"/> 0 to 15.</summary>
    void SetIsaIrq(int irq, bool level);

    /// <summary>Level of an INTx pin on bus 0.</summary>
    /// <param name="device">0 to 31.</param>
    /// <param name="pin">0 to 3 for INTA to INTD.</param>
    void SetPciIntx(int device, int pin, bool level);

    /// <summary>Routes PCI interrupt link 0 to 3 (PIRQ A to D) to an ISA interrupt, 0 for none.</summary>
    void SetPciLinkRoute(int link, int irq);

    /// <summary>A message-signalled interrupt as the function would write it.</summary>
    void InjectMsi(ulong address, uint data);

    /// <summary>Configuration accesses of this function come to us from now on.</summary>
    void PciFunctionAdded(int bus, int device, int function);

    void PciFunctionRemoved(int bus, int device, int function);

    /// <summary>The type of guest pages: the xen-platform device locks the ROM area with it.</summary>
    /// <returns>False when the hypervisor refused.</returns>
    bool SetMemoryKind(ulong firstPage, uint pages, MemoryKind kind);

    /// <summary>While on, every page that a device writes is reported as dirty (live migration).</summary>
    bool DirtyLogging { get; set; }

    /// <summary>Ends, reboots or suspends the guest.</summary>
    void Shutdown(ShutdownReason reason);

    /// <summary>Enters (3) or leaves (0) ACPI sleep.</summary>
    void SetAcpiSleepState(int state);
}
