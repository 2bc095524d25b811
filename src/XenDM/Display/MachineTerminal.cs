using System;
using System.IO;
using System.Runtime.InteropServices;
using XenDM.Backends.Char;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Interop.Libc;
using XenDM.Machines;

namespace XenDM.Display;

/// <summary>
/// A machine's <see cref="TerminalDisplay"/> on the terminal that the process was started in: takes the terminal over, follows its size, and gives
/// it back.
/// </summary>
internal sealed class MachineTerminal : ITerminalActions, IMachineObserver, IDisposable
{
    private const int Output = 1;

    /// <summary>Linux's number of SIGWINCH, which the runtime takes as it is.</summary>
    private const int SignalWindowChange = 28;

    private readonly Machine _machine;
    private readonly HumanMonitor _monitor;
    private readonly Func<bool> _powerButton;
    private readonly Action _quit;
    private readonly StreamChar _terminal;
    private readonly TerminationSignals _resized;
    private readonly IFdWatch _resizedWatch;
    private readonly TerminalDisplay _display;

    /// <param name="monitor">Carries out the lines of the monitor prompt.</param>
    /// <param name="powerButton">Presses the power button; false when there is none.</param>
    /// <param name="quit">Ends the process in order.</param>
    /// <exception cref="UsageException">Standard input and output are no terminal, or the machine has no display adapter.</exception>
    public MachineTerminal(Machine machine, HumanMonitor monitor, IEventLoop loop, Func<bool> powerButton, Action quit)
    {
        _machine = machine;
        _monitor = monitor;
        _powerButton = powerButton;
        _quit = quit;
        var vga = machine.Board.Vga ?? throw new UsageException("--display", "text needs a display adapter: leave out --vga none");
        if (Posix.SaveTerminal(0) is null || Posix.GetTerminalSize(Output, out _, out _) < 0) throw new UsageException("--display", "text needs a terminal on standard input and output");
        _terminal = StreamChar.Stdio("display", loop, signal: false);
        _display = new TerminalDisplay(_terminal, vga, machine.Screen, machine.Input.Open(), machine.Board.Keyboard.Keyboard, machine.Clock, this, TerminalSize, Directory.GetCurrentDirectory());
        _resized = new TerminationSignals((PosixSignal)SignalWindowChange);
        _resizedWatch = loop.Watch(_resized.Fd, FdEvents.Readable, Resized);
        machine.Observers.Add(this);
    }

    public void Reset() => _machine.ResetByMonitor();

    public void PressPowerButton() => _powerButton();

    public void Quit() => _quit();

    public string Monitor(string command) => _monitor.Run(command) ?? $"'{command}' is not known; help tells the commands\r\n";

    public void StateChanged(MachineState from, MachineState to) => _display.Paint();

    void IMachineObserver.Reset(bool byGuest)
    {
    }

    public void ShutDown(bool byGuest)
    {
    }

    public void BlockIoError(string device, bool isWrite, int errno, string reason)
    {
    }

    public void TrayMoved(string device, string id, bool isOpen)
    {
    }

    public void Dispose()
    {
        _machine.Observers.Remove(this);
        _resizedWatch.Dispose();
        _resized.Dispose();
        _display.Dispose();
        _terminal.Dispose();
    }

    /// <summary>A terminal that does not know its size has 80 by 25.</summary>
    private static (int Columns, int Rows) TerminalSize() => Posix.GetTerminalSize(Output, out var columns, out var rows) < 0 || columns == 0 || rows == 0 ? (80, 25) : (columns, rows);

    private void Resized(FdEvents events)
    {
        _resized.Take();
        _display.Redraw();
    }
}
