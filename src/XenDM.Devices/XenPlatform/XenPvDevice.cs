using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;

namespace XenDM.Devices.XenPlatform;

/// <summary>
/// The placeholder that <c>vendor_device="xenserver"</c> asks for (QEMU: xen-pvdevice): a function to which Windows Update can attach PV drivers.
/// 5853:c000 by default of libxl, class 0880, INTA (never raised), BAR1 prefetchable memory that reads all ones. No ports, no DMA.
/// Specification: xen/docs/man/xl.cfg.5.pod.in (vendor_device), xen/docs/misc/pci-device-reservations.txt.
/// Deviations: none.
/// </summary>
public sealed class XenPvDevice : PciFunction
{
    public const ushort DefaultVendor = 0x5853;
    public const byte DefaultRevision = 1;
    public const uint DefaultBytes = 4 << 20;
    private const int MemoryBar = 1;

    /// <param name="bytes">Of the memory BAR: a power of two of at least 16.</param>
    public XenPvDevice(string id, ushort vendor, ushort device, byte revision, uint bytes, IGuestMemory memory)
        : base(id, vendor, device, 0x088000, revision, memory)
    {
        SetSubsystem(vendor, device);
        SetDefault16(PciConstants.Command, PciConstants.CommandMemory);
        SetInterruptPin(1);
        AddBar(MemoryBar, BarKind.MemoryPrefetchable, bytes, new Ones(), "memory");
    }

    private sealed class Ones : IIoRegion
    {
        public ulong Read(ulong offset, int size) => AddressSpace.Mask(size);

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }
}
