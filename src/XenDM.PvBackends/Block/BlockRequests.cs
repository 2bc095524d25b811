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
/// <param name="isLong">It has room for the segments of a request that lists them elsewhere.</param>
internal sealed class RingRequest(bool isLong)
{
    public readonly RingSegment[] Segments = new RingSegment[isLong ? BlockProtocol.IndirectSegments : BlockProtocol.DirectSegments];

    public ulong Id;

    /// <summary>Of those that are one request to the image.</summary>
    public RingRequest? Next;

    /// <summary>What is done: of an indirect request, what it says inside.</summary>
    public byte Operation;
    public int Count;

    /// <summary>Byte offset on the disk.</summary>
    public long Offset;
    public long Bytes;

    public bool IsLong => isLong;

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
    private RingRequest? _last;

    /// <param name="segments">At most.</param>
    public BlockIo(BlockQueue queue, int segments)
    {
        Request = new BlockRequest(_ => queue.Finished(this));
        Request.Reserve(segments);
    }

    public BlockRequest Request { get; }

    /// <summary>The guest's requests, the others by their <see cref="RingRequest.Next"/>.</summary>
    public RingRequest? First { get; private set; }

    public bool HasSeveral => First != _last;

    public BlockPhase Phase { get; set; }

    /// <summary>Behind the last byte.</summary>
    public long End { get; set; }

    public void Add(RingRequest request)
    {
        request.Next = null;
        if (_last is null) First = request;
        else _last.Next = request;
        _last = request;
    }

    public void Clear() => First = _last = null;
}
