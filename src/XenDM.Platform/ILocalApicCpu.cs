namespace XenDM.Platform;

/// <summary>What a local APIC tells its vCPU. Implemented by the machine; called on the machine thread.</summary>
public interface ILocalApicCpu
{
    /// <summary><see cref="LocalApic.HasInterrupt"/> of this vCPU changed, or its APIC was reset.</summary>
    void InterruptChanged(int cpu);

    /// <summary>A non-maskable interrupt, as an edge.</summary>
    void Nmi(int cpu);

    /// <summary>INIT: the vCPU resets, except for what INIT keeps. The APIC has reset itself already.</summary>
    void Init(int cpu);

    /// <summary>A start-up IPI. A vCPU that does not wait for one ignores it.</summary>
    /// <param name="vector">Bits 19:12 of the start address.</param>
    void Startup(int cpu, byte vector);

    /// <summary>A system management interrupt. Without SMM nothing comes of it.</summary>
    void Smi(int cpu)
    {
    }
}

/// <summary>Delivery modes of an interrupt message, as the ICR, the LVT, the IOAPIC and MSI data encode them.</summary>
public enum DeliveryMode : byte
{
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Nmi = 4,
    Init = 5,
    Startup = 6,
    ExtInt = 7,
}

/// <summary>One interrupt message on the bus between the APICs.</summary>
/// <param name="Destination">An 8-bit or x2APIC destination; <see cref="ApicBus.Broadcast"/> for all.</param>
/// <param name="IsLogical">The destination is matched with the logical ids.</param>
/// <param name="IsLevel">Level triggered: the end of the interrupt is broadcast to the IOAPIC.</param>
public readonly record struct ApicMessage(uint Destination, bool IsLogical, DeliveryMode Delivery, byte Vector, bool IsLevel);
