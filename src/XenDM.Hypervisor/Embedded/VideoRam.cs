using System;
using System.IO;
using XenDM.Core.Memory;
using XenDM.Cpu.Mmu;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded;

/// <summary>
/// Video memory of the embedded machine: where the adapter shows it in the PCI hole, the vCPUs reach it like RAM. Over RAM or the firmware it is
/// not shown; accesses to a place that a guest made odd go to the adapter one by one.
/// </summary>
internal sealed unsafe class VideoRam : VideoMemory, IDisposable
{
    private readonly PhysicalMap _map;
    private readonly ulong _first;
    private readonly ulong _end;
    private readonly nint _host;
    private readonly Action _touched;
    private ulong _shownAt;

    /// <param name="first">First address where nothing else is mapped.</param>
    /// <param name="end">The address behind the last one.</param>
    /// <exception cref="IOException">The host has no memory for it.</exception>
    public VideoRam(int size, PhysicalMap map, ulong first, ulong end)
        : base(size)
    {
        _map = map;
        _touched = () => Touched?.Invoke();
        _first = first;
        _end = end;
        var result = Posix.Map(0, (nuint)size, MemoryProtection.Read | MemoryProtection.Write, MapFlags.Private | MapFlags.Anonymous | MapFlags.NoReserve, -1, 0, out _host);
        if (result < 0) throw new IOException($"no {size >> 20} MiB for the display: {Errno.Describe(result)}");
    }

    public override Span<byte> Bytes => new((void*)_host, Size);

    public override bool TellsWrites => true;

    public override void Clear()
    {
        Posix.Advise(_host, (nuint)Size, MemoryAdvice.DontNeed);
        NoteWrite(0, Size);
    }

    public override void Show(ulong address, bool visible)
    {
        var pages = (ulong)Size >> PhysicalMap.PageBits;
        if (_shownAt != 0) _map.Unmap(_shownAt >> PhysicalMap.PageBits, pages);
        _shownAt = visible && address >= _first && address <= _end - (ulong)Size ? address : 0;
        if (_shownAt != 0) _map.Map(_shownAt >> PhysicalMap.PageBits, pages, _host, true);
        TrackingChanged(IsTracked);
    }

    protected override bool TakeGuestWrites(int offset, int bytes, Span<ulong> pages)
    {
        // Hidden, it is written by the adapter alone.
        if (_shownAt != 0) _map.TakeWritten((ulong)offset >> PhysicalMap.PageBits, (ulong)bytes >> PhysicalMap.PageBits, pages);
        return true;
    }

    protected override void TrackingChanged(bool on)
    {
        var watch = on && _shownAt != 0;
        _map.WatchWrites(watch ? _shownAt >> PhysicalMap.PageBits : 0, watch ? (ulong)Size >> PhysicalMap.PageBits : 0);
        _map.Touched = watch ? _touched : null;
    }

    public void Dispose() => Posix.Unmap(_host, (nuint)Size);
}
