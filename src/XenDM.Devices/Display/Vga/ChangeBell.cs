using System;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// Rings once when something that the screen shows may have changed, and is silent until it is set again: whoever shows the screen sleeps
/// meanwhile.
/// </summary>
public sealed class ChangeBell
{
    private Action[] _rings = new Action[2];
    private int _count;

    /// <summary>Rings at the next change. The callback runs inside the guest's access and must only take note of it.</summary>
    public void Set(Action ring)
    {
        for (var n = 0; n < _count; n++)
            if (_rings[n] == ring) return;
        if (_count == _rings.Length) Array.Resize(ref _rings, 2 * _count);
        _rings[_count++] = ring;
    }

    /// <summary>Takes back <see cref="Set"/>.</summary>
    public void Unset(Action ring)
    {
        for (var n = 0; n < _count; n++)
        {
            if (_rings[n] != ring) continue;
            _rings[n] = _rings[--_count];
            return;
        }
    }

    internal void Ring()
    {
        if (_count > 0) RingAll();
    }

    private void RingAll()
    {
        // Who is rung may set itself again, in a place that was read already.
        var count = _count;
        _count = 0;
        for (var n = 0; n < count; n++) _rings[n]();
    }
}
