namespace XenDM.Core.Tracing;

/// <summary>
/// What devices, backends and the monitor tell the person who reads the log. The implementation bounds the log: lines that a guest can cause
/// go through <see cref="Guest"/>, which drops and counts them past a limit per second.
/// </summary>
public interface IMachineLog
{
    /// <summary>True while <see cref="Guest"/> would print: ask before a line is put together on a hot path.</summary>
    bool GuestAllowed { get; }

    /// <summary>Something the host's administrator wants to know; never caused by a guest at will.</summary>
    void Info(string source, string text);

    /// <summary>A host failure or a doubtful set-up.</summary>
    void Warn(string source, string text);

    /// <summary>A guest's mistake or message; rate-limited.</summary>
    void Guest(string source, string text);
}

/// <summary>A log that nobody reads.</summary>
public sealed class SilentLog : IMachineLog
{
    public static SilentLog Instance { get; } = new();

    public bool GuestAllowed => false;

    public void Info(string source, string text)
    {
    }

    public void Warn(string source, string text)
    {
    }

    public void Guest(string source, string text)
    {
    }
}
