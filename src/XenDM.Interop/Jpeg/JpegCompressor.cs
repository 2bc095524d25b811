using System;
using System.Runtime.InteropServices;

namespace XenDM.Interop.Jpeg;

/// <summary>TJSAMP_*.</summary>
public enum JpegSampling
{
    Full = 0,
    Half = 1,
    Quarter = 2,
    Gray = 3,
}

/// <summary>A compressor of libturbojpeg (libjpeg-turbo's own interface, version 1.2 and later). One thread at a time.</summary>
public sealed unsafe partial class JpegCompressor : SafeHandle
{
    private const string Library = "libturbojpeg.so.0";

    // TJPF_BGRX, TJFLAG_NOREALLOC.
    private const int PixelFormat = 3;
    private const int NoRealloc = 1024;

    private byte[] _picture = [];

    /// <exception cref="DllNotFoundException">The library is not installed.</exception>
    /// <exception cref="EntryPointNotFoundException">It is another library of that name.</exception>
    /// <exception cref="InvalidOperationException">It has no memory.</exception>
    public JpegCompressor()
        : base(0, ownsHandle: true)
    {
        SetHandle(tjInitCompress());
        if (IsInvalid) throw new InvalidOperationException("libturbojpeg has no memory");
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Compresses pixels whose bytes are blue, green, red, any.</summary>
    /// <param name="stride">Pixels from one line to the next.</param>
    /// <param name="quality">1 to 100.</param>
    /// <returns>The JPEG picture, valid until the next call; empty when the library refuses.</returns>
    /// <exception cref="ArgumentException">The pixels do not hold all lines, or a side is not 1 to 65500.</exception>
    public ReadOnlySpan<byte> Compress(ReadOnlySpan<uint> pixels, int stride, int width, int height, int quality, JpegSampling sampling)
    {
        const int MaxSide = 65500;
        if (width is < 1 or > MaxSide || height is < 1 or > MaxSide || stride < width || pixels.Length < ((long)stride * (height - 1)) + width)
            throw new ArgumentException("a picture of these sides is not there", nameof(pixels));
        var room = tjBufSize(width, height, (int)sampling);
        if (room > (nuint)Array.MaxLength) return [];
        if (_picture.Length < (int)room) _picture = new byte[(int)room];
        fixed (uint* from = pixels)
        fixed (byte* to = _picture)
        {
            var picture = to;
            var length = (nuint)_picture.Length;
            var failed = tjCompress2(handle, (byte*)from, width, stride * sizeof(uint), height, PixelFormat, &picture, &length, (int)sampling, quality, NoRealloc) != 0;
            return failed ? [] : _picture.AsSpan(0, (int)length);
        }
    }

    protected override bool ReleaseHandle() => tjDestroy(handle) == 0;

    [LibraryImport(Library)]
    private static partial nint tjInitCompress();

    [LibraryImport(Library)]
    private static partial int tjDestroy(nint handle);

    [LibraryImport(Library)]
    private static partial nuint tjBufSize(int width, int height, int sampling);

    [LibraryImport(Library)]
    private static partial int tjCompress2(nint handle, byte* pixels, int width, int pitch, int height, int format, byte** picture, nuint* length, int sampling, int quality, int flags);
}
