using System;
using XenDM.Core.Display;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Pci;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Devices.Display.Vga;

namespace XenDM.Devices.Display.Cirrus;

/// <summary>
/// Cirrus Logic's CL-GD5446 ("Alpine VisualMedia accelerator"): 1013:00b8, class 0300, a VGA with packed pixels of 8 to 32 bits, a hardware
/// cursor and a BitBLT engine. BAR0 is 32 MiB: linear memory, and from 16 MiB on the blitter's aperture; BAR1 4 KiB of registers: the ports
/// 3c0-3df at 0, the blitter's at 100; an expansion ROM. No interrupt, no DMA. Specification: CL-GD5446 Technical Reference Manual (1996).
/// The parts: <see cref="CirrusRegisters"/>, <see cref="CirrusMemory"/>, <see cref="CirrusBlitter"/>, <see cref="CirrusCursor"/>; deviations are
/// told there.
/// </summary>
public sealed class CirrusVga : VgaAdapter
{
    private const int MemoryBar = 0;
    private const int RegisterBar = 1;
    private const uint RegisterBytes = 0x1000;
    private const ushort Vendor = 0x1013;
    private const ushort Product = 0x00b8;

    private readonly VideoMemory _memory;
    private readonly CirrusRegisters _registers;
    private readonly CirrusBlitter _blitter;
    private readonly CirrusMemory _access;
    private readonly VgaMemory _planes;
    [Glue("makes a picture of registers and memory")]
    private readonly CirrusCursor _cursor;
    [Glue("mappings; made when the function comes onto the bus")]
    private RegionMapping[] _mappings = [];
    [Glue("where BAR0 is")]
    private ulong _barAddress;
    [Glue("whether BAR0 is to be seen")]
    private bool _barVisible;
    [Glue("what the home was told last")]
    private bool _isShown;

    /// <param name="memory">4, 8 or 16 MiB; drivers find 4.</param>
    /// <param name="rom">Image of the VGA BIOS, up to 256 KiB; empty for none.</param>
    /// <param name="ram">Guest memory; the adapter itself never touches it.</param>
    public CirrusVga(string id, VideoMemory memory, ReadOnlySpan<byte> rom, IGuestMemory ram, IVmClock clock)
        : base(id, Vendor, Product, 0, rom, ram)
    {
        if (memory.Size is not (4 << 20 or 8 << 20 or 16 << 20)) throw new ArgumentOutOfRangeException(nameof(memory), $"{memory.Size} bytes of video memory: it must be 4, 8 or 16 MiB");
        _memory = memory;
        _registers = new CirrusRegisters(clock, Bell);
        _blitter = new CirrusBlitter(memory, _registers, Bell);
        _planes = new VgaMemory(memory, _registers.Vga, null, Bell);
        _access = new CirrusMemory(memory, _registers, _blitter, _planes, Bell, ShowMemory);
        _registers.Wire(_planes, ShowMemory, _blitter.Begin, _blitter.Abort);
        _cursor = new CirrusCursor(memory, _registers);
        Screen = new Screen(memory, _registers.Vga, _registers);
        ScanOut = new VgaScanOut(memory, _registers.Vga, _registers, Screen, Bell, clock);
        AddBar(MemoryBar, BarKind.MemoryPrefetchable, CirrusMemory.BarBytes, _access.Linear, "memory");
        AddBar(RegisterBar, BarKind.Memory, RegisterBytes, new RegisterBlock(this), "registers");
    }

    public override Screen Screen { get; }

    public override VgaScanOut ScanOut { get; }

    public override CursorShape? Cursor => Screen.IsDark ? null : _cursor.Shape;

    public override (int X, int Y) CursorPlace => _registers.CursorPlace;

    public override void Draw(Frame frame, Damage damage, bool everything)
    {
        if (everything) _cursor.Forget();
        else _cursor.Remove(frame);
        base.Draw(frame, damage, everything);
        _cursor.Draw(frame, damage, Screen.IsDark);
    }

    protected override void OnAttached() => _mappings = [.. _registers.Vga.MapPorts(Bus!.Ports), _access.MapWindow(Bus.Memory)];

    protected override void OnDetached()
    {
        foreach (var mapping in _mappings) mapping.Remove();
    }

    protected override void BarPlaced(int index, ulong address, bool visible)
    {
        if (index != MemoryBar) return;
        if (_isShown) _memory.Show(_barAddress, false);
        (_barAddress, _barVisible, _isShown) = (address, visible, false);
        ShowMemory();
    }

    /// <summary>Lets the home map memory into the guest whenever it is there as bytes.</summary>
    private void ShowMemory()
    {
        var shown = _barVisible && _access.IsPlain;
        if (shown == _isShown) return;
        _isShown = shown;
        _memory.Show(_barAddress, shown);
    }

    /// <summary>BAR1.</summary>
    private sealed class RegisterBlock(CirrusVga chip) : IIoRegion
    {
        private const int BlitterStart = 0x100;
        private const int BlitterBytes = 0x100;

        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            var at = (int)offset;
            for (var i = 0; i < size; i++, at++)
            {
                var piece = at switch
                {
                    < VgaRegisters.ColourWindowBytes => chip._registers.Vga.ReadWindow(at),
                    >= BlitterStart and < BlitterStart + BlitterBytes => chip._access.ReadMmio(at - BlitterStart),
                    _ => (byte)0xff,
                };
                value |= (ulong)piece << (8 * i);
            }

            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            var at = (int)offset;
            for (var i = 0; i < size; i++, at++)
            {
                var piece = (byte)(value >> (8 * i));
                if (at < VgaRegisters.ColourWindowBytes) chip._registers.Vga.WriteWindow(at, piece);
                else if (at is >= BlitterStart and < BlitterStart + BlitterBytes) chip._access.WriteMmio(at - BlitterStart, piece);
            }
        }
    }

    public override void Reset(ResetKind kind)
    {
        base.Reset(kind);
        _registers.ResetAll();
        _blitter.ResetAll();
        _access.Reset();
        _planes.Reset();
        if (kind == ResetKind.Cold) _memory.Clear();
        ShowMemory();
        Bell.Ring();
    }

    public override void State(StateVisitor s)
    {
        base.State(s);
        s.Same("memory.size", (ulong)_memory.Size);
        s.Child("registers", _registers);
        s.Child("blitter", _blitter);
        s.Child("access", _access);
        s.Child("planes", _planes);
        if (!_memory.IsSavedWithRam) s.Bytes("memory", _memory.Bytes);
        if (!s.IsLoading) return;
        _memory.NoteWrite(0, _memory.Size);
        Bell.Ring();
    }

    public override void Restored()
    {
        base.Restored();
        ShowMemory();
    }
}
