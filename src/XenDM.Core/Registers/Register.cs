using System;

namespace XenDM.Core.Registers;

/// <summary>Where a chip keeps a register of a width; returned by a static lambda, so that the table needs no reflection.</summary>
public delegate ref byte ByteStorage<T>(T chip);

/// <inheritdoc cref="ByteStorage{T}"/>
public delegate ref ushort WordStorage<T>(T chip);

/// <inheritdoc cref="ByteStorage{T}"/>
public delegate ref uint DwordStorage<T>(T chip);

/// <summary>
/// One register of a chip. What a write does to the stored value is said by three masks and nothing else: bits that are writable, bits that
/// a one clears, bits that a read clears. All other stored bits only the chip itself changes.
/// </summary>
public sealed class Register<T>
{
    internal Register(string name, int offset, int width)
    {
        Name = name;
        Offset = offset;
        Width = width;
    }

    /// <summary>The data sheet's name.</summary>
    public string Name { get; }

    /// <summary>Byte offset in the table.</summary>
    public int Offset { get; }

    /// <summary>Bytes: 1, 2 or 4.</summary>
    public int Width { get; }

    /// <summary>The value after reset, of a stored register.</summary>
    public uint ResetValue { get; internal init; }

    /// <summary>Bits that a write changes.</summary>
    public uint WriteMask { get; internal init; }

    /// <summary>Bits that are cleared where a one is written.</summary>
    public uint WriteOneToClear { get; internal init; }

    /// <summary>Bits that are cleared by reading them.</summary>
    public uint ReadToClear { get; internal init; }

    /// <summary>The register is a field of the chip: reset, saved and shown by the table.</summary>
    public bool IsStored => AsByte is not null || AsWord is not null || AsDword is not null;

    /// <summary>Reading has side effects or is computed.</summary>
    public bool HasReadHandler => OnRead is not null;

    internal ByteStorage<T>? AsByte { get; init; }

    internal WordStorage<T>? AsWord { get; init; }

    internal DwordStorage<T>? AsDword { get; init; }

    internal Func<T, uint>? OnRead { get; init; }

    internal Action<T, uint>? OnWrite { get; init; }

    internal Action<T>? After { get; init; }

    /// <summary>The stored value, without side effects; all ones where nothing is stored.</summary>
    public uint Peek(T chip)
    {
        if (AsByte is not null) return AsByte(chip);
        if (AsWord is not null) return AsWord(chip);
        return AsDword is not null ? AsDword(chip) : uint.MaxValue >> (32 - (8 * Width));
    }

    /// <summary>Sets the stored value past all masks: reset and restore.</summary>
    public void Poke(T chip, uint value)
    {
        if (AsByte is not null) AsByte(chip) = (byte)value;
        else if (AsWord is not null) AsWord(chip) = (ushort)value;
        else if (AsDword is not null) AsDword(chip) = value;
    }

    internal uint Read(T chip)
    {
        if (OnRead is not null) return OnRead(chip);
        var value = Peek(chip);
        if (ReadToClear != 0)
        {
            Poke(chip, value & ~ReadToClear);
            After?.Invoke(chip);
        }

        return value;
    }

    internal void Write(T chip, uint value)
    {
        if (OnWrite is not null)
        {
            OnWrite(chip, value);
            return;
        }

        if ((WriteMask | WriteOneToClear) != 0)
        {
            var old = Peek(chip);
            Poke(chip, ((old & ~WriteMask) | (value & WriteMask)) & ~(value & WriteOneToClear));
        }

        After?.Invoke(chip);
    }
}
