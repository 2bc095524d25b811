using System;
using System.Buffers.Binary;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>HYPERVISOR_event_channel_op: the structures of xen/public/event_channel.h, which are the same for 32- and 64-bit callers.</summary>
internal sealed class EventOperations(EventChannels channels, int domain)
{
    private const uint BindInterdomain = 0, BindVirq = 1, BindPirq = 2, Close = 3, Send = 4, Status = 5, AllocUnbound = 6, BindIpi = 7, BindVcpu = 8, Unmask = 9, Reset = 10,
        InitControl = 11, ExpandArray = 12, SetPriority = 13;

    public long Call(in HypercallArguments call)
    {
        if (call.A1 > SetPriority) return -Errno.ENOSYS;
        Span<byte> buffer = stackalloc byte[24];
        buffer.Clear();
        var request = buffer[..(call.A1 switch { BindInterdomain or BindVirq or BindPirq => 12, Close or Send or Unmask => 4, Status or InitControl => 24, Reset => 2, _ => 8 })];
        if (!call.TryRead(call.A2, request)) return -Errno.EFAULT;
        var first = BinaryPrimitives.ReadUInt32LittleEndian(buffer);
        var second = BinaryPrimitives.ReadUInt32LittleEndian(buffer[4..]);
        switch ((uint)call.A1)
        {
            case BindInterdomain: return Answer(call, request, 8, channels.BindInterdomain((ushort)first, second));
            case BindVirq: return Answer(call, request, 8, channels.BindVirq(first, second));
            case BindPirq: return -Errno.EPERM;
            case Close: return channels.Close(first);
            case Send: return channels.Send(first);
            case Status: return GetStatus(call, request);
            case AllocUnbound: return IsSelf((ushort)first) ? Answer(call, request, 4, channels.AllocateUnbound((ushort)(first >> 16))) : NotSelf((ushort)first);
            case BindIpi: return Answer(call, request, 4, channels.BindIpi(first));
            case BindVcpu: return channels.BindVcpu(first, second);
            case Unmask: return channels.Unmask(first);
            case Reset:
                if (!IsSelf((ushort)first)) return NotSelf((ushort)first);
                channels.CloseAll();
                return 0;
            case InitControl:
                var result = channels.InitControl(BinaryPrimitives.ReadUInt32LittleEndian(request[12..]), BinaryPrimitives.ReadUInt64LittleEndian(request), BinaryPrimitives.ReadUInt32LittleEndian(request[8..]));
                if (result != 0) return result;
                request[16] = FifoEvents.LinkBits;
                return call.TryWrite(call.A2, request) ? 0 : -Errno.EFAULT;
            case ExpandArray: return channels.ExpandArray(BinaryPrimitives.ReadUInt64LittleEndian(request));
            default: return channels.SetPriority(first, second);
        }
    }

    /// <summary>Writes the port that was made back; what nobody learns of is closed again.</summary>
    private long Answer(in HypercallArguments call, Span<byte> request, int at, long port)
    {
        if (port < 0) return port;
        BinaryPrimitives.WriteUInt32LittleEndian(request[at..], (uint)port);
        if (call.TryWrite(call.A2, request)) return 0;
        channels.Close((uint)port);
        return -Errno.EFAULT;
    }

    private long GetStatus(in HypercallArguments call, Span<byte> request)
    {
        var owner = BinaryPrimitives.ReadUInt16LittleEndian(request);
        if (!IsSelf(owner)) return NotSelf(owner);
        var number = BinaryPrimitives.ReadUInt32LittleEndian(request[4..]);
        if (!EventChannels.IsValid(number)) return -Errno.EINVAL;
        ref readonly var port = ref channels[number];
        request[16..].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(request[8..], (uint)port.State);
        BinaryPrimitives.WriteUInt32LittleEndian(request[12..], port.Vcpu);
        if (port.State is PortState.Unbound or PortState.Interdomain) BinaryPrimitives.WriteUInt16LittleEndian(request[16..], port.RemoteDomain);
        if (port.State == PortState.Interdomain) BinaryPrimitives.WriteUInt32LittleEndian(request[20..], port.RemotePort);
        if (port.State == PortState.Virq) BinaryPrimitives.WriteUInt32LittleEndian(request[16..], port.Virq);
        return call.TryWrite(call.A2, request) ? 0 : -Errno.EFAULT;
    }

    private bool IsSelf(ushort owner) => owner == XenConstants.DomainSelf || owner == domain;

    private static long NotSelf(ushort owner) => owner == XenConstants.DomainZero ? -Errno.EPERM : -Errno.ESRCH;
}
