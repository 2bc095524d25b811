using System;
using System.IO;
using System.Linq;
using System.Text;
using XenDM.Core.Display;
using XenDM.Display;
using XenDM.Hosting;
using XenDM.Testing;

namespace XenDM.Tests.Display;

public sealed class PictureTests : IDisposable
{
    private const long Millisecond = 1_000_000;
    private static readonly CursorShape s_pointer = new(2, 1, 0, 0, new uint[] { 0xffff_0000, 0 });
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-picture").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static Frame Colours(int width, int height, int count)
    {
        var frame = new Frame();
        frame.Resize(width, height);
        for (var n = 0; n < frame.Pixels.Length; n++) frame.Pixels[n] = (uint)(n % count) * 0x9e_37_79 & 0xff_ffff;
        return frame;
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(17, 5, 2)]
    [InlineData(33, 7, 3)]
    [InlineData(33, 7, 16)]
    [InlineData(640, 480, 17)]
    [InlineData(640, 480, 256)]
    [InlineData(641, 480, 257)]
    [InlineData(1024, 768, 500_000)]
    public void PngsHoldEveryPixel(int width, int height, int colours)
    {
        var frame = Colours(width, height, colours);
        var file = new MemoryStream();
        Picture.Write(frame, file, isPng: true);
        var read = Assert.Single(PngReader.Read(file.ToArray()).Frames);
        Assert.Equal((width, height), (read.Width, read.Height));
        Assert.True(frame.Pixels.SequenceEqual(read.Pixels));
    }

    [Fact]
    public void PpmsHoldEveryPixel()
    {
        var frame = Colours(5, 3, 100);
        var file = new MemoryStream();
        Picture.Write(frame, file, isPng: false);
        var header = Encoding.ASCII.GetBytes("P6\n5 3\n255\n");
        var bytes = file.ToArray().AsSpan();
        Assert.True(bytes.StartsWith(header));
        bytes = bytes[header.Length..];
        Assert.Equal(45, bytes.Length);
        for (var n = 0; n < 15; n++) Assert.Equal(frame.Pixels[n], ((uint)bytes[3 * n] << 16) | ((uint)bytes[(3 * n) + 1] << 8) | bytes[(3 * n) + 2]);
    }

    [Fact]
    public void ARecordingHasWhatChangedWhenItDid()
    {
        var board = new TextBoard();
        board.Crtc(0x0a, 0x20);
        var path = Path.Combine(_folder, "screen.png");
        var expected = new Frame();
        using (var recorder = new ScreenRecorder(path, board.Screen, board.Board.Clock, new ProcessLog(false)))
        {
            board.Board.Advance(500 * Millisecond);
            board.Print(10, 3, " ", 0x40);
            board.Board.Advance(1000 * Millisecond);
            Assert.Equal(2, PngReader.Read(File.ReadAllBytes(path)).Frames.Count);
            board.Print(70, 20, " ", 0x20);
            board.Board.Advance(90_000 * Millisecond);
            board.Print(0, 0, " ", 0x70);
            board.Screen.Refresh();
            expected.Resize(board.Screen.Frame.Width, board.Screen.Frame.Height);
            board.Screen.Frame.Pixels.CopyTo(expected.Pixels);
        }

        var read = PngReader.Read(File.ReadAllBytes(path));
        Assert.Equal([500, 1000, 90_000, 1], read.Delays);
        Assert.Equal((0u, 0xaa_0000u, 0xaa_0000u), (read.Frames[0].Line(48)[90], read.Frames[1].Line(48)[90], read.Frames[2].Line(63)[97]));
        Assert.Equal((0u, 0x00_aa00u), (read.Frames[1].Line(320)[630], read.Frames[2].Line(320)[630]));
        Assert.True(expected.Pixels.SequenceEqual(read.Frames[3].Pixels));
    }

