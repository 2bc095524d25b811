using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Devices.Tests;

/// <summary>Random accesses to everything that a board maps, with time that moves on; the seed makes a failure repeatable.</summary>
internal static class ChipFuzz
{
    public static void Run(TestBoard board, IReadOnlyList<IDevice> chips, int steps, int seed, Action<Random>? extra = null)
    {
        var random = new Random(seed);
        for (var step = 0; step < steps; step++)
        {
            var value = random.Next(4) == 0 ? uint.MaxValue : (uint)random.NextInt64(1L << 32);
            var size = 1 << random.Next(3);
            if (random.Next(8) == 0) RandomConfig(board, random, size, value);
            else RandomPort(board, random, size, value);
            if (random.Next(16) == 0) board.Advance(random.Next(1_000_000));
            if (random.Next(16) == 0) extra?.Invoke(random);
            if (random.Next(4096) == 0)
                foreach (var chip in chips) chip.Reset(ResetKind.Warm);
            board.Requests.Clear();
            board.Log.Clear();
        }

        foreach (var chip in chips)
        {
            using var stream = new MemoryStream();
            StateWriter.Save([chip], stream);
            StateReader.Load([chip], stream.ToArray());
        }
    }

    private static void RandomPort(TestBoard board, Random random, int size, uint value)
    {
        var windows = new List<(ulong Start, ulong End, string Name)>(board.Ports.Windows());
        if (windows.Count == 0) return;
        var (start, end, _) = windows[random.Next(windows.Count)];
        var port = (ushort)(start + (ulong)random.NextInt64((long)(end - start) + 1));
        if (random.Next(2) == 0) board.Ports.Write(port, size, value);
        else board.Ports.Read(port, size);
    }

    private static void RandomConfig(TestBoard board, Random random, int size, uint value)
    {
        foreach (var function in board.Pci.Functions)
        {
            if (random.Next(2) == 0) continue;
            var register = random.Next(256) & ~(size - 1);
            if (random.Next(2) == 0) board.ConfigWrite(function.Device, function.Function, register, size, value);
            else board.ConfigRead(function.Device, function.Function, register, size);
        }
    }
}
