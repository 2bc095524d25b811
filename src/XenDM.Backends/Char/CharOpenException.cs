using System;
using System.IO;

namespace XenDM.Backends.Char;

/// <summary>A character backend that cannot be set up; the message is one line for a person.</summary>
public sealed class CharOpenException : IOException
{
    public CharOpenException(string message)
        : base(message)
    {
    }

    public CharOpenException()
    {
    }

    public CharOpenException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
