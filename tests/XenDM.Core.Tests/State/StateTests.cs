using System;
using System.IO;
using XenDM.Core.Irq;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Core.Tests.State;

public class StateTests
{
    [Fact]
    public void EverythingSurvivesARoundTrip()
    {
        var one = new Sample("a") { Small = 7, Big = ulong.MaxValue, Signed = -3, Text = "tray", Blob = [1, 2, 3], Mode = Mode.Second };
        one.Buffer[2] = 9;
        one.Timer.Arm(1234);
        one.Line.Set(true);
        var two = new Sample("a");
        StateReader.Load([two], Save(one));
        Assert.Equal(StateDumper.Dump(one), StateDumper.Dump(two));
        Assert.Equal(1234, two.Timer.Deadline);
        Assert.True(two.Line.Level);
        Assert.Equal(0, two.Edges);
        Assert.Equal(StateHasher.Hash([one]), StateHasher.Hash([two]));
    }

    [Fact]
    public void OrderOfDevicesDoesNotMatter() => Assert.Equal(Save(new Sample("a"), new Sample("b")), Save(new Sample("b"), new Sample("a")));

    [Fact]
    public void EveryDamagedByteIsFoundAndNothingElseThanAStateExceptionComesOut()
    {
        var file = Save(new Sample("a"));
        for (var i = 0; i < file.Length; i++)
        {
            var damaged = (byte[])file.Clone();
            damaged[i] ^= 0x40;
            Assert.Throws<StateException>(() => StateReader.Load([new Sample("a")], damaged));
        }
    }

    [Fact]
    public void EveryCutIsFound()
    {
        var file = Save(new Sample("a"));
        for (var length = 0; length < file.Length; length++)
            Assert.Throws<StateException>(() => StateReader.Load([new Sample("a")], file[..length]));
    }

    [Fact]
    public void AForeignFileIsNamed()
    {
        var e = Assert.Throws<StateException>(static () => StateReader.Load([], [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3]));
        Assert.Contains("QEMU", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void MissingAndSuperfluousDevicesAreNamed()
    {
        Assert.Equal("b", Assert.Throws<StateException>(static () => StateReader.Load([new Sample("a"), new Sample("b")], Save(new Sample("a")))).Device);
        Assert.Equal("b", Assert.Throws<StateException>(static () => StateReader.Load([new Sample("a")], Save(new Sample("a"), new Sample("b")))).Device);
    }

    [Fact]
    public void AnOlderFileMayLackAFieldThatSaysSince()
    {
        var newer = new Sample("a") { Version = 2, Late = 5 };
        StateReader.Load([newer], Save(new Sample("a")));
        Assert.Equal(5, newer.Late);
        var e = Assert.Throws<StateException>(static () => StateReader.Load([new Sample("a")], Save(new Sample("a") { Version = 2 })));
        Assert.Contains("version 2", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ValuesOutOfRangeNameTheirField()
    {
        var bad = new Sample("a") { Signed = 200 };
        Assert.Equal("signed", Assert.Throws<StateException>(() => StateReader.Load([new Sample("a")], Save(bad))).Field);
    }

    private static byte[] Save(params IDevice[] devices)
    {
        using var stream = new MemoryStream();
        StateWriter.Save(devices, stream);
        return stream.ToArray();
    }

    private enum Mode : byte
    {
        First,
        Second,
    }

    private sealed class Sample : IDevice, IIrqSink
    {
        public byte Small;
        public ulong Big;
        public int Signed;
        public string? Text;
        public byte[] Blob = [];
        public byte[] Buffer = new byte[4];
        public Mode Mode;
        public int Late;

        public Sample(string id)
        {
            Id = id;
            Timer = new VmClock(static () => 0).CreateTimer("t", static () => { });
            Line = new IrqLine(this, 0);
        }

        public string Id { get; }

        public int Version { get; init; } = 1;

        public int StateVersion => Version;

        public VmTimer Timer { get; }

        public IrqLine Line { get; }

        public int Edges { get; private set; }

        public void Reset(ResetKind kind)
        {
        }

        public void State(StateVisitor s)
        {
            s.U8("small", ref Small);
            s.U64("big", ref Big);
            s.I32("signed", ref Signed, -100, 100);
            s.Text("text", ref Text);
            s.Blob("blob", ref Blob, 16);
            s.Bytes("buffer", Buffer);
            s.Enum("mode", ref Mode);
            s.Timer(Timer);
            s.Line("line", Line);
            if (Version >= 2) s.I32("late", ref Late, since: 2);
        }

        void IIrqSink.SetLevel(int input, bool level) => Edges++;
    }
}
