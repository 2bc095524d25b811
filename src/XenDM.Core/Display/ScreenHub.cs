using System;
using System.Collections.Generic;

namespace XenDM.Core.Display;

/// <summary>
/// What the guest shows, for all who look: one frame that is brought up to date when one of them asks, and for each of them what changed since
/// he took it last. Of several sources the newest that has a picture is shown. Machine thread only; costs nothing while nobody looks.
/// </summary>
public sealed class ScreenHub
{
    private readonly List<IScreenSource> _sources = [];
    private readonly List<ScreenViewer> _viewers = [];
    private readonly Damage _damage = new();
    private IScreenSource? _shown;
    private bool _isStale = true;

    /// <summary>As of the last <see cref="Refresh"/>, without the pointer.</summary>
    public Frame Frame { get; } = new();

    /// <summary>The adapter's own pointer as of the last <see cref="Refresh"/>; null for none.</summary>
    public CursorShape? Cursor { get; private set; }

    /// <summary>Where the left upper corner of <see cref="Cursor"/> lies.</summary>
    public (int X, int Y) CursorPlace { get; private set; }

    /// <summary>What a person sees as of the last <see cref="Refresh"/>: the frame with the pointer in it. To look at, until the next refresh.</summary>
    public Frame Picture
    {
        get
        {
            if (Cursor is null) return Frame;
            var picture = new Frame();
            picture.Resize(Frame.Width, Frame.Height);
            Frame.Pixels.CopyTo(picture.Pixels);
            Cursor.DrawOn(picture, CursorPlace);
            return picture;
        }
    }

    /// <summary>Somebody looks.</summary>
    public bool IsWatched => _viewers.Count > 0;

    public void Add(IScreenSource source)
    {
        _sources.Add(source);
        Retime();
        foreach (var viewer in _viewers.ToArray()) viewer.Ring();
    }

    public void Remove(IScreenSource source)
    {
        _sources.Remove(source);
        source.SetRefreshPeriod(0);
        source.NotifyOnce(null);
        if (_shown == source) _shown = null;
        foreach (var viewer in _viewers.ToArray()) viewer.Ring();
    }

    /// <summary>Begins to look: all of the picture is new to the viewer.</summary>
    public ScreenViewer Open()
    {
        var viewer = new ScreenViewer(this);
        viewer.Damage.Resize(Frame.Width, Frame.Height);
        viewer.Damage.AddAll();
        _viewers.Add(viewer);
        if (_viewers.Count == 1) _isStale = true;
        Retime();
        return viewer;
    }

    /// <summary>Brings <see cref="Frame"/> up to date and tells every viewer what changed. Without a source the frame is as it was.</summary>
    public void Refresh()
    {
        var source = Current();
        if (source?.Size is not { } size) return;
        size = new PictureSize(Math.Min(size.Width, Frame.MaxWidth), Math.Min(size.Height, Frame.MaxHeight));
        var everything = source != _shown || _isStale;
        if (Frame.Resize(size.Width, size.Height) || everything)
        {
            everything = true;
            _damage.Resize(size.Width, size.Height);
        }

        (_shown, _isStale) = (source, false);
        source.Draw(Frame, _damage, everything);
        (Cursor, CursorPlace) = (source.Cursor, source.CursorPlace);
        foreach (var viewer in _viewers) viewer.Take(_damage, Frame, everything);
        _damage.Clear();

        // Without a viewer nothing is kept track of from here on.
        if (_viewers.Count == 0) _isStale = true;
    }

    internal void Close(ScreenViewer viewer)
    {
        _viewers.Remove(viewer);
        Retime();
        if (_viewers.Count == 0) foreach (var source in _sources) source.NotifyOnce(null);
    }

    /// <summary>The sources learn of the one who looks most often.</summary>
    internal void Retime()
    {
        var period = 0;
        foreach (var viewer in _viewers)
            if (viewer.Period > 0 && (period == 0 || viewer.Period < period)) period = viewer.Period;
        foreach (var source in _sources) source.SetRefreshPeriod(period);
    }

    /// <returns>False when a change can come without a call.</returns>
    internal bool Listen()
    {
        var told = true;
        foreach (var source in _sources) told &= source.NotifyOnce(Changed);
        return told;
    }

    private void Changed()
    {
        foreach (var viewer in _viewers) viewer.Ring();
    }

    private IScreenSource? Current()
    {
        for (var i = _sources.Count - 1; i >= 0; i--)
            if (_sources[i].Size is not null) return _sources[i];
        return null;
    }
}

/// <summary>One who looks at a <see cref="ScreenHub"/>. Machine thread only.</summary>
public sealed class ScreenViewer : IDisposable
{
    private readonly ScreenHub _hub;
    private Action? _changed;

    internal ScreenViewer(ScreenHub hub) => _hub = hub;

    /// <summary>What changed in the hub's frame since the viewer cleared this; all of it after a change of size.</summary>
    public Damage Damage { get; } = new();

    /// <summary>Milliseconds from one look to the next; 0 while the viewer does not look.</summary>
    public int Period { get; private set; } = 30;

    public void SetPeriod(int milliseconds)
    {
        if (milliseconds == Period) return;
        Period = milliseconds;
        _hub.Retime();
    }

    /// <summary>Calls once when the picture may have changed; the callback must only take note, and ask for a refresh later.</summary>
    /// <returns>False when a change can come without a call, so that the viewer has to look from time to time.</returns>
    public bool NotifyOnce(Action changed)
    {
        _changed = changed;
        return _hub.Listen();
    }

    public void Dispose() => _hub.Close(this);

    internal void Ring()
    {
        var changed = _changed;
        _changed = null;
        changed?.Invoke();
    }

    internal void Take(Damage damage, Frame frame, bool everything)
    {
        if (everything)
        {
            Damage.Resize(frame.Width, frame.Height);
            Damage.AddAll();
        }
        else Damage.Add(damage);
    }
}
