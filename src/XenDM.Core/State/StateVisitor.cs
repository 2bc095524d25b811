using System;
using System.Runtime.CompilerServices;
using XenDM.Core.Irq;
using XenDM.Core.Registers;
using XenDM.Core.Time;

namespace XenDM.Core.State;

/// <summary>
/// Walks the state of one device. The law of compatibility: fields travel by name; a field is never renamed and never changes its type;
/// a field added later says <c>since:</c> the device version that added it, and its value after construction must mean "as before"; a field
/// that is gone may stay in old files, where it is skipped. A field without <c>since:</c> that is missing fails the restore.
/// </summary>
public abstract class StateVisitor
{
    private string _prefix = "";

    /// <summary>The visitor changes the fields: a restore.</summary>
    public virtual bool IsLoading => false;

    public void Bool(string name, ref bool value, int since = 1)
    {
        ulong raw = value ? 1u : 0;
        Number(_prefix + name, ref raw, StateType.Bool, since);
        if (IsLoading) value = raw != 0;
    }

    public void U8(string name, ref byte value, int since = 1)
    {
        ulong raw = value;
        Number(_prefix + name, ref raw, StateType.U8, since);
        if (IsLoading) value = (byte)raw;
    }

    public void U16(string name, ref ushort value, int since = 1)
    {
        ulong raw = value;
        Number(_prefix + name, ref raw, StateType.U16, since);
        if (IsLoading) value = (ushort)raw;
    }

    public void U32(string name, ref uint value, int since = 1)
    {
        ulong raw = value;
        Number(_prefix + name, ref raw, StateType.U32, since);
        if (IsLoading) value = (uint)raw;
    }

    public void U64(string name, ref ulong value, int since = 1)
    {
        var raw = value;
        Number(_prefix + name, ref raw, StateType.U64, since);
        if (IsLoading) value = raw;
    }

    /// <summary>A signed number; range checks are the chip's: give <paramref name="min"/> and <paramref name="max"/> for whatever indexes something.</summary>
    public void I32(string name, ref int value, int min = int.MinValue, int max = int.MaxValue, int since = 1)
    {
        var raw = (ulong)(uint)value;
        Number(_prefix + name, ref raw, StateType.I32, since);
        if (!IsLoading) return;
        var loaded = (int)(uint)raw;
        if (loaded < min || loaded > max) Fail(_prefix + name, $"{loaded} is not in {min}..{max}");
        value = loaded;
    }

    public void I64(string name, ref long value, int since = 1)
    {
        var raw = (ulong)value;
        Number(_prefix + name, ref raw, StateType.I64, since);
        if (IsLoading) value = (long)raw;
    }

    /// <summary>An enumeration of up to 32 bits; a value that has no name fails the restore.</summary>
    public void Enum<TEnum>(string name, ref TEnum value, int since = 1)
        where TEnum : unmanaged, Enum
    {
        ulong raw = Unsafe.SizeOf<TEnum>() switch
        {
            1 => Unsafe.As<TEnum, byte>(ref value),
            2 => Unsafe.As<TEnum, ushort>(ref value),
            _ => Unsafe.As<TEnum, uint>(ref value),
        };
        Number(_prefix + name, ref raw, StateType.U32, since);
        if (!IsLoading) return;
        TEnum loaded = default;
        if (Unsafe.SizeOf<TEnum>() == 1) Unsafe.As<TEnum, byte>(ref loaded) = (byte)raw;
        else if (Unsafe.SizeOf<TEnum>() == 2) Unsafe.As<TEnum, ushort>(ref loaded) = (ushort)raw;
        else Unsafe.As<TEnum, uint>(ref loaded) = (uint)raw;
        if (!System.Enum.IsDefined(loaded)) Fail(_prefix + name, $"{raw} is no {typeof(TEnum).Name}");
        value = loaded;
    }

    /// <summary>A buffer of a length that never changes.</summary>
    public void Bytes(string name, Span<byte> value, int since = 1) => Fixed(_prefix + name, value, since);

    /// <summary>Bytes of a varying length, at most <paramref name="maxLength"/>.</summary>
    public void Blob(string name, ref byte[] value, int maxLength, int since = 1) => Variable(_prefix + name, ref value, maxLength, since);

    /// <summary>A text, or null; UTF-8.</summary>
    public void Text(string name, ref string? value, int maxLength = 4096, int since = 1)
    {
        var bytes = value is null ? [] : System.Text.Encoding.UTF8.GetBytes("=" + value);
        Variable(_prefix + name, ref bytes, maxLength, since);
        if (IsLoading) value = bytes.Length == 0 ? null : System.Text.Encoding.UTF8.GetString(bytes, 1, bytes.Length - 1);
    }

    /// <summary>A timer's deadline.</summary>
    public void Timer(VmTimer timer, int since = 1)
    {
        var deadline = timer.Deadline;
        I64("timer." + timer.Name, ref deadline, since);
        if (!IsLoading) return;
        if (deadline == VmTimer.Never) timer.Cancel();
        else timer.Arm(deadline);
    }

    /// <summary>The level of an interrupt line; restored without an edge.</summary>
    public void Line(string name, IrqLine line, int since = 1)
    {
        var level = line.Level;
        Bool(name, ref level, since);
        if (IsLoading) line.Restore(level);
    }

    /// <summary>Every stored register of a table, by its name.</summary>
    public void Registers<T>(RegisterTable<T> table, T chip, string prefix = "", int since = 1)
    {
        foreach (var register in table.Registers)
        {
            if (!register.IsStored) continue;
            ulong raw = register.Peek(chip);
            Number(_prefix + prefix + register.Name, ref raw, register.Width switch { 1 => StateType.U8, 2 => StateType.U16, _ => StateType.U32 }, since);
            if (IsLoading) register.Poke(chip, (uint)raw);
        }
    }

    /// <summary>A part of the device; its fields are named below <paramref name="name"/>.</summary>
    public void Child(string name, IStateful child)
    {
        var outer = _prefix;
        _prefix = outer + name + ".";
        child.State(this);
        _prefix = outer;
    }

    /// <summary>A value fixed by the configuration: compared at a restore, never loaded.</summary>
    public void Same(string name, ulong value, int since = 1)
    {
        var raw = value;
        Number(_prefix + name, ref raw, StateType.U64, since);
        if (IsLoading && raw != value) Fail(_prefix + name, $"the saved machine has {raw}, this one {value}");
    }

    /// <summary>Ends a restore because a value cannot be.</summary>
    public void Fail(string name, string why) => throw new StateException(DeviceId, name, why);

    /// <summary>The device that is being visited.</summary>
    protected string DeviceId { get; set; } = "";

    protected abstract void Number(string name, ref ulong value, StateType type, int since);

    protected abstract void Fixed(string name, Span<byte> value, int since);

    protected abstract void Variable(string name, ref byte[] value, int maxLength, int since);
}

/// <summary>The type tag of a field in a state file; the numbers are part of the format.</summary>
public enum StateType : byte
{
    Bool = 1,
    U8 = 2,
    U16 = 3,
    U32 = 4,
    U64 = 5,
    I32 = 6,
    I64 = 7,
    Bytes = 8,
    Blob = 9,
}

/// <summary>A state file that cannot be restored: says which device and field, and why.</summary>
public sealed class StateException : Exception
{
    public StateException(string device, string field, string why)
        : base(field.Length == 0 ? $"{device}: {why}" : $"{device}, field {field}: {why}")
    {
        Device = device;
        Field = field;
    }

    public string Device { get; }

    public string Field { get; }
}
