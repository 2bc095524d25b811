using System;
using XenDM.Core.Io;
using XenDM.Core.State;

namespace XenDM.Devices.Tests.Display;

/// <summary>Blits of all kinds beside <see cref="BlitReference"/>; video memory must be the same to the last byte.</summary>
public class CirrusBlitterTests
{
    private readonly CirrusBoard _vga = new();
    private readonly byte[] _expected = new byte[4 << 20];
    private readonly BlitReference _reference;
    private readonly Random _random = new(7);

    public CirrusBlitterTests()
    {
        _random.NextBytes(_expected);
        _expected.CopyTo(_vga.Vram);
        _reference = new BlitReference(_expected);
        _vga.Mode(640, 480, 8, 640);
    }

    public static TheoryData<int> Operations
    {
        get
        {
            var data = new TheoryData<int>();
            foreach (var code in BlitReference.Operations.Keys) data.Add(code);
            data.Add(0x42);
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void CopiesInBothDirections(int operation)
    {
        for (var bytes = 1; bytes <= 4; bytes++)
        {
            foreach (var distance in (int[])[0, 1, 5, 31, 33, 1000, 640 * 3, 900_000])
            {
                var forward = new Blit { Width = 37 * bytes, Height = 9, DestinationPitch = 640, SourcePitch = 640, Operation = operation, Mode = Blit.Depth(bytes) };
                Check(forward with { Source = 20_000, Destination = 20_000 + distance });
                Check(forward with { Source = 20_000 + distance, Destination = 20_000 });
                Check(forward with { Source = 40_000, Destination = 40_000 + distance, Mode = forward.Mode | Blit.Backwards });
                Check(forward with { Source = 40_000 + distance, Destination = 40_000, Mode = forward.Mode | Blit.Backwards });
            }
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void FillsWithColoursAndPatterns(int operation)
    {
        for (var bytes = 1; bytes <= 4; bytes++)
        {
            for (var row = 0; row < 8; row++)
            {
                var fill = new Blit
                {
                    Width = (row + 1) * 13 * bytes,
                    Height = 21,
                    DestinationPitch = 1280,
                    Destination = 5000 + row,
                    Source = 0x1_0000 + (256 * row) + row,
                    Operation = operation,
                    Foreground = 0x8765_4321,
                    Background = 0x1234_5678,
                    Clip = row == 3 ? 0 : bytes == 3 ? 3 * row : row,
                    Mode = Blit.Pattern | Blit.Depth(bytes),
                };
                Check(fill);
                Check(fill with { Mode = fill.Mode | Blit.Expand });
                Check(fill with { Mode = fill.Mode | Blit.Expand | Blit.Transparent });
                Check(fill with { Mode = fill.Mode | Blit.Expand | Blit.Transparent, Extension = Blit.Invert });
                Check(fill with { Mode = fill.Mode | Blit.Expand, Extension = Blit.Solid });
            }
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void MakesPixelsOfBits(int operation)
    {
        for (var bytes = 1; bytes <= 4; bytes++)
        {
            foreach (var pixels in (int[])[1, 7, 8, 9, 31, 32, 33, 100])
            {
                var blit = new Blit
                {
                    Width = pixels * bytes,
                    Height = 5,
                    DestinationPitch = 800,
                    Destination = 70_000,
                    Source = 300_001,
                    Operation = operation,
                    Foreground = 0xfedc_ba98,
                    Background = 0x0011_2233,
                    Mode = Blit.Expand | Blit.Depth(bytes),
                    Clip = bytes == 3 ? 3 * (pixels % 8) : pixels % 8,
                };
                foreach (var extension in (int[])[0, Blit.Dwords, Blit.Invert, Blit.Invert | Blit.Dwords])
                {
                    Check(blit with { Extension = extension });
                    Check(blit with { Extension = extension, Mode = blit.Mode | Blit.Transparent });
                    Check(blit with { Extension = extension, Mode = blit.Mode | Blit.FromSystem });
                    Check(blit with { Extension = extension, Mode = blit.Mode | Blit.FromSystem | Blit.Transparent });
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void LeavesOutTheTransparentColour(int operation)
    {
        for (var i = 0; i < 4000; i++) _vga.Vram[100_000 + i] = _expected[100_000 + i] = (byte)(i % 3);
        for (var bytes = 1; bytes <= 2; bytes++)
        {
            var blit = new Blit { Width = 51, Height = 6, DestinationPitch = 300, SourcePitch = 200, Source = 100_000, Destination = 110_000, Operation = operation, Key = 0x0201, Mode = Blit.Transparent | Blit.Depth(bytes) };
            Check(blit);
            Check(blit with { Key = 0x0002, KeyMask = 0xff02 });
            Check(blit with { Mode = blit.Mode | Blit.FromSystem });
            Check(blit with { Mode = blit.Mode | Blit.FromSystem | Blit.Backwards });
            Check(blit with { Mode = blit.Mode | Blit.Pattern, Clip = 2 });
            Check(blit with { Mode = blit.Mode | Blit.Backwards, Source = 103_000, Destination = 113_000 });
            Check(blit with { Destination = 100_001 });
            Check(blit with { Destination = 100_005, Source = 100_000 + 3, Mode = blit.Mode | Blit.Backwards });
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void TakesItsSourceFromTheCpu(int operation)
    {
        for (var bytes = 1; bytes <= 4; bytes++)
        {
            var blit = new Blit { Width = 29 * bytes, Height = 4, DestinationPitch = 700, Destination = 90_000, Operation = operation, Mode = Blit.FromSystem | Blit.Depth(bytes), Foreground = 0x5566_7788 };
            Check(blit);
            Check(blit with { Mode = blit.Mode | Blit.Backwards });
            Check(blit with { Mode = blit.Mode | Blit.Pattern, Source = 3 });
            Check(blit with { Mode = blit.Mode | Blit.Pattern | Blit.Expand, Source = 5 });
        }
    }

    /// <summary>Addresses and pitches that are anything wrap at the end of memory, as the address lines of the chip do.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AnyBlitIsWhatItIsAnywhere(int seed)
    {
        var random = new Random(seed);
        int[] codes = [.. BlitReference.Operations.Keys];
        for (var i = 0; i < 150; i++)
        {
            Check(new Blit
            {
                Width = 1 + random.Next(random.Next(8) == 0 ? 8192 : 300),
                Height = 1 + random.Next(40),
                DestinationPitch = random.Next(0x2000),
                SourcePitch = random.Next(0x2000),
                Destination = random.Next(3) == 0 ? (4 << 20) - 1 - random.Next(500) : random.Next(3) == 0 ? random.Next(500) : random.Next(4 << 20),
                Source = random.Next(3) == 0 ? (4 << 20) - 1 - random.Next(500) : random.Next(4 << 20),
                Clip = random.Next(32),
                Mode = random.Next(256) & ~Blit.ToSystem,
                Extension = random.Next(8),
                Operation = random.Next(8) == 0 ? random.Next(256) : codes[random.Next(codes.Length)],
                Key = random.Next(0x1_0000),
                KeyMask = random.Next(2) == 0 ? 0 : random.Next(0x1_0000),
                Foreground = (uint)random.Next(),
                Background = (uint)random.Next(),
            });
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void TheCpuReadsWhatABlitSends(int size)
    {
        _vga.Blit(new Blit { Width = 13, Height = 3, SourcePitch = 100, Source = 5000, Mode = Blit.ToSystem });
        Assert.True(_vga.IsBusy);
        for (var line = 0; line < 3; line++)
        {
            for (var at = 0; at < 16; at += size)
            {
                var value = _vga.Board.Memory.Read(CirrusBoard.Linear + 77, size);
                for (var i = 0; i < size; i++) Assert.Equal(_expected[5000 + (100 * line) + at + i], (byte)(value >> (8 * i)));
            }
        }

        Assert.False(_vga.IsBusy);
        Assert.Equal(_expected[77], (byte)_vga.Board.Memory.Read(CirrusBoard.Linear + 77, 1));
    }

    /// <summary>The last dword of a line of bits has bytes that no pixel needs; they go nowhere.</summary>
    [Fact]
    public void WhatABlitDoesNotNeedIsLost()
    {
        _vga.Blit(new Blit { Width = 5, Height = 1, Destination = 1000, DestinationPitch = 640, Mode = Blit.FromSystem | Blit.Expand, Foreground = 0x11, Background = 0x22 });
        _vga.Board.Memory.Write(CirrusBoard.Linear, 4, 0xffff_ffa8);
        Assert.False(_vga.IsBusy);
        Assert.Equal([0x11, 0x22, 0x11, 0x22, 0x11], _vga.Vram.Slice(1000, 5).ToArray());
        Assert.Equal(_expected.AsSpan(0, 4).ToArray(), _vga.Vram[..4].ToArray());
        _vga.Board.Memory.Write(CirrusBoard.Linear, 4, 0x0102_0304);
        Assert.Equal([4, 3, 2, 1], _vga.Vram[..4].ToArray());
    }

    /// <summary>GR31 bit 5 leaves memory to the CPU while it feeds the blit through the aperture.</summary>
    [Fact]
    public void TheApertureLeavesMemoryAlone()
    {
        _vga.Graphics(0x31, 0x20);
        foreach (var (register, value) in ((int, int)[])[(0x20, 7), (0x21, 0), (0x22, 0), (0x23, 0), (0x28, 0), (0x29, 0x10), (0x2a, 0), (0x30, Blit.FromSystem), (0x32, Blit.Copy)]) _vga.Graphics(register, value);
        _vga.Graphics(0x31, 0x22);
        _vga.Board.Memory.Write(CirrusBoard.Linear + 64, 4, 0x1111_1111);
        Assert.Equal(0x11, _vga.Vram[64]);
        Assert.NotNull(_vga.Memory.ShownAt);
        _vga.Board.Memory.Write(CirrusBoard.Aperture + 640, 4, 0x0403_0201);
        Assert.True(_vga.IsBusy);
        _vga.Board.Memory.Write(CirrusBoard.Aperture, 4, 0x0807_0605);
        Assert.False(_vga.IsBusy);
        Assert.Equal([1, 2, 3, 4, 5, 6, 7, 8], _vga.Vram.Slice(0x1000, 8).ToArray());
    }

    [Fact]
    public void MemoryIsHiddenFromTheGuestWhileABlitTakesItsWrites()
    {
        Assert.Equal(CirrusBoard.Linear, _vga.Memory.ShownAt);
        _vga.Blit(new Blit { Width = 4, Height = 1, Destination = 1000, Mode = Blit.FromSystem });
        Assert.Null(_vga.Memory.ShownAt);
        _vga.Board.Memory.Write(0xa_0000, 4, 0x0403_0201);
        Assert.Equal(CirrusBoard.Linear, _vga.Memory.ShownAt);
        Assert.Equal([1, 2, 3, 4], _vga.Vram.Slice(1000, 4).ToArray());
    }

    [Fact]
    public void AResetThrowsTheBlitAway()
    {
        _vga.Blit(new Blit { Width = 400, Height = 10, Mode = Blit.FromSystem });
        Assert.True(_vga.IsBusy);
        _vga.Graphics(0x31, 4);
        _vga.Graphics(0x31, 0);
        Assert.False(_vga.IsBusy);
        _vga.Board.Memory.Write(CirrusBoard.Linear + 8, 1, 0x77);
        Assert.Equal(0x77, _vga.Vram[8]);
    }

    [Fact]
    public void WithAutostartTheLastAddressByteStarts()
    {
        _vga.Graphics(0x31, 0x80);
        var blit = new Blit { Width = 8, Height = 1, Source = 0x2_0000, Destination = 0x3_0000 };
        foreach (var (register, value) in ((int, int)[])[(0x20, 7), (0x21, 0), (0x22, 0), (0x23, 0), (0x2c, 0), (0x2d, 0), (0x2e, 2), (0x30, 0), (0x32, Blit.Copy), (0x33, 0), (0x28, 0), (0x29, 0)]) _vga.Graphics(register, value);
        Assert.Equal(_expected, _vga.Vram.ToArray());
        _vga.Graphics(0x2a, 3);
        _reference.Run(blit, default);
        Assert.Equal(_expected, _vga.Vram.ToArray());
    }

    /// <summary>The blitter's registers in BAR1, at b8000 and at the end of linear memory.</summary>
    [Theory]
    [InlineData(0x20, CirrusBoard.Mmio + 0x100)]
    [InlineData(0x24, 0xb_8000)]
    [InlineData(0x64, CirrusBoard.Linear + (4 << 20) - 0x100)]
    public void TheRegistersAreInMemoryToo(int configuration, uint registers)
    {
        _vga.Sequencer(0x17, configuration);
        void Set(uint offset, int size, uint value) => _vga.Board.Memory.Write(registers + offset, size, value);
        Set(0x00, 4, 0x1122_3344);
        Set(0x04, 4, 0x5566_7788);
        Set(0x08, 4, 0x0007_000f);
        Set(0x0c, 4, 0x0100_0280);
        Set(0x10, 4, 0x0005_0000);
        Set(0x14, 4, 0x0000_0000);
        Set(0x18, 4, 0x040d_00f0);
        Set(0x40, 1, 2);
        _reference.Run(new Blit { Width = 16, Height = 8, DestinationPitch = 640, SourcePitch = 256, Destination = 0x5_0000, Mode = 0xf0, Extension = Blit.Solid, Foreground = 0x5566_7788 }, default);
        Assert.Equal(_expected, _vga.Vram.ToArray());
        Assert.Equal(0x1122_3344u, (uint)_vga.Board.Memory.Read(registers, 4));
        Assert.Equal(0, (int)_vga.Board.Memory.Read(registers + 0x40, 1) & 9);
    }

    /// <summary>A blit that waits for the CPU goes on in another process.</summary>
    [Fact]
    public void AWaitingBlitIsSavedAndRestored()
    {
        var blit = new Blit { Width = 40, Height = 3, Destination = 4000, DestinationPitch = 640, Mode = Blit.FromSystem | Blit.Expand, Foreground = 5, Background = 9 };
        byte[] bits = [0xa5, 0x11, 0x22, 0x33, 0x44, 0x0f, 0x66, 0x77, 0x88, 0x99, 0xc3, 0xbb, 0xcc, 0xdd, 0xee];
        _vga.Blit(blit);
        for (var i = 0; i < 7; i++) _vga.Board.Memory.Write(CirrusBoard.Aperture, 1, bits[i]);
        using var stream = new System.IO.MemoryStream();
        StateWriter.Save([_vga.Chip], stream);
        var other = new CirrusBoard();
        StateReader.Load([other.Chip], stream.ToArray());
        Assert.True(other.IsBusy);
        for (var i = 7; i < bits.Length; i++) other.Board.Memory.Write(CirrusBoard.Aperture, 1, bits[i]);
        _reference.Run(blit, bits);
        Assert.False(other.IsBusy);
        Assert.Equal(_expected, other.Vram.ToArray());
    }

    /// <summary>The largest blit of the registers, without an end of memory that fits it.</summary>
    [Fact]
    public void TheLargestBlitEnds()
    {
        foreach (var mode in (int[])[0, Blit.Backwards, Blit.Pattern, Blit.Expand, Blit.Transparent, Blit.Pattern | Blit.Expand | 0x20])
            _vga.Blit(new Blit { Width = 8192, Height = 2048, DestinationPitch = 8191, SourcePitch = 1, Destination = 0x3f_fff0, Source = 0x3f_fff1, Mode = mode, Operation = 0x59 });
        Assert.False(_vga.IsBusy);
    }

    private void Check(in Blit blit)
    {
        var cpu = new byte[(blit.Mode & Blit.FromSystem) != 0 ? CpuBytes(blit) : 0];
        _random.NextBytes(cpu);
        _vga.Blit(blit);
        if (_vga.IsBusy) Feed(cpu);
        Assert.False(_vga.IsBusy, $"{blit} waits");
        _reference.Run(blit, cpu);
        if (_expected.AsSpan().SequenceEqual(_vga.Vram)) return;
        var at = _expected.AsSpan().CommonPrefixLength(_vga.Vram);
        Assert.Fail($"{blit}: {at:x} is {_vga.Vram[at]:x2}, not {_expected[at]:x2}");
    }

    /// <summary>Through the window, linear memory or the aperture, byte by byte, in dwords or as one block.</summary>
    private void Feed(ReadOnlySpan<byte> cpu)
    {
        var start = (uint[])[0xa_0000, CirrusBoard.Linear + 0x1234, CirrusBoard.Aperture];
        var address = start[_random.Next(3)];
        if (_random.Next(3) == 0 && cpu.Length <= 0x4000)
        {
            cpu.CopyTo(_vga.Board.Ram.Bytes[0x1000..]);
            var request = new IoRequest { Space = IoSpace.Memory, Address = address, Size = 4, Count = (uint)(cpu.Length + 3) / 4, DataIsPointer = true, Data = 0x1000 };
            _vga.Board.Io.Dispatch(ref request);
            return;
        }

        for (var i = 0; i < cpu.Length; i++) _vga.Board.Memory.Write(address, 1, cpu[i]);
    }

    private static int CpuBytes(in Blit blit)
    {
        var expands = (blit.Mode & Blit.Expand) != 0;
        if ((blit.Mode & Blit.Pattern) != 0) return expands ? 8 : blit.Bytes switch { 1 => 64, 2 => 128, _ => 256 };
        if (!expands) return (blit.Width + 3) / 4 * 4 * blit.Height;
        var pixels = (blit.Width + blit.Bytes - 1) / blit.Bytes;
        return ((blit.Extension & Blit.Dwords) != 0 ? (pixels + 31) / 32 * 4 : (pixels + 7) / 8) * blit.Height;
    }
}
