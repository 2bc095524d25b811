using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace XenDM.Machines.Firmware;

/// <summary>
/// ACPI tables that do not know yet where they will lie: two files, the places in them that hold pointers (as offsets into the tables) and the
/// checksums that follow. Firmware puts them somewhere by the commands of <see cref="LoaderScript"/>; <see cref="Place"/> does it here.
/// </summary>
internal sealed class AcpiTableSet
{
    public const string TablesFile = "etc/acpi/tables";
    public const string RsdpFile = "etc/acpi/rsdp";

    private const int CommandBytes = 128;
    private const int FileNameBytes = 56;
    private const uint CommandAllocate = 1;
    private const uint CommandAddPointer = 2;
    private const uint CommandAddChecksum = 3;
    private const byte ZoneHigh = 1;
    private const byte ZoneFSegment = 2;
    private const uint TablesAlignment = 64;
    private const uint RsdpAlignment = 16;

    private readonly List<Pointer> _pointers = [];
    private readonly List<Checksum> _checksums = [];

    private readonly record struct Pointer(bool InRsdp, int Offset, int Bytes);

    private readonly record struct Checksum(bool InRsdp, int Offset, int Start, int Length);

    /// <param name="tables">All tables but the RSDP, with zeroes for checksums.</param>
    public AcpiTableSet(byte[] tables, byte[] rsdp)
    {
        Tables = tables;
        Rsdp = rsdp;
    }

    public byte[] Tables { get; }

    public byte[] Rsdp { get; }

    /// <summary>A pointer to a table: its place holds the table's offset.</summary>
    /// <param name="bytes">4 or 8.</param>
    public void AddPointer(bool inRsdp, int offset, int bytes) => _pointers.Add(new Pointer(inRsdp, offset, bytes));

    /// <summary>A byte that makes the sum of a range 0. In the order in which they are added.</summary>
    public void AddChecksum(bool inRsdp, int offset, int start, int length) => _checksums.Add(new Checksum(inRsdp, offset, start, length));

    /// <summary><c>etc/table-loader</c>: the commands of QEMU's BIOS linker/loader (hw/acpi/bios-linker-loader.c).</summary>
    public byte[] LoaderScript()
    {
        using var script = new MemoryStream();
        Allocate(script, TablesFile, TablesAlignment, ZoneHigh);
        Allocate(script, RsdpFile, RsdpAlignment, ZoneFSegment);
        foreach (var pointer in _pointers)
        {
            var command = Command(CommandAddPointer);
            PutName(command.AsSpan(4), FileOf(pointer.InRsdp));
            PutName(command.AsSpan(4 + FileNameBytes), TablesFile);
            BinaryPrimitives.WriteInt32LittleEndian(command.AsSpan(4 + (2 * FileNameBytes)), pointer.Offset);
            command[8 + (2 * FileNameBytes)] = (byte)pointer.Bytes;
            script.Write(command);
        }

        foreach (var checksum in _checksums)
        {
            var command = Command(CommandAddChecksum);
            PutName(command.AsSpan(4), FileOf(checksum.InRsdp));
            BinaryPrimitives.WriteInt32LittleEndian(command.AsSpan(4 + FileNameBytes), checksum.Offset);
            BinaryPrimitives.WriteInt32LittleEndian(command.AsSpan(8 + FileNameBytes), checksum.Start);
            BinaryPrimitives.WriteInt32LittleEndian(command.AsSpan(12 + FileNameBytes), checksum.Length);
            script.Write(command);
        }

        return script.ToArray();
    }

    /// <summary>The files as they are to be copied into guest memory when no firmware does it.</summary>
    /// <param name="address">Where the tables go: a multiple of 64 below 4 GiB. The RSDP belongs at a multiple of 16 between 0xe0000 and 0xfffff.</param>
    public (byte[] Tables, byte[] Rsdp) Place(uint address)
    {
        if (address % TablesAlignment != 0 || address > uint.MaxValue - Tables.Length) throw new ArgumentOutOfRangeException(nameof(address));
        var files = (Tables: (byte[])Tables.Clone(), Rsdp: (byte[])Rsdp.Clone());
        foreach (var pointer in _pointers)
        {
            var place = (pointer.InRsdp ? files.Rsdp : files.Tables).AsSpan(pointer.Offset, pointer.Bytes);
            BinaryPrimitives.WriteUInt32LittleEndian(place, BinaryPrimitives.ReadUInt32LittleEndian(place) + address);
        }

        foreach (var checksum in _checksums)
        {
            var file = checksum.InRsdp ? files.Rsdp : files.Tables;
            byte sum = 0;
            foreach (var value in file.AsSpan(checksum.Start, checksum.Length)) sum += value;
            file[checksum.Offset] -= sum;
        }

        return files;
    }

    private static void Allocate(MemoryStream script, string file, uint alignment, byte zone)
    {
        var command = Command(CommandAllocate);
        PutName(command.AsSpan(4), file);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(4 + FileNameBytes), alignment);
        command[8 + FileNameBytes] = zone;
        script.Write(command);
    }

    private static byte[] Command(uint number)
    {
        var command = new byte[CommandBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(command, number);
        return command;
    }

    private static string FileOf(bool inRsdp) => inRsdp ? RsdpFile : TablesFile;

    private static void PutName(Span<byte> field, string name) => Encoding.ASCII.GetBytes(name, field);
}
