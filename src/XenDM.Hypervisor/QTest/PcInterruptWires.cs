using System;
using XenDM.Core.Irq;
using XenDM.Platform;

namespace XenDM.Hypervisor.QTest;

/// <summary>
/// The interrupt wires of a PC, as test programs expect them: ISA interrupt n reaches input n of the 8259A pair and of the I/O APIC (0 too, unlike on
/// Xen's board), and an INTx pin comes there by its PIRQ link only. Sources of one line are wired OR. An observer sees each change of a line.
/// </summary>
public sealed class PcInterruptWires
{
    private const int Lines = 16;
    private const byte FromBoard = 1, FromPlatform = 2, FromClient = 4;
    private const int FirstLink = 3;

    private readonly I8259Pic _pic;
    private readonly IoApic _ioApic;

    /// <summary>For each line, who holds it up.</summary>
    private readonly byte[] _sources = new byte[Lines];
    private readonly uint[] _intx = new uint[4];
    private readonly int[] _linkHolders = new int[4];
    private readonly int[] _linkRoute = new int[4];

    public PcInterruptWires(I8259Pic pic, IoApic ioApic)
    {
        _pic = pic;
        _ioApic = ioApic;
    }

    /// <summary>Told of every change of a line, after the controllers.</summary>
    public Action<int, bool>? Changed { get; set; }

    /// <summary>A wire of a platform chip (timer, clock, SCI).</summary>
    public IrqLine PlatformLine(int irq) => new(new Platform(this), irq);

    /// <summary>The board's ISA interrupt, 0 to 15.</summary>
    public void SetIsa(int irq, bool level) => Drive(irq, FromBoard, level);

    /// <summary>The client drives an input of the I/O APIC by hand.</summary>
    /// <returns>False when there is no such line.</returns>
    public bool SetByClient(ulong irq, bool level)
    {
        if (irq >= Lines) return false;
        Drive((int)irq, FromClient, level);
        return true;
    }

    /// <summary>An INTx pin of bus 0. The PIIX3's slot (1) has INTA on link A; each slot further moves by one.</summary>
    public void SetIntx(int device, int pin, bool level)
    {
        if ((uint)device >= 32 || (uint)pin >= 4 || (_intx[pin] >> device & 1) != 0 == level) return;
        _intx[pin] ^= 1u << device;
        var link = (device + 3 + pin) & 3;
        _linkHolders[link] += level ? 1 : -1;
        if (_linkHolders[link] == (level ? 1 : 0)) Drive(_linkRoute[link], (byte)(1 << (FirstLink + link)), level);
    }

    /// <summary>Moves a link to an ISA interrupt, 0 for none. A link that is up takes its level along.</summary>
    public void RouteLink(int link, int irq)
    {
        if ((uint)link >= 4 || (uint)irq >= Lines || _linkRoute[link] == irq) return;
        var source = (byte)(1 << (FirstLink + link));
        Drive(_linkRoute[link], source, false);
        _linkRoute[link] = irq;
        if (_linkHolders[link] > 0) Drive(irq, source, true);
    }

    private void Drive(int irq, byte source, bool level)
    {
        if ((uint)irq >= Lines || (irq == 0 && source >= 1 << FirstLink)) return;
        var was = _sources[irq];
        var now = (byte)(level ? was | source : was & ~source);
        _sources[irq] = now;
        if (was != 0 == (now != 0)) return;
        _pic.SetLevel(irq, level);
        _ioApic.SetLevel(irq, level);
        Changed?.Invoke(irq, level);
    }

    private sealed class Platform(PcInterruptWires wires) : IIrqSink
    {
        public void SetLevel(int input, bool level) => wires.Drive(input, FromPlatform, level);
    }
}
