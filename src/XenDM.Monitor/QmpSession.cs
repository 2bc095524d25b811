using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO.Pipelines;
using System.Text.Json;
using XenDM.Core.Backends;

namespace XenDM.Monitor;

/// <summary>
/// One QMP connection over a character backend (qemu/docs/interop/qmp-spec). Messages need no line ends; replies and events are one line each
/// and end in CR LF. The next client begins anew. What a client sends or does not read is bounded.
/// </summary>
public sealed class QmpSession : ICharFrontend, IDisposable
{
    private const int MaxMessageBytes = 1 << 20;
    private const int MaxPendingBytes = 1 << 20;
    private const int MaxPendingEventBytes = 64 << 10;
    private const int MaxDepth = 64;
    private const int ReceiveBytes = 64 << 10;

    private static readonly JsonDocumentOptions s_json = new() { MaxDepth = MaxDepth };

    private readonly ICharBackend _backend;
    private readonly QmpCommands _commands;
    private readonly Queue<byte[]> _pending = new();
    private readonly ArrayBufferWriter<byte> _out = new(4096);
    private Pipe _in = MakePipe();
    private JsonSplitter _splitter;
    private bool _skipLine;
    private bool _negotiated;
    private bool _open;
    private bool _draining;
    private int _pendingBytes;
    private long _scanned;
    private int _sentOfFirst;

    /// <param name="backend">Where clients come from; this becomes its front end.</param>
    public QmpSession(ICharBackend backend, QmpCommands commands)
    {
        _backend = backend;
        _commands = commands;
        backend.Attach(this);
    }

    /// <summary>Events that a client did not get because it did not read.</summary>
    public ulong DroppedEvents { get; private set; }

    public int ReceiveRoom => _pending.Count == 0 ? ReceiveBytes : 0;

    public void Receive(ReadOnlySpan<byte> data)
    {
        _in.Writer.Write(data);
        var flushed = _in.Writer.FlushAsync();
        if (!flushed.IsCompleted) throw new InvalidOperationException("a pipe without a limit does not wait");
        ReadMessages();
    }