    [Fact]
    public void ARecordingGrowsAndForgetsWhatIsBeyond()
    {
        var screen = new ScreenHub();
        var source = new Plain { Size = new PictureSize(100, 50), Colour = 0x11_2233 };
        screen.Add(source);
        var clock = new TextBoard().Board;
        var path = Path.Combine(_folder, "screen.png");
        using (var recorder = new ScreenRecorder(path, screen, clock.Clock, new ProcessLog(false)))
        {
            foreach (var (width, height, colour) in ((int, int, uint)[])[(4200, 2400, 0x44_5566), (64, 80, 0x77_8899)])
            {
                (source.Size, source.Colour) = (new PictureSize(width, height), colour);
                source.Ring();
                clock.Advance(100 * Millisecond);
            }
        }

        var read = PngReader.Read(File.ReadAllBytes(path));
        Assert.Equal(3, read.Frames.Count);
        Assert.All(read.Frames, static frame => Assert.Equal((4096, 2304), (frame.Width, frame.Height)));
        Assert.Equal((0x11_2233u, 0u), (read.Frames[0].Line(49)[99], read.Frames[0].Line(50)[99]));
        Assert.Equal((0x44_5566u, 0x44_5566u), (read.Frames[1].Line(0)[0], read.Frames[1].Line(2303)[4095]));
        Assert.Equal((0x77_8899u, 0u, 0u), (read.Frames[2].Line(79)[63], read.Frames[2].Line(79)[64], read.Frames[2].Line(80)[0]));
    }

    [Fact]
    public void PicturesHaveThePointer()
    {
        var screen = new ScreenHub();
        screen.Add(new Plain { Size = new PictureSize(32, 16), Colour = 0x11_2233, Cursor = s_pointer, CursorPlace = (30, 7) });
        var read = Assert.Single(PngReader.Read(File.ReadAllBytes(Path.Combine(_folder, Picture.WriteNext(screen, _folder)))).Frames);
        Assert.Equal((0xff_0000u, 0x11_2233u), (read.Line(7)[30], read.Line(7)[31]));
    }

    [Fact]
    public void ARecordingHasThePointerWhereItWas()
    {
        var screen = new ScreenHub();
        var source = new Plain { Size = new PictureSize(64, 48), Colour = 0x11_2233 };
        screen.Add(source);
        var clock = new TextBoard().Board;
        var path = Path.Combine(_folder, "screen.png");
        using (var recorder = new ScreenRecorder(path, screen, clock.Clock, new ProcessLog(false)))
        {
            foreach (var (shape, x, colour) in ((CursorShape?, int, uint)[])[(s_pointer, 10, 0x11_2233), (s_pointer, 40, 0x11_2233), (s_pointer, 40, 0x44_5566), (null, 40, 0x44_5566)])
            {
                (source.Cursor, source.CursorPlace, source.Colour) = (shape, (x, 20), colour);
                source.Ring();
                clock.Advance(100 * Millisecond);
            }
        }

        var read = PngReader.Read(File.ReadAllBytes(path));
        Assert.Equal([(0x11_2233u, 0x11_2233u), (0xff_0000u, 0x11_2233u), (0x11_2233u, 0xff_0000u), (0x44_5566u, 0xff_0000u), (0x44_5566u, 0x44_5566u)],
            read.Frames.Select(static frame => (frame.Line(20)[10], frame.Line(20)[40])));
    }

    /// <summary>A picture of one colour.</summary>
    private sealed class Plain : IScreenSource
    {
        private Action? _changed;

        public PictureSize? Size { get; set; }

        public uint Colour { get; set; }

        public CursorShape? Cursor { get; set; }

        public (int X, int Y) CursorPlace { get; set; }

        public void Draw(Frame frame, Damage damage, bool everything)
        {
            if (!everything && frame.Pixels[0] == Colour) return;
            frame.Pixels.Fill(Colour);
            damage.AddAll();
        }

        public bool NotifyOnce(Action? changed)
        {
            _changed = changed;
            return true;
        }

        public void SetRefreshPeriod(int milliseconds)
        {
        }

        public void Ring() => _changed?.Invoke();
    }
}
