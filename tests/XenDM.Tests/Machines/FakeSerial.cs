using System;
using XenDM.Core.Backends;

namespace XenDM.Tests.Machines;

/// <summary>A serial line that takes everything.</summary>
internal sealed class FakeSerial : ICharBackend
{
    public string Label => "fake";

    public string FileName => "fake";

    public bool IsOpen => true;

    public void Attach(ICharFrontend frontend) => frontend.Event(CharEvent.Opened);

    public int Write(ReadOnlySpan<byte> data) => data.Length;

    public void AcceptInput()
    {
    }

    public int TakeFd() => -1;

    public void SetBreak(bool on)
    {
    }

    public void Dispose()
    {
    }
}
