using System;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// The display adapter of Bochs and QEMU ("stdvga"): 1234:1111, class 0300, an IBM VGA with the VBE registers and a linear framebuffer. BAR0
/// shows video memory, BAR2 4 KiB of registers: EDID at 0, the ports 3c0-3df at 400, the VBE registers at 500, and at 600 the size of the
/// last block and the byte order; an expansion ROM. No interrupt, no DMA. Interface: Bochs "VBE Display API"; QEMU docs/specs/standard-vga.
/// Deviation: the byte order is always little-endian.
/// </summary>
public sealed class StdVga : VgaAdapter
{
    private const int FrameBufferBar = 0;
    private const int RegisterBar = 2;
    private const uint RegisterBytes = 0x1000;
    private const ushort Vendor = 0x1234;
    private const ushort Product = 0x1111;

    /// <summary>Revision 2 says that the block at 600 is there.</summary>
    private const byte Revision = 2;

    /// <summary>Bytes of video memory unless another size is asked for.</summary>
    public const int DefaultMemoryBytes = 16 << 20;

    private readonly VideoMemory _memory;
    [Glue("mappings; made when the function comes onto the bus")]
    private RegionMapping[] _mappings = [];

    /// <param name="memory">1 to 256 MiB.</param>
    /// <param name="rom">Image of the VGA BIOS, up to 256 KiB; empty for none.</param>
    /// <param name="ram">Guest memory; the adapter itself never touches it.</param>
    public StdVga(string id, VideoMemory memory, ReadOnlySpan<byte> rom, IGuestMemory ram, IVmClock clock)
        : base(id, Vendor, Product, Revision, rom, ram)
    {
        _memory = memory;
        Registers = new VgaRegisters(clock, Bell);
        Vbe = new VbeRegisters(memory, Registers, Bell);
        Window = new VgaMemory(memory, Registers, Vbe, Bell);
        Screen = new Screen(memory, Registers, Vbe);
        ScanOut = new VgaScanOut(memory, Registers, Vbe, Screen, Bell, clock);
        AddBar(FrameBufferBar, BarKind.MemoryPrefetchable, (uint)memory.Size, new VideoWindow(memory, Bell), "framebuffer");
        AddBar(RegisterBar, BarKind.Memory, RegisterBytes, new RegisterBlock(this), "registers");
    }

    public VgaRegisters Registers { get; }

    public VbeRegisters Vbe { get; }

    public VgaMemory Window { get; }

    public override Screen Screen { get; }

    public override VgaScanOut ScanOut { get; }

    protected override void OnAttached() => _mappings = [.. Registers.MapPorts(Bus!.Ports), Vbe.MapPorts(Bus.Ports), Window.Map(Bus.Memory)];

    protected override void OnDetached()
    {
        foreach (var mapping in _mappings) mapping.Remove();
    }

    protected override void BarPlaced(int index, ulong address, bool visible)
    {
        if (index == FrameBufferBar) _memory.Show(address, visible);
    }

    /// <summary>BAR2.</summary>
    private sealed class RegisterBlock(StdVga chip) : IIoRegion
    {
        private const int PortsStart = 0x400;
        private const int VbeStart = 0x500;
        private const int ExtensionStart = 0x600;
        private const int ExtensionBytes = 8;

        /// <summary>The extension block: its size, then the byte order (1e1e1e1e is little-endian).</summary>
        private static ReadOnlySpan<byte> Extension => [ExtensionBytes, 0, 0, 0, 0x1e, 0x1e, 0x1e, 0x1e];

        private readonly byte[] _edid = Edid.Build();

        public ulong Read(ulong offset, int size)
        {
            var at = (int)offset;
            if (at is >= VbeStart and < ExtensionStart) return chip.Vbe.ReadRegister(offset - VbeStart, size);
            ulong value = 0;
            for (var i = 0; i < size; i++, at++)
            {
                var piece = at switch
                {
                    < Edid.Bytes => _edid[at],
                    >= PortsStart and < PortsStart + VgaRegisters.ColourWindowBytes => chip.Registers.ReadWindow(at - PortsStart),
                    >= ExtensionStart and < ExtensionStart + ExtensionBytes => Extension[at - ExtensionStart],
                    _ => (byte)0,
                };
                value |= (ulong)piece << (8 * i);
            }

            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            var at = (int)offset;
            if (at is >= VbeStart and < ExtensionStart) chip.Vbe.WriteRegister(offset - VbeStart, size, value);
            else
                for (var i = 0; i < size; i++, at++)
                    if (at is >= PortsStart and < PortsStart + VgaRegisters.ColourWindowBytes) chip.Registers.WriteWindow(at - PortsStart, (byte)(value >> (8 * i)));
        }
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        Registers.Reset();
        Vbe.Reset();
        Window.Reset();
        if (kind == ResetKind.Cold) _memory.Clear();
        Bell.Ring();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Same("memory.size", (ulong)_memory.Size);
        s.Child("vga", Registers);
        s.Child("vbe", Vbe);
        s.Child("window", Window);
        if (!_memory.IsSavedWithRam) s.Bytes("memory", _memory.Bytes);
        if (!s.IsLoading) return;
        _memory.NoteWrite(0, _memory.Size);
        Bell.Ring();
    }
}
