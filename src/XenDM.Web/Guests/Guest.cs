using System;
using System.Collections.Generic;
using System.IO;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;

namespace XenDM.Web.Guests;

/// <summary>The guest is not there, or gives no sensible answer.</summary>
/// <param name="state"><c>gone</c> or <c>silent</c>.</param>
public sealed class GuestUnavailableException(string state, string reason) : Exception(reason)
{
    public string State { get; } = state;
}

/// <summary>
/// A running device model behind its QMP socket. The connection is made when somebody asks and closed when nobody has for a while, because most QMP
/// sockets serve one client at a time; commands of several browsers take turns on it.
/// </summary>
public sealed class Guest : IDisposable
{
    private const int MaxPictureBytes = 64 << 20;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_pictureAge = TimeSpan.FromSeconds(1);

    /// <summary>The first eight bytes of every PNG (ISO 15948, 5.2).</summary>
    private static readonly byte[] s_png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

    private readonly SemaphoreSlim _turn = new(1);
    private readonly SemaphoreSlim _pictureTurn = new(1);
    private readonly GuestSpec _spec;
    private readonly string _pictures;
    private QmpClient? _client;
    private bool _hasCounters = true;
    private volatile bool _retired;
    private long _used;
    private byte[]? _picture;
    private long _pictureTaken;

    /// <param name="pictures">A folder of our own for the pictures that the device model writes.</param>
    public Guest(GuestSpec spec, string pictures)
    {
        _spec = spec;
        _pictures = pictures;
    }

    public GuestSpec Spec => _spec;

    public string Name => _spec.Name;

    public async Task<GuestSummary> SummarizeAsync(CancellationToken cancel)
    {
        try
        {
            return await Ask(async (qmp, stop) => new GuestSummary(Name, await Title(qmp, stop).ConfigureAwait(false), await State(qmp, stop).ConfigureAwait(false), ""), cancel).ConfigureAwait(false);
        }
        catch (GuestUnavailableException e)
        {
            return new GuestSummary(Name, Name, e.State, e.Message);
        }
    }

    public async Task<GuestReport> ReportAsync(CancellationToken cancel)
    {
        try
        {
            return await Ask(Report, cancel).ConfigureAwait(false);
        }
        catch (GuestUnavailableException e)
        {
            return new GuestReport(Name, Name, e.State, e.Message, "", [], null, null);
        }
    }

    /// <summary>Carries out a command that has no arguments and whose value is of no interest.</summary>
    /// <exception cref="GuestUnavailableException"/>
    /// <exception cref="QmpErrorException"/>
    public Task CommandAsync(string command, CancellationToken cancel) => Ask((qmp, stop) => qmp.ExecuteAsync(command, null, stop), cancel);

    /// <summary>Takes the CD out, and puts another in where one is given.</summary>
    /// <inheritdoc cref="CommandAsync"/>
    public Task ChangeMediumAsync(MediumChange change, CancellationToken cancel) => Ask(
        async (qmp, stop) =>
        {
            var key = "device";
            foreach (var drive in await Drives(qmp, stop).ConfigureAwait(false))
                if (drive.Id == change.Drive && drive.IsQdev) key = "id";
            void Target(Utf8JsonWriter w)
            {
                w.WriteString(key, change.Drive);
                if (change.Force) w.WriteBoolean("force", true);
            }

            return change.File is null
                ? await qmp.ExecuteAsync("eject", Target, stop).ConfigureAwait(false)
                : await qmp.ExecuteAsync("blockdev-change-medium", w =>
                {
                    Target(w);
                    w.WriteString("filename", change.File);
                    w.WriteString("format", "raw");
                }, stop).ConfigureAwait(false);
        }, cancel);

    /// <summary>Where the guest's VNC server listens; null when it has none.</summary>
    /// <exception cref="GuestUnavailableException"/>
    public async Task<PeerAddress?> FindVncAsync(CancellationToken cancel)
    {
        if (_spec.Vnc is { } given) return given;
        try
        {
            var info = await Ask((qmp, stop) => qmp.ExecuteAsync("query-vnc", null, stop), cancel).ConfigureAwait(false);
            if (info.ValueKind != JsonValueKind.Object || !info.TryGetProperty("enabled", out var enabled) || enabled.ValueKind != JsonValueKind.True) return null;
            var service = QmpClient.Text(info, "service");
            if (QmpClient.Text(info, "family") == "unix") return PeerAddress.TryParse($"unix:{service}", out var path) ? path : null;
            var host = PeerAddress.Reachable(QmpClient.Text(info, "host"), _spec.Qmp.Path is null ? _spec.Qmp.Host : "127.0.0.1");
            return int.TryParse(service, out var port) && port is > 0 and <= 65535 ? new PeerAddress(null, host, port) : null;
        }
        catch (QmpErrorException)
        {
            // A device model that is built without VNC does not know the command.
            return null;
        }
    }

