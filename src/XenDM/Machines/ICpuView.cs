using System;

namespace XenDM.Machines;

/// <summary>The vCPUs of a machine whose vCPUs are ours, for people who look into them. Nothing here changes the guest.</summary>
internal interface ICpuView
{
    /// <summary>The registers of all vCPUs and the code that comes next.</summary>
    string Registers();

    /// <summary>Reads through the page tables of the first vCPU.</summary>
    /// <returns>False where nothing is mapped.</returns>
    bool TryReadLinear(ulong linear, Span<byte> data);

    /// <summary>Instructions from a linear address on, in the mode that the first vCPU runs in; a line each.</summary>
    string Disassemble(ulong linear, int count);
}
