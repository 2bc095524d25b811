using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

/// <summary>A device model's QMP socket that answers from a table and writes down what it is asked; one client at a time, as device models do.</summary>
internal sealed class FakeQmp : IAsyncDisposable
{
    public const string Greeting = """{"QMP":{"version":{"qemu":{"major":8,"minor":2,"micro":0},"package":"XenDM 0.1.0"},"capabilities":[]}}""";

    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _end = new();
    private readonly Task _serve;

    public FakeQmp(string path)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen();
        _serve = Serve();
    }

    /// <summary>The first thing that a client hears.</summary>
    public string FirstLine { get; set; } = Greeting;

    /// <summary>Values by command; a command without one is unknown. <c>!TEXT</c> is an error with this text, <c>=TEXT</c> a raw line, an empty text silence.</summary>
    public ConcurrentDictionary<string, string> Answers { get; } = new(new Dictionary<string, string>
    {
        ["qmp_capabilities"] = "{}",
        ["query-name"] = """{"name":"Fake"}""",
        ["query-status"] = """{"status":"running","running":true}""",
        ["query-block"] = """
            [{"device":"hda","locked":false,"removable":false,"inserted":{"file":"/images/a.img"}},
             {"device":"","qdev":"ide-cd","locked":true,"removable":true,"tray_open":false}]
            """.ReplaceLineEndings(" "),
        ["query-blockstats"] = """[{"device":"hda","stats":{"rd_bytes":4096,"wr_bytes":512,"rd_operations":8,"wr_operations":1}}]""",
        ["query-vnc"] = """{"enabled":false}""",
        ["system_powerdown"] = "{}",
        ["system_reset"] = "{}",
        ["stop"] = "{}",
        ["cont"] = "{}",
        ["quit"] = "{}",
        ["eject"] = "{}",
        ["blockdev-change-medium"] = "{}",
    });

    /// <summary>Runs when a command comes, before its answer goes.</summary>
    public Action<string, JsonElement>? Heard { get; set; }

    /// <summary>The commands that came, each with its arguments.</summary>
    public ConcurrentQueue<string> Commands { get; } = new();

    /// <summary>Clients that are connected now, and all that ever were.</summary>
    public int Clients => _clients;

    private int _clients;

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Dispose();
        await _serve;
        _end.Dispose();
    }

    private async Task Serve()
    {
        try
        {
            while (true)
            {
                using var client = await _listener.AcceptAsync(_end.Token);
                Interlocked.Increment(ref _clients);
                try
                {
                    await Serve(client);
                }
                catch (Exception e) when (e is IOException or SocketException)
                {
                    // The client has gone.
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or SocketException)
        {
            // The end of the test.
        }
    }

    private async Task Serve(Socket client)
    {
        await using var stream = new NetworkStream(client);
        await stream.WriteAsync(Encoding.UTF8.GetBytes(FirstLine + "\r\n"), _end.Token);
        using var reader = new StreamReader(stream);
        while (await reader.ReadLineAsync(_end.Token) is { } line)
        {
            using var request = JsonDocument.Parse(line);
            var command = request.RootElement.GetProperty("execute").GetString()!;
            var arguments = request.RootElement.TryGetProperty("arguments", out var given) ? given : default;
            var id = request.RootElement.GetProperty("id").GetRawText();
            if (command != "qmp_capabilities") Commands.Enqueue(arguments.ValueKind == JsonValueKind.Object ? $"{command} {arguments.GetRawText()}" : command);
            Heard?.Invoke(command, arguments);
            var answer = Answers.GetValueOrDefault(command, "!?");
            if (answer.Length == 0) continue;
            var reply = answer[0] switch
            {
                '=' => answer[1..],
                '!' => $$"""{"error":{"class":"{{(answer == "!?" ? "CommandNotFound" : "GenericError")}}","desc":"{{answer[1..]}}"},"id":{{id}}}""",
                _ => """{"event":"RTC_CHANGE","timestamp":{"seconds":1,"microseconds":2}}""" + "\r\n" + $$"""{"return":{{answer}},"id":{{id}}}""",
            };
            await stream.WriteAsync(Encoding.UTF8.GetBytes(reply + "\r\n"), _end.Token);
        }
    }
}
