using System;
using System.Buffers;
using System.IO.Pipelines;
using XenDM.Core.Backends;

namespace XenDM.Hypervisor.QTest;

/// <summary>
/// One qtest connection over a character backend: lines in, a line back for each, and interrupt lines in between (qemu/docs/devel/testing/qtest).
/// What a client sends is bounded by what fits the guest's RAM; while it does not read, no command is carried out. Time that the client moves far
/// is moved in pieces, so that the process stays awake.
/// </summary>
public sealed class QTestSession : ICharFrontend, IDisposable
{
    private const int ReceiveBytes = 64 << 10;

    /// <summary>A line is at most a write of all RAM in hexadecimal digits, and a little.</summary>
    private const int LineSlack = 4096;

    /// <summary>Moments that time passes before the loop looks at other things.</summary>
    private const int RoundsAtOnce = 50_000;

    /// <summary>Interrupt lines that wait for a client that does not read; time stands still until they are gone.</summary>
    private const int MaxWaitingBytes = 64 << 10;
    private const int KeepBytes = 1 << 20;

    private readonly ICharBackend _backend;
    private readonly QTestHypervisor _machine;
    private readonly IEventLoop _loop;
    private readonly QTestCommands _commands;
    private readonly Action<string>? _log;
    private readonly long _maxLine;
    private readonly Action _continue;
    private Pipe _in = MakePipe();
    private ArrayBufferWriter<byte> _out = new(4096);
    private int _sent;
    private long _scanned;
    private bool _skipLine;
    private bool _busy;
    private bool _isStepping;

    /// <param name="backend">Where clients come from; this becomes its front end.</param>
    /// <param name="log">Told of each line, or null.</param>
    public QTestSession(ICharBackend backend, QTestHypervisor machine, IEventLoop loop, Action<string>? log)
    {
        _backend = backend;
        _machine = machine;
        _loop = loop;
        _log = log;
        _maxLine = Math.Min((long)(machine.MemoryBytes * 2) + LineSlack, int.MaxValue / 2);
        _continue = ReadLines;
        _commands = new QTestCommands(machine);
        machine.Wires.Changed = LineChanged;
        backend.Attach(this);
    }

    /// <summary>Interrupt lines that a client did not get because it does not read.</summary>
    public ulong DroppedInterrupts { get; private set; }

    public int ReceiveRoom => _out.WrittenCount == 0 && !_isStepping ? ReceiveBytes : 0;

    public void Receive(ReadOnlySpan<byte> data)
    {
        _in.Writer.Write(data);
        var flushed = _in.Writer.FlushAsync();
        if (!flushed.IsCompleted) throw new InvalidOperationException("a pipe without a limit does not wait");
        ReadLines();
    }

    public void Event(CharEvent e)
    {
        if (e is not (CharEvent.Opened or CharEvent.Closed)) return;
        _in.Reader.Complete();
        _in = MakePipe();
        _out.ResetWrittenCount();
        _sent = 0;
        _scanned = 0;
        _skipLine = false;
        _isStepping = false;
        _commands.StartAnew();
    }

    public void WriteReady()
    {
        Flush();
        if (_out.WrittenCount > 0) return;
        ReadLines();
        if (ReceiveRoom > 0) _backend.AcceptInput();
    }

    public void Dispose()
    {
        _machine.Wires.Changed = null;
        _in.Reader.Complete();
    }

    private static Pipe MakePipe() => new(new PipeOptions(
        pauseWriterThreshold: 0, readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));

    /// <summary>Carries out whole lines, as long as the client reads the answers.</summary>
    private void ReadLines()
    {
        if (_busy) return;
        _busy = true;
        var pipe = _in;
        while (_out.WrittenCount == 0 || _isStepping)
        {
            if (_isStepping ? !Step() : !TryReadLine(pipe)) break;
            Flush();
        }

        _busy = false;
        Flush();
        if (ReceiveRoom > 0) _backend.AcceptInput();
    }

    /// <returns>False when more bytes are needed.</returns>
    private bool TryReadLine(Pipe pipe)
    {
        if (!pipe.Reader.TryRead(out var result)) return false;
        var buffer = result.Buffer;
        if (buffer.Slice(_scanned).PositionOf((byte)'\n') is { } end)
        {
            _scanned = 0;
            if (_skipLine) _skipLine = false;
            else Execute(buffer.Slice(0, end));
            pipe.Reader.AdvanceTo(buffer.GetPosition(1, end));
            return true;
        }

        if (!_skipLine && buffer.Length <= _maxLine)
        {
            _scanned = buffer.Length;
            pipe.Reader.AdvanceTo(buffer.Start, buffer.End);
            return false;
        }

        _scanned = 0;
        if (!_skipLine) _commands.Refuse(_out, $"a line is longer than {_maxLine} bytes");
        _skipLine = true;
        pipe.Reader.AdvanceTo(buffer.End);
        return false;
    }

    private void Execute(in ReadOnlySequence<byte> line)
    {
        if (line.IsSingleSegment)
        {
            Execute(line.FirstSpan);
            return;
        }

        var whole = ArrayPool<byte>.Shared.Rent((int)line.Length);
        line.CopyTo(whole);
        Execute(whole.AsSpan(0, (int)line.Length));
        ArrayPool<byte>.Shared.Return(whole);
    }

    private void Execute(ReadOnlySpan<byte> line)
    {
        if (line is [.., (byte)'\r']) line = line[..^1];
        if (_log is not null) Log("R", line);
        _commands.Execute(line, _out);
        _isStepping = _commands.IsStepping;
        if (_log is not null && !_isStepping) Log("S", _out.WrittenSpan.TrimEnd((byte)'\n'));
    }

    /// <summary>Lets time go on for a while.</summary>
    /// <returns>False when the rest has to wait.</returns>
    private bool Step()
    {
        if (_out.WrittenCount > MaxWaitingBytes) return false;
        _isStepping = !_commands.TryFinishStep(_out, RoundsAtOnce);
        if (_isStepping) _loop.Post(_continue);
        else if (_log is not null) Log("S", _out.WrittenSpan.TrimEnd((byte)'\n'));
        return !_isStepping;
    }

    /// <summary>An interrupt line changed, inside a command or between two (a disk is done).</summary>
    private void LineChanged(int irq, bool level)
    {
        if (!_commands.Reports(irq, level)) return;
        if (!_busy && _out.WrittenCount > MaxWaitingBytes)
        {
            DroppedInterrupts++;
            return;
        }

        QTestCommands.WriteInterrupt(_out, irq, level);
        if (!_busy) Flush();
    }

    private void Flush()
    {
        var left = _out.WrittenSpan[_sent..];
        if (left.IsEmpty) return;
        var taken = _backend.Write(left);
        if (taken < left.Length)
        {
            _sent += taken;
            return;
        }

        _sent = 0;
        if (_out.Capacity > KeepBytes) _out = new ArrayBufferWriter<byte>(4096);
        else _out.ResetWrittenCount();
    }

    private void Log(string who, ReadOnlySpan<byte> text) => _log!($"[{who} +{_machine.Now}] {System.Text.Encoding.Latin1.GetString(text)}");
}
