using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using XenDM.Devices.Firmware;

namespace XenDM.Devices.Tests.Firmware;

public sealed class MultibootImageTests
{
    private const ulong Memory = 64 << 20;
    private const uint Magic = 0x1badb002;

    private static void Put32(byte[] file, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(at), value);

    private static uint Get32(byte[] bytes, uint at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan((int)at));

    private static void PutHeader(byte[] file, int at, uint flags)
    {
        Put32(file, at, Magic);
        Put32(file, at + 4, flags);
        Put32(file, at + 8, unchecked(0u - Magic - flags));
    }

    /// <summary>An ELF file for i386 with two segments, the second with memory that is not in the file.</summary>
    private static byte[] Elf32(uint flags = 3)
    {
        var file = new byte[0x3000];
        for (var i = 0x200; i < file.Length; i++) file[i] = (byte)(i * 7);
        "\u007fELF"u8.CopyTo(file);
        file[4] = 1;
        file[5] = 1;
        file[18] = 3;
        Put32(file, 24, 0x101010);
        Put32(file, 28, 52);
        file[42] = 32;
        file[44] = 3;
        Segment(file, 0, 1, 0x1000, 0x101000, 0x101000, 0x800, 0x800);
        Segment(file, 1, 4, 0, 0, 0, 0x10, 0x10);
        Segment(file, 2, 1, 0x2000, 0x103000, 0x103000, 0x400, 0x9000);
        PutHeader(file, 0x1000, flags);
        return file;
    }

    private static void Segment(byte[] file, int index, uint type, uint offset, uint linear, uint address, uint length, uint room)
    {
        var at = 52 + (index * 32);
        uint[] words = [type, offset, linear, address, length, room];
        for (var i = 0; i < words.Length; i++) Put32(file, at + (4 * i), words[i]);
    }

