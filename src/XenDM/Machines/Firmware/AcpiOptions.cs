namespace XenDM.Machines.Firmware;

/// <summary>What the ACPI tables say about a machine; the defaults are the layout that Xen gives an HVM guest.</summary>
/// <param name="Cpus">Processors that run from the start, 1 to 128.</param>
/// <param name="MaxCpus">Processors that can be; those past <paramref name="Cpus"/> are listed as disabled.</param>
/// <param name="LowMemoryEnd">First address behind the RAM below 4 GiB: the window of the PCI bus begins here.</param>
internal sealed record AcpiOptions(int Cpus, int MaxCpus, uint LowMemoryEnd)
{
    /// <summary>Most processors: the LAPIC id is twice the number, in 8 bits, and 255 is the broadcast.</summary>
    public const int CpuLimit = 128;

    /// <summary>
    /// Where SeaBIOS puts PM1 control: it writes 0x600 to PMBA of the PIIX4, and waits by a timer at 0x608, as soon as it finds
    /// <c>etc/table-loader</c>. Without the tables it takes 0xb000.
    /// </summary>
    public const ushort SeaBiosPmControl = 0x604;

    /// <summary>Ports of the PM1 events (4) and, at +8, of the timer: chips of the platform.</summary>
    public ushort PmBase { get; init; } = 0xb000;

    /// <summary>Port of PM1 control (2): the PIIX4's, at PMBA+4.</summary>
    public ushort PmControl { get; init; } = 0xb004;

    /// <summary>
    /// PIRQ link of an interrupt pin: (device + pin + this) mod 4, pin 0 being INTA. 0 on Xen; 3 is what SeaBIOS takes for granted when it fills
    /// the Interrupt Line registers and its $PIR and MP tables.
    /// </summary>
    public int PciLinkOffset { get; init; }

    /// <summary>COM1 to COM4 in bits 0 to 3.</summary>
    public int SerialPorts { get; init; } = 1;

    /// <summary>A keyboard controller with keyboard and mouse.</summary>
    public bool HasPs2 { get; init; } = true;

    public bool HasHpet { get; init; } = true;

    /// <summary>\_S3 is there: the machine knows how to suspend and wake.</summary>
    public bool CanSuspend { get; init; }
}
