using System;
using System.Globalization;
using System.IO;

namespace XenDM.Web.Guests;

/// <summary>Memory and CPU of a process of this host, from proc(5).</summary>
public static class ProcessFigures
{
    /// <summary>USER_HZ: the unit of the times in /proc/PID/stat on every architecture that Linux has now.</summary>
    private const long TicksPerSecond = 100;

    /// <returns>Null when there is no such process, or it may not be looked at.</returns>
    public static ProcessReport? Read(int pid)
    {
        try
        {
            // Fields behind the name, which stands in parentheses and may have any characters: utime is the 12th, stime the 13th, rss (pages) the 22nd.
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 22) return null;
            var ticks = long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
            return new ProcessReport(pid, long.Parse(fields[21], CultureInfo.InvariantCulture) * Environment.SystemPageSize, ticks * 1000 / TicksPerSecond);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>The process is limited in how long a file it may write; past the limit it would be killed.</summary>
    public static bool HasFileSizeLimit(int pid)
    {
        try
        {
            foreach (var line in File.ReadLines($"/proc/{pid}/limits"))
                if (line.StartsWith("Max file size", StringComparison.Ordinal)) return !line.Contains("unlimited", StringComparison.Ordinal);
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }
}
