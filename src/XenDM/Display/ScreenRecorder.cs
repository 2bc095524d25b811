using System;
using System.Collections.Generic;
using System.IO;
using System.IO.Compression;
using XenDM.Core.Display;
using XenDM.Core.Time;
using XenDM.Core.Tracing;

namespace XenDM.Display;

/// <summary>
/// Records a screen as an animated PNG (W3C PNG specification, third edition): a frame whenever something changed, with the part that did, shown
/// for as long as guest time went by. After each frame the file is complete. The canvas grows with the guest's picture; readers that know no
/// animation show a black one. Machine thread only.
/// </summary>
internal sealed class ScreenRecorder : IDisposable
{
    /// <summary>Sides of the canvas at most; what is beyond is not recorded.</summary>
    private const int MaxWidth = 4096, MaxHeight = 2304;
    private const long FrameTime = 40_000_000;
    private const int FrameMilliseconds = (int)(FrameTime / 1_000_000);

    /// <summary>Room for the black picture, whose size is known only in the end: deflate makes a thousandth of it.</summary>
    private const int StillBytes = 64 << 10;

    private readonly ScreenHub _screen;
    private readonly ScreenViewer _viewer;
    private readonly IVmClock _clock;
    private readonly IMachineLog _log;
    private readonly FileStream _file;
    private readonly VmTimer _timer;
    private readonly Action _changed;
    private readonly Func<int> _nextSequence;
    private readonly List<PictureArea> _areas = [];
    private readonly Frame _picture = new();
    private readonly PointerLayer _pointer = new();
    private PictureSize _canvas;
    private PictureSize _shown;
    private long _end;
    private long _lastControl;
    private int[] _control = [];
    private long _lastTime;
    private int _frames;
    private int _sequence;
    private bool _isClosed;

    /// <exception cref="IOException">The file cannot be written, or has no places to go back to.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public ScreenRecorder(string path, ScreenHub screen, IVmClock clock, IMachineLog log)
    {
        _screen = screen;
        _clock = clock;
        _log = log;
        _file = new FileStream(path, FileMode.Create, FileAccess.Write);
        if (!_file.CanSeek)
        {
            _file.Dispose();
            throw new IOException("it is no ordinary file");
        }

        _changed = Changed;
        _nextSequence = () => _sequence++;
        _timer = clock.CreateTimer("display.record", Look);
        _viewer = screen.Open();
        _viewer.SetPeriod(FrameMilliseconds);
        Look();
    }

    private void Changed() => _timer.Arm(Math.Max(_clock.Now, _lastTime + FrameTime));

    private void Look()
    {
        if (_isClosed) return;
        _screen.Refresh();
        try
        {
            Record();
        }
        catch (IOException e)
        {
            _log.Warn("display", $"the recording of the screen ends: {e.Message}");
            _isClosed = true;
            _viewer.Dispose();
            return;
        }

        if (!_viewer.NotifyOnce(_changed) && !_timer.IsArmed) _timer.ArmAfter(FrameTime);
    }

    private void Record()
    {
        if (_screen.Frame.Width == 0) return;
        Copy(_screen.Frame);
        var size = new PictureSize(Math.Min(_screen.Frame.Width, MaxWidth), Math.Min(_screen.Frame.Height, MaxHeight));
        if (size != _shown)
        {
            // What the last picture had beyond this one goes black.
            var area = new PictureArea(0, 0, Math.Max(size.Width, _shown.Width), Math.Max(size.Height, _shown.Height));
            _shown = size;
            Grow(new PictureSize(Math.Max(_canvas.Width, size.Width), Math.Max(_canvas.Height, size.Height)));
            Add(area);
        }
        else if (!_viewer.Damage.IsEmpty) Add(Bounds(size));
        _viewer.Damage.Clear();
    }

    /// <summary>Takes over what changed, and where the pointer is now.</summary>
    private void Copy(Frame frame)
    {
        if (_picture.Resize(frame.Width, frame.Height)) _pointer.Forget();
        _areas.Clear();
        _viewer.Damage.AddTo(_areas);
        foreach (var area in _areas) _picture.Copy(frame, area);
        _pointer.Put(_picture, frame, _viewer.Damage, _screen.Cursor, _screen.CursorPlace);
    }

