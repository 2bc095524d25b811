using System;
using System.Globalization;
using System.Text;

namespace XenDM.Machines;

/// <summary>What stands behind the slash of the monitor's x and xp commands, as in 16xw: how many, in which form, of which size.</summary>
/// <param name="Count">At least 1.</param>
/// <param name="Letter">x hexadecimal, d signed, u unsigned, c characters, i instructions.</param>
/// <param name="Size">Bytes of an item: 1, 2, 4 or 8.</param>
internal readonly record struct MemoryFormat(int Count, char Letter, int Size)
{
    public bool IsCode => Letter == 'i';

    /// <returns>False when a letter is not known or the count is zero or too large.</returns>
    public static bool TryParse(string text, out MemoryFormat format)
    {
        var digits = 0;
        while (digits < text.Length && char.IsAsciiDigit(text[digits])) digits++;
        var count = 1;
        format = new MemoryFormat(1, 'x', 4);
        if (digits > 0 && (!int.TryParse(text.AsSpan(0, digits), NumberStyles.None, CultureInfo.InvariantCulture, out count) || count == 0)) return false;
        format = format with { Count = count };
        foreach (var letter in text.AsSpan(digits))
        {
            var size = letter switch { 'b' => 1, 'h' => 2, 'w' => 4, 'g' => 8, _ => 0 };
            if (size != 0) format = format with { Size = size };
            else if ("xduci".Contains(letter, StringComparison.Ordinal)) format = format with { Letter = letter, Size = letter == 'c' ? 1 : format.Size };
            else return false;
        }

        return true;
    }

    /// <summary>A number in decimal, or in hexadecimal after 0x.</summary>
    public static bool TryAddress(string text, out ulong address) => text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
        ? ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out address)
        : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out address);

    /// <summary>Each whole item of the bytes, with a space before it.</summary>
    public string Show(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        for (var at = 0; at + Size <= bytes.Length; at += Size)
        {
            ulong value = 0;
            for (var n = 0; n < Size; n++) value |= (ulong)bytes[at + n] << (8 * n);
            var signed = (long)(value << (64 - (8 * Size))) >> (64 - (8 * Size));
            text.Append(Letter switch
            {
                'd' => $" {signed}",
                'u' => $" {value}",
                'c' => value is >= 0x20 and < 0x7f ? $" '{(char)value}'" : $" \\x{value:x2}",
                _ => " 0x" + value.ToString($"x{2 * Size}", CultureInfo.InvariantCulture),
            });
        }

        return text.ToString();
    }
}
