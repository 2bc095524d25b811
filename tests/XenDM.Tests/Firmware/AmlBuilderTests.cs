using System;
using System.Linq;
using static XenDM.Machines.Firmware.AmlBuilder;

namespace XenDM.Tests.Firmware;

public class AmlBuilderTests
{
    [Theory]
    [InlineData(0ul, "00")]
    [InlineData(1ul, "01")]
    [InlineData(2ul, "0A02")]
    [InlineData(0x1234ul, "0B3412")]
    [InlineData(0x12345678ul, "0C78563412")]
    [InlineData(0x1_0000_0000ul, "0E0000000001000000")]
    public void IntegersAreShort(ulong value, string expected) => Assert.Equal(expected, Convert.ToHexString(Integer(value)));

    [Theory]
    [InlineData("PIC", "5049435F")]
    [InlineData(@"\_SB", "5C5F53425F")]
    [InlineData("^PRQA", "5E50525141")]
    [InlineData(@"\_SB.PCI0", "5C2E5F53425F50434930")]
    [InlineData("A.B.C", "2F03415F5F5F425F5F5F435F5F5F")]
    [InlineData(@"\", "5C00")]
    public void NamesAreFilledUp(string name, string expected) => Assert.Equal(expected, Convert.ToHexString(Path(name)));

    [Theory]
    [InlineData("TOOLONG")]
    [InlineData("1ABC")]
    [InlineData("lower")]
    [InlineData("A..B")]
    public void WrongNamesAreRefused(string name) => Assert.Throws<ArgumentException>(() => Path(name));

    [Fact]
    public void EisaIdsAreBigEndian()
    {
        Assert.Equal("0C41D00A03", Convert.ToHexString(EisaId("PNP0A03")));
        Assert.Throws<ArgumentException>(() => EisaId("PNP03"));
    }

    /// <summary>The length counts its own bytes: the steps are at 63, 4095 and 1048575.</summary>
    [Theory]
    [InlineData(58, 1)]
    [InlineData(59, 2)]
    [InlineData(4089, 2)]
    [InlineData(4090, 3)]
    [InlineData(1_048_568, 3)]
    [InlineData(1_048_569, 4)]
    public void PackageLengthsCountThemselves(int contentBytes, int lengthBytes)
    {
        var scope = Scope("ABCD", new byte[contentBytes]);
        Assert.Equal(1 + lengthBytes + 4 + contentBytes, scope.Length);
        Assert.Equal(lengthBytes - 1, scope[1] >> 6);
        var length = lengthBytes == 1 ? scope[1] : (scope[1] & 15) | Enumerable.Range(0, lengthBytes - 1).Sum(i => scope[2 + i] << (4 + (8 * i)));
        Assert.Equal(scope.Length - 1, length);
    }

    [Fact]
    public void ATemplateEndsWithItsTag() => Assert.Equal("11080A0522044079" + "00", Convert.ToHexString(Resources([0x22, 0x04, 0x40])));
}
