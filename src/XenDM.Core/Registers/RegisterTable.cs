using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;

namespace XenDM.Core.Registers;

/// <summary>
/// A chip's registers, declared once in a static field. Reads and writes of any width, reset, save, trace names and fuzz ranges come from
/// it. Accesses are split and merged here: the chip only ever sees whole registers. A part of a wider register is read by cutting it out
/// and written by read-modify-write of the stored value (a register with handlers only: the other bytes are taken from its read handler).
/// </summary>
/// <example><code>
/// static readonly RegisterTable&lt;Uart16550&gt; s_registers = new RegisterTable&lt;Uart16550&gt;("16550", 8)
///     .Byte(0, "RBR/THR", read: static u => u.ReadData(), write: static (u, v) => u.WriteData((byte)v))
///     .Byte(1, "IER", static u => ref u._ier, mask: 0x0f, after: static u => u.UpdateIrq())
///     .Byte(7, "SCR", static u => ref u._scr)
///     .Build();
/// </code></example>
public sealed class RegisterTable<T>
{
    private readonly List<Register<T>> _registers = [];
    private readonly Register<T>?[] _byOffset;
    private readonly byte[] _fill;
    private readonly bool[] _reserved;
    private bool _built;

    /// <param name="size">Bytes that the table covers; every one must be declared before <see cref="Build"/>.</param>
    public RegisterTable(string name, int size)
    {
        Name = name;
        Size = size;
        _byOffset = new Register<T>?[size];
        _fill = new byte[size];
        _reserved = new bool[size];
    }

    public string Name { get; }

    /// <summary>Bytes covered.</summary>
    public int Size { get; }

    /// <summary>All registers, by offset.</summary>
    public IReadOnlyList<Register<T>> Registers => _registers;

    /// <summary>A stored 8-bit register.</summary>
    /// <param name="mask">Writable bits.</param>
    /// <param name="clear">Bits that a written one clears.</param>
    /// <param name="readClear">Bits that a read clears.</param>
    /// <param name="after">Called after a write took effect (also after a read that cleared bits).</param>
    /// <param name="read">Replaces the plain read of the stored value.</param>
    /// <param name="write">Replaces the masked write; the register is still reset and saved by the table.</param>
    public RegisterTable<T> Byte(int offset, string name, ByteStorage<T> storage, byte reset = 0, byte mask = 0xff, byte clear = 0, byte readClear = 0, Action<T>? after = null, Func<T, uint>? read = null, Action<T, uint>? write = null) =>
        Add(new Register<T>(name, offset, 1) { AsByte = storage, ResetValue = reset, WriteMask = mask, WriteOneToClear = clear, ReadToClear = readClear, After = after, OnRead = read, OnWrite = write });

    /// <summary>A stored 16-bit register. <inheritdoc cref="Byte(int, string, ByteStorage{T}, byte, byte, byte, byte, Action{T}?, Func{T, uint}?, Action{T, uint}?)"/></summary>
    public RegisterTable<T> Word(int offset, string name, WordStorage<T> storage, ushort reset = 0, ushort mask = 0xffff, ushort clear = 0, ushort readClear = 0, Action<T>? after = null, Func<T, uint>? read = null, Action<T, uint>? write = null) =>
        Add(new Register<T>(name, offset, 2) { AsWord = storage, ResetValue = reset, WriteMask = mask, WriteOneToClear = clear, ReadToClear = readClear, After = after, OnRead = read, OnWrite = write });

    /// <summary>A stored 32-bit register. <inheritdoc cref="Byte(int, string, ByteStorage{T}, byte, byte, byte, byte, Action{T}?, Func{T, uint}?, Action{T, uint}?)"/></summary>
    public RegisterTable<T> Dword(int offset, string name, DwordStorage<T> storage, uint reset = 0, uint mask = uint.MaxValue, uint clear = 0, uint readClear = 0, Action<T>? after = null, Func<T, uint>? read = null, Action<T, uint>? write = null) =>
        Add(new Register<T>(name, offset, 4) { AsDword = storage, ResetValue = reset, WriteMask = mask, WriteOneToClear = clear, ReadToClear = readClear, After = after, OnRead = read, OnWrite = write });

    /// <summary>A register that only handlers know: nothing is stored. Without a read handler it reads all ones, without a write handler it is read-only.</summary>
    /// <param name="width">Bytes: 1, 2 or 4.</param>
    public RegisterTable<T> Computed(int offset, int width, string name, Func<T, uint>? read = null, Action<T, uint>? write = null) =>
        Add(new Register<T>(name, offset, width) { OnRead = read, OnWrite = write });

