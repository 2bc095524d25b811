using System;

namespace XenDM.Interop.Xen;

/// <summary>Opening or setting up a part of Xen's interface failed. The message is one line for a person.</summary>
public sealed class XenException : Exception
{
    public XenException()
    {
    }

    public XenException(string message)
        : base(message)
    {
    }

    public XenException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <param name="what">What was tried, e.g. "cannot open /dev/xen/evtchn".</param>
    /// <param name="result">The negative errno.</param>
    public XenException(string what, long result)
        : base($"{what}: {Libc.Errno.Describe(result)}") => ErrorNumber = (int)Math.Abs(result);

    /// <summary>Positive errno, or 0.</summary>
    public int ErrorNumber { get; }

    /// <summary>A library is not installed, or is too old to have a function.</summary>
    internal static XenException Missing(string library, Exception inner) => inner is EntryPointNotFoundException
        ? new XenException($"{library} is too old: {inner.Message}", inner)
        : new XenException($"Xen's libraries are not installed on this host: cannot load {library}", inner);
}
