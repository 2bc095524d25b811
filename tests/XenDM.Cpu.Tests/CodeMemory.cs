using XenDM.Cpu.Fpu;
using XenDM.Interop.Libc;

namespace XenDM.Cpu.Tests;

/// <summary>Code memory for engines under test.</summary>
internal sealed class CodeMemory : ICodeMemory
{
    private readonly ExecutableMemory _memory = new(4 << 20);

    public nint Writable => _memory.Writable;

    public nint Executable => _memory.Executable;

    public int Length => _memory.Length;

    public void Dispose() => _memory.Dispose();
}
