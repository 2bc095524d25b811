using System;
using XenDM.CommandLine;
using XenDM.Machines;
using XenDM.Tests.Display;

namespace XenDM.Tests.Machines;

public sealed class MonitorSessionTests : IDisposable
{
    private readonly FakeTerminal _terminal = new();

    public void Dispose() => _terminal.Dispose();

    [Fact]
    public void ALineIsAnsweredAndAPromptFollows()
    {
        using var session = Make();
        Assert.EndsWith(HumanMonitor.Prompt, _terminal.Take(), StringComparison.Ordinal);
        _terminal.Type("info version\r\n");
        Assert.Equal($"{Program.Version}\r\n{HumanMonitor.Prompt}", _terminal.Take());
        _terminal.Type("info sta");
        Assert.Equal("", _terminal.Take());
        _terminal.Type("tus\n");
        Assert.Equal($"VM status: prelaunch\r\n{HumanMonitor.Prompt}", _terminal.Take());
        _terminal.Type("dance\n");
        Assert.Contains("help", _terminal.Take(), StringComparison.Ordinal);
    }

    [Fact]
    public void ATerminalSeesWhatIsTypedAndCanEraseIt()
    {
        using var session = Make(echo: true);
        _terminal.Take();
        _terminal.Type("info versionx\u007f\r");
        Assert.Equal($"info versionx\b \b\r\n{Program.Version}\r\n{HumanMonitor.Prompt}", _terminal.Take());
    }

    [Fact]
    public void ALineWithoutEndIsRefusedAndForgotten()
    {
        using var session = Make();
        _terminal.Take();
        for (var n = 0; n < 100; n++) _terminal.Type(new string('x', 1000));
        _terminal.Type("\n");
        Assert.Contains("4096", _terminal.Take(), StringComparison.Ordinal);
        _terminal.Type("info version\n");
        Assert.StartsWith(Program.Version, _terminal.Take(), StringComparison.Ordinal);
    }

    [Fact]
    public void NothingIsReadWhileTheOtherEndDoesNotRead()
    {
        using var session = Make();
        _terminal.Take();
        _terminal.Room = 10;
        _terminal.Type("help\n");
        Assert.Equal(0, session.ReceiveRoom);
        _terminal.Drain();
        Assert.NotEqual(0, session.ReceiveRoom);
        Assert.EndsWith(HumanMonitor.Prompt, _terminal.Take(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("4xw", 4, 'x', 4)]
    [InlineData("", 1, 'x', 4)]
    [InlineData("10i", 10, 'i', 4)]
    [InlineData("c", 1, 'c', 1)]
    [InlineData("2gd", 2, 'd', 8)]
    public void FormatsOfMemory(string text, int count, char letter, int size)
    {
        Assert.True(MemoryFormat.TryParse(text, out var format));
        Assert.Equal(new MemoryFormat(count, letter, size), format);
    }

    [Theory]
    [InlineData("0x")]
    [InlineData("99999999999")]
    [InlineData("4z")]
    [InlineData("-1")]
    public void WrongFormatsOfMemory(string text) => Assert.False(MemoryFormat.TryParse(text, out _));

    [Fact]
    public void ItemsOfMemory()
    {
        Assert.Equal(" 0x0201 0xfffe", new MemoryFormat(2, 'x', 2).Show([1, 2, 0xfe, 0xff, 9]));
        Assert.Equal(" 513 -2", new MemoryFormat(2, 'd', 2).Show([1, 2, 0xfe, 0xff]));
        Assert.Equal(" 'A' \\x07", new MemoryFormat(2, 'c', 1).Show([65, 7]));
    }

    private MonitorSession Make(bool echo = false)
    {
        var target = new MonitorTarget(new QemuOptions(), null!, null!, static _ => { });
        return new MonitorSession(_terminal, new HumanMonitor(target, null), echo);
    }
}
