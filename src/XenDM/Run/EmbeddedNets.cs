using System.Collections.Generic;
using System.Globalization;
using XenDM.Core.Backends;
using XenDM.Hosting;
using XenDM.Machines;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;

namespace XenDM.Run;

/// <summary>The cables of <c>--net ...,pv</c>: the PV NIC shares each with its emulated twin, so both work on the machine's loop.</summary>
internal sealed class EmbeddedNets(IReadOnlyList<RunNet> nets, NetdevTable netdevs, IEventLoop loop) : IPvNets
{
    public PvNet Open(string id, StoreFolder back)
    {
        if (!int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number >= nets.Count || netdevs.Find(nets[number].Id) is not { } net)
            throw new PvException($"there is no --net number {id}");
        return new PvNet(net, new MachinePlane(loop), isOwned: false);
    }
}
