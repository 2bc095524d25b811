using System.Text;
using XenDM.Display;

namespace XenDM.Tests.Display;

public class AnsiPainterTests
{
    private readonly TextBoard _board = new();
    private readonly AnsiPainter _painter = new();

    private string Paint(int columns = 80, int rows = 25)
    {
        _painter.Begin(columns, rows);
        _painter.Put(_board.Text());
        return Encoding.UTF8.GetString(_painter.Finish()).Replace('\u001b', '^');
    }

    [Fact]
    public void OnlyChangedCellsAreSent()
    {
        Assert.True(Paint().Length > 2000);
        Assert.Equal("", Paint());
        _board.Print(10, 4, "Hi");
        Assert.Equal("^[?25l^[5;11H^[0;37;40mHi^[0m^[1;1H^[?25h", Paint());
        Assert.Equal("", Paint());
        _board.Print(11, 4, "o");
        _board.Print(0, 24, "x");
        Assert.Equal("^[?25l^[5;12H^[0;37;40mo^[25;1Hx^[0m^[1;1H^[?25h", Paint());
    }

    [Fact]
    public void OnlyTheCursorMoves()
    {
        Paint();
        _board.Cursor(5, 2);
        Assert.Equal("^[3;6H^[?25h", Paint());
        _board.Crtc(0x0a, 0x00);
        Assert.Equal("^[1 q^[3;6H^[?25h", Paint());
        _board.Crtc(0x0a, 0x2d);
        Assert.Equal("^[?25l", Paint());
        Assert.Equal("", Paint());
    }

    [Fact]
    public void ColoursAreTheTerminalsOwn()
    {
        Paint();
        _board.Print(0, 0, "a", 0x1e);
        _board.Print(1, 0, "b", 0xc4);
        Assert.Equal("^[?25l^[1;1H^[0;93;44ma^[0;5;31;41mb^[0m^[1;1H^[?25h", Paint());
        _board.Board.In8(0x3da);
        _board.Board.Out8(0x3c0, 0x30);
        _board.Board.Out8(0x3c0, 0x04);
        Assert.Contains("^[0;93;44ma^[0;31;101mb^[0;37;40m ", Paint(), System.StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x805000u, 94)]
    [InlineData(0xfc0000u, 196)]
    [InlineData(0x6c7070u, 242)]
    public void OtherColoursAreTheNearestOf256(uint colour, int number)
    {
        Paint();
        _board.Dac(5, colour);
        _board.Print(0, 0, "a", 0x05);
        Assert.Contains($"^[0;38;5;{number};40ma", Paint(), System.StringComparison.Ordinal);
    }

    [Fact]
    public void TheIbmCharactersAreUnicode()
    {
        Paint();
        _board.Print(0, 0, "\u00c9\u00cd\u00bb\u00db\u0001\u007f\u00ff\u00e1\u0000.");
        Assert.Contains("╔═╗█☺⌂ ß .", Paint(), System.StringComparison.Ordinal);
        for (var code = 0; code < 256; code++) Assert.False(char.IsControl(CodePage437.ToUnicode((byte)code)));
    }

    [Fact]
    public void AnotherSizeIsPaintedAnew()
    {
        _board.Print(0, 24, "bottom");
        _board.Cursor(6, 24);
        Paint();
        var small = Paint(40, 10);
        Assert.Contains("bottom", small, System.StringComparison.Ordinal);
        Assert.EndsWith("^[10;7H^[?25h", small, System.StringComparison.Ordinal);
        Assert.Contains("^[25;1H", Paint(200, 50), System.StringComparison.Ordinal);
        Assert.Equal("", Paint(200, 50));
        Paint(1, 1);
        _painter.Begin(0, -3);
        _painter.Finish();
    }

    [Fact]
    public void MessagesLieOverTheScreen()
    {
        _board.Print(0, 24, "under");
        Paint();
        _painter.Begin(80, 25);
        _painter.Put(_board.Text());
        _painter.Put(-1, "note", 0x70);
        _painter.Put(99, "outside", 0x70);
        Assert.Equal("^[?25l^[25;1H^[0;30;47mnote^[0m^[1;1H^[?25h", Encoding.UTF8.GetString(_painter.Finish()).Replace('\u001b', '^'));
        Assert.Equal("^[?25l^[25;1H^[0;37;40munde^[0m^[1;1H^[?25h", Paint());
    }
}
