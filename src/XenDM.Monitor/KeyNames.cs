using System;
using System.Collections.Generic;
using System.Globalization;

namespace XenDM.Monitor;

/// <summary>QEMU's names of keys (QKeyCode of qapi/ui.json) and its numbers, for keys as <see cref="Core.Input.IKeyboard"/> numbers them.</summary>
public static class KeyNames
{
    private const ushort Extended = 0xe000, Pause = 0xe11d;
    private const byte ExtendedNumber = 0x80, PauseNumber = 0xc6;

    /// <summary>The keys with set 1 codes 01 to 58, in their order; a dot for a code that no key has.</summary>
    private const string Main = """
        esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl a s d f g h j k l semicolon apostrophe
        grave_accent shift backslash z x c v b n m comma dot slash shift_r kp_multiply alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock
        kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq f16 less f11 f12
        """;

    private static readonly Dictionary<string, ushort> s_keys = Make();

    /// <summary>All names.</summary>
    public static IReadOnlyCollection<string> All => s_keys.Keys;

    public static bool TryGet(string name, out ushort key) => s_keys.TryGetValue(name, out key);

    /// <param name="number">A set 1 code, with bit 7 set where that has the prefix e0; c6 is Pause.</param>
    public static bool TryGet(long number, out ushort key)
    {
        key = number switch
        {
            PauseNumber => Pause,
            > ExtendedNumber and <= 0xff => (ushort)(Extended | (number & 0x7f)),
            > 0 and < ExtendedNumber => (ushort)number,
            _ => 0,
        };
        return key != 0;
    }

    /// <summary>A combination as <c>sendkey</c> takes it: names, or numbers with 0x, with hyphens between them.</summary>
    /// <returns>What is no key; null when all are.</returns>
    public static string? TryParse(string text, List<ushort> keys)
    {
        foreach (var word in text.Split('-'))
        {
            if (word.StartsWith("0x", StringComparison.OrdinalIgnoreCase) && long.TryParse(word.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number) && TryGet(number, out var key)) keys.Add(key);
            else if (TryGet(word == "<" ? "less" : word, out key)) keys.Add(key);
            else return word;
        }

        return null;
    }

    private static Dictionary<string, ushort> Make()
    {
        var keys = new Dictionary<string, ushort>(StringComparer.Ordinal);
        (string Name, ushort Code)[] plain =
        [
            ("asterisk", 0x37), ("kp_equals", 0x59), ("f20", 0x5a), ("lf", 0x5b), ("f13", 0x5d), ("f14", 0x5e), ("f15", 0x5f), ("open", 0x64),
            ("paste", 0x65), ("f23", 0x6d), ("f24", 0x6f), ("katakanahiragana", 0x70), ("lang2", 0x71), ("lang1", 0x72), ("ro", 0x73), ("f21", 0x74),
            ("hiragana", 0x77), ("henkan", 0x79), ("muhenkan", 0x7b), ("yen", 0x7d), ("kp_comma", 0x7e), ("pause", Pause),
        ];
        (string Name, byte Code)[] extended =
        [
            ("f17", 0x03), ("f19", 0x04), ("again", 0x05), ("props", 0x06), ("undo", 0x07), ("front", 0x0c), ("audioprev", 0x10), ("audionext", 0x19), ("kp_enter", 0x1c), ("ctrl_r", 0x1d),
            ("menu", 0x1e), ("audiomute", 0x20), ("calculator", 0x21), ("audioplay", 0x22), ("audiostop", 0x24), ("volumedown", 0x2e), ("volumeup", 0x30), ("ac_home", 0x32),
            ("kp_divide", 0x35), ("print", 0x37), ("alt_r", 0x38), ("cut", 0x3c), ("find", 0x41), ("home", 0x47), ("up", 0x48), ("pgup", 0x49), ("left", 0x4b), ("right", 0x4d), ("end", 0x4f),
            ("down", 0x50), ("pgdn", 0x51), ("insert", 0x52), ("delete", 0x53), ("meta_l", 0x5b), ("meta_r", 0x5c), ("compose", 0x5d), ("power", 0x5e), ("sleep", 0x5f), ("wake", 0x63),
            ("ac_bookmarks", 0x66), ("ac_refresh", 0x67), ("stop", 0x68), ("ac_forward", 0x69), ("ac_back", 0x6a), ("computer", 0x6b), ("mail", 0x6c), ("mediaselect", 0x6d),
            ("help", 0x75), ("f18", 0x77), ("copy", 0x78), ("f22", 0x79),
        ];
        var names = Main.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        for (var n = 0; n < names.Length; n++) keys[names[n]] = (ushort)(n + 1);
        foreach (var (name, code) in plain) keys[name] = code;
        foreach (var (name, code) in extended) keys[name] = (ushort)(Extended | code);
        return keys;
    }
}
