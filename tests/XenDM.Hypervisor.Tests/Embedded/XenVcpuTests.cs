using System;
using XenDM.Cpu;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>What belongs to a vCPU: its information at a place of the guest's choice, times, run states, starting and stopping.</summary>
public sealed class XenVcpuTests : IDisposable
{
    private const int Vcpu = 24, Version = 17, Multicall = 13, Memory = 12, Hvm = 34, Assist = 21;
    private const int ENOENT = 2, ENXIO = 6, EFAULT = 14, EEXIST = 17, EINVAL = 22, ETIME = 62;
    private const uint Data = XenBoard.Data, Shared = 0x30_0000, Place = 0x31_0000;
    private readonly XenBoard _board = new XenBoard(2).Start();

    public XenVcpuTests() => _board.ShowShared(Shared >> 12);

    public void Dispose() => _board.Dispose();

    [Fact]
    public void InformationMovesOnce()
    {
        Assert.Equal(-ENXIO, Register(1, Place >> 12, 4096 - 56));
        Assert.Equal(-ENXIO, Register(1, Place >> 12, 4));
        Assert.Equal(-EINVAL, Register(1, 0xf_0000, 0));
        Assert.Equal(-ENOENT, Register(2, Place >> 12, 0));
        Assert.Equal(0, Register(1, Place >> 12, 256));
        Assert.Equal((1u, uint.MaxValue), (_board.Read(Place + 256) & 0xff, _board.Read(Place + 256 + 4)));
        Assert.Equal((0x8000_0000u, 0x101u), (_board.Read(Place + 256 + 32 + 24), _board.Read(Place + 256 + 32 + 28)));
        Assert.Equal(-EINVAL, Register(1, Place >> 12, 0));

        // The page is Xen's to write even after the guest gave it away, and nobody else's.
        _board.Write(Data, Data + 64, 1, 0, 0, XenBoard.Self);
        _board.Write(Data + 64, Place >> 12);
        Assert.Equal(1, _board.Call(Memory, 1, Data));
        Assert.Equal(1, _board.Call(Memory, 6, Data));
        Assert.Equal(0u, _board.Read(Place + 256 + 32 + 24));
    }

    [Fact]
    public void TheClockAndTheTimeOfDayAreThere()
    {
        var version = _board.Read(Shared + 32);
        Assert.Equal(0u, version & 1);
        ((ICpuBus)_board.Machine).WriteTsc(_board.Cpu, 1234);
        Assert.Equal(version + 2, _board.Read(Shared + 32));
        Assert.Equal(1234ul, _board.Read64(Shared + 32 + 8) - _board.Read64(Shared + 32 + 16) + (ulong)_board.Now);
        Assert.Equal(0u, _board.Read(Shared + 2304) & 1);
        Assert.Equal(0, _board.Call(Hvm, 10, Data));
        Assert.Equal((ulong)_board.Now, _board.Read64(Data));
    }

    [Theory]
    [InlineData(false, 44)]
    [InlineData(true, 48)]
    public void RunStatesAreTold(bool is64, int bytes)
    {
        for (uint n = 0; n < 16; n++) _board.Write(Place + (n * 4), 0xaaaa_aaaa);
        _board.Write64(Data, Place);
        Assert.Equal(0L, is64 ? _board.Call64(Vcpu, 5, 0, Data) : _board.Call(Vcpu, 5, 0, Data));
        Assert.Equal((0u, 0xaaaa_aaaau), (_board.Read(Place), _board.Read(Place + (uint)bytes)));
        Assert.Equal(0L, is64 ? _board.Call64(Vcpu, 4, 1, Place) : _board.Call(Vcpu, 4, 1, Place));
        Assert.Equal(3u, _board.Read(Place));
        Assert.Equal(-EFAULT, _board.Call(Vcpu, 4, 1, 0xd000_0000));
    }

