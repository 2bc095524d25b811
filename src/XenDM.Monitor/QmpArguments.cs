using System;
using System.Collections.Generic;
using System.Text.Json;

namespace XenDM.Monitor;

/// <summary>The arguments of one command; what is missing, of another type or unexpected is said in QEMU's words.</summary>
public readonly struct QmpArguments
{
    private readonly JsonElement? _object;

    public QmpArguments(JsonElement? arguments) => _object = arguments;

    /// <exception cref="QmpException">There is an argument that is not in the list.</exception>
    public void AllowOnly(params ReadOnlySpan<string> names)
    {
        if (_object is not { } all) return;
        foreach (var property in all.EnumerateObject())
            if (names.IndexOf(property.Name) < 0) throw new QmpException($"Parameter '{property.Name}' is unexpected");
    }

    /// <exception cref="QmpException">Missing, or no string.</exception>
    public string Text(string name) => OptionalText(name) ?? throw new QmpException($"Parameter '{name}' is missing");

    /// <exception cref="QmpException">No string.</exception>
    public string? OptionalText(string name)
    {
        if (!TryGet(name, out var value)) return null;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Wrong(name, "string");
    }

    /// <exception cref="QmpException">Missing, or no boolean.</exception>
    public bool Bool(string name) => OptionalBool(name) ?? throw new QmpException($"Parameter '{name}' is missing");

    /// <exception cref="QmpException">No boolean.</exception>
    public bool? OptionalBool(string name)
    {
        if (!TryGet(name, out var value)) return null;
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Wrong(name, "boolean");
    }

    /// <exception cref="QmpException">Missing, or no whole number from 0 on.</exception>
    public int Integer(string name) => OptionalInteger(name) ?? throw new QmpException($"Parameter '{name}' is missing");

    /// <exception cref="QmpException">No whole number from 0 on.</exception>
    public int? OptionalInteger(string name)
    {
        if (!TryGet(name, out var value)) return null;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number >= 0 ? number : throw Wrong(name, "integer");
    }

    /// <summary>The first text of an array; null when the array is missing or empty.</summary>
    /// <exception cref="QmpException">No array, or no text in it.</exception>
    public string? FirstOfArray(string name)
    {
        if (!TryGet(name, out var value)) return null;
        if (value.ValueKind != JsonValueKind.Array) throw Wrong(name, "array");
        if (value.GetArrayLength() == 0) return null;
        return value[0].ValueKind == JsonValueKind.String ? value[0].GetString() : throw Wrong(name + "[0]", "string");
    }

    /// <exception cref="QmpException">Missing, or no array.</exception>
    internal JsonElement Array(string name)
    {
        if (!TryGet(name, out var value)) throw new QmpException($"Parameter '{name}' is missing");
        return value.ValueKind == JsonValueKind.Array ? value : throw Wrong(name, "array");
    }

    /// <summary>
    /// All arguments as on a command line: a member of an object has its path as key (<c>addr.type</c>), each item of an array its own pair (the text in
    /// <c>str</c>, where that is what an item has), booleans are on and off.
    /// </summary>
    /// <exception cref="QmpException">Something that no command line has: null, or arrays in arrays.</exception>
    public List<KeyValuePair<string, string>> Flatten()
    {
        var pairs = new List<KeyValuePair<string, string>>();
        if (_object is { } all) Flatten(all, "", pairs);
        return pairs;
    }

    private static void Flatten(JsonElement element, string prefix, List<KeyValuePair<string, string>> pairs)
    {
        foreach (var property in element.EnumerateObject())
        {
            var name = prefix + property.Name;
            if (property.Value.ValueKind == JsonValueKind.Object) Flatten(property.Value, name + ".", pairs);
            else if (property.Value.ValueKind != JsonValueKind.Array) pairs.Add(new(name, Scalar(name, property.Value)));
            else
            {
                foreach (var item in property.Value.EnumerateArray())
                    pairs.Add(new(name, Scalar(name, item.ValueKind == JsonValueKind.Object && item.TryGetProperty("str", out var text) ? text : item)));
            }
        }
    }

    private static string Scalar(string name, JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.True => "on",
        JsonValueKind.False => "off",
        JsonValueKind.Number => value.GetRawText(),
        _ => throw Wrong(name, "string"),
    };

    private bool TryGet(string name, out JsonElement value)
    {
        value = default;
        return _object is { } all && all.TryGetProperty(name, out value);
    }

    private static QmpException Wrong(string name, string expected) => new($"Invalid parameter type for '{name}', expected: {expected}");
}
