using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.Tracing;
using XenDM.Interop.Libc;
using XenDM.Interop.Xen;

namespace XenDM.Hypervisor.Xen;

/// <summary>
/// A Xen domain as the board's hypervisor: an ioreq server with its ranges, interrupts, guest memory and power. Calls to Xen that fail because
/// the domain is going away are reported once and otherwise ignored: libxl ends this process soon after.
/// </summary>
public sealed class XenHypervisor : IHypervisor, IVideoPages, IIoreqChannels
{
    /// <summary>What Xen allows an ioreq server (MAX_NR_IO_RANGES), for each of ports, memory and PCI functions.</summary>
    private const int MaxRanges = 256;

    private readonly ushort _domain;
    private readonly IMachineLog _log;
    private readonly Stack<IDisposable> _resources = new();
    private readonly XenDeviceModel _model;
    private readonly XenForeignMemory _foreign;
    private readonly XenEventChannel _events;
    private readonly XenCall _calls;
    private readonly MapCache _memory;
    private ulong[] _frames = new ulong[MapCache.BucketBytes >> XenConstants.PageShift];
    private readonly int[] _rangeCount = new int[2];
    private readonly HashSet<string> _complained = [];
    private IFdWatch? _watch;
    private IoreqServer? _server;
    private IoreqPages? _pages;
    private ushort _serverId;

