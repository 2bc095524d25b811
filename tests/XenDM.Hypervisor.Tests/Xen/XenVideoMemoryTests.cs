using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using XenDM.Core.Memory;
using XenDM.Hypervisor.Xen;

namespace XenDM.Hypervisor.Tests.Xen;

/// <summary>This plays Xen: a guest of 16 MiB, whose pages are found by their number.</summary>
public sealed class XenVideoMemoryTests : IVideoPages
{
    private const int Mega = 1 << 20, PageBytes = 4096;
    private const ulong Home = 16 * Mega, Bar = 0xf000_0000;

    private readonly PinnedBuffer _pages = new(Mega);
    private readonly Dictionary<ulong, int> _guest = [];
    private readonly List<string> _calls = [];
    private readonly HashSet<ulong> _dirty = [];
    private readonly List<nint> _mapped = [];
    private (ulong First, uint Pages) _tracked;
    private bool _knowsDirty = true, _moves = true;

    public bool DirtyLogging { get; set; }

    [Fact]
    public void IsBehindRamUntilItIsShown()
    {
        using var memory = New();
        Assert.Equal(["populate 1000 100"], _calls);
        Assert.True(memory.IsSavedWithRam);
        memory.Bytes[5] = 7;
        memory.Show(Bar, true);
        Assert.Equal(Bar, memory.Place);
        Assert.Equal(7, memory.Bytes[5]);
        Assert.Single(_mapped);
        memory.Show(Bar, false);
        Assert.Equal(Home, memory.Place);
        Assert.Equal(["populate 1000 100", "move 1000 f0000 100", "pin f0000 100", "move f0000 1000 100", "unpin f0000 100"], _calls);
    }

