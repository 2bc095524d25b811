using System;
using System.Collections.Generic;
using System.Linq;
using XenDM.Core.Input;
using XenDM.Core.Time;

namespace XenDM.Monitor.Tests;

public sealed class QmpInputTests : IDisposable
{
    private sealed class Guest(List<string> log, bool isAbsolute) : IKeyboard, IPointer
    {
        public string Name => isAbsolute ? "tablet" : "mouse";

        public bool IsActive { get; set; } = true;

        public bool IsAbsolute => isAbsolute;

        public KeyboardLeds? Leds => null;

        public Action? LedsChanged { get; set; }

        public void Key(ushort key, bool down) => log.Add($"{key:x}{(down ? '+' : '-')}");

        public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons) => log.Add($"{Name} {x} {y} {wheel} {sideWheel} {buttons}");
    }

    private readonly MonitorBench _bench = new();
    private readonly List<string> _log = [];
    private readonly InputHub _hub = new();
    private readonly VmClock _clock;
    private readonly Guest _mouse;
    private long _now;

    public QmpInputTests()
    {
        _clock = new VmClock(() => _now);
        _clock.Start();
        _mouse = new Guest(_log, isAbsolute: false);
        _hub.Add((IKeyboard)_mouse);
        _hub.Add((IPointer)_mouse);
        _bench.Target.Input = new MonitorInput(_hub, _clock);
    }

    public void Dispose() => _bench.Dispose();

    private string Log()
    {
        var text = string.Join("; ", _log);
        _log.Clear();
        return text;
    }

    private void After(int milliseconds)
    {
        _now += milliseconds * 1_000_000L;
        _clock.RunTimers();
    }

    private string Ask(string command, string arguments) => _bench.Ask($$"""{"execute":"{{command}}","arguments":{{arguments}}}""");

    private void Do(string command, string arguments) => Assert.Equal("""{"return":{}}""", Ask(command, arguments));

    [Fact]
    public void SendKey_HoldsACombination()
    {
        Do("send-key", """{"keys":[{"type":"qcode","data":"ctrl"},{"type":"qcode","data":"alt"},{"type":"number","data":211}]}""");
        Assert.Equal("1d+; 38+; e053+", Log());
        After(99);
        Assert.Equal("", Log());
        After(1);
        Assert.Equal("e053-; 38-; 1d-", Log());
        After(1000);
        Assert.Equal("", Log());
        Do("send-key", """{"keys":[{"type":"qcode","data":"pause"}],"hold-time":5}""");
        After(5);
        Assert.Equal("e11d+; e11d-", Log());
    }

    [Fact]
    public void SendKey_KeepsTheOrderOfWhatIsTyped()
    {
        foreach (var key in "hello") Do("send-key", $$"""{"keys":[{"type":"qcode","data":"{{key}}"}]}""");
        for (var i = 0; i < 6; i++) After(100);
        Assert.Equal("23+; 23-; 12+; 12-; 26+; 26-; 26+; 26-; 18+; 18-", Log());
    }

    [Fact]
    public void SendKey_HasAnEnd()
    {
        Do("send-key", """{"keys":[]}""");
        Do("send-key", """{"keys":[{"type":"qcode","data":"a"}],"hold-time":2147483647}""");
        var keys = string.Join(',', Enumerable.Repeat("""{"type":"qcode","data":"b"}""", 1024));
        for (var i = 0; i < 4; i++) Do("send-key", $$"""{"keys":[{{keys}}]}""");
        Assert.Contains("too many keys wait", Ask("send-key", """{"keys":[{"type":"qcode","data":"a"}]}"""), StringComparison.Ordinal);
        After(MonitorInput.MaxHold);
        for (var i = 0; i < 4; i++) After(100);
        Assert.EndsWith("30-", Log(), StringComparison.Ordinal);
        Do("send-key", """{"keys":[{"type":"qcode","data":"a"}]}""");
    }

    [Fact]
    public void Events_KeysAndButtonsInTheirOrder_MovementsAsOne()
    {
        Do("input-send-event", """
            {"device":"video0","head":0,"events":[
            {"type":"key","data":{"down":true,"key":{"type":"qcode","data":"shift"}}},
            {"type":"rel","data":{"axis":"x","value":-5}},{"type":"rel","data":{"axis":"y","value":7}},
            {"type":"btn","data":{"down":true,"button":"left"}},{"type":"btn","data":{"down":false,"button":"left"}},
            {"type":"btn","data":{"down":true,"button":"side"}},
            {"type":"btn","data":{"down":true,"button":"wheel-up"}},{"type":"btn","data":{"down":false,"button":"wheel-up"}},
            {"type":"btn","data":{"down":true,"button":"wheel-right"}},
            {"type":"rel","data":{"axis":"x","value":1}},
            {"type":"key","data":{"down":false,"key":{"type":"number","data":42}}}]}
            """.ReplaceLineEndings(""));
        Assert.Equal("2a+; mouse -5 7 0 0 None; mouse 0 0 0 0 Left; mouse 0 0 0 0 None; mouse 0 0 0 0 Side; mouse 0 0 -1 0 Side; mouse 0 0 0 1 Side; 2a-; mouse 1 0 0 0 Side", Log());
    }

    [Fact]
    public void Events_PlacesForATablet_MovementsForTheMouse()
    {
        const string place = """{"events":[{"type":"abs","data":{"axis":"x","value":100}},{"type":"abs","data":{"axis":"y","value":99999}}]}""";
        Assert.Equal("""{"error":{"class":"GenericError","desc":"Input handler not found for event type abs"}}""", Ask("input-send-event", place));
        var tablet = new Guest(_log, isAbsolute: true);
        _hub.Add((IPointer)tablet);
        Do("input-send-event", place);
        Do("input-send-event", """{"events":[{"type":"abs","data":{"axis":"y","value":3}},{"type":"btn","data":{"down":true,"button":"right"}}]}""");
        Assert.Equal("tablet 100 32767 0 0 None; tablet 100 3 0 0 None; tablet 100 3 0 0 Right", Log());
        Do("input-send-event", """{"events":[{"type":"btn","data":{"down":true,"button":"wheel-down"}},{"type":"btn","data":{"down":false,"button":"right"}}]}""");
        Do("input-send-event", """{"events":[{"type":"rel","data":{"axis":"x","value":3}}]}""");
        Assert.Equal("tablet 100 3 1 0 Right; tablet 100 3 0 0 None; mouse 3 0 0 0 None", Log());
        Assert.Equal("""{"return":[{"name":"mouse","index":0,"current":false,"absolute":false},{"name":"tablet","index":1,"current":true,"absolute":true}]}""", _bench.Ask("""{"execute":"query-mice"}"""));
    }

    [Theory]
    [InlineData("send-key", "{}", "Parameter 'keys' is missing")]
    [InlineData("send-key", """{"keys":5}""", "Invalid parameter type for 'keys', expected: array")]
    [InlineData("send-key", """{"keys":["a"]}""", "Invalid parameter type for 'keys[0]', expected: object")]
    [InlineData("send-key", """{"keys":[{"type":"qcode"}]}""", "Parameter 'keys[0].data' is missing")]
    [InlineData("send-key", """{"keys":[{"data":"a"}]}""", "Parameter 'keys[0].type' is missing")]
    [InlineData("send-key", """{"keys":[{"type":"qcode","data":"a"},{"type":"qcode","data":"A"}]}""", "Parameter 'keys[1].data' does not accept value 'A'")]
    [InlineData("send-key", """{"keys":[{"type":"qcode","data":30}]}""", "Invalid parameter type for 'keys[0].data', expected: string")]
    [InlineData("send-key", """{"keys":[{"type":"number","data":"30"}]}""", "Invalid parameter type for 'keys[0].data', expected: integer")]
    [InlineData("send-key", """{"keys":[{"type":"number","data":0}]}""", "Parameter 'keys[0].data' does not accept value '0'")]
    [InlineData("send-key", """{"keys":[{"type":"number","data":256}]}""", "Parameter 'keys[0].data' does not accept value '256'")]
    [InlineData("send-key", """{"keys":[{"type":"x","data":0}]}""", "Parameter 'keys[0].type' does not accept value 'x'")]
    [InlineData("send-key", """{"keys":[],"hold-time":-1}""", "Invalid parameter type for 'hold-time', expected: integer")]
    [InlineData("input-send-event", "{}", "Parameter 'events' is missing")]
    [InlineData("input-send-event", """{"events":[{"type":"mtt","data":{}}]}""", "Input handler not found for event type mtt")]
    [InlineData("input-send-event", """{"events":[{"type":"z","data":{}}]}""", "Parameter 'events[0].type' does not accept value 'z'")]
    [InlineData("input-send-event", """{"events":[{"type":"key"}]}""", "Parameter 'events[0].data' is missing")]
    [InlineData("input-send-event", """{"events":[{"type":"key","data":{"down":true,"key":{"type":"qcode","data":"x1"}}}]}""", "Parameter 'events[0].data.key.data' does not accept value 'x1'")]
    [InlineData("input-send-event", """{"events":[{"type":"btn","data":{"down":1,"button":"left"}}]}""", "Invalid parameter type for 'events[0].data.down', expected: boolean")]
    [InlineData("input-send-event", """{"events":[{"type":"btn","data":{"down":true,"button":"top"}}]}""", "Parameter 'events[0].data.button' does not accept value 'top'")]
    [InlineData("input-send-event", """{"events":[{"type":"rel","data":{"axis":"z","value":1}}]}""", "Parameter 'events[0].data.axis' does not accept value 'z'")]
    [InlineData("input-send-event", """{"events":[{"type":"rel","data":{"axis":"x","value":1.5}}]}""", "Invalid parameter type for 'events[0].data.value', expected: integer")]
    [InlineData("input-send-event", """{"events":[{"type":"key","data":{"down":true,"key":{"type":"qcode","data":"a"}}},{"type":"rel","data":{}}]}""", "Parameter 'events[1].data.axis' is missing")]
    [InlineData("query-mice", """{"x":1}""", "Parameter 'x' is unexpected")]
    public void Mistakes_AreToldInQemusWords_AndDoNothing(string command, string arguments, string text)
    {
        Assert.Equal($$$"""{"error":{"class":"GenericError","desc":"{{{text}}}"}}""", Ask(command, arguments));
        Assert.Empty(_log);
    }

    [Fact]
    public void WithoutAGuest_ThereIsNothingToTypeTo()
    {
        _bench.Target.Input = null;
        Assert.Contains("there is no guest to type to", Ask("send-key", """{"keys":[{"type":"qcode","data":"a"}]}"""), StringComparison.Ordinal);
        Assert.Equal("""{"return":[]}""", _bench.Ask("""{"execute":"query-mice"}"""));
    }

    [Theory]
    [InlineData("a", 0x1e)]
    [InlineData("1", 2)]
    [InlineData("0", 0x0b)]
    [InlineData("ret", 0x1c)]
    [InlineData("spc", 0x39)]
    [InlineData("shift_r", 0x36)]
    [InlineData("kp_multiply", 0x37)]
    [InlineData("asterisk", 0x37)]
    [InlineData("f1", 0x3b)]
    [InlineData("f10", 0x44)]
    [InlineData("f12", 0x58)]
    [InlineData("kp_add", 0x4e)]
    [InlineData("kp_0", 0x52)]
    [InlineData("kp_decimal", 0x53)]
    [InlineData("sysrq", 0x54)]
    [InlineData("less", 0x56)]
    [InlineData("bracket_left", 0x1a)]
    [InlineData("grave_accent", 0x29)]
    [InlineData("backslash", 0x2b)]
    [InlineData("slash", 0x35)]
    [InlineData("ctrl_r", 0xe01d)]
    [InlineData("alt_r", 0xe038)]
    [InlineData("print", 0xe037)]
    [InlineData("delete", 0xe053)]
    [InlineData("meta_l", 0xe05b)]
    [InlineData("compose", 0xe05d)]
    [InlineData("pause", 0xe11d)]
    [InlineData("yen", 0x7d)]
    [InlineData("volumeup", 0xe030)]
    public void Names_AreQemus(string name, int key)
    {
        Assert.True(KeyNames.TryGet(name, out var found));
        Assert.Equal((ushort)key, found);
    }

    [Fact]
    public void Combinations_AreRead()
    {
        var keys = new List<ushort>();
        Assert.Null(KeyNames.TryParse("ctrl-alt-f1", keys));
        Assert.Equal([(ushort)0x1d, (ushort)0x38, (ushort)0x3b], keys);
        keys.Clear();
        Assert.Null(KeyNames.TryParse("<-0xd3-0xc6", keys));
        Assert.Equal([(ushort)0x56, (ushort)0xe053, (ushort)0xe11d], keys);
        foreach (var wrong in (string[])["", "bogus", "0x", "0x100", "0x0", "0x80"]) Assert.Equal(wrong, KeyNames.TryParse("a-" + wrong, keys));
        Assert.DoesNotContain(".", KeyNames.All);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void RandomCommands_AreAnswered_AndLeaveNothingPressed(int seed)
    {
        var random = new Random(seed);
        string[] values = ["null", "true", "-1", "1e99", "99999999999", "\"a\"", "\"left\"", "\"x\"", "[]", "{}", "\"qcode\"", "\"key\"", "\"number\"", "30"];
        string[] names = ["type", "data", "key", "down", "button", "axis", "value", "events", "keys", "hold-time", "device", "head"];
        for (var i = 0; i < 3000; i++)
        {
            var reply = Ask(random.Next(2) == 0 ? "send-key" : "input-send-event", Make(0));
            Assert.True(reply.StartsWith("""{"error":{"class":"GenericError""", StringComparison.Ordinal) || reply == """{"return":{}}""", reply);
        }

        string Make(int depth) => "{" + string.Join(',', Enumerable.Range(0, random.Next(4)).Select(_ => $"\"{names[random.Next(names.Length)]}\":{Value(depth)}").DistinctBy(static m => m.Split(':')[0])) + "}";
        string Value(int depth) => depth > 4 || random.Next(3) == 0 ? values[random.Next(values.Length)] : random.Next(2) == 0 ? Make(depth + 1) : "[" + Make(depth + 1) + "]";
    }
}
