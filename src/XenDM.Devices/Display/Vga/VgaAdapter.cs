using System;
using XenDM.Core.Display;
using XenDM.Core.Memory;
using XenDM.Core.Pci;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// A display adapter on the PCI bus that is a VGA, class 0300, with an expansion ROM. No interrupt, no DMA. Deviation of all: ports and window
/// answer also while the command register does not enable their decoding, because no firmware cares for it.
/// </summary>
public abstract class VgaAdapter : PciFunction, IScreenSource
{
    /// <param name="rom">Image of the VGA BIOS, up to 256 KiB; empty for none.</param>
    /// <param name="ram">Guest memory; the adapter itself never touches it.</param>
    private protected VgaAdapter(string id, ushort vendor, ushort device, byte revision, ReadOnlySpan<byte> rom, IGuestMemory ram)
        : base(id, vendor, device, 0x030000, revision, ram)
    {
        SetSubsystem(0x1af4, 0x1100);
        SetWritable16(PciConstants.Command, PciConstants.CommandIo | PciConstants.CommandMemory);
        SetWritable8(PciConstants.InterruptLine, 0);
        if (rom.IsEmpty) return;
        var image = new OptionRom(rom);
        AddRom((uint)image.Size, image);
    }

    /// <summary>What the registers put on the screen.</summary>
    public abstract Screen Screen { get; }

    /// <summary>What a monitor would show.</summary>
    public abstract VgaScanOut ScanOut { get; }

    /// <summary>Rings when the screen may have changed, but for writes to the framebuffer that the home maps into the guest.</summary>
    public ChangeBell Bell { get; } = new();

    public PictureSize? Size => ScanOut.Size;

    public virtual CursorShape? Cursor => null;

    public virtual (int X, int Y) CursorPlace => (0, 0);

    public virtual void Draw(Frame frame, Damage damage, bool everything) => ScanOut.Draw(frame, damage, everything);

    public virtual bool NotifyOnce(Action? changed) => ScanOut.NotifyOnce(changed);

    public virtual void SetRefreshPeriod(int milliseconds) => ScanOut.SetRefreshPeriod(milliseconds);
}
