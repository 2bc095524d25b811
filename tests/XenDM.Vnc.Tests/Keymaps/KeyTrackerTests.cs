using System;
using System.Collections.Generic;
using System.Text;
using XenDM.Core.Input;
using XenDM.Vnc.Keymaps;

namespace XenDM.Vnc.Tests.Keymaps;

public sealed class KeyTrackerTests
{
    private const uint Shift = 0xffe1, RightShift = 0xffe2, Control = 0xffe3, Alt = 0xffe9, AltGr = 0xfe03, Caps = 0xffe5, Num = 0xff7f, RightAlt = 0xffea;

    /// <summary>A guest with a layout, which makes text of the keys: dead keys, locks with their lights, combinations in brackets.</summary>
    private sealed class Guest : IKeyboard
    {
        private readonly IReadOnlyDictionary<ushort, uint[]> _rows;
        private readonly StringBuilder _text = new();
        private uint _dead;

        public Guest(string layout) => _rows = Layouts.Find(layout)!;

        public HashSet<ushort> Down { get; } = [];

        public bool IsActive => true;

        public bool HasLights { get; init; } = true;

        public bool Caps { get; set; }

        public bool Num { get; set; }

        public KeyboardLeds? Leds => HasLights ? (Caps ? KeyboardLeds.CapsLock : 0) | (Num ? KeyboardLeds.NumLock : 0) : null;

        public Action? LedsChanged { get; set; }

        public string Take()
        {
            var text = _text.ToString();
            _text.Clear();
            return text;
        }

        public void Key(ushort key, bool down)
        {
            Assert.True(down ? Down.Add(key) : Down.Remove(key), $"{key:x} twice");
            if (!down) return;
            var shift = Down.Contains(0x2a) || Down.Contains(0x36);
            var altGr = Down.Contains(0xe038);
            switch (key)
            {
                case 0x2a or 0x36 or 0x1d or 0xe01d or 0x38 or 0xe038 or 0xe05b or 0xe05c:
                    return;
                case 0x3a:
                    Caps ^= true;
                    LedsChanged?.Invoke();
                    return;
                case 0x45:
                    Num ^= true;
                    LedsChanged?.Invoke();
                    return;
                case >= 0x47 and <= 0x53 and not (0x4a or 0x4e):
                    _text.Append(Num && !shift ? "789-456+1230."[key - 0x47] : "<home>,<up>,<pgup>,-,<left>,<5>,<right>,+,<end>,<down>,<pgdn>,<ins>,<del>".Split(',')[key - 0x47]);
                    return;
            }

            if (!_rows.TryGetValue(key, out var row))
            {
                _text.Append('<').Append(shift ? "S-" : "").Append(key.ToString("x", null)).Append('>');
                return;
            }

            var level = (shift ? 1 : 0) | (altGr && (row[2] | row[3]) != 0 ? 2 : 0);
            if (Caps && Letter(row[level], row[level ^ 1])) level ^= 1;
            var symbol = row[level];
            if (symbol is >= 0xfe50 and < 0xfe80)
            {
                _dead = symbol;
                return;
            }

            var control = Down.Contains(0x1d) || Down.Contains(0xe01d);
            var alt = Down.Contains(0x38);
            if (control || alt) _text.Append('[').Append(control ? "C-" : "").Append(alt ? "A-" : "").Append(Text(symbol)).Append(']');
            else _text.Append(_dead == 0 ? Text(symbol) : Composed(symbol));
            _dead = 0;
        }

        private static bool Letter(uint a, uint b) => a != b && string.Equals(Text(a), Text(b), StringComparison.OrdinalIgnoreCase);

        private static string Text(uint symbol) => Rune.TryCreate((int)(symbol & 0xff_ffff), out var rune) ? rune.ToString() : "?";

        private string Composed(uint symbol)
        {
            for (var point = 0x20u; point < 0x300; point++)
                if (Layouts.TryDecompose(0x0100_0000 | point, out var parts) && parts == (_dead, symbol)) return Text(point);
            return "?";
        }
    }

    private static (Guest Guest, KeyTracker Tracker) Make(string layout, bool lights = true, bool caps = false, bool num = false)
    {
        var hub = new InputHub();
        var guest = new Guest(layout) { HasLights = lights, Caps = caps, Num = num };
        hub.Add(guest);
        return (guest, new KeyTracker(hub, hub.Open(), Keymap.Load(layout)));
    }

    private static void Tap(KeyTracker tracker, params uint[] keysyms)
    {
        foreach (var keysym in keysyms) Assert.True(tracker.Key(keysym, true));
        Array.Reverse(keysyms);
        foreach (var keysym in keysyms) tracker.Key(keysym, false);
    }

