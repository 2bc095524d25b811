using System;
using XenDM.Core.State;
using XenDM.Interop.Libc;

namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>
/// The guest's event channels (xen/public/event_channel.h, xen/common/event_channel.c): who is bound to what, and how a port becomes pending.
/// As many ports as libxl gives a guest by default. Everything runs on the machine thread.
/// </summary>
internal sealed class EventChannels : IStateful
{
    /// <summary>Ports 1 to 1023, libxl's default of max_event_channels.</summary>
    public const uint Ports = 1024;

    private readonly EventPort[] _ports = new EventPort[Ports];
    private readonly XenVcpu[] _vcpus;
    private readonly int _domain;
    private readonly uint[] _virqs;
    private TwoLevelEvents _twoLevel = null!;

    public EventChannels(Physmap physmap, EmbeddedMachine machine, XenVcpu[] vcpus, int domain)
    {
        _vcpus = vcpus;
        _domain = domain;
        _virqs = new uint[vcpus.Length * XenConstants.Virqs];
        Fifo = new FifoEvents(physmap, vcpus.Length);
        Upcall = new Upcall(machine, vcpus);
    }

    public Upcall Upcall { get; }

    public FifoEvents Fifo { get; }

    /// <summary>All ports are free, and the guest is told of nothing.</summary>
    public void Reset(SharedInfo shared)
    {
        for (uint n = 1; n < Ports; n++)
            if (_ports[n].Peer is { } peer) peer.Closed();
        Array.Clear(_ports);
        Array.Clear(_virqs);
        Fifo.Reset();
        Upcall.Reset();
        _twoLevel = new TwoLevelEvents(shared);
    }

    // Binding. What fails gives a negative errno, what succeeds a port.

    /// <summary>EVTCHNOP_alloc_unbound.</summary>
    public long AllocateUnbound(ushort remote)
    {
        var port = Allocate(PortState.Unbound);
        if (port > 0) _ports[port].RemoteDomain = Own(remote);
        return port;
    }

    /// <summary>EVTCHNOP_bind_interdomain; the guest binds to a port of its own, for nobody else offers it any.</summary>
    public long BindInterdomain(ushort remoteDomain, uint remotePort)
    {
        if (Own(remoteDomain) != _domain) return remoteDomain == XenConstants.DomainZero ? -Errno.EINVAL : -Errno.ESRCH;
        if (!IsValid(remotePort) || _ports[remotePort] is not { State: PortState.Unbound } remote || remote.RemoteDomain != _domain) return -Errno.EINVAL;
        var port = Allocate(PortState.Interdomain);
        if (port < 0) return port;
        (_ports[port].RemoteDomain, _ports[port].RemotePort) = ((ushort)_domain, remotePort);
        (_ports[remotePort].State, _ports[remotePort].RemotePort) = (PortState.Interdomain, (uint)port);
        SetPending((uint)port);
        return port;
    }

    /// <summary>EVTCHNOP_bind_virq.</summary>
    public long BindVirq(uint virq, uint vcpu)
    {
        if (virq >= XenConstants.Virqs || (!IsPerVcpu(virq) && vcpu != 0)) return -Errno.EINVAL;
        if (vcpu >= _vcpus.Length) return -Errno.ENOENT;
        ref var bound = ref _virqs[(vcpu * XenConstants.Virqs) + virq];
        if (bound != 0) return -Errno.EEXIST;
        var port = Allocate(PortState.Virq);
        if (port < 0) return port;
        (_ports[port].Vcpu, _ports[port].Virq) = ((byte)vcpu, (byte)virq);
        bound = (uint)port;
        return port;
    }

    /// <summary>EVTCHNOP_bind_ipi.</summary>
    public long BindIpi(uint vcpu)
    {
        if (vcpu >= _vcpus.Length) return -Errno.ENOENT;
        var port = Allocate(PortState.Ipi);
        if (port > 0) _ports[port].Vcpu = (byte)vcpu;
        return port;
    }

    /// <summary>EVTCHNOP_bind_vcpu.</summary>
    public long BindVcpu(uint number, uint vcpu)
    {
        if (vcpu >= _vcpus.Length) return -Errno.ENOENT;
        if (!IsValid(number)) return -Errno.EINVAL;
        ref var port = ref _ports[number];
        if (port.State is not (PortState.Unbound or PortState.Interdomain) && (port.State != PortState.Virq || IsPerVcpu(port.Virq))) return -Errno.EINVAL;
        port.Vcpu = (byte)vcpu;
        return 0;
    }

