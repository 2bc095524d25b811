using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Hypervisor.QTest;

namespace XenDM.Hypervisor.Tests.QTest;

/// <summary>The line protocol over a connection whose other end the test holds, on a board with one region.</summary>
public sealed class QTestSessionTests : IDisposable
{
    private const ulong Window = 0xe000_0000;
    private readonly QTestHypervisor _machine = new(4 << 20, 1, []);
    private readonly VmClock _clock;
    private readonly Board _board = new();
    private readonly Line _line = new();
    private readonly Loop _loop = new();
    private readonly QTestSession _session;

    public QTestSessionTests()
    {
        _clock = new VmClock(() => _machine.Now);
        _machine.Build(_clock, 0);
        _machine.Reset(ResetKind.Cold);
        _machine.Attach(_board, _board.Memory);
        _clock.Start();
        _session = new QTestSession(_line, _machine, _loop, null);
        _line.Frontend!.Event(CharEvent.Opened);
    }

    public void Dispose()
    {
        _session.Dispose();
        _machine.Dispose();
    }

    [Theory]
    [InlineData("endianness", "OK little")]
    [InlineData("inb 0x200", "OK 0x00ff")]
    [InlineData("inw 01000", "OK 0xffff")]
    [InlineData("inl 512", "OK 0xffffffff")]
    [InlineData("outb 0x200 0x1ff", "OK")]
    [InlineData("writeq 0x1000 0x1122334455667788", "OK")]
    [InlineData("readb 0x100000", "OK 0x0000000000000000")]
    [InlineData("readq 0xf0000000", "OK 0x0000000000000000")]
    [InlineData("memset 0x1000 0 1", "OK")]
    [InlineData("b64write 0x1000 3 QUJD", "OK")]
    [InlineData("b64write 0x1000 0 ", "OK")]
    [InlineData("clock_step", "OK 0")]
    [InlineData("clock_step 77", "OK 77")]
    [InlineData("irq_intercept_in ioapic", "OK")]
    [InlineData("irq_intercept_in /machine/i440fx/ioapic", "OK")]
    [InlineData("irq_intercept_in nonsense", "FAIL Unknown device")]
    [InlineData("irq_intercept_out ioapic", "FAIL Unknown device")]
    [InlineData("nonsense 1 2", "FAIL Unknown command 'nonsense'")]
    [InlineData("", "FAIL Unknown command ''")]
    [InlineData("inb", "ERR")]
    [InlineData("inb ", "ERR")]
    [InlineData("inb 0x10000", "ERR")]
    [InlineData("inb 09", "ERR")]
    [InlineData("inb -1", "ERR")]
    [InlineData("outb 1", "ERR")]
    [InlineData("outb  1 2", "ERR")]
    [InlineData("read 0 0", "ERR")]
    [InlineData("read 0 0xffffffffffffffff", "ERR")]
    [InlineData("read 0xffffffffffffffff 2", "ERR")]
    [InlineData("write 0x1000 4 0x", "ERR invalid argument size")]
    [InlineData("write 0x1000 4 0xzz", "ERR")]
    [InlineData("write 0x1000 4", "ERR invalid argument size")]
    [InlineData("b64write 0x1000 4 *", "ERR")]
    [InlineData("memset 0x1000 0x100000000 0", "ERR")]
    [InlineData("clock_set", "ERR")]
    [InlineData("clock_step x", "ERR")]
    [InlineData("set_irq_in ioapic unnamed-gpio-in 99 1", "ERR")]
    [InlineData("set_irq_in ioapic other 1 1", "FAIL Unknown device")]
    public void EveryLineIsAnsweredByOne(string line, string answer)
    {
        var given = Ask(line);
        if (answer == "ERR") Assert.StartsWith("ERR ", given, StringComparison.Ordinal);
        else Assert.Equal(answer, given);
        Assert.Equal("OK little", Ask("endianness"));
    }

    [Fact]
    public void MemoryIsWrittenAndReadInAllForms()
    {
        Assert.Equal("OK", Ask("write 0x1ffe 0x4 0x0A0b"));
        Assert.Equal("OK 0x0a0b0000", Ask("read 0x1ffe 0x4"));
        Assert.Equal("OK", Ask("writel 0x3000 0x12345678"));
        Assert.Equal("OK 0x0000000000000056", Ask("readb 0x3001"));
        Assert.Equal("OK eFY0Eg==", Ask("b64read 0x3000 4"));
        Assert.Equal("OK", Ask("b64write 0x3000 2 QUJD"));
        Assert.Equal("OK 0x41423412", Ask("read 0x3000 4"));
        Assert.Equal("OK", Ask("memset 0x3001 2 0x1ff"));
        Assert.Equal("OK 0x41ffff12", Ask("read 0x3000 4"));
        var large = new string('7', 2 << 20);
        Assert.Equal("OK", Ask($"write 0x100000 0x100000 0x{large}"));
        Assert.Equal("OK 0x" + large, Ask("read 0x100000 0x100000"));
    }

