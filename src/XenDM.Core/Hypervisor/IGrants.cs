using System;

namespace XenDM.Core.Hypervisor;

/// <summary>
/// Pages that a guest granted, in this process's memory until they are unmapped by disposing. They need not lie side by side. The guest can change
/// them at any time: what is checked has to be copied first.
/// </summary>
public interface IGrantMapping : IDisposable
{
    /// <summary>Pages of 4 KiB.</summary>
    int Pages { get; }

    /// <summary>Host address of a page, which stays until this is disposed.</summary>
    nint Address(int page);

    /// <summary>Copies bytes out, across pages.</summary>
    /// <param name="offset">From the start of the first page; what is asked for must lie within the mapping.</param>
    void Read(int offset, Span<byte> destination);

    /// <summary>Copies bytes in, across pages.</summary>
    /// <inheritdoc cref="Read"/>
    void Write(int offset, ReadOnlySpan<byte> source);

    /// <summary>A ring's index, 32 bits: what is read afterwards is at least as new.</summary>
    /// <param name="offset">A multiple of 4.</param>
    uint ReadIndex(int offset);

    /// <summary>Sets a ring's index: what was written before is seen before it.</summary>
    /// <inheritdoc cref="ReadIndex"/>
    void WriteIndex(int offset, uint value);

    /// <summary>A page was written through <see cref="Address"/>: said before the guest is notified.</summary>
    void Written(int page);
}

/// <summary>One piece of a batch copy between a granted page and memory of this process (gnttab_copy of xen/public/grant_table.h).</summary>
public struct GrantCopy
{
    /// <summary>The guest's grant.</summary>
    public uint Reference;

    /// <summary>First byte in the granted page, and how many; they must not cross its end.</summary>
    public ushort Offset, Length;

    /// <summary>From this process to the guest; else the other way.</summary>
    public bool ToGuest;

    /// <summary>Address in memory of this process that does not move (<see cref="Memory.PinnedBuffer"/>).</summary>
    public nint Local;

    /// <summary>GNTST_*: 0 when it was done, else negative.</summary>
    public short Status;
}

/// <summary>
/// A backend's use of guests' grants: libxengnttab's, or the embedded machine's own. From any thread, but a mapping from one at a time.
/// </summary>
public interface IGrants
{
    /// <summary>Maps pages that a guest granted to this domain.</summary>
    /// <param name="writable">They are written too.</param>
    /// <returns>Null when the guest does not grant all of them so, or no more can be mapped.</returns>
    IGrantMapping? TryMap(int domain, ReadOnlySpan<uint> references, bool writable);

    /// <summary>
    /// Maps the pages of a ring for writing, as <see cref="TryMap"/> does. Where this process can end without its guest, the guest gets an event when a ring
    /// of one page is unmapped, however that comes: a front end does not wait for one that a dead backend owes it.
    /// </summary>
    /// <param name="channel">Of the same guest, from the <see cref="IEventChannels"/> beside these grants.</param>
    IGrantMapping? TryMapRing(int domain, ReadOnlySpan<uint> references, IEventChannel channel) => TryMap(domain, references, writable: true);

    /// <summary>Copies pieces, each for itself; how it went stands in each.</summary>
    void Copy(int domain, Span<GrantCopy> pieces);
}
