using System;
using System.Globalization;
using System.Linq;
using System.Text;
using XenDM.Core.Tracing;
using XenDM.PvBackends.Console;
using XenDM.Testing;
using PvBus = XenDM.PvBackends.XenBus.XenBus;

namespace XenDM.PvBackends.Tests.Console;

/// <summary>The console as Linux's hvc_xen uses it: input at 0, output at 1024, indices from 3072 on in the order in_cons, in_prod, out_cons, out_prod.</summary>
public sealed class ConsoleDeviceTests : IDisposable
{
    private const int InputConsumer = 3072, InputProducer = 3076, OutputConsumer = 3080, OutputProducer = 3084;

    private readonly FakeLoop _loop = new();
    private readonly FakeXen _xen;
    private readonly FakeLines _lines = new();
    private readonly PvBus _bus;
    private string _front = "", _back = "";
    private int _page;
    private uint _port, _output, _input;

    public ConsoleDeviceTests()
    {
        _xen = new FakeXen(_loop);
        _bus = new PvBus(_xen.Ports, FakeXen.Guest, 0, [new ConsoleKind(_xen.Ports, FakeXen.Guest, _lines, _loop)], _loop, SilentLog.Instance);
    }

    private FakeLine Terminal => _lines.Made["console-1"];

    private Span<byte> Page => _xen.Grants.Page(_page);

    [Fact]
    public void TextGoesBothWays_AndTheFrontEndsFolderNamesTheTerminal()
    {
        Add("pty");
        Assert.Equal("2", Read(_back, "state"));
        Assert.Equal("/dev/pts/7", Read(_front, "tty"));
        Connect();
        Assert.Equal("4", Read(_back, "state"));
        Print("hello\n");
        Assert.Equal("hello\n", Terminal.Written);
        Assert.Equal(6u, Word(OutputConsumer));
        var told = _xen.Events.Count(_port);
        Terminal.Send("world");
        Assert.Equal("world", ReadInput());
        Assert.Equal(told + 1, _xen.Events.Count(_port));
    }

    [Fact]
    public void AChannelLeadsToItsChardev_AndHasNoTerminal()
    {
        Add("chardev:libxl-channel0");
        Connect();
        Print("ping");
        Assert.Equal("ping", _lines.Lent.Written);
        Assert.Equal("", Read(_front, "tty"));
    }

    [Fact]
    public void BytesKeepTheirOrder_AroundTheEndsOfBothRings()
    {
        Add("pty");
        Connect(start: 0xffff_fff0);
        var random = new Random(1);
        var sent = new StringBuilder();
        var received = new StringBuilder();
        var typed = new StringBuilder();
        for (var i = 0; i < 200; i++)
        {
            var text = new string([.. Enumerable.Range(0, random.Next(1, 2049)).Select(_ => (char)random.Next(256))]);
            sent.Append(text);
            Print(text);
            var keys = new string([.. Enumerable.Range(0, random.Next(1, 1500)).Select(_ => (char)random.Next(256))]);
            typed.Append(keys);
            Terminal.Send(keys);
            received.Append(ReadInput());
        }

        while (Terminal.Waiting > 0 || Word(InputProducer) != _input) received.Append(ReadInput());
        Assert.Equal(sent.ToString(), Terminal.Written);
        Assert.Equal(typed.ToString(), received.ToString());
    }

    [Fact]
    public void OutputWaitsInTheRing_WhileTheLineTakesNone()
    {
        Add("pty");
        Connect();
        Terminal.Room = 3;
        Print("abcdef");
        Assert.Equal("abc", Terminal.Written);
        Assert.Equal(3u, Word(OutputConsumer));
        var told = _xen.Events.Count(_port);
        Terminal.Open(0);
        Assert.Equal(told, _xen.Events.Count(_port));
        Terminal.Open(int.MaxValue);
        Assert.Equal("abcdef", Terminal.Written);
        Assert.Equal(6u, Word(OutputConsumer));
        Assert.Equal(told + 1, _xen.Events.Count(_port));
    }

    [Fact]
    public void InputWaitsWithTheLine_WhileTheRingIsFull()
    {
        Add("pty");
        Terminal.Send("early");
        Assert.Equal(5, Terminal.Waiting);
        Connect();
        Assert.Equal("early", ReadInput());
        Terminal.Send(new string('x', 3000));
        Assert.Equal(1024u, Word(InputProducer) - _input);
        Assert.Equal(1976, Terminal.Waiting);
        Assert.Equal(1024, ReadInput().Length);
        Assert.Equal(952, Terminal.Waiting);
        Assert.Equal(1024, ReadInput().Length);
        Assert.Equal(952, ReadInput().Length);
    }

