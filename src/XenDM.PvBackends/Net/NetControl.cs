using System;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Memory;
using XenDM.PvBackends.Rings;

namespace XenDM.PvBackends.Net;

/// <summary>
/// The control ring of a PV NIC (xen/public/io/netif.h, "Control ring"): how frames are hashed, and which queue gets which. On the data plane's
/// thread but for <see cref="Kick"/>; nothing is allocated once it runs. Mapping grants for good (types 8 to 10) is not supported: frames are copied.
/// </summary>
internal sealed class NetControl : IDisposable
{
    private const int RequestBytes = 16, ResponseBytes = 12;
    private const ushort GetHashFlags = 1, SetHashFlags = 2, SetHashKey = 3, GetHashMappingSize = 4, SetHashMappingSize = 5, SetHashMapping = 6, SetHashAlgorithm = 7;
    private const uint Success = 0, NotSupported = 1, InvalidParameter = 2, BufferOverflow = 3;

    private readonly XenPorts _ports;
    private readonly IDataPlane _plane;
    private readonly int _guest;
    private readonly int _queues;
    private readonly NetHasher _hasher;
    private readonly Action<string> _broken;
    private readonly PinnedBuffer _buffer = new(NetHasher.MaxMapping * sizeof(uint));
    private readonly Action _work;
    private IEventChannel? _channel;
    private IGrantMapping? _page;
    private BackRing? _ring;
    private int _kicked;
    private bool _isStopped;

    /// <param name="queues">What a front end may map hashes to.</param>
    /// <param name="broken">The ring makes no sense; called on the data plane.</param>
    public NetControl(XenPorts ports, IDataPlane plane, int guest, int queues, NetHasher hasher, Action<string> broken)
    {
        (_ports, _plane, _guest, _queues, _hasher, _broken) = (ports, plane, guest, queues, hasher, broken);
        _work = Work;
    }

    /// <summary>Takes the guest's port and page; from then on the ring is served. Machine thread.</summary>
    /// <exception cref="XenBus.PvException">They cannot be taken.</exception>
    public void Open(uint port, uint grant)
    {
        _channel = RingPages.Bind(_ports, _guest, port, _plane, Kick);
        _page = RingPages.Map(_ports, _guest, [grant], _channel);
        Volatile.Write(ref _ring, new BackRing(_page, RequestBytes));

        // The first call came before the ring was here.
        Kick();
    }

    /// <summary>Takes no more.</summary>
    public void Stop() => _isStopped = true;

    /// <summary>After <see cref="Stop"/>. Machine thread.</summary>
    public void Dispose()
    {
        _channel?.Dispose();
        _page?.Dispose();
    }

    /// <summary>The guest may have put something into the ring. Any thread.</summary>
    private void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _plane.Loop.Post(_work);
    }

    private void Work()
    {
        Volatile.Write(ref _kicked, 0);
        Interlocked.MemoryBarrier();
        if (_isStopped || Volatile.Read(ref _ring) is not { } ring) return;
        Span<byte> request = stackalloc byte[RequestBytes], response = stackalloc byte[ResponseBytes];

        // A guest that fills the ring as fast as it is emptied is not all there is on this loop.
        for (var budget = ring.Count; ; budget--)
        {
            var waiting = ring.Waiting;
            if (waiting < 0)
            {
                _isStopped = true;
                _broken("its control ring has more requests than room");
                return;
            }

            if (waiting == 0)
            {
                if (!ring.FinalCheck()) break;
                continue;
            }

            if (budget <= 0)
            {
                Kick();
                break;
            }

            ring.Take(request);
            var type = BinaryPrimitives.ReadUInt16LittleEndian(request[2..]);
            var data = 0u;
            var status = Carry(type, BinaryPrimitives.ReadUInt32LittleEndian(request[4..]), BinaryPrimitives.ReadUInt32LittleEndian(request[8..]), BinaryPrimitives.ReadUInt32LittleEndian(request[12..]), ref data);
            request[..4].CopyTo(response);
            BinaryPrimitives.WriteUInt32LittleEndian(response[4..], status);
            BinaryPrimitives.WriteUInt32LittleEndian(response[8..], data);
            ring.Respond(response);
        }

        if (ring.Push()) _channel!.Notify();
    }

    /// <summary>Does what a request asks for.</summary>
    /// <returns>XEN_NETIF_CTRL_STATUS_*.</returns>
    private uint Carry(ushort type, uint first, uint second, uint third, ref uint data)
    {
        switch (type)
        {
            case SetHashAlgorithm: return _hasher.TrySetAlgorithm(first) ? Success : InvalidParameter;
            case GetHashFlags when _hasher.HasAlgorithm:
                data = NetHasher.AllKinds;
                return Success;
            case SetHashFlags when _hasher.HasAlgorithm: return _hasher.TrySetKinds(first) ? Success : InvalidParameter;
            case SetHashFlags: return InvalidParameter;
            case SetHashKey: return SetKey(first, second);
            case GetHashMappingSize:
                data = NetHasher.MaxMapping;
                return Success;
            case SetHashMappingSize: return _hasher.TrySetMappingSize(first) ? Success : InvalidParameter;
            case SetHashMapping: return SetMapping(first, second, third);
            default: return NotSupported;
        }
    }

    private uint SetKey(uint grant, uint bytes)
    {
        if (bytes > NetHasher.MaxKey) return BufferOverflow;
        if (!TryCopy(grant, (int)bytes)) return InvalidParameter;
        _hasher.SetKey(_buffer.Span[..(int)bytes]);
        return Success;
    }

    /// <summary>Takes a part of the table over, or none of it.</summary>
    private uint SetMapping(uint grant, uint entries, uint offset)
    {
        if (entries > NetHasher.MaxMapping) return BufferOverflow;
        if (!_hasher.TryFindMapping(offset, entries, out var part) || !TryCopy(grant, (int)entries * sizeof(uint))) return InvalidParameter;
        var values = MemoryMarshal.Cast<byte, uint>(_buffer.Span[..(part.Length * sizeof(uint))]);
        foreach (var value in values)
            if (value >= _queues) return InvalidParameter;
        values.CopyTo(part);
        return Success;
    }

    /// <summary>Copies the start of a page that the guest granted, perhaps for reading only.</summary>
    private bool TryCopy(uint grant, int bytes)
    {
        if (bytes == 0) return true;
        Span<GrantCopy> copy = [new GrantCopy { Reference = grant, Length = (ushort)bytes, Local = _buffer.Address }];
        _ports.Grants.Copy(_guest, copy);
        return copy[0].Status == 0;
    }
}
