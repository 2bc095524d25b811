using System;
using XenDM.Core.State;

namespace XenDM.Devices.Input;

/// <summary>
/// A 102-key PS/2 keyboard (id ab 83) with scan code sets 1, 2 and 3; a part of <see cref="I8042"/>. Specification: IBM PS/2 Hardware Interface
/// Technical Reference, Keyboards (101- and 102-key).
/// Deviations: the typematic rate is kept and answered, but the repeats of a key are those that the source of events sends. The gray keys
/// never send the shift codes that undo NumLock.
/// </summary>
public sealed class Ps2Keyboard : IStateful
{
    private const byte Ack = 0xfa;
    private const byte Resend = 0xfe;
    private const byte SelfTestPassed = 0xaa;
    private const byte Echo = 0xee;
    private const byte Break = 0xf0;
    private const byte DefaultRate = 0x2b;
    private const byte NoCommand = 0;
    private const int QueueBytes = 128;

    /// <summary>The longest that one event sends.</summary>
    private const int MaxSequence = 8;

    private const byte KeyTypematic = 1;
    private const byte KeyBreaks = 2;
    private const int SetThreeCodes = 0x90;

    private readonly Action _ready;
    private readonly Ps2Queue _queue = new(QueueBytes);

    /// <summary>How each key behaves in set 3.</summary>
    private readonly byte[] _keyTypes = new byte[SetThreeCodes];
    private byte _pendingCommand;
    private byte _lastSent;
    private byte _leds;
    private byte _rate;
    private byte _set;
    private bool _scanning;
    private bool _altDown;
    private bool _overrun;

    /// <param name="ready">Called when the queue is no longer empty.</param>
    internal Ps2Keyboard(Action ready)
    {
        _ready = ready;
        Reset();
    }

    /// <summary>Scroll lock, num lock and caps lock in bits 0 to 2, as the guest set them.</summary>
    public int Leds => _leds;

    /// <summary>Called when the guest switches the LEDs.</summary>
    [Glue("set up by whoever shows the LEDs")]
    public Action<int>? LedsChanged { get; set; }

    /// <summary>Bytes wait for the guest: whoever types a lot sends the next key when it has taken them.</summary>
    public bool HasData => !_queue.IsEmpty;

    /// <summary>A key goes down, is repeated, or goes up.</summary>
    /// <param name="key">Set 1 code (1 to 0x7f), with e0 in the high byte for keys with that prefix, or <see cref="ScanCodes.Pause"/>. Others are ignored.</param>
    public void KeyEvent(ushort key, bool down)
    {
        if (key is 0x38 or 0xe038) _altDown = down;
        if (key == ScanCodes.PrintScreen && _altDown) key = ScanCodes.SysRq;
        var code = (byte)key;
        if (!_scanning || code is 0 or >= 0x80 || (key >> 8) is not (0 or 0xe0 or 0xe1) || ((key >> 8) == 0xe1 && key != ScanCodes.Pause)) return;
        if (_queue.DataRoom < MaxSequence + 1)
        {
            // One overrun mark ends a full queue: 00 in sets 2 and 3, ff in set 1.
            if (!_overrun) _queue.Add(_set == 1 ? (byte)0xff : (byte)0x00);
            _overrun = true;
            return;
        }

        _overrun = false;
        if (_set == 3) SendSetThree(key, down);
        else if (key == ScanCodes.Pause) SendPause(down);
        else if (_set == 2) SendSetTwo(key >> 8 == 0xe0, ScanCodes.SetTwo(code), down);
        else SendSetOne(key >> 8 == 0xe0, code, down);
        if (!_queue.IsEmpty) _ready();
    }

    private void SendSetOne(bool extended, byte code, bool down)
    {
        if (extended) _queue.Add(0xe0);
        _queue.Add(down ? code : (byte)(code | 0x80));
    }

    private void SendSetTwo(bool extended, byte code, bool down)
    {
        if (code == 0) return;
        if (extended) _queue.Add(0xe0);
        if (!down) _queue.Add(Break);
        _queue.Add(code);
    }

    /// <summary>Pause sends make and break at once when it goes down, and nothing when it goes up.</summary>
    private void SendPause(bool down)
    {
        if (!down) return;
        ReadOnlySpan<byte> bytes = _set == 1 ? [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5] : [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77];
        foreach (var value in bytes) _queue.Add(value);
    }

    private void SendSetThree(ushort key, bool down)
    {
        var code = ScanCodes.SetThree(key);
        if (code == 0 || (!down && (_keyTypes[code] & KeyBreaks) == 0)) return;
        if (!down) _queue.Add(Break);
        _queue.Add(code);
    }