    [Theory]
    [InlineData("write 0xe0000004 0x4 0x01000000", "w 4/4 = 1")]
    [InlineData("write 0xe0000001 0x7 0x01020304050607", "w 1/1 = 1", "w 2/2 = 302", "w 4/4 = 7060504")]
    [InlineData("writeq 0xe0000000 0x1122334455667788", "w 0/4 = 55667788", "w 4/4 = 11223344")]
    [InlineData("read 0xe0000002 3", "r 2/2", "r 4/1")]
    [InlineData("readw 0xe0000008", "r 8/2")]
    [InlineData("outw 0x300 0x12345", "p 300/2 = 2345")]
    public void ChipsSeeAccessesOfTheirWidth(string line, params string[] accesses)
    {
        Assert.StartsWith("OK", Ask(line), StringComparison.Ordinal);
        Assert.Equal(accesses, _board.Accesses);
    }

    [Fact]
    public void InterruptsComeBeforeTheAnswerAndOnlyOnAChange()
    {
        _machine.SetIsaIrq(6, true);
        Ask("irq_intercept_in ioapic");
        _machine.SetIsaIrq(6, false);
        _line.Send("inb 0\n");
        Assert.Equal(["OK 0x00ff"], _line.Take());
        _board.OnAccess = () =>
        {
            _machine.SetIsaIrq(6, true);
            _machine.SetIsaIrq(6, true);
            _machine.SetIsaIrq(6, false);
        };
        _line.Send("outb 0x300 1\n");
        Assert.Equal(["IRQ raise 6", "IRQ lower 6", "OK"], _line.Take());
        _machine.SetIsaIrq(14, true);
        Assert.Equal(["IRQ raise 14"], _line.Take());
        Assert.Equal("OK", Ask("irq_intercept_in ioapic"));
    }

    [Fact]
    public void PciPinsComeThroughTheirLink()
    {
        Ask("irq_intercept_in ioapic");
        _machine.SetPciIntx(1, 0, true);
        Assert.Empty(_line.Take());
        _machine.SetPciLinkRoute(0, 11);
        Assert.Equal(["IRQ raise 11"], _line.Take());
        _machine.SetPciIntx(5, 0, true);
        _machine.SetPciIntx(1, 0, false);
        Assert.Empty(_line.Take());
        _machine.SetPciLinkRoute(0, 10);
        Assert.Equal(["IRQ lower 11", "IRQ raise 10"], _line.Take());
        _machine.SetPciIntx(5, 0, false);
        Assert.Equal(["IRQ lower 10"], _line.Take());
    }

    [Fact]
    public void TimersRunInTheirOrderAtTheirTime()
    {
        var ran = new List<string>();
        VmTimer second = null!;
        var first = _clock.CreateTimer("a", () =>
        {
            ran.Add($"a {_clock.Now}");
            second.Arm(_clock.Now + 5);
        });
        second = _clock.CreateTimer("b", () => ran.Add($"b {_clock.Now}"));
        first.Arm(100);
        Assert.Equal("OK 100", Ask("clock_step"));
        Assert.Equal("OK 200", Ask("clock_set 200"));
        Assert.Equal(["a 100", "b 105"], ran);
        Assert.Equal("OK 200", Ask("clock_set 150"));
    }

    [Fact]
    public void AStepOfMillionsOfTimersLeavesTheLoopAwakeAndAnsweredOnce()
    {
        VmTimer timer = null!;
        var fired = 0;
        timer = _clock.CreateTimer("busy", () =>
        {
            fired++;
            timer.ArmAfter(1000);
        });
        timer.ArmAfter(1000);
        _line.Send("clock_step 1000000000\ninb 0\n");
        Assert.Empty(_line.Take());
        Assert.NotEmpty(_loop.Posted);
        while (_loop.Posted.TryDequeue(out var work)) work();
        Assert.Equal(["OK 1000000000", "OK 0x00ff"], _line.Take());
        Assert.Equal(1_000_000, fired);
    }

    [Fact]
    public void ATimerThatIsAlwaysDueDoesNotHoldTheClock()
    {
        VmTimer timer = null!;
        timer = _clock.CreateTimer("stuck", () => timer.ArmAfter(0));
        timer.ArmAfter(0);
        _line.Send("clock_step 3\n");
        while (_loop.Posted.TryDequeue(out var work)) work();
        Assert.Equal(["OK 3"], _line.Take());
    }

