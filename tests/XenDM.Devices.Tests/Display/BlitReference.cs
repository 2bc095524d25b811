using System;
using System.Collections.Generic;

namespace XenDM.Devices.Tests.Display;

/// <summary>What a blit does, said as plainly as possible: pixel by pixel, byte by byte, in the order of the data sheet.</summary>
internal sealed class BlitReference(byte[] memory)
{
    /// <summary>The raster operations of the data sheet, by their code: of a bit of the source and one of the destination.</summary>
    public static readonly Dictionary<int, Func<bool, bool, bool>> Operations = new()
    {
        [0x00] = static (_, _) => false,
        [0x05] = static (s, d) => s && d,
        [0x06] = static (_, d) => d,
        [0x09] = static (s, d) => s && !d,
        [0x0b] = static (_, d) => !d,
        [0x0d] = static (s, _) => s,
        [0x0e] = static (_, _) => true,
        [0x50] = static (s, d) => !s && d,
        [0x59] = static (s, d) => s != d,
        [0x6d] = static (s, d) => s || d,
        [0x90] = static (s, d) => !s && !d,
        [0x95] = static (s, d) => s == d,
        [0xad] = static (s, d) => s || !d,
        [0xd0] = static (s, _) => !s,
        [0xd6] = static (s, d) => !s || d,
        [0xda] = static (s, d) => !s || !d,
    };

    private readonly byte[,] _results = new byte[256, 256];
    private int _known = -1;

    /// <param name="cpu">What the CPU writes, for a blit that takes it.</param>
    public void Run(in Blit blit, ReadOnlySpan<byte> cpu)
    {
        Learn(blit.Operation);
        var isPattern = (blit.Mode & Blit.Pattern) != 0;
        var expands = (blit.Mode & Blit.Expand) != 0;
        var direction = (blit.Mode & Blit.Backwards) != 0 && !isPattern && !expands ? -1 : 1;
        var pixels = (blit.Width + blit.Bytes - 1) / blit.Bytes;
        var bitsOfLine = (blit.Extension & Blit.Dwords) != 0 ? (pixels + 31) / 32 * 32 : (pixels + 7) / 8 * 8;
        var solid = isPattern && expands && (blit.Extension & Blit.Solid) != 0 && (blit.Mode & (Blit.Transparent | Blit.ToSystem)) == 0;
        Span<byte> colour = stackalloc byte[4];

        // A pattern is read before anything is written, and so are the bits of a line.
        var pattern = new byte[256];
        for (var i = 0; i < 256; i++) pattern[i] = (blit.Mode & Blit.FromSystem) == 0 ? memory[Address((blit.Source & ~7) + i)] : i < cpu.Length ? cpu[i] : (byte)0;
        var bits = new byte[bitsOfLine / 8];
        for (var y = 0; y < blit.Height; y++)
        {
            for (var i = 0; i < bits.Length && expands && !isPattern; i++)
            {
                var at = (y * bits.Length) + i;
                bits[i] = (blit.Mode & Blit.FromSystem) != 0 ? cpu[at] : memory[Address(blit.Source + at)];
            }

            for (var pixel = 0; pixel < pixels; pixel++)
            {
                colour.Clear();
                var at = Address(blit.Destination + (direction * ((y * blit.DestinationPitch) + (pixel * blit.Bytes))));
                var bytes = Math.Min(blit.Bytes, blit.Width - (pixel * blit.Bytes));
                if (direction < 0) at = Address(at - bytes + 1);
                if (expands)
                {
                    var one = solid || Bit(blit, isPattern ? pattern : bits, isPattern, y, pixel);
                    var inverted = (blit.Extension & Blit.Invert) != 0;
                    if ((blit.Mode & Blit.Transparent) != 0 && one == inverted) continue;
                    var value = one ? blit.Foreground : blit.Background;
                    for (var i = 0; i < 4; i++) colour[i] = (byte)(value >> (8 * i));
                }
                else
                {
                    for (var i = 0; i < bytes; i++) colour[i] = SourceByte(blit, isPattern ? pattern : cpu, isPattern, direction, y, (pixel * blit.Bytes) + (direction < 0 ? bytes - 1 - i : i));
                }

                if ((blit.Mode & Blit.Transparent) != 0 && !expands)
                {
                    if (bytes < blit.Bytes || blit.Bytes > 2) continue;
                    int result = 0, mask = blit.Bytes == 1 ? 0xff : 0xffff;
                    for (var i = 0; i < bytes; i++) result |= _results[colour[i], memory[Address(at + i)]] << (8 * i);
                    if (((result ^ blit.Key) & ~blit.KeyMask & mask) == 0) continue;
                }

                // Backwards the last byte is the first one: a source that is overwritten is seen as such.
                for (var i = 0; i < bytes; i++)
                {
                    if (!solid && (isPattern || expands) && (pixel * blit.Bytes) + i < ClippedBytes(blit)) continue;
                    var at2 = Address(at + (direction < 0 ? bytes - 1 - i : i));
                    var source = direction < 0 ? colour[bytes - 1 - i] : colour[i];
                    if (!expands && !isPattern && (blit.Mode & (Blit.FromSystem | Blit.Transparent)) == 0) source = SourceByte(blit, cpu, false, direction, y, (pixel * blit.Bytes) + i);
                    memory[at2] = _results[source, memory[at2]];
                }
            }
        }
    }

    private static int ClippedBytes(in Blit blit) => blit.Bytes == 3 ? blit.Clip & 0x1f : (blit.Clip & 7) * blit.Bytes;

    private int Address(int address) => address & (memory.Length - 1);

    private static bool Bit(in Blit blit, byte[] bits, bool isPattern, int y, int pixel) =>
        ((isPattern ? bits[((blit.Source & 7) + y) % 8] : bits[pixel / 8]) & (0x80 >> (pixel % 8))) != 0;

    /// <param name="x">Bytes from the side where the line begins.</param>
    private byte SourceByte(in Blit blit, ReadOnlySpan<byte> cpu, bool isPattern, int direction, int y, int x)
    {
        var fromCpu = (blit.Mode & Blit.FromSystem) != 0;
        if (!isPattern) return fromCpu ? cpu[(y * ((blit.Width + 3) / 4 * 4)) + x] : memory[Address(blit.Source + (direction * ((y * blit.SourcePitch) + x)))];
        var lineBytes = blit.Bytes == 3 ? 32 : 8 * blit.Bytes;
        var at = ((((blit.Source & 7) + y) % 8) * lineBytes) + (x % (8 * blit.Bytes));
        return cpu[at];
    }

    private void Learn(int code)
    {
        if (code == _known) return;
        _known = code;
        var operation = Operations.GetValueOrDefault(code, Operations[0x06]);
        for (var s = 0; s < 256; s++)
        {
            for (var d = 0; d < 256; d++)
            {
                var result = 0;
                for (var bit = 1; bit < 256; bit <<= 1)
                    if (operation((s & bit) != 0, (d & bit) != 0)) result |= bit;
                _results[s, d] = (byte)result;
            }
        }
    }
}
