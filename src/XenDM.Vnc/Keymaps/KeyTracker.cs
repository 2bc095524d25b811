using System.Collections.Generic;
using System.Numerics;
using XenDM.Core.Input;

namespace XenDM.Vnc.Keymaps;

/// <summary>
/// Types at a seat what a client's key events say, which name characters, not keys. What was pressed is what is released, even if its name changed
/// because Shift did. Where the guest's layout needs other modifiers for a character than the person holds, they are pressed or let go while the key is
/// down. Machine thread only.
/// </summary>
public sealed class KeyTracker
{
    private const uint Level3Shift = 0xfe03, ModeSwitch = 0xff7e;
    private const ushort CapsLock = 0x3a, NumLock = 0x45;

    /// <summary>Most keys that are remembered as down: more fingers than a person has.</summary>
    private const int MaxPressed = 32;

    private static readonly ushort[] s_modifiers = [0x2a, 0x36, 0x1d, 0xe01d, 0x38, 0xe038, 0xe05b, 0xe05c];
    private const int LeftShift = 1, Shifts = 3, Controls = 0x0c, LeftAlt = 0x10, RightAlt = 0x20;

    private readonly InputSeat _seat;
    private readonly InputHub _hub;
    private readonly Keymap _keymap;

    /// <summary>The oldest first.</summary>
    private readonly List<(uint Keysym, ushort Key)> _pressed = [];

    /// <summary>Modifiers that the person holds, and those that are down in the guest: a bit each.</summary>
    private int _held;
    private int _down;

    /// <summary>The right Alt key is held as AltGr.</summary>
    private bool _isAltGr;
    private KeyboardLeds? _leds;
    private bool _caps;
    private bool _num;

    public KeyTracker(InputHub hub, InputSeat seat, Keymap keymap)
    {
        _hub = hub;
        _seat = seat;
        _keymap = keymap;
    }

    /// <param name="keysym">Of X11.</param>
    /// <returns>False when the layout has no key for it.</returns>
    public bool Key(uint keysym, bool down)
    {
        var isAltGr = keysym is Level3Shift or ModeSwitch;
        keysym = Layouts.Canonical(keysym);
        FollowLeds();
        if (!down) return Release(keysym);
        var entries = _keymap.Find(keysym);
        if (entries.Count == 0) return false;
        var entry = Choose(entries);
        var modifier = System.Array.IndexOf(s_modifiers, entry.Key);
        if (modifier >= 0)
        {
            _held |= 1 << modifier;
            if (1 << modifier == RightAlt) _isAltGr = isAltGr;
            SetModifiers(_held);
            return true;
        }

        if (entry.Key == CapsLock && !IsPressed(CapsLock)) _caps = !_caps;
        if (entry.Key == NumLock && !IsPressed(NumLock)) _num = !_num;
        SetNumLock(entry.Needs);
        if (entry.Dead != 0 && !IsPressed(entry.Key)) Strike(entry.Dead);
        SetModifiers(Needed(entry.Needs));
        if (!IsPressed(entry.Key) && _pressed.Count < MaxPressed) _pressed.Add((keysym, entry.Key));
        _seat.Key(entry.Key, true);
        return true;
    }

    /// <summary>Lets all go, as when the client's window lost the keyboard.</summary>
    public void ReleaseAll()
    {
        _pressed.Clear();
        _held = _down = 0;
        _seat.ReleaseAll();
    }

    private bool Release(uint keysym)
    {
        var entries = _keymap.Find(keysym);
        foreach (var entry in entries)
        {
            var modifier = System.Array.IndexOf(s_modifiers, entry.Key);
            if (modifier < 0) continue;
            _held &= ~(1 << modifier);
            SetModifiers(_pressed.Count > 0 ? _down & ~(1 << modifier) : _held);
            return true;
        }

        var index = Find(keysym, entries);
        if (index < 0) return entries.Count > 0;
        var key = _pressed[index].Key;
        _pressed.RemoveAt(index);
        _seat.Key(key, false);
        if (_pressed.Count == 0) SetModifiers(_held);
        return true;
    }

