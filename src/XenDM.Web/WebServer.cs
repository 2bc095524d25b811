using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using XenDM.Web.Guests;
using XenDM.Web.Http;

namespace XenDM.Web;

/// <summary>The server of one run: guests in, pages out.</summary>
public sealed class WebServer : IAsyncDisposable
{
    private const int MaxRequestBytes = 64 << 10;
    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(3);

    private readonly WebApplication _app;
    private readonly GuestList _guests;
    private readonly Access _access;

    private WebServer(WebApplication app, GuestList guests, Access access)
    {
        _app = app;
        _guests = guests;
        _access = access;
    }

    /// <summary>What a browser opens, without the token.</summary>
    public Uri Root { get; private set; } = null!;

    /// <summary>What is printed.</summary>
    public Uri Address => new(Root, $"?token={_access.Token}");

    /// <summary>Listens.</summary>
    /// <exception cref="UsageException">The address or the token file cannot be used.</exception>
    public static async Task<WebServer> StartAsync(WebOptions options)
    {
        var access = new Access(options.TokenFile is { } file ? Access.FromFile(file) : Access.NewToken());
        var guests = new GuestList(options);

        // An empty builder: no settings from files or the environment that could open another door.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = MaxRequestBytes;
            kestrel.Listen(options.Listen);
        });
        builder.WebHost.UseShutdownTimeout(s_goodbye);
        var app = builder.Build();
        app.UseWebSockets(new WebSocketOptions { KeepAliveInterval = TimeSpan.FromSeconds(20), KeepAliveTimeout = TimeSpan.FromSeconds(20) });
        app.Use((HttpContext context, RequestDelegate next) => access.Check(context, next));
        app.UseRouting();
        new Endpoints(options, guests, new Assets(), app.Lifetime.ApplicationStopping).Map(app);
        app.UseEndpoints(static _ => { });
        var server = new WebServer(app, guests, access);
        try
        {
            await app.StartAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw new UsageException("--listen", $"{options.Listen} cannot be had: {(e.InnerException ?? e).Message}");
        }

        foreach (var address in app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses) server.Root = new Uri(address);
        access.Port = server.Root.Port;
        if (options.Listen.Address.Equals(IPAddress.Any) || options.Listen.Address.Equals(IPAddress.IPv6Any)) server.Root = new UriBuilder(server.Root) { Host = Dns.GetHostName() }.Uri;
        return server;
    }

    public Task RunAsync(CancellationToken stop)
    {
        var end = new TaskCompletionSource();
        stop.Register(end.SetResult);
        return end.Task;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync().ConfigureAwait(false);
        await _app.DisposeAsync().ConfigureAwait(false);
        _guests.Dispose();
    }
}
