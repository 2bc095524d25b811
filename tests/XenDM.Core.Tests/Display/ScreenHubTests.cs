using System;
using System.Collections.Generic;
using XenDM.Core.Display;

namespace XenDM.Core.Tests.Display;

public class ScreenHubTests
{
    private readonly ScreenHub _hub = new();
    private readonly Source _source = new() { Size = new PictureSize(64, 32) };

    [Fact]
    public void AViewerSeesAllAtFirstAndThenWhatChanged()
    {
        _hub.Add(_source);
        using var viewer = _hub.Open();
        _hub.Refresh();
        Assert.Equal([new PictureArea(0, 0, 64, 32)], Take(viewer));

        _hub.Refresh();
        Assert.Empty(Take(viewer));

        _source.Paint(20, 3, 0x123456);
        _hub.Refresh();
        Assert.Equal([new PictureArea(16, 0, 16, 16)], Take(viewer));
        Assert.Equal(0x123456u, _hub.Frame.Line(3)[20]);
    }

    [Fact]
    public void EachViewerHasWhatChangedSinceHeLooked()
    {
        _hub.Add(_source);
        using var fast = _hub.Open();
        using var slow = _hub.Open();
        _hub.Refresh();
        Take(fast);
        Take(slow);
        _source.Paint(0, 0, 1);
        _hub.Refresh();
        Take(fast);
        _source.Paint(0, 31, 1);
        _hub.Refresh();
        Assert.Equal([new PictureArea(0, 16, 16, 16)], Take(fast));
        Assert.Equal([new PictureArea(0, 0, 16, 32)], Take(slow));
    }

    [Fact]
    public void ALateViewerSeesAll()
    {
        _hub.Add(_source);
        using var first = _hub.Open();
        _hub.Refresh();
        using var second = _hub.Open();
        Assert.Equal([new PictureArea(0, 0, 64, 32)], Take(second));
    }

    [Fact]
    public void ANewSizeIsNewToAll()
    {
        _hub.Add(_source);
        using var viewer = _hub.Open();
        _hub.Refresh();
        Take(viewer);
        _source.Size = new PictureSize(80, 16);
        _hub.Refresh();
        Assert.Equal((80, 16), (_hub.Frame.Width, _hub.Frame.Height));
        Assert.Equal([new PictureArea(0, 0, 80, 16)], Take(viewer));
    }

    [Fact]
    public void TheNewestSourceThatHasAPictureIsShown()
    {
        var other = new Source();
        _hub.Add(_source);
        _hub.Add(other);
        using var viewer = _hub.Open();
        _source.Paint(5, 5, 0x111111);
        _hub.Refresh();
        Assert.Equal(0x111111u, _hub.Frame.Line(5)[5]);
        other.Size = new PictureSize(64, 32);
        other.Paint(5, 5, 0x222222);
        Take(viewer);
        _hub.Refresh();
        Assert.Equal(0x222222u, _hub.Frame.Line(5)[5]);
        Assert.Equal([new PictureArea(0, 0, 64, 32)], Take(viewer));
        _hub.Remove(other);
        _hub.Refresh();
        Assert.Equal(0x111111u, _hub.Frame.Line(5)[5]);
    }

    [Fact]
    public void APictureTakenWithoutViewersIsWhole()
    {
        _hub.Add(_source);
        _source.Paint(1, 1, 0xabcdef);
        _hub.Refresh();
        _source.ForgetChanges();
        _source.Paint(2, 2, 0xfedcba);
        _source.ForgetChanges();
        _hub.Refresh();
        Assert.Equal(0xabcdefu, _hub.Frame.Line(1)[1]);
        Assert.Equal(0xfedcbau, _hub.Frame.Line(2)[2]);
    }

