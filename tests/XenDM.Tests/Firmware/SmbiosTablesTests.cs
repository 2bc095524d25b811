using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using XenDM.Machines.Firmware;

namespace XenDM.Tests.Firmware;

public class SmbiosTablesTests
{
    private static List<(byte Type, byte[] Body, string[] Texts)> Parse(byte[] tables)
    {
        var found = new List<(byte, byte[], string[])>();
        for (var at = 0; at < tables.Length;)
        {
            var body = tables.AsSpan(at, tables[at + 1]).ToArray();
            var texts = at + body.Length;
            var end = texts;
            while (tables[end] != 0 || tables[end + 1] != 0) end++;
            found.Add((body[0], body, end == texts ? [] : Encoding.ASCII.GetString(tables, texts, end - texts).Split('\0')));
            at = end + 2;
        }

        return found;
    }

    [Fact]
    public void TheStructuresAreThoseOfTheEntryPoint()
    {
        var uuid = Guid.Parse("01234567-89ab-cdef-0123-456789abcdef");
        var (anchor, tables) = SmbiosTables.Build(new SmbiosOptions(3, 6ul << 30, 0xc000_0000) { Uuid = uuid, SerialNumber = "S1" }, 0xf1000);
        Assert.Equal(0, anchor.Aggregate(0, static (sum, value) => (sum + value) & 0xff));
        Assert.Equal(0, anchor.Skip(16).Aggregate(0, static (sum, value) => (sum + value) & 0xff));
        Assert.Equal((31, 2, 8, 0x28), (anchor[5], anchor[6], anchor[7], anchor[30]));
        Assert.Equal(tables.Length, BinaryPrimitives.ReadUInt16LittleEndian(anchor.AsSpan(22)));
        Assert.Equal(0xf1000u, BinaryPrimitives.ReadUInt32LittleEndian(anchor.AsSpan(24)));
        var structures = Parse(tables);
        Assert.Equal(structures.Count, BinaryPrimitives.ReadUInt16LittleEndian(anchor.AsSpan(28)));
        Assert.Equal([0, 1, 3, 4, 4, 4, 16, 17, 19, 19, 32, 127], structures.Select(static s => (int)s.Type));
        Assert.Equal(structures.Count, structures.Select(static s => BinaryPrimitives.ReadUInt16LittleEndian(s.Body.AsSpan(2))).Distinct().Count());
        Assert.Equal([24, 27, 22, 42, 42, 42, 23, 40, 31, 31, 11, 4], structures.Select(static s => s.Body.Length));
        var system = structures[1];
        Assert.Equal("67452301AB89EFCD0123456789ABCDEF", Convert.ToHexString(system.Body, 8, 16));
        Assert.Equal(["XenDM", "HVM domU", "0.1.0", "S1"], system.Texts);
        Assert.Equal("CPU 2", structures[5].Texts[0]);
        var upper = structures[9].Body;
        Assert.Equal((0x40_0000u, 0x6f_ffffu), (BinaryPrimitives.ReadUInt32LittleEndian(upper.AsSpan(4)), BinaryPrimitives.ReadUInt32LittleEndian(upper.AsSpan(8))));
    }

    [Fact]
    public void MemoryOfATerabyteIsToldInTheLongFields()
    {
        var (_, tables) = SmbiosTables.Build(new SmbiosOptions(1, 8ul << 40, 0xc000_0000));
        var structures = Parse(tables);
        var array = structures.Single(static s => s.Type == 16).Body;
        Assert.Equal((0x8000_0000u, 8ul << 40), (BinaryPrimitives.ReadUInt32LittleEndian(array.AsSpan(7)), BinaryPrimitives.ReadUInt64LittleEndian(array.AsSpan(15))));
        var module = structures.Single(static s => s.Type == 17).Body;
        Assert.Equal((0x7fff, 8u << 20), (BinaryPrimitives.ReadUInt16LittleEndian(module.AsSpan(12)), BinaryPrimitives.ReadUInt32LittleEndian(module.AsSpan(28))));
        var upper = structures.Last(static s => s.Type == 19).Body;
        Assert.Equal(uint.MaxValue, BinaryPrimitives.ReadUInt32LittleEndian(upper.AsSpan(4)));
        Assert.Equal((1ul << 32, (1ul << 32) + (8ul << 40) - 0xc000_0001), (BinaryPrimitives.ReadUInt64LittleEndian(upper.AsSpan(15)), BinaryPrimitives.ReadUInt64LittleEndian(upper.AsSpan(23))));
    }
}
