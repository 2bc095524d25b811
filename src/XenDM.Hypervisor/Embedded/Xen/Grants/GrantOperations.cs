using System;
using System.Buffers.Binary;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Grants;

/// <summary>
/// HYPERVISOR_grant_table_op, the guest's side (xen/public/grant_table.h). The only grants that a guest can use are its own to itself: domain 0
/// gives it none. Structures differ between 32- and 64-bit callers where they have a pointer or a frame number.
/// </summary>
internal sealed class GrantOperations(XenGuest guest)
{
    private const int PageBytes = 4096;
    private const ushort CopySourceIsGrant = 1, CopyDestinationIsGrant = 2;

    private delegate bool Worker(GrantOperations self, in HypercallArguments call, Span<byte> entry);

    public long Call(in HypercallArguments call)
    {
        switch ((uint)call.A1)
        {
            case 0: return Each(call, 32, static (self, in call, entry) => Fail(entry, 18, self.Map(entry)));
            case 1: return Each(call, 24, static (_, in _, entry) => Fail(entry, 20, GrantStatus.BadHandle));
            case 2: return call.A3 == 1 ? Each(call, call.Is64 ? 24 : 16, static (self, in call, entry) => self.SetUp(call, entry)) : -Errno.EINVAL;
            case 5: return Each(call, call.Is64 ? 40 : 24, static (self, in call, entry) => self.Copy(call, entry));
            case 6: return call.A3 == 1 ? Each(call, 16, static (self, in _, entry) => self.QuerySize(entry)) : -Errno.EINVAL;
            case 8: return SetVersion(call);
            case 10: return GetVersion(call);
            case 11: return Each(call, 12, static (self, in _, entry) => Fail(entry, 8, self.Swap(entry)));
            default: return -Errno.ENOSYS;
        }
    }

    /// <summary>Works off an array in the guest's memory; each entry is written back with its status.</summary>
    private long Each(in HypercallArguments call, int bytes, Worker work)
    {
        if (!guest.TrySpend(call.A3)) return -Errno.EINVAL;
        Span<byte> entry = stackalloc byte[40];
        entry = entry[..bytes];
        for (ulong n = 0; n < call.A3; n++)
        {
            var at = call.A2 + (n * (ulong)bytes);
            if (!call.TryRead(at, entry) || !work(this, call, entry) || !call.TryWrite(at, entry)) return -Errno.EFAULT;
        }

        return 0;
    }

    private static bool Fail(Span<byte> entry, int at, GrantStatus status)
    {
        BinaryPrimitives.WriteInt16LittleEndian(entry[at..], (short)status);
        return true;
    }

    private GrantStatus Map(ReadOnlySpan<byte> entry)
    {
        var owner = BinaryPrimitives.ReadUInt16LittleEndian(entry[16..]);
        return guest.IsSelf(owner) ? GrantStatus.GeneralError : owner == XenConstants.DomainZero ? GrantStatus.BadReference : GrantStatus.BadDomain;
    }

