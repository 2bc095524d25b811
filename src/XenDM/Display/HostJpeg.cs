using System;
using System.Threading;
using XenDM.Core.Display;
using XenDM.Interop.Jpeg;

namespace XenDM.Display;

/// <summary>JPEG pictures by the host's libturbojpeg.</summary>
internal sealed class HostJpeg : IJpegEncoder
{
    private static int s_isMissingTold;

    private readonly JpegCompressor _compressor = new();

    /// <summary>An encoder, or null where the library is not installed, which is told once. Any thread.</summary>
    public static IJpegEncoder? Open(Action<string> warn)
    {
        try
        {
            return new HostJpeg();
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException or InvalidOperationException)
        {
            if (Interlocked.Exchange(ref s_isMissingTold, 1) == 0) warn("no JPEG, for libturbojpeg.so.0 cannot be used (package libturbojpeg0)");
            return null;
        }
    }

    public ReadOnlySpan<byte> Encode(ReadOnlySpan<uint> pixels, int stride, int width, int height, int quality, JpegSubsampling subsampling) =>
        _compressor.Compress(pixels, stride, width, height, quality, subsampling switch
        {
            JpegSubsampling.None => JpegSampling.Full,
            JpegSubsampling.Half => JpegSampling.Half,
            JpegSubsampling.Quarter => JpegSampling.Quarter,
            _ => JpegSampling.Gray,
        });

    public void Dispose() => _compressor.Dispose();
}
