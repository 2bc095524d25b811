using System;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Block;

/// <summary>Once a ring is warm a request costs no memory.</summary>
public sealed class AllocationTests
{
    private const byte Read = BlockFrontRing.Read, Write = BlockFrontRing.Write, Barrier = BlockFrontRing.Barrier, Flush = BlockFrontRing.Flush;
    private const int Pages = 300;

    [Theory]
    [MemberData(nameof(FrontPatterns.Names), MemberType = typeof(FrontPatterns))]
    public void ARequestAllocatesNothing(string pattern)
    {
        var options = FrontPatterns.Get(pattern);
        using var machine = new PvMachine();
        var (disk, front) = machine.Connect(options, bytes: 4 << 20, log: false);
        var ring = front.Ring;
        var grants = new uint[Pages];
        for (var n = 0; n < Pages; n++) grants[n] = ring.GrantPage(ring.TakePage(), isReadOnly: false);
        var list = ring.TakePage();
        var listGrant = ring.GrantPage(list, isReadOnly: true);
        for (var n = 0; n < 256; n++) BlockFrontRing.Descriptor(machine.Xen.Grants.Page(list)[(n * 8)..], new BlockPiece(grants[n], 0, 7));
        long allocated = 0;
        var least = long.MaxValue;
        long requests = 0;
        Span<BlockPiece> pieces = new BlockPiece[11];
        for (var round = 0; round < 600; round++)
        {
            // Neighbours and strangers, long and short ones, lists, flushes and barriers, errors of the guest's.
            for (var n = 0; n < 28; n++)
            {
                var operation = n % 2 == 0 ? Read : Write;
                switch (n % 14)
                {
                    case 12: ring.Add(n < 14 ? Flush : Barrier, 0); break;
                    case 13: ring.AddDiscard(800, 8); break;
                    case 10: ring.Add(operation, 1UL << 60, new BlockPiece(grants[0], 0, 7)); break;
                    case 8 when options.IndirectSegments > 0: ring.AddIndirect(operation, 100, listGrant, n < 14 ? 256 : 40); break;
                    default:
                        for (var p = 0; p < pieces.Length; p++) pieces[p] = new BlockPiece(grants[(n * 3) + p], (byte)(p % 3), 7);
                        ring.Add(operation, (ulong)(n < 7 ? n * 8 : n * 97), pieces[..(n < 7 ? 1 : 11)]);
                        break;
                }
            }

            var before = GC.GetAllocatedBytesForCurrentThread();
            ring.Push();
            machine.Pump();
            allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            while (ring.TryTake(out _))
            {
            }

            requests += 28;
            if (round % 10 == 9)
            {
                least = Math.Min(least, allocated);
                allocated = 0;
            }

            Assert.Equal(0, ring.Waiting);
        }

        // The runtime itself takes a little now and then (see Allocations); what each request takes shows in every stretch.
        Assert.Equal(0, least);
        Assert.True(disk.Count > requests / 2);
    }
}
