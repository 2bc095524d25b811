using System.Collections.Generic;

namespace XenDM.Core.Backends;

/// <summary>A part of a picture in pixels; 0, 0 is the left upper corner.</summary>
public readonly record struct PictureArea(int X, int Y, int Width, int Height);

/// <summary>Size and pixels of a picture.</summary>
/// <param name="Depth">Bits of a pixel: 8 (red 3, green 3, blue 2), 16 (5, 6, 5) or 32 (unused 8, then 8 each); blue in the lowest bits.</param>
public readonly record struct PictureFormat(int Width, int Height, int Depth)
{
    public int PixelBytes => Depth / 8;
}

/// <summary>A guest's picture for whoever shows it. Machine thread only.</summary>
public interface IPictureSource
{
    /// <summary>Null while there is no picture. Ask each time: it changes with the guest's wishes.</summary>
    PictureFormat? Format { get; }

    /// <summary>Copies pixels of one line out, little endian.</summary>
    /// <param name="x">First pixel.</param>
    /// <param name="y">Line.</param>
    /// <param name="pixels">Whole pixels; they must lie within the picture as <see cref="Format"/> is now.</param>
    void Read(int x, int y, System.Span<byte> pixels);

    /// <summary>Adds what changed since the last call, within the picture; all of it after a change of <see cref="Format"/>.</summary>
    void TakeDamage(List<PictureArea> areas);

    /// <summary>How often somebody looks; 0 when nobody does, and the guest need not draw.</summary>
    void SetRefreshPeriod(int milliseconds);
}
