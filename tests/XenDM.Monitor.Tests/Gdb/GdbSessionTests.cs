using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Hypervisor;
using XenDM.Monitor.Gdb;

namespace XenDM.Monitor.Tests.Gdb;

public sealed class GdbSessionTests : IDisposable
{
    private readonly FakeDebugTarget _target = new();
    private readonly FakeChar _client = new();
    private readonly GdbSession _session;
    private int _killed;

    public GdbSessionTests()
    {
        _session = new GdbSession(_client, _target, static command => command == "info" ? "one\r\ntwo\r\n" : command == "stop" ? "" : null, () => _killed++);
        _client.Open();
    }

    public void Dispose() => _session.Dispose();

    private static string Packet(string content)
    {
        byte sum = 0;
        foreach (var c in content) sum += (byte)c;
        return $"${content}#{sum:x2}";
    }

    /// <summary>Sends a packet and gives the content of the one that comes back, or null.</summary>
    private string? Ask(string content)
    {
        _client.Send(Encoding.Latin1.GetBytes(Packet(content)));
        var text = _client.TakeText();
        Assert.StartsWith("+", text);
        return Content(text[1..]);
    }

    private static string? Content(string text)
    {
        if (text.Length == 0) return null;
        Assert.Equal(Packet(text[1..^3]), text);
        return text[1..^3];
    }

    private string TakeCalls()
    {
        var calls = string.Join("; ", _target.Calls);
        _target.Calls.Clear();
        return calls;
    }

    [Fact]
    public void Packets_are_acknowledged_and_come_again_when_they_were_lost()
    {
        _client.Send("$?#3f");
        Assert.Equal("+" + Packet("T02thread:1;"), _client.TakeText());
        _client.Send("-");
        Assert.Equal(Packet("T02thread:1;"), _client.TakeText());
        _client.Send("+-");
        Assert.Equal("", _client.TakeText());
        _client.Send("$?#40");
        Assert.Equal("-", _client.TakeText());
        _client.Send("$?#zz");
        Assert.Equal("-", _client.TakeText());
    }

    [Fact]
    public void Acknowledgements_can_be_left_out()
    {
        Assert.Equal("OK", Ask("QStartNoAckMode"));
        _client.Send("+" + Packet("qAttached"));
        Assert.Equal(Packet("1"), _client.TakeText());
        _client.Send("-$?#00$qC#b4");
        Assert.Equal(Packet("QC1"), _client.TakeText());
        _client.Close();
        _client.Open();
        Assert.Equal("1", Ask("qAttached"));
    }

    [Fact]
    public void Packets_may_come_in_pieces_and_together()
    {
        foreach (var b in Encoding.ASCII.GetBytes(Packet("qC"))) _client.Send([b]);
        Assert.Equal("+" + Packet("QC1"), _client.TakeText());
        _client.Send(Packet("qC") + "garbage" + Packet("qAttached") + "$m10" + Packet("qC"));
        Assert.Equal("+" + Packet("QC1") + "+" + Packet("1") + "+" + Packet("QC1"), _client.TakeText());
    }

    [Fact]
    public void Replies_that_are_not_read_hold_the_packets_behind_them()
    {
        _client.Room = 3;
        _client.Send(Packet("qC") + Packet("qAttached"));
        _client.Send(Packet("qAttached"));
        Assert.Equal("+$Q", _client.TakeText());
        Assert.NotEqual(0, _client.Waiting);
        _client.GiveRoom(int.MaxValue);
        Assert.Equal("C1#c5+" + Packet("1") + "+" + Packet("1"), _client.TakeText());
    }

