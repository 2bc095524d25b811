using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Backends.Net;

/// <summary>Makes backends from what was asked for.</summary>
public static class NetBackends
{
    /// <param name="loop">The backend's; to be called on its thread.</param>
    /// <exception cref="NetOpenException">The backend cannot be set up.</exception>
    public static NetBackend Open(NetdevSpec spec, IEventLoop loop, IMachineLog log)
    {
        loop.AssertMachineThread();
        return spec switch
        {
            UserNetdev user => new UserNet(user, loop, log),
            TapNetdev tap => new TapNet(tap, loop, log),
            SocketNetdev { Kind: NetSocketKind.Listen or NetSocketKind.Connect } stream => new StreamNet(stream, loop, log),
            SocketNetdev datagrams => new DatagramNet(datagrams, loop),
            _ => throw new NetOpenException($"netdev {spec.Id}: this kind of backend is not built"),
        };
    }

    /// <summary>Begins a dump.</summary>
    /// <exception cref="NetOpenException">Its file cannot be made.</exception>
    public static void Dump(NetBackend backend, DumpSpec spec, IMachineLog log)
    {
        var where = spec.Id;
        backend.AddDump(new PcapFile(spec.File, spec.MaxBytes, text => log.Warn(where, text)));
    }
}
