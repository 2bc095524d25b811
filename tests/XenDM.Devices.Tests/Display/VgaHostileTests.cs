using System;

namespace XenDM.Devices.Tests.Display;

public class VgaHostileTests
{
    /// <summary>Long runs are asked for by the environment.</summary>
    private static readonly long s_steps = long.TryParse(Environment.GetEnvironmentVariable("XENDM_VGA_STEPS"), out var steps) ? steps : 20_000;

    /// <summary>A guest that writes anything anywhere, with a viewer who looks now and then: no exception, and sizes stay in their bounds.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void AnyWritesAtAllAreDrawn(int seed)
    {
        var random = new Random(seed);
        VgaBoard[] boards = [new VgaBoard()];
        var vga = boards[0];
        vga.MapBars();
        vga.TextMode();
        for (long step = 0; step < s_steps; step++)
        {
            VgaFuzz.Step(random, boards);
            if (random.Next(1000) == 0) vga.Chip.SetRefreshPeriod(random.Next(3) * 20);
            if (random.Next(1500) != 0 || vga.Chip.Size is not { } size) continue;
            Assert.InRange(size.Width, 1, Core.Display.Frame.MaxWidth);
            Assert.InRange(size.Height, 1, Core.Display.Frame.MaxHeight);
            var isOther = vga.Frame.Resize(size.Width, size.Height);
            if (isOther) vga.Damage.Resize(size.Width, size.Height);
            vga.Chip.NotifyOnce(static () => { });
            vga.Chip.Draw(vga.Frame, vga.Damage, isOther);
            vga.Damage.Clear();
        }
    }
}
