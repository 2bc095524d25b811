using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary>
/// libxendevicemodel: what a device model may do to a guest. Calls return 0 (or a count) or the negative errno; the numbers of dm_op and the errors
/// of each are in xen/public/hvm/dm_op.h.
/// </summary>
public sealed unsafe partial class XenDeviceModel : XenHandle
{
    private const string Library = "libxendevicemodel.so.1";

    /// <exception cref="XenException">The library is not installed, or this process may not open /dev/xen/privcmd.</exception>
    public XenDeviceModel() => OpenPrivileged(Library, static () => xendevicemodel_open(0, 0));

    /// <summary>Makes an ioreq server; its id is only meaningful to this guest.</summary>
    public int CreateIoreqServer(ushort domain, int bufferedMode, out ushort id)
    {
        fixed (ushort* p = &id) return Result(xendevicemodel_create_ioreq_server(Pointer, domain, bufferedMode, p));
    }

    /// <summary>The event channel of the buffered ring, in the guest's numbering. Asks for no frames: they are mapped as a resource.</summary>
    public int GetBufferedPort(ushort domain, ushort id, out uint port)
    {
        fixed (uint* p = &port) return Result(xendevicemodel_get_ioreq_server_info(Pointer, domain, id, null, null, p));
    }

    /// <summary>Starts or stops delivery; starting fills the event channels into the slots.</summary>
    public int SetIoreqServerState(ushort domain, ushort id, bool enabled) =>
        Result(xendevicemodel_set_ioreq_server_state(Pointer, domain, id, enabled ? 1 : 0));

    public int DestroyIoreqServer(ushort domain, ushort id) => Result(xendevicemodel_destroy_ioreq_server(Pointer, domain, id));

    /// <summary>Accesses that lie wholly in the range come to the server. At most 256 ranges of a kind; -EEXIST when it overlaps one of ours.</summary>
    /// <param name="end">Last address, inclusive.</param>
    public int MapIoRange(ushort domain, ushort id, bool isMemory, ulong start, ulong end) =>
        Result(xendevicemodel_map_io_range_to_ioreq_server(Pointer, domain, id, isMemory ? 1 : 0, start, end));

    /// <inheritdoc cref="MapIoRange"/>
    public int UnmapIoRange(ushort domain, ushort id, bool isMemory, ulong start, ulong end) =>
        Result(xendevicemodel_unmap_io_range_from_ioreq_server(Pointer, domain, id, isMemory ? 1 : 0, start, end));

    public int MapPciFunction(ushort domain, ushort id, byte bus, byte device, byte function) =>
        Result(xendevicemodel_map_pcidev_to_ioreq_server(Pointer, domain, id, 0, bus, device, function));

    public int UnmapPciFunction(ushort domain, ushort id, byte bus, byte device, byte function) =>
        Result(xendevicemodel_unmap_pcidev_from_ioreq_server(Pointer, domain, id, 0, bus, device, function));

    /// <param name="device">0 to 31 on bus 0.</param>
    /// <param name="pin">0 to 3.</param>
    public int SetPciIntxLevel(ushort domain, byte device, byte pin, bool level) =>
        Result(xendevicemodel_set_pci_intx_level(Pointer, domain, 0, 0, device, pin, level ? 1u : 0));

    /// <param name="irq">0 to 15.</param>
    public int SetIsaIrqLevel(ushort domain, byte irq, bool level) => Result(xendevicemodel_set_isa_irq_level(Pointer, domain, irq, level ? 1u : 0));

    /// <param name="link">0 to 3.</param>
    /// <param name="irq">1 to 15, or 0 for none.</param>
    public int SetPciLinkRoute(ushort domain, byte link, byte irq) => Result(xendevicemodel_set_pci_link_route(Pointer, domain, link, irq));

    public int InjectMsi(ushort domain, ulong address, uint data) => Result(xendevicemodel_inject_msi(Pointer, domain, address, data));

    /// <summary>Pages of video memory that were written since the last call, a bit a page. -ENODATA: tracking is not possible, all may be dirty.</summary>
    /// <param name="pages">0 ends the tracking. At most 1 GiB.</param>
    /// <param name="bitmap">At least a bit a page, rounded up to 8 bytes.</param>
    public int TrackDirtyVram(ushort domain, ulong firstPage, uint pages, Span<byte> bitmap)
    {
        if ((ulong)bitmap.Length * 8 < (((ulong)pages + 63) & ~63ul)) return -Errno.EINVAL;
        fixed (byte* p = bitmap) return Result(xendevicemodel_track_dirty_vram(Pointer, domain, firstPage, pages, p));
    }

