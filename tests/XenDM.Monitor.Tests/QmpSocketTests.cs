using System;
using System.IO;
using System.Linq;
using System.Text;
using XenDM.Backends.Tests.Char;
using XenDM.Interop.Libc;

namespace XenDM.Monitor.Tests;

/// <summary>The monitor behind real unix sockets, as libxl and libxenstat use them.</summary>
public sealed class QmpSocketTests : CharTest
{
    private readonly FakeTarget _target = new() { RunState = "running" };
    private readonly FdSets _fds = new(fd => Posix.Close(fd), Posix.Duplicate);
    private readonly QmpCommands _commands;
    private readonly QmpEvents _events = new(() => (1700000000, 42));

    public QmpSocketTests()
    {
        _commands = new QmpCommands(_target, _fds, fd => Posix.Close(fd));
        _target.Events = _events;
        foreach (var name in (string[])["libxl-cmd", "libxenstat-cmd"])
            _events.Add(new QmpSession(Make($"socket,id={name},path={At(name)},server=on,wait=off"), _commands));
    }

    [Fact]
    public void Libxl_and_libxenstat_talk_at_the_same_time()
    {
        var (libxl, xenstat) = (Client("libxl-cmd"), Client("libxenstat-cmd"));
        Assert.Contains("\"QMP\"", Line(libxl));
        Assert.Contains("\"QMP\"", Line(xenstat));
        Write(libxl, "{\"execute\":\"qmp_capabilities\",\"id\":2020175360}\r\n");
        Write(xenstat, "{ \"execute\": \"qmp_capabilities\" }");
        Assert.Equal("{\"return\":{},\"id\":2020175360}\r\n", Line(libxl));
        Assert.Equal("{\"return\":{}}\r\n", Line(xenstat));
        Write(xenstat, "{ \"execute\": \"query-blockstats\" }");
        Assert.Contains("\"rd_bytes\":512", Line(xenstat));
        Write(libxl, "{\"execute\":\"stop\",\"id\":2020175361}\r\n");
        Loop.Until(() => _target.Calls.Count == 1);
        Assert.Contains("\"event\":\"STOP\"", Line(xenstat));
        Assert.Equal(2, Line(libxl).Count(c => c == '\n'));
    }

    [Fact]
    public void A_text_cut_at_every_byte_arrives()
    {
        var client = Negotiated();
        foreach (var c in "{\"execute\":\"query-name\",\"id\":[1]}") SendPiece(client, c.ToString());
        Assert.Equal("{\"return\":{\"name\":\"guest\"},\"id\":[1]}\r\n", Line(client));
    }

    [Fact]
    public void The_next_client_is_greeted_again()
    {
        var first = Client("libxl-cmd");
        Assert.Contains("\"QMP\"", Line(first));
        var second = Client("libxl-cmd");
        Write(second, "{\"execute\":\"qmp_capabilities\"}");
        Write(first, "{\"execute\":\"qmp_cap");
        Loop.Settle();
        CloseNow(first);
        var answer = Line(second);
        Assert.StartsWith("{\"QMP\"", answer);
        Assert.EndsWith("{\"return\":{}}\r\n", answer);
    }

    [Fact]
    public void A_passed_descriptor_reaches_the_drive()
    {
        File.WriteAllText(At("x.iso"), "image");
        var file = Posix.Open(At("x.iso"), OpenFlags.ReadOnly);
        var client = Negotiated();
        Posix.SendWithFds(client, Encoding.ASCII.GetBytes("{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"raw:/x.iso\"}}\r\n"), [file]);
        Posix.Close(file);
        Assert.StartsWith("{\"return\":{\"fdset-id\":0,\"fd\":", Line(client));
        Write(client, "{\"execute\":\"blockdev-change-medium\",\"arguments\":{\"id\":\"ide-5632\",\"filename\":\"/dev/fdset/0\",\"format\":\"raw\"}}\r\n");
        Assert.Equal("{\"return\":{}}\r\n", Line(client));
        var fd = Own(int.Parse(Assert.Single(_target.Calls).Split(' ')[3], null));
        CloseNow(client);
        Loop.Until(() => !_fds.All.Any());
        Assert.Equal("image", ReadNow(fd));
    }

    [Fact]
    public void A_flood_is_answered_or_refused_and_the_socket_lives()
    {
        var client = Negotiated();
        var flood = Encoding.ASCII.GetBytes("{\"execute\":\"" + new string('x', 3 << 20) + "\n" + string.Concat(Enumerable.Repeat("{\"execute\":\"query-pci\"}", 2000)) + "{\"execute\":\"query-status\",\"id\":\"last\"}");
        var answers = new StringBuilder();
        var sent = 0;
        Loop.Until(() =>
        {
            // The client sends all it can before it reads a little.
            while (sent < flood.Length && Posix.Write(client, flood.AsSpan(sent)) is > 0 and var count) sent += (int)count;
            answers.Append(ReadNow(client));
            return answers.ToString(Math.Max(0, answers.Length - 20), Math.Min(20, answers.Length)).Contains("\"last\"", StringComparison.Ordinal);
        });
        var lines = answers.ToString().Split("\r\n");
        Assert.Contains("is longer than 1048576 bytes", lines[0]);
        Assert.Equal(2003, lines.Length);
    }

    private int Client(string name)
    {
        var fd = Connect(At(name));
        Loop.Settle();
        return fd;
    }

    private int Negotiated()
    {
        var fd = Client("libxl-cmd");
        Line(fd);
        Write(fd, "{\"execute\":\"qmp_capabilities\"}");
        Line(fd);
        return fd;
    }

    private void SendPiece(int fd, string text)
    {
        Write(fd, text);
        Loop.Settle();
    }

    /// <summary>What comes up to the next line end, or more.</summary>
    private string Line(int fd)
    {
        var text = "";
        Loop.Until(() => (text += ReadNow(fd)).EndsWith("\r\n", StringComparison.Ordinal));
        Loop.Settle();
        return text + ReadNow(fd);
    }
}
