using System;

namespace XenDM.Core.Input;

/// <summary>Buttons of a pointer.</summary>
[Flags]
public enum PointerButtons
{
    None = 0,
    Left = 1,
    Right = 2,
    Middle = 4,

    /// <summary>The fourth button, "back" on most mice.</summary>
    Side = 8,

    /// <summary>The fifth button, "forward" on most mice.</summary>
    Extra = 16,
}

/// <summary>Lights of a keyboard, numbered as the PS/2 command ED does.</summary>
[Flags]
public enum KeyboardLeds
{
    None = 0,
    ScrollLock = 1,
    NumLock = 2,
    CapsLock = 4,
}

/// <summary>
/// A keyboard of the guest. Keys have the number of their set 1 scan code, with e0 in the high byte where the code has that prefix; Pause is e11d,
/// Print Screen e037. Machine thread only.
/// </summary>
public interface IKeyboard
{
    /// <summary>The guest has a driver for it: of several keyboards the newest that is active gets the keys.</summary>
    bool IsActive { get; }

    /// <summary>Null where the guest cannot set lights.</summary>
    KeyboardLeds? Leds { get; }

    /// <summary>Called when the guest sets the lights.</summary>
    Action? LedsChanged { get; set; }

    void Key(ushort key, bool down);
}

/// <summary>A pointer of the guest. Machine thread only.</summary>
public interface IPointer
{
    /// <summary>Name as <c>query-mice</c> shows it.</summary>
    string Name { get; }

    /// <inheritdoc cref="IKeyboard.IsActive"/>
    bool IsActive { get; }

    /// <summary>It takes places on the screen, not movements.</summary>
    bool IsAbsolute { get; }

    /// <summary>One movement with the buttons as they are after it.</summary>
    /// <param name="x">Absolute: 0 to 7fff over the width of the screen. Else pixels to the right.</param>
    /// <param name="y">The same downwards.</param>
    /// <param name="wheel">Steps of the wheel towards the user.</param>
    /// <param name="sideWheel">Steps of the wheel to the right.</param>
    void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons);
}