    /// <summary>EVTCHNOP_close.</summary>
    public long Close(uint number)
    {
        if (!IsValid(number) || _ports[number].State == PortState.Free) return -Errno.EINVAL;
        var port = _ports[number];
        if (port.State == PortState.Virq) _virqs[(port.Vcpu * XenConstants.Virqs) + port.Virq] = 0;
        ClearPending(number);
        var (lastVcpu, lastPriority) = (port.LastVcpu, port.LastPriority);
        _ports[number] = new EventPort { LastVcpu = lastVcpu, LastPriority = lastPriority };
        if (port.State != PortState.Interdomain) return 0;
        if (port.Peer is { } peer) peer.Closed();
        else if (_ports[port.RemotePort] is { State: PortState.Interdomain } remote && remote.RemotePort == number)
        {
            _ports[port.RemotePort].State = PortState.Unbound;
            _ports[port.RemotePort].RemotePort = 0;
        }

        return 0;
    }

    /// <summary>EVTCHNOP_reset: closes all, and goes back to the two-level ABI.</summary>
    public void CloseAll()
    {
        for (uint n = 1; n < Ports; n++) Close(n);
        Fifo.Reset();
    }

    /// <summary>A backend of this process binds to a port that the guest offers it, or that the guest's builder makes for it.</summary>
    /// <returns>False when the port is not offered.</returns>
    public bool TryBindPeer(uint number, IEventPeer peer)
    {
        if (!IsValid(number)) return false;
        ref var port = ref _ports[number];
        if (port.State != PortState.Unbound || port.RemoteDomain != XenConstants.DomainZero) return false;
        (port.State, port.RemotePort, port.Peer) = (PortState.Interdomain, number, peer);
        return true;
    }

    /// <summary>A backend goes: its port waits for another one.</summary>
    public void UnbindPeer(uint number, IEventPeer peer)
    {
        if (!IsValid(number) || _ports[number].Peer != peer) return;
        ref var port = ref _ports[number];
        (port.State, port.RemotePort, port.Peer) = (PortState.Unbound, 0, null);
    }

    // Events.

    /// <summary>EVTCHNOP_send.</summary>
    public long Send(uint number)
    {
        if (!IsValid(number)) return -Errno.EINVAL;
        ref var port = ref _ports[number];
        switch (port.State)
        {
            case PortState.Unbound:
                return 0;
            case PortState.Ipi:
                SetPending(number);
                return 0;
            case PortState.Interdomain when port.Peer is { } peer:
                peer.Notified();
                return 0;
            case PortState.Interdomain:
                SetPending(port.RemotePort);
                return 0;
            default:
                return -Errno.EINVAL;
        }
    }

    /// <summary>A virtual interrupt for a vCPU that bound it.</summary>
    public void RaiseVirq(int vcpu, int virq)
    {
        var port = _virqs[(vcpu * XenConstants.Virqs) + virq];
        if (port != 0) SetPending(port);
    }

    /// <summary>The port's event happened.</summary>
    public void SetPending(uint number)
    {
        ref var port = ref _ports[number];
        var vcpu = _vcpus[port.Vcpu];
        bool isNew, tell;
        if (Fifo.IsOn) isNew = Fifo.SetPending(number, ref port, out tell);
        else isNew = _twoLevel.SetPending(number, vcpu, out tell);
        if (tell) Tell(vcpu);
        if (isNew) WakePollers(number);
    }

    /// <summary>EVTCHNOP_unmask.</summary>
    public long Unmask(uint number)
    {
        if (!IsValid(number)) return -Errno.EINVAL;
        ref var port = ref _ports[number];
        var vcpu = _vcpus[port.Vcpu];
        if (!Fifo.IsOn)
        {
            if (_twoLevel.Unmask(number, vcpu)) Tell(vcpu);
        }
        else if (Fifo.Unmask(number))
        {
            Fifo.SetPending(number, ref port, out var tell);
            if (tell) Tell(vcpu);
        }

        return 0;
    }

