using System;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Vnc.Encodings;
using XenDM.Vnc.Transport;
using PictureArea = XenDM.Core.Display.PictureArea;

namespace XenDM.Vnc;

/// <summary>
/// The server's own copy of the guest's picture, which the clients' tasks encode from while the guest draws on. <see cref="UpdateAsync"/> brings it up
/// to date on the machine thread; nothing is looked at, and nothing kept track of, between <see cref="CloseAsync"/> and the next update.
/// </summary>
internal sealed class SharedPicture
{
    // What clients see before there is a picture.
    private const int EmptyWidth = 640, EmptyHeight = 480;

    private readonly ScreenHub _hub;
    private readonly InputHub _input;
    private readonly IEventLoop _loop;
    private readonly Action _changed;
    private readonly PictureTracker _tracker = new();

    // Machine thread only.
    private ScreenViewer? _viewer;
    private CursorShape? _drawnShape;
    private (int X, int Y) _drawnPlace;
    private PictureArea? _drawnArea;

    /// <param name="changed">Called on the machine thread when the picture may have changed, once for each update.</param>
    public SharedPicture(ScreenHub hub, InputHub input, IEventLoop loop, Action changed)
    {
        _hub = hub;
        _input = input;
        _loop = loop;
        _changed = changed;
        Frame.Resize(EmptyWidth, EmptyHeight);
        Fresh.Resize(EmptyWidth, EmptyHeight);
    }

    public FrameGate Gate { get; } = new();

    /// <summary>Behind <see cref="Gate"/>.</summary>
    public Frame Frame { get; } = new();

    /// <summary>What the last update changed; for its caller, until the next one.</summary>
    public Damage Fresh { get; } = new();

    /// <summary>What only moved in the last update; <see cref="AfterMove"/> is then what a client needs besides. Null: nothing, or not looked for.</summary>
    public ScrollMove? Move => _drawnArea is null ? _tracker.Move : null;

    /// <inheritdoc cref="PictureTracker.AfterMove"/>
    public Damage AfterMove => _tracker.AfterMove;

    /// <summary>A client can be told that something moved.</summary>
    public bool FindsMoves { get; set; }

    /// <summary>The last update changed the size.</summary>
    public bool IsResized { get; private set; }

    /// <summary>The source says when something changes; otherwise it must be asked from time to time.</summary>
    public bool IsTold { get; private set; }

    /// <summary>The adapter's own pointer; null for none.</summary>
    public CursorShape? Cursor { get; private set; }

    /// <summary>The pointer is drawn into the frame, for clients that do not draw it themselves.</summary>
    public bool DrawsCursor { get; set; }

    public KeyboardLeds? Leds { get; private set; }

    /// <summary>How often the source will be asked.</summary>
    public int Period { get; set; }

    /// <summary>Takes over what the guest has drawn. The caller has the gate as its writer.</summary>
    public Task UpdateAsync(CancellationToken stop) => OnMachineThread(Update, stop);

    /// <summary>Nobody looks any more.</summary>
    public Task CloseAsync(CancellationToken stop) => OnMachineThread(Close, stop);

    /// <summary>Machine thread only.</summary>
    public void Close()
    {
        _viewer?.Dispose();
        _viewer = null;
    }

    private Task OnMachineThread(Action work, CancellationToken stop)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            if (!stop.IsCancellationRequested) work();
            done.SetResult();
        });
        return done.Task.WaitAsync(stop);
    }

    private void Update()
    {
        _viewer ??= _hub.Open();
        _viewer.SetPeriod(Period);
        _hub.Refresh();
        Fresh.Clear();
        var from = _hub.Frame;
        IsResized = false;
        if (from.Width > 0)
        {
            IsResized = Frame.Resize(from.Width, from.Height);
            if (IsResized)
            {
                Fresh.Resize(from.Width, from.Height);
                _viewer.Damage.AddAll();
                _drawnArea = null;
            }

            // A pointer in the frame would move with what it covers.
            _tracker.Update(Frame, from, _viewer.Damage, Fresh, FindsMoves && !IsResized && _drawnArea is null);
            if (IsResized) Fresh.AddAll();
            _viewer.Damage.Clear();
            PlaceCursor(from);
        }

        Cursor = _hub.Cursor;
        Leds = _input.Leds;
        IsTold = _viewer.NotifyOnce(_changed);
    }

    /// <summary>Puts the pointer where it is now. What it covers is whole in the hub's frame.</summary>
    private void PlaceCursor(Frame from)
    {
        var shape = DrawsCursor ? _hub.Cursor : null;
        var place = _hub.CursorPlace;
        var isMoved = shape != _drawnShape || (shape is not null && place != _drawnPlace);
        if (!isMoved && (shape is null || Fresh.IsEmpty)) return;
        if (_drawnArea is { } old)
        {
            Frame.Copy(from, old);
            if (isMoved) Fresh.Add(old.X, old.Y, old.Width, old.Height);
        }

        (_drawnShape, _drawnPlace, _drawnArea) = (shape, place, null);
        if (shape is null || Visible(shape, place) is not { } area) return;
        for (var y = area.Y; y < area.Y + area.Height; y++)
        {
            var pixels = shape.Pixels.Span.Slice((y - place.Y) * shape.Width, shape.Width)[(area.X - place.X)..];
            var line = Frame.Line(y).Slice(area.X, area.Width);
            for (var x = 0; x < line.Length; x++)
                if (pixels[x] >> 24 != 0) line[x] = pixels[x] & 0xff_ffff;
        }

        _drawnArea = area;
        if (isMoved) Fresh.Add(area.X, area.Y, area.Width, area.Height);
    }

    private PictureArea? Visible(CursorShape shape, (int X, int Y) place)
    {
        var (left, top) = (Math.Max(place.X, 0), Math.Max(place.Y, 0));
        var (right, bottom) = (Math.Min((long)place.X + shape.Width, Frame.Width), Math.Min((long)place.Y + shape.Height, Frame.Height));
        return right > left && bottom > top ? new PictureArea(left, top, (int)(right - left), (int)(bottom - top)) : null;
    }
}
