using System;
using System.Collections.Generic;

namespace XenDM.Core.Input;

/// <summary>
/// Brings keys and pointer from those who show the screen to the guest's keyboard and pointer: of several the newest that is active. Machine thread
/// only. Each person at the screen has an <see cref="InputSeat"/>, so that what he held is released when he goes.
/// </summary>
public sealed class InputHub
{
    private readonly List<IKeyboard> _keyboards = [];
    private readonly List<IPointer> _pointers = [];
    private readonly Dictionary<ushort, (int Count, IKeyboard Keyboard)> _down = [];

    /// <summary>Absolute pointers take 0 to this over each side of the screen.</summary>
    public const int PlaceRange = 0x7fff;

    /// <summary>Called when the guest set the lights of a keyboard.</summary>
    public event Action? LedsChanged;

    /// <summary>The pointers, the oldest first.</summary>
    public IReadOnlyList<IPointer> Pointers => _pointers;

    /// <summary>The pointer that gets movements; null for none.</summary>
    public IPointer? Pointer => _pointers.FindLast(static p => p.IsActive);

    /// <summary>Null where there is no keyboard, or its lights are unknown.</summary>
    public KeyboardLeds? Leds => Keyboard?.Leds;

    private IKeyboard? Keyboard => _keyboards.FindLast(static k => k.IsActive);

    public void Add(IKeyboard keyboard)
    {
        _keyboards.Add(keyboard);
        keyboard.LedsChanged = () => LedsChanged?.Invoke();
    }

    public void Remove(IKeyboard keyboard)
    {
        _keyboards.Remove(keyboard);
        keyboard.LedsChanged = null;
    }

    public void Add(IPointer pointer) => _pointers.Add(pointer);

    public void Remove(IPointer pointer) => _pointers.Remove(pointer);

    /// <summary>Somebody sits down at the screen.</summary>
    public InputSeat Open() => new(this);

    /// <summary>A key that two persons hold is released when the second one lets it go, and on the keyboard on which it was pressed.</summary>
    internal void Key(ushort key, bool down, bool again)
    {
        if (down)
        {
            if (Keyboard is not { } keyboard) return;
            var count = _down.TryGetValue(key, out var held) ? held.Count : 0;
            if (count == 0) held.Keyboard = keyboard;
            _down[key] = (again ? Math.Max(count, 1) : count + 1, held.Keyboard);
            held.Keyboard.Key(key, true);
        }
        else if (_down.TryGetValue(key, out var held))
        {
            if (held.Count > 1)
            {
                _down[key] = (held.Count - 1, held.Keyboard);
                return;
            }

            _down.Remove(key);
            held.Keyboard.Key(key, false);
        }
    }
}

/// <summary>One who types and points. Disposing releases what is still held. Machine thread only.</summary>
public sealed class InputSeat : IDisposable
{
    private readonly InputHub _hub;
    private readonly HashSet<ushort> _held = [];
    private PointerButtons _buttons;
    private (int X, int Y) _place;

    internal InputSeat(InputHub hub) => _hub = hub;

    /// <summary>The pointer that movements go to takes places on the screen.</summary>
    public bool IsAbsolute => _hub.Pointer?.IsAbsolute ?? false;

    /// <summary>Keys that are down at this seat.</summary>
    public IReadOnlyCollection<ushort> Held => _held;

    /// <param name="key">As <see cref="IKeyboard"/> numbers it.</param>
    /// <param name="down">Pressed again while it is down: it repeats.</param>
    public void Key(ushort key, bool down)
    {
        if (down) _hub.Key(key, true, again: !_held.Add(key));
        else if (_held.Remove(key)) _hub.Key(key, false, again: false);
    }

    /// <inheritdoc cref="IPointer.Move"/>
    public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
    {
        _buttons = buttons;
        _place = (x, y);
        _hub.Pointer?.Move(x, y, wheel, sideWheel, buttons);
    }

    /// <summary>Lets all keys and buttons go.</summary>
    public void ReleaseAll()
    {
        foreach (var key in _held) _hub.Key(key, false, again: false);
        _held.Clear();
        if (_buttons == PointerButtons.None) return;
        _buttons = PointerButtons.None;
        if (_hub.Pointer is not { } pointer) return;
        var (x, y) = pointer.IsAbsolute ? _place : (0, 0);
        pointer.Move(x, y, 0, 0, PointerButtons.None);
    }

    public void Dispose() => ReleaseAll();
}
