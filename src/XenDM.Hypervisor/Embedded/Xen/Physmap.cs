using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Cpu.Mmu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// Which page of the guest's RAM lies at which guest frame, where the guest may change that (xen/public/memory.h). Pages that are taken away are
/// kept for those that are asked for later; with the guest's own there are as many as its RAM has and <see cref="SlackPages"/> more.
/// </summary>
public sealed unsafe class Physmap : IDisposable
{
    /// <summary>Pages beyond the guest's RAM: firmware's own, and those that belong to Xen.</summary>
    public const int SlackPages = 4096;

    private readonly GuestRam _ram;
    private readonly PhysicalMap _map;
    private readonly nint _slack;
    private readonly Stack<nint> _free = new();
    private readonly HashSet<nint> _special = [];
    private readonly Dictionary<nint, ulong> _shown = [];
    private int _used;

    /// <exception cref="IOException">The host has no room.</exception>
    public Physmap(GuestRam ram)
    {
        _ram = ram;
        _map = ram.Map;
        var result = Posix.Map(0, SlackPages << PhysicalMap.PageBits, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Private | MapFlags.Anonymous | MapFlags.NoReserve, -1, 0, out _slack);
        if (result < 0) throw new IOException($"no memory for the guest's own pages: {Errno.Describe(result)}");
    }

    /// <summary>RAM as at the start: at its own place, and nothing else.</summary>
    public void Reset()
    {
        foreach (var gfn in _shown.Values) _map.Unmap(gfn, 1);
        _shown.Clear();
        _free.Clear();
        _special.Clear();
        _used = 0;
        Posix.Advise(_slack, SlackPages << PhysicalMap.PageBits, MemoryAdvice.DontNeed);
        _ram.ShowAll();
    }

    /// <summary>A page of zeros that belongs to Xen and is shown nowhere yet.</summary>
    /// <exception cref="InvalidOperationException">There is none: the machine asked for more than it has.</exception>
    public nint AllocateSpecial()
    {
        if (!TryAllocate(out var host)) throw new InvalidOperationException("no page is left for Xen's own");
        _special.Add(host);
        return host;
    }

    public static Span<byte> Bytes(nint host) => new((void*)host, (int)PhysicalMap.PageSize);

    /// <summary>Puts RAM of zeros at a frame where nothing is.</summary>
    /// <returns>False when something is there already, or no page is left.</returns>
    public bool TryPopulate(ulong gfn)
    {
        if (gfn >= _map.PageCount || Find(gfn) != 0 || !TryAllocate(out var host)) return false;
        Put(gfn, host);
        return true;
    }

    /// <summary>Takes the page at a frame away. RAM can be asked for again, a page of Xen only is no longer seen.</summary>
    /// <returns>False when nothing is there.</returns>
    public bool TryRemove(ulong gfn)
    {
        if (gfn >= _map.PageCount || Find(gfn) is not (not 0 and var host)) return false;
        Take(gfn, host);
        if (_special.Contains(host)) return true;
        Posix.Advise(host, (nuint)PhysicalMap.PageSize, MemoryAdvice.DontNeed);
        _free.Push(host);
        return true;
    }

    /// <summary>Shows a page of Xen at a frame, and nowhere else. What was there is removed.</summary>
    /// <returns>False when there is no such frame.</returns>
    public bool TryShow(ulong gfn, nint host)
    {
        if (gfn >= _map.PageCount) return false;
        if (_shown.TryGetValue(host, out var old))
        {
            if (old == gfn) return true;
            Take(old, host);
        }

        TryRemove(gfn);
        Put(gfn, host);
        return true;
    }

    /// <summary>Moves a page from one frame to another, where what was there is removed.</summary>
    /// <returns>False when nothing is at the first, or there is no such frame.</returns>
    public bool TryMove(ulong from, ulong to)
    {
        if (from >= _map.PageCount || to >= _map.PageCount || Find(from) is not (not 0 and var host)) return false;
        if (from == to) return true;
        Take(from, host);
        TryRemove(to);
        Put(to, host);
        return true;
    }

    private bool TryAllocate(out nint host)
    {
        if (_free.TryPop(out host)) return true;
        if (_used == SlackPages) return false;
        host = _slack + ((nint)_used++ << PhysicalMap.PageBits);
        return true;
    }

    private void Put(ulong gfn, nint host)
    {
        _shown[host] = gfn;
        _map.Map(gfn, 1, host, true);
    }

    private void Take(ulong gfn, nint host)
    {
        _shown.Remove(host);
        _map.Unmap(gfn, 1);
    }

    /// <summary>RAM that the guest may change; firmware and video memory are not the guest's to move.</summary>
    private nint Find(ulong gfn)
    {
        var host = (nint)_map.Find(gfn << PhysicalMap.PageBits, out _);
        return _shown.ContainsKey(host) || _ram.Contains(host) ? host : 0;
    }

    public void Dispose() => Posix.Unmap(_slack, SlackPages << PhysicalMap.PageBits);
}
