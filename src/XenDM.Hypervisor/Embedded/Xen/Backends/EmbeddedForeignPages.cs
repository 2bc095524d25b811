using System;
using XenDM.Core.Hypervisor;

namespace XenDM.Hypervisor.Embedded.Xen.Backends;

/// <summary>Pages of the guest's RAM by frame number, as dom0 may map them.</summary>
/// <param name="written">Told of pages that were written.</param>
internal sealed class EmbeddedForeignPages(int guest, Physmap physmap, Action<nint> written) : IForeignPages
{
    /// <summary>256 MiB.</summary>
    private const int MaxPages = 1 << 16;

    public IGrantMapping? TryMap(int domain, ReadOnlySpan<ulong> frames, bool writable)
    {
        if (domain != guest || frames.Length is 0 or > MaxPages) return null;
        var pages = new nint[frames.Length];
        for (var n = 0; n < pages.Length; n++)
        {
            if (physmap.TryHold(frames[n], out pages[n])) continue;
            for (var back = 0; back < n; back++) physmap.Release(pages[back]);
            return null;
        }

        return new Mapping(physmap, pages, writable, written);
    }

    private sealed class Mapping(Physmap physmap, nint[] pages, bool writable, Action<nint> written) : EmbeddedPages(pages, writable, written)
    {
        protected override void Release(int page) => physmap.Release(Address(page));
    }
}