    [Fact]
    public void AClientThatDoesNotReadStopsCommandsAndTime()
    {
        Ask("irq_intercept_in ioapic");
        VmTimer timer = null!;
        timer = _clock.CreateTimer("noise", () =>
        {
            _machine.SetIsaIrq(6, true);
            _machine.SetIsaIrq(6, false);
            timer.ArmAfter(1000);
        });
        timer.ArmAfter(1000);
        _line.Room = 10;
        _line.Send("clock_step 100000000\ninb 0\n");
        for (var turns = 0; turns < 100 && _loop.Posted.TryDequeue(out var work); turns++) work();
        Assert.Equal(0, _session.ReceiveRoom);
        _line.Room = int.MaxValue;
        _session.WriteReady();
        while (_loop.Posted.TryDequeue(out var work)) work();
        var lines = _line.Take();
        Assert.Equal(200_002, lines.Length);
        Assert.Equal(["IRQ lower 6", "OK 100000000", "OK 0x00ff"], lines[^3..]);
    }

    [Fact]
    public void PiecesAndManyLinesAtOnceAreTheSame()
    {
        foreach (var letter in "inb 0\r\nendian") _line.Send(letter.ToString());
        _line.Send("ness\ninb 0\n");
        Assert.Equal(["OK 0x00ff", "OK little", "OK 0x00ff"], _line.Take());
    }

    [Fact]
    public void ALineWithoutEndIsRefusedAndSkipped()
    {
        var piece = new string('a', 1 << 20);
        for (var i = 0; i < 20; i++) _line.Send(piece);
        _line.Send("\ninb 0\n");
        var lines = _line.Take();
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("ERR a line is longer than", lines[0], StringComparison.Ordinal);
        Assert.Equal("OK 0x00ff", lines[1]);
    }

    [Fact]
    public void ANewClientBeginsAnew()
    {
        Ask("irq_intercept_in ioapic");
        _machine.SetIsaIrq(6, true);
        Assert.Equal(["IRQ raise 6"], _line.Take());
        _line.Send("inb 0");
        _line.Frontend!.Event(CharEvent.Closed);
        _line.Frontend.Event(CharEvent.Opened);
        Assert.Equal("OK little", Ask("endianness"));
    }

    private string Ask(string line)
    {
        _line.Send(line + "\n");
        return Assert.Single(_line.Take());
    }

    private sealed class Board : IRequestHandler, IIoRegion
    {
        public Board() => Memory.Map("window", Window, 0x100, this);

        public AddressSpace Memory { get; } = new(IoSpace.Memory, ulong.MaxValue);

        public List<string> Accesses { get; } = [];

        public Action? OnAccess { get; set; }

        public void Handle(ref IoRequest request)
        {
            if (request.Space == IoSpace.Memory && request.IsRead) request.Data = Memory.Read(request.Address, (int)request.Size);
            else if (request.Space == IoSpace.Memory) Memory.Write(request.Address, (int)request.Size, request.Data);
            else if (request.IsRead) request.Data = ulong.MaxValue;
            else Accesses.Add($"p {request.Address:x}/{request.Size} = {request.Data:x}");
            OnAccess?.Invoke();
        }

        public ulong Read(ulong offset, int size)
        {
            Accesses.Add($"r {offset:x}/{size}");
            return 0;
        }

        public void Write(ulong offset, int size, ulong value) => Accesses.Add($"w {offset:x}/{size} = {value:x}");
    }

    private sealed class Loop : IEventLoop
    {
        public Queue<Action> Posted { get; } = new();

        public void Post(Action work) => Posted.Enqueue(work);

        public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

        public void AssertMachineThread()
        {
        }
    }

    private sealed class Line : ICharBackend
    {
        private readonly StringBuilder _output = new();
        private readonly Queue<byte> _input = new();

        public ICharFrontend? Frontend { get; private set; }

        public int Room { get; set; } = int.MaxValue;

        public string Label => "qtest";

        public string FileName => "fake";

        public bool IsOpen => true;

        public void Attach(ICharFrontend frontend) => Frontend = frontend;

        public int Write(ReadOnlySpan<byte> data)
        {
            var count = Math.Min(Room, data.Length);
            _output.Append(Encoding.ASCII.GetString(data[..count]));
            if (Room != int.MaxValue) Room -= count;
            return count;
        }

        public void AcceptInput() => Pump();

        public int TakeFd() => -1;

        public void SetBreak(bool on)
        {
        }

        public void Dispose()
        {
        }

        public void Send(string text)
        {
            foreach (var letter in text) _input.Enqueue((byte)letter);
            Pump();
        }

        public string[] Take()
        {
            var text = _output.ToString();
            _output.Clear();
            if (text.Length == 0) return [];
            Assert.EndsWith("\n", text);
            return text[..^1].Split('\n');
        }

        private void Pump()
        {
            while (_input.Count > 0 && Frontend!.ReceiveRoom is > 0 and var room)
            {
                var chunk = new byte[Math.Min(room, _input.Count)];
                for (var i = 0; i < chunk.Length; i++) chunk[i] = _input.Dequeue();
                Frontend.Receive(chunk);
            }
        }
    }
}
