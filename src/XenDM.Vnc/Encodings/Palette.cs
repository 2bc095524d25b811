using System;

namespace XenDM.Vnc.Encodings;

/// <summary>The colours of a small picture in the order in which they were met, up to a number that its user gives.</summary>
internal sealed class Palette
{
    public const int MaxColours = 256;

    // Four places for each colour, so that a search is short. A place is empty when its mark is an older one.
    private const int Places = MaxColours * 4;
    private const int HashShift = 32 - 10;
    private const uint HashFactor = 0x9e3779b1;

    private readonly uint[] _colours = new uint[MaxColours];
    private readonly uint[] _keys = new uint[Places];
    private readonly int[] _marks = new int[Places];
    private readonly byte[] _indices = new byte[Places];
    private int _mark = 1;

    public int Count { get; private set; }

    public ReadOnlySpan<uint> Colours => _colours.AsSpan(0, Count);

    public void Clear()
    {
        Count = 0;
        if (_mark++ != int.MaxValue) return;
        Array.Clear(_marks);
        _mark = 1;
    }

    /// <summary>Adds a colour that is not there yet.</summary>
    /// <param name="limit">Colours at most, up to <see cref="MaxColours"/>.</param>
    /// <returns>False when there is no room.</returns>
    public bool TryAdd(uint colour, int limit)
    {
        var place = Find(colour);
        if (_marks[place] == _mark) return true;
        if (Count >= limit) return false;
        (_marks[place], _keys[place], _indices[place]) = (_mark, colour, (byte)Count);
        _colours[Count++] = colour;
        return true;
    }

    /// <summary>The number of a colour that was added.</summary>
    public byte IndexOf(uint colour) => _indices[Find(colour)];

    private int Find(uint colour)
    {
        var place = (int)((colour * HashFactor) >> HashShift);
        while (_marks[place] == _mark && _keys[place] != colour) place = (place + 1) % Places;
        return place;
    }
}
