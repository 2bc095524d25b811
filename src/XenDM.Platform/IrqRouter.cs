using System;
using XenDM.Core.Irq;
using XenDM.Core.State;

namespace XenDM.Platform;

/// <summary>
/// The wires between interrupt lines and controllers, as Xen lays them (xen/arch/x86/hvm/irq.c as described in the public interface): ISA interrupt n
/// reaches the 8259A and the I/O APIC (interrupt 0 there as input 2); an INTx pin reaches I/O APIC input 16 to 47 and, through its PIRQ link, an ISA
/// interrupt. What shares a line is counted, so that it stays up until the last lets go.
/// </summary>
public sealed class IrqRouter : IDevice, IIrqSink
{
    private readonly I8259Pic _pic;
    private readonly IoApic _ioApic;
    private readonly ApicBus _bus;
    private readonly byte[] _gsiCount = new byte[IoApic.Inputs];
    private readonly byte[] _linkCount = new byte[4];
    private readonly byte[] _linkRoute = new byte[4];
    private ushort _isaLevels, _platformLevels;
    private readonly uint[] _intx = new uint[4];

    public IrqRouter(I8259Pic pic, IoApic ioApic, ApicBus bus)
    {
        _pic = pic;
        _ioApic = ioApic;
        _bus = bus;
    }

    public string Id => "irq-router";

    /// <summary>A line of a platform chip (timer, clock, SCI), 0 to 15, counted apart from the board's.</summary>
    public IrqLine PlatformLine(int irq) => new(this, irq);

    void IIrqSink.SetLevel(int input, bool level) => Change(ref _platformLevels, input, level);

    /// <summary>The board's ISA interrupt.</summary>
    public void SetIsaIrq(int irq, bool level)
    {
        if ((uint)irq < 16) Change(ref _isaLevels, irq, level);
    }

    private void Change(ref ushort levels, int irq, bool level)
    {
        if ((levels >> irq & 1) != 0 == level) return;
        levels = (ushort)(levels ^ (1 << irq));
        CountIsa(irq, level);
    }

    private void CountIsa(int irq, bool level)
    {
        var gsi = irq == 0 ? 2 : irq;
        // ISA interrupts are counted by their own number; 0 and 2 share an I/O APIC input, but 2 is the cascade and no line.
        ref var count = ref _gsiCount[irq];
        count = (byte)Math.Max(0, count + (level ? 1 : -1));
        if (level ? count != 1 : count != 0) return;
        _pic.SetLevel(irq, level);
        _ioApic.SetLevel(gsi, level);
    }

    /// <summary>An INTx pin of bus 0.</summary>
    public void SetPciIntx(int device, int pin, bool level)
    {
        if ((uint)device >= 32 || (uint)pin >= 4) return;
        ref var pins = ref _intx[pin];
        if ((pins >> device & 1) != 0 == level) return;
        pins ^= 1u << device;
        var gsi = (((device * 4) + (device / 8) + pin) & 31) + 16;
        ref var count = ref _gsiCount[gsi];
        count = (byte)Math.Max(0, count + (level ? 1 : -1));
        if (level ? count == 1 : count == 0) _ioApic.SetLevel(gsi, level);
        var link = (device + pin) & 3;
        ref var linkCount = ref _linkCount[link];
        linkCount = (byte)Math.Max(0, linkCount + (level ? 1 : -1));
        if ((level ? linkCount == 1 : linkCount == 0) && _linkRoute[link] != 0) CountIsa(_linkRoute[link], level);
    }

    /// <summary>Moves a PIRQ link to an ISA interrupt, 0 for none. An asserted link moves with it.</summary>
    public void SetPciLinkRoute(int link, int irq)
    {
        if ((uint)link >= 4 || (uint)irq >= 16 || _linkRoute[link] == irq) return;
        if (_linkCount[link] > 0 && _linkRoute[link] != 0) CountIsa(_linkRoute[link], false);
        _linkRoute[link] = (byte)irq;
        if (_linkCount[link] > 0 && irq != 0) CountIsa(irq, true);
    }

    public void InjectMsi(ulong address, uint data) => _bus.DeliverMsi(address, data);

    /// <summary>Lines belong to their chips, which let go of them in their own reset.</summary>
    public void Reset(ResetKind kind)
    {
        for (var n = 0; n < 4; n++) SetPciLinkRoute(n, 0);
    }

    public void State(StateVisitor s)
    {
        s.Bytes("gsi-count", _gsiCount);
        s.Bytes("link-count", _linkCount);
        s.Bytes("link-route", _linkRoute);
        s.U16("isa", ref _isaLevels);
        s.U16("platform", ref _platformLevels);
        for (var n = 0; n < 4; n++) s.U32($"intx{n}", ref _intx[n]);
        for (var n = 0; n < 4; n++)
            if (_linkRoute[n] > 15) s.Fail("link-route", "is not an ISA interrupt");
    }
}
