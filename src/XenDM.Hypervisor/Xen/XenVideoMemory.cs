using System;
using System.Runtime.InteropServices;
using XenDM.Core.Memory;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Xen;

/// <summary>What video memory asks of Xen. A test gives its own.</summary>
public interface IVideoPages : IForeignMapper
{
    /// <summary>Device writes are reported (live migration).</summary>
    bool DirtyLogging { get; }

    /// <summary>Gives the guest pages of zeros. Not once the process is restricted.</summary>
    /// <exception cref="Interop.Xen.XenException">The guest may not have as many.</exception>
    void Populate(ulong firstPage, uint pages);

    /// <summary>Moves guest pages.</summary>
    bool Relocate(ulong fromPage, ulong toPage, uint pages);

    /// <summary>
    /// Has memory at a place cached for the guest, or leaves it to the guest again, exactly as it was pinned: Xen keeps few such places. Without it a
    /// guest with a passed-through device sees its own screen uncached: slow, but right.
    /// </summary>
    void Pin(ulong firstPage, uint pages, bool on);

    /// <summary>Pages of one range that the guest wrote since the last call with this range: Xen keeps track of one.</summary>
    /// <param name="bitmap">A bit a page, rounded up to 8 bytes.</param>
    /// <returns>False when Xen cannot tell.</returns>
    bool TrackDirty(ulong firstPage, uint pages, Span<byte> bitmap);

    /// <summary>Pages of the range are not the guest's any more.</summary>
    void Missing(ulong firstPage, uint pages);
}

/// <summary>
/// Video memory of a Xen guest: pages of the guest's own, which its toolstack allows it beyond its RAM. They lie behind RAM, where no memory map of
/// the guest names them, and are moved to where the adapter shows them, so that the guest writes there without an exit; saved and restored
/// with RAM. In this process they are mapped when somebody looks or the adapter itself reads or writes, and unmapped when nobody looks any more.
/// A move costs Xen some work a page. Pages that a guest gives away from its own video memory are no longer seen: the screen stays black.
/// </summary>
public sealed class XenVideoMemory : VideoMemory, IDisposable
{
    private const int PageShift = 12;

    /// <summary>Nothing is shown over the VGA window and below, nor where Xen has its own pages and its platform has its chips.</summary>
    private const ulong FirstPlace = 0x10_0000, EndOfPlaces = 0xfc00_0000;

    private readonly IVideoPages _host;
    private readonly uint _pages;
    private readonly ulong _home;
    private readonly ulong _ramEnd;
    private ulong _place;
    private bool _isComing;
    private nint _mapped;
    private bool _isForeign;

    /// <summary>The range that Xen keeps track of; no pages: none.</summary>
    private (ulong First, uint Pages) _tracked;

    /// <param name="size">Bytes, a power of two from 256 KiB to 256 MiB.</param>
    /// <param name="ramBytes">Of the guest, without this.</param>
    /// <param name="lowBytes">RAM beyond these is from 4 GiB on.</param>
    /// <param name="incoming">The guest is restored, and has its pages. Where they are is known after <see cref="Arrived"/>.</param>
    /// <exception cref="Interop.Xen.XenException">The guest may not have as many pages.</exception>
    public XenVideoMemory(int size, ulong ramBytes, ulong lowBytes, bool incoming, IVideoPages host)
        : base(size)
    {
        _host = host;
        _pages = (uint)size >> PageShift;
        _ramEnd = Math.Min(ramBytes, lowBytes);
        _home = ramBytes <= lowBytes ? ramBytes : (4ul << 30) + (ramBytes - lowBytes);
        _place = _home;
        _isComing = incoming;
        if (!incoming) host.Populate(_home >> PageShift, _pages);
    }

    public override bool IsSavedWithRam => true;

    /// <summary>How often Xen was asked what the guest wrote, and how often it could not tell.</summary>
    public (ulong Asked, ulong Unknown) Looks { get; private set; }

    /// <summary>Where the guest has its pages now.</summary>
    public ulong Place => _place;

