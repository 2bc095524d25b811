using System;
using System.Collections.Generic;
using XenDM.Core.Backends;

namespace XenDM.Devices.Tests;

/// <summary>A cable whose other end the test holds.</summary>
internal sealed class FakeChar : ICharBackend
{
    private readonly Queue<byte> _input = new();

    public ICharFrontend? Frontend { get; private set; }

    public string Label => "fake";

    public string FileName => "fake";

    public bool IsOpen => true;

    public List<byte> Written { get; } = [];

    /// <summary>Bytes that are taken before writes come back short.</summary>
    public int Room { get; set; } = int.MaxValue;

    public bool Break { get; private set; }

    public string Text => System.Text.Encoding.ASCII.GetString(Written.ToArray());

    public void Attach(ICharFrontend frontend) => Frontend = frontend;

    public int Write(ReadOnlySpan<byte> data)
    {
        var count = Math.Min(Room, data.Length);
        Written.AddRange(data[..count].ToArray());
        Room -= Room == int.MaxValue ? 0 : count;
        return count;
    }

    public void AcceptInput() => Pump();

    public int TakeFd() => -1;

    public void SetBreak(bool on) => Break = on;

    public void Dispose()
    {
    }

    public void Send(string text)
    {
        foreach (var c in text) _input.Enqueue((byte)c);
        Pump();
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
