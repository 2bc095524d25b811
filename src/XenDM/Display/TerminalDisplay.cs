using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.Time;
using XenDM.Devices.Display.Vga;
using XenDM.Devices.Input;
using XenDM.Machines;

namespace XenDM.Display;

/// <summary>What the menu of the terminal display can do to the machine.</summary>
internal interface ITerminalActions
{
    void Reset();

    void PressPowerButton();

    void Quit();

    /// <summary>Carries out a line for the monitor.</summary>
    /// <returns>What it says, lines ended by CR LF.</returns>
    string Monitor(string command);
}

/// <summary>
/// The guest's text screen and keyboard in a terminal (<c>--display text</c>). Runs on the machine thread: it is told when the screen changes and
/// paints at most twenty times a second; keys go to the keyboard one by one, as fast as the guest takes them.
/// </summary>
internal sealed class TerminalDisplay : ICharFrontend, IKeySink, IDisposable
{
    private const long PaintInterval = 50_000_000;
    private const long EscapeTime = 50_000_000;
    private const long KeyInterval = 2_000_000;

    /// <summary>A guest that has not taken a key for so long does not read its keyboard: what waits is dropped.</summary>
    private const int KeyPatience = 500;
    private const int MaxKeys = 4096;
    private const int MaxLine = 256;
    private const byte MenuAttribute = 0x70;
    private const string MenuText = " r reset | p power button | q quit | s screenshot | m monitor | a Ctrl-A | Esc back ";

    private readonly ICharBackend _terminal;
    private readonly VgaAdapter _vga;
    private readonly InputSeat _seat;
    private readonly ScreenHub _screen;
    private readonly Ps2Keyboard _keyboard;
    private readonly ITerminalActions _actions;
    private readonly Func<(int Columns, int Rows)> _size;
    private readonly string _folder;
    private readonly AnsiPainter _painter = new();
    private readonly KeyTranslator _translator;
    private readonly TextScreen _text = new();
    private readonly VmTimer _paint;
    private readonly VmTimer _escape;
    private readonly VmTimer _send;
    private readonly Action _changed;
    private readonly Queue<(ushort Key, bool Down)> _keys = new();
    private readonly StringBuilder _line = new();
    private byte[] _pending = [];
    private string _message = "";
    private int _keyWaits;
    private bool _inMonitor;
    private bool _disposed;

    /// <param name="terminal">A terminal in raw mode.</param>
    /// <param name="screen">What pictures are taken of.</param>
    /// <param name="seat">Where the keys are typed.</param>
    /// <param name="keyboard">The guest's keyboard as far as it takes keys one by one.</param>
    /// <param name="size">Asks for its size.</param>
    /// <param name="folder">Where pictures of the screen go.</param>
    public TerminalDisplay(ICharBackend terminal, VgaAdapter vga, ScreenHub screen, InputSeat seat, Ps2Keyboard keyboard, IVmClock clock, ITerminalActions actions, Func<(int Columns, int Rows)> size, string folder)
    {
        _terminal = terminal;
        _vga = vga;
        _seat = seat;
        _screen = screen;
        _keyboard = keyboard;
        _actions = actions;
        _size = size;
        _folder = folder;
        _translator = new KeyTranslator(this);
        _paint = clock.CreateTimer("display.paint", Paint);
        _escape = clock.CreateTimer("display.escape", () => _translator.Flush());
        _send = clock.CreateTimer("display.keys", SendKeys);
        _changed = () => _paint.ArmAfter(PaintInterval);
        terminal.Attach(this);
        Send(AnsiPainter.Enter);
        Paint();
    }

    public int ReceiveRoom => 256;

    /// <summary>The terminal has another size, or something else wrote on it.</summary>
    public void Redraw()
    {
        if (_inMonitor) return;
        _painter.Invalidate();
        Paint();
    }

    /// <summary>Shows what the guest has on the screen now; called as well when the machine stops, because its timers stop with it.</summary>
    public void Paint()
    {
        if (_disposed) return;
        _vga.Bell.Set(_changed);

        // A terminal that is slower than the guest gets the next picture when it has taken this one.
        if (_inMonitor || _pending.Length > 0) return;
        var (columns, rows) = _size();
        _painter.Begin(columns, rows);
        if (_vga.Screen.ReadText(_text)) _painter.Put(_text);
        else PutGraphicsNote();
        if (_message.Length > 0) _painter.Put(-1, _message.PadRight(columns), MenuAttribute);
        Send(_painter.Finish());
    }

