using System;

namespace XenDM.Display;

/// <summary>What a <see cref="KeyTranslator"/> finds in the bytes from a terminal.</summary>
internal interface IKeySink
{
    /// <param name="key">Set 1 code, with e0 in the high byte where the key has that prefix.</param>
    void Key(ushort key, bool down);

    /// <summary>The first key of the menu came; the next character chooses.</summary>
    void MenuOpened();

    /// <summary>A character after the menu's key; <c>\u001b</c> for one that closes the menu and does nothing.</summary>
    void MenuChosen(char choice);
}

/// <summary>
/// Turns what a terminal sends into presses of a US keyboard: characters with Shift and Ctrl, Alt as a leading ESC, and the sequences of xterm,
/// VT220, rxvt and the Linux console for keys without a character. Characters that a US keyboard does not have are left out.
/// </summary>
internal sealed class KeyTranslator
{
    /// <summary>Ctrl-A, which opens the menu.</summary>
    public const byte MenuByte = 0x01;

    private const byte Escape = 0x1b;
    private const ushort Shift = 0x2a;
    private const ushort Control = 0x1d;
    private const ushort Alt = 0x38;
    private const ushort EscapeKey = 0x01;
    private const ushort Backspace = 0x0e;
    private const ushort Tab = 0x0f;
    private const ushort Enter = 0x1c;
    private const ushort Home = 0xe047;
    private const ushort Up = 0xe048;
    private const ushort PageUp = 0xe049;
    private const ushort Left = 0xe04b;
    private const ushort Right = 0xe04d;
    private const ushort End = 0xe04f;
    private const ushort Down = 0xe050;
    private const ushort PageDown = 0xe051;
    private const ushort Insert = 0xe052;
    private const ushort Delete = 0xe053;

    /// <summary>The characters of the keys from code 2 on, without and with Shift; a blank where the key has none.</summary>
    private const string Plain = "1234567890-=  qwertyuiop[]  asdfghjkl;'` \\zxcvbnm,./";
    private const string Shifted = "!@#$%^&*()_+  QWERTYUIOP{}  ASDFGHJKL:\"~ |ZXCVBNM<>?";
    private const int FirstKey = 2;
    private const ushort Space = 0x39;

    /// <summary>F1 to F12.</summary>
    private static ReadOnlySpan<byte> FunctionKeys => [0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x57, 0x58];

    [Flags]
    private enum Modifiers
    {
        None = 0,

        // As xterm numbers them in its sequences, less one.
        Shift = 1,
        Alt = 2,
        Control = 4,
    }

    private enum State
    {
        Ground,
        Menu,
        Escape,

        /// <summary>ESC O: a function key or keypad key.</summary>
        Single,

        /// <summary>ESC [ and numbers.</summary>
        Sequence,

        /// <summary>ESC [ [: F1 to F5 of the Linux console.</summary>
        Console,
    }

    private readonly IKeySink _sink;
    private State _state;
    private int _first;
    private int _second;
    private bool _inSecond;
    private bool _isEmpty;

    public KeyTranslator(IKeySink sink) => _sink = sink;

    /// <summary>A sequence has begun and may go on: after a while without bytes, <see cref="Flush"/> ends it.</summary>
    public bool IsWaiting => _state is not (State.Ground or State.Menu);

    public void Feed(ReadOnlySpan<byte> bytes)
    {
        foreach (var value in bytes) Feed(value);
    }

    /// <summary>Nothing followed: what looked like the beginning of a sequence was the keys themselves.</summary>
    public void Flush()
    {
        var state = _state;
        if (!IsWaiting) return;
        _state = State.Ground;
        if (state == State.Escape) Press(EscapeKey, Modifiers.None);
        else if (state == State.Single) Character((byte)'O', Modifiers.Alt);
        else if (state == State.Sequence && _isEmpty) Character((byte)'[', Modifiers.Alt);
    }

    private void Feed(byte value)
    {
        var state = _state;
        _state = State.Ground;
        switch (state)
        {
            case State.Menu:
                if (value is MenuByte or (byte)'a') Press(KeyOf('a', out _), Modifiers.Control);
                _sink.MenuChosen(value is > (byte)' ' and < 0x7f and not (byte)'a' ? (char)value : (char)Escape);
                break;
            case State.Escape: AfterEscape(value); break;
            case State.Single: Final(value, Modifiers.None); break;
            case State.Sequence: InSequence(value); break;
            case State.Console:
                if (value is >= (byte)'A' and <= (byte)'E') Press(FunctionKeys[value - 'A'], Modifiers.None);
                break;
            default: Ground(value); break;
        }
    }

