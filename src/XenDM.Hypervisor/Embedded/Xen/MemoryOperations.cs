using System;
using System.Buffers.Binary;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HYPERVISOR_memory_op (xen/public/memory.h, xen/common/memory.c) of a guest whose frames are translated. Lists end at the first entry that fails.</summary>
internal sealed class MemoryOperations(XenGuest guest)
{
    /// <summary>The low bits are the command; those above are a continuation's.</summary>
    private const ulong CommandMask = 0x3f;

    private const int MaxExtentOrder = 9;
    private const int E820EntryBytes = 20;
    private const uint SpaceSharedInfo = 0, SpaceGrantTable = 1, SpaceFrame = 2, SpaceFrameRange = 3, SpaceForeign = 4, SpaceDevice = 5;

    /// <summary>A frame of grant status instead of one of the table.</summary>
    private const ulong StatusFrame = 1ul << 31;

    public long Call(in HypercallArguments call)
    {
        switch (call.A1 & CommandMask)
        {
            case 0: return 0;
            case 1: return Reserve(call, populate: false);
            case 2: return (long)guest.Physmap.LastFrame + 1;
            case 3: return Domain(call, (long)guest.Physmap.Pages);
            case 4: return Domain(call, (long)guest.MaxPages);
            case 6: return Reserve(call, populate: true);
            case 7: return AddToPhysmap(call);
            case 9: return MemoryMap(call);
            case 11 or 13 or 16 or 17 or 24 or 28: return -Errno.EPERM;
            case 14: return Domain(call, (long)guest.Physmap.LastFrame);
            case 15: return RemoveFromPhysmap(call);
            case 23: return AddBatch(call);
            case 26: return -Errno.EOPNOTSUPP;
            default: return -Errno.ENOSYS;
        }
    }

    /// <summary>A number about the domain that the argument names.</summary>
    private long Domain(in HypercallArguments call, long value)
    {
        Span<byte> domain = stackalloc byte[2];
        if (!call.TryRead(call.A2, domain)) return -Errno.EFAULT;
        return guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(domain)) ? value : -Errno.EPERM;
    }

    /// <summary>Fills frames with RAM, or gives RAM back.</summary>
    private long Reserve(in HypercallArguments call, bool populate)
    {
        Span<byte> reservation = stackalloc byte[call.Is64 ? 32 : 20];
        if (!call.TryRead(call.A2, reservation)) return -Errno.EFAULT;
        var frames = call.Long(reservation, 0);
        var count = call.Long(reservation, call.LongBytes);
        var order = BinaryPrimitives.ReadUInt32LittleEndian(reservation[(2 * call.LongBytes)..]);
        var domain = BinaryPrimitives.ReadUInt16LittleEndian(reservation[((2 * call.LongBytes) + 8)..]);
        if (!guest.IsSelf(domain)) return -Errno.EPERM;
        if (order > MaxExtentOrder) return 0;
        Span<byte> frame = stackalloc byte[call.LongBytes];
        ulong done = 0;
        // The guest asks again for the rest.
        for (; done < count; done++)
        {
            if (!guest.TrySpend(1ul << (int)order) || !call.TryRead(frames + (done * (ulong)call.LongBytes), frame)) break;
            var gfn = call.Long(frame, 0);
            var worked = true;
            for (ulong n = 0; n < 1ul << (int)order && worked; n++) worked = populate ? guest.Physmap.TryPopulate(gfn + n) : guest.Physmap.TryRemove(gfn + n);
            if (!worked) break;
        }

        return (long)done;
    }

    private long AddToPhysmap(in HypercallArguments call)
    {
        Span<byte> request = stackalloc byte[call.Is64 ? 24 : 16];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var domain = BinaryPrimitives.ReadUInt16LittleEndian(request);
        var size = BinaryPrimitives.ReadUInt16LittleEndian(request[2..]);
        var space = BinaryPrimitives.ReadUInt32LittleEndian(request[4..]);
        var index = call.Long(request, 8);
        var gfn = call.Long(request, 8 + call.LongBytes);
        if (!guest.IsSelf(domain)) return -Errno.EPERM;
        if (space != SpaceFrameRange) return Add(space, index, gfn);
        if (!guest.TrySpend(size)) return -Errno.EINVAL;
        for (ulong n = 0; n < size; n++)
            if (Add(SpaceFrame, index + n, gfn + n) is not 0 and var error) return error;
        return 0;
    }

    /// <summary>Lists of frames, with an error for each.</summary>
    private long AddBatch(in HypercallArguments call)
    {
        var longs = (ulong)call.LongBytes;
        Span<byte> request = stackalloc byte[call.Is64 ? 32 : 20];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var space = BinaryPrimitives.ReadUInt16LittleEndian(request[2..]);
        var size = BinaryPrimitives.ReadUInt16LittleEndian(request[4..]);
        var (indices, frames, errors) = (call.Long(request, 8), call.Long(request, 8 + call.LongBytes), call.Long(request, 8 + (2 * call.LongBytes)));
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(request))) return -Errno.EPERM;
        if (space == SpaceFrameRange || !guest.TrySpend(size)) return -Errno.EINVAL;
        Span<byte> index = stackalloc byte[call.LongBytes];
        Span<byte> frame = stackalloc byte[call.LongBytes];
        Span<byte> error = stackalloc byte[4];
        for (ulong n = 0; n < size; n++)
        {
            if (!call.TryRead(indices + (n * longs), index) || !call.TryRead(frames + (n * longs), frame)) return -Errno.EFAULT;
            BinaryPrimitives.WriteInt32LittleEndian(error, (int)Add(space, call.Long(index, 0), call.Long(frame, 0)));
            if (!call.TryWrite(errors + (n * 4), error)) return -Errno.EFAULT;
        }

        return 0;
    }

    private long Add(uint space, ulong index, ulong gfn)
    {
        switch (space)
        {
            case SpaceSharedInfo:
                return index == 0 && guest.TryShowShared(gfn) ? 0 : -Errno.EINVAL;
            case SpaceGrantTable:
                return guest.Grants.TryGetFrame((index & StatusFrame) != 0, index & ~StatusFrame, out var page) && guest.Physmap.TryShow(gfn, page) ? 0 : -Errno.EINVAL;
            case SpaceFrame:
                return guest.Physmap.TryMove(index, gfn) ? 0 : -Errno.EINVAL;
            case SpaceForeign:
                return -Errno.EPERM;
            case SpaceDevice:
                return -Errno.EOPNOTSUPP;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long RemoveFromPhysmap(in HypercallArguments call)
    {
        Span<byte> request = stackalloc byte[call.Is64 ? 16 : 8];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(request))) return -Errno.EPERM;
        return guest.Physmap.TryRemove(call.Long(request, call.LongBytes)) ? 0 : -Errno.EINVAL;
    }

    private long MemoryMap(in HypercallArguments call)
    {
        Span<byte> request = stackalloc byte[2 * call.LongBytes];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var room = BinaryPrimitives.ReadUInt32LittleEndian(request);
        var buffer = call.Long(request, call.LongBytes);
        Span<byte> entry = stackalloc byte[E820EntryBytes];
        uint count = 0;
        foreach (var (start, bytes) in guest.MemoryMap)
        {
            if (count == room) break;
            BinaryPrimitives.WriteUInt64LittleEndian(entry, start);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], bytes);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[16..], 1);
            if (!call.TryWrite(buffer + (count * E820EntryBytes), entry)) return -Errno.EFAULT;
            count++;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(request, count);
        return call.TryWrite(call.A2, request) ? 0 : -Errno.EFAULT;
    }
}
