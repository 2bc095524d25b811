using System;
using System.Collections.Generic;
using XenDM.CommandLine;
using XenDM.Core.Input;
using XenDM.Core.Time;
using XenDM.Devices.Input;
using XenDM.Machines;
using XenDM.Monitor;
using XenDM.Testing;
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

    [Fact]
    public void KeysAndMice()
    {
        var hub = new InputHub();
        var clock = new VmClock(static () => 0);
        var monitor = new HumanMonitor(new MonitorTarget(new QemuOptions(), null!, null!, static _ => { }) { Input = new MonitorInput(hub, clock) }, null);
        Assert.Equal("No mouse devices connected\r\n", monitor.Run("info mice"));
        var board = new TestBoard();
        var chip = new I8042(board.IsaLine(1), board.IsaLine(12), board.Clock, board);
        chip.MapPorts(board.Ports);
        hub.Add(chip.Keyboard);
        hub.Add(chip.Mouse);
        Assert.Equal("  Mouse #0: PS/2 mouse\r\n", monitor.Run("info mice"));
        Type(board, 0xd4, 0xf4);
        Assert.Equal([0xfa], Read(board));
        Assert.Equal("* Mouse #0: PS/2 mouse\r\n", monitor.Run("info mice"));
        Assert.Equal("", monitor.Run("mouse_set 0"));
        Assert.Equal("Mouse at given index not found\r\n", monitor.Run("mouse_set 1"));
        Assert.Equal("", monitor.Run("mouse_move 5 -3 0"));
        Assert.Equal([0x08, 5, 3], Read(board));
        Assert.Equal("", monitor.Run("mouse_button 5"));
        Assert.Equal([0x0b, 0, 0], Read(board));
        Assert.Equal("", monitor.Run("mouse_button 2"));
        Assert.Equal([0x0c, 0, 0], Read(board));
        Assert.Equal("", monitor.Run("sendkey ctrl-alt-delete 5"));
        Assert.Equal([0x1d, 0x38, 0xe0, 0x53], Read(board));
        Assert.Equal("invalid parameter: bogus\r\n", monitor.Run("sendkey ctrl-bogus"));
        foreach (var wrong in (string[])["sendkey", "sendkey a b", "sendkey a -1", "mouse_move 1", "mouse_move a b", "mouse_button 8", "mouse_button", "mouse_set x"])
            Assert.StartsWith("write " + wrong.Split(' ')[0], monitor.Run(wrong), StringComparison.Ordinal);
        Assert.Equal("there is no guest to type to\r\n", new HumanMonitor(new MonitorTarget(new QemuOptions(), null!, null!, static _ => { }), null).Run("sendkey a"));
    }

    private static void Type(TestBoard board, int command, int data)
    {
        board.Out8(0x64, command);
        board.Out8(0x60, data);
    }

    private static byte[] Read(TestBoard board)
    {
        var bytes = new List<byte>();
        for (var idle = 0; idle < 100; idle++)
        {
            if ((board.In8(0x64) & 1) != 0) bytes.Add(board.In8(0x60));
            board.Advance(300_000);
        }

        return [.. bytes];
    }

    private MonitorSession Make(bool echo = false)
    {
        var target = new MonitorTarget(new QemuOptions(), null!, null!, static _ => { });
        return new MonitorSession(_terminal, new HumanMonitor(target, null), echo);
    }
}
