using System;
using System.Diagnostics;
using System.Globalization;
using Serilog;
using Serilog.Core;
using XenDM.Core.Tracing;

namespace XenDM.Hosting;

/// <summary>
/// The log of the process, on standard error (libxl sends that to <c>qemu-dm-NAME.log</c>). What a guest can cause is bounded twice: a number
/// of lines a second, and a number of bytes in all (XSA-180). Used from the machine thread and, before it runs, from Main.
/// </summary>
internal sealed class ProcessLog : IMachineLog, IDisposable
{
    private const int GuestLinesPerSecond = 50;
    private const int GuestBytesInAll = 1 << 20;
    private const int MaxLineLength = 4096;
    private readonly Logger _logger;
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _second = -1;
    private int _linesThisSecond;
    private int _dropped;
    private int _bytesLeft = GuestBytesInAll;

    /// <param name="verbose">False: warnings only.</param>
    public ProcessLog(bool verbose = true)
    {
        _logger = new LoggerConfiguration()
            .MinimumLevel.Is(verbose ? Serilog.Events.LogEventLevel.Information : Serilog.Events.LogEventLevel.Warning)
            .WriteTo.Console(
                standardErrorFromLevel: Serilog.Events.LogEventLevel.Verbose,
                outputTemplate: "{Timestamp:yyyy-MM-dd HH:mm:ss.fff} {Level:u3} {Message:l}{NewLine}",
                formatProvider: CultureInfo.InvariantCulture,
                theme: Serilog.Sinks.SystemConsole.Themes.ConsoleTheme.None)
            .CreateLogger();
    }

    public bool GuestAllowed
    {
        get
        {
            if (_bytesLeft <= 0) return false;
            NextSecond();
            return _linesThisSecond < GuestLinesPerSecond;
        }
    }

    public void Info(string source, string text) => _logger.Information("{Line:l}", Line(source, text));

    public void Warn(string source, string text) => _logger.Warning("{Line:l}", Line(source, text));

    public void Guest(string source, string text)
    {
        if (!GuestAllowed)
        {
            _dropped++;
            return;
        }

        _linesThisSecond++;
        var line = Line(source, text);
        _bytesLeft -= line.Length;
        _logger.Information("{Line:l}", line);
        if (_bytesLeft <= 0) Warn("log", $"the guest has caused {GuestBytesInAll} bytes of log; nothing more of it is printed");
    }

    /// <summary>A phase of the start has ended.</summary>
    public void Phase(string name) =>
        Info("start", $"{name} after {Stopwatch.GetElapsedTime(_start).TotalMilliseconds.ToString("0.0", CultureInfo.InvariantCulture)} ms");

    public void Dispose() => _logger.Dispose();

    private void NextSecond()
    {
        var second = (Stopwatch.GetTimestamp() - _start) / Stopwatch.Frequency;
        if (second == _second) return;
        _second = second;
        _linesThisSecond = 0;
        if (_dropped == 0) return;
        var dropped = _dropped;
        _dropped = 0;
        Warn("log", $"{dropped} lines that the guest caused were dropped");
    }

    /// <summary>One line, whatever a guest put in it: control characters are shown, not obeyed.</summary>
    private static string Line(string source, string text)
    {
        if (text.Length > MaxLineLength) text = string.Concat(text.AsSpan(0, MaxLineLength), "...");
        foreach (var c in text)
        {
            if (!char.IsControl(c)) continue;
            var clean = new System.Text.StringBuilder();
            foreach (var d in text) clean.Append(char.IsControl(d) ? '.' : d);
            text = clean.ToString();
            break;
        }

        return source + ": " + text;
    }
}
