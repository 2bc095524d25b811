using System;
using System.Buffers.Binary;
using XenDM.Core.Hypervisor;
using XenDM.Hypervisor.Embedded.Xen.Events;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>HYPERVISOR_sched_op (xen/public/sched.h, xen/common/sched/core.c). A vCPU that blocks or polls does not run until what it waits for comes.</summary>
internal sealed class SchedulerOperations(XenGuest guest)
{
    private const uint MaxPollPorts = 128;
    private const uint MaxReason = 5;

    public long Call(in HypercallArguments call)
    {
        var vcpu = guest.Vcpus[call.Cpu.Index];
        switch (call.A1)
        {
            case 0:
                call.Cpu.RequestExit();
                return 0;
            case 1:
                if (!guest.HasWork(vcpu)) vcpu.StartWait(VcpuWait.Block);
                return 0;
            case 2 or 5:
                Span<byte> argument = stackalloc byte[4];
                if (!call.TryRead(call.A2, argument)) return -Errno.EFAULT;
                var reason = BinaryPrimitives.ReadUInt32LittleEndian(argument);
                if (reason > MaxReason) return -Errno.EINVAL;
                if (call.A1 == 2) guest.Shutdown(reason switch { 0 => ShutdownReason.PowerOff, 1 or 5 => ShutdownReason.Reboot, 2 => ShutdownReason.Suspend, _ => ShutdownReason.Crash });
                return 0;
            case 3:
                return Poll(call, vcpu);
            case 4:
                return -Errno.EPERM;
            case 6:
                Span<byte> watchdog = stackalloc byte[8];
                if (!call.TryRead(call.A2, watchdog)) return -Errno.EFAULT;
                return guest.Timers.SetWatchdog(BinaryPrimitives.ReadUInt32LittleEndian(watchdog), BinaryPrimitives.ReadUInt32LittleEndian(watchdog[4..]));
            case 7:
                return -Errno.EPERM;
            default:
                return -Errno.ENOSYS;
        }
    }

    private long Poll(in HypercallArguments call, XenVcpu vcpu)
    {
        Span<byte> request = stackalloc byte[call.Is64 ? 24 : 16];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var ports = call.Long(request, 0);
        var count = BinaryPrimitives.ReadUInt32LittleEndian(request[call.LongBytes..]);
        var timeout = BinaryPrimitives.ReadUInt64LittleEndian(request[(call.Is64 ? 16 : 8)..]);
        if (count > MaxPollPorts) return -Errno.EINVAL;
        if (guest.HasWork(vcpu)) return 0;
        Span<byte> raw = stackalloc byte[4];
        uint port = 0;
        for (uint n = 0; n < count; n++)
        {
            if (!call.TryRead(ports + (n * 4), raw)) return -Errno.EFAULT;
            port = BinaryPrimitives.ReadUInt32LittleEndian(raw);
            if (!EventChannels.IsValid(port)) return -Errno.EINVAL;
            if (guest.Events.IsPending(port)) return 0;
        }

        if (timeout != 0)
        {
            if (timeout <= guest.Now) return 0;
            guest.Timers.ArmPoll(vcpu.Index, timeout);
        }

        vcpu.StartWait(VcpuWait.Poll, count == 1 ? port : 0);
        return 0;
    }
}
