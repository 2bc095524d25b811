using System;
using System.Runtime.ExceptionServices;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Time;
using XenDM.Hypervisor;
using XenDM.Interop.Libc;

namespace XenDM.Hosting;

/// <summary>A loop with a thread of its own, for the data of one PV device. Its clock is the host's.</summary>
internal sealed class DataPlane : IDataPlane
{
    private const int StackBytes = 256 * 1024;

    private readonly PollLoop _loop;
    private readonly Thread _thread;

    /// <param name="name">Of the thread.</param>
    public DataPlane(string name)
    {
        Clock = new VmClock(Posix.MonotonicNanoseconds);
        Clock.Start();
        _loop = new PollLoop(Clock);
        _thread = new Thread(_loop.Run, StackBytes) { IsBackground = true, Name = name };
        using var started = new ManualResetEventSlim();
        _loop.Post(started.Set);
        _thread.Start();
        started.Wait();
    }

    public IEventLoop Loop => _loop;

    /// <summary>Timers on the loop.</summary>
    public VmClock Clock { get; }

    public void Run(Action work)
    {
        if (Environment.CurrentManagedThreadId == _thread.ManagedThreadId)
        {
            work();
            return;
        }

        Exception? failure = null;
        using var done = new ManualResetEventSlim();
        _loop.Post(() =>
        {
            try
            {
                work();
            }
            catch (Exception e)
            {
                failure = e;
            }

            done.Set();
        });
        done.Wait();
        if (failure is not null) ExceptionDispatchInfo.Throw(failure);
    }

    public void Dispose()
    {
        _loop.Stop();
        _thread.Join();
        _loop.Dispose();
    }
}

/// <summary>The machine's loop, for PV devices whose image or net the machine uses too.</summary>
internal sealed class MachinePlane(IEventLoop loop) : IDataPlane
{
    public IEventLoop Loop => loop;

    public void Run(Action work) => work();

    public void Dispose()
    {
    }
}
