using System;
using System.IO;
using XenDM.CommandLine;
using XenDM.Core.State;
using XenDM.Hosting;
using XenDM.Interop.Xen;
using XenDM.Run;

namespace XenDM;

/// <summary>
/// The executable: a QEMU-style command line as libxl builds it. Mistakes of the set-up end with one line and status 1 before anything is
/// touched; a mistake of our own ends with what is known about it and status 2. The last line always says why the process ends.
/// </summary>
internal static class Program
{
    public const string Version = "XenDM 0.1.0";

    private const string Usage = """
        xendm: a device model for Xen HVM guests. It is started by xl or libxl, with
            device_model_version="qemu-xen"
            device_model_override="/path/to/xendm"
        in the guest's configuration, and takes qemu-xen's command line. Without Xen,
            xendm run --help
        tells how to boot a guest on the embedded software machine.
        """;

    public static int Main(string[] arguments)
    {
        if (arguments.Length == 0 || arguments[0] is "--help" or "-help" or "-h")
        {
            Console.WriteLine(Usage);
            return arguments.Length == 0 ? 1 : 0;
        }

        if (arguments[0] is "--version" or "-version")
        {
            Console.WriteLine(Version);
            return 0;
        }

        if (arguments[0] == "run") return RunCommand.Invoke(arguments[1..]);
        try
        {
            var options = QemuArguments.Parse(arguments);
            using var log = new ProcessLog(verbose: !options.IsQTest);
            return Run(options, log);
        }
        catch (Exception e) when (IsSetUpMistake(e))
        {
            Console.Error.WriteLine($"xendm: {e.Message}");
            return 1;
        }
    }

    private static int Run(QemuOptions options, ProcessLog log)
    {
        try
        {
            log.Info("start", $"{Version}, process {Environment.ProcessId}");
            if (options.IsQTest)
            {
                using var scripted = new QTestHost(options, log);
                log.Info("exit", scripted.Run());
                return 0;
            }

            using var host = new Host(options, log);
            log.Info("exit", host.Run());
            return 0;
        }
        catch (Exception e) when (!IsSetUpMistake(e))
        {
            // Wrong state must not go on: the guest stands still until its toolstack ends it.
            log.Warn("exit", $"{e.GetType().Name}: {e.Message}");
            Console.Error.WriteLine(e);
            return 2;
        }
    }

    internal static bool IsSetUpMistake(Exception e) => e is UsageException or XenException or StateException or IOException or UnauthorizedAccessException;
}
