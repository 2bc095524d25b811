namespace XenDM.Core.Io;

/// <summary>The three spaces in which a guest reaches a chip.</summary>
public enum IoSpace : byte
{
    /// <summary>The 64 KiB of x86 I/O ports.</summary>
    Port,

    /// <summary>Guest physical memory that is not RAM (MMIO).</summary>
    Memory,

    /// <summary>PCI configuration space; the address is bus/device/function in bits 31:16 and the register in bits 15:0.</summary>
    PciConfig,
}

/// <summary>One access of one width to one address: what a trace, a fuzzer and a counter see.</summary>
public struct IoAccess
{
    public IoSpace Space;

    /// <summary>True for a guest write.</summary>
    public bool IsWrite;

    /// <summary>1, 2, 4 or 8 bytes.</summary>
    public byte Size;

    public ulong Address;

    /// <summary>The value written, or the value that the read returned; bits above <see cref="Size"/> are zero.</summary>
    public ulong Value;

    public readonly override string ToString() =>
        $"{Space} {(IsWrite ? "write" : "read")} {Address:x}/{Size} = {Value:x}";
}
