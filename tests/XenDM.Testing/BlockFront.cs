using System;
using System.Collections.Generic;
using System.Globalization;

namespace XenDM.Testing;

/// <summary>How a front end of a PV disk uses its backend.</summary>
/// <param name="Is64">Requests in the 64-bit form.</param>
public sealed record BlockFrontOptions(bool Is64 = true)
{
    /// <summary>The node <c>protocol</c>; null for none.</summary>
    public string? Protocol { get; init; } = Is64 ? "x86_64-abi" : "x86_32-abi";

    /// <summary>Pages of a ring as a power of two; null for one page that is named by <c>ring-ref</c>.</summary>
    public int? RingOrder { get; init; }

    /// <summary>Queues with folders of their own; null for one without.</summary>
    public int? Queues { get; init; }

    public bool IsPersistent { get; init; }

    /// <summary>Pages that the backend only reads are granted so.</summary>
    public bool GrantsReadOnly { get; init; }

    /// <summary>Requests use descriptors in a page of their own when they have more segments than fit.</summary>
    public int IndirectSegments { get; init; }

    /// <summary>State with which the front end says where its rings are: 3, or 4 as some do.</summary>
    public int ReadyState { get; init; } = 3;
}

/// <summary>A response of the backend.</summary>
public readonly record struct BlockResponse(ulong Id, byte Operation, short Status);

/// <summary>A piece of a granted page: sectors of 512 bytes, first and last.</summary>
public readonly record struct BlockPiece(uint Grant, byte First, byte Last);

/// <summary>A front end of a PV disk, by hand (xen/public/io/blkif.h): its nodes, its rings and its pages.</summary>
public sealed class BlockFront
{
    private readonly FakeXen _xen;
    private readonly Action _pump;
    private readonly string _front;
    private readonly string _back;

    /// <param name="pump">Lets the backend work until it has nothing to do; or waits a little, where it has a thread of its own.</param>
    public BlockFront(FakeXen xen, string front, string back, BlockFrontOptions options, Action pump)
    {
        (_xen, _front, _back, Options, _pump) = (xen, front, back, options, pump);
    }

    public BlockFrontOptions Options { get; }

    public List<BlockFrontRing> Rings { get; } = [];

    /// <summary>Its only ring, or the first one.</summary>
    public BlockFrontRing Ring => Rings[0];

    public int State => ReadState(_front);

    public int BackState => ReadState(_back);

    public void SetState(int state) => _xen.Store.Write($"{_front}/state", Text(state));

    public string? ReadBack(string name) => _xen.Store.Read($"{_back}/{name}");

    /// <summary>As strtoul reads it, 0 for a node that is not there.</summary>
    public ulong ReadBackNumber(string name) => ulong.TryParse(ReadBack(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : 0;

    public void WriteFront(string name, string value) => _xen.Store.Write($"{_front}/{name}", value);

    public void RemoveFront(string name) => _xen.Store.Remove($"{_front}/{name}");

    /// <summary>The whole hand-shake, as far as it gets.</summary>
    /// <returns>True when both ends are connected.</returns>
    public bool Connect()
    {
        _pump();
        if (BackState != 2) return false;
        MakeRings();
        WriteNodes();
        SetState(Options.ReadyState);
        for (var turn = 0; turn < 3 && BackState is not (4 or 5); turn++) _pump();
        if (BackState != 4) return false;
        SetState(4);
        _pump();
        return true;
    }

    /// <summary>New rings, their pages granted and their ports offered.</summary>
    public void MakeRings()
    {
        Rings.Clear();
        for (var n = 0; n < (Options.Queues ?? 1); n++) Rings.Add(new BlockFrontRing(_xen, Options, _pump));
    }

    /// <summary>Says where the rings are.</summary>
    public void WriteNodes()
    {
        if (Options.Protocol is not null) WriteFront("protocol", Options.Protocol);
        if (Options.IsPersistent) WriteFront("feature-persistent", "1");
        if (Options.RingOrder is { } order) WriteFront("ring-page-order", Text(order));
        if (Options.Queues is { } queues) WriteFront("multi-queue-num-queues", Text(queues));
        for (var n = 0; n < Rings.Count; n++)
        {
            var folder = Options.Queues is null ? "" : $"queue-{n}/";
            if (Options.RingOrder is null) WriteFront($"{folder}ring-ref", Text(Rings[n].References[0]));
            else
                for (var page = 0; page < Rings[n].References.Count; page++) WriteFront($"{folder}ring-ref{page}", Text(Rings[n].References[page]));
            WriteFront($"{folder}event-channel", Text(Rings[n].Port));
        }
    }

    /// <summary>Closes as a driver does that is unloaded: 5, the backend's 5 or 6, then 6.</summary>
    public void Close()
    {
        SetState(5);
        _pump();
        SetState(6);
        _pump();
        EndRings();
    }

    /// <summary>Takes the rings' pages and ports back.</summary>
    /// <exception cref="InvalidOperationException">The backend holds them.</exception>
    public void EndRings()
    {
        foreach (var ring in Rings) ring.End();
        Rings.Clear();
    }

    private int ReadState(string folder) => int.TryParse(_xen.Store.Read($"{folder}/state"), NumberStyles.None, CultureInfo.InvariantCulture, out var state) ? state : 0;

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
