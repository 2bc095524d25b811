using System;
using System.Collections.Generic;
using XenDM.Core.Display;

namespace XenDM.Devices.Tests.Display;

/// <summary>
/// Every text and graphics mode, programmed register by register and filled through the address space: the picture is, pixel by pixel, what the
/// registers and the memory say, drawn as a whole and bit by bit as it changes.
/// </summary>
public class PixelTests
{
    private const uint Window = 0xa_0000;

    private static readonly byte[] s_graphicsText = [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff];

    /// <summary>The modes of the VGA's BIOS, and those that programs make of them. The values are those of IBM's BIOS.</summary>
    private static readonly Dictionary<string, Mode> s_modes = new()
    {
        ["0-1 text 40x25"] = new(0x67, "080300 02", "2d27282b2ba0bf1f004f0d0e000000009c8e8f141f96b9a3", s_graphicsText, 0x0c),
        ["2-3 text 80x25"] = new(0x67, "000300 02", "5f4f50825581bf1f004f0d0e000000009c8e8f281f96b9a3", s_graphicsText, 0x0c),
        ["7 text 80x25 mono"] = new(0x66, "000300 02", "5f4f50825581bf1f004f0d0e000000009c8e8f280d96b9a3", [0, 0, 0, 0, 0, 0x10, 0x0a, 0, 0xff], 0x0e),
        ["text 80x50 of 8 dots"] = new(0x63, "010300 02", "5f4f50825581bf1f00470607000000009c8e8f281f96b9a3", s_graphicsText, 0x08),
        ["text 40x12 of doubled lines"] = new(0x63, "090300 02", "2d27282b2ba0bf1f00cf0d0e000000009c8e8f141f96b9a3", s_graphicsText, 0x04),
        ["4-5 320x200x4"] = new(0x63, "090300 02", "2d2728902b80bf1f00c10000000000009c8e8f140096b9a2", [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff], 0x01),
        ["6 640x200x2"] = new(0x63, "010100 06", "5f4f50825480bf1f00c10000000000009c8e8f280096b9c2", [0, 0, 0, 0, 0, 0x00, 0x0d, 0, 0xff], 0x01),
        ["d 320x200x16"] = new(0x63, "090f00 06", "2d2728902b80bf1f00c00000000000009c8e8f140096b9e3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01),
        ["e 640x200x16"] = new(0x63, "010f00 06", "5f4f50825480bf1f00c00000000000009c8e8f280096b9e3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01),
        ["f 640x350 mono"] = new(0xa2, "010f00 06", "5f4f50825480bf1f004000000000000083855d280f63bae3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x0b),
        ["10 640x350x16"] = new(0xa3, "010f00 06", "5f4f50825480bf1f004000000000000083855d280f63bae3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01),
        ["11 640x480x2"] = new(0xe3, "010f00 06", "5f4f508254800b3e0040000000000000ea8cdf2800e704e3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x01, 0xff], 0x01),
        ["12 640x480x16"] = new(0xe3, "010f00 06", "5f4f508254800b3e0040000000000000ea8cdf2800e704e3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01),
        ["13 320x200x256"] = new(0x63, "010f00 0e", "5f4f50825480bf1f00410000000000009c8e8f284096b9a3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["X 320x240x256"] = new(0xe3, "010f00 06", "5f4f508254800d3e0041000000000000eaacdf2800e706e3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["Q 256x256x256"] = new(0xe3, "010f00 0e", "5f3f40824a9a23b2006100000000000 00aacff2040071aa3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["320x400x256"] = new(0x63, "010f00 06", "5f4f50825480bf1f00400000000000009c8e8f280096b9e3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["360x480x256"] = new(0xe7, "010f00 06", "6b595a8e5e8a0d3e0040000000000000eaacdf2d00e706e3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["160x200x256, pixels of four dots"] = new(0x63, "090f00 06", "2d2728902b80bf1f00c10000000000009c8e8f140096b9e3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x41),
        ["640x200 of half bytes"] = new(0x63, "010f00 06", "5f4f50825480bf1f00c10000000000009c8e8f280096b9e3", [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff], 0x01),
        ["720x480x16 of 9 dots"] = new(0xe7, "000f00 06", "5f4f508254800b3e0040000000000000ea8cdf2800e704e3", [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff], 0x01),
    };

    private sealed record Mode(int Misc, string Sequencer, string Crtc, byte[] Graphics, int Attribute);

    public static TheoryData<string> Modes => [.. s_modes.Keys];

    private readonly VgaBoard _vga = new();

    /// <summary>The picture as a viewer has it who copies only what he is told of.</summary>
    private readonly Frame _viewer = new();

    private void Enter(string name)
    {
        var mode = s_modes[name];
        var sequencer = Convert.FromHexString(mode.Sequencer.Replace(" ", "", StringComparison.Ordinal));
        var crtc = Convert.FromHexString(mode.Crtc.Replace(" ", "", StringComparison.Ordinal) + "ff");
        _vga.SetMode(mode.Misc, [3, .. sequencer], crtc, mode.Graphics, mode.Attribute, mode.Graphics[6] is 0x0e or 0x0a && (sequencer[0] & 1) == 0 ? 8 : 0);
        for (var n = 0; n < 16; n++) _vga.Attribute(n, (n * 5) & 0x3f);
        _vga.Attribute(0x12, 0x0f);
        _vga.Finish();
        for (var n = 0; n < 256; n++) _vga.Dac(n, (n * 7) & 0x3f, (n * 3) & 0x3f, (n ^ (n >> 3)) & 0x3f);
    }

    /// <summary>Writes bytes where the mode has its window.</summary>
    private void Fill(Random random, int first, int count)
    {
        var window = ((_vga.GraphicsValues[6] >> 2) & 3) switch { 2 => 0xb_0000u, 3 => 0xb_8000u, _ => Window };
        var isLarge = window == Window;
        var bytes = new byte[count];
        random.NextBytes(bytes);
        for (var plane = 0; plane < (isLarge && (_vga.SequencerValues[4] & 8) == 0 ? 4 : 1); plane++)
        {
            if (isLarge && (_vga.SequencerValues[4] & 8) == 0) _vga.Sequencer(2, 1 << plane);
            for (var n = 0; n < count; n++) _vga.Poke(window + (uint)((first + n) % (isLarge ? 0x1_0000 : 0x8000)), bytes[n] ^ (plane * 0x55));
        }

        if (isLarge) _vga.Sequencer(2, 0x0f);
    }

    /// <summary>Fonts as a BIOS loads them: plane 2, without odd and even addresses.</summary>
    private void LoadFonts(Random random)
    {
        var (map, memory, mode, misc) = (_vga.SequencerValues[2], _vga.SequencerValues[4], _vga.GraphicsValues[5], _vga.GraphicsValues[6]);
        _vga.Sequencer(2, 4);
        _vga.Sequencer(4, 6);
        _vga.Graphics(5, 0);
        _vga.Graphics(6, 4);
        for (var n = 0; n < 0x6000; n++) _vga.Poke(Window + (uint)n, random.Next(256));
        _vga.Sequencer(2, map);
        _vga.Sequencer(4, memory);
        _vga.Graphics(5, mode);
        _vga.Graphics(6, misc);
    }

    /// <summary>Brings the frame up to date and compares it, and the viewer's copy, with what it has to be.</summary>
    private void Check(Frame expected, bool everything = false)
    {
        var (width, height) = _vga.Chip.Size!.Value;
        Assert.Equal((expected.Width, expected.Height), (width, height));
        if (_vga.Frame.Resize(width, height) || everything)
        {
            everything = true;
            _vga.Damage.Resize(width, height);
            _viewer.Resize(width, height);
        }

        _vga.Chip.Draw(_vga.Frame, _vga.Damage, everything);
        var areas = new List<PictureArea>();
        _vga.Damage.AddTo(areas);
        _vga.Damage.Clear();
        foreach (var area in areas) _viewer.Copy(_vga.Frame, area);
        AssertSame(expected, _vga.Frame, "the frame");
        AssertSame(expected, _viewer, "what was told of it");
    }

    private static void AssertSame(Frame expected, Frame actual, string what)
    {
        for (var y = 0; y < expected.Height; y++)
        {
            var same = expected.Line(y).CommonPrefixLength(actual.Line(y));
            if (same < expected.Width) Assert.Fail($"{what} differs at {same}, {y}: {actual.Line(y)[same]:x6} for {expected.Line(y)[same]:x6}");
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public void EveryModeShowsItsMemory(string name)
    {
        var random = new Random(5);
        Enter(name);
        if (s_modes[name].Graphics[5] == 0x10) LoadFonts(random);
        Fill(random, 0, 0x4000);
        Check(ReferenceScreen.Vga(_vga), everything: true);

        // Looked at, piece by piece.
        _vga.Chip.SetRefreshPeriod(30);
        Check(ReferenceScreen.Vga(_vga));
        for (var turn = 0; turn < 3; turn++)
        {
            Fill(random, random.Next(0x3000), 1 << random.Next(10));
            Check(ReferenceScreen.Vga(_vga));
        }

        // Panned, moved, split.
        var start = random.Next(0x400);
        (int Register, int Value)[] steps = [(0x0d, start & 0xff), (0x0c, start >> 8), (0x08, 0x20), (0x18, 100), (0x07, _vga.CrtcValues[7] & 0xef), (0x09, _vga.CrtcValues[9] & 0xbf), (0x13, _vga.CrtcValues[0x13] + 2), (0x08, 0x43)];
        foreach (var (register, value) in steps)
        {
            if (register == 7) _vga.Crtc(0x11, 0x0e);
            _vga.Crtc(register, value);
            Check(ReferenceScreen.Vga(_vga));
        }

        foreach (var (register, value) in ((int, int)[])[(0x13, 3), (0x10, s_modes[name].Attribute | 0x20), (0x12, 0x0b), (0x03, 0x2a), (0x14, 0x04)])
        {
            _vga.Attribute(register, value);
            _vga.Finish();
            Check(ReferenceScreen.Vga(_vga));
        }

        _vga.Dac(7, 1, 2, 3);
        Check(ReferenceScreen.Vga(_vga));
        _vga.Sequencer(1, _vga.SequencerValues[1] | 0x20);
        Check(ReferenceScreen.Vga(_vga));
        _vga.Sequencer(1, _vga.SequencerValues[1] & ~0x20);
        Check(ReferenceScreen.Vga(_vga));
    }

    [Theory]
    [InlineData("2-3 text 80x25")]
    [InlineData("0-1 text 40x25")]
    [InlineData("7 text 80x25 mono")]
    public void TextBlinksAndHasFontsAndCursors(string name)
    {
        var random = new Random(6);
        Enter(name);
        LoadFonts(random);
        Fill(random, 0, 0x1000);
        _vga.Chip.SetRefreshPeriod(30);
        Check(ReferenceScreen.Vga(_vga));
        foreach (var (register, value) in ((int, int)[])[(0x0f, 85), (0x0a, 3), (0x0b, 9), (0x0b, 0x29), (0x0a, 0x2d), (0x0a, 0x0e), (0x0f, 200), (0x0e, 1)])
        {
            _vga.Crtc(register, value);
            Check(ReferenceScreen.Vga(_vga));
        }

        foreach (var select in (int[])[0x04, 0x01, 0x10, 0x20, 0x0a, 0x00])
        {
            _vga.Sequencer(3, select);
            Check(ReferenceScreen.Vga(_vga));
        }

        _vga.Attribute(0x10, s_modes[name].Attribute | 0x08);
        _vga.Finish();
        for (var phase = 1; phase <= 4; phase++)
        {
            Check(ReferenceScreen.Vga(_vga, blinkOn: phase % 2 == 1));
            _vga.Board.Advance(VgaBoard.BlinkTime);
            Fill(random, 20 * phase, 30);
        }

        LoadFonts(random);
        Check(ReferenceScreen.Vga(_vga));
    }

    [Theory]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(24)]
    [InlineData(32)]
    public void EveryDepthOfVbeShowsItsMemory(int depth)
    {
        var random = new Random(depth);
        Enter("12 640x480x16");
        _vga.MapBars();
        foreach (var (width, height, virtualWidth) in ((int, int, int)[])[(320, 200, 320), (248, 100, 400), (8, 1, 1000), (640, 200, 648)])
        {
            _vga.Chip.SetRefreshPeriod(0);
            _vga.VbeMode(width, height, depth);
            _vga.Vbe(6, virtualWidth);
            random.NextBytes(_vga.Vram);
            Check(ReferenceScreen.Vbe(_vga, width, height, depth, virtualWidth, 0, 0), everything: true);
            _vga.Chip.SetRefreshPeriod(30);
            Check(ReferenceScreen.Vbe(_vga, width, height, depth, virtualWidth, 0, 0));
            for (var turn = 0; turn < 8; turn++)
            {
                for (var n = random.Next(40); n > 0; n--) _vga.Board.Memory.Write(VgaBoard.FrameBuffer + (ulong)random.Next(0x4_0000), 4, (uint)random.Next());
                var (left, top) = turn < 4 ? (0, 0) : (random.Next(virtualWidth - width + 1), random.Next(50));
                _vga.Vbe(8, left);
                _vga.Vbe(9, top);
                Check(ReferenceScreen.Vbe(_vga, width, height, depth, virtualWidth, left, top));
            }
        }
    }

    [Fact]
    public void NothingIsToldOfAScreenThatIsTheSame()
    {
        Enter("12 640x480x16");
        _vga.Chip.SetRefreshPeriod(30);
        Check(ReferenceScreen.Vga(_vga));
        var rings = 0;
        Assert.True(_vga.Chip.NotifyOnce(() => rings++));
        _vga.Board.Advance(10_000_000_000);
        Assert.Equal(0, rings);
        _vga.Poke(Window, 0xff);
        _vga.Poke(Window, 0x00);
        Assert.Equal(1, rings);
        _vga.Chip.Draw(_vga.Frame, _vga.Damage, false);
        Assert.True(_vga.Damage.IsEmpty);
        _vga.Poke(Window + (80 * 40) + 10, 0xff);
        _vga.Chip.Draw(_vga.Frame, _vga.Damage, false);
        var areas = new List<PictureArea>();
        _vga.Damage.AddTo(areas);
        Assert.Equal([new PictureArea(80, 32, 16, 16)], areas);
    }

    [Fact]
    public void ACursorThatBlinksRingsAndTellsOfItsCell()
    {
        Enter("2-3 text 80x25");
        _vga.Crtc(0x0f, 3);
        _vga.Chip.SetRefreshPeriod(30);
        Check(ReferenceScreen.Vga(_vga));
        var rings = 0;
        _vga.Chip.NotifyOnce(() => rings++);
        _vga.Board.Advance(VgaBoard.BlinkTime);
        Assert.Equal(1, rings);
        _vga.Chip.Draw(_vga.Frame, _vga.Damage, false);
        var areas = new List<PictureArea>();
        _vga.Damage.AddTo(areas);
        Assert.Equal([new PictureArea(16, 0, 32, 16)], areas);
        _vga.Chip.SetRefreshPeriod(0);
        _vga.Board.Advance(100 * VgaBoard.BlinkTime);
        Assert.Equal(1, rings);
    }

    /// <summary>Any writes at all: the screen that is followed is the same as one that is drawn anew.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AScreenThatIsFollowedIsTheSameAsOneDrawnAnew(int seed)
    {
        var random = new Random(seed);
        var other = new VgaBoard();
        VgaBoard[] boards = [_vga, other];
        foreach (var board in boards)
        {
            board.MapBars();
            board.TextMode();
            board.Chip.SetRefreshPeriod(30);
        }

        for (var turn = 0; turn < 200; turn++)
        {
            for (var step = random.Next(60); step > 0; step--) VgaFuzz.Step(random, boards);
            if (other.Chip.Size is not { } size || size.Width * size.Height > 1_000_000) continue;
            other.Frame.Resize(size.Width, size.Height);
            other.Damage.Resize(size.Width, size.Height);
            other.Chip.Draw(other.Frame, other.Damage, true);
            Check(other.Frame);
        }
    }
}
