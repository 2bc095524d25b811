using System;
using System.Collections.Generic;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Brings a picture that clients were shown up to date with the guest's, and finds out what really changed: a source of pictures knows pages of memory
/// at best, and a guest draws many things as they were. Once for all clients, and at about the price of the copy that it makes.
/// </summary>
public sealed class PictureTracker
{
    /// <summary>A search for scrolling begins when so much of the picture (a part of this many) changed.</summary>
    private const int ScrollShare = 12;

    private readonly ScrollFinder _scroll = new();
    private readonly List<PictureArea> _areas = [];

    /// <summary>What moved in the last update; null for nothing.</summary>
    public ScrollMove? Move { get; private set; }

    /// <summary>What a client must be sent that first did the move, and had the picture before it; without a move it is all that changed.</summary>
    public Damage AfterMove { get; } = new();

    /// <param name="shown">Becomes as <paramref name="now"/> is, where that changed.</param>
    /// <param name="now">Of the same size.</param>
    /// <param name="suspected">Outside of it the pictures are equal.</param>
    /// <param name="changed">What a client must be sent that knows nothing of a move is added here.</param>
    /// <param name="findMove">A client is there that knows CopyRect.</param>
    public void Update(Frame shown, Frame now, Damage suspected, Damage changed, bool findMove)
    {
        Move = null;
        AfterMove.Resize(now.Width, now.Height);
        _areas.Clear();
        suspected.AddTo(_areas);
        if (findMove && TryMove(shown, now, changed)) return;
        Compare(shown, now, AfterMove);
        changed.Add(AfterMove);
    }

    private bool TryMove(Frame shown, Frame now, Damage changed)
    {
        // What changed at all, from the first to the last line and column.
        var bounds = Bounds(shown, now);
        if ((long)bounds.Width * bounds.Height * ScrollShare < (long)now.Width * now.Height || !_scroll.TryFind(shown, now, bounds, out var move)) return false;
        Move = move;
        changed.Add(move.Area.X, move.Area.Y, move.Area.Width, move.Area.Height);
        ScrollFinder.Apply(move, shown);

        // What was suspected before may still differ, and what the move brought is right.
        Compare(shown, now, AfterMove);
        changed.Add(AfterMove);
        return true;
    }

    /// <summary>Tiles of the areas that differ are added to the damage, and copied.</summary>
    private void Compare(Frame shown, Frame now, Damage damage)
    {
        const int side = Damage.TileSide;
        foreach (var area in _areas)
        {
            int right = area.X + area.Width, bottom = area.Y + area.Height;
            for (var top = area.Y; top < bottom; top = (top + side) / side * side)
            {
                var end = Math.Min((top + side) / side * side, bottom);
                for (var y = top; y < end; y++)
                {
                    ReadOnlySpan<uint> old = shown.Line(y)[area.X..right], line = now.Line(y)[area.X..right];
                    for (var x = old.CommonPrefixLength(line); x < line.Length;)
                    {
                        // The whole tile is to be sent: what of it lies in later lines is copied with it, and not looked at again.
                        var tile = (area.X + x) / side * side;
                        var (from, to) = (Math.Max(tile, area.X), Math.Min(tile + side, right));
                        var part = new PictureArea(from, y, to - from, end - y);
                        damage.Add(from, y, to - from, 1);
                        shown.Copy(now, part);
                        x = to - area.X;
                        x += old[x..].CommonPrefixLength(line[x..]);
                    }
                }
            }
        }
    }

    private PictureArea Bounds(Frame shown, Frame now)
    {
        int left = now.Width, top = now.Height, right = 0, bottom = 0;
        foreach (var area in _areas)
        {
            for (var y = area.Y; y < area.Y + area.Height; y++)
            {
                ReadOnlySpan<uint> old = shown.Line(y).Slice(area.X, area.Width), line = now.Line(y).Slice(area.X, area.Width);
                var first = old.CommonPrefixLength(line);
                if (first == line.Length) continue;
                var last = line.Length - 1;
                while (old[last] == line[last]) last--;
                (left, right) = (Math.Min(left, area.X + first), Math.Max(right, area.X + last + 1));
                (top, bottom) = (Math.Min(top, y), Math.Max(bottom, y + 1));
            }
        }

        return right > left ? new PictureArea(left, top, right - left, bottom - top) : default;
    }
}