    private GrantStatus Swap(ReadOnlySpan<byte> entry) => guest.Grants.Swap(BinaryPrimitives.ReadUInt32LittleEndian(entry), BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]));

    /// <summary>A guest of translated frames finds the table where it put it; frames that it did not put anywhere read all ones.</summary>
    private bool SetUp(in HypercallArguments call, Span<byte> entry)
    {
        var count = BinaryPrimitives.ReadUInt32LittleEndian(entry[4..]);
        var list = call.Long(entry, call.Is64 ? 16 : 12);
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(entry))) return Fail(entry, 8, GrantStatus.PermissionDenied);
        if (count > GrantTable.MaxFrames || !guest.Grants.TryGrow((int)count)) return Fail(entry, 8, GrantStatus.GeneralError);
        Span<byte> frame = stackalloc byte[call.LongBytes];
        for (ulong n = 0; n < count; n++)
        {
            if (!guest.Grants.TryGetFrame(false, n, out var page)) return Fail(entry, 8, GrantStatus.GeneralError);
            if (guest.Physmap.TryGetFrame(page, out var gfn)) WriteLong(call, frame, gfn);
            else frame.Fill(0xff);
            if (!call.TryWrite(list + (n * (ulong)call.LongBytes), frame)) return false;
        }

        return Fail(entry, 8, GrantStatus.Okay);
    }

    private static void WriteLong(in HypercallArguments call, Span<byte> to, ulong value)
    {
        if (call.Is64) BinaryPrimitives.WriteUInt64LittleEndian(to, value);
        else BinaryPrimitives.WriteUInt32LittleEndian(to, (uint)value);
    }

    private bool QuerySize(Span<byte> entry)
    {
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(entry))) return Fail(entry, 12, GrantStatus.PermissionDenied);
        BinaryPrimitives.WriteInt32LittleEndian(entry[4..], guest.Grants.Frames);
        BinaryPrimitives.WriteInt32LittleEndian(entry[8..], GrantTable.MaxFrames);
        return Fail(entry, 12, GrantStatus.Okay);
    }

    private long SetVersion(in HypercallArguments call)
    {
        if (call.A3 != 1) return -Errno.EINVAL;
        Span<byte> version = stackalloc byte[4];
        if (!call.TryRead(call.A2, version)) return -Errno.EFAULT;
        var result = guest.Grants.SetVersion(BinaryPrimitives.ReadUInt32LittleEndian(version));
        BinaryPrimitives.WriteInt32LittleEndian(version, guest.Grants.Version);
        return call.TryWrite(call.A2, version) ? result : -Errno.EFAULT;
    }

    private long GetVersion(in HypercallArguments call)
    {
        if (call.A3 != 1) return -Errno.EINVAL;
        Span<byte> request = stackalloc byte[8];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(request))) return -Errno.EPERM;
        BinaryPrimitives.WriteInt32LittleEndian(request[4..], guest.Grants.Version);
        return call.TryWrite(call.A2, request) ? 0 : -Errno.EFAULT;
    }

    private readonly record struct Side(bool IsGrant, uint Reference, bool Write, GrantedPage Page);

    /// <summary>GNTTABOP_copy: bytes within one page, each side a frame of the guest's or a grant of its to itself.</summary>
    private bool Copy(in HypercallArguments call, Span<byte> entry)
    {
        var pointer = call.Is64 ? 16 : 8;
        var length = BinaryPrimitives.ReadUInt16LittleEndian(entry[(2 * pointer)..]);
        var flags = BinaryPrimitives.ReadUInt16LittleEndian(entry[((2 * pointer) + 2)..]);
        var statusAt = (2 * pointer) + 4;
        var status = Open(call, entry[..pointer], (flags & CopySourceIsGrant) != 0, length, false, out var source, out var from);
        if (status == GrantStatus.Okay)
        {
            status = Open(call, entry[pointer..], (flags & CopyDestinationIsGrant) != 0, length, true, out var destination, out var to);
            if (status == GrantStatus.Okay)
            {
                Physmap.Bytes(source.Page.Page).Slice(from, length).CopyTo(Physmap.Bytes(destination.Page.Page)[to..]);
                guest.Physmap.Written(destination.Page.Page);
                Close(destination);
            }

            Close(source);
        }

        return Fail(entry, statusAt, status);
    }

    private GrantStatus Open(in HypercallArguments call, ReadOnlySpan<byte> pointer, bool isGrant, int length, bool write, out Side side, out int offset)
    {
        side = default;
        var domain = BinaryPrimitives.ReadUInt16LittleEndian(pointer[call.LongBytes..]);
        offset = BinaryPrimitives.ReadUInt16LittleEndian(pointer[(call.LongBytes + 2)..]);
        if (!guest.IsSelf(domain)) return domain == XenConstants.DomainZero ? GrantStatus.PermissionDenied : GrantStatus.BadDomain;
        if (offset + length > PageBytes) return GrantStatus.BadCopyArgument;
        if (!isGrant)
        {
            if (!guest.Physmap.TryHold(call.Long(pointer, 0), out var page)) return GrantStatus.BadPage;
            side = new Side(false, 0, write, new GrantedPage(page, 0, PageBytes));
            return GrantStatus.Okay;
        }

        var reference = BinaryPrimitives.ReadUInt32LittleEndian(pointer);
        var status = guest.Grants.Begin(reference, guest.Grants.Domain, write, false, out var granted);
        if (status != GrantStatus.Okay) return status;
        side = new Side(true, reference, write, granted);
        if (offset >= granted.Offset && offset + length <= granted.Offset + granted.Bytes) return GrantStatus.Okay;
        Close(side);
        return GrantStatus.GeneralError;
    }

    private void Close(in Side side)
    {
        if (side.IsGrant) guest.Grants.End(side.Reference, side.Write, side.Page);
        else guest.Physmap.Release(side.Page.Page);
    }
}