    public static TheoryData<string> AllNames => [.. Keymap.Names];

    /// <summary>A person with the guest's layout: the modifiers come as key events too.</summary>
    [Theory]
    [MemberData(nameof(AllNames))]
    public void SameLayout_WithModifiers_TypesTheSame(string name)
    {
        var (guest, tracker) = Make(name);
        foreach (var (key, row) in Layouts.Find(name)!)
        {
            for (var level = 0; level < 4; level++)
            {
                if (row[level] < 0x0100_0000 || (level >= 2 && (row[2] | row[3]) == 0)) continue;
                var keys = new List<uint>();
                if ((level & 1) != 0) keys.Add(RightShift);
                if ((level & 2) != 0) keys.Add(AltGr);
                keys.Add(row[level]);
                Tap(tracker, [.. keys]);
                Assert.Equal(new Rune(row[level] & 0xff_ffff).ToString(), guest.Take());
                Assert.True(guest.Down.Count == 0, $"key {key:x} level {level}");
            }
        }
    }

    /// <summary>Programs and people with other layouts: the character alone, or with other modifiers than the guest needs.</summary>
    [Theory]
    [MemberData(nameof(AllNames))]
    public void OtherLayout_TypesTheSameCharacters(string name)
    {
        var (guest, tracker) = Make(name);
        var latin = Keymap.Load(name).TryMap('a', out var a) && Layouts.Find(name)![a.Key][(int)a.Needs & 3] == 0x0100_0061;
        foreach (var row in Layouts.Find(name)!.Values)
            foreach (var symbol in row)
                if (symbol >= 0x0100_0000) Check(symbol);
        if (!latin) return;
        for (var c = 0x20u; c < 0x7f; c++) Check(0x0100_0000 | c);

        void Check(uint symbol)
        {
            var text = new Rune(symbol & 0xff_ffff).ToString();
            foreach (var with in new uint[][] { [], [Shift], [AltGr], [Shift, AltGr], [Control, Alt] })
            {
                if (with is [Control, ..] && (!Keymap.Load(name).TryMap(symbol, out var entry) || (entry.Needs & KeyNeeds.AltGr) == 0 || entry.Dead != 0)) continue;
                Tap(tracker, [.. with, symbol]);
                Assert.Equal(text, guest.Take());
                Assert.Empty(guest.Down);
            }
        }
    }

