using System;
using System.Buffers.Binary;
using System.IO;
using XenDM.Machines;

namespace XenDM.Tests;

public sealed class IsoCheckTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Theory]
    [InlineData(20, 20 * 2048, null)]
    [InlineData(20, 22 * 2048, null)]
    [InlineData(20, 19 * 2048, "truncated")]
    [InlineData(20, 20 * 2048 + 5, "multiple of 2048")]
    public void Volume_LongerThanTheFile_IsNamed(int sectors, int length, string? fault)
    {
        var image = new byte[length];
        image[16 * 2048] = 1;
        "CD001"u8.CopyTo(image.AsSpan(16 * 2048 + 1));
        BinaryPrimitives.WriteInt32LittleEndian(image.AsSpan(16 * 2048 + 80), sectors);
        BinaryPrimitives.WriteInt16LittleEndian(image.AsSpan(16 * 2048 + 128), 2048);
        File.WriteAllBytes(_path, image);
        Check(fault);
    }

    [Theory]
    [InlineData(0, null)]
    [InlineData(4096, null)]
    [InlineData(1000, "multiple of 2048")]
    public void OtherImages_AreJudgedByTheirLength(int length, string? fault)
    {
        File.WriteAllBytes(_path, new byte[length]);
        Check(fault);
    }

    private void Check(string? fault)
    {
        var found = IsoCheck.Fault(_path);
        if (fault is null) Assert.Null(found);
        else Assert.Contains(fault, found, StringComparison.Ordinal);
    }
}
