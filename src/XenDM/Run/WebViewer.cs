using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.IO;
using System.Text;
using XenDM.CommandLine;

namespace XenDM.Run;

/// <summary>
/// The program <c>xendm-web</c>, started for one guest. It finds the guest's monitor and screen at Unix sockets in a folder that only this user may
/// enter, and ends when its standard input does: with this process, also when that is killed.
/// </summary>
internal sealed class WebViewer : IDisposable
{
    private const string Program = "xendm-web";
    private static readonly TimeSpan s_start = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_end = TimeSpan.FromSeconds(5);

    private readonly Process _process;

    private WebViewer(Process process, string folder, string address)
    {
        _process = process;
        Folder = folder;
        Address = address;
    }

    /// <summary>Where the guest's sockets are expected.</summary>
    public string Folder { get; }

    /// <summary>What a browser opens, with the token.</summary>
    public string Address { get; }

    /// <summary>The sockets in the folder.</summary>
    public static string QmpSocket(string folder) => Path.Combine(folder, "qmp");

    /// <inheritdoc cref="QmpSocket"/>
    public static string VncSocket(string folder) => Path.Combine(folder, "vnc");

    /// <summary>Starts it and waits until it listens. The sockets may come later.</summary>
    /// <param name="listen">Where browsers connect; empty for any free port of this host.</param>
    /// <exception cref="UsageException">There is no such program here, or it does not like the address.</exception>
    public static WebViewer Start(string listen)
    {
        var start = new ProcessStartInfo { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        var program = Find();
        if (program.EndsWith(".dll", StringComparison.Ordinal)) start.ArgumentList.Add(program);
        start.FileName = start.ArgumentList.Count > 0 ? "dotnet" : program;
        var folder = Directory.CreateTempSubdirectory("xendm-").FullName;
        foreach (var argument in (IEnumerable<string>)["--guest", $"guest={QmpSocket(folder)}", "--listen", listen.Length > 0 ? listen : "127.0.0.1:0", "--until-eof"]) start.ArgumentList.Add(argument);
        Process? process = null;
        try
        {
            process = Process.Start(start)!;
            var complaint = new StringBuilder();
            process.ErrorDataReceived += (_, line) =>
            {
                lock (complaint) complaint.AppendLine(line.Data);
            };
            process.BeginErrorReadLine();
            var first = process.StandardOutput.ReadLineAsync();
            if (first.Wait(s_start) && first.Result is { } text && text.StartsWith($"{Program}: ", StringComparison.Ordinal))
            {
                // Nothing more is expected; it is read so that the other side is never held up.
                _ = process.StandardOutput.ReadToEndAsync();
                return new WebViewer(process, folder, text[$"{Program}: ".Length..]);
            }

            process.Kill();
            process.WaitForExit();
            lock (complaint) throw new UsageException("--web", complaint.ToString().Trim() is { Length: > 0 } why ? why : $"'{program}' does not start");
        }
        catch (Exception e) when (e is Win32Exception or UsageException)
        {
            process?.Dispose();
            Directory.Delete(folder, recursive: true);
            throw e as UsageException ?? new UsageException("--web", $"'{start.FileName}' cannot be started: {e.Message}");
        }
    }

    public void Dispose()
    {
        _process.StandardInput.Dispose();
        if (!_process.WaitForExit(s_end)) _process.Kill();
        _process.Dispose();
        try
        {
            Directory.Delete(Folder, recursive: true);
        }
        catch (IOException)
        {
            // Somebody put something there that cannot be taken away; it is a folder of temporary files.
        }
    }

    /// <summary>$XENDM_WEB, or beside this program.</summary>
    private static string Find()
    {
        if (Environment.GetEnvironmentVariable("XENDM_WEB") is { Length: > 0 } given) return File.Exists(given) ? given : throw new UsageException("--web", $"XENDM_WEB: '{given}' is not there");
        var folder = Path.GetDirectoryName(Environment.ProcessPath) ?? "/";
        foreach (var name in (ReadOnlySpan<string>)[Program, Program + ".dll"])
            if (Path.Combine(folder, name) is var path && File.Exists(path)) return path;
        throw new UsageException("--web", $"the program {Program} is not beside this one in '{folder}'; src/publish.sh makes both, and XENDM_WEB may name it elsewhere");
    }
}
