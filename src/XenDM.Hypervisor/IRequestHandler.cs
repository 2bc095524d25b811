using XenDM.Core.Io;

namespace XenDM.Hypervisor;

/// <summary>The machine, as whoever has a request sees it.</summary>
public interface IRequestHandler
{
    /// <summary>Carries a request out, and what it asked for (reset, power off), before it is answered.</summary>
    void Handle(ref IoRequest request);
}
