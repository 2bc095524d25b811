using System.Collections.Generic;
using XenDM.Core.Memory;

namespace XenDM.PvBackends.Block;

/// <summary>Pages that data goes through where the guest's are not mapped. Made when they are needed, up to a limit.</summary>
internal sealed class PagePool(int maxPages)
{
    public const int PageBytes = 4096;
    private const int SlabPages = 16;

    private readonly List<PinnedBuffer> _slabs = [];
    private readonly Stack<int> _free = new();

    /// <summary>There are or can be made that many.</summary>
    public bool Has(int pages) => _free.Count + maxPages - (_slabs.Count * SlabPages) >= pages;

    /// <summary><see cref="Has"/> said that there is one.</summary>
    public int Take()
    {
        if (_free.Count == 0)
        {
            var first = _slabs.Count * SlabPages;
            _slabs.Add(new PinnedBuffer((SlabPages + 1) * PageBytes));
            for (var page = SlabPages - 1; page >= 0; page--) _free.Push(first + page);
        }

        return _free.Pop();
    }

    public void Release(int page) => _free.Push(page);

    /// <summary>Aligned to its size.</summary>
    public nint Address(int page)
    {
        var slab = _slabs[page / SlabPages].Address;
        return ((slab + PageBytes - 1) & ~(nint)(PageBytes - 1)) + (page % SlabPages * PageBytes);
    }
}
