namespace XenDM.Core.Display;

/// <summary>Keeps an adapter's pointer in a copy of its picture. What the pointer covers is whole in the picture itself.</summary>
public sealed class PointerLayer
{
    private CursorShape? _shape;
    private (int X, int Y) _place;
    private PictureArea? _area;

    /// <summary>A part of the pointer is in the copy.</summary>
    public bool IsVisible => _area is not null;

    /// <summary>The copy is another one, without a pointer.</summary>
    public void Forget() => _area = null;

    /// <summary>Puts the pointer where it is now, and takes it away where it was.</summary>
    /// <param name="copy">As the last call left it, but for <paramref name="fresh"/>, which is as in <paramref name="picture"/>.</param>
    /// <param name="fresh">What the pointer changed is added.</param>
    /// <param name="shape">Null for none.</param>
    public void Put(Frame copy, Frame picture, Damage fresh, CursorShape? shape, (int X, int Y) place)
    {
        var isMoved = shape != _shape || (shape is not null && place != _place);
        if (!isMoved && (shape is null || fresh.IsEmpty)) return;
        if (_area is { } old)
        {
            copy.Copy(picture, old);
            if (isMoved) fresh.Add(old.X, old.Y, old.Width, old.Height);
        }

        (_shape, _place) = (shape, place);
        _area = shape?.DrawOn(copy, place);
        if (isMoved && _area is { } area) fresh.Add(area.X, area.Y, area.Width, area.Height);
    }
}
