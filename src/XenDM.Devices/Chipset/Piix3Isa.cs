using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Pci;
using XenDM.Core.Registers;
using XenDM.Core.State;

namespace XenDM.Devices.Chipset;

/// <summary>
/// Intel 82371SB (PIIX3), function 0: the PCI-to-ISA bridge at 00:01.0, 8086:7000 revision 0, multifunction. Port 0xcf9 (RCR, handed to
/// the host bridge, whose CONFADD covers it). Routes PIRQ A to D to ISA interrupts. Data sheet: Intel 290550-002, section 2.2.
/// Deviations: the interrupt controllers, timers, ELCR and speaker of this chip are the hypervisor's; the DMA controllers are a chip
/// of their own. Chip selects, timing and SMI registers hold what is written and do nothing.
/// </summary>
public sealed class Piix3Isa : PciFunction
{
    private const int Iort = 0x4c;
    private const int Xbcs = 0x4e;
    private const int Pirqrc = 0x60;
    private const int Links = 4;
    private const int Tom = 0x69;
    private const int Mbirq0 = 0x70;
    private const int Mbdma0 = 0x76;
    private const int Pcsc = 0x78;
    private const int ApicBase = 0x80;
    private const int Dlc = 0x82;
    private const int Smicntl = 0xa0;
    private const int Smien = 0xa2;
    private const int See = 0xa4;
    private const int Ftmr = 0xa8;
    private const int Smireq = 0xaa;
    private const int Ctltmr = 0xac;
    private const int Cthtmr = 0xae;

    /// <summary>PIRQRC: the link is not routed.</summary>
    private const byte RouteDisabled = 0x80;

    /// <summary>ISA interrupts that a link can have: 3 to 7, 9 to 12, 14, 15. The others are reserved.</summary>
    private const int RoutableIrqs = 0xdef8;
    private const byte RcrHardReset = 0x02;
    private const byte RcrResetCpu = 0x04;

    private static readonly RegisterTable<Piix3Isa> s_rcr = new RegisterTable<Piix3Isa>("PIIX3 reset control", 1)
        .Byte(0, "RCR", static c => ref c._rcr, write: static (c, v) => c.WriteRcr((byte)v))
        .Build();

    private readonly IHypervisor _hypervisor;
    private readonly IMachineControl _control;
    [Glue("what the hypervisor was told last; derived from PIRQRC, and saved by the hypervisor itself")]
    private readonly int[] _routes = new int[Links];
    private byte _rcr;

    /// <param name="hypervisor">Told of each change of a PIRQ route.</param>
    /// <param name="control">Asked for a reset when the guest writes RCR.</param>
    public Piix3Isa(IHypervisor hypervisor, IMachineControl control)
        : base("piix3-isa", 0x8086, 0x7000, 0x060100, 0, hypervisor.Memory)
    {
        _hypervisor = hypervisor;
        _control = control;
        ResetControl = new TableRegion<Piix3Isa>(s_rcr, this);
        SetDefault8(PciConstants.HeaderType, PciConstants.HeaderMultiFunction);
        SetDefault16(PciConstants.Command, PciConstants.CommandIo | PciConstants.CommandMemory | PciConstants.CommandMaster);
        SetWritable16(PciConstants.Command, 0x0108);
        SetDefault16(PciConstants.Status, 0x0200);
        SetWritable8(0x0c, 0);
        SetWritable8(PciConstants.InterruptLine, 0);
        Declare(Iort, 0x4d, 0xff);
        Declare(Xbcs, 0x03, 0xff);
        Declare(Xbcs + 1, 0x00, 0x01);
        for (var link = 0; link < Links; link++) Declare(Pirqrc + link, RouteDisabled, 0x8f);
        Declare(Tom, 0x02, 0xfe);
        Declare(Mbirq0, RouteDisabled, 0xef);
        Declare(Mbdma0, 0x04, 0x8f);
        Declare(Mbdma0 + 1, 0x04, 0x8f);
        Declare(Pcsc, 0x02, 0xff);
        Declare(Pcsc + 1, 0x00, 0xff);
        Declare(ApicBase, 0x00, 0x7f);
        Declare(Dlc, 0x00, 0x0f);
        Declare(Smicntl, 0x08, 0x1f);
        Declare(Smien, 0x00, 0xff);
        for (var i = 0; i < 4; i++) Declare(See + i, 0x00, 0xff);
        Declare(Ftmr, 0x0f, 0xff);
        Declare(Smireq, 0x00, 0xff);
        Declare(Ctltmr, 0x00, 0xff);
        Declare(Cthtmr, 0x00, 0xff);
    }

    /// <summary>The one byte at port 0xcf9, for the host bridge.</summary>
    public IIoRegion ResetControl { get; }

    private void Declare(int register, byte reset, byte writable)
    {
        SetDefault8(register, reset);
        SetWritable8(register, writable);
    }

    /// <summary>The processor is reset when RCPU goes from 0 to 1. Every reset is a hard one here, so the bit never reads back as one.</summary>
    private void WriteRcr(byte value)
    {
        _rcr = (byte)(value & RcrHardReset);
        if ((value & RcrResetCpu) != 0) _control.RequestReset("PIIX3 reset control register");
    }

    protected override void ConfigWritten(int register, int size)
    {
        if (Overlaps(register, size, Pirqrc, Links)) AnnounceRoutes();
    }

    private void AnnounceRoutes()
    {
        for (var link = 0; link < Links; link++)
        {
            var irq = RouteOf(link);
            if (irq == _routes[link]) continue;
            _routes[link] = irq;
            _hypervisor.SetPciLinkRoute(link, irq);
        }
    }

    /// <summary>The ISA interrupt of a link, 0 when it has none.</summary>
    private int RouteOf(int link)
    {
        var value = Config[Pirqrc + link];
        var irq = value & 0x0f;
        return (value & RouteDisabled) == 0 && ((RoutableIrqs >> irq) & 1) != 0 ? irq : 0;
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        s_rcr.Reset(this);
        AnnounceRoutes();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Registers(s_rcr, this);
    }

    /// <summary>The hypervisor's own saved state has the routes; setting them again could move an interrupt that is pending.</summary>
    public override void Restored()
    {
        base.Restored();
        for (var link = 0; link < Links; link++) _routes[link] = RouteOf(link);
    }
}
