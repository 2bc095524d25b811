using System.IO;
using System.Text;
using XenDM.Devices.Display.Vga;

namespace XenDM.Display;

/// <summary>Pictures of the screen as PPM files (netpbm, P6).</summary>
internal static class Screenshot
{
    private const int MaxNumber = 9999;

    /// <summary>Writes a picture under the first name of <c>xendm-1.ppm</c>, <c>xendm-2.ppm</c>, ... that is free.</summary>
    /// <returns>The name.</returns>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static string WriteNext(Screen screen, string folder)
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
    public static void Write(Screen screen, Stream output)
    {
        int width = screen.Width, height = screen.Height;
        var pixels = new uint[width * height];
        screen.Render(pixels, width);
        output.Write(Encoding.ASCII.GetBytes($"P6\n{width} {height}\n255\n"));
        var line = new byte[width * 3];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var pixel = pixels[(y * width) + x];
                (line[3 * x], line[(3 * x) + 1], line[(3 * x) + 2]) = ((byte)(pixel >> 16), (byte)(pixel >> 8), (byte)pixel);
            }

            output.Write(line);
        }
    }
}
