using System;
using System.Collections.Generic;
using static XenDM.Machines.Firmware.AmlBuilder;
using static XenDM.Machines.Firmware.AmlResources;

namespace XenDM.Machines.Firmware;

/// <summary>
/// The DSDT: what the guest cannot find by itself. \_SB.PCI0 with its windows and interrupt routing (by PIRQ links for the 8259s, by IOAPIC
/// inputs once the guest said so with \_PIC), the ISA devices, the processors and \_S5.
/// </summary>
/// <remarks>SeaBIOS looks through the table with a parser that knows names, devices, regions, fields and methods, but no statements outside methods.</remarks>
internal static class Dsdt
{
    private const int PciDevices = 32;
    private const int Pins = 4;
    private const int PirqConfig = 0x60;
    private const uint PciWindowEnd = 0xfebf_ffff;
    private const ulong LinkDisabled = 0x80;
    private static readonly ushort[] s_serialPorts = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
    private static readonly int[] s_serialIrqs = [4, 3, 4, 3];
    private static readonly string[] s_links = ["LNKA", "LNKB", "LNKC", "LNKD"];
    private static readonly string[] s_linkRegisters = ["PRQA", "PRQB", "PRQC", "PRQD"];

    /// <returns>The AML, without the table's header.</returns>
    public static byte[] Build(AcpiOptions options)
    {
        List<byte[]> system = [PciRoot(options)];
        for (var link = 0; link < s_links.Length; link++) system.Add(Link(link));
        if (options.HasHpet) system.Add(HpetDevice());
        return Join(
            Name("PICF", Zero),
            Method("_PIC", 1, false, Store(Argument(0), Path("PICF"))),
            Scope(@"\_SB", system.ToArray()),
            Scope(@"\_PR", Processors(options)),
            SleepState("_S5", 0),
            options.CanSuspend ? SleepState("_S3", 1) : []);
    }

    /// <summary>SLP_TYP for PM1a, PM1b and two reserved numbers, as the PIIX4 takes them.</summary>
    private static byte[] SleepState(string name, ulong type) => Name(name, Package(Integer(type), Integer(type), Zero, Zero));

    private static byte[][] Processors(AcpiOptions options)
    {
        var processors = new byte[Math.Max(options.Cpus, options.MaxCpus)][];
        for (var cpu = 0; cpu < processors.Length; cpu++) processors[cpu] = Processor($"C{cpu:X3}", (byte)cpu);
        return processors;
    }

    private static byte[] PciRoot(AcpiOptions options) => Device(
        "PCI0",
        Name("_HID", EisaId("PNP0A03")),
        Name("_UID", Zero),
        Name("_CRS", Resources(
            BusWindow(0, 0xff),
            Io(0xcf8, 8),
            IoWindow(0, 0xcf7),
            IoWindow(0xd00, 0xffff),
            MemoryWindow(0xa0000, 0xbffff, cacheable: true),
            MemoryWindow(options.LowMemoryEnd, PciWindowEnd, cacheable: false))),
        Name("PRTP", Routes(options, byLink: true)),
        Name("PRTA", Routes(options, byLink: false)),
        Method("_PRT", 0, false, If(Path(@"\PICF"), Return(Path("PRTA"))), Return(Path("PRTP"))),
        Isa(options));

    /// <summary>A package for each pin of each device: address, pin, link (or zero), IOAPIC input.</summary>
    private static byte[] Routes(AcpiOptions options, bool byLink)
    {
        var routes = new List<byte[]>();
        for (var device = 1; device < PciDevices; device++)
            for (var pin = 0; pin < Pins; pin++)
            {
                routes.Add(Package(
                    Integer(((ulong)device << 16) | 0xffff),
                    Integer((ulong)pin),
                    byLink ? Path(@"\_SB." + s_links[(device + pin + options.PciLinkOffset) & 3]) : Zero,
                    byLink ? Zero : Integer((ulong)InputOf(device, pin))));
            }

        return Package(routes.ToArray());
    }

