using System.Collections.Generic;
using XenDM.Core.State;
using XenDM.Devices.Chipset;
using XenDM.Testing;

namespace XenDM.Devices.Tests.Chipset;

/// <summary>The chips of the chip set on one board, wired as on the real one.</summary>
internal sealed class ChipsetBoard
{
    public const int Sci = 9;

    public ChipsetBoard()
    {
        Isa = new Piix3Isa(Board.Hypervisor, Board);
        Host = new I440Fx(Board.Hypervisor.Memory, Isa.ResetControl);
        Pm = new Piix4Pm(Board.Hypervisor.Memory, Board.IsaLine(Sci), Board);
        Hotplug = new AcpiHotplug(Pm.RaiseGpe, Ejected.Add, 2);
        Dma = new I8237Dma(Board.Hypervisor.Memory);
        Glue = new IsaGlue(Board);
        Board.Pci.Add(Host, 0);
        Board.Pci.Add(Isa, 1, 0);
        Board.Pci.Add(Pm, 1, 3);
        Hotplug.MapPorts(Board.Ports);
        Dma.MapPorts(Board.Ports);
        Glue.MapPorts(Board.Ports);
        foreach (var chip in Chips) chip.Reset(ResetKind.Cold);
    }

    public TestBoard Board { get; } = new();

    public I440Fx Host { get; }

    public Piix3Isa Isa { get; }

    public Piix4Pm Pm { get; }

    public AcpiHotplug Hotplug { get; }

    public I8237Dma Dma { get; }

    public IsaGlue Glue { get; }

    public List<int> Ejected { get; } = [];

    public IDevice[] Chips => [Host, Isa, Pm, Hotplug, Dma, Glue];

    /// <summary>What hvmloader does with the PM function before anything else.</summary>
    public void EnableAcpi()
    {
        Board.ConfigWrite(1, 3, 0x40, 4, 0xb001);
        Board.ConfigWrite(1, 3, 0x80, 1, 1);
        Board.Out8(0xb2, 0xf1);
    }
}
