using System;

namespace XenDM.Devices.Display.Vga;

/// <summary>
/// Rings once when something that the screen shows may have changed, and is silent until it is set again: whoever shows the screen sleeps
/// meanwhile.
/// </summary>
public sealed class ChangeBell
{
    private Action? _ring;

    /// <summary>Rings at the next change. The callback runs inside the guest's access and must only take note of it.</summary>
    public void Set(Action ring) => _ring = ring;

    internal void Ring()
    {
        if (_ring is not { } ring) return;
        _ring = null;
        ring();
    }
}
