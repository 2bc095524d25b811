using System;

namespace XenDM.Core.Memory;

/// <summary>
/// A chip's way to guest RAM. It fails while bus mastering is off, and an access that is not RAM never reaches another chip, so that no
/// chip can be made to call itself.
/// </summary>
public sealed class Dma
{
    private readonly IGuestMemory _memory;

    /// <param name="enabled">False for a PCI function, whose command register enables it; true for ISA chips.</param>
    public Dma(IGuestMemory memory, bool enabled)
    {
        _memory = memory;
        Enabled = enabled;
    }

    /// <summary>Bus Master Enable.</summary>
    public bool Enabled { get; set; }

    /// <inheritdoc cref="IGuestMemory.TryRead"/>
    public bool TryRead(ulong gpa, Span<byte> destination)
    {
        if (Enabled) return _memory.TryRead(gpa, destination);
        destination.Fill(0xff);
        return false;
    }

    /// <inheritdoc cref="IGuestMemory.TryWrite"/>
    public bool TryWrite(ulong gpa, ReadOnlySpan<byte> source) => Enabled && _memory.TryWrite(gpa, source);

    /// <inheritdoc cref="IGuestMemory.TryPin"/>
    public bool TryPin(ulong gpa, int length, bool forWrite, out MemoryPin pin)
    {
        if (Enabled) return _memory.TryPin(gpa, length, forWrite, out pin);
        pin = default;
        return false;
    }

    /// <inheritdoc cref="IGuestMemory.Unpin"/>
    public void Unpin(in MemoryPin pin, bool written) => _memory.Unpin(in pin, written);
}
