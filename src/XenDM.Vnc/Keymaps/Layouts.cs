using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;

namespace XenDM.Vnc.Keymaps;

/// <summary>
/// What <c>layouts.txt</c> tells: the layouts, the characters of keysyms older than Unicode, and what dead keys do. The file is made by <c>make.py</c> from
/// the data of xkb and lies in the assembly.
/// </summary>
internal static class Layouts
{
    /// <summary>Set in the keysym of a character; the rest is its code point.</summary>
    public const uint Character = 0x0100_0000;
    public const int Levels = 4;

    private const int FirstOld = 0x100, OldKeysyms = 0x2000;

    /// <summary>Rows of keysyms, one for each level, by key.</summary>
    private static readonly Dictionary<string, Dictionary<ushort, uint[]>> s_layouts = new(StringComparer.Ordinal);
    private static readonly Dictionary<uint, (uint Dead, uint Base)> s_composed = [];
    private static readonly uint[] s_characters = new uint[OldKeysyms];
    private static readonly List<string> s_names = [];

    static Layouts()
    {
        using var stream = typeof(Layouts).Assembly.GetManifestResourceStream("layouts.txt") ?? throw new InvalidOperationException("layouts.txt is not in the assembly");
        using var reader = new StreamReader(stream);
        Dictionary<ushort, uint[]>? first = null, rows = null;
        while (reader.ReadLine() is { } line)
        {
            if (line.Length == 0 || line[0] == '#') continue;
            var words = line.Split(' ');
            switch (words[0])
            {
                case "keysyms":
                    var keysym = Number(words[1]) - FirstOld;
                    for (var n = 2; n < words.Length; n++) s_characters[keysym++] = Character | Number(words[n]);
                    break;
                case "compose":
                    s_composed[Character | Number(words[1])] = (Number(words[2]), Character | Number(words[3]));
                    break;
                case "layout":
                    rows = first is null ? [] : new Dictionary<ushort, uint[]>(first);
                    first ??= rows;
                    s_layouts[words[1]] = rows;
                    s_names.Add(words[1]);
                    break;
                default:
                    var row = new uint[Levels];
                    for (var n = 1; n < words.Length; n++) row[n - 1] = Symbol(words[n]);
                    rows![(ushort)Number(words[0])] = row;
                    break;
            }
        }
    }

    /// <summary>Names as <c>-k</c> takes them, the American one first.</summary>
    public static IReadOnlyList<string> Names => s_names;

    /// <returns>Null for an unknown name.</returns>
    public static IReadOnlyDictionary<ushort, uint[]>? Find(string name) => s_layouts.GetValueOrDefault(name);

    /// <summary>The dead key and the other one that give a character.</summary>
    public static bool TryDecompose(uint keysym, out (uint Dead, uint Base) parts) => s_composed.TryGetValue(keysym, out parts);

    /// <summary>One keysym for all that mean the same character, whether Latin-1, of the old kind, or Unicode.</summary>
    public static uint Canonical(uint keysym)
    {
        if (keysym - FirstOld < OldKeysyms && s_characters[keysym - FirstOld] is var character and not 0) return character;
        var point = keysym < FirstOld ? keysym : keysym - Character;
        return point switch
        {
            0x08 or 0x09 or 0x0a or 0x0d or 0x1b => 0xff00 | point,
            0x7f => 0xffff,
            >= 0x20 and < 0x7f or >= 0xa0 and <= 0x10_ffff => Character | point,
            _ => keysym,
        };
    }

    private static uint Number(string word) => uint.Parse(word, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    private static uint Symbol(string word) => word[0] switch
    {
        '-' => 0,
        'u' => Character | Number(word[1..]),
        _ => Number(word),
    };
}