    [Theory]
    [InlineData(OutputProducer, 2049u)]
    [InlineData(OutputProducer, 0xffff_ffffu)]
    [InlineData(OutputProducer, 0x8000_0000u)]
    [InlineData(InputConsumer, 1u)]
    [InlineData(InputConsumer, 0xffff_fbffu)]
    [InlineData(InputConsumer, 0x8000_0000u)]
    public void AnIndexThatMakesNoSense_EndsTheConnection_AndTheNextDriverIsServed(int offset, uint value)
    {
        Add("pty");
        Connect();
        Word(offset) = value;
        Terminal.Send("lost or not");
        Kick();
        Assert.Equal("5", Read(_back, "state"));
        Assert.Equal("", Terminal.Written);
        Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
        Assert.Contains("bytes of", _xen.Store.Read($"/local/domain/0/error/backend/console/{FakeXen.Guest}/1/error"), StringComparison.Ordinal);
        foreach (var state in (string[])["6", "1"])
        {
            Write("state", state);
            _loop.RunPosted(1000);
        }

        Assert.Equal("2", Read(_back, "state"));
        Connect();
        Print("again");
        Assert.Equal("again", Terminal.Written);
    }

    [Fact]
    public void OurIndices_AreNotReadFromThePage()
    {
        Add("pty");
        Connect();
        var random = new Random(2);
        for (var i = 0; i < 500; i++)
        {
            Word(OutputConsumer) = (uint)random.NextInt64(1L << 32);
            Word(InputProducer) = (uint)random.NextInt64(1L << 32);
            Print("x");
            Terminal.Send("y");
            _input++;
            Word(InputConsumer) = _input;
            Kick();
        }

        Assert.Equal(new string('x', 500), Terminal.Written);
        Assert.Equal("4", Read(_back, "state"));
        Assert.Equal(500, Page[..1024].Count((byte)'y'));
    }

    [Fact]
    public void InputNeverLeavesItsRing_WhateverTheIndicesSay()
    {
        Add("pty");
        Connect();
        var random = new Random(3);
        for (var i = 0; i < 2000; i++)
        {
            Word(InputConsumer) = (uint)random.NextInt64(1L << 32);
            Terminal.Send(new string('z', random.Next(2000)));
        }

        Assert.True(Page[1024..3072].IndexOfAnyExcept((byte)0) < 0);
        Assert.True(Page[3088..].IndexOfAnyExcept((byte)0) < 0);
    }

    [Theory]
    [InlineData("77", "own", "grant 77")]
    [InlineData("-1", "1", "ring-ref")]
    [InlineData(null, "1", "ring-ref is missing")]
    [InlineData("own", "99", "event channel 99")]
    [InlineData("own", "0", "port")]
    public void WhatCannotBeTaken_IsAnErrorNode_AndHoldsNothing(string? grant, string port, string error)
    {
        Add("pty");
        _page = _xen.Grants.Allocate();
        if (grant is not null) Write("ring-ref", grant == "own" ? _xen.Grants.Grant(_page).ToString(CultureInfo.InvariantCulture) : grant);
        Write("port", port == "own" ? _xen.Events.Offer().ToString(CultureInfo.InvariantCulture) : port);
        Write("state", "3");
        _loop.RunPosted(1000);
        Assert.Contains(error, _xen.Store.Read($"/local/domain/0/error/backend/console/{FakeXen.Guest}/1/error"), StringComparison.Ordinal);
        Assert.Equal("5", Read(_back, "state"));
        Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
    }

    [Fact]
    public void XenconsoledsConsoles_AreLeftAlone()
    {
        Add("pty", type: "xenconsoled");
        Assert.Empty(_bus.Devices);
        Write("state", "3");
        _loop.RunPosted(1000);
        Assert.Equal("1", Read(_back, "state"));
        Assert.Empty(_lines.Made);
    }

    [Theory]
    [InlineData("file:/etc/passwd", 1)]
    [InlineData("pty", 0)]
    public void WhatHasNoLine_NeverConnects(string output, int number)
    {
        Add(output, number);
        Assert.Empty(_lines.Made);
        Assert.Equal("1", Read(_back, "state"));
        Assert.NotNull(_xen.Store.Read($"/local/domain/0/error/backend/console/{FakeXen.Guest}/{number}/error"));
    }

