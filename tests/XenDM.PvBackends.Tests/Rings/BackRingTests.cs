using System;
using XenDM.PvBackends.Rings;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Rings;

/// <summary>The backend's end of a ring, whose indices the guest sets as it likes.</summary>
public sealed class BackRingTests
{
    private const int Slot = 112;

    private readonly FakeGrants _guest = new(FakeXen.Guest, 32);

    private (BackRing Ring, int[] Pages) Make(int count, int slot = Slot, uint start = 0)
    {
        var pages = new int[count];
        var references = new uint[count];
        for (var n = 0; n < count; n++) references[n] = _guest.Grant(pages[n] = _guest.Allocate());
        _guest.Word(pages[0], 0) = _guest.Word(pages[0], 8) = start;
        return (new BackRing(_guest.TryMap(FakeXen.Guest, references, writable: true)!, slot), pages);
    }

    [Theory]
    [InlineData(1, 112, 32)]
    [InlineData(1, 108, 32)]
    [InlineData(2, 112, 64)]
    [InlineData(16, 112, 512)]
    [InlineData(16, 108, 512)]
    [InlineData(1, 12, 256)]
    [InlineData(1, 8, 256)]
    public void SlotsAreAPowerOfTwo(int pages, int slot, int count) => Assert.Equal(count, Make(pages, slot).Ring.Count);

    [Theory]
    [InlineData(0U)]
    [InlineData(uint.MaxValue - 40)]
    [InlineData(0x7fff_ffffU)]
    public void RequestsAndResponsesShareSlotsAcrossPages(uint start)
    {
        var (ring, pages) = Make(4, Slot, start);
        var bytes = new byte[Slot];
        var produced = start;
        for (var round = 0; round < 400; round++)
        {
            var at = 64 + ((int)(produced & (uint)(ring.Count - 1)) * Slot);
            for (var n = 0; n < Slot; n++) _guest.Page(pages[(at + n) / 4096])[(at + n) % 4096] = (byte)(round + n);
            _guest.Word(pages[0], 0) = ++produced;
            Assert.Equal(1, ring.Waiting);
            ring.Peek(0, bytes);
            Assert.Equal((byte)round, bytes[0]);
            Assert.Equal(produced - 1, ring.Take(bytes));
            for (var n = 0; n < Slot; n++) Assert.Equal((byte)(round + n), bytes[n]);
            Assert.Equal(0, ring.Waiting);
            Assert.False(ring.FinalCheck());
            Assert.Equal(produced + 1, _guest.Word(pages[0], 4));
            bytes.AsSpan().Fill((byte)~round);
            ring.Respond(bytes.AsSpan(0, 16));
            Assert.Equal(produced - 1, _guest.Word(pages[0], 8));
            ring.Push();
            Assert.Equal(produced, _guest.Word(pages[0], 8));
            for (var n = 0; n < 16; n++) Assert.Equal((byte)~round, _guest.Page(pages[(at + n) / 4096])[(at + n) % 4096]);
        }
    }

    [Fact]
    public void IndicesThatMakeNoSenseAreSeen()
    {
        var (ring, pages) = Make(1);
        void Produce(uint index) => _guest.Word(pages[0], 0) = index;
        Produce(32);
        Assert.Equal(32, ring.Waiting);
        foreach (var index in (uint[])[33, 64, uint.MaxValue, 0x8000_0000])
        {
            Produce(index);
            Assert.Equal(-1, ring.Waiting);
        }

        // What is taken and not answered still has its slot.
        Produce(4);
        var bytes = new byte[Slot];
        for (var n = 0; n < 4; n++) ring.Take(bytes);
        Produce(32);
        Assert.Equal(28, ring.Waiting);
        Produce(33);
        Assert.Equal(-1, ring.Waiting);

        // An index that goes back.
        Produce(3);
        Assert.Equal(-1, ring.Waiting);
        Produce(4);
        Assert.Equal(0, ring.Waiting);
        ring.Respond(bytes);
        Produce(33);
        Assert.Equal(29, ring.Waiting);
    }

    [Fact]
    public void EventsAreAskedForByIndex()
    {
        var (ring, pages) = Make(1, Slot, uint.MaxValue - 1);
        var bytes = new byte[Slot];
        _guest.Word(pages[0], 0) = 6;
        for (var n = 0; n < 8; n++)
        {
            ring.Take(bytes);
            ring.Respond(bytes.AsSpan(0, 16));
        }

        // Wanted at the index that is passed now, before it and after it.
        Assert.False(ring.Waiting < 0);
        _guest.Word(pages[0], 12) = 7;
        Assert.False(ring.Push());
        Assert.False(ring.Push());
        _guest.Word(pages[0], 0) = 9;
        for (var n = 0; n < 3; n++) ring.Take(bytes);
        ring.Respond(bytes.AsSpan(0, 16));
        Assert.True(ring.Push());
        ring.Respond(bytes.AsSpan(0, 16));
        ring.Respond(bytes.AsSpan(0, 16));
        _guest.Word(pages[0], 12) = 9;
        Assert.True(ring.Push());
        Assert.Equal(9U, _guest.Word(pages[0], 8));
    }
}
