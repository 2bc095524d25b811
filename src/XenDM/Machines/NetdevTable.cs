using System;
using System.Collections.Generic;
using XenDM.Backends.Net;
using XenDM.CommandLine;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;

namespace XenDM.Machines;

/// <summary>The net backends of the running machine, by the ids that NICs and QMP use.</summary>
internal sealed class NetdevTable : IDisposable
{
    private readonly List<NetBackend> _backends = [];
    private readonly IEventLoop _loop;
    private readonly IMachineLog _log;

    /// <summary>Opens all backends; taps are there from then on.</summary>
    /// <param name="loop">On whose thread this is called, and on which they work.</param>
    /// <exception cref="NetOpenException">One cannot be opened; those before are closed again.</exception>
    public NetdevTable(IReadOnlyList<NetdevSpec> specs, IReadOnlyList<DumpSpec> dumps, IEventLoop loop, IMachineLog log)
    {
        _loop = loop;
        _log = log;
        try
        {
            foreach (var spec in specs) Add(spec);
            foreach (var dump in dumps)
                if (Find(dump.NetdevId) is { } backend) NetBackends.Dump(backend, dump, log);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The backends of a command line.</summary>
    /// <inheritdoc cref="NetdevTable(IReadOnlyList{NetdevSpec}, IReadOnlyList{DumpSpec}, IEventLoop, IMachineLog)"/>
    public static NetdevTable Open(QemuOptions options, IEventLoop loop, IMachineLog log)
    {
        var specs = NetdevOptions.FromOptions(options);
        return new NetdevTable(specs, NetdevOptions.Dumps(options, specs), loop, log);
    }

    public IReadOnlyList<NetBackend> All => _backends;

    public NetBackend? Find(string id) => _backends.Find(b => b.Id == id);

    /// <exception cref="NetOpenException">It cannot be opened, or the id is taken.</exception>
    public NetBackend Add(NetdevSpec spec)
    {
        if (Find(spec.Id) is not null) throw new NetOpenException($"netdev {spec.Id}: there is one with this id");
        var backend = NetBackends.Open(spec, _loop, _log);
        _backends.Add(backend);
        _log.Info("net", $"{backend.Id}: {backend.Description}");
        return backend;
    }

    /// <summary>Takes a backend away. The NIC at it sees its cable pulled out, and what it sends is lost.</summary>
    /// <returns>False: there is none with this id.</returns>
    public bool Remove(string id)
    {
        if (Find(id) is not { } backend) return false;
        backend.IsLinkUp = false;
        _backends.Remove(backend);
        backend.Dispose();
        return true;
    }

    public void Dispose()
    {
        foreach (var backend in _backends) backend.Dispose();
        _backends.Clear();
    }
}
