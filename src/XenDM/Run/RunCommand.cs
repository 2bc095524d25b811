using System;
using System.Collections.Generic;
using System.CommandLine;
using XenDM.CommandLine;
using XenDM.Hosting;

namespace XenDM.Run;

/// <summary><c>xendm run</c>: boots a guest on the embedded software machine.</summary>
internal static class RunCommand
{
    private const string Examples = """
        Boots a guest on the embedded software machine: the same board and chips as on Xen, with no hypervisor and no privileges.

        Examples:
          xendm run --demo
          xendm run --kernel vmlinuz --initrd initrd.img --append console=ttyS0
          xendm run --disk guest.img --memory 1G --cpus 2
          xendm run --cdrom rescue.iso --boot d --serial pty

        The serial line is on standard input and output. The process ends with status 0 when the guest powers off.
        """;

    public static int Invoke(string[] arguments)
    {
        Option<string> memory = new("--memory", "-m") { Description = "RAM, for example 512M or 2G", DefaultValueFactory = static _ => "512M" };
        Option<int> cpus = new("--cpus") { Description = "vCPUs, 1 to 32", DefaultValueFactory = static _ => 1 };
        Option<string> cpu = new("--cpu") { Description = "v3, v2, v1 (x86-64 levels), i686 or 486", DefaultValueFactory = static _ => "v3" };
        Option<string[]> disks = new("--disk") { Description = "FILE[,format=raw]: an IDE disk; may be given several times" };
        Option<string?> cdrom = new("--cdrom") { Description = "FILE: a CD in an IDE drive" };
        Option<string?> kernel = new("--kernel") { Description = "a Linux kernel to boot directly" };
        Option<string?> initrd = new("--initrd") { Description = "its initial ramdisk" };
        Option<string?> append = new("--append") { Description = "its command line" };
        Option<string?> firmware = new("--firmware") { Description = "BIOS image; the distribution's SeaBIOS if not given" };
        Option<string?> boot = new("--boot") { Description = "boot order: c disk, d CD, n network" };
        Option<string[]> serial = new("--serial") { Description = "stdio, pty, null, none, file:PATH, unix:PATH,server; may be given up to four times" };
        Option<string?> qmp = new("--qmp") { Description = "PATH: a Unix socket for QMP clients" };
        Option<bool> noReboot = new("--no-reboot") { Description = "end when the guest resets" };
        Option<string> clock = new("--clock") { Description = "real, or icount: guest time is a function of the instructions that ran", DefaultValueFactory = static _ => "real" };
        Option<int> seed = new("--seed") { Description = "of the random numbers with --clock icount" };
        Option<string?> display = new("--display") { Description = "none, or text: the guest's screen and keyboard in this terminal (Ctrl-A for a menu)", DefaultValueFactory = static _ => "none" };
        Option<string> vga = new("--vga") { Description = "display adapter: std or none", DefaultValueFactory = static _ => "std" };
        Option<bool> log = new("--log") { Description = "say on standard error what the machine does" };
        Option<bool> demo = new("--demo") { Description = "boot a Linux from the distribution's packages to a shell" };
        Option<bool> hash = new("--hash") { Description = "print a hash of memory, vCPUs and devices at the end" };
        Option<string?> debugExit = new("--debug-exit") { Description = "[PORT]: a write to this port (0xf4) ends the process with status 2 * value + 1", Arity = ArgumentArity.ZeroOrOne };
        Option<bool> testDevice = new("--test-device") { Description = "ports and memory for test programs, at the addresses of QEMU's pc-testdev" };
        RootCommand command = new(Examples) { memory, cpus, cpu, disks, cdrom, kernel, initrd, append, firmware, boot, serial, qmp, noReboot, clock, seed, display, vga, log, hash, demo, debugExit, testDevice };
        command.SetAction(parsed =>
        {
            try
            {
                var board = new List<string> { "-xen-domid", "0", "-name", "guest", "-machine", "pc", "-m", RunOptions.MemoryMiB(parsed.GetValue(memory)!).ToString(System.Globalization.CultureInfo.InvariantCulture) };
                var count = parsed.GetValue(cpus);
                if (count is < 1 or > 32) throw new UsageException("--cpus", $"{count} must lie between 1 and 32");
                board.AddRange(["-smp", count.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
                var screen = parsed.GetValue(display) ?? "none";
                if (screen is not ("none" or "text")) throw new UsageException("--display", $"'{screen}' is not built; there are none and text");
                var place = 0;
                foreach (var disk in parsed.GetValue(disks) ?? [])
                {
                    if (place == 2 && parsed.GetValue(cdrom) is not null) place++;
                    if (place > 3) throw new UsageException("--disk", "the IDE channels have four places, one of them for the CD");
                    board.AddRange(["-drive", RunOptions.Drive("--disk", disk, place++, false)]);
                }

                if (parsed.GetValue(cdrom) is { } image) board.AddRange(["-drive", RunOptions.Drive("--cdrom", image, 2, true)]);
                var files = parsed.GetValue(demo) ? Demo.Prepare() : default;
                Add(board, "-kernel", files.Kernel ?? parsed.GetValue(kernel));
                Add(board, "-initrd", files.Initrd ?? parsed.GetValue(initrd));
                Add(board, "-append", parsed.GetValue(append) ?? (!parsed.GetValue(demo) ? null : screen == "text" ? "quiet" : "console=ttyS0 quiet"));
                Add(board, "-boot", parsed.GetValue(boot));
                var lines = parsed.GetValue(serial);
                foreach (var line in lines is { Length: > 0 } ? lines : [screen == "text" ? "null" : "stdio"])
                {
                    if (screen == "text" && line == "stdio") throw new UsageException("--serial", "stdio and --display text both need the terminal");
                    Add(board, "-serial", line);
                }

                if (parsed.GetValue(qmp) is { } socket) board.AddRange(["-chardev", $"socket,id=qmp,path={socket.Replace(",", ",,", StringComparison.Ordinal)},server=on,wait=off", "-mon", "chardev=qmp,mode=control"]);
                Add(board, "-display", screen);
                Add(board, "-vga", parsed.GetValue(vga));
                var time = parsed.GetValue(clock);
                if (time is not ("real" or "icount")) throw new UsageException("--clock", $"'{time}' must be real or icount");
                var options = new RunOptions(QemuArguments.Parse([.. board]), RunOptions.Model(parsed.GetValue(cpu)!), RunOptions.FindFirmware(parsed.GetValue(firmware) ?? files.Firmware), time == "icount", parsed.GetValue(seed),
                    parsed.GetValue(noReboot), parsed.GetValue(log), parsed.GetValue(hash))
                {
                    DebugExitPort = parsed.GetResult(debugExit) is null ? null : RunOptions.Port("--debug-exit", parsed.GetValue(debugExit)),
                    TestDevice = parsed.GetValue(testDevice),
                };
                using var processLog = new ProcessLog(options.Verbose);
                using var host = new EmbeddedHost(options, processLog);
                return host.Run();
            }
            catch (Exception e) when (Program.IsSetUpMistake(e))
            {
                Console.Error.WriteLine($"xendm: {e.Message}");
                return 1;
            }
        });
        return command.Parse(arguments).Invoke();
    }

    private static void Add(List<string> board, string option, string? value)
    {
        if (value is not null) board.AddRange([option, value]);
    }
}
