using System;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.Tracing;
using XenDM.Vnc;
using PictureArea = XenDM.Core.Display.PictureArea;

namespace XenDM.Fuzz;

/// <summary>
/// VNC clients that say anything: streams that begin as those of clients do and go wrong somewhere, in pieces of all lengths, while the screen changes
/// its picture and size. What may not happen: an exception in the server, a client that is served on after its stream ended, growth.
/// </summary>
internal static class VncFuzz
{
    private const int Together = 16;

    /// <summary>
    /// In beats of <see cref="s_beat"/>, so that a host that gives this process no CPU stops this clock too: nothing read or written by any connection
    /// for so long is a connection that hangs, and so long for all of them is too long in any case.
    /// </summary>
    private const int MaxStill = 400;
    private const int MaxBeats = 6000;
    private static readonly TimeSpan s_beat = TimeSpan.FromMilliseconds(50);

    /// <param name="steps">One connection for each 500.</param>
    /// <returns>False when something went wrong; it is printed.</returns>
    public static bool Run(int seed, long steps)
    {
        var watch = Stopwatch.StartNew();
        using var machine = new FuzzLoop();
        var (screen, hub, input, log) = (new FuzzScreen(seed), new ScreenHub(), new InputHub(), new FuzzLog());
        hub.Add(screen);
        input.Add((IKeyboard)screen);
        input.Add((IPointer)screen);
        using var server = new VncServer(new VncOptions { MaxStrangers = 10_000, MaxClients = 10_000, Sharing = VncSharing.Ignore, KeyDelay = 0, IsLossy = true }, hub, input, machine, log);
        var random = new Random(seed);
        var (startBytes, received, count) = (0L, 0L, Math.Max(steps / 500, 2 * Together));
        for (var done = 0L; done < count; done += Together)
        {
            if (done >= count / 2 && startBytes == 0) startBytes = GC.GetTotalMemory(forceFullCollection: true);
            var streams = new FuzzStream[Together];
            var served = new Task[Together];
            for (var i = 0; i < Together; i++)
            {
                var isWeb = random.Next(20) == 0;
                streams[i] = new FuzzStream(Stream(new Random(random.Next()), isWeb), new Random(random.Next()));
                var end = new VncEnd("fuzz", i.ToString(CultureInfo.InvariantCulture), "ipv4", isWeb);
                served[i] = server.ServeAsync(streams[i], end, end, isWeb);
            }

            if (!AllEnd(served, streams)) return Fail(seed, done, $"connections are served on after their end: {Open(served, streams)}; {machine.Failure}");
            foreach (var stream in streams) received += stream.Written;
            if (!log.Warnings.IsEmpty) return Fail(seed, done, string.Join('\n', log.Warnings));
            if (machine.Failure is { } failure) return Fail(seed, done, failure.ToString());
            if (server.Clients.Count > 0) return Fail(seed, done, "a client is left over");
        }

        var grown = GC.GetTotalMemory(forceFullCollection: true) - startBytes;
        if (grown > 16 << 20) return Fail(seed, count, $"memory grew by {grown} bytes in the second half");
        machine.Flush();
        if (screen.Held != 0) return Fail(seed, count, $"{screen.Held} keys are still down");
        Console.WriteLine($"seed {seed}: {count} VNC connections in {watch.Elapsed.TotalSeconds:0.0} s, {received >> 20} MiB sent to them, {screen.Draws} looks at the screen, {screen.Keys} keys");
        return true;
    }

    private static bool AllEnd(Task[] served, FuzzStream[] streams)
    {
        var (all, moves, still) = (Task.WhenAll(served), -1L, 0);
        for (var beats = 0; beats < MaxBeats && still < MaxStill && !all.IsCompleted; beats++)
        {
            // A turn of the thread pool, where the connections are served.
            Task.WhenAny(all, Task.Delay(s_beat)).Wait();
            var now = 0L;
            foreach (var stream in streams) now += stream.Moves;
            still = now == moves ? still + 1 : 0;
            moves = now;
        }

        return all.IsCompleted;
    }

    private static string Open(Task[] served, FuzzStream[] streams)
    {
        var text = new List<string>();
        for (var i = 0; i < served.Length; i++)
            if (!served[i].IsCompleted) text.Add($"{i} ({(streams[i].IsAtEnd ? "at its end" : "within its stream")}, {streams[i].Written} bytes sent to it)");
        return string.Join(", ", text);
    }

    private static bool Fail(int seed, long step, string why)
    {
        Console.WriteLine($"FAILED seed {seed} connection {step}: {why}");
        return false;
    }

