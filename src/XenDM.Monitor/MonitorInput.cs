using System;
using System.Collections.Generic;
using XenDM.Core.Input;
using XenDM.Core.Time;

namespace XenDM.Monitor;

/// <summary>
/// What monitors type and point: one seat for all of them. Combinations wait for each other, so that a text sent key by key arrives in its order.
/// Machine thread only.
/// </summary>
public sealed class MonitorInput
{
    /// <summary>Milliseconds that the keys of a combination are held.</summary>
    public const int DefaultHold = 100;
    public const int MaxHold = 60_000;

    /// <summary>Most keys that wait to be pressed.</summary>
    private const int MaxWaiting = 4096;
    private const long Millisecond = 1_000_000;

    private readonly InputHub _hub;
    private readonly InputSeat _seat;
    private readonly VmTimer _step;
    private readonly Queue<(ushort[] Keys, int Hold)> _waiting = new();
    private ushort[] _pressed = [];
    private int _waitingKeys;
    private (int X, int Y) _place = (InputHub.PlaceRange / 2, InputHub.PlaceRange / 2);

    /// <param name="clock">Keys are held in the guest's time.</param>
    public MonitorInput(InputHub hub, IVmClock clock)
    {
        _hub = hub;
        _seat = hub.Open();
        _step = clock.CreateTimer("monitor.keys", Step);
    }

    public IReadOnlyList<IPointer> Pointers => _hub.Pointers;

    /// <summary>The one that gets movements.</summary>
    public IPointer? Pointer => _hub.Pointer;

    /// <summary>There is a pointer that takes places, or one that takes movements.</summary>
    public bool HasPointer(bool isAbsolute)
    {
        if (isAbsolute) return Pointer is { IsAbsolute: true };
        foreach (var pointer in Pointers)
            if (pointer is { IsActive: true, IsAbsolute: false }) return true;
        return false;
    }

    /// <summary>Presses keys in their order and, after a time, releases them in the opposite one.</summary>
    /// <param name="hold">Milliseconds; more than <see cref="MaxHold"/> count as that.</param>
    /// <exception cref="QmpException">Too many wait already.</exception>
    public void Send(IReadOnlyList<ushort> keys, int hold = DefaultHold)
    {
        if (_waitingKeys + keys.Count > MaxWaiting) throw new QmpException("too many keys wait to be pressed");
        _waitingKeys += keys.Count;
        _waiting.Enqueue(([.. keys], Math.Min(hold, MaxHold)));
        if (!_step.IsArmed) Step();
    }

    public void Key(ushort key, bool down) => _seat.Key(key, down);

    /// <summary>A movement; <paramref name="wheel"/> in steps towards the user.</summary>
    public void MoveBy(int x, int y, int wheel, int sideWheel)
    {
        // The wheel turns where the pointer is, also where only places are taken.
        if ((x | y) == 0 && _hub.Pointer is { IsAbsolute: true }) _seat.Move(_place.X, _place.Y, wheel, sideWheel, _seat.Buttons);
        else _seat.MoveBy(x, y, wheel, sideWheel, _seat.Buttons);
    }

    /// <summary>To a place of which each half may be left as it is; 0 to <see cref="InputHub.PlaceRange"/>.</summary>
    public void MoveTo(int? x, int? y)
    {
        _place = (Math.Clamp(x ?? _place.X, 0, InputHub.PlaceRange), Math.Clamp(y ?? _place.Y, 0, InputHub.PlaceRange));
        _seat.Move(_place.X, _place.Y, 0, 0, _seat.Buttons);
    }

    public void Button(PointerButtons button, bool down) => Press(down ? _seat.Buttons | button : _seat.Buttons & ~button);

    /// <summary>All buttons that are down from now on.</summary>
    public void Press(PointerButtons buttons) => _seat.Press(buttons);

    /// <exception cref="QmpException">There is no such pointer.</exception>
    public void Choose(int index)
    {
        if (index < 0 || index >= Pointers.Count) throw new QmpException("Mouse at given index not found");
        _hub.Choose(Pointers[index]);
    }

    private void Step()
    {
        for (var n = _pressed.Length - 1; n >= 0; n--) _seat.Key(_pressed[n], false);
        _pressed = [];
        if (!_waiting.TryDequeue(out var next)) return;
        _pressed = next.Keys;
        _waitingKeys -= next.Keys.Length;
        foreach (var key in next.Keys) _seat.Key(key, true);
        _step.ArmAfter(next.Hold * Millisecond);
    }
}
