using System;
using System.Linq;
using Xunit.Abstractions;

namespace XenDM.Cpu.Tests.Differential;

public class DifferentialTests(ITestOutputHelper output)
{
    /// <summary>XENDM_CPU_CASES attempts instead of the fixed sample: millions by hand.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void EngineAgreesWithTheHost(int seed)
    {
        var attempts = int.TryParse(Environment.GetEnvironmentVariable("XENDM_CPU_CASES"), out var n) ? n : 300_000;
        using var runner = new DifferentialRunner(seed);
        runner.Run(attempts);
        output.WriteLine($"{runner.Cases} cases of {runner.Covered.Count} instruction forms; refused: {string.Join(", ", runner.Refused.Select(static r => $"{r.Key} {r.Value}"))}");
        foreach (var failure in runner.Failures) output.WriteLine(failure);
        Assert.Empty(runner.Failures);
        Assert.True(runner.Cases > attempts / 20, $"only {runner.Cases} cases");
    }
}
