using System;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;

namespace XenDM.Monitor.Tests;

public sealed class QmpSessionTests
{
    private const string Status = """{"return":{"status":"prelaunch","running":false}}""";

    [Fact]
    public void Greets_at_once_and_wants_negotiation_first()
    {
        using var bench = new MonitorBench(negotiate: false);
        Assert.Empty(bench.Client.TakeLines());
        bench.Client.Open();
        var greeting = Assert.Single(bench.Client.TakeLines());
        Assert.Equal("""{"QMP":{"version":{"qemu":{"major":8,"minor":2,"micro":0},"package":"XenDM 1.2"},"capabilities":[]}}""", greeting);
        Assert.Equal("""{"error":{"class":"CommandNotFound","desc":"Expecting capabilities negotiation with 'qmp_capabilities'"}}""", bench.Ask("""{"execute":"query-status"}"""));
        Assert.Contains("GenericError", bench.Ask("""{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"""));
        Assert.Equal("""{"return":{},"id":1}""", bench.Ask("""{"execute":"qmp_capabilities","id":1}"""));
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));
        Assert.Contains("already complete", bench.Ask("""{"execute":"qmp_capabilities"}"""));
    }

    [Theory]
    [InlineData("2020175360")]
    [InlineData("\"a b\"")]
    [InlineData("null")]
    [InlineData("-1.5e300")]
    [InlineData("{\"a\":[1,2.5,null,{\"b\":\"\\u00e9'\\\"\"}]}")]
    [InlineData("\"line\\r\\nline\"")]
    public void Echoes_any_id(string id)
    {
        using var bench = new MonitorBench();
        foreach (var command in (string[])["query-status", "no-such-command"])
        {
            using var reply = JsonDocument.Parse(bench.Ask($$"""{"execute":"{{command}}","id":{{id}}}"""));
            using var wanted = JsonDocument.Parse(id);
            Assert.True(JsonElement.DeepEquals(wanted.RootElement, reply.RootElement.GetProperty("id")));
        }
    }

    [Fact]
    public void A_message_may_be_cut_anywhere()
    {
        var text = Encoding.UTF8.GetBytes("""{ "execute" : "query-status", "id": {"}{": "\"\\[é"} }""");
        for (var cut = 1; cut < text.Length; cut++)
        {
            using var bench = new MonitorBench();
            bench.Client.Send(text.AsSpan(0, cut));
            Assert.Empty(bench.Client.TakeLines());
            bench.Client.Send(text.AsSpan(cut));
            Assert.Contains("prelaunch", Assert.Single(bench.Client.TakeLines()));
        }

        using var slow = new MonitorBench();
        foreach (var b in text) slow.Client.Send([b]);
        Assert.Contains("prelaunch", Assert.Single(slow.Client.TakeLines()));
    }

    [Fact]
    public void Messages_need_no_line_ends_and_may_come_together()
    {
        using var bench = new MonitorBench();
        bench.Client.Send(" \r\n\t{\"execute\":\"query-status\",\"id\":1}{\"execute\":\"query-name\",\"id\":2}\r\n\r\n{\"execute\":\n\"query-status\",\"id\":3}{\"exe");
        var lines = bench.Client.TakeLines();
        Assert.Equal(3, lines.Length);
        for (var i = 0; i < 3; i++) Assert.EndsWith($"\"id\":{i + 1}}}", lines[i]);
        Assert.Contains("guest", bench.Ask("cute\":\"query-name\"}"));
    }

    [Theory]
    [InlineData("@@\n", "JSON parse error, stray '@'")]
    [InlineData("nonsense\n", "QMP input must be a JSON object")]
    [InlineData("garbage\n", "JSON parse error, stray 'g'")]
    [InlineData("}\n", "JSON parse error, stray '}'")]
    [InlineData("[1,2]\n", "QMP input must be a JSON object")]
    [InlineData("\"text\"\n", "QMP input must be a JSON object")]
    [InlineData("5\n", "QMP input must be a JSON object")]
    [InlineData("{ \"a\n", "JSON parse error, a control character (0x0a) in a string")]
    [InlineData("{\"execute\": \"query-status\" ]\n", "JSON parse error, ']' closes a '{'")]
    [InlineData("{\"execute\" \"x\"}\n", null)]
    [InlineData("{\"execute\":\"query-status\",}\n", null)]
    [InlineData("{\"execute\":@ \"x\"}\n", "JSON parse error, stray '@'")]
    [InlineData("{'execute':'query-status'}\n", "JSON parse error, stray '''")]
    [InlineData("{\"execute\":\"query-status\",\"id\":\"\\ud800\"}\n", "JSON parse error, an escape sequence is not a valid Unicode character")]
    [InlineData("{\"\\udc00\":1}\n", "JSON parse error, an escape sequence is not a valid Unicode character")]
    [InlineData("{\"execute\":tru}\n", null)]
    [InlineData("{\"execute\":\"x\",\"id\":01}\n", null)]
    [InlineData("[[[[[[[[[[[[[[[[[[[[[\n", "QMP input must be a JSON object")]
    [InlineData("\0\n", "JSON parse error, stray byte 0x00")]
    public void Broken_text_gets_one_error_and_the_next_line_counts(string text, string? error)
    {
        using var bench = new MonitorBench();
        var reply = bench.Ask(text);
        using var document = JsonDocument.Parse(reply);
        var given = document.RootElement.GetProperty("error");
        Assert.Equal("GenericError", given.GetProperty("class").GetString());
        if (error is not null) Assert.Equal(error, given.GetProperty("desc").GetString());
        else Assert.StartsWith("JSON parse error, ", given.GetProperty("desc").GetString());
        Assert.Equal(Status, bench.Ask("{\"execute\":\"query-status\"}\n"));

        // The same, byte by byte.
        foreach (var b in Encoding.UTF8.GetBytes(text)) bench.Client.Send([b]);
        Assert.Equal(reply, Assert.Single(bench.Client.TakeLines()));
        Assert.Equal(Status, bench.Ask("{\"execute\":\"query-status\"}\n"));
    }

    [Theory]
    [InlineData("{\"execute\":@ \"x\"}  {\"execute\":\"query-status\"}")]
    [InlineData("{\"execute\": nonsense]\u0001{\"execute\":\"query-status\"}")]
    public void After_an_error_the_next_brace_begins_a_message(string text)
    {
        using var bench = new MonitorBench();
        bench.Client.Send(text);
        var lines = bench.Client.TakeLines();
        Assert.Equal(2, lines.Length);
        Assert.Contains("JSON parse error", lines[0]);
        Assert.Equal(Status, lines[1]);
    }

    [Fact]
    public void Bytes_that_are_no_UTF8_get_an_error()
    {
        using var bench = new MonitorBench();
        bench.Client.Send([0xff, (byte)'\n']);
        Assert.Contains("stray byte 0xff", Assert.Single(bench.Client.TakeLines()));
        bench.Client.Send([.. "{\"execute\":\""u8, 0xc3, .. "\",\"id\":1}\n"u8]);
        Assert.Contains("invalid UTF-8", Assert.Single(bench.Client.TakeLines()));
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));
    }

    [Theory]
    [InlineData("""{"execute":5}""", "QMP input member 'execute' must be a string")]
    [InlineData("""{"exec":"a"}""", "QMP input member 'exec' is unexpected")]
    [InlineData("""{"exec-oob":"query-status"}""", "QMP input member 'exec-oob' is unexpected")]
    [InlineData("""{"execute":"stop","arguments":5}""", "QMP input member 'arguments' must be an object")]
    [InlineData("""{"execute":"stop","foo":1}""", "QMP input member 'foo' is unexpected")]
    [InlineData("{}", "QMP input lacks member 'execute'")]
    public void Envelopes_are_checked(string message, string error)
    {
        using var bench = new MonitorBench();
        Assert.Equal($$$"""{"error":{"class":"GenericError","desc":"{{{error}}}"}}""", bench.Ask(message));
        Assert.Empty(bench.Target.Calls);
    }

    [Fact]
    public void Nesting_is_bounded()
    {
        using var bench = new MonitorBench();
        string Nested(int depth) => "{\"execute\":\"query-status\",\"id\":" + new string('[', depth) + new string(']', depth) + "}\n";
        Assert.Contains("prelaunch", bench.Ask(Nested(63)));
        Assert.Contains("JSON parse error, nested more than 64 deep", bench.Ask(Nested(64)));
        Assert.Contains("JSON parse error, nested more than 64 deep", bench.Ask("{" + new string('[', 100_000) + "\n"));
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));
    }

    [Fact]
    public void A_message_is_at_most_a_mebibyte()
    {
        using var bench = new MonitorBench();
        string Long(int bytes) => "{\"execute\":\"query-status\",\"id\":\"" + new string('x', bytes - 34) + "\"}";
        Assert.Equal(1 << 20, Long(1 << 20).Length);
        Assert.Contains("prelaunch", bench.Ask(Long(1 << 20)));
        Assert.Contains("is longer than 1048576 bytes", bench.Ask(Long(2 << 20) + "\n"));
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));

        // One without an end is refused when the limit is reached, and what follows is not kept.
        bench.Client.Send("{\"execute\":\"" + new string('x', 1 << 20));
        Assert.Contains("is longer", Assert.Single(bench.Client.TakeLines()));
        for (var i = 0; i < 8; i++) bench.Client.Send(new string('x', 1 << 20));
        Assert.Empty(bench.Client.TakeLines());
        Assert.Equal(Status, bench.Ask("\"}\n{\"execute\":\"query-status\"}"));
    }

    [Fact]
    public void The_next_client_begins_anew()
    {
        using var bench = new MonitorBench();
        bench.Client.Fds.Enqueue(11);
        bench.Client.Send("{\"execute\":\"query-st");
        bench.Client.Close();
        Assert.Equal([11], bench.Closed);
        Assert.Empty(bench.Client.TakeLines());
        bench.Events.Send("STOP");
        bench.Client.Open();
        Assert.StartsWith("{\"QMP\"", Assert.Single(bench.Client.TakeLines()));
        bench.Events.Send("STOP");
        Assert.Empty(bench.Client.TakeLines());
        Assert.Equal("""{"return":{}}""", bench.Ask("""{"execute":"qmp_capabilities"}"""));
    }

    [Fact]
    public void What_a_command_causes_is_told_before_its_reply()
    {
        using var bench = new MonitorBench();
        bench.Client.Send("""{"execute":"cont","id":1}{"execute":"cont","id":2}{"execute":"stop","id":3}{"execute":"system_reset","id":4}""");
        Assert.Equal(
            [
                """{"timestamp":{"seconds":1700000000,"microseconds":42},"event":"RESUME"}""",
                """{"return":{},"id":1}""",
                """{"return":{},"id":2}""",
                """{"timestamp":{"seconds":1700000000,"microseconds":42},"event":"STOP"}""",
                """{"return":{},"id":3}""",
                """{"timestamp":{"seconds":1700000000,"microseconds":42},"event":"RESET","data":{"guest":false,"reason":"host-qmp-system-reset"}}""",
                """{"return":{},"id":4}""",
            ],
            bench.Client.TakeLines());
    }

    [Fact]
    public void Events_reach_every_session_that_negotiated()
    {
        using var bench = new MonitorBench();
        var other = new FakeChar();
        using var session = new QmpSession(other, bench.Commands);
        bench.Events.Add(session);
        other.Open();
        other.TakeLines();
        bench.Events.BlockIoError("ide0-hd0", isWrite: true, noSpace: true, "No space left on device");
        var line = Assert.Single(bench.Client.TakeLines());
        Assert.Contains("\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"device\":\"ide0-hd0\"", line);
        Assert.Contains("\"operation\":\"write\",\"action\":\"report\",\"nospace\":true,\"reason\":\"No space left on device\"", line);
        Assert.Empty(other.TakeLines());
        other.Ask("""{"execute":"qmp_capabilities"}""");
        bench.Events.TrayMoved("ide-5632", "ide-5632", isOpen: true);
        Assert.EndsWith("""{"device":"ide-5632","id":"ide-5632","tray-open":true}}""", Assert.Single(bench.Client.TakeLines()));
        Assert.Single(other.TakeLines());
    }

    [Fact]
    public void Commands_wait_for_a_client_that_does_not_read()
    {
        using var bench = new MonitorBench();
        bench.Client.Room = 10;
        for (var i = 0; i < 3; i++) bench.Client.Send($$"""{"execute":"system_powerdown","id":{{i}}}""");
        Assert.Single(bench.Target.Calls);
        Assert.Equal(0, bench.Session.ReceiveRoom);
        Assert.True(bench.Client.Waiting > 0);
        bench.Client.GiveRoom(1);
        Assert.Single(bench.Target.Calls);
        bench.Client.GiveRoom(int.MaxValue);
        Assert.Equal(3, bench.Target.Calls.Count);
        Assert.Equal(["""{"return":{},"id":0}""", """{"return":{},"id":1}""", """{"return":{},"id":2}"""], bench.Client.TakeLines());
    }

    [Fact]
    public void Events_are_dropped_for_a_client_that_does_not_read()
    {
        using var bench = new MonitorBench();
        bench.Client.Room = 5;
        for (var i = 0; i < 10_000; i++) bench.Events.Send("POWERDOWN");
        Assert.InRange(bench.Session.DroppedEvents, 9_000ul, 9_999ul);
        bench.Client.GiveRoom(int.MaxValue);
        var lines = bench.Client.TakeLines();
        Assert.Equal(10_000ul - bench.Session.DroppedEvents, (ulong)lines.Length);
        Assert.All(lines, l => Assert.EndsWith("\"event\":\"POWERDOWN\"}", l));
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));
    }

    [Fact]
    public void A_big_reply_goes_out_in_pieces()
    {
        using var bench = new MonitorBench();
        bench.Target.Chardevs = [.. Enumerable.Range(0, 20_000).Select(i => new ChardevInfo("serial" + i.ToString(CultureInfo.InvariantCulture), new string('x', 100), true))];
        bench.Client.Room = 1000;
        bench.Client.Send("""{"execute":"query-chardev"}""");
        while (bench.Session.ReceiveRoom == 0) bench.Client.GiveRoom(100_000);
        using var reply = JsonDocument.Parse(Assert.Single(bench.Client.TakeLines()));
        Assert.Equal(20_000, reply.RootElement.GetProperty("return").GetArrayLength());
    }

    [Fact]
    public void Quits_after_the_reply()
    {
        using var bench = new MonitorBench();
        Assert.Equal("""{"return":{}}""", bench.Ask("""{"execute":"quit"}"""));
        Assert.Equal(["quit"], bench.Target.Calls);
    }

    /// <summary>Random cuts and damage: never an exception, always whole lines, and the session is alive afterwards.</summary>
    [Fact]
    public void Survives_damaged_text()
    {
        var random = new Random(20261121);
        var seed = Encoding.UTF8.GetBytes("""{"execute":"eject","arguments":{"id":"ide-5632","force":true},"id":[1,{"a":"\u00e9\n"}]} """);
        using var bench = new MonitorBench();
        for (var round = 0; round < 5000; round++)
        {
            var bytes = seed.ToArray();
            for (var n = random.Next(4); n > 0; n--) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            var length = random.Next(bytes.Length + 1);
            bench.Client.Send(bytes.AsSpan(0, length));
            if (random.Next(4) == 0) bench.Client.Send("\n");
            foreach (var line in bench.Client.TakeLines()) JsonDocument.Parse(line).Dispose();
        }

        // A line end ends whatever was left open: an open string at once, an open object with the first thing that cannot stand in it.
        bench.Client.Send("\"\n@\n");
        bench.Client.TakeLines();
        Assert.Equal(Status, bench.Ask("""{"execute":"query-status"}"""));
    }
}
