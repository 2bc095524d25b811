using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Text.Json;
using System.Threading.Tasks;

namespace XenDM.Web.Tests;

public sealed class GuestTests
{
    private static readonly byte[] s_png = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3];

    [Fact]
    public async Task The_list_has_the_guests_with_their_states()
    {
        await using var bench = new WebBench();
        await bench.Start("", "--guest", $"gone={bench.Socket("gone")}");
        await using var qmp = new FakeQmp(bench.Socket("a"));
        Assert.Equal("a|Fake|running gone|gone|gone", await List(bench));
        qmp.Answers["query-status"] = """{"status":"paused","running":false}""";
        Assert.Equal("a|Fake|paused gone|gone|gone", await List(bench));
    }

    [Fact]
    public async Task A_guest_that_ends_is_gone_and_one_that_comes_back_is_there()
    {
        await using var bench = await new WebBench().Start();
        await using (new FakeQmp(bench.Socket("a"))) Assert.Equal("a|Fake|running", await List(bench));
        Assert.Equal("a|a|gone", await List(bench));
        File.Delete(bench.Socket("a"));
        Assert.Equal("a|a|gone", await List(bench));
        var report = await bench.Get("/api/guests/a");
        Assert.Equal("gone", report.GetProperty("state").GetString());
        Assert.Contains("nobody listens", report.GetProperty("reason").GetString(), StringComparison.Ordinal);
        Assert.Equal((502, $"nobody listens at unix:{bench.Socket("a")}"), await bench.Post("/api/guests/a/power/reset"));
        await using var again = new FakeQmp(bench.Socket("a"));
        Assert.Equal("a|Fake|running", await List(bench));
    }

    [Fact]
    public async Task Folders_are_searched_for_sockets_that_are_not_libxls()
    {
        await using var bench = new WebBench();
        var folder = Directory.CreateDirectory(bench.Socket("d")).FullName;
        await bench.Start("", "--dir", folder);
        await using var qmp = new FakeQmp(bench.Socket("a"));
        await using var b = new FakeQmp(Path.Combine(folder, "b.qmp"));
        await using var c = new FakeQmp(Path.Combine(folder, "c.other"));
        await using var given = new FakeQmp(Path.Combine(folder, "a.qmp"));
        await using (new FakeQmp(Path.Combine(folder, "qmp-libxl-7.qmp"))) Assert.Equal("a|Fake|running b|Fake|running", await List(bench));
        File.Delete(Path.Combine(folder, "b.qmp"));
        Assert.Equal("a|Fake|running", await List(bench));
        Assert.Equal((404, "there is no such guest"), await bench.Post("/api/guests/b/power/reset"));
        Assert.Empty(c.Commands);
        Assert.Empty(given.Commands);
    }

    [Theory]
    [InlineData("powerdown", "system_powerdown")]
    [InlineData("reset", "system_reset")]
    [InlineData("pause", "stop")]
    [InlineData("continue", "cont")]
    [InlineData("quit", "quit")]
    public async Task Power_buttons_reach_the_guest(string action, string command)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        Assert.Equal((204, ""), await bench.Post($"/api/guests/a/power/{action}"));
        Assert.Equal([command], qmp.Commands);
        qmp.Answers[command] = "!not now";
        Assert.Equal((400, "not now"), await bench.Post($"/api/guests/a/power/{action}"));
        Assert.Equal((404, "there is no such action"), await bench.Post("/api/guests/a/power/device_del"));
        using var get = await bench.Program.GetAsync($"/api/guests/a/power/{action}");
        Assert.Equal(HttpStatusCode.MethodNotAllowed, get.StatusCode);
    }

    [Theory]
    [InlineData("""{"drive":"ide-cd","file":"/iso/b.iso"}""", """blockdev-change-medium {"id":"ide-cd","filename":"/iso/b.iso","format":"raw"}""")]
    [InlineData("""{"drive":"ide-cd","file":"/iso/\"b\n.iso","force":true}""", """blockdev-change-medium {"id":"ide-cd","force":true,"filename":"/iso/\u0022b\n.iso","format":"raw"}""")]
    [InlineData("""{"drive":"hda","file":null}""", """eject {"device":"hda"}""")]
    [InlineData("""{"drive":"ide-cd","force":true}""", """eject {"id":"ide-cd","force":true}""")]
    public async Task A_medium_is_changed(string body, string command)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        Assert.Equal((204, ""), await bench.Post("/api/guests/a/medium", body));
        Assert.Equal(command, qmp.Commands.Last());
        qmp.Answers[command.Split(' ')[0]] = "!Device 'ide-cd' is locked";
        Assert.Equal((400, "Device 'ide-cd' is locked"), await bench.Post("/api/guests/a/medium", body));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("""{"file":"/x"}""")]
    [InlineData("""{"drive":5}""")]
    [InlineData("""{"drive":"hda","file":""}""")]
    [InlineData("""{"drive":"hda""")]
    public async Task A_change_of_nothing_is_refused(string body)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        Assert.Equal((400, "a drive must be named"), await bench.Post("/api/guests/a/medium", body));
        Assert.Empty(qmp.Commands);
    }

    [Fact]
    public async Task The_report_has_drives_counters_and_the_process()
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        qmp.Answers["x-xendm-counters"] = """
            {"requests":10,"items":20,"unclaimed":3,"process":{"pid":1,"memory-bytes":2,"cpu-ms":3},
             "regions":[{"name":"ide0 command","reads":1,"writes":2},{"name":"debug console","reads":5,"writes":0},{"name":"ide0 control","reads":10,"writes":20}]}
            """.ReplaceLineEndings(" ");
        var report = await bench.Get("/api/guests/a");
        Assert.Equal("XenDM 0.1.0", report.GetProperty("version").GetString());
        Assert.Equal(
            """[{"id":"hda","isQdev":false,"file":"/images/a.img","removable":false,"locked":false,"trayOpen":false,"readOperations":8,"writeOperations":1,"readBytes":4096,"writtenBytes":512},{"id":"ide-cd","isQdev":true,"file":null,"removable":true,"locked":true,"trayOpen":false,"readOperations":0,"writeOperations":0,"readBytes":0,"writtenBytes":0}]""",
            report.GetProperty("drives").GetRawText());
        Assert.Equal("""{"requests":10,"items":20,"unclaimed":3,"devices":[{"name":"ide0","reads":11,"writes":22},{"name":"debug console","reads":5,"writes":0}]}""", report.GetProperty("io").GetRawText());

        // Who is at the other end of a Unix socket is known without asking.
        var process = report.GetProperty("process");
        Assert.Equal(Environment.ProcessId, process.GetProperty("pid").GetInt32());
        Assert.InRange(process.GetProperty("memoryBytes").GetInt64(), 1 << 20, 1L << 40);
        Assert.InRange(process.GetProperty("cpuMilliseconds").GetInt64(), 1, 1L << 40);
    }

    [Fact]
    public async Task A_device_model_without_our_counters_is_asked_for_them_once()
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        for (var n = 0; n < 3; n++) Assert.Equal(JsonValueKind.Null, (await bench.Get("/api/guests/a")).GetProperty("io").ValueKind);
        Assert.Single(qmp.Commands, static c => c == "x-xendm-counters");
        Assert.Equal(1, qmp.Clients);
    }

    [Theory]
    [InlineData("query-status", "=not json")]
    [InlineData("query-status", "=[1,2]")]
    [InlineData("query-status", "=\"text\"")]
    [InlineData("query-status", """={"return":{},"id":99}""")]
    [InlineData("query-status", """={"return":{}}""")]
    [InlineData("query-status", """={"error":5}""")]
    [InlineData("query-status", """={"id":-1}""")]
    [InlineData("query-status", "=\xff\0\u0001")]
    public async Task Malformed_replies_leave_a_silent_guest_and_a_new_connection(string command, string answer)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        var right = qmp.Answers[command];
        qmp.Answers[command] = answer;
        Assert.Equal("a|a|silent", await List(bench));
        Assert.Equal("silent", (await bench.Get("/api/guests/a")).GetProperty("state").GetString());
        qmp.Answers[command] = right;
        Assert.Equal("a|Fake|running", await List(bench));
        Assert.Equal(3, qmp.Clients);
    }

    [Theory]
    [InlineData("query-name", "[]")]
    [InlineData("query-name", "null")]
    [InlineData("query-status", "5")]
    [InlineData("query-block", "{}")]
    [InlineData("query-block", """[1,null,{},{"device":7,"inserted":[],"removable":"yes","tray_open":{}}]""")]
    [InlineData("query-blockstats", """[{"stats":[]},{"stats":{"rd_bytes":"x","wr_bytes":1e99}}]""")]
    [InlineData("x-xendm-counters", "[]")]
    [InlineData("x-xendm-counters", """{"requests":-1.5,"regions":[{},{"name":5,"reads":{}}],"process":[]}""")]
    [InlineData("x-xendm-counters", """{"regions":{}}""")]
    public async Task Values_of_another_kind_are_shown_as_nothing(string command, string answer)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        qmp.Answers[command] = answer;
        Assert.Contains((await bench.Get("/api/guests/a")).GetProperty("state").GetString(), (string[])["running", "unknown"]);
        Assert.Equal(1, qmp.Clients);
    }

    [Theory]
    [InlineData("RFB 003.008")]
    [InlineData("{}")]
    [InlineData("""{"QMP":5}""")]
    [InlineData("[[[[")]
    public async Task Who_is_no_qmp_server_is_silent(string greeting)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a")) { FirstLine = greeting };
        Assert.Equal("a|a|silent", await List(bench));
        Assert.Empty(qmp.Commands);
    }

    [Fact]
    public async Task A_guest_that_does_not_answer_is_silent_after_a_while()
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        qmp.Answers["query-status"] = "";
        Assert.Equal("a|a|silent", await List(bench));
    }

    [Fact]
    public async Task The_picture_is_the_guests_own_and_leaves_no_file()
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        var file = "";
        qmp.Answers["screendump"] = "{}";
        qmp.Heard = (command, arguments) =>
        {
            if (command != "screendump") return;
            file = arguments.GetProperty("filename").GetString()!;
            Assert.Equal("png", arguments.GetProperty("format").GetString());
            File.WriteAllBytes(file, s_png);
        };
        Assert.Equal(s_png, await bench.Program.GetByteArrayAsync("/api/guests/a/screen.png"));
        Assert.Equal(s_png, await bench.Program.GetByteArrayAsync("/api/guests/a/screen.png"));
        Assert.Single(qmp.Commands);
        Assert.False(File.Exists(file));

        // Nobody else may list the folder.
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode(Path.GetDirectoryName(file)!) & (UnixFileMode.GroupRead | UnixFileMode.OtherRead | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite));
        await bench.Server.DisposeAsync();
        Assert.False(Directory.Exists(Path.GetDirectoryName(file)));
    }

    [Theory]
    [InlineData("{}", "", "there is no picture")]
    [InlineData("{}", "P6 1 1 255 xxx", "the picture is no PNG")]
    [InlineData("!there is no screen", "", "there is no screen")]
    public async Task Without_a_picture_there_is_a_reason(string answer, string contents, string error)
    {
        await using var bench = await new WebBench().Start();
        await using var qmp = new FakeQmp(bench.Socket("a"));
        qmp.Answers["screendump"] = answer;
        qmp.Heard = (command, arguments) =>
        {
            if (command == "screendump") File.WriteAllText(arguments.GetProperty("filename").GetString()!, contents);
        };
        using var reply = await bench.Program.GetAsync("/api/guests/a/screen.png");
        Assert.Equal(HttpStatusCode.BadRequest, reply.StatusCode);
        Assert.Equal($$"""{"error":"{{error}}"}""", await reply.Content.ReadAsStringAsync());
        Assert.Equal("a|Fake|running", await List(bench));
    }

    [Fact]
    public async Task Media_are_the_files_of_their_folders()
    {
        await using var bench = new WebBench();
        var folder = Directory.CreateDirectory(bench.Socket("iso")).FullName;
        foreach (var name in (string[])["b.iso", "a.iso", ".hidden"]) await File.WriteAllTextAsync(Path.Combine(folder, name), "");
        await bench.Start("", "--media", folder);
        Assert.Equal([$"{folder}/a.iso", $"{folder}/b.iso"], (await bench.Get("/api/media")).EnumerateArray().Select(static f => f.GetString()));
    }

    private static async Task<string> List(WebBench bench) =>
        string.Join(' ', (await bench.Get("/api/guests")).EnumerateArray().Select(static g => $"{g.GetProperty("name")}|{g.GetProperty("title")}|{g.GetProperty("state")}"));
}
