using System;
using System.Collections.Generic;
using XenDM.Core.Backends;

namespace XenDM.Backends.Net;

/// <summary>What went over a cable, from the guest's point of view.</summary>
public sealed class NetStatistics
{
    public long SentFrames { get; internal set; }

    public long SentBytes { get; internal set; }

    public long ReceivedFrames { get; internal set; }

    public long ReceivedBytes { get; internal set; }

    /// <summary>Frames of the guest that made no sense, or for which there was nobody.</summary>
    public long SendDrops { get; internal set; }

    /// <summary>Frames for the guest that came while it had no cable, or no room for very long.</summary>
    public long ReceiveDrops { get; internal set; }
}

/// <summary>
/// What all backends have in common: the cable's two ends, its switch, copies for pcap files, and the work that one side leaves to the
/// other. A kind of backend says how a frame goes out (<see cref="Transmit"/>) and hands in those that come (<see cref="Deliver"/>).
/// </summary>
public abstract class NetBackend : INetBackend
{
    private readonly NetFinisher _out = new();
    private readonly NetFinisher _in = new();
    private readonly List<PcapFile> _dumps = [];
    private INetFrontend? _device;
    private INetFrontend? _borrower;
    private bool _isLinkUp = true;
    private bool _waitsToSend;
    private NetOffloads _receiveOffloads;

    protected NetBackend(string id) => Id = id;

    public string Id { get; }

    public abstract string Description { get; }

    public NetStatistics Statistics { get; } = new();

    public bool IsLinkUp
    {
        get => _isLinkUp;
        set
        {
            // A backend that was taken away stays without a cable.
            if (_isLinkUp == value || (IsDisposed && value)) return;
            _isLinkUp = value;
            Frontend?.LinkChanged(value);
            if (value) return;

            // Who waits for room does not wait for the cable too.
            RoomAgain();
            ReceiveReady();
        }
    }

    public NetOffloads ReceiveOffloads
    {
        get => _receiveOffloads;
        set
        {
            // Uncut frames have no checksum that would be right for them.
            if ((value & NetOffloads.Checksum) == 0) value = NetOffloads.None;
            if (_receiveOffloads == value) return;
            _receiveOffloads = value;

            // A frame that waits is looked at again.
            if (_in.IsUntouched) _in.Stop();
            if (!IsDisposed) OnReceiveOffloads();
        }
    }

    public INetFrontend? Frontend => _borrower ?? _device;

    protected bool IsDisposed { get; private set; }

    /// <summary>What <see cref="Transmit"/> takes undone.</summary>
    protected virtual NetOffloads SendOffloads => NetOffloads.None;

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
        if (IsDisposed || !_isLinkUp || !_out.Begin(frame, bytes, SendOffloads))
        {
            Statistics.SendDrops++;
            return true;
        }

        if (!HasRoom)
        {
            _out.Stop();
            _waitsToSend = true;
            return false;
        }

        for (var first = true; _out.Next(bytes, out var ready, out var done); first = false)
        {
            if (Transmit(done, ready)) continue;
            if (first)
            {
                _out.Stop();
                _waitsToSend = true;
                return false;
            }

            // Half of it is on its way: the rest is lost, as on a wire, and TCP sends it again.
            _out.Stop();
            Statistics.SendDrops++;
        }

        Statistics.SentFrames++;
        Statistics.SentBytes += bytes.Length;
        foreach (var dump in _dumps) dump.Write(frame, bytes);
        return true;
    }

    public void ReceiveReady()
    {
        if (!IsDisposed) OnReceiveReady();
    }

    /// <summary>Copies go into a file from now on, which belongs to the backend.</summary>
    public void AddDump(PcapFile dump) => _dumps.Add(dump);

    public void Dispose()
    {
        if (IsDisposed) return;
        IsDisposed = true;
        (_device, _borrower) = (null, null);
        Close();
        foreach (var dump in _dumps) dump.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A frame may be sent, with all segments that come of it. When it is false, <see cref="RoomAgain"/> comes.</summary>
    protected virtual bool HasRoom => true;

    /// <summary>Sends one frame.</summary>
    /// <param name="frame">Has what is left to be done; only what <see cref="SendOffloads"/> says.</param>
    /// <returns>False when there is no room: nothing was sent, and <see cref="RoomAgain"/> comes.</returns>
    protected abstract bool Transmit(in NetFrame frame, ReadOnlySpan<byte> bytes);

    /// <summary>The front end has room again: what waits for it is to be brought, but not from inside of this call.</summary>
    protected abstract void OnReceiveReady();

    /// <summary>The front end is another one.</summary>
    protected virtual void OnAttached()
    {
    }

    /// <summary><see cref="ReceiveOffloads"/> changed.</summary>
    protected virtual void OnReceiveOffloads()
    {
    }

    /// <summary>Lets go of the host's side; called once.</summary>
    protected abstract void Close();

    /// <summary>The front end is another one.</summary>
    private void Begin()
    {
        _waitsToSend = false;
        _in.Stop();
        ReceiveOffloads = NetOffloads.None;
        if (IsDisposed) return;
        OnAttached();
        if (Frontend is not null) ReceiveReady();
    }

    /// <summary>There is room to send again.</summary>
    protected void RoomAgain()
    {
        if (!_waitsToSend) return;
        _waitsToSend = false;
        Frontend?.SendReady();
    }

    /// <summary>Gives a frame to the front end, after what it does not take undone was done.</summary>
    /// <returns>False: it has no room. The same frame has to come again after <see cref="ReceiveReady"/>.</returns>
    protected bool Deliver(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (Frontend is not { } frontend || !_isLinkUp || (!_in.IsBusy && !_in.Begin(frame, bytes, _receiveOffloads)))
        {
            _in.Stop();
            Statistics.ReceiveDrops++;
            return true;
        }

        while (_in.Next(bytes, out var ready, out var done))
        {
            if (frontend.Receive(done, ready)) continue;
            _in.Back();
            return false;
        }

        Statistics.ReceivedFrames++;
        Statistics.ReceivedBytes += bytes.Length;
        foreach (var dump in _dumps) dump.Write(frame, bytes);
        return true;
    }
}
