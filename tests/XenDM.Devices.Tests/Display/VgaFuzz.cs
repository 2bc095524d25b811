using System;
using XenDM.Core.State;

namespace XenDM.Devices.Tests.Display;

/// <summary>Random steps of a guest at a VGA: registers, ports, window, framebuffer, time and resets; the same at every board.</summary>
internal static class VgaFuzz
{
    private static readonly (ushort Index, int Count)[] s_indexed = [(0x3c4, 5), (0x3d4, 0x19), (0x3ce, 9)];

    public static void Step(Random random, ReadOnlySpan<VgaBoard> boards)
    {
        var kind = random.Next(100);
        var value = random.Next(4) == 0 ? 0xff : random.Next(256);
        var place = random.Next();
        var word = (uint)random.NextInt64(1L << 32);
        foreach (var vga in boards)
        {
            var board = vga.Board;
            switch (kind)
            {
                case < 25:
                    board.Memory.Write(0xa_0000 + (ulong)(place % 0x2_0000), 1 << (place % 3), word);
                    break;
                case < 35:
                    board.Memory.Read(0xa_0000 + (ulong)(place % 0x2_0000), 1 << (place % 3));
                    break;
                case < 55:
                    board.Memory.Write(VgaBoard.FrameBuffer + (ulong)(place % 0x8_0000), 4, word);
                    break;
                case < 75:
                    var (index, count) = s_indexed[place % 3];
                    board.Out16(index, (value << 8) | (place / 3 % count));
                    break;
                case < 82:
                    board.In8(0x3da);
                    board.Out8(0x3c0, (place % 21) | 0x20);
                    board.Out8(0x3c0, value);
                    break;
                case < 86:
                    board.Out8((ushort)(0x3c0 + (place % 32)), value);
                    break;
                case < 89:
                    vga.Dac(place % 256, value & 63, place & 63, (place >> 6) & 63);
                    break;
                case < 95:
                    // Sizes that a test can afford, now and then any at all.
                    vga.Vbe(place % 10, (place % 10) switch { 1 or 2 or 6 => value * 4, 3 => (value % 5) * 8, 4 => (value & 0xe1) | (value & 1), _ => random.Next(2) == 0 && boards.Length == 1 ? (int)word & 0xffff : value });
                    break;
                case < 97:
                    board.Advance(place % 300_000_000);
                    break;
                case 97:
                    board.Out8(0x3c2, value | 3);
                    break;
                case 98 when place % 20 == 0:
                    vga.Chip.Reset(place % 40 == 0 ? ResetKind.Warm : ResetKind.Cold);
                    vga.MapBars();
                    break;
                default:
                    if (place % 3 == 0) vga.TextMode();
                    else if (place % 3 == 1) vga.PlanarMode();
                    else vga.PackedMode();
                    break;
            }
        }
    }
}
