using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Input;
using XenDM.Vnc.Keymaps;

namespace XenDM.Vnc;

/// <summary>
/// Keys and pointer of one client on their way to the guest: the client's task puts them in, a task of their own brings them to the machine thread in
/// the same order, keys not faster than the guest's keyboard takes them. The queue is short; a client that fills it is not read from meanwhile.
/// </summary>
internal sealed class ClientInput
{
    private const int QueueLength = 256;
    private const int MaxBatch = 64;

    private readonly InputHub _hub;
    private readonly Keymap _keymap;
    private readonly IEventLoop _loop;
    private readonly TimeProvider _time;
    private readonly TimeSpan _keyDelay;
    private readonly Action _modeChanged;
    private readonly Channel<InputEvent> _queue = Channel.CreateBounded<InputEvent>(new BoundedChannelOptions(QueueLength) { SingleReader = true });
    private readonly List<InputEvent> _batch = [];
    private volatile bool _isAbsolute = true;

    // Machine thread only.
    private InputSeat? _seat;
    private KeyTracker? _keys;
    private (int X, int Y)? _last;
    private int _buttons;

    /// <param name="keymap">Of the guest, for keys that the client knows by what is on them only.</param>
    /// <param name="keyDelay">From one key to the next.</param>
    /// <param name="modeChanged">Called on the machine thread when the guest's pointer takes places now, or no longer does.</param>
    public ClientInput(InputHub hub, Keymap keymap, IEventLoop loop, TimeProvider time, TimeSpan keyDelay, Action modeChanged)
    {
        _hub = hub;
        _keymap = keymap;
        _loop = loop;
        _time = time;
        _keyDelay = keyDelay;
        _modeChanged = modeChanged;
    }

    private enum Kind
    {
        Key,

        /// <summary>A key by what is on it.</summary>
        Keysym,
        Place,
        Motion,
    }

    /// <param name="A">Key or keysym; or buttons as RFB has them.</param>
    /// <param name="X">Down (1) or up (0); place, or motion.</param>
    /// <param name="Y">Of places and motions.</param>
    /// <param name="Width">Of the picture that the place is in.</param>
    private readonly record struct InputEvent(Kind Kind, int A, int X, int Y, int Width = 1, int Height = 1);

    /// <summary>The guest's pointer takes places. As of the last event.</summary>
    public bool IsAbsolute => _isAbsolute;

    /// <param name="keysym">Of X11.</param>
    public ValueTask KeysymAsync(uint keysym, bool down, CancellationToken stop) => _queue.Writer.WriteAsync(new InputEvent(Kind.Keysym, (int)keysym, down ? 1 : 0, 0), stop);

    /// <param name="key">As <see cref="IKeyboard"/> numbers it.</param>
    public ValueTask KeyAsync(ushort key, bool down, CancellationToken stop) => _queue.Writer.WriteAsync(new InputEvent(Kind.Key, key, down ? 1 : 0, 0), stop);

    /// <param name="buttons">Left 1, middle 2, right 4, wheel 8 to 64 (up, down, left, right), back 128, forward 256.</param>
    /// <param name="size">Of the picture as the client has it.</param>
    public ValueTask PlaceAsync(int buttons, int x, int y, (int Width, int Height) size, CancellationToken stop) =>
        _queue.Writer.WriteAsync(new InputEvent(Kind.Place, buttons, x, y, size.Width, size.Height), stop);

    /// <summary>A movement, from a client that was told that the pointer is not absolute.</summary>
    public ValueTask MotionAsync(int buttons, int dx, int dy, CancellationToken stop) => _queue.Writer.WriteAsync(new InputEvent(Kind.Motion, buttons, dx, dy), stop);

    /// <summary>Brings events to the machine until <paramref name="stop"/>; then lets go what the client held.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        try
        {
            var lastKey = 0L;
            await Post(SitDown, stop);
            while (await _queue.Reader.WaitToReadAsync(stop))
            {
                _batch.Clear();
                while (_batch.Count < MaxBatch && _queue.Reader.TryPeek(out var next))
                {
                    var isKey = next.Kind is Kind.Key or Kind.Keysym;
                    if (isKey && _keyDelay > TimeSpan.Zero)
                    {
                        if (_batch.Count > 0) break;
                        var wait = lastKey == 0 ? TimeSpan.Zero : _keyDelay - _time.GetElapsedTime(lastKey);
                        if (wait > TimeSpan.Zero) await Task.Delay(wait, _time, stop);
                        lastKey = _time.GetTimestamp();
                    }

                    _queue.Reader.TryRead(out _);
                    _batch.Add(next);
                    if (isKey && _keyDelay > TimeSpan.Zero) break;
                }

                await Post(Deliver, stop);
            }
        }
        finally
        {
            // Whatever ended the client, nothing stays pressed in the guest.
            _loop.Post(() =>
            {
                _seat?.Dispose();
                (_seat, _keys) = (null, null);
            });
        }
    }

    private Task Post(Action work, CancellationToken stop)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            if (!stop.IsCancellationRequested) work();
            done.SetResult();
        });
        return done.Task.WaitAsync(stop);
    }

    private void SitDown()
    {
        _seat = _hub.Open();
        _keys = new KeyTracker(_hub, _seat, _keymap);
        _isAbsolute = _seat.IsAbsolute;
        _modeChanged();
    }

    private void Deliver()
    {
        foreach (var e in _batch)
        {
            if (e.Kind == Kind.Key) _seat!.Key((ushort)e.A, e.X != 0);
            else if (e.Kind == Kind.Keysym) _keys!.Key((uint)e.A, e.X != 0);
            else Point(e);
        }

        if (_seat!.IsAbsolute == _isAbsolute) return;
        _isAbsolute = _seat.IsAbsolute;
        _last = null;
        _modeChanged();
    }

    private void Point(in InputEvent e)
    {
        const int wheelUp = 8, wheelDown = 16, wheelLeft = 32, wheelRight = 64;

        // A step of the wheel is a button that goes down and up again.
        var pressed = e.A & ~_buttons;
        _buttons = e.A;
        var wheel = ((pressed & wheelDown) != 0 ? 1 : 0) - ((pressed & wheelUp) != 0 ? 1 : 0);
        var side = ((pressed & wheelRight) != 0 ? 1 : 0) - ((pressed & wheelLeft) != 0 ? 1 : 0);
        var (x, y) = (e.X, e.Y);
        if (_seat!.IsAbsolute)
        {
            // A motion that was on its way when the pointer changed has no place.
            if (e.Kind == Kind.Motion) return;
            (x, y) = (Scale(x, e.Width), Scale(y, e.Height));
        }
        else if (e.Kind == Kind.Place)
        {
            // The client tells places all the same: their differences are as good as it gets.
            var (fromX, fromY) = _last ?? (x, y);
            _last = (x, y);
            (x, y) = (x - fromX, y - fromY);
        }

        _seat.Move(x, y, wheel, side, Buttons(e.A));
    }

    private static int Scale(int place, int size) => size <= 1 ? 0 : (int)((long)Math.Clamp(place, 0, size - 1) * InputHub.PlaceRange / (size - 1));

    private static PointerButtons Buttons(int buttons) =>
        ((buttons & 1) != 0 ? PointerButtons.Left : 0) | ((buttons & 2) != 0 ? PointerButtons.Middle : 0) | ((buttons & 4) != 0 ? PointerButtons.Right : 0)
        | ((buttons & 128) != 0 ? PointerButtons.Side : 0) | ((buttons & 256) != 0 ? PointerButtons.Extra : 0);
}
