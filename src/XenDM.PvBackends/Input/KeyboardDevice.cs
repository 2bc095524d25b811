using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;
using XenDM.Core.Input;
using XenDM.Core.Time;
using XenDM.PvBackends.Rings;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Input;

/// <summary>
/// PV keyboards (<c>vkbd</c>). libxl gives one to every HVM guest, and Linux's boot waits half a minute for one that does not connect.
/// </summary>
/// <param name="input">Has the keyboards and their pointers while the guest's driver is connected.</param>
/// <param name="clock">Held keys repeat by it.</param>
public sealed class KeyboardKind(XenPorts ports, int guest, InputHub input, IVmClock clock) : IPvKind
{
    private readonly KeyRepeat _repeat = new(clock);
    private readonly List<KeyboardDevice> _devices = [];

    public string Name => "vkbd";

    /// <summary>Those that are there now.</summary>
    public IReadOnlyList<KeyboardDevice> Devices => _devices;

    public IPvDevice Create(string id, StoreFolder back)
    {
        var device = new KeyboardDevice(ports, guest, input, _repeat, gone => _devices.Remove(gone));
        _devices.Add(device);
        return device;
    }
}

/// <summary>
/// The key that is held, pressed again from time to time: Linux's driver takes that for a repeat and makes none of its own, and the protocol has no way to
/// ask for one. One for all keyboards of the guest, because a person holds one.
/// </summary>
internal sealed class KeyRepeat
{
    private const long Delay = 500_000_000, Period = 33_000_000;

    private readonly VmTimer _timer;
    private KeyboardDevice? _device;
    private uint _code;

    public KeyRepeat(IVmClock clock) => _timer = clock.CreateTimer("vkbd.repeat", Repeat);

    public void Start(KeyboardDevice device, uint code)
    {
        (_device, _code) = (device, code);
        _timer.ArmAfter(Delay);
    }

    public void Stop(KeyboardDevice device, uint code)
    {
        if (code == _code) Stop(device);
    }

    public void Stop(KeyboardDevice device)
    {
        if (device != _device) return;
        _device = null;
        _timer.Cancel();
    }

    private void Repeat()
    {
        if (_device is null) return;
        _timer.ArmAfter(Period);
        _device.Repeat(_code);
    }
}

/// <summary>
/// A PV keyboard with a pointer (xen/public/io/kbdif.h): events of 40 bytes in a ring in the guest's page. What does not fit is lost, as keys are on a
/// keyboard that nobody reads. Machine thread.
/// </summary>
public sealed class KeyboardDevice : IPvDevice, IKeyboard, IPointer
{
    private const int AtConsumer = 0, AtProducer = 4, AtRing = 1024;
    private const int EventBytes = 40;
    private const int RingEvents = 2048 / EventBytes;
    private const byte EventMotion = 1, EventKey = 3, EventPosition = 4;
    private const uint FirstButton = 0x110;
    private const int MaxPort = 1 << 17;

    private readonly XenPorts _ports;
    private readonly int _guest;
    private readonly InputHub _input;
    private readonly KeyRepeat _repeat;
    private readonly Action<KeyboardDevice> _gone;
    private readonly byte[] _event = new byte[EventBytes];
    private IGrantMapping? _page;
    private IEventChannel? _channel;
    private uint _produced;
    private (int X, int Y) _place;
    private PointerButtons _buttons;

    internal KeyboardDevice(XenPorts ports, int guest, InputHub input, KeyRepeat repeat, Action<KeyboardDevice> gone) =>
        (_ports, _guest, _input, _repeat, _gone) = (ports, guest, input, repeat, gone);

    public Action<string>? Broken { get; set; }

    public bool IsConnected => _channel is not null;

    public string Name => "Xen PV pointer";

    bool IKeyboard.IsActive => IsConnected;

    bool IPointer.IsActive => IsConnected;

    /// <summary>The guest takes positions; else movements.</summary>
    public bool IsAbsolute { get; private set; }

    /// <summary>The protocol has no lights.</summary>
    public KeyboardLeds? Leds => null;

    public Action? LedsChanged { get; set; }

    /// <summary>
    /// A guest that takes raw positions has them from 0 to 7fff over the screen, as they come; one that does not learns the same range by the size that
    /// is offered, so that it depends on no picture's size.
    /// </summary>
    public void Offer(StoreFolder back)
    {
        back.Write("feature-abs-pointer", 1);
        back.Write("feature-raw-pointer", 1);
        back.Write("width", InputHub.PlaceRange);
        back.Write("height", InputHub.PlaceRange);
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        var grant = front.ReadNumber("page-gref") ?? throw new PvException("page-gref is missing: a driver that names its page by frame number only is not served");
        var port = front.RequireNumber("event-channel", 1, MaxPort);

        // The ring the other way has no messages, so there is nothing to do when the guest sends an event.
        _channel = RingPages.Bind(_ports, _guest, port, static () => { });
        IGrantMapping page;
        try
        {
            page = RingPages.Map(_ports, _guest, [grant], _channel);
        }
        catch (PvException)
        {
            Disconnect();
            throw;
        }

        _page = page;
        _produced = page.ReadIndex(AtProducer);
        IsAbsolute = front.ReadFlag("request-abs-pointer");
        _place = (-1, -1);
        _buttons = PointerButtons.None;
        _input.Add((IKeyboard)this);
        _input.Add((IPointer)this);
    }

    public void Disconnect()
    {
        _input.Remove((IKeyboard)this);
        _input.Remove((IPointer)this);
        _repeat.Stop(this);
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

    /// <summary>Keys that Linux has no code for are left out.</summary>
    public void Key(ushort key, bool down)
    {
        if (LinuxKeys.Code(key) is not (var code and not 0)) return;
        SendKey(code, down);
        if (!down) _repeat.Stop(this, code);
        else if ((key & 0xff) is not (LinuxKeys.Control or LinuxKeys.LeftShift or LinuxKeys.RightShift or LinuxKeys.Alt or LinuxKeys.CapsLock)) _repeat.Start(this, code);
    }

    /// <summary>Only for a guest that has read all before, so that holding a key does not fill the ring.</summary>
    internal void Repeat(uint code)
    {
        if (_page is not null && _page.ReadIndex(AtConsumer) == _produced) SendKey(code, isPressed: true);
    }

    /// <summary>The wheel that tilts has no place in the protocol.</summary>
    public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
    {
        if (wheel != 0 || (IsAbsolute ? _place != (x, y) : (x | y) != 0)) SendMove(x, y, wheel);
        for (var n = 0; n < 5; n++)
            if (((int)(buttons ^ _buttons) >> n & 1) != 0) SendKey(FirstButton + (uint)n, ((int)buttons >> n & 1) != 0);
        _buttons = buttons;
    }

    private void SendMove(int x, int y, int wheel)
    {
        _place = (x, y);
        Array.Clear(_event);
        _event[0] = IsAbsolute ? EventPosition : EventMotion;
        Number(4, x);
        Number(8, y);
        Number(12, wheel);
        Send();
    }

    private void SendKey(uint code, bool isPressed)
    {
        Array.Clear(_event);
        _event[0] = EventKey;
        _event[1] = isPressed ? (byte)1 : (byte)0;
        Number(4, (int)code);
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
