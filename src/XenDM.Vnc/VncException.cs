using System;

namespace XenDM.Vnc;

/// <summary>The server cannot be set up as it was asked for: an address that is taken, a certificate that cannot be read.</summary>
public sealed class VncException : Exception
{
    public VncException(string message)
        : base(message)
    {
    }

    public VncException(string message, Exception cause)
        : base(message, cause)
    {
    }
}

/// <summary>A client broke the protocol, or may not come in; it is sent away.</summary>
internal sealed class RfbException : Exception
{
    public RfbException(string message)
        : base(message)
    {
    }
}
