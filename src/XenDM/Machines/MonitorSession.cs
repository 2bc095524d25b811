using System;
using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using XenDM.Core.Backends;

namespace XenDM.Machines;

/// <summary>
/// The human monitor on a character backend: a line in, its text out, and a prompt. Control characters other than line ends and
/// erase are dropped. A line that is too long is refused; while the other end does not read, no more is read from it.
/// </summary>
internal sealed class MonitorSession : ICharFrontend, IDisposable
{
    private const int MaxLine = 4096;
    private const byte Erase = 0x7f;
    private const byte Backspace = 8;
    private readonly ICharBackend _backend;
    private readonly HumanMonitor _monitor;
    private readonly bool _echo;
    private readonly byte[] _line = new byte[MaxLine];
    private readonly Pipe _out = new(new PipeOptions(pauseWriterThreshold: 0, readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));
    private int _length;
    private bool _tooLong;
    private bool _greeted;
    private bool _sendsAll = true;

    /// <param name="echo">The other end is a terminal in raw mode, which shows only what is sent to it.</param>
    public MonitorSession(ICharBackend backend, HumanMonitor monitor, bool echo)
    {
        _backend = backend;
        _monitor = monitor;
        _echo = echo;
        backend.Attach(this);
        if (backend.IsOpen && !_greeted) Greet();
    }

    public int ReceiveRoom => _sendsAll ? MaxLine : 0;

    public void Receive(ReadOnlySpan<byte> data)
    {
        foreach (var letter in data)
        {
            switch (letter)
            {
                case (byte)'\r' or (byte)'\n':
                    EndLine(letter);
                    break;
                case Erase or Backspace:
                    if (_length == 0) break;
                    _length--;
                    if (_echo) Send("\b \b");
                    break;
                case < 0x20:
                    break;
                default:
                    if (_length == MaxLine)
                    {
                        _tooLong = true;
                        break;
                    }

                    _line[_length++] = letter;
                    if (_echo) Send([letter]);
                    break;
            }
        }

        WriteReady();
    }

    public void Event(CharEvent e)
    {
        if (e == CharEvent.Break) return;
        _length = 0;
        _tooLong = false;
        while (_out.Reader.TryRead(out var old)) _out.Reader.AdvanceTo(old.Buffer.End);
        _sendsAll = true;
        if (e == CharEvent.Opened) Greet();
    }

    private void Greet()
    {
        _greeted = true;
        Send($"{Program.Version} monitor - type 'help' for the commands\r\n{HumanMonitor.Prompt}");
        WriteReady();
    }

    public void WriteReady()
    {
        while (_out.Reader.TryRead(out var result))
        {
            var sent = _backend.Write(result.Buffer.FirstSpan);
            var whole = sent == result.Buffer.FirstSpan.Length;
            _out.Reader.AdvanceTo(result.Buffer.GetPosition(sent));
            _sendsAll = whole;
            if (!whole) return;
        }

        _backend.AcceptInput();
    }

    public void Dispose() => _out.Reader.Complete();

    private void EndLine(byte letter)
    {
        // The second half of a line end of two characters.
        if (letter == (byte)'\n' && _length == 0 && !_tooLong) return;
        if (_echo) Send("\r\n");
        var answer = _tooLong ? $"a line has up to {MaxLine} characters\r\n" : _monitor.Run(Encoding.UTF8.GetString(_line, 0, _length)) ?? $"unknown command; 'help' lists them\r\n";
        _length = 0;
        _tooLong = false;
        Send(answer);
        Send(HumanMonitor.Prompt);
    }

    private void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    private void Send(ReadOnlySpan<byte> text)
    {
        _out.Writer.Write(text);
        var flushed = _out.Writer.FlushAsync();
        if (!flushed.IsCompleted) throw new InvalidOperationException("a pipe without a limit does not wait");
    }
}