    [Fact]
    public void AVcpuStartsWhereItIsTold()
    {
        for (uint n = 0; n < 42; n++) _board.Write(Data + (n * 4), 0);
        Assert.Equal(-EINVAL, _board.Call(Vcpu, 1, 1));
        _board.Write(Data + 8, 0x1234);
        _board.Write(Data + 8 + 32, 0x10_000e);
        _board.Write(Data + 8 + 40, 1);
        for (uint n = 0; n < 4; n++) _board.Write(Data + 8 + 84 + (n * 4), uint.MaxValue);
        _board.Write(Data + 8 + 104, 0x0c93_0c9b, 0x0c93_0c93, 0x008b);
        Assert.Equal(0, _board.Call(Vcpu, 3, 1));
        Assert.Equal(0, _board.Call(Vcpu, 0, 1, Data));
        Assert.Equal(-EEXIST, _board.Call(Vcpu, 0, 1, Data));
        Assert.Equal(0, _board.Call(Vcpu, 1, 1));
        Assert.Equal(1, _board.Call(Vcpu, 3, 1));
        Assert.Equal(RunResult.Halted, _board.Machine.Cpus[1].Run(100));
        unsafe
        {
            Assert.Equal((0x1234ul, 0x10_000ful), (_board.Machine.Cpus[1].State->R[0], _board.Machine.Cpus[1].State->Rip));
        }

        Assert.Equal(0, _board.Call(Vcpu, 2, 1));
        Assert.Equal(0, _board.Call(Vcpu, 3, 1));
    }

    [Fact]
    public void ATimeInThePastIsSaidToBe()
    {
        _board.Machine.Cpus[0].Run(1);
        _board.Write(Data, 0, 0, 1);
        Assert.Equal(_board.Now > 0 ? -ETIME : 0, _board.Call(Vcpu, 8, 0, Data));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void CallsComeInLists(bool is64)
    {
        var longs = is64 ? 8u : 4u;
        void Put(uint at, ulong value)
        {
            if (is64) _board.Write64(at, value);
            else _board.Write(at, (uint)value);
        }

        Put(Data, Version);
        Put(Data + (2 * longs), 7);
        Put(Data + (8 * longs), Multicall);
        Put(Data + (16 * longs), 99);
        Assert.Equal(0L, is64 ? _board.Call64(Multicall, Data, 3) : _board.Call(Multicall, Data, 3));
        Assert.Equal((4096, -22, -38), ((int)_board.Read(Data + longs), (int)_board.Read(Data + (9 * longs)), (int)_board.Read(Data + (17 * longs))));
        Assert.Equal(-EINVAL, _board.Call(Multicall, Data, uint.MaxValue));
        Assert.Equal(0, _board.Call(Assist, 0, 5));
        Assert.Equal(-EINVAL, _board.Call(Assist, 0, 4));
    }

    /// <summary>Lists in a list of calls share what one call may work on, so that no guest holds the machine up.</summary>
    [Fact]
    public void ListsOfListsAreBounded()
    {
        const uint grants = 20, copy = 5, count = 40_000;
        _board.Write(Data, grants, 1, copy, Place, count, 0, 0, 0, grants, 1, copy, Place, count, 0, 0, 0);
        Assert.Equal(0, _board.Call(Multicall, Data, 2));
        Assert.Equal((0, -EINVAL), ((int)_board.Read(Data + 4), (int)_board.Read(Data + 36)));
        Assert.Equal(-EINVAL, _board.Call(Multicall, Data, 1025));
    }

    [Fact]
    public void MemoryIsCounted()
    {
        var pages = (XenBoard.Memory >> 12) - 0x20 + 3;
        _board.Write(Data, XenBoard.Self);
        Assert.Equal((int)pages, _board.Call(Memory, 3, Data) + 1);
        Assert.Equal(0xf_efff, _board.Call(Memory, 14, Data));
        _board.Write(Data, XenBoard.Self, 0, 0x300, 0);
        Assert.Equal(0, _board.Call(Hvm, 15, Data));
        Assert.Equal(0u, _board.Read(Data) >> 16);
        _board.Write(Data, XenBoard.Self, 0, 0xf_0000, 0);
        Assert.Equal(0, _board.Call(Hvm, 15, Data));
        Assert.Equal(2u, _board.Read(Data) >> 16);

        // A batch of moves, each with its own error.
        _board.Write(Data, XenBoard.Self | (2u << 16), 2, Data + 64, Data + 80, Data + 96);
        _board.Write(Data + 64, 0x400, 0xf_1000);
        _board.Write(Data + 80, 0xe_0000, 0xe_0001);
        Assert.Equal(0, _board.Call(Memory, 23, Data));
        Assert.Equal((0, -EINVAL), ((int)_board.Read(Data + 96), (int)_board.Read(Data + 100)));
    }

    private int Register(uint vcpu, uint gfn, uint offset)
    {
        _board.Write(Data, gfn, 0, offset, 0);
        return _board.Call(Vcpu, 10, vcpu, Data);
    }
}
