using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;

namespace XenDM.Core.Io;

/// <summary>Learns which addresses somebody answers: on Xen these become ranges of the ioreq server.</summary>
public interface IAddressSpaceListener
{
    /// <param name="start">First address.</param>
    /// <param name="end">Last address, inclusive.</param>
    void RangeAdded(IoSpace space, ulong start, ulong end);

    /// <inheritdoc cref="RangeAdded"/>
    void RangeRemoved(IoSpace space, ulong start, ulong end);
}

/// <summary>
/// The ports or the memory of one guest: a sorted array of non-overlapping windows, rebuilt when the map changes and searched with a
/// last-hit cache. Where mappings overlap, the higher priority wins and among equals the one that was mapped last.
/// </summary>
public sealed class AddressSpace
{
    private readonly List<RegionMapping> _mappings = [];
    private readonly List<IAddressSpaceListener> _listeners = [];
    private Window[] _windows = [];
    private Range[] _claimed = [];
    private int _lastHit;
    private int _deferred;
    private int _serial;

    private readonly record struct Window(ulong Start, ulong End, RegionMapping Mapping);

    private readonly record struct Range(ulong Start, ulong End);

    /// <param name="limit">The last address of the space (0xffff for ports).</param>
    public AddressSpace(IoSpace space, ulong limit)
    {
        Space = space;
        Limit = limit;
    }

    public IoSpace Space { get; }

    /// <summary>The last address of the space.</summary>
    public ulong Limit { get; }

    /// <summary>Every access that no region claimed is told here.</summary>
    public UnclaimedAccesses Unclaimed { get; } = new();

    /// <summary>Maps a region. The mapping is enabled unless said otherwise.</summary>
    /// <param name="name">For traces: device and register block.</param>
    /// <param name="start">First address.</param>
    /// <param name="length">Bytes, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The region is empty or longer than the space.</exception>
    public RegionMapping Map(string name, ulong start, ulong length, IIoRegion region, int priority = 0, bool enabled = true)
    {
        ArgumentNullException.ThrowIfNull(region);
        if (length == 0 || length - 1 > Limit) throw new ArgumentOutOfRangeException(nameof(length), $"{name}: {length:x} bytes do not fit in {Space}");
        var mapping = new RegionMapping(this, name, start, length, region, priority, enabled);
        _mappings.Add(mapping);
        mapping.Serial = ++_serial;
        if (enabled) Rebuild();
        return mapping;
    }

    internal void Remove(RegionMapping mapping)
    {
        if (_mappings.Remove(mapping)) Rebuild();
    }

    internal void Changed(RegionMapping mapping)
    {
        mapping.Serial = ++_serial;
        Rebuild();
    }

    /// <summary>Adds a listener and tells it every range that is claimed now.</summary>
    public void AddListener(IAddressSpaceListener listener)
    {
        _listeners.Add(listener);
        foreach (var range in _claimed) listener.RangeAdded(Space, range.Start, range.End);
    }

    /// <summary>Until the matching <see cref="EndChange"/>, changes are collected, so that a board is built with one rebuild.</summary>
    public void BeginChange() => _deferred++;

    public void EndChange()
    {
        if (--_deferred == 0) Rebuild();
    }

    /// <summary>The claimed ranges in ascending order, neighbours joined.</summary>
    public IEnumerable<(ulong Start, ulong End)> ClaimedRanges()
    {
        foreach (var range in _claimed) yield return (range.Start, range.End);
    }

    /// <summary>The enabled mappings as the guest sees them, for <c>info mtree</c> and for fuzzers.</summary>
    public IEnumerable<(ulong Start, ulong End, string Name)> Windows()
    {
        foreach (var window in _windows) yield return (window.Start, window.End, window.Mapping.Name);
    }

    /// <summary>How often each register block was used, those that never were left out.</summary>
    public IEnumerable<(string Name, ulong Base, ulong Accesses)> Accesses()
    {
        foreach (var mapping in _mappings)
            if ((mapping.Reads | mapping.Writes) != 0) yield return (mapping.Name, mapping.Base, mapping.Reads + mapping.Writes);
    }

    /// <summary>The same, reads and writes apart.</summary>
    public IEnumerable<(string Name, ulong Base, ulong Reads, ulong Writes)> ReadsAndWrites()
    {
        foreach (var mapping in _mappings)
            if ((mapping.Reads | mapping.Writes) != 0) yield return (mapping.Name, mapping.Base, mapping.Reads, mapping.Writes);
    }

    /// <summary>From now on each access to a chip is told as text.</summary>
    /// <param name="chip">Its register blocks are those whose names begin with this word.</param>
    /// <returns>False when there is none of that name.</returns>
    public bool Trace(string chip, Action<string> tell)
    {
        var found = false;
        foreach (var mapping in _mappings)
        {
            if (mapping.Name != chip && !mapping.Name.StartsWith(chip + " ", StringComparison.Ordinal)) continue;
            mapping.Region = new TracedRegion(mapping, mapping.Region, tell);
            found = true;
        }

        return found;
    }

    /// <summary>Reads 1 to 8 bytes. What nobody claims reads all ones.</summary>
    public ulong Read(ulong address, int size)
    {
        if (TryFind(address, out var end, out var mapping) && end - address >= (ulong)(size - 1))
        {
            mapping.Reads++;
            return mapping.Region.Read(address - mapping.Base, size) & Mask(size);
        }

        return ReadAcrossWindows(address, size);
    }

