using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Display;

/// <summary>PV framebuffers (<c>vfb</c>) of PV and PVH guests.</summary>
/// <param name="screens">Where they are shown.</param>
public sealed class FramebufferKind(XenPorts ports, int guest, IEventLoop loop, ScreenHub screens) : IPvKind
{
    private readonly List<FramebufferDevice> _devices = [];

    public string Name => "vfb";

    /// <summary>Those that are there now.</summary>
    public IReadOnlyList<FramebufferDevice> Devices => _devices;

    public IPvDevice Create(string id, StoreFolder back)
    {
        var device = new FramebufferDevice(ports, guest, loop, Remove);
        _devices.Add(device);
        screens.Add(device);
        return device;
    }

    private void Remove(FramebufferDevice device)
    {
        _devices.Remove(device);
        screens.Remove(device);
    }
}

/// <summary>Size and pixels of a picture in the guest's memory.</summary>
/// <param name="Depth">Bits of a pixel: 8 (red 3, green 3, blue 2), 16 (5, 6, 5) or 32 (unused 8, then 8 each); blue in the lowest bits.</param>
internal readonly record struct PictureFormat(int Width, int Height, int Depth)
{
    public int PixelBytes => Depth / 8;
}

/// <summary>
/// A PV framebuffer (xen/public/io/fbif.h): the guest's page tells the picture's size and, in lists of frame numbers, where its pixels are; a ring in it
/// tells what changed. All of the page is copied out and checked before it is used, and never read again. Machine thread.
/// </summary>
public sealed class FramebufferDevice : IPvDevice, IScreenSource
{
    /// <summary>Largest framebuffer and sides: 8192 x 2048 or 4096 x 4096 with 32 bits.</summary>
    private const uint MaxBytes = 64 << 20;
    private const int MaxSide = 8192;

    /// <summary>What is more is told as one area around all.</summary>
    private const int MaxAreas = 32;

    private const int AtInConsumer = 0, AtInProducer = 4, AtOutConsumer = 8, AtOutProducer = 12;
    private const int AtWidth = 16, AtHeight = 20, AtLineLength = 24, AtMemoryLength = 28, AtDepth = 32;
    private const int AtLists32 = 36, AtLists64 = 40;
    private const int AtIn = 1024, AtOut = 2048;
    private const int EventBytes = 40;
    private const uint InEvents = 1024 / EventBytes, OutEvents = 2048 / EventBytes;
    private const byte EventRefreshPeriod = 1, EventUpdate = 2, EventResize = 3;
    private const int PageBytes = 4096;
    private const int MaxPort = 1 << 17;

    private readonly XenPorts _ports;
    private readonly int _guest;
    private readonly IEventLoop _loop;
    private readonly Action<FramebufferDevice> _gone;
    private readonly Action _work;
    private readonly byte[] _event = new byte[EventBytes];
    private readonly List<PictureArea> _damage = new(MaxAreas);
    private uint[] _pixelLine = [];
    private byte[] _byteLine = [];
    private Action? _changed;
    private int _period;
    private IGrantMapping? _page, _pixels;
    private IEventChannel? _channel;
    private PictureFormat _format;
    private int _lineBytes, _offset, _bytes;
    private uint _taken, _given;
    private bool _tellsUpdates, _isBroken;
    private int _kicked;

    internal FramebufferDevice(XenPorts ports, int guest, IEventLoop loop, Action<FramebufferDevice> gone)
    {
        (_ports, _guest, _loop, _gone) = (ports, guest, loop, gone);
        _work = Work;
    }

    public Action<string>? Broken { get; set; }

    public PictureSize? Size => _pixels is null || _isBroken ? null : new PictureSize(_format.Width, _format.Height);

