using System;
using System.Runtime.Intrinsics.X86;
using XenDM.Core.Io;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen;

/// <summary>The event channels of an ioreq server; a test plays Xen through it.</summary>
public interface IIoreqChannels
{
    /// <summary>Local ports that fired; each stays masked until <see cref="Unmask"/>.</summary>
    /// <returns>How many, 0 or negative when there is none.</returns>
    int TakePending(Span<uint> ports);

    /// <summary>Lets ports fire again. What happened meanwhile fires at once.</summary>
    void Unmask(ReadOnlySpan<uint> ports);

    void Notify(int port);
}

/// <summary>Xen and this process disagree about the protocol, or a request is of a kind that nobody knows: the guest cannot go on.</summary>
public sealed class IoreqProtocolException : Exception
{
    public IoreqProtocolException(string message)
        : base(message)
    {
    }
}

/// <summary>
/// Hop 1: takes requests off the shared pages, hands them on, and answers. The buffered ring is emptied before every synchronous request,
/// because its writes came first (xen/public/hvm/ioreq.h; XSA-155 and XSA-197: a request is copied once).
/// </summary>
public sealed class IoreqServer
{
    /// <summary>A vCPU that fills the ring as fast as it is emptied must not hold up the others: at most two rings a turn.</summary>
    private const int MaxBufferedPerTurn = 2 * BufferedIoreqPage.SlotCount;
    private const int RequestsPerTurn = 256;

    /// <summary>With more vCPUs than this, looking at all slots takes too long to be worth it.</summary>
    private const int MaxVcpusToSpin = 16;
    private const int LooksPerClockRead = 16;
    private const int BufferedRing = -1;
    private const int Nobody = -2;

    private readonly IoreqPages _pages;
    private readonly IIoreqChannels _channels;
    private readonly IRequestHandler _handler;
    private readonly Action _invalidate;
    private readonly IBusyLoop? _loop;
    private readonly SpinWindow _window = new();
    private int[] _vcpuByPort = [];
    private int[] _portByVcpu = [];

    /// <param name="invalidate">Called when Xen says that the guest's memory map changed.</param>
    /// <param name="loop">With it, requests that follow each other closely are awaited on the shared page.</param>
    public IoreqServer(IoreqPages pages, IIoreqChannels channels, IRequestHandler handler, Action invalidate, IBusyLoop? loop = null)
    {
        _loop = loop;
        _pages = pages;
        _channels = channels;
        _handler = handler;
        _invalidate = invalidate;
    }

    /// <summary>Synchronous requests, buffered writes, and events without a request.</summary>
    public ulong Synchronous { get; private set; }

    /// <inheritdoc cref="Synchronous"/>
    public ulong Buffered { get; private set; }

    /// <inheritdoc cref="Synchronous"/>
    public ulong Spurious { get; private set; }

    /// <summary>Requests that were found without an event.</summary>
    public ulong Awaited { get; private set; }

    /// <summary>While false, requests wait in their slots; <see cref="ServeWaiting"/> serves them later.</summary>
    public bool Serving { get; set; } = true;

    /// <summary>Says which vCPU a local event channel port belongs to. vCPUs are bound in order.</summary>
    public void BindVcpu(int port, int vcpu)
    {
        Bind(port, vcpu);
        if (vcpu >= _portByVcpu.Length) Array.Resize(ref _portByVcpu, vcpu + 1);
        _portByVcpu[vcpu] = port;
    }

    /// <summary>Says which local port announces buffered writes.</summary>
    public void BindBuffered(int port) => Bind(port, BufferedRing);

    /// <summary>
    /// Serves the ports that fired: with one vCPU at work, one system call to learn that and one to unmask. Ports stay masked until all is
    /// answered, so that the guest goes on first and awaited requests cost no event. What arrives after the last look fires when the port is
    /// unmasked; ports beyond the room here are found by the next poll.
    /// </summary>
    public void ServeEvents()
    {
        Span<uint> ports = stackalloc uint[16];
        var count = _channels.TakePending(ports);
        if (count <= 0) return;
        ports = ports[..count];
        if (!ServePorts(ports) || _loop is null || _portByVcpu.Length > MaxVcpusToSpin)
        {
            _channels.Unmask(ports);
            return;
        }

        var done = Await(_loop);
        _channels.Unmask(ports);
        _window.Measured(Posix.MonotonicNanoseconds() - done);
    }

    /// <summary>Serves every vCPU that has a request, whether or not its event arrived: at the start, and when the machine goes on.</summary>
    public void ServeWaiting()
    {
        if (!Serving) return;
        DrainBuffered();
        ServeSlots();
    }

    /// <returns>True when there was a request.</returns>
    private bool ServePorts(ReadOnlySpan<uint> ports)
    {
        var any = false;
        foreach (var port in ports)
        {
            if (!Serving) break;
            var vcpu = port < (uint)_vcpuByPort.Length ? _vcpuByPort[port] : Nobody;
            if (vcpu >= 0) any |= Serve(vcpu, (int)port);
            else if (vcpu == BufferedRing) DrainBuffered();
        }

        return any;
    }

