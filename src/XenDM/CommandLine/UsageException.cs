using System;

namespace XenDM.CommandLine;

/// <summary>A mistake in the set-up: one line on standard error, status 1, before anything is touched.</summary>
public sealed class UsageException : Exception
{
    /// <param name="option">The option that is wrong, e.g. <c>-drive</c>; empty when it is none.</param>
    /// <param name="message">What is wrong and, where it helps, what to do.</param>
    public UsageException(string option, string message)
        : base(option.Length == 0 ? message : $"{option}: {message}")
    {
    }

    public UsageException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
