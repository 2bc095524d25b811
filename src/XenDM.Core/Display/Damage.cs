using System;
using System.Collections.Generic;
using System.Numerics;

namespace XenDM.Core.Display;

/// <summary>
/// Which parts of a picture changed: a bit for each tile of 16 x 16 pixels, so that what is told costs the same however often, and however
/// much, is told.
/// </summary>
public sealed class Damage
{
    /// <summary>Sides of a tile in pixels.</summary>
    public const int TileSide = 16;
    private const int WordBits = 64;

    private ulong[] _bits = [];
    private int _width, _height, _rowWords;

    public bool IsEmpty => !_bits.AsSpan().ContainsAnyExcept(0UL);

    private int Columns => (_width + TileSide - 1) / TileSide;

    private int Rows => (_height + TileSide - 1) / TileSide;

    /// <summary>The picture has another size now; nothing of it is damaged.</summary>
    public void Resize(int width, int height)
    {
        (_width, _height) = (width, height);
        _rowWords = (Columns + WordBits - 1) / WordBits;
        var words = _rowWords * Rows;
        if (_bits.Length != words) _bits = new ulong[words];
        else Clear();
    }

    public void Clear() => Array.Clear(_bits);

    public void AddAll() => Add(0, 0, _width, _height);

    /// <summary>Adds an area; what lies outside of the picture is left out.</summary>
    public void Add(int x, int y, int width, int height)
    {
        long right = Math.Min((long)x + width, _width), bottom = Math.Min((long)y + height, _height);
        (x, y) = (Math.Max(x, 0), Math.Max(y, 0));
        if (right <= x || bottom <= y) return;
        int first = x / TileSide, last = (int)(right - 1) / TileSide;
        for (int row = y / TileSide, end = (int)(bottom - 1) / TileSide; row <= end; row++)
        {
            var line = _bits.AsSpan(row * _rowWords, _rowWords);
            for (var word = first / WordBits; word <= last / WordBits; word++)
            {
                var from = Math.Max(first - (word * WordBits), 0);
                var count = Math.Min(last - (word * WordBits), WordBits - 1) - from + 1;
                line[word] |= (ulong.MaxValue >> (WordBits - count)) << from;
            }
        }
    }

    /// <summary>Adds what another one has of a picture of the same size.</summary>
    public void Add(Damage other)
    {
        if (other._width != _width || other._height != _height) throw new ArgumentException("damage of pictures of different sizes", nameof(other));
        for (var i = 0; i < _bits.Length; i++) _bits[i] |= other._bits[i];
    }

    /// <summary>
    /// Adds areas that cover all tiles, each tile once, to a list: runs of tiles, and equal runs of rows below one another as one. Keeps the damage.
    /// </summary>
    public void AddTo(List<PictureArea> areas)
    {
        var start = areas.Count;
        for (var row = 0; row < Rows; row++)
        {
            for (var column = NextSet(row, 0); column < Columns;)
            {
                var end = NextClear(row, column);
                var (x, y) = (column * TileSide, row * TileSide);
                var (width, height) = (Math.Min(end * TileSide, _width) - x, Math.Min(y + TileSide, _height) - y);
                if (!TryGrow(areas, start, x, y, width, height)) areas.Add(new PictureArea(x, y, width, height));
                column = NextSet(row, end);
            }
        }
    }

    private static bool TryGrow(List<PictureArea> areas, int start, int x, int y, int width, int height)
    {
        // Only areas of the row above can end here, and they are among the last ones.
        for (var i = areas.Count - 1; i >= start && areas[i].Y + areas[i].Height >= y; i--)
        {
            var area = areas[i];
            if (area.X != x || area.Width != width || area.Y + area.Height != y) continue;
            areas[i] = area with { Height = area.Height + height };
            return true;
        }

        return false;
    }

    private int NextSet(int row, int column)
    {
        for (; column < Columns; column = (column | (WordBits - 1)) + 1)
        {
            var word = _bits[(row * _rowWords) + (column / WordBits)] >> (column % WordBits);
            if (word != 0) return column + BitOperations.TrailingZeroCount(word);
        }

        return Columns;
    }

    private int NextClear(int row, int column)
    {
        for (; column < Columns; column = (column | (WordBits - 1)) + 1)
        {
            var word = ~_bits[(row * _rowWords) + (column / WordBits)] >> (column % WordBits);
            if (word != 0) return Math.Min(column + BitOperations.TrailingZeroCount(word), Columns);
        }

        return Columns;
    }
}
