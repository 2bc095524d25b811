using System;
using System.Buffers.Binary;
using XenDM.Devices.Display.Vga;

namespace XenDM.Devices.Tests.Display;

public class ScreenTests
{
    private const uint Text = 0xb_8000;
    private const uint Window = 0xa_0000;
    private const uint Grey = 0xaa_aaaa;
    private const uint Blue = 0x00_00aa;
    private const uint White = 0xff_ffff;
    private readonly VgaBoard _vga = new();
    private readonly TextScreen _text = new();

    private Screen Screen => _vga.Chip.Screen;

    private void Print(int column, int row, string text, int attribute, int columns = 80)
    {
        for (var n = 0; n < text.Length; n++) _vga.Board.Memory.Write(Text + (uint)(2 * ((row * columns) + column + n)), 2, text[n] | ((uint)attribute << 8));
    }

    /// <summary>Gives a character a shape in the font at plane 2, address 0.</summary>
    private void Shape(int character, int line, byte bits, int font = 0) => _vga.Vram[(4 * (font + (character * 32) + line)) + 2] = bits;

    private string Line(int row)
    {
        var line = new char[_text.Columns];
        for (var n = 0; n < line.Length; n++) line[n] = (char)(_text.Cells[(row * _text.Columns) + n] & 0xff);
        return new string(line).TrimEnd('\0', ' ');
    }

    [Fact]
    public void ATextScreenIsReadAsItIsWritten()
    {
        _vga.TextMode();
        Print(0, 0, "Hello", 0x07);
        Print(75, 24, "world", 0x1f);
        _vga.Crtc(0x0e, 2004 >> 8);
        _vga.Crtc(0x0f, 2004 & 0xff);
        Assert.True(Screen.ReadText(_text));
        Assert.Equal((80, 25, 16), (_text.Columns, _text.Rows, _text.CellHeight));
        Assert.Equal("Hello", Line(0));
        Assert.Equal('d' | 0x1f00, _text.Cells[^1]);
        Assert.False(_text.CursorVisible);
        _vga.Crtc(0x0e, 1924 >> 8);
        _vga.Crtc(0x0f, 1924 & 0xff);
        Screen.ReadText(_text);
        Assert.Equal((true, 4, 24, 13, 14), (_text.CursorVisible, _text.CursorColumn, _text.CursorRow, _text.CursorStart, _text.CursorEnd));
        _vga.Crtc(0x0a, 0x2d);
        Screen.ReadText(_text);
        Assert.False(_text.CursorVisible);
        Assert.True(_text.Blinks);
        Assert.Equal((Blue, Grey, 0xaa_5500u, White), (_text.Palette[1], _text.Palette[7], _text.Palette[6], _text.Palette[15]));
    }

    [Fact]
    public void TheStartAddressScrolls()
    {
        _vga.TextMode();
        for (var row = 0; row < 30; row++) Print(0, row, $"line {row}", 7);
        _vga.Crtc(0x0c, 240 >> 8);
        _vga.Crtc(0x0d, 240 & 0xff);
        Screen.ReadText(_text);
        Assert.Equal("line 3", Line(0));
        Assert.Equal("line 27", Line(24));

        // A split screen: from scan line 160 on it goes on at address 0.
        _vga.Crtc(0x18, 159);
        _vga.Crtc(0x07, 0x0f);
        _vga.Crtc(0x09, 0x0f);
        Screen.ReadText(_text);
        Assert.Equal("line 12", Line(9));
        Assert.Equal("line 0", Line(10));
        Assert.Equal("line 14", Line(24));
    }

    [Fact]
    public void FiftyLinesOfEight()
    {
        _vga.TextMode();
        _vga.Crtc(0x09, 0x47);
        Print(0, 49, "last", 7);
        Screen.ReadText(_text);
        Assert.Equal((80, 50, 8), (_text.Columns, _text.Rows, _text.CellHeight));
        Assert.Equal("last", Line(49));
    }

