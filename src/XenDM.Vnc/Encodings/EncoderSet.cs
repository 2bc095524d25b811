using System;
using System.Buffers;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// The encoders of one client, and what it asked for in SetEncodings. The encoders live as long as the connection, for a client may change its mind
/// and come back to a zlib stream where it left it. One thread at a time.
/// </summary>
public sealed class EncoderSet : IDisposable
{
    private readonly RawEncoder _raw = new();
    private HextileEncoder? _hextile;
    private ZlibEncoder? _zlib;
    private ZrleEncoder? _zrle;
    private TightEncoder? _tight;

    /// <param name="jpeg">Makes an encoder of JPEG pictures for this client, or null when there is none; asked once, when first needed. Null: no JPEG.</param>
    public EncoderSet(Func<IJpegEncoder?>? jpeg = null)
    {
        Settings = new EncoderSettings(jpeg);
        Current = _raw;
    }

    /// <summary>What the client asked for.</summary>
    public EncoderSettings Settings { get; }

    /// <summary>The encoder for the next update: the first of the client's list that we have, else Raw.</summary>
    public RfbEncoder Current { get; private set; }

    /// <summary>The client knows CopyRect.</summary>
    public bool HasCopyRect { get; private set; }

    /// <summary>The client's wishes replace those before.</summary>
    /// <param name="encodings">In the order of SetEncodings, the best one first; numbers that are not known are passed over.</param>
    public void Select(ReadOnlySpan<int> encodings)
    {
        RfbEncoder? chosen = null;
        HasCopyRect = false;
        Settings.Clear();
        foreach (var encoding in encodings)
        {
            if (encoding == RfbEncodings.CopyRect) HasCopyRect = true;
            else if (!Settings.Take(encoding)) chosen ??= Find(encoding);
        }

        Current = chosen ?? _raw;
    }

    /// <summary>Encodes with <see cref="Current"/>.</summary>
    /// <inheritdoc cref="RfbEncoder.Encode"/>
    public int Encode(Frame frame, PictureArea area, ClientFormat format, IBufferWriter<byte> output) => Current.Encode(frame, area, format, output);

    public void Dispose()
    {
        _raw.Dispose();
        _hextile?.Dispose();
        _zlib?.Dispose();
        _zrle?.Dispose();
        _tight?.Dispose();
        Settings.Dispose();
    }

    private RfbEncoder? Find(int encoding) => encoding switch
    {
        RfbEncodings.Raw => _raw,
        RfbEncodings.Hextile => _hextile ??= new HextileEncoder(),
        RfbEncodings.Zlib => _zlib ??= new ZlibEncoder(Settings),
        RfbEncodings.Zrle => _zrle ??= new ZrleEncoder(Settings),
        RfbEncodings.Tight => _tight ??= new TightEncoder(Settings),
        _ => null,
    };
}
