using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Text;

namespace XenDM.Core.State;

/// <summary>Writes a state file (<see cref="StateFormat"/>).</summary>
public sealed class StateWriter : StateVisitor, IDisposable
{
    private readonly MemoryStream _fields = new();

    /// <summary>Saves all devices. The machine must be stopped and drained.</summary>
    /// <exception cref="IOException">The stream cannot be written.</exception>
    public static void Save(IEnumerable<IDevice> devices, Stream output)
    {
        Span<byte> header = stackalloc byte[16];
        StateFormat.Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], StateFormat.FormatVersion);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], Crc32.Compute(header[..12]));
        output.Write(header);
        var sorted = new List<IDevice>(devices);
        sorted.Sort(static (a, b) => string.CompareOrdinal(a.Id, b.Id));
        foreach (var device in sorted) output.Write(SaveDevice(device));
        Span<byte> end = stackalloc byte[9];
        end[0] = StateFormat.EndMark;
        BinaryPrimitives.WriteInt32LittleEndian(end[1..], sorted.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(end[5..], Crc32.Compute(end.Slice(1, 4)));
        output.Write(end);
        output.Flush();
    }

    /// <summary>One device section, complete.</summary>
    public static byte[] SaveDevice(IDevice device)
    {
        device.Saving();
        using var writer = new StateWriter { DeviceId = device.Id };
        device.State(writer);
        var id = Encoding.UTF8.GetBytes(device.Id);
        var fields = writer._fields.ToArray();
        var section = new byte[2 + id.Length + 2 + 4 + 4 + fields.Length];
        section[0] = StateFormat.DeviceMark;
        section[1] = checked((byte)id.Length);
        id.CopyTo(section, 2);
        var at = 2 + id.Length;
        BinaryPrimitives.WriteUInt16LittleEndian(section.AsSpan(at), (ushort)device.StateVersion);
        BinaryPrimitives.WriteInt32LittleEndian(section.AsSpan(at + 2), fields.Length);
        fields.CopyTo(section, at + 10);
        var crc = Crc32.Compute(section.AsSpan(2, at + 4));
        BinaryPrimitives.WriteUInt32LittleEndian(section.AsSpan(at + 6), Crc32.Compute(fields, crc));
        return section;
    }

    public void Dispose() => _fields.Dispose();

    protected override void Number(string name, ref ulong value, StateType type, int since)
    {
        Head(name, type);
        Span<byte> raw = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(raw, value);
        _fields.Write(raw[..StateFormat.ValueBytes(type)]);
    }

    protected override void Fixed(string name, Span<byte> value, int since) => Write(name, StateType.Bytes, value);

    protected override void Variable(string name, ref byte[] value, int maxLength, int since)
    {
        if (value.Length > maxLength) Fail(name, $"{value.Length} bytes are more than {maxLength}");
        Write(name, StateType.Blob, value);
    }

    private void Write(string name, StateType type, ReadOnlySpan<byte> value)
    {
        Head(name, type);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, value.Length);
        _fields.Write(length);
        _fields.Write(value);
    }

    private void Head(string name, StateType type)
    {
        _fields.WriteByte((byte)type);
        var bytes = Encoding.UTF8.GetBytes(name);
        _fields.WriteByte(checked((byte)bytes.Length));
        _fields.Write(bytes);
    }
}