    [Fact]
    public void CharactersAreDrawnWithTheFontInPlane2()
    {
        _vga.TextMode();
        _vga.Crtc(0x0a, 0x20);
        Shape('A', 0, 0x81);
        Shape(0xcd, 0, 0x81);
        Print(0, 0, "A\u00cd", 0x17);
        _vga.Render();
        Assert.Equal((720, 400), (Screen.Width, Screen.Height));
        Assert.Equal((Grey, Blue, Grey, Blue), (_vga.Pixel(0, 0), _vga.Pixel(1, 0), _vga.Pixel(7, 0), _vga.Pixel(8, 0)));
        Assert.Equal((Grey, Grey, 0u), (_vga.Pixel(16, 0), _vga.Pixel(17, 0), _vga.Pixel(18, 0)));
        Assert.Equal(Blue, _vga.Pixel(0, 1));
        _vga.Attribute(0x10, 0x08);
        _vga.Board.Out8(0x3c0, 0x20);
        _vga.Render();
        Assert.Equal(Blue, _vga.Pixel(17, 0));
    }

    [Fact]
    public void BlinkingAndTheCursorFollowTheirTime()
    {
        _vga.TextMode();
        Shape('A', 14, 0x80);
        Print(0, 0, "A", 0x97);
        _vga.Crtc(0x0f, 1);
        Print(1, 0, " ", 0x07);
        _vga.Render(blinkOn: true);
        Assert.Equal((Grey, Blue), (_vga.Pixel(0, 14), _vga.Pixel(1, 14)));
        Assert.Equal((0u, Grey, Grey, 0u), (_vga.Pixel(9, 12), _vga.Pixel(9, 13), _vga.Pixel(9, 14), _vga.Pixel(9, 15)));
        _vga.Render(blinkOn: false);
        Assert.Equal((Blue, 0u), (_vga.Pixel(0, 14), _vga.Pixel(9, 13)));

        // Without blinking, bit 7 is a bright background.
        _vga.Attribute(0x10, 0x04);
        _vga.Board.Out8(0x3c0, 0x20);
        _vga.Render();
        Assert.Equal(0x55_55ffu, _vga.Pixel(1, 14));
    }

    [Fact]
    public void AttributeBit3CanChooseASecondFont()
    {
        _vga.TextMode();
        _vga.Crtc(0x0a, 0x20);
        _vga.Sequencer(3, 0x04);
        Shape('A', 0, 0xf0);
        Shape('A', 0, 0x0f, font: 0x4000);
        Print(0, 0, "A", 0x07);
        Print(1, 0, "A", 0x0f);
        _vga.Render();
        Assert.Equal((Grey, 0u), (_vga.Pixel(0, 0), _vga.Pixel(4, 0)));
        Assert.Equal((0u, White), (_vga.Pixel(9, 0), _vga.Pixel(13, 0)));
    }

    [Fact]
    public void AScreenWithoutPaletteIsDark()
    {
        _vga.TextMode();
        Shape('A', 0, 0xff);
        Print(0, 0, "A", 0x07);
        _vga.Sequencer(1, 0x20);
        Assert.True(Screen.IsDark);
        _vga.Render();
        Assert.Equal(0u, _vga.Pixel(0, 0));
        _vga.Sequencer(1, 0x00);
        _vga.Render();
        Assert.Equal(Grey, _vga.Pixel(0, 0));
    }

    [Fact]
    public void Mode13HasABytePerPixel()
    {
        _vga.PackedMode();
        _vga.Poke(Window, 63);
        _vga.Poke(Window + (320 * 100) + 160, 1);
        _vga.Poke(Window + (320 * 200) - 1, 63);
        _vga.Render();
        Assert.Equal((ScreenKind.Packed, 640, 400), (Screen.Kind, Screen.Width, Screen.Height));
        Assert.Equal((0xff7d3cu, 0xff7d3cu, 0xff7d3cu, 0u, 0u), (_vga.Pixel(0, 0), _vga.Pixel(1, 0), _vga.Pixel(1, 1), _vga.Pixel(2, 0), _vga.Pixel(0, 2)));
        Assert.Equal((0u, 0x04_0000u, 0x04_0000u, 0u), (_vga.Pixel(319, 200), _vga.Pixel(320, 200), _vga.Pixel(321, 201), _vga.Pixel(322, 200)));
        Assert.Equal(0xff7d3cu, _vga.Pixel(639, 399));
        _vga.Board.Out8(0x3c6, 0x3e);
        _vga.Render();
        Assert.Equal(0u, _vga.Pixel(320, 200));
    }

