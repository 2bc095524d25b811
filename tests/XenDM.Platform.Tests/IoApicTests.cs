using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class IoApicTests
{
    private readonly PlatformBoard _p = new(2);

    public IoApicTests() => _p.EnableAllApics();

    [Fact]
    public void RegistersReadBack()
    {
        Assert.Equal(0x002f0011u, _p.IoRead(1));
        _p.IoWrite(0, 0xffffffff);
        Assert.Equal(0x0f000000u, _p.IoRead(0));
        Assert.Equal(0x0f000000u, _p.IoRead(2));
        for (var pin = 0; pin < IoApic.Inputs; pin++) Assert.Equal(0x10000u, _p.IoRead(0x10 + (2 * pin)));
        _p.IoWrite(0x6e, 0xffffffff);
        _p.IoWrite(0x6f, 0xffffffff);
        Assert.Equal(0x0001afffu, _p.IoRead(0x6e));
        Assert.Equal(0xff000000u, _p.IoRead(0x6f));
        _p.IoWrite(0x70, 1);
        Assert.Equal(0u, _p.IoRead(0x70));
        Assert.Equal(0u, _p.IoRead(0xff));
    }

    [Fact]
    public void EdgesComeOnceAndNotThroughTheMask()
    {
        _p.Redirect(4, 0x41);
        _p.Router.SetIsaIrq(4, true);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Assert.False(_p.Apics[0].HasInterrupt);
        _p.Redirect(4, 0x10041);
        _p.Pulse(4);
        _p.Redirect(4, 0x41);
        Assert.False(_p.Apics[0].HasInterrupt);
        _p.Pulse(4);
        Assert.True(_p.Apics[0].HasInterrupt);
    }

    [Fact]
    public void LevelsComeAgainAtTheEoiWhileTheLineIsUp()
    {
        _p.Redirect(20, 0x8051, destination: 2);
        _p.Router.SetPciIntx(1, 0, true);
        Assert.Equal(0x51, _p.Take(1));
        Assert.Equal(0xc051u, _p.IoRead(0x10 + 40));
        Assert.Equal(1u << 17, _p.Apic(1, 0x1a0));
        _p.Eoi(1);
        Assert.Equal(0x51, _p.Take(1));
        _p.Router.SetPciIntx(1, 0, false);
        _p.Eoi(1);
        Assert.False(_p.Apics[1].HasInterrupt);
        Assert.Equal(0x8051u, _p.IoRead(0x10 + 40));

        // Masked meanwhile, it waits for the mask.
        _p.Router.SetPciIntx(1, 0, true);
        Assert.Equal(0x51, _p.Take(1));
        _p.IoWrite(0x10 + 40, 0x18051);
        _p.Eoi(1);
        Assert.False(_p.Apics[1].HasInterrupt);
        _p.IoWrite(0x10 + 40, 0x8051);
        Assert.Equal(0x51, _p.Take(1));

        // A switch to edge and back ends it without an EOI register.
        _p.IoWrite(0x10 + 40, 0x10051);
        Assert.Equal(0x10051u, _p.IoRead(0x10 + 40));
        _p.IoWrite(0x10 + 40, 0x8051);
        Assert.Equal(0xc051u, _p.IoRead(0x10 + 40));
    }

    [Fact]
    public void AnEdgeVectorIsNotBroadcast()
    {
        _p.Redirect(20, 0x8051);
        _p.Router.SetPciIntx(1, 0, true);
        Assert.Equal(0x51, _p.Take());
        _p.Apics[0].Raise(0x51);
        _p.Eoi();

        // The last trigger of the vector was an edge.
        Assert.Equal(0xc051u, _p.IoRead(0x10 + 40));
    }

    [Fact]
    public void LogicalAndLowestPriorityDestinations()
    {
        _p.Apic(0, 0xd0, 1u << 24);
        _p.Apic(1, 0xd0, 2u << 24);
        _p.Redirect(5, 0x0961, destination: 3);
        _p.Apic(0, 0x80, 0x20);
        _p.Pulse(5);
        Assert.Equal(-1, _p.Take(0));
        Assert.Equal(0x61, _p.Take(1));
        _p.Redirect(5, 0x0871, destination: 3);
        _p.Pulse(5);
        Assert.Equal(0x71, _p.Take(0));
        Assert.Equal(0x71, _p.Take(1));
        _p.Redirect(6, 0x0400, destination: 2);
        _p.Pulse(6);
        Assert.Equal(1, _p.Cpus[1].Nmis);
    }

    [Fact]
    public void ThePicComesThroughInputZeroAsExtInt()
    {
        _p.InitPic();
        _p.Redirect(0, 0x0700, destination: 2);
        _p.Pulse(3);
        Assert.False(_p.Apics[0].HasInterrupt);
        Assert.Equal(0x23, _p.Take(1));
        Assert.False(_p.Apics[1].HasInterrupt);
        _p.Board.Out8(0x20, 0x20);
        _p.Pulse(4);
        Assert.Equal(0x24, _p.Take(1));
    }

    [Fact]
    public void TheTimerIsInputTwo()
    {
        _p.Redirect(2, 0x30);
        _p.Pulse(0);
        Assert.Equal(0x30, _p.Take());
    }

    [Fact]
    public void BytesAndOddOffsetsAreHarmless()
    {
        _p.Board.Memory.Write(0xfec00000, 1, 1);
        Assert.Equal(0x11ul, _p.Board.Memory.Read(0xfec00010, 1));
        Assert.Equal(0x2ful, _p.Board.Memory.Read(0xfec00012, 2));
        _p.Board.Memory.Write(0xfec00010, 1, 0xff);
        _p.Board.Memory.Write(0xfec00004, 8, ulong.MaxValue);
        Assert.Equal(0ul, _p.Board.Memory.Read(0xfec00040, 8));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var p = new PlatformBoard();
        return (p.Board, p.IoApic);
    }, static (board, io) =>
    {
        foreach (var (index, value) in new (ulong, ulong)[] { (0, 0x01000000), (0x10, 0x8051), (0x6e, 0x41) })
        {
            board.Memory.Write(0xfec00000, 4, index);
            board.Memory.Write(0xfec00010, 4, value);
        }

        io.SetLevel(0, true);
        io.SetLevel(0, false);
    }, "ioapic");
}
