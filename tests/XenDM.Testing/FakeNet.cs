using System;
using System.Collections.Generic;
using XenDM.Core.Backends;

namespace XenDM.Testing;

/// <summary>A wire that keeps what is sent, refuses when told, and brings what the test gives it.</summary>
public sealed class FakeNet : INetBackend
{
    private readonly Queue<(NetFrame Frame, byte[] Bytes)> _waiting = [];
    private INetFrontend? _device;
    private INetFrontend? _borrower;
    private bool _isLinkUp = true;
    private bool _refused;

    public string Id => "net0";

    public string Description => "type=fake";

    public bool IsLinkUp
    {
        get => _isLinkUp;
        set
        {
            if (_isLinkUp == value) return;
            _isLinkUp = value;
            Frontend?.LinkChanged(value);
        }
    }

    public NetOffloads ReceiveOffloads { get; set; }

    public bool IsAttached => Frontend is not null;

    /// <summary>Frames that were sent, with what was left to be done.</summary>
    public List<(NetFrame Frame, byte[] Bytes)> Sent { get; } = [];

    /// <summary>Frames and their bytes so far.</summary>
    public long Count { get; private set; }

    /// <inheritdoc cref="Count"/>
    public long Bytes { get; private set; }

    /// <summary>Keep a list of what is sent.</summary>
    public bool Log { get; init; } = true;

    /// <summary>Refuse from now on; when it ends, a refused front end is called.</summary>
    public bool Full
    {
        get => field;
        set
        {
            field = value;
            if (value || !_refused) return;
            _refused = false;
            Frontend?.SendReady();
        }
    }

    /// <summary>Called for each frame that is sent, from inside of the call.</summary>
    public Action? OnSend { get; set; }

    /// <summary>Frames that the front end had no room for.</summary>
    public int Waiting => _waiting.Count;

    /// <summary>Brings a frame, behind those that wait.</summary>
    /// <returns>The front end took it.</returns>
    public bool Bring(byte[] bytes, bool isValid = false) => Bring(new NetFrame { IsValid = isValid }, bytes);

    /// <inheritdoc cref="Bring(byte[], bool)"/>
    public bool Bring(in NetFrame frame, byte[] bytes)
    {
        _waiting.Enqueue((frame, bytes));
        ReceiveReady();
        return _waiting.Count == 0;
    }

    /// <summary>Brings bytes that nobody keeps.</summary>
    public bool Bring(ReadOnlySpan<byte> bytes) => Bring(default, bytes);

    /// <inheritdoc cref="Bring(ReadOnlySpan{byte})"/>
    public bool Bring(in NetFrame frame, ReadOnlySpan<byte> bytes) => Frontend is not { } frontend || frontend.Receive(frame, bytes);

    /// <summary>Forgets the frames that the front end had no room for.</summary>
    public void Drop() => _waiting.Clear();

    public INetFrontend? Frontend => _borrower ?? _device;

    public void Attach(INetFrontend? frontend)
    {
        _device = frontend;
        if (_borrower is null) Begin();
    }

    public void Detach(INetFrontend frontend)
    {
        if (_device == frontend) Attach(null);
    }

    public void Lend(INetFrontend? frontend)
    {
        _borrower = frontend;
        Begin();
        if (frontend is not null || _device is not { } device) return;
        device.LinkChanged(IsLinkUp);
        device.SendReady();
    }

    public bool Send(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (Full)
        {
            _refused = true;
            return false;
        }

        if (frame.NeedsChecksum && frame.ChecksumStart + frame.ChecksumOffset + 2 > bytes.Length) throw new InvalidOperationException("the checksum lies outside the frame");
        if (frame.Segmentation != NetSegmentation.None && (frame.HeaderBytes > bytes.Length || frame.SegmentBytes == 0)) throw new InvalidOperationException("the segments cannot be cut");
        if (bytes.Length < 14 || bytes.Length > 0x10000 + 14) throw new InvalidOperationException($"a frame of {bytes.Length} bytes");
        Count++;
        Bytes += bytes.Length;
        if (Log) Sent.Add((frame, bytes.ToArray()));
        OnSend?.Invoke();
        return true;
    }

    public void ReceiveReady()
    {
        while (_waiting.TryPeek(out var next))
        {
            if (Frontend is { } frontend && !frontend.Receive(next.Frame, next.Bytes)) return;
            _waiting.Dequeue();
        }
    }

    public void Dispose()
    {
    }

    private void Begin()
    {
        _refused = false;
        ReceiveOffloads = NetOffloads.None;
    }
}
