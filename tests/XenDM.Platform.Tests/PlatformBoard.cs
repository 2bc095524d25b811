using System;
using System.Collections.Generic;
using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

/// <summary>All chips of the platform, wired as in a machine, with processors that only record what they are told.</summary>
internal sealed class PlatformBoard
{
    /// <summary>2020-02-28 23:59:50 UTC.</summary>
    public const long BootTime = 1_582_934_390_000_000_000;

    /// <summary>The guest's TSC runs at 2 GHz from guest time 0.</summary>
    public const long TscPerNanosecond = 2;

    public PlatformBoard(int cpus = 1)
    {
        Board = new TestBoard();
        Bus = new ApicBus();
        IoApic = new IoApic(Bus);
        Pic = new I8259Pic(new IrqLine(Bus, ApicBus.Lint0));
        Router = new IrqRouter(Pic, IoApic, Bus);
        Pit = new I8254Pit(Router.PlatformLine(0), Board.Clock);
        Rtc = new Mc146818Rtc(Router.PlatformLine(8), Board.Clock, BootTime);
        Pm = new PmTimer(Router.PlatformLine(9), Board.Clock);
        Hpet = new Hpet(Board.Clock, [Router.PlatformLine(0, isHpet: true), Router.PlatformLine(8, isHpet: true)],
            [Router.PlatformLine(20, true), Router.PlatformLine(21, true), Router.PlatformLine(22, true), Router.PlatformLine(23, true)], Router.SetLegacyReplacement);
        Cpus = new FakeCpu[cpus];
        Apics = new LocalApic[cpus];
        for (var i = 0; i < cpus; i++)
        {
            Cpus[i] = new FakeCpu(this);
            Apics[i] = new LocalApic(i, (uint)i * 2, Bus, Board.Clock, Cpus[i], Pic.Acknowledge, static tsc => (long)Math.Min(long.MaxValue, (tsc + 1) / (ulong)TscPerNanosecond));
        }

        Pic.MapPorts(Board.Ports);
        Pit.MapPorts(Board.Ports);
        Rtc.MapPorts(Board.Ports);
        Pm.MapPorts(Board.Ports);
        IoApic.MapMemory(Board.Memory);
        Hpet.MapMemory(Board.Memory);
        foreach (var chip in Chips) chip.Reset(ResetKind.Cold);
    }

    public TestBoard Board { get; }

    public ApicBus Bus { get; }

    public IoApic IoApic { get; }

    public I8259Pic Pic { get; }

    public IrqRouter Router { get; }

    public I8254Pit Pit { get; }

    public Mc146818Rtc Rtc { get; }

    public PmTimer Pm { get; }

    public Hpet Hpet { get; }

    public FakeCpu[] Cpus { get; }

    public LocalApic[] Apics { get; }

    public IReadOnlyList<IDevice> Chips => [Pic, Pit, Rtc, Pm, Hpet, IoApic, Router, .. Apics];

    /// <summary>Initialises the pair as a PC's firmware does: vectors 0x08 and 0x70 or others, cascade on 2, everything masked as told.</summary>
    public void InitPic(int masterBase = 0x20, int slaveBase = 0x28, int icw4 = 0x01, int slaveIcw4 = 0x01, int masks = 0)
    {
        Board.Out8(0x20, 0x11);
        Board.Out8(0x21, masterBase);
        Board.Out8(0x21, 0x04);
        Board.Out8(0x21, icw4);
        Board.Out8(0xa0, 0x11);
        Board.Out8(0xa1, slaveBase);
        Board.Out8(0xa1, 0x02);
        Board.Out8(0xa1, slaveIcw4);
        Board.Out8(0x21, masks & 0xff);
        Board.Out8(0xa1, masks >> 8);
    }

    /// <summary>Opens the way of the pair to vCPU 0, as firmware leaves it: APIC enabled, LINT0 is ExtINT.</summary>
    public void OpenVirtualWire()
    {
        Apic(0, 0xf0, 0x1ff);
        Apic(0, 0x350, 0x700);
    }

    public void Pulse(int irq)
    {
        Router.SetIsaIrq(irq, false);
        Router.SetIsaIrq(irq, true);
    }

    public uint Apic(int cpu, int register) => (uint)Apics[cpu].Read((ulong)register, 4);

    public void Apic(int cpu, int register, uint value) => Apics[cpu].Write((ulong)register, 4, value);

    public void EnableAllApics()
    {
        for (var i = 0; i < Apics.Length; i++) Apic(i, 0xf0, 0x1ff);
    }

    public uint IoRead(int index)
    {
        Board.Memory.Write(0xfec00000, 4, (ulong)index);
        return (uint)Board.Memory.Read(0xfec00010, 4);
    }

    public void IoWrite(int index, uint value)
    {
        Board.Memory.Write(0xfec00000, 4, (ulong)index);
        Board.Memory.Write(0xfec00010, 4, value);
    }

    /// <summary>Writes a redirection entry, high half first.</summary>
    public void Redirect(int pin, uint low, byte destination = 0)
    {
        IoWrite(0x11 + (pin * 2), (uint)destination << 24);
        IoWrite(0x10 + (pin * 2), low);
    }

    public int Take(int cpu = 0) => Apics[cpu].Acknowledge();

    public void Eoi(int cpu = 0) => Apic(cpu, 0xb0, 0);
}

/// <summary>Records what its APIC tells it.</summary>
internal sealed class FakeCpu(PlatformBoard board) : ILocalApicCpu
{
    public bool Pending { get; private set; }

    public int Nmis { get; private set; }

    public int Inits { get; private set; }

    public int Smis { get; private set; }

    public List<int> Startups { get; } = [];

    public void InterruptChanged(int cpu)
    {
        // The chips reset themselves while they are made.
        if (board.Apics[cpu] is { } apic) Pending = apic.HasInterrupt;
    }

    public void Nmi(int cpu) => Nmis++;

    public void Init(int cpu) => Inits++;

    public void Startup(int cpu, byte vector) => Startups.Add(vector);

    public void Smi(int cpu) => Smis++;
}

/// <summary>Counts the rising edges of one line.</summary>
internal sealed class EdgeCounter : IIrqSink
{
    public int Edges { get; private set; }

    public bool Level { get; private set; }

    public void SetLevel(int input, bool level)
    {
        Level = level;
        if (level) Edges++;
    }
}
