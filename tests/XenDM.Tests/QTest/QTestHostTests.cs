using System;
using System.Buffers.Binary;
using System.IO;
using System.Text;

namespace XenDM.Tests.QTest;

/// <summary>The board as an external test program drives it: a process of its own, over sockets.</summary>
public sealed class QTestHostTests : IDisposable
{
    private const int SectorBytes = 512;
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void StartsConnectsAndEndsWithStatusZero()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults");
        Assert.Equal("running", board.Execute("query-status").GetProperty("status").GetString());
        Assert.True(board.Greeting.TryGetProperty("QMP", out _));
        Assert.Equal(0, board.Terminate());
    }

    [Fact]
    public void TheMonitorEndsItToo()
    {
        using var board = new QTestProcess("-S");
        Assert.Equal("prelaunch", board.Execute("query-status").GetProperty("status").GetString());
        board.Execute("quit");
        Assert.Equal(0, board.Status());
    }

    [Fact]
    public void WithoutAMachineNobodyAnswers()
    {
        using var board = new QTestProcess("-machine", "none");
        Assert.Equal(0xffu, board.In('b', 0x60));
        Assert.Equal(0, board.Terminate());
    }

    /// <summary>The adapter's framebuffer is where its BAR says, and its text window at a0000.</summary>
    [Fact]
    public void ADisplayAdapterShowsItsMemory()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults", "-device", "VGA,vgamem_mb=4");
        Assert.Equal(0x1111_1234u, board.Config('l', 2, 0, 0));
        board.SetConfig('l', 2, 0, 0x10, 0xe000_0000);
        board.SetConfig('w', 2, 0, 4, 3);
        board.Write(0xe03f_fffc, [1, 2, 3, 4]);
        Assert.Equal([1, 2, 3, 4], board.Read(0xe03f_fffc, 4));
        board.Out('w', 0x1ce, 0);
        Assert.Equal(0xb0c5u, board.In('w', 0x1d0));
    }

    [Fact]
    public void PciFunctionsAreFoundAndTheirBarsSized()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults");
        Assert.Equal(0x12378086u, board.Config('l', 0, 0, 0));
        Assert.Equal(0x1237u, board.Config('w', 0, 0, 2));
        Assert.Equal(0x70108086u, board.Config('l', 1, 1, 0));
        Assert.Equal(0x71138086u, board.Config('l', 1, 3, 0));
        Assert.Equal(0xffffu, board.Config('w', 9, 0, 0));
        board.SetConfig('l', 1, 1, 0x20, 0xffff_ffff);
        Assert.Equal(0xfff1u, board.Config('l', 1, 1, 0x20) & 0xffff);
        board.SetConfig('l', 1, 1, 0x20, 0xc000);
        board.SetConfig('w', 1, 1, 4, 7);
        Assert.Equal(5u, board.Config('w', 1, 1, 4) & 5);
        Assert.Equal(0x00u, board.In('b', 0xc000));
        Assert.NotEqual(0xffu, board.In('b', 0xc002));
    }

    [Fact]
    public void ADiskIdentifiesItselfAndReadsByDmaWithAnInterrupt()
    {
        var content = new byte[64 * SectorBytes];
        new Random(7).NextBytes(content);
        using var board = new QTestProcess("-machine", "pc", "-drive", $"file={Image(content)},if=ide,format=raw", "-global", "ide-hd.serial=testdisk", "-global", "ide-hd.ver=version");
        board.Ask("irq_intercept_in ioapic");
        board.Out('b', 0x3f6, 0);
        board.Out('b', 0x1f6, 0xa0);
        board.Out('b', 0x1f7, 0xec);
        while ((board.In('b', 0x1f7) & 0x88) != 0x08)
        {
        }

        var identity = new byte[SectorBytes];
        for (var i = 0; i < SectorBytes; i += 2) BinaryPrimitives.WriteUInt16BigEndian(identity.AsSpan(i), (ushort)board.In('w', 0x1f0));
        Assert.Equal("testdisk", Encoding.ASCII.GetString(identity, 20, 20).Trim());
        Assert.Equal("version", Encoding.ASCII.GetString(identity, 46, 8).Trim());
        board.In('b', 0x1f7);
        Assert.False(board.Interrupts[14]);

        board.SetConfig('l', 1, 1, 0x20, 0xc000);
        board.SetConfig('w', 1, 1, 4, 5);
        const uint table = 0x10_0000, buffer = 0x11_0000;
        var entry = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(entry, buffer);
        BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(4), 0x8000_0000 | (2 * SectorBytes));
        board.Write(table, entry);
        board.Out('b', 0xc000, 0);
        board.Out('b', 0xc002, 6);
        board.Out('l', 0xc004, table);
        board.Out('b', 0x1f2, 2);
        board.Out('b', 0x1f3, 3);
        board.Out('b', 0x1f4, 0);
        board.Out('b', 0x1f5, 0);
        board.Out('b', 0x1f6, 0xe0);
        board.Out('b', 0x1f7, 0xc8);
        board.Out('b', 0xc000, 9);
        while ((board.In('b', 0xc002) & 5) != 4)
        {
        }

        Assert.True(board.Interrupts[14]);
        Assert.Equal(content.AsSpan(3 * SectorBytes, 2 * SectorBytes).ToArray(), board.Read(buffer, 2 * SectorBytes));
        board.In('b', 0x1f7);
        board.In('b', 0x1f7);
        Assert.False(board.Interrupts[14]);
        Assert.Equal(0, board.Terminate());
    }

    [Fact]
    public void TimePassesOnlyWhenItIsTold()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults", "-rtc", "clock=vm");
        board.Ask("irq_intercept_in ioapic");
        Assert.Equal("0", board.Ask("clock_step 0"));
        Rtc(0x0b, (byte)(Rtc(0x0b) | 0x10));
        var before = Rtc(0);
        Assert.Equal("1000000000", board.Ask("clock_step 1000000000"));
        Assert.True(board.Interrupts[8]);
        Assert.NotEqual(before, Rtc(0));
        Assert.Equal(0x90, Rtc(0x0c) & 0x90);
        board.In('b', 0x80);
        Assert.False(board.Interrupts[8]);
        Assert.Equal("1000000000", board.Ask("clock_set 5"));
        Assert.Equal("4000000000", board.Ask("clock_set 4000000000"));

        byte Rtc(int cell, byte? value = null)
        {
            board.Out('b', 0x70, (uint)cell);
            if (value is { } given) board.Out('b', 0x71, given);
            return (byte)board.In('b', 0x71);
        }
    }

    [Fact]
    public void ResetByTheMonitorAndByAPort()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults", "-boot", "once=d,order=nc");
        Assert.Equal(0x03u, BootOrder());
        board.SetConfig('b', 1, 1, 4, 5);
        board.Execute("system_reset");
        Assert.False(board.WaitForEvent("RESET").GetProperty("data").GetProperty("guest").GetBoolean());
        Assert.Equal(0x24u, BootOrder());
        Assert.Equal(0u, board.Config('w', 1, 1, 4));
        board.Out('b', 0xcf9, 6);
        Assert.True(board.WaitForEvent("RESET").GetProperty("data").GetProperty("guest").GetBoolean());

        uint BootOrder()
        {
            board.Out('b', 0x70, 0x3d);
            return board.In('b', 0x71);
        }
    }

    [Fact]
    public void FirmwareIsAtItsTwoPlacesAndShadowRamBehindIt()
    {
        var image = new byte[0x1_0000];
        for (var i = 0; i < image.Length; i++) image[i] = (byte)(i * 7);
        using var board = new QTestProcess("-machine", "pc", "-bios", Image(image));
        Assert.Equal(image, board.Read(0xffff_0000, image.Length));
        Assert.Equal(image, board.Read(0xf_0000, image.Length));
        board.Write(0xf_0000, [1, 2, 3, 4]);
        Assert.Equal(image[..4], board.Read(0xf_0000, 4));
        board.SetConfig('b', 0, 0, 0x59, 0x30);
        board.Write(0xf_0000, [1, 2, 3, 4]);
        Assert.Equal([1, 2, 3, 4], board.Read(0xf_0000, 4));
        board.SetConfig('b', 0, 0, 0x59, 0);
        Assert.Equal(image[..4], board.Read(0xf_0000, 4));
    }

    [Theory]
    [InlineData("-machine q35", "q35")]
    [InlineData("-drive file=/missing.img,if=ide", "/missing.img")]
    [InlineData("-bios /missing.bin", "/missing.bin")]
    [InlineData("-device nonsense", "nonsense")]
    public void MistakesEndWithStatusOne(string arguments, string named)
    {
        using var process = ProcessTests.Start([.. arguments.Split(' '), "-accel", "qtest"]);
        var errors = process.StandardError.ReadToEnd();
        Assert.True(process.WaitForExit(30_000));
        Assert.Equal(1, process.ExitCode);
        Assert.Contains(named, errors, StringComparison.Ordinal);
    }

    private string Image(byte[] content)
    {
        var path = Path.Combine(_folder, "image");
        File.WriteAllBytes(path, content);
        return path;
    }
}
