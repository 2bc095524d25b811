using System;
using System.Text;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded.Xen.Viridian;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>Microsoft's hypervisor interface as a guest meets it: CPUID, MSRs, pages and hypercalls.</summary>
public sealed unsafe class ViridianTests : IDisposable
{
    private const uint GuestOsId = 0x4000_0000, HypercallPage = 0x4000_0001, VpIndex = 0x4000_0002, TimeRefCount = 0x4000_0020, ReferenceTsc = 0x4000_0021, TscFrequency = 0x4000_0022;
    private const uint Tpr = 0x4000_0072, VpAssistPage = 0x4000_0073, Scontrol = 0x4000_0080, Sversion = 0x4000_0081, Simp = 0x4000_0083, Eom = 0x4000_0084, Sint2 = 0x4000_0092;
    private const uint Config0 = 0x4000_00b0, Count0 = 0x4000_00b1, XenMsr = 0x4000_0200;
    private const ulong Page = 0x30_0000;
    private readonly XenBoard _board;

    public ViridianTests()
    {
        Assert.True(ViridianWords.TryParse(["all"], out var all, out _));
        _board = new XenBoard(2, all);
    }

    public void Dispose() => _board.Dispose();

    private ICpuBus Bus => _board.Machine;

    [Fact]
    public void ItIsFoundBeforeXen()
    {
        Assert.Equal("Microsoft Hv", Signature(0x4000_0000));
        Assert.Equal("XenVMMXenVMM", Signature(0x4000_0100));
        Assert.True(Bus.Cpuid(_board.Cpu, 0x4000_0000, 0).A >= 0x4000_0005);
        Assert.Equal(0x3123_7648u, Bus.Cpuid(_board.Cpu, 0x4000_0001, 0).A);
        Assert.Equal(0x0000_0a7eu, Bus.Cpuid(_board.Cpu, 0x4000_0003, 0).A);
        Assert.Equal(XenMsr, Bus.Cpuid(_board.Cpu, 0x4000_0102, 0).B);
        Assert.Equal(2u, Bus.Cpuid(_board.Cpu, 0x4000_0005, 0).A);
    }

    [Fact]
    public void WithoutItTheLeavesAreXens()
    {
        using var plain = new XenBoard();
        Assert.Equal(0u, ((ICpuBus)plain.Machine).Cpuid(plain.Cpu, 0x4000_0006, 0).A);
        Assert.False(((ICpuBus)plain.Machine).WriteMsr(plain.Cpu, GuestOsId + 1, 1));
        Assert.False(((ICpuBus)plain.Machine).ReadMsr(plain.Cpu, XenMsr, out _));
    }

    [Fact]
    public void CallsOfBothKindsGoThrough()
    {
        // Without a name of the guest there is no page.
        Write(HypercallPage, Page | 1);
        Assert.Equal(Page, Read(HypercallPage));
        Write(GuestOsId, 0x1040_0000_0000);
        Write(HypercallPage, Page | 1);
        Assert.Equal(Page | 1, Read(HypercallPage));
        Assert.Equal(Convert.FromHexString("0d000000800f01c1c3cc"), _board.Bytes(Page, 10));
        Write(XenMsr, XenBoard.HypercallPage);
        Assert.Equal(0xb8, _board.Bytes(XenBoard.HypercallPage, 1)[0]);

        var c = _board.Cpu.State;
        (c->R[0], c->R[2]) = (0x8000_0008, 77);
        Bus.Hypercall(_board.Cpu);
        Assert.Equal((0ul, 0ul), (c->R[0], c->R[2]));
        c->R[0] = 0x8000_1234;
        Bus.Hypercall(_board.Cpu);
        Assert.Equal(2ul, c->R[0]);
        c->R[0] = 17;
        c->R[3] = 0;
        Bus.Hypercall(_board.Cpu);
        Assert.Equal(0x0004_0011ul, c->R[0]);
        Write(GuestOsId, 0);
        Assert.Equal(Page, Read(HypercallPage));
    }

    [Fact]
    public void TheCounterAndThePageTellOneTime()
    {
        Assert.Equal(1_000_000_000ul, Read(TscFrequency));
        Bus.WriteTsc(_board.Cpu, 5_000_000_000);
        Write(ReferenceTsc, Page | 1);
        Assert.Equal(Page | 1, Read(ReferenceTsc));
        var sequence = _board.Read(Page);
        Assert.NotEqual(0u, sequence);
        Assert.Equal(Read(TimeRefCount), FromPage());
        _board.RunTimers();
        Bus.WriteTsc(_board.Cpu, 77_000_000);
        Assert.NotEqual(sequence, _board.Read(Page));
        Assert.Equal(_board.Now / 100, (long)Read(TimeRefCount));
        Assert.Equal(Read(TimeRefCount), FromPage());
    }

