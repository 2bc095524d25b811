using System.IO;
using System.Linq;

namespace XenDM.Cpu.Tests;

public sealed class CpuFeaturesTests
{
    /// <summary>The kernel of this host knows too, and it does not matter how this program was compiled.</summary>
    [Fact]
    public void HostHasAvx_AgreesWithTheKernel()
    {
        var flags = File.ReadLines("/proc/cpuinfo").First(static line => line.StartsWith("flags", System.StringComparison.Ordinal)).Split(' ');
        string[] needed = ["avx", "avx2", "fma", "f16c", "bmi1", "bmi2"];
        Assert.Equal(needed.All(flags.Contains), CpuFeatures.HostHasAvx());
    }
}
