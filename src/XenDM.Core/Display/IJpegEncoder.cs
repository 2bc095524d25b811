using System;

namespace XenDM.Core.Display;

/// <summary>How a JPEG picture keeps its colours.</summary>
public enum JpegSubsampling
{
    /// <summary>Colour for each pixel.</summary>
    None,

    /// <summary>Colour for two pixels of a line.</summary>
    Half,

    /// <summary>Colour for 2 x 2 pixels.</summary>
    Quarter,

    /// <summary>No colour.</summary>
    Gray,
}

/// <summary>Makes JPEG pictures. One thread at a time.</summary>
public interface IJpegEncoder : IDisposable
{
    /// <summary>Compresses a part of a picture.</summary>
    /// <param name="pixels">As those of a <see cref="Frame"/>; the first one is the left upper corner.</param>
    /// <param name="stride">Pixels from one line to the next, at least <paramref name="width"/>.</param>
    /// <param name="width">1 to <see cref="Frame.MaxWidth"/>.</param>
    /// <param name="height">1 to <see cref="Frame.MaxHeight"/>; <paramref name="pixels"/> holds all of its lines.</param>
    /// <param name="quality">1 to 100.</param>
    /// <returns>The picture, valid until the next call; empty when it cannot be made.</returns>
    ReadOnlySpan<byte> Encode(ReadOnlySpan<uint> pixels, int stride, int width, int height, int quality, JpegSubsampling subsampling);
}
