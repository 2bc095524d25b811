using XenDM.Core.Time;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class LocalApicTests
{
    private const int Id = 0x20;
    private const int Tpr = 0x80;
    private const int Ppr = 0xa0;
    private const int Ldr = 0xd0;
    private const int Dfr = 0xe0;
    private const int Svr = 0xf0;
    private const int Esr = 0x280;
    private const int Icr = 0x300;
    private const int IcrHigh = 0x310;
    private const int LvtTimer = 0x320;
    private const int Lint0 = 0x350;
    private const int Lint1 = 0x360;
    private const int LvtError = 0x370;
    private const int InitialCount = 0x380;
    private const int CurrentCount = 0x390;
    private const int Divide = 0x3e0;

    private readonly PlatformBoard _p = new(4);

    private LocalApic Apic => _p.Apics[0];

    [Fact]
    public void AfterResetItIsDisabledAndMasked()
    {
        Assert.Equal(0x00050014u, _p.Apic(1, 0x30));
        Assert.Equal(0x02000000u, _p.Apic(1, Id));
        Assert.Equal(0xffu, _p.Apic(1, Svr));
        Assert.Equal(0xffffffffu, _p.Apic(1, Dfr));
        for (var lvt = LvtTimer; lvt <= LvtError; lvt += 16) Assert.Equal(0x10000u, _p.Apic(1, lvt));
        Assert.Equal(0xfee00900ul, Apic.BaseMsr);
        Assert.Equal(0xfee00800ul, _p.Apics[1].BaseMsr);
        Apic.Raise(0x40);
        Assert.False(Apic.HasInterrupt);

        // While it is disabled the masks stay set.
        _p.Apic(0, LvtTimer, 0x40);
        Assert.Equal(0x10040u, _p.Apic(0, LvtTimer));
    }

    [Fact]
    public void PrioritiesNestAndEoiEndsTheHighest()
    {
        _p.EnableAllApics();
        Apic.Raise(0x45);
        Apic.Raise(0x51);
        Assert.True(_p.Cpus[0].Pending);
        Assert.Equal((1u << 5) | (1u << 17), _p.Apic(0, 0x220));
        Assert.Equal(0x51, _p.Take());
        Assert.Equal(0x50u, _p.Apic(0, Ppr));
        Assert.False(_p.Cpus[0].Pending);
        Assert.Equal(-1, _p.Take());
        Apic.Raise(0x52);
        Assert.False(Apic.HasInterrupt);
        Apic.Raise(0x60);
        Assert.Equal(0x60, _p.Take());
        Assert.Equal(1u << 17, _p.Apic(0, 0x120));
        Assert.Equal(1u, _p.Apic(0, 0x130));
        _p.Eoi();
        Assert.False(Apic.HasInterrupt);
        _p.Eoi();
        Assert.Equal(0x52, _p.Take());
        _p.Eoi();
        Assert.Equal(0x45, _p.Take());
        _p.Eoi();
        Assert.Equal(0u, _p.Apic(0, Ppr));
        _p.Eoi();
    }

    [Fact]
    public void TheTaskPriorityHoldsClassesBack()
    {
        _p.EnableAllApics();
        _p.Apic(0, Tpr, 0x50);
        Apic.Raise(0x5f);
        Assert.False(Apic.HasInterrupt);
        Apic.TaskPriority = 4;
        Assert.Equal(0x40u, _p.Apic(0, Tpr));
        Assert.True(Apic.HasInterrupt);
        Assert.True(_p.Cpus[0].Pending);
        Apic.TaskPriority = 5;
        Assert.False(_p.Cpus[0].Pending);
        Assert.Equal(5, Apic.TaskPriority);
    }

    [Theory]
    [InlineData(0xb, 1)]
    [InlineData(0x0, 2)]
    [InlineData(0x3, 16)]
    [InlineData(0xa, 128)]
    public void TheOneShotTimerCountsOnTheBusClock(uint divide, int length)
    {
        _p.EnableAllApics();
        _p.Apic(0, Divide, divide);
        _p.Apic(0, LvtTimer, 0x40);
        _p.Apic(0, InitialCount, 1000);
        _p.Board.Advance(400L * length);
        Assert.Equal(600u, _p.Apic(0, CurrentCount));
        _p.Board.Advance((600L * length) - 1);
        Assert.False(Apic.HasInterrupt);
        Assert.Equal(1u, _p.Apic(0, CurrentCount));
        _p.Board.Advance(1);
        Assert.Equal(0x40, _p.Take());
        Assert.Equal(0u, _p.Apic(0, CurrentCount));
        Assert.Equal(1000u, _p.Apic(0, InitialCount));
        _p.Eoi();
        _p.Board.Advance(1_000_000);
        Assert.False(Apic.HasInterrupt);
        Assert.Equal(VmTimer.Never, _p.Board.Clock.NextDeadline);
    }

    /// <summary>Between one-shot and periodic the count goes on from where it is; at 0 it stays there until the initial count is written.</summary>
    [Fact]
    public void AChangeOfModeKeepsTheCount()
    {
        _p.EnableAllApics();
        _p.Apic(0, Divide, 0xb);
        _p.Apic(0, LvtTimer, 0x40);
        _p.Apic(0, InitialCount, 10_000);
        _p.Board.Advance(7_000);
        _p.Apic(0, LvtTimer, 0x20040);
        Assert.Equal(3_000u, _p.Apic(0, CurrentCount));
        _p.Board.Advance(4_000);
        Assert.Equal(9_000u, _p.Apic(0, CurrentCount));
        _p.Apic(0, LvtTimer, 0x40);
        Assert.Equal(9_000u, _p.Apic(0, CurrentCount));
        _p.Board.Advance(9_000);
        Assert.Equal(0u, _p.Apic(0, CurrentCount));
        Assert.Equal(0x40, _p.Take());
        _p.Eoi();
        _p.Apic(0, LvtTimer, 0x20040);
        _p.Board.Advance(4_000);
        Assert.Equal(0u, _p.Apic(0, CurrentCount));
        _p.Board.Advance(20_000);
        Assert.False(Apic.HasInterrupt);
        _p.Apic(0, InitialCount, 10_000);
        Assert.Equal(10_000u, _p.Apic(0, CurrentCount));
    }

    [Fact]
    public void ThePeriodicTimerKeepsItsGrid()
    {
        _p.EnableAllApics();
        _p.Apic(0, Divide, 0xb);
        _p.Apic(0, LvtTimer, 0x20040);
        _p.Apic(0, InitialCount, 10_000);
        for (var period = 1; period <= 1000; period++)
        {
            _p.Board.Advance(9_999);
            Assert.False(Apic.HasInterrupt);
            _p.Board.Advance(1);
            Assert.Equal(0x40, _p.Take());
            _p.Eoi();
        }

        _p.Board.Advance(2_500);
        Assert.Equal(7_500u, _p.Apic(0, CurrentCount));
        _p.Apic(0, LvtTimer, 0x30040);
        Assert.Equal(VmTimer.Never, _p.Board.Clock.NextDeadline);
        _p.Board.Advance(10_000);
        Assert.Equal(7_500u, _p.Apic(0, CurrentCount));
        _p.Apic(0, LvtTimer, 0x20040);
        _p.Board.Advance(7_500);
        Assert.Equal(0x40, _p.Take());
        _p.Apic(0, InitialCount, 0);
        Assert.Equal(VmTimer.Never, _p.Board.Clock.NextDeadline);
    }

    [Fact]
    public void TinyPeriodsAreThinnedOut()
    {
        _p.EnableAllApics();
        _p.Apic(0, Divide, 0xb);
        _p.Apic(0, LvtTimer, 0x20040);
        _p.Apic(0, InitialCount, 3);
        Assert.Equal(3, _p.Board.Clock.NextDeadline);
        _p.Board.Advance(3);
        Assert.Equal(3 + 1002, _p.Board.Clock.NextDeadline);
    }

    [Fact]
    public void ADividerChangeKeepsTheCount()
    {
        _p.EnableAllApics();
        _p.Apic(0, Divide, 0xb);
        _p.Apic(0, LvtTimer, 0x40);
        _p.Apic(0, InitialCount, 1000);
        _p.Board.Advance(500);
        _p.Apic(0, Divide, 0x1);
        Assert.Equal(500u, _p.Apic(0, CurrentCount));
        _p.Board.Advance(1_999);
        Assert.False(Apic.HasInterrupt);
        _p.Board.Advance(1);
        Assert.True(Apic.HasInterrupt);
    }

    [Fact]
    public void TheDeadlineIsATscValue()
    {
        _p.EnableAllApics();
        Apic.TscDeadline = 5000;
        Assert.Equal(0ul, Apic.TscDeadline);
        _p.Apic(0, LvtTimer, 0x40040);
        Apic.TscDeadline = 5000;
        Assert.Equal(5000ul, Apic.TscDeadline);
        _p.Board.Advance(2499);
        Assert.False(Apic.HasInterrupt);
        _p.Board.Advance(1);
        Assert.Equal(0x40, _p.Take());
        Assert.Equal(0ul, Apic.TscDeadline);
        _p.Eoi();

        // The past fires at once.
        Apic.TscDeadline = 1;
        Assert.Equal(0x40, _p.Take());
        _p.Eoi();
        Apic.TscDeadline = 100_000;
        _p.Apic(0, InitialCount, 77);
        Assert.Equal(0u, _p.Apic(0, CurrentCount));
        Apic.TscDeadline = 0;
        _p.Board.Advance(1_000_000);
        Assert.False(Apic.HasInterrupt);
        Apic.TscDeadline = ulong.MaxValue;
        _p.Apic(0, LvtTimer, 0x40);
        _p.Apic(0, LvtTimer, 0x40040);
        Assert.Equal(0ul, Apic.TscDeadline);
    }

    [Fact]
    public void FixedIpis()
    {
        _p.EnableAllApics();
        _p.Apic(0, IcrHigh, 4u << 24);
        _p.Apic(0, Icr, 0x4055);
        Assert.Equal(0x55, Serve(2));
        Assert.Equal(-1, Serve(1));
        Assert.Equal(0u, _p.Apic(0, Icr) & 0x1000);
        _p.Apic(0, Icr, 0x44056);
        Assert.Equal(0x56, Serve(0));
        _p.Apic(1, Icr, 0x84057);
        for (var i = 0; i < 4; i++) Assert.Equal(0x57, Serve(i));
        _p.Apic(3, Icr, 0xc4068);
        for (var i = 0; i < 4; i++) Assert.Equal(i == 3 ? -1 : 0x68, Serve(i));
        _p.Apic(0, IcrHigh, 0xffu << 24);
        _p.Apic(0, Icr, 0x4079);
        for (var i = 0; i < 4; i++) Assert.Equal(0x79, Serve(i));
    }

    [Fact]
    public void NmiInitAndStartup()
    {
        _p.EnableAllApics();
        _p.Apic(1, LvtTimer, 0x44);
        _p.Apic(0, IcrHigh, 2u << 24);
        _p.Apic(0, Icr, 0x4400);
        Assert.Equal(1, _p.Cpus[1].Nmis);
        _p.Apic(0, Icr, 0x4200);
        Assert.Equal(1, _p.Cpus[1].Smis);
        _p.Apics[1].Raise(0x40);
        Assert.True(_p.Cpus[1].Pending);
        _p.Apic(0, Icr, 0xc500);
        Assert.Equal(1, _p.Cpus[1].Inits);
        Assert.False(_p.Cpus[1].Pending);
        Assert.Equal(0xffu, _p.Apic(1, Svr));
        Assert.Equal(0x10000u, _p.Apic(1, LvtTimer));
        Assert.Equal(0x02000000u, _p.Apic(1, Id));
        _p.Apic(0, Icr, 0x8500);
        Assert.Equal(1, _p.Cpus[1].Inits);
        _p.Apic(0, Icr, 0x4610);
        Assert.Equal([0x10], _p.Cpus[1].Startups);
        Assert.Equal(0, _p.Cpus[2].Inits + _p.Cpus[0].Inits);
    }

    [Fact]
    public void LogicalDestinationsFlatAndCluster()
    {
        _p.EnableAllApics();
        for (var i = 0; i < 4; i++) _p.Apic(i, Ldr, 1u << (24 + i));
        _p.Apic(0, IcrHigh, 0b1010u << 24);
        _p.Apic(0, Icr, 0x4841);
        for (var i = 0; i < 4; i++) Assert.Equal(i is 1 or 3 ? 0x41 : -1, _p.Take(i));
        for (var i = 0; i < 4; i++)
        {
            _p.Apic(i, Dfr, 0x0fffffff);
            _p.Apic(i, Ldr, (((uint)(i / 2) << 4) | (1u << (i & 1))) << 24);
        }

        _p.Apic(0, IcrHigh, 0x13u << 24);
        _p.Apic(0, Icr, 0x4852);
        for (var i = 0; i < 4; i++) Assert.Equal(i >= 2 ? 0x52 : -1, _p.Take(i));
        _p.Apic(0, IcrHigh, 0xf1u << 24);
        _p.Apic(0, Icr, 0x4863);
        for (var i = 0; i < 4; i++) Assert.Equal((i & 1) == 0 ? 0x63 : -1, _p.Take(i));
    }

    [Fact]
    public void LowestPriorityTakesTheIdlest()
    {
        _p.EnableAllApics();
        for (var i = 0; i < 4; i++) _p.Apic(i, Tpr, i == 2 ? 0x10u : 0x30u);
        _p.Apic(0, IcrHigh, 0xffu << 24);
        _p.Apic(0, Icr, 0x4941);
        for (var i = 0; i < 4; i++) Assert.Equal(i == 2 ? 0x41 : -1, _p.Take(i));

        // The one that serves is no longer the idlest.
        _p.Apic(0, Icr, 0x4951);
        Assert.Equal(0x51, _p.Take(0));
        _p.Apic(2, Svr, 0xff);
        _p.Apic(0, Tpr, 0xf0);
        _p.Apic(0, Icr, 0x4961);
        Assert.Equal(0x61, _p.Take(1));
    }

    [Fact]
    public void MessageSignalledInterrupts()
    {
        _p.EnableAllApics();
        for (var i = 0; i < 4; i++) _p.Apic(i, Ldr, 1u << (24 + i));
        _p.Router.InjectMsi(0xfee02000, 0x4041);
        Assert.Equal(0x41, _p.Take(1));
        _p.Router.InjectMsi(0xfee0c00c, 0x51);
        Assert.Equal(0x51, _p.Take(2));
        Assert.Equal(-1, _p.Take(3));
        _p.Router.InjectMsi(0xfee0c004, 0x61);
        Assert.Equal(0x61, _p.Take(2));
        Assert.Equal(0x61, _p.Take(3));
        _p.Router.InjectMsi(0xfee0c004, 0x8071);
        _p.Router.InjectMsi(0xfed00000, 0x71);
        _p.Router.InjectMsi(0x1fee00000, 0x71);
        Assert.Equal(-1, _p.Take(0) & _p.Take(2) & _p.Take(3));
        _p.Router.InjectMsi(0xfee00000, 0x400);
        Assert.Equal(1, _p.Cpus[0].Nmis);
        _p.Router.InjectMsi(0xfeeff000, 0x81);
        for (var i = 0; i < 4; i++) Assert.Equal(0x81, _p.Take(i));
    }

    [Fact]
    public void ErrorsAreLatchedAndInterrupt()
    {
        _p.EnableAllApics();
        _p.Apic(0, LvtError, 0xfe);
        _p.Apic(0, Icr, 0x44005);
        Assert.Equal(0xfe, _p.Take());
        _p.Eoi();
        Assert.Equal(0u, _p.Apic(0, Esr));
        _p.Apic(0, Esr, 0);
        Assert.Equal(0x20u, _p.Apic(0, Esr));
        _p.Router.InjectMsi(0xfee00000, 0x0f);
        _p.Apic(0, 0x2f0);
        _p.Apic(0, Esr, 0);
        Assert.Equal(0xc0u, _p.Apic(0, Esr));
        _p.Apic(0, Esr, 0);
        Assert.Equal(0u, _p.Apic(0, Esr));

        // An error interrupt with a bad vector raises no further one.
        _p.Apic(0, LvtError, 0x05);
        _p.Apic(0, Icr, 0x44005);
        _p.Apic(0, Esr, 0);
        Assert.Equal(0x60u, _p.Apic(0, Esr));
    }

    [Fact]
    public void ThePicComesThroughLint0()
    {
        _p.InitPic();
        _p.Pulse(3);

        // The disabled APIC of vCPU 0 lets INTR through, those of others do not.
        Assert.True(Apic.HasInterrupt);
        Assert.False(_p.Apics[1].HasInterrupt);
        _p.Apic(0, Svr, 0x1ff);
        Assert.False(Apic.HasInterrupt);
        _p.Apic(0, Lint0, 0x700);
        Assert.True(_p.Cpus[0].Pending);
        _p.Apic(0, Tpr, 0xff);
        Apic.Raise(0xf0);
        Assert.Equal(0x23, _p.Take());
        Assert.False(_p.Cpus[0].Pending);
        _p.Apic(0, Tpr, 0);
        Assert.Equal(0xf0, _p.Take());

        // The 8259 pair first, then the APIC.
        _p.Eoi();
        _p.Board.Out8(0x20, 0x20);
        Apic.Raise(0xf1);
        _p.Pulse(4);
        Assert.Equal(0x24, _p.Take());
        Assert.Equal(0xf1, _p.Take());
        _p.Apic(0, Lint0, 0x10700);
        _p.Board.Out8(0x20, 0x20);
        _p.Pulse(5);
        Assert.False(Apic.HasInterrupt);
    }

    [Fact]
    public void LintPinsWithVectorsAndNmi()
    {
        _p.EnableAllApics();
        _p.Apic(0, Lint1, 0x400);
        _p.Bus.SetLevel(ApicBus.Lint1, true);
        Assert.Equal([1, 0, 0, 0], [_p.Cpus[0].Nmis, _p.Cpus[1].Nmis, _p.Cpus[2].Nmis, _p.Cpus[3].Nmis]);
        _p.Bus.SetLevel(ApicBus.Lint1, false);

        // A level with a vector is requested again at its end, while it is up.
        _p.Apic(1, Lint1, 0x8045);
        _p.Bus.SetLevel(ApicBus.Lint1, true);
        Assert.Equal(0x45, _p.Take(1));
        Assert.Equal(0xc045u, _p.Apic(1, Lint1));
        _p.Eoi(1);
        Assert.Equal(0x45, _p.Take(1));
        _p.Bus.SetLevel(ApicBus.Lint1, false);
        _p.Eoi(1);
        Assert.False(_p.Apics[1].HasInterrupt);
        Assert.Equal(0x8045u, _p.Apic(1, Lint1));
    }

    [Fact]
    public void TheBaseRegisterChangesModes()
    {
        _p.EnableAllApics();
        Assert.False(Apic.WriteBaseMsr(0xfee00901));
        Assert.False(Apic.WriteBaseMsr(0xfee00500));
        Assert.False(Apic.WriteBaseMsr(1ul << 40));
        Assert.False(Apic.ReadMsr(0x802, out _));
        Assert.False(Apic.WriteMsr(0x80b, 0));
        Assert.True(Apic.WriteBaseMsr(0xfee00d00));
        Assert.True(Apic.IsX2Apic);
        Assert.False(Apic.AnswersMemory);
        Assert.Equal(0x1ffu, Msr(0x80f));
        Assert.False(Apic.WriteBaseMsr(0xfee00900));
        Assert.True(Apic.WriteBaseMsr(0xfee00100));
        Assert.False(Apic.IsGloballyEnabled);
        Assert.False(Apic.WriteBaseMsr(0xfee00d00));
        Assert.True(Apic.WriteBaseMsr(0xd0000900));
        Assert.Equal(0xd0000000ul, Apic.Base);
        Assert.Equal(0xffu, _p.Apic(0, Svr));
    }

    /// <summary>Takes an interrupt and ends it.</summary>
    private int Serve(int cpu)
    {
        var vector = _p.Take(cpu);
        if (vector >= 0) _p.Eoi(cpu);
        return vector;
    }

    private ulong Msr(uint msr, int cpu = 0)
    {
        Assert.True(_p.Apics[cpu].ReadMsr(msr, out var value));
        return value;
    }

    [Fact]
    public void X2ApicRegisters()
    {
        _p.EnableAllApics();
        foreach (var apic in _p.Apics) Assert.True(apic.WriteBaseMsr(apic.BaseMsr | 0x400));
        Assert.Equal(6ul, Msr(0x802, 3));
        Assert.Equal(1ul << 6, Msr(0x80d, 3));
        Assert.Equal(0x00050014ul, Msr(0x803));
        foreach (var msr in new uint[] { 0x800, 0x809, 0x80b, 0x80c, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x8ff }) Assert.False(Apic.ReadMsr(msr, out _));
        foreach (var msr in new uint[] { 0x802, 0x803, 0x80a, 0x80d, 0x810, 0x820, 0x831, 0x839, 0x82f, 0x8ff }) Assert.False(Apic.WriteMsr(msr, 0));
        foreach (var (msr, value) in new (uint, ulong)[] { (0x808, 0x100), (0x80b, 1), (0x80f, 0x1000), (0x828, 1), (0x832, 1 << 19), (0x83e, 4), (0x83f, 0x100), (0x830, 1 << 20), (0x838, 1ul << 32) })
            Assert.False(Apic.WriteMsr(msr, value));
        Assert.True(Apic.WriteMsr(0x83f, 0x41));
        Assert.Equal(0x41, _p.Take());
        Assert.True(Apic.WriteMsr(0x80b, 0));
        Assert.True(Apic.WriteMsr(0x830, (6ul << 32) | 0x4042));
        Assert.Equal((6ul << 32) | 0x4042, Msr(0x830));
        Assert.Equal(0x42, _p.Take(3));
        Assert.True(Apic.WriteMsr(0x830, (0x14ul << 32) | 0x4843));
        Assert.Equal([-1, 0x43, 0x43, -1], [_p.Take(0), _p.Take(1), _p.Take(2), _p.Take(3)]);
        Assert.True(Apic.WriteMsr(0x830, (0xfffffffful << 32) | 0x4054));
        for (var i = 0; i < 4; i++) Assert.Equal(0x54, _p.Take(i));
        Assert.True(Apic.WriteMsr(0x808, 0x70));
        Assert.Equal(0x70ul, Msr(0x80a));

        // INIT stays in the mode.
        Assert.True(Apic.WriteMsr(0x830, (6ul << 32) | 0xc500));
        Assert.True(_p.Apics[3].IsX2Apic);
        Assert.Equal(1ul << 6, Msr(0x80d, 3));
    }

    [Fact]
    public void PartsOfRegisters()
    {
        _p.EnableAllApics();
        Assert.Equal(0x05ul, Apic.Read(0x32, 1));
        Assert.Equal(0ul, Apic.Read(0x34, 4));
        Apic.Write(Tpr, 1, 0x30);
        Assert.Equal(0x30u, _p.Apic(0, Tpr));
        Apic.Raise(0x41);
        Assert.Equal(0x41, _p.Take());
        Apic.Write(0xb0, 1, 0);
        Assert.Equal(0x30u, _p.Apic(0, Ppr));
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var p = new PlatformBoard(2);
        return (p.Board, p.Apics[1]);
    }, static (board, apic) =>
    {
        apic.WriteBaseMsr(0xfee00c00);
        apic.WriteMsr(0x80f, 0x1ff);
        apic.WriteMsr(0x832, 0x20041);
        apic.WriteMsr(0x83e, 3);
        apic.WriteMsr(0x838, 1000);
        board.Advance(20_000);
        apic.Raise(0x55);
        apic.Acknowledge();
        apic.WriteMsr(0x808, 0x20);
        apic.WriteMsr(0x83f, 3);
    }, "lapic");
}
