using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using XenDM.Web.Guests;

namespace XenDM.Web.Http;

/// <summary>What browsers can ask for, an address each.</summary>
internal sealed class Endpoints
{
    private const int MaxMedia = 1000;
    private static readonly TimeSpan s_connect = TimeSpan.FromSeconds(5);

    /// <summary>The words of the power buttons, and QMP's for them.</summary>
    private static readonly Dictionary<string, string> s_actions = new()
    {
        ["powerdown"] = "system_powerdown",
        ["reset"] = "system_reset",
        ["pause"] = "stop",
        ["continue"] = "cont",
        ["wakeup"] = "system_wakeup",
        ["quit"] = "quit",
    };

    private readonly WebOptions _options;
    private readonly GuestList _guests;
    private readonly Assets _assets;
    private readonly CancellationToken _stop;

    /// <param name="stop">The program ends.</param>
    public Endpoints(WebOptions options, GuestList guests, Assets assets, CancellationToken stop)
    {
        _options = options;
        _guests = guests;
        _assets = assets;
        _stop = stop;
    }

    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/", (RequestDelegate)(context => _assets.Send(context, "index.html")));
        routes.MapGet("/guest/{name}", (RequestDelegate)(context => _assets.Send(context, "guest.html")));
        routes.MapGet("/assets/{**path}", (RequestDelegate)(context => _assets.Send(context, $"{context.Request.RouteValues["path"]}")));
        routes.MapGet("/novnc/{**path}", (RequestDelegate)(context => _assets.Send(context, $"novnc/{context.Request.RouteValues["path"]}")));
        routes.MapGet("/api/guests", List);
        routes.MapGet("/api/media", Media);
        routes.MapGet("/api/guests/{name}", WithGuest(Report));
        routes.MapGet("/api/guests/{name}/screen.png", WithGuest(Screen));
        routes.MapGet("/api/guests/{name}/vnc", WithGuest(Vnc));
        routes.MapPost("/api/guests/{name}/power/{action}", WithGuest(Power));
        routes.MapPost("/api/guests/{name}/medium", WithGuest(Medium));
    }

    /// <summary>Failures of the guest become answers: 404 no such guest, 400 it refuses, 502 it is gone or silent.</summary>
    private RequestDelegate WithGuest(Func<HttpContext, Guest, Task> work) => async context =>
    {
        try
        {
            if (_guests.Find($"{context.Request.RouteValues["name"]}") is { } guest) await work(context, guest).ConfigureAwait(false);
            else await Fail(context, StatusCodes.Status404NotFound, "there is no such guest").ConfigureAwait(false);
        }
        catch (QmpErrorException e)
        {
            await Fail(context, StatusCodes.Status400BadRequest, e.Message).ConfigureAwait(false);
        }
        catch (GuestUnavailableException e)
        {
            await Fail(context, StatusCodes.Status502BadGateway, e.Message).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The browser has gone.
        }
    };

    private async Task List(HttpContext context)
    {
        var questions = new List<Task<GuestSummary>>();
        foreach (var guest in _guests.All()) questions.Add(guest.SummarizeAsync(context.RequestAborted));
        try
        {
            await Send(context, [.. await Task.WhenAll(questions).ConfigureAwait(false)], ReportJson.Default.ListGuestSummary).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The browser has gone.
        }
    }

    private Task Media(HttpContext context)
    {
        var files = new List<string>();
        foreach (var folder in _options.Media)
        {
            try
            {
                foreach (var file in Directory.EnumerateFiles(folder))
                {
                    if (files.Count == MaxMedia) break;
                    if (!Path.GetFileName(file).StartsWith('.')) files.Add(file);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A folder that went away offers nothing.
            }
        }

        files.Sort(StringComparer.Ordinal);
        return Send(context, files, ReportJson.Default.ListString);
    }

    private static async Task Report(HttpContext context, Guest guest) =>
        await Send(context, await guest.ReportAsync(context.RequestAborted).ConfigureAwait(false), ReportJson.Default.GuestReport).ConfigureAwait(false);

    private static async Task Screen(HttpContext context, Guest guest)
    {
        var picture = await guest.PictureAsync(context.RequestAborted).ConfigureAwait(false);
        context.Response.ContentType = "image/png";
        context.Response.ContentLength = picture.Length;
        await context.Response.Body.WriteAsync(picture, context.RequestAborted).ConfigureAwait(false);
    }

    private static async Task Power(HttpContext context, Guest guest)
    {
        if (!s_actions.TryGetValue($"{context.Request.RouteValues["action"]}", out var command))
        {
            await Fail(context, StatusCodes.Status404NotFound, "there is no such action").ConfigureAwait(false);
            return;
        }

        // Also when the browser does not wait for it.
        await guest.CommandAsync(command, CancellationToken.None).ConfigureAwait(false);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private static async Task Medium(HttpContext context, Guest guest)
    {
        MediumChange? change;
        try
        {
            change = await JsonSerializer.DeserializeAsync(context.Request.Body, ReportJson.Default.MediumChange, context.RequestAborted).ConfigureAwait(false);
        }
        catch (JsonException)
        {
            change = null;
        }

        if (change is null || string.IsNullOrEmpty(change.Drive) || change.File is "")
        {
            await Fail(context, StatusCodes.Status400BadRequest, "a drive must be named").ConfigureAwait(false);
            return;
        }

        await guest.ChangeMediumAsync(change, CancellationToken.None).ConfigureAwait(false);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task Vnc(HttpContext context, Guest guest)
    {
        if (!context.WebSockets.IsWebSocketRequest)
        {
            await Fail(context, StatusCodes.Status426UpgradeRequired, "this is a WebSocket").ConfigureAwait(false);
            return;
        }

        if (await guest.FindVncAsync(context.RequestAborted).ConfigureAwait(false) is not { } address)
        {
            await Fail(context, StatusCodes.Status502BadGateway, "the guest has no VNC server").ConfigureAwait(false);
            return;
        }

        using var server = await Connect(address, context.RequestAborted).ConfigureAwait(false);
        if (server is null)
        {
            await Fail(context, StatusCodes.Status502BadGateway, $"nobody listens at {address}").ConfigureAwait(false);
            return;
        }

        using var browser = await context.WebSockets.AcceptWebSocketAsync().ConfigureAwait(false);
        await Bridge.RunAsync(browser, server, _stop).ConfigureAwait(false);
    }

    private static async Task<Socket?> Connect(PeerAddress address, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(s_connect);
        try
        {
            return await address.ConnectAsync(limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is SocketException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            return null;
        }
    }

    private static Task Fail(HttpContext context, int status, string why)
    {
        if (context.Response.HasStarted) return Task.CompletedTask;
        context.Response.StatusCode = status;
        return Send(context, new Failure(why), ReportJson.Default.Failure);
    }

    private static Task Send<T>(HttpContext context, T value, JsonTypeInfo<T> type)
    {
        context.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(context.Response.Body, value, type, context.RequestAborted);
    }
}