    private int ServeSlots()
    {
        var served = 0;
        for (var vcpu = 0; vcpu < _portByVcpu.Length && Serving; vcpu++)
            if (_pages.State(vcpu) == IoreqState.Ready && Serve(vcpu, _portByVcpu[vcpu])) served++;
        return served;
    }

    /// <summary>Looks at the slots for as long as requests follow each other closely and nobody else needs the thread.</summary>
    /// <returns>The time when it ended.</returns>
    private long Await(IBusyLoop loop)
    {
        var now = Posix.MonotonicNanoseconds();
        _window.Woken(now);
        var end = now + _window.Length;
        var total = 0;
        for (; now < end && total < RequestsPerTurn && Serving && !loop.HasWork; now = Posix.MonotonicNanoseconds())
        {
            for (var look = 0; look < LooksPerClockRead; look++)
            {
                if (ServeSlots() is > 0 and var served)
                {
                    Awaited += (ulong)served;
                    total += served;
                    end = Posix.MonotonicNanoseconds() + _window.Length;
                    break;
                }

                X86Base.Pause();
            }
        }

        _window.Ended(end - _window.Length, total);
        return now;
    }

    private void Bind(int port, int what)
    {
        if (port >= _vcpuByPort.Length)
        {
            var old = _vcpuByPort.Length;
            Array.Resize(ref _vcpuByPort, port + 16);
            _vcpuByPort.AsSpan(old).Fill(Nobody);
        }

        _vcpuByPort[port] = what;
    }

    private bool Serve(int vcpu, int port)
    {
        if (!_pages.TryTake(vcpu, out var ioreq))
        {
            Spurious++;
            return false;
        }

        Synchronous++;
        DrainBuffered();
        Execute(ref ioreq);
        if (!_pages.Answer(vcpu, ioreq.IsRead && !ioreq.DataIsPointer, ioreq.Data))
            throw new IoreqProtocolException($"the request of vCPU {vcpu} is in state {_pages.State(vcpu)} after it was served");
        _channels.Notify(port);
        return true;
    }

    private void Execute(ref Ioreq ioreq)
    {
        switch (ioreq.Type)
        {
            case IoreqType.Port:
                Handle(ref ioreq, IoSpace.Port, ioreq.Address & 0xffff);
                break;
            case IoreqType.Memory:
                Handle(ref ioreq, IoSpace.Memory, ioreq.Address);
                break;
            case IoreqType.PciConfig:
                HandlePciConfig(ref ioreq);
                break;
            case IoreqType.TimeOffset:
                // The toolstack keeps the offset of the guest's clock.
                break;
            case IoreqType.Invalidate:
                _invalidate();
                break;
            default:
                throw new IoreqProtocolException($"request of unknown type {(int)ioreq.Type}, address {ioreq.Address:x}, size {ioreq.Size}");
        }
    }

    /// <summary>Segment in 63:48, bus/device/function in 47:32, register in 31:0.</summary>
    private void HandlePciConfig(ref Ioreq ioreq)
    {
        var register = (uint)ioreq.Address;
        if (ioreq.Address >> 48 != 0 || register > 0xffff)
        {
            ioreq.Data = ulong.MaxValue;
            return;
        }

        Handle(ref ioreq, IoSpace.PciConfig, (((ioreq.Address >> 32) & 0xffff) << 16) | register);
    }

    private void Handle(ref Ioreq ioreq, IoSpace space, ulong address)
    {
        var request = new IoRequest
        {
            Space = space,
            Address = address,
            IsRead = ioreq.IsRead,
            DataIsPointer = ioreq.DataIsPointer,
            Descending = ioreq.Descending,
            Size = ioreq.Size,
            Count = ioreq.Count,
            Data = ioreq.Data,
        };
        if (ioreq.Size > 8) throw new IoreqProtocolException($"request of {ioreq.Size} bytes at {space} {address:x}");
        _handler.Handle(ref request);
        ioreq.Data = request.Data;
    }

    private void DrainBuffered()
    {
        for (var done = 0u; done < MaxBufferedPerTurn;)
        {
            _pages.Peek(out var available, out var index);
            if (available == 0) return;
            var slot = _pages.ReadSlot(index);
            var used = 1u;
            var ioreq = new Ioreq { Type = slot.Type, Address = slot.Address, Size = slot.Size, Count = 1, Data = slot.Data, Bits = (byte)(slot.IsRead ? 0x20 : 0) };
            if (slot.Size == 8)
            {
                if (available < 2) throw new IoreqProtocolException("the buffered ring holds half of an 8-byte write");
                ioreq.Data |= (ulong)_pages.ReadSlot(index + 1).Data << 32;
                used = 2;
            }

            Buffered++;
            Execute(ref ioreq);
            _pages.Release(used);
            done += used;
        }
    }
}
