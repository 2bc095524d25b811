using System;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using XenDM.Core.Display;

namespace XenDM.Vnc.Tests;

public class HostileTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(249)]
    [InlineData(252)]
    public void AnUnknownMessageEndsTheConnection(byte type)
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.Send(type);
        Assert.True(client.IsClosed());
        host.Until(() => host.Log.Lines.Any(static l => l.Contains("unknown type", StringComparison.Ordinal)));
    }

    [Fact]
    public void EveryMessageMayEndEverywhere()
    {
        byte[][] messages =
        [
            [0, 0, 0, 0, .. new byte[16]], [2, 0, 0, 2, .. new byte[8]], [3, 0, .. new byte[8]], [4, .. new byte[7]], [5, .. new byte[5]], [6, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4],
            [150, .. new byte[9]], [248, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3], [251, 0, 0, 1, 0, 1, 1, 0, .. new byte[16]], [255, 0, .. new byte[10]], [255, 1, 0, 2, .. new byte[6]],
        ];
        using var host = new VncHost();
        foreach (var message in messages)
        {
            for (var length = 1; length < message.Length; length += 3)
            {
                using var client = host.Connect();
                client.Send(message[..length]);
            }
        }

        host.Until(() => host.Server.Clients.Count == 0);
        using var last = host.Connect();
        last.Request(isIncremental: false);
        Assert.NotEmpty(last.ReceiveUpdate());
    }

    [Fact]
    public void ClipboardsGoBy()
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.Send([6, 0, 0, 0, .. RfbClient.Long(200_000), .. new byte[200_000]]);

        // An extended one: the length is negative.
        client.Send([6, 0, 0, 0, .. RfbClient.Long(unchecked((uint)-12)), .. new byte[12]]);
        client.Send([6, 0, 0, 0, 0, 0, 0, 0]);
        client.Request(isIncremental: false);
        Assert.NotEmpty(client.ReceiveUpdate());
    }

    [Theory]
    [InlineData(0x7fff_ffffu)]
    [InlineData(0x8000_0000u)]
    [InlineData(0x8000_0001u)]
    [InlineData(0x0200_0000u)]
    public void EndlessClipboardsEndTheConnection(uint length)
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.Send([6, 0, 0, 0, .. RfbClient.Long(length)]);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void ManyEncodingsAreTaken()
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.SetEncodings([.. Enumerable.Range(0, 65535).Select(static i => i * 65537)]);
        client.SetEncodings();
        client.SetEncodings(0);
        client.Request(isIncremental: false);
        Assert.NotEmpty(client.Find(0).Data);
    }

    [Fact]
    public void AFenceThatIsTooLongEndsTheConnection()
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.Fence(0x8000_0000, new byte[65]);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void FencesThatNobodyTakesAreNotKept()
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.Stream.WriteTimeout = 2000;
        var sent = 0L;
        var fence = Enumerable.Repeat((byte[])[248, 0, 0, 0, 0x80, 0, 0, 0, 64, .. new byte[64]], 1000).SelectMany(static f => f).ToArray();
        Assert.ThrowsAny<IOException>(() =>
        {
            // The sockets' buffers fill up, and then the server reads no more.
            while (sent < 1L << 30)
            {
                client.Send(fence);
                sent += fence.Length;
            }
        });
        using var other = host.Connect();
        other.Request(isIncremental: false);
        Assert.NotEmpty(other.ReceiveUpdate());
    }

    [Fact]
    public void OneWhoDoesNotReadHoldsUpNobody()
    {
        using var host = new VncHost();
        host.Run(() => host.Screen.SetSize(1920, 1080));
        using var lazy = host.Connect();
        for (var i = 0; i < 10_000; i++) lazy.Request(isIncremental: false);
        using var client = host.Connect();
        client.Request(isIncremental: false);
        for (var i = 1u; i < 20; i++)
        {
            var next = i;
            host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 1920, 1080), next));
            client.Until(1919, 1079, next);
        }

        lazy.Dispose();
        host.Until(() => host.Server.Clients.Count == 1);
    }

    [Fact]
    public void ALargePictureComesInPieces()
    {
        using var host = new VncHost();
        host.Run(() =>
        {
            host.Screen.SetSize(4096, 2160);
            host.Screen.Fill(new PictureArea(0, 0, 4096, 2160), 0x31415);
        });
        using var client = host.Connect();
        client.Request(isIncremental: false);
        var updates = 0;
        while (client[4095, 2159] != 0x31415)
        {
            client.ReceiveUpdate();
            updates++;
        }

        Assert.True(updates > 1);
        Assert.All(client.Picture, static p => Assert.Equal(0x31415u, p));
    }

    [Fact]
    public void TheSizeMayChangeAtAnyTime()
    {
        using var host = new VncHost();
        using var client = host.Connect();
        client.SetEncodings(0, Rfb.ExtendedDesktopSize, Rfb.ContinuousUpdates);
        client.Send([150, 1, .. RfbClient.Words(0, 0, 65535, 65535)]);
        var random = new Random(1);
        using var reader = new CancellationTokenSource();
        var reading = new Thread(() =>
        {
            try
            {
                var buffer = new byte[65536];
                while (client.Stream.Read(buffer) > 0)
                {
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The test is over.
            }
        });
        reading.Start();
        for (var i = 0; i < 300; i++)
        {
            var (width, height) = (random.Next(1, 3000), random.Next(1, 2000));
            host.Run(() =>
            {
                host.Screen.SetSize(width, height);
                host.Screen.Fill(new PictureArea(0, 0, width, height), 1);
            });
            if (random.Next(3) == 0) client.Request(random.Next(2) == 0, random.Next(65536), random.Next(65536), random.Next(65536), random.Next(65536));
        }

        Assert.Single(host.Server.Clients);
        client.Dispose();
        reading.Join();
        host.Until(() => host.Server.Clients.Count == 0);
    }

    [Fact]
    public void ConnectionsThatSayNothingAreFew()
    {
        using var host = new VncHost(new VncOptions { MaxStrangers = 8 });
        var silent = Enumerable.Range(0, 100).Select(_ => new RfbClient(host.Port)).ToList();
        using var client = host.Connect();
        client.Request(isIncremental: false);
        Assert.NotEmpty(client.ReceiveUpdate());
        Assert.All(silent.Take(80), static s => Assert.True(s.IsClosed()));
        silent.ForEach(static s => s.Dispose());
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("POST / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")]
    [InlineData("GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")]
    public void OtherHttpIsRefused(string request)
    {
        using var host = new VncHost(new VncOptions { WebSocket = new VncWebSocket(null, 0) });
        using var client = new RfbClient(host.WebPort);
        client.Send(Encoding.ASCII.GetBytes(request));
        using var reader = new StreamReader(client.Stream);
        Assert.StartsWith("HTTP/1.1 400 ", reader.ReadToEnd(), StringComparison.Ordinal);
    }

    [Fact]
    public void HttpWithoutEndIsCutOff()
    {
        using var host = new VncHost(new VncOptions { WebSocket = new VncWebSocket(null, 0) });
        using var client = new RfbClient(host.WebPort);
        Assert.True(Record.Exception(() => client.Send(new byte[64 * 1024])) is null or IOException);
        Assert.True(client.IsClosed());
    }
}
