using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Backends;

namespace XenDM.Monitor.Tests;

/// <summary>A connection whose other end the test holds.</summary>
internal sealed class FakeChar : ICharBackend
{
    private readonly List<byte> _input = [];
    private readonly List<byte> _output = [];
    private ICharFrontend? _frontend;

    public string Label => "libxl-cmd";

    public string FileName => "unix:/fake,server=on";

    public bool IsOpen { get; private set; }

    public Queue<int> Fds { get; } = new();

    /// <summary>Bytes that the client's end takes before it is full.</summary>
    public int Room { get; set; } = int.MaxValue;

    /// <summary>Bytes that the front end has not taken.</summary>
    public int Waiting => _input.Count;

    public void Attach(ICharFrontend frontend) => _frontend = frontend;

    public void Open()
    {
        IsOpen = true;
        _frontend!.Event(CharEvent.Opened);
    }

    public void Close()
    {
        IsOpen = false;
        _input.Clear();
        _frontend!.Event(CharEvent.Closed);
    }

    public int Write(ReadOnlySpan<byte> data)
    {
        if (!IsOpen) return data.Length;
        var count = Math.Min(Room, data.Length);
        _output.AddRange(data[..count]);
        if (Room != int.MaxValue) Room -= count;
        return count;
    }

    /// <summary>The client reads: there is room for so many more bytes.</summary>
    public void GiveRoom(int bytes)
    {
        Room = bytes;
        _frontend!.WriteReady();
    }

    public void AcceptInput() => Pump();

    public int TakeFd() => Fds.TryDequeue(out var fd) ? fd : -1;

    public void SetBreak(bool on)
    {
    }

    public void Dispose()
    {
    }

    public void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    public void Send(ReadOnlySpan<byte> data)
    {
        _input.AddRange(data);
        Pump();
    }

    /// <summary>What came back since the last call.</summary>
    public string TakeText()
    {
        var text = Encoding.Latin1.GetString(_output.ToArray());
        _output.Clear();
        return text;
    }

    /// <summary>What came back since the last call; every line must end in CR LF.</summary>
    public string[] TakeLines()
    {
        var text = Encoding.UTF8.GetString(_output.ToArray());
        _output.Clear();
        if (text.Length == 0) return [];
        Assert.EndsWith("\r\n", text);
        var lines = text[..^2].Split("\r\n");
        foreach (var line in lines) Assert.DoesNotContain('\n', line);
        return lines;
    }

    /// <summary>Sends one message and gives its only line of answer.</summary>
    public string Ask(string text)
    {
        Send(text);
        return Assert.Single(TakeLines());
    }

    private void Pump()
    {
        while (_input.Count > 0 && _frontend!.ReceiveRoom is > 0 and var room)
        {
            var chunk = _input.GetRange(0, Math.Min(room, _input.Count)).ToArray();
            _input.RemoveRange(0, chunk.Length);
            _frontend.Receive(chunk);
        }
    }
}
