using System;
using System.Linq;
using System.Threading;
using XenDM.Core.Display;
using XenDM.Core.Input;

namespace XenDM.Vnc.Tests;

public class MessageTests
{
    [Fact]
    public void ThePictureComes()
    {
        using var host = new VncHost();
        host.Run(() => host.Screen.Fill(new PictureArea(10, 20, 5, 5), 0x123456));
        using var client = host.Connect();
        client.Request(isIncremental: false);
        client.ReceiveUpdate();
        Assert.Equal((64, 48), (client.Width, client.Height));
        client.Until(12, 22, 0x123456);
        Assert.Equal(0u, client[0, 0]);
        host.Run(() => host.Screen.Fill(new PictureArea(60, 40, 4, 8), 0xff));
        client.Request(isIncremental: true);
        var rectangle = Assert.Single(client.ReceiveUpdate());
        Assert.Equal((48, 32, 16, 16), (rectangle.X, rectangle.Y, rectangle.Width, rectangle.Height));
        Assert.Equal(0xffu, client[61, 41]);
    }

    [Fact]
    public void AnAreaIsClippedAndExact()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Request(false, 3, 5, 7, 9);
        var rectangle = Assert.Single(client.ReceiveUpdate());
        Assert.Equal((3, 5, 7, 9), (rectangle.X, rectangle.Y, rectangle.Width, rectangle.Height));
        client.Request(false, 60, 40, 65535, 65535);
        rectangle = Assert.Single(client.ReceiveUpdate());
        Assert.Equal((60, 40, 4, 8), (rectangle.X, rectangle.Y, rectangle.Width, rectangle.Height));