    private void Ground(byte value)
    {
        if (value == MenuByte)
        {
            _state = State.Menu;
            _sink.MenuOpened();
        }
        else if (value == Escape) _state = State.Escape;
        else Character(value, Modifiers.None);
    }

    private void AfterEscape(byte value)
    {
        switch (value)
        {
            case Escape:
                Press(EscapeKey, Modifiers.None);
                _state = State.Escape;
                break;
            case (byte)'O':
                _state = State.Single;
                break;
            case (byte)'[':
                _state = State.Sequence;
                (_first, _second, _inSecond, _isEmpty) = (0, 0, false, true);
                break;
            default:
                Character(value, Modifiers.Alt);
                break;
        }
    }

    private void InSequence(byte value)
    {
        _state = State.Sequence;
        var wasEmpty = _isEmpty;
        _isEmpty = false;
        switch (value)
        {
            case >= (byte)'0' and <= (byte)'9':
                ref var number = ref _inSecond ? ref _second : ref _first;
                number = Math.Min(1000, (number * 10) + value - '0');
                break;
            case (byte)';':
                _inSecond = true;
                break;
            case (byte)'[' when wasEmpty:
                _state = State.Console;
                break;
            case Escape:
                _state = State.Escape;
                break;
            case >= 0x40 and <= 0x7e:
                _state = State.Ground;
                Final(value, (Modifiers)(Math.Max(0, _second - 1) & 7));
                break;
            case < 0x20 or > 0x7e:
                _state = State.Ground;
                break;
        }
    }

    /// <summary>The last byte of a sequence says which key it was.</summary>
    private void Final(byte value, Modifiers modifiers)
    {
        var key = (char)value switch
        {
            'A' => Up,
            'B' => Down,
            'C' => Right,
            'D' => Left,
            'H' => Home,
            'F' => End,
            'M' => Enter,
            'Z' => Tab,
            >= 'P' and <= 'S' => FunctionKeys[value - 'P'],
            '~' => Numbered(_first),
            _ => (ushort)0,
        };
        if (key != 0) Press(key, value == 'Z' ? modifiers | Modifiers.Shift : modifiers);
    }

    /// <summary>VT220's numbers have gaps after F5 and F10.</summary>
    private static ushort Numbered(int number) => number switch
    {
        1 or 7 => Home,
        2 => Insert,
        3 => Delete,
        4 or 8 => End,
        5 => PageUp,
        6 => PageDown,
        >= 11 and <= 15 => FunctionKeys[number - 11],
        >= 17 and <= 21 => FunctionKeys[number - 12],
        23 or 24 => FunctionKeys[number - 13],
        _ => 0,
    };

    private void Character(byte value, Modifiers modifiers)
    {
        switch (value)
        {
            case 0x08 or 0x7f: Press(Backspace, modifiers); break;
            case 0x09: Press(Tab, modifiers); break;
            case 0x0a or 0x0d: Press(Enter, modifiers); break;
            case 0x00: Press(Space, modifiers | Modifiers.Control); break;
            case Escape: Press(EscapeKey, modifiers); break;
            case < 0x1b: Press(KeyOf((char)(value + 'a' - 1), out _), modifiers | Modifiers.Control); break;

            // Ctrl with \ ] 6 and -.
            case < 0x20: Press(KeyOf("\\]6-"[value - 0x1c], out _), modifiers | Modifiers.Control); break;
            case < 0x7f:
                var key = KeyOf((char)value, out var shift);
                Press(key, shift ? modifiers | Modifiers.Shift : modifiers);
                break;
        }
    }

    private static ushort KeyOf(char character, out bool shift)
    {
        shift = false;
        if (character == ' ') return Space;
        var at = Plain.IndexOf(character, StringComparison.Ordinal);
        if (at < 0)
        {
            at = Shifted.IndexOf(character, StringComparison.Ordinal);
            shift = true;
        }

        return (ushort)(at + FirstKey);
    }

    private void Press(ushort key, Modifiers modifiers)
    {
        if ((modifiers & Modifiers.Control) != 0) _sink.Key(Control, true);
        if ((modifiers & Modifiers.Alt) != 0) _sink.Key(Alt, true);
        if ((modifiers & Modifiers.Shift) != 0) _sink.Key(Shift, true);
        _sink.Key(key, true);
        _sink.Key(key, false);
        if ((modifiers & Modifiers.Shift) != 0) _sink.Key(Shift, false);
        if ((modifiers & Modifiers.Alt) != 0) _sink.Key(Alt, false);
        if ((modifiers & Modifiers.Control) != 0) _sink.Key(Control, false);
    }
}
