using System;
using System.Collections.Generic;
using XenDM.Core.Memory;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Xen;

/// <summary>Maps guest pages into this process. On Xen this is libxenforeignmemory; a test gives its own.</summary>
public interface IForeignMapper
{
    /// <summary>Maps <paramref name="errors"/>.Length consecutive guest pages for reading and writing.</summary>
    /// <param name="errors">Per page 0, or an errno for a page that is no RAM.</param>
    /// <returns>Host address, or 0 when nothing could be mapped.</returns>
    nint Map(ulong firstPage, Span<int> errors);

    void Unmap(nint address, int pages);

    /// <summary>Tells the hypervisor that a device wrote guest pages (XEN_DMOP_modified_memory).</summary>
    void Modified(ulong firstPage, uint pages);
}

/// <summary>
/// Guest RAM of a Xen domain: buckets of 1 MiB are mapped when first used and unmapped when others need their place. Pinned buckets stay until
/// the last pin is gone. When Xen says that the guest's memory map changed (INVALIDATE), every bucket is mapped anew on its next use.
/// </summary>
public sealed class MapCache : IGuestMemory, IDisposable
{
    public const int BucketShift = 20;
    public const int BucketBytes = 1 << BucketShift;
    private const int PageShift = 12;
    private const int PageBytes = 1 << PageShift;
    private const int BucketPages = BucketBytes / PageBytes;
    private const int NoBucket = -1;

    private readonly IForeignMapper _mapper;
    private readonly Bucket[] _buckets;
    private readonly Dictionary<ulong, int> _byNumber;
    private readonly int[] _errors = new int[BucketPages];
    private readonly List<(ulong First, ulong End)> _readOnly = [];
    private int _lastHit = NoBucket;
    private uint _use;

    private struct Bucket
    {
        public nint Address;
        public ulong Number;
        public uint LastUse;
        public int Pins;

        /// <summary>Invalidated while pinned: no longer found, unmapped with the last pin.</summary>
        public bool Stale;

        /// <summary>A bit per page: set where there is RAM.</summary>
        public ulong Present0, Present1, Present2, Present3;

        public readonly bool IsPresent(int page) => (((page >> 6) switch { 0 => Present0, 1 => Present1, 2 => Present2, _ => Present3 }) & (1UL << (page & 63))) != 0;

        public void SetPresent(int page)
        {
            var bit = 1UL << (page & 63);
            switch (page >> 6)
            {
                case 0: Present0 |= bit; break;
                case 1: Present1 |= bit; break;
                case 2: Present2 |= bit; break;
                default: Present3 |= bit; break;
            }
        }
    }

    /// <param name="buckets">The most that is mapped at a time, in MiB.</param>
    public MapCache(IForeignMapper mapper, int buckets = 256)
    {
        _mapper = mapper;
        _buckets = new Bucket[buckets];
        _byNumber = new Dictionary<ulong, int>(buckets);
    }

    /// <summary>Device writes are reported page by page (live migration).</summary>
    public bool DirtyLogging { get; set; }

    /// <summary>Buckets that are mapped now, in MiB.</summary>
    public int Mapped => _byNumber.Count;

    public bool TryRead(ulong gpa, Span<byte> destination)
    {
        var complete = true;
        while (!destination.IsEmpty)
        {
            var chunk = (int)Math.Min(PageBytes - (gpa & (PageBytes - 1)), (ulong)destination.Length);
            if (TryFind(gpa, out var address, out _)) HostMemory.CopyFrom(address, destination[..chunk]);
            else
            {
                destination[..chunk].Fill(0xff);
                complete = false;
            }

            gpa += (ulong)chunk;
            destination = destination[chunk..];
        }

        return complete;
    }

    public bool TryWrite(ulong gpa, ReadOnlySpan<byte> source)
    {
        var complete = true;
        while (!source.IsEmpty)
        {
            var chunk = (int)Math.Min(PageBytes - (gpa & (PageBytes - 1)), (ulong)source.Length);
            if (!IsReadOnly(gpa >> PageShift) && TryFind(gpa, out var address, out _))
            {
                HostMemory.CopyTo(source[..chunk], address);
                if (DirtyLogging) _mapper.Modified(gpa >> PageShift, 1);
            }
            else complete = false;

            gpa += (ulong)chunk;
            source = source[chunk..];
        }

        return complete;
    }

    public bool TryPin(ulong gpa, int length, bool forWrite, out MemoryPin pin)
    {
        pin = default;
        if (length <= 0 || (forWrite && IsReadOnly(gpa >> PageShift)) || !TryFind(gpa, out var address, out var index)) return false;
        ref var bucket = ref _buckets[index];
        var offset = (int)(gpa & (BucketBytes - 1));
        var room = PageBytes - (offset & (PageBytes - 1));
        for (var page = (offset >> PageShift) + 1; room < length && page < BucketPages && bucket.IsPresent(page); page++)
        {
            if (forWrite && IsReadOnly((bucket.Number << (BucketShift - PageShift)) + (ulong)page)) break;
            room += PageBytes;
        }

        bucket.Pins++;
        pin = new MemoryPin { Address = address, Length = Math.Min(room, length), Token = index + 1, GuestAddress = gpa };
        return true;
    }

