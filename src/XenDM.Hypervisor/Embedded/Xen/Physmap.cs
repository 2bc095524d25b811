using System;
using System.Collections.Generic;
using System.IO;
using System.Security.Cryptography;
using System.Threading;
using XenDM.Cpu.Mmu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// Which page of the guest's RAM lies at which guest frame, where the guest may change that (xen/public/memory.h). Pages that are taken away are
/// kept for those that are asked for later; with the guest's own there are as many as its RAM has and <see cref="SlackPages"/> more. A page that
/// Xen or a backend holds is not given to anybody else before it is let go of. Holding is for any thread, all else for the machine's.
/// </summary>
public sealed unsafe class Physmap : IDisposable
{
    /// <summary>Pages beyond the guest's RAM: firmware's own, and those that belong to Xen.</summary>
    public const int SlackPages = 4096;

    /// <summary>Those of <see cref="SlackPages"/> that only Xen takes.</summary>
    private const int ReservedPages = 512;

    /// <summary>The VGA window is no RAM.</summary>
    private const ulong VgaPages = 0x20;

    private readonly GuestRam _ram;
    private readonly PhysicalMap _map;
    private readonly nint _slack;
    private readonly Stack<nint> _free = new();
    private readonly HashSet<nint> _special = [];
    private readonly Dictionary<nint, ulong> _shown = [];
    private readonly Dictionary<nint, int> _held = [];
    private readonly HashSet<nint> _orphans = [];
    private readonly Lock _gate = new();
    private int _used;
    private ulong _removed;

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
        _held.Clear();
        _orphans.Clear();
        _free.Clear();
        _special.Clear();
        _used = 0;
        _removed = 0;
        Posix.Advise(_slack, SlackPages << PhysicalMap.PageBits, MemoryAdvice.DontNeed);
        _ram.ShowAll();
    }

    /// <summary>A page of zeros that belongs to Xen and is shown nowhere yet.</summary>
    /// <exception cref="InvalidOperationException">There is none: the machine asked for more than it has.</exception>
    public nint AllocateSpecial() => TryAllocateSpecial(out var host) ? host : throw new InvalidOperationException("no page is left for Xen's own");

    /// <inheritdoc cref="AllocateSpecial"/>
    public bool TryAllocateSpecial(out nint host)
    {
        if (!TryAllocate(out host, SlackPages)) return false;
        Bytes(host).Clear();
        _special.Add(host);
        return true;
    }

    /// <summary>Holds the page of RAM at a frame: it stays what it is even if the guest takes it away from there.</summary>
    /// <returns>False when there is no RAM that the guest may write.</returns>
    public bool TryHold(ulong gfn, out nint host)
    {
        lock (_gate)
        {
            host = gfn < _map.PageCount ? Find(gfn) : 0;
            if (host == 0) return false;
            _held[host] = _held.GetValueOrDefault(host) + 1;
            return true;
        }
    }

    /// <summary>Lets go of a page. One that the guest took away meanwhile can be asked for again.</summary>
    public void Release(nint host)
    {
        lock (_gate)
        {
            if (!_held.TryGetValue(host, out var count)) return;
            if (count > 1)
            {
                _held[host] = count - 1;
                return;
            }

            _held.Remove(host);
            if (_orphans.Remove(host)) Free(host);
        }
    }

    /// <summary>Where a page of Xen or one that moved is shown.</summary>
    public bool TryGetFrame(nint host, out ulong gfn) => _shown.TryGetValue(host, out gfn);

    /// <summary>A page was written from outside: code that was decoded from it is out of date.</summary>
    public void Written(nint host)
    {
        if (_ram.Code is null) return;
        if (_shown.TryGetValue(host, out var gfn)) _ram.Code.Written(gfn << PhysicalMap.PageBits, (int)PhysicalMap.PageSize);
        else if (_ram.TryGetAddress(host, out var gpa)) _ram.Code.Written(gpa, (int)PhysicalMap.PageSize);
    }

    /// <summary>Pages of RAM that the guest has now.</summary>
    public ulong Pages => (_ram.Low + _ram.High >> PhysicalMap.PageBits) - VgaPages - _removed;

    /// <summary>The last frame where something is.</summary>
    public ulong LastFrame
    {
        get
        {
            var last = (_ram.High > 0 ? GuestRam.FourGiB + _ram.High : _ram.Low) >> PhysicalMap.PageBits;
            foreach (var gfn in _shown.Values) last = Math.Max(last, gfn + 1);
            return last - 1;
        }
    }

    /// <summary>Adds the places of all pages that moved, and what is in those beyond the guest's RAM, to a hash.</summary>
    public void AppendTo(IncrementalHash hash)
    {
        var frames = new List<(ulong Frame, nint Page)>();
        foreach (var (page, gfn) in _shown) frames.Add((gfn, page));
        frames.Sort(static (a, b) => a.Frame.CompareTo(b.Frame));
        foreach (var (gfn, page) in frames)
        {
            hash.AppendData(BitConverter.GetBytes(gfn));
            hash.AppendData(Bytes(page));
        }

        hash.AppendData(BitConverter.GetBytes(_removed));
        for (var n = 0; n < _used; n++) hash.AppendData(Bytes(_slack + ((nint)n << PhysicalMap.PageBits)));
    }

    public static Span<byte> Bytes(nint host) => new((void*)host, (int)PhysicalMap.PageSize);

    /// <summary>Puts RAM of zeros at a frame where nothing is.</summary>
    /// <returns>False when something is there already, or no page is left.</returns>
    public bool TryPopulate(ulong gfn)
    {
        if (gfn >= _map.PageCount || Find(gfn) != 0 || !TryAllocate(out var host, SlackPages - ReservedPages)) return false;
        lock (_gate) Put(gfn, host);
        _removed--;
        return true;
    }

    /// <summary>Takes the page at a frame away. RAM can be asked for again, a page of Xen only is no longer seen.</summary>
    /// <returns>False when nothing is there.</returns>
    public bool TryRemove(ulong gfn)
    {
        if (gfn >= _map.PageCount || Find(gfn) is not (not 0 and var host)) return false;
        lock (_gate)
        {
            Take(gfn, host);
            if (_special.Contains(host)) return true;
            _removed++;
            if (_held.ContainsKey(host)) _orphans.Add(host);
            else Free(host);
        }

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
            lock (_gate) Take(old, host);
        }

        TryRemove(gfn);
        lock (_gate) Put(gfn, host);
        return true;
    }

    /// <summary>Moves a page from one frame to another, where what was there is removed.</summary>
    /// <returns>False when nothing is at the first, or there is no such frame.</returns>
    public bool TryMove(ulong from, ulong to)
    {
        if (from >= _map.PageCount || to >= _map.PageCount || Find(from) is not (not 0 and var host)) return false;
        if (from == to) return true;
        lock (_gate) Take(from, host);
        TryRemove(to);
        lock (_gate) Put(to, host);
        return true;
    }

    private void Free(nint host)
    {
        Posix.Advise(host, (nuint)PhysicalMap.PageSize, MemoryAdvice.DontNeed);
        _free.Push(host);
    }

    private bool TryAllocate(out nint host, int limit)
    {
        lock (_gate)
            if (_free.TryPop(out host)) return true;
        if (_used >= limit) return false;
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