    /// <summary>EVTCHNOP_set_priority.</summary>
    public long SetPriority(uint number, uint priority)
    {
        if (!IsValid(number)) return -Errno.EINVAL;
        if (!Fifo.IsOn) return -Errno.ENOSYS;
        if (priority >= FifoEvents.Priorities) return -Errno.EINVAL;
        if (_ports[number].State == PortState.Free) return -Errno.EACCES;
        _ports[number].Priority = (byte)priority;
        return 0;
    }

    /// <summary>EVTCHNOP_init_control. Ports that are pending in the two-level bits stay pending.</summary>
    public long InitControl(uint vcpu, ulong gfn, uint offset)
    {
        if (vcpu >= _vcpus.Length) return -Errno.ENOENT;
        var wasOn = Fifo.IsOn;
        var result = Fifo.SetControl((int)vcpu, gfn, offset);
        if (result != 0 || wasOn) return result;
        for (uint n = 1; n < Ports; n++)
        {
            ref var port = ref _ports[n];
            port.PendingBeforeArray = _twoLevel.IsPending(n);
            port.Priority = port.LastPriority = FifoEvents.DefaultPriority;
            port.LastVcpu = 0;
        }

        return 0;
    }

    /// <summary>EVTCHNOP_expand_array.</summary>
    public long ExpandArray(ulong gfn)
    {
        var result = Fifo.AddArray(gfn, out var first);
        if (result != 0) return result;
        for (var n = (uint)Math.Max(first, 1); n < Math.Min((uint)first + Ports, Ports); n++)
        {
            if (!_ports[n].PendingBeforeArray) continue;
            _ports[n].PendingBeforeArray = false;
            SetPending(n);
        }

        return 0;
    }

    public bool IsPending(uint port) => IsValid(port) && (Fifo.IsOn ? Fifo.IsPending(port) : _twoLevel.IsPending(port));

    public static bool IsValid(uint port) => port is > 0 and < Ports;

    /// <summary>What EVTCHNOP_status tells.</summary>
    public ref readonly EventPort this[uint port] => ref _ports[port];

    /// <summary>vCPU and callback are told that there is something.</summary>
    public void Tell(XenVcpu vcpu)
    {
        if (vcpu.TrySetUpcallPending()) Upcall.Raise(vcpu);
    }

    private void WakePollers(uint port)
    {
        foreach (var vcpu in _vcpus)
            if (vcpu.Wait == VcpuWait.Poll && (vcpu.PollPort == 0 || vcpu.PollPort == port)) vcpu.Wake();
    }

    private void ClearPending(uint number)
    {
        _ports[number].PendingBeforeArray = false;
        if (Fifo.IsOn) Fifo.ClearPending(number);
        else _twoLevel.ClearPending(number);
    }

    private static bool IsPerVcpu(uint virq) => (XenConstants.PerVcpuVirqs & (1u << (int)virq)) != 0;

    private ushort Own(ushort domain) => domain == XenConstants.DomainSelf ? (ushort)_domain : domain;

    private long Allocate(PortState state)
    {
        for (uint n = 1; n < Ports; n++)
        {
            if (_ports[n].State != PortState.Free) continue;
            var (lastVcpu, lastPriority) = (_ports[n].LastVcpu, _ports[n].LastPriority);
            _ports[n] = new EventPort { State = state, Priority = FifoEvents.DefaultPriority, LastVcpu = lastVcpu, LastPriority = lastPriority };
            return n;
        }

        return -Errno.ENOSPC;
    }

    public void State(StateVisitor s)
    {
        for (uint n = 1; n < Ports; n++)
        {
            ref var port = ref _ports[n];
            if (port is { State: PortState.Free, LastVcpu: 0, LastPriority: 0 or FifoEvents.DefaultPriority }) continue;
            var name = $"port{n}-";
            s.Enum(name + "state", ref port.State);
            s.U8(name + "vcpu", ref port.Vcpu);
            s.U8(name + "virq", ref port.Virq);
            s.U8(name + "priority", ref port.Priority);
            s.U8(name + "last-vcpu", ref port.LastVcpu);
            s.U8(name + "last-priority", ref port.LastPriority);
            s.Bool(name + "pending", ref port.PendingBeforeArray);
            s.U16(name + "domain", ref port.RemoteDomain);
            s.U32(name + "remote", ref port.RemotePort);
        }

        s.Child("fifo", Fifo);
        s.Child("upcall", Upcall);
    }
}
