using XenDM.Hypervisor.Xen;

namespace XenDM.Hypervisor.Tests.Xen;

public sealed class SpinWindowTests
{
    [Fact]
    public void ItOpensWhileRequestsFollowCloselyAndClosesWhenTheyDoNot()
    {
        var window = new SpinWindow();
        window.Measured(4_000);
        Assert.Equal(200_000, window.Longest);
        window.Woken(1_000_000_000);
        Assert.Equal(0, window.Length);
        window.Ended(1_000_000_000, 1);
        window.Woken(1_000_050_000);
        Assert.Equal(10_000, window.Length);
        for (var i = 1; i <= 10; i++)
        {
            window.Ended(1_000_000_000 + (i * 100_000), 1);
            window.Woken(1_000_000_000 + (i * 100_000) + 90_000);
        }

        Assert.Equal(window.Longest, window.Length);
        for (var i = 1; i <= 6; i++)
        {
            window.Ended(2_000_000_000 + (i * 1_000_000), 1);
            window.Woken(2_000_000_000 + (i * 1_000_000) + 900_000);
        }

        Assert.Equal(0, window.Length);
    }

    /// <summary>The guest shares the CPU: it runs only after the wait, and its request comes right then.</summary>
    [Fact]
    public void WaitingInVainIsGivenUp()
    {
        var window = new SpinWindow();
        var now = 1_000_000_000L;
        var waited = 0L;
        for (var i = 0; i < 100_000; i++)
        {
            window.Woken(now);
            waited += window.Length;
            window.Ended(now, 0);
            now += window.Length + 5_000;
        }

        Assert.InRange(waited, 1, 100_000 * 100);
    }

    [Theory]
    [InlineData(200, 50_000)]
    [InlineData(5_000, 250_000)]
    [InlineData(500_000, 2_000_000)]
    public void WhatIsCloseDependsOnTheHost(long call, long longest)
    {
        var window = new SpinWindow();
        window.Measured(call);
        window.Measured(call * 3);
        Assert.Equal(longest, window.Longest);
    }
}
