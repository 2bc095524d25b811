using System;
using System.Buffers;
using System.IO;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Http;

/// <summary>Carries the bytes between a browser's WebSocket and a VNC server, unread. When one side ends, so does the other.</summary>
internal static class Bridge
{
    private const int ChunkBytes = 64 << 10;
    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(2);

    /// <param name="stop">The program ends.</param>
    public static async Task RunAsync(WebSocket browser, Socket server, CancellationToken stop)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var fromBrowser = FromBrowser(browser, server, end.Token);
        var fromServer = FromServer(server, browser, end.Token);
        await Task.WhenAny(fromBrowser, fromServer).ConfigureAwait(false);
        var serverEnded = fromServer.IsCompleted;

        // The send that is under way ends first: two at a time are not allowed.
        server.Dispose();
        await Quietly(fromServer).ConfigureAwait(false);
        await Close(browser, serverEnded ? "the VNC server has closed the connection" : "").ConfigureAwait(false);
        await Task.WhenAny(fromBrowser, Task.Delay(s_goodbye, stop)).ConfigureAwait(false);
        await end.CancelAsync().ConfigureAwait(false);
        await Quietly(fromBrowser).ConfigureAwait(false);
    }

    private static async Task FromBrowser(WebSocket browser, Socket server, CancellationToken stop)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            while (true)
            {
                var received = await browser.ReceiveAsync(buffer.AsMemory(), stop).ConfigureAwait(false);
                if (received.MessageType != WebSocketMessageType.Binary) return;
                for (var rest = buffer.AsMemory(0, received.Count); rest.Length > 0;) rest = rest[await server.SendAsync(rest, SocketFlags.None, stop).ConfigureAwait(false)..];
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static async Task FromServer(Socket server, WebSocket browser, CancellationToken stop)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(ChunkBytes);
        try
        {
            while (await server.ReceiveAsync(buffer.AsMemory(), SocketFlags.None, stop).ConfigureAwait(false) is > 0 and var count)
                await browser.SendAsync(buffer.AsMemory(0, count), WebSocketMessageType.Binary, endOfMessage: true, stop).ConfigureAwait(false);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>A browser that does not say goodbye is hung up on.</summary>
    private static async Task Close(WebSocket browser, string reason)
    {
        using var patience = new CancellationTokenSource(s_goodbye);
        try
        {
            if (browser.State is WebSocketState.Open or WebSocketState.CloseReceived) await browser.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, reason, patience.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (IsEnd(e))
        {
            browser.Abort();
        }
    }

    private static async Task Quietly(Task task)
    {
        try
        {
            await task.ConfigureAwait(false);
        }
        catch (Exception e) when (IsEnd(e))
        {
            // This is how a connection ends.
        }
    }

    private static bool IsEnd(Exception e) => e is OperationCanceledException or WebSocketException or SocketException or IOException or ObjectDisposedException;
}
