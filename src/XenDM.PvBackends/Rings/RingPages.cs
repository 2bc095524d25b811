using System;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Rings;

/// <summary>What a front end shares with its backend: pages, and an event channel each way.</summary>
internal static class RingPages
{
    /// <summary>Maps a ring's pages. The guest gets an event when they are unmapped, be it by the end of this process.</summary>
    /// <exception cref="PvException">The guest does not grant them.</exception>
    public static IGrantMapping Map(XenPorts ports, int guest, ReadOnlySpan<uint> references, IEventChannel channel) =>
        ports.Grants.TryMapRing(guest, references, channel) ?? throw new PvException($"its ring cannot be mapped: grant {references[0]}{(references.Length > 1 ? $" and {references.Length - 1} more" : "")}");

    /// <exception cref="PvException">The guest does not offer it.</exception>
    public static IEventChannel Bind(XenPorts ports, int guest, uint port, Action notified) => ports.Events.TryBind(guest, port, notified) ?? throw NotOffered(port);

    /// <inheritdoc cref="Bind(XenPorts, int, uint, Action)"/>
    public static IEventChannel Bind(XenPorts ports, int guest, uint port, Core.Backends.IDataPlane plane, Action notified) => ports.Events.TryBind(guest, port, plane, notified) ?? throw NotOffered(port);

    private static PvException NotOffered(uint port) => new($"event channel {port} is not offered");
}