    private PictureArea Bounds(PictureSize size)
    {
        _areas.Clear();
        _viewer.Damage.AddTo(_areas);
        int left = size.Width, top = size.Height, right = 0, bottom = 0;
        foreach (var area in _areas)
        {
            (left, top) = (Math.Min(left, area.X), Math.Min(top, area.Y));
            (right, bottom) = (Math.Max(right, Math.Min(area.X + area.Width, size.Width)), Math.Max(bottom, Math.Min(area.Y + area.Height, size.Height)));
        }

        return new PictureArea(left, top, right - left, bottom - top);
    }

    private void Add(PictureArea area)
    {
        if (area.Width <= 0 || area.Height <= 0) return;
        var now = _clock.Now;
        if (_frames > 0) SetDelay(now - _lastTime);
        _lastTime = now;
        _file.Position = _lastControl = _end;
        _control = [_sequence++, area.Width, area.Height, area.X, area.Y, FrameMilliseconds];
        WriteControl(FrameMilliseconds, 1000);
        using (var data = new ZLibStream(new PngDataStream(_file, _nextSequence), CompressionLevel.Fastest)) Picture.WriteColours(_picture, area, data);
        _end = _file.Position;
        PngChunks.Write(_file, "IEND"u8, ReadOnlySpan<byte>.Empty);
        _frames++;
        WriteStart();
        _file.Flush();
    }

    /// <summary>The last frame was on the screen for so long.</summary>
    private void SetDelay(long nanoseconds)
    {
        _file.Position = _lastControl;
        var milliseconds = Math.Max(1, nanoseconds / 1_000_000);
        if (milliseconds <= ushort.MaxValue) WriteControl((int)milliseconds, 1000);
        else WriteControl((int)Math.Min(milliseconds / 1000, ushort.MaxValue), 1);
    }

    /// <summary>Size and place, the time as a fraction of a second; left as it is for the next frame (0), which replaces what is there (0).</summary>
    private void WriteControl(int numerator, int denominator) =>
        PngChunks.Write(_file, "fcTL"u8, [.. BigEndian(_control.AsSpan(0, 5)), (byte)(numerator >> 8), (byte)numerator, (byte)(denominator >> 8), (byte)denominator, 0, 0]);

    private static byte[] BigEndian(ReadOnlySpan<int> numbers)
    {
        var bytes = new byte[4 * numbers.Length];
        for (var n = 0; n < numbers.Length; n++) System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 * n), numbers[n]);
        return bytes;
    }

    private void Grow(PictureSize canvas)
    {
        if (canvas == _canvas) return;
        _canvas = canvas;
        WriteStart();
        var start = _file.Position;
        using (var data = new ZLibStream(new PngDataStream(_file, null), CompressionLevel.SmallestSize))
        {
            var line = new byte[1 + (3 * canvas.Width)];
            for (var y = 0; y < canvas.Height; y++) data.Write(line);
        }

        // A chunk of ours, which readers pass over, takes the rest of the room.
        var rest = StillBytes - (int)(_file.Position - start) - PngChunks.Overhead;
        PngChunks.Write(_file, "roOm"u8, new byte[rest]);
        if (_end == 0) _end = _file.Position;
    }

    /// <summary>Signature, size and number of frames; played once.</summary>
    private void WriteStart()
    {
        _file.Position = 0;
        _file.Write(PngChunks.Signature);
        PngChunks.WriteHeader(_file, _canvas.Width, _canvas.Height, 0);
        PngChunks.WriteNumbers(_file, "acTL"u8, [Math.Max(1, _frames), 1]);
    }

    public void Dispose()
    {
        if (_isClosed) return;
        _isClosed = true;
        _timer.Cancel();
        try
        {
            // What the guest left last.
            _screen.Refresh();
            Record();
            if (_frames > 0) SetDelay(_clock.Now - _lastTime);
            _viewer.Dispose();
            _file.Dispose();
        }
        catch (IOException e)
        {
            _log.Warn("display", $"the recording of the screen is not complete: {e.Message}");
        }
    }
}
