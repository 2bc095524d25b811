using System;
using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Display;
using XenDM.Core.Input;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>What a monitor holds and lets go on: a machine with its guest, or what there is of one here.</summary>
internal interface IGuestRun
{
    MachineState RunState { get; }

    bool IsRunning { get; }

    /// <summary>The PV devices of the guest; null where there can be none.</summary>
    XenBus? PvDevices { get; }

    /// <summary>The guest's keyboards and pointers.</summary>
    InputHub Input { get; }

    /// <summary>What the guest shows, for those who look.</summary>
    ScreenHub Screen { get; }

    /// <summary>Lets the guest run. Does nothing when it runs already.</summary>
    /// <returns>False when the state does not allow it (the guest is off).</returns>
    bool Continue();

    /// <summary>Holds the guest and finishes all I/O.</summary>
    void Stop();
}

/// <summary>
/// The machine <c>xenpv</c>: a PV or PVH guest has its vCPUs and its platform from Xen alone, so there is no board here and nothing of the guest to hold.
/// Its PV devices' backends are all that this process has.
/// </summary>
internal sealed class PvMachine : IGuestRun, IMachineEvents
{
    public MachineState RunState { get; private set; } = MachineState.Prelaunch;

    public bool IsRunning => RunState == MachineState.Running;

    public XenBus? PvDevices { get; set; }

    public InputHub Input { get; } = new();

    public ScreenHub Screen { get; } = new();

    public List<IMachineObserver> Observers { get; } = [];

    /// <summary>Called each time the machine begins to run: readiness is told to the toolstack here.</summary>
    public Action? Started { get; set; }

    public bool Continue()
    {
        if (IsRunning) return true;
        Enter(MachineState.Running);
        return true;
    }

    public void Stop()
    {
        if (IsRunning) Enter(MachineState.Paused);
    }

    void IMachineEvents.BlockIoError(string device, bool isWrite, int errno, string reason)
    {
        foreach (var observer in Observers) observer.BlockIoError(device, isWrite, errno, reason);
    }

    void IMachineEvents.TrayMoved(string device, string id, bool isOpen)
    {
        foreach (var observer in Observers) observer.TrayMoved(device, id, isOpen);
    }

    private void Enter(MachineState state)
    {
        var from = RunState;
        RunState = state;
        if (state == MachineState.Running) Started?.Invoke();
        else PvDevices?.Drain();
        foreach (var observer in Observers) observer.StateChanged(from, state);
    }
}