    private void PutGraphicsNote()
    {
        var screen = _vga.Screen;
        _painter.Put(0, $"The guest shows graphics, {screen.Width} x {screen.Height} with {screen.Depth} bits a pixel.", 0x07);
        _painter.Put(1, "Ctrl-A s writes a picture of it to a file.", 0x07);
    }

    public void Receive(ReadOnlySpan<byte> data)
    {
        foreach (var value in data)
        {
            if (_inMonitor) MonitorByte(value);
            else
            {
                if (_message.Length > 0 && _message != MenuText) Say("");
                _translator.Feed([value]);
            }
        }

        if (_translator.IsWaiting) _escape.ArmAfter(EscapeTime);
        else _escape.Cancel();
    }

    /// <summary>The terminal is gone: so is whoever could end the machine otherwise.</summary>
    public void Event(CharEvent e)
    {
        if (e == CharEvent.Closed) _actions.Quit();
    }

    public void WriteReady()
    {
        var waiting = _pending;
        _pending = [];
        Send(waiting);
        if (_pending.Length == 0) Paint();
    }

    public void Key(ushort key, bool down)
    {
        if (_keys.Count >= MaxKeys) return;
        _keys.Enqueue((key, down));
        if (!_send.IsArmed) _send.ArmAfter(0);
    }

    public void MenuOpened() => Say(MenuText);

    public void MenuChosen(char choice)
    {
        Say("");
        switch (choice)
        {
            case 'r': _actions.Reset(); break;
            case 'p': _actions.PressPowerButton(); break;
            case 'q': _actions.Quit(); break;
            case 's': TakePicture(); break;
            case 'm': EnterMonitor(); break;
        }
    }

    private void SendKeys()
    {
        if (_keyboard.HasData && ++_keyWaits < KeyPatience)
        {
            _send.ArmAfter(KeyInterval);
            return;
        }

        if (_keyWaits >= KeyPatience) _keys.Clear();
        _keyWaits = 0;
        if (!_keys.TryDequeue(out var next)) return;
        _seat.Key(next.Key, next.Down);
        if (_keys.Count > 0) _send.ArmAfter(KeyInterval);
    }

    private void Say(string message)
    {
        _message = message;
        Paint();
    }

    private void TakePicture()
    {
        try
        {
            Say($" The screen is in {Picture.WriteNext(_screen, _folder)}. ");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Say($" No picture: {e.Message} ");
        }
    }

    private void EnterMonitor()
    {
        _inMonitor = true;
        _line.Clear();
        Send("\u001b[0m\u001b[?7h\u001b[?25h\u001b[2J\u001b[HMonitor: help tells the commands, an empty line goes back to the guest.\r\n"u8);
        Send(Encoding.UTF8.GetBytes(HumanMonitor.Prompt));
    }

    private void LeaveMonitor()
    {
        _inMonitor = false;
        Send("\u001b[?7l\u001b[2J"u8);
        Redraw();
    }

    private void MonitorByte(byte value)
    {
        switch (value)
        {
            case 0x0d or 0x0a:
                RunLine();
                break;
            case 0x08 or 0x7f when _line.Length > 0:
                _line.Length--;
                Send("\b \b"u8);
                break;
            case 0x15:
                Send(Encoding.UTF8.GetBytes($"\r\u001b[K{HumanMonitor.Prompt}"));
                _line.Clear();
                break;
            case 0x04:
                LeaveMonitor();
                break;
            case >= 0x20 and < 0x7f when _line.Length < MaxLine:
                _line.Append((char)value);
                Send([value]);
                break;
        }
    }

    private void RunLine()
    {
        var command = _line.ToString().Trim();
        _line.Clear();
        if (command.Length == 0)
        {
            LeaveMonitor();
            return;
        }

        Send(Encoding.UTF8.GetBytes($"\r\n{_actions.Monitor(command)}{HumanMonitor.Prompt}"));
    }

    /// <summary>Sends to the terminal, or keeps what it does not take now.</summary>
    private void Send(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty) return;
        if (_pending.Length > 0)
        {
            _pending = [.. _pending, .. bytes];
            return;
        }

        var taken = _terminal.Write(bytes);
        if (taken < bytes.Length) _pending = bytes[taken..].ToArray();
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        _paint.Cancel();
        _escape.Cancel();
        _send.Cancel();
        _seat.Dispose();

        // An escape sequence that is half sent would swallow the beginning of this one.
        Send(AnsiPainter.Leave);
        if (_pending.Length > 0) _terminal.Write([0x18, .. AnsiPainter.Leave]);
    }
}
