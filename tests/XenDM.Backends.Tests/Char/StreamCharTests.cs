using System;
using System.IO;
using System.Text;
using XenDM.Backends.Char;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Tests.Char;

public sealed class StreamCharTests : CharTest
{
    [Fact]
    public void Null_takes_everything()
    {
        var backend = Attach("null");
        Assert.Equal("null", backend.FileName);
        Assert.Equal(1000, backend.Write(new byte[1000]));
        Assert.Equal([CharEvent.Opened], Frontend.Events);
    }

    [Fact]
    public void A_file_is_truncated_or_appended_to()
    {
        File.WriteAllText(At("f"), "before ");
        Write(Attach($"file,path={At("f")},append=on"), "after");
        Assert.Equal("before after", File.ReadAllText(At("f")));
        Write(Make($"file,id=d,path={At("f")}"), "new");
        Assert.Equal("new", File.ReadAllText(At("f")));
        Assert.Equal("file", Factory.All["d"].FileName);
    }

    [Fact]
    public void A_full_disk_is_told_once()
    {
        var backend = Attach("file,path=/dev/full");
        Assert.Equal(3, Write(backend, "abc"));
        Assert.Equal(3, Write(backend, "def"));
        Assert.Equal("chardev c: output is lost: No space left on device", Assert.Single(Log.Lines));
    }

    [Fact]
    public void Paths_that_cannot_be_opened_are_refused()
    {
        Assert.Equal($"chardev c: cannot open '{At("no/f")}': No such file or directory", Refused($"file,path={At("no/f")}"));
        Assert.Contains("Is a directory", Refused($"file,path={At(".")}"));
        Assert.Contains("No such file", Refused($"serial,path={At("ttyS9")}"));
        Assert.Contains("No such file", Refused($"pipe,path={At("p")}"));
        File.WriteAllText(At("p.in"), "");
        Assert.Equal($"chardev c: cannot open '{At("p.out")}': No such file or directory", Refused($"pipe,path={At("p")}"));
    }

    [Fact]
    public void A_pty_talks_to_its_terminal()
    {
        var backend = Attach("pty");
        Assert.StartsWith("pty:/dev/pts/", backend.FileName);
        var terminal = Own(Posix.Open(backend.FileName["pty:".Length..], OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal));
        Write(backend, "login:\n");
        Assert.Equal("login:\n", Read(terminal, 7));
        Write(terminal, "root\r");
        Loop.Until(() => Frontend.Text == "root\r");
        Assert.Equal([CharEvent.Opened], Frontend.Events);
    }

    [Fact]
    public void A_pty_that_nobody_opened_costs_nothing_and_keeps_the_beginning()
    {
        var backend = Attach("pty");
        Loop.Settle();
        Assert.Equal(0, Loop.Callbacks);
        var data = Encoding.ASCII.GetBytes(new string('x', 1000) + new string('y', 100_000));
        var sent = backend.Write(data);
        Assert.InRange(sent, 1000, data.Length - 1);

        // The front end waits a while for a reader; then it gets rid of its bytes at once.
        Frontend.OnWriteReady = () => sent += backend.Write(data.AsSpan(sent));
        Loop.Until(() => sent == data.Length);
        Assert.Equal(100_000, backend.Write(new byte[100_000]));
        var callbacks = Loop.Callbacks;
        Loop.Settle();
        Assert.Equal(callbacks, Loop.Callbacks);

        // Somebody comes: the beginning is still there, and new output follows.
        var terminal = Own(Posix.Open(backend.FileName["pty:".Length..], OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal));
        Assert.StartsWith(new string('x', 1000), Read(terminal, 1000));
        Loop.Until(() => (ReadNow(terminal) ?? "").Length == 0 && Frontend.WriteReadies > 1);
        Write(backend, "fresh");
        Assert.EndsWith("fresh", Read(terminal, 5));
    }

    [Fact]
    public void A_terminal_may_come_and_go()
    {
        var backend = Attach("pty");
        for (var round = 1; round <= 3; round++)
        {
            var terminal = Own(Posix.Open(backend.FileName["pty:".Length..], OpenFlags.ReadWrite | OpenFlags.NoControllingTerminal));
            Write(terminal, "x");
            Loop.Until(() => Frontend.Text.Length == round);
            CloseNow(terminal);
            Loop.Settle();
        }

        Assert.Equal([CharEvent.Opened], Frontend.Events);
    }

    [Fact]
    public void Named_pipes_go_one_way_each()
    {
        using (var mkfifo = System.Diagnostics.Process.Start("mkfifo", [At("p.in"), At("p.out")])) mkfifo.WaitForExit();
        var backend = Attach($"pipe,path={At("p")}");
        Assert.Equal("pipe", backend.FileName);
        var reader = Own(Posix.Open(At("p.out"), OpenFlags.ReadOnly | OpenFlags.NonBlocking));
        var writer = Own(Posix.Open(At("p.in"), OpenFlags.WriteOnly | OpenFlags.NonBlocking));
        Write(backend, "out");
        Assert.Equal("out", Read(reader, 3));
        Write(writer, "in");
        Loop.Until(() => Frontend.Text == "in");
        CloseNow(writer);
        CloseNow(reader);
        Loop.Settle();

        // Nobody reads: the pipe fills, and the front end waits without turning the loop.
        Assert.InRange(backend.Write(new byte[1 << 20]), 1, (1 << 20) - 1);
        Loop.Settle();
    }