    public void Offer(StoreFolder back)
    {
        back.Write("feature-resize", 1);
        back.Write("request-update", 1);
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        var port = front.RequireNumber("event-channel", 1, MaxPort);
        var is32 = front.Read("protocol") == "x86_32-abi";
        IGrantMapping? pixels = null;
        var page = MapPage(front);
        try
        {
            var head = new byte[AtIn];
            page.Read(0, head);
            var format = new PictureFormat(Number(head, AtWidth), Number(head, AtHeight), head[AtDepth]);
            var lineBytes = Number(head, AtLineLength);
            var bytes = (uint)Number(head, AtMemoryLength);
            if (bytes is 0 or > MaxBytes) throw new PvException($"a framebuffer of {bytes} bytes; at most {MaxBytes} are served");
            if (Mistake(format, lineBytes, 0, (int)bytes) is { } mistake) throw new PvException(mistake);
            pixels = MapPixels(head, is32, (int)bytes);
            _channel = _ports.Events.TryBind(_guest, port, Kick) ?? throw new PvException($"event channel {port} is not offered");
            _bytes = (int)bytes;
            Use(format, lineBytes, 0);
        }
        catch (PvException)
        {
            pixels?.Dispose();
            page.Dispose();
            throw;
        }

        (_page, _pixels) = (page, pixels);
        (_taken, _given) = (page.ReadIndex(AtOutConsumer), page.ReadIndex(AtInProducer));
        _tellsUpdates = front.ReadFlag("feature-update");
        _isBroken = false;
        DamageAll();
        if (_period != 0) TellPeriod();
        Ring();
    }

    public void Disconnect()
    {
        var hadPicture = Size is not null;
        _channel?.Dispose();
        _pixels?.Dispose();
        _page?.Dispose();
        (_channel, _pixels, _page) = (null, null, null);
        _damage.Clear();
        if (hadPicture) Ring();
    }

    public void Drain()
    {
        // Nothing is in flight between two calls.
    }

    public void Dispose()
    {
        Disconnect();
        _gone(this);
    }

    /// <summary>What the driver told is drawn, and where it tells nothing all is looked at; damaged is only what differs.</summary>
    public void Draw(Frame frame, Damage damage, bool everything)
    {
        if (_pixels is null || _isBroken || frame.Width != _format.Width || frame.Height != _format.Height) return;
        if (everything || !_tellsUpdates) DamageAll();
        foreach (var area in _damage)
            for (var y = area.Y; y < area.Y + area.Height; y++) DrawLine(_pixels, frame.Line(y).Slice(area.X, area.Width), area.X, y, damage);
        _damage.Clear();
        if (everything) damage.AddAll();
    }

    public bool NotifyOnce(Action? changed)
    {
        _changed = changed;
        return _pixels is null || _tellsUpdates;
    }

    public void SetRefreshPeriod(int milliseconds)
    {
        var period = Math.Max(milliseconds, 0);
        if (period == _period) return;
        _period = period;
        TellPeriod();
    }

    private void TellPeriod()
    {
        if (_page is null || _channel is null || _isBroken || _given - _page.ReadIndex(AtInConsumer) >= InEvents) return;
        Array.Clear(_event);
        _event[0] = EventRefreshPeriod;
        BinaryPrimitives.WriteInt32LittleEndian(_event.AsSpan(4), _period);
        _page.Write(AtIn + ((int)(_given % InEvents) * EventBytes), _event);
        _page.WriteIndex(AtInProducer, ++_given);
        _page.Written(0);
        _channel.Notify();
    }

    private void DrawLine(IGrantMapping pixels, Span<uint> line, int x, int y, Damage damage)
    {
        var bytes = _byteLine.AsSpan(0, line.Length * _format.PixelBytes);
        var drawn = _pixelLine.AsSpan(0, line.Length);
        pixels.Read(_offset + (y * _lineBytes) + (x * _format.PixelBytes), bytes);
        Convert(bytes, drawn, _format.Depth);
        var first = drawn.CommonPrefixLength(line);
        if (first == line.Length) return;
        var last = line.Length - 1;
        while (drawn[last] == line[last]) last--;
        drawn[first..(last + 1)].CopyTo(line[first..]);
        damage.Add(x + first, y, last - first + 1, 1);
    }

