using System.Collections.Generic;
using XenDM.Core.Time;

namespace XenDM.Core.Tests.Time;

public class VmClockTests
{
    private long _host = 1000;

    [Fact]
    public void TimeStandsStillWhileStopped()
    {
        var clock = new VmClock(() => _host);
        Assert.Equal(0, clock.Now);
        clock.Start();
        _host += 50;
        Assert.Equal(50, clock.Now);
        clock.Stop();
        _host += 1000;
        Assert.Equal(50, clock.Now);
        clock.Start();
        _host += 5;
        Assert.Equal(55, clock.Now);
    }

    [Fact]
    public void TimersFireInTheOrderOfTheirDeadlines()
    {
        var clock = new VmClock(() => _host);
        var fired = new List<string>();
        clock.CreateTimer("late", () => fired.Add("late")).Arm(20);
        clock.CreateTimer("early", () => fired.Add("early")).Arm(10);
        clock.Start();
        Assert.Equal(10, clock.NextDeadline);
        _host += 30;
        clock.RunTimers();
        Assert.Equal(["early", "late"], fired);
        Assert.Equal(VmTimer.Never, clock.NextDeadline);
    }

    [Fact]
    public void ATimerArmedInThePastDoesNotHangTheLoop()
    {
        var clock = new VmClock(() => _host);
        var count = 0;
        VmTimer timer = null!;
        timer = clock.CreateTimer("again", () =>
        {
            count++;
            timer.Arm(0);
        });
        timer.Arm(0);
        clock.Start();
        clock.RunTimers();
        Assert.Equal(1, count);
    }

    [Fact]
    public void CancelFindsTheNextDeadline()
    {
        var clock = new VmClock(() => _host);
        var first = clock.CreateTimer("a", static () => { });
        first.Arm(10);
        clock.CreateTimer("b", static () => { }).Arm(20);
        clock.Start();
        first.Cancel();
        Assert.Equal(20, clock.NextDeadline);
    }
}
