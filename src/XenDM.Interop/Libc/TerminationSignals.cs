using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace XenDM.Interop.Libc;

/// <summary>
/// Turns SIGHUP, SIGINT and SIGTERM into a readable descriptor for the event loop. A signalfd cannot do it: the runtime starts threads of its own
/// before Main, in which the signals are not blocked, and one of those would take the default action. The runtime's own handler is safe with its
/// garbage collector, and its thread sleeps until a signal comes.
/// </summary>
public sealed class TerminationSignals : IDisposable
{
    private static readonly PosixSignal[] s_default = [PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGTERM];
    private readonly PosixSignalRegistration[] _registrations;
    private readonly int _eventFd;
    private int _last;

    /// <param name="signals">Which ones; none for SIGHUP, SIGINT and SIGTERM.</param>
    public TerminationSignals(params ReadOnlySpan<PosixSignal> signals)
    {
        _eventFd = Posix.EventFd();
        if (_eventFd < 0) throw new InvalidOperationException($"cannot create an eventfd: {Errno.Describe(_eventFd)}");
        if (signals.IsEmpty) signals = s_default;
        _registrations = new PosixSignalRegistration[signals.Length];
        for (var i = 0; i < signals.Length; i++)
        {
            // The runtime leaves alone what the parent process ignored (nohup, SIGHUP), and libxl ends device models with just that. Of SIGINT it
            // believes that it has a handler already: that one stays ignored, as shells want it for programs in the background.
            var number = NumberOf(signals[i]);
            var wasIgnored = Posix.IsIgnored(number);
            if (wasIgnored) Posix.SetIgnored(number, false);
            _registrations[i] = PosixSignalRegistration.Create(signals[i], Received);
            if (wasIgnored && Posix.HasDefaultAction(number)) Posix.SetIgnored(number, true);
        }
    }

    /// <summary>Readable once a signal has come; see <see cref="Take"/>.</summary>
    public int Fd => _eventFd;

    /// <summary>The signal that came last, or null; makes <see cref="Fd"/> quiet again.</summary>
    public PosixSignal? Take()
    {
        Posix.DrainEventFd(_eventFd);
        var last = Interlocked.Exchange(ref _last, 0);
        return last == 0 ? null : (PosixSignal)last;
    }

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
        Posix.Close(_eventFd);
    }

    private static int NumberOf(PosixSignal signal) => signal switch
    {
        PosixSignal.SIGHUP => 1,
        PosixSignal.SIGINT => 2,
        PosixSignal.SIGTERM => 15,
        _ => (int)signal,
    };

    private void Received(PosixSignalContext context)
    {
        context.Cancel = true;
        Volatile.Write(ref _last, (int)context.Signal);
        Posix.SignalEventFd(_eventFd);
    }
}
