using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class HpetTests
{
    private const int Config = 0x010;
    private const int Status = 0x020;
    private const int Counter = 0x0f0;
    private readonly PlatformBoard _p = new();

    public HpetTests() => _p.EnableAllApics();

    private ulong Read(int register, int size = 8) => _p.Board.Memory.Read(0xfed00000 + (ulong)register, size);

    private void Write(int register, ulong value, int size = 8) => _p.Board.Memory.Write(0xfed00000 + (ulong)register, size, value);

    private static int TimerConfig(int n) => 0x100 + (n * 0x20);

    private static int Comparator(int n) => 0x108 + (n * 0x20);

    /// <summary>Moves time by ticks of 16 ns.</summary>
    private void Tick(long ticks) => _p.Board.Advance(ticks * 16);

    [Fact]
    public void CapabilitiesAreXens()
    {
        Assert.Equal(0x00f424008086a201ul, Read(0));
        Assert.Equal(0x00f42400ul, Read(4, 4));
        for (var n = 0; n < 3; n++) Assert.Equal(0x00f0000000000030ul, Read(TimerConfig(n)));
        Assert.Equal(0ul, Read(0x160));
        Assert.Equal(ulong.MaxValue, Read(Comparator(0)));
    }

    [Fact]
    public void TheCounterRunsWhileItIsEnabled()
    {
        Tick(1000);
        Assert.Equal(0ul, Read(Counter));
        Write(Counter, 0xfffffff0);
        Write(Config, 1);
        Tick(0x20);
        Assert.Equal(0x100000010ul, Read(Counter));
        Assert.Equal(1ul, Read(Counter + 4, 4));
        Write(Config, 0);
        Tick(1000);
        Assert.Equal(0x100000010ul, Read(Counter));
        Write(Counter, 5, 4);
        Assert.Equal(0x100000005ul, Read(Counter));
    }

    [Fact]
    public void AOneShotMatchInterruptsOnce()
    {
        _p.Redirect(21, 0x41);
        Write(Config, 1);
        Write(TimerConfig(1), (21ul << 9) | 4);
        Write(Comparator(1), 100);
        Tick(99);
        Assert.False(_p.Apics[0].HasInterrupt);
        Tick(1);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Tick(1_000_000);
        Assert.False(_p.Apics[0].HasInterrupt);
        Assert.Equal(0ul, Read(Status));

        // A value that has just passed matches at once.
        Write(Comparator(1), Read(Counter) - 10);
        _p.Board.Advance(0);
        Assert.Equal(0x41, _p.Take());
    }

    [Fact]
    public void A32BitMatchComesRoundAgain()
    {
        _p.Redirect(22, 0x41);
        Write(Config, 1);
        Write(TimerConfig(0), (22ul << 9) | 0x104);
        Write(Comparator(0), 0xffffffff00000064);
        Assert.Equal(0x64ul, Read(Comparator(0)));
        Tick(100);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Tick((1L << 32) - 1);
        Assert.False(_p.Apics[0].HasInterrupt);
        Tick(1);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();

        // Long past means far ahead.
        Write(Comparator(0), Read(Counter) - 1_000_000);
        Tick(1000);
        Assert.False(_p.Apics[0].HasInterrupt);
    }

    [Fact]
    public void ThePeriodicModeKeepsItsGrid()
    {
        _p.Redirect(20, 0x41);
        Write(Config, 1);
        Write(TimerConfig(0), (20ul << 9) | 0x14c);
        Write(Comparator(0), 500, 4);
        Assert.Equal(0ul, Read(TimerConfig(0)) & 0x40);
        Write(Comparator(0), 1000, 4);
        Tick(499);
        Assert.False(_p.Apics[0].HasInterrupt);
        Tick(1);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Assert.Equal(1500ul, Read(Comparator(0)));
        for (var n = 0; n < 1000; n++)
        {
            Tick(999);
            Assert.False(_p.Apics[0].HasInterrupt);
            Tick(1);
            Assert.Equal(0x41, _p.Take());
            _p.Eoi();
        }

        // A new period counts from the match that is set.
        Write(Comparator(0), 100);
        Tick(1000);
        Assert.True(_p.Apics[0].HasInterrupt);
        Assert.Equal(Read(Counter) + 100, Read(Comparator(0)));
    }

    [Fact]
    public void ThePeriodMayBeWrittenAfterTheMatch()
    {
        _p.Redirect(20, 0x41);
        Write(Config, 1);
        Tick(10_000);
        Write(TimerConfig(0), (20ul << 9) | 0x14c);
        Write(Comparator(0), 10_100, 4);
        Tick(150);
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Write(Comparator(0), 100, 4);
        Assert.Equal(10_200ul, Read(Comparator(0)));
        Tick(50);
        Assert.Equal(0x41, _p.Take());
    }

    [Fact]
    public void AnAllInOneWriteSetsMatchAndPeriod()
    {
        _p.Redirect(20, 0x41);
        Write(TimerConfig(0), (20ul << 9) | 0x4c);
        Write(Comparator(0), 300, 4);
        Write(Comparator(0) + 4, 0, 4);
        Write(Config, 1);
        for (var n = 1; n <= 3; n++)
        {
            Tick(300);
            Assert.Equal(0x41, _p.Take());
            _p.Eoi();
        }

        Assert.Equal(1200ul, Read(Comparator(0)));
    }

    [Fact]
    public void LevelsHoldUntilTheStatusIsCleared()
    {
        _p.Redirect(23, 0x8041);
        Write(Config, 1);
        Write(TimerConfig(2), (23ul << 9) | 6);
        Write(Comparator(2), 100);
        Tick(100);
        Assert.Equal(4ul, Read(Status));
        Assert.Equal(0x41, _p.Take());
        _p.Eoi();
        Assert.Equal(0x41, _p.Take());
        Write(Status, 3);
        Assert.Equal(4ul, Read(Status));
        Write(Status, 4, 4);
        Assert.Equal(0ul, Read(Status));
        _p.Eoi();
        Assert.False(_p.Apics[0].HasInterrupt);
    }

    [Fact]
    public void LegacyReplacementTakesTheLinesOfPitAndRtc()
    {
        _p.InitPic();
        _p.OpenVirtualWire();
        var board = _p.Board;
        board.Out8(0x43, 0x34);
        board.Out8(0x40, 100);
        board.Out8(0x40, 0);
        Write(TimerConfig(0), 0x4c);
        Write(Comparator(0), 62_500);
        Write(TimerConfig(1), 4);
        Write(Comparator(1), 100_000);
        Write(Config, 3);
        _p.Board.Out8(0x20, 0x0a);
        while (_p.Take() >= 0)
        {
            board.Out8(0x20, 0x20);
        }

        board.Advance(999_999);
        Assert.False(_p.Apics[0].HasInterrupt);
        board.Advance(1);
        Assert.Equal(0x20, _p.Take());
        board.Out8(0x20, 0x20);
        Assert.False(_p.Apics[0].HasInterrupt);
        board.Advance(600_000);
        Assert.Equal(0x28, _p.Take());
        board.Out8(0xa0, 0x20);
        board.Out8(0x20, 0x20);
        Write(Config, 0);
        board.Advance(1_000_000);
        Assert.Equal(0x20, _p.Take());
    }

    [Fact]
    public void OddAccessesAreHarmless()
    {
        foreach (var size in new[] { 1, 2 })
        {
            Assert.Equal(ulong.MaxValue >> (64 - (8 * size)), Read(0, size));
            Write(Config, 3, size);
        }

        Assert.Equal(0ul, Read(Config));
        for (var register = 0; register < 0x400; register += 4) Write(register, ulong.MaxValue, 4);
        for (var register = 0; register < 0x400; register += 4) Read(register, 4);
        _p.Board.Advance(1_000_000);
    }

    [Fact]
    public void TinyPeriodsAreThinnedOut()
    {
        Write(TimerConfig(0), (20ul << 9) | 0x4c);
        Write(Comparator(0), 1);
        Write(Config, 1);
        _p.Board.Advance(16);
        Assert.InRange(_p.Board.Clock.NextDeadline, 16 + 1000, 16 + 1100);
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var p = new PlatformBoard();
        return (p.Board, p.Hpet);
    }, static (board, _) =>
    {
        foreach (var (register, value) in new (ulong, ulong)[] { (0x100, 0x4c | (20 << 9)), (0x108, 1000), (0x140, 6 | (23 << 9)), (0x148, 500), (0x10, 3), (0xf0, 17) })
            board.Memory.Write(0xfed00000 + register, 8, value);
        board.Advance(100_000);
    }, "hpet");
}
