using System.Collections.Generic;
using System.Globalization;
using XenDM.Core.Backends;
using XenDM.Hosting;
using XenDM.PvBackends.Net;
using XenDM.PvBackends.XenBus;

namespace XenDM.Machines;

/// <summary>
/// The cables of PV NICs: each leads to a netdev, which it shares with an emulated twin, so both work on the machine's loop. A node <c>netdev</c> of the
/// backend names it; without one, NIC n has the n-th of a list, or <c>netN</c> as toolstacks number them.
/// </summary>
/// <param name="ids">Of the netdevs in the order of the NICs; null for toolstacks' numbers.</param>
internal sealed class PvNets(NetdevTable netdevs, IEventLoop loop, IReadOnlyList<string>? ids = null) : IPvNets
{
    public PvNet Open(string id, StoreFolder back)
    {
        var name = back.Read("netdev") ?? (ids is null ? $"net{id}" : int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number < ids.Count ? ids[number] : null);
        if (name is null || netdevs.Find(name) is not { } net) throw new PvException($"there is no netdev for PV NIC {id}");
        return new PvNet(net, new MachinePlane(loop), isOwned: false);
    }
}