    [Fact]
    public void ModeXPansAndFlipsPages()
    {
        _vga.PackedMode();
        _vga.Sequencer(4, 0x06);
        _vga.Crtc(0x14, 0x00);
        _vga.Crtc(0x17, 0xe3);
        _vga.Sequencer(2, 0x02);
        _vga.Poke(Window + 0x4000 + 80 + 1, 1);
        _vga.Crtc(0x0c, 0x40);
        _vga.Render();
        Assert.Equal((0u, 0x04_0000u, 0x04_0000u, 0u), (_vga.Pixel(9, 2), _vga.Pixel(10, 2), _vga.Pixel(11, 3), _vga.Pixel(12, 2)));
        _vga.Attribute(0x13, 2);
        _vga.Board.Out8(0x3c0, 0x20);
        _vga.Render();
        Assert.Equal((0x04_0000u, 0u), (_vga.Pixel(8, 2), _vga.Pixel(10, 2)));
    }

    [Fact]
    public void SixteenColoursComeFromFourPlanes()
    {
        _vga.PlanarMode();
        _vga.Graphics(8, 0x80);
        _vga.Graphics(5, 2);
        _vga.Poke(Window + 80, 0x0a);
        _vga.Graphics(8, 0x01);
        _vga.Poke(Window + (80 * 480) - 1, 0x05);
        _vga.Render();
        Assert.Equal((ScreenKind.Planar, 640, 480), (Screen.Kind, Screen.Width, Screen.Height));
        Assert.Equal((0x281408u, 0u, 0x140804u), (_vga.Pixel(0, 1), _vga.Pixel(1, 1), _vga.Pixel(639, 479)));
        _vga.Attribute(0x12, 0x07);
        _vga.Board.Out8(0x3c0, 0x20);
        _vga.Render();
        Assert.Equal(0x080400u, _vga.Pixel(0, 1));
    }

    [Fact]
    public void CgaModesHaveTwoBanksOfLines()
    {
        _vga.CgaMode();
        _vga.Poke(Text, 0x1b);
        _vga.Poke(Text + 1, 0xc0);
        _vga.Poke(Text + 0x2000 + 80, 0x80);
        _vga.Render();
        Assert.Equal((ScreenKind.Interleaved, 640, 400), (Screen.Kind, Screen.Width, Screen.Height));
        for (var colour = 0; colour < 4; colour++) Assert.Equal(((uint)colour << 18) | ((uint)(colour >> 1) << 10), _vga.Pixel(2 * colour, 0) & 0xff_fc00);
        Assert.Equal(_vga.Pixel(6, 0), _vga.Pixel(8, 1));
        Assert.Equal(_vga.Pixel(4, 0), _vga.Pixel(0, 6));
        Assert.Equal(0u, _vga.Pixel(0, 2));
    }

    [Theory]
    [InlineData(8, 0x3fu, 0xff7d3cu)]
    [InlineData(15, 0x7c00u | (0x10 << 5) | 1, 0xff_8408u)]
    [InlineData(16, 0xf800u | (0x20 << 5) | 1, 0xff_8208u)]
    [InlineData(24, 0x123456u, 0x123456u)]
    [InlineData(32, 0xff654321u, 0x654321u)]
    public void EveryVbeDepthIsDrawn(int depth, uint pixel, uint expected)
    {
        _vga.PackedMode();
        _vga.VbeMode(320, 200, depth);
        _vga.Vbe(6, 400);
        _vga.Vbe(8, 16);
        _vga.Vbe(9, 10);
        var bytes = (depth + 7) / 8;
        var raw = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(raw, pixel);
        raw.AsSpan(0, bytes).CopyTo(_vga.Vram[(((13 * 400) + 16 + 319) * bytes)..]);
        _vga.Render();
        Assert.Equal((ScreenKind.Extended, 320, 200, depth), (Screen.Kind, Screen.Width, Screen.Height, Screen.Depth));
        Assert.Equal((0u, expected, 0u), (_vga.Pixel(318, 3), _vga.Pixel(319, 3), _vga.Pixel(319, 4)));
    }

    [Fact]
    public void VbePlanesAreDrawn()
    {
        _vga.PlanarMode();
        _vga.VbeMode(800, 600, 4);
        _vga.Graphics(8, 0x20);
        _vga.Graphics(5, 2);
        _vga.Poke(Window + 101, 0x0f);
        _vga.Render();
        Assert.Equal((0u, 0x3c1c0cu, 0u), (_vga.Pixel(9, 1), _vga.Pixel(10, 1), _vga.Pixel(11, 1)));
        Assert.False(Screen.ReadText(_text));
    }
}
