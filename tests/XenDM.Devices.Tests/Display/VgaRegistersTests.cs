using XenDM.Testing;

namespace XenDM.Devices.Tests.Display;

public class VgaRegistersTests
{
    private readonly VgaBoard _vga = new();

    private TestBoard Board => _vga.Board;

    [Fact]
    public void TheCrtControllerAnswersAtOneAddressOnly()
    {
        Assert.Equal(0xff, Board.In8(0x3d4));
        Board.Out8(0x3b4, 0x0f);
        Assert.Equal(0x0f, Board.In8(0x3b4));
        Assert.NotEqual(0xff, Board.In8(0x3ba));

        _vga.Misc(0x67);
        Assert.Equal(0x67, Board.In8(0x3cc));
        Assert.Equal(0xff, Board.In8(0x3b4));
        Assert.Equal(0x0f, Board.In8(0x3d4));
        Assert.Equal(0xff, Board.In8(0x3ba));
    }

    [Theory]
    [InlineData(0x3c4, 0, 0x03)]
    [InlineData(0x3c4, 1, 0x3d)]
    [InlineData(0x3c4, 2, 0x0f)]
    [InlineData(0x3c4, 3, 0x3f)]
    [InlineData(0x3c4, 4, 0x0e)]
    [InlineData(0x3ce, 0, 0x0f)]
    [InlineData(0x3ce, 3, 0x1f)]
    [InlineData(0x3ce, 4, 0x03)]
    [InlineData(0x3ce, 5, 0x7b)]
    [InlineData(0x3ce, 6, 0x0f)]
    [InlineData(0x3ce, 8, 0xff)]
    [InlineData(0x3d4, 0x08, 0x7f)]
    [InlineData(0x3d4, 0x0a, 0x3f)]
    [InlineData(0x3d4, 0x0b, 0x7f)]
    [InlineData(0x3d4, 0x13, 0xff)]
    [InlineData(0x3d4, 0x14, 0x7f)]
    [InlineData(0x3d4, 0x17, 0xef)]
    public void AnIndexedRegisterKeepsTheBitsThatItHas(int port, int index, int mask)
    {
        _vga.Misc(0x67);
        Board.Out16((ushort)port, 0xff00 | index);
        Assert.Equal(index, Board.In8((ushort)port));
        Assert.Equal(mask, Board.In8((ushort)(port + 1)));
        Board.Out8((ushort)(port + 1), 0);
        Assert.Equal(0, Board.In8((ushort)(port + 1)));
    }

    [Fact]
    public void AnIndexWithoutRegisterHoldsNothing()
    {
        _vga.Misc(0x67);
        _vga.Crtc(0x25, 0x5a);
        Assert.Equal(0xff, Board.In8(0x3d5));
        Board.Out8(0x3c4, 0xff);
        Assert.Equal(0x07, Board.In8(0x3c4));
        Board.Out8(0x3c5, 0x12);
        Assert.Equal(0xff, Board.In8(0x3c5));
    }

    [Fact]
    public void ProtectionLeavesOnlyBit8OfLineCompare()
    {
        _vga.Misc(0x67);
        _vga.Crtc(0x00, 0x5f);
        _vga.Crtc(0x07, 0x0f);
        _vga.Crtc(0x11, 0x8e);
        _vga.Crtc(0x00, 0x11);
        _vga.Crtc(0x07, 0xf0);
        Assert.Equal(0x5f, _vga.ReadCrtc(0x00));
        Assert.Equal(0x1f, _vga.ReadCrtc(0x07));
        _vga.Crtc(0x12, 0x8f);
        Assert.Equal(0x8f, _vga.ReadCrtc(0x12));
        _vga.Crtc(0x11, 0x0e);
        _vga.Crtc(0x00, 0x11);
        Assert.Equal(0x11, _vga.ReadCrtc(0x00));
    }

    [Fact]
    public void TheAttributeControllerTakesIndexAndDataByTurns()
    {
        _vga.Misc(0x67);
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x05);
        Board.Out8(0x3c0, 0xff);
        Board.Out8(0x3c0, 0x10);
        Assert.Equal(0x10, Board.In8(0x3c0));
        Board.In8(0x3da);
        Board.Out8(0x3c0, 0x25);
        Assert.Equal(0x3f, Board.In8(0x3c1));
        Assert.Equal(0x25, Board.In8(0x3c0));
    }

    [Fact]
    public void ThePaletteIsWrittenAndReadByThrees()
    {
        _vga.Dac(10, 1, 2, 3);
        Board.Out8(0x3c9, 0xff);
        Board.Out8(0x3c9, 0x21);
        Board.Out8(0x3c9, 0x10);
        Assert.Equal(12, Board.In8(0x3c8));
        Assert.Equal(0, Board.In8(0x3c7));
        Board.Out8(0x3c7, 10);
        Assert.Equal(3, Board.In8(0x3c7));
        foreach (var expected in (byte[])[1, 2, 3, 0x3f, 0x21, 0x10]) Assert.Equal(expected, Board.In8(0x3c9));
    }

    [Fact]
    public void WithEightBitsTheSamePaletteIsFiner()
    {
        _vga.Dac(0, 0x3f, 0x20, 0);
        _vga.Vbe(4, 0x20);
        Board.Out8(0x3c7, 0);
        foreach (var expected in (byte[])[0xff, 0x82, 0]) Assert.Equal(expected, Board.In8(0x3c9));
        _vga.Dac(0, 0x81, 0x82, 0x83);
        Board.Out8(0x3c7, 0);
        foreach (var expected in (byte[])[0x81, 0x82, 0x83]) Assert.Equal(expected, Board.In8(0x3c9));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ProgramsThatWaitForTheBeamGoOn(bool programmed)
    {
        if (programmed) _vga.TextMode();
        else _vga.Misc(0x67);
        AssertBothStates();
    }

    [Theory]
    [InlineData(0xff)]
    [InlineData(0x00)]
    [InlineData(0xa5)]
    public void TheBeamMovesWhateverIsProgrammed(int value)
    {
        _vga.TextMode();
        _vga.Crtc(0x11, value & 0x7f);
        for (var n = 0; n <= 0x18; n++)
            if (n != 0x11) _vga.Crtc(n, value);
        AssertBothStates();
    }

    [Fact]
    public void AFrameOfTextTakes70thOfASecond()
    {
        _vga.TextMode();
        WaitForRetrace(false);
        WaitForRetrace(true);
        var start = Board.Clock.Now;
        WaitForRetrace(false);
        WaitForRetrace(true);
        Assert.InRange(Board.Clock.Now - start, 14_200_000, 14_400_000);
    }

    [Fact]
    public void TheSwitchesSayThatAMonitorIsThere() => Assert.Equal(0x10, Board.In8(0x3c2) & 0x10);

    private void WaitForRetrace(bool on)
    {
        for (var n = 0; n < 10_000 && ((Board.In8(0x3da) & 8) != 0) != on; n++) Board.Advance(5_000);
    }

    private void AssertBothStates()
    {
        int retrace = 0, shown = 0, dark = 0;
        for (var n = 0; n < 20_000; n++)
        {
            Board.Advance(3_001);
            var status = Board.In8(0x3da);
            if ((status & 8) != 0) retrace++;
            if ((status & 1) != 0) dark++;
            else shown++;
        }

        Assert.True(retrace > 0 && shown > 0 && dark > retrace);
    }
}