    [Fact]
    public void RamAbove4GiBIsNotInItsWay()
    {
        using var memory = new XenVideoMemory(Mega, 5ul << 30, 3ul << 30, false, this);
        Assert.Equal(6ul << 30, memory.Place);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0xa_0000)]
    [InlineData(8 * Mega)]
    [InlineData(0xfc00_0000)]
    [InlineData(0xfee0_0000)]
    public void PlacesOfOthersAreLeft(ulong address)
    {
        using var memory = New();
        memory.Show(address, true);
        Assert.Equal(Home, memory.Place);
        Assert.Single(_calls);
    }

    [Fact]
    public void StaysWhereItIsWhenXenRefusesAMove()
    {
        using var memory = New();
        memory.Show(Bar, true);
        _moves = false;
        memory.Show(Bar + Mega, true);
        Assert.Equal(Bar, memory.Place);
    }

    [Fact]
    public void ARestoredGuestHasItsPagesAlready()
    {
        for (var n = 0; n < 256; n++) _guest[(Bar >> 12) + (ulong)n] = n;
        _pages.Span[123] = 9;
        using var memory = new XenVideoMemory(Mega, Home, Home, true, this);
        memory.Clear();
        memory.Show(Bar, true);
        memory.Arrived();
        Assert.Equal(9, memory.Bytes[123]);
        Assert.Equal(["pin f0000 100"], _calls);
    }

    [Fact]
    public void ARestoredGuestThatShowedNothingHasThemAtHome()
    {
        for (var n = 0; n < 256; n++) _guest[(Home >> 12) + (ulong)n] = n;
        using var memory = new XenVideoMemory(Mega, Home, Home, true, this);
        memory.Arrived();
        memory.Show(Bar, true);
        Assert.Equal(["move 1000 f0000 100", "pin f0000 100"], _calls);
    }

    [Fact]
    public void IsMappedOnlyWhileSomebodyNeedsIt()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.Clear();
        Assert.False(memory.IsMapped);
        memory.SetTracking(true);
        Assert.Equal(Mega, memory.Bytes.Length);
        Assert.True(memory.IsMapped);
        memory.SetTracking(false);
        Assert.False(memory.IsMapped);
        Assert.Empty(_mapped);
    }

    [Fact]
    public void PagesThatAreGoneAreBlackAndHarmless()
    {
        using var memory = New();
        memory.Show(Bar, true);
        _guest.Remove((Bar >> 12) + 3);
        memory.Bytes.Fill(1);
        Assert.Equal("missing f0000 100", _calls[^1]);
        Assert.Empty(_mapped);
        Assert.Equal(0, _pages.Span[0]);
        memory.SetTracking(true);
        memory.SetTracking(false);
        Assert.Equal(0, memory.Bytes[0]);
    }

    [Fact]
    public void XenTellsWhatTheGuestWrote()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.SetTracking(true);
        var pages = new ulong[1];
        Assert.False(memory.TakeDirty(0, 64 * PageBytes, pages));
        Assert.True(memory.TakeDirty(0, 64 * PageBytes, pages));
        Write(2);
        memory.NoteWrite(5 * PageBytes, 1);
        Assert.True(memory.TakeDirty(0, 64 * PageBytes, pages));
        Assert.Equal((1ul << 2) | (1ul << 5), pages[0] & ((1ul << 2) | (1ul << 5)));
        Assert.True(memory.TakeDirty(0, 64 * PageBytes, pages));
        Assert.Equal(0ul, pages[0] & 0x24);
    }

    [Fact]
    public void AnotherRangeIsKnownFromItsSecondTimeOn()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.SetTracking(true);
        var pages = new ulong[1];
        memory.TakeDirty(0, 16 * PageBytes, pages);
        Assert.True(memory.TakeDirty(0, 16 * PageBytes, pages));
        Assert.False(memory.TakeDirty(16 * PageBytes, 16 * PageBytes, pages));
        Assert.True(memory.TakeDirty(16 * PageBytes, 16 * PageBytes, pages));
        Write(17);
        Assert.True(memory.TakeDirty(16 * PageBytes, 16 * PageBytes, pages));
        Assert.Equal(2ul, pages[0]);
    }

    [Fact]
    public void WhatXenCannotTellIsAllDirty()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.SetTracking(true);
        var pages = new ulong[4];
        memory.TakeDirty(0, Mega, pages);
        _knowsDirty = false;
        Assert.False(memory.TakeDirty(0, Mega, pages));
        _knowsDirty = true;
        Assert.True(memory.TakeDirty(0, Mega, pages));
        Assert.Equal((3ul, 1ul), memory.Looks);
    }

    [Fact]
    public void XenKeepsNoTrackOnceNobodyLooksOrTheMemoryMoves()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.SetTracking(true);
        var pages = new ulong[4];
        memory.TakeDirty(0, Mega, pages);
        memory.Show(Bar + Mega, true);
        Assert.Equal((Home >> 12, 1u), _tracked);
        memory.TakeDirty(0, Mega, pages);
        Assert.Equal(((Bar + Mega) >> 12, 256u), _tracked);
        memory.SetTracking(false);
        Assert.Equal((Home >> 12, 1u), _tracked);
    }

    [Fact]
    public void WritesOfTheAdapterAreReportedForMigration()
    {
        using var memory = New();
        memory.Show(Bar, true);
        memory.NoteWrite(4095, 2);
        Assert.DoesNotContain(_calls, static c => c.StartsWith("modified", StringComparison.Ordinal));
        DirtyLogging = true;
        memory.NoteWrite(4095, 2);
        memory.NoteWrite(Mega - 1, 2);
        Assert.Equal("modified f0000 2", _calls[^1]);
    }

    private XenVideoMemory New() => new(Mega, Home, Home, false, this);

    /// <summary>The guest writes to a page of the screen.</summary>
    private void Write(ulong page) => _dirty.Add((Bar >> 12) + page);

    void IVideoPages.Populate(ulong firstPage, uint pages)
    {
        _calls.Add($"populate {firstPage:x} {pages:x}");
        for (var n = 0; n < pages; n++) _guest.Add(firstPage + (ulong)n, n);
    }

    bool IVideoPages.Relocate(ulong fromPage, ulong toPage, uint pages)
    {
        if (!_moves) return false;
        _calls.Add($"move {fromPage:x} {toPage:x} {pages:x}");
        for (var n = 0u; n < pages; n++)
        {
            _guest.Remove(fromPage + n, out var page);
            _guest[toPage + n] = page;
        }

        return true;
    }

    void IVideoPages.Pin(ulong firstPage, uint pages, bool on) => _calls.Add($"{(on ? "pin" : "unpin")} {firstPage:x} {pages:x}");

    bool IVideoPages.TrackDirty(ulong firstPage, uint pages, Span<byte> bitmap)
    {
        if (!_knowsDirty) return false;
        var isNew = _tracked != (firstPage, pages);
        _tracked = (firstPage, pages);
        var words = MemoryMarshal.Cast<byte, ulong>(bitmap);
        for (var n = 0u; n < pages; n++)
            if (_dirty.Remove(firstPage + n) || isNew) words[(int)n / 64] |= 1ul << (int)(n % 64);
        return true;
    }

    void IVideoPages.Missing(ulong firstPage, uint pages) => _calls.Add($"missing {firstPage:x} {pages:x}");

    nint IForeignMapper.Map(ulong firstPage, Span<int> errors)
    {
        for (var n = 0; n < errors.Length; n++) errors[n] = _guest.TryGetValue(firstPage + (ulong)n, out var page) && page == n ? 0 : 22;
        _mapped.Add(_pages.Address);
        return _pages.Address;
    }

    void IForeignMapper.Unmap(nint address, int pages)
    {
        Assert.Equal(256, pages);
        Assert.True(_mapped.Remove(address));
    }

    void IForeignMapper.Modified(ulong firstPage, uint pages) => _calls.Add($"modified {firstPage:x} {pages:x}");
}
