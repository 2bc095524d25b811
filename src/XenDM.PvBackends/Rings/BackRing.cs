using System;
using System.Threading;
using XenDM.Core.Hypervisor;

namespace XenDM.PvBackends.Rings;

/// <summary>
/// The backend's end of a ring of requests and responses in granted pages (xen/public/io/ring.h). The guest can write all of it at any time:
/// requests are copied out once before anything is checked, and an index that makes no sense is told to the caller.
/// </summary>
public sealed class BackRing
{
    private const int AtRequestProducer = 0;
    private const int AtRequestEvent = 4;
    private const int AtResponseProducer = 8;
    private const int AtResponseEvent = 12;
    private const int HeaderBytes = 64;
    private const int PageBytes = 4096;

    private readonly IGrantMapping _pages;
    private readonly int _slotBytes;
    private uint _taken;
    private uint _answered;
    private uint _pushed;

    /// <param name="pages">Mapped for writing; a power of two of them.</param>
    /// <param name="slotBytes">The larger one of a request and a response.</param>
    public BackRing(IGrantMapping pages, int slotBytes)
    {
        _pages = pages;
        _slotBytes = slotBytes;
        Count = 1 << System.Numerics.BitOperations.Log2((uint)(((pages.Pages * PageBytes) - HeaderBytes) / slotBytes));

        // A front end that goes on with its ring, after this process was changed for another, begins where it stands.
        _taken = _answered = _pushed = pages.ReadIndex(AtResponseProducer);
    }

    /// <summary>Slots, a power of two.</summary>
    public int Count { get; }

    /// <summary>Requests that can be taken; -1 when the guest's index is nonsense.</summary>
    public int Waiting
    {
        get
        {
            var produced = _pages.ReadIndex(AtRequestProducer);
            return produced - _answered > (uint)Count || produced - _taken > (uint)Count ? -1 : (int)(produced - _taken);
        }
    }

    /// <summary>Copies the next request out; <see cref="Waiting"/> said that there is one.</summary>
    /// <returns>Its slot, which is where rings that answer in place put the response.</returns>
    public uint Take(Span<byte> request)
    {
        var slot = _taken++;
        _pages.Read(At(slot), request);
        return slot;
    }

    /// <summary>Looks at the request that <see cref="Take"/> would give.</summary>
    /// <param name="ahead">How many to skip; fewer than <see cref="Waiting"/>.</param>
    public void Peek(int ahead, Span<byte> request) => _pages.Read(At(_taken + (uint)ahead), request);

    /// <summary>Takes requests that <see cref="Peek"/> gave.</summary>
    public void Skip(int count) => _taken += (uint)count;

    /// <summary>Asks for an event when the next request comes.</summary>
    /// <returns>True when one came already.</returns>
    public bool FinalCheck()
    {
        _pages.WriteIndex(AtRequestEvent, _taken + 1);
        Interlocked.MemoryBarrier();
        return Waiting != 0;
    }

    /// <summary>Asks for an event when there are more than a number of requests: what is there is only a part of something.</summary>
    /// <returns>True when there are more already.</returns>
    public bool WantEventBehind(int waiting)
    {
        _pages.WriteIndex(AtRequestEvent, _taken + (uint)waiting + 1);
        Interlocked.MemoryBarrier();
        return Waiting != waiting;
    }

    /// <summary>Puts a response into the next slot; the guest does not see it before <see cref="Push"/>. One for each request at most.</summary>
    public void Respond(ReadOnlySpan<byte> response) => _pages.Write(At(_answered++), response);

    /// <summary>Shows the responses to the guest.</summary>
    /// <returns>True when it wants an event for them.</returns>
    public bool Push()
    {
        if (_pushed == _answered) return false;
        var before = _pushed;
        _pushed = _answered;
        _pages.WriteIndex(AtResponseProducer, _pushed);
        Interlocked.MemoryBarrier();
        return _pushed - _pages.ReadIndex(AtResponseEvent) < _pushed - before;
    }

    private int At(uint index) => HeaderBytes + ((int)(index & (uint)(Count - 1)) * _slotBytes);
}
