using System.Collections.Generic;

namespace XenDM.Vnc.Keymaps;

/// <summary>Keysyms (X11/keysymdef.h, XF86keysym.h) that are on the same key in all layouts, as set 1 codes.</summary>
internal static class CommonKeys
{
    private const int KeypadDigits = 0xffb0, FirstFunctionKey = 0xffbe;

    /// <summary>The keys of the keypad's digits 0 to 9.</summary>
    private static readonly byte[] s_digits = [0x52, 0x4f, 0x50, 0x51, 0x4b, 0x4c, 0x4d, 0x47, 0x48, 0x49];

    /// <summary>F1 to F24.</summary>
    private static readonly byte[] s_function =
        [0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x57, 0x58, 0x5d, 0x5e, 0x5f, 0x55, 0, 0, 0, 0x5a, 0x74, 0, 0x6d, 0x6f];

    public static readonly Dictionary<uint, KeymapEntry> Table = Make();

    private static Dictionary<uint, KeymapEntry> Make()
    {
        (uint Keysym, ushort Key)[] keys =
        [
            // Backspace, Tab, Linefeed, Clear, Return, Escape, Delete.
            (0xff08, 0x0e), (0xff09, 0x0f), (0xff0a, 0x1c), (0xff0b, 0x4c), (0xff0d, 0x1c), (0xff1b, 0x01), (0xffff, 0xe053), (0xfe20, 0x0f),

            // Home, left, up, right, down, page up and down, End, Begin, Insert.
            (0xff50, 0xe047), (0xff51, 0xe04b), (0xff52, 0xe048), (0xff53, 0xe04d), (0xff54, 0xe050), (0xff55, 0xe049), (0xff56, 0xe051), (0xff57, 0xe04f),
            (0xff58, 0x4c), (0xff63, 0xe052),

            // Pause, Scroll_Lock, Sys_Req, Print, Menu, Break, Num_Lock.
            (0xff13, 0xe11d), (0xff14, 0x46), (0xff15, 0xe037), (0xff61, 0xe037), (0xff67, 0xe05d), (0xff6b, 0xe11d), (0xff7f, 0x45),

            // Shift, Control, Caps_Lock, Meta, Alt, Super, Hyper; ISO_Level3_Shift and Mode_switch are AltGr.
            (0xffe1, 0x2a), (0xffe2, 0x36), (0xffe3, 0x1d), (0xffe4, 0xe01d), (0xffe5, 0x3a), (0xffe7, 0x38), (0xffe8, 0xe038), (0xffe9, 0x38), (0xffea, 0xe038),
            (0xffeb, 0xe05b), (0xffec, 0xe05c), (0xffed, 0xe05b), (0xffee, 0xe05c), (0xfe03, 0xe038), (0xff7e, 0xe038),

            // The keypad but for its digits: space, Tab, Enter, equals, asterisk, plus, comma of Brazil, minus, slash.
            (0xff80, 0x39), (0xff89, 0x0f), (0xff8d, 0xe01c), (0xffbd, 0x59), (0xffaa, 0x37), (0xffab, 0x4e), (0xffad, 0x4a), (0xffaf, 0xe035),

            // Korea: Hangul, Hanja. Japan: Muhenkan, Henkan, Hiragana_Katakana and the like, Zenkaku_Hankaku, Eisu_toggle.
            (0xff31, 0x72), (0xff34, 0x71), (0xff22, 0x7b), (0xff23, 0x79), (0xff24, 0x70), (0xff25, 0x70), (0xff26, 0x70), (0xff27, 0x70), (0xff2a, 0x29), (0xff30, 0x3a),

            // Mute, volume, play, stop, previous, next, home page, mail, search, calculator, back, forward, refresh, sleep, favourites, media.
            (0x1008ff12, 0xe020), (0x1008ff11, 0xe02e), (0x1008ff13, 0xe030), (0x1008ff14, 0xe022), (0x1008ff15, 0xe024), (0x1008ff16, 0xe010), (0x1008ff17, 0xe019),
            (0x1008ff18, 0xe032), (0x1008ff19, 0xe06c), (0x1008ff1b, 0xe065), (0x1008ff1d, 0xe021), (0x1008ff26, 0xe06a), (0x1008ff27, 0xe069), (0x1008ff29, 0xe067),
            (0x1008ff2f, 0xe05f), (0x1008ff30, 0xe066), (0x1008ff32, 0xe06d), (0x1008ff33, 0xe06b),
        ];
        var table = new Dictionary<uint, KeymapEntry>();
        foreach (var (keysym, key) in keys) table[keysym] = new KeymapEntry(key, KeyNeeds.Anything);
        for (var n = 0; n < s_digits.Length; n++) table[(uint)(KeypadDigits + n)] = new KeymapEntry(s_digits[n], KeyNeeds.Anything | KeyNeeds.NumLock);
        for (var n = 0; n < s_function.Length; n++)
            if (s_function[n] != 0) table[(uint)(FirstFunctionKey + n)] = new KeymapEntry(s_function[n], KeyNeeds.Anything);

        // Separator and decimal point; then Home, left, up, right, down, page up, page down, End, Begin, Insert, Delete on the keypad.
        table[0xffac] = table[0xffae] = new KeymapEntry(0x53, KeyNeeds.Anything | KeyNeeds.NumLock);
        byte[] directions = [0x47, 0x4b, 0x48, 0x4d, 0x50, 0x49, 0x51, 0x4f, 0x4c, 0x52, 0x53];
        for (var n = 0; n < directions.Length; n++) table[(uint)(0xff95 + n)] = new KeymapEntry(directions[n], KeyNeeds.Anything | KeyNeeds.NoNumLock);
        return table;
    }
}