    /// <summary>Reports guest pages that this process wrote; for the toolstack's live migration.</summary>
    public int ModifiedMemory(ushort domain, ulong firstPage, uint pages) => Result(xendevicemodel_modified_memory(Pointer, domain, firstPage, pages));

    /// <summary>Several runs in one call.</summary>
    public int ModifiedMemory(ushort domain, ReadOnlySpan<ModifiedExtent> extents)
    {
        fixed (ModifiedExtent* p = extents)
            return Result(xendevicemodel_modified_memory_bulk(Pointer, domain, p, (uint)extents.Length));
    }

    /// <param name="type">HVMMEM_*, see <see cref="XenConstants"/>.</param>
    public int SetMemoryType(ushort domain, uint type, ulong firstPage, uint pages) =>
        Result(xendevicemodel_set_mem_type(Pointer, domain, type, firstPage, pages));

    /// <param name="reason">SHUTDOWN_*.</param>
    public int Shutdown(ushort domain, uint reason) => Result(xendevicemodel_shutdown(Pointer, domain, reason));

    /// <summary>Moves guest pages to other guest addresses.</summary>
    public int RelocateMemory(ushort domain, uint pages, ulong fromPage, ulong toPage) =>
        Result(xendevicemodel_relocate_memory(Pointer, domain, pages, fromPage, toPage));

    /// <param name="lastPage">Inclusive.</param>
    /// <param name="type">XEN_DMOP_MEM_CACHEATTR_*.</param>
    public int PinCacheAttribute(ushort domain, ulong firstPage, ulong lastPage, uint type) =>
        Result(xendevicemodel_pin_memory_cacheattr(Pointer, domain, firstPage, lastPage, type));

    /// <summary>vCPUs that the guest can have. -ENOSYS before Xen 4.16.</summary>
    public int VcpuCount(ushort domain, out uint count)
    {
        count = 0;
        try
        {
            fixed (uint* p = &count) return Result(xendevicemodel_nr_vcpus(Pointer, domain, p));
        }
        catch (EntryPointNotFoundException)
        {
            return -Errno.ENOSYS;
        }
    }

    protected override bool ReleaseHandle() => xendevicemodel_close(handle) == 0;

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xendevicemodel_open(nint logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xendevicemodel_close(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_create_ioreq_server(nint handle, ushort domain, int buffered, ushort* id);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_get_ioreq_server_info(nint handle, ushort domain, ushort id, ulong* page, ulong* bufferedPage, uint* port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_set_ioreq_server_state(nint handle, ushort domain, ushort id, int enabled);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_destroy_ioreq_server(nint handle, ushort domain, ushort id);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_map_io_range_to_ioreq_server(nint handle, ushort domain, ushort id, int isMemory, ulong start, ulong end);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_unmap_io_range_from_ioreq_server(nint handle, ushort domain, ushort id, int isMemory, ulong start, ulong end);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_map_pcidev_to_ioreq_server(
        nint handle, ushort domain, ushort id, ushort segment, byte bus, byte device, byte function);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_unmap_pcidev_from_ioreq_server(
        nint handle, ushort domain, ushort id, ushort segment, byte bus, byte device, byte function);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_set_pci_intx_level(
        nint handle, ushort domain, ushort segment, byte bus, byte device, byte pin, uint level);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_set_isa_irq_level(nint handle, ushort domain, byte irq, uint level);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_set_pci_link_route(nint handle, ushort domain, byte link, byte irq);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_inject_msi(nint handle, ushort domain, ulong address, uint data);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_track_dirty_vram(nint handle, ushort domain, ulong firstPage, uint pages, void* bitmap);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_modified_memory(nint handle, ushort domain, ulong firstPage, uint pages);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_modified_memory_bulk(nint handle, ushort domain, ModifiedExtent* extents, uint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_set_mem_type(nint handle, ushort domain, uint type, ulong firstPage, uint pages);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_shutdown(nint handle, ushort domain, uint reason);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_relocate_memory(nint handle, ushort domain, uint pages, ulong fromPage, ulong toPage);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_pin_memory_cacheattr(nint handle, ushort domain, ulong start, ulong end, uint type);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xendevicemodel_nr_vcpus(nint handle, ushort domain, uint* count);
}
