using System;
using System.Collections.Generic;
using System.Text;

namespace XenDM.Vnc.Keymaps;

/// <summary>
/// Where the keysyms of X11, which RFB's key events carry, are on a keyboard: by the layout that the guest is set to (<c>-k</c>). Clients that send key
/// numbers (QEMU's extended key event) need none.
/// </summary>
public sealed class Keymap
{
    public const string Default = "en-us";

    private const int LastPoint = 0x10_ffff;

    private readonly Dictionary<uint, List<KeymapEntry>> _entries = [];

    private Keymap(string name) => Name = name;

    /// <summary>The names that <see cref="Load"/> takes.</summary>
    public static IReadOnlyList<string> Names => Layouts.Names;

    public string Name { get; }

    /// <exception cref="ArgumentException">There is no such layout; the message lists all.</exception>
    public static Keymap Load(string name)
    {
        var rows = Layouts.Find(name) ?? throw new ArgumentException($"there is no keyboard layout '{name}'; there are {string.Join(", ", Names)}");
        var keymap = new Keymap(name);
        keymap.Add(rows);

        // A keyboard of another script is switched to Latin by the guest itself, and has the American letters then.
        if (!keymap._entries.ContainsKey(Layouts.Character | 'a') && Layouts.Find(Default) is { } latin) keymap.Add(latin, onlyNew: true);
        return keymap;
    }

    /// <summary>The key of a keysym; of several the one that needs least.</summary>
    /// <returns>False when the layout does not have it.</returns>
    public bool TryMap(uint keysym, out KeymapEntry entry)
    {
        var found = Find(keysym);
        entry = found.Count > 0 ? found[0] : default;
        return found.Count > 0;
    }

    /// <summary>All keys of a keysym, those that need least first.</summary>
    internal IReadOnlyList<KeymapEntry> Find(uint keysym)
    {
        keysym = Layouts.Canonical(keysym);
        if (CommonKeys.Table.TryGetValue(keysym, out var common)) return [common];
        if (_entries.TryGetValue(keysym, out var entries)) return entries;
        if (Layouts.TryDecompose(keysym, out var parts) && _entries.ContainsKey(parts.Dead) && _entries.TryGetValue(parts.Base, out var bases))
            return [bases[0] with { Dead = parts.Dead }];

        // A capital that only CapsLock gives.
        var lower = Lower(keysym);
        return lower != keysym && _entries.TryGetValue(lower, out entries) ? entries : [];
    }

    private void Add(IReadOnlyDictionary<ushort, uint[]> rows, bool onlyNew = false)
    {
        for (var level = 0; level < Layouts.Levels; level++)
        {
            foreach (var (key, row) in rows)
            {
                var keysym = row[level];
                if (keysym == 0) continue;
                if (!_entries.TryGetValue(keysym, out var entries)) _entries[keysym] = entries = [];
                else if (onlyNew) continue;
                var other = row[level ^ 1];
                var isLetter = keysym != other && Lower(keysym) == Lower(other);
                var entry = new KeymapEntry(key, (KeyNeeds)level | (isLetter ? KeyNeeds.Letter : KeyNeeds.None));

                // The layouts of xkb have the signs of other countries on their letters as well, behind where they are printed.
                if (level >= 2 && row[0] - Layouts.Character is not (>= 'a' and <= 'z')) entries.Insert(entries.FindLastIndex(e => (int)(e.Needs & KeyNeeds.Both) < level) + 1, entry);
                else entries.Add(entry);
            }
        }
    }

    private static uint Lower(uint keysym)
    {
        var point = keysym - Layouts.Character;
        return point <= LastPoint && Rune.TryCreate(point, out var rune) ? Layouts.Character | (uint)Rune.ToLowerInvariant(rune).Value : keysym;
    }
}
