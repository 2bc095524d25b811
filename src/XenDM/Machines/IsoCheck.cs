using System;
using System.Buffers.Binary;
using System.IO;

namespace XenDM.Machines;

/// <summary>Looks whether a CD image is whole: a download that broke off boots half way and then fails without a reason that a user could see.</summary>
internal static class IsoCheck
{
    private const int SectorBytes = 2048;

    /// <summary>The primary volume descriptor is sector 16 (ECMA-119, 6.2.1 and 8.4): volume space size at 80, logical block size at 128.</summary>
    private const long DescriptorOffset = 16 * SectorBytes;

    /// <summary>What is wrong with the image, or null. An image without an ISO 9660 descriptor is not judged, only its length.</summary>
    public static string? Fault(string path)
    {
        try
        {
            using var file = File.OpenHandle(path);
            var length = RandomAccess.GetLength(file);
            Span<byte> descriptor = stackalloc byte[132];
            if (RandomAccess.Read(file, descriptor, DescriptorOffset) == descriptor.Length && descriptor[..6].SequenceEqual("\u0001CD001"u8))
            {
                var volume = (long)BinaryPrimitives.ReadUInt32LittleEndian(descriptor[80..]) * BinaryPrimitives.ReadUInt16LittleEndian(descriptor[128..]);
                if (volume > length) return $"CD image '{path}' is truncated: its volume has {volume} bytes, the file {length}";
            }

            return length % SectorBytes == 0 ? null : $"CD image '{path}' does not end at a sector: {length} bytes are not a multiple of {SectorBytes}; the rest is not shown";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            return null;
        }
    }
}
