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

    /// <summary>Mean difference of a colour from what its neighbours foretell, up to which the differences compress better than the colours.</summary>
    private const int MaxMeanError = 24;

    private readonly Palette _palette = new();

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

    /// <summary>A pixel is close to what its neighbours to the left and above foretell.</summary>
    public bool IsSmooth(Frame frame, PictureArea area)
    {
        if (area.Width < 2 || area.Height < 2) return false;
        long error = 0, seen = 0;
        for (var y = area.Y + 1; y < area.Y + area.Height; y += LineStep)
        {
            var above = frame.Line(y - 1).Slice(area.X, area.Width);
            var line = frame.Line(y).Slice(area.X, area.Width);
            for (var x = 1; x < line.Length; x++)
            {
                for (var shift = 0; shift < 24; shift += 8)
                {
                    int left = (byte)(line[x - 1] >> shift), up = (byte)(above[x] >> shift), upLeft = (byte)(above[x - 1] >> shift);
                    error += Math.Abs((byte)(line[x] >> shift) - Math.Clamp(left + up - upLeft, 0, 255));
                }
            }

            seen += (line.Length - 1) * 3;
        }

        return error <= seen * MaxMeanError;
    }
}
