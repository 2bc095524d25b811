using System;
using System.Buffers.Binary;
using System.IO;
using System.IO.Compression;

namespace XenDM.Vnc.Clipboard;

/// <summary>
/// The extended clipboard of the RFB community's description ("Extended Clipboard Pseudo-Encoding"): messages of cut text with a negative length, which
/// begin with a word of flags. Of its formats only text is known here: UTF-8, lines that end in CR LF, a zero byte at the end.
/// </summary>
internal static class ExtendedClipboard
{
    /// <summary>The pseudo-encoding.</summary>
    public const int Encoding = unchecked((int)0xc0a1_e5ce);

    /// <summary>A format.</summary>
    public const uint Text = 1;
    private const uint Formats = 0xffff;

    /// <summary>What a message does; that with <see cref="Caps"/> lists what its sender understands.</summary>
    public const uint Caps = 1 << 24, Request = 1 << 25, Peek = 1 << 26, Notify = 1 << 27, Provide = 1 << 28;

    /// <summary>What clients are taken to understand until they say so.</summary>
    public const uint Default = Text | Request | Notify | Provide;

    /// <summary>
    /// What a server says that it understands. Of no format it wants anything unasked: the sizes, which follow for each, are zero.
    /// </summary>
    public const uint Own = Text | Caps | Request | Peek | Notify | Provide;

    public const int FlagsLength = 4;

    /// <summary>How many sizes follow the flags of <see cref="Caps"/>.</summary>
    public static int SizesLength(uint flags) => 4 * System.Numerics.BitOperations.PopCount(flags & Formats);

    /// <param name="text">UTF-8 with lines that end in LF.</param>
    /// <returns>The part of <see cref="Provide"/> behind the flags: a zlib stream of its own with the text's length and the text.</returns>
    public static byte[] Pack(ReadOnlySpan<byte> text)
    {
        var lines = text.Count((byte)'\n');
        var plain = new byte[4 + text.Length + lines + 1];
        BinaryPrimitives.WriteInt32BigEndian(plain, plain.Length - 4);
        var at = 4;
        foreach (var c in text)
        {
            if (c == '\n') plain[at++] = (byte)'\r';
            plain[at++] = c;
        }

        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Fastest)) zlib.Write(plain);
        return packed.ToArray();
    }

    /// <summary>The opposite of <see cref="Pack"/>.</summary>
    /// <param name="limit">Of the text in bytes.</param>
    /// <returns>Null: the text is longer, or no text at all.</returns>
    /// <exception cref="RfbException">It cannot be unpacked.</exception>
    public static byte[]? Unpack(byte[] packed, int limit)
    {
        try
        {
            using var zlib = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
            Span<byte> length = stackalloc byte[4];
            zlib.ReadExactly(length);

            // CR before each LF, and the zero.
            var count = BinaryPrimitives.ReadUInt32BigEndian(length);
            if (count > (2L * limit) + 1) return null;
            var text = new byte[count];
            zlib.ReadExactly(text);
            return Clean(text, limit);
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw new RfbException("sends a clipboard that cannot be unpacked");
        }
    }

    /// <param name="latin">What clients without the extension send (RFC 6143, 7.5.6): ISO 8859-1, lines that end in LF.</param>
    /// <inheritdoc cref="Unpack"/>
    public static byte[]? FromLatin(ReadOnlySpan<byte> latin, int limit) => Clean(System.Text.Encoding.UTF8.GetBytes(System.Text.Encoding.Latin1.GetString(latin)), limit);

    /// <summary>What clients without the extension can take of a text: what is not in ISO 8859-1 becomes a question mark.</summary>
    public static byte[] ToLatin(ReadOnlySpan<byte> text) => System.Text.Encoding.Latin1.GetBytes(System.Text.Encoding.UTF8.GetString(text));

    /// <summary>One form for all: up to the first zero, lines that end in LF alone.</summary>
    private static byte[]? Clean(Span<byte> text, int limit)
    {
        if (text.IndexOf((byte)0) is >= 0 and var end) text = text[..end];
        var length = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n') continue;
            text[length++] = text[i];
        }

        return length > limit ? null : text[..length].ToArray();
    }
}
