using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace XenDM.Core.State;

/// <summary>A 64-bit FNV-1a hash over every field: two runs with the same inputs have the same one.</summary>
public sealed class StateHasher : StateVisitor
{
    private ulong _hash = 0xcbf29ce484222325;

    public static ulong Hash(IEnumerable<IDevice> devices)
    {
        var hasher = new StateHasher();
        var sorted = new List<IDevice>(devices);
        sorted.Sort(static (a, b) => string.CompareOrdinal(a.Id, b.Id));
        foreach (var device in sorted) device.State(hasher);
        return hasher._hash;
    }

    protected override void Number(string name, ref ulong value, StateType type, int since)
    {
        Span<byte> raw = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(raw, value);
        Add(raw);
    }

    protected override void Fixed(string name, Span<byte> value, int since) => Add(value);

    protected override void Variable(string name, ref byte[] value, int maxLength, int since) => Add(value);

    private void Add(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes) _hash = (_hash ^ b) * 0x100000001b3;
    }
}

/// <summary>The state of a device as text, a line a field.</summary>
public sealed class StateDumper : StateVisitor
{
    private readonly StringBuilder _text = new();

    public static string Dump(IDevice device)
    {
        var dumper = new StateDumper { DeviceId = device.Id };
        device.State(dumper);
        return dumper._text.ToString();
    }

    protected override void Number(string name, ref ulong value, StateType type, int since) => _text.Append(name).Append(" = ").Append(value.ToString("x")).Append('\n');

    protected override void Fixed(string name, Span<byte> value, int since) => Bytes(name, value);

    protected override void Variable(string name, ref byte[] value, int maxLength, int since) => Bytes(name, value);

    private void Bytes(string name, ReadOnlySpan<byte> value) =>
        _text.Append(name).Append(" = ").Append(value.Length).Append(" bytes ").Append(Convert.ToHexStringLower(value[..Math.Min(value.Length, 32)])).Append(value.Length > 32 ? "...\n" : "\n");
}

/// <summary>The schema of a device: names, types and the version that added each. Kept under tests/data, so that a break of the format shows.</summary>
public sealed class StateSchema : StateVisitor
{
    private readonly StringBuilder _text = new();

    public static string Print(IDevice device)
    {
        var schema = new StateSchema { DeviceId = device.Id };
        schema._text.Append("version ").Append(device.StateVersion).Append('\n');
        device.State(schema);
        return schema._text.ToString();
    }

    protected override void Number(string name, ref ulong value, StateType type, int since) => Add(name, type.ToString(), since);

    protected override void Fixed(string name, Span<byte> value, int since) => Add(name, $"Bytes {value.Length}", since);

    protected override void Variable(string name, ref byte[] value, int maxLength, int since) => Add(name, $"Blob up to {maxLength}", since);

    private void Add(string name, string type, int since)
    {
        _text.Append(name).Append(' ').Append(type);
        if (since > 1) _text.Append(" since ").Append(since);
        _text.Append('\n');
    }
}