    /// <summary>
    /// The pressed key that a released keysym belongs to. A keysym that was not pressed is another one of the same key, because Shift or the layout changed in
    /// between: of this layout's key, of the American one's, else of the key that is down longest.
    /// </summary>
    private int Find(uint keysym, IReadOnlyList<KeymapEntry> entries)
    {
        var index = _pressed.FindIndex(p => p.Keysym == keysym);
        if (index >= 0) return index;
        foreach (var entry in entries)
        {
            index = _pressed.FindIndex(p => p.Key == entry.Key);
            if (index >= 0) return index;
        }

        if (keysym < Layouts.Character || CommonKeys.Table.ContainsKey(keysym)) return -1;
        if (American(keysym) is var place and not 0)
        {
            index = _pressed.FindIndex(p => American(p.Keysym) == place);
            if (index >= 0) return index;
        }

        return _pressed.FindIndex(static p => p.Keysym is >= Layouts.Character and <= Layouts.Character + 0x10_ffff);
    }

    private static ushort American(uint keysym)
    {
        foreach (var (key, row) in Layouts.Find(Keymap.Default)!)
            if (System.Array.IndexOf(row, keysym) >= 0) return key;
        return 0;
    }

    private bool IsPressed(ushort key) => _pressed.FindIndex(p => p.Key == key) >= 0;

    /// <summary>The key that needs the fewest changes to what is held.</summary>
    private KeymapEntry Choose(IReadOnlyList<KeymapEntry> entries)
    {
        var best = entries[0];
        for (var n = 1; n < entries.Count; n++)
            if (Changes(entries[n]) < Changes(best)) best = entries[n];
        return best;
    }

    private int Changes(KeymapEntry entry) => BitOperations.PopCount((uint)(Needed(entry.Needs) ^ _held));

    /// <summary>What must be down in the guest.</summary>
    private int Needed(KeyNeeds needs)
    {
        var modifiers = _held;
        if ((needs & KeyNeeds.Anything) != 0) return modifiers;
        var shift = ((needs & KeyNeeds.Shift) != 0) ^ ((needs & KeyNeeds.Letter) != 0 && _caps);
        if (!shift) modifiers &= ~Shifts;
        else if ((modifiers & Shifts) == 0) modifiers |= LeftShift;
        if ((needs & KeyNeeds.AltGr) == 0) return _isAltGr ? modifiers & ~RightAlt : modifiers;

        // Where AltGr is made of Control and Alt, they were meant by it.
        if ((modifiers & Controls) != 0 && (modifiers & (LeftAlt | RightAlt)) != 0) modifiers &= ~(Controls | LeftAlt);
        return modifiers | RightAlt;
    }

    /// <summary>Lets go first, so that no combination comes about that nobody asked for.</summary>
    private void SetModifiers(int wanted)
    {
        for (var n = 0; n < s_modifiers.Length; n++)
            if ((_down & ~wanted & 1 << n) != 0) _seat.Key(s_modifiers[n], false);
        for (var n = 0; n < s_modifiers.Length; n++)
            if ((wanted & ~_down & 1 << n) != 0) _seat.Key(s_modifiers[n], true);
        _down = wanted;
    }

    private void SetNumLock(KeyNeeds needs)
    {
        // With Shift the keypad gives directions also while NumLock is on; where the lights are unknown, so is the lock.
        var wrong = _num ? (needs & KeyNeeds.NoNumLock) != 0 && (_held & Shifts) == 0 : (needs & KeyNeeds.NumLock) != 0;
        if (!wrong || _hub.Leds is null) return;
        _seat.Key(NumLock, true);
        _seat.Key(NumLock, false);
        _num = !_num;
    }

    private void Strike(uint keysym)
    {
        var entry = Choose(_keymap.Find(keysym));
        SetModifiers(Needed(entry.Needs));
        _seat.Key(entry.Key, true);
        _seat.Key(entry.Key, false);
    }

    /// <summary>The guest's lights tell its locks; until they change, what was pressed does.</summary>
    private void FollowLeds()
    {
        var leds = _hub.Leds;
        if (leds == _leds) return;
        _leds = leds;
        if (leds is not { } lit) return;
        _caps = (lit & KeyboardLeds.CapsLock) != 0;
        _num = (lit & KeyboardLeds.NumLock) != 0;
    }
}
