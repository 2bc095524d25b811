using System;
using System.Buffers.Binary;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HYPERVISOR_hvm_op (xen/public/hvm/hvm_op.h), as far as it is a guest's.</summary>
internal sealed class HvmOperations(XenGuest guest)
{
    private const byte FirstVector = 0x10;
    private const ushort TypeRam = 0, TypeRomRam = 1, TypeDevice = 2;

    public long Call(in HypercallArguments call)
    {
        switch (call.A1)
        {
            case 0 or 1:
                return Parameter(call);
            case 5:
                return call.A2 == 0 ? 0 : -Errno.EINVAL;
            case 9:
                return -Errno.EINVAL;
            case 10:
                Span<byte> time = stackalloc byte[8];
                BinaryPrimitives.WriteUInt64LittleEndian(time, guest.Now);
                return call.TryWrite(call.A2, time) ? 0 : -Errno.EFAULT;
            case 11 or 24:
                return 0;
            case 15:
                return MemoryType(call);
            case 23:
                Span<byte> upcall = stackalloc byte[8];
                if (!call.TryRead(call.A2, upcall)) return -Errno.EFAULT;
                var vcpu = BinaryPrimitives.ReadUInt32LittleEndian(upcall);
                if (upcall[4] < FirstVector) return -Errno.EINVAL;
                if (vcpu >= guest.Vcpus.Length) return -Errno.ENOENT;
                guest.Vcpus[(int)vcpu].UpcallVector = upcall[4];
                guest.Events.Upcall.Follow();
                guest.Events.Upcall.Raise(guest.Vcpus[(int)vcpu]);
                return 0;
            case 25:
                return -Errno.EOPNOTSUPP;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long Parameter(in HypercallArguments call)
    {
        Span<byte> parameter = stackalloc byte[16];
        if (!call.TryRead(call.A2, parameter)) return -Errno.EFAULT;
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(parameter))) return -Errno.EPERM;
        var index = BinaryPrimitives.ReadUInt32LittleEndian(parameter[4..]);
        var value = BinaryPrimitives.ReadUInt64LittleEndian(parameter[8..]);
        if (call.A1 == 0)
        {
            var set = guest.Parameters.Set(index, value);
            if (set != 0 || index != (uint)HvmParameter.CallbackIrq) return set;
            guest.LatchLayout(call.Is64);
            guest.Events.Upcall.Set(value);
            return 0;
        }

        var result = guest.Parameters.Get(index, out value);
        if (result != 0) return result;
        BinaryPrimitives.WriteUInt64LittleEndian(parameter[8..], value);
        return call.TryWrite(call.A2, parameter) ? 0 : -Errno.EFAULT;
    }

    private unsafe long MemoryType(in HypercallArguments call)
    {
        Span<byte> request = stackalloc byte[16];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        if (!guest.IsSelf(BinaryPrimitives.ReadUInt16LittleEndian(request))) return -Errno.EPERM;
        var frame = BinaryPrimitives.ReadUInt64LittleEndian(request[8..]);
        var writable = false;
        var host = frame < 1ul << 40 ? guest.Machine.Ram.Map.Find(frame << 12, out writable) : null;
        BinaryPrimitives.WriteUInt16LittleEndian(request[2..], host == null ? TypeDevice : writable ? TypeRam : TypeRomRam);
        return call.TryWrite(call.A2, request) ? 0 : -Errno.EFAULT;
    }
}
