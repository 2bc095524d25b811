using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class PmTimerTests
{
    private const long Second = 1_000_000_000;
    private readonly TestBoard _board = new();
    private readonly EdgeCounter _sci = new();
    private readonly PmTimer _pm;

    public PmTimerTests()
    {
        _pm = new PmTimer(new IrqLine(_sci, 0), _board.Clock);
        _pm.MapPorts(_board.Ports);
        _pm.Reset(ResetKind.Cold);
    }

    [Fact]
    public void TheTimerCountsAtItsRate()
    {
        Assert.Equal(0u, _board.In32(0xb008));
        _board.Advance(Second);
        Assert.Equal(3579545u, _board.In32(0xb008));
        Assert.Equal(3579545u, _board.In32(0x608));
        _board.Out32(0xb008, 0);
        Assert.Equal(3579545u, _board.In32(0xb008));
        _board.Advance(1200 * Second);
        Assert.Equal(unchecked((uint)(1201L * 3579545)), _board.In32(0xb008));
    }

    [Fact]
    public void TheCarryBitInterruptsEitherWay()
    {
        _board.Out16(0xb002, 1);
        for (var turn = 0; turn < 4; turn++)
        {
            var left = 0x80000000L - (_board.In32(0xb008) & 0x7fffffff);
            _board.Advance((left * Second / 3579545) - 300);
            Assert.False(_sci.Level);
            _board.Advance(601);
            Assert.True(_sci.Level);
            Assert.Equal(1, _board.In16(0xb000));
            _board.Out16(0xb000, 1);
            Assert.Equal(0, _board.In16(0xb000));
            Assert.False(_sci.Level);
        }
    }

    [Fact]
    public void TheStatusIsRightWithoutTheInterrupt()
    {
        _board.Advance(599 * Second);
        Assert.Equal(0, _board.In16(0xb000));
        _board.Advance(2 * Second);
        Assert.Equal(1, _board.In16(0xb000));
        _board.Out16(0xb000, 1);
        Assert.Equal(0, _board.In16(0xb000));
        Assert.Equal(Core.Time.VmTimer.Never, _board.Clock.NextDeadline);
    }

    [Fact]
    public void Buttons()
    {
        _pm.PressPowerButton();
        Assert.Equal(0x100, _board.In16(0xb000));
        Assert.False(_sci.Level);
        _board.Out16(0xb002, 0xffff);
        Assert.Equal(0x0721, _board.In16(0xb002));
        Assert.True(_sci.Level);
        _pm.PressSleepButton();
        _board.Out8(0xb001, 0x01);
        Assert.Equal(0x200, _board.In16(0xb000));
        Assert.True(_sci.Level);
        _board.Out16(0xb000, 0x200);
        Assert.False(_sci.Level);
        _pm.Woken();
        Assert.Equal(0x8000, _board.In16(0xb000));
        Assert.False(_sci.Level);
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var board = new TestBoard();
        var pm = new PmTimer(board.IsaLine(9), board.Clock);
        pm.MapPorts(board.Ports);
        return (board, pm);
    }, static (board, pm) =>
    {
        board.Out16(0xb002, 0x101);
        pm.PressPowerButton();
    }, "pm-timer");
}
