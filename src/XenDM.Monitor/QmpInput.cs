using System.Collections.Generic;
using System.Text.Json;
using XenDM.Core.Input;

namespace XenDM.Monitor;

/// <summary>The commands that type and point, in QEMU's words (qapi/ui.json).</summary>
internal static class QmpInput
{
    private static readonly Dictionary<string, PointerButtons> s_buttons = new()
    {
        ["left"] = PointerButtons.Left,
        ["middle"] = PointerButtons.Middle,
        ["right"] = PointerButtons.Right,
        ["side"] = PointerButtons.Side,
        ["extra"] = PointerButtons.Extra,
        ["touch"] = PointerButtons.Left,
    };

    public static void QueryMice(MonitorInput? input, Utf8JsonWriter w)
    {
        w.WriteStartArray();
        for (var n = 0; n < (input?.Pointers.Count ?? 0); n++)
        {
            var pointer = input!.Pointers[n];
            w.WriteStartObject();
            w.WriteString("name", pointer.Name);
            w.WriteNumber("index", n);
            w.WriteBoolean("current", pointer == input.Pointer);
            w.WriteBoolean("absolute", pointer.IsAbsolute);
            w.WriteEndObject();
        }

        w.WriteEndArray();
    }

    public static void SendKey(MonitorInput? input, QmpArguments a)
    {
        var keys = new List<ushort>();
        var items = a.Array("keys");
        for (var n = 0; n < items.GetArrayLength(); n++) keys.Add(Key(items[n], $"keys[{n}]"));
        var hold = a.OptionalInteger("hold-time") ?? MonitorInput.DefaultHold;
        if (keys.Count > 0) Real(input).Send(keys, hold);
    }

    /// <summary>All events are understood before the first is carried out.</summary>
    public static void SendEvents(MonitorInput? input, QmpArguments a)
    {
        // There is one screen, whose name and number clients may give.
        a.OptionalText("device");
        a.OptionalInteger("head");
        var items = a.Array("events");
        var events = new List<Event>();
        for (var n = 0; n < items.GetArrayLength(); n++) events.Add(Parse(items[n], $"events[{n}]"));
        if (events.Count == 0) return;
        var target = Real(input);
        foreach (var e in events)
            if (e.Kind is "rel" or "abs" && !target.HasPointer(e.Kind == "abs")) throw new QmpException($"Input handler not found for event type {e.Kind}");
        Run(target, events);
    }

    /// <param name="Name">Of the axis or button.</param>
    private readonly record struct Event(string Kind, string Name, ushort Key, bool Down, int Value);

    /// <summary>The two halves of a movement are one.</summary>
    private static void Run(MonitorInput input, List<Event> events)
    {
        int x = 0, y = 0;
        int? atX = null, atY = null;
        foreach (var e in events)
        {
            switch (e.Kind)
            {
                case "rel" when e.Name == "x": x += e.Value; break;
                case "rel": y += e.Value; break;
                case "abs" when e.Name == "x": atX = e.Value; break;
                case "abs": atY = e.Value; break;
                case "key":
                    input.Key(e.Key, e.Down);
                    break;
                default:
                    Move();
                    Button(input, e.Name, e.Down);
                    break;
            }
        }

        Move();

        void Move()
        {
            if ((x | y) != 0) input.MoveBy(x, y, 0, 0);
            if (atX is not null || atY is not null) input.MoveTo(atX, atY);
            (x, y, atX, atY) = (0, 0, null, null);
        }
    }

    private static void Button(MonitorInput input, string name, bool down)
    {
        var (wheel, sideWheel) = name switch
        {
            "wheel-up" => (-1, 0),
            "wheel-down" => (1, 0),
            "wheel-left" => (0, -1),
            "wheel-right" => (0, 1),
            _ => (0, 0),
        };
        if ((wheel | sideWheel) == 0) input.Button(s_buttons[name], down);
        else if (down) input.MoveBy(0, 0, wheel, sideWheel);
    }

    private static Event Parse(JsonElement item, string path)
    {
        var kind = Text(item, path, "type");
        if (kind is not ("key" or "btn" or "rel" or "abs"))
            throw kind == "mtt" ? new QmpException("Input handler not found for event type mtt") : new QmpException($"Parameter '{path}.type' does not accept value '{kind}'");
        var data = Member(item, path, "data");
        path += ".data";
        if (kind == "key") return new Event(kind, "", Key(Member(data, path, "key"), $"{path}.key"), Bool(data, path, "down"), 0);
        if (kind == "btn")
        {
            var down = Bool(data, path, "down");
            var button = Text(data, path, "button");
            if (!s_buttons.ContainsKey(button) && button is not ("wheel-up" or "wheel-down" or "wheel-left" or "wheel-right"))
                throw new QmpException($"Parameter '{path}.button' does not accept value '{button}'");
            return new Event(kind, button, 0, down, 0);
        }

        var axis = Text(data, path, "axis");
        if (axis is not ("x" or "y")) throw new QmpException($"Parameter '{path}.axis' does not accept value '{axis}'");
        var value = Number(data, path, "value");
        return new Event(kind, axis, 0, false, (int)System.Math.Clamp(value, -0xffff, 0xffff));
    }

    private static ushort Key(JsonElement item, string path)
    {
        ushort key;
        var kind = Text(item, path, "type");
        if (kind == "qcode")
        {
            var name = Text(item, path, "data");
            if (KeyNames.TryGet(name, out key)) return key;
            throw new QmpException($"Parameter '{path}.data' does not accept value '{name}'");
        }

        if (kind != "number") throw new QmpException($"Parameter '{path}.type' does not accept value '{kind}'");
        var number = Number(item, path, "data");
        return KeyNames.TryGet(number, out key) ? key : throw new QmpException($"Parameter '{path}.data' does not accept value '{number}'");
    }

    private static MonitorInput Real(MonitorInput? input) => input ?? throw new QmpException("there is no guest to type to");

    private static JsonElement Member(JsonElement item, string path, string name)
    {
        if (item.ValueKind != JsonValueKind.Object) throw new QmpException($"Invalid parameter type for '{path}', expected: object");
        return item.TryGetProperty(name, out var value) ? value : throw new QmpException($"Parameter '{path}.{name}' is missing");
    }

    private static string Text(JsonElement item, string path, string name)
    {
        var value = Member(item, path, name);
        return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw new QmpException($"Invalid parameter type for '{path}.{name}', expected: string");
    }

    private static bool Bool(JsonElement item, string path, string name)
    {
        var value = Member(item, path, name);
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw new QmpException($"Invalid parameter type for '{path}.{name}', expected: boolean");
    }

    private static long Number(JsonElement item, string path, string name)
    {
        var value = Member(item, path, name);
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out var number) ? number : throw new QmpException($"Invalid parameter type for '{path}.{name}', expected: integer");
    }
}
