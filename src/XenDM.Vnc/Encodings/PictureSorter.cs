using System;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>Tells natural pictures (photographs, films, shades) from plain ones (text, drawings), by a look at some of their lines.</summary>
internal sealed class PictureSorter
{
    /// <summary>Every so many-th line is looked at.</summary>
    private const int LineStep = 4;

    /// <summary>A natural picture has more colours than this in the lines looked at, and at most this share of its pixels equal the one to the left.</summary>
    private const int FewColours = 96, MaxEqualPercent = 40;

    /// <summary>
    /// Where a colour is not what its neighbours foretell: the mean difference up to which the differences compress better than the colours. Shades and
    /// photographs have 1 to 8, letters with soft edges 40 and more.
    /// </summary>
    private const int MaxMeanError = 16;

    /// <summary>Colours that are not as foretold, above which a search for differences that come again costs much and finds little.</summary>
    private const int MaxSmoothPercent = 20;

    /// <summary>Pixels that are like neither neighbour in noise at least, and pairs of pixels that come again at most.</summary>
    private const int MinNoisePercent = 90, MaxRepeatPercent = 5;

    private const int PairBits = 12;

    private readonly Palette _palette = new();
    private readonly ulong[] _pairs = new ulong[1 << PairBits];

    public static bool IsOneColour(Frame frame, PictureArea area, uint colour)
    {
        for (var y = area.Y; y < area.Y + area.Height; y++)
            if (frame.Line(y).Slice(area.X, area.Width).ContainsAnyExcept(colour)) return false;
        return true;
    }

    public bool IsNatural(Frame frame, PictureArea area)
    {
        _palette.Clear();
        int equal = 0, seen = 0;
        for (var y = area.Y; y < area.Y + area.Height; y += LineStep)
        {
            var last = uint.MaxValue;
            foreach (var pixel in frame.Line(y).Slice(area.X, area.Width))
            {
                if (pixel == last) equal++;
                else if (_palette.Count <= FewColours) _palette.TryAdd(pixel, FewColours + 1);
                last = pixel;
            }

            seen += area.Width;
        }

        return _palette.Count > FewColours && equal * 100 <= seen * MaxEqualPercent;
    }

    /// <summary>Finds out what compresses a picture of many colours best.</summary>
    /// <param name="isGradientAllowed">The client knows the gradient filter in this format.</param>
    public PictureKind Judge(Frame frame, PictureArea area, bool isGradientAllowed)
    {
        if (area.Width < 2 || area.Height < 2) return PictureKind.Drawing;
        int seen = 0, odd = 0, error = 0, fresh = 0;
        for (var y = area.Y + 1; y < area.Y + area.Height; y += LineStep)
        {
            var line = GradientPredictor.Try(frame.Line(y - 1).Slice(area.X, area.Width), frame.Line(y).Slice(area.X, area.Width));
            (odd, error, fresh, seen) = (odd + line.Odd, error + line.Error, fresh + line.Fresh, seen + area.Width - 1);
        }

        if (isGradientAllowed && error <= odd * MaxMeanError) return odd * 100 <= seen * 3 * MaxSmoothPercent ? PictureKind.Smooth : PictureKind.Rough;
        return fresh * 100 >= seen * MinNoisePercent && !Repeats(frame, area) ? PictureKind.Noise : PictureKind.Drawing;
    }

    /// <summary>Pairs of pixels come again: what looks like noise may be a pattern.</summary>
    private bool Repeats(Frame frame, PictureArea area)
    {
        const ulong factor = 0x9e3779b97f4a7c15;
        Array.Clear(_pairs);
        int again = 0, seen = 0;
        for (var y = area.Y; y < area.Y + area.Height; y += LineStep)
        {
            var line = frame.Line(y).Slice(area.X, area.Width);
            for (var x = 0; x < line.Length - 1; x++, seen++)
            {
                var pair = ((ulong)line[x] << 32) | line[x + 1] | 1UL << 63;
                ref var place = ref _pairs[(pair * factor) >> (64 - PairBits)];
                if (place == pair) again++;
                place = pair;
            }
        }

        return again * 100 > seen * MaxRepeatPercent;
    }
}

/// <summary>Pictures of many colours by what compresses them best.</summary>
internal enum PictureKind
{
    /// <summary>Letters with soft edges, icons: things come again.</summary>
    Drawing,

    /// <summary>Shades that the gradient filter foretells nearly everywhere.</summary>
    Smooth,

    /// <summary>Photographs: what is foretold is nearly right, and nothing comes again.</summary>
    Rough,

    /// <summary>Neither is foretold nor comes again.</summary>
    Noise,
}
