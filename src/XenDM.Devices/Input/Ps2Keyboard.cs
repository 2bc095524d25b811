using System;
using XenDM.Core.Input;
using XenDM.Core.State;
using XenDM.Core.Time;

namespace XenDM.Devices.Input;

/// <summary>
/// A 102-key PS/2 keyboard (id ab 83) with scan code sets 1, 2 and 3; a part of <see cref="I8042"/>. Specification: IBM PS/2 Hardware Interface
/// Technical Reference, Keyboards (101- and 102-key).
/// Deviations: a reset command's self test takes no time, and power on sends no result of it. The buffer holds more than 16 bytes. The gray keys never
/// send the shift codes that undo NumLock.
/// </summary>
public sealed class Ps2Keyboard : IStateful, IKeyboard
{
    private const byte Ack = 0xfa;
    private const byte Resend = 0xfe;
    private const byte SelfTestPassed = 0xaa;
    private const byte Echo = 0xee;
    private const byte Break = 0xf0;
    private const byte NoCommand = 0;
    private const int QueueBytes = 128;

    /// <summary>The longest that one event sends.</summary>
    private const int MaxSequence = 8;

    /// <summary>Half a second to the first repeat, then 10.9 a second.</summary>
    private const byte DefaultRate = 0x2b;
    private const long DelayUnit = 250_000_000;
    private const long PeriodUnit = 4_170_000;

    private const byte KeyTypematic = 1;
    private const byte KeyBreaks = 2;
    private const int SetThreeCodes = 0x90;

    /// <summary>Keys by their set 1 code, those with e0 from 0x80 on, then Pause.</summary>
    private const int DownKeys = 0x108;
    private const int PauseIndex = 0x100;
    private const int ExtendedKey = 0x80;
    private const int Control = 0x1d, LeftShift = 0x2a, RightShift = 0x36, Alt = 0x38;

    /// <summary>Set 3: both shifts, left control, left alt and caps lock report their release and do not repeat.</summary>
    private static ReadOnlySpan<byte> MakeBreakKeys => [0x11, 0x12, 0x14, 0x19, 0x59];

    /// <summary>Set 3: Esc, the function keys, the keypad, and what lies between that and the letters, but for Delete and the arrows, only report that they went down.</summary>
    private static ReadOnlySpan<byte> MakeOnlyKeys =>
    [
        0x07, 0x08, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x39, 0x3f, 0x47, 0x4f, 0x56, 0x57, 0x58, 0x5e, 0x5f, 0x62, 0x65, 0x67, 0x69, 0x6b, 0x6c, 0x6d,
        0x6e, 0x6f, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x79, 0x7a, 0x7d, 0x7e, 0x84,
    ];

    /// <summary>What Print Screen sent when it went down, which decides what it sends when it goes up.</summary>
    private enum PrintForm : byte
    {
        /// <summary>With a shift code before it, for it is the asterisk of the 84-key keyboard.</summary>
        Shifted,

        /// <summary>A shift or control is down already.</summary>
        Plain,

        /// <summary>Alt is down.</summary>
        SysRq,
    }

    private readonly Action _ready;
    private readonly VmTimer _repeat;
    private readonly Ps2Queue _queue = new(QueueBytes);

    /// <summary>How each key behaves in set 3.</summary>
    private readonly byte[] _keyTypes = new byte[SetThreeCodes];

    /// <summary>A bit for each key that is down.</summary>
    private readonly byte[] _down = new byte[DownKeys / 8];
    private PrintForm _printForm;
    private ushort _lastKey;
    private byte _pendingCommand;
    private byte _lastSent;
    private byte _leds;
    private byte _rate;
    private byte _set;
    private bool _scanning;
    private bool _overrun;

    /// <param name="ready">Called when the queue is no longer empty.</param>
    internal Ps2Keyboard(IVmClock clock, Action ready)
    {
        _ready = ready;
        _repeat = clock.CreateTimer("i8042.typematic", Repeat);
        Reset();
    }

