using System;
using System.IO;
using System.Runtime.InteropServices;
using XenDM.Interop.Jpeg;
using XenDM.Testing;

namespace XenDM.Interop.Tests.Jpeg;

/// <summary>Pictures go through the compressor and the library's own decompressor.</summary>
public class JpegCompressorTests
{
    private const string Library = TestHost.Libraries + "libturbojpeg.so.0";

    [HostTheory(Library)]
    [InlineData(64, 64, 95, JpegSampling.Full, 6)]
    [InlineData(203, 77, 80, JpegSampling.Half, 14)]
    [InlineData(1, 1, 90, JpegSampling.Quarter, 14)]
    [InlineData(640, 96, 50, JpegSampling.Quarter, 24)]
    [InlineData(33, 9, 100, JpegSampling.Full, 4)]
    public void WhatComesBackIsCloseToWhatWasCompressed(int width, int height, int quality, JpegSampling sampling, int bound)
    {
        var stride = width + 5;
        var pixels = new uint[stride * height];
        for (var i = 0; i < pixels.Length; i++)
        {
            int x = i % stride, y = i / stride;
            pixels[i] = x >= width ? 0xff00ffu : ((uint)(x * 160 / stride) << 16) | ((uint)(y * 160 / height) << 8) | (uint)((x + y) * 120 / (stride + height));
        }

        using var compressor = new JpegCompressor();
        for (var n = 0; n < 2; n++)
        {
            var jpeg = compressor.Compress(pixels, stride, width, height, quality, sampling).ToArray();
            var decoded = Decode(jpeg, width, height);
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    for (var shift = 0; shift < 24; shift += 8)
                        Assert.InRange((byte)(decoded[(y * width) + x] >> shift) - (byte)(pixels[(y * stride) + x] >> shift), -bound, bound);
                }
            }
        }
    }

    [HostFact(Library)]
    public void GrayHasNoColour()
    {
        using var compressor = new JpegCompressor();
        var pixels = new uint[256];
        Array.Fill(pixels, 0xff0000u);
        foreach (var pixel in Decode(compressor.Compress(pixels, 16, 16, 16, 90, JpegSampling.Gray).ToArray(), 16, 16))
            Assert.InRange(Math.Abs((byte)pixel - (byte)(pixel >> 16)), 0, 2);
    }

    [HostFact(Library)]
    public void PicturesThatAreNotThereAreRefused()
    {
        using var compressor = new JpegCompressor();
        Assert.Throws<ArgumentException>(() => compressor.Compress(new uint[15], 4, 4, 4, 90, JpegSampling.Full));
        Assert.Throws<ArgumentException>(() => compressor.Compress(new uint[16], 3, 4, 4, 90, JpegSampling.Full));
        Assert.Throws<ArgumentException>(() => compressor.Compress(new uint[16], 4, 0, 4, 90, JpegSampling.Full));
    }

    /// <summary>A file that is no library comes first in the search path and stops the loader, as a missing one does.</summary>
    [Fact]
    public void AMissingLibraryIsNamed()
    {
        using var folder = new TempFolder();
        File.WriteAllText(folder.File("libturbojpeg.so.0"), "");
        Assert.Contains("libturbojpeg.so.0", ChildProcess.Run("open", ["jpeg"], folder.File("")), StringComparison.Ordinal);
    }

    private static uint[] Decode(byte[] jpeg, int width, int height)
    {
        var handle = tjInitDecompress();
        try
        {
            Assert.Equal(0, tjDecompressHeader3(handle, jpeg, (nuint)jpeg.Length, out var w, out var h, out _, out _));
            Assert.Equal((width, height), (w, h));
            var pixels = new uint[width * height];
            Assert.Equal(0, tjDecompress2(handle, jpeg, (nuint)jpeg.Length, pixels, width, width * 4, height, 3, 0));
            return pixels;
        }
        finally
        {
            tjDestroy(handle);
        }
    }

    [DllImport("libturbojpeg.so.0")]
    private static extern nint tjInitDecompress();

    [DllImport("libturbojpeg.so.0")]
    private static extern int tjDecompressHeader3(nint handle, byte[] jpeg, nuint length, out int width, out int height, out int sampling, out int colours);

    [DllImport("libturbojpeg.so.0")]
    private static extern int tjDecompress2(nint handle, byte[] jpeg, nuint length, uint[] pixels, int width, int pitch, int height, int format, int flags);

    [DllImport("libturbojpeg.so.0")]
    private static extern int tjDestroy(nint handle);
}
