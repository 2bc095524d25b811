using System;
using System.IO;

namespace XenDM.Backends.Net;

/// <summary>A net backend that cannot be set up; the message is one line for a person.</summary>
public sealed class NetOpenException : IOException
{
    public NetOpenException(string message)
        : base(message)
    {
    }

    public NetOpenException()
    {
    }

    public NetOpenException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
