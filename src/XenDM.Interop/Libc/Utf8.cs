using System;
using System.Runtime.InteropServices;
using System.Text;

namespace XenDM.Interop.Libc;

/// <summary>Strings for C: UTF-8 with a zero byte at the end.</summary>
internal static unsafe class Utf8
{
    internal static byte[] Z(string text)
    {
        var bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
        Encoding.UTF8.GetBytes(text, bytes);
        return bytes;
    }

    internal static string FromZ(byte* text) => text == null ? "" : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));

    internal static string FromZ(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? text : text[..end]);
    }
}
