using System;
using System.Buffers;
using System.IO.Pipelines;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;

namespace XenDM.Monitor.Gdb;

/// <summary>
/// One GDB over a character backend: packets with checksums, acknowledged until the client asks to leave that out (GDB manual, appendix "Remote
/// Serial Protocol", "Overview" and "Packet Acknowledgment"). A packet that comes while the guest runs stops it, as a break (Ctrl-C) does. What a
/// client sends is bounded by the longest packet, and packets wait until the replies before them are gone. When a client that spoke to us goes
/// away without a word, its breakpoints go with it and the guest runs on.
/// </summary>
public sealed class GdbSession : ICharFrontend, IDisposable
{
    /// <summary>Bytes between the dollar sign and the checksum.</summary>
    public const int MaxPacket = 16 << 10;

    private const int ReceiveBytes = 64 << 10;
    private const byte Break = 3;

    private readonly ICharBackend _backend;
    private readonly IDebugTarget _target;
    private readonly GdbCommands _commands;
    private readonly byte[] _packet = new byte[MaxPacket];
    private readonly ArrayBufferWriter<byte> _out = new(4096);

    /// <summary>What a command writes, and what comes unasked for, before they are packets.</summary>
    private readonly ArrayBufferWriter<byte> _reply = new(4096), _notice = new(64);

    private Pipe _in = InlinePipe.Make();

    /// <summary>The last packet, until the client has it.</summary>
    private byte[] _last = [];
    private bool _acknowledges = true;
    private bool _skipsPacket;
    private bool _spoke;
    private bool _busy;
    private int _sent;

    /// <param name="backend">Where clients come from; this becomes its front end.</param>
    /// <param name="monitor">Carries out a command for people (<c>monitor</c> in GDB); null when it is not known.</param>
    /// <param name="kill">Ends the machine.</param>
    public GdbSession(ICharBackend backend, IDebugTarget target, Func<string, string?> monitor, Action kill)
    {
        _backend = backend;
        _target = target;
        _commands = new GdbCommands(target, monitor, kill);
        target.Stopped = OnStopped;
        backend.Attach(this);
    }

    public int ReceiveRoom => _out.WrittenCount == 0 ? ReceiveBytes : 0;

    public void Receive(ReadOnlySpan<byte> data)
    {
        _in.Put(data);
        ReadPackets();
    }

    public void Event(CharEvent e)
    {
        if (e is not (CharEvent.Opened or CharEvent.Closed)) return;
        if (_spoke) _commands.Detach();
        _commands.StartAnew();
        _in.Reader.Complete();
        _in = InlinePipe.Make();
        _out.ResetWrittenCount();
        _last = [];
        _sent = 0;
        _acknowledges = true;
        _skipsPacket = _spoke = false;
    }

    public void WriteReady()
    {
        Flush();
        ReadPackets();
        if (ReceiveRoom > 0) _backend.AcceptInput();
    }

    /// <summary>The machine ended; the process follows.</summary>
    public void Exited(int status)
    {
        _notice.ResetWrittenCount();
        if (_commands.TakeExit(status, _notice)) Send(_notice.WrittenSpan);
    }

    public void Dispose()
    {
        _target.Stopped = null;
        _in.Reader.Complete();
    }

    private void OnStopped(DebugStop stop)
    {
        _notice.ResetWrittenCount();
        if (_commands.TakeStop(stop, _notice)) Send(_notice.WrittenSpan);
    }

    /// <summary>Takes what is there, as long as the client reads the replies. A reply may end the connection, so nothing is kept across it.</summary>
    private void ReadPackets()
    {
        if (_busy) return;
        _busy = true;
        while (_out.WrittenCount == 0 && TryReadOne())
        {
        }

        _busy = false;
    }

