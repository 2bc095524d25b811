using System;
using System.Diagnostics;
using System.IO;
using System.IO.Compression;
using System.Linq;
using XenDM.CommandLine;

namespace XenDM.Run;

/// <summary>
/// What <c>xendm run --demo</c> boots: the distribution's kernel and a busybox, from its packages. They are downloaded and unpacked into a cache, and
/// nothing is installed. On a system without apt the error says which files to give instead.
/// </summary>
internal static class Demo
{
    private const string Init = """
        #!/bin/busybox sh
        /bin/busybox --install -s /bin
        export PATH=/bin
        mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
        echo
        echo "Linux $(uname -r) on XenDM's embedded machine. This is a shell; poweroff ends it."
        while :; do setsid cttyhack sh; done
        """;

    /// <summary>Kernel, initial ramdisk and, where the system has none, firmware.</summary>
    public readonly record struct Files(string Kernel, string Initrd, string? Firmware);

    /// <exception cref="UsageException">They cannot be had here.</exception>
    public static Files Prepare()
    {
        var cache = Path.Combine(Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } home ? home : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "xendm", "demo");
        var kernel = Path.Combine(cache, "vmlinuz");
        var initrd = Path.Combine(cache, "initrd.gz");
        var bios = Path.Combine(cache, "bios-256k.bin");
        if (!File.Exists(kernel) || !File.Exists(initrd) || !File.Exists(bios)) Fetch(cache, kernel, initrd, bios);
        return new Files(kernel, initrd, bios);
    }

    private static void Fetch(string cache, string kernel, string initrd, string bios)
    {
        Directory.CreateDirectory(cache);
        var work = Directory.CreateTempSubdirectory("xendm-demo");
        try
        {
            Console.Error.WriteLine($"xendm: fetching a kernel, busybox and SeaBIOS from the distribution's packages into {cache}");
            var image = Run(work.FullName, "apt-cache", "depends", "linux-image-amd64").Split('\n').Select(static l => l.Trim()).FirstOrDefault(static l => l.StartsWith("Depends: linux-image-", StringComparison.Ordinal))
                ?? throw Missing("there is no package linux-image-amd64");
            Run(work.FullName, "apt-get", "-q", "download", image["Depends: ".Length..], "busybox-static", "seabios");
            foreach (var package in work.GetFiles("*.deb")) Run(work.FullName, "dpkg-deb", "-x", package.FullName, "root");
            var root = Path.Combine(work.FullName, "root");
            var busybox = File.ReadAllBytes(Path.Combine(root, "bin", "busybox"));
            WriteInitrd(initrd, busybox);
            File.Copy(Path.Combine(root, "usr/share/seabios/bios-256k.bin"), bios, true);
            File.Copy(Directory.GetFiles(Path.Combine(root, "boot"), "vmlinuz-*").First(), kernel, true);
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            throw Missing(e.Message);
        }
        finally
        {
            work.Delete(true);
        }
    }

    private static UsageException Missing(string why) =>
        new("--demo", $"takes its files from Debian's packages, and that did not work ({why.Trim()}); give --kernel, --initrd and --firmware instead");

    private static string Run(string folder, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new IOException($"{program} did not start");
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new IOException($"{program}: {errors.Result.Split('\n')[0]}");
    }

    /// <summary>An initial ramdisk with busybox and a small init: cpio "newc", compressed.</summary>
    private static void WriteInitrd(string path, byte[] busybox)
    {
        var part = path + ".part";
        using (var file = File.Create(part))
        using (var output = new GZipStream(file, CompressionLevel.Optimal))
        {
            foreach (var folder in (string[])["bin", "dev", "proc", "sys", "tmp"]) Entry(output, folder, 0x41ed, []);
            Entry(output, "bin/busybox", 0x81ed, busybox);
            Entry(output, "init", 0x81ed, System.Text.Encoding.ASCII.GetBytes(Init + "\n"));
            Entry(output, "TRAILER!!!", 0, []);
        }

        File.Move(part, path, true);
    }

    /// <param name="mode">File type and permissions, as stat has them.</param>
    private static void Entry(Stream output, string name, uint mode, byte[] data)
    {
        var header = $"070701{0:X8}{mode:X8}{0:X8}{0:X8}{1:X8}{0:X8}{data.Length:X8}{0:X8}{0:X8}{0:X8}{0:X8}{name.Length + 1:X8}{0:X8}{name}\0";
        Pad(output, System.Text.Encoding.ASCII.GetBytes(header));
        Pad(output, data);

        static void Pad(Stream output, byte[] bytes)
        {
            output.Write(bytes);
            output.Write(new byte[-bytes.Length & 3]);
        }
    }
}
