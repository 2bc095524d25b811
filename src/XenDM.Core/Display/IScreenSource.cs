using System;

namespace XenDM.Core.Display;

/// <summary>The shape of a pointer that the adapter draws over the picture.</summary>
/// <param name="Pixels">Lines of <paramref name="Width"/> pixels as AARRGGBB; alpha is 0 or ff.</param>
/// <param name="HotX">Where in it the pointer points, from the left.</param>
/// <param name="HotY">The same from the top.</param>
public sealed record CursorShape(int Width, int Height, int HotX, int HotY, ReadOnlyMemory<uint> Pixels)
{
    /// <summary>Draws the pointer with its left upper corner at a place; parts may lie outside.</summary>
    /// <returns>What of the picture it takes; null when all of it lies outside.</returns>
    public PictureArea? DrawOn(Frame frame, (int X, int Y) place)
    {
        var (left, top) = (Math.Max(place.X, 0), Math.Max(place.Y, 0));
        var (right, bottom) = ((int)Math.Min((long)place.X + Width, frame.Width), (int)Math.Min((long)place.Y + Height, frame.Height));
        if (right <= left || bottom <= top) return null;
        for (var y = top; y < bottom; y++)
        {
            var pixels = Pixels.Span.Slice((y - place.Y) * Width, Width)[(left - place.X)..];
            var line = frame.Line(y)[left..right];
            for (var x = 0; x < line.Length; x++)
                if (pixels[x] >> 24 != 0) line[x] = pixels[x] & 0xff_ffff;
        }

        return new PictureArea(left, top, right - left, bottom - top);
    }
}

/// <summary>A display adapter, or a guest's framebuffer, as those see it who show its picture. Machine thread only.</summary>
public interface IScreenSource
{
    /// <summary>Null while there is no picture. Ask each time: it changes with the guest's wishes.</summary>
    PictureSize? Size { get; }

    /// <summary>The adapter's own pointer, which is not in the picture; null for none. Another object when the shape is another one.</summary>
    CursorShape? Cursor => null;

    /// <summary>Where the left upper corner of <see cref="Cursor"/> lies in the picture; parts may lie outside.</summary>
    (int X, int Y) CursorPlace => (0, 0);

    /// <summary>Draws what changed since the last call.</summary>
    /// <param name="frame">A picture of <see cref="Size"/>, as the last call left it.</param>
    /// <param name="damage">What changed is added here; as small as can be known cheaply.</param>
    /// <param name="everything">Nothing of the frame is right: all is to be drawn, and all is damaged.</param>
    void Draw(Frame frame, Damage damage, bool everything);

    /// <summary>Called once when the picture may have changed, from within the guest's doing: it must only take note. Null: nobody waits.</summary>
    /// <returns>False when changes can come without a call, so that the source must be asked from time to time.</returns>
    bool NotifyOnce(Action? changed);

    /// <summary>How often somebody looks; 0 when nobody does, and nothing need be kept track of.</summary>
    void SetRefreshPeriod(int milliseconds);
}
