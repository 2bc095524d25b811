using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.IO.Pipelines;
using System.Numerics;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Vnc.Clipboard;
using XenDM.Vnc.Encodings;
using XenDM.Vnc.Transport;

namespace XenDM.Vnc;

/// <summary>
/// All that the server sends to one client, from one task. The client's wishes come from its receiving task, news of the picture from the server's;
/// both only take note here, so that a client that does not read holds up nobody: what changes meanwhile adds up to damage.
/// </summary>
internal sealed class ClientOutput : IDisposable
{
    /// <summary>Pixels of one message. A larger update is several messages, so that what is held in memory stays small.</summary>
    private const int MaxPixels = 2 << 20;

    /// <summary>Rectangles of one message; it counts them in 16 bits, and one area can become several.</summary>
    private const int MaxRectangles = 16 * 1024;

    /// <summary>Updates on their way to a client that gets them unasked and tells when they have arrived.</summary>
    private const int MaxUnconfirmed = 3;
    private const int MaxFences = 16;
    private const int BufferLength = 32 * 1024;

    private readonly object _lock = new();
    private readonly SharedPicture _picture;
    private readonly PipeWriter _pipe;
    private readonly EncoderSet _encoders;
    private readonly AsyncSignal _wake = new(), _fencesSent = new();
    private readonly Action _hungry;
    private readonly string _title;

    // What is to be done: behind the lock.
    private readonly Damage _damage = new();
    private readonly Queue<(uint Flags, byte[] Data)> _fences = new();
    private Pending _pending;
    private ClientFormat? _newFormat;
    private int[]? _newEncodings;
    private PictureArea _wanted, _forced, _continuousArea;
    private bool _isAsked, _isForced, _isContinuous, _isBusy, _isGo;
    private int _unconfirmed;
    private CursorShape? _cursor, _sentCursor;
    private KeyboardLeds? _leds, _sentLeds;
    private bool _isAbsolute = true, _isModeSent;
    private int _width, _height;

    // What the client will be told to move before it gets the damage.
    private ScrollMove? _move;

    // The sending task's own.
    private readonly List<PictureArea> _areas = [], _parts = [];
    private ClientFormat _format = ClientFormat.Native;
    private Features _features;
    private ScrollMove? _nextMove;
    private int _next;

    /// <param name="stream">Stays open.</param>
    /// <param name="hungry">Called when the client waits for an update from now on.</param>
    public ClientOutput(Stream stream, SharedPicture picture, SharedClipboard clipboard, VncOptions options, Action hungry)
    {
        _picture = picture;
        _pipe = PipeWriter.Create(stream, new StreamPipeWriterOptions(minimumBufferSize: BufferLength, leaveOpen: true));
        _encoders = new EncoderSet(options.Jpeg);
        _encoders.Settings.IsLossyAllowed = options.IsLossy;
        _title = options.Title;
        _hungry = hungry;
        Clipboard = new ClientClipboard(clipboard, _wake.Set);
    }

    /// <summary>Answers that are owed.</summary>
    [Flags]
    private enum Pending
    {
        None = 0,
        AnnounceFences = 1,
        EndOfContinuous = 2,
        SizeRefused = 4,
        Size = 8,
        Name = 16,
        Keys = 32,
        Buttons = 64,
    }

    /// <summary>What the client can do, besides encodings.</summary>
    [Flags]
    private enum Features
    {
        None = 0,
        Size = 1,
        ExtendedSize = 2,
        Cursor = 4,
        AlphaCursor = 8,
        MotionChange = 16,
        Leds = 32,
        Fences = 64,
        Continuous = 128,
    }

    public ClientClipboard Clipboard { get; }

    /// <summary>The picture's size as the client has it.</summary>
    public (int Width, int Height) Size
    {
        get
        {
            lock (_lock) return (_width, _height);
        }
    }

    /// <summary>The client draws the pointer itself.</summary>
    public bool TakesCursor { get; private set; }

    /// <summary>The client can move parts of its picture itself.</summary>
    public bool TakesMoves { get; private set; }

    /// <summary>The client was told that the pointer takes movements.</summary>
    public bool TakesMotion { get; private set; }

