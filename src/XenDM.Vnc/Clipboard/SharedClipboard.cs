using System.Threading;

namespace XenDM.Vnc.Clipboard;

/// <summary>
/// What a person cut in one viewer of a guest is there in the others. A guest has no part in it: it has no device for texts.
/// </summary>
internal sealed class SharedClipboard
{
    /// <summary>Longest text in bytes of UTF-8; of longer ones nothing is kept.</summary>
    public const int MaxBytes = 256 << 10;

    private byte[]? _text;

    /// <summary>UTF-8 with lines that end in LF; null before the first. Nobody writes into it.</summary>
    public byte[]? Text
    {
        get => Volatile.Read(ref _text);
        set => Volatile.Write(ref _text, value);
    }
}
