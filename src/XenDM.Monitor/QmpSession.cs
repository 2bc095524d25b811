using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO.Pipelines;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using XenDM.Core.Backends;

namespace XenDM.Monitor;

/// <summary>
/// One QMP connection over a character backend (qemu/docs/interop/qmp-spec). Messages need no line ends; replies and events are one line each
/// and end in CR LF. The next client begins anew. What a client sends or does not read is bounded: commands wait until the replies before
/// them are gone, events are dropped.
/// </summary>
public sealed class QmpSession : ICharFrontend, IDisposable
{
    private const int MaxMessageBytes = 1 << 20;
    private const int MaxPendingEventBytes = 64 << 10;
    private const int ReceiveBytes = 64 << 10;

    /// <summary>Where reading goes on after an error: an opening brace, control characters but the tab, fe and ff.</summary>
    private static readonly byte[] s_restarts =
    [
        (byte)'{', 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 0xfe, 0xff,
    ];

    private static readonly JsonDocumentOptions s_documentOptions = new() { MaxDepth = JsonSplitter.MaxDepth };
    private static readonly JsonReaderOptions s_readerOptions = new() { MaxDepth = JsonSplitter.MaxDepth };

    /// <summary>Quotes and letters of other languages stay readable; control characters are escaped, so that a line stays a line.</summary>
    private static readonly JsonWriterOptions s_writerOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly ICharBackend _backend;
    private readonly QmpCommands _commands;
    private readonly Queue<byte[]> _pending = new();

