namespace XenDM.Core.Pci;

/// <summary>Offsets and bits of configuration space (PCI Local Bus Specification 3.0, section 6).</summary>
public static class PciConstants
{
    public const int VendorId = 0x00;
    public const int DeviceId = 0x02;
    public const int Command = 0x04;
    public const int Status = 0x06;
    public const int Revision = 0x08;
    public const int ProgIf = 0x09;
    public const int ClassDevice = 0x0a;
    public const int HeaderType = 0x0e;
    public const int Bar0 = 0x10;
    public const int SubsystemVendorId = 0x2c;
    public const int SubsystemId = 0x2e;
    public const int RomBar = 0x30;
    public const int CapabilityPointer = 0x34;
    public const int InterruptLine = 0x3c;
    public const int InterruptPin = 0x3d;

    public const ushort CommandIo = 1 << 0;
    public const ushort CommandMemory = 1 << 1;
    public const ushort CommandMaster = 1 << 2;
    public const ushort CommandInterruptDisable = 1 << 10;
    public const ushort StatusInterrupt = 1 << 3;
    public const byte HeaderMultiFunction = 0x80;
}

/// <summary>What a base address register asks for.</summary>
public enum BarKind
{
    Io,
    Memory,
    MemoryPrefetchable,
}
