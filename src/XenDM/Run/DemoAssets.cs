using System;
using System.IO;
using System.IO.Compression;
using System.Linq;
using System.Text;
using XenDM.CommandLine;

namespace XenDM.Run;

/// <summary>
/// What <c>xendm run --demo</c> boots: the distribution's kernel, and busybox as the initial ramdisk, from its packages. They are kept in a cache
/// (<c>$XDG_CACHE_HOME/xendm/demo</c>), with SeaBIOS and the VGA's ROM for hosts that have none; nothing is installed.
/// </summary>
internal static class DemoAssets
{
    /// <summary>Changes when the files are made in another way, so that old ones are not used.</summary>
    private const string Version = "2";

    private const string Quiet = "quiet";
    private const string OnSerialLine = "console=ttyS0 quiet";

    private const string Init = """
        #!/bin/busybox sh
        /bin/busybox --install -s /bin
        export PATH=/bin HOME=/ PS1='\w # '
        mount -t proc proc /proc
        mount -t sysfs sys /sys
        mount -t devtmpfs dev /dev
        hostname xendm
        echo
        echo "  $(uname -sr) on XenDM's embedded machine: $(grep -c ^processor /proc/cpuinfo) CPU, $(($(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024)) MiB."
        echo "  This is a shell; 'exit' or 'poweroff' ends it."
        echo
        trap : INT
        setsid cttyhack sh
        poweroff -f
        """;

    private static readonly string[] s_firmware = ["bios-256k.bin", "vgabios-stdvga.bin", "vgabios-cirrus.bin"];

    public static string Folder
    {
        get
        {
            var home = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            if (string.IsNullOrEmpty(home)) home = Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            return Path.Combine(home, "xendm", "demo", Version);
        }
    }

    /// <summary>The options of a demo with its files.</summary>
    /// <param name="say">Told when something is fetched, which takes a while.</param>
    /// <exception cref="UsageException">The files cannot be had here; the message says which to give instead.</exception>
    public static RunOptions Complete(RunOptions options, Action<string> say)
    {
        var kernel = Path.Combine(Folder, "vmlinuz");
        var initrd = Path.Combine(Folder, "initrd.gz");
        if (!File.Exists(kernel) || !File.Exists(initrd)) Fetch(say);
        var firmware = options.Firmware.Path.Length > 0 ? options.Firmware : new FirmwareChoice(FirmwareKind.Bios, FirmwareFiles.SeaBios());
        var append = options.Display == RunDisplay.Text ? Quiet : OnSerialLine;
        return options with
        {
            Kernel = kernel,
            Initrd = initrd,
            Append = options.Append.Length > 0 ? $"{append} {options.Append}" : append,
            Firmware = firmware,
            VgaRom = options.VgaRom ?? (options.Vga is { } vga ? FirmwareFiles.VgaRom(vga) : null),
        };
    }

    private static void Fetch(Action<string> say)
    {
        const string instead = "give --kernel and --initrd (and --firmware where SeaBIOS is not installed) instead of --demo";
        if (!DebPackages.IsThere) throw new UsageException("--demo", $"takes its files from Debian's packages, and this host has no apt; {instead}");
        DirectoryInfo? work = null;
        try
        {
            // Beside the result, so that what is ready moves there in one step, whoever else makes it at the same time.
            var parent = Directory.CreateDirectory(Path.GetDirectoryName(Folder)!);
            work = Directory.CreateDirectory(Path.Combine(parent.FullName, $"making-{Environment.ProcessId}"));
            say($"fetching a kernel, busybox and SeaBIOS from the distribution's packages, once, into {Folder}");
            var packages = new DebPackages(work.FullName);
            var kernel = packages.KernelOf(packages.FirstOf("linux-image-amd64", "linux-image-virtual", "linux-image-generic"));
            var root = packages.Unpack(kernel, "busybox-static", "seabios");
            var ready = Directory.CreateDirectory(Path.Combine(work.FullName, "ready")).FullName;
            var image = Directory.EnumerateFiles(Path.Combine(root, "boot"), "vmlinuz-*").FirstOrDefault() ?? throw new IOException($"the package {kernel} has no kernel");
            File.Move(image, Path.Combine(ready, "vmlinuz"));
            var busybox = Directory.EnumerateFiles(root, "busybox", SearchOption.AllDirectories).FirstOrDefault(static f => f.Contains("bin/", StringComparison.Ordinal))
                ?? throw new IOException("the package busybox-static has no busybox");
            using (var initrd = File.Create(Path.Combine(ready, "initrd.gz"))) WriteInitrd(initrd, File.ReadAllBytes(busybox));
            foreach (var name in s_firmware)
                if (Directory.EnumerateFiles(root, name, SearchOption.AllDirectories).FirstOrDefault() is { } file) File.Copy(file, Path.Combine(ready, name));
            if (!Directory.Exists(Folder)) Directory.Move(ready, Folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (Directory.Exists(Folder)) return;
            throw new UsageException("--demo", $"its files could not be had ({e.Message.Trim()}); {instead}");
        }
        finally
        {
            work?.Delete(recursive: true);
        }
    }

    /// <summary>An initial ramdisk with busybox and a small init, compressed.</summary>
    internal static void WriteInitrd(Stream output, ReadOnlySpan<byte> busybox)
    {
        using var compressed = new GZipStream(output, CompressionLevel.Optimal, leaveOpen: true);
        using var archive = new CpioWriter(compressed);
        foreach (var folder in (string[])["bin", "dev", "proc", "sys", "tmp"]) archive.AddFolder(folder);
        archive.AddCharacterDevice("dev/console", 5, 1);
        archive.AddFile("bin/busybox", busybox, Convert.ToUInt32("755", 8));
        archive.AddLink("bin/sh", "busybox");
        archive.AddFile("init", Encoding.ASCII.GetBytes(Init + "\n"), Convert.ToUInt32("755", 8));
    }
}