    /// <summary>Colours of few bits are spread, so that all ones are white.</summary>
    private static void Convert(ReadOnlySpan<byte> bytes, Span<uint> line, int depth)
    {
        switch (depth)
        {
            case 8:
                for (var n = 0; n < line.Length; n++) line[n] = (Spread((uint)bytes[n] >> 5, 3) << 16) | (Spread(((uint)bytes[n] >> 2) & 7, 3) << 8) | Spread((uint)bytes[n] & 3, 2);
                break;
            case 16:
                var pixels = MemoryMarshal.Cast<byte, ushort>(bytes);
                for (var n = 0; n < line.Length; n++) line[n] = (Spread((uint)pixels[n] >> 11, 5) << 16) | (Spread(((uint)pixels[n] >> 5) & 63, 6) << 8) | Spread((uint)pixels[n] & 31, 5);
                break;
            default:
                MemoryMarshal.Cast<byte, uint>(bytes).CopyTo(line);
                foreach (ref var pixel in line) pixel &= 0xff_ffff;
                break;
        }
    }

    /// <param name="bits">2 to 6: how many <paramref name="value"/> has. They are repeated over 8.</param>
    private static uint Spread(uint value, int bits)
    {
        var high = value << (8 - bits);
        return high | (high >> bits) | (high >> (2 * bits)) | (high >> (3 * bits));
    }

    private void Ring()
    {
        var changed = _changed;
        _changed = null;
        changed?.Invoke();
    }

    private void Use(PictureFormat format, int lineBytes, int offset)
    {
        (_format, _lineBytes, _offset) = (format, lineBytes, offset);
        if (_pixelLine.Length >= format.Width) return;
        _pixelLine = new uint[format.Width];
        _byteLine = new byte[format.Width * sizeof(uint)];
    }

    private IGrantMapping MapPage(StoreFolder front)
    {
        if (front.ReadNumber("page-gref") is { } grant) return _ports.Grants.TryMap(_guest, [grant], writable: true) ?? throw new PvException($"its page cannot be mapped: grant {grant}");
        if (!ulong.TryParse(front.Read("page-ref"), NumberStyles.None, CultureInfo.InvariantCulture, out var frame)) throw new PvException("page-ref is missing, or no number");
        return Foreign.TryMap(_guest, [frame], writable: true) ?? throw new PvException($"its page cannot be mapped: frame {frame:x}");
    }

    private IForeignPages Foreign => _ports.Foreign ?? throw new PvException("it names its pages by frame numbers, which this process may not map");

    /// <summary>The page has frame numbers of pages that have the frame numbers of the pixels' pages.</summary>
    private IGrantMapping MapPixels(ReadOnlySpan<byte> head, bool is32, int bytes)
    {
        var (at, size) = is32 ? (AtLists32, sizeof(uint)) : (AtLists64, sizeof(ulong));
        var pages = (bytes + PageBytes - 1) / PageBytes;
        var perList = PageBytes / size;
        var lists = (pages + perList - 1) / perList;

        // The header has room for 256 lists, but the rings begin before their end.
        if (at + (lists * size) > head.Length) throw new PvException($"a framebuffer of {bytes} bytes has more lists than its page can name");
        var frames = Numbers(head.Slice(at, lists * size), is32);
        using var table = Foreign.TryMap(_guest, frames, writable: false) ?? throw new PvException("the lists of its pages cannot be mapped");
        var entries = new byte[pages * size];
        table.Read(0, entries);
        return Foreign.TryMap(_guest, Numbers(entries, is32), writable: false) ?? throw new PvException($"its {pages} pages of pixels cannot be mapped");
    }

