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

    /// <summary>A page was written from outside. Any thread.</summary>
    public void Written(nint page) => _written.Enqueue(page);

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

    private sealed class Mapping(EmbeddedGrants owner, uint[] references, GrantedPage[] pages, bool writable) : EmbeddedPages(Array.ConvertAll(pages, static p => p.Page), writable, owner.Written)
    {
        protected override void Release(int page)
        {
            owner.End(references[page], IsWritable, pages[page]);
            System.Threading.Interlocked.Decrement(ref owner._mapped);
        }
    }

    private void End(uint reference, bool writable, in GrantedPage page) => table.End(reference, writable, page);
}
