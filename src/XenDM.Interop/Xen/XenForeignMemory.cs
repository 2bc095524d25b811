using System;
using System.Runtime.InteropServices;
using XenDM.Interop.Libc;

namespace XenDM.Interop.Xen;

/// <summary>libxenforeignmemory: maps pages of a guest, and the pages that Xen keeps for an ioreq server.</summary>
public sealed unsafe partial class XenForeignMemory : XenHandle
{
    private const string Library = "libxenforeignmemory.so.1";

    /// <exception cref="XenException">The library is not installed, or this process may not open /dev/xen/privcmd.</exception>
    public XenForeignMemory() => OpenPrivileged(Library, static () => xenforeignmemory_open(0, 0));

    /// <summary>Maps guest pages side by side.</summary>
    /// <param name="frames">Guest frame numbers.</param>
    /// <param name="errors">One a frame: 0, or the negative errno of a page that is not there. Touching such a page is a fault.</param>
    /// <param name="address">Where they are; 0 when the call failed as a whole.</param>
    /// <returns>0 or the negative errno.</returns>
    public int Map(ushort domain, bool writable, ReadOnlySpan<ulong> frames, Span<int> errors, out nint address)
    {
        address = 0;
        if (frames.IsEmpty || errors.Length < frames.Length) return -Errno.EINVAL;
        var protection = writable ? MemoryProtection.Read | MemoryProtection.Write : MemoryProtection.Read;
        fixed (ulong* f = frames)
        fixed (int* e = errors)
            address = (nint)xenforeignmemory_map(Pointer, domain, (int)protection, (nuint)frames.Length, f, e);
        return address != 0 ? 0 : Result(-1);
    }

    /// <summary>Unmaps what <see cref="Map"/> mapped, whole.</summary>
    public int Unmap(nint address, int pages) => Result(xenforeignmemory_unmap(Pointer, address, (nuint)pages));

    /// <summary>Maps frames of a resource, readable and writable.</summary>
    /// <param name="type">XENMEM_resource_*.</param>
    /// <exception cref="XenException">With <see cref="Errno.EOPNOTSUPP"/> when Xen or dom0's kernel cannot do it.</exception>
    public ForeignResource MapResource(ushort domain, uint type, uint id, ulong firstFrame, ulong frames)
    {
        const int readWrite = (int)(MemoryProtection.Read | MemoryProtection.Write);
        void* address = null;
        var resource = xenforeignmemory_map_resource(Pointer, domain, type, id, (nuint)firstFrame, (nuint)frames, &address, readWrite, 0);
        if (resource == 0) throw new XenException($"cannot map resource {type} of domain {domain}", Result(-1));
        return new ForeignResource(this, resource, (nint)address, (int)frames);
    }

    protected override bool ReleaseHandle() => xenforeignmemory_close(handle) == 0;

    internal int UnmapResource(nint resource) => xenforeignmemory_unmap_resource(handle, resource);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xenforeignmemory_open(nint logger, uint flags);

    [LibraryImport(Library)]
    private static partial int xenforeignmemory_close(nint handle);

    [LibraryImport(Library, SetLastError = true)]
    private static partial void* xenforeignmemory_map(nint handle, uint domain, int protection, nuint pages, ulong* frames, int* errors);

    [LibraryImport(Library, SetLastError = true)]
    private static partial int xenforeignmemory_unmap(nint handle, nint address, nuint pages);

    [LibraryImport(Library, SetLastError = true)]
    private static partial nint xenforeignmemory_map_resource(
        nint handle, ushort domain, uint type, uint id, nuint frame, nuint frames, void** address, int protection, int flags);

    [LibraryImport(Library)]
    private static partial int xenforeignmemory_unmap_resource(nint handle, nint resource);
}

/// <summary>Mapped frames of a resource; keeps its library handle open until it is disposed.</summary>
public sealed class ForeignResource : SafeHandle
{
    private readonly XenForeignMemory _parent;
    private readonly bool _parentHeld;

    internal ForeignResource(XenForeignMemory parent, nint resource, nint address, int frames)
        : base(0, ownsHandle: true)
    {
        _parent = parent;
        _parent.DangerousAddRef(ref _parentHeld);
        SetHandle(resource);
        (Address, Frames) = (address, frames);
    }

    /// <summary>Host address of the first frame; valid until this object is disposed.</summary>
    public nint Address { get; }

    public int Frames { get; }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        var done = _parent.UnmapResource(handle) == 0;
        if (_parentHeld) _parent.DangerousRelease();
        return done;
    }
}
