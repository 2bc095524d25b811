using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class I8254PitTests
{
    private readonly TestBoard _board = new();
    private readonly EdgeCounter _irq = new();
    private readonly I8254Pit _pit;

    public I8254PitTests()
    {
        _pit = new I8254Pit(new IrqLine(_irq, 0), _board.Clock);
        _pit.MapPorts(_board.Ports);
        _pit.Reset(ResetKind.Cold);
    }

    /// <summary>The first nanosecond of a tick.</summary>
    private static long Time(long ticks) => (long)((((System.Int128)ticks * 1_000_000_000) + 1193181) / 1193182);

    private long _now;

    private void GoTo(long ticks)
    {
        _board.Advance(Time(ticks) - _now);
        _now = Time(ticks);
    }

    private void Program(int channel, int mode, int count, int bcd = 0)
    {
        _board.Out8(0x43, (channel << 6) | 0x30 | (mode << 1) | bcd);
        _board.Out8((ushort)(0x40 + channel), count & 0xff);
        _board.Out8((ushort)(0x40 + channel), count >> 8);
    }

    private int Count(int channel)
    {
        _board.Out8(0x43, channel << 6);
        return _board.In8((ushort)(0x40 + channel)) | (_board.In8((ushort)(0x40 + channel)) << 8);
    }

    private byte Status(int channel)
    {
        _board.Out8(0x43, 0xe0 | (2 << channel));
        return _board.In8((ushort)(0x40 + channel));
    }

    private bool Out(int channel) => (Status(channel) & 0x80) != 0;

    private void Gate(bool level) => _board.Out8(0x61, level ? 1 : 0);

    [Fact]
    public void Mode0_CountsOnceAndInterrupts()
    {
        Program(0, 0, 1000);
        Assert.False(Out(0));
        GoTo(1);
        Assert.Equal(1000, Count(0));
        GoTo(501);
        Assert.Equal(500, Count(0));
        GoTo(1000);
        Assert.Equal(0, _irq.Edges);
        GoTo(1001);
        Assert.Equal(1, _irq.Edges);
        Assert.True(Out(0));
        Assert.Equal(0, Count(0));
        GoTo(1002);
        Assert.Equal(0xffff, Count(0));
        GoTo(200_000);
        Assert.Equal(1, _irq.Edges);
    }

    [Fact]
    public void Mode0_TheFirstByteStopsTheCount()
    {
        Program(0, 0, 1000);
        GoTo(500);
        _board.Out8(0x40, 0x10);
        GoTo(5000);
        Assert.Equal(0, _irq.Edges);
        Assert.False(Out(0));
        _board.Out8(0x40, 0x00);
        GoTo(5017);
        Assert.Equal(1, _irq.Edges);
    }

    [Fact]
    public void Mode0_TheGatePauses()
    {
        Gate(true);
        Program(2, 0, 100);
        GoTo(41);
        Gate(false);
        GoTo(1000);
        Assert.Equal(60, Count(2));
        Gate(true);
        GoTo(1059);
        Assert.Equal(1, Count(2));
        Assert.Equal(0, _board.In8(0x61) & 0x20);
        GoTo(1060);
        Assert.Equal(0x20, _board.In8(0x61) & 0x20);
    }

    [Fact]
    public void Mode1_TheGateTriggersOneShots()
    {
        Program(2, 1, 50);
        Assert.True(Out(2));
        Assert.Equal(0x40, Status(2) & 0x40);
        Gate(true);
        GoTo(1);
        Assert.False(Out(2));
        Assert.Equal(0, Status(2) & 0x40);
        GoTo(30);
        Gate(false);
        Gate(true);
        GoTo(80);
        Assert.False(Out(2));
        GoTo(81);
        Assert.True(Out(2));
    }

    [Fact]
    public void Mode2_IsPeriodicWithoutDrift()
    {
        Program(0, 2, 1193);
        _irq.SetLevel(0, false);
        var before = _irq.Edges;
        GoTo(1);
        Assert.Equal(1193, Count(0));
        GoTo(1193);
        Assert.Equal(1, Count(0));
        Assert.False(Out(0));
        Assert.Equal(before, _irq.Edges);
        GoTo(1194);
        Assert.Equal(before + 1, _irq.Edges);
        Assert.Equal(1193, Count(0));
        GoTo(1 + (1193L * 10_000) - 1);
        Assert.Equal(before + 9_999, _irq.Edges);
        GoTo(1 + (1193L * 10_000));
        Assert.Equal(before + 10_000, _irq.Edges);
    }

    [Fact]
    public void Mode2_ANewCountIsTakenAtTheEndOfThePeriod()
    {
        Program(0, 2, 1000);
        var before = _irq.Edges;
        GoTo(101);
        _board.Out8(0x40, 10);
        _board.Out8(0x40, 0);
        Assert.Equal(0x40, Status(0) & 0x40);
        Assert.Equal(900, Count(0));
        GoTo(1001);
        Assert.Equal(before + 1, _irq.Edges);
        Assert.Equal(10, Count(0));
        Assert.Equal(0, Status(0) & 0x40);
        GoTo(1011);
        Assert.Equal(before + 2, _irq.Edges);
    }

    [Fact]
    public void Mode2_TheGateStartsThePeriodAnew()
    {
        Gate(true);
        Program(2, 2, 100);
        GoTo(60);
        Gate(false);
        Assert.True(Out(2));
        GoTo(200);
        Gate(true);
        GoTo(201);
        Assert.Equal(100, Count(2));
    }

    [Fact]
    public void Mode3_IsASquareWaveThatCountsByTwo()
    {
        Program(0, 3, 10);
        var before = _irq.Edges;
        var values = new int[10];
        var outs = new bool[10];
        for (var tick = 0; tick < 10; tick++)
        {
            GoTo(1 + tick);
            values[tick] = Count(0);
            outs[tick] = Out(0);
        }

        Assert.Equal([10, 8, 6, 4, 2, 10, 8, 6, 4, 2], values);
        Assert.Equal([true, true, true, true, true, false, false, false, false, false], outs);
        Assert.Equal(before, _irq.Edges);
        GoTo(11);
        Assert.Equal(before + 1, _irq.Edges);
    }

    [Fact]
    public void Mode3_AnOddCountIsHighATickLonger()
    {
        Gate(true);
        Program(2, 3, 5);
        var values = new int[5];
        var outs = new bool[5];
        for (var tick = 0; tick < 5; tick++)
        {
            GoTo(1 + tick);
            values[tick] = Count(2);
            outs[tick] = Out(2);
        }

        Assert.Equal([4, 2, 0, 4, 2], values);
        Assert.Equal([true, true, true, false, false], outs);
    }

    [Fact]
    public void Mode3_ANewCountIsTakenAtTheEndOfTheHalf()
    {
        Program(0, 3, 100);
        var before = _irq.Edges;
        GoTo(11);
        _board.Out8(0x40, 20);
        _board.Out8(0x40, 0);
        GoTo(51);
        Assert.False(Out(0));
        Assert.Equal(20, Count(0));
        Assert.Equal(before, _irq.Edges);
        GoTo(61);
        Assert.Equal(before + 1, _irq.Edges);
        GoTo(81);
        Assert.Equal(before + 2, _irq.Edges);
    }

    [Fact]
    public void Mode4_StrobesOnce()
    {
        Program(0, 4, 100);
        Assert.True(Out(0));
        var before = _irq.Edges;
        GoTo(100);
        Assert.True(Out(0));
        GoTo(101);
        Assert.False(Out(0));
        Assert.Equal(before, _irq.Edges);
        GoTo(102);
        Assert.True(Out(0));
        Assert.Equal(before + 1, _irq.Edges);
        GoTo(100_000);
        Assert.Equal(before + 1, _irq.Edges);
    }

    [Fact]
    public void Mode5_StrobesAfterTheTrigger()
    {
        Program(2, 5, 20);
        GoTo(100);
        Assert.True(Out(2));
        Gate(true);
        GoTo(120);
        Assert.True(Out(2));
        GoTo(121);
        Assert.False(Out(2));
        GoTo(122);
        Assert.True(Out(2));
    }

    [Fact]
    public void AZeroCountIsTheLargest()
    {
        Program(0, 2, 0);
        var before = _irq.Edges;
        GoTo(65536);
        Assert.Equal(before, _irq.Edges);
        GoTo(65537);
        Assert.Equal(before + 1, _irq.Edges);
        Assert.Equal(0, Count(0));
    }

    [Fact]
    public void BcdCountsInDecimal()
    {
        Gate(true);
        Program(2, 2, 0x1000, bcd: 1);
        GoTo(2);
        Assert.Equal(0x0999, Count(2));
        Program(2, 0, 0x0000, bcd: 1);
        GoTo(4);
        Assert.Equal(0x9999, Count(2));
    }

    [Fact]
    public void LatchedValuesStayUntilTheyAreRead()
    {
        Program(0, 2, 1000);
        GoTo(101);
        _board.Out8(0x43, 0x00);
        GoTo(201);
        _board.Out8(0x43, 0x00);
        Assert.Equal(900 & 0xff, _board.In8(0x40));
        Assert.Equal(900 >> 8, _board.In8(0x40));
        Assert.Equal(800, Count(0));
    }

    [Fact]
    public void ReadBackLatchesStatusBeforeCount()
    {
        Program(0, 2, 1000);
        Program(2, 3, 1000);
        GoTo(101);
        _board.Out8(0x43, 0xc2);
        Assert.Equal(0x80 | 0x30 | (2 << 1), _board.In8(0x40));
        Assert.Equal(900 & 0xff, _board.In8(0x40));
        Assert.Equal(900 >> 8, _board.In8(0x40));

        // Counter 2 was not selected: its gate is low and it stands.
        Assert.Equal(0x80 | 0x30 | (3 << 1), Status(2));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void OneByteAccess(int access)
    {
        Gate(true);
        _board.Out8(0x43, 0x80 | (access << 4) | 4);
        _board.Out8(0x42, 0x12);
        var expected = access == 1 ? 0x12 : 0x1200;
        GoTo(1);
        Assert.Equal(access == 1 ? expected : expected >> 8, _board.In8(0x42));
        GoTo(2);
        Assert.Equal(access == 1 ? expected - 1 : (expected - 1) >> 8, _board.In8(0x42));
    }

    [Fact]
    public void TheRefreshBitToggles()
    {
        var changes = 0;
        var last = _board.In8(0x61) & 0x10;
        for (var i = 0; i < 1000; i++)
        {
            _board.Advance(1000);
            var now = _board.In8(0x61) & 0x10;
            if (now != last) changes++;
            last = now;
        }

        Assert.InRange(changes, 65, 67);
        Assert.False(_pit.IsSpeakerOn);
        _board.Out8(0x61, 0xff);
        Assert.Equal(0x0f, _board.In8(0x61) & 0xcf);
        Assert.True(_pit.IsSpeakerOn);
    }

    [Fact]
    public void TheShortestPeriodIsNoTrap()
    {
        Program(0, 2, 1);
        _board.Advance(1_000_000);
        Program(0, 3, 1);
        _board.Advance(1_000_000);
        Assert.InRange(_irq.Edges, 1000, 3000);
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var board = new TestBoard();
        var pit = new I8254Pit(board.IsaLine(0), board.Clock);
        pit.MapPorts(board.Ports);
        return (board, pit);
    }, static (board, _) =>
    {
        board.Out8(0x43, 0x34);
        board.Out8(0x40, 0x10);
        board.Out8(0x40, 0x20);
        board.Out8(0x43, 0xb1);
        board.Out8(0x42, 0x34);
        board.Out8(0x43, 0xc6);
        board.Out8(0x61, 0x03);
        board.Advance(12_345_678);
        board.In8(0x40);
    }, "pit");
}
