using System;
using System.Collections.Concurrent;
using XenDM.Core.Hypervisor;
using XenDM.Hypervisor.Embedded.Xen.Grants;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Backends;

/// <summary>
/// Backends' side of the guest's grant table. Pages are the guest's RAM itself and held while they are mapped. Code that the vCPUs decoded from
/// a page that is written is dropped on the machine thread, before they run on and before an event tells of it.
/// </summary>
internal sealed class EmbeddedGrants(GrantTable table, Physmap physmap) : IGrants
{
    /// <summary>Pages that backends have mapped at one time, as many as libxengnttab allows by default.</summary>
    private const int MaxMapped = 1 << 20;
    private const int PageBytes = 4096;

    private readonly ConcurrentQueue<nint> _written = new();
    private int _mapped;

    /// <summary>Drops code from pages that were written. Machine thread.</summary>
    public void DropCode()
    {
        while (_written.TryDequeue(out var page)) physmap.Written(page);
    }

    /// <summary>There are such pages.</summary>
    public bool HasWritten => !_written.IsEmpty;

    public IGrantMapping? TryMap(int domain, ReadOnlySpan<uint> references, bool writable)
    {
        if (domain != table.Domain || references.Length > MaxMapped - _mapped) return null;
        var pages = new GrantedPage[references.Length];
        for (var n = 0; n < pages.Length; n++)
        {
            if (table.Begin(references[n], XenConstants.DomainZero, writable, whole: true, out pages[n]) == GrantStatus.Okay) continue;
            for (var back = 0; back < n; back++) table.End(references[back], writable, pages[back]);
            return null;
        }

        System.Threading.Interlocked.Add(ref _mapped, pages.Length);
        return new Mapping(this, references.ToArray(), pages, writable);
    }

    public void Copy(int domain, Span<GrantCopy> pieces)
    {
        foreach (ref var piece in pieces) piece.Status = (short)(domain == table.Domain ? CopyOne(piece) : GrantStatus.BadDomain);
    }

    private GrantStatus CopyOne(in GrantCopy piece)
    {
        if (piece.Offset + piece.Length > PageBytes) return GrantStatus.BadCopyArgument;
        var status = table.Begin(piece.Reference, XenConstants.DomainZero, piece.ToGuest, whole: false, out var granted);
        if (status != GrantStatus.Okay) return status;
        if (piece.Offset < granted.Offset || piece.Offset + piece.Length > granted.Offset + granted.Bytes)
        {
            status = GrantStatus.GeneralError;
        }
        else
        {
            var page = Physmap.Bytes(granted.Page).Slice(piece.Offset, piece.Length);
            if (piece.ToGuest) HostMemory.CopyFrom(piece.Local, page);
            else HostMemory.CopyTo(page, piece.Local);
            if (piece.ToGuest) _written.Enqueue(granted.Page);
        }

        table.End(piece.Reference, piece.ToGuest, granted);
        return status;
    }

    private sealed class Mapping(EmbeddedGrants owner, uint[] references, GrantedPage[] pages, bool writable) : IGrantMapping
    {
        private bool _isDisposed;

        public int Pages => pages.Length;

        public nint Address(int page) => pages[page].Page;

        public void Read(int offset, Span<byte> destination)
        {
            while (!destination.IsEmpty)
            {
                var from = Physmap.Bytes(pages[offset / PageBytes].Page)[(offset % PageBytes)..];
                var count = Math.Min(from.Length, destination.Length);
                from[..count].CopyTo(destination);
                offset += count;
                destination = destination[count..];
            }
        }

        public void Write(int offset, ReadOnlySpan<byte> source)
        {
            if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
            while (!source.IsEmpty)
            {
                var to = Physmap.Bytes(pages[offset / PageBytes].Page)[(offset % PageBytes)..];
                var count = Math.Min(to.Length, source.Length);
                source[..count].CopyTo(to);
                offset += count;
                source = source[count..];
            }
        }

        public uint ReadIndex(int offset) => HostMemory.ReadAcquire(At(offset));

        public void WriteIndex(int offset, uint value)
        {
            if (!writable) throw new InvalidOperationException("the pages are mapped for reading");
            HostMemory.WriteRelease(At(offset), value);
        }

        private nint At(int offset) => pages[offset / PageBytes].Page + (offset % PageBytes & ~3);

        public void Written(int page) => owner._written.Enqueue(pages[page].Page);

        public void Dispose()
        {
            if (_isDisposed) return;
            _isDisposed = true;
            for (var n = 0; n < pages.Length; n++)
            {
                if (writable) Written(n);
                owner.End(references[n], writable, pages[n]);
            }

            System.Threading.Interlocked.Add(ref owner._mapped, -pages.Length);
        }
    }

    private void End(uint reference, bool writable, in GrantedPage page) => table.End(reference, writable, page);
}
