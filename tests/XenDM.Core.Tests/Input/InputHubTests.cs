using System;
using System.Collections.Generic;
using XenDM.Core.Input;

namespace XenDM.Core.Tests.Input;

public sealed class InputHubTests
{
    private sealed class Keyboard(List<string> log, string name) : IKeyboard
    {
        public bool IsActive { get; set; } = true;

        public KeyboardLeds? Leds { get; set; }

        public Action? LedsChanged { get; set; }

        public void Key(ushort key, bool down) => log.Add($"{name} {key:x}{(down ? "+" : "-")}");
    }

    private sealed class Pointer(List<string> log, string name) : IPointer
    {
        public string Name => name;

        public bool IsActive { get; set; } = true;

        public bool IsAbsolute { get; init; }

        public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons) => log.Add($"{name} {x},{y} {wheel},{sideWheel} {buttons}");
    }

    private readonly List<string> _log = [];
    private readonly InputHub _hub = new();

    private string Log()
    {
        var text = string.Join("; ", _log);
        _log.Clear();
        return text;
    }

    [Fact]
    public void NothingThere_NothingHappens()
    {
        using var seat = _hub.Open();
        seat.Key(0x1e, true);
        seat.Move(1, 2, 3, 4, PointerButtons.Left);
        seat.MoveBy(1, 2, 3, 4, PointerButtons.Left);
        seat.Press(PointerButtons.None);
        seat.Key(0x1e, false);
        Assert.Null(_hub.Pointer);
        Assert.Null(_hub.Leds);
        Assert.False(seat.IsAbsolute);
    }

    [Fact]
    public void Keys_GoToTheNewestActiveKeyboard_AndUpWhereTheyWentDown()
    {
        var newer = new Keyboard(_log, "new") { IsActive = false };
        _hub.Add(new Keyboard(_log, "old"));
        _hub.Add(newer);
        using var seat = _hub.Open();
        seat.Key(0x2a, true);
        newer.IsActive = true;
        seat.Key(0x1e, true);
        seat.Key(0x2a, false);
        newer.IsActive = false;
        seat.Key(0x1e, false);
        Assert.Equal("old 2a+; new 1e+; old 2a-; new 1e-", Log());
    }

    [Fact]
    public void Repeats_AndReleasesOfWhatIsNotDown_AreLeftOut()
    {
        _hub.Add(new Keyboard(_log, "k"));
        using var seat = _hub.Open();
        seat.Key(0x1e, true);
        seat.Key(0x1e, true);
        seat.Key(0x1e, false);
        seat.Key(0x1e, false);
        Assert.Equal("k 1e+; k 1e-", Log());
    }

    [Fact]
    public void TwoPersons_HoldOneKey_UntilTheSecondLetsGo()
    {
        _hub.Add(new Keyboard(_log, "k"));
        var (a, b) = (_hub.Open(), _hub.Open());
        a.Key(0x1d, true);
        b.Key(0x1d, true);
        b.Key(0x1d, true);
        a.Key(0x1d, false);
        Assert.Equal("k 1d+", Log());
        Assert.Empty(a.Held);
        Assert.Equal([(ushort)0x1d], b.Held);
        b.Dispose();
        Assert.Equal("k 1d-", Log());
        a.Dispose();
        Assert.Equal("", Log());
    }

    [Fact]
    public void WhoGoes_ReleasesAll()
    {
        _hub.Add(new Keyboard(_log, "k"));
        _hub.Add(new Pointer(_log, "p"));
        var seat = _hub.Open();
        seat.Key(0x1d, true);
        seat.Key(0x38, true);
        seat.Move(5, 6, 0, 0, PointerButtons.Left);
        Log();
        seat.Dispose();
        Assert.Equal(["k 1d-", "k 38-", "p 0,0 0,0 None"], _log.ToArray());
        Log();
        seat.Dispose();
        Assert.Equal("", Log());
    }

    [Fact]
    public void KeyboardThatIsTakenAway_IsNotAskedAgain()
    {
        var gone = new Keyboard(_log, "gone");
        _hub.Add(new Keyboard(_log, "k"));
        _hub.Add(gone);
        using var seat = _hub.Open();
        seat.Key(0x1e, true);
        seat.Key(0x1f, true);
        _hub.Remove(gone);
        seat.Key(0x1e, false);
        seat.Key(0x1e, true);
        seat.Key(0x1e, false);
        Assert.Equal("gone 1e+; gone 1f+; k 1e+; k 1e-", Log());
        Assert.Null(gone.LedsChanged);
    }

    [Fact]
    public void Leds_AreThoseOfTheKeyboardThatGetsTheKeys()
    {
        var keyboard = new Keyboard(_log, "k") { Leds = KeyboardLeds.NumLock };
        var told = 0;
        _hub.LedsChanged += () => told++;
        _hub.Add(keyboard);
        keyboard.LedsChanged!();
        Assert.Equal(1, told);
        Assert.Equal(KeyboardLeds.NumLock, _hub.Leds);
        _hub.Add(new Keyboard(_log, "dark"));
        Assert.Equal(KeyboardLeds.NumLock, _hub.Leds);
        keyboard.IsActive = false;
        Assert.Null(_hub.Leds);
    }

    [Fact]
    public void Buttons_OfAllSeats_AreOne()
    {
        _hub.Add(new Pointer(_log, "p"));
        var (a, b) = (_hub.Open(), _hub.Open());
        a.Move(1, 0, 0, 0, PointerButtons.Left);
        b.Move(2, 0, -1, 1, PointerButtons.Right);
        a.Press(PointerButtons.None);
        a.Press(PointerButtons.None);
        Assert.Equal("p 1,0 0,0 Left; p 2,0 -1,1 Left, Right; p 0,0 0,0 Right", Log());
        b.Dispose();
        Assert.Equal("p 0,0 0,0 None", Log());
    }

    [Fact]
    public void AbsolutePointer_IsReleasedWhereItIs()
    {
        _hub.Add(new Pointer(_log, "tablet") { IsAbsolute = true });
        var (a, b) = (_hub.Open(), _hub.Open());
        Assert.True(a.IsAbsolute);
        a.Move(100, 200, 0, 0, PointerButtons.Left);
        b.Move(300, 400, 0, 0, PointerButtons.None);
        Log();
        a.Dispose();
        Assert.Equal("tablet 300,400 0,0 None", Log());
    }

    [Fact]
    public void ButtonsDoNotStayDown_OnAPointerThatLostItsPlace()
    {
        var tablet = new Pointer(_log, "tablet") { IsAbsolute = true };
        var mouse = new Pointer(_log, "mouse");
        _hub.Add(mouse);
        _hub.Add(tablet);
        using var seat = _hub.Open();
        seat.Move(100, 200, 0, 0, PointerButtons.Left);
        tablet.IsActive = false;
        seat.Move(1, 1, 0, 0, PointerButtons.Left);
        Assert.Equal("tablet 100,200 0,0 Left; tablet 100,200 0,0 None; mouse 1,1 0,0 Left", Log());
        _hub.Remove(mouse);
        tablet.IsActive = true;
        seat.Move(7, 8, 0, 0, PointerButtons.None);
        Assert.Equal("tablet 7,8 0,0 None", Log());
    }

    [Fact]
    public void Movements_FindAPointerThatTakesThem()
    {
        var mouse = new Pointer(_log, "mouse");
        _hub.Add(mouse);
        _hub.Add(new Pointer(_log, "tablet") { IsAbsolute = true });
        using var seat = _hub.Open();
        seat.MoveBy(1, 2, 0, 0, PointerButtons.Left);
        seat.Press(PointerButtons.None);
        Assert.Equal("mouse 1,2 0,0 Left; mouse 0,0 0,0 None", Log());
        mouse.IsActive = false;
        seat.MoveBy(1, 2, 0, 0, PointerButtons.None);
        Assert.Equal("", Log());
    }

    [Fact]
    public void ChosenPointer_GoesFirst_WhileItIsActive()
    {
        var (first, second) = (new Pointer(_log, "first"), new Pointer(_log, "second"));
        _hub.Add(first);
        _hub.Add(second);
        Assert.Equal([first, second], _hub.Pointers);
        Assert.Same(second, _hub.Pointer);
        _hub.Choose(first);
        Assert.Same(first, _hub.Pointer);
        first.IsActive = false;
        Assert.Same(second, _hub.Pointer);
        first.IsActive = true;
        _hub.Remove(first);
        Assert.Same(second, _hub.Pointer);
    }

    /// <summary>Whatever several persons do while keyboards and pointers come and go: each key goes down once, up once, and nothing stays.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomPersons_LeaveNothingPressed(int seed)
    {
        var random = new Random(seed);
        var devices = new List<Checked>();
        var seats = new List<InputSeat>();
        for (var i = 0; i < 20_000; i++)
        {
            var seat = seats.Count > 0 ? seats[random.Next(seats.Count)] : null;
            switch (random.Next(40))
            {
                case 0 when seats.Count < 5: seats.Add(_hub.Open()); break;
                case 1 when seat is not null && seats.Remove(seat): seat.Dispose(); break;
                case 2 when devices.Count < 4:
                    var added = new Checked { IsAbsolute = random.Next(2) == 0 };
                    devices.Add(added);
                    _hub.Add((IKeyboard)added);
                    _hub.Add((IPointer)added);
                    break;
                case 3 when devices.Count > 0:
                    var gone = devices[random.Next(devices.Count)];
                    devices.Remove(gone);
                    _hub.Remove((IKeyboard)gone);
                    _hub.Remove((IPointer)gone);
                    break;
                case 4 when devices.Count > 0: devices[random.Next(devices.Count)].IsActive ^= true; break;
                case 5 when devices.Count > 0: _hub.Choose(devices[random.Next(devices.Count)]); break;
                case 6: seat?.ReleaseAll(); break;
                case < 15: seat?.Move(random.Next(0x8000), random.Next(0x8000), 0, 0, (PointerButtons)random.Next(32)); break;
                case < 20: seat?.Press((PointerButtons)random.Next(32)); break;
                case < 22: seat?.MoveBy(random.Next(9), random.Next(9), 0, 0, (PointerButtons)random.Next(32)); break;
                default: seat?.Key((ushort)random.Next(1, 20), random.Next(2) == 0); break;
            }
        }

        foreach (var seat in seats) seat.Dispose();
        foreach (var device in devices)
        {
            Assert.Empty(device.Down);
            Assert.Equal(PointerButtons.None, device.Buttons);
        }
    }

    private sealed class Checked : IKeyboard, IPointer
    {
        public string Name => "";

        public bool IsActive { get; set; } = true;

        public bool IsAbsolute { get; init; }

        public KeyboardLeds? Leds => null;

        public Action? LedsChanged { get; set; }

        public HashSet<ushort> Down { get; } = [];

        public PointerButtons Buttons { get; private set; }

        public void Key(ushort key, bool down) => Assert.True(down ? Down.Add(key) : Down.Remove(key));

        public void Move(int x, int y, int wheel, int sideWheel, PointerButtons buttons) => Buttons = buttons;
    }
}