    /// <summary>The client waits for an update, and the last one is out.</summary>
    public bool IsHungry
    {
        get
        {
            lock (_lock) return (_isAsked || _isContinuous) && !_isBusy && _unconfirmed < MaxUnconfirmed;
        }
    }

    /// <summary>There is something that the client has not seen.</summary>
    public bool HasNews
    {
        get
        {
            lock (_lock) return _isForced || _move is not null || !_damage.IsEmpty;
        }
    }

    /// <summary>Begins: the client learns size, format and title (RFC 6143, 7.3.2). The caller has the gate as a reader.</summary>
    public void Start()
    {
        lock (_lock)
        {
            (_width, _height) = (_picture.Frame.Width, _picture.Frame.Height);
            _damage.Resize(_width, _height);
            _damage.AddAll();
        }

        var title = Encoding.UTF8.GetBytes(_title);
        var message = _pipe.GetSpan(24 + title.Length);
        BinaryPrimitives.WriteUInt16BigEndian(message, (ushort)_width);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], (ushort)_height);
        _format.Write(message[4..]);
        BinaryPrimitives.WriteInt32BigEndian(message[20..], title.Length);
        title.CopyTo(message[24..]);
        _pipe.Advance(24 + title.Length);
        _wake.Set();
    }

    public void SetFormat(ClientFormat format)
    {
        lock (_lock) _newFormat = format;
        _wake.Set();
    }

    /// <param name="encodings">The best one first.</param>
    public void SetEncodings(int[] encodings)
    {
        lock (_lock) _newEncodings = encodings;
        _wake.Set();
    }

    /// <param name="isIncremental">What the client has of the area is right.</param>
    public void Request(bool isIncremental, PictureArea area)
    {
        lock (_lock)
        {
            _wanted = _isAsked ? Union(_wanted, area) : area;
            _isAsked = true;
            if (!isIncremental)
            {
                _forced = _isForced ? Union(_forced, area) : area;
                _isForced = true;
                _pending |= Pending.Size;
            }
        }

        _hungry();
    }

    /// <summary>Updates come unasked from now on, or no longer.</summary>
    public void SetContinuous(bool on, PictureArea area)
    {
        lock (_lock)
        {
            _isContinuous = on;
            _continuousArea = area;
            _unconfirmed = 0;
            if (!on) _pending |= Pending.EndOfContinuous;
        }

        if (on) _hungry();
        else _wake.Set();
    }

    /// <summary>Answers a fence. A client that sends them faster than it takes the answers waits here.</summary>
    public async ValueTask AnswerFenceAsync(uint flags, byte[] data, CancellationToken stop)
    {
        while (true)
        {
            lock (_lock)
            {
                if (_fences.Count < MaxFences)
                {
                    _fences.Enqueue((flags, data));
                    break;
                }
            }

            await _fencesSent.WaitAsync(Timeout.InfiniteTimeSpan, stop);
        }

        _wake.Set();
    }

    /// <summary>An update has arrived at the client.</summary>
    public void Confirm()
    {
        lock (_lock) _unconfirmed = Math.Max(_unconfirmed - 1, 0);
        _hungry();
    }

    /// <summary>The client wishes another size, which the guest alone decides on.</summary>
    public void RefuseSize()
    {
        lock (_lock) _pending |= Pending.SizeRefused;
        _wake.Set();
    }

    public void SetPointerMode(bool isAbsolute)
    {
        lock (_lock) _isAbsolute = isAbsolute;
        _wake.Set();
    }

    /// <summary>Machine thread only: what came last counts.</summary>
    public void SetLeds(KeyboardLeds? leds)
    {
        lock (_lock)
        {
            if (_leds == leds) return;
            _leds = leds;
        }

        _wake.Set();
    }

    /// <summary>Takes note of what an update of the shared picture brought. The caller has the gate.</summary>
    public void Take(SharedPicture picture)
    {
        bool isNew;
        lock (_lock)
        {
            if (picture.IsResized)
            {
                _move = null;
                _damage.Resize(picture.Frame.Width, picture.Frame.Height);
                _damage.AddAll();
            }
            else if (picture.Move is { } move && TakesMoves && HasAll(picture.Frame))
            {
                _move = move;
                _damage.Add(picture.AfterMove);
            }
            else
            {
                GiveUpMove();
                _damage.Add(picture.Fresh);
            }

            isNew = _cursor != picture.Cursor;
            _cursor = picture.Cursor;
        }

        if (isNew) _wake.Set();
    }

    /// <summary>The client has the picture as it was before the last update, and waits for all of it. Behind the lock.</summary>
    private bool HasAll(Frame frame) => !_isBusy && !_isForced && _move is null && _damage.IsEmpty && (_isAsked || _isContinuous) && IsAllWanted(frame);

    private bool IsAllWanted(Frame frame) => (_width, _height) == (frame.Width, frame.Height)
        && Union(_isAsked ? _wanted : default, _isContinuous ? _continuousArea : default) == new PictureArea(0, 0, _width, _height);

    /// <summary>What was to be moved is sent instead. Behind the lock.</summary>
    private void GiveUpMove()
    {
        if (_move is not { Area: var area }) return;
        _damage.Add(area.X, area.Y, area.Width, area.Height);
        _move = null;
    }

    /// <summary>Lets the next update go out.</summary>
    public void Go()
    {
        lock (_lock) _isBusy = _isGo = true;
        _wake.Set();
    }

    /// <summary>Sends until <paramref name="stop"/>.</summary>
    /// <exception cref="IOException">The client went.</exception>
    public async Task RunAsync(CancellationToken stop)
    {
        while (true)
        {
            bool isGo;
            lock (_lock)
            {
                (isGo, _isGo) = (_isGo, false);
                WriteAnswers();
            }

            if (isGo) await UpdateAsync(stop);
            await FlushAsync(stop);
            _fencesSent.Set();
            if (isGo)
            {
                lock (_lock) _isBusy = false;
                _hungry();
            }

            await _wake.WaitAsync(Timeout.InfiniteTimeSpan, stop);
        }
    }

    public void Dispose()
    {
        _encoders.Dispose();
    }

    private async Task FlushAsync(CancellationToken stop)
    {
        var result = await _pipe.FlushAsync(stop);
        if (result.IsCanceled) throw new OperationCanceledException(stop);
    }

    private async Task UpdateAsync(CancellationToken stop)
    {
        for (var isFirst = true; ; isFirst = false)
        {
            bool isDone;
            await _picture.Gate.EnterReadAsync();
            try
            {
                if (isFirst) Choose();
                isDone = Encode();
            }
            finally
            {
                _picture.Gate.ExitRead();
            }

            if (isDone) return;
            await FlushAsync(stop);
        }
    }

    /// <summary>Takes what the client shall get now out of the damage.</summary>
    private void Choose()
    {
        lock (_lock)
        {
            var frame = _picture.Frame;
            _areas.Clear();
            _next = 0;
            if (_isForced || !IsAllWanted(frame)) GiveUpMove();
            (_nextMove, _move) = (_move, null);
            if ((frame.Width, frame.Height) != (_width, _height) && (_features & (Features.Size | Features.ExtendedSize)) != 0)
            {
                (_width, _height) = (frame.Width, frame.Height);
                WriteHeader(1);
                WriteSize(Rfb.SizeByServer, Rfb.SizeChanged);

                // All that the client asked for was of another picture.
                _wanted = _forced = _continuousArea = new PictureArea(0, 0, _width, _height);
                _pending &= ~Pending.Size;
            }

            // Without a word for another size the client goes on with its own.
            var visible = new PictureArea(0, 0, Math.Min(_width, frame.Width), Math.Min(_height, frame.Height));
            var wanted = Union(_isAsked ? _wanted : default, _isContinuous ? _continuousArea : default);
            wanted = WholeTiles(Intersect(wanted, visible), frame);
            if (_isForced && !Intersect(_forced, visible).IsEmptyArea()) _areas.Add(Intersect(_forced, visible));
            var isAll = _isForced && _areas.Count > 0 && _areas[0] == visible;
            _isForced = false;
            _parts.Clear();
            if (!isAll) _damage.AddTo(_parts);
            _damage.Clear();
            foreach (var part in _parts)
            {
                var inside = Intersect(part, wanted);
                if (!inside.IsEmptyArea())
                {
                    var seen = Intersect(inside, visible);
                    if (!seen.IsEmptyArea()) _areas.Add(seen);
                }

                if (inside != part) KeepRest(part, inside);
            }

            if (_areas.Count > 0 || _nextMove is not null) _isAsked = false;
        }
    }

    /// <summary>What lies around the inner area stays damaged.</summary>
    private void KeepRest(PictureArea all, PictureArea inner)
    {
        if (inner.IsEmptyArea())
        {
            _damage.Add(all.X, all.Y, all.Width, all.Height);
            return;
        }

        var (right, bottom) = (inner.X + inner.Width, inner.Y + inner.Height);
        _damage.Add(all.X, all.Y, all.Width, inner.Y - all.Y);
        _damage.Add(all.X, bottom, all.Width, all.Y + all.Height - bottom);
        _damage.Add(all.X, inner.Y, inner.X - all.X, inner.Height);
        _damage.Add(right, inner.Y, all.X + all.Width - right, inner.Height);
    }

    /// <summary>Writes one message with the next areas.</summary>
    /// <returns>There are no more.</returns>
    private bool Encode()
    {
        var frame = _picture.Frame;
        if (_next == _areas.Count && _nextMove is null) return true;
        var count = _pipe.GetMemory(4)[..4];
        count.Span[0] = Rfb.FramebufferUpdate;
        count.Span[1] = 0;
        _pipe.Advance(4);
        var (rectangles, pixels) = (0, 0L);
        if (_nextMove is { } move)
        {
            ScrollFinder.Write(move, _pipe);
            _nextMove = null;
            rectangles++;
        }

        while (_next < _areas.Count && pixels < MaxPixels && rectangles < MaxRectangles)
        {
            // The picture may have become another one between two messages; it is all damage then.
            var area = Intersect(_areas[_next], new PictureArea(0, 0, frame.Width, frame.Height));
            if (area.IsEmptyArea())
            {
                _next++;
                continue;
            }

            var lines = (int)Math.Clamp((MaxPixels - pixels) / area.Width, Damage.TileSide, area.Height < Damage.TileSide ? Damage.TileSide : area.Height);
            if (lines < area.Height)
            {
                _areas[_next] = area with { Y = area.Y + lines, Height = area.Height - lines };
                area = area with { Height = lines };
            }
            else _next++;
            rectangles += _encoders.Encode(frame, area, _format, _pipe);
            pixels += (long)area.Width * area.Height;
        }

        // What is not flushed yet is still the writer's memory.
        BinaryPrimitives.WriteUInt16BigEndian(count.Span[2..], (ushort)rectangles);
        if (_next < _areas.Count) return false;
        lock (_lock)
        {
            if (!_isContinuous || (_features & Features.Fences) == 0) return true;
            _unconfirmed++;
        }

        WriteFence(Rfb.FenceRequest | Rfb.FenceBlockBefore, []);
        return true;
    }

    /// <summary>Applies what the client set, and writes all that is owed besides the picture. Behind the lock.</summary>
    private void WriteAnswers()
    {
        if (_newFormat is { } format)
        {
            (_format, _newFormat) = (format, null);
            if (!format.IsTrueColour) ClientFormat.WriteColourMap(_pipe);
            _sentCursor = null;
        }

        if (_newEncodings is { } encodings) Select(encodings);
        while (_fences.TryDequeue(out var fence)) WriteFence(fence.Flags, fence.Data);
        if (Owes(Pending.AnnounceFences)) WriteFence(Rfb.FenceRequest, []);
        if (Owes(Pending.EndOfContinuous))
        {
            _pipe.GetSpan(1)[0] = Rfb.EndOfContinuousUpdates;
            _pipe.Advance(1);
        }

        var whole = new PictureArea(0, 0, _width, _height);
        if (Owes(Pending.SizeRefused))
        {
            WriteHeader(1);
            WriteSize(Rfb.SizeByThisClient, Rfb.SizeProhibited);
        }

        if (Owes(Pending.Size) && (_features & Features.ExtendedSize) != 0)
        {
            WriteHeader(1);
            WriteSize(Rfb.SizeByServer, Rfb.SizeChanged);
        }

        if (Owes(Pending.Name))
        {
            var title = Encoding.UTF8.GetBytes(_title);
            WriteHeader(1);
            RfbEncoder.WriteHeader(default, Rfb.DesktopName, _pipe);
            var text = _pipe.GetSpan(4 + title.Length);
            BinaryPrimitives.WriteInt32BigEndian(text, title.Length);
            title.CopyTo(text[4..]);
            _pipe.Advance(4 + title.Length);
        }

        Clipboard.Write(_pipe);
        if (Owes(Pending.Keys)) WritePseudo(whole, Rfb.QemuExtendedKey);
        if (Owes(Pending.Buttons)) WritePseudo(whole, Rfb.ExtendedMouseButtons);
        if ((_features & Features.MotionChange) != 0 && (!_isModeSent || TakesMotion == _isAbsolute))
        {
            WritePseudo(whole with { X = _isAbsolute ? 1 : 0 }, Rfb.PointerMotionChange);
            TakesMotion = !_isAbsolute;
            _isModeSent = true;
        }

        if ((_features & Features.Leds) != 0 && _leds is { } leds && leds != _sentLeds)
        {
            WritePseudo(new PictureArea(0, 0, 1, 1), Rfb.LedState);
            _pipe.GetSpan(1)[0] = (byte)leds;
            _pipe.Advance(1);
            _sentLeds = leds;
        }

        if (TakesCursor && _cursor != _sentCursor)
        {
            WriteHeader(1);
            WriteCursor(_cursor ?? new CursorShape(0, 0, 0, 0, default));
            _sentCursor = _cursor;
        }
    }

    private bool Owes(Pending what)
    {
        var owes = (_pending & what) != 0;
        _pending &= ~what;
        return owes;
    }

    private void Select(int[] encodings)
    {
        var before = _features;
        _newEncodings = null;
        _encoders.Select(encodings);
        _features = Features.None;
        foreach (var encoding in encodings)
        {
            _features |= encoding switch
            {
                Rfb.DesktopSize => Features.Size,
                Rfb.ExtendedDesktopSize => Features.ExtendedSize,
                Rfb.Cursor => Features.Cursor,
                Rfb.CursorWithAlpha => Features.AlphaCursor,
                Rfb.PointerMotionChange => Features.MotionChange,
                Rfb.LedState => Features.Leds,
                Rfb.Fence => Features.Fences,
                Rfb.ContinuousUpdates => Features.Continuous,
                _ => Features.None,
            };
            _pending |= encoding switch
            {
                Rfb.QemuExtendedKey => Pending.Keys,
                Rfb.ExtendedMouseButtons => Pending.Buttons,
                Rfb.DesktopName => Pending.Name,
                Rfb.ExtendedDesktopSize => Pending.Size,
                _ => Pending.None,
            };
        }

        var isNew = _features & ~before;
        if ((isNew & Features.Fences) != 0) _pending |= Pending.AnnounceFences;
        if ((isNew & Features.Continuous) != 0) _pending |= Pending.EndOfContinuous;
        if ((isNew & Features.Leds) != 0) _sentLeds = null;
        if ((isNew & Features.MotionChange) != 0) _isModeSent = false;
        if ((_features & Features.MotionChange) == 0) TakesMotion = false;
        TakesCursor = (_features & (Features.Cursor | Features.AlphaCursor)) != 0;
        TakesMoves = _encoders.HasCopyRect;
        Clipboard.IsExtended = Array.IndexOf(encodings, ExtendedClipboard.Encoding) >= 0;
    }

    private void WriteHeader(int rectangles)
    {
        var header = _pipe.GetSpan(4);
        (header[0], header[1]) = (Rfb.FramebufferUpdate, 0);
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], (ushort)rectangles);
        _pipe.Advance(4);
    }

    private void WritePseudo(PictureArea area, int encoding)
    {
        WriteHeader(1);
        RfbEncoder.WriteHeader(area, encoding, _pipe);
    }

    private void WriteSize(ushort who, ushort how)
    {
        if ((_features & Features.ExtendedSize) == 0)
        {
            RfbEncoder.WriteHeader(new PictureArea(0, 0, _width, _height), Rfb.DesktopSize, _pipe);
            return;
        }

        const int length = 20;
        RfbEncoder.WriteHeader(new PictureArea(who, how, _width, _height), Rfb.ExtendedDesktopSize, _pipe);
        var screens = _pipe.GetSpan(length)[..length];
        screens.Clear();
        screens[0] = 1;
        BinaryPrimitives.WriteUInt16BigEndian(screens[12..], (ushort)_width);
        BinaryPrimitives.WriteUInt16BigEndian(screens[14..], (ushort)_height);
        _pipe.Advance(length);
    }

    private void WriteFence(uint flags, ReadOnlySpan<byte> data)
    {
        var message = _pipe.GetSpan(9 + Rfb.MaxFence);
        message[..4].Clear();
        message[0] = Rfb.ServerFence;
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], flags);
        message[8] = (byte)data.Length;
        data.CopyTo(message[9..]);
        _pipe.Advance(9 + data.Length);
    }

    private void WriteCursor(CursorShape shape)
    {
        var area = new PictureArea(shape.HotX, shape.HotY, shape.Width, shape.Height);
        if ((_features & Features.AlphaCursor) != 0)
        {
            RfbEncoder.WriteHeader(area, Rfb.CursorWithAlpha, _pipe);
            var bytes = _pipe.GetSpan(4 + (shape.Pixels.Length * 4));
            BinaryPrimitives.WriteInt32BigEndian(bytes, RfbEncodings.Raw);
            var at = 4;
            foreach (var pixel in shape.Pixels.Span)
            {
                // Red, green, blue, alpha; what is not seen has no colour.
                BinaryPrimitives.WriteUInt32BigEndian(bytes[at..], pixel >> 24 == 0 ? 0 : BitOperations.RotateLeft(pixel, 8));
                at += 4;
            }

            _pipe.Advance(at);
            return;
        }

        RfbEncoder.WriteHeader(area, Rfb.Cursor, _pipe);
        var row = (shape.Width + 7) / 8;
        var pixels = shape.Pixels.Length * _format.BytesPerPixel;
        var all = _pipe.GetSpan(Math.Max(1, pixels + (row * shape.Height)))[..(pixels + (row * shape.Height))];
        var colours = shape.Pixels.ToArray();
        foreach (ref var pixel in colours.AsSpan()) pixel &= 0xff_ffff;
        _format.Convert(colours, all);
        var mask = all[pixels..];
        mask.Clear();
        for (var i = 0; i < shape.Pixels.Length; i++)
            if (shape.Pixels.Span[i] >> 24 != 0) mask[(i / shape.Width * row) + (i % shape.Width / 8)] |= (byte)(0x80 >> (i % shape.Width % 8));
        _pipe.Advance(all.Length);
    }

    private static PictureArea Union(PictureArea a, PictureArea b)
    {
        if (a.IsEmptyArea()) return b;
        if (b.IsEmptyArea()) return a;
        var (x, y) = (Math.Min(a.X, b.X), Math.Min(a.Y, b.Y));
        return new PictureArea(x, y, Math.Max(a.X + a.Width, b.X + b.Width) - x, Math.Max(a.Y + a.Height, b.Y + b.Height) - y);
    }

    private static PictureArea Intersect(PictureArea a, PictureArea b)
    {
        var (x, y) = (Math.Max(a.X, b.X), Math.Max(a.Y, b.Y));
        return new PictureArea(x, y, Math.Max(Math.Min(a.X + a.Width, b.X + b.Width) - x, 0), Math.Max(Math.Min(a.Y + a.Height, b.Y + b.Height) - y, 0));
    }

    /// <summary>Damage is known by tiles: what a client asks for grows to whole ones.</summary>
    private static PictureArea WholeTiles(PictureArea area, Frame frame)
    {
        if (area.IsEmptyArea()) return area;
        const int mask = Damage.TileSide - 1;
        var (x, y) = (area.X & ~mask, area.Y & ~mask);
        return new PictureArea(x, y, Math.Min((area.X + area.Width + mask) & ~mask, frame.Width) - x, Math.Min((area.Y + area.Height + mask) & ~mask, frame.Height) - y);
    }
}

internal static class PictureAreaExtensions
{
    public static bool IsEmptyArea(this PictureArea area) => area.Width <= 0 || area.Height <= 0;
}
