using System.Text;
using XenDM.Core.Io;
using XenDM.Core.Tracing;

namespace XenDM.Run;

/// <summary>The port on which SeaBIOS tells what it does (0x402; it reads e9 where somebody listens), and on Xen hvmloader too (0xe9): a log line for each of its lines.</summary>
internal sealed class DebugConsole(IMachineLog log) : IIoRegion
{
    public const ushort Port = 0x402;
    public const ushort XenPort = 0xe9;
    private const int MaxLine = 240;
    private readonly StringBuilder _line = new();

    public ulong Read(ulong offset, int size) => 0xe9;

    public void Write(ulong offset, int size, ulong value)
    {
        var character = (char)(value & 0x7f);
        if (character == '\n' || _line.Length >= MaxLine)
        {
            if (log.GuestAllowed) log.Guest("firmware", _line.ToString());
            _line.Clear();
        }

        if (character >= ' ') _line.Append(character);
    }
}

/// <summary>An address range where nothing is and nobody needs to be told: the VGA window of a machine without a display.</summary>
internal sealed class Nothing : IIoRegion
{
    public ulong Read(ulong offset, int size) => ulong.MaxValue;

    public void Write(ulong offset, int size, ulong value)
    {
    }
}