    /// <summary>The screen as PNG. Who asks again at once gets the same picture, so that many lists cost one.</summary>
    /// <exception cref="GuestUnavailableException"/>
    /// <exception cref="QmpErrorException">There is no screen, or its picture cannot be written where this process can read it.</exception>
    public async Task<byte[]> PictureAsync(CancellationToken cancel)
    {
        await _pictureTurn.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            if (_picture is not null && Environment.TickCount64 - _pictureTaken < s_pictureAge.TotalMilliseconds) return _picture;
            _picture = await Ask(TakePicture, cancel).ConfigureAwait(false);
            _pictureTaken = Environment.TickCount64;
            return _picture;
        }
        finally
        {
            _pictureTurn.Release();
        }
    }

    /// <summary>Hangs up when nobody has asked for a while.</summary>
    public void CloseIdle()
    {
        if (!_turn.Wait(0)) return;
        if (_client is not null && (_retired || Environment.TickCount64 - _used >= s_idle.TotalMilliseconds))
        {
            Close();
            _picture = null;
        }

        _turn.Release();
    }

    /// <summary>The guest is not in the list any more: whoever has it in hand is served, then it hangs up.</summary>
    public void Dispose()
    {
        _retired = true;
        CloseIdle();
    }

    private void Close()
    {
        _client?.Dispose();
        _client = null;
    }

    /// <summary>Runs a conversation, alone and within a time limit. After anything but the device model's own refusal the connection is made anew.</summary>
    private async Task<T> Ask<T>(Func<QmpClient, CancellationToken, Task<T>> conversation, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(s_patience);
        try
        {
            await _turn.WaitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new GuestUnavailableException("silent", "the device model does not answer");
        }

        try
        {
            if (_client is { IsAlive: false }) Close();
            if (_client is null)
            {
                _client = await QmpClient.ConnectAsync(_spec.Qmp, limit.Token).ConfigureAwait(false);
                _hasCounters = true;
            }

            _used = Environment.TickCount64;
            return await conversation(_client, limit.Token).ConfigureAwait(false);
        }
        catch (QmpErrorException) when (_client is not null)
        {
            throw;
        }
        catch (QmpErrorException e)
        {
            throw new GuestUnavailableException("silent", e.Message);
        }
        catch (SocketException)
        {
            Close();
            throw new GuestUnavailableException("gone", $"nobody listens at {_spec.Qmp}");
        }
        catch (IOException e)
        {
            Close();
            throw new GuestUnavailableException("silent", e.Message);
        }
        catch (OperationCanceledException)
        {
            // The reply may still come.
            Close();
            if (cancel.IsCancellationRequested) throw;
            throw new GuestUnavailableException("silent", "the device model does not answer; its QMP socket may be in use by somebody else");
        }
        finally
        {
            if (_retired) Close();
            _turn.Release();
        }
    }

    private async Task<GuestReport> Report(QmpClient qmp, CancellationToken stop)
    {
        var title = await Title(qmp, stop).ConfigureAwait(false);
        var state = await State(qmp, stop).ConfigureAwait(false);
        var drives = await Drives(qmp, stop).ConfigureAwait(false);
        var counters = await Counters(qmp, stop).ConfigureAwait(false);
        var process = qmp.PeerPid is { } pid ? ProcessFigures.Read(pid) : null;
        return new GuestReport(Name, title, state, "", qmp.Version, drives, process ?? Process(counters), Io(counters));
    }

    private async Task<string> Title(QmpClient qmp, CancellationToken stop) =>
        QmpClient.Text(await qmp.ExecuteAsync("query-name", null, stop).ConfigureAwait(false), "name") is { Length: > 0 } name ? name : Name;

    private static async Task<string> State(QmpClient qmp, CancellationToken stop) =>
        QmpClient.Text(await qmp.ExecuteAsync("query-status", null, stop).ConfigureAwait(false), "status") is { Length: > 0 } state ? state : "unknown";

    private static async Task<List<DriveReport>> Drives(QmpClient qmp, CancellationToken stop)
    {
        var drives = new List<DriveReport>();
        var blocks = await qmp.ExecuteAsync("query-block", null, stop).ConfigureAwait(false);
        var counters = new Dictionary<string, JsonElement>();
        foreach (var entry in Items(await qmp.ExecuteAsync("query-blockstats", null, stop).ConfigureAwait(false)))
            if (entry.TryGetProperty("stats", out var stats) && stats.ValueKind == JsonValueKind.Object) counters[Identity(entry)] = stats;
        foreach (var block in Items(blocks))
        {
            var id = QmpClient.Text(block, "device");
            counters.TryGetValue(Identity(block), out var stats);
            string? file = null;
            if (block.TryGetProperty("inserted", out var medium) && medium.ValueKind == JsonValueKind.Object) file = QmpClient.Text(medium, "file");
            drives.Add(new DriveReport(
                Identity(block), id.Length == 0, file, Flag(block, "removable"), Flag(block, "locked"), Flag(block, "tray_open"),
                Number(stats, "rd_operations"), Number(stats, "wr_operations"), Number(stats, "rd_bytes"), Number(stats, "wr_bytes")));
        }

        return drives;
    }

    /// <summary>A drive of <c>-drive</c> has a name, that of a device otherwise only its qdev: in QEMU a path where the user gave no id.</summary>
    private static string Identity(JsonElement entry) => QmpClient.Text(entry, "device") is { Length: > 0 } device ? device : QmpClient.Text(entry, "qdev");

    /// <summary>XenDM's own counters; an undefined value from another device model, which is not asked again.</summary>
    private async Task<JsonElement> Counters(QmpClient qmp, CancellationToken stop)
    {
        if (!_hasCounters) return default;
        try
        {
            return await qmp.ExecuteAsync("x-xendm-counters", null, stop).ConfigureAwait(false);
        }
        catch (QmpErrorException)
        {
            _hasCounters = false;
            return default;
        }
    }

    private static ProcessReport? Process(JsonElement counters)
    {
        if (counters.ValueKind != JsonValueKind.Object || !counters.TryGetProperty("process", out var process) || process.ValueKind != JsonValueKind.Object) return null;
        return new ProcessReport(Number(process, "pid"), Number(process, "memory-bytes"), Number(process, "cpu-ms"));
    }

    /// <summary>The register blocks of a device are added up: its name is the first word of theirs. One that is alone keeps its whole name.</summary>
    private static IoReport? Io(JsonElement counters)
    {
        if (counters.ValueKind != JsonValueKind.Object || !counters.TryGetProperty("regions", out var regions)) return null;
        var devices = new List<DeviceReport>();
        var places = new Dictionary<string, int>();
        foreach (var region in Items(regions))
        {
            var block = QmpClient.Text(region, "name");
            var name = block.Split(' ', 2)[0];
            if (places.TryGetValue(name, out var place)) devices[place] = new DeviceReport(name, devices[place].Reads + Number(region, "reads"), devices[place].Writes + Number(region, "writes"));
            else
            {
                places[name] = devices.Count;
                devices.Add(new DeviceReport(block, Number(region, "reads"), Number(region, "writes")));
            }
        }

        return new IoReport(Number(counters, "requests"), Number(counters, "items"), Number(counters, "unclaimed"), devices);
    }

    private async Task<byte[]> TakePicture(QmpClient qmp, CancellationToken stop)
    {
        if (qmp.PeerPid is { } pid && ProcessFigures.HasFileSizeLimit(pid)) throw new QmpErrorException("GenericError", "the device model may not write files");

        // The device model may run as another user: it finds a file that anyone may write, under a name that nobody can guess in a folder that nobody can list.
        var file = Path.Combine(_pictures, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)) + ".png");
        try
        {
            MakeFile(file);
            await qmp.ExecuteAsync("screendump", w =>
            {
                w.WriteString("filename", file);
                w.WriteString("format", "png");
            }, stop).ConfigureAwait(false);
            return ReadPicture(file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static void MakeFile(string file)
    {
        const UnixFileMode everyone = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        try
        {
            using (new FileStream(file, FileMode.CreateNew)) { }
            File.SetUnixFileMode(file, everyone);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QmpErrorException("GenericError", $"no picture can be kept here: {e.Message}");
        }
    }

    private static byte[] ReadPicture(string file)
    {
        try
        {
            using var picture = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (picture.Length is < 8 or > MaxPictureBytes) throw new QmpErrorException("GenericError", "there is no picture");
            var bytes = new byte[picture.Length];
            picture.ReadExactly(bytes);
            return bytes.AsSpan().StartsWith(s_png) ? bytes : throw new QmpErrorException("GenericError", "the picture is no PNG");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new QmpErrorException("GenericError", $"the picture cannot be read: {e.Message}");
        }
    }

    private static IEnumerable<JsonElement> Items(JsonElement array)
    {
        if (array.ValueKind != JsonValueKind.Array) yield break;
        foreach (var item in array.EnumerateArray())
            if (item.ValueKind == JsonValueKind.Object) yield return item;
    }

    private static bool Flag(JsonElement parent, string name) => parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.True;

    private static long Number(JsonElement parent, string name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : 0;
}
