using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Input;

/// <summary>
/// PV keyboards (<c>vkbd</c>). libxl gives one to every HVM guest, and Linux's boot waits half a minute for one that does not connect.
/// </summary>
public sealed class KeyboardKind(XenPorts ports, int guest) : IPvKind
{
    private readonly List<KeyboardDevice> _devices = [];

    public string Name => "vkbd";

    /// <summary>Those that are there now; who has keys and a pointer sends them to each that is connected.</summary>
    public IReadOnlyList<KeyboardDevice> Devices => _devices;

    public IPvDevice Create(string id, StoreFolder back)
    {
        var device = new KeyboardDevice(ports, guest, gone => _devices.Remove(gone));
        _devices.Add(device);
        return device;
    }
}

/// <summary>
/// A PV keyboard with a pointer (xen/public/io/kbdif.h): events of 40 bytes in a ring in the guest's page. What does not fit is lost, as keys are on a
/// keyboard that nobody reads. Machine thread.
/// </summary>
public sealed class KeyboardDevice : IPvDevice
{
    /// <summary>Full scale of an absolute position.</summary>
    public const int PositionRange = 0x7fff;

    private const int AtConsumer = 0, AtProducer = 4, AtRing = 1024;
    private const int EventBytes = 40;
    private const int RingEvents = 2048 / EventBytes;
    private const byte EventMotion = 1, EventKey = 3, EventPosition = 4;
    private const int MaxPort = 1 << 17;

    private readonly XenPorts _ports;
    private readonly int _guest;
    private readonly Action<KeyboardDevice> _gone;
    private readonly byte[] _event = new byte[EventBytes];
    private IGrantMapping? _page;
    private IEventChannel? _channel;
    private uint _produced;
    private bool _isRaw;

    internal KeyboardDevice(XenPorts ports, int guest, Action<KeyboardDevice> gone) => (_ports, _guest, _gone) = (ports, guest, gone);

    public Action<string>? Broken { get; set; }

    public IBlockBackend? Image => null;

    public bool IsConnected => _channel is not null;

    /// <summary>The guest takes positions; else movements.</summary>
    public bool TakesPositions { get; private set; }

    /// <summary>Pixels of the screen that positions are on, for guests that do not scale them.</summary>
    public (int Width, int Height) Screen { get; set; } = (800, 600);

    public void Offer(StoreFolder back)
    {
        back.Write("feature-abs-pointer", 1);
        back.Write("feature-raw-pointer", 1);
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        var grant = front.ReadNumber("page-gref") ?? throw new PvException("page-gref is missing: a driver that names its page by frame number only is not served");
        var port = front.RequireNumber("event-channel", 1, MaxPort);
        var page = _ports.Grants.TryMap(_guest, [grant], writable: true) ?? throw new PvException($"its page cannot be mapped: grant {grant}");

        // The ring the other way has no messages, so there is nothing to do when the guest sends an event.
        _channel = _ports.Events.TryBind(_guest, port, static () => { });
        if (_channel is null)
        {
            page.Dispose();
            throw new PvException($"event channel {port} is not offered");
        }

        _page = page;
        _produced = page.ReadIndex(AtProducer);
        TakesPositions = front.ReadFlag("request-abs-pointer");
        _isRaw = front.ReadFlag("request-raw-pointer");
    }

    public void Disconnect()
    {
        _channel?.Dispose();
        _page?.Dispose();
        (_channel, _page) = (null, null);
    }

    public void Drain()
    {
    }

    public void Dispose()
    {
        Disconnect();
        _gone(this);
    }

    /// <param name="code">As in linux/input-event-codes.h: keys, and buttons from 0x110 on.</param>
    public void Key(uint code, bool isPressed)
    {
        Array.Clear(_event);
        _event[0] = EventKey;
        _event[1] = isPressed ? (byte)1 : (byte)0;
        Number(4, (int)code);
        Send();
    }

    /// <summary>A movement in steps of a mouse; <paramref name="wheel"/> turns away from the user when positive.</summary>
    public void Move(int right, int down, int wheel)
    {
        Array.Clear(_event);
        _event[0] = EventMotion;
        Number(4, right);
        Number(8, down);
        Number(12, wheel);
        Send();
    }

    /// <param name="x">0 (left) to <see cref="PositionRange"/>.</param>
    /// <param name="y">0 (top) to <see cref="PositionRange"/>.</param>
    /// <param name="wheel">As of <see cref="Move"/>.</param>
    public void MoveTo(int x, int y, int wheel)
    {
        Array.Clear(_event);
        _event[0] = EventPosition;
        Number(4, _isRaw ? x : (int)((long)x * (Screen.Width - 1) / PositionRange));
        Number(8, _isRaw ? y : (int)((long)y * (Screen.Height - 1) / PositionRange));
        Number(12, wheel);
        Send();
    }

    private void Number(int offset, int value) => BinaryPrimitives.WriteInt32LittleEndian(_event.AsSpan(offset), value);

    private void Send()
    {
        if (_page is null || _channel is null || _produced - _page.ReadIndex(AtConsumer) >= RingEvents) return;
        _page.Write(AtRing + ((int)(_produced % RingEvents) * EventBytes), _event);
        _page.WriteIndex(AtProducer, ++_produced);
        _page.Written(0);
        _channel.Notify();
    }
}
