using System;
using System.Collections.Generic;
using XenDM.Core.Backends;

namespace XenDM.Backends.Tests.Net;

/// <summary>A front end that keeps what it gets, as far as it has room.</summary>
internal sealed class TestGuest : INetFrontend
{
    public List<(NetFrame Frame, byte[] Bytes)> Received { get; } = [];

    /// <summary>Frames that it still takes.</summary>
    public int Room { get; set; } = int.MaxValue;

    public int Refused { get; private set; }

    public int SendReadies { get; private set; }

    public List<bool> Links { get; } = [];

    public Action<byte[]>? OnFrame { get; set; }

    /// <summary>True while the test is inside of a call to the backend, in which nothing may come.</summary>
    public bool IsCalling { get; set; }

    public bool Receive(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        Assert.False(IsCalling, "a frame from inside of a call");
        if (Room == 0)
        {
            Refused++;
            return false;
        }

        Room--;
        var copy = bytes.ToArray();
        Received.Add((frame, copy));
        OnFrame?.Invoke(copy);
        return true;
    }

    public void SendReady()
    {
        Assert.False(IsCalling, "SendReady from inside of a call");
        SendReadies++;
    }

    public void LinkChanged(bool up) => Links.Add(up);
}
