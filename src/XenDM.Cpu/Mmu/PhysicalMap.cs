using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace XenDM.Cpu.Mmu;

/// <summary>Which guest physical page is which host page. One a machine; all vCPUs share it. Where nothing is mapped, accesses go to the bus.</summary>
public sealed unsafe class PhysicalMap : IDisposable
{
    public const int PageBits = 12;
    public const ulong PageSize = 1ul << PageBits;

    /// <summary>Bit of an entry: the guest may write the page. ROM lacks it.</summary>
    public const ulong Writable = 1;

    /// <summary>Bit of an entry: the first write to the page is to be told (<see cref="WatchWrites"/>).</summary>
    public const ulong Watched = 2;

    public const ulong FlagBits = PageSize - 1;

    private ulong _watchFirst, _watchPages;
    private ulong[] _written = [];

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

    /// <summary>Called when the vCPUs have to see writes to the watched pages again.</summary>
    internal event Action<ulong, ulong>? Watching;

    /// <summary>Called when a vCPU writes a watched page for the first time since it was asked for.</summary>
    public Action? Touched { get; set; }

    /// <summary>
    /// Takes note of writes to pages from now on; one stretch at a time, and none for no pages. All count as written. Mapping pages anew ends it
    /// for them.
    /// </summary>
    public void WatchWrites(ulong firstPage, ulong pages)
    {
        Check(firstPage, pages);
        for (ulong i = 0; i < _watchPages; i++) Pages[_watchFirst + i] &= ~Watched;
        (_watchFirst, _watchPages) = (firstPage, pages);
        _written = pages > 0 ? new ulong[(pages + 63) / 64] : [];
        _written.AsSpan().Fill(ulong.MaxValue);
    }

    /// <summary>Adds the watched pages of a stretch that were written since they were asked for.</summary>
    /// <param name="first">Page of the watched stretch.</param>
    /// <param name="bits">Bit n of word n / 64 is that of page n from <paramref name="first"/> on.</param>
    public void TakeWritten(ulong first, ulong pages, Span<ulong> bits)
    {
        if (first > _watchPages || pages > _watchPages - first) throw new ArgumentOutOfRangeException(nameof(first));
        var any = false;
        for (ulong n = 0; n < pages; n++)
        {
            var page = first + n;
            ref var word = ref _written[page / 64];
            if (word == 0 && page % 64 == 0)
            {
                n += 63;
                continue;
            }

            if ((word >> (int)(page % 64) & 1) == 0) continue;
            Interlocked.And(ref word, ~(1ul << (int)(page % 64)));
            bits[(int)(n / 64)] |= 1ul << (int)(n % 64);
            if (Pages[_watchFirst + page] != 0) Pages[_watchFirst + page] |= Watched;
            any = true;
        }

        if (any) Watching?.Invoke(_watchFirst + first, pages);
    }

    /// <summary>Memory was written past the vCPUs. Any thread.</summary>
    public void NoteWrite(ulong gpa, int bytes)
    {
        if (_watchPages == 0 || bytes <= 0) return;
        for (ulong page = gpa >> PageBits, last = (gpa + (ulong)bytes - 1) >> PageBits; page <= last; page++) Mark(page);
    }

    /// <summary>A vCPU is about to write a page whose entry has <see cref="Watched"/>.</summary>
    internal void Touch(ulong page)
    {
        Pages[page] &= ~Watched;
        Mark(page);
        Touched?.Invoke();
    }

    private void Mark(ulong page)
    {
        var at = page - _watchFirst;
        if (at < _watchPages) Interlocked.Or(ref _written[at / 64], 1ul << (int)(at % 64));
    }

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
