using System;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Fuzz;

/// <summary>A serial line whose other end sends when told and takes what it likes.</summary>
internal sealed class FuzzChar : ICharBackend
{
    private readonly byte[] _data = new byte[64];
    private ICharFrontend? _frontend;
    private bool _full;

    public string Label => "fuzz";

    public string FileName => "fuzz";

    public bool IsOpen => true;

    public void Attach(ICharFrontend frontend)
    {
        _frontend = frontend;
        frontend.Event(CharEvent.Opened);
    }

    public void Push(int number)
    {
        var room = Math.Min(_frontend!.ReceiveRoom, number & 63);
        if (room > 0) _frontend.Receive(_data.AsSpan(0, room));
        _full = (number & 0x100) != 0;
        if (!_full) _frontend.WriteReady();
        if ((number & 0xf000) == 0) _frontend.Event(CharEvent.Break);
    }

    public int Write(ReadOnlySpan<byte> data) => _full ? 0 : data.Length;

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

/// <summary>Lets every line be put together, as with a log that is read, and keeps none.</summary>
internal sealed class SilentGuestLog : IMachineLog
{
    public static SilentGuestLog Instance { get; } = new();

    public bool GuestAllowed => true;

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
