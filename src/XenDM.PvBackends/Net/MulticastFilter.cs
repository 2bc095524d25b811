using System;
using System.Buffers.Binary;

namespace XenDM.PvBackends.Net;

/// <summary>Multicast addresses that a front end wants, once it has asked for control over them. On the data plane's thread.</summary>
internal sealed class MulticastFilter
{
    private const int MaxAddresses = 64;
    private const int AddressBytes = 6;

    private readonly ulong[] _addresses = new ulong[MaxAddresses];
    private int _count;

    /// <summary>The front end controls it; until then it gets all.</summary>
    public bool IsOn { get; set; }

    public void Clear() => (_count, IsOn) = (0, false);

    /// <returns>False when the list is full, or the address is no multicast one.</returns>
    public bool Add(ReadOnlySpan<byte> address)
    {
        var value = Value(address);
        if ((address[0] & 1) == 0) return false;
        if (_addresses.AsSpan(0, _count).Contains(value)) return true;
        if (_count == MaxAddresses) return false;
        _addresses[_count++] = value;
        return true;
    }

    public void Remove(ReadOnlySpan<byte> address)
    {
        var at = _addresses.AsSpan(0, _count).IndexOf(Value(address));
        if (at >= 0) _addresses[at] = _addresses[--_count];
    }

    /// <summary>A frame with this destination is for the guest.</summary>
    public bool Takes(ReadOnlySpan<byte> destination)
    {
        if (!IsOn || (destination[0] & 1) == 0) return true;
        var value = Value(destination);
        return value == 0xffff_ffff_ffff || _addresses.AsSpan(0, _count).Contains(value);
    }

    private static ulong Value(ReadOnlySpan<byte> address) => ((ulong)BinaryPrimitives.ReadUInt16BigEndian(address) << 32) | BinaryPrimitives.ReadUInt32BigEndian(address[(AddressBytes - 4)..]);
}
