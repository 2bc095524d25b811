using System.Collections.Generic;
using XenDM.Core.Irq;

namespace XenDM.Platform;

/// <summary>
/// The bus between local APICs, IOAPICs and message-signalled interrupts, with the wires of the board to all processors: LINT0 is INTR of the
/// 8259 pair (and input 0 of the IOAPIC), LINT1 is NMI. Specification: Intel SDM volume 3, 11.6.2 (destinations) and 11.11 (messages). A message arrives at
/// once, in the order of the processors. Lowest priority takes the processor with the lowest priority register, among equals the first.
/// </summary>
public sealed class ApicBus : IIrqSink
{
    /// <summary>The destination of a message for all.</summary>
    public const uint Broadcast = uint.MaxValue;

    /// <summary>Inputs of the bus as an interrupt sink.</summary>
    public const int Lint0 = 0;

    /// <inheritdoc cref="Lint0"/>
    public const int Lint1 = 1;
    private const ulong MsiWindow = 0xfee00000;
    private const uint BroadcastShort = 0xff;

    private readonly List<LocalApic> _apics = [];
    private readonly List<IoApic> _ioApics = [];

    /// <summary>The local APICs in the order of their vCPUs.</summary>
    public IReadOnlyList<LocalApic> Apics => _apics;

    internal void Add(LocalApic apic) => _apics.Add(apic);

    internal void Add(IoApic apic) => _ioApics.Add(apic);

    /// <summary>Drives <see cref="Lint0"/> or <see cref="Lint1"/>.</summary>
    public void SetLevel(int input, bool level)
    {
        foreach (var apic in _apics)
        {
            if (input == Lint0) apic.SetLint0(level);
            else apic.SetLint1(level);
        }

        if (input != Lint0) return;
        foreach (var apic in _ioApics) apic.SetLevel(0, level);
    }

    /// <summary>A message-signalled interrupt. What is not in the window of interrupt messages is dropped.</summary>
    /// <param name="address">fee in bits 31:20, destination in 19:12, redirection hint bit 3, logical bit 2.</param>
    /// <param name="data">Vector in bits 7:0, delivery mode 10:8, assert bit 14, level bit 15.</param>
    public void DeliverMsi(ulong address, uint data)
    {
        if ((address & ~0xffffful) != MsiWindow) return;
        var isLevel = (data & 0x8000) != 0;
        if (isLevel && (data & 0x4000) == 0) return;
        var isLogical = (address & 4) != 0;
        var delivery = (DeliveryMode)((data >> 8) & 7);

        // The redirection hint asks for one processor of a logical group.
        if ((address & 8) != 0 && isLogical && delivery == DeliveryMode.Fixed) delivery = DeliveryMode.LowestPriority;
        DeliverShort((byte)(address >> 12), isLogical, delivery, (byte)data, isLevel);
    }

    /// <summary>A message with an 8-bit destination: from MSI and the IOAPIC.</summary>
    internal void DeliverShort(byte destination, bool isLogical, DeliveryMode delivery, byte vector, bool isLevel) =>
        Deliver(new ApicMessage(destination == BroadcastShort ? Broadcast : destination, isLogical, delivery, vector, isLevel));

    /// <summary>Hands a message to whom it is for.</summary>
    public void Deliver(in ApicMessage message)
    {
        if (message.Delivery == DeliveryMode.LowestPriority)
        {
            FindLowest(message, except: null)?.Accept(message);
            return;
        }

        foreach (var apic in _apics)
            if (apic.Matches(message.Destination, message.IsLogical)) apic.Accept(message);
    }

    /// <summary>The shorthands "all" and "all but self" of the ICR.</summary>
    internal void DeliverToAll(in ApicMessage message, LocalApic? except)
    {
        if (message.Delivery == DeliveryMode.LowestPriority)
        {
            FindLowest(message, except)?.Accept(message);
            return;
        }

        foreach (var apic in _apics)
            if (apic != except) apic.Accept(message);
    }

    /// <summary>A level-triggered vector was ended.</summary>
    internal void EndOfInterrupt(byte vector)
    {
        foreach (var apic in _ioApics) apic.EndOfInterrupt(vector);
    }

    private LocalApic? FindLowest(in ApicMessage message, LocalApic? except)
    {
        LocalApic? best = null;
        foreach (var apic in _apics)
        {
            if (apic == except || !apic.IsEnabled || !apic.Matches(message.Destination, message.IsLogical)) continue;
            if (best is null || apic.ProcessorPriority < best.ProcessorPriority) best = apic;
        }

        return best;
    }
}