    /// <summary>The next byte for the controller; only while <see cref="HasData"/>.</summary>
    internal byte Take()
    {
        _lastSent = _queue.Take();
        return _lastSent;
    }

    /// <summary>A byte from the host: a command, or what the command before asks for.</summary>
    internal void Write(byte value)
    {
        // An argument with bit 7 set is a new command, whatever came before.
        var command = _pendingCommand;
        _pendingCommand = NoCommand;
        if (command != NoCommand && (value < 0x80 || (command >= 0xfb && value < SetThreeCodes))) Argument(command, value);
        else Command(value);
        if (!_queue.IsEmpty) _ready();
    }

    private void Command(byte value)
    {
        switch (value)
        {
            case 0xed or 0xf0 or 0xf3 or 0xfb or 0xfc or 0xfd:
                _pendingCommand = value;
                _queue.Answer(Ack);
                break;
            case 0xee:
                _queue.Answer(Echo);
                break;
            case 0xf2:
                _queue.Answer(Ack);
                _queue.Answer(0xab);
                _queue.Answer(0x83);
                break;
            case 0xf4:
                _queue.ClearData();
                _scanning = true;
                _queue.Answer(Ack);
                break;
            case 0xf5 or 0xf6:
                SetDefaults();
                _scanning = value == 0xf6;
                _queue.Answer(Ack);
                break;
            case 0xf7:
                SetAllKeys(KeyTypematic);
                break;
            case 0xf8:
                SetAllKeys(KeyBreaks);
                break;
            case 0xf9:
                SetAllKeys(0);
                break;
            case 0xfa:
                SetAllKeys(KeyTypematic | KeyBreaks);
                break;
            case 0xfe:
                _queue.Answer(_lastSent);
                break;
            case 0xff:
                Reset();
                _queue.Answer(Ack);
                _queue.Answer(SelfTestPassed);
                break;
            default:
                _queue.Answer(Resend);
                break;
        }
    }

    private void Argument(byte command, byte value)
    {
        switch (command)
        {
            case 0xed:
                _leds = (byte)(value & 7);
                LedsChanged?.Invoke(_leds);
                break;
            case 0xf0 when value == 0:
                _queue.Answer(Ack);
                _queue.Answer(_set);
                return;
            case 0xf0 when value <= 3:
                _set = value;
                _queue.ClearData();
                break;
            case 0xf0:
                _queue.Answer(Resend);
                return;
            case 0xf3:
                _rate = value;
                break;
            case 0xfb or 0xfc or 0xfd:
                // Any number of keys may follow, up to the next command.
                _keyTypes[value % SetThreeCodes] = command switch { 0xfb => KeyTypematic, 0xfc => KeyBreaks, _ => 0 };
                _pendingCommand = command;
                break;
        }

        _queue.Answer(Ack);
    }

    private void SetAllKeys(byte type)
    {
        _keyTypes.AsSpan().Fill(type);
        _queue.ClearData();
        _queue.Answer(Ack);
    }

    private void SetDefaults()
    {
        _queue.ClearData();
        _rate = DefaultRate;
        _set = 2;
        _keyTypes.AsSpan().Fill(KeyTypematic);

        // Both shifts, left control, left alt and caps lock report their release.
        foreach (var code in (ReadOnlySpan<byte>)[0x11, 0x12, 0x14, 0x19, 0x59]) _keyTypes[code] = KeyBreaks;
    }

    internal void Reset()
    {
        _queue.Clear();
        SetDefaults();
        _scanning = true;
        _pendingCommand = NoCommand;
        _altDown = _overrun = false;
        if (_leds != 0) LedsChanged?.Invoke(0);
        _leds = 0;
    }

    /// <summary>Power on: also what a reset command leaves alone.</summary>
    internal void PowerOn()
    {
        Reset();
        _lastSent = 0;
    }

    public void State(StateVisitor s)
    {
        s.Child("queue", _queue);
        s.U8("command", ref _pendingCommand);
        s.U8("last-sent", ref _lastSent);
        s.U8("leds", ref _leds);
        s.U8("rate", ref _rate);
        s.U8("set", ref _set);
        s.Bool("scanning", ref _scanning);
        s.Bool("alt", ref _altDown);
        s.Bool("overrun", ref _overrun);
        s.Bytes("key-types", _keyTypes);
        if (s.IsLoading && _set is < 1 or > 3) s.Fail("set", $"{_set} is no scan code set");
    }
}