    private static ulong[] Numbers(ReadOnlySpan<byte> bytes, bool is32)
    {
        if (!is32) return MemoryMarshal.Cast<byte, ulong>(bytes).ToArray();
        var numbers = new ulong[bytes.Length / sizeof(uint)];
        for (var n = 0; n < numbers.Length; n++) numbers[n] = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(n * sizeof(uint))..]);
        return numbers;
    }

    private static int Number(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]);

    /// <returns>Null when the picture lies within so many bytes of pixels.</returns>
    private static string? Mistake(PictureFormat format, int lineBytes, int offset, int bytes)
    {
        if (format.Depth is not (8 or 16 or 32)) return $"{format.Depth} bits a pixel are not served: 8, 16 and 32 are";
        if (format.Width is <= 0 or > MaxSide || format.Height is <= 0 or > MaxSide) return $"a picture of {format.Width} x {format.Height} pixels; {MaxSide} each way are served";
        if (lineBytes < format.Width * format.PixelBytes || offset < 0) return $"lines of {lineBytes} bytes from {offset} on with {format.Width} pixels";
        var end = offset + ((long)lineBytes * (format.Height - 1)) + (format.Width * format.PixelBytes);
        return end > bytes ? $"a picture that ends at byte {end} of {bytes}" : null;
    }

    /// <summary>The guest moved an index. From any thread.</summary>
    private void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _loop.Post(_work);
    }

    /// <summary>Takes what is there now: the guest sends an event for what comes later.</summary>
    private void Work()
    {
        Volatile.Write(ref _kicked, 0);
        if (_page is null || _channel is null || _isBroken) return;
        var count = _page.ReadIndex(AtOutProducer) - _taken;
        if (count == 0) return;
        if (count > OutEvents)
        {
            Break($"{count} events in a ring of {OutEvents}");
            return;
        }

        for (; count > 0; count--)
        {
            _page.Read(AtOut + ((int)(_taken++ % OutEvents) * EventBytes), _event);
            if (_event[0] == EventUpdate) AddDamage(Number(_event, 4), Number(_event, 8), Number(_event, 12), Number(_event, 16));
            else if (_event[0] == EventResize && !TryResize()) return;
        }

        _page.WriteIndex(AtOutConsumer, _taken);
        _page.Written(0);
        _channel.Notify();
        Ring();
    }

    private bool TryResize()
    {
        var format = new PictureFormat(Number(_event, 4), Number(_event, 8), Number(_event, 16));
        var (lineBytes, offset) = (Number(_event, 12), Number(_event, 20));
        if (Mistake(format, lineBytes, offset, _bytes) is { } mistake)
        {
            Break(mistake);
            return false;
        }

        Use(format, lineBytes, offset);
        DamageAll();
        return true;
    }

    private void DamageAll()
    {
        _damage.Clear();
        _damage.Add(new PictureArea(0, 0, _format.Width, _format.Height));
    }

    /// <summary>What lies outside of the picture is cut off.</summary>
    private void AddDamage(int x, int y, int width, int height)
    {
        var (left, top) = (Math.Clamp(x, 0, _format.Width), Math.Clamp(y, 0, _format.Height));
        var right = (int)Math.Clamp((long)x + width, 0, _format.Width);
        var bottom = (int)Math.Clamp((long)y + height, 0, _format.Height);
        if (right <= left || bottom <= top) return;
        if (_damage.Count == MaxAreas)
        {
            foreach (var area in _damage)
            {
                (left, top) = (Math.Min(left, area.X), Math.Min(top, area.Y));
                (right, bottom) = (Math.Max(right, area.X + area.Width), Math.Max(bottom, area.Y + area.Height));
            }

            _damage.Clear();
        }

        _damage.Add(new PictureArea(left, top, right - left, bottom - top));
    }

    private void Break(string text)
    {
        _isBroken = true;
        Broken?.Invoke(text);
        Ring();
    }
}
