using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Globalization;

namespace XenDM.Testing;

/// <summary>How a front end of a PV NIC uses its backend.</summary>
public sealed record NetFrontOptions
{
    /// <summary>The node <c>multi-queue-num-queues</c>; null for none.</summary>
    public int? Queues { get; init; }

    /// <summary>An event channel for each ring.</summary>
    public bool IsSplit { get; init; } = true;

    /// <summary>It takes frames in several pages (feature-sg).</summary>
    public bool TakesPieces { get; init; } = true;

    public bool TakesGso4 { get; init; } = true;

    public bool TakesGso6 { get; init; } = true;

    /// <summary>feature-ipv6-csum-offload.</summary>
    public bool TakesBlank6 { get; init; } = true;

    /// <summary>feature-no-csum-offload.</summary>
    public bool TakesNoBlank { get; init; }

    /// <summary>The node <c>request-multicast-control</c>; null for none.</summary>
    public string? Multicast { get; init; }

    public bool WantsCopies { get; init; } = true;

    /// <summary>It has a control ring.</summary>
    public bool HasControl { get; init; }
}

/// <summary>A front end of a PV NIC, by hand (xen/public/io/netif.h): its nodes and its queues.</summary>
public sealed class NetFront
{
    private const int ControlBytes = 16;

    private readonly FakeXen _xen;
    private readonly Action _pump;
    private readonly string _front;
    private readonly string _back;

    /// <param name="pump">Lets the backend work until it has nothing to do.</param>
    public NetFront(FakeXen xen, string front, string back, NetFrontOptions options, Action pump) => (_xen, _front, _back, Options, _pump) = (xen, front, back, options, pump);

    public NetFrontOptions Options { get; }

    public List<NetFrontQueue> Queues { get; } = [];

    /// <summary>The control ring; null for none.</summary>
    public NetFrontRing? Control { get; private set; }

    public uint ControlPort { get; private set; }

    /// <summary>Its only queue, or the first one.</summary>
    public NetFrontQueue Queue => Queues[0];

    public int State => ReadState(_front);

    public int BackState => ReadState(_back);

    public void SetState(int state) => _xen.Store.Write($"{_front}/state", Text(state));

    public string? ReadBack(string name) => _xen.Store.Read($"{_back}/{name}");

    public void WriteBack(string name, string value) => _xen.Store.Write($"{_back}/{name}", value);

    public void WriteFront(string name, string value) => _xen.Store.Write($"{_front}/{name}", value);

    public void RemoveFront(string name) => _xen.Store.Remove($"{_front}/{name}");

    /// <summary>The whole hand-shake, as far as it gets.</summary>
    /// <returns>True when both ends are connected.</returns>
    public bool Connect()
    {
        _pump();
        if (BackState != 2) return false;
        MakeQueues();
        WriteNodes();
        SetState(4);
        _pump();
        return BackState == 4;
    }

    public void MakeQueues()
    {
        Queues.Clear();
        for (var n = 0; n < (Options.Queues ?? 1); n++) Queues.Add(new NetFrontQueue(_xen, Options.IsSplit));
        if (!Options.HasControl) return;
        Control = new NetFrontRing(_xen, ControlBytes);
        ControlPort = _xen.Events.Offer();
    }

