using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class Mc146818RtcTests
{
    private const long Second = 1_000_000_000;
    private readonly TestBoard _board = new();
    private readonly EdgeCounter _irq = new();
    private readonly Mc146818Rtc _rtc;

    public Mc146818RtcTests()
    {
        _rtc = new Mc146818Rtc(new IrqLine(_irq, 0), _board.Clock, PlatformBoard.BootTime);
        _rtc.MapPorts(_board.Ports);
        _rtc.Reset(ResetKind.Cold);
    }

    private byte Read(int cell)
    {
        _board.Out8(0x70, cell);
        return _board.In8(0x71);
    }

    private void Write(int cell, int value)
    {
        _board.Out8(0x70, cell);
        _board.Out8(0x71, value);
    }

    private string Time() => $"{Read(0x32):x2}{Read(9):x2}-{Read(8):x2}-{Read(7):x2} {Read(4):x2}:{Read(2):x2}:{Read(0):x2} {Read(6)}";

    [Fact]
    public void TheTimeRunsOverLeapDays()
    {
        Assert.Equal("2020-02-28 23:59:50 6", Time());
        _board.Advance(10 * Second);
        Assert.Equal("2020-02-29 00:00:00 7", Time());
        _board.Advance(86400 * Second);
        Assert.Equal("2020-03-01 00:00:00 1", Time());
        _board.Advance(306 * 86400 * Second);
        Assert.Equal("2021-01-01 00:00:00 6", Time());
    }

    [Theory]
    [InlineData(0x02, 0x23, 0x00)]
    [InlineData(0x00, 0x91, 0x12)]
    [InlineData(0x06, 23, 0)]
    [InlineData(0x04, 0x80 | 11, 12)]
    public void HoursAndDataModes(int mode, int before, int after)
    {
        Write(11, mode);
        Assert.Equal(before, Read(4));
        Assert.Equal((mode & 4) != 0 ? 50 : 0x50, Read(0));
        _board.Advance(10 * Second);
        Assert.Equal(after, Read(4));
    }

    [Fact]
    public void SettingTheTime()
    {
        Write(11, 0x82);
        var frozen = Time();
        _board.Advance(5 * Second);
        Assert.Equal(frozen, Time());
        foreach (var (cell, value) in new[] { (0x32, 0x19), (9, 0x99), (8, 0x12), (7, 0x31), (6, 6), (4, 0x23), (2, 0x59), (0, 0x59) }) Write(cell, value);
        Write(11, 0x02);
        Assert.Equal("1999-12-31 23:59:59 6", Time());
        _board.Advance(Second);
        Assert.Equal("2000-01-01 00:00:00 7", Time());
        Write(7, 0x15);
        Assert.Equal("2000-01-15 00:00:00 7", Time());
    }

    [Fact]
    public void NonsenseInTheRegistersIsNoTrap()
    {
        for (var round = 0; round < 256; round++)
        {
            Write(11, (round & 7) << 1);
            foreach (var cell in new[] { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x32 }) Write(cell, round ^ (cell * 37));
            Write(10, round);
            Write(11, round);
            _board.Advance(Second * 3 / 2);
            for (var cell = 0; cell < 14; cell++) Read(cell);
        }
    }

    [Fact]
    public void UipWarnsBeforeTheUpdate()
    {
        Assert.Equal(0x26, Read(10));
        _board.Advance(Second - 244_001);
        Assert.Equal(0x26, Read(10));
        _board.Advance(1);
        Assert.Equal(0xa6, Read(10));
        _board.Advance(243_999);
        Assert.Equal(0xa6, Read(10));
        Assert.Equal(0x50, Read(0));
        _board.Advance(1);
        Assert.Equal(0x26, Read(10));
        Assert.Equal(0x51, Read(0));
        Write(11, 0x82);
        _board.Advance(Second - 1000);
        Assert.Equal(0x26, Read(10));
    }

    [Fact]
    public void FlagsAreSetWithoutInterrupts()
    {
        Read(12);
        Assert.Equal(0, Read(12));
        _board.Advance(1_000_000);
        Assert.Equal(0x40, Read(12));
        Assert.Equal(0, Read(12));
        _board.Advance(Second);
        Assert.Equal(0x50, Read(12));
        _board.Advance(9 * Second);

        // The alarm registers hold midnight.
        Assert.Equal(0x70, Read(12));
        Assert.Equal(0, _irq.Edges);
        Assert.Equal(Core.Time.VmTimer.Never, _board.Clock.NextDeadline);
    }

    [Theory]
    [InlineData(3, 8192)]
    [InlineData(6, 1024)]
    [InlineData(15, 2)]
    [InlineData(1, 256)]
    [InlineData(2, 128)]
    public void PeriodicInterrupts(int rate, int hertz)
    {
        Write(10, 0x20 | rate);
        Write(11, 0x42);
        Read(12);
        var count = 0;
        for (var step = 0; step < 100_000; step++)
        {
            _board.Advance(Second / 50_000);
            if (!_irq.Level) continue;
            Assert.Equal(0xc0, Read(12) & 0xc0);
            count++;
        }

        Assert.InRange(count, (2 * hertz) - 1, (2 * hertz) + 1);
    }

    [Fact]
    public void AnInterruptStaysUntilItIsRead()
    {
        Write(11, 0x42);
        _board.Advance(Second / 10);
        Assert.Equal(1, _irq.Edges);
        Assert.Equal(Core.Time.VmTimer.Never, _board.Clock.NextDeadline);
        Assert.Equal(0xc0, Read(12));
        Assert.False(_irq.Level);
        _board.Advance(Second / 1000);
        Assert.True(_irq.Level);
    }

    [Fact]
    public void UpdateEndedInterrupts()
    {
        Write(11, 0x12);
        _board.Advance(Second - 1);
        Assert.False(_irq.Level);
        _board.Advance(1);
        Assert.True(_irq.Level);
        Assert.Equal(0xd0, Read(12));

        // SET takes the enable back.
        Write(11, 0x92);
        Assert.Equal(0x82, Read(11));
        _board.Advance(2 * Second);
        Assert.False(_irq.Level);
    }

    [Theory]
    [InlineData(0x55, 0xff, 0xff, 5)]
    [InlineData(0x00, 0x00, 0x00, 10)]
    [InlineData(0x00, 0x05, 0xff, 310)]
    [InlineData(0x30, 0x00, 0xff, 40)]
    [InlineData(0x49, 0x59, 0x23, 86399)]
    [InlineData(0x50, 0x59, 0x23, 86400)]
    [InlineData(0xff, 0xff, 0xff, 1)]
    [InlineData(0xc0, 0x00, 0x01, 3610)]
    public void Alarms(int seconds, int minutes, int hours, int after)
    {
        Write(1, seconds);
        Write(3, minutes);
        Write(5, hours);
        Read(12);
        Write(11, 0x22);
        _board.Advance((after * Second) - 1);
        Assert.False(_irq.Level);
        _board.Advance(1);
        Assert.True(_irq.Level);
        Assert.Equal(0xa0, Read(12) & 0xa0);
    }

    [Fact]
    public void AnImpossibleAlarmNeverComes()
    {
        Write(1, 0x75);
        Write(3, 0xff);
        Write(5, 0xff);
        Write(11, 0x22);
        _board.Advance(90_000 * Second);
        Assert.False(_irq.Level);
        Assert.Equal(0, Read(12) & 0x20);
    }

    [Fact]
    public void TheFirstUpdateComesHalfASecondAfterTheDivider()
    {
        Write(10, 0x76);
        _board.Advance(300_000_000);
        Assert.Equal(0x50, Read(0));
        _board.Advance(3 * Second);
        Assert.Equal(0x50, Read(0));
        Write(10, 0x26);
        _board.Advance((Second / 2) - 1);
        Assert.Equal(0x50, Read(0));
        _board.Advance(1);
        Assert.Equal(0x51, Read(0));
    }

    [Fact]
    public void RamPresetsAndTheNmiBit()
    {
        _rtc.Preset(0x34, 0x7f);
        Assert.Equal(0x7f, Read(0x34));
        Write(0x34, 1);
        Write(0x7f, 0xab);
        Assert.Equal(0xab, Read(0xff));
        Assert.True(_rtc.IsNmiMasked);
        _rtc.Reset(ResetKind.Warm);
        Assert.Equal(0xab, Read(0x7f));
        Assert.Equal(1, Read(0x34));
        _rtc.Reset(ResetKind.Cold);
        Assert.Equal(0, Read(0x7f));
        Assert.Equal(0x7f, Read(0x34));
        Assert.False(_rtc.IsNmiMasked);
        Assert.Equal(0x80, Read(13));
        Assert.Equal(0xff, _board.In8(0x70));
        Assert.Throws<System.ArgumentOutOfRangeException>(() => _rtc.Preset(13, 0));
    }

    [Fact]
    public void TimesBefore1970()
    {
        var board = new TestBoard();
        var rtc = new Mc146818Rtc(IrqLine.Unconnected, board.Clock, -1);
        rtc.MapPorts(board.Ports);
        board.Out8(0x70, 9);
        Assert.Equal(0x69, board.In8(0x71));
        board.Out8(0x70, 0);
        Assert.Equal(0x59, board.In8(0x71));
        board.Advance(1);
        Assert.Equal(0x00, board.In8(0x71));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var board = new TestBoard();
        var rtc = new Mc146818Rtc(board.IsaLine(8), board.Clock, PlatformBoard.BootTime);
        rtc.MapPorts(board.Ports);
        return (board, rtc);
    }, static (board, _) =>
    {
        foreach (var (cell, value) in new[] { (11, 0x82), (7, 0x17), (6, 3), (11, 0x72), (1, 0x05), (0x40, 0x99) })
        {
            board.Out8(0x70, cell);
            board.Out8(0x71, value);
        }
    }, "rtc");
}
