using System;

namespace XenDM.Core.Backends;

/// <summary>Where a PV device's data is moved: a loop with a thread of its own, or the machine's.</summary>
public interface IDataPlane : IDisposable
{
    IEventLoop Loop { get; }

    /// <summary>Runs work on the loop's thread and waits until it is done. From the machine thread.</summary>
    void Run(Action work);
}
