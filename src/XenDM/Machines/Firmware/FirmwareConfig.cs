using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Devices.Firmware;

namespace XenDM.Machines.Firmware;

/// <summary>What SeaBIOS is told through fw_cfg.</summary>
/// <param name="Memory">RAM of the machine, split as the machine has it.</param>
/// <param name="Acpi">Also has the numbers of processors.</param>
internal sealed record FirmwareOptions(MemoryLayout Memory, AcpiOptions Acpi)
{
    public Guid Uuid { get; init; }

    /// <summary><c>bootorder</c> as <see cref="BootOrder.Lines"/> makes it; empty leaves the order to the CMOS.</summary>
    public byte[] BootOrder { get; init; } = [];

    /// <summary>Show "press ESC for boot menu", and for how long it waits for the key.</summary>
    public bool BootMenu { get; init; }

    public TimeSpan BootMenuWait { get; init; } = TimeSpan.FromSeconds(2.5);

    /// <summary>How long to wait with nothing to boot from before the machine starts again; null is SeaBIOS's own minute.</summary>
    public TimeSpan? BootFailWait { get; init; }

    /// <summary>The firmware's and the boot loaders' text screen also goes to COM1.</summary>
    public bool SerialConsole { get; init; }

    /// <summary>The VGA's option ROM, or null when the card itself has it, or there is none.</summary>
    public byte[]? VgaRom { get; init; }

    /// <summary>Other option ROMs, by name.</summary>
    public IReadOnlyList<(string Name, byte[] Rom)> OptionRoms { get; init; } = [];
}

/// <summary>
/// Fills fw_cfg with what SeaBIOS reads on the platform that it calls QEMU: sizes, E820, ACPI and SMBIOS tables, boot order, option ROMs.
/// SeaBIOS takes a machine for that platform by the subsystem 1af4:1100 of the host bridge at 00:00.0.
/// </summary>
internal static class FirmwareConfig
{
    private const ushort KeyUuid = 0x02;
    private const ushort KeyRamSize = 0x03;
    private const ushort KeyCpus = 0x05;
    private const ushort KeyBootMenu = 0x0e;
    private const ushort KeyMaxCpus = 0x0f;
    private const ushort KeyIrq0Override = FwCfg.KeyArchLocal | 2;
    private const int E820EntryBytes = 20;
    private const byte StateIsThere = 0x80;

    public static void AddTo(FwCfg config, FirmwareOptions options)
    {
        AddMachine(config, options);
        AddAcpi(config, options.Acpi);
        var cpus = options.Acpi.Cpus;
        var (anchor, structures) = SmbiosTables.Build(new SmbiosOptions(cpus, options.Memory.Total, options.Memory.Low) { Uuid = options.Uuid });
        config.AddFile("etc/smbios/smbios-anchor", anchor);
        config.AddFile("etc/smbios/smbios-tables", structures);
        AddBoot(config, options);
        if (options.VgaRom is { } vga) config.AddFile("vgaroms/vga.bin", vga);
        foreach (var (name, rom) in options.OptionRoms) config.AddFile($"genroms/{name}", rom);
    }

    private static void AddMachine(FwCfg config, FirmwareOptions options)
    {
        config.Add(KeyUuid, options.Uuid.ToByteArray(bigEndian: true));
        config.Add(KeyRamSize, Bytes(options.Memory.Low));
        config.AddU16(KeyCpus, (ushort)options.Acpi.Cpus);
        config.AddU16(KeyMaxCpus, (ushort)Math.Max(options.Acpi.Cpus, options.Acpi.MaxCpus));
        config.Add(KeyIrq0Override, [1]);
        config.AddFile("etc/e820", E820(options.Memory));
    }

    private static void AddAcpi(FwCfg config, AcpiOptions options)
    {
        var tables = AcpiTables.Build(options);
        config.AddFile(AcpiTableSet.TablesFile, tables.Tables);
        config.AddFile(AcpiTableSet.RsdpFile, tables.Rsdp);
        config.AddFile("etc/table-loader", tables.LoaderScript());

        // S0 to S5: whether the state is there, and its SLP_TYP.
        config.AddFile("etc/system-states", [StateIsThere, 0, 0, (byte)(options.CanSuspend ? StateIsThere | 1 : 0), 0, StateIsThere | 0]);
    }

    private static void AddBoot(FwCfg config, FirmwareOptions options)
    {
        if (options.BootOrder.Length > 0) config.AddFile("bootorder", options.BootOrder);
        config.AddU16(KeyBootMenu, (ushort)(options.BootMenu ? 1 : 0));
        config.AddFile("etc/show-boot-menu", Bytes(options.BootMenu ? 1u : 0));
        if (options.BootMenu) config.AddFile("etc/boot-menu-wait", Bytes((ulong)options.BootMenuWait.TotalMilliseconds));
        if (options.BootFailWait is { } wait) config.AddFile("etc/boot-fail-wait", Bytes((ulong)wait.TotalMilliseconds));
        if (options.SerialConsole) config.AddFile("etc/sercon-port", Bytes(0x3f8));
    }

    /// <summary>The RAM below and above 4 GiB: address, length and type 1. What lies in between the firmware reserves itself.</summary>
    private static byte[] E820(MemoryLayout memory)
    {
        var map = new byte[memory.High > 0 ? 2 * E820EntryBytes : E820EntryBytes];
        Entry(map, 0, memory.Low);
        if (memory.High > 0) Entry(map.AsSpan(E820EntryBytes), MemoryLayout.FourGiB, memory.High);
        return map;

        static void Entry(Span<byte> entry, ulong start, ulong length)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(entry, start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], 1);
        }
    }

    private static byte[] Bytes(ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }
}
