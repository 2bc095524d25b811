using System.Collections.Generic;

namespace XenDM.Core.Io;

/// <summary>Counts, per address, the accesses that nobody answered. Bounded: a guest that walks the space fills one last counter.</summary>
public sealed class UnclaimedAccesses
{
    private const int MaxAddresses = 256;
    private readonly Dictionary<ulong, ulong> _counts = [];

    /// <summary>All unclaimed accesses.</summary>
    public ulong Total { get; private set; }

    /// <summary>Called the first time that an address is seen, for one trace line.</summary>
    public System.Action<IoAccess>? FirstSeen { get; set; }

    public void Count(IoSpace space, ulong address, int size, bool isWrite, ulong value)
    {
        Total++;
        if (_counts.TryGetValue(address, out var count)) _counts[address] = count + 1;
        else if (_counts.Count < MaxAddresses)
        {
            _counts.Add(address, 1);
            FirstSeen?.Invoke(new IoAccess { Space = space, Address = address, Size = (byte)size, IsWrite = isWrite, Value = value });
        }
    }

    /// <summary>Address and count, for <c>info</c> commands.</summary>
    public IReadOnlyDictionary<ulong, ulong> Counts => _counts;
}
