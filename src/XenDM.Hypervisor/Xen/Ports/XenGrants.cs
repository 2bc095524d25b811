using System;
using XenDM.Core.Hypervisor;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen.Ports;

/// <summary>
/// libxengnttab as backends use it. One handle for all devices: the kernel's lists are locked for a moment by a map or unmap only, and copies take
/// no lock at all. Pages stay valid when the guest is gone; the kernel gives them back when they are unmapped or this process ends.
/// </summary>
public sealed class XenGrants : IGrants, IDisposable
{
    private const int PageBytes = XenConstants.PageSize;

    /// <summary>Grants in one call to the kernel, which refuses much more (its parameter gntdev.limit, 64 Ki).</summary>
    private const int MaxPages = 4096;

    /// <summary>Pieces that go to the kernel in one call.</summary>
    private const int Batch = 64;

    private const short StatusGeneralError = -1, StatusBadDomain = -2, StatusBadCopyArgument = -10;

    private readonly XenGrantTable _table = new();

    /// <exception cref="XenException">This process may not use grants.</exception>
    public XenGrants() => _table.SetMaxGrants(1 << 20); // refused by kernels that need no telling

    public IGrantMapping? TryMap(int domain, ReadOnlySpan<uint> references, bool writable)
    {
        if (!IsGuest(domain) || references.Length is 0 or > MaxPages) return null;
        var pages = references.Length;
        return _table.Map((ushort)domain, references, writable, out var address) < 0 ? null : new HostPages(address, pages, writable, at => _table.Unmap(at, pages));
    }

    public IGrantMapping? TryMapRing(int domain, ReadOnlySpan<uint> references, IEventChannel channel)
    {
        // The kernel tells of one page; a ring of several is mapped in one piece.
        if (references.Length != 1 || channel is not IHostChannel { Port: var port }) return TryMap(domain, references, writable: true);
        if (!IsGuest(domain)) return null;
        return _table.MapWithNotice((ushort)domain, references[0], (uint)port, out var address) < 0 ? null : new HostPages(address, 1, writable: true, at => _table.Unmap(at, 1));
    }

    public void Copy(int domain, Span<GrantCopy> pieces)
    {
        Span<GrantCopySegment> segments = stackalloc GrantCopySegment[Batch];
        while (!pieces.IsEmpty)
        {
            var part = pieces[..Math.Min(pieces.Length, Batch)];
            if (IsGuest(domain)) CopyPart((ushort)domain, part, segments);
            else foreach (ref var piece in part) piece.Status = StatusBadDomain;
            pieces = pieces[part.Length..];
        }
    }

    public void Dispose() => _table.Dispose();

    private static bool IsGuest(int domain) => domain is >= 0 and < XenConstants.FirstReservedDomain;

    /// <summary>The kernel refuses the whole call for one piece that crosses a page, so such a piece does not get that far.</summary>
    private void CopyPart(ushort domain, Span<GrantCopy> pieces, Span<GrantCopySegment> segments)
    {
        var count = 0;
        foreach (ref readonly var piece in pieces)
        {
            if (!Fits(piece)) continue;
            ref var segment = ref segments[count++];
            segment = default;
            segment.Length = piece.Length;
            if (piece.ToGuest)
            {
                segment.SourceAddress = piece.Local;
                segment.DestinationReference = piece.Reference;
                segment.DestinationOffset = piece.Offset;
                segment.DestinationDomain = domain;
                segment.Flags = GrantCopySegment.DestinationIsGrant;
            }
            else
            {
                segment.SourceReference = piece.Reference;
                segment.SourceOffset = piece.Offset;
                segment.SourceDomain = domain;
                segment.DestinationAddress = piece.Local;
                segment.Flags = GrantCopySegment.SourceIsGrant;
            }
        }

        var failed = count > 0 && _table.Copy(segments[..count]) < 0;
        var next = 0;
        foreach (ref var piece in pieces) piece.Status = !Fits(piece) ? StatusBadCopyArgument : failed ? StatusGeneralError : segments[next++].Status;
    }

    private static bool Fits(in GrantCopy piece) => piece.Offset + piece.Length <= PageBytes;
}
