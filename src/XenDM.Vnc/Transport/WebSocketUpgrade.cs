using System;
using System.Buffers.Binary;
using System.IO;
using System.Net.WebSockets;
using System.Numerics;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Vnc.Transport;

/// <summary>A browser's way in: the HTTP request that becomes a WebSocket (RFC 6455, section 4), in whose messages RFB goes on as a plain stream.</summary>
internal static class WebSocketUpgrade
{
    /// <summary>Longest request in bytes; browsers send their cookies along.</summary>
    private const int MaxRequest = 16 * 1024;
    private const string Protocol = "binary";
    private const string KeySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    /// <exception cref="RfbException">No such request; the client was told.</exception>
    public static async Task<Stream> AcceptAsync(Stream stream, CancellationToken stop)
    {
        var request = await ReadRequestAsync(stream, stop);
        var error = Check(request, out var key, out var hasProtocol);
        var answer = error is null
            ? $"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {AcceptKey(key)}\r\n{(hasProtocol ? $"Sec-WebSocket-Protocol: {Protocol}\r\n" : "")}\r\n"
            : $"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nSec-WebSocket-Version: 13\r\nContent-Length: {error.Length + 1}\r\n\r\n{error}\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(answer), stop);
        await stream.FlushAsync(stop);
        if (error is not null) throw new RfbException(error);
        var socket = WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, SubProtocol = hasProtocol ? Protocol : null, KeepAliveInterval = TimeSpan.Zero });
        return new WebSocketStream(socket);
    }

    private static async Task<string> ReadRequestAsync(Stream stream, CancellationToken stop)
    {
        var buffer = new byte[MaxRequest];
        var length = 0;
        while (true)
        {
            var count = await stream.ReadAsync(buffer.AsMemory(length), stop);
            if (count == 0) throw new EndOfStreamException();
            var from = Math.Max(0, length - 3);
            length += count;
            var end = buffer.AsSpan(from, length - from).IndexOf("\r\n\r\n"u8);
            if (end >= 0 && from + end + 4 < length) throw new RfbException("did not wait for the server's answer");
            if (end >= 0) return Encoding.ASCII.GetString(buffer, 0, from + end);
            if (length == buffer.Length) throw new RfbException("the HTTP request is too long");
        }
    }

    /// <returns>What is wrong with it.</returns>
    private static string? Check(string request, out string key, out bool hasProtocol)
    {
        (key, hasProtocol) = ("", false);
        var (isUpgrade, version, asksForProtocol) = (false, "", false);
        var lines = request.Split("\r\n");
        if (!lines[0].StartsWith("GET ", StringComparison.Ordinal) || !lines[0].EndsWith(" HTTP/1.1", StringComparison.Ordinal)) return "this is a WebSocket server";
        for (var i = 1; i < lines.Length; i++)
        {
            var colon = lines[i].IndexOf(':', StringComparison.Ordinal);
            if (colon < 0) continue;
            var value = lines[i][(colon + 1)..].Trim();
            switch (lines[i][..colon].Trim().ToLowerInvariant())
            {
                case "upgrade":
                    isUpgrade = value.Equals("websocket", StringComparison.OrdinalIgnoreCase);
                    break;
                case "sec-websocket-key":
                    key = value;
                    break;
                case "sec-websocket-version":
                    version = value;
                    break;
                case "sec-websocket-protocol":
                    asksForProtocol = true;
                    foreach (var word in value.Split(',', StringSplitOptions.TrimEntries)) hasProtocol |= word == Protocol;
                    break;
            }
        }

        if (!isUpgrade || version != "13" || key.Length != 24) return "this is a WebSocket server, for version 13";
        return asksForProtocol && !hasProtocol ? $"the protocol '{Protocol}' is the only one here" : null;
    }

    private static string AcceptKey(string key) => Convert.ToBase64String(Sha1(Encoding.ASCII.GetBytes(key + KeySuffix)));

    /// <summary>SHA-1 (FIPS 180-4, 6.1). The host's cryptography need not be there, for nothing secret is at stake.</summary>
    internal static byte[] Sha1(ReadOnlySpan<byte> data)
    {
        const int block = 64;
        var padded = new byte[(data.Length + 8) / block * block + block];
        data.CopyTo(padded);
        padded[data.Length] = 0x80;
        BinaryPrimitives.WriteUInt64BigEndian(padded.AsSpan(padded.Length - 8), (ulong)data.Length * 8);
        Span<uint> hash = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0];
        Span<uint> words = stackalloc uint[80];
        for (var at = 0; at < padded.Length; at += block)
        {
            for (var t = 0; t < 16; t++) words[t] = BinaryPrimitives.ReadUInt32BigEndian(padded.AsSpan(at + (4 * t)));
            for (var t = 16; t < 80; t++) words[t] = BitOperations.RotateLeft(words[t - 3] ^ words[t - 8] ^ words[t - 14] ^ words[t - 16], 1);
            var (a, b, c, d, e) = (hash[0], hash[1], hash[2], hash[3], hash[4]);
            for (var t = 0; t < 80; t++)
            {
                var (mixed, constant) = t switch
                {
                    < 20 => ((b & c) | (~b & d), 0x5a827999u),
                    < 40 => (b ^ c ^ d, 0x6ed9eba1u),
                    < 60 => ((b & c) | (b & d) | (c & d), 0x8f1bbcdcu),
                    _ => (b ^ c ^ d, 0xca62c1d6u),
                };
                var next = BitOperations.RotateLeft(a, 5) + mixed + e + constant + words[t];
                (e, d, c, b, a) = (d, c, BitOperations.RotateLeft(b, 30), a, next);
            }

            hash[0] += a;
            hash[1] += b;
            hash[2] += c;
            hash[3] += d;
            hash[4] += e;
        }

        var result = new byte[20];
        for (var i = 0; i < 5; i++) BinaryPrimitives.WriteUInt32BigEndian(result.AsSpan(4 * i), hash[i]);
        return result;
    }
}

/// <summary>The binary messages of a WebSocket as one stream.</summary>
internal sealed class WebSocketStream : Stream
{
    private readonly WebSocket _socket;

    public WebSocketStream(WebSocket socket) => _socket = socket;

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            ValueWebSocketReceiveResult result;
            try
            {
                result = await _socket.ReceiveAsync(buffer, cancellationToken);
            }
            catch (WebSocketException e)
            {
                throw new IOException(e.Message, e);
            }

            if (result.MessageType == WebSocketMessageType.Close) return 0;
            if (result.MessageType == WebSocketMessageType.Text) throw new RfbException("sent text over its WebSocket");
            if (result.Count > 0) return result.Count;
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            await _socket.SendAsync(buffer, WebSocketMessageType.Binary, endOfMessage: true, cancellationToken);
        }
        catch (WebSocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Flush()
    {
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) _socket.Dispose();
        base.Dispose(disposing);
    }
}
