using System;

namespace XenDM.Vnc.Keymaps;

/// <summary>What must be held or lit for a key to give a keysym.</summary>
[Flags]
public enum KeyNeeds
{
    /// <summary>Neither Shift nor AltGr.</summary>
    None = 0,
    Shift = 1,
    AltGr = 2,
    Both = Shift | AltGr,

    /// <summary>The key means the same whatever is held: function keys, arrows, modifiers.</summary>
    Anything = 4,

    /// <summary>CapsLock turns the need of Shift round.</summary>
    Letter = 8,

    /// <summary>A digit of the keypad.</summary>
    NumLock = 16,

    /// <summary>A direction of the keypad.</summary>
    NoNumLock = 32,
}

/// <summary>A key that gives a keysym.</summary>
/// <param name="Key">As <see cref="Core.Input.IKeyboard"/> numbers it.</param>
/// <param name="Dead">The key is the second one: the one with this keysym has to be struck first. 0 for none.</param>
public readonly record struct KeymapEntry(ushort Key, KeyNeeds Needs, uint Dead = 0);