    [Fact]
    public void AccentedLetters_AreComposed_WhereThereIsOnlyADeadKey()
    {
        var (guest, tracker) = Make("es");
        foreach (var c in "áéíóúÁÉüÜêñ^`'´") Tap(tracker, c);
        Assert.Equal("áéíóúÁÉüÜêñ^`'´", guest.Take());
        Tap(tracker, 0xfe51);
        Tap(tracker, 'e');
        Assert.Equal("é", guest.Take());
        Assert.Empty(guest.Down);
        var (_, american) = Make("en-us");
        Assert.False(american.Key('é', true));
        Assert.False(american.Key('é', false));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void Capitals_ComeOut_WhateverTheGuestsCapsLock(bool caps, bool lights)
    {
        var (guest, tracker) = Make("de", lights, caps && lights);
        foreach (var c in "aBÄß1!") Tap(tracker, c);
        Tap(tracker, Shift, 'C');
        Tap(tracker, Shift, 'd');
        Assert.Equal("aBÄß1!Cd", guest.Take());

        // The person presses CapsLock: it goes to the guest, and the client sends capitals without Shift.
        Tap(tracker, Caps);
        Assert.Equal(!(caps && lights), guest.Caps);
        foreach (var c in "XyZ5") Tap(tracker, c);
        Tap(tracker, Shift, 'w');
        Assert.Equal("XyZ5w", guest.Take());
        Tap(tracker, Caps);
        foreach (var c in "qR") Tap(tracker, c);
        Assert.Equal("qR", guest.Take());
        Assert.Empty(guest.Down);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Keypad_GivesWhatTheClientMeans(bool num)
    {
        var (guest, tracker) = Make("en-us", num: num);
        Tap(tracker, 0xffb7);
        Tap(tracker, 0xffae);
        Assert.Equal("7.", guest.Take());
        Tap(tracker, 0xff95);
        Tap(tracker, 0xff9f);
        Tap(tracker, 0xff9d);
        Assert.Equal("<home><del><5>", guest.Take());
        Assert.False(guest.Num);
        Tap(tracker, Num);
        Assert.True(guest.Num);

        // With NumLock and Shift the keypad's direction is what the client names.
        Tap(tracker, Shift, 0xff97);
        Assert.Equal("<up>", guest.Take());
        Assert.True(guest.Num);
    }

    [Fact]
    public void GuestWithoutLights_KeepsItsNumLock()
    {
        var (guest, tracker) = Make("en-us", lights: false, num: true);
        Tap(tracker, 0xffb7);
        Tap(tracker, 0xff95);
        Assert.Equal("77", guest.Take());
        Assert.True(guest.Num);
    }

    [Fact]
    public void FunctionKeys_KeepWhatIsHeld()
    {
        var (guest, tracker) = Make("en-us");
        Tap(tracker, Shift, 0xff51);
        Tap(tracker, 0xffbe);
        Tap(tracker, Shift, 0xfe20);
        Assert.Equal("<S-e04b><3b><S-f>", guest.Take());
        Tap(tracker, Control, 'c');
        Tap(tracker, Alt, 'x');
        Tap(tracker, Control, Shift, 'T');
        Tap(tracker, RightAlt, 'f');
        Assert.Equal("[C-c][A-x][C-T]f", guest.Take());
        Assert.Empty(guest.Down);
    }

    /// <summary>The name of a key changes when Shift is let go first.</summary>
    [Theory]
    [InlineData("en-us", 'A', 'a')]
    [InlineData("en-us", '@', '2')]
    [InlineData("de", '@', '2')]
    [InlineData("fr", '2', 'é')]
    [InlineData("fr", '!', '1')]
    [InlineData("de", '~', '+')]
    [InlineData("ru", 'Ф', 'ф')]
    public void ReleasedUnderAnotherName_IsReleased(string name, char pressed, char released)
    {
        var (guest, tracker) = Make(name);
        tracker.Key(Shift, true);
        tracker.Key(0x0100_0000u | pressed, true);
        tracker.Key(Shift, false);
        tracker.Key(0x0100_0000u | released, false);
        Assert.Empty(guest.Down);
    }

    [Fact]
    public void FastTyping_WithOverlaps()
    {
        var (guest, tracker) = Make("en-us");
        foreach (var (keysym, down) in new[]
        {
            (Shift, true), ('H', true), (Shift, false), ('e', true), ('h', false), ('l', true), ('e', false), ('l', false), ('l', true), (Shift, true), ('O', true), ('L', false), ('O', false), (Shift, false),
        })
        {
            tracker.Key(keysym, down);
        }

        Assert.Equal("HellO", guest.Take());
        Assert.Empty(guest.Down);

        // The second of two that are held decides about Shift; the first one stays down.
        tracker.Key('A', true);
        tracker.Key('b', true);
        Assert.Equal("Ab", guest.Take());
        Assert.Equal([(ushort)0x1e, (ushort)0x30], guest.Down);
        tracker.Key('A', false);
        tracker.Key('b', false);
        Assert.Empty(guest.Down);
    }

    [Fact]
    public void Repeats_AndStrayReleases_DoNothing()
    {
        var (guest, tracker) = Make("en-us");
        for (var i = 0; i < 5; i++) tracker.Key('a', true);
        tracker.Key('a', false);
        tracker.Key('a', false);
        tracker.Key('b', false);
        tracker.Key(Shift, false);
        tracker.Key(0xffbe, false);
        Assert.Equal("a", guest.Take());
        Assert.Empty(guest.Down);
    }

    [Fact]
    public void ReleaseAll_LetsGo_AndStartsAfresh()
    {
        var (guest, tracker) = Make("de");
        tracker.Key(Control, true);
        tracker.Key(AltGr, true);
        tracker.Key('Q', true);
        tracker.ReleaseAll();
        Assert.Empty(guest.Down);
        guest.Take();
        Tap(tracker, 'z');
        Assert.Equal("z", guest.Take());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void RandomEvents_AreHarmless_AndCanBeReleased(int seed)
    {
        var random = new Random(seed);
        foreach (var name in Keymap.Names)
        {
            var (guest, tracker) = Make(name);
            for (var i = 0; i < 3000; i++)
            {
                var keysym = random.Next(4) switch
                {
                    0 => (uint)random.Next(0x20, 0x7f),
                    1 => (uint)random.Next(0xff00, 0x10000),
                    2 => (uint)random.Next(0x100, 0x2100),
                    _ => 0x0100_0000u | (uint)random.Next(0x2_0000),
                };
                tracker.Key(random.Next(20) == 0 ? AltGr : keysym, random.Next(3) > 0);
            }

            tracker.ReleaseAll();
            Assert.Empty(guest.Down);
        }
    }
}
