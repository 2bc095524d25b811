using System;
using System.Collections.Generic;
using System.Linq;
using XenDM.Cpu;
using XenDM.Machines;

namespace XenDM.Run;

/// <summary>The embedded machine's vCPUs for the monitor.</summary>
internal sealed class EmbeddedCpus(IReadOnlyList<X86Cpu> cpus) : ICpuView
{
    public string Registers() => string.Concat(cpus.Select(CpuReport.Make));

    public bool TryReadLinear(ulong linear, Span<byte> data) => cpus[0].TryReadLinear(linear, data);

    public string Disassemble(ulong linear, int count) => CpuReport.Disassemble(cpus[0], linear, linear, count);
}
