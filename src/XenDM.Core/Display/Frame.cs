using System;

namespace XenDM.Core.Display;

/// <summary>A picture in memory: lines of pixels as 00RRGGBB (in memory: blue, green, red, 0), from the top, without gaps.</summary>
public sealed class Frame
{
    /// <summary>Largest sides. A screen that is larger is cut off.</summary>
    public const int MaxWidth = 8192, MaxHeight = 8192;

    private uint[] _pixels = [];

    /// <summary>Pixels of a line, up to <see cref="MaxWidth"/>; 0 before there was a picture.</summary>
    public int Width { get; private set; }

    /// <summary>Lines, up to <see cref="MaxHeight"/>.</summary>
    public int Height { get; private set; }

    /// <summary>All lines, one after the other.</summary>
    public Span<uint> Pixels => _pixels.AsSpan(0, Width * Height);

    public Span<uint> Line(int y) => _pixels.AsSpan(y * Width, Width);

    /// <summary>Gives the picture another size; it is black then.</summary>
    /// <returns>False when it has this size already and stays as it is.</returns>
    public bool Resize(int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(width);
        ArgumentOutOfRangeException.ThrowIfNegative(height);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(width, MaxWidth);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(height, MaxHeight);
        if (width == Width && height == Height) return false;
        (Width, Height) = (width, height);
        if (_pixels.Length < width * height || _pixels.Length > 4 * width * height) _pixels = new uint[width * height];
        else Pixels.Clear();
        return true;
    }

    /// <summary>Copies an area of a picture of the same size.</summary>
    /// <param name="area">Within the picture.</param>
    public void Copy(Frame from, PictureArea area)
    {
        for (var y = area.Y; y < area.Y + area.Height; y++) from.Line(y).Slice(area.X, area.Width).CopyTo(Line(y).Slice(area.X, area.Width));
    }
}