    /// <summary>Says where the rings are, and what it takes.</summary>
    public void WriteNodes()
    {
        foreach (var name in (string[])["event-channel", "event-channel-tx", "event-channel-rx", "tx-ring-ref", "rx-ring-ref", "multi-queue-num-queues", "queue-0", "queue-1", "queue-2", "queue-3", "ctrl-ring-ref", "event-channel-ctrl"]) RemoveFront(name);
        if (Control is not null)
        {
            WriteFront("ctrl-ring-ref", Text(Control.Reference));
            WriteFront("event-channel-ctrl", Text(ControlPort));
        }

        if (Options.Queues is { } queues) WriteFront("multi-queue-num-queues", Text(queues));
        WriteFront("request-rx-copy", Options.WantsCopies ? "1" : "0");
        WriteFront("feature-rx-notify", "1");
        WriteFront("feature-sg", Options.TakesPieces ? "1" : "0");
        WriteFront("feature-gso-tcpv4", Options.TakesGso4 ? "1" : "0");
        WriteFront("feature-gso-tcpv6", Options.TakesGso6 ? "1" : "0");
        WriteFront("feature-ipv6-csum-offload", Options.TakesBlank6 ? "1" : "0");
        if (Options.TakesNoBlank) WriteFront("feature-no-csum-offload", "1");
        if (Options.Multicast is { } multicast) WriteFront("request-multicast-control", multicast);
        for (var n = 0; n < Queues.Count; n++)
        {
            var queue = Queues[n];
            var folder = Options.Queues is null or 1 ? "" : $"queue-{n}/";
            WriteFront($"{folder}tx-ring-ref", Text(queue.Tx.Reference));
            WriteFront($"{folder}rx-ring-ref", Text(queue.Rx.Reference));
            if (Options.IsSplit)
            {
                WriteFront($"{folder}event-channel-tx", Text(queue.TxPort));
                WriteFront($"{folder}event-channel-rx", Text(queue.RxPort));
            }
            else
            {
                WriteFront($"{folder}event-channel", Text(queue.TxPort));
            }
        }
    }

    /// <summary>Puts a request into the control ring.</summary>
    public void PutControl(ushort type, uint first = 0, uint second = 0, uint third = 0)
    {
        Span<byte> request = stackalloc byte[ControlBytes];
        BinaryPrimitives.WriteUInt16LittleEndian(request, (ushort)Control!.Produced);
        BinaryPrimitives.WriteUInt16LittleEndian(request[2..], type);
        BinaryPrimitives.WriteUInt32LittleEndian(request[4..], first);
        BinaryPrimitives.WriteUInt32LittleEndian(request[8..], second);
        BinaryPrimitives.WriteUInt32LittleEndian(request[12..], third);
        Control.Put(request);
    }

    /// <summary>Asks something through the control ring.</summary>
    /// <returns>Status and data of the answer.</returns>
    /// <exception cref="InvalidOperationException">There is no answer, or that to something else.</exception>
    public (uint Status, uint Data) Ask(ushort type, uint first = 0, uint second = 0, uint third = 0)
    {
        var id = (ushort)Control!.Produced;
        PutControl(type, first, second, third);
        if (Control.Push()) _xen.Events.Send(ControlPort);
        _pump();
        if (Control.Ready != 1) throw new InvalidOperationException($"{Control.Ready} answers to control request {type}");
        Span<byte> response = stackalloc byte[12];
        Control.Take(response);
        if (BinaryPrimitives.ReadUInt16LittleEndian(response) != id || BinaryPrimitives.ReadUInt16LittleEndian(response[2..]) != type) throw new InvalidOperationException("the answer is to another request");
        return (BinaryPrimitives.ReadUInt32LittleEndian(response[4..]), BinaryPrimitives.ReadUInt32LittleEndian(response[8..]));
    }

    /// <summary>The same with bytes that the backend reads from a page, which is taken back then.</summary>
    public (uint Status, uint Data) Ask(ushort type, ReadOnlySpan<byte> bytes, uint second, uint third = 0)
    {
        var page = _xen.Grants.Allocate();
        bytes.CopyTo(_xen.Grants.Page(page));
        var grant = _xen.Grants.Grant(page, readOnly: true);
        var answer = Ask(type, grant, second, third);
        if (!_xen.Grants.TryEnd(grant)) throw new InvalidOperationException($"grant {grant} is in use after the answer");
        _xen.Grants.Free(page);
        return answer;
    }

    /// <summary>Closes as a driver does that is unloaded: 5, the backend's 5, then 6.</summary>
    public void Close()
    {
        SetState(5);
        _pump();
        SetState(6);
        _pump();
        EndQueues();
    }

    /// <summary>Takes the rings' pages and ports back.</summary>
    /// <exception cref="InvalidOperationException">The backend holds them.</exception>
    public void EndQueues()
    {
        foreach (var queue in Queues) queue.End();
        Queues.Clear();
        Control?.End();
        if (Control is not null) _xen.Events.Close(ControlPort);
        Control = null;
    }

    private int ReadState(string folder) => int.TryParse(_xen.Store.Read($"{folder}/state"), NumberStyles.None, CultureInfo.InvariantCulture, out var state) ? state : 0;

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
