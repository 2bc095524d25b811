using System;
using System.Collections.Generic;
using XenDM.Core.Backends;

namespace XenDM.Backends.Net;

/// <summary>
/// One cable for several front ends with the same address: an emulated NIC, and the PV device that a guest may use in its place. As a bridge would, it
/// remembers who sent last: what is for the guest alone goes there, what is for many goes to all.
/// </summary>
public sealed class NetShare : INetFrontend
{
    private readonly NetBackend _cable;
    private readonly Port[] _ports;
    private readonly NetFinisher _finisher = new();
    private Port? _active;

    /// <param name="cable">Its front end is this.</param>
    /// <param name="ports">Front ends that can be attached.</param>
    public NetShare(NetBackend cable, int ports)
    {
        _cable = cable;
        _ports = new Port[ports];
        for (var i = 0; i < ports; i++) _ports[i] = new Port(this);
        cable.Attach(this);
    }

    /// <summary>The ends to attach to. Disposing one leaves the cable as it is.</summary>
    public IReadOnlyList<INetBackend> Ports => _ports;

    private sealed class Port(NetShare share) : INetBackend
    {
        private NetOffloads _receiveOffloads;

        public string Id => share._cable.Id;

        public string Description => share._cable.Description;

        public INetFrontend? Frontend { get; private set; }

        /// <summary>Was refused, and waits for room.</summary>
        public bool Waits { get; set; }

        public bool IsLinkUp
        {
            get => share._cable.IsLinkUp;
            set => share._cable.IsLinkUp = value;
        }

        public NetOffloads ReceiveOffloads
        {
            get => _receiveOffloads;
            set
            {
                _receiveOffloads = value;
                if (share._active == this) share._cable.ReceiveOffloads = value;
            }
        }

        public void Attach(INetFrontend? frontend)
        {
            Frontend = frontend;
            Waits = false;
            _receiveOffloads = NetOffloads.None;
            if (share._active == this) share.Activate(null);
        }

        public bool Send(in NetFrame frame, ReadOnlySpan<byte> bytes)
        {
            if (share._active != this) share.Activate(this);
            if (share._cable.Send(frame, bytes)) return true;
            Waits = true;
            return false;
        }

        public void ReceiveReady() => share._cable.ReceiveReady();

        public void Dispose() => Attach(null);
    }

    bool INetFrontend.Receive(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        // The active one may make others wait for it; the others get what they have room for.
        if (_active is { Frontend: { } frontend } && !frontend.Receive(frame, bytes)) return false;
        var isForMany = _active is null || (bytes.Length > 0 && (bytes[0] & 1) != 0);
        if (!isForMany) return true;
        foreach (var port in _ports)
        {
            if (port == _active || port.Frontend is not { } other || !_finisher.Begin(frame, bytes, port.ReceiveOffloads)) continue;
            while (_finisher.Next(bytes, out var ready, out var done) && other.Receive(done, ready))
            {
            }

            _finisher.Stop();
        }

        return true;
    }

    void INetFrontend.SendReady()
    {
        foreach (var port in _ports)
        {
            if (!port.Waits) continue;
            port.Waits = false;
            port.Frontend?.SendReady();
        }
    }

    void INetFrontend.LinkChanged(bool up)
    {
        foreach (var port in _ports) port.Frontend?.LinkChanged(up);
    }

    private void Activate(Port? port)
    {
        _active = port;
        _cable.ReceiveOffloads = port?.ReceiveOffloads ?? NetOffloads.None;
    }
}
