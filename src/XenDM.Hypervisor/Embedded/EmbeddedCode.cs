using XenDM.Cpu.Fpu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded;

/// <summary>Code memory from the host.</summary>
internal sealed class EmbeddedCode : ICodeMemory
{
    private const int Bytes = 16 << 20;
    private readonly ExecutableMemory _memory = new(Bytes);

    public nint Writable => _memory.Writable;

    public nint Executable => _memory.Executable;

    public int Length => _memory.Length;

    public void Dispose() => _memory.Dispose();
}