    /// <summary>Opens Xen's interfaces and makes the ioreq server. Nothing is delivered before <see cref="Start"/>.</summary>
    /// <param name="domain">The guest.</param>
    /// <param name="maxVcpus">1 to 128.</param>
    /// <exception cref="XenException">There is no Xen, no permission, or no such domain. Everything opened is closed again.</exception>
    public XenHypervisor(int domain, int maxVcpus, IMachineLog log)
    {
        _domain = (ushort)domain;
        MaxVcpus = maxVcpus;
        _log = log;
        _memory = new MapCache(this);
        try
        {
            _foreign = Own(new XenForeignMemory());
            _model = Own(new XenDeviceModel());
            _calls = Own(new XenCall());
            _events = Own(new XenEventChannel());
            Check(_model.CreateIoreqServer(_domain, XenConstants.BufferedIoreqAtomic, out _serverId), "cannot create an ioreq server");
            Own(new Undo(() => _model.DestroyIoreqServer(_domain, _serverId)));
            var resource = Own(_foreign.MapResource(_domain, XenConstants.ResourceIoreqServer, _serverId, XenConstants.ResourceFrameBuffered, 2));
            _pages = new IoreqPages(resource.Address, resource.Address + XenConstants.PageSize);
            Own(_memory);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public IGuestMemory Memory => _memory;

    public int MaxVcpus { get; }

    public bool DirtyLogging
    {
        get => _memory.DirtyLogging;
        set => _memory.DirtyLogging = value;
    }

    /// <summary>Counters of the ioreq server; null before <see cref="Start"/>.</summary>
    public IoreqServer? Server => _server;

    /// <summary>Enables the server, binds the event channels and begins to serve requests on the loop.</summary>
    /// <exception cref="XenException">Xen refused.</exception>
    public void Start(IEventLoop loop, IRequestHandler handler)
    {
        Check(_model.SetIoreqServerState(_domain, _serverId, true), "cannot enable the ioreq server");
        _server = new IoreqServer(_pages!, this, handler, _memory.Invalidate, loop as IBusyLoop) { Serving = false };

        // Xen fills in the event channels when it enables the server, and only for vCPUs that exist.
        for (var vcpu = 0; vcpu < MaxVcpus; vcpu++)
        {
            var port = Check(_events.BindInterdomain(_domain, _pages!.EventPort(vcpu)), $"cannot bind the event channel of vCPU {vcpu}");
            _server.BindVcpu(port, vcpu);
        }

        Check(_model.GetBufferedPort(_domain, _serverId, out var bufferedPort), "cannot ask for the port of the buffered ring");
        _server.BindBuffered(Check(_events.BindInterdomain(_domain, bufferedPort), "cannot bind the event channel of the buffered ring"));
        Check(Posix.SetNonBlocking(_events.Fd, true), "cannot make the event channel descriptor non-blocking");
        _watch = loop.Watch(_events.Fd, FdEvents.None, _ => _server.ServeEvents());
    }

    /// <summary>Takes requests, or leaves them waiting while the machine is stopped.</summary>
    public bool Serving
    {
        set
        {
            if (_watch is null) return;
            _watch.Events = value ? FdEvents.Readable : FdEvents.None;
            _server!.Serving = value;
            _server.ServeWaiting();
        }
    }

    /// <summary>Limits every Xen handle of this process to a guest, for good.</summary>
    /// <exception cref="XenException">Xen or dom0's kernel cannot.</exception>
    public static void Restrict(int domain)
    {
        var result = XenToolCore.RestrictAll((ushort)domain);
        if (result < 0) throw new XenException($"cannot restrict this process to domain {domain}", result);
    }

    public void SetIsaIrq(int irq, bool level) => Try(_model.SetIsaIrqLevel(_domain, (byte)irq, level), "set an ISA interrupt");

    public void SetPciIntx(int device, int pin, bool level) => Try(_model.SetPciIntxLevel(_domain, (byte)device, (byte)pin, level), "set a PCI interrupt");

    public void SetPciLinkRoute(int link, int irq) => Try(_model.SetPciLinkRoute(_domain, (byte)link, (byte)irq), "route a PCI interrupt link");

    public void InjectMsi(ulong address, uint data) => Try(_model.InjectMsi(_domain, address, data), "inject an MSI");

    public void PciFunctionAdded(int bus, int device, int function) =>
        Try(_model.MapPciFunction(_domain, _serverId, (byte)bus, (byte)device, (byte)function), $"claim PCI function {device:x2}.{function}");

    public void PciFunctionRemoved(int bus, int device, int function) =>
        Try(_model.UnmapPciFunction(_domain, _serverId, (byte)bus, (byte)device, (byte)function), $"give up PCI function {device:x2}.{function}");

    public void RangeAdded(IoSpace space, ulong start, ulong end)
    {
        var memory = space == IoSpace.Memory;
        if (++_rangeCount[memory ? 1 : 0] > MaxRanges) Complain($"{space} has more than {MaxRanges} ranges; {start:x}-{end:x} stays without a device");
        Try(_model.MapIoRange(_domain, _serverId, memory, start, end), $"claim {space} {start:x}-{end:x}");
    }

    public void RangeRemoved(IoSpace space, ulong start, ulong end)
    {
        var memory = space == IoSpace.Memory;
        _rangeCount[memory ? 1 : 0]--;
        Try(_model.UnmapIoRange(_domain, _serverId, memory, start, end), $"give up {space} {start:x}-{end:x}");
    }

    public bool SetMemoryKind(ulong firstPage, uint pages, MemoryKind kind)
    {
        if (!Try(_model.SetMemoryType(_domain, (uint)kind, firstPage, pages), "set a memory type")) return false;
        _memory.SetReadOnly(firstPage, pages, kind == MemoryKind.RamReadOnly);
        return true;
    }

    public void Shutdown(ShutdownReason reason) => Try(_model.Shutdown(_domain, (uint)reason), $"shut the guest down ({reason})");

    public void SetAcpiSleepState(int state) => Try(_calls.SetHvmParam(_domain, XenConstants.ParamAcpiSleepState, (ulong)state), "set the ACPI sleep state");

    public void Dispose()
    {
        _watch?.Dispose();
        while (_resources.TryPop(out var resource)) resource.Dispose();
    }

    /// <summary>Memory for a display adapter. Made before the process is restricted.</summary>
    /// <inheritdoc cref="XenVideoMemory(int, ulong, ulong, bool, IVideoPages)"/>
    public XenVideoMemory CreateVideoMemory(int size, ulong ramBytes, ulong lowBytes, bool incoming) => Own(new XenVideoMemory(size, ramBytes, lowBytes, incoming, this));

    void IVideoPages.Populate(ulong firstPage, uint pages)
    {
        var frames = new ulong[pages];
        for (var i = 0u; i < pages; i++) frames[i] = firstPage + i;
        var count = Check(_calls.PopulatePhysmap(_domain, frames), "cannot make video memory");
        if (count < pages) throw new XenException($"domain {_domain} may have {count} of {pages} pages of video memory: it has no room beyond its RAM", -Errno.ENOMEM);
    }

    bool IVideoPages.Relocate(ulong fromPage, ulong toPage, uint pages)
    {
        // Pages that are mapped here at either place would show what is no longer there.
        _memory.Invalidate();
        return Try(_model.RelocateMemory(_domain, pages, fromPage, toPage), "move video memory");
    }

    void IVideoPages.Pin(ulong firstPage, uint pages, bool on) =>
        Try(_model.PinCacheAttribute(_domain, firstPage, firstPage + pages - 1, on ? XenConstants.CacheWriteBack : XenConstants.CacheUnpinned), "pin a cache attribute");

    void IVideoPages.Missing(ulong firstPage, uint pages) => Complain($"video memory at pages {firstPage:x}-{firstPage + pages - 1:x} cannot be mapped: the screen stays black");

    bool IVideoPages.TrackDirty(ulong firstPage, uint pages, Span<byte> bitmap)
    {
        var result = _model.TrackDirtyVram(_domain, firstPage, pages, bitmap);

        // No data: Xen gave up on keeping track for this time.
        return result >= 0 || (result != -Errno.ENODATA && Try(result, "keep track of writes to video memory"));
    }

    nint IForeignMapper.Map(ulong firstPage, Span<int> errors)
    {
        if (_frames.Length < errors.Length) _frames = new ulong[errors.Length];
        var frames = _frames.AsSpan(0, errors.Length);
        for (var i = 0; i < frames.Length; i++) frames[i] = firstPage + (ulong)i;
        return _foreign.Map(_domain, writable: true, frames, errors, out var address) < 0 ? 0 : address;
    }

    void IForeignMapper.Unmap(nint address, int pages) => _foreign.Unmap(address, pages);

    void IForeignMapper.Modified(ulong firstPage, uint pages) => Try(_model.ModifiedMemory(_domain, firstPage, pages), "report a modified page");

    int IIoreqChannels.TakePending(Span<uint> ports) => _events.TakePending(ports);

    void IIoreqChannels.Unmask(ReadOnlySpan<uint> ports) => _events.Unmask(ports);

    void IIoreqChannels.Notify(int port) => _events.Notify(port);

    private T Own<T>(T resource)
        where T : IDisposable
    {
        _resources.Push(resource);
        return resource;
    }

    private int Check(int result, string what) => result >= 0 ? result : throw new XenException($"{what} for domain {_domain}", result);

    /// <summary>Each kind of failure is told once: a guest can repeat it at will.</summary>
    private bool Try(int result, string what)
    {
        if (result >= 0) return true;
        Complain($"cannot {what}: {Errno.Describe(result)}");
        return false;
    }

    private void Complain(string text)
    {
        if (_complained.Count < 64 && _complained.Add(text)) _log.Warn("xen", text);
    }

    private sealed class Undo(Action action) : IDisposable
    {
        public void Dispose() => action();
    }
}
