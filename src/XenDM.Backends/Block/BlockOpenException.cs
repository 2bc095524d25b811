using System;
using System.IO;

namespace XenDM.Backends.Block;

/// <summary>An image that cannot be used; the message is one line for a person.</summary>
public sealed class BlockOpenException : IOException
{
    public BlockOpenException(string message)
        : base(message)
    {
    }

    public BlockOpenException()
    {
    }

    public BlockOpenException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
