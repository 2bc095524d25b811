using XenDM.Core.State;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HVM parameters by number (xen/public/hvm/params.h).</summary>
internal enum HvmParameter
{
    CallbackIrq = 0,
    StoreFrame = 1,
    StoreEventChannel = 2,
    Vm86Tss = 15,
    ConsoleFrame = 17,
    ConsoleEventChannel = 18,
    AcpiPortsLocation = 19,
    VmGenerationIdAddress = 34,
    Altp2m = 35,
    X87InstructionPointerWidth = 36,
    Vm86TssSized = 37,
}

/// <summary>What a guest and its builder agreed on, and which of it the guest may read or change.</summary>
internal sealed class HvmParameters : IStateful
{
    private const int Count = 39;

    /// <summary>No longer used: refused in both directions.</summary>
    private const ulong Obsolete = (1ul << 4) | (1ul << 13) | (0x7ful << 20) | (1ul << 30);
    private const ulong Settable = (1ul << 0) | (1ul << 2) | (1ul << 15) | (1ul << 18) | (1ul << 19) | (1ul << 34) | (1ul << 36) | (1ul << 37);
    private const ulong Readable = Settable | (1ul << 1) | (1ul << 17) | (1ul << 35);
    private readonly ulong[] _values = new ulong[Count];

    /// <summary>As the builder sees them.</summary>
    public ulong this[HvmParameter parameter]
    {
        get => _values[(int)parameter];
        set => _values[(int)parameter] = value;
    }

    public void Clear() => System.Array.Clear(_values);

    /// <returns>0, or a negative errno.</returns>
    public long Get(uint index, out ulong value)
    {
        value = 0;
        var result = Check(index, Readable);
        if (result == 0) value = _values[index];
        return result;
    }

    /// <inheritdoc cref="Get"/>
    public long Set(uint index, ulong value)
    {
        var result = Check(index, Settable);
        if (result == 0) _values[index] = value;
        return result;
    }

    public void State(StateVisitor s)
    {
        for (var n = 0; n < Count; n++) s.U64($"{n}", ref _values[n]);
    }

    private static long Check(uint index, ulong allowed)
    {
        if (index >= Count || (Obsolete & (1ul << (int)index)) != 0) return -Errno.EINVAL;
        return (allowed & (1ul << (int)index)) != 0 ? 0 : -Errno.EPERM;
    }
}
