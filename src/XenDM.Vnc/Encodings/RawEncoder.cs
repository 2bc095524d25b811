using System.Buffers;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>Encoding 0 (RFC 6143, 7.7.1): the pixels, line by line, in the client's format.</summary>
public sealed class RawEncoder : RfbEncoder
{
    public override int Encoding => RfbEncodings.Raw;

    public override int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output)
    {
        WriteHeader(area, Encoding, output);
        var length = area.Width * format.BytesPerPixel;
        for (var y = area.Y; y < area.Y + area.Height; y++)
        {
            format.Convert(frame.Line(y).Slice(area.X, area.Width), output.GetSpan(length));
            output.Advance(length);
        }

        return 1;
    }
}
