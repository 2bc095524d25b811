using System;
using XenDM.Cpu;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>Event channels as a guest uses them: hypercalls, both ABIs, and how a vCPU is told.</summary>
public sealed unsafe class XenEventTests : IDisposable
{
    private const int Event = 32, Hvm = 34, Vcpu = 24, Sched = 29;
    private const int ENOENT = 2, EEXIST = 17, EINVAL = 22, ENOSPC = 28, ENOSYS = 38, EOPNOTSUPP = 95;
    private const uint Data = XenBoard.Data, Shared = 0x30_0000, Pending = Shared + 2048, Mask32 = Pending + 128, Mask64 = Pending + 512;
    private readonly XenBoard _board = new XenBoard(2).Start();

    public XenEventTests() => _board.ShowShared(Shared >> 12);

    public void Dispose() => _board.Dispose();

    private int Op(int op, params ReadOnlySpan<uint> words)
    {
        _board.Write(Data, words);
        return _board.Call(Event, (uint)op, Data);
    }

    private uint Loop()
    {
        Assert.Equal(0, Op(6, XenBoard.Self | ((uint)XenBoard.Self << 16), 0));
        var offered = _board.Read(Data + 4);
        Assert.Equal(0, Op(0, XenBoard.Self, offered, 0));
        return offered;
    }

    [Fact]
    public void PortsAreGivenOutFromTheLowest()
    {
        // 1 is the store's and 2 the console's.
        Assert.Equal(0, Op(7, 1, 0));
        Assert.Equal(3u, _board.Read(Data + 4));
        Assert.Equal(0, Op(1, 0, 1, 0));
        Assert.Equal(4u, _board.Read(Data + 8));
        Assert.Equal(-EEXIST, Op(1, 0, 1, 0));
        Assert.Equal(-EINVAL, Op(1, 3, 1, 0));
        Assert.Equal(-EINVAL, Op(1, 24, 0, 0));
        Assert.Equal(-ENOENT, Op(1, 0, 2, 0));
        Assert.Equal(-ENOENT, Op(7, 2, 0));
        Assert.Equal(0, Op(3, 3));
        Assert.Equal(-EINVAL, Op(3, 3));
        Assert.Equal(0, Op(7, 0, 0));
        Assert.Equal(3u, _board.Read(Data + 4));
    }

    [Fact]
    public void PortsAreNotEndless()
    {
        var made = 0;
        while (Op(7, 0, 0) == 0) made++;
        Assert.Equal(1021, made);
        Assert.Equal(-ENOSPC, Op(6, XenBoard.Self, 0));
    }

