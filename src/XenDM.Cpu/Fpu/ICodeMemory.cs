using System;

namespace XenDM.Cpu.Fpu;

/// <summary>Memory for machine code: written through one address, run through the other.</summary>
public interface ICodeMemory : IDisposable
{
    nint Writable { get; }

    nint Executable { get; }

    /// <summary>Bytes.</summary>
    int Length { get; }
}
