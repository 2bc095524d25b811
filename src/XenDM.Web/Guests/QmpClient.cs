using System;
using System.Buffers;
using System.IO;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Guests;

/// <summary>The device model refused a command.</summary>
/// <param name="kind">QMP's error class, such as <c>CommandNotFound</c>.</param>
public sealed class QmpErrorException(string kind, string description) : Exception(description)
{
    public string Kind { get; } = kind;
}

/// <summary>
/// A connection to a QMP server (docs/interop/qmp-spec of QEMU): a greeting, then a JSON object per line, commands answered in order, events in
/// between. Used by one caller at a time.
/// </summary>
public sealed class QmpClient : IDisposable
{
    /// <summary>No reply is longer; who sends more is no QMP server.</summary>
    private const int MaxLineBytes = 4 << 20;

    /// <summary>Events between a command and its reply; more than that is no conversation.</summary>
    private const int MaxEvents = 10_000;

    /// <summary>SOL_SOCKET and SO_PEERCRED of Linux: pid, uid and gid of who listens, each 32 bits.</summary>
    private const int SolSocket = 1, SoPeerCred = 17;

    private readonly Socket _socket;
    private readonly PipeReader _pipe;
    private uint _serial;

    private QmpClient(Socket socket)
    {
        _socket = socket;
        _pipe = PipeReader.Create(new NetworkStream(socket));
    }

    /// <summary>QMP's <c>package</c>, or the version of QEMU where that is empty.</summary>
    public string Version { get; private set; } = "";

    /// <summary>The process at the other end of a Unix socket; null where that cannot be said.</summary>
    public int? PeerPid { get; private set; }

    /// <summary>Nothing has come that was not asked for, and the other side is still there.</summary>
    public bool IsAlive
    {
        get
        {
            try
            {
                return !_socket.Poll(0, SelectMode.SelectRead) || _socket.Available > 0;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return false;
            }
        }
    }

    /// <summary>Connects, reads the greeting and leaves the negotiation.</summary>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    /// <exception cref="IOException">The other side hangs up, or does not speak QMP.</exception>
    /// <exception cref="QmpErrorException">It refuses to talk.</exception>
    public static async Task<QmpClient> ConnectAsync(PeerAddress address, CancellationToken cancel)
    {
        var client = new QmpClient(await address.ConnectAsync(cancel).ConfigureAwait(false));
        try
        {
            if (address.Path is not null) client.PeerPid = client.ReadPeerPid();
            using (var greeting = await client.ReadMessage(cancel).ConfigureAwait(false)) client.Version = ReadVersion(greeting.RootElement);
            await client.ExecuteAsync("qmp_capabilities", null, cancel).ConfigureAwait(false);
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Sends a command and waits for its reply; events on the way are dropped.</summary>
    /// <param name="arguments">Writes the members of the arguments' object; null for none.</param>
    /// <returns>The value of <c>return</c>.</returns>
    /// <exception cref="QmpErrorException">The command failed; the connection is as before.</exception>
    /// <exception cref="IOException">The connection is of no more use.</exception>
    public async Task<JsonElement> ExecuteAsync(string command, Action<Utf8JsonWriter>? arguments, CancellationToken cancel)
    {
        var id = ++_serial;
        var request = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(request))
        {
            writer.WriteStartObject();
            writer.WriteString("execute", command);
            if (arguments is not null)
            {
                writer.WriteStartObject("arguments");
                arguments(writer);
                writer.WriteEndObject();
            }

            writer.WriteNumber("id", id);
            writer.WriteEndObject();
        }

        request.Write("\n"u8);
        try
        {
            for (var rest = request.WrittenMemory; rest.Length > 0;) rest = rest[await _socket.SendAsync(rest, SocketFlags.None, cancel).ConfigureAwait(false)..];
            for (var n = 0; n < MaxEvents; n++)
            {
                using var message = await ReadMessage(cancel).ConfigureAwait(false);
                var root = message.RootElement;
                if (root.TryGetProperty("event", out _)) continue;
                if (!root.TryGetProperty("id", out var answered) || answered.ValueKind != JsonValueKind.Number || !answered.TryGetUInt32(out var number) || number != id)
                    throw new IOException("a reply that belongs to no command");
                if (root.TryGetProperty("return", out var value)) return value.Clone();
                if (root.TryGetProperty("error", out var error) && error.ValueKind == JsonValueKind.Object) throw new QmpErrorException(Text(error, "class"), Text(error, "desc"));
                throw new IOException("a reply with neither a value nor an error");
            }
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }

        throw new IOException("events without an end");
    }

    public void Dispose() => _socket.Dispose();

    /// <summary>A member's text; empty where there is none.</summary>
    internal static string Text(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    private static string ReadVersion(JsonElement greeting)
    {
        if (!greeting.TryGetProperty("QMP", out var qmp) || qmp.ValueKind != JsonValueKind.Object) throw new IOException("no greeting of QMP");
        if (!qmp.TryGetProperty("version", out var version) || version.ValueKind != JsonValueKind.Object) return "";
        var package = Text(version, "package").Trim();
        if (package.Length > 0 && !package.StartsWith('(') && !package.StartsWith("Debian", StringComparison.Ordinal)) return package;
        return version.TryGetProperty("qemu", out var qemu) && qemu.ValueKind == JsonValueKind.Object ? $"QEMU {Part(qemu, "major")}.{Part(qemu, "minor")}.{Part(qemu, "micro")}" : "";
    }

    private static long Part(JsonElement version, string name) => version.TryGetProperty(name, out var part) && part.ValueKind == JsonValueKind.Number && part.TryGetInt64(out var number) ? number : 0;

    private int? ReadPeerPid()
    {
        try
        {
            Span<byte> credentials = stackalloc byte[12];
            return _socket.GetRawSocketOption(SolSocket, SoPeerCred, credentials) >= 4 && MemoryMarshal.Read<int>(credentials) is > 0 and var pid ? pid : null;
        }
        catch (Exception e) when (e is SocketException or PlatformNotSupportedException)
        {
            return null;
        }
    }

    private async Task<JsonDocument> ReadMessage(CancellationToken cancel)
    {
        while (true)
        {
            var result = await _pipe.ReadAsync(cancel).ConfigureAwait(false);
            var rest = result.Buffer;
            while (rest.PositionOf((byte)'\n') is { } end)
            {
                var line = rest.Slice(0, end).ToArray().AsMemory().Trim(" \r\t"u8);
                rest = rest.Slice(rest.GetPosition(1, end));
                if (line.Length == 0) continue;
                _pipe.AdvanceTo(rest.Start);
                return Parse(line);
            }

            if (rest.Length > MaxLineBytes) throw new IOException("a line without an end");
            _pipe.AdvanceTo(rest.Start, rest.End);
            if (result.IsCompleted) throw new IOException("the connection was closed");
        }
    }

    private static JsonDocument Parse(ReadOnlyMemory<byte> line)
    {
        JsonDocument message;
        try
        {
            message = JsonDocument.Parse(line);
        }
        catch (JsonException e)
        {
            throw new IOException($"this is not JSON: '{Encoding.UTF8.GetString(line.Span[..Math.Min(40, line.Length)])}'", e);
        }

        if (message.RootElement.ValueKind == JsonValueKind.Object) return message;
        message.Dispose();
        throw new IOException("a message that is no object");
    }
}