        // Nothing of this can be seen; the request after it is answered.
        client.Request(false, 65535, 65535, 65535, 65535);
        client.Request(false, 0, 0, 0, 0);
        client.Request(false, 0, 0, 1, 1);
        Assert.Contains(client.ReceiveUpdate(), static r => r.X == 0 && r.Y == 0);
    }

    [Fact]
    public void WhatWasNotAskedForStaysDamaged()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), 0xabcdef));
        client.Request(true, 0, 0, 16, 16);
        var rectangle = Assert.Single(client.ReceiveUpdate());
        Assert.Equal((0, 0, 16, 16), (rectangle.X, rectangle.Y, rectangle.Width, rectangle.Height));
        client.Until(63, 47, 0xabcdef);
        Assert.All(client.Picture, static p => Assert.Equal(0xabcdefu, p));
    }

    [Fact]
    public void WithoutChangesNothingComesAndNothingIsLookedAt()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Request(isIncremental: true);
        client.Fence(0x8000_0000, 7);
        Assert.Equal(248, client.Receive(1)[0]);
        client.Receive(8 + 1);
        host.Until(() => host.Screen.Period > 0);
        var looks = LooksWhenCalm(host);
        Assert.True(looks < 20);
        client.Dispose();
        host.Until(() => host.Screen.Period == 0 && !host.Hub.IsWatched);
    }

    [Fact]
    public void ASourceThatDoesNotTellIsAskedLessAndLess()
    {
        using var host = new VncHost();
        host.Screen.Tells = false;
        using var client = Connect(host);
        client.Request(isIncremental: true);
        host.Until(() => host.Screen.Period >= 500);
        Assert.True(host.Run(() => host.Screen.Looks) < 30);
        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 1, 1), 1));
        client.ReceiveUpdate();
        client.Request(isIncremental: true);
        host.Until(() => host.Screen.Period < 100);
    }

    [Fact]
    public void PixelFormatsAreTaken()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), 0xff8000));

        // 16 bits, big endian, 5-6-5.
        client.Send([0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]);
        client.BytesPerPixel = 2;
        client.Request(isIncremental: false);
        var data = client.Find(0).Data;
        Assert.Equal(0xfc00, (data[0] << 8) | data[1]);
    }

    [Fact]
    public void AColourMapIsTold()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Send([0, 0, 0, 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        Assert.Equal(1, client.Receive(1)[0]);
        client.Receive(3);
        Assert.Equal(256, client.Receive16());
        client.Receive(256 * 6);
        client.BytesPerPixel = 1;
        client.Request(isIncremental: false);
        Assert.Equal(64 * 48, client.Find(0).Data.Length);
    }

    [Theory]
    [InlineData(24, 24, 1, 255, 16)]
    [InlineData(32, 24, 1, 255, 30)]
    [InlineData(0, 0, 1, 255, 0)]
    public void FormatsThatCannotBeEndTheConnection(byte bits, byte depth, byte trueColour, byte max, byte shift)
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Send([0, 0, 0, 0, bits, depth, 0, trueColour, 0, max, 0, max, 0, max, shift, shift, shift, 0, 0, 0]);
        Assert.True(client.IsClosed());
    }

    [Fact]
    public void KeysGoToTheGuestAndAreReleasedInTheEnd()
    {
        using var host = new VncHost(new VncOptions { KeyDelay = 0 });
        using var client = Connect(host);
        client.QemuKey('a', 0x1e, true);
        client.QemuKey('a', 0x1e, false);
        client.QemuKey(0xff13, 0xc6, true);
        client.QemuKey(0, 0xcb, true);
        client.QemuKey(0, 0x1ff, true);
        host.Until(() => host.Keyboard.Keys.Count == 4);
        client.Dispose();
        host.Until(() => host.Keyboard.Keys.Count == 6);
        Assert.Equal([(0x1e, true), (0x1e, false), (0xe11d, true), (0xe04b, true)], host.Keyboard.Keys.Take(4).Select(static k => ((int)k.Key, k.Down)));
        Assert.Equal([(0xe04b, false), (0xe11d, false)], host.Keyboard.Keys.Skip(4).Select(static k => ((int)k.Key, k.Down)).Order());
    }

    [Fact]
    public void KeysKeepTheirDistance()
    {
        using var host = new VncHost(new VncOptions { KeyDelay = 20 });
        using var client = Connect(host);
        var began = Environment.TickCount64;
        for (var i = 0; i < 5; i++)
        {
            client.QemuKey('a', 0x1e, true);
            client.QemuKey('a', 0x1e, false);
        }

        host.Until(() => host.Keyboard.Keys.Count == 10);
        Assert.True(Environment.TickCount64 - began >= 9 * 15);
    }

    [Fact]
    public void PlacesAreScaledAndWheelsTurn()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.Point(0, 0, 0);
        client.Point(1, 63, 47);
        client.Point(1 | 8, 63, 47);
        client.Point(2, 65535, 65535);
        client.Point(4 | 16, 32, 24);
        client.Point(4 | 16, 32, 24);
        client.Point(32, 0, 0);
        host.Until(() => host.Pointer.Moves.Count == 7);
        Assert.Equal((0, 0, 0, 0, PointerButtons.None), host.Pointer.Moves[0]);
        Assert.Equal((0x7fff, 0x7fff, 0, 0, PointerButtons.Left), host.Pointer.Moves[1]);
        Assert.Equal((0x7fff, 0x7fff, -1, 0, PointerButtons.Left), host.Pointer.Moves[2]);
        Assert.Equal((0x7fff, 0x7fff, 0, 0, PointerButtons.Middle), host.Pointer.Moves[3]);
        Assert.Equal((32 * 0x7fff / 63, 24 * 0x7fff / 47, 1, 0, PointerButtons.Right), host.Pointer.Moves[4]);
        Assert.Equal(0, host.Pointer.Moves[5].Wheel);
        Assert.Equal((0, 0, 0, -1, PointerButtons.None), host.Pointer.Moves[6]);
    }

    [Fact]
    public void APointerThatMovesIsToldToTheClient()
    {
        using var host = new VncHost();
        host.Pointer.IsAbsolute = false;
        using var client = Connect(host);
        client.Point(0, 10, 10);
        client.Point(0, 13, 8);
        host.Until(() => host.Pointer.Moves.Count == 2);
        Assert.Equal((3, -2), (host.Pointer.Moves[1].X, host.Pointer.Moves[1].Y));
        client.SetEncodings(0, Rfb.PointerMotionChange);
        while (client.Find(Rfb.PointerMotionChange).X != 0)
        {
        }

        client.Point(1, 0x7fff + 5, 0x7fff - 4);
        host.Until(() => host.Pointer.Moves.Count == 3);
        Assert.Equal((5, -4, PointerButtons.Left), (host.Pointer.Moves[2].X, host.Pointer.Moves[2].Y, host.Pointer.Moves[2].Buttons));
        host.Pointer.IsAbsolute = true;
        client.Point(1, 0x7fff, 0x7fff);
        Assert.Equal(1, client.Find(Rfb.PointerMotionChange).X);
    }

    [Fact]
    public void MoreButtonsAreTaken()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.ExtendedMouseButtons);
        client.Find(Rfb.ExtendedMouseButtons);
        client.Send([5, 0x81, 0, 0, 0, 0, 3]);
        host.Until(() => host.Pointer.Moves.Count == 1);
        Assert.Equal(PointerButtons.Left | PointerButtons.Side | PointerButtons.Extra, host.Pointer.Moves[0].Buttons);
    }

    [Fact]
    public void AnotherSizeIsTold()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.DesktopSize);
        client.Request(isIncremental: true);
        host.Run(() => host.Screen.SetSize(100, 20));
        var size = client.Find(Rfb.DesktopSize);
        Assert.Equal((100, 20), (size.Width, size.Height));
        host.Run(() => host.Screen.Fill(new PictureArea(99, 19, 1, 1), 5));
        client.Until(99, 19, 5);
    }

    [Fact]
    public void AClientThatKnowsOneSizeGetsWhatFits()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        host.Run(() =>
        {
            host.Screen.SetSize(200, 20);
            host.Screen.Fill(new PictureArea(0, 0, 200, 20), 9);
        });
        client.Until(63, 19, 9);
        client.Request(isIncremental: false);
        Assert.All(client.ReceiveUpdate(), static r => Assert.True(r.X + r.Width <= 64 && r.Y + r.Height <= 20));
    }

    [Fact]
    public void ExtendedSizesAreToldAndWishesRefused()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.ExtendedDesktopSize);
        var size = client.Find(Rfb.ExtendedDesktopSize);
        Assert.Equal((0, 0, 64, 48, 1), (size.X, size.Y, size.Width, size.Height, size.Data[0]));
        client.Send([251, 0, 0, 100, 0, 100, 2, 0, .. new byte[32]]);
        size = client.Find(Rfb.ExtendedDesktopSize);
        Assert.Equal((1, 1, 64, 48), (size.X, size.Y, size.Width, size.Height));
        client.Request(isIncremental: true);
        host.Run(() => host.Screen.SetSize(30, 30));
        size = client.Find(Rfb.ExtendedDesktopSize);
        Assert.Equal((0, 0, 30, 30), (size.X, size.Y, size.Width, size.Height));
    }

    [Fact]
    public void LightsAreTold()
    {
        using var host = new VncHost();
        host.Keyboard.Leds = KeyboardLeds.NumLock;
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.LedState);
        client.Request(isIncremental: false);
        Assert.Equal(2, client.Find(Rfb.LedState).Data[0]);
        host.Run(() =>
        {
            host.Keyboard.Leds = KeyboardLeds.CapsLock | KeyboardLeds.ScrollLock;
            host.Keyboard.LedsChanged!();
        });
        Assert.Equal(5, client.Find(Rfb.LedState).Data[0]);
    }

    /// <summary>An update of the picture that was begun before does not bring old lights back.</summary>
    [Fact]
    public void LightsThatChangeDuringAnUpdateAreTold()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.LedState);
        client.Request(isIncremental: false);
        for (var n = 1; n < 1000; n++)
        {
            var leds = (KeyboardLeds)(n % 2 == 0 ? 1 : 2);
            host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 1, 1), (uint)n));
            Thread.SpinWait(n * 20);
            host.Run(() =>
            {
                host.Keyboard.Leds = leds;
                host.Keyboard.LedsChanged!();
            });
            while (true)
            {
                client.Request(isIncremental: true);
                if (client.ReceiveUpdate().Exists(r => r.Encoding == Rfb.LedState && r.Data[0] == (byte)leds)) break;
            }
        }
    }

    [Fact]
    public void TitleKeysAndFencesAreAnnounced()
    {
        using var host = new VncHost(new VncOptions { Title = "one" });
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.QemuExtendedKey, Rfb.DesktopName);
        var title = client.Find(Rfb.DesktopName);
        Assert.Equal("one"u8.ToArray(), title.Data);
        Assert.Equal((0, 0, 0, 0), (title.X, title.Y, title.Width, title.Height));
        client.Find(Rfb.QemuExtendedKey);
        client.SetEncodings(0, Rfb.Fence, Rfb.ContinuousUpdates);
        Assert.Equal(248, client.Receive(1)[0]);
        client.Receive(3);
        Assert.Equal(0x8000_0000, client.Receive32());
        Assert.Equal(0, client.Receive(1)[0]);
        Assert.Equal(150, client.Receive(1)[0]);
        client.Fence(0xffff_ffff, 1, 2, 3);
        Assert.Equal(new byte[] { 248, 0, 0, 0, 0, 0, 0, 3, 3, 1, 2, 3 }, client.Receive(12));
    }

    [Fact]
    public void UpdatesComeUnasked()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.ContinuousUpdates);
        Assert.Equal(150, client.Receive(1)[0]);
        client.Send([150, 1, .. RfbClient.Words(0, 0, 64, 48)]);
        for (var i = 1u; i < 5; i++)
        {
            host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), i));
            while (client[63, 47] != i) client.ReceiveUpdate();
        }

        client.Send([150, 0, .. RfbClient.Words(0, 0, 0, 0)]);
        Assert.Equal(150, client.Receive(1)[0]);
    }

    [Fact]
    public void AClientThatConfirmsNothingGetsNoMore()
    {
        using var host = new VncHost();
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.Fence, Rfb.ContinuousUpdates);
        client.Receive(9 + 1);
        client.Send([150, 1, .. RfbClient.Words(0, 0, 64, 48)]);
        for (var i = 0u; i < 3; i++)
        {
            var next = i + 1;
            host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), next));
            client.ReceiveUpdate();
            Assert.Equal(248, client.Receive(9)[0]);
        }

        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), 99));
        client.Fence(0x8000_0000, 5);
        Assert.Equal(248, client.Receive(1)[0]);
        Assert.Equal(5, client.Receive(9)[8]);
        client.Fence(0);
        client.ReceiveUpdate();
        Assert.Equal(99u, client[0, 0]);
    }

    [Fact]
    public void ThePointersShapeIsSent()
    {
        using var host = new VncHost();
        host.Run(() => host.Screen.Cursor = new CursorShape(9, 2, 1, 1, Enumerable.Range(0, 18).Select(static i => i % 2 == 0 ? 0xff00_00ffu : 0u).ToArray()));
        using var client = Connect(host);
        client.SetEncodings(0, Rfb.Cursor);
        client.Request(isIncremental: false);
        var cursor = client.Find(Rfb.Cursor);
        Assert.Equal((1, 1, 9, 2), (cursor.X, cursor.Y, cursor.Width, cursor.Height));
        Assert.Equal(new byte[] { 0xaa, 0x80, 0x55, 0x00 }, cursor.Data[(18 * 4)..]);
        Assert.Equal(new byte[] { 255, 0, 0, 0 }, cursor.Data[..4]);

        // The request is answered then, and no look comes before the next one.
        client.Find(0);
        client.SetEncodings(0, Rfb.CursorWithAlpha);
        client.Request(isIncremental: true);
        host.Run(() =>
        {
            host.Screen.Cursor = new CursorShape(1, 1, 0, 0, new uint[] { 0xff11_2233 });
            host.Screen.Ring();
        });
        Assert.Equal(new byte[] { 0, 0, 0, 0, 0x11, 0x22, 0x33, 0xff }, client.Find(Rfb.CursorWithAlpha).Data);
    }

    [Fact]
    public void ThePointerIsDrawnForThoseWhoDoNot()
    {
        using var host = new VncHost();
        host.Run(() =>
        {
            host.Screen.Fill(new PictureArea(0, 0, 64, 48), 0x010101);
            host.Screen.Cursor = new CursorShape(2, 2, 0, 0, new uint[] { 0xff00_00ff, 0, 0, 0xffff_0000 });
            host.Screen.CursorPlace = (-1, -1);
        });
        using var client = Connect(host);
        client.Until(0, 0, 0xff0000);
        Assert.Equal(0x010101u, client[1, 0]);
        host.Run(() =>
        {
            host.Screen.CursorPlace = (63, 40);
            host.Screen.Ring();
        });
        client.Until(63, 40, 0x0000ff);
        Assert.Equal(0x010101u, client[0, 0]);
        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), 0x020202));
        client.Until(0, 0, 0x020202);
        Assert.Equal(0x0000ffu, client[63, 40]);
        host.Run(() =>
        {
            host.Screen.Cursor = null;
            host.Screen.Ring();
        });
        client.Until(63, 40, 0x020202);
    }

    [Fact]
    public void WhatScrolledIsMoved()
    {
        using var host = new VncHost();
        var random = new Random(3);
        host.Run(() =>
        {
            host.Screen.SetSize(320, 240);
            host.Screen.Scroll(240, random);
        });
        using var client = Connect(host);
        using var other = Connect(host);
        client.SetEncodings(0, 1);
        client.Request(isIncremental: false);
        client.ReceiveUpdate();
        var moves = 0;
        for (var i = 0; i < 10; i++)
        {
            host.Run(() => host.Screen.Scroll(16, random));
            var pixels = host.Run(() => host.Screen.Pixels);
            while (!client.Picture.AsSpan().SequenceEqual(pixels))
            {
                client.Request(isIncremental: true);
                foreach (var rectangle in client.ReceiveUpdate())
                    if (rectangle.Encoding == 1) moves++;
            }

            if (i % 3 != 0) continue;
            while (!other.Picture.AsSpan().SequenceEqual(pixels))
            {
                other.Request(isIncremental: true);
                Assert.All(other.ReceiveUpdate(), static r => Assert.Equal(0, r.Encoding));
            }
        }

        Assert.Equal(10, moves);
    }

    [Fact]
    public void CharactersAreTypedByTheGuestsLayout()
    {
        using var host = new VncHost(new VncOptions { KeyDelay = 0, Keymap = "de" });
        using var client = Connect(host);
        client.Key('z', true);
        client.Key('z', false);
        client.Key(0xffe1, true);
        client.Key('Z', true);
        client.Key(0xffe1, false);
        client.Key('z', false);
        host.Until(() => host.Keyboard.Keys.Count == 6);
        Assert.Equal([(0x15, true), (0x15, false), (0x2a, true), (0x15, true), (0x2a, false), (0x15, false)], host.Keyboard.Keys.Select(static k => ((int)k.Key, k.Down)));
    }

    [Fact]
    public void AnUnknownLayoutIsAnError() =>
        Assert.Contains("klingon", Assert.Throws<VncException>(() => new VncHost(new VncOptions { Keymap = "klingon" })).Message, StringComparison.Ordinal);

    [Fact]
    public void ManySeeTheSame()
    {
        using var host = new VncHost(new VncOptions { MaxClients = 100 });
        var clients = Enumerable.Range(0, 100).Select(_ => Connect(host)).ToList();
        host.Until(() => host.Server.Clients.Count == 100);
        host.Run(() => host.Screen.Fill(new PictureArea(0, 0, 64, 48), 0x777777));
        foreach (var client in clients) client.Until(5, 5, 0x777777);
        clients.ForEach(static c => c.Dispose());
        host.Until(() => host.Server.Clients.Count == 0 && !host.Hub.IsWatched);
    }

    /// <summary>Looks after which a second passes without one more; fails where there is no such second.</summary>
    private static int LooksWhenCalm(VncHost host)
    {
        for (var patience = 0; patience < 10; patience++)
        {
            var looks = host.Run(() => host.Screen.Looks);
            using var never = new ManualResetEventSlim();
            never.Wait(1000);
            if (host.Run(() => host.Screen.Looks) == looks) return looks;
        }

        throw new InvalidOperationException("the screen is looked at without end");
    }

    /// <summary>A client that has the picture as it is.</summary>
    private static RfbClient Connect(VncHost host)
    {
        var client = host.Connect();
        client.Request(isIncremental: false);
        client.ReceiveUpdate();
        return client;
    }
}
