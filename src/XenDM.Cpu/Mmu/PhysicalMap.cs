using System;
using System.Runtime.InteropServices;

namespace XenDM.Cpu.Mmu;

/// <summary>Which guest physical page is which host page. One a machine; all vCPUs share it. Where nothing is mapped, accesses go to the bus.</summary>
public sealed unsafe class PhysicalMap : IDisposable
{
    public const int PageBits = 12;
    public const ulong PageSize = 1ul << PageBits;

    /// <summary>Bit of an entry: the guest may write the page. ROM lacks it.</summary>
    public const ulong Writable = 1;

    public const ulong FlagBits = PageSize - 1;

    /// <param name="pageCount">Pages that can be mapped, from address 0 on; at most 2^24 (64 GiB).</param>
    public PhysicalMap(ulong pageCount)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pageCount, 1ul << 24);
        PageCount = pageCount;
        // calloc leaves untouched pages of the table to the kernel.
        Pages = (ulong*)NativeMemory.AllocZeroed((nuint)pageCount, sizeof(ulong));
        CodePages = (uint*)NativeMemory.AllocZeroed((nuint)((pageCount + 31) / 32), sizeof(uint));
    }

    public ulong PageCount { get; }

    internal ulong* Pages { get; private set; }

    internal uint* CodePages { get; private set; }

    /// <summary>Called after the map changed; TLBs and decoded code are out of date.</summary>
    public event Action? Changed;

    /// <param name="host">Host address of the first page; page-aligned.</param>
    public void Map(ulong firstPage, ulong pages, nint host, bool writable)
    {
        Check(firstPage, pages);
        for (ulong i = 0; i < pages; i++) Pages[firstPage + i] = ((ulong)host + (i << PageBits)) | (writable ? Writable : 0);
        Changed?.Invoke();
    }

    public void Unmap(ulong firstPage, ulong pages)
    {
        Check(firstPage, pages);
        new Span<ulong>(Pages + firstPage, checked((int)pages)).Clear();
        Changed?.Invoke();
    }

    /// <summary>Host address of a guest physical address, or null.</summary>
    public byte* Find(ulong gpa, out bool writable)
    {
        var page = gpa >> PageBits;
        var entry = page < PageCount ? Pages[page] : 0;
        writable = (entry & Writable) != 0;
        return entry == 0 ? null : (byte*)(entry & ~FlagBits) + (gpa & FlagBits);
    }

    private void Check(ulong firstPage, ulong pages)
    {
        if (firstPage > PageCount || pages > PageCount - firstPage) throw new ArgumentOutOfRangeException(nameof(firstPage));
    }

    public void Dispose()
    {
        NativeMemory.Free(Pages);
        NativeMemory.Free(CodePages);
        Pages = null;
        CodePages = null;
    }
}