    [Fact]
    public void A_packet_that_is_too_long_is_refused_and_the_next_one_counts()
    {
        Assert.Equal("E22", Ask(new string('a', GdbSession.MaxPacket + 1)));
        for (var n = 0; n < 10; n++) _client.Send("$" + new string('a', 3000));
        Assert.Equal("", _client.TakeText());
        _client.Send("$" + new string('a', 40000));
        _client.Send(new string('a', 100000));
        _client.Send("a#1");
        _client.Send("2");
        Assert.Equal("+" + Packet("E22"), _client.TakeText());
        Assert.Equal("QC1", Ask("qC"));
        Assert.Equal("", Ask(new string('b', GdbSession.MaxPacket)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("vMustReplyEmpty")]
    [InlineData("qUnknown")]
    [InlineData("!")]
    [InlineData("Z9,1000,1")]
    public void Unknown_packets_get_the_empty_reply(string packet) => Assert.Equal("", Ask(packet));

    [Theory]
    [InlineData("m")]
    [InlineData("m1000")]
    [InlineData("m1000,")]
    [InlineData("m1000,1x")]
    [InlineData("m11112222333344445,1")]
    [InlineData("M1000,2:11")]
    [InlineData("M1000,1:1122")]
    [InlineData("X1000,2:a")]
    [InlineData("p3")]
    [InlineData("p-1")]
    [InlineData("pffffffffff")]
    [InlineData("P0=11")]
    [InlineData("P3=1111111111111111")]
    [InlineData("P0=ad0b000000000000")]
    [InlineData("G1")]
    [InlineData("Hx1")]
    [InlineData("Hg3")]
    [InlineData("T0")]
    [InlineData("T9")]
    [InlineData("Z2,1000,0")]
    [InlineData("Z2,ffffffffffffffff,8")]
    [InlineData("Z0,1000")]
    [InlineData("vCont;x")]
    [InlineData("vContc")]
    [InlineData("vCont;s:7")]
    [InlineData("qXfer:features:read:other.xml:0,10")]
    [InlineData("qRcmd,6")]
    [InlineData("C")]
    [InlineData("cxyz")]
    [InlineData("Qqemu.PhyMemMode:2")]
    public void Wrong_packets_are_refused(string packet)
    {
        Assert.Equal("E22", Ask(packet));
        Assert.False(_target.IsRunning);
    }

    [Fact]
    public void Registers_are_read_and_written()
    {
        _target.Values[0, 0] = 0x1122334455667788;
        _target.Values[1, 1] = 0xfff0;
        Assert.Equal("8877665544332211" + new string('0', 48), Ask("g"));
        Assert.Equal("8877665544332211", Ask("p0"));
        Assert.Equal("OK", Ask("Hg2"));
        Assert.Equal("f0ff000000000000", Ask("p1"));
        Assert.Equal("OK", Ask("P2=01020304050607080910111213141516"));
        Assert.Equal((UInt128)0x0807060504030201 | ((UInt128)0x1615141312111009 << 64), _target.Values[1, 2]);
        TakeCalls();
        Assert.Equal("OK", Ask("G" + "0000000000000000" + "f1ff000000000000" + "01020304050607080910111213141516"));
        Assert.Equal("rip of 1", TakeCalls());
    }

    [Fact]
    public void Memory_is_read_and_written()
    {
        Assert.Equal("OK", Ask("M1000,4:11223344"));
        Assert.Equal("11223344", Ask("m1000,4"));
        Assert.Equal("OK", Ask("X1001,3:a}\u0003b"));
        Assert.Equal("11612362", Ask("m1000,4"));
        Assert.Equal("OK", Ask("X1000,0:"));
        Assert.Equal("E14", Ask("M1080,1:00"));
        Assert.Equal("E14", Ask("m0,4"));
        Assert.Equal(new string('0', 8), Ask("m10fc,100"));
        Assert.Equal(512, Ask("m1000,7fffffff")!.Length);
        Assert.Equal("0", Ask("qqemu.PhyMemMode"));
        Assert.Equal("OK", Ask("Qqemu.PhyMemMode:1"));
        Assert.True(_target.PhysicalAddresses);
        Assert.Equal("1", Ask("qqemu.PhyMemMode"));
    }

    [Fact]
    public void The_description_names_the_registers()
    {
        var text = new StringBuilder();
        for (var part = "m"; part[0] == 'm';)
        {
            part = Ask($"qXfer:features:read:target.xml:{text.Length:x},100")!;
            text.Append(part[1..]);
        }

        var xml = System.Xml.Linq.XDocument.Parse(text.ToString());
        Assert.Equal("i386:x86-64", xml.Root!.Element("architecture")!.Value);
        var registers = new List<string>();
        foreach (var register in xml.Descendants("reg")) registers.Add($"{register.Attribute("name")!.Value} {register.Attribute("bitsize")!.Value} {register.Attribute("regnum")!.Value}");
        Assert.Equal(["rax 64 0", "rip 64 1", "xmm0 128 2"], registers);
        Assert.Equal(-1, text.ToString().IndexOfAny(['#', '$', '*', '}']));
        Assert.Equal("l", Ask("qXfer:features:read:target.xml:ffffff,10"));
    }

    [Fact]
    public void Threads_are_vCPUs()
    {
        Assert.Equal("m1,2", Ask("qfThreadInfo"));
        Assert.Equal("l", Ask("qsThreadInfo"));
        Assert.Equal("OK", Ask("T2"));
        Assert.Equal(Convert.ToHexStringLower("vCPU 1"u8), Ask("qThreadExtraInfo,2"));
        Assert.Equal("OK", Ask("Hg2"));
        Assert.Equal("QC2", Ask("qC"));
        Assert.Equal("OK", Ask("Hg0"));
        Assert.Equal("OK", Ask("Hc-1"));
        Assert.Equal("QC2", Ask("qC"));
    }

    [Theory]
    [InlineData("c", "Continue Continue")]
    [InlineData("C05", "Continue Continue")]
    [InlineData("s", "Step Continue")]
    [InlineData("S05", "Step Continue")]
    [InlineData("c1234", "rip of 0; Continue Continue")]
    [InlineData("S05;1234", "rip of 0; Step Continue")]
    [InlineData("vCont;c", "Continue Continue")]
    [InlineData("vCont;s:2", "Hold Step")]
    [InlineData("vCont;s:1;c", "Step Continue")]
    [InlineData("vCont;S05:1;C05:-1", "Step Continue")]
    [InlineData("vCont;t:2;c", "Continue Hold")]
    public void The_machine_goes_on(string packet, string calls)
    {
        Assert.Null(Ask(packet));
        Assert.Equal(calls, TakeCalls());
        _target.Halt(new DebugStop(1, DebugReason.Stepped));
        Assert.Equal("T05thread:2;", Content(_client.TakeText()));
        Assert.Equal("QC2", Ask("qC"));
    }

    [Fact]
    public void A_guest_that_is_off_does_not_go_on()
    {
        _target.CanRun = false;
        Assert.Equal("E22", Ask("vCont;c"));
        Assert.Equal("E22", Ask("s"));
        Assert.Equal("T02thread:1;", Ask("vCont;t"));
    }

    [Theory]
    [InlineData(DebugPoint.SoftwareBreakpoint, "swbreak:;", "Z0,1234,1", "set SoftwareBreakpoint 1234 1")]
    [InlineData(DebugPoint.HardwareBreakpoint, "hwbreak:;", "Z1,1234,1", "set HardwareBreakpoint 1234 1")]
    [InlineData(DebugPoint.WriteWatch, "watch:1234;", "Z2,1234,4", "set WriteWatch 1234 4")]
    [InlineData(DebugPoint.ReadWatch, "rwatch:1234;", "Z3,1234,8", "set ReadWatch 1234 8")]
    [InlineData(DebugPoint.AccessWatch, "awatch:1234;", "Z4,1234,2", "set AccessWatch 1234 2")]
    public void Points_are_set_and_reported(DebugPoint point, string reason, string packet, string call)
    {
        Assert.Equal("PacketSize=4000;qXfer:features:read+;QStartNoAckMode+;swbreak+;hwbreak+;vContSupported+", Ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386"));
        Assert.Equal("OK", Ask(packet));
        Assert.Equal(call, TakeCalls());
        Assert.Null(Ask("vCont;c"));
        _target.Halt(new DebugStop(0, DebugReason.Reached, point, 0x1234));
        Assert.Equal("T05thread:1;" + reason, Content(_client.TakeText()));
        Assert.Equal("T05thread:1;" + reason, Ask("?"));
        TakeCalls();
        Assert.Equal("OK", Ask("z" + packet[1..]));
        Assert.Equal(call.Replace("set", "clear", StringComparison.Ordinal), TakeCalls());
        Assert.Equal("E28", Ask("Z1,ffff,1"));
    }

    [Fact]
    public void The_kinds_of_breakpoints_are_only_told_to_who_knows_them()
    {
        Ask("qSupported");
        Ask("c");
        _target.Halt(new DebugStop(0, DebugReason.Reached, DebugPoint.SoftwareBreakpoint, 0));
        Assert.Equal("T05thread:1;", Content(_client.TakeText()));
    }

    [Fact]
    public void A_break_stops_the_machine()
    {
        Ask("Hg2");
        Ask("c");
        _client.Send("\u0003");
        Assert.Equal("T02thread:2;", Content(_client.TakeText()));
        _client.Send("\u0003");
        Assert.Equal("", _client.TakeText());
        Assert.False(_target.IsRunning);
    }

    [Fact]
    public void Who_connects_finds_the_machine_stopped()
    {
        _target.IsRunning = true;
        Assert.Equal("T02thread:1;", Ask("?"));
        Assert.False(_target.IsRunning);
    }

    [Fact]
    public void Who_leaves_lets_the_machine_go()
    {
        Assert.Equal("OK", Ask("D"));
        Assert.Equal("clear all; Continue Continue", TakeCalls());
        _target.Halt(new DebugStop(0, DebugReason.Stepped));
        Assert.Equal("", _client.TakeText());
    }

    [Fact]
    public void Who_is_gone_lets_the_machine_go()
    {
        _client.Close();
        Assert.Equal("", TakeCalls());
        _client.Open();
        Ask("Qqemu.PhyMemMode:1");
        _client.Send("$m10");
        _client.Close();
        Assert.Equal("clear all; Continue Continue", TakeCalls());
        Assert.True(_target.IsRunning);
        Assert.False(_target.PhysicalAddresses);
        _client.Open();
        Assert.Equal("QC1", Ask("qC"));
    }

    [Fact]
    public void The_end_is_told_to_who_waits()
    {
        _session.Exited(0);
        Assert.Equal("", _client.TakeText());
        Ask("c");
        _session.Exited(1);
        Assert.Equal("W01", Content(_client.TakeText()));
    }

    [Fact]
    public void Kill_ends_the_machine()
    {
        Assert.Equal("OK", Ask("vKill;1"));
        Assert.Null(Ask("k"));
        Assert.Equal(2, _killed);
    }

    [Fact]
    public void Monitor_commands_answer_in_text()
    {
        static string Command(string text) => "qRcmd," + Convert.ToHexStringLower(Encoding.ASCII.GetBytes(text));
        Assert.Equal(Convert.ToHexStringLower("one\ntwo\n"u8), Ask(Command("info")));
        Assert.Equal("OK", Ask(Command("stop")));
        Assert.Contains("is not known", Encoding.ASCII.GetString(Convert.FromHexString(Ask(Command("xyz"))!)));
    }

    [Fact]
    public void Noise_does_no_harm()
    {
        var random = new Random(5);
        var bytes = new byte[64];
        for (var n = 0; n < 20000; n++)
        {
            random.NextBytes(bytes);
            const string Useful = "$#+-\u0003mMXgGpPZzHTcsvqQ?,:;=0123456789abcdef";
            for (var i = 0; i < bytes.Length; i++)
                if (random.Next(4) != 0) bytes[i] = (byte)Useful[random.Next(Useful.Length)];
            _client.Send(bytes);
            _client.Send(Encoding.Latin1.GetBytes(Packet(Encoding.Latin1.GetString(bytes[..random.Next(16)]))));
            if (n % 64 == 0) _client.TakeText();
        }

        _client.TakeText();
        _client.Close();
        _client.Open();
        Assert.Equal("QC1", Ask("qC"));
    }
}
