using System;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

public sealed class BridgeTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Bytes_pass_both_ways_unchanged()
    {
        await using var bench = new WebBench();
        await using var vnc = new FakeVnc(bench.Socket("v"));
        await bench.Start($",vnc=unix:{bench.Socket("v")}");
        using var browser = await Open(bench);
        await using var server = await vnc.Accept();
        await server.WriteAsync("RFB 003.008\n"u8.ToArray());
        Assert.Equal("RFB 003.008\n", Encoding.ASCII.GetString(await Receive(browser, 12)));

        // More than any buffer between them holds, in both directions at once.
        var down = Noise(3 << 20, 1);
        var up = Noise(1 << 20, 2);
        var sending = Task.WhenAll(server.WriteAsync(down).AsTask(), browser.SendAsync(up, WebSocketMessageType.Binary, true, CancellationToken.None));
        var heard = new byte[up.Length];
        var hearing = server.ReadExactlyAsync(heard).AsTask();
        Assert.Equal(down, await Receive(browser, down.Length));
        await hearing.WaitAsync(s_limit);
        await sending.WaitAsync(s_limit);
        Assert.Equal(up, heard);
    }

    [Fact]
    public async Task When_the_server_hangs_up_the_browser_is_told()
    {
        await using var bench = new WebBench();
        await using var vnc = new FakeVnc(bench.Socket("v"));
        await bench.Start($",vnc={bench.Socket("v")}");
        using var browser = await Open(bench);
        await using (var server = await vnc.Accept()) await server.WriteAsync("bye"u8.ToArray());
        Assert.Equal("bye"u8.ToArray(), await Receive(browser, 3));
        var end = await browser.ReceiveAsync(new byte[16], Limit());
        Assert.Equal(WebSocketMessageType.Close, end.MessageType);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, browser.CloseStatus);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task When_the_browser_goes_the_server_is_hung_up_on(bool politely)
    {
        await using var bench = new WebBench();
        await using var vnc = new FakeVnc(bench.Socket("v"));
        await bench.Start($",vnc={bench.Socket("v")}");
        using var browser = await Open(bench);
        await using var server = await vnc.Accept();
        if (politely) await browser.CloseAsync(WebSocketCloseStatus.NormalClosure, "", Limit());
        else browser.Abort();
        Assert.Equal(0, await server.ReadAsync(new byte[1], Limit()));
    }

    [Fact]
    public async Task When_the_program_ends_both_ends_close()
    {
        await using var bench = new WebBench();
        await using var vnc = new FakeVnc(bench.Socket("v"));
        await bench.Start($",vnc={bench.Socket("v")}");
        using var browser = await Open(bench);
        await using var server = await vnc.Accept();
        var ending = bench.Server.DisposeAsync().AsTask();
        Assert.Equal(0, await server.ReadAsync(new byte[1], Limit()));
        await ending.WaitAsync(s_limit);
    }

    [Fact]
    public async Task The_guest_is_asked_where_its_server_is()
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        await using var vnc = new FakeVnc(bench.Socket("v"));
        qmp.Answers["query-vnc"] = $$"""{"enabled":true,"family":"unix","host":"","service":"{{bench.Socket("v")}}","auth":"none","clients":[]}""";
        using (await Open(bench)) await (await vnc.Accept()).DisposeAsync();
        using var tcp = new TcpListener(System.Net.IPAddress.Loopback, 0);
        tcp.Start();
        qmp.Answers["query-vnc"] = $$"""{"enabled":true,"family":"ipv4","host":"0.0.0.0","service":"{{((System.Net.IPEndPoint)tcp.LocalEndpoint).Port}}","auth":"none","clients":[]}""";
        using (await Open(bench)) (await tcp.AcceptSocketAsync(Limit())).Dispose();
    }

    [Theory]
    [InlineData("""{"enabled":false}""")]
    [InlineData("!?")]
    [InlineData("""{"enabled":true,"family":"ipv4","host":"127.0.0.1","service":"99999"}""")]
    [InlineData("[]")]
    public async Task Without_a_server_there_is_no_bridge(string answer)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        qmp.Answers["query-vnc"] = answer;
        using var browser = new ClientWebSocket();
        browser.Options.CollectHttpResponseDetails = true;
        await Assert.ThrowsAsync<WebSocketException>(() => Connect(bench, browser));
        Assert.Equal(System.Net.HttpStatusCode.BadGateway, browser.HttpStatusCode);
        var plain = await bench.Program.GetAsync("/api/guests/a/vnc");
        Assert.Equal(System.Net.HttpStatusCode.UpgradeRequired, plain.StatusCode);
    }

    private static async Task<ClientWebSocket> Open(WebBench bench)
    {
        var browser = new ClientWebSocket();
        await Connect(bench, browser);
        return browser;
    }

    private static Task Connect(WebBench bench, ClientWebSocket browser)
    {
        browser.Options.SetRequestHeader("Authorization", $"Bearer {bench.Token}");
        return browser.ConnectAsync(new Uri($"ws://{bench.Server.Root.Authority}/api/guests/a/vnc"), Limit());
    }

    private static async Task<byte[]> Receive(ClientWebSocket browser, int length)
    {
        var bytes = new byte[length];
        for (var have = 0; have < length;)
        {
            var piece = await browser.ReceiveAsync(bytes.AsMemory(have), Limit());
            Assert.Equal(WebSocketMessageType.Binary, piece.MessageType);
            have += piece.Count;
        }

        return bytes;
    }

    private static byte[] Noise(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static CancellationToken Limit() => new CancellationTokenSource(s_limit).Token;
}
