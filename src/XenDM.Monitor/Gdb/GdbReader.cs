using System;
using System.Buffers.Text;
using System.Globalization;

namespace XenDM.Monitor.Gdb;

/// <summary>What follows the name of a packet, read from left to right. Numbers are hexadecimal.</summary>
internal ref struct GdbReader(ReadOnlySpan<byte> text)
{
    public ReadOnlySpan<byte> Rest { get; private set; } = text;

    public readonly bool AtEnd => Rest.IsEmpty;

    /// <summary>Takes a character, if it comes next.</summary>
    public bool Take(char expected)
    {
        if (Rest.IsEmpty || Rest[0] != expected) return false;
        Rest = Rest[1..];
        return true;
    }

    /// <summary>Takes a word, if it comes next.</summary>
    public bool Take(ReadOnlySpan<byte> word)
    {
        if (!Rest.StartsWith(word)) return false;
        Rest = Rest[word.Length..];
        return true;
    }

    /// <summary>Takes all up to a separator, and the separator.</summary>
    public ReadOnlySpan<byte> TakeUpTo(byte separator)
    {
        var at = Rest.IndexOf(separator);
        var part = at < 0 ? Rest : Rest[..at];
        Rest = at < 0 ? default : Rest[(at + 1)..];
        return part;
    }

    /// <returns>False when there is none, or more than 64 bits of it.</returns>
    public bool TryNumber(out ulong value)
    {
        var digits = 0;
        while (digits < Rest.Length && char.IsAsciiHexDigit((char)Rest[digits])) digits++;
        var ok = ulong.TryParse(Rest[..digits], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
        Rest = Rest[digits..];
        return ok;
    }

    /// <summary>A number that is a place or a length here.</summary>
    public bool TryInt(out int value)
    {
        var ok = TryNumber(out var number) && number <= int.MaxValue;
        value = ok ? (int)number : 0;
        return ok;
    }

    /// <summary>Fills a buffer from two digits a byte.</summary>
    public bool TryBytes(scoped Span<byte> data)
    {
        if (Rest.Length < data.Length * 2) return false;
        for (var n = 0; n < data.Length; n++)
            if (!Utf8Parser.TryParse(Rest.Slice(2 * n, 2), out data[n], out var digits, 'x') || digits != 2) return false;
        Rest = Rest[(data.Length * 2)..];
        return true;
    }
}
