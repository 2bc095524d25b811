using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;

namespace XenDM.Core.State;

/// <summary>Reads a state file. Everything is checked before the first field of a device is changed; a damaged file names its device.</summary>
public sealed class StateReader : StateVisitor
{
    private readonly Dictionary<string, Field> _fields;
    private readonly byte[] _data;
    private readonly int _version;

    private readonly record struct Field(StateType Type, int Start, int Length);

    private readonly record struct Section(string Id, int Version, Dictionary<string, Field> Fields);

    private StateReader(string device, int version, Dictionary<string, Field> fields, byte[] data)
    {
        DeviceId = device;
        _version = version;
        _fields = fields;
        _data = data;
    }

    public override bool IsLoading => true;

    /// <summary>Restores all devices of a board from a file that holds exactly them.</summary>
    /// <exception cref="StateException">The file is foreign, damaged, or of another machine. Names the device and the field.</exception>
    public static void Load(IReadOnlyCollection<IDevice> devices, byte[] file)
    {
        var sections = Parse(file);
        foreach (var device in devices)
            if (!sections.ContainsKey(device.Id)) throw new StateException(device.Id, "", "the saved machine has no such device");
        foreach (var section in sections.Values)
        {
            var found = false;
            foreach (var device in devices) found |= device.Id == section.Id;
            if (!found) throw new StateException(section.Id, "", "this machine has no such device");
        }

        foreach (var device in devices)
        {
            var section = sections[device.Id];
            if (section.Version > device.StateVersion)
                throw new StateException(device.Id, "", $"saved as version {section.Version}, this program knows up to {device.StateVersion}");
            device.State(new StateReader(device.Id, section.Version, section.Fields, file));
        }

        foreach (var device in devices) device.Restored();
    }

    protected override void Number(string name, ref ulong value, StateType type, int since)
    {
        if (!TryGet(name, type, since, out var field)) return;
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        _data.AsSpan(field.Start, field.Length).CopyTo(raw);
        value = BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }

    protected override void Fixed(string name, Span<byte> value, int since)
    {
        if (!TryGet(name, StateType.Bytes, since, out var field)) return;
        if (field.Length != value.Length) Fail(name, $"{field.Length} bytes were saved, {value.Length} are needed");
        _data.AsSpan(field.Start, field.Length).CopyTo(value);
    }

    protected override void Variable(string name, ref byte[] value, int maxLength, int since)
    {
        if (!TryGet(name, StateType.Blob, since, out var field)) return;
        if (field.Length > maxLength) Fail(name, $"{field.Length} bytes are more than {maxLength}");
        value = _data.AsSpan(field.Start, field.Length).ToArray();
    }

    private bool TryGet(string name, StateType type, int since, out Field field)
    {
        if (!_fields.TryGetValue(name, out field))
        {
            if (since <= _version) Fail(name, "missing in the file");
            return false;
        }

        if (field.Type != type) Fail(name, $"saved as {field.Type}, not as {type}");
        return true;
    }

    private static Dictionary<string, Section> Parse(byte[] file)
    {
        CheckHeader(file);
        var sections = new Dictionary<string, Section>();
        var at = 16;
        while (true)
        {
            if (at >= file.Length) throw new StateException("state file", "", $"cut off after {file.Length} bytes");
            if (file[at] == StateFormat.EndMark)
            {
                CheckEnd(file, at, sections.Count);
                return sections;
            }

            var section = ParseSection(file, ref at);
            if (!sections.TryAdd(section.Id, section)) throw new StateException(section.Id, "", "saved twice");
        }
    }

    private static void CheckHeader(byte[] file)
    {
        ReadOnlySpan<byte> data = file;
        if (data.Length >= 4 && BinaryPrimitives.ReadUInt32BigEndian(data) == 0x5145564d)
            throw new StateException("state file", "", "written by QEMU; only a state written by XenDM can be restored");
        if (data.Length < 16) throw new StateException("state file", "", $"only {data.Length} bytes long");
        if (!data[..8].SequenceEqual(StateFormat.Magic)) throw new StateException("state file", "", "not a XenDM state file");
        if (BinaryPrimitives.ReadUInt32LittleEndian(data[12..]) != Crc32.Compute(data[..12])) throw new StateException("state file", "", "the header is damaged");
        var version = BinaryPrimitives.ReadUInt32LittleEndian(data[8..]);
        if (version != StateFormat.FormatVersion) throw new StateException("state file", "", $"format version {version} is unknown");
    }

    private static void CheckEnd(ReadOnlySpan<byte> file, int at, int count)
    {
        var end = file[(at + 1)..];
        if (end.Length < 8 || BinaryPrimitives.ReadUInt32LittleEndian(end[4..]) != Crc32.Compute(end[..4])) throw new StateException("state file", "", "the end is damaged");
        if (BinaryPrimitives.ReadInt32LittleEndian(end) != count) throw new StateException("state file", "", "devices are missing");
    }

    private static Section ParseSection(byte[] file, ref int at)
    {
        var rest = file.AsSpan(at);
        if (rest[0] != StateFormat.DeviceMark) throw new StateException("state file", "", $"damaged at byte {at}");
        if (rest.Length < 2 || rest.Length < 2 + rest[1] + 10) throw new StateException("state file", "", $"cut off after {file.Length} bytes");
        var id = Encoding.UTF8.GetString(rest.Slice(2, rest[1]));
        var head = 2 + rest[1];
        var version = BinaryPrimitives.ReadUInt16LittleEndian(rest[head..]);
        var length = BinaryPrimitives.ReadInt32LittleEndian(rest[(head + 2)..]);
        var crc = BinaryPrimitives.ReadUInt32LittleEndian(rest[(head + 6)..]);
        if (length < 0 || length > StateFormat.MaxDeviceBytes || length > rest.Length - head - 10)
            throw new StateException(id, "", $"cut off: {length} bytes announced, {rest.Length - head - 10} there");
        var fields = rest.Slice(head + 10, length);
        if (Crc32.Compute(fields, Crc32.Compute(rest[2..(head + 6)])) != crc) throw new StateException(id, "", "damaged: the checksum does not match");
        var start = at + head + 10;
        at = start + length;
        return new Section(id, version, ParseFields(id, file, start, length));
    }

    private static Dictionary<string, Field> ParseFields(string device, byte[] file, int start, int length)
    {
        var fields = new Dictionary<string, Field>();
        int at = start, end = start + length;
        while (at < end)
        {
            if (end - at < 2 || end - at < 2 + file[at + 1]) throw new StateException(device, "", "the list of fields is damaged");
            var type = (StateType)file[at];
            var name = Encoding.UTF8.GetString(file, at + 2, file[at + 1]);
            at += 2 + file[at + 1];
            var bytes = StateFormat.ValueBytes(type);
            if (type is StateType.Bytes or StateType.Blob)
            {
                if (end - at < 4) throw new StateException(device, name, "cut off");
                bytes = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(at));
                at += 4;
            }
            else if (bytes == 0) throw new StateException(device, name, $"type {(int)type} is unknown");

            if (bytes < 0 || bytes > end - at) throw new StateException(device, name, "cut off");
            if (!fields.TryAdd(name, new Field(type, at, bytes))) throw new StateException(device, name, "saved twice");
            at += bytes;
        }

        return fields;
    }
}
