using System;
using System.Buffers;
using System.Collections.Generic;
using XenDM.Core.Display;
using XenDM.Testing;
using XenDM.Vnc.Encodings;

namespace XenDM.Vnc.Tests.Encodings;

public class PictureTrackerTests
{
    [Theory]
    [InlineData(16, 0, 0, 720, 400)]
    [InlineData(48, 0, 0, 720, 400)]
    [InlineData(-16, 0, 0, 720, 400)]
    [InlineData(-160, 0, 0, 720, 400)]
    [InlineData(7, 100, 50, 403, 300)]
    [InlineData(-31, 301, 17, 250, 383)]
    public void AScrolledAreaIsFound(int distance, int x, int y, int width, int height)
    {
        var shown = Pictures.Make("colourtext", 720, 400, 5);
        var now = Copy(shown);
        var fresh = Pictures.Make("text", 720, 400, 6);
        for (var line = 0; line < height; line++)
        {
            var from = line + distance;
            var source = from >= 0 && from < height ? shown.Line(y + from) : fresh.Line(y + line);
            source.Slice(x, width).CopyTo(now.Line(y + line)[x..]);
        }

        var tracker = new PictureTracker();
        var (changed, client) = (New(now), Copy(shown));
        tracker.Update(shown, now, All(now), changed, findMove: true);
        Assert.True(Same(shown, now));
        var move = Assert.NotNull(tracker.Move);
        Assert.Equal(distance, move.FromY - move.Area.Y);
        Assert.InRange(move.Area.Height, height - Math.Abs(distance) - 60, height - Math.Abs(distance));

        // A client that does the move and gets the rest has the picture; so has one that gets all that changed.
        var other = Copy(client);
        ScrollFinder.Apply(move, client);
        Send(client, now, tracker.AfterMove);
        Assert.True(Same(client, now));
        Send(other, now, changed);
        Assert.True(Same(other, now));
        Assert.True(Pixels(tracker.AfterMove) < (Math.Abs(distance) + 96) * 720);
    }

    [Fact]
    public void OnlyTilesThatDifferAreChanged()
    {
        var shown = Pictures.Make("mixed", 333, 222);
        var random = new Random(9);
        for (var n = 0; n < 50; n++)
        {
            var now = Copy(shown);
            var expected = New(now);
            for (var i = random.Next(6); i > 0; i--)
            {
                int x = random.Next(333), y = random.Next(222);
                now.Line(y)[x] ^= 1;
                expected.Add(x, y, 1, 1);
            }

            var changed = New(now);
            new PictureTracker().Update(shown, now, All(now), changed, findMove: n % 2 == 0);
            Assert.Equal(Areas(expected), Areas(changed));
            Assert.True(Same(shown, now));
        }
    }

    [Fact]
    public void WhatIsNotSuspectedIsNotLookedAt()
    {
        var shown = Pictures.Make("text", 320, 200);
        var now = Copy(shown);
        now.Line(5)[5] ^= 1;
        now.Line(100)[300] ^= 1;
        var (suspected, changed) = (New(now), New(now));
        suspected.Add(0, 0, 64, 64);
        new PictureTracker().Update(shown, now, suspected, changed, findMove: true);
        Assert.Equal([new PictureArea(0, 0, 16, 16)], Areas(changed));
        Assert.NotEqual(now.Line(100)[300], shown.Line(100)[300]);
    }

    [Theory]
    [InlineData("noise")]
    [InlineData("black")]
    [InlineData("photo")]
    [InlineData("bits")]
    public void WhatDidNotMoveIsNotFound(string picture)
    {
        var shown = Pictures.Make(picture, 320, 200, 1);
        var now = Pictures.Make(picture, 320, 200, 2);
        var tracker = new PictureTracker();
        tracker.Update(shown, now, All(now), New(now), findMove: true);
        Assert.Null(tracker.Move);
        Assert.True(Same(shown, now));
    }

    /// <summary>Whatever is drawn and moved: both kinds of client end with the guest's picture.</summary>
    [Fact]
    public void ClientsHaveTheGuestsPictureAfterManyUpdates()
    {
        var random = new Random(11);
        var now = Pictures.Make("colourtext", 400, 300);
        Frame shown = Copy(now), mover = Copy(now), plain = Copy(now);
        var tracker = new PictureTracker();
        var moves = 0;
        for (var n = 0; n < 200; n++)
        {
            if (random.Next(3) > 0)
            {
                int x = random.Next(200), y = random.Next(100), width = random.Next(100, 201), height = random.Next(60, 201);
                ScrollFinder.Apply(new ScrollMove(new PictureArea(x, y, width, height - 20), y + 20), now);
            }

            if (random.Next(3) == 0) Pictures.Text(now, 8 * random.Next(20), 16 * random.Next(10), 160, 32, random, static _ => 0x55ff55);
            var changed = New(now);
            tracker.Update(shown, now, All(now), changed, findMove: true);
            if (tracker.Move is { } move)
            {
                moves++;
                ScrollFinder.Apply(move, mover);
            }

            Send(mover, now, tracker.AfterMove);
            Send(plain, now, changed);
            Assert.True(Same(shown, now) && Same(mover, now) && Same(plain, now), $"update {n}");
        }

        Assert.InRange(moves, 20, 200);
    }

    [Fact]
    public void NothingIsAllocated()
    {
        var first = Pictures.Make("colourtext", 640, 480);
        var second = Copy(first);
        ScrollFinder.Apply(new ScrollMove(new PictureArea(0, 0, 640, 464), 16), second);
        var shown = Copy(first);
        var tracker = new PictureTracker();
        var (all, changed) = (All(first), New(first));
        Assert.Equal(0, Allocations.Of(Updates));
        Assert.NotNull(tracker.Move);

        void Updates()
        {
            tracker.Update(shown, first, all, changed, findMove: true);
            tracker.Update(shown, second, all, changed, findMove: true);
        }
    }

    [Fact]
    public void AMoveIsWrittenAsCopyRect()
    {
        var output = new ArrayBufferWriter<byte>();
        ScrollFinder.Write(new ScrollMove(new PictureArea(1, 2, 0x304, 0x506), 0x708), output);
        Assert.Equal([0, 1, 0, 2, 3, 4, 5, 6, 0, 0, 0, 1, 0, 1, 7, 8], output.WrittenSpan.ToArray());
    }

    private static void Send(Frame client, Frame now, Damage damage)
    {
        foreach (var area in Areas(damage)) client.Copy(now, area);
    }

    private static List<PictureArea> Areas(Damage damage)
    {
        var areas = new List<PictureArea>();
        damage.AddTo(areas);
        return areas;
    }

    private static int Pixels(Damage damage)
    {
        var pixels = 0;
        foreach (var area in Areas(damage)) pixels += area.Width * area.Height;
        return pixels;
    }

    private static Damage New(Frame frame)
    {
        var damage = new Damage();
        damage.Resize(frame.Width, frame.Height);
        return damage;
    }

    private static Damage All(Frame frame)
    {
        var damage = New(frame);
        damage.AddAll();
        return damage;
    }

    private static Frame Copy(Frame frame)
    {
        var copy = new Frame();
        copy.Resize(frame.Width, frame.Height);
        frame.Pixels.CopyTo(copy.Pixels);
        return copy;
    }

    private static bool Same(Frame a, Frame b) => a.Pixels.SequenceEqual(b.Pixels);
}
