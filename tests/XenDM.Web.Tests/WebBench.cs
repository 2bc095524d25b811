using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

/// <summary>A server on a free port, with a folder for sockets.</summary>
internal sealed class WebBench : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("xdw");

    public WebServer Server { get; private set; } = null!;

    /// <summary>Has the token.</summary>
    public HttpClient Program { get; private set; } = null!;

    /// <summary>Has nothing, and does not follow redirections or keep cookies.</summary>
    public HttpClient Stranger { get; private set; } = null!;

    public string Token => Server.Address.Query["?token=".Length..];

    public string Folder => _folder.FullName;

    public string Socket(string name) => Path.Combine(_folder.FullName, name);

    /// <param name="guest">Further arguments of the guest <c>a</c>, whose QMP socket is <c>a</c> in the folder.</param>
    public async Task<WebBench> Start(string guest = "", params string[] arguments)
    {
        Server = await WebServer.StartAsync(WebOptions.Parse([.. (List<string>)["--listen", "0", "--guest", $"a={Socket("a")}{guest}"], .. arguments])!);
        Program = new HttpClient { BaseAddress = Server.Root };
        Program.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
        Stranger = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false }) { BaseAddress = Server.Root };
        return this;
    }

    public async Task<JsonElement> Get(string path)
    {
        using var json = JsonDocument.Parse(await Program.GetStringAsync(path));
        return json.RootElement.Clone();
    }

    public async Task<(int Status, string Error)> Post(string path, string? body = null)
    {
        using var content = body is null ? null : new StringContent(body);
        using var reply = await Program.PostAsync(path, content);
        var text = await reply.Content.ReadAsStringAsync();
        if (text.Length == 0) return ((int)reply.StatusCode, "");
        using var json = JsonDocument.Parse(text);
        return ((int)reply.StatusCode, json.RootElement.GetProperty("error").GetString()!);
    }

    public async ValueTask DisposeAsync()
    {
        Program?.Dispose();
        Stranger?.Dispose();
        if (Server is not null) await Server.DisposeAsync();
        _folder.Delete(recursive: true);
    }
}
