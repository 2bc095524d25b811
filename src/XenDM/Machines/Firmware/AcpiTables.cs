using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace XenDM.Machines.Firmware;

/// <summary>
/// The ACPI tables of the machine: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET and, from <see cref="Dsdt"/>, the DSDT. Specification: ACPI 4.0a,
/// chapter 5, which guests from Windows XP on read; HPET: IA-PC HPET 1.0a, section 3.2.4.
/// </summary>
internal static class AcpiTables
{
    private const int HeaderBytes = 36;
    private const int LengthField = 4;
    private const int ChecksumField = 9;
    private const int RsdpChecksumField = 8;
    private const int RsdpOldBytes = 20;
    private const int RsdpBytes = 36;
    private const int RsdpExtendedChecksumField = 32;
    private const int FadtBytes = 244;
    private const int FacsBytes = 64;
    private const int FacsAlignment = 64;
    private const int TableAlignment = 16;
    private const int SciIrq = 9;
    private const byte SmiCommandPort = 0xb2;
    private const byte AcpiEnable = 0xf1;
    private const byte AcpiDisable = 0xf0;
    private const ushort GpePort = 0xafe0;
    private const ushort ResetPort = 0xcf9;

    /// <summary>RCR of the PIIX3: reset the processor, and all else.</summary>
    private const byte ResetValue = 0x06;
    private const uint LapicAddress = 0xfee0_0000;
    private const uint IoApicAddress = 0xfec0_0000;
    private const uint HpetAddress = 0xfed0_0000;

    /// <summary>Intel, revision 1, three comparators of 64 bits, able to replace the legacy timers.</summary>
    private const uint HpetId = 0x8086_a201;

    /// <summary>Level triggered, active low.</summary>
    private const ushort LevelLow = 0x0f;

    public static AcpiTableSet Build(AcpiOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Cpus, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.MaxCpus, AcpiOptions.CpuLimit);
        var file = new TableFile();
        var facs = file.Add(Facs(), FacsAlignment, hasChecksum: false);
        var dsdt = file.Add(Table("DSDT", 2, Dsdt.Build(options)));
        var fadt = file.Add(Fadt(options, facs, dsdt));
        file.AddPointer(fadt + 36, 4);
        file.AddPointer(fadt + 40, 4);
        file.AddPointer(fadt + 140, 8);
        List<int> listed = [fadt, file.Add(Madt(options))];
        if (options.HasHpet) listed.Add(file.Add(Hpet()));
        var rsdt = file.Add(Pointers("RSDT", 4, listed));
        var xsdt = file.Add(Pointers("XSDT", 8, listed));
        for (var i = 0; i < listed.Count; i++)
        {
            file.AddPointer(rsdt + HeaderBytes + (4 * i), 4);
            file.AddPointer(xsdt + HeaderBytes + (8 * i), 8);
        }

