using System;
using BenchmarkDotNet.Attributes;
using XenDM.Core.Display;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Vga;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>From video memory to the frame, for a viewer who has seen the picture before.</summary>
[MemoryDiagnoser]
public class ScanOutBenchmark
{
    private const int MemoryBytes = 16 << 20;
    private readonly TestBoard _board = new();
    private readonly ManagedVideoMemory _memory = new(MemoryBytes);
    private readonly Frame _frame = new();
    private readonly Damage _damage = new();
    private StdVga _vga = null!;
    private byte _value;

    /// <summary>What the screen shows, and how much of it is written each time.</summary>
    public enum Screens
    {
        TextIdle,
        TextLine,
        TextAll,
        Planar640x480,
        Wide1024x768Idle,
        Wide1024x768OnePercent,
        Wide1024x768Same,
        Wide1024x768,
        High1024x768,
        Indexed1024x768,
    }

    [ParamsAllValues]
    public Screens Screen { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _vga = new StdVga("vga", _memory, default, _board.Hypervisor.Memory, _board.Clock);
        _board.Pci.Add(_vga, 2);
        _vga.Reset(ResetKind.Cold);
        _board.Out8(0x3c2, 0x67);
        var isPlanar = Screen == Screens.Planar640x480;
        Indexed(0x3c4, isPlanar ? [3, 1, 0x0f, 0, 6] : [3, 0, 3, 0, 2]);
        Indexed(0x3d4, isPlanar
            ? [0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x0c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff]
            : [0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x2d, 0x0e, 0, 0, 0, 0, 0x9c, 0x0e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff]);
        Indexed(0x3ce, isPlanar ? [0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff] : [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff]);
        for (var n = 0; n < 21; n++)
        {
            _board.In8(0x3da);
            _board.Out8(0x3c0, n);
            _board.Out8(0x3c0, n < 16 ? n : n == 0x12 ? 0x0f : 0);
        }

        _board.Out8(0x3c0, 0x20);
        _board.Out8(0x3c8, 0);
        for (var n = 0; n < 768; n++) _board.Out8(0x3c9, n & 63);
        var depth = Screen switch { Screens.High1024x768 => 16, Screens.Indexed1024x768 => 8, >= Screens.Wide1024x768Idle => 32, _ => 0 };
        if (depth > 0)
            foreach (var (index, value) in ((int, int)[])[(1, 1024), (2, 768), (3, depth), (4, 0x41)])
            {
                _board.Out16(0x1ce, index);
                _board.Out16(0x1cf, value);
            }

        var size = _vga.Size!.Value;
        _frame.Resize(size.Width, size.Height);
        _damage.Resize(size.Width, size.Height);
        _vga.SetRefreshPeriod(30);
        _vga.Draw(_frame, _damage, true);
    }

    [Benchmark]
    public void Draw()
    {
        _value++;
        switch (Screen)
        {
            case Screens.TextLine: Write(8 * 80 * 10, 8 * 80); break;
            case Screens.TextAll: Write(0, 8 * 80 * 25); break;
            case Screens.Planar640x480: Write(0, 4 * 80 * 480); break;
            case Screens.Wide1024x768OnePercent: Write(4 * 1024 * 100, 4 * 1024 * 8); break;
            case Screens.Wide1024x768Same: _memory.NoteWrite(0, 4 * 1024 * 768); break;
            case Screens.Wide1024x768: Write(0, 4 * 1024 * 768); break;
            case Screens.High1024x768: Write(0, 2 * 1024 * 768); break;
            case Screens.Indexed1024x768: Write(0, 1024 * 768); break;
        }

        _vga.Draw(_frame, _damage, false);
        _damage.Clear();
    }

    private void Write(int at, int bytes)
    {
        _memory.Bytes.Slice(at, bytes).Fill(_value);
        _memory.NoteWrite(at, bytes);
    }

    private void Indexed(ushort port, ReadOnlySpan<byte> values)
    {
        for (var n = 0; n < values.Length; n++) _board.Out16(port, (values[n] << 8) | n);
    }
}
