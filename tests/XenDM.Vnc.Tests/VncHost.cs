using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.Core.Tracing;
using PictureArea = XenDM.Core.Display.PictureArea;

namespace XenDM.Vnc.Tests;

/// <summary>A machine thread, a screen, a keyboard and a pointer, and the server in front of them at a port of its own.</summary>
internal sealed class VncHost : IDisposable
{
    private readonly TestMachine _machine = new();

    public VncHost(VncOptions? options = null, TimeProvider? time = null, bool isListening = true)
    {
        options = (options ?? new VncOptions()) with { Host = options?.Host is { Length: > 0 } host ? host : "127.0.0.1", Port = 0 };
        Server = _machine.Run(() =>
        {
            Hub.Add(Screen);
            Input.Add(Keyboard);
            Input.Add(Pointer);
            var server = new VncServer(options, Hub, Input, _machine, Log, time);
            server.Connected = info => Events.Add(("connected", info));
            server.Initialized = info => Events.Add(("initialized", info));
            server.Disconnected = info => Events.Add(("disconnected", info));
            if (isListening) server.Listen();
            return server;
        });
    }

    public VncServer Server { get; }

    public ScreenHub Hub { get; } = new();

    public InputHub Input { get; } = new();

    public FakeScreen Screen { get; } = new(64, 48);

    public FakeKeyboard Keyboard { get; } = new();

    public FakePointer Pointer { get; } = new();

    public TestLog Log { get; } = new();

    public BlockingCollection<(string What, VncClientInfo Who)> Events { get; } = [];

    public int Port => int.Parse(Server.Addresses[0].Service);

    public int WebPort => int.Parse(Server.Addresses[^1].Service);

    public IEventLoop Loop => _machine;

    /// <summary>Runs something on the machine thread.</summary>
    public void Run(Action work) => _machine.Run(() =>
    {
        work();
        return 0;
    });

    public T Run<T>(Func<T> work) => _machine.Run(work);

    /// <summary>Connects; the client is let in when the handshake is left to it.</summary>
    public RfbClient Connect(int minor = 8, string? password = null, bool isShared = true)
    {
        var client = new RfbClient(Port);
        client.Handshake(minor, password, isShared);
        return client;
    }

    /// <summary>Waits for something that other threads bring about.</summary>
    public void Until(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(() => Run(condition), TimeSpan.FromSeconds(60)), "what is waited for does not happen");

    public string NextEvent() => Events.TryTake(out var next, TimeSpan.FromSeconds(60)) ? next.What : "none";

    public void Dispose()
    {
        Run(Server.Dispose);
        _machine.Dispose();
        Assert.Empty(Log.Warnings);
    }
}

/// <summary>A loop with a thread of its own.</summary>
internal sealed class TestMachine : IEventLoop, IDisposable
{
    private readonly BlockingCollection<Action> _work = [];
    private readonly Thread _thread;

    public TestMachine()
    {
        _thread = new Thread(() =>
        {
            foreach (var work in _work.GetConsumingEnumerable()) work();
        });
        _thread.IsBackground = true;
        _thread.Start();
    }

    public void Post(Action work)
    {
        try
        {
            _work.Add(work);
        }
        catch (InvalidOperationException)
        {
            // The machine is switched off.
        }
    }

    public T Run<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>();
        Post(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        });
        return done.Task.WaitAsync(TimeSpan.FromSeconds(60)).GetAwaiter().GetResult();
    }

    public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException();

    public void AssertMachineThread() => Assert.Same(_thread, Thread.CurrentThread);

    public void Dispose()
    {
        _work.CompleteAdding();
        Assert.True(_thread.Join(TimeSpan.FromSeconds(60)));
    }
}

/// <summary>A screen that tests draw on; it tells of changes, unless it is told not to.</summary>
internal sealed class FakeScreen : IScreenSource
{
    private readonly Damage _damage = new();
    private Frame _frame = new();
    private Action? _changed;

    public FakeScreen(int width, int height) => SetSize(width, height);

    public PictureSize? Size { get; private set; }

    public CursorShape? Cursor { get; set; }

    public (int X, int Y) CursorPlace { get; set; }

    public bool Tells { get; set; } = true;

    /// <summary>Times that it was asked to draw.</summary>
    public int Looks { get; private set; }

    /// <summary>As it was last told.</summary>
    public int Period { get; private set; }

    public void SetSize(int width, int height)
    {
        Size = new PictureSize(width, height);
        _frame = new Frame();
        _frame.Resize(width, height);
        _damage.Resize(width, height);
        Ring();
    }

    public void Fill(PictureArea area, uint pixel)
    {
        for (var y = area.Y; y < area.Y + area.Height; y++) _frame.Line(y).Slice(area.X, area.Width).Fill(pixel);
        _damage.Add(area.X, area.Y, area.Width, area.Height);
        Ring();
    }

    /// <summary>Lines go up, and new ones come from below.</summary>
    public void Scroll(int lines, Random random)
    {
        for (var y = 0; y < _frame.Height; y++)
        {
            if (y + lines < _frame.Height) _frame.Line(y + lines).CopyTo(_frame.Line(y));
            else foreach (ref var pixel in _frame.Line(y)) pixel = (uint)random.Next(1 << 24);
        }

        _damage.AddAll();
        Ring();
    }

    public uint[] Pixels => _frame.Pixels.ToArray();

    public void Ring()
    {
        var changed = _changed;
        _changed = null;
        changed?.Invoke();
    }

    public void Draw(Frame frame, Damage damage, bool everything)
    {
        Looks++;
        if (everything)
        {
            _damage.AddAll();
        }

        var areas = new List<PictureArea>();
        _damage.AddTo(areas);
        foreach (var area in areas) frame.Copy(_frame, area);
        damage.Add(_damage);
        _damage.Clear();
    }

    public bool NotifyOnce(Action? changed)
    {
        _changed = changed;
        return Tells;
    }

    public void SetRefreshPeriod(int milliseconds) => Period = milliseconds;
}

internal sealed class FakeKeyboard : IKeyboard
{
    public List<(ushort Key, bool Down)> Keys { get; } = [];

    public bool IsActive => true;

    public KeyboardLeds? Leds { get; set; } = KeyboardLeds.None;

    public Action? LedsChanged { get; set; }

    public void Key(ushort key, bool down) => Keys.Add((key, down));
}

internal sealed class FakePointer : IPointer
{
    public List<(int X, int Y, int Wheel, int Side, PointerButtons Buttons)> Moves { get; } = [];

    public string Name => "fake";

    public bool IsActive => true;

    public bool IsAbsolute { get; set; } = true;

    public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons) => Moves.Add((x, y, wheel, sideWheel, buttons));
}

internal sealed class TestLog : IMachineLog
{
    public ConcurrentQueue<string> Warnings { get; } = [];

    public ConcurrentQueue<string> Lines { get; } = [];

    public bool GuestAllowed => true;

    public void Info(string source, string text)
    {
    }

    public void Warn(string source, string text) => Warnings.Enqueue(text);

    public void Guest(string source, string text) => Lines.Enqueue(text);
}
