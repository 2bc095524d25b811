using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using XenDM.Backends.Char;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;

namespace XenDM.Backends.Tests.Char;

/// <summary>A front end that keeps what it gets.</summary>
internal sealed class RecordingFrontend : ICharFrontend
{
    private readonly List<byte> _received = [];

    public int Room { get; set; } = 4096;

    public List<CharEvent> Events { get; } = [];

    public int WriteReadies { get; private set; }

    /// <summary>Called for each piece before it is kept.</summary>
    public Action? OnReceive { get; set; }

    public Action? OnWriteReady { get; set; }

    public string Text => Encoding.Latin1.GetString([.. _received]);

    public int ReceiveRoom => Room;

    public void Receive(ReadOnlySpan<byte> data)
    {
        Assert.InRange(data.Length, 1, Room);
        OnReceive?.Invoke();
        _received.AddRange(data);
    }

    public void Event(CharEvent e) => Events.Add(e);

    public void WriteReady()
    {
        WriteReadies++;
        OnWriteReady?.Invoke();
    }
}

/// <summary>A folder, a loop and a factory for one test.</summary>
public abstract class CharTest : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-char-").FullName;
    private readonly List<int> _fds = [];

    protected CharTest() => Factory = new CharBackendFactory(Loop, Log);

    internal TestLoop Loop { get; } = new();

    internal RecordingFrontend Frontend { get; } = new();

    internal LineLog Log { get; } = new();

    internal CharBackendFactory Factory { get; }

    public void Dispose()
    {
        foreach (var backend in Factory.All.Values) backend.Dispose();
        foreach (var fd in _fds) Posix.Close(fd);
        Directory.Delete(_folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>A path of this test.</summary>
    internal string At(string name) => Path.Combine(_folder, name);

    /// <summary>A backend with id c from its options, in front of <see cref="Frontend"/>.</summary>
    internal CharBackend Attach(string options)
    {
        var backend = Make(options);
        backend.Attach(Frontend);
        return backend;
    }

    /// <summary>A backend from its options, the kind first: <c>socket,path=/x</c>; its id is c unless given.</summary>
    internal CharBackend Make(string options)
    {
        var dictionary = new Dictionary<string, string> { ["id"] = "c" };
        foreach (var piece in options.Split(','))
        {
            var equals = piece.IndexOf('=', StringComparison.Ordinal);
            dictionary[equals < 0 ? "backend" : piece[..equals]] = piece[(equals + 1)..];
        }

        return Factory.FromChardev(dictionary);
    }

    /// <summary>The message of the refusal.</summary>
    internal string Refused(string options) => Assert.Throws<CharOpenException>(() => Make(options)).Message;

    /// <summary>Closed at the end of the test.</summary>
    internal int Own(int fd)
    {
        Assert.True(fd >= 0, Errno.Describe(fd));
        _fds.Add(fd);
        return fd;
    }

    internal void CloseNow(int fd)
    {
        _fds.Remove(fd);
        Posix.Close(fd);
    }

    /// <summary>A connected client of a unix socket, non-blocking.</summary>
    internal int Connect(string path) => Own(Posix.UnixConnect(path, nonBlocking: true));

    /// <summary>What a client has got by now; null at the end of the stream.</summary>
    internal string? ReadNow(int fd)
    {
        Posix.SetNonBlocking(fd, true);
        var text = new StringBuilder();
        var buffer = new byte[65536];
        while (true)
        {
            var count = Posix.Read(fd, buffer);
            if (count == 0 && text.Length == 0) return null;
            if (count <= 0) return text.ToString();
            text.Append(Encoding.Latin1.GetString(buffer, 0, (int)count));
        }
    }

    /// <summary>Turns the loop until a client has got this much.</summary>
    internal string Read(int fd, int length)
    {
        var text = "";
        Loop.Until(() => (text += ReadNow(fd)).Length >= length);
        return text;
    }

    internal static void Write(int fd, string text)
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        Assert.Equal(bytes.Length, Posix.Write(fd, bytes));
    }

    internal static int Write(CharBackend backend, string text) => backend.Write(Encoding.Latin1.GetBytes(text));

    /// <summary>A log whose lines the test reads.</summary>
    internal sealed class LineLog : IMachineLog
    {
        public List<string> Lines { get; } = [];

        public bool GuestAllowed => true;

        public void Info(string source, string text) => Lines.Add(text);

        public void Warn(string source, string text) => Lines.Add(text);

        public void Guest(string source, string text) => Lines.Add(text);
    }
}
