using System;
using XenDM.Core.Display;

namespace XenDM.Vnc.Encodings;

/// <summary>What a client wishes of its encoders besides the encoding.</summary>
public sealed class EncoderSettings : IDisposable
{
    /// <summary>JPEG quality of the lowest of the ten levels, and what each one adds.</summary>
    private const int LowestQuality = 14, QualityStep = 9;

    private const int DefaultLevel = 5;

    private readonly Func<IJpegEncoder?>? _makeJpeg;
    private IJpegEncoder? _jpeg;
    private bool _isJpegAsked;
    private bool _isSubsamplingSet, _isFine;

    public EncoderSettings(Func<IJpegEncoder?>? jpeg = null) => _makeJpeg = jpeg;

    /// <summary>Effort in compressing, 0 to 9; null when the client leaves it to us.</summary>
    public int? CompressLevel { get; set; }

    /// <summary>JPEG quality, 1 to 100; null when the client wants no JPEG.</summary>
    public int? Quality { get; set; }

    public JpegSubsampling Subsampling { get; set; }

    /// <summary>The server may send what is not exactly the picture when the client asks for it.</summary>
    public bool IsLossyAllowed { get; set; } = true;

    /// <summary>
    /// Clients that list the tight encoding with PNG run in browsers, and not all of these know the gradient filter of the tight encoding; others do.
    /// </summary>
    internal bool IsGradientAllowed { get; set; } = true;

    /// <summary>The level for zlib, 1 to 9.</summary>
    internal int ZlibLevel => Math.Max(CompressLevel ?? DefaultLevel, 1);

    /// <summary>Null when JPEG is not asked for, not allowed, or not to be had.</summary>
    internal IJpegEncoder? Jpeg
    {
        get
        {
            if (Quality is null || !IsLossyAllowed) return null;
            if (!_isJpegAsked) (_isJpegAsked, _jpeg) = (true, _makeJpeg?.Invoke());
            return _jpeg;
        }
    }

    public void Dispose()
    {
        _jpeg?.Dispose();
        _jpeg = null;
    }

    internal void Clear()
    {
        (CompressLevel, Quality) = (null, null);
        Subsampling = JpegSubsampling.None;
        _isSubsamplingSet = _isFine = false;
        IsGradientAllowed = true;
    }

    /// <returns>False when a number in SetEncodings is no wish.</returns>
    internal bool Take(int encoding)
    {
        switch (encoding)
        {
            case >= RfbEncodings.CompressLevelFirst and <= RfbEncodings.CompressLevelLast:
                CompressLevel = encoding - RfbEncodings.CompressLevelFirst;
                return true;
            case >= RfbEncodings.QualityFirst and <= RfbEncodings.QualityLast:
                // The fine quality of a client that sends both is the better knowledge.
                if (_isFine) return true;
                var level = encoding - RfbEncodings.QualityFirst;
                Quality = LowestQuality + (QualityStep * level);
                if (!_isSubsamplingSet) Subsampling = level switch { >= 8 => JpegSubsampling.None, >= 5 => JpegSubsampling.Half, _ => JpegSubsampling.Quarter };
                return true;
            case >= RfbEncodings.FineQualityFirst and <= RfbEncodings.FineQualityLast:
                Quality = Math.Max(encoding - RfbEncodings.FineQualityFirst, 1);
                _isFine = true;
                return true;
            case >= RfbEncodings.SubsamplingFirst and <= RfbEncodings.SubsamplingLast:
                Subsampling = (encoding - RfbEncodings.SubsamplingFirst) switch
                {
                    0 => JpegSubsampling.None,
                    2 => JpegSubsampling.Half,
                    3 => JpegSubsampling.Gray,
                    _ => JpegSubsampling.Quarter,
                };
                _isSubsamplingSet = true;
                return true;
            case RfbEncodings.TightPng:
                IsGradientAllowed = false;
                return true;
            default:
                return false;
        }
    }
}
