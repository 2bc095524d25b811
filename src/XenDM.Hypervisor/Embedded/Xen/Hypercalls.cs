using System;
using System.Buffers.Binary;
using System.Text;
using XenDM.Core.Hypervisor;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// The hypercalls that guests' firmware makes (xen/public/xen.h, version 4.17). Every pointer and count is the guest's: what cannot be read or
/// written fails with EFAULT, lists are worked off until the first entry that fails.
/// </summary>
internal sealed class Hypercalls(XenGuest guest)
{
    private const int MemoryOp = 12;
    private const int XenVersion = 17;
    private const int ConsoleIo = 18;
    private const int SchedOp = 29;
    private const int EventChannelOp = 32;
    private const int HvmOp = 34;

    private const ushort DomainSelf = 0x7ff0;

    /// <summary>4.17, in the form major in 31:16.</summary>
    public const uint Version = 0x0004_0011;
    private const int ExtraVersionBytes = 16;
    private static readonly byte[] s_extraVersion = [.. ".0"u8];

    /// <summary>writable page tables, auto-translated physmap, callback vectors, safe clocks, memory_op of virtual nodes, not direct mapped.</summary>
    private const uint Features = 0x1_2305;

    /// <summary>Entries of one list; the rest is left for the next call, which is how Xen itself goes about it.</summary>
    private const ulong MaxEntries = 1 << 16;
    private const int MaxExtentOrder = 9;
    private const int MaxConsoleBytes = 4096;
    private const int E820EntryBytes = 20;

    /// <summary>Carries a call out.</summary>
    /// <param name="number">Of the hypercall.</param>
    /// <returns>What the guest gets: a value, or a negative errno.</returns>
    public long Call(uint number, in HypercallArguments call) => number switch
    {
        MemoryOp => Memory(call),
        XenVersion => GetVersion(call),
        ConsoleIo => Console(call),
        SchedOp => Schedule(call),
        EventChannelOp => EventChannel(call),
        HvmOp => Hvm(call),
        _ => -Errno.ENOSYS,
    };

    private long GetVersion(in HypercallArguments call)
    {
        switch (call.A1)
        {
            case 0:
                return Version;
            case 1:
                Span<byte> extra = stackalloc byte[ExtraVersionBytes];
                extra.Clear();
                s_extraVersion.CopyTo(extra);
                return call.TryWrite(call.A2, extra) ? 0 : -Errno.EFAULT;
            case 6:
                Span<byte> features = stackalloc byte[8];
                if (!call.TryRead(call.A2, features)) return -Errno.EFAULT;
                var index = BinaryPrimitives.ReadUInt32LittleEndian(features);
                if (index > 1) return -Errno.EINVAL;
                BinaryPrimitives.WriteUInt32LittleEndian(features[4..], index == 0 ? Features : 0);
                return call.TryWrite(call.A2, features) ? 0 : -Errno.EFAULT;
            case 7:
                return 4096;
            case 8:
                return call.TryWrite(call.A2, guest.Uuid) ? 0 : -Errno.EFAULT;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long Memory(in HypercallArguments call)
    {
        // The bits above are a continuation's.
        switch (call.A1 & 0x3f)
        {
            case 1: return Reserve(call, populate: false);
            case 6: return Reserve(call, populate: true);
            case 7: return AddToPhysmap(call);
            case 9: return MemoryMap(call);
            case 15: return RemoveFromPhysmap(call);
            case 26: return -Errno.EOPNOTSUPP;
            default: return -Errno.ENOSYS;
        }
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
        if (domain != DomainSelf && domain != guest.DomainId) return -Errno.EPERM;
        if (order > MaxExtentOrder) return 0;
        Span<byte> frame = stackalloc byte[call.LongBytes];
        ulong done = 0;
        for (; done < Math.Min(count, MaxEntries); done++)
        {
            if (!call.TryRead(frames + (done * (ulong)call.LongBytes), frame)) break;
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
        if (domain != DomainSelf && domain != guest.DomainId) return -Errno.EPERM;
        switch (space)
        {
            case 0:
                return index == 0 && guest.Physmap.TryShow(gfn, guest.Shared.Page) ? 0 : -Errno.EINVAL;
            case 2:
                return guest.Physmap.TryMove(index, gfn) ? 0 : -Errno.EINVAL;
            case 3:
                for (ulong n = 0; n < size; n++)
                    if (!guest.Physmap.TryMove(index + n, gfn + n)) return -Errno.EINVAL;
                return 0;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long RemoveFromPhysmap(in HypercallArguments call)
    {
        Span<byte> request = stackalloc byte[call.Is64 ? 16 : 8];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var domain = BinaryPrimitives.ReadUInt16LittleEndian(request);
        if (domain != DomainSelf && domain != guest.DomainId) return -Errno.EPERM;
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

    private long Console(in HypercallArguments call)
    {
        if (call.A1 != 0) return -Errno.EPERM;
        var count = (int)Math.Min(call.A2, MaxConsoleBytes);
        var text = new byte[count];
        if (!call.TryRead(call.A3, text)) return -Errno.EFAULT;
        guest.Log.Guest("xen", Encoding.Latin1.GetString(text).TrimEnd());
        return 0;
    }

    private long Schedule(in HypercallArguments call)
    {
        Span<byte> argument = stackalloc byte[4];
        switch (call.A1)
        {
            // A vCPU that yields, blocks or polls may come back at any time.
            case 0 or 1 or 3:
                return 0;
            case 2 or 5:
                if (!call.TryRead(call.A2, argument)) return -Errno.EFAULT;
                var reason = BinaryPrimitives.ReadUInt32LittleEndian(argument);
                if (reason > 5) return -Errno.EINVAL;
                if (call.A1 == 2) guest.Shutdown(reason switch { 0 => ShutdownReason.PowerOff, 1 or 5 => ShutdownReason.Reboot, 2 => ShutdownReason.Suspend, _ => ShutdownReason.Crash });
                return 0;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long EventChannel(in HypercallArguments call)
    {
        if (call.A1 != 4) return -Errno.ENOSYS;
        Span<byte> port = stackalloc byte[4];
        if (!call.TryRead(call.A2, port)) return -Errno.EFAULT;
        return guest.Send(BinaryPrimitives.ReadUInt32LittleEndian(port)) ? 0 : -Errno.EINVAL;
    }

    private long Hvm(in HypercallArguments call)
    {
        if (call.A1 > 1) return call.A1 switch { 5 => call.A2 == 0 ? 0 : -Errno.EINVAL, 9 => -Errno.EINVAL, _ => -Errno.ENOSYS };
        Span<byte> parameter = stackalloc byte[16];
        if (!call.TryRead(call.A2, parameter)) return -Errno.EFAULT;
        var domain = BinaryPrimitives.ReadUInt16LittleEndian(parameter);
        var index = BinaryPrimitives.ReadUInt32LittleEndian(parameter[4..]);
        if (domain != DomainSelf && domain != guest.DomainId) return -Errno.EPERM;
        if (call.A1 == 0)
        {
            if (index == (uint)HvmParameter.CallbackIrq) guest.Shared.Is64 = call.Is64;
            return guest.Parameters.Set(index, BinaryPrimitives.ReadUInt64LittleEndian(parameter[8..]));
        }

        var result = guest.Parameters.Get(index, out var value);
        if (result != 0) return result;
        BinaryPrimitives.WriteUInt64LittleEndian(parameter[8..], value);
        return call.TryWrite(call.A2, parameter) ? 0 : -Errno.EFAULT;
    }
}