    /// <summary>What a client sends.</summary>
    private static byte[] Stream(Random random, bool isWeb)
    {
        using var bytes = new MemoryStream();
        if (isWeb)
        {
            bytes.Write("GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"u8);
        }
        else
        {
            bytes.Write(random.Next(3) switch { 0 => "RFB 003.003\n"u8, 1 => "RFB 003.007\n\u0001"u8, _ => "RFB 003.008\n\u0001"u8 });
            bytes.WriteByte((byte)random.Next(2));
            for (var messages = random.Next(60); messages > 0; messages--) AddMessage(bytes, random);
        }

        // Something goes wrong in half of them.
        var stream = bytes.ToArray();
        for (var errors = random.Next(2) == 0 ? 0 : random.Next(1, 5); errors > 0; errors--) stream[random.Next(stream.Length)] = (byte)random.Next(256);
        return random.Next(4) == 0 ? stream[..random.Next(stream.Length)] : stream;
    }

    private static void AddMessage(MemoryStream bytes, Random random)
    {
        ReadOnlySpan<int> encodings = [0, 1, 5, 6, 7, 16, -32, -25, -23, -256, -250, -247, -223, -224, -239, -257, -258, -261, -307, -308, -312, -313, -314, -316, -412, -768];
        switch (random.Next(14))
        {
            case 0:
                byte[][] formats = [[32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0], [16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0], [8, 8, 0, 0, .. new byte[12]], [8, 6, 0, 1, 0, 3, 0, 3, 0, 3, 4, 2, 0, 0, 0, 0]];
                bytes.Write([0, 0, 0, 0, .. formats[random.Next(formats.Length)]]);
                break;
            case 1 or 2:
                var count = random.Next(10) == 0 ? random.Next(2000) : random.Next(12);
                bytes.Write([2, 0, (byte)(count >> 8), (byte)count]);
                for (; count > 0; count--) Write(bytes, random.Next(30) == 0 ? random.Next() : encodings[random.Next(encodings.Length)]);
                break;
            case 3 or 4 or 5 or 6:
                bytes.Write([3, (byte)random.Next(2), .. Words(random, 4)]);
                break;
            case 7:
                bytes.Write([4, (byte)random.Next(2), 0, 0]);
                Write(bytes, random.Next(3) == 0 ? random.Next() : random.Next(2) == 0 ? random.Next(0x20, 0x100) : random.Next(0xff00, 0x1_0000));
                break;
            case 8:
                bytes.Write([5, (byte)random.Next(128), .. Words(random, 2)]);
                break;
            case 9:
                var length = random.Next(3000);
                bytes.Write([6, 0, 0, 0]);
                Write(bytes, random.Next(2) == 0 ? length : -length);
                bytes.Write(new byte[length]);
                break;
            case 10:
                bytes.Write([150, (byte)random.Next(2), .. Words(random, 4)]);
                break;
            case 11:
                var data = random.Next(65);
                bytes.Write([248, 0, 0, 0]);
                Write(bytes, random.Next(2) == 0 ? 0 : -random.Next());
                bytes.Write([(byte)data, .. new byte[data]]);
                break;
            case 12:
                var screens = random.Next(4);
                bytes.Write([251, 0, .. Words(random, 2), (byte)screens, 0, .. new byte[screens * 16]]);
                break;
            default:
                bytes.Write([255, 0, 0, (byte)random.Next(2)]);
                Write(bytes, random.Next());
                Write(bytes, random.Next(300));
                break;
        }
    }

    private static void Write(MemoryStream bytes, int value)
    {
        Span<byte> four = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(four, value);
        bytes.Write(four);
    }

    /// <summary>Places and sides: mostly of a screen, sometimes of none.</summary>
    private static byte[] Words(Random random, int count)
    {
        var words = new byte[2 * count];
        for (var i = 0; i < count; i++) BinaryPrimitives.WriteUInt16BigEndian(words.AsSpan(2 * i), (ushort)random.Next(random.Next(6) == 0 ? 65536 : 700));
        return words;
    }

    /// <summary>Gives its bytes in pieces, with waits in between, and takes what comes, until the client is gone.</summary>
    private sealed class FuzzStream(byte[] bytes, Random random) : MemoryStream(bytes)
    {
        // Reading and writing go on at the same time.
        private readonly Random _random = random;
        private readonly Random _errors = new(random.Next());

        private long _moves;

        public long Written { get; private set; }

        /// <summary>Reads and writes.</summary>
        public long Moves => Interlocked.Read(ref _moves);

        /// <summary>The server was told that there is no more.</summary>
        public bool IsAtEnd { get; private set; }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var dice = _random.Next(30);
            if (dice < 10) await Task.Yield();
            if (dice == 0) await Task.Delay(1, cancellationToken);

