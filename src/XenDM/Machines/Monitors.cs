using System;
using System.Collections.Generic;
using XenDM.Backends.Char;
using XenDM.CommandLine;
using XenDM.Interop.Libc;
using XenDM.Monitor;

namespace XenDM.Machines;

/// <summary>The monitors that a command line asks for with <c>-mon</c>.</summary>
internal static class Monitors
{
    /// <exception cref="UsageException">One of them has no backend, or a mode that is not known.</exception>
    public static void Check(QemuOptions options, CharBackendFactory chardevs)
    {
        foreach (var monitor in options.Monitors)
        {
            var id = monitor.Require("chardev");
            if (!chardevs.All.ContainsKey(id)) throw new UsageException("-mon", $"there is no -chardev with id={id}");
            if ((monitor.Get("mode") ?? "readline") is not ("control" or "readline")) throw new UsageException("-mon", $"mode={monitor.Get("mode")} must be control or readline");
        }
    }

    /// <summary>Puts a session on each backend: QMP with <c>mode=control</c>, the human monitor otherwise.</summary>
    /// <param name="target">Its events go to QMP clients from now on.</param>
    /// <param name="fds">Descriptors that QMP clients hand over.</param>
    /// <param name="resources">Takes the sessions.</param>
    public static void Attach(QemuOptions options, CharBackendFactory chardevs, MonitorTarget target, FdSets fds, Stack<IDisposable> resources)
    {
        Check(options, chardevs);
        var events = target.Events ??= new QmpEvents(WallClock);
        var commands = new QmpCommands(target, fds, static fd => Posix.Close(fd));
        foreach (var monitor in options.Monitors)
        {
            var backend = chardevs.All[monitor.Require("chardev")];
            if (monitor.Get("mode") == "control")
            {
                var session = new QmpSession(backend, commands);
                events.Add(session);
                resources.Push(session);
            }
            else
            {
                resources.Push(new MonitorSession(backend, new HumanMonitor(target, target.Machine), IsTerminal(backend)));
            }
        }
    }

    private static bool IsTerminal(CharBackend backend) =>
        backend.FileName.StartsWith("pty:", StringComparison.Ordinal) || (backend.FileName == "stdio" && Posix.SaveTerminal(0) is not null);

    private static (long Seconds, int Microseconds) WallClock()
    {
        var ticks = DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks;
        return (ticks / TimeSpan.TicksPerSecond, (int)(ticks % TimeSpan.TicksPerSecond / TimeSpan.TicksPerMicrosecond));
    }
}
