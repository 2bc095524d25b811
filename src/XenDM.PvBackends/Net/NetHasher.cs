using System;
using System.Buffers.Binary;
using XenDM.Core.Backends;

namespace XenDM.PvBackends.Net;

/// <summary>A frame's hash.</summary>
/// <param name="Kind">What it was taken over: <see cref="NetHasher.Ipv4"/> and its like as a bit's number; -1 where the guest wants none of such frames.</param>
internal readonly record struct NetHash(int Kind, uint Value)
{
    public static NetHash None => new(-1, 0);

    public bool IsKnown => Kind >= 0;
}

/// <summary>
/// Toeplitz hashes of frames for a guest, and the queues that they lead to, as its front end sets them (xen/public/io/netif.h, "Hash types" and
/// "Control messages"). On the data plane's thread.
/// </summary>
internal sealed class NetHasher
{
    /// <summary>Octets of a key: those that 36 octets of addresses and ports can bring under the 32 bits that count.</summary>
    public const int MaxKey = 40;

    /// <summary>Entries of the table from hash to queue.</summary>
    public const int MaxMapping = 128;

    public const uint AlgorithmNone = 0, AlgorithmToeplitz = 1;
    public const int Ipv4 = 0, Ipv4Tcp = 1, Ipv6 = 2, Ipv6Tcp = 3;
    public const uint AllKinds = (1 << Ipv4) | (1 << Ipv4Tcp) | (1 << Ipv6) | (1 << Ipv6Tcp);

    private const int InputBytes = 36;
    private const int Nibbles = 16;

    private readonly uint[] _mapping = new uint[MaxMapping];

    /// <summary>The hash of every half octet at every place of the input; that of the input is the sum of them without carries.</summary>
    private readonly uint[] _table = new uint[InputBytes * 2 * Nibbles];
    private uint _algorithm;
    private uint _kinds;
    private int _mappingSize;

    /// <summary>The front end chose an algorithm and something to take hashes of: it says which queue gets what.</summary>
    public bool IsOn => _algorithm != AlgorithmNone && _kinds != 0;

    public bool HasAlgorithm => _algorithm != AlgorithmNone;

    /// <summary>As a front end begins: no algorithm, no key, no table.</summary>
    public void Clear()
    {
        (_algorithm, _kinds, _mappingSize) = (AlgorithmNone, 0, 0);
        _table.AsSpan().Clear();
    }

    /// <returns>False: there is no such algorithm.</returns>
    public bool TrySetAlgorithm(uint algorithm)
    {
        if (algorithm > AlgorithmToeplitz) return false;
        _algorithm = algorithm;
        return true;
    }

    /// <param name="kinds">A bit for each kind.</param>
    /// <returns>False: one of them does not exist.</returns>
    public bool TrySetKinds(uint kinds)
    {
        if ((kinds & ~AllKinds) != 0) return false;
        _kinds = kinds;
        return true;
    }

    /// <param name="key">Up to <see cref="MaxKey"/> octets; zeros follow.</param>
    public void SetKey(ReadOnlySpan<byte> key)
    {
        Span<byte> whole = stackalloc byte[MaxKey];
        whole.Clear();
        key.CopyTo(whole);
        for (var place = 0; place < InputBytes * 2; place++)
        {
            // The 32 bits of the key from this half octet on, and those that its lower bits move in.
            var window = BinaryPrimitives.ReadUInt32BigEndian(whole[(place / 2)..]);
            var next = (uint)whole[(place / 2) + 4] << 24;
            if (place % 2 != 0) (window, next) = ((window << 4) | (next >> 28), next << 4);
            var sums = _table.AsSpan(place * Nibbles, Nibbles);
            for (var nibble = 0; nibble < Nibbles; nibble++)
            {
                var sum = 0u;
                for (var bit = 0; bit < 4; bit++)
                    if ((nibble & (8 >> bit)) != 0) sum ^= (uint)((((ulong)window << 32) | next) << bit >> 32);
                sums[nibble] = sum;
            }
        }
    }

    /// <summary>A table of zeros; of none, hashes are divided by the number of queues.</summary>
    /// <returns>False: it is too large.</returns>
    public bool TrySetMappingSize(uint entries)
    {
        if (entries > MaxMapping) return false;
        _mappingSize = (int)entries;
        _mapping.AsSpan().Clear();
        return true;
    }

    /// <summary>The part of the table that a front end may write.</summary>
    /// <returns>False: there is no such part.</returns>
    public bool TryFindMapping(uint offset, uint entries, out Span<uint> part)
    {
        part = [];
        if (offset > (uint)_mappingSize || entries > (uint)_mappingSize - offset) return false;
        part = _mapping.AsSpan((int)offset, (int)entries);
        return true;
    }

    /// <summary>The hash that the front end asked for: with ports where it takes those of TCP, else over the addresses.</summary>
    public NetHash Of(ReadOnlySpan<byte> frame)
    {
        if (!NetHeaders.TryFindAddresses(frame, out var at, out var isIpv6)) return NetHash.None;
        var addresses = frame.Slice(at, isIpv6 ? 32 : 8);
        var withPorts = isIpv6 ? Ipv6Tcp : Ipv4Tcp;
        if ((_kinds & (1u << withPorts)) != 0 && NetHeaders.TryParse(frame, out var headers) && headers.Protocol == NetHeaders.Tcp)
            return new NetHash(withPorts, Sum(addresses, 0) ^ Sum(frame.Slice(headers.TransportStart, sizeof(uint)), addresses.Length));
        var without = isIpv6 ? Ipv6 : Ipv4;
        return (_kinds & (1u << without)) != 0 ? new NetHash(without, Sum(addresses, 0)) : NetHash.None;
    }

    /// <summary>The queue that a hash leads to. Frames without one go where 0 leads.</summary>
    /// <param name="queues">More than 0; the table may have been filled for more of them.</param>
    public int QueueOf(in NetHash hash, int queues)
    {
        var queue = _mappingSize == 0 ? hash.Value : _mapping[hash.Value % (uint)_mappingSize];
        return (int)(queue % (uint)queues);
    }

    /// <param name="start">Octets of the input that come before.</param>
    private uint Sum(ReadOnlySpan<byte> input, int start)
    {
        var sum = 0u;
        var at = start * 2 * Nibbles;
        foreach (var octet in input)
        {
            sum ^= _table[at + (octet >> 4)] ^ _table[at + Nibbles + (octet & 0xf)];
            at += 2 * Nibbles;
        }

        return sum;
    }
}
