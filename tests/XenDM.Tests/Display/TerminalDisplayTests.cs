using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using XenDM.Display;
using XenDM.Testing;

namespace XenDM.Tests.Display;

public sealed class TerminalDisplayTests : ITerminalActions, IDisposable
{
    private const long Millisecond = 1_000_000;
    private readonly TextBoard _board = new();
    private readonly FakeTerminal _terminal = new();
    private readonly List<string> _actions = [];
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-display").FullName;
    private readonly TerminalDisplay _display;
    private (int Columns, int Rows) _size = (80, 25);

    public TerminalDisplayTests() => _display = new TerminalDisplay(_terminal, _board.Vga, _board.Screen, _board.Input.Open(), _board.Keyboard.Keyboard, _board.Board.Clock, this, () => _size, _folder);

    public void Dispose()
    {
        _display.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    void ITerminalActions.Reset() => _actions.Add("reset");

    void ITerminalActions.PressPowerButton() => _actions.Add("power");

    void ITerminalActions.Quit() => _actions.Add("quit");

    string ITerminalActions.Monitor(string command) => $"did {command}\r\n";

    private string After(long milliseconds)
    {
        _board.Board.Advance(milliseconds * Millisecond);
        return _terminal.Take();
    }

    /// <summary>What the guest's keyboard handler reads.</summary>
    private string ReadKeys(int milliseconds)
    {
        var codes = new StringBuilder();
        for (var n = 0; n < milliseconds; n++)
        {
            _board.Board.Advance(Millisecond);
            if ((_board.Board.In8(0x64) & 1) != 0) codes.Append($"{_board.Board.In8(0x60):x2} ");
        }

        return codes.ToString();
    }

    [Fact]
    public void ItPaintsWhatChangesAndIsQuietOtherwise()
    {
        Assert.StartsWith("\u001b[?1049h", _terminal.Take(), StringComparison.Ordinal);
        Assert.Equal("", After(1000));
        Assert.Equal(long.MaxValue, _board.Board.Clock.NextDeadline);
        _board.Print(0, 0, "one");
        Assert.Equal("", After(40));
        _board.Print(0, 1, "two");
        var painted = After(20);
        Assert.Contains("one", painted, StringComparison.Ordinal);
        Assert.Contains("two", painted, StringComparison.Ordinal);
        Assert.Equal("", After(1000));
        Assert.Equal(long.MaxValue, _board.Board.Clock.NextDeadline);
    }

    [Fact]
    public void ASlowTerminalGetsTheLastPicture()
    {
        _terminal.Take();
        _terminal.Room = 10;
        _board.Print(0, 0, "first");
        After(100);
        for (var n = 0; n < 100; n++)
        {
            _board.Print(0, 0, $"number {n}");
            Assert.Equal("", After(100));
        }

        _terminal.Drain();
        var rest = _terminal.Take();
        Assert.Contains("number 99", rest, StringComparison.Ordinal);
        Assert.DoesNotContain("number 50", rest, StringComparison.Ordinal);
    }

    [Fact]
    public void TypedKeysReachTheGuest()
    {
        _terminal.Type("aB");
        Assert.Equal("1e 9e 2a 30 b0 aa ", ReadKeys(100));
        _terminal.Type("\u001b[A");
        Assert.Equal("e0 48 e0 c8 ", ReadKeys(100));
    }

    [Fact]
    public void ALoneEscapeIsAKeyAfterAWhile()
    {
        _terminal.Type("\u001b");
        Assert.Equal("", ReadKeys(40));
        Assert.Equal("01 81 ", ReadKeys(60));
    }

    [Fact]
    public void ALongPasteWaitsForTheGuest()
    {
        _terminal.Type(new string('a', 300));
        Assert.Equal(string.Concat(System.Linq.Enumerable.Repeat("1e 9e ", 300)), ReadKeys(3000));
    }

    [Fact]
    public void AGuestThatReadsNoKeysCostsNoTime()
    {
        _terminal.Type(new string('a', 300));
        After(10_000);
        Assert.Equal(long.MaxValue, _board.Board.Clock.NextDeadline);
    }

    [Theory]
    [InlineData('r', "reset")]
    [InlineData('p', "power")]
    [InlineData('q', "quit")]
    public void TheMenuReachesTheMachine(char key, string action)
    {
        _terminal.Take();
        _terminal.Type("\u0001");
        Assert.Contains("r reset", _terminal.Take(), StringComparison.Ordinal);
        _terminal.Type(key.ToString());
        Assert.Equal([action], _actions);
        Assert.DoesNotContain("reset", _terminal.Take(), StringComparison.Ordinal);
        Assert.Equal("", ReadKeys(50));
    }

    [Fact]
    public void APictureIsAPng()
    {
        _terminal.Type("\u0001s");
        Assert.Contains("xendm-1.png", _terminal.Take(), StringComparison.Ordinal);
        _terminal.Type("\u0001s");
        Assert.Contains("xendm-2.png", _terminal.Take(), StringComparison.Ordinal);
        var picture = Assert.Single(PngReader.Read(File.ReadAllBytes(Path.Combine(_folder, "xendm-1.png"))).Frames);
        Assert.Equal((720, 400), (picture.Width, picture.Height));

        // The cursor, in the colour of the text, on scan lines 13 and 14.
        Assert.Equal((0xaa_aaaau, 0xaa_aaaau, 0u, 0u), (picture.Line(13)[0], picture.Line(14)[7], picture.Line(12)[0], picture.Line(13)[8]));
    }

    [Fact]
    public void ThePromptOfTheMonitorTakesTheTerminal()
    {
        _board.Print(0, 0, "guest");
        After(100);
        _terminal.Type("\u0001m");
        Assert.EndsWith("(xendm) ", _terminal.Take(), StringComparison.Ordinal);
        _board.Print(0, 0, "other");
        Assert.Equal("", After(200));
        _terminal.Type("infx\u007fo pci\r");
        Assert.Equal("infx\b \bo pci\r\ndid info pci\r\n(xendm) ", _terminal.Take());
        Assert.Equal("", ReadKeys(50));
        _terminal.Type("\r");
        Assert.Contains("other", _terminal.Take(), StringComparison.Ordinal);
        _board.Print(0, 0, "again");
        Assert.Contains("again", After(100), StringComparison.Ordinal);
    }

    [Fact]
    public void AGraphicsModeIsAnnounced()
    {
        _board.Board.Out16(0x1ce, 1);
        _board.Board.Out16(0x1cf, 800);
        _board.Board.Out16(0x1ce, 2);
        _board.Board.Out16(0x1cf, 600);
        _board.Board.Out16(0x1ce, 4);
        _board.Board.Out16(0x1cf, 1);
        Assert.Contains("800 x 600", After(100), StringComparison.Ordinal);
    }

    [Fact]
    public void AResizedTerminalIsPaintedAnew()
    {
        _board.Print(0, 0, "hello");
        After(100);
        _size = (40, 12);
        _display.Redraw();
        Assert.Contains("hello", _terminal.Take(), StringComparison.Ordinal);
    }

    [Fact]
    public void TheTerminalIsGivenBack()
    {
        _terminal.Take();
        _display.Dispose();
        Assert.EndsWith("\u001b[?1049l", _terminal.Take(), StringComparison.Ordinal);
        _board.Print(0, 0, "late");
        Assert.Equal("", After(200));
    }

    [Fact]
    public void WithoutTerminalTheMachineEnds()
    {
        _terminal.HangUp();
        Assert.Equal(["quit"], _actions);
    }
}