    public void Event(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Opened:
                StartAnew();
                _open = true;
                Send(_commands.WriteGreeting);
                break;
            case CharEvent.Closed:
                StartAnew();
                break;
        }
    }

    public void WriteReady()
    {
        while (_pending.TryPeek(out var first))
        {
            var sent = _backend.Write(first.AsSpan(_sentOfFirst));
            _sentOfFirst += sent;
            _pendingBytes -= sent;
            if (_sentOfFirst < first.Length) return;
            _pending.Dequeue();
            _sentOfFirst = 0;
        }

        ReadMessages();
        _backend.AcceptInput();
    }

    /// <summary>Tells a client that negotiated of something that happened.</summary>
    /// <param name="write">Writes the event object.</param>
    public void SendEvent(Action<Utf8JsonWriter> write)
    {
        if (!_open || !_negotiated) return;
        if (_pendingBytes > MaxPendingEventBytes)
        {
            DroppedEvents++;
            return;
        }

        Send(write);
    }

    public void Dispose() => _in.Reader.Complete();

    private static Pipe MakePipe() => new(new PipeOptions(pauseWriterThreshold: 0, readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));

    private void StartAnew()
    {
        _in.Reader.Complete();
        _in = MakePipe();
        _splitter.Reset();
        _scanned = 0;
        _pending.Clear();
        _pendingBytes = _sentOfFirst = 0;
        _negotiated = _open = _skipLine = false;
        for (var fd = _backend.TakeFd(); fd >= 0; fd = _backend.TakeFd()) _commands.CloseFd(fd);
    }

    /// <summary>Takes whole messages, as long as the client reads the replies. A reply may end the connection, so nothing is kept across it.</summary>
    private void ReadMessages()
    {
        if (_draining) return;
        _draining = true;
        try
        {
            while (_pending.Count == 0 && TryReadOne())
            {
            }
        }
        finally
        {
            _draining = false;
        }
    }

    /// <returns>False when more bytes are needed.</returns>
    private bool TryReadOne()
    {
        var pipe = _in;
        if (!pipe.Reader.TryRead(out var result)) return false;
        var buffer = result.Buffer;
        if (_skipLine)
        {
            var end = buffer.PositionOf((byte)'\n');
            _skipLine = end is null;
            pipe.Reader.AdvanceTo(end is { } at ? buffer.GetPosition(1, at) : buffer.End);
            return end is not null;
        }

        // What was looked at before is scanned again only as far as the splitter's count says: its state begins behind it.
        var position = buffer.GetPosition(_scanned);
        var outcome = _splitter.Scan(buffer, ref position);
        if (outcome == JsonSplitter.Outcome.NeedMore)
        {
            if (_splitter.Length > MaxMessageBytes)
            {
                Resynchronise(pipe, buffer.End, $"JSON parse error, a message is longer than {MaxMessageBytes} bytes");
                return true;
            }

            if (_splitter.InObject)
            {
                _scanned = buffer.Length;
                pipe.Reader.AdvanceTo(buffer.Start, buffer.End);
            }
            else
            {
                _scanned = 0;
                pipe.Reader.AdvanceTo(buffer.End);
            }

            return false;
        }

        if (outcome == JsonSplitter.Outcome.Garbage)
        {
            Resynchronise(pipe, position, "JSON parse error, a message must be an object");
            return true;
        }

        var message = buffer.Slice(0, position).ToArray();
        _splitter.Reset();
        _scanned = 0;
        pipe.Reader.AdvanceTo(position);
        HandleMessage(message);
        return true;
    }

    /// <summary>Drops everything up to the next line end.</summary>
    private void Resynchronise(Pipe pipe, SequencePosition upTo, string error)
    {
        _splitter.Reset();
        _scanned = 0;
        _skipLine = true;
        pipe.Reader.AdvanceTo(upTo);
        SendError(null, QmpException.Generic, error);
    }

    private void HandleMessage(byte[] message)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(message, s_json);
        }
        catch (JsonException e)
        {
            SendError(null, QmpException.Generic, $"JSON parse error, {e.Message}");
            return;
        }

        using (document)
        {
            JsonElement? id = document.RootElement.TryGetProperty("id", out var given) ? given : null;
            try
            {
                var (name, arguments) = Envelope(document.RootElement);
                Execute(name, arguments, id);
            }
            catch (QmpException e)
            {
                SendError(id, e.ErrorClass, e.Message);
            }
        }
    }

    private static (string Name, JsonElement? Arguments) Envelope(JsonElement root)
    {
        string? name = null;
        JsonElement? arguments = null;
        foreach (var property in root.EnumerateObject())
        {
            switch (property.Name)
            {
                case "execute" or "exec-oob":
                    if (property.Value.ValueKind != JsonValueKind.String) throw new QmpException($"QMP input member '{property.Name}' must be a string");
                    name = property.Value.GetString();
                    break;
                case "arguments":
                    if (property.Value.ValueKind != JsonValueKind.Object) throw new QmpException("QMP input member 'arguments' must be an object");
                    arguments = property.Value;
                    break;
                case "id": break;
                default: throw new QmpException($"QMP input member '{property.Name}' is unexpected");
            }
        }

        return (name ?? throw new QmpException("QMP input lacks member 'execute'"), arguments);
    }

    private void Execute(string name, JsonElement? arguments, JsonElement? id)
    {
        if (!_negotiated && name != "qmp_capabilities")
            throw new QmpException(QmpException.CommandNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'");
        if (name == "qmp_capabilities")
        {
            if (_negotiated) throw new QmpException(QmpException.CommandNotFound, "Capabilities negotiation is already complete, command ignored");
            _negotiated = true;
        }

        // The reply is put together before it is sent: a command that fails halfway sends nothing but its error.
        _out.ResetWrittenCount();
        using (var writer = new Utf8JsonWriter(_out))
        {
            writer.WriteStartObject();
            writer.WritePropertyName("return");
            _commands.Execute(name, new QmpArguments(arguments), _backend, writer);
            if (id is { } value)
            {
                writer.WritePropertyName("id");
                value.WriteTo(writer);
            }

            writer.WriteEndObject();
        }

        Flush();
        _commands.AfterReply();
    }

    private void SendError(JsonElement? id, string errorClass, string message) => Send(writer =>
    {
        writer.WriteStartObject();
        writer.WriteStartObject("error");
        writer.WriteString("class", errorClass);
        writer.WriteString("desc", message);
        writer.WriteEndObject();
        if (id is { } value)
        {
            writer.WritePropertyName("id");
            value.WriteTo(writer);
        }

        writer.WriteEndObject();
    });

    private void Send(Action<Utf8JsonWriter> write)
    {
        _out.ResetWrittenCount();
        using (var writer = new Utf8JsonWriter(_out)) write(writer);
        Flush();
    }

    private void Flush()
    {
        _out.Write("\r\n"u8);
        var data = _out.WrittenSpan;
        var sent = _pending.Count == 0 ? _backend.Write(data) : 0;
        if (sent == data.Length || _pendingBytes + data.Length - sent > MaxPendingBytes) return;
        _pending.Enqueue(data[sent..].ToArray());
        _pendingBytes += data.Length - sent;
    }
}
