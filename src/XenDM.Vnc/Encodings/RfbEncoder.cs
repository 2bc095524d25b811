using System;
using System.Buffers;
using System.Buffers.Binary;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// Turns areas of a frame into rectangles of one RFB encoding, for one client: what a client's decoder remembers (zlib streams) lives in the encoder
/// as long as the connection. RFB protocol (RFC 6143 and the community's description), section 7.7. One thread at a time.
/// </summary>
public abstract class RfbEncoder : IDisposable
{
    /// <summary>Bytes of the header before each rectangle: place, size, encoding.</summary>
    public const int HeaderLength = 12;

    /// <summary>The encoding's number, one of <see cref="RfbEncodings"/>.</summary>
    public abstract int Encoding { get; }

    /// <summary>Writes whole rectangles, with their headers, that together cover an area once. What is held in memory does not grow with the area.</summary>
    /// <param name="area">Within the frame; no side is 0.</param>
    /// <returns>How many rectangles were written, 1 or more.</returns>
    public abstract int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }

    /// <summary>Writes the header of a rectangle.</summary>
    public static void WriteHeader(PictureArea area, int encoding, IBufferWriter<byte> output)
    {
        WriteHeader(area, encoding, output.GetSpan(HeaderLength));
        output.Advance(HeaderLength);
    }

    internal static void WriteHeader(PictureArea area, int encoding, Span<byte> to)
    {
        BinaryPrimitives.WriteUInt16BigEndian(to, (ushort)area.X);
        BinaryPrimitives.WriteUInt16BigEndian(to[2..], (ushort)area.Y);
        BinaryPrimitives.WriteUInt16BigEndian(to[4..], (ushort)area.Width);
        BinaryPrimitives.WriteUInt16BigEndian(to[6..], (ushort)area.Height);
        BinaryPrimitives.WriteInt32BigEndian(to[8..], encoding);
    }
}