    [Fact]
    public void StatusTellsWhatAPortIs()
    {
        var port = Loop();
        Assert.Equal(0, Op(5, XenBoard.Self, port, 0, 0, 0, 0));
        Assert.Equal((2u, 0u, 1u, port + 1), (_board.Read(Data + 8), _board.Read(Data + 12), _board.Read(Data + 16), _board.Read(Data + 20)));
        Assert.Equal(0, Op(3, port + 1));
        Assert.Equal(0, Op(5, XenBoard.Self, port, 0, 0, 0, 0));
        Assert.Equal(1u, _board.Read(Data + 8));
        Assert.Equal(-EINVAL, Op(5, XenBoard.Self, 1024, 0, 0, 0, 0));
        Assert.Equal(0, Op(4, port));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AnEventMarksPortWordAndVcpu(bool is64)
    {
        var port = Loop();
        SetCallback(0, is64);
        var mask = is64 ? Mask64 : Mask32;
        _board.Write(mask, 0);
        _board.Write(Pending, 0);
        _board.Write(Shared, 0, 0, 0, 0);
        Assert.Equal(0, Op(8, port, 1));
        Assert.Equal(0, Op(4, port + 1));
        Assert.Equal(1u << (int)port, _board.Read(Pending));
        Assert.Equal((1u, 1u), (_board.Read(Shared + 64) & 0xff, _board.Read(Shared + 64 + (is64 ? 8u : 4u))));
        Assert.Equal(0u, _board.Read(Shared) & 0xff);

        // Masked: only the port's bit, and unmasking tells.
        _board.Write(Pending, 0);
        _board.Write(Shared + 64, 0, 0, 0, 0);
        _board.Write(mask, 1u << (int)port);
        Assert.Equal(0, Op(4, port + 1));
        Assert.Equal(0u, _board.Read(Shared + 64) & 0xff);
        Assert.Equal(0, Op(9, port));
        Assert.Equal((0u, 1u), (_board.Read(mask), _board.Read(Shared + 64) & 0xff));
    }

    [Fact]
    public void TheVectorIsTakenForAsLongAsTheByteIsSet()
    {
        var bus = (ICpuBus)_board.Machine;
        SetCallback((2ul << 56) | 0xf3, false);
        Assert.Equal(-1, bus.AcknowledgeInterrupt(_board.Cpu));
        var port = Loop();
        Assert.Equal(0, Op(4, port + 1));
        Assert.Equal(0xf3, bus.AcknowledgeInterrupt(_board.Cpu));
        Assert.Equal(0xf3, bus.AcknowledgeInterrupt(_board.Cpu));
        _board.Write(Shared, 0);
        Assert.Equal(-1, bus.AcknowledgeInterrupt(_board.Cpu));
    }

    [Fact]
    public void AVcpusOwnVectorIsAnEdgeAtItsApic()
    {
        var bus = (ICpuBus)_board.Machine;
        var apic = _board.Machine.Bus.Apics[1];
        apic.Write(0xf0, 4, 0x1ff);
        _board.Write(Data, 1, 0xf2);
        Assert.Equal(0, _board.Call(Hvm, 23, Data));
        Assert.Equal(0xf2, bus.AcknowledgeInterrupt(_board.Machine.Cpus[1]));
        Assert.Equal(-1, bus.AcknowledgeInterrupt(_board.Machine.Cpus[1]));
        _board.Write(Data, 2, 0xf2);
        Assert.Equal(-ENOENT, _board.Call(Hvm, 23, Data));
        _board.Write(Data, 1, 0x0f);
        Assert.Equal(-EINVAL, _board.Call(Hvm, 23, Data));
    }

    [Theory]
    [InlineData(20ul, 20)]
    [InlineData((1ul << 56) | (2 << 11), 24)]
    public void ALineFollowsTheByteOfTheFirstVcpu(ulong via, int gsi)
    {
        // IOAPIC input: level, vector 0x51, to APIC 0.
        var bus = (ICpuBus)_board.Machine;
        var apic = _board.Machine.Bus.Apics[0];
        apic.Write(0xf0, 4, 0x1ff);
        _board.Machine.Spaces[1].Write(0xfec0_0000, 4, (ulong)(0x10 + (gsi * 2)));
        _board.Machine.Spaces[1].Write(0xfec0_0010, 4, 0x8051);
        SetCallback(via, false);
        Assert.False(apic.HasInterrupt);
        var port = Loop();
        Assert.Equal(0, Op(4, port + 1));
        Assert.Equal(0x51, bus.AcknowledgeInterrupt(_board.Cpu));

        // The byte still stands at the end of the interrupt: it comes again. It was cleared: it does not.
        apic.Write(0xb0, 4, 0);
        Assert.Equal(0x51, bus.AcknowledgeInterrupt(_board.Cpu));
        _board.Write(Shared, 0);
        bus.AcknowledgeInterrupt(_board.Cpu);
        apic.Write(0xb0, 4, 0);
        Assert.Equal(-1, bus.AcknowledgeInterrupt(_board.Cpu));
    }

    [Fact]
    public void TheFifoKeepsOrderAndPriority()
    {
        const uint Control = 0x31_0000, Array = 0x32_0000;
        var first = Loop();
        var second = Loop();
        for (uint n = 0; n < 1024; n++) _board.Write(Array + (n * 4), 0);
        Assert.Equal(-EOPNOTSUPP, Op(12, Array >> 12, 0));
        Assert.Equal(-ENOSYS, Op(13, first, 0));
        Assert.Equal(-EINVAL, Op(11, Control >> 12, 0, 4, 0, 0, 0));
        Assert.Equal(-ENOENT, Op(11, Control >> 12, 0, 0, 2, 0, 0));
        _board.Write(Pending, 0);
        Assert.Equal(0, Op(11, Control >> 12, 0, 0, 0, 0, 0));
        Assert.Equal(17u, _board.Read(Data + 16) & 0xff);
        Assert.Equal(-EINVAL, Op(11, Control >> 12, 0, 0, 0, 0, 0));
        Assert.Equal(0, Op(12, Array >> 12, 0));
        Assert.Equal(-EINVAL, Op(13, first, 16));
        Assert.Equal(0, Op(4, first + 1));
        Assert.Equal(0, Op(4, second + 1));
        Assert.Equal(1u << 7, _board.Read(Control));
        Assert.Equal(first, _board.Read(Control + 8 + 28));
        Assert.Equal(0xa000_0000 | second, _board.Read(Array + (first * 4)));
        Assert.Equal(0xa000_0000, _board.Read(Array + (second * 4)));

        // Another priority is another queue; a masked port waits for being unmasked.
        Assert.Equal(0, Op(13, first + 1, 0));
        _board.Write(Array + ((first + 1) * 4), 1u << 30);
        Assert.Equal(0, Op(4, first));
        Assert.Equal((1u << 31) | (1u << 30), _board.Read(Array + ((first + 1) * 4)));
        Assert.Equal(0, Op(9, first + 1));
        Assert.Equal(((1u << 7) | 1, first + 1), (_board.Read(Control), _board.Read(Control + 8)));
        Assert.Equal(0, Op(10, XenBoard.Self));
        Assert.Equal(-EINVAL, Op(4, first));
        Assert.Equal(-EOPNOTSUPP, Op(12, Array >> 12, 0));
    }

    [Fact]
    public void AGuestThatLiesInItsQueuesHarmsItselfOnly()
    {
        const uint Control = 0x31_0000, Array = 0x32_0000;
        var random = new Random(4);
        var ports = new uint[20];
        for (var n = 0; n < ports.Length; n++) ports[n] = Loop();
        Assert.Equal(0, Op(11, Control >> 12, 0, 0, 0, 0, 0));
        Assert.Equal(0, Op(12, Array >> 12, 0));
        for (var n = 0; n < 5000; n++)
        {
            _board.Write(Array + ((uint)random.Next(64) * 4), (uint)random.NextInt64(1L << 32));
            if (n % 7 == 0) _board.Write(Control + ((uint)random.Next(18) * 4), (uint)random.NextInt64(1L << 32));
            Op(4, ports[random.Next(ports.Length)]);
            Op(9, ports[random.Next(ports.Length)]);
            Op(13, ports[random.Next(ports.Length)], (uint)random.Next(16));
        }
    }

    [Fact]
    public void ATimerIsAVirtualInterrupt()
    {
        Assert.Equal(0, Op(1, 0, 0, 0));
        var port = _board.Read(Data + 8);
        _board.Write(Data, 1000, 0, 0);
        Assert.Equal(0, _board.Call(Vcpu, 8, 0, Data));
        _board.RunTimers();
        Assert.NotEqual(0u, _board.Read(Pending) & (1u << (int)port));
        Assert.Equal(-EINVAL, _board.Call(Vcpu, 8, 1, Data));
        _board.Write(Data, 1000, 0);
        Assert.Equal(-EINVAL, _board.Call(Vcpu, 6, 0, Data));
    }

    /// <summary>A poll for a port that is pending does not wait; one for another waits until its time has come.</summary>
    [Fact]
    public void APollWaitsForItsPorts()
    {
        var port = Loop();
        _board.Write(Shared, 0);
        Assert.Equal(-EINVAL, Poll(129, port));
        Assert.Equal(-EINVAL, Poll(1, 0));
        Assert.Equal(0, Poll(1, port + 1));
        Assert.False(_board.Waits(0));
        Assert.Equal(0, Poll(1, port));
        Assert.True(_board.Waits(0));
        _board.Machine.Reset();
        Assert.False(_board.Waits(0));
    }

    private int Poll(uint count, uint port)
    {
        _board.Write(Data + 64, port);
        _board.Write(Data, Data + 64, count, 0, 0);
        return _board.Call(Sched, 3, Data);
    }

    private void SetCallback(ulong via, bool is64)
    {
        _board.Write(Data, XenBoard.Self, 0, (uint)via, (uint)(via >> 32));
        Assert.Equal(0, is64 ? _board.Call64(Hvm, 0, Data) : _board.Call(Hvm, 0, Data));
    }
}