    /// <returns>False when more bytes are needed.</returns>
    private bool TryReadOne()
    {
        var pipe = _in;
        if (!pipe.Reader.TryRead(out var result)) return false;
        var buffer = result.Buffer;
        var reader = new SequenceReader<byte>(buffer);
        if (_skipsPacket || reader.IsNext((byte)'$', advancePast: true)) return TryReadPacket(pipe, buffer, reader);
        reader.TryRead(out var single);
        pipe.Reader.AdvanceTo(reader.Position);
        switch (single)
        {
            case (byte)'+':
                _last = [];
                break;
            case (byte)'-' when _last.Length > 0:
                _out.Write(_last);
                Flush();
                break;
            case Break:
                _spoke = true;
                _target.Stop();
                break;
        }

        return true;
    }

    /// <param name="reader">Behind the dollar sign, or in the middle of a packet that is too long.</param>
    private bool TryReadPacket(Pipe pipe, in ReadOnlySequence<byte> buffer, SequenceReader<byte> reader)
    {
        var start = reader.Position;
        if (!reader.TryAdvanceToAny("#$"u8, advancePastDelimiter: false))
        {
            _skipsPacket |= buffer.Length > MaxPacket + 1;
            pipe.Reader.AdvanceTo(_skipsPacket ? buffer.End : buffer.Start, buffer.End);
            return false;
        }

        var end = reader.Position;
        if (reader.IsNext((byte)'$'))
        {
            // The packet before this one was never finished.
            _skipsPacket = false;
            pipe.Reader.AdvanceTo(end);
            return true;
        }

        Span<byte> digits = stackalloc byte[2];
        reader.Advance(1);
        if (!reader.TryCopyTo(digits))
        {
            pipe.Reader.AdvanceTo(_skipsPacket ? end : buffer.Start, buffer.End);
            return false;
        }

        reader.Advance(2);
        var content = buffer.Slice(start, end);
        var isTooLong = _skipsPacket || content.Length > MaxPacket;
        var packet = isTooLong ? default : _packet.AsSpan(0, (int)content.Length);
        if (!isTooLong) content.CopyTo(packet);
        _skipsPacket = false;
        pipe.Reader.AdvanceTo(reader.Position);
        if (isTooLong) Refuse();
        else Take(packet, digits);
        return true;
    }

    private void Take(ReadOnlySpan<byte> packet, ReadOnlySpan<byte> digits)
    {
        Span<byte> sum = stackalloc byte[1];
        var isWhole = new GdbReader(digits).TryBytes(sum) && sum[0] == Sum(packet);
        if (_acknowledges) _out.Write(isWhole ? "+"u8 : "-"u8);
        if (isWhole)
        {
            _spoke = true;
            if (_target.IsRunning) _target.Stop();
            _reply.ResetWrittenCount();
            if (_commands.Execute(packet, _reply)) Send(_reply.WrittenSpan);
            _acknowledges &= !_commands.NoAcknowledgements;
        }

        Flush();
    }

    private void Refuse()
    {
        if (_acknowledges) _out.Write("+"u8);
        Send(GdbCommands.Invalid);
    }

    private static byte Sum(ReadOnlySpan<byte> content)
    {
        byte sum = 0;
        foreach (var b in content) sum += b;
        return sum;
    }

    /// <param name="content">Without the characters that have a meaning to the framing.</param>
    private void Send(ReadOnlySpan<byte> content)
    {
        var before = _out.WrittenCount;
        _out.Write("$"u8);
        _out.Write(content);
        _out.Write("#"u8);
        Sum(content).TryFormat(_out.GetSpan(2), out _, "x2");
        _out.Advance(2);
        if (_acknowledges) _last = _out.WrittenSpan[before..].ToArray();
        Flush();
    }

    private void Flush()
    {
        var left = _out.WrittenSpan[_sent..];
        if (left.IsEmpty) return;
        _sent += _backend.Write(left);
        if (_sent < _out.WrittenCount) return;
        _sent = 0;
        _out.ResetWrittenCount();
    }
}
