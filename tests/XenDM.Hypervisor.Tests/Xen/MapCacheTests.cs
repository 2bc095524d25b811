using System;
using System.Collections.Generic;
using XenDM.Core.Memory;
using XenDM.Hypervisor.Xen;

namespace XenDM.Hypervisor.Tests.Xen;

public sealed class MapCacheTests : IForeignMapper
{
    private const int Mega = 1 << 20;
    private readonly PinnedBuffer _ram = new(8 * Mega);
    private readonly HashSet<ulong> _holes = [];
    private readonly List<(ulong First, uint Pages)> _modified = [];
    private readonly List<nint> _mapped = [];
    private int _maps;

    [Fact]
    public void ReadsAndWritesAcrossBuckets()
    {
        using var cache = new MapCache(this);
        var data = new byte[5000];
        new Random(1).NextBytes(data);
        Assert.True(cache.TryWrite(Mega - 2500, data));
        var back = new byte[5000];
        Assert.True(cache.TryRead(Mega - 2500, back));
        Assert.Equal(data, back);
        Assert.Equal(2, _maps);
    }

    [Fact]
    public void HolesReadOnesAndDropWrites()
    {
        _holes.Add(1);
        using var cache = new MapCache(this);
        var back = new byte[8192];
        Assert.False(cache.TryRead(0x800, back));
        Assert.Equal(0xff, back[0x800]);
        Assert.Equal(0, back[0]);
        Assert.False(cache.TryWrite(0x1000, [1]));
        Assert.False(cache.TryPin(0x1000, 1, true, out _));
        Assert.False(cache.TryRead(1ul << 40, back));
    }

    [Fact]
    public void AHoleThatBecameRamIsSeen()
    {
        _holes.Add(1);
        using var cache = new MapCache(this);
        Assert.False(cache.TryWrite(0x1000, [1]));
        _holes.Clear();
        Assert.True(cache.TryWrite(0x1000, [1]));
    }

    [Fact]
    public void AHoleThatBecameRamIsSeenBesideAPin()
    {
        _holes.Add(1);
        using var cache = new MapCache(this);
        Assert.True(cache.TryPin(0, 16, true, out var pin));
        Assert.False(cache.TryWrite(0x1000, [1]));
        _holes.Clear();
        Assert.True(cache.TryWrite(0x1000, [1]));
        cache.Unpin(in pin, true);
        Assert.True(cache.TryWrite(0x1000, [1]));
        Assert.Single(_mapped);
    }

    [Fact]
    public void RomIsReadButNotWritten()
    {
        using var cache = new MapCache(this);
        cache.SetReadOnly(0xc0, 0x40, true);
        cache.SetReadOnly(0xd0, 0x10, false);
        Assert.False(cache.TryWrite(0xc0000, [1]));
        Assert.True(cache.TryWrite(0xd0000, [1]));
        Assert.False(cache.TryWrite(0xe0000, [1]));
        Assert.True(cache.TryRead(0xc0000, new byte[16]));
        Assert.False(cache.TryPin(0xe0000, 16, true, out _));
        Assert.True(cache.TryPin(0xd0000, 1 << 20, true, out var pin));
        Assert.Equal(0x10000, pin.Length);
        cache.Unpin(in pin, false);
        Assert.True(cache.TryPin(0xe0000, 16, false, out pin));
        cache.Unpin(in pin, false);
    }

    [Fact]
    public void OldBucketsGiveWayAndPinnedOnesStay()
    {
        using var cache = new MapCache(this, buckets: 2);
        Assert.True(cache.TryPin(0, 16, true, out var first));
        Assert.True(cache.TryWrite(1 * Mega, [1]));
        Assert.True(cache.TryWrite(2 * Mega, [1]));
        Assert.Equal(2, cache.Mapped);
        Assert.True(cache.TryPin(3 * Mega, 16, true, out var second));
        Assert.False(cache.TryPin(4 * Mega, 16, true, out _));
        Assert.Equal(_ram.Address, first.Address);
        cache.Unpin(in first, false);
        cache.Unpin(in second, false);
        Assert.True(cache.TryWrite(4 * Mega, [1]));
    }

    [Fact]
    public void PinsEndAtHolesAndBuckets()
    {
        _holes.Add(2);
        using var cache = new MapCache(this);
        Assert.True(cache.TryPin(0x800, 1 << 16, true, out var pin));
        Assert.Equal(0x1800, pin.Length);
        Assert.True(cache.TryPin(Mega - 0x1000, 1 << 16, true, out var end));
        Assert.Equal(0x1000, end.Length);
        cache.Unpin(in pin, false);
        cache.Unpin(in end, false);
    }

    [Fact]
    public void InvalidateMapsAnewAndUnmapsPinnedBucketsWithTheirLastPin()
    {
        using var cache = new MapCache(this);
        Assert.True(cache.TryPin(0, 16, true, out var pin));
        cache.Invalidate();
        Assert.Single(_mapped);
        Assert.True(cache.TryWrite(0, [1]));
        Assert.Equal(2, _mapped.Count);
        cache.Unpin(in pin, true);
        Assert.Single(_mapped);
    }

    [Fact]
    public void WritesAreReportedWhileDirtyPagesAreLogged()
    {
        using var cache = new MapCache(this) { DirtyLogging = true };
        cache.TryWrite(0xff0, new byte[0x20]);
        Assert.True(cache.TryPin(0x3ff0, 0x20, true, out var pin));
        cache.Unpin(in pin, true);
        Assert.Equal([(0ul, 1u), (1ul, 1u), (3ul, 2u)], _modified);
    }

    [Fact]
    public void AForeignPinIsRefused()
    {
        using var cache = new MapCache(this);
        Assert.Throws<InvalidOperationException>(() => cache.Unpin(new MemoryPin { Token = 1 }, false));
    }

    [Fact]
    public void DisposeUnmapsEverything()
    {
        using (var cache = new MapCache(this)) cache.TryWrite(0, [1]);
        Assert.Empty(_mapped);
    }

    nint IForeignMapper.Map(ulong firstPage, Span<int> errors)
    {
        if (firstPage >= (ulong)_ram.Length >> 12) return 0;
        _maps++;
        for (var i = 0; i < errors.Length; i++)
            if (_holes.Contains(firstPage + (ulong)i)) errors[i] = -22;
        var address = _ram.Address + (nint)(firstPage << 12);
        _mapped.Add(address);
        return address;
    }

    void IForeignMapper.Unmap(nint address, int pages) => Assert.True(_mapped.Remove(address));

    void IForeignMapper.Modified(ulong firstPage, uint pages) => _modified.Add((firstPage, pages));
}