    public void Unpin(in MemoryPin pin, bool written)
    {
        var index = pin.Token - 1;
        if ((uint)index >= (uint)_buckets.Length || _buckets[index].Pins == 0) throw new InvalidOperationException("a pin was given back twice");
        if (written && DirtyLogging)
        {
            var first = pin.GuestAddress >> PageShift;
            _mapper.Modified(first, (uint)(((pin.GuestAddress + (ulong)pin.Length - 1) >> PageShift) - first + 1));
        }

        ref var bucket = ref _buckets[index];
        if (--bucket.Pins == 0 && bucket.Stale) Unmap(index);
    }

    /// <summary>Makes pages read-only for devices as they are for the guest (ROM), or writable again. Mapped they stay.</summary>
    public void SetReadOnly(ulong firstPage, uint pages, bool on)
    {
        var end = firstPage + pages;
        for (var i = _readOnly.Count - 1; i >= 0; i--)
        {
            var range = _readOnly[i];
            if (range.End <= firstPage || range.First >= end) continue;
            _readOnly.RemoveAt(i);
            if (range.First < firstPage) _readOnly.Add((range.First, firstPage));
            if (range.End > end) _readOnly.Add((end, range.End));
        }

        if (on) _readOnly.Add((firstPage, end));
    }

    /// <summary>The guest's memory map changed: everything mapped may show old pages.</summary>
    public void Invalidate()
    {
        _lastHit = NoBucket;
        for (var i = 0; i < _buckets.Length; i++)
        {
            ref var bucket = ref _buckets[i];
            if (bucket.Address == 0 || bucket.Stale) continue;
            _byNumber.Remove(bucket.Number);
            if (bucket.Pins > 0) bucket.Stale = true;
            else Unmap(i);
        }
    }

    public void Dispose()
    {
        _byNumber.Clear();
        for (var i = 0; i < _buckets.Length; i++)
            if (_buckets[i].Address != 0) Unmap(i);
    }

    /// <summary>Finds the host address of a byte of RAM; maps its bucket if need be.</summary>
    private bool TryFind(ulong gpa, out nint address, out int index)
    {
        var number = gpa >> BucketShift;
        index = _lastHit;
        if (index == NoBucket || _buckets[index].Number != number)
        {
            if (!_byNumber.TryGetValue(number, out index) && !TryMap(number, out index))
            {
                address = 0;
                return false;
            }

            _lastHit = index;
        }

        _buckets[index].LastUse = ++_use;
        var offset = (int)(gpa & (BucketBytes - 1));
        if (!_buckets[index].IsPresent(offset >> PageShift) && !TryMapAgain(number, ref index))
        {
            address = 0;
            return false;
        }

        address = _buckets[index].Address + offset;
        return _buckets[index].IsPresent(offset >> PageShift);
    }

    /// <summary>
    /// A page that was a hole may be RAM by now (ballooning up sends no INVALIDATE). Costs the guest that walks holes its own time only. A pinned
    /// bucket stays for its pins, and a second one is made.
    /// </summary>
    private bool TryMapAgain(ulong number, ref int index)
    {
        _byNumber.Remove(number);
        _lastHit = NoBucket;
        bool mapped;
        if (_buckets[index].Pins > 0)
        {
            _buckets[index].Stale = true;
            mapped = TryMap(number, out index);
        }
        else
        {
            Unmap(index);
            mapped = TryMap(number, index);
        }

        if (mapped) _lastHit = index;
        return mapped;
    }

    private bool TryMap(ulong number, out int index)
    {
        index = FindPlace();
        return index != NoBucket && TryMap(number, index);
    }

    private bool TryMap(ulong number, int index)
    {
        Array.Clear(_errors);
        var address = _mapper.Map(number << (BucketShift - PageShift), _errors);
        if (address == 0) return false;
        var bucket = new Bucket { Address = address, Number = number, LastUse = _use };
        var any = false;
        for (var page = 0; page < BucketPages; page++)
        {
            if (_errors[page] != 0) continue;
            bucket.SetPresent(page);
            any = true;
        }

        if (!any)
        {
            _mapper.Unmap(address, BucketPages);
            return false;
        }

        _buckets[index] = bucket;
        _byNumber.Add(number, index);
        return true;
    }

    /// <summary>There are at most a few ranges: the ROM area below 1 MiB.</summary>
    private bool IsReadOnly(ulong page)
    {
        foreach (var range in _readOnly)
            if (page >= range.First && page < range.End) return true;
        return false;
    }

    /// <summary>A free place, or that of the bucket that was not used for longest and is not pinned.</summary>
    private int FindPlace()
    {
        var oldest = NoBucket;
        for (var i = 0; i < _buckets.Length; i++)
        {
            ref readonly var bucket = ref _buckets[i];
            if (bucket.Address == 0) return i;
            if (bucket.Pins == 0 && (oldest == NoBucket || _use - bucket.LastUse > _use - _buckets[oldest].LastUse)) oldest = i;
        }

        if (oldest == NoBucket) return NoBucket;
        _byNumber.Remove(_buckets[oldest].Number);
        if (_lastHit == oldest) _lastHit = NoBucket;
        Unmap(oldest);
        return oldest;
    }

    private void Unmap(int index)
    {
        _mapper.Unmap(_buckets[index].Address, BucketPages);
        _buckets[index] = default;
    }
}