    [Fact]
    public void AGuestThatNamesAnotherLineLater_KeepsItsOwn()
    {
        Add("pty");
        Write("output", "chardev:libxl-channel0");
        Connect();
        Print("text");
        Assert.Equal(("text", ""), (Terminal.Written, _lines.Lent.Written));
    }

    [Fact]
    public void TwoConsolesCannotShareALine()
    {
        Add("chardev:libxl-channel0");
        Add("chardev:libxl-channel0", 2);
        Assert.Equal("1", Read(_back, "state"));
        Assert.Contains("another console", _xen.Store.Read($"/local/domain/0/error/backend/console/{FakeXen.Guest}/2/error"), StringComparison.Ordinal);
    }

    [Fact]
    public void AGuestThatBeginsAnew_HasItsLinesAgain()
    {
        Add("chardev:libxl-channel0");
        Connect();
        for (var round = 0; round < 3; round++)
        {
            Print("x");
            _bus.Clear();
            Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
            _lines.Lent.Send("y");
            Assert.Equal(1, _lines.Lent.Waiting);
            Add("chardev:libxl-channel0");
            Connect();
            Assert.Equal("y", ReadInput());
        }

        Assert.Equal("xxx", _lines.Lent.Written);
    }

    [Fact]
    public void WhatTheToolstackTakesAway_EndsItsTerminal()
    {
        Add("pty");
        Connect();
        _xen.Store.Write($"{_back}/online", "0");
        _xen.Store.Write($"{_back}/state", "5");
        _loop.RunPosted(1000);
        Write("state", "6");
        _loop.RunPosted(1000);
        Assert.Empty(_bus.Devices);
        Assert.Empty(_lines.Made);
        Assert.Equal((0, 0), (_xen.Grants.Mapped, _xen.Events.Bound));
    }

    public void Dispose()
    {
        _bus.Dispose();
        Assert.Empty(_lines.Made);
    }

    /// <summary>As libxl writes it: the backend's words stand in the front end's folder.</summary>
    private void Add(string output, int number = 1, string type = "ioemu")
    {
        _xen.Store.TryTransact(view =>
        {
            var front = $"/local/domain/{FakeXen.Guest}/device/console/{number}";
            foreach (var (name, value) in (ReadOnlySpan<(string, string)>)[("limit", "1048576"), ("type", type), ("output", output), ("tty", "")]) view.Write($"{front}/{name}", value);
        });
        (_front, _back) = _xen.AddDevice("console", "console", number, ("protocol", "vt100"));
        _loop.RunPosted(1000);
    }

    private void Connect(uint start = 0)
    {
        _page = _xen.Grants.Allocate();
        Page.Clear();
        (_output, _input) = (start, start);
        foreach (var offset in (ReadOnlySpan<int>)[InputConsumer, InputProducer, OutputConsumer, OutputProducer]) Word(offset) = start;
        _port = _xen.Events.Offer();
        Write("ring-ref", _xen.Grants.Grant(_page).ToString(CultureInfo.InvariantCulture));
        Write("port", _port.ToString(CultureInfo.InvariantCulture));
        Write("state", "3");
        _loop.RunPosted(1000);
        Assert.Equal("4", Read(_back, "state"));
    }

    /// <summary>The driver writes, and sends an event.</summary>
    private void Print(string text)
    {
        foreach (var letter in text) Page[1024 + (int)(_output++ % 2048)] = (byte)letter;
        Word(OutputProducer) = _output;
        Kick();
    }

    /// <summary>The driver takes all the input that is there, and sends an event.</summary>
    private string ReadInput()
    {
        var text = new StringBuilder();
        var producer = Word(InputProducer);
        while (_input != producer) text.Append((char)Page[(int)(_input++ % 1024)]);
        Word(InputConsumer) = _input;
        Kick();
        return text.ToString();
    }

    private void Kick()
    {
        _xen.Events.Send(_port);
        _loop.RunPosted(1000);
    }

    private ref uint Word(int offset) => ref _xen.Grants.Word(_page, offset);

    private void Write(string name, string value) => _xen.Store.Write($"{_front}/{name}", value);

    private string? Read(string folder, string name) => _xen.Store.Read($"{folder}/{name}");
}