    [Fact]
    public void A_serial_device_is_a_raw_terminal()
    {
        var master = Own(Posix.OpenPty(out var path));
        var backend = Factory.FromSerial("serial0", path)!;
        backend.Attach(Frontend);
        Assert.Equal("serial", backend.FileName);
        Write(backend, "AT\n");
        Assert.Equal("AT\n", Read(master, 3));
        Write(master, "OK\r\n");
        Loop.Until(() => Frontend.Text == "OK\r\n");
        backend.SetBreak(true);
        backend.SetBreak(false);
    }

    [Fact]
    public void Standard_output_is_for_one_backend()
    {
        Make("stdio,signal=on");
        Assert.Contains("are used by c already", Refused("stdio,id=d"));
    }

    [Fact]
    public void Serial_arguments_are_read()
    {
        Assert.Null(Factory.FromSerial("serial0", "none"));
        Assert.Equal("null", Factory.FromSerial("serial0", "null")!.FileName);
        Assert.Equal("null", Factory.FromSerial("serial1", "vc:80Cx24C")!.FileName);
        Assert.StartsWith("pty:", Factory.FromSerial("serial2", "pty")!.FileName);
        Assert.Equal("file", Factory.FromSerial("serial3", $"file:{At("f")}")!.FileName);
        Assert.Equal($"disconnected:unix:{At("u")},server=on", Factory.FromSerial("serial4", $"unix:{At("u")},server,nowait")!.FileName);
        Assert.Matches(@"^disconnected:tcp:127\.0\.0\.1:\d+,server=on$", Factory.FromSerial("serial5", "tcp:127.0.0.1:0,server=on,wait=off")!.FileName);
        Assert.Matches(@"^disconnected:telnet:127\.0\.0\.1:\d+,server=on$", Factory.FromSerial("serial6", "telnet:127.0.0.1:0,server,nowait")!.FileName);
        Assert.Equal("disconnected:tcp:127.0.0.1:9", Factory.FromSerial("serial7", "tcp:127.0.0.1:9,reconnect=60")!.FileName);
        var shared = Make("null,id=mine");
        Assert.Same(shared, Factory.FromSerial("serial8", "chardev:mine"));
        Assert.Equal("null", Factory.FromSerial("serial9", "mon:null")!.FileName);
    }

    [Theory]
    [InlineData("floppy", "-serial floppy: not known; known are none")]
    [InlineData("chardev:x", "there is no -chardev with id=x")]
    [InlineData("file:", "-serial file:: a path is missing")]
    [InlineData("tcp:4555", "HOST:PORT is needed")]
    [InlineData("tcp::x,server,nowait", "'port=x' must be a number up to 65535")]
    [InlineData("tcp:h:70000", "'port=70000' must be a number up to 65535")]
    [InlineData("unix:/x,sever", "'sever' is not known here")]
    [InlineData("unix:/x,server,reconnect=1", "'reconnect=' is for clients")]
    [InlineData("udp:1", "not known")]
    public void Serial_arguments_that_are_wrong_are_refused(string spec, string message) =>
        Assert.Contains(message, Assert.Throws<CharOpenException>(() => Factory.FromSerial("serial0", spec)).Message);

    [Theory]
    [InlineData("udp,port=1", "'udp' is not built; known are null, file")]
    [InlineData("spicevmc,name=vdagent", "'spicevmc' is not built")]
    [InlineData("file", "'path=' is missing")]
    [InlineData("file,path=/x,logfile=/y", "'logfile=/y' is not known for file; known are path, append")]
    [InlineData("pty,mux=on", "'mux=on' is not known for pty")]
    [InlineData("socket,server=on", "exactly one of 'path=', 'port=' and 'fd=' is needed")]
    [InlineData("socket,path=/x,port=1", "exactly one of 'path=', 'port=' and 'fd=' is needed")]
    [InlineData("socket,path=/x,server=maybe", "'server=maybe' must be on or off")]
    [InlineData("socket,path=/x,wait=on", "'wait=' is for servers")]
    [InlineData("socket,path=/x,server=on,reconnect=1", "'reconnect=' is for clients")]
    [InlineData("socket,port=x", "'port=x' must be a number")]
    [InlineData("socket,port=1,ipv4=off,ipv6=off", "one of ipv4 and ipv6 must be on")]
    [InlineData("socket,path=", "is empty")]
    public void Chardev_options_that_are_wrong_are_refused(string options, string message) => Assert.Contains(message, Refused(options));

    [Fact]
    public void A_backend_has_one_user()
    {
        var backend = Attach("null");
        Assert.Contains("cannot use it at once", Assert.Throws<CharOpenException>(() => backend.Attach(Frontend)).Message);
    }

    [Fact]
    public void An_id_is_given_once()
    {
        Make("null");
        Assert.Equal("-chardev: id=c is given twice", Refused($"file,path={At("f")}"));
        Assert.False(File.Exists(At("f")));
    }
}
