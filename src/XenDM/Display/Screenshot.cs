using System.IO;
using System.Text;
using XenDM.Core.Display;

namespace XenDM.Display;

/// <summary>Pictures of the screen as PPM files (netpbm, P6).</summary>
internal static class Screenshot
{
    private const int MaxNumber = 9999;

    /// <summary>Writes a picture under the first name of <c>xendm-1.ppm</c>, <c>xendm-2.ppm</c>, ... that is free.</summary>
    /// <returns>The name.</returns>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static string WriteNext(IScreenSource screen, string folder)
    {
        for (var number = 1; number <= MaxNumber; number++)
        {
            var path = Path.Combine(folder, $"xendm-{number}.ppm");
            if (File.Exists(path)) continue;
            using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
            Write(screen, file);
            return Path.GetFileName(path);
        }

        throw new IOException($"there are {MaxNumber} pictures in {folder} already");
    }

    /// <exception cref="IOException">The stream cannot be written.</exception>
    public static void Write(IScreenSource screen, Stream output)
    {
        var (width, height) = screen.Size ?? throw new IOException("there is no picture");
        var frame = new Frame();
        var damage = new Damage();
        frame.Resize(width, height);
        damage.Resize(width, height);
        screen.Draw(frame, damage, true);
        output.Write(Encoding.ASCII.GetBytes($"P6\n{width} {height}\n255\n"));
        var line = new byte[width * 3];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var pixel = frame.Pixels[(y * width) + x];
                (line[3 * x], line[(3 * x) + 1], line[(3 * x) + 2]) = ((byte)(pixel >> 16), (byte)(pixel >> 8), (byte)pixel);
            }

            output.Write(line);
        }
    }
}
