namespace XenDM.Core.State;

/// <summary>What pulled the reset line.</summary>
public enum ResetKind
{
    /// <summary>Power on.</summary>
    Cold,

    /// <summary>The guest reset itself (0xcf9, keyboard controller, triple fault), or a monitor command did.</summary>
    Warm,
}

/// <summary>A chip of the board.</summary>
public interface IDevice
{
    /// <summary>Names the device in state files, traces and monitor commands; unique on a board and the same on every run.</summary>
    string Id { get; }

    /// <summary>Version of what <see cref="State"/> visits; raised when a field is added with <c>since:</c>.</summary>
    int StateVersion => 1;

    void Reset(ResetKind kind);

    /// <summary>Names every guest-visible field once; serves save, restore, hash, dump and schema.</summary>
    void State(StateVisitor s);

    /// <summary>After all devices of the board are read: mappings, caches and levels are derived again. No interrupt edge may come of it.</summary>
    void Restored()
    {
    }

    /// <summary>Before a save, after guest I/O stopped: requests in flight have been drained by the backends.</summary>
    void Saving()
    {
    }
}

/// <summary>A part of a device that is visited below it.</summary>
public interface IStateful
{
    void State(StateVisitor s);
}

/// <summary>Marks a mutable field of a chip that is not guest-visible state, with the reason why it needs no saving.</summary>
[System.AttributeUsage(System.AttributeTargets.Field | System.AttributeTargets.Property)]
public sealed class GlueAttribute : System.Attribute
{
    /// <param name="reason">Why the field is not saved: derived from what, or constant after construction.</param>
    public GlueAttribute(string reason) => Reason = reason;

    public string Reason { get; }
}
