using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.WebSockets;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

public sealed class AccessTests
{
    [Theory]
    [InlineData("/")]
    [InlineData("/guest/a")]
    [InlineData("/assets/style.css")]
    [InlineData("/novnc/core/rfb.js")]
    [InlineData("/api/guests")]
    [InlineData("/api/guests/a")]
    [InlineData("/api/guests/a/screen.png")]
    [InlineData("/api/guests/a/vnc")]
    [InlineData("/api/media")]
    [InlineData("/nothing")]
    public async Task Nothing_is_had_without_the_token(string path)
    {
        await using var bench = await new WebBench().Start();
        using var without = await bench.Stranger.GetAsync(path);
        Assert.Equal(HttpStatusCode.Unauthorized, without.StatusCode);
        foreach (var cookie in (string[])[$"xendm-web-{bench.Server.Root.Port}={new string('0', 32)}", $"xendm-web-{bench.Server.Root.Port}=", $"xendm-web-1={bench.Token}", $"token={bench.Token}"])
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path) { Headers = { { "Cookie", cookie } } };
            using var wrong = await bench.Stranger.SendAsync(request);
            Assert.Equal(HttpStatusCode.Unauthorized, wrong.StatusCode);
        }

        using var guess = await bench.Stranger.GetAsync($"{path}?token={bench.Token}0");
        Assert.Equal(HttpStatusCode.Forbidden, guess.StatusCode);
        Assert.False(guess.Headers.Contains("Set-Cookie"));
        using var action = await bench.Stranger.PostAsync("/api/guests/a/power/quit", null);
        Assert.Equal(HttpStatusCode.Unauthorized, action.StatusCode);
    }

    [Fact]
    public async Task The_token_in_the_address_becomes_a_cookie_and_leaves_the_address()
    {
        await using var bench = await new WebBench().Start();
        using var first = await bench.Stranger.GetAsync(bench.Server.Address);
        Assert.Equal(HttpStatusCode.SeeOther, first.StatusCode);
        Assert.Equal("/", first.Headers.Location!.OriginalString);
        var cookie = first.Headers.GetValues("Set-Cookie").Single();
        Assert.Contains("httponly", cookie, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("samesite=strict", cookie, StringComparison.OrdinalIgnoreCase);
        using var request = new HttpRequestMessage(HttpMethod.Get, "/") { Headers = { { "Cookie", cookie.Split(';')[0] } } };
        using var second = await bench.Stranger.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, second.StatusCode);
        Assert.Contains("<title>Guests</title>", await second.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, HttpStatusCode.Forbidden)]
    [InlineData("null", HttpStatusCode.Forbidden)]
    [InlineData("http://evil.example", HttpStatusCode.Forbidden)]
    [InlineData("http://127.0.0.1:1", HttpStatusCode.Forbidden)]
    [InlineData("file://HOST", HttpStatusCode.Forbidden)]
    [InlineData("http://HOST", HttpStatusCode.NoContent)]
    [InlineData("https://HOST", HttpStatusCode.NoContent)]
    public async Task A_cookie_counts_only_from_pages_of_this_server(string? origin, HttpStatusCode status)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/guests/a/power/reset") { Headers = { { "Cookie", $"xendm-web-{bench.Server.Root.Port}={bench.Token}" } } };
        if (origin is not null) request.Headers.Add("Origin", origin.Replace("HOST", bench.Server.Root.Authority, StringComparison.Ordinal));
        using var reply = await bench.Stranger.SendAsync(request);
        Assert.Equal(status, reply.StatusCode);
        Assert.Equal(status == HttpStatusCode.NoContent ? ["system_reset"] : [], qmp.Commands);
    }

    [Theory]
    [InlineData(null, false)]
    [InlineData("http://evil.example", false)]
    [InlineData("http://HOST", true)]
    public async Task So_it_is_with_the_screen(string? origin, bool isOpened)
    {
        await using var bench = new WebBench();
        await using var vnc = new FakeVnc(bench.Socket("v"));
        await bench.Start($",vnc={bench.Socket("v")}");
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Cookie", $"xendm-web-{bench.Server.Root.Port}={bench.Token}");
        if (origin is not null) socket.Options.SetRequestHeader("Origin", origin.Replace("HOST", bench.Server.Root.Authority, StringComparison.Ordinal));
        var connecting = socket.ConnectAsync(new Uri($"ws://{bench.Server.Root.Authority}/api/guests/a/vnc"), CancellationToken.None);
        if (isOpened) await connecting;
        else await Assert.ThrowsAsync<WebSocketException>(() => connecting);
        Assert.Equal(isOpened, socket.State == WebSocketState.Open);
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/guest/a")]
    [InlineData("/nothing")]
    public async Task Pages_may_run_their_own_scripts_only(string path)
    {
        await using var bench = await new WebBench().Start();
        using var reply = await bench.Program.GetAsync(path);
        var policy = reply.Headers.GetValues("Content-Security-Policy").Single();
        Assert.Contains("default-src 'none'", policy, StringComparison.Ordinal);
        Assert.Contains("script-src 'self';", policy, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", policy, StringComparison.Ordinal);
        Assert.DoesNotContain("unsafe", policy, StringComparison.Ordinal);
        Assert.Equal("nosniff", reply.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal("no-referrer", reply.Headers.GetValues("Referrer-Policy").Single());
    }

    [Fact]
    public async Task Each_run_has_its_own_token_unless_a_file_keeps_it()
    {
        await using var bench = await new WebBench().Start();
        await using var other = await new WebBench().Start();
        Assert.Matches("^[0-9a-f]{32}$", bench.Token);
        Assert.NotEqual(bench.Token, other.Token);
        var file = bench.Socket("token");
        await using var first = await new WebBench().Start("", "--token-file", file);
        await using var second = await new WebBench().Start("", "--token-file", file);
        Assert.Equal(first.Token, second.Token);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        await using var third = new WebBench();
        var open = await Assert.ThrowsAsync<UsageException>(() => third.Start("", "--token-file", file));
        Assert.Contains("read by others", open.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_port_that_is_taken_is_a_mistake_of_the_set_up()
    {
        await using var bench = await new WebBench().Start();
        var taken = await Assert.ThrowsAsync<UsageException>(() => WebServer.StartAsync(WebOptions.Parse(["--listen", $"{bench.Server.Root.Port}", "--dir", bench.Folder])!));
        Assert.StartsWith("--listen: 127.0.0.1:", taken.Message, StringComparison.Ordinal);
    }
}
