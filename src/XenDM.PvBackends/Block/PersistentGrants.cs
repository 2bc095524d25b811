using System;
using System.Collections.Generic;
using XenDM.Core.Hypervisor;

namespace XenDM.PvBackends.Block;

/// <summary>
/// Pages of a guest that stay mapped while it is connected: a front end that agreed to feature-persistent uses the same grants for the same pages
/// again and again.
/// </summary>
internal sealed class PersistentGrants(IGrants grants, int domain) : IDisposable
{
    /// <summary>Pages of one ring, as many as Linux' own backend keeps.</summary>
    public const int MaxPages = 1056;

    private readonly Dictionary<uint, (IGrantMapping Mapping, int Page)> _pages = [];
    private readonly List<IGrantMapping> _mappings = [];
    private int _mapped;

    /// <summary>Finds the pages of a request, and maps those that are new.</summary>
    /// <returns>False when there is no room for more, or they cannot be mapped: the request has to be copied.</returns>
    public bool TryMap(Span<RingSegment> segments)
    {
        Span<uint> missing = stackalloc uint[BlockProtocol.IndirectSegments];
        var count = 0;
        foreach (ref readonly var segment in segments)
            if (!_pages.ContainsKey(segment.Grant) && !missing[..count].Contains(segment.Grant)) missing[count++] = segment.Grant;
        if (count > 0)
        {
            if (_mapped + count > MaxPages) return false;
            if (grants.TryMap(domain, missing[..count], writable: true) is not { } mapping) return false;
            _mappings.Add(mapping);
            _mapped += count;
            for (var n = 0; n < count; n++) _pages[missing[n]] = (mapping, n);
        }

        foreach (ref var segment in segments)
        {
            (segment.Mapping, segment.MappingPage) = _pages[segment.Grant];
            segment.Address = segment.Mapping.Address(segment.MappingPage) + segment.Offset;
            segment.PoolPage = -1;
        }

        return true;
    }

    public void Dispose()
    {
        foreach (var mapping in _mappings) mapping.Dispose();
        _mappings.Clear();
        _pages.Clear();
        _mapped = 0;
    }
}