    [Fact]
    public void PagesThatAreNotThereAreNotWritten()
    {
        foreach (var msr in new[] { ReferenceTsc, VpAssistPage, Simp, HypercallPage })
        {
            Write(msr, 0xffff_ffff);
            Write(msr, ulong.MaxValue);
            Write(msr, 0);
        }
    }

    [Fact]
    public void ATimerPutsItsMessage()
    {
        EnableApic();
        Write(Simp, Page | 1);
        Write(Scontrol, 1);
        Write(Sint2, 0x55);
        Write(Count0, 5);
        Write(Config0, (2 << 16) | 1);
        _board.RunTimers();
        Assert.Equal(2ul << 16, Read(Config0));
        var slot = Page + 0x200;
        Assert.Equal((0x8000_0010u, 24u, 0u, 5ul), (_board.Read(slot), _board.Read(slot + 4), _board.Read(slot + 16), _board.Read64(slot + 24)));
        Assert.InRange(_board.Read64(slot + 32), 5ul, ulong.MaxValue / 2);
        Assert.True(IsSet(0x820, 0x55));

        // The next one waits for the slot.
        Write(Count0, 6);
        Write(Config0, (2 << 16) | 1);
        _board.RunTimers();
        Assert.Equal((5ul, 1u), (_board.Read64(slot + 24), (_board.Read(slot + 4) >> 8) & 1));
        _board.Write(slot, 0);
        Write(Eom, 0);
        Assert.Equal((0x8000_0010u, 6ul, 24u), (_board.Read(slot), _board.Read64(slot + 24), _board.Read(slot + 4)));
    }

    [Theory]
    [InlineData(0x55u, true)]
    [InlineData(0x2_0055u, false)]
    public void AnInterruptEndsByItselfWhereTheGuestSaysSo(uint source, bool isServed)
    {
        EnableApic();
        Write(Simp, Page | 1);
        Write(Scontrol, 1);
        Write(Sint2, source);
        Write(Count0, 5);
        Write(Config0, (2 << 16) | 1);
        _board.RunTimers();
        Assert.Equal(0x55, Bus.AcknowledgeInterrupt(_board.Cpu));
        Assert.Equal(isServed, IsSet(0x810, 0x55));
        Write(0x4000_0070, 0);
        Assert.False(IsSet(0x810, 0x55));
    }

    [Fact]
    public void APeriodGoesOn()
    {
        Write(Simp, Page | 1);
        Write(Scontrol, 1);
        Write(Count0, 5000);
        Write(Config0, (3 << 16) | 8 | 2);
        Assert.Equal((3ul << 16) | 10, Read(Config0));
        Write(Count0, 5000);
        Assert.Equal((3ul << 16) | 11, Read(Config0));
        var slot = Page + 0x300;
        for (var n = 0; n < 3; n++)
        {
            _board.Write(slot, 0);
            _board.RunTimers();
            Assert.Equal(0x8000_0010u, _board.Read(slot));
        }

        Write(Count0, 0);
        Assert.Equal((3ul << 16) | 10, Read(Config0));
        _board.Write(slot, 0);
        _board.RunTimers();
        Assert.Equal(0u, _board.Read(slot));
    }

    /// <summary>Periods of next to nothing, and times without end.</summary>
    [Theory]
    [InlineData(1ul)]
    [InlineData(ulong.MaxValue)]
    [InlineData(1ul << 63)]
    public void TimersAreBounded(ulong count)
    {
        foreach (var config in new ulong[] { 0xf_ffff, (1 << 16) | 1, (1 << 16) | 3, ulong.MaxValue })
        {
            Write(Config0, config);
            Write(Count0, count);
            for (var n = 0; n < 20; n++) _board.RunTimers();
        }
    }

    [Fact]
    public void PeriodsHaveALowerBound()
    {
        Write(Simp, Page | 1);
        Write(Scontrol, 1);
        var start = (ulong)_board.Now / 100;
        Write(Count0, 1);
        Write(Config0, (1 << 16) | 3);
        _board.RunTimers();
        Assert.InRange(_board.Read64(Page + 0x100 + 24), start + 5000, start + 10_000);
    }