    /// <summary>Bytes that hold no register: they read <paramref name="fill"/> and ignore writes.</summary>
    public RegisterTable<T> Reserved(int offset, int length, byte fill = 0)
    {
        for (var i = offset; i < offset + length; i++)
        {
            Claim(i, "reserved");
            _reserved[i] = true;
            _fill[i] = fill;
        }

        return this;
    }

    /// <summary>Closes the table.</summary>
    /// <exception cref="InvalidOperationException">A byte is not declared.</exception>
    public RegisterTable<T> Build()
    {
        for (var i = 0; i < Size; i++)
            if (_byOffset[i] is null && !_reserved[i]) throw new InvalidOperationException($"{Name}: offset {i:x} is not declared");
        _registers.Sort(static (a, b) => a.Offset.CompareTo(b.Offset));
        _built = true;
        return this;
    }

    /// <summary>Reads 1 to 8 bytes; what lies outside the table reads ff.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Read(T chip, ulong offset, int size)
    {
        if (offset < (ulong)_byOffset.Length && _byOffset[(int)offset] is { } register && register.Width == size && register.Offset == (int)offset)
            return register.Read(chip);
        return ReadPieces(chip, offset, size);
    }

    /// <summary>Writes 1 to 8 bytes; what lies outside the table is dropped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Write(T chip, ulong offset, int size, ulong value)
    {
        if (offset < (ulong)_byOffset.Length && _byOffset[(int)offset] is { } register && register.Width == size && register.Offset == (int)offset)
            register.Write(chip, (uint)value);
        else
            WritePieces(chip, offset, size, value);
    }

    /// <summary>Puts every stored register to its reset value. No handler runs.</summary>
    public void Reset(T chip)
    {
        foreach (var register in _registers)
            if (register.IsStored) register.Poke(chip, register.ResetValue);
    }

    /// <summary>Name of the register at an offset, for traces.</summary>
    public string NameAt(ulong offset) => offset < (ulong)Size ? _byOffset[(int)offset]?.Name ?? "reserved" : "outside";

    private ulong ReadPieces(T chip, ulong offset, int size)
    {
        ulong result = 0;
        for (var done = 0; done < size;)
        {
            var at = offset + (ulong)done;
            if (at >= (ulong)Size || _byOffset[(int)at] is not { } register)
            {
                result |= (ulong)(at < (ulong)Size ? _fill[(int)at] : 0xff) << (8 * done++);
                continue;
            }

            var lane = (int)at - register.Offset;
            var bytes = Math.Min(register.Width - lane, size - done);
            var piece = (register.Read(chip) >> (8 * lane)) & LowBytes(bytes);
            result |= (ulong)piece << (8 * done);
            done += bytes;
        }

        return result;
    }

    private void WritePieces(T chip, ulong offset, int size, ulong value)
    {
        for (var done = 0; done < size;)
        {
            var at = offset + (ulong)done;
            if (at >= (ulong)Size || _byOffset[(int)at] is not { } register)
            {
                done++;
                continue;
            }

            var lane = (int)at - register.Offset;
            var bytes = Math.Min(register.Width - lane, size - done);
            var piece = (uint)(value >> (8 * done)) & LowBytes(bytes);
            if (bytes < register.Width)
            {
                // A one in a byte that the guest did not write must not clear anything.
                var old = register.IsStored ? register.Peek(chip) & ~register.WriteOneToClear : register.OnRead?.Invoke(chip) ?? 0;
                piece = (old & ~(LowBytes(bytes) << (8 * lane))) | (piece << (8 * lane));
            }

            register.Write(chip, piece);
            done += bytes;
        }
    }

    private static uint LowBytes(int count) => uint.MaxValue >> (32 - (8 * count));

    private RegisterTable<T> Add(Register<T> register)
    {
        if (register.Width is not (1 or 2 or 4)) throw new InvalidOperationException($"{Name}: {register.Name} has a width of {register.Width}");
        for (var i = 0; i < register.Width; i++)
        {
            Claim(register.Offset + i, register.Name);
            _byOffset[register.Offset + i] = register;
        }

        _registers.Add(register);
        return this;
    }

    private void Claim(int offset, string name)
    {
        if (_built) throw new InvalidOperationException($"{Name}: {name} was declared after Build");
        if ((uint)offset >= (uint)Size) throw new InvalidOperationException($"{Name}: {name} at {offset:x} lies outside the table");
        if (_byOffset[offset] is not null || _reserved[offset]) throw new InvalidOperationException($"{Name}: {name} overlaps {NameAt((ulong)offset)} at {offset:x}");
    }
}
