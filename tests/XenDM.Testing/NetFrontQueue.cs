using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace XenDM.Testing;

/// <summary>A frame that came, with the flags of its first piece.</summary>
/// <param name="Status">Of the piece that failed; 0 when none did.</param>
/// <param name="Extra">8 bytes of each extra info; empty for none.</param>
public sealed record NetReceived(byte[] Bytes, int Flags, int Status, byte[] Extra, int Pieces);

/// <summary>A pair of rings of a PV NIC's front end, and the pages that it sends from and receives into.</summary>
public sealed class NetFrontQueue
{
    public const int ChecksumBlank = 1, DataValidated = 2, MoreData = 4, Extra = 8;
    public const int RxDataValidated = 1, RxChecksumBlank = 2;
    private const int PageBytes = FakeGrants.PageBytes;

    private readonly FakeXen _xen;
    private readonly Dictionary<ushort, (int Page, uint Grant)> _sending = [];
    private readonly (int Page, uint Grant, ushort Id)[] _offered;
    private readonly byte[] _slot = new byte[12];
    private ushort _lastId;

    public NetFrontQueue(FakeXen xen, bool isSplit)
    {
        _xen = xen;
        Tx = new NetFrontRing(xen, 12);
        Rx = new NetFrontRing(xen, 8);
        _offered = new (int, uint, ushort)[Rx.Count];
        TxPort = xen.Events.Offer();
        RxPort = isSplit ? xen.Events.Offer() : TxPort;
    }

    public NetFrontRing Tx { get; }

    public NetFrontRing Rx { get; }

    public uint TxPort { get; }

    public uint RxPort { get; }

    /// <summary>Events that this front end sent.</summary>
    public int Kicks { get; private set; }

    // Sending.

