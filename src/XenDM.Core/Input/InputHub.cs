using System;
using System.Collections.Generic;

namespace XenDM.Core.Input;

/// <summary>
/// Brings keys and pointer from those who show the screen to the guest's keyboard and pointer: of several the newest that is active. Machine thread
/// only. Each person at the screen has an <see cref="InputSeat"/>, so that what he held is released when he goes. What is pressed at several seats is
/// pressed once, and released with the last of them.
/// </summary>
public sealed class InputHub
{
    private readonly List<IKeyboard> _keyboards = [];
    private readonly List<IPointer> _pointers = [];
    private readonly List<InputSeat> _seats = [];
    private readonly Dictionary<ushort, (int Count, IKeyboard Keyboard)> _down = [];
    private IPointer? _chosen;

    /// <summary>What was moved last: there the buttons are down.</summary>
    private IPointer? _moved;
    private PointerButtons _buttons;
    private (int X, int Y) _place;

    /// <summary>Absolute pointers take 0 to this over each side of the screen.</summary>
    public const int PlaceRange = 0x7fff;

    /// <summary>Called when the guest set the lights of a keyboard.</summary>
    public event Action? LedsChanged;

    /// <summary>The pointers, the oldest first.</summary>
    public IReadOnlyList<IPointer> Pointers => _pointers;

    /// <summary>The pointer that gets movements; null for none.</summary>
    public IPointer? Pointer => _chosen is { IsActive: true } ? _chosen : _pointers.FindLast(static p => p.IsActive);

    /// <summary>Of a keyboard without lights the guest shows its locks at another one. Null where no keyboard has any.</summary>
    public KeyboardLeds? Leds => Keyboard?.Leds ?? _keyboards.FindLast(static k => k is { IsActive: true, Leds: not null })?.Leds;

    private IKeyboard? Keyboard => _keyboards.FindLast(static k => k.IsActive);

    public void Add(IKeyboard keyboard)
    {
        _keyboards.Add(keyboard);
        keyboard.LedsChanged = () => LedsChanged?.Invoke();
    }

    /// <summary>Keys that are down on it are forgotten.</summary>
    public void Remove(IKeyboard keyboard)
    {
        _keyboards.Remove(keyboard);
        keyboard.LedsChanged = null;
        foreach (var (key, held) in _down)
            if (held.Keyboard == keyboard) _down.Remove(key);
    }

    public void Add(IPointer pointer) => _pointers.Add(pointer);

    public void Remove(IPointer pointer)
    {
        _pointers.Remove(pointer);
        if (_chosen == pointer) _chosen = null;
        if (_moved == pointer) _moved = null;
    }

    /// <summary>Prefers a pointer to newer ones as long as it is active.</summary>
    public void Choose(IPointer pointer) => _chosen = pointer;

    /// <summary>Somebody sits down at the screen.</summary>
    public InputSeat Open()
    {
        var seat = new InputSeat(this);
        _seats.Add(seat);
        return seat;
    }

    internal void Close(InputSeat seat) => _seats.Remove(seat);

    /// <summary>Goes up on the keyboard on which it went down, even if that is no longer the one that gets the keys.</summary>
    internal void Key(ushort key, bool down)
    {
        if (!_down.TryGetValue(key, out var held))
        {
            if (!down || Keyboard is not { } keyboard) return;
            _down[key] = (1, keyboard);
            keyboard.Key(key, true);
        }
        else if (down || held.Count > 1) _down[key] = (held.Count + (down ? 1 : -1), held.Keyboard);
        else
        {
            _down.Remove(key);
            held.Keyboard.Key(key, false);
        }
    }

    internal void Move(int x, int y, int wheel, int sideWheel) => Move(Pointer, x, y, wheel, sideWheel);

    /// <summary>To a pointer that takes movements, even if another one is before it.</summary>
    internal void MoveBy(int x, int y, int wheel, int sideWheel)
    {
        var pointer = Pointer;
        if (pointer is { IsAbsolute: true }) pointer = _pointers.FindLast(static p => p is { IsActive: true, IsAbsolute: false });
        Move(pointer, x, y, wheel, sideWheel);
    }

    /// <summary>The buttons of a seat changed, and nobody moved.</summary>
    internal void Buttons()
    {
        var pointer = _moved ?? Pointer;
        if (pointer is null || Pressed() == _buttons) return;
        var (x, y) = pointer.IsAbsolute ? _place : (0, 0);
        Move(pointer, x, y, 0, 0);
    }

    private void Move(IPointer? pointer, int x, int y, int wheel, int sideWheel)
    {
        if (_moved is { } before && before != pointer && _buttons != PointerButtons.None)
        {
            var (oldX, oldY) = before.IsAbsolute ? _place : (0, 0);
            before.Move(oldX, oldY, 0, 0, PointerButtons.None);
        }

        _moved = pointer;
        _buttons = Pressed();
        if (pointer is null) return;
        if (pointer.IsAbsolute) _place = (x, y);
        pointer.Move(x, y, wheel, sideWheel, _buttons);
    }

    private PointerButtons Pressed()
    {
        var pressed = PointerButtons.None;
        foreach (var seat in _seats) pressed |= seat.Buttons;
        return pressed;
    }
}

/// <summary>One who types and points. Disposing releases what is still held. Machine thread only.</summary>
public sealed class InputSeat : IDisposable
{
    private readonly InputHub _hub;
    private readonly HashSet<ushort> _held = [];

    internal InputSeat(InputHub hub) => _hub = hub;

    /// <summary>The pointer that movements go to takes places on the screen.</summary>
    public bool IsAbsolute => _hub.Pointer?.IsAbsolute ?? false;

    /// <summary>Keys that are down at this seat.</summary>
    public IReadOnlyCollection<ushort> Held => _held;

    /// <summary>Buttons that are down at this seat.</summary>
    public PointerButtons Buttons { get; private set; }

    /// <param name="key">As <see cref="IKeyboard"/> numbers it.</param>
    /// <param name="down">Pressed again while it is down, it is left as it is: repeating is the guest's and its keyboard's business.</param>
    public void Key(ushort key, bool down)
    {
        if (down ? _held.Add(key) : _held.Remove(key)) _hub.Key(key, down);
    }

    /// <inheritdoc cref="IPointer.Move"/>
    public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
    {
        Buttons = buttons;
        _hub.Move(x, y, wheel, sideWheel);
    }

    /// <summary>A movement, whatever <see cref="IsAbsolute"/> says: lost where all pointers of the guest take places.</summary>
    public void MoveBy(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
    {
        Buttons = buttons;
        _hub.MoveBy(x, y, wheel, sideWheel);
    }

    /// <summary>Presses and releases buttons where the pointer is.</summary>
    public void Press(PointerButtons buttons)
    {
        Buttons = buttons;
        _hub.Buttons();
    }

    /// <summary>Lets all keys and buttons go.</summary>
    public void ReleaseAll()
    {
        foreach (var key in _held) _hub.Key(key, false);
        _held.Clear();
        if (Buttons != PointerButtons.None) Press(PointerButtons.None);
    }

    public void Dispose()
    {
        ReleaseAll();
        _hub.Close(this);
    }
}
