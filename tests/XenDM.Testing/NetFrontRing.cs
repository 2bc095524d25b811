using System;
using System.Threading;

namespace XenDM.Testing;

/// <summary>The guest's end of a ring of one page, as PV NICs use them (xen/public/io/ring.h).</summary>
public sealed class NetFrontRing
{
    private const int HeaderBytes = 64;

    private readonly FakeXen _xen;
    private readonly int _page;
    private readonly int _slotBytes;
    private uint _pushed;

    /// <param name="slotBytes">The larger one of a request and a response.</param>
    public NetFrontRing(FakeXen xen, int slotBytes)
    {
        _xen = xen;
        _slotBytes = slotBytes;
        _page = xen.Grants.Allocate();
        xen.Grants.Page(_page).Clear();
        Reference = xen.Grants.Grant(_page);
        Count = 1 << System.Numerics.BitOperations.Log2((uint)((FakeGrants.PageBytes - HeaderBytes) / slotBytes));
        RequestEvent = 1;
        ResponseEvent = 1;
    }

    /// <summary>Slots.</summary>
    public int Count { get; }

    public uint Reference { get; }

    /// <summary>Requests that were put, and responses that were taken.</summary>
    public uint Produced { get; private set; }

    /// <inheritdoc cref="Produced"/>
    public uint Consumed { get; private set; }

    /// <summary>Requests without a response.</summary>
    public int Waiting => (int)(Produced - Consumed);

    public ref uint RequestProducer => ref _xen.Grants.Word(_page, 0);

    public ref uint RequestEvent => ref _xen.Grants.Word(_page, 4);

    public ref uint ResponseProducer => ref _xen.Grants.Word(_page, 8);

    public ref uint ResponseEvent => ref _xen.Grants.Word(_page, 12);

    /// <summary>Puts the bytes of a request into the next slot; nobody sees it before <see cref="Push"/>.</summary>
    /// <returns>The slot's number.</returns>
    public int Put(ReadOnlySpan<byte> request)
    {
        var slot = (int)(Produced++ & (uint)(Count - 1));
        request.CopyTo(Slot(slot));
        return slot;
    }

    /// <summary>Shows what was put.</summary>
    /// <returns>The backend asks for an event.</returns>
    public bool Push()
    {
        var before = _pushed;
        _pushed = Produced;
        Volatile.Write(ref RequestProducer, _pushed);
        Interlocked.MemoryBarrier();
        return _pushed - Volatile.Read(ref RequestEvent) < _pushed - before;
    }

    /// <summary>Responses that are there; asks for an event for the next if there is none.</summary>
    public int Ready
    {
        get
        {
            if (Volatile.Read(ref ResponseProducer) == Consumed)
            {
                Volatile.Write(ref ResponseEvent, Consumed + 1);
                Interlocked.MemoryBarrier();
            }

            return (int)(Volatile.Read(ref ResponseProducer) - Consumed);
        }
    }

    /// <summary>Takes a response, which <see cref="Ready"/> said is there.</summary>
    /// <returns>The slot's number.</returns>
    public int Take(Span<byte> response)
    {
        var slot = (int)(Consumed++ & (uint)(Count - 1));
        Slot(slot)[..response.Length].CopyTo(response);
        return slot;
    }

    /// <summary>The bytes of a slot.</summary>
    public Span<byte> Slot(int slot) => _xen.Grants.Page(_page).Slice(HeaderBytes + (slot * _slotBytes), _slotBytes);

    /// <exception cref="InvalidOperationException">The backend has it mapped.</exception>
    public void End()
    {
        if (!_xen.Grants.TryEnd(Reference)) throw new InvalidOperationException($"grant {Reference} is in use after the end");
        _xen.Grants.Free(_page);
    }
}
