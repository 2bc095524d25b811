using System;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Vnc.Encodings;
using XenDM.Vnc.Transport;

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
    private readonly Action _looked;
    private readonly IEventLoop _loop;
    private readonly Action _changed;
    private readonly PictureTracker _tracker = new();
    private readonly PointerLayer _pointer = new();

    // Machine thread only.
    private ScreenViewer? _viewer;

    /// <param name="changed">Called on the machine thread when the picture may have changed, once for each update.</param>
    /// <param name="looked">Called there with each update.</param>
    public SharedPicture(ScreenHub hub, IEventLoop loop, Action changed, Action looked)
    {
        _hub = hub;
        _loop = loop;
        _changed = changed;
        _looked = looked;
        Frame.Resize(EmptyWidth, EmptyHeight);
        Fresh.Resize(EmptyWidth, EmptyHeight);
    }

    public FrameGate Gate { get; } = new();

    /// <summary>Behind <see cref="Gate"/>.</summary>
    public Frame Frame { get; } = new();

    /// <summary>What the last update changed; for its caller, until the next one.</summary>
    public Damage Fresh { get; } = new();

    /// <summary>What only moved in the last update; <see cref="AfterMove"/> is then what a client needs besides. Null: nothing, or not looked for.</summary>
    public ScrollMove? Move => _pointer.IsVisible ? null : _tracker.Move;

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
                _pointer.Forget();
            }

            // A pointer in the frame would move with what it covers.
            _tracker.Update(Frame, from, _viewer.Damage, Fresh, FindsMoves && !IsResized && !_pointer.IsVisible);
            if (IsResized) Fresh.AddAll();
            _viewer.Damage.Clear();
            _pointer.Put(Frame, from, Fresh, DrawsCursor ? _hub.Cursor : null, _hub.CursorPlace);
        }

        Cursor = _hub.Cursor;
        _looked();
        IsTold = _viewer.NotifyOnce(_changed);
    }
}