    /// <summary>The reply that a command is writing. What the command causes (events) goes out before it, through <see cref="_line"/>.</summary>
    private readonly ArrayBufferWriter<byte> _reply = new(4096);
    private readonly ArrayBufferWriter<byte> _line = new(1024);
    private Pipe _in = InlinePipe.Make();
    private JsonSplitter _splitter;
    private long _scanned;
    private bool _skipLine;
    private bool _recovers;
    private bool _negotiated;
    private bool _open;
    private bool _draining;
    private int _pendingBytes;
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
        _in.Put(data);
        ReadMessages();
    }

    public void Event(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Opened:
                StartAnew();
                _open = true;
                _commands.ClientCame();
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

    private void StartAnew()
    {
        _in.Reader.Complete();
        _in = InlinePipe.Make();
        _splitter.Reset();
        _scanned = 0;
        _pending.Clear();
        _pendingBytes = _sentOfFirst = 0;
        _negotiated = _skipLine = _recovers = false;
        for (var fd = _backend.TakeFd(); fd >= 0; fd = _backend.TakeFd()) _commands.CloseFd(fd);
        if (_open) _commands.ClientLeft();
        _open = false;
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

        if (_recovers)
        {
            Recover(pipe, buffer);
            return !_recovers;
        }

        // The splitter's state stands behind what it looked at before.
        var position = buffer.GetPosition(_scanned);
        switch (_splitter.Scan(buffer, ref position))
        {
            case JsonSplitter.Outcome.Garbage:
                var error = _splitter.Error!;
                if (_splitter.IsTooDeep) SkipLine(pipe, position, error);
                else Refuse(pipe, position, error);
                return true;

            case JsonSplitter.Outcome.Complete:
                var message = buffer.Slice(0, position).ToArray();
                _splitter.Reset();
                _scanned = 0;
                pipe.Reader.AdvanceTo(position);
                HandleMessage(message);
                return true;

            case var _ when _splitter.Length > MaxMessageBytes:
                SkipLine(pipe, buffer.End, $"JSON parse error, a message is longer than {MaxMessageBytes} bytes");
                return true;

            default:
                // White space between messages is not kept.
                _scanned = _splitter.InObject ? buffer.Length : 0;
                pipe.Reader.AdvanceTo(_splitter.InObject ? buffer.Start : buffer.End, buffer.End);
                return false;
        }
    }

    /// <summary>Drops everything up to the next line end.</summary>
    private void SkipLine(Pipe pipe, SequencePosition upTo, string error)
    {
        _skipLine = true;
        Drop(pipe, upTo, error);
    }

    /// <summary>Drops a message that went wrong, and what follows until the next one can begin.</summary>
    private void Refuse(Pipe pipe, SequencePosition culprit, string error)
    {
        _recovers = true;
        Drop(pipe, culprit, error);
    }

    private void Drop(Pipe pipe, SequencePosition upTo, string error)
    {
        _splitter.Reset();
        _scanned = 0;
        pipe.Reader.AdvanceTo(upTo);
        SendError(null, QmpException.Generic, error);
    }

    /// <summary>A message can begin at a brace, and behind what no message holds: a control character, or a byte that is none of UTF-8's.</summary>
    private void Recover(Pipe pipe, ReadOnlySequence<byte> buffer)
    {
        var reader = new SequenceReader<byte>(buffer);
        if (!reader.TryAdvanceToAny(s_restarts, advancePastDelimiter: false))
        {
            pipe.Reader.AdvanceTo(buffer.End);
            return;
        }

        if (!reader.IsNext((byte)'{')) reader.Advance(1);
        _recovers = false;
        pipe.Reader.AdvanceTo(reader.Position);
    }

    private void HandleMessage(byte[] message)
    {
        JsonDocument document;
        try
        {
            CheckText(message);
            document = JsonDocument.Parse(message, s_documentOptions);
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

    /// <summary>The parser leaves the characters of strings unlooked at; here they are, so that no use of a string can fail later.</summary>
    /// <exception cref="JsonException">Not UTF-8, or an escape that is half a character.</exception>
    private static void CheckText(ReadOnlySpan<byte> message)
    {
        if (!Utf8.IsValid(message)) throw new JsonException("invalid UTF-8");
        var reader = new Utf8JsonReader(message, s_readerOptions);
        while (reader.Read())
        {
            if (!reader.ValueIsEscaped || reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName)) continue;
            try
            {
                reader.GetString();
            }
            catch (InvalidOperationException)
            {
                throw new JsonException("an escape sequence is not a valid Unicode character");
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
                case "execute":
                    if (property.Value.ValueKind != JsonValueKind.String) throw new QmpException("QMP input member 'execute' must be a string");
                    name = property.Value.GetString();
                    break;
                case "arguments":
                    if (property.Value.ValueKind != JsonValueKind.Object) throw new QmpException("QMP input member 'arguments' must be an object");
                    arguments = property.Value;
                    break;
                case "id": break;

                // Also exec-oob: the greeting does not offer it.
                default: throw new QmpException($"QMP input member '{property.Name}' is unexpected");
            }
        }

        return (name ?? throw new QmpException("QMP input lacks member 'execute'"), arguments);
    }

    private void Execute(string name, JsonElement? arguments, JsonElement? id)
    {
        var negotiates = name == "qmp_capabilities";
        if (!_negotiated && !negotiates) throw new QmpException(QmpException.CommandNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'");
        if (_negotiated && negotiates) throw new QmpException(QmpException.CommandNotFound, "Capabilities negotiation is already complete, command ignored");

        // The reply is put together before it is sent: a command that fails halfway sends nothing but its error.
        _reply.ResetWrittenCount();
        using (var writer = new Utf8JsonWriter(_reply, s_writerOptions))
        {
            writer.WriteStartObject();
            writer.WritePropertyName("return");
            _commands.Execute(name, new QmpArguments(arguments), _backend, writer);
            WriteId(writer, id);
            writer.WriteEndObject();
        }

        _negotiated |= negotiates;
        Flush(_reply);
        _commands.AfterReply();
    }

    private void SendError(JsonElement? id, string errorClass, string message) => Send(writer =>
    {
        writer.WriteStartObject();
        writer.WriteStartObject("error");
        writer.WriteString("class", errorClass);
        writer.WriteString("desc", message);
        writer.WriteEndObject();
        WriteId(writer, id);
        writer.WriteEndObject();
    });

    private static void WriteId(Utf8JsonWriter writer, JsonElement? id)
    {
        if (id is not { } value) return;
        writer.WritePropertyName("id");
        value.WriteTo(writer);
    }

    private void Send(Action<Utf8JsonWriter> write)
    {
        _line.ResetWrittenCount();
        using (var writer = new Utf8JsonWriter(_line, s_writerOptions)) write(writer);
        Flush(_line);
    }

    /// <summary>
    /// Sends a line; what the client does not take yet waits. That is one reply at most, since the next command waits too, and a bounded number of events.
    /// </summary>
    private void Flush(ArrayBufferWriter<byte> line)
    {
        line.Write("\r\n"u8);
        var data = line.WrittenSpan;
        var sent = _pending.Count == 0 ? _backend.Write(data) : 0;
        if (sent == data.Length) return;
        _pending.Enqueue(data[sent..].ToArray());
        _pendingBytes += data.Length - sent;
    }
}