            // A little time at the end for updates that are on their way.
            if (Position == Length) await Task.Delay(5, cancellationToken);
            Interlocked.Increment(ref _moves);
            var count = Read(buffer.Span[..Math.Min(buffer.Length, _random.Next(3) == 0 ? 1 : _random.Next(1, 200))]);
            IsAtEnd = count == 0;
            return count;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Interlocked.Increment(ref _moves);
            Written += buffer.Length;
            return _errors.Next(500) == 0 ? throw new IOException("gone") : default;
        }

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    private sealed class FuzzLog : IMachineLog
    {
        public ConcurrentQueue<string> Warnings { get; } = [];

        public bool GuestAllowed => true;

        public void Info(string source, string text)
        {
        }

        public void Warn(string source, string text) => Warnings.Enqueue(text);

        public void Guest(string source, string text)
        {
        }
    }

    private sealed class FuzzLoop : IEventLoop, IDisposable
    {
        private readonly BlockingCollection<Action> _work = [];
        private readonly Thread _thread;

        public FuzzLoop()
        {
            _thread = new Thread(Run);
            _thread.Start();
        }

        public Exception? Failure { get; private set; }

        public void Post(Action work)
        {
            if (!_work.IsAddingCompleted) _work.Add(work);
        }

        /// <summary>Waits for what is posted so far.</summary>
        public void Flush()
        {
            using var done = new ManualResetEventSlim();
            Post(done.Set);
            done.Wait();
        }

        public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

        public void AssertMachineThread()
        {
        }

        public void Dispose()
        {
            _work.CompleteAdding();
            _thread.Join();
        }

        private void Run()
        {
            foreach (var work in _work.GetConsumingEnumerable())
            {
                try
                {
                    work();
                }
                catch (Exception e)
                {
                    Failure ??= e;
                }
            }
        }
    }

    /// <summary>Another picture at every look, and often another size; a keyboard and a pointer that count.</summary>
    private sealed class FuzzScreen(int seed) : IScreenSource, IKeyboard, IPointer
    {
        private readonly Random _random = new(seed);
        private readonly HashSet<ushort> _held = [];

        private PictureSize _size = new(640, 480);

        /// <summary>Sometimes there is no picture.</summary>
        public PictureSize? Size => _random.Next(50) == 0 ? null : _size;

        public CursorShape? Cursor { get; private set; }

        public (int X, int Y) CursorPlace { get; private set; }

        public long Draws { get; private set; }

        public long Keys { get; private set; }

        public int Held => _held.Count;

        public string Name => "fuzz";

        public bool IsActive => true;

        public bool IsAbsolute { get; private set; } = true;

        public KeyboardLeds? Leds { get; private set; }

        public Action? LedsChanged { get; set; }

        public void Draw(Frame frame, Damage damage, bool everything)
        {
            Draws++;
            for (var areas = everything ? 0 : _random.Next(4); areas > 0; areas--)
            {
                var (x, y) = (_random.Next(frame.Width), _random.Next(frame.Height));
                Fill(frame, damage, new PictureArea(x, y, _random.Next(1, frame.Width - x + 1), _random.Next(1, frame.Height - y + 1)));
            }

            if (everything) Fill(frame, damage, new PictureArea(0, 0, frame.Width, frame.Height));
            var dice = _random.Next(40);
            if (dice == 0) _size = new PictureSize(_random.Next(1, 1200), _random.Next(1, 800));
            if (dice == 2) _size = new PictureSize(640, 480);
            if (dice == 3) IsAbsolute = !IsAbsolute;
            if (dice == 4) Leds = (KeyboardLeds)_random.Next(8);
            if (dice is 5 or 6) CursorPlace = (_random.Next(-100, 1300), _random.Next(-100, 900));
            if (dice != 7) return;
            var (width, height) = (_random.Next(0, 65), _random.Next(0, 65));
            var pixels = new uint[width * height];
            foreach (ref var pixel in pixels.AsSpan()) pixel = _random.Next(2) == 0 ? 0 : 0xff00_0000 | (uint)_random.Next(1 << 24);
            Cursor = _random.Next(4) == 0 ? null : new CursorShape(width, height, _random.Next(0, 65), _random.Next(0, 65), pixels);
        }

        public bool NotifyOnce(Action? changed)
        {
            if (changed is null) return true;
            if (_random.Next(3) != 0) return false;
            changed();
            return _random.Next(2) == 0;
        }

        public void SetRefreshPeriod(int milliseconds)
        {
        }

        public void Key(ushort key, bool down)
        {
            Keys++;
            if (down) _held.Add(key);
            else _held.Remove(key);
        }

        public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons)
        {
        }

        private void Fill(Frame frame, Damage damage, PictureArea area)
        {
            var kind = _random.Next(3);
            for (var y = area.Y; y < area.Y + area.Height; y++)
            {
                foreach (ref var pixel in frame.Line(y).Slice(area.X, area.Width)) pixel = kind switch { 0 => 0x336699, 1 => (uint)_random.Next(4) * 0x111111, _ => (uint)_random.Next(1 << 24) };
            }

            damage.Add(area.X, area.Y, area.Width, area.Height);
        }
    }
}