    [Fact]
    public void WithoutAMessagePageATimerWaits()
    {
        Write(Count0, 1);
        Write(Config0, (1 << 16) | 1);
        _board.RunTimers();
        Write(Simp, Page | 1);
        Write(Scontrol, 1);
        Assert.Equal(0u, _board.Read(Page + 0x100));
        Write(Eom, 0);
        Assert.Equal(0x8000_0010u, _board.Read(Page + 0x100));
    }

    [Fact]
    public void RegistersHaveTheirLimits()
    {
        Assert.Equal(1ul, Read(Sversion));
        Assert.True(Bus.ReadMsr(_board.Machine.Cpus[1], VpIndex, out var index));
        Assert.Equal(1ul, index);
        Assert.Equal(1ul << 16, Read(Sint2));
        Assert.False(Bus.WriteMsr(_board.Cpu, Sint2, 15));
        Assert.False(Bus.WriteMsr(_board.Cpu, VpIndex, 0));
        Assert.False(Bus.WriteMsr(_board.Cpu, TimeRefCount, 0));
        Assert.False(Bus.WriteMsr(_board.Cpu, Sversion, 0));
        Assert.False(Bus.ReadMsr(_board.Cpu, 0x4000_0010, out _));
        Assert.False(Bus.ReadMsr(_board.Cpu, 0x4000_00b8, out _));
        Write(Tpr, 0x20);
        Assert.Equal(0x20ul, Read(Tpr));
        _board.Write(Page, 0xffff_ffff);
        Write(VpAssistPage, Page | 1);
        Assert.Equal(0u, _board.Read(Page));
    }

    [Fact]
    public void OnlyWhatWasAskedForIsThere()
    {
        Assert.True(ViridianWords.TryParse(["stimer"], out var some, out _));
        Assert.Equal(ViridianFeatures.Base | ViridianFeatures.Stimer | ViridianFeatures.Synic | ViridianFeatures.TimeReferenceCount, some);
        Assert.False(ViridianWords.TryParse(["base", "magic"], out _, out var unknown));
        Assert.Equal("magic", unknown);
        using var board = new XenBoard(1, ViridianFeatures.Base);
        foreach (var msr in new[] { TimeRefCount, ReferenceTsc, TscFrequency, Scontrol, Simp, Config0 }) Assert.False(((ICpuBus)board.Machine).ReadMsr(board.Cpu, msr, out _));
        Assert.True(((ICpuBus)board.Machine).ReadMsr(board.Cpu, VpIndex, out _));
    }

    [Fact]
    public void AResetForgetsAll()
    {
        Write(GuestOsId, 1);
        Write(Simp, Page | 1);
        Write(Count0, 1);
        Write(Config0, (1 << 16) | 1);
        _board.Machine.Reset();
        Assert.Equal((0ul, 0ul, 0ul), (Read(GuestOsId), Read(Simp), Read(Config0)));
        _board.RunTimers();
        Assert.Equal(0u, _board.Read(Page + 0x100));
    }

    private void Write(uint msr, ulong value) => Assert.True(Bus.WriteMsr(_board.Cpu, msr, value));

    private ulong Read(uint msr)
    {
        Assert.True(Bus.ReadMsr(_board.Cpu, msr, out var value));
        return value;
    }

    private ulong FromPage() => (ulong)(((UInt128)Bus.ReadTsc(_board.Cpu) * _board.Read64(Page + 8)) >> 64) + _board.Read64(Page + 16);

    /// <summary>Makes the local APIC take interrupts, and be asked by MSRs.</summary>
    private void EnableApic()
    {
        Assert.True(Bus.ReadMsr(_board.Cpu, 0x1b, out var apic));
        Write(0x1b, apic | 0xc00);
        Write(0x80f, 0x1ff);
    }

    /// <summary>A vector's bit in the local APIC's registers of requests (820) or of interrupts that are served (810).</summary>
    private bool IsSet(uint registers, int vector) => ((Read(registers + (uint)(vector / 32)) >> (vector & 31)) & 1) != 0;

    private string Signature(uint leaf)
    {
        var (_, b, c, d) = Bus.Cpuid(_board.Cpu, leaf, 0);
        return Encoding.ASCII.GetString([.. BitConverter.GetBytes(b), .. BitConverter.GetBytes(c), .. BitConverter.GetBytes(d)]);
    }
}