    private static byte[] Elf64(ulong entry = 0x100020)
    {
        var file = new byte[0x1000];
        "\u007fELF"u8.CopyTo(file);
        file[4] = 2;
        file[5] = 1;
        file[18] = 62;
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(24), entry);
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(32), 64);
        file[54] = 56;
        file[56] = 1;
        Put32(file, 64, 1);
        ulong[] words = [0x200, 0xffffffff80000000, 0x100000, 0x600, 0x2000];
        for (var i = 0; i < words.Length; i++) BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(64 + 8 + (8 * i)), words[i]);
        PutHeader(file, 0x200, 3);
        return file;
    }

    /// <summary>A file without a format, its header 0x40 bytes in.</summary>
    private static byte[] Flat(uint header = 0x200040, uint load = 0x200010, uint loadEnd = 0, uint zeroEnd = 0, uint entry = 0x200080)
    {
        var file = new byte[0x400];
        for (var i = 0; i < file.Length; i++) file[i] = (byte)(i ^ 0x55);
        PutHeader(file, 0x40, 1 << 16);
        uint[] words = [header, load, loadEnd, zeroEnd, entry];
        for (var i = 0; i < words.Length; i++) Put32(file, 0x4c + (4 * i), words[i]);
        return file;
    }

    private static MultibootImage Create(byte[] file, string line = "", ulong memory = Memory, params MultibootModule[] modules) =>
        MultibootImage.Create(file.AsSpan(0, Math.Min(file.Length, MultibootImage.HeadBytes)), file.Length, "kernel", line, modules, memory);

    private static string Error(byte[] file, ulong memory = Memory, params MultibootModule[] modules) => Assert.Throws<MultibootException>(() => Create(file, "", memory, modules)).Message;

    private static FwCfgReader Reader(byte[] file) => (offset, destination) =>
    {
        if (offset < 0 || offset + destination.Length > file.Length) return false;
        file.AsSpan((int)offset, destination.Length).CopyTo(destination);
        return true;
    };

    private static byte[] Loaded(MultibootImage image, byte[] file)
    {
        var memory = new byte[image.End - image.Start];
        Assert.True(image.ReadMemory(Reader(file), image.Start, memory));
        return memory;
    }

    [Fact]
    public void Elf_SegmentsLieInMemoryWithZerosBetween()
    {
        var file = Elf32();
        var image = Create(file);
        Assert.Equal((0x101000u, 0x10c000u, 0x101010u), (image.Start, image.End, image.Entry));
        var memory = Loaded(image, file);
        Assert.Equal(file[0x1000..0x1800], memory[..0x800]);
        Assert.All(memory[0x800..0x2000], static b => Assert.Equal(0, b));
        Assert.Equal(file[0x2000..0x2400], memory[0x2000..0x2400]);
        Assert.All(memory[0x2400..], static b => Assert.Equal(0, b));
    }

    [Fact]
    public void Elf_PartsOfMemory_AreTheSameAsTheWhole()
    {
        var file = Elf32();
        var image = Create(file);
        var whole = Loaded(image, file);
        for (var at = 0; at < whole.Length; at += 0x333)
        {
            var part = new byte[Math.Min(0x777, whole.Length - at)];
            Assert.True(image.ReadMemory(Reader(file), image.Start + (ulong)at, part));
            Assert.Equal(whole[at..(at + part.Length)], part);
        }
    }

    [Fact]
    public void Elf64_IsEnteredAtThePhysicalAddress()
    {
        Assert.Equal(0x100020u, Create(Elf64()).Entry);
        Assert.Equal(0x100030u, Create(Elf64(0xffffffff80000030)).Entry);
        Assert.Equal(0x102000u, Create(Elf64()).End);
    }

    [Fact]
    public void Addresses_OfTheHeaderRule()
    {
        var file = Flat(zeroEnd: 0x201000);
        var image = Create(file);
        Assert.Equal((0x200010u, 0x201000u, 0x200080u), (image.Start, image.End, image.Entry));
        Assert.Equal(file[0x10..], Loaded(image, file)[..0x3f0]);
        Assert.Equal(0x200100u, Create(Flat(loadEnd: 0x200100)).End);
    }

    [Fact]
    public void LowMemory_CanBeLoaded()
    {
        var image = Create(Flat(header: 0x8040, load: 0x8010, entry: 0x8080), "", Memory, new MultibootModule(10, "m"));
        Assert.Equal((0x8010u, 0x8400u, 0x8080u), (image.Start, image.End, image.Entry));
        Assert.Equal(0x100000u, image.Modules[0].Start);
    }

    [Fact]
    public void Information_HasCommandLineModulesAndRoomForTheMap()
    {
        var image = Create(Elf32(), "a=1 b", Memory, new MultibootModule(5000, "one x"), new MultibootModule(3, "two"));
        var info = image.Info;
        Assert.Equal(0x24du, Get32(info, 0));
        Assert.Equal("kernel a=1 b", Text(info, Get32(info, 16)));
        Assert.Equal("XenDM", Text(info, Get32(info, 64)));
        Assert.Equal(2u, Get32(info, 20));
        var list = Get32(info, 24) - MultibootImage.InfoAddress;
        Assert.Equal((0x10c000u, 0x10c000u + 5000), (Get32(info, list), Get32(info, list + 4)));
        Assert.Equal("one x", Text(info, Get32(info, list + 8)));
        Assert.Equal((0x10e000u, 0x10e003u), (Get32(info, list + 16), Get32(info, list + 20)));
        Assert.Equal("two", Text(info, Get32(info, list + 24)));
        Assert.True(Get32(info, 44) >= 32 * 24);
        Assert.True(Get32(info, 48) - MultibootImage.InfoAddress + Get32(info, 44) <= info.Length);
        var data = new byte[0x2003];
        Assert.True(image.ReadModules(0, data, static (module, offset, part) =>
        {
            for (var i = 0; i < part.Length; i++) part[i] = (byte)(module + 1 + (int)(offset + i));
            return true;
        }));
        Assert.Equal([1, 2, 3], data[..3]);
        Assert.Equal(0, data[5000]);
        Assert.Equal([2, 3, 4], data[0x2000..]);

        static string Text(byte[] info, uint address) => Encoding.UTF8.GetString(info.AsSpan((int)(address - MultibootImage.InfoAddress)).ToArray().TakeWhile(static b => b != 0).ToArray());
    }

    [Fact]
    public void ModuleList_SplitsAtCommas()
    {
        Assert.Empty(MultibootImage.ModuleList(null));
        Assert.Equal([("a", "a x y"), ("b,c", "b,c")], MultibootImage.ModuleList("a x y,b,,c"));
    }

    [Fact]
    public void Errors_SayWhatIsWrong()
    {
        Assert.False(MultibootImage.IsMultiboot([]));
        Assert.False(MultibootImage.IsMultiboot(new byte[5000]));
        Assert.Contains("no Multiboot", Error(new byte[5000]), StringComparison.Ordinal);
        Assert.Contains("features", Error(Elf32(0x13)), StringComparison.Ordinal);
        Assert.Contains("neither an ELF", Error(Change(Elf32(), static f => f[1] = 0)), StringComparison.Ordinal);
        Assert.Contains("another machine", Error(Change(Elf32(), static f => f[18] = 40)), StringComparison.Ordinal);
        Assert.Contains("below 1 MiB", Error(Change(Elf32(), static f => Segment(f, 0, 1, 0x1000, 0x1000, 0x1000, 0x800, 0x800))), StringComparison.Ordinal);
        Assert.Contains("below 1 MiB", Error(Change(Elf32(), static f => Segment(f, 0, 1, 0x1000, 0x8000, 0x8000, 0x800, 0x800))), StringComparison.Ordinal);
        Assert.Contains("entry point", Error(Change(Elf32(), static f => Put32(f, 24, 0x500000))), StringComparison.Ordinal);
        Assert.Contains("more bytes in the file", Error(Change(Elf32(), static f => Segment(f, 0, 1, 0x1000, 0x101000, 0x101000, 0x801, 0x800))), StringComparison.Ordinal);
        Assert.Contains("cut off", Error(Elf32()[..0x2200]), StringComparison.Ordinal);
        Assert.Contains("below 4 GiB", Error(Change(Elf32(), static f => Segment(f, 0, 1, 0x1000, 0xfffff000, 0xfffff000, 0x10, 0x2000))), StringComparison.Ordinal);
        Assert.Contains("program headers", Error(Change(Elf32(), static f => Put32(f, 28, 0xffffffff))), StringComparison.Ordinal);
        Assert.Contains("program headers", Error(Change(Elf32(), static f => f[42] = 8)), StringComparison.Ordinal);
        Assert.Contains("nothing to load", Error(Change(Elf32(), static f => f[44] = 0)), StringComparison.Ordinal);
        Assert.Contains("the guest has 2", Error(Elf32(), 2 << 20), StringComparison.Ordinal);
        Assert.Contains("'big'", Error(Elf32(), Memory, new MultibootModule((long)Memory, "big")), StringComparison.Ordinal);
        Assert.Contains("load address", Error(Flat(load: 0x200050)), StringComparison.Ordinal);
        Assert.Contains("load address", Error(Flat(load: 0x100000)), StringComparison.Ordinal);
        Assert.Contains("end of load", Error(Flat(loadEnd: 0x210000)), StringComparison.Ordinal);
        Assert.Contains("end of load", Error(Flat(loadEnd: 0x200000)), StringComparison.Ordinal);
        Assert.Contains("zeroed memory", Error(Flat(zeroEnd: 0x200020)), StringComparison.Ordinal);
        Assert.Contains("cut off", Error(Flat()[..0x58]), StringComparison.Ordinal);
        Assert.Contains("take", Assert.Throws<MultibootException>(static () => Create(Elf32(), new string('x', 40000))).Message, StringComparison.Ordinal);

        static byte[] Change(byte[] file, Action<byte[]> change)
        {
            change(file);
            return file;
        }
    }

    [Fact]
    public void DamagedFiles_AreRefusedOrLoadWithinTheFile()
    {
        var random = new Random(7);
        var good = new List<byte[]> { Elf32(), Elf64(), Flat() };
        for (var round = 0; round < 30_000; round++)
        {
            var file = (byte[])good[round % good.Count].Clone();
            for (var n = random.Next(1, 5); n > 0; n--) file[random.Next(0, 0x100)] = (byte)random.Next(256);
            if (random.Next(4) == 0) file = file[..random.Next(file.Length)];
            MultibootImage image;
            try
            {
                image = Create(file);
            }
            catch (MultibootException)
            {
                continue;
            }

            Assert.True(image.End > image.Start && image.End <= Memory);
            Assert.InRange(image.Entry, image.Start, image.End - 1);
            Loaded(image, file);
        }
    }
}