        return file.Finish(MakeRsdp(rsdt, xsdt));
    }

    private static byte[] MakeRsdp(int rsdt, int xsdt)
    {
        var rsdp = new byte[RsdpBytes];
        "RSD PTR "u8.CopyTo(rsdp);
        "XenDM "u8.CopyTo(rsdp.AsSpan(9));
        rsdp[15] = 2;
        BinaryPrimitives.WriteInt32LittleEndian(rsdp.AsSpan(16), rsdt);
        BinaryPrimitives.WriteInt32LittleEndian(rsdp.AsSpan(20), RsdpBytes);
        BinaryPrimitives.WriteInt64LittleEndian(rsdp.AsSpan(24), xsdt);
        return rsdp;
    }

    private static byte[] Facs()
    {
        var facs = new byte[FacsBytes];
        "FACS"u8.CopyTo(facs);
        BinaryPrimitives.WriteInt32LittleEndian(facs.AsSpan(LengthField), FacsBytes);
        facs[32] = 1;
        return facs;
    }

    private static byte[] Fadt(AcpiOptions options, int facs, int dsdt)
    {
        const uint wbinvd = 1 << 0, allHaveC1 = 1 << 2, noSleepButton = 1 << 5, rtcNotFixed = 1 << 6, timer32 = 1 << 8, resetRegister = 1 << 10, physicalDestination = 1 << 19;
        var body = new byte[FadtBytes - HeaderBytes];
        var fadt = new Writer(body, HeaderBytes);
        fadt.U32(36, (uint)facs);
        fadt.U32(40, (uint)dsdt);
        fadt.U16(46, SciIrq);
        fadt.U32(48, SmiCommandPort);
        fadt.U8(52, AcpiEnable);
        fadt.U8(53, AcpiDisable);
        fadt.U32(56, options.PmBase);
        fadt.U32(64, options.PmControl);
        fadt.U32(76, options.PmBase + 8u);
        fadt.U32(80, GpePort);
        fadt.U8(88, 4);
        fadt.U8(89, 2);
        fadt.U8(91, 4);
        fadt.U8(92, 4);

        // C2 and C3: latencies that say they are not there.
        fadt.U16(96, 0x0fff);
        fadt.U16(98, 0x0fff);

        // Legacy ISA devices and the keyboard controller.
        fadt.U16(109, (ushort)(options.HasPs2 ? 3 : 1));

        // Logical flat destinations reach eight processors.
        fadt.U32(112, wbinvd | allHaveC1 | noSleepButton | rtcNotFixed | timer32 | resetRegister | (options.MaxCpus > 8 ? physicalDestination : 0));
        fadt.Port(116, ResetPort, 1);
        fadt.U8(128, ResetValue);
        fadt.U32(140, (uint)dsdt);
        fadt.Port(148, options.PmBase, 4);
        fadt.Port(172, options.PmControl, 2);
        fadt.Port(208, (ushort)(options.PmBase + 8), 4);
        fadt.Port(220, GpePort, 4);
        return Table("FACP", 4, body);
    }

    private static byte[] Madt(AcpiOptions options)
    {
        using var body = new MemoryStream();
        Span<byte> head = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(head, LapicAddress);

        // PC-AT compatible: there are 8259s as well.
        BinaryPrimitives.WriteUInt32LittleEndian(head[4..], 1);
        body.Write(head);
        for (var cpu = 0; cpu < Math.Max(options.Cpus, options.MaxCpus); cpu++) body.Write([0, 8, (byte)cpu, (byte)(2 * cpu), (byte)(cpu < options.Cpus ? 1 : 0), 0, 0, 0]);
        Span<byte> ioApic = [1, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32LittleEndian(ioApic[4..], IoApicAddress);
        body.Write(ioApic);
        Override(body, 0, 2, 0);
        Override(body, SciIrq, SciIrq, LevelLow);

        // Every processor's LINT1 is NMI.
        body.Write([4, 6, 0xff, 0, 0, 1]);
        return Table("APIC", 3, body.ToArray());
    }

    /// <summary>An ISA interrupt that is not at the input of its number, or not edge triggered and active high.</summary>
    private static void Override(MemoryStream body, byte irq, byte input, ushort flags) => body.Write([2, 10, 0, irq, input, 0, 0, 0, (byte)flags, (byte)(flags >> 8)]);

    private static byte[] Hpet()
    {
        var body = new byte[56 - HeaderBytes];
        var hpet = new Writer(body, HeaderBytes);
        hpet.U32(36, HpetId);

        // An address in memory, not a port.
        hpet.U8(41, 0);
        hpet.U32(44, HpetAddress);
        hpet.U16(53, 0);
        return Table("HPET", 1, body);
    }

    private static byte[] Pointers(string signature, int bytes, List<int> offsets)
    {
        var body = new byte[bytes * offsets.Count];
        for (var i = 0; i < offsets.Count; i++) BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(bytes * i), offsets[i]);
        return Table(signature, 1, body);
    }

    /// <summary>A table with its header; the checksum is 0.</summary>
    private static byte[] Table(string signature, byte revision, ReadOnlySpan<byte> body)
    {
        var table = new byte[HeaderBytes + body.Length];
        Encoding.ASCII.GetBytes(signature, table);
        BinaryPrimitives.WriteInt32LittleEndian(table.AsSpan(LengthField), table.Length);
        table[8] = revision;
        "XenDM "u8.CopyTo(table.AsSpan(10));
        "XENDMPC "u8.CopyTo(table.AsSpan(16));
        table[24] = 1;
        "XDM "u8.CopyTo(table.AsSpan(28));
        table[32] = 1;
        body.CopyTo(table.AsSpan(HeaderBytes));
        return table;
    }

    /// <summary>Fields by their offset in the table, as the specification lists them.</summary>
    private readonly ref struct Writer(Span<byte> body, int start)
    {
        private readonly Span<byte> _body = body;

        public void U8(int offset, byte value) => _body[offset - start] = value;

        public void U16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_body[(offset - start)..], value);

        public void U32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_body[(offset - start)..], value);

        /// <summary>A generic address: space (1 I/O), bits, bit offset, access size (0: as wide as the register is), address.</summary>
        public void Port(int offset, ushort port, byte bytes)
        {
            U8(offset, 1);
            U8(offset + 1, (byte)(8 * bytes));
            U8(offset + 3, (byte)(bytes == 1 ? 1 : 0));
            U16(offset + 4, port);
        }
    }

    /// <summary>Tables one after the other, with what must be fixed when they have a place.</summary>
    private sealed class TableFile
    {
        private readonly List<byte> _bytes = [];
        private readonly List<(int Offset, int Bytes)> _pointers = [];
        private readonly List<(int Offset, int Length)> _tables = [];

        /// <returns>The table's offset in the file.</returns>
        public int Add(byte[] table, int alignment = TableAlignment, bool hasChecksum = true)
        {
            while (_bytes.Count % alignment != 0) _bytes.Add(0);
            var offset = _bytes.Count;
            _bytes.AddRange(table);
            if (hasChecksum) _tables.Add((offset, table.Length));
            return offset;
        }

        public void AddPointer(int offset, int bytes) => _pointers.Add((offset, bytes));

        public AcpiTableSet Finish(byte[] rsdp)
        {
            var set = new AcpiTableSet(_bytes.ToArray(), rsdp);
            foreach (var (offset, bytes) in _pointers) set.AddPointer(false, offset, bytes);
            set.AddPointer(true, 16, 4);
            set.AddPointer(true, 24, 8);
            foreach (var (offset, length) in _tables) set.AddChecksum(false, offset + ChecksumField, offset, length);
            set.AddChecksum(true, RsdpChecksumField, 0, RsdpOldBytes);
            set.AddChecksum(true, RsdpExtendedChecksumField, 0, RsdpBytes);
            return set;
        }
    }
}
