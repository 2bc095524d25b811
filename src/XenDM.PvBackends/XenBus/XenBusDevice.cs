using System;
using System.Threading;
using XenDM.Core.Hypervisor;

namespace XenDM.PvBackends.XenBus;

/// <summary>
/// The life of one backend in xenstore: it offers, connects, closes and begins anew as the front end's state and the toolstack's wishes say
/// (xen/public/io/xenbus.h; docs/misc/xenstore-paths.pandoc of Xen). <see cref="Step"/> looks at all nodes and does what follows from them, so that
/// states that a front end skips or watches that come together make no difference. Machine thread.
/// </summary>
public sealed class XenBusDevice : IDisposable
{
    private readonly XenBus _bus;
    private readonly StoreFolder _back;
    private readonly StoreFolder _front;
    private readonly IPvDevice? _device;
    private IDisposable? _watch;
    private XenbusState _state;
    private int _connection;

    /// <summary>xenstore did not take what is offered. What it did take calls <see cref="Step"/> again, which must not try again for that.</summary>
    private bool _isRefused;
    private bool _isDisposed;

    private XenBusDevice(XenBus bus, IPvKind kind, string id, StoreFolder back, StoreFolder front)
    {
        _bus = bus;
        Kind = kind.Name;
        Id = id;
        _back = back;
        _front = front;
        Name = $"{kind.Name}-{id}";
        _state = XenbusState.Initialising;
        try
        {
            _device = kind.Create(id, back);
            _device.Broken = text =>
            {
                var connection = Volatile.Read(ref _connection);
                bus.Loop.Post(() => Break(connection, text));
            };
        }
        catch (PvException e)
        {
            // It stays as a device that never connects, until the toolstack takes it away.
            Report(e.Message, byGuest: false);
        }
    }

    /// <summary>As in <c>qdisk</c>.</summary>
    public string Kind { get; }

    public string Id { get; }

    /// <summary>For the log: kind and id.</summary>
    public string Name { get; }

    public bool IsConnected => _state == XenbusState.Connected;

    /// <summary>What the toolstack calls the device, e.g. xvdb; its id where it has no other name.</summary>
    public string VirtualName => _back.Read("dev") ?? Id;

    /// <summary>What serves it; null when it could not be made.</summary>
    public IPvDevice? Device => _device;

    /// <summary>Null when the toolstack is not done with its nodes yet, or takes the device away already, or it is another backend's.</summary>
    internal static XenBusDevice? TryMake(XenBus bus, IPvKind kind, string id, StoreFolder back)
    {
        if (back.Read("frontend") is not { } front || !back.ReadFlag("online") || back.ReadState() == XenbusState.Unknown) return null;
        if (!front.StartsWith($"/local/domain/{bus.Guest}/", StringComparison.Ordinal)) return null;
        var frontFolder = new StoreFolder(bus.Ports.Store, front);
        if (!kind.Serves(frontFolder, back)) return null;
        var device = new XenBusDevice(bus, kind, id, back, frontFolder);
        try
        {
            device._watch = bus.Ports.Store.Watch($"{front}/state", _ => device.StepSafely());
            return device;
        }
        catch (StoreException)
        {
            device.Dispose();
            throw;
        }
    }

    /// <summary>Waits until nothing is in flight.</summary>
    public void Drain() => _device?.Drain();

    /// <summary>Ends the connection and says nothing in xenstore.</summary>
    public void Dispose()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        _watch?.Dispose();
        _device?.Disconnect();
        _device?.Dispose();
    }

    /// <summary>Does what the nodes of both ends ask for.</summary>
    internal void Step()
    {
        if (_isDisposed) return;
        var told = _back.ReadState();
        if (told == XenbusState.Unknown && _back.Read("frontend") is null)
        {
            _bus.Remove(this);
            return;
        }

        var isOnline = _back.ReadFlag("online");
        var front = _front.ReadState();

        // The toolstack writes our state to say that the device is to go; the front end sees it and closes its end first.
        if (told == XenbusState.Closing && _state is XenbusState.Initialising or XenbusState.InitWait or XenbusState.Connected) _state = XenbusState.Closing;
        if (front != XenbusState.Initialising) _isRefused = false;
        switch (front)
        {
            case XenbusState.Initialising when isOnline && _state != XenbusState.InitWait && told != XenbusState.Closing:
                if (!_isRefused) Offer();
                break;
            case XenbusState.Initialised or XenbusState.Connected when _state == XenbusState.InitWait:
                Connect();
                break;
            case XenbusState.Closing when _state != XenbusState.Closed:
                _device?.Disconnect();
                if (told != XenbusState.Closing) SetState(XenbusState.Closing);
                break;
            case XenbusState.Closed or XenbusState.Unknown:
            case XenbusState.Initialising or XenbusState.InitWait when !isOnline || _state == XenbusState.Closing:
                _device?.Disconnect();
                if (_state != XenbusState.Closed) SetState(XenbusState.Closed);
                break;
        }

        if (_state == XenbusState.Closed && !isOnline) Leave();
    }

    /// <summary>As a watch calls it: xenstore's refusals end up in the log.</summary>
    private void StepSafely()
    {
        try
        {
            Step();
        }
        catch (StoreException e)
        {
            _bus.Log.Warn(Name, $"xenstore says {e.Error}");
        }
    }

    private void Offer()
    {
        if (_device is null) return;
        _device.Disconnect();
        _isRefused = true;
        _device.Offer(_back);
        _back.Write("hotplug-status", "connected");
        SetState(XenbusState.InitWait);
        _isRefused = false;
    }

    private void Connect()
    {
        if (_device is null) return;
        Volatile.Write(ref _connection, _connection + 1);
        try
        {
            _device.Connect(_front, _back);
            SetState(XenbusState.Connected);
            if (_bus.Log.GuestAllowed) _bus.Log.Guest(Name, "connected");
        }
        catch (PvException e)
        {
            Fail(e.Message);
        }
    }

    /// <summary>A data plane gave up; what it says of an earlier connection is of no use any more.</summary>
    private void Break(int connection, string text)
    {
        if (connection == _connection && _state == XenbusState.Connected) Fail(text);
    }

    /// <summary>The front end did something that ends the connection.</summary>
    private void Fail(string text)
    {
        if (_isDisposed || _device is null) return;
        try
        {
            _device.Disconnect();
            Report(text, byGuest: true);
            SetState(XenbusState.Closing);
        }
        catch (StoreException e)
        {
            _bus.Log.Warn(Name, $"xenstore says {e.Error}");
        }
    }

    /// <summary>Says what is wrong, where administrators and toolstacks look for it.</summary>
    private void Report(string text, bool byGuest)
    {
        if (!byGuest) _bus.Log.Warn(Name, text);
        else if (_bus.Log.GuestAllowed) _bus.Log.Guest(Name, text);
        try
        {
            _back.Store.Write($"/local/domain/{_bus.Domain}/error/backend/{Kind}/{_bus.Guest}/{Id}/error", $"22 {text}");
        }
        catch (StoreException)
        {
            // The log has it, and the device's state is what matters.
        }
    }

    private void SetState(XenbusState state)
    {
        _state = state;
        _back.Write("state", (int)state);
    }

    /// <summary>
    /// The toolstack wants no more of the device. Its node stays: libxl removes it when it has seen the state, and takes a node that went before
    /// for a removal that failed.
    /// </summary>
    private void Leave()
    {
        _bus.Remove(this);
        _back.Store.Remove($"/local/domain/{_bus.Domain}/error/backend/{Kind}/{_bus.Guest}/{Id}");
    }
}
