using System;
using System.Collections.Generic;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Io;
using XenDM.Core.Irq;
using XenDM.Core.Pci;
using XenDM.Core.Time;
using XenDM.Core.Tracing;

namespace XenDM.Testing;

/// <summary>The place of a chip in a test: ports, memory, PCI bus, RAM, interrupt lines, a clock that the test moves, recorders for the rest.</summary>
public sealed class TestBoard : IIrqSink, IMachineEvents, IMachineControl, IMachineLog
{
    private long _time;

    public TestBoard(int ramBytes = 1 << 20)
    {
        Hypervisor = new FakeHypervisor(ramBytes);
        Ports = new AddressSpace(IoSpace.Port, 0xffff);
        Memory = new AddressSpace(IoSpace.Memory, ulong.MaxValue);
        Pci = new PciBus(Ports, Memory, Hypervisor);
        Io = new IoDispatcher(Ports, Memory, Pci, Hypervisor.Memory);
        Clock = new VmClock(() => _time);
        Clock.Start();
    }

    public FakeHypervisor Hypervisor { get; }

    public FakeMemory Ram => Hypervisor.Ram;

    public AddressSpace Ports { get; }

    public AddressSpace Memory { get; }

    public PciBus Pci { get; }

    public IoDispatcher Io { get; }

    public VmClock Clock { get; }

    public FakeLoop Loop { get; } = new();

    /// <summary>Lines of text that chips wrote to the log.</summary>
    public List<string> Log { get; } = [];

    /// <summary>Events for the monitor, as text.</summary>
    public List<string> Events { get; } = [];

    /// <summary>Requests to the machine: "reset", "poweroff", "suspend".</summary>
    public List<string> Requests { get; } = [];

    public bool GuestAllowed => true;

    /// <summary>A line into ISA interrupt <paramref name="irq"/>.</summary>
    public IrqLine IsaLine(int irq) => new(this, irq);

    public byte In8(ushort port) => (byte)Ports.Read(port, 1);

    public ushort In16(ushort port) => (ushort)Ports.Read(port, 2);

    public uint In32(ushort port) => (uint)Ports.Read(port, 4);

    public void Out8(ushort port, int value) => Ports.Write(port, 1, (byte)value);

    public void Out16(ushort port, int value) => Ports.Write(port, 2, (ushort)value);

    public void Out32(ushort port, uint value) => Ports.Write(port, 4, value);

    public uint ConfigRead(int device, int function, int register, int size) => (uint)Pci.Read(ConfigAddress(device, function, register), size);

    public void ConfigWrite(int device, int function, int register, int size, uint value) => Pci.Write(ConfigAddress(device, function, register), size, value);

    /// <summary>Moves guest time and runs the timers that come due on the way, in order.</summary>
    public void Advance(long nanoseconds)
    {
        var end = _time + nanoseconds;
        for (var steps = 0; steps < 100_000 && Clock.NextDeadline <= end; steps++)
        {
            _time = Math.Max(_time, Clock.NextDeadline);
            Clock.RunTimers();
        }

        _time = end;
        Clock.RunTimers();
    }

    void IIrqSink.SetLevel(int input, bool level) => Hypervisor.SetIsaIrq(input, level);

    void IMachineEvents.BlockIoError(string device, bool isWrite, int errno, string reason) => Events.Add($"BLOCK_IO_ERROR {device} {(isWrite ? "write" : "read")} {errno}");

    void IMachineEvents.TrayMoved(string device, string id, bool isOpen) => Events.Add($"DEVICE_TRAY_MOVED {device} {id} {(isOpen ? "open" : "closed")}");

    void IMachineControl.RequestReset(string who) => Requests.Add("reset");

    void IMachineControl.RequestPowerOff(string who) => Requests.Add("poweroff");

    void IMachineControl.RequestSuspend(string who) => Requests.Add("suspend");

    void IMachineLog.Info(string source, string text) => Log.Add($"{source}: {text}");

    void IMachineLog.Warn(string source, string text) => Log.Add($"{source}: {text}");

    void IMachineLog.Guest(string source, string text) => Log.Add($"{source}: {text}");

    private static ulong ConfigAddress(int device, int function, int register) => ((ulong)((device << 3) | function) << 16) | (uint)register;
}

/// <summary>A machine thread that runs posted work when the test says so. Nothing is allocated once it has run.</summary>
public sealed class FakeLoop : IEventLoop
{
    private readonly Queue<Action> _posted = [];

    public void Post(Action work)
    {
        lock (_posted)
        {
            _posted.Enqueue(work);
            Monitor.Pulse(_posted);
        }
    }

    public IFdWatch Watch(int fd, FdEvents events, Action<FdEvents> ready) => throw new NotSupportedException("this loop watches no descriptors");

    public void AssertMachineThread()
    {
    }

    /// <summary>Runs what is posted.</summary>
    public void RunPosted()
    {
        while (TryTake(0) is { } work) work();
    }

    /// <summary>Runs what is posted, unless that posts more and more.</summary>
    /// <exception cref="InvalidOperationException">It does not end.</exception>
    public void RunPosted(int most)
    {
        for (; TryTake(0) is { } work; most--)
        {
            if (most == 0) throw new InvalidOperationException("the loop is never idle");
            work();
        }
    }

    /// <summary>Runs posted work until the condition holds.</summary>
    /// <exception cref="TimeoutException">Nothing came for ten seconds.</exception>
    public void RunUntil(Func<bool> condition)
    {
        while (!condition()) (TryTake(10_000) ?? throw new TimeoutException("nothing was posted"))();
    }

    private Action? TryTake(int milliseconds)
    {
        lock (_posted)
        {
            if (_posted.Count == 0 && milliseconds > 0) Monitor.Wait(_posted, milliseconds);
            return _posted.TryDequeue(out var work) ? work : null;
        }
    }
}
