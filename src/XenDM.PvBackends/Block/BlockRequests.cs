using System.Collections.Generic;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;

namespace XenDM.PvBackends.Block;

/// <summary>A piece of a guest's page that a request reads or writes.</summary>
internal struct RingSegment
{
    public uint Grant;
    public ushort Offset;
    public ushort Length;

    /// <summary>Its bytes in this process: in the guest's page that stays mapped, or in a page that they are copied through.</summary>
    public nint Address;

    /// <summary>Index of the page in the <see cref="PagePool"/>; -1 for a mapped one.</summary>
    public int PoolPage;

    public IGrantMapping? Mapping;
    public int MappingPage;
}

/// <summary>A request of the guest, copied out of its ring and checked. Used again and again.</summary>
internal sealed class RingRequest
{
    public RingSegment[] Segments = new RingSegment[BlockProtocol.DirectSegments];

    public ulong Id;

    /// <summary>What is done: of an indirect request, what it says inside.</summary>
    public byte Operation;
    public int Count;

    /// <summary>Byte offset on the disk.</summary>
    public long Offset;
    public long Bytes;

    public bool IsWrite => Operation != BlockProtocol.Read;
}

internal enum BlockPhase
{
    /// <summary>The last or only one.</summary>
    Main,

    /// <summary>A flush, then the data, then a flush.</summary>
    FlushBefore,
    DataBetween,
}

/// <summary>What the image is asked for: one request of the guest's, or several that lie side by side.</summary>
internal sealed class BlockIo
{
    public BlockIo(BlockQueue queue) => Request = new BlockRequest(_ => queue.Finished(this));

    public BlockRequest Request { get; }

    public List<RingRequest> Parts { get; } = [];

    public BlockPhase Phase { get; set; }

    /// <summary>Behind the last byte.</summary>
    public long End { get; set; }
}
