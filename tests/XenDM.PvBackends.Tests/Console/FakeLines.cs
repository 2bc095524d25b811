using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Backends;
using XenDM.PvBackends.Console;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Tests.Console;

/// <summary>Lines whose other ends the test holds: any number of terminals, and one that the command line made.</summary>
internal sealed class FakeLines : IPvLines
{
    public Dictionary<string, FakeLine> Made { get; } = [];

    public FakeLine Lent { get; } = new("libxl-channel0", "null");

    public ICharBackend Open(string label, string output)
    {
        if (output == "chardev:libxl-channel0") return Lent;
        if (output != "pty") throw new PvException("no such line");
        var line = new FakeLine(label, "pty:/dev/pts/7");
        Made.Add(label, line);
        return line;
    }

    public bool Close(ICharBackend line) => Made.Remove(line.Label);
}

internal sealed class FakeLine(string label, string fileName) : ICharBackend
{
    private readonly Queue<byte> _input = new();
    private readonly StringBuilder _written = new();
    private ICharFrontend? _frontend;

    public string Label => label;

    public string FileName => fileName;

    public bool IsOpen => true;

    public string Written => _written.ToString();

    /// <summary>Bytes that wait for the front end to have room.</summary>
    public int Waiting => _input.Count;

    /// <summary>Bytes that are taken before writes come back short.</summary>
    public int Room { get; set; } = int.MaxValue;

    public void Attach(ICharFrontend frontend) => _frontend = _frontend is null ? frontend : throw new InvalidOperationException("attached twice");

    public int Write(ReadOnlySpan<byte> data)
    {
        var count = Math.Min(Room, data.Length);
        _written.Append(Encoding.Latin1.GetString(data[..count]));
        Room -= Room == int.MaxValue ? 0 : count;
        return count;
    }

    public void AcceptInput()
    {
        while (_input.Count > 0 && _frontend!.ReceiveRoom is > 0 and var room)
        {
            var piece = new byte[Math.Min(room, _input.Count)];
            for (var i = 0; i < piece.Length; i++) piece[i] = _input.Dequeue();
            _frontend.Receive(piece);
        }
    }

    public void Send(string text)
    {
        foreach (var letter in text) _input.Enqueue((byte)letter);
        AcceptInput();
    }

    /// <summary>The other end reads again.</summary>
    public void Open(int room)
    {
        Room = room;
        _frontend!.WriteReady();
    }

    public int TakeFd() => -1;

    public void SetBreak(bool on)
    {
    }

    public void Dispose()
    {
    }
}