    /// <summary>There is one at every PC; what its driver does not want is lost there.</summary>
    public bool IsActive => true;

    /// <summary>As the guest set them.</summary>
    public KeyboardLeds Leds => (KeyboardLeds)_leds;

    KeyboardLeds? IKeyboard.Leds => Leds;

    /// <summary>Called when the guest switches the LEDs.</summary>
    [Glue("set up by whoever shows the LEDs")]
    public Action? LedsChanged { get; set; }

    /// <summary>Bytes wait for the guest: whoever types a lot sends the next key when it has taken them.</summary>
    public bool HasData => !_queue.IsEmpty;

    /// <summary>A key goes down or up. Holding it repeats it as the guest has set up; another "down" does not.</summary>
    /// <param name="key">Set 1 code (1 to 0x7f), with e0 in the high byte for keys with that prefix, or <see cref="ScanCodes.Pause"/>. Others are ignored.</param>
    public void Key(ushort key, bool down)
    {
        if ((byte)key is 0 or >= 0x80 || (key >> 8) is not (0 or 0xe0 or 0xe1) || ((key >> 8) == 0xe1 && key != ScanCodes.Pause)) return;
        var index = (key >> 8) switch { 0 => key, 0xe0 => ExtendedKey + (byte)key, _ => PauseIndex };
        if (down && IsDown(index)) return;
        if (down) _down[index >> 3] |= (byte)(1 << (index & 7));
        else _down[index >> 3] &= (byte)~(1 << (index & 7));
        if (!_scanning) return;
        if (down)
        {
            // Of several keys that are held the last one repeats.
            _lastKey = key;
            if (Repeats(key)) _repeat.ArmAfter(((_rate >> 5 & 3) + 1) * DelayUnit);
            else _repeat.Cancel();
        }
        else if (key == _lastKey) StopRepeating();

        if (_queue.DataRoom < MaxSequence + 1)
        {
            // One overrun mark ends a full queue: 00 in sets 2 and 3, ff in set 1.
            if (!_overrun) _queue.Add(_set == 1 ? (byte)0xff : (byte)0x00);
            _overrun = true;
            return;
        }

        _overrun = false;
        Send(key, down, isRepeat: false);
    }

    private bool IsDown(int index) => (_down[index >> 3] >> (index & 7) & 1) != 0;

    private bool IsEitherDown(int left, int right) => IsDown(left) || IsDown(right);

    private bool Repeats(ushort key) => _set == 3 ? (_keyTypes[ScanCodes.SetThree(key)] & KeyTypematic) != 0 : key != ScanCodes.Pause;

    private void StopRepeating()
    {
        _lastKey = 0;
        _repeat.Cancel();
    }

    /// <summary>The last key is still down. While the host does not read, nothing is added, so that holding a key does not fill the buffer.</summary>
    private void Repeat()
    {
        _repeat.ArmAfter((8 + (_rate & 7)) * (1L << (_rate >> 3 & 3)) * PeriodUnit);
        if (_scanning && _queue.IsEmpty && _pendingCommand == NoCommand && Repeats(_lastKey)) Send(_lastKey, down: true, isRepeat: true);
    }

    private void Send(ushort key, bool down, bool isRepeat)
    {
        if (_set == 3) SendSetThree(key, down);
        else if (key == ScanCodes.Pause) SendPause(down);
        else if (key == ScanCodes.PrintScreen) SendPrintScreen(down, isRepeat);
        else SendCode(key >> 8 == 0xe0, (byte)key, down);
        if (!_queue.IsEmpty) _ready();
    }