    [Theory]
    [InlineData(10, 20, 10, 20)]
    [InlineData(-1, -1, 0, 0)]
    [InlineData(63, 31, 63, 31)]
    public void APictureHasThePointerInItAndTheFrameHasNot(int x, int y, int seenX, int seenY)
    {
        _hub.Add(_source);
        (_source.Cursor, _source.CursorPlace) = (new CursorShape(2, 2, 1, 1, new uint[] { 0xff00_0001, 0, 0, 0xff00_0002 }), (x, y));
        _hub.Refresh();
        var colour = (seenX, seenY) == (x, y) ? 1u : 2u;
        Assert.Equal(colour, _hub.Picture.Line(seenY)[seenX]);
        Assert.Equal(0u, _hub.Frame.Line(seenY)[seenX]);
        if (x == 10) Assert.Equal((0u, 0u, 2u), (_hub.Picture.Line(20)[11], _hub.Picture.Line(21)[10], _hub.Picture.Line(21)[11]));
        _source.Cursor = null;
        _hub.Refresh();
        Assert.True(_hub.Picture.Pixels.SequenceEqual(new uint[64 * 32]));
    }

    [Theory]
    [InlineData(64, 0)]
    [InlineData(0, 32)]
    [InlineData(-2, 0)]
    [InlineData(int.MinValue, int.MinValue)]
    [InlineData(int.MaxValue, int.MaxValue)]
    public void APointerOutsideIsNotSeen(int x, int y)
    {
        _hub.Add(_source);
        (_source.Cursor, _source.CursorPlace) = (new CursorShape(2, 2, 0, 0, new uint[] { ~0u, ~0u, ~0u, ~0u }), (x, y));
        _hub.Refresh();
        Assert.True(_hub.Picture.Pixels.SequenceEqual(new uint[64 * 32]));
    }

    [Fact]
    public void SourcesLearnOfTheFastestViewer()
    {
        _hub.Add(_source);
        Assert.Equal(0, _source.Period);
        var one = _hub.Open();
        one.SetPeriod(100);
        var two = _hub.Open();
        two.SetPeriod(40);
        Assert.Equal(40, _source.Period);
        two.SetPeriod(0);
        Assert.Equal(100, _source.Period);
        one.Dispose();
        Assert.Equal(0, _source.Period);
        two.Dispose();
        Assert.False(_hub.IsWatched);
        Assert.Null(_source.Changed);
    }

    [Fact]
    public void ViewersAreCalledOnce()
    {
        _hub.Add(_source);
        using var viewer = _hub.Open();
        var calls = 0;
        Assert.True(viewer.NotifyOnce(() => calls++));
        _source.Changed!();
        _source.Changed?.Invoke();
        Assert.Equal(1, calls);
        _source.IsTold = false;
        Assert.False(viewer.NotifyOnce(() => calls++));
    }

    [Fact]
    public void ALargerScreenThanTheFrameIsCutOff()
    {
        _source.Size = new PictureSize(Frame.MaxWidth + 8, 2);
        _hub.Add(_source);
        _hub.Refresh();
        Assert.Equal((Frame.MaxWidth, 2), (_hub.Frame.Width, _hub.Frame.Height));
    }

    private static List<PictureArea> Take(ScreenViewer viewer)
    {
        var areas = new List<PictureArea>();
        viewer.Damage.AddTo(areas);
        viewer.Damage.Clear();
        return areas;
    }

    /// <summary>An adapter whose picture is set pixel by pixel.</summary>
    private sealed class Source : IScreenSource
    {
        private readonly Dictionary<(int X, int Y), uint> _pixels = [];
        private readonly List<(int X, int Y)> _changed = [];

        public PictureSize? Size { get; set; }

        public CursorShape? Cursor { get; set; }

        public (int X, int Y) CursorPlace { get; set; }

        public int Period { get; private set; }

        public bool IsTold { get; set; } = true;

        public Action? Changed { get; private set; }

        public void Paint(int x, int y, uint colour)
        {
            _pixels[(x, y)] = colour;
            _changed.Add((x, y));
        }

        public void ForgetChanges() => _changed.Clear();

        public void Draw(Frame frame, Damage damage, bool everything)
        {
            if (everything)
            {
                foreach (var ((x, y), colour) in _pixels) frame.Line(y)[x] = colour;
                damage.AddAll();
            }
            else
                foreach (var (x, y) in _changed)
                {
                    frame.Line(y)[x] = _pixels[(x, y)];
                    damage.Add(x, y, 1, 1);
                }

            _changed.Clear();
        }

        public bool NotifyOnce(Action? changed)
        {
            Changed = changed;
            return IsTold;
        }

        public void SetRefreshPeriod(int milliseconds) => Period = milliseconds;
    }
}
