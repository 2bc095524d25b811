using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace XenDM.Tests.QTest;

/// <summary>
/// A test program's side of qtest: it listens on two sockets, starts the program with the arguments that such programs give, and talks to the
/// board over them.
/// </summary>
internal sealed class QTestProcess : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(50);
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-qtest").FullName;
    private readonly Process _process;
    private readonly Socket _qtest;
    private readonly Socket _qmp;
    private readonly StreamReader _reader;
    private readonly StreamReader _monitor;
    private readonly Queue<JsonElement> _events = new();

    public QTestProcess(params string[] arguments)
    {
        using var qtest = Listen("qtest");
        using var qmp = Listen("qmp");
        var start = new ProcessStartInfo("dotnet") { RedirectStandardError = true };
        string[] all =
        [
            typeof(Host).Assembly.Location, "-qtest", $"unix:{Path.Combine(_folder, "qtest")}", "-qtest-log", "/dev/null", "-chardev", $"socket,path={Path.Combine(_folder, "qmp")},id=char0",
            "-mon", "chardev=char0,mode=control", "-display", "none", .. arguments, "-accel", "qtest",
        ];
        foreach (var argument in all) start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;
        _qtest = Accept(qtest);
        _qmp = Accept(qmp);
        File.Delete(Path.Combine(_folder, "qtest"));
        File.Delete(Path.Combine(_folder, "qmp"));
        _reader = new StreamReader(new NetworkStream(_qtest), Encoding.ASCII);
        _monitor = new StreamReader(new NetworkStream(_qmp));
        Assert.Equal("little", Ask("endianness"));
        Greeting = Monitor();
        Execute("qmp_capabilities");
    }

    public JsonElement Greeting { get; }

    /// <summary>The level of each interrupt that was reported.</summary>
    public Dictionary<int, bool> Interrupts { get; } = [];

    /// <summary>Sends a command and gives what stands behind OK.</summary>
    public string Ask(string command)
    {
        var line = Line(command);
        Assert.StartsWith("OK", line, StringComparison.Ordinal);
        return line.Length > 3 ? line[3..] : "";
    }

    /// <summary>Sends a command and gives its whole answer.</summary>
    public string Line(string command)
    {
        Assert.Equal(command.Length + 1, _qtest.Send(Encoding.ASCII.GetBytes(command + "\n")));
        while (true)
        {
            var line = _reader.ReadLine() ?? throw new InvalidOperationException("the program is gone: " + _process.StandardError.ReadToEnd());
            if (!line.StartsWith("IRQ ", StringComparison.Ordinal)) return line;
            var words = line.Split(' ');
            Assert.Contains(words[1], (string[])["raise", "lower"]);
            Interrupts[int.Parse(words[2], CultureInfo.InvariantCulture)] = words[1] == "raise";
        }
    }

    public uint In(char width, int port) => uint.Parse(Ask($"in{width} 0x{port:x}")[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    public void Out(char width, int port, uint value) => Assert.Equal("", Ask($"out{width} 0x{port:x} 0x{value:x}"));

    /// <summary>As libqos reads configuration space: the byte's place in the address port, all data through the first data port.</summary>
    public uint Config(char width, int device, int function, int register)
    {
        Out('l', 0xcf8, 0x8000_0000 | (uint)((device << 11) | (function << 8) | register));
        return In(width, 0xcfc);
    }

    public void SetConfig(char width, int device, int function, int register, uint value)
    {
        Out('l', 0xcf8, 0x8000_0000 | (uint)((device << 11) | (function << 8) | register));
        Out(width, 0xcfc, value);
    }

    public void Write(ulong address, ReadOnlySpan<byte> data) => Ask($"write 0x{address:x} 0x{data.Length:x} 0x{Convert.ToHexStringLower(data)}");

    public byte[] Read(ulong address, int length) => Convert.FromHexString(Ask($"read 0x{address:x} 0x{length:x}")[2..]);

    /// <summary>Runs a monitor command; events meanwhile are kept.</summary>
    /// <param name="arguments">A JSON object, or nothing.</param>
    /// <exception cref="InvalidOperationException">The answer is an error.</exception>
    public JsonElement Execute(string command, string arguments = "{}")
    {
        _qmp.Send(Encoding.UTF8.GetBytes($"{{\"execute\":\"{command}\",\"arguments\":{arguments}}}\n"));
        while (true)
        {
            var answer = Monitor();
            if (answer.TryGetProperty("error", out var error)) throw new InvalidOperationException(error.GetProperty("desc").GetString());
            if (!answer.TryGetProperty("event", out _)) return answer.GetProperty("return");
            _events.Enqueue(answer);
        }
    }

    public JsonElement WaitForEvent(string name)
    {
        while (true)
        {
            var happened = _events.TryDequeue(out var kept) ? kept : Monitor();
            if (happened.GetProperty("event").GetString() == name) return happened;
        }
    }

    /// <summary>Ends the program as a test program does.</summary>
    /// <returns>Its status.</returns>
    public int Terminate()
    {
        using (var kill = Process.Start("kill", $"-TERM {_process.Id}")) kill.WaitForExit();
        return Status();
    }

    /// <summary>Waits for the program's end.</summary>
    /// <returns>Its status.</returns>
    public int Status()
    {
        Assert.True(_process.WaitForExit(s_patience));
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited) _process.Kill();
        _process.Dispose();
        _reader.Dispose();
        _monitor.Dispose();
        _qtest.Dispose();
        _qmp.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private JsonElement Monitor()
    {
        using var document = JsonDocument.Parse(_monitor.ReadLine() ?? throw new InvalidOperationException("the monitor is gone"));
        return document.RootElement.Clone();
    }

    private Socket Listen(string name)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(Path.Combine(_folder, name)));
        socket.Listen(1);
        return socket;
    }

    private Socket Accept(Socket listener)
    {
        if (!listener.Poll(s_patience, SelectMode.SelectRead)) throw new InvalidOperationException("the program does not connect: " + (_process.HasExited ? _process.StandardError.ReadToEnd() : "it runs"));
        var socket = listener.Accept();
        socket.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
        return socket;
    }
}
