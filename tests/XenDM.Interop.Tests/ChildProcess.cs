using System;
using System.Diagnostics;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using XenDM.Interop.Jpeg;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Interop.Tests;

/// <summary>What cannot be tried in the process of the tests, because it changes the process for good: the test assembly run as a program.</summary>
internal static partial class ChildProcess
{
    /// <summary>Runs a role below and gives what it wrote.</summary>
    public static string Run(string role, string[] arguments, string? libraryPath = null)
    {
        // Whatever the tests' own parent ignores.
        var start = new ProcessStartInfo("env")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in (string[])["--default-signal", Environment.ProcessPath!, "exec", typeof(ChildProcess).Assembly.Location, role, .. arguments]) start.ArgumentList.Add(argument);
        if (libraryPath is not null) start.Environment["LD_LIBRARY_PATH"] = libraryPath;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output.TrimEnd() + errors.Result : $"status {process.ExitCode}: {output}{errors.Result}";
    }

    internal static int Main(string[] arguments)
    {
        switch (arguments.FirstOrDefault())
        {
            case "drop":
                DropPrivileges(arguments[1], arguments[2]);
                return 0;
            case "open":
                Say(OpenMessage(arguments[1]));
                return 0;
            case "signals":
                if (arguments.Length > 1) signal(1, 1);
                Say(TakeSignals());
                return 0;
            default:
                return 1;
        }
    }

    private static void Say(string text) => Posix.Write(1, Encoding.UTF8.GetBytes(text + "\n"));

    /// <summary>Drops, and says what a thread that was there before it can do afterwards.</summary>
    private static void DropPrivileges(string root, string user)
    {
        var report = "";
        using var dropped = new ManualResetEventSlim();
        var other = new Thread(() =>
        {
            dropped.Wait();
            var passwd = Posix.Open("/etc/passwd", OpenFlags.ReadOnly);
            report = $"uid {getuid()}, gid {getgid()}, /etc/passwd {passwd}, root {Posix.SetUserId(0)} {Posix.SetGroups([0])} {Posix.ChangeRoot("/")}";
        });
        other.Start();
        var identity = PrivilegeDrop.Find(user, out var error);
        error = identity is null ? error : PrivilegeDrop.Apply(root, identity) ?? "dropped";
        dropped.Set();
        other.Join();
        Say($"{error}: {report}");
    }

    private static string OpenMessage(string what)
    {
        try
        {
            using IDisposable opened = what switch { "store" => new XenStore(), "jpeg" => new JpegCompressor(), _ => new XenDeviceModel() };
            return "opened";
        }
        catch (Exception e) when (e is XenException or DllNotFoundException)
        {
            return e.Message;
        }
    }

    /// <summary>Sends many signals to a process whose threads are busy with managed code and garbage.</summary>
    private static string TakeSignals()
    {
        const int count = 500;
        using var signals = new TerminationSignals();
        var taken = 0;
        var done = false;
        var busy = new Thread(() =>
        {
            while (!Volatile.Read(ref done)) _ = new byte[1000];
        })
        { IsBackground = true };
        busy.Start();
        int[] numbers = [1, 2, 15];
        var names = new[] { PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGTERM };
        for (var i = 0; i < count; i++)
        {
            Posix.Kill(Environment.ProcessId, numbers[i % 3]);
            Span<PollFd> fds = [new PollFd { Fd = signals.Fd, Events = PollEvents.Readable }];
            while (Posix.Poll(fds, 20_000_000_000) is var ready && ready != 1)
                if (ready != -Errno.EINTR) return $"signal {i} did not arrive: {ready}";
            if (signals.Take() == names[i % 3]) taken++;
        }

        Volatile.Write(ref done, true);
        busy.Join();
        return $"{taken} of {count}";
    }

    // Of the calling thread: the C library asks the kernel, which keeps ids for each thread.
    [LibraryImport("libc.so.6")]
    private static partial uint getuid();

    [LibraryImport("libc.so.6")]
    private static partial nint signal(int number, nint handler);

    [LibraryImport("libc.so.6")]
    private static partial uint getgid();
}
