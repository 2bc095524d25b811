namespace XenDM.Vnc.Encodings;

/// <summary>Numbers of the RFB protocol's encodings of pictures, as a client lists them in SetEncodings.</summary>
public static class RfbEncodings
{
    public const int Raw = 0;
    public const int CopyRect = 1;
    public const int Hextile = 5;
    public const int Zlib = 6;
    public const int Tight = 7;
    public const int Zrle = 16;
    public const int TightPng = -260;

    /// <summary>JPEG quality from the first, worst, to the last, best.</summary>
    public const int QualityFirst = -32, QualityLast = -23;

    /// <summary>JPEG quality as the JPEG library counts, 0 to 100.</summary>
    public const int FineQualityFirst = -512, FineQualityLast = -412;

    /// <summary>JPEG subsampling: 1x, 4x, 2x, gray, 8x, 16x.</summary>
    public const int SubsamplingFirst = -768, SubsamplingLast = -763;

    /// <summary>Effort in compressing: 0, the least, to 9.</summary>
    public const int CompressLevelFirst = -256, CompressLevelLast = -247;
}
