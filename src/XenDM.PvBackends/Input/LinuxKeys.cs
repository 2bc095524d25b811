using System;

namespace XenDM.PvBackends.Input;

/// <summary>Key codes of Linux (linux/input-event-codes.h), which the PV keyboard's protocol uses, by set 1 scan codes.</summary>
internal static class LinuxKeys
{
    /// <summary>Scan codes of keys that do not repeat.</summary>
    public const byte Control = 0x1d, LeftShift = 0x2a, RightShift = 0x36, Alt = 0x38, CapsLock = 0x3a;

    private const ushort Pause = 0xe11d;
    private const ushort PauseCode = 119;

    /// <summary>Linux took its first numbers from the scan codes.</summary>
    private const int SameUpTo = 0x4f;

    /// <summary>Set 1 codes from 50 on: the keys beside the keypad, F13 to F24 and those of Japanese, Korean and Brazilian keyboards.</summary>
    private static ReadOnlySpan<byte> High =>
    [
        80, 81, 82, 83, 99, 186, 86, 87, 88, 117, 190, 0, 95, 183, 184, 185,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 193, 0, 194,
        93, 123, 122, 89, 191, 0, 85, 91, 90, 92, 0, 94, 0, 124, 121, 0,
    ];

    /// <summary>Set 1 codes with e0 before them.</summary>
    private static ReadOnlySpan<byte> Extended =>
    [
        0, 0, 150, 187, 189, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        165, 0, 0, 0, 0, 0, 0, 0, 0, 163, 0, 0, 96, 97, 0, 0,
        113, 140, 164, 0, 166, 0, 0, 0, 0, 0, 0, 0, 0, 0, 114, 0,
        115, 0, 172, 0, 0, 98, 0, 99, 100, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 119, 102, 103, 104, 0, 105, 0, 106, 0, 107,
        108, 109, 110, 111, 0, 0, 0, 0, 0, 0, 0, 125, 126, 127, 116, 142,
        0, 0, 0, 143, 0, 217, 156, 173, 128, 159, 158, 157, 155, 226, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 188, 0, 192, 0, 0, 0, 0, 0, 0,
    ];

    /// <summary>0 where Linux has none.</summary>
    public static uint Code(ushort key) => (key >> 8, (byte)key) switch
    {
        (0, <= SameUpTo) => key,
        (0, < 0x80) => High[key - 0x50],
        (0xe0, < 0x80) => Extended[(byte)key],
        _ => key == Pause ? PauseCode : 0u,
    };
}
