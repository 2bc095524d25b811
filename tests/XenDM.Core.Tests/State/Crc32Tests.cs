using System;
using XenDM.Core.State;

namespace XenDM.Core.Tests.State;

public sealed class Crc32Tests
{
    /// <summary>The check value that catalogues give for it.</summary>
    [Fact]
    public void OfTheNineDigits() => Assert.Equal(0xcbf4_3926u, Crc32.Compute("123456789"u8));

    /// <summary>Bit by bit, as IEEE 802.3 says it, at every length and for data in two parts.</summary>
    [Fact]
    public void OfAnyLength()
    {
        var data = new byte[100];
        new Random(1).NextBytes(data);
        for (var length = 0; length <= data.Length; length++)
        {
            var expected = uint.MaxValue;
            foreach (var b in data.AsSpan(0, length))
            {
                expected ^= b;
                for (var bit = 0; bit < 8; bit++) expected = (expected & 1) != 0 ? (expected >> 1) ^ 0xedb8_8320 : expected >> 1;
            }

            var cut = length / 3;
            Assert.Equal(~expected, Crc32.Compute(data.AsSpan(0, length)));
            Assert.Equal(~expected, Crc32.Compute(data.AsSpan(cut, length - cut), Crc32.Compute(data.AsSpan(0, cut))));
        }
    }
}
