using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary><c>struct xengnttab_grant_copy_segment</c>: one piece of a grant copy.</summary>
[StructLayout(LayoutKind.Explicit, Size = 24)]
public struct GrantCopySegment
{
    /// <summary>GNTCOPY_source_gref.</summary>
    public const ushort SourceIsGrant = 1;

    /// <summary>GNTCOPY_dest_gref.</summary>
    public const ushort DestinationIsGrant = 2;

    [FieldOffset(0)] public uint SourceReference;
    [FieldOffset(4)] public ushort SourceOffset;
    [FieldOffset(6)] public ushort SourceDomain;
    [FieldOffset(0)] public nint SourceAddress;
    [FieldOffset(8)] public uint DestinationReference;
    [FieldOffset(12)] public ushort DestinationOffset;
    [FieldOffset(14)] public ushort DestinationDomain;
    [FieldOffset(8)] public nint DestinationAddress;

    /// <summary>Bytes; a grant's end of the copy does not cross its page.</summary>
    [FieldOffset(16)] public ushort Length;

    [FieldOffset(18)] public ushort Flags;

    /// <summary>GNTST_*: 0 when it was copied, negative otherwise. Filled by the call.</summary>
    [FieldOffset(20)] public short Status;
}

/// <summary>libxengnttab: maps pages that a guest granted, and copies from and to them.</summary>
public sealed unsafe partial class XenGrantTable : XenHandle
{
    private const string Library = "libxengnttab.so.1";

    /// <exception cref="XenException">The library is not installed, or this process may not open /dev/xen/gntdev.</exception>
    public XenGrantTable() => Open(Library, static () => xengnttab_open(XenToolLog.Quiet, 0), "/dev/xen/gntdev");

    /// <summary>
    /// How many pages this handle may have mapped: Linux before 5.4 allows 1024 times 1024 unless told, later ones have no such limit and refuse the call.
    /// </summary>
    /// <returns>0 or the negative errno.</returns>
    public int SetMaxGrants(uint count) => Result(xengnttab_set_max_grants(Pointer, count));

    /// <summary>Maps granted pages of one domain side by side.</summary>
    /// <returns>0 or the negative errno; -EINVAL also when one of them is not granted so.</returns>
    public int Map(ushort domain, ReadOnlySpan<uint> references, bool writable, out nint address)
    {
        var protection = writable ? MemoryProtection.Read | MemoryProtection.Write : MemoryProtection.Read;
        fixed (uint* p = references)
            address = xengnttab_map_domain_grant_refs(Pointer, (uint)references.Length, domain, p, (int)protection);
        return address != 0 ? 0 : Result(-1);
    }

    /// <summary>
    /// Maps one granted page, of which the kernel tells the other end when it is unmapped, also by the end of this process: by an event on a port.
    /// </summary>
    /// <param name="port">A local port of this process's event channels.</param>
    /// <returns>0 or the negative errno.</returns>
    public int MapWithNotice(ushort domain, uint reference, uint port, out nint address)
    {
        address = xengnttab_map_grant_ref_notify(Pointer, domain, reference, (int)(MemoryProtection.Read | MemoryProtection.Write), uint.MaxValue, port);
        return address != 0 ? 0 : Result(-1);
    }

    public int Unmap(nint address, int pages) => Result(xengnttab_unmap(Pointer, address, (uint)pages));

    /// <summary>Copies all segments; each has its own status.</summary>
    /// <returns>0, or the negative errno when the call itself failed.</returns>
    public int Copy(Span<GrantCopySegment> segments)
    {
        fixed (GrantCopySegment* p = segments) return Result(xengnttab_grant_copy(Pointer, (uint)segments.Length, p));
    }

    protected override bool ReleaseHandle() => xengnttab_close(handle) == 0;

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xengnttab_open(nint logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xengnttab_close(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_set_max_grants(nint handle, uint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xengnttab_map_grant_ref_notify(nint handle, uint domain, uint reference, int protection, uint offset, uint port);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xengnttab_map_domain_grant_refs(nint handle, uint count, uint domain, uint* references, int protection);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_unmap(nint handle, nint address, uint count);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xengnttab_grant_copy(nint handle, uint count, GrantCopySegment* segments);
}