    /// <summary>Each pin has an IOAPIC input: 32 of them, from 16 on.</summary>
    private static int InputOf(int device, int pin) => (((device * 4) + (device / 8) + pin) & 31) + 16;

    /// <summary>A PIRQ link: the ISA interrupt that the PIIX3 gives it.</summary>
    private static byte[] Link(int number)
    {
        var register = @"\_SB.PCI0.ISA." + s_linkRegisters[number];
        return Device(
            s_links[number],
            Name("_HID", EisaId("PNP0C0F")),
            Name("_UID", Integer((ulong)number + 1)),
            Name("_PRS", Resources(Interrupts(5, 10, 11))),
            Method("_STA", 0, false, If(And(Path(register), Integer(LinkDisabled)), Return(Integer(0x09))), Return(Integer(0x0b))),
            Method("_DIS", 0, false, Or(Path(register), Integer(LinkDisabled), Path(register))),
            Method(
                "_CRS",
                0,
                true,
                Name("RSRC", Resources(Interrupts(0))),
                CreateDwordField(Path("RSRC"), InterruptsNumber, "INTN"),
                And(Path(register), Integer(0x0f), Path("INTN")),
                Return(Path("RSRC"))),
            Method(
                "_SRS",
                1,
                true,
                CreateDwordField(Argument(0), InterruptsNumber, "INTN"),
                Store(Path("INTN"), Path(register))));
    }

    private static byte[] Isa(AcpiOptions options)
    {
        List<byte[]> terms =
        [
            Name("_ADR", Integer(0x0001_0000)),
            OperationRegion("PIRQ", AmlSpace.PciConfig, PirqConfig, 4),
            Field("PIRQ", 1, (s_linkRegisters[0], 8), (s_linkRegisters[1], 8), (s_linkRegisters[2], 8), (s_linkRegisters[3], 8)),
            Chip("PIC", "PNP0000", Io(0x20, 2), Io(0xa0, 2), Io(0x4d0, 2), Irq(2)),
            Chip("DMAC", "PNP0200", Io(0x00, 16), Io(0x81, 3), Io(0x87, 1), Io(0x89, 3), Io(0x8f, 1), Io(0xc0, 32), Dma(1 << 4)),
            Chip("TMR", "PNP0100", Io(0x40, 4), Irq(0)),
            Chip("RTC", "PNP0B00", Io(0x70, 2), Irq(8)),
            Chip("SPKR", "PNP0800", Io(0x61, 1)),
            Chip("FPU", "PNP0C04", Io(0xf0, 1), Irq(13)),
            Chip("SYSR", "PNP0C02", Io(options.PmBase, 12), Io(options.PmControl, 2), Io(0xafe0, 4), Io(0xb2, 2), Io(0x92, 1)),
        ];
        if (options.HasPs2)
        {
            terms.Add(Chip("KBD", "PNP0303", Io(0x60, 1), Io(0x64, 1), Irq(1)));
            terms.Add(Chip("MOU", "PNP0F13", Irq(12)));
        }

        for (var port = 0; port < s_serialPorts.Length; port++)
        {
            if ((options.SerialPorts & (1 << port)) == 0) continue;
            terms.Add(Device(
                $"COM{port + 1}",
                Name("_HID", EisaId("PNP0501")),
                Name("_UID", Integer((ulong)port + 1)),
                Name("_CRS", Resources(Io(s_serialPorts[port], 8, 8), Irq(s_serialIrqs[port])))));
        }

        return Device("ISA", terms.ToArray());
    }

    private static byte[] Chip(string name, string id, params byte[][] resources) => Device(name, Name("_HID", EisaId(id)), Name("_CRS", Resources(resources)));

    private static byte[] HpetDevice() => Device("HPET", Name("_HID", EisaId("PNP0103")), Name("_UID", Zero), Name("_CRS", Resources(FixedMemory(0xfed0_0000, 0x400))));
}
