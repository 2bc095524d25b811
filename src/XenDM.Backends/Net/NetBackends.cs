using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Backends.Net;

/// <summary>Makes backends from what was asked for.</summary>
public static class NetBackends
{
    /// <param name="loop">The backend's; to be called on its thread.</param>
    /// <exception cref="NetOpenException">The backend cannot be set up.</exception>
    public static INetBackend Open(NetdevSpec spec, IEventLoop loop, IMachineLog log)
    {
        throw new NetOpenException($"netdev {spec.Id}: this kind of backend is not built");
    }
}
