using System;
using System.Buffers.Binary;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HYPERVISOR_vcpu_op (xen/public/vcpu.h, xen/common/domain.c) and HYPERVISOR_set_timer_op.</summary>
internal sealed class VcpuOperations(XenGuest guest)
{
    private const int InfoAlignment = 8;

    /// <summary>What is further away than this is a mistake of the guest's; Xen looks at it after 100 ms.</summary>
    private const int FarAwayBits = 50;
    private const ulong FarAwayDelay = 100_000_000;

    public long Call(in HypercallArguments call)
    {
        var number = (uint)call.A2;
        if (number >= guest.Vcpus.Length) return -Errno.ENOENT;
        var vcpu = guest.Vcpus[(int)number];
        var isOwn = vcpu.Cpu == call.Cpu;
        switch ((uint)call.A1)
        {
            case 0: return Initialise(call, vcpu);
            case 1: return Up(vcpu);
            case 2:
                guest.Machine.SetOffline(vcpu.Index);
                if (!guest.Machine.IsAnyOnline) guest.Shutdown(Core.Hypervisor.ShutdownReason.PowerOff);
                return 0;
            case 3: return guest.Machine.IsOnline(vcpu.Index) ? 1 : 0;
            case 4:
                Span<byte> area = stackalloc byte[48];
                return call.TryWrite(call.A3, vcpu.WriteRunstate(area, call.Is64, guest.Now)) ? 0 : -Errno.EFAULT;
            case 5: return RegisterRunstate(call, vcpu);
            case 6: return SetPeriod(call, vcpu);
            case 7:
                guest.Timers.SetPeriod(vcpu.Index, 0);
                return 0;
            case 8: return isOwn ? SetSingle(call, vcpu) : -Errno.EINVAL;
            case 9:
                if (!isOwn) return -Errno.EINVAL;
                guest.Timers.StopSingle(vcpu.Index);
                return 0;
            case 10: return RegisterInfo(call, vcpu, isOwn);
            case 11:
                vcpu.Wake();
                vcpu.Cpu.RaiseNmi();
                return 0;
            case 12: return -Errno.EINVAL;
            case 13: return RegisterTime(call, vcpu, isOwn);
            default: return -Errno.ENOSYS;
        }
    }

    /// <summary>HYPERVISOR_set_timer_op: the one-shot timer of the vCPU, by one argument of 64 bits or two of 32.</summary>
    public long SetTimer(in HypercallArguments call)
    {
        var deadline = call.Is64 ? call.A1 : (uint)call.A1 | (call.A2 << 32);
        if (deadline == 0) guest.Timers.StopSingle(call.Cpu.Index);
        else if ((long)deadline < 0 || (deadline > guest.Now && (deadline - guest.Now) >> FarAwayBits != 0)) guest.Timers.ArmSingle(call.Cpu.Index, guest.Now + FarAwayDelay);
        else guest.Timers.ArmSingle(call.Cpu.Index, deadline);
        return 0;
    }

    private long Initialise(in HypercallArguments call, XenVcpu vcpu)
    {
        Span<byte> context = stackalloc byte[VcpuContext.Bytes];
        if (!call.TryRead(call.A3, context)) return -Errno.EFAULT;
        if (vcpu.IsInitialised || vcpu.Cpu == call.Cpu || guest.Machine.IsOnline(vcpu.Index)) return -Errno.EEXIST;
        if (!VcpuContext.TryLoad(vcpu.Cpu, context)) return -Errno.EINVAL;
        vcpu.IsInitialised = true;
        return 0;
    }

    private long Up(XenVcpu vcpu)
    {
        if (!vcpu.IsInitialised) return -Errno.EINVAL;
        guest.Machine.SetOnline(vcpu.Index);
        return 0;
    }

    private static bool TryReadPointer(in HypercallArguments call, out ulong pointer)
    {
        Span<byte> raw = stackalloc byte[call.LongBytes];
        pointer = 0;
        if (!call.TryRead(call.A3, raw)) return false;
        pointer = call.Long(raw, 0);
        return true;
    }

    private long RegisterRunstate(in HypercallArguments call, XenVcpu vcpu)
    {
        if (!TryReadPointer(call, out var pointer)) return -Errno.EFAULT;
        vcpu.RegisterRunstate(pointer, call.Is64);
        Span<byte> area = stackalloc byte[48];
        if (pointer != 0) call.TryWrite(pointer, vcpu.WriteRunstate(area, call.Is64, guest.Now));
        return 0;
    }

    private long RegisterTime(in HypercallArguments call, XenVcpu vcpu, bool isOwn)
    {
        if (!TryReadPointer(call, out var pointer)) return -Errno.EFAULT;
        vcpu.RegisterTime(pointer);
        if (isOwn) vcpu.UpdateAreas(guest.Now);
        return 0;
    }

    private long SetPeriod(in HypercallArguments call, XenVcpu vcpu)
    {
        Span<byte> request = stackalloc byte[8];
        if (!call.TryRead(call.A3, request)) return -Errno.EFAULT;
        var period = BinaryPrimitives.ReadUInt64LittleEndian(request);
        if (period < XenTimers.MinPeriod || period > long.MaxValue / 2) return -Errno.EINVAL;
        guest.Timers.SetPeriod(vcpu.Index, period);
        return 0;
    }

    private long SetSingle(in HypercallArguments call, XenVcpu vcpu)
    {
        // 32-bit code pads the structure to 12 bytes.
        Span<byte> request = stackalloc byte[12];
        if (!call.TryRead(call.A3, request)) return -Errno.EFAULT;
        var deadline = BinaryPrimitives.ReadUInt64LittleEndian(request);
        var mustBeFuture = (BinaryPrimitives.ReadUInt32LittleEndian(request[8..]) & 1) != 0;
        if (mustBeFuture && deadline < guest.Now) return -XenConstants.ETIME;
        guest.Timers.ArmSingle(vcpu.Index, deadline);
        return 0;
    }

    private long RegisterInfo(in HypercallArguments call, XenVcpu vcpu, bool isOwn)
    {
        Span<byte> request = stackalloc byte[16];
        if (!call.TryRead(call.A3, request)) return -Errno.EFAULT;
        var gfn = BinaryPrimitives.ReadUInt64LittleEndian(request);
        var offset = BinaryPrimitives.ReadUInt32LittleEndian(request[8..]);
        if (offset > 4096 - SharedInfo.VcpuInfoBytes || offset % InfoAlignment != 0) return -Errno.ENXIO;
        if (vcpu.HasOwnInfo || (!isOwn && guest.Machine.IsOnline(vcpu.Index))) return -Errno.EINVAL;
        if (!guest.Physmap.TryHold(gfn, out var page)) return -Errno.EINVAL;
        vcpu.MoveInfo(page, (gfn << 12) | offset);
        vcpu.SelectAll(guest.Shared.Is64);
        guest.Events.Upcall.Raise(vcpu);
        return 0;
    }
}
