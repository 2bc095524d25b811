using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Hypervisor;
using XenDM.Core.Input;
using XenDM.Core.Io;
using XenDM.Core.Memory;
using XenDM.Core.State;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>What the machine does, in QEMU's words (qapi/run-state.json).</summary>
internal enum MachineState
{
    /// <summary>Set up, waits for the first <c>cont</c>.</summary>
    Prelaunch,
    InMigrate,
    Running,
    Paused,
    PostMigrate,

    /// <summary>The guest switched itself off.</summary>
    Shutdown,

    /// <summary>ACPI S3.</summary>
    Suspended,
}

/// <summary>Told what happens to the machine: becomes QMP events.</summary>
internal interface IMachineObserver
{
    void StateChanged(MachineState from, MachineState to);

    /// <param name="byGuest">The guest itself asked for it.</param>
    void Reset(bool byGuest);

    void ShutDown(bool byGuest);

    void BlockIoError(string device, bool isWrite, int errno, string reason);

    void TrayMoved(string device, string id, bool isOpen);
}

/// <summary>
/// The running machine: board, clock, run state, drives. Serves requests on the machine thread; what a request asks of the machine as a whole
/// (reset, power off, sleep) is carried out after the chip is done with it and before the guest goes on.
/// </summary>
internal sealed class Machine : IRequestHandler, IMachineControl, IMachineEvents, IGuestRun, IDevice
{
    private readonly IHypervisor _hypervisor;
    private readonly VmClock _clock;
    private readonly IMachineLog _log;
    private readonly Action<bool> _serve;
    private Pending _pending;
    private uint _emptiedSlots;

    private enum Pending
    {
        None,
        Reset,
        PowerOff,
        Suspend,
    }

    /// <param name="serve">Lets requests of the guest come, or holds them back.</param>
    public Machine(IHypervisor hypervisor, VmClock clock, Action<bool> serve, IMachineLog log)
    {
        _hypervisor = hypervisor;
        _clock = clock;
        _serve = serve;
        _log = log;
    }

    public string Id => "machine";

    public MachineState RunState { get; private set; } = MachineState.Prelaunch;

    public bool IsRunning => RunState == MachineState.Running;

    public VmClock Clock => _clock;

    /// <summary>The chips; set once, before the machine runs.</summary>
    public Board Board { get; private set; } = null!;

    public DriveTable Drives { get; private set; } = null!;

    /// <summary>The net backends; empty until they are set.</summary>
    public NetdevTable? Netdevs { get; set; }

    /// <summary>Chips beside the board's: on the embedded machine those that Xen would emulate itself.</summary>
    public IReadOnlyList<IDevice> Platform { get; set; } = [];

    /// <summary>The vCPUs, where they are ours.</summary>
    public ICpuView? Cpus { get; set; }

    public IGuestMemory Memory => _hypervisor.Memory;

    public List<IMachineObserver> Observers { get; } = [];

    /// <summary>Called each time the machine begins to run: readiness is told to the toolstack here.</summary>
    public Action? Started { get; set; }

    /// <summary>Everything that is saved: the chips and the machine itself.</summary>
    private List<IDevice> Saved => [this, .. Board.Devices];

    /// <summary>The PV devices of the guest; null where there can be none.</summary>
    public XenBus? PvDevices { get; set; }

    public InputHub Input { get; } = new();

    public ScreenHub Screen { get; } = new();

    public void Install(Board board, DriveTable drives)
    {
        Board = board;
        Drives = drives;
        foreach (var device in board.Devices)
            if (device is IScreenSource source) Screen.Add(source);
        Input.Add(board.Keyboard.Keyboard);
        Input.Add(board.Keyboard.Mouse);
        board.Ports.Unclaimed.FirstSeen = TraceUnclaimed;
        board.Memory.Unclaimed.FirstSeen = TraceUnclaimed;
    }

    /// <summary>Hop 2 begins here.</summary>
    public void Handle(ref IoRequest request)
    {
        Board.Io.Dispatch(ref request);
        if (_pending != Pending.None) CarryOut();
    }

    public void RequestReset(string who) => Request(Pending.Reset, who, "asks for a reset");

    public void RequestPowerOff(string who) => Request(Pending.PowerOff, who, "switches the machine off");

    public void RequestSuspend(string who) => Request(Pending.Suspend, who, "goes to sleep (S3)");

