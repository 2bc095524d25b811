using System;
using System.Collections.Generic;
using XenDM.Core.Display;

namespace XenDM.Core.Tests.Display;

public class DamageTests
{
    [Fact]
    public void NothingIsDamagedAtFirst()
    {
        var damage = Make(640, 480);
        Assert.True(damage.IsEmpty);
        Assert.Empty(Areas(damage));
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(640, 480)]
    [InlineData(1366, 768)]
    [InlineData(8192, 8192)]
    public void AllIsOneArea(int width, int height)
    {
        var damage = Make(width, height);
        damage.AddAll();
        Assert.Equal([new PictureArea(0, 0, width, height)], Areas(damage));
    }

    [Fact]
    public void APixelDamagesItsTile()
    {
        var damage = Make(100, 50);
        damage.Add(99, 49, 1, 1);
        Assert.Equal([new PictureArea(96, 48, 4, 2)], Areas(damage));
    }

    [Theory]
    [InlineData(-5, -5, 6, 6, 0, 0, 16, 16)]
    [InlineData(90, 40, int.MaxValue, int.MaxValue, 80, 32, 20, 18)]
    [InlineData(int.MinValue, 0, int.MaxValue, 50, 0, 0, 0, 0)]
    [InlineData(100, 0, 10, 10, 0, 0, 0, 0)]
    [InlineData(10, 10, 0, 5, 0, 0, 0, 0)]
    [InlineData(10, 10, -3, 5, 0, 0, 0, 0)]
    public void WhatLiesOutsideIsLeftOut(int x, int y, int width, int height, int left, int top, int wide, int high)
    {
        var damage = Make(100, 50);
        damage.Add(x, y, width, height);
        Assert.Equal(wide == 0 ? [] : [new PictureArea(left, top, wide, high)], Areas(damage));
    }

    [Fact]
    public void AreasCoverExactlyTheTilesThatWereTold()
    {
        var random = new Random(1);
        for (var round = 0; round < 300; round++)
        {
            int width = random.Next(1, 2500), height = random.Next(1, 300);
            var damage = Make(width, height);
            var expected = new bool[(height + 15) / 16, (width + 15) / 16];
            for (var n = random.Next(12); n > 0; n--)
            {
                int x = random.Next(width), y = random.Next(height), w = random.Next(1, width - x + 1), h = random.Next(1, height - y + 1);
                damage.Add(x, y, w, h);
                for (var row = y / 16; row <= (y + h - 1) / 16; row++)
                    for (var column = x / 16; column <= (x + w - 1) / 16; column++) expected[row, column] = true;
            }

            var covered = new int[expected.GetLength(0), expected.GetLength(1)];
            foreach (var area in Areas(damage))
            {
                Assert.True(area.X % 16 == 0 && area.Y % 16 == 0 && area.X + area.Width <= width && area.Y + area.Height <= height);
                for (var row = area.Y / 16; row <= (area.Y + area.Height - 1) / 16; row++)
                    for (var column = area.X / 16; column <= (area.X + area.Width - 1) / 16; column++) covered[row, column]++;
            }

            for (var row = 0; row < expected.GetLength(0); row++)
                for (var column = 0; column < expected.GetLength(1); column++) Assert.Equal(expected[row, column] ? 1 : 0, covered[row, column]);
        }
    }

    [Fact]
    public void DamageOfTwoComesTogether()
    {
        Damage one = Make(64, 64), other = Make(64, 64);
        one.Add(0, 0, 16, 16);
        other.Add(0, 16, 16, 16);
        one.Add(other);
        Assert.Equal([new PictureArea(0, 0, 16, 32)], Areas(one));
        Assert.Throws<ArgumentException>(() => one.Add(Make(64, 65)));
    }

    [Fact]
    public void ListsAreAddedTo()
    {
        var damage = Make(16, 32);
        damage.Add(0, 16, 16, 16);
        List<PictureArea> areas = [new(0, 0, 16, 16)];
        damage.AddTo(areas);
        Assert.Equal([new PictureArea(0, 0, 16, 16), new PictureArea(0, 16, 16, 16)], areas);
    }

    private static Damage Make(int width, int height)
    {
        var damage = new Damage();
        damage.Resize(width, height);
        return damage;
    }

    private static List<PictureArea> Areas(Damage damage)
    {
        var areas = new List<PictureArea>();
        damage.AddTo(areas);
        return areas;
    }
}
