using System.Collections.Generic;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.Block;

/// <summary>How known drivers use a PV disk, seen in their public sources.</summary>
public static class FrontPatterns
{
    private static readonly Dictionary<string, BlockFrontOptions> s_all = new()
    {
        // Linux xen-blkfront: rings as large as offered, queues, 32 indirect segments unless told otherwise, persistent grants.
        ["linux"] = new(Is64: true) { RingOrder = 4, Queues = 4, IsPersistent = true, IndirectSegments = 32 },
        ["linux-untrusted"] = new(Is64: true) { RingOrder = 2, IndirectSegments = 256, GrantsReadOnly = true },
        ["linux-default"] = new(Is64: true) { Queues = 2, IsPersistent = true, IndirectSegments = 32 },
        ["linux-pae"] = new(Is64: false) { RingOrder = 3, Queues = 2, IsPersistent = true, IndirectSegments = 32 },
        ["linux-old"] = new(Is64: false) { Protocol = null },

        // GPLPV: one page, eleven segments, every page granted for writing and taken back after the response; connects with state 4 at once.
        ["gplpv-64"] = new(Is64: true) { ReadyState = 4 },
        ["gplpv-32"] = new(Is64: false) { ReadyState = 4 },

        // XenServer's xenvbd: rings of several pages, indirect requests up to what is offered, what is only read is granted so.
        ["xenvbd-64"] = new(Is64: true) { RingOrder = 3, IndirectSegments = 256, GrantsReadOnly = true },
        ["xenvbd-32"] = new(Is64: false) { RingOrder = 3, IndirectSegments = 256, GrantsReadOnly = true },
        ["xenvbd-persistent"] = new(Is64: true) { IndirectSegments = 256, IsPersistent = true },
    };

    public static TheoryData<string> Names => [.. s_all.Keys];

    public static BlockFrontOptions Get(string name) => s_all[name];
}
