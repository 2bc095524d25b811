using System;
using XenDM.Core.Hypervisor;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>A guest's pages that lie side by side here.</summary>
/// <param name="unmap">Given the address.</param>
internal sealed class HostPages(nint address, int pages, bool writable, Action<nint> unmap) : IGrantMapping
{
    private const int PageBytes = XenConstants.PageSize;

    private nint _address = address;

    public int Pages => pages;

    public nint Address(int page) => At(page * PageBytes, PageBytes);

    public void Read(int offset, Span<byte> destination) => HostMemory.CopyFrom(At(offset, destination.Length), destination);

    public void Write(int offset, ReadOnlySpan<byte> source)
    {
        CheckWritable();
        HostMemory.CopyTo(source, At(offset, source.Length));
    }

    public uint ReadIndex(int offset) => HostMemory.ReadAcquire(At(offset & ~3, sizeof(uint)));

    public void WriteIndex(int offset, uint value)
    {
        CheckWritable();
        HostMemory.WriteRelease(At(offset & ~3, sizeof(uint)), value);
    }

    /// <summary>The guest sees its own memory.</summary>
    public void Written(int page)
    {
    }

    public void Dispose()
    {
        if (_address == 0) return;
        unmap(_address);
        _address = 0;
    }

    private void CheckWritable()
    {
        if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
    }

    /// <summary>An address outside would be somebody else's memory, and one after the end nobody's.</summary>
    private nint At(int offset, int length)
    {
        ObjectDisposedException.ThrowIf(_address == 0, this);
        if ((uint)offset > (uint)(pages * PageBytes) || (uint)length > (uint)(pages * PageBytes) - (uint)offset) throw new ArgumentOutOfRangeException(nameof(offset));
        return _address + offset;
    }
}