    /// <summary>Puts one request to send.</summary>
    /// <returns>Its id.</returns>
    public ushort Put(uint grant, int offset, int flags, int size)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_slot, grant);
        BinaryPrimitives.WriteUInt16LittleEndian(_slot.AsSpan(4), (ushort)offset);
        BinaryPrimitives.WriteUInt16LittleEndian(_slot.AsSpan(6), (ushort)flags);
        BinaryPrimitives.WriteUInt16LittleEndian(_slot.AsSpan(8), ++_lastId);
        BinaryPrimitives.WriteUInt16LittleEndian(_slot.AsSpan(10), (ushort)size);
        Tx.Put(_slot);
        return _lastId;
    }

    /// <summary>Puts an extra info into the send ring.</summary>
    /// <param name="body">The up to 6 bytes behind type and flags.</param>
    public void PutExtra(byte type, bool more, params ReadOnlySpan<byte> body)
    {
        _slot.AsSpan().Clear();
        _slot[0] = type;
        _slot[1] = (byte)(more ? 1 : 0);
        body.CopyTo(_slot.AsSpan(2));
        Tx.Put(_slot);
    }

    /// <summary>Puts a frame, in pieces of the lengths that are given and one with the rest.</summary>
    /// <param name="segmentBytes">With a GSO extra info when not 0.</param>
    /// <param name="segmentKind">1 TCP over IPv4, 2 over IPv6.</param>
    /// <returns>Id of the first piece.</returns>
    public ushort PutFrame(ReadOnlySpan<byte> frame, int flags = 0, int segmentBytes = 0, byte segmentKind = 1, int offset = 0, params ReadOnlySpan<int> pieces)
    {
        ushort first = 0;
        for (int at = 0, n = 0; at < frame.Length; n++)
        {
            var count = Math.Min(frame.Length - at, n < pieces.Length ? pieces[n] : PageBytes - offset);
            var page = _xen.Grants.Allocate();
            frame.Slice(at, count).CopyTo(_xen.Grants.Page(page)[offset..]);
            var grant = _xen.Grants.Grant(page, readOnly: true);
            var id = Put(grant, offset, (n == 0 ? flags | (segmentBytes != 0 ? Extra : 0) : 0) | (at + count < frame.Length ? MoreData : 0), n == 0 ? frame.Length : count);
            _sending[id] = (page, grant);
            if (n == 0)
            {
                first = id;
                if (segmentBytes != 0) PutExtra(1, false, (byte)segmentBytes, (byte)(segmentBytes >> 8), segmentKind);
            }

            at += count;
            offset = 0;
        }

        return first;
    }

    /// <summary>Shows what was put to send, and sends an event if the backend asks for one.</summary>
    public void PushTx()
    {
        if (!Tx.Push()) return;
        Kicks++;
        _xen.Events.Send(TxPort);
    }

    /// <summary>Takes the answers that are there: id and status of each.</summary>
    /// <exception cref="InvalidOperationException">A page is in use still.</exception>
    public List<(ushort Id, short Status)> TakeSent()
    {
        var all = new List<(ushort, short)>();
        Span<byte> response = stackalloc byte[4];
        for (var ready = Tx.Ready; ready > 0; ready--)
        {
            Tx.Take(response);
            var id = BinaryPrimitives.ReadUInt16LittleEndian(response);
            var status = BinaryPrimitives.ReadInt16LittleEndian(response[2..]);
            all.Add((id, status));
            if (status != 1 && _sending.Remove(id, out var used)) EndPage(used.Page, used.Grant);
        }

        return all;
    }

    // Receiving.

    /// <summary>Offers pages to receive into.</summary>
    /// <param name="push">Show them.</param>
    public void Offer(int pages, bool push = true)
    {
        for (; pages > 0; pages--)
        {
            var page = _xen.Grants.Allocate();
            _xen.Grants.Page(page).Fill(0xcc);
            OfferPage(page, _xen.Grants.Grant(page));
        }

        if (push) PushRx();
    }

    /// <summary>Offers one page.</summary>
    /// <returns>Its id.</returns>
    public ushort OfferPage(int page, uint grant)
    {
        var request = _slot.AsSpan(0, 8);
        request.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(request, ++_lastId);
        BinaryPrimitives.WriteUInt32LittleEndian(request[4..], grant);
        _offered[Rx.Put(request)] = (page, grant, _lastId);
        return _lastId;
    }

    public void PushRx()
    {
        if (!Rx.Push()) return;
        Kicks++;
        _xen.Events.Send(RxPort);
    }

    /// <summary>Takes the next frame, if all of it is there.</summary>
    /// <exception cref="InvalidOperationException">The responses make no frame, or are not in the slots of their requests.</exception>
    public NetReceived? TryReceive()
    {
        var ready = Rx.Ready;
        if (ready == 0) return null;
        var bytes = new List<byte>();
        var (first, flags, pieces, failed) = (0, MoreData, 0, 0);
        byte[] extra = [];
        Span<byte> response = stackalloc byte[8];
        for (; (flags & MoreData) != 0; pieces++)
        {
            if (ready-- == 0) throw new InvalidOperationException("a part of a frame was pushed");
            var (page, grant, id) = _offered[Rx.Take(response)];
            if (BinaryPrimitives.ReadUInt16LittleEndian(response) != id) throw new InvalidOperationException("a response is not in the slot of its request");
            flags = BinaryPrimitives.ReadUInt16LittleEndian(response[4..]);
            var offset = BinaryPrimitives.ReadUInt16LittleEndian(response[2..]);
            var status = BinaryPrimitives.ReadInt16LittleEndian(response[6..]);
            if (pieces == 0) first = flags;
            if (status <= 0) failed = status;
            else bytes.AddRange(_xen.Grants.Page(page).Slice(offset, status));
            EndPage(page, grant);
            if (pieces != 0 || (flags & Extra) == 0) continue;
            do
            {
                if (ready-- == 0) throw new InvalidOperationException("an extra info is missing");
                (page, grant, _) = _offered[Rx.Take(response)];
                extra = [.. extra, .. response];
                EndPage(page, grant);
            }
            while ((response[1] & 1) != 0);
        }

        return new NetReceived([.. bytes], first, failed, extra, pieces);
    }

    /// <summary>Takes everything back after the backend let go of it.</summary>
    public void End()
    {
        Tx.End();
        Rx.End();
        _xen.Events.Close(TxPort);
        if (RxPort != TxPort) _xen.Events.Close(RxPort);
        foreach (var (page, grant) in _sending.Values) EndPage(page, grant);
        for (var at = Rx.Consumed; at != Rx.Produced; at++)
        {
            var (page, grant, _) = _offered[at & (uint)(Rx.Count - 1)];
            EndPage(page, grant);
        }

        _sending.Clear();
    }

    private void EndPage(int page, uint grant)
    {
        if (!_xen.Grants.TryEnd(grant)) throw new InvalidOperationException($"grant {grant} is in use after the response");
        _xen.Grants.Free(page);
    }
}
