using XenDM.Core.Backends;

namespace XenDM.Hypervisor;

/// <summary>A loop whose callback may stay for a while, as long as nobody else waits for the thread.</summary>
public interface IBusyLoop : IEventLoop
{
    /// <summary>Posted work or a timer waits. Cheap; machine thread only.</summary>
    bool HasWork { get; }
}