    /// <param name="code">Of set 1.</param>
    private void SendCode(bool extended, byte code, bool down)
    {
        if (_set == 1)
        {
            if (extended) _queue.Add(0xe0);
            _queue.Add(down ? code : (byte)(code | 0x80));
            return;
        }

        code = ScanCodes.SetTwo(code);
        if (code == 0) return;
        if (extended) _queue.Add(0xe0);
        if (!down) _queue.Add(Break);
        _queue.Add(code);
    }

    /// <summary>Pause sends make and break at once when it goes down, and nothing when it goes up. With Control it is Break.</summary>
    private void SendPause(bool down)
    {
        if (!down) return;
        ReadOnlySpan<byte> bytes = (_set, IsEitherDown(Control, ExtendedKey + Control)) switch
        {
            (1, false) => [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
            (1, true) => [0xe0, 0x46, 0xe0, 0xc6],
            (_, false) => [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77],
            (_, true) => [0xe0, 0x7e, 0xe0, 0xf0, 0x7e],
        };
        foreach (var value in bytes) _queue.Add(value);
    }

    private void SendPrintScreen(bool down, bool isRepeat)
    {
        if (down && !isRepeat)
        {
            var isPlain = IsEitherDown(LeftShift, RightShift) || IsEitherDown(Control, ExtendedKey + Control);
            _printForm = IsEitherDown(Alt, ExtendedKey + Alt) ? PrintForm.SysRq : isPlain ? PrintForm.Plain : PrintForm.Shifted;
        }

        if (_printForm == PrintForm.SysRq)
        {
            SendCode(extended: false, ScanCodes.SysRq, down);
            return;
        }

        var shift = _printForm == PrintForm.Shifted && !isRepeat;
        if (shift && down) SendCode(extended: true, LeftShift, down: true);
        SendCode(extended: true, unchecked((byte)ScanCodes.PrintScreen), down);
        if (shift && !down) SendCode(extended: true, LeftShift, down: false);
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
        var value = _queue.Take();
        if (value != Resend) _lastSent = value;
        return value;
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
                StopRepeating();
                _scanning = true;
                _queue.Answer(Ack);
                break;
            case 0xf5 or 0xf6:
                // Defaults; the one stops scanning, the other leaves it as it is.
                SetDefaults();
                if (value == 0xf5) _scanning = false;
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
                SetLeds((byte)(value & 7));
                break;
            case 0xf0 when value == 0:
                _queue.Answer(Ack);
                _queue.Answer(_set);
                return;
            case 0xf0 when value <= 3:
                _set = value;
                _queue.ClearData();
                StopRepeating();
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

    private void SetLeds(byte leds)
    {
        if (leds == _leds) return;
        _leds = leds;
        LedsChanged?.Invoke();
    }

    private void SetDefaults()
    {
        _queue.ClearData();
        StopRepeating();
        _rate = DefaultRate;
        _set = 2;
        _keyTypes.AsSpan().Fill(KeyTypematic);
        foreach (var code in MakeBreakKeys) _keyTypes[code] = KeyBreaks;
        foreach (var code in MakeOnlyKeys) _keyTypes[code] = 0;
    }

    /// <summary>The command. Keys that are held stay down: fingers are not reset.</summary>
    internal void Reset()
    {
        _queue.Clear();
        SetDefaults();
        _scanning = true;
        _pendingCommand = NoCommand;
        _overrun = false;
        SetLeds(0);
    }

    /// <summary>Power on: also what a reset command leaves alone.</summary>
    internal void PowerOn()
    {
        Reset();
        _lastSent = 0;
        _printForm = PrintForm.Shifted;
        _down.AsSpan().Clear();
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
        s.Bool("overrun", ref _overrun);
        s.Bytes("key-types", _keyTypes);
        s.Bytes("down", _down, since: 2);
        s.Enum("print-form", ref _printForm, since: 2);
        s.U16("last-key", ref _lastKey, since: 2);
        s.Timer(_repeat, since: 2);
        if (s.IsLoading && _set is < 1 or > 3) s.Fail("set", $"{_set} is no scan code set");
    }
}
