using BenchmarkDotNet.Attributes;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Devices.Display.Cirrus;
using XenDM.Testing;

namespace XenDM.Benchmarks;

/// <summary>Blits of the CL-GD5446 of 1024 x 768 bytes in video memory, with the port accesses that start one; and bits of the CPU for a line of text.</summary>
[MemoryDiagnoser]
public class BlitBenchmark
{
    private const int Width = 1024, Height = 768;
    private const ushort Graphics = 0x3ce;
    private const uint Linear = 0xe000_0000, Aperture = Linear + (16 << 20);
    private readonly TestBoard _board = new();

    [GlobalSetup]
    public void SetUp()
    {
        var chip = new CirrusVga("vga", new ManagedVideoMemory(4 << 20), default, _board.Ram, _board.Clock);
        _board.Pci.Add(chip, 2);
        chip.Reset(ResetKind.Cold);
        _board.ConfigWrite(2, 0, 0x10, 4, Linear);
        _board.ConfigWrite(2, 0, 0x04, 2, 3);
        Number(0x24, 2, Width);
        Number(0x26, 2, Width);
    }

    /// <summary>Scrolls by 16 lines.</summary>
    [Benchmark(Baseline = true)]
    public void Scroll() => Blit(0x00, 0x0d, 16 * Width, Width, Height);

    /// <summary>The same for a raster operation that needs both sides.</summary>
    [Benchmark]
    public void Invert() => Blit(0x00, 0x59, 2 << 20, Width, Height);

    [Benchmark]
    public void Fill() => Blit(0xc0, 0x0d, 0, Width, Height, extension: 0x04);

    [Benchmark]
    public void Pattern() => Blit(0x50, 0x0d, 1 << 20, Width, Height);

    /// <summary>Transparent, 16 bits a pixel.</summary>
    [Benchmark]
    public void Expand() => Blit(0x98, 0x0d, 1 << 20, Width, Height);

    /// <summary>80 characters of 8 by 16 bits through the aperture.</summary>
    [Benchmark]
    public void TextLine()
    {
        Blit(0x84, 0x0d, 0, 640, 16);
        for (var i = 0; i < 640 * 16 / 32; i++) _board.Memory.Write(Aperture, 4, 0x5a5a_5a5a);
    }

    private void Blit(int mode, int operation, int source, int width, int height, int extension = 0)
    {
        Number(0x20, 2, width - 1);
        Number(0x22, 2, height - 1);
        Number(0x28, 3, 0);
        Number(0x2c, 3, source);
        Number(0x30, 1, mode);
        Number(0x32, 1, operation);
        Number(0x33, 1, extension);
        Number(0x31, 1, 2);
    }

    private void Number(int register, int bytes, int value)
    {
        for (var i = 0; i < bytes; i++) _board.Out16(Graphics, (((value >> (8 * i)) & 0xff) << 8) | (register + i));
    }
}
