using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Memory;

namespace XenDM.Testing;

/// <summary>Records what a board asks of its hypervisor.</summary>
public sealed class FakeHypervisor : IHypervisor
{
    public FakeHypervisor(int ramBytes = 1 << 20) => Ram = new FakeMemory(ramBytes);

    public FakeMemory Ram { get; }

    public IGuestMemory Memory => Ram;

    public int MaxVcpus => 1;

    /// <summary>Levels of the ISA interrupts, a bit each.</summary>
    public uint IsaLevels { get; private set; }

    /// <summary>Rising edges seen on each ISA interrupt.</summary>
    public int[] IsaEdges { get; } = new int[16];

    /// <summary>Levels of INTx; the index is device * 4 + pin.</summary>
    public bool[] Intx { get; } = new bool[128];

    public int[] LinkRoutes { get; } = new int[4];

    public List<(IoSpace Space, ulong Start, ulong End)> Ranges { get; } = [];

    public HashSet<(int Bus, int Device, int Function)> PciFunctions { get; } = [];

    public List<ShutdownReason> Shutdowns { get; } = [];

    public List<(ulong First, uint Pages, MemoryKind Kind)> MemoryKinds { get; } = [];

    public List<(ulong Address, uint Data)> Msis { get; } = [];

    public int SleepState { get; private set; }

    public bool DirtyLogging { get; set; }

    public bool IsaLevel(int irq) => (IsaLevels & (1u << irq)) != 0;

    public void SetIsaIrq(int irq, bool level)
    {
        if (level && !IsaLevel(irq)) IsaEdges[irq]++;
        IsaLevels = level ? IsaLevels | (1u << irq) : IsaLevels & ~(1u << irq);
    }

    public void SetPciIntx(int device, int pin, bool level) => Intx[(device * 4) + pin] = level;

    public void SetPciLinkRoute(int link, int irq) => LinkRoutes[link] = irq;

    public void InjectMsi(ulong address, uint data) => Msis.Add((address, data));

    public void PciFunctionAdded(int bus, int device, int function) => PciFunctions.Add((bus, device, function));

    public void PciFunctionRemoved(int bus, int device, int function) => PciFunctions.Remove((bus, device, function));

    public bool SetMemoryKind(ulong firstPage, uint pages, MemoryKind kind)
    {
        MemoryKinds.Add((firstPage, pages, kind));
        return true;
    }

    public void Shutdown(ShutdownReason reason) => Shutdowns.Add(reason);

    public void SetAcpiSleepState(int state) => SleepState = state;

    public void RangeAdded(IoSpace space, ulong start, ulong end) => Ranges.Add((space, start, end));

    public void RangeRemoved(IoSpace space, ulong start, ulong end) => Ranges.Remove((space, start, end));

    public void Dispose()
    {
    }
}
