using System;
using System.Buffers;
using System.Buffers.Binary;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>Encoding 6: the pixels of a rectangle as Raw has them, through one zlib stream for the connection; before them their length.</summary>
public sealed class ZlibEncoder : RfbEncoder
{
    /// <summary>Pixels of a rectangle: what is compressed is held until its length is known.</summary>
    private const int MaxPixels = 65536;
    private const int LengthField = 4;

    private readonly EncoderSettings _settings;
    private readonly byte[] _line = new byte[Frame.MaxWidth * sizeof(uint)];
    private Deflater? _deflater;

    public ZlibEncoder(EncoderSettings settings) => _settings = settings;

    public override int Encoding => RfbEncodings.Zlib;

    public override int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output)
    {
        // The stream lasts as long as the connection, and with it the level that the client asked for first.
        _deflater ??= new Deflater(_settings.ZlibLevel);
        var lines = Math.Max(MaxPixels / area.Width, 1);
        var count = 0;
        for (int y = area.Y, end = area.Y + area.Height; y < end; y += lines, count++)
        {
            var part = area with { Y = y, Height = Math.Min(lines, end - y) };
            for (var line = y; line < y + part.Height; line++)
            {
                var length = format.Full.Convert(frame.Line(line).Slice(area.X, area.Width), _line);
                _deflater.Write(_line.AsSpan(0, length));
            }

            var data = _deflater.Flush();
            WriteHeader(part, Encoding, output);
            BinaryPrimitives.WriteInt32BigEndian(output.GetSpan(LengthField), data.Length);
            output.Advance(LengthField);
            output.Write(data);
        }

        return count;
    }

    protected override void Dispose(bool disposing)
    {
        _deflater?.Dispose();
        base.Dispose(disposing);
    }
}
