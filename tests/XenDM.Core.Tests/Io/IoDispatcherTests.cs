using System;
using System.Collections.Generic;
using XenDM.Core.Io;
using XenDM.Testing;

namespace XenDM.Core.Tests.Io;

public class IoDispatcherTests
{
    private readonly TestBoard _board = new();
    private readonly Recorder _port = new();

    public IoDispatcherTests()
    {
        _board.Ports.Map("data", 0x1f0, 8, _port);
        _board.Memory.Map("mmio", 0xe000_0000, 0x1000, _port);
    }

    [Fact]
    public void ReadAnswersZeroExtended()
    {
        var request = Port(isRead: true, 1, 1, 0xdead_beef);
        _board.Io.Dispatch(ref request);
        Assert.Equal(0x5aul, request.Data);
    }

    [Theory]
    [InlineData(3u, 1u)]
    [InlineData(0u, 1u)]
    [InlineData(8u, 1u)]
    [InlineData(1u, 0u)]
    public void ImpossibleSizesReadOnesAndTouchNothing(uint size, uint count)
    {
        var request = Port(isRead: true, size, count, 0);
        _board.Io.Dispatch(ref request);
        Assert.Equal(ulong.MaxValue, request.Data);
        Assert.Empty(_port.Seen);
    }

    [Fact]
    public void PortNumberIsMaskedTo16Bits()
    {
        var request = Port(isRead: false, 1, 1, 7);
        request.Address = 0x1_0000_01f0;
        _board.Io.Dispatch(ref request);
        Assert.Equal("w 0/1=7", Assert.Single(_port.Seen));
    }

    [Fact]
    public void RepOutsFromRamGoesToOnePort()
    {
        new byte[] { 1, 2, 3, 4 }.CopyTo(_board.Ram.Bytes[0x100..]);
        var request = Port(isRead: false, 2, 2, 0x100) with { DataIsPointer = true };
        _board.Io.Dispatch(ref request);
        Assert.Equal(["w 0/2=201", "w 0/2=403"], _port.Seen);
    }

    [Fact]
    public void DescendingInsFillsRamDownwards()
    {
        var request = Port(isRead: true, 1, 3, 0x102) with { DataIsPointer = true, Descending = true };
        _board.Io.Dispatch(ref request);
        Assert.Equal([0x5a, 0x5a, 0x5a], _board.Ram.Bytes.Slice(0x100, 3).ToArray());
    }

    [Fact]
    public void RepeatedMemoryWriteSteps()
    {
        var request = new IoRequest { Space = IoSpace.Memory, Address = 0xe000_0000, Size = 4, Count = 3, Data = 9 };
        _board.Io.Dispatch(ref request);
        Assert.Equal(["w 0/4=9", "w 4/4=9", "w 8/4=9"], _port.Seen);
    }

    [Fact]
    public void HugeCountsEnd()
    {
        var request = Port(isRead: true, 4, uint.MaxValue, 0xffff_ffff_0000) with { DataIsPointer = true };
        _board.Io.Dispatch(ref request);
        Assert.True(_port.Seen.Count <= 1 << 16);
    }

    [Fact]
    public void DispatchAllocatesNothing()
    {
        var quiet = new Quiet();
        _board.Ports.Map("quiet", 0x500, 1, quiet);
        var request = Port(isRead: true, 1, 1, 0);
        request.Address = 0x500;
        void Dispatch()
        {
            for (var i = 0; i < 1000; i++) _board.Io.Dispatch(ref request);
        }

        Assert.Equal(0, Allocations.Of(Dispatch));
    }

    private static IoRequest Port(bool isRead, uint size, uint count, ulong data) =>
        new() { Space = IoSpace.Port, Address = 0x1f0, IsRead = isRead, Size = size, Count = count, Data = data };

    private sealed class Recorder : IIoRegion
    {
        public List<string> Seen { get; } = [];

        public ulong Read(ulong offset, int size)
        {
            Seen.Add($"r {offset:x}/{size}");
            return 0x5a;
        }

        public void Write(ulong offset, int size, ulong value) => Seen.Add($"w {offset:x}/{size}={value:x}");
    }

    private sealed class Quiet : IIoRegion
    {
        public ulong Read(ulong offset, int size) => 0;

        public void Write(ulong offset, int size, ulong value)
        {
        }
    }
}
