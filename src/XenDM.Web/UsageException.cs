using System;

namespace XenDM.Web;

/// <summary>A mistake in the command line, or something of the set-up that cannot be had.</summary>
public sealed class UsageException : Exception
{
    /// <param name="option">The option that is wrong; may be empty.</param>
    /// <param name="reason">What is wrong about it.</param>
    public UsageException(string option, string reason)
        : base(option.Length > 0 ? $"{option}: {reason}" : reason)
    {
    }
}