    /// <summary>They are mapped in this process.</summary>
    public bool IsMapped => _mapped != 0;

    public override Span<byte> Bytes
    {
        get
        {
            if (_mapped == 0) Map();
            return HostMemory.Span(_mapped, Size);
        }
    }

    /// <summary>Only a new guest is powered on, and its pages are zeros; those of a restored one are what they were.</summary>
    public override void Clear()
    {
    }

    public override void Show(ulong address, bool visible)
    {
        var place = visible && IsFree(address) ? address : _home;
        if (_isComing) _place = place;
        if (place == _place) return;

        // Xen keeps track by guest address. What is mapped here are the pages themselves, which move along.
        StopTracking();
        if (!_host.Relocate(_place >> PageShift, place >> PageShift, _pages)) return;
        Pin(false);
        _place = place;
        Pin(true);
    }

    /// <summary>The adapter's saved state was restored: the pages are where it shows them.</summary>
    public void Arrived()
    {
        _isComing = false;
        Unmap();
        Pin(true);
    }

    public void Dispose()
    {
        Unmap();
    }

    public override void NoteWrite(int offset, int bytes)
    {
        base.NoteWrite(offset, bytes);
        if (!_host.DirtyLogging || bytes <= 0 || offset < 0 || offset > Size - bytes) return;
        var first = (ulong)offset >> PageShift;
        _host.Modified((_place >> PageShift) + first, (uint)((((ulong)offset + (uint)bytes - 1) >> PageShift) - first + 1));
    }

    /// <summary>Xen keeps track of one range at a time: another one counts as written as a whole.</summary>
    protected override bool TakeGuestWrites(int offset, int bytes, Span<ulong> pages)
    {
        // Without a place in the guest nobody but the adapter writes.
        if (_place == _home) return true;
        var range = ((_place + (ulong)offset) >> PageShift, (uint)bytes >> PageShift);
        if (range.Item2 == 0) return true;
        var isNew = range != _tracked;
        _tracked = range;
        var isKnown = _host.TrackDirty(range.Item1, range.Item2, MemoryMarshal.AsBytes(pages));
        Looks = (Looks.Asked + 1, Looks.Unknown + (isKnown ? 0u : 1));
        return isKnown && !isNew;
    }

    protected override void TrackingChanged(bool on)
    {
        if (on) return;
        StopTracking();
        Unmap();
    }

    private void Pin(bool on)
    {
        if (_place != _home) _host.Pin(_place >> PageShift, _pages, on);
    }

    private void StopTracking()
    {
        if (_tracked.Pages == 0) return;
        _tracked = default;

        // Linux refuses the call that would end it, because its bitmap is empty. A page that nobody writes costs nothing.
        Span<byte> page = stackalloc byte[sizeof(ulong)];
        _host.TrackDirty(_home >> PageShift, 1, page);
    }

    /// <summary>A guest that sets the adapter over its RAM would lose that RAM.</summary>
    private bool IsFree(ulong address) => address >= Math.Max(_ramEnd, FirstPlace) && address <= EndOfPlaces - (ulong)Size;

    private void Map()
    {
        var errors = new int[_pages];
        _mapped = _host.Map(_place >> PageShift, errors);
        _isForeign = _mapped != 0;
        if (_isForeign && !errors.AsSpan().ContainsAnyExcept(0)) return;
        _host.Missing(_place >> PageShift, _pages);
        Unmap();
        var result = Posix.Map(0, (nuint)Size, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Private | MapFlags.Anonymous | MapFlags.NoReserve, -1, 0, out _mapped);
        if (result < 0) throw new InvalidOperationException($"no {Size >> 20} MiB for the display: {Errno.Describe(result)}");
    }

    private void Unmap()
    {
        if (_mapped == 0) return;
        if (_isForeign) _host.Unmap(_mapped, (int)_pages);
        else Posix.Unmap(_mapped, (nuint)Size);
        (_mapped, _isForeign) = (0, false);
    }
}
