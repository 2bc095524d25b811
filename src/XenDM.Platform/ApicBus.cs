using System.Collections.Generic;

namespace XenDM.Platform;

/// <summary>Delivery modes of the APIC bus (SDM 3, 10.6.1).</summary>
public enum DeliveryMode
{
    Fixed = 0,
    LowestPriority = 1,
    Smi = 2,
    Nmi = 4,
    Init = 5,
    Startup = 6,
    ExtInt = 7,
}

/// <summary>What a local APIC tells its vCPU.</summary>
public interface ILocalApicCpu
{
    /// <summary>Whether there is an interrupt to deliver may have changed.</summary>
    void InterruptChanged(int cpu);

    void Nmi(int cpu);

    void Init(int cpu);

    void Startup(int cpu, byte vector);
}

/// <summary>Carries messages between local APICs, the I/O APIC and devices with MSI.</summary>
public sealed class ApicBus
{
    private readonly List<LocalApic> _apics = [];
    private readonly List<IoApic> _ioApics = [];

    public IReadOnlyList<LocalApic> Apics => _apics;

    internal void Add(LocalApic apic) => _apics.Add(apic);

    internal void Add(IoApic apic) => _ioApics.Add(apic);

    /// <summary>A message by destination.</summary>
    /// <param name="destination">APIC id (physical) or logical destination; 8 bits, or 32 from an x2APIC.</param>
    /// <param name="wide">The destination has 32 bits.</param>
    public void Deliver(uint destination, bool logical, bool wide, DeliveryMode mode, byte vector, bool level)
    {
        if (mode != DeliveryMode.LowestPriority)
        {
            foreach (var apic in _apics)
                if (apic.Matches(destination, logical, wide)) apic.Accept(mode, vector, level);
            return;
        }

        LocalApic? best = null;
        foreach (var apic in _apics)
            if (apic.IsEnabled && apic.Matches(destination, logical, wide) && (best is null || apic.ProcessorPriority < best.ProcessorPriority)) best = apic;
        best?.Accept(DeliveryMode.Fixed, vector, level);
    }

    /// <summary>A message-signalled interrupt: SDM 3, 10.11.</summary>
    public void DeliverMsi(ulong address, uint data) =>
        Deliver((uint)(address >> 12) & 0xff, (address & 4) != 0, false, (DeliveryMode)(data >> 8 & 7), (byte)data, (data & 0x8000) != 0);

    /// <summary>A level-triggered vector was ended.</summary>
    internal void EndOfInterrupt(byte vector)
    {
        foreach (var apic in _ioApics) apic.EndOfInterrupt(vector);
    }
}
