using System;

namespace XenDM.Core.Time;

/// <summary>
/// The guest's time in nanoseconds: starts at 0, stands still while the guest is paused, and goes on where it stopped after a restore.
/// </summary>
public interface IVmClock
{
    /// <summary>Nanoseconds of guest time.</summary>
    long Now { get; }

    /// <summary>Makes a timer. Callbacks run on the machine thread, never inside <see cref="VmTimer.Arm"/>.</summary>
    VmTimer CreateTimer(string name, Action callback);
}

/// <summary>A named deadline in guest time; saved with the chip that owns it.</summary>
public sealed class VmTimer
{
    /// <summary>The deadline of a timer that is not armed.</summary>
    public const long Never = long.MaxValue;

    private readonly VmClock _clock;

    internal VmTimer(VmClock clock, string name, Action callback)
    {
        _clock = clock;
        Name = name;
        Callback = callback;
    }

    public string Name { get; }

    /// <summary>Nanoseconds of guest time, or <see cref="Never"/>.</summary>
    public long Deadline { get; internal set; } = Never;

    public bool IsArmed => Deadline != Never;

    internal Action Callback { get; }

    /// <summary>Fires once at <paramref name="deadline"/> (at once if it has passed). An armed timer is moved.</summary>
    public void Arm(long deadline) => _clock.Arm(this, deadline);

    /// <summary>Fires once after <paramref name="nanoseconds"/>.</summary>
    public void ArmAfter(long nanoseconds) => _clock.Arm(this, _clock.Now + Math.Max(0, nanoseconds));

    public void Cancel() => _clock.Arm(this, Never);
}
