using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class I8259PicTests
{
    private readonly TestBoard _board = new();
    private readonly EdgeCounter _intr = new();
    private readonly I8259Pic _pic;

    public I8259PicTests()
    {
        _pic = new I8259Pic(new IrqLine(_intr, 0));
        _pic.MapPorts(_board.Ports);
        _pic.Reset(ResetKind.Cold);
    }

    private void Init(int icw4 = 0x01, int slaveIcw4 = 0x01)
    {
        foreach (var (port, vector, wiring, mode) in new[] { (0x20, 0x20, 0x04, icw4), (0xa0, 0x28, 0x02, slaveIcw4) })
        {
            _board.Out8((ushort)port, 0x11);
            _board.Out8((ushort)(port + 1), vector);
            _board.Out8((ushort)(port + 1), wiring);
            _board.Out8((ushort)(port + 1), mode);
        }
    }

    private void Edge(int irq)
    {
        _pic.SetLevel(irq, false);
        _pic.SetLevel(irq, true);
    }

    private int Isr(int port)
    {
        _board.Out8((ushort)port, 0x0b);
        return _board.In8((ushort)port);
    }

    private int Irr(int port)
    {
        _board.Out8((ushort)port, 0x0a);
        return _board.In8((ushort)port);
    }

    [Fact]
    public void TheLowestInputWinsAndLowerOnesWaitForTheEoi()
    {
        Init();
        Edge(4);
        Edge(1);
        Assert.True(_pic.Intr);
        Assert.Equal(0x21, _pic.Acknowledge());
        Assert.False(_pic.Intr);
        Assert.Equal(0x02, Isr(0x20));
        Assert.Equal(0x10, Irr(0x20));
        Edge(0);
        Assert.Equal(0x20, _pic.Acknowledge());
        _board.Out8(0x20, 0x20);
        Assert.False(_pic.Intr);
        _board.Out8(0x20, 0x20);
        Assert.Equal(0x24, _pic.Acknowledge());
        _board.Out8(0x20, 0x64);
        Assert.Equal(0, Isr(0x20));
    }

    [Fact]
    public void TheSlaveComesThroughInputTwo()
    {
        Init();
        Edge(8);
        Edge(14);
        Assert.Equal(0x28, _pic.Acknowledge());
        Assert.Equal(0x04, Isr(0x20));
        Assert.Equal(0x01, Isr(0xa0));
        _board.Out8(0xa0, 0x20);
        Assert.False(_pic.Intr);
        _board.Out8(0x20, 0x20);
        Assert.Equal(0x2e, _pic.Acknowledge());
        _board.Out8(0xa0, 0x20);
        _board.Out8(0x20, 0x20);
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void MaskedInputsWaitAndReadBack()
    {
        Init();
        _board.Out8(0x21, 0xfd);
        Assert.Equal(0xfd, _board.In8(0x21));
        Edge(3);
        Assert.False(_pic.Intr);
        Assert.Equal(0x08, Irr(0x20));
        _board.Out8(0x21, 0x00);
        Assert.Equal(0x23, _pic.Acknowledge());
    }

    [Fact]
    public void ARequestThatIsGoneIsSpurious()
    {
        Init();
        Edge(5);
        _pic.SetLevel(5, false);
        Assert.False(_pic.Intr);
        Assert.Equal(0x27, _pic.Acknowledge());
        Assert.Equal(0, Isr(0x20));
        Edge(7);
        Assert.Equal(0x27, _pic.Acknowledge());
        Assert.Equal(0x80, Isr(0x20));
    }

    [Fact]
    public void ALevelInputRequestsUntilItFalls()
    {
        Init();
        _board.Out8(0x4d0, 0x20);
        _pic.SetLevel(5, true);
        Assert.Equal(0x25, _pic.Acknowledge());
        _board.Out8(0x20, 0x20);
        Assert.Equal(0x25, _pic.Acknowledge());
        _pic.SetLevel(5, false);
        _board.Out8(0x20, 0x20);
        Assert.False(_pic.Intr);
        _pic.SetLevel(4, true);
        Assert.Equal(0x24, _pic.Acknowledge());
        _board.Out8(0x20, 0x20);
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void ElcrKeepsTimerKeyboardCascadeAndClockAsEdges()
    {
        _board.Out8(0x4d0, 0xff);
        _board.Out8(0x4d1, 0xff);
        Assert.Equal(0xf8, _board.In8(0x4d0));
        Assert.Equal(0xde, _board.In8(0x4d1));
    }

    [Fact]
    public void SpecialMaskModeLetsLowerInputsIn()
    {
        Init();
        Edge(1);
        Assert.Equal(0x21, _pic.Acknowledge());
        Edge(6);
        Assert.False(_pic.Intr);
        _board.Out8(0x21, 0x02);
        Assert.False(_pic.Intr);
        _board.Out8(0x20, 0x68);
        Assert.Equal(0x26, _pic.Acknowledge());

        // The non-specific EOI passes over the masked input.
        _board.Out8(0x20, 0x20);
        Assert.Equal(0x02, Isr(0x20));
        _board.Out8(0x20, 0x48);
        _board.Out8(0x20, 0x61);
        Assert.Equal(0, Isr(0x20));
    }

    [Fact]
    public void RotationMakesTheServedInputTheLowest()
    {
        Init();
        Edge(3);
        _pic.Acknowledge();
        _board.Out8(0x20, 0xa0);
        Edge(3);
        Edge(4);
        Edge(2 + 5);
        Assert.Equal(0x24, _pic.Acknowledge());
        _board.Out8(0x20, 0xe4);
        Assert.Equal(0x27, _pic.Acknowledge());
        _board.Out8(0x20, 0x20);
        Assert.Equal(0x23, _pic.Acknowledge());
        _board.Out8(0x20, 0x20);

        // Set priority: input 5 the lowest, 6 the highest.
        _board.Out8(0x20, 0xc5);
        Edge(0);
        Edge(6);
        Assert.Equal(0x26, _pic.Acknowledge());
    }

    [Fact]
    public void AutoEoiLeavesNothingInServiceAndMayRotate()
    {
        Init(icw4: 0x03);
        Edge(0);
        Edge(1);
        Assert.Equal(0x20, _pic.Acknowledge());
        Assert.Equal(0, Isr(0x20));
        Assert.True(_pic.Intr);
        Assert.Equal(2, _intr.Edges);
        Assert.Equal(0x21, _pic.Acknowledge());
        _board.Out8(0x20, 0x80);
        Edge(0);
        Edge(1);
        Assert.Equal(0x20, _pic.Acknowledge());
        Edge(0);
        Assert.Equal(0x21, _pic.Acknowledge());
        Assert.Equal(0x20, _pic.Acknowledge());
    }

    [Fact]
    public void InSpecialFullyNestedModeTheSlaveInterruptsItself()
    {
        Init();
        Edge(12);
        _pic.Acknowledge();
        Edge(8);
        Assert.False(_pic.Intr);
        Init(icw4: 0x11);
        Edge(12);
        Assert.Equal(0x2c, _pic.Acknowledge());
        Edge(8);
        Assert.Equal(0x28, _pic.Acknowledge());
        Edge(5);
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void PollingAcknowledges()
    {
        Init();
        _board.Out8(0x20, 0x0c);
        Assert.Equal(0, _board.In8(0x20));
        Edge(3);
        _board.Out8(0x20, 0x0c);
        Assert.Equal(0x83, _board.In8(0x20));
        Assert.Equal(0x08, Isr(0x20));
        Assert.False(_pic.Intr);
        Edge(9);
        _board.Out8(0xa0, 0x0c);
        Assert.Equal(0x81, _board.In8(0xa1));
        Assert.False(_pic.Intr);
    }

    [Fact]
    public void InitialisationForgetsEdgesAndMasks()
    {
        Init();
        _board.Out8(0x21, 0xff);
        Edge(3);
        Init();
        Assert.Equal(0, _board.In8(0x21));
        Assert.Equal(0, Irr(0x20));
        Assert.False(_pic.Intr);
        Edge(3);
        Assert.Equal(0x23, _pic.Acknowledge());
    }

    [Fact]
    public void WithoutIcw4AndWithoutASlaveTheSequenceIsShort()
    {
        _board.Out8(0x20, 0x12);
        _board.Out8(0x21, 0x40);
        _board.Out8(0x21, 0xaa);
        Assert.Equal(0xaa, _board.In8(0x21));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var board = new TestBoard();
        var pic = new I8259Pic(board.IsaLine(0));
        pic.MapPorts(board.Ports);
        return (board, pic);
    }, static (board, pic) =>
    {
        for (var i = 0; i < 4; i++) board.Out8((ushort)(i == 0 ? 0x20 : 0x21), 0x13);
        board.Out8(0x4d0, 0x08);
        pic.SetLevel(3, true);
        pic.SetLevel(9, true);
        pic.Acknowledge();
        pic.SetLevel(3, false);
        pic.SetLevel(9, false);
        board.Out8(0x20, 0x68);
    }, "pic");
}