    /// <summary>Writes 1 to 8 bytes. What nobody claims is dropped.</summary>
    public void Write(ulong address, int size, ulong value)
    {
        if (TryFind(address, out var end, out var mapping) && end - address >= (ulong)(size - 1))
        {
            mapping.Writes++;
            mapping.Region.Write(address - mapping.Base, size, value & Mask(size));
        }
        else
        {
            WriteAcrossWindows(address, size, value);
        }
    }

    /// <summary>Finds the region that takes bulk transfers at an address.</summary>
    /// <param name="isWrite">How the transfer is counted.</param>
    /// <param name="room">Bytes from the address to the end of the window.</param>
    public bool TryFindBulk(ulong address, bool isWrite, out IBulkRegion region, out ulong offset, out ulong room)
    {
        if (TryFind(address, out var end, out var mapping) && mapping.Region is IBulkRegion bulk)
        {
            if (isWrite) mapping.Writes++;
            else mapping.Reads++;
            region = bulk;
            offset = address - mapping.Base;
            room = end - address + 1;
            return true;
        }

        region = null!;
        offset = room = 0;
        return false;
    }

    /// <summary>All ones in the low <paramref name="size"/> bytes (1 to 8).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Mask(int size) => ulong.MaxValue >> (64 - (8 * size));

    /// <summary>Somebody answers the address.</summary>
    public bool IsMapped(ulong address) => TryFind(address, out _, out _);

    private bool TryFind(ulong address, out ulong end, out RegionMapping mapping)
    {
        var windows = _windows;
        var hit = _lastHit;
        if ((uint)hit < (uint)windows.Length)
        {
            ref readonly var last = ref windows[hit];
            if (address >= last.Start && address <= last.End)
            {
                (end, mapping) = (last.End, last.Mapping);
                return true;
            }
        }

        int low = 0, high = windows.Length - 1;
        while (low <= high)
        {
            var middle = (low + high) >> 1;
            ref readonly var window = ref windows[middle];
            if (address < window.Start) high = middle - 1;
            else if (address > window.End) low = middle + 1;
            else
            {
                _lastHit = middle;
                (end, mapping) = (window.End, window.Mapping);
                return true;
            }
        }

        end = 0;
        mapping = null!;
        return false;
    }

    private ulong ReadAcrossWindows(ulong address, int size)
    {
        var claimed = false;
        ulong value = 0;
        for (var i = 0; i < size; i++)
        {
            ulong piece = 0xff;
            if (TryFind((address + (ulong)i) & Limit, out _, out var mapping))
            {
                claimed = true;
                piece = mapping.Region.Read(((address + (ulong)i) & Limit) - mapping.Base, 1) & 0xff;
            }

            value |= piece << (8 * i);
        }

        if (!claimed) Unclaimed.Count(Space, address, size, isWrite: false, value);
        return value;
    }

    private void WriteAcrossWindows(ulong address, int size, ulong value)
    {
        var claimed = false;
        for (var i = 0; i < size; i++)
        {
            if (!TryFind((address + (ulong)i) & Limit, out _, out var mapping)) continue;
            claimed = true;
            mapping.Region.Write(((address + (ulong)i) & Limit) - mapping.Base, 1, (value >> (8 * i)) & 0xff);
        }

        if (!claimed) Unclaimed.Count(Space, address, size, isWrite: true, value);
    }

    private void Rebuild()
    {
        if (_deferred > 0) return;
        var order = _mappings.FindAll(m => m.Enabled);
        order.Sort(static (a, b) => a.Priority != b.Priority ? a.Priority.CompareTo(b.Priority) : a.Serial.CompareTo(b.Serial));
        var windows = new List<Window>();
        foreach (var mapping in order)
        {
            if (mapping.Base > Limit) continue;
            var end = Math.Min(Limit, mapping.Base + Math.Min(mapping.Length - 1, Limit - mapping.Base));
            Cover(windows, new Window(mapping.Base, end, mapping));
        }

        windows.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        _windows = [.. windows];
        _lastHit = 0;
        Announce(Join(_windows));
    }

    /// <summary>Puts a window on top of those that are there: what it covers of them is cut away.</summary>
    private static void Cover(List<Window> windows, Window top)
    {
        for (var i = windows.Count - 1; i >= 0; i--)
        {
            var under = windows[i];
            if (under.End < top.Start || under.Start > top.End) continue;
            windows.RemoveAt(i);
            if (under.Start < top.Start) windows.Add(under with { End = top.Start - 1 });
            if (under.End > top.End) windows.Add(under with { Start = top.End + 1 });
        }

        windows.Add(top);
    }

    private static Range[] Join(Window[] windows)
    {
        var ranges = new List<Range>();
        foreach (var window in windows)
        {
            if (ranges.Count > 0 && ranges[^1].End + 1 == window.Start) ranges[^1] = ranges[^1] with { End = window.End };
            else ranges.Add(new Range(window.Start, window.End));
        }

        return [.. ranges];
    }

    private void Announce(Range[] claimed)
    {
        var old = new HashSet<Range>(_claimed);
        var now = new HashSet<Range>(claimed);
        var before = _claimed;
        _claimed = claimed;
        foreach (var range in before)
            if (!now.Contains(range))
                foreach (var listener in _listeners) listener.RangeRemoved(Space, range.Start, range.End);
        foreach (var range in claimed)
            if (!old.Contains(range))
                foreach (var listener in _listeners) listener.RangeAdded(Space, range.Start, range.End);
    }
}
