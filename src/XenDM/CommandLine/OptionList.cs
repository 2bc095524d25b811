using System;
using System.Collections.Generic;
using System.Globalization;

namespace XenDM.CommandLine;

/// <summary>
/// The value of one option in QEMU's syntax: <c>key=value</c> pairs joined by commas, the key of the first one may be left out, a bare key
/// means <c>on</c>, and <c>,,</c> stands for a comma in a value.
/// </summary>
/// <remarks>
/// libxl does not double the commas of paths. Therefore a piece that no key of the option explains is taken as the rest of a path
/// before it, where the value before it is a path: <c>file=/a,b.img,format=raw</c> works, unlike with QEMU.
/// </remarks>
public sealed class OptionList
{
    private readonly List<KeyValuePair<string, string>> _pairs = [];

    private OptionList(string option) => Option = option;

    /// <summary>The option with its dash.</summary>
    public string Option { get; }

    /// <summary>A value as it stands in a list: commas doubled.</summary>
    public static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);

    /// <summary>In the order given; a key may stand there twice.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Pairs => _pairs;

    /// <param name="impliedKey">The key of a first piece without one, or null.</param>
    /// <param name="pathKeys">Keys whose values may hold commas.</param>
    /// <param name="knownKeys">All keys of the option; null when any key is allowed, so that no piece can be the rest of a path.</param>
    public static OptionList Parse(string option, string text, string? impliedKey = null, string[]? pathKeys = null, string[]? knownKeys = null)
    {
        var list = new OptionList(option);
        var first = true;
        foreach (var piece in Split(text))
        {
            var equals = piece.IndexOf('=', StringComparison.Ordinal);
            var key = equals < 0 ? piece : piece[..equals];
            var continues = list._pairs.Count > 0 && pathKeys is not null && knownKeys is not null && Array.IndexOf(pathKeys, list._pairs[^1].Key) >= 0
                && Array.IndexOf(knownKeys, key) < 0;
            if (continues) list._pairs[^1] = new(list._pairs[^1].Key, list._pairs[^1].Value + "," + piece);
            else if (equals >= 0 && !(first && impliedKey is not null && knownKeys is not null && Array.IndexOf(knownKeys, key) < 0)) list._pairs.Add(new(key, piece[(equals + 1)..]));
            else if (first && impliedKey is not null) list._pairs.Add(new(impliedKey, piece));
            else if (piece.Length > 0) list._pairs.Add(new(piece, "on"));
            first = false;
        }

        return list;
    }

    /// <summary>The last value of a key, or null.</summary>
    public string? Get(string key)
    {
        for (var i = _pairs.Count - 1; i >= 0; i--)
            if (_pairs[i].Key == key) return _pairs[i].Value;
        return null;
    }

    /// <exception cref="UsageException">The key is missing.</exception>
    public string Require(string key) => Get(key) ?? throw new UsageException(Option, $"'{key}=' is missing");

    /// <summary>on, yes, true, y or off, no, false, n.</summary>
    /// <exception cref="UsageException">Another word.</exception>
    public bool GetBool(string key, bool otherwise) => Get(key) switch
    {
        null => otherwise,
        "on" or "yes" or "true" or "y" => true,
        "off" or "no" or "false" or "n" => false,
        var value => throw new UsageException(Option, $"'{key}={value}' must be on or off"),
    };

    /// <exception cref="UsageException">Not a number in the range.</exception>
    public long GetNumber(string key, long otherwise, long min, long max) =>
        Get(key) is { } value ? Number(Option, key, value, min, max) : otherwise;

    /// <summary>The number in <paramref name="text"/>: decimal, or hexadecimal after 0x.</summary>
    /// <exception cref="UsageException">Not a number in the range.</exception>
    public static long Number(string option, string what, string text, long min, long max)
    {
        var hex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        if (!long.TryParse(hex ? text.AsSpan(2) : text, hex ? NumberStyles.AllowHexSpecifier : NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            throw new UsageException(option, $"'{what}' must be a number, not '{text}'");
        if (number < min || number > max) throw new UsageException(option, $"'{what}' must be {min} to {max}, not {number}");
        return number;
    }

    /// <summary>Ends with an error that names the first key that is not in the list.</summary>
    /// <exception cref="UsageException">There is such a key.</exception>
    public void AllowOnly(params ReadOnlySpan<string> keys)
    {
        foreach (var pair in _pairs)
            if (keys.IndexOf(pair.Key) < 0) throw new UsageException(Option, $"'{pair.Key}' is not an option here; known are {string.Join(", ", keys.ToArray())}");
    }

    /// <summary>As a dictionary; of a key given twice the last counts.</summary>
    public Dictionary<string, string> ToDictionary()
    {
        var result = new Dictionary<string, string>();
        foreach (var pair in _pairs) result[pair.Key] = pair.Value;
        return result;
    }

    private static List<string> Split(string text)
    {
        var pieces = new List<string>();
        var piece = new System.Text.StringBuilder();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != ',') piece.Append(text[i]);
            else if (i + 1 < text.Length && text[i + 1] == ',')
            {
                piece.Append(',');
                i++;
            }
            else
            {
                pieces.Add(piece.ToString());
                piece.Clear();
            }
        }

        pieces.Add(piece.ToString());
        return pieces;
    }
}