    /// <summary>Lets the guest run. Does nothing when it runs already.</summary>
    /// <returns>False when the state does not allow it (the guest is off).</returns>
    public bool Continue()
    {
        if (IsRunning) return true;
        if (RunState is MachineState.Shutdown or MachineState.InMigrate) return false;
        Enter(MachineState.Running);
        return true;
    }

    /// <summary>Holds the guest and finishes all I/O: no byte of its memory or disks changes afterwards.</summary>
    public void Stop()
    {
        if (IsRunning) Enter(MachineState.Paused);
    }

    /// <summary>The monitor resets the guest.</summary>
    public void ResetByMonitor() => ResetMachine(byGuest: false);

    /// <summary>Wakes a guest from S3.</summary>
    /// <returns>False when it does not sleep.</returns>
    public bool Wake()
    {
        if (RunState != MachineState.Suspended) return false;
        _hypervisor.SetAcpiSleepState(0);
        Enter(MachineState.Running);
        return true;
    }

    /// <summary>Every page that a device writes is reported from now on (live migration).</summary>
    public void SetDirtyLog(bool on) => _hypervisor.DirtyLogging = on;

    /// <summary>Writes the state of all devices. The machine stands still meanwhile.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(Stream output)
    {
        Drain();
        StateWriter.Save(Saved, output);
    }

    /// <summary>Takes over a saved state; the machine is paused afterwards.</summary>
    /// <exception cref="StateException">The file does not fit this machine.</exception>
    public void Load(byte[] file)
    {
        RunState = MachineState.InMigrate;
        _emptiedSlots = 0;
        StateReader.Load(Saved, file);
        Board.TakeAway(_emptiedSlots);
        RunState = MachineState.Paused;
    }

    void IDevice.Reset(ResetKind kind)
    {
    }

    int IDevice.StateVersion => 2;

    void IDevice.State(StateVisitor s)
    {
        if (!s.IsLoading) _emptiedSlots = Board.EmptiedSlots;
        s.U32("emptied_slots", ref _emptiedSlots, since: 2);
        var now = _clock.Now;
        s.I64("clock", ref now);
        if (!s.IsLoading) return;
        if (now < 0) s.Fail("clock", "is negative");
        _clock.Set(now);
    }

    void IMachineEvents.BlockIoError(string device, bool isWrite, int errno, string reason)
    {
        foreach (var observer in Observers) observer.BlockIoError(device, isWrite, errno, reason);
    }

    void IMachineEvents.TrayMoved(string device, string id, bool isOpen)
    {
        foreach (var observer in Observers) observer.TrayMoved(device, id, isOpen);
    }

    private void Request(Pending what, string who, string text)
    {
        _log.Guest(who, text);
        _pending = what;
    }

    private void CarryOut()
    {
        var what = _pending;
        _pending = Pending.None;
        switch (what)
        {
            case Pending.Reset:
                ResetMachine(byGuest: true);
                break;
            case Pending.PowerOff:
                _hypervisor.Shutdown(ShutdownReason.PowerOff);
                foreach (var observer in Observers) observer.ShutDown(byGuest: true);
                Enter(MachineState.Shutdown);
                break;
            case Pending.Suspend:
                _hypervisor.SetAcpiSleepState(3);
                Enter(MachineState.Suspended);
                break;
        }
    }

    /// <summary>
    /// On Xen a reset ends the domain with the reason "reboot": the toolstack makes a new one, with a new device model. The chips are reset all
    /// the same, so that nothing is left in flight.
    /// </summary>
    private void ResetMachine(bool byGuest)
    {
        Drain();
        Board.Reset(ResetKind.Warm);
        _hypervisor.Shutdown(ShutdownReason.Reboot);
        foreach (var observer in Observers) observer.Reset(byGuest);
    }

    private void Enter(MachineState state)
    {
        var from = RunState;
        if (from == state) return;
        RunState = state;
        if (state == MachineState.Running)
        {
            _clock.Start();
            _serve(true);
            Started?.Invoke();
        }
        else
        {
            // A sleeping guest still needs its requests served: the firmware runs first when it wakes up.
            _serve(state is MachineState.Suspended or MachineState.Shutdown);
            if (state != MachineState.Suspended) _clock.Stop();
            Drain();
        }

        foreach (var observer in Observers) observer.StateChanged(from, state);
    }

    /// <summary>Waits until nothing that was asked of images is open.</summary>
    private void Drain()
    {
        Drives.Drain();
        PvDevices?.Drain();
    }

    private void TraceUnclaimed(IoAccess access)
    {
        if (_log.GuestAllowed) _log.Guest("io", $"nobody answers {access}");
    }
}
