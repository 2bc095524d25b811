using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using XenDM.Machines.Firmware;

namespace XenDM.Tests.Firmware;

public class AcpiTablesTests
{
    private const uint Base = 0x1f_0000;

    internal static AcpiOptions Options(int cpus = 4) => new(cpus, cpus, 512 << 20) { SerialPorts = 15 };

    /// <summary>The tables of a placed set by signature, each with a right checksum.</summary>
    internal static Dictionary<string, byte[]> Parse(byte[] tables, byte[] rsdp, uint address)
    {
        Assert.Equal("RSD PTR ", Encoding.ASCII.GetString(rsdp, 0, 8));
        Assert.Equal(0, Sum(rsdp.AsSpan(0, 20)));
        Assert.Equal(0, Sum(rsdp));
        var found = new Dictionary<string, byte[]>();
        var rsdt = Take(BinaryPrimitives.ReadUInt32LittleEndian(rsdp.AsSpan(16)));
        var xsdt = Take(BinaryPrimitives.ReadUInt64LittleEndian(rsdp.AsSpan(24)));
        Assert.Equal((rsdt.Length - 36) / 4, (xsdt.Length - 36) / 8);
        for (var i = 0; i < (rsdt.Length - 36) / 4; i++)
        {
            var pointer = BinaryPrimitives.ReadUInt32LittleEndian(rsdt.AsSpan(36 + (4 * i)));
            Assert.Equal(pointer, BinaryPrimitives.ReadUInt64LittleEndian(xsdt.AsSpan(36 + (8 * i))));
            Take(pointer);
        }

        var fadt = found["FACP"];
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(36)) % 64);
        Take(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(36)));
        Assert.Equal(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(40)), BinaryPrimitives.ReadUInt64LittleEndian(fadt.AsSpan(140)));
        Take(BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(40)));
        return found;

        byte[] Take(ulong pointer)
        {
            var offset = (int)(pointer - address);
            var table = tables.AsSpan(offset, BinaryPrimitives.ReadInt32LittleEndian(tables.AsSpan(offset + 4))).ToArray();
            var signature = Encoding.ASCII.GetString(table, 0, 4);
            if (signature != "FACS") Assert.Equal(0, Sum(table));
            found.Add(signature, table);
            return table;
        }
    }

    private static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var value in bytes) sum += value;
        return sum;
    }

    internal static Dictionary<string, byte[]> Placed(AcpiOptions options)
    {
        var (tables, rsdp) = AcpiTables.Build(options).Place(Base);
        return Parse(tables, rsdp, Base);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(128)]
    public void PlacedTablesAreWhole(int cpus)
    {
        var tables = Placed(Options(cpus));
        Assert.Equal(["APIC", "DSDT", "FACP", "FACS", "HPET", "RSDT", "XSDT"], tables.Keys.Order());
        var madt = tables["APIC"];
        var ids = new List<int>();
        for (var i = 44; i < madt.Length; i += madt[i + 1])
            if (madt[i] == 0) ids.Add(madt[i + 3]);
        Assert.Equal(Enumerable.Range(0, cpus).Select(static cpu => 2 * cpu), ids);
    }

    [Fact]
    public void TheFadtNamesThePortsOfTheChips()
    {
        var fadt = Placed(Options() with { PmControl = AcpiOptions.SeaBiosPmControl })["FACP"];
        uint At(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(fadt.AsSpan(offset));
        Assert.Equal((0xb000u, 0x604u, 0xb008u, 0xafe0u, 0xb2u), (At(56), At(64), At(76), At(80), At(48)));
        Assert.Equal((0xb000u, 0x604u, 0xb008u, 0xafe0u, 0xcf9u), (At(152), At(176), At(212), At(224), At(120)));
        Assert.Equal((4, 2, 4, 4, 6), (fadt[88], fadt[89], fadt[91], fadt[92], fadt[128]));
        Assert.Equal(9, fadt[46]);
    }

    [Fact]
    public void CpusThatAreNotThereYetAreDisabled()
    {
        var madt = Placed(new AcpiOptions(2, 5, 1 << 29))["APIC"];
        var flags = new List<int>();
        for (var i = 44; i < madt.Length; i += madt[i + 1])
            if (madt[i] == 0) flags.Add(madt[i + 4]);
        Assert.Equal([1, 1, 0, 0, 0], flags);
    }

    /// <summary>Firmware that follows the commands ends with the same bytes.</summary>
    [Fact]
    public void TheLoaderScriptDoesWhatPlacingDoes()
    {
        var set = AcpiTables.Build(Options());
        var files = new Dictionary<string, byte[]> { [AcpiTableSet.TablesFile] = (byte[])set.Tables.Clone(), [AcpiTableSet.RsdpFile] = (byte[])set.Rsdp.Clone() };
        var script = set.LoaderScript();
        Assert.Equal(0, script.Length % 128);
        var allocated = new HashSet<string>();
        for (var i = 0; i < script.Length; i += 128)
        {
            var command = script.AsSpan(i, 128);
            var name = NameAt(command[4..]);
            switch (BinaryPrimitives.ReadInt32LittleEndian(command))
            {
                case 1:
                    allocated.Add(name);
                    break;
                case 2:
                    Assert.Equal(AcpiTableSet.TablesFile, NameAt(command[60..]));
                    Assert.Contains(name, allocated);
                    var pointer = files[name].AsSpan(BinaryPrimitives.ReadInt32LittleEndian(command[116..]), command[120]);
                    if (command[120] == 4) BinaryPrimitives.WriteUInt32LittleEndian(pointer, BinaryPrimitives.ReadUInt32LittleEndian(pointer) + Base);
                    else BinaryPrimitives.WriteUInt64LittleEndian(pointer, BinaryPrimitives.ReadUInt64LittleEndian(pointer) + Base);
                    break;
                case 3:
                    var start = BinaryPrimitives.ReadInt32LittleEndian(command[64..]);
                    files[name][BinaryPrimitives.ReadInt32LittleEndian(command[60..])] -= Sum(files[name].AsSpan(start, BinaryPrimitives.ReadInt32LittleEndian(command[68..])));
                    break;
                default:
                    Assert.Fail("unknown command");
                    break;
            }
        }

        var (tables, rsdp) = set.Place(Base);
        Assert.Equal(tables, files[AcpiTableSet.TablesFile]);
        Assert.Equal(rsdp, files[AcpiTableSet.RsdpFile]);
    }

    [Fact]
    public void PlacesAreChecked()
    {
        var set = AcpiTables.Build(Options());
        Assert.Throws<ArgumentOutOfRangeException>(() => set.Place(8));
        Assert.Throws<ArgumentOutOfRangeException>(() => set.Place(0xffff_ffc0));
        Assert.Throws<ArgumentOutOfRangeException>(() => AcpiTables.Build(new AcpiOptions(0, 0, 1 << 29)));
        Assert.Throws<ArgumentOutOfRangeException>(() => AcpiTables.Build(new AcpiOptions(1, 129, 1 << 29)));
    }

    private static string NameAt(ReadOnlySpan<byte> field) => Encoding.ASCII.GetString(field[..field.IndexOf((byte)0)]);
}
