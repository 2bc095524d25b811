using System.Collections.Generic;
using XenDM.Core.Io;
using XenDM.Testing;

namespace XenDM.Core.Tests.Io;

public class AddressSpaceTests
{
    private readonly AddressSpace _space = new(IoSpace.Port, 0xffff);

    [Fact]
    public void ReadReachesTheRegionWithItsOwnOffset()
    {
        _space.Map("a", 0x100, 0x10, new Echo(0xa0));
        Assert.Equal(0xa4ul, _space.Read(0x104, 1));
    }

    [Fact]
    public void UnclaimedReadsAllOnesAndIsCountedOnce()
    {
        var seen = new List<IoAccess>();
        _space.Unclaimed.FirstSeen = seen.Add;
        Assert.Equal(0xffffffful & 0xffff, _space.Read(0x300, 2));
        _space.Read(0x300, 2);
        Assert.Single(seen);
        Assert.Equal(2ul, _space.Unclaimed.Counts[0x300]);
    }

    [Fact]
    public void UnclaimedCountersAreBounded()
    {
        for (var port = 0; port < 0x10000; port++) _space.Write((ulong)port, 1, 0);
        Assert.True(_space.Unclaimed.Counts.Count <= 256);
        Assert.Equal(0x10000ul, _space.Unclaimed.Total);
    }

    [Fact]
    public void AccessAcrossTwoRegionsIsSplitIntoBytes()
    {
        _space.Map("a", 0x100, 2, new Echo(0x10));
        _space.Map("b", 0x102, 2, new Echo(0x20));
        Assert.Equal(0x21201110ul, _space.Read(0x100, 4));
    }

    [Fact]
    public void HigherPriorityCoversAndUncovers()
    {
        _space.Map("low", 0x100, 0x10, new Echo(0x00));
        var high = _space.Map("high", 0x104, 4, new Echo(0x80), priority: 1);
        Assert.Equal(0x80ul, _space.Read(0x104, 1));
        Assert.Equal(0x08ul, _space.Read(0x108, 1));
        high.Enable(false);
        Assert.Equal(0x04ul, _space.Read(0x104, 1));
    }

    [Fact]
    public void WrapsAtTheEndOfThePorts()
    {
        _space.Map("last", 0xffff, 1, new Echo(0x11));
        _space.Map("first", 0, 1, new Echo(0x22));
        Assert.Equal(0x2211ul, _space.Read(0xffff, 2));
    }

    [Fact]
    public void ListenerSeesJoinedRangesAndTheirChanges()
    {
        var hypervisor = new FakeHypervisor();
        _space.Map("a", 0x100, 0x10, new Echo(0));
        _space.Map("b", 0x110, 0x10, new Echo(0));
        _space.AddListener(hypervisor);
        Assert.Equal([(IoSpace.Port, 0x100ul, 0x11ful)], hypervisor.Ranges);
        var far = _space.Map("c", 0x200, 4, new Echo(0));
        far.Place(0x300, true);
        Assert.Equal([(IoSpace.Port, 0x100ul, 0x11ful), (IoSpace.Port, 0x300ul, 0x303ul)], hypervisor.Ranges);
        far.Remove();
        Assert.Single(hypervisor.Ranges);
    }

    [Fact]
    public void RegionAtTheTopOfMemoryDoesNotWrap()
    {
        var memory = new AddressSpace(IoSpace.Memory, ulong.MaxValue);
        memory.Map("rom", ulong.MaxValue - 0xf, 0x10, new Echo(0));
        Assert.Equal(0x0ful, memory.Read(ulong.MaxValue, 1));
    }

    private sealed class Echo(byte bias) : IIoRegion
    {
        public ulong Read(ulong offset, int size)
        {
            ulong value = 0;
            for (var i = 0; i < size; i++) value |= (ulong)(byte)(bias + offset + (ulong)i) << (8 * i);
            return value;
        }

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }

    [Fact]
    public void TracedChipsTellEachAccess()
    {
        var space = new AddressSpace(IoSpace.Port, 0xffff);
        space.Map("chip a", 0x10, 4, new Echo(0xa0));
        space.Map("chipmunk", 0x20, 4, new Echo(0));
        var told = new List<string>();
        Assert.True(space.Trace("chip", told.Add));
        Assert.False(space.Trace("nothing", told.Add));
        space.Write(0x11, 1, 0x1ab);
        Assert.Equal(0xa1ul, space.Read(0x11, 1));
        space.Read(0x20, 1);
        Assert.Equal(["chip a: 11 (1) takes ab", "chip a: 11 (1) reads a1"], told);
        Assert.Equal([("chip a", 0x10ul, 2ul), ("chipmunk", 0x20ul, 1ul)], space.Accesses());
        Assert.Equal([("chip a", 0x10ul, 1ul, 1ul), ("chipmunk", 0x20ul, 1ul, 0ul)], space.ReadsAndWrites());
    }
}
