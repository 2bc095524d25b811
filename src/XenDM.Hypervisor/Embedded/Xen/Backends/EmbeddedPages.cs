using System;
using XenDM.Core.Hypervisor;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Backends;

/// <summary>Pages of the guest's RAM that a backend has mapped: they are held, and lie where they are.</summary>
/// <param name="written">Told of pages that were written.</param>
internal abstract class EmbeddedPages(nint[] pages, bool writable, Action<nint> written) : IGrantMapping
{
    private const int PageBytes = 4096;

    private bool _isDisposed;

    public int Pages => pages.Length;

    protected bool IsWritable => writable;

    public nint Address(int page) => pages[page];

    public void Read(int offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var from = Physmap.Bytes(pages[offset / PageBytes])[(offset % PageBytes)..];
            var count = Math.Min(from.Length, destination.Length);
            from[..count].CopyTo(destination);
            offset += count;
            destination = destination[count..];
        }
    }

    public void Write(int offset, ReadOnlySpan<byte> source)
    {
        CheckWritable();
        while (!source.IsEmpty)
        {
            var to = Physmap.Bytes(pages[offset / PageBytes])[(offset % PageBytes)..];
            var count = Math.Min(to.Length, source.Length);
            source[..count].CopyTo(to);
            offset += count;
            source = source[count..];
        }
    }

    public uint ReadIndex(int offset) => HostMemory.ReadAcquire(At(offset));

    public void WriteIndex(int offset, uint value)
    {
        CheckWritable();
        HostMemory.WriteRelease(At(offset), value);
    }

    public void Written(int page) => written(pages[page]);

    public void Dispose()
    {
        if (_isDisposed) return;
        _isDisposed = true;
        for (var n = 0; n < pages.Length; n++)
        {
            if (writable) Written(n);
            Release(n);
        }
    }

    /// <summary>A page is held no longer.</summary>
    protected abstract void Release(int page);

    private void CheckWritable()
    {
        if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
    }

    private nint At(int offset) => pages[offset / PageBytes] + (offset % PageBytes & ~3);
}
