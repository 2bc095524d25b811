using System;
using System.Buffers.Binary;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.Core.Memory;
using XenDM.PvBackends.Rings;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Net;

/// <summary>What a queue needs to know of its NIC and its guest.</summary>
/// <param name="TakesPieces">The front end takes a frame in several pieces (feature-sg).</param>
/// <param name="IsAlone">It is the NIC's only one: what it has no room for may wait in the net.</param>
/// <param name="Broken">The guest's ring makes no sense; called on the data plane.</param>
internal sealed record NetQueueOptions(INetBackend Net, IDataPlane Plane, IGrants Grants, int Guest, bool TakesPieces, bool IsAlone, MulticastFilter Multicast, NetCounters Counters, Action<string> Broken);

/// <summary>Counters of one NIC.</summary>
public sealed class NetCounters
{
    /// <summary>From the guest.</summary>
    public long SentFrames { get; set; }

    public long SentBytes { get; set; }

    /// <summary>Malformed, or the guest took its pages away.</summary>
    public long SendErrors { get; set; }

    /// <summary>To the guest.</summary>
    public long ReceivedFrames { get; set; }

    public long ReceivedBytes { get; set; }

    public long ReceiveErrors { get; set; }

    /// <summary>One of several queues offered no room for very long.</summary>
    public long ReceiveDrops { get; set; }
}

/// <summary>
/// A pair of rings of a PV NIC (xen/public/io/netif.h): frames from the guest are put together from their pieces and sent, frames for it are copied
/// into the pages that it offers. On the data plane's thread but for <see cref="Kick"/>; nothing is allocated once it runs.
/// </summary>
internal sealed class NetQueue : IDisposable
{
    private readonly NetQueueOptions _options;
    private readonly PinnedBuffer _txFrame = new(NetProtocol.MaxSent);
    private readonly PinnedBuffer _rxFrame = new(NetProtocol.MaxReceived);
    private readonly GrantCopy[] _copies = new GrantCopy[NetProtocol.MaxPieces];
    private readonly Piece[] _pieces = new Piece[NetProtocol.MaxPieces];
    private readonly FrameBacklog? _backlog;
    private readonly Action _work;
    private readonly Action _push;
    private IEventChannel? _txChannel;
    private IEventChannel? _rxChannel;
    private IGrantMapping? _txPages;
    private IGrantMapping? _rxPages;

    /// <summary>There once <see cref="_isOpen"/> is set.</summary>
    private BackRing _tx = null!;
    private BackRing _rx = null!;
    private volatile bool _isOpen;
    private NetFrame _heldFrame;
    private int _heldBytes;
    private int _kicked;
    private bool _pushPosted;
    private bool _isStarved;
    private int _needed;
    private bool _isStopped;

    public NetQueue(NetQueueOptions options)
    {
        _options = options;
        _backlog = options.IsAlone ? null : new FrameBacklog();
        _work = Work;
        _push = Push;
    }

    /// <summary>One request to send a piece.</summary>
    private struct Piece
    {
        public uint Grant;
        public ushort Offset;
        public ushort Flags;
        public ushort Id;
        public ushort Size;

        public static Piece Parse(ReadOnlySpan<byte> slot) => new()
        {
            Grant = BinaryPrimitives.ReadUInt32LittleEndian(slot),
            Offset = BinaryPrimitives.ReadUInt16LittleEndian(slot[4..]),
            Flags = BinaryPrimitives.ReadUInt16LittleEndian(slot[6..]),
            Id = BinaryPrimitives.ReadUInt16LittleEndian(slot[8..]),
            Size = BinaryPrimitives.ReadUInt16LittleEndian(slot[10..]),
        };
    }

    /// <summary>What the extra infos of a frame said.</summary>
    private struct Extras
    {
        public int Count;
        public byte Segmentation;
        public ushort SegmentBytes;
        public bool IsMulticast;
        public bool MulticastDone;
        public bool IsWrong;
    }

    /// <summary>Takes the guest's ports, which may be one, and pages, one for each ring; from then on they are served. Machine thread.</summary>
    /// <exception cref="PvException">They cannot be taken.</exception>
    public void Open(XenPorts ports, uint txPort, uint rxPort, uint txGrant, uint rxGrant)
    {
        _txChannel = RingPages.Bind(ports, _options.Guest, txPort, _options.Plane, Kick);
        _rxChannel = txPort == rxPort ? _txChannel : RingPages.Bind(ports, _options.Guest, rxPort, _options.Plane, Kick);
        _txPages = RingPages.Map(ports, _options.Guest, [txGrant], _txChannel);
        _rxPages = RingPages.Map(ports, _options.Guest, [rxGrant], _rxChannel);
        _tx = new BackRing(_txPages, NetProtocol.TxSlot);
        _rx = new BackRing(_rxPages, NetProtocol.RxSlot);
        _isOpen = true;

        // The first calls came before the rings were here.
        Kick();
    }

    /// <summary>The guest may have put something into a ring. Any thread.</summary>
    public void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _options.Plane.Loop.Post(_work);
    }

    /// <summary>Takes and gives no more.</summary>
    public void Stop() => _isStopped = true;

    /// <summary>After <see cref="Stop"/>. Machine thread.</summary>
    public void Dispose()
    {
        _txChannel?.Dispose();
        if (!ReferenceEquals(_txChannel, _rxChannel)) _rxChannel?.Dispose();
        _txPages?.Dispose();
        _rxPages?.Dispose();
    }

    /// <summary>Brings a frame for the guest.</summary>
    /// <param name="hash">What the front end wants to know of it, or nothing.</param>
    /// <returns>False when there is no room, and it can wait without holding up others.</returns>
    public bool Receive(in NetFrame frame, ReadOnlySpan<byte> bytes, in NetHash hash)
    {
        if (_isStopped) return true;
        if (bytes.Length is 0 or > NetProtocol.MaxReceived || (bytes.Length > NetProtocol.PageBytes && !_options.TakesPieces))
        {
            _options.Counters.ReceiveErrors++;
            return true;
        }

        if (_backlog is null) return TryGive(frame, bytes, hash);
        if ((!_backlog.IsEmpty || !TryGive(frame, bytes, hash)) && !_backlog.TryAdd(frame, bytes, hash)) _options.Counters.ReceiveDrops++;
        return true;
    }

    /// <summary>The net takes frames again.</summary>
    public void SendReady() => Work();

    /// <summary>Copies a frame into the guest's pages.</summary>
    /// <returns>False when it offers too few.</returns>
    private bool TryGive(in NetFrame frame, ReadOnlySpan<byte> bytes, in NetHash hash)
    {
        var pieces = (bytes.Length + NetProtocol.PageBytes - 1) / NetProtocol.PageBytes;
        var extras = (frame.Segmentation != NetSegmentation.None ? 1 : 0) + (hash.IsKnown ? 1 : 0);
        var waiting = _rx.Waiting;
        if (waiting < 0)
        {
            Break("its receive ring has more requests than room");
            return true;
        }

        _needed = pieces + extras;
        if (waiting < _needed)
        {
            // Asks for an event when there are as many as it takes, which may be several more; if they came in between, there is room after all.
            _isStarved = true;
            _rx.WantEventBehind(_needed - 1);
            waiting = _rx.Waiting;
            if (waiting >= 0 && waiting < _needed) return false;
            _isStarved = false;
            if (waiting < 0)
            {
                Break("its receive ring has more requests than room");
                return true;
            }
        }

        bytes.CopyTo(_rxFrame.Span);
        Span<byte> slot = stackalloc byte[NetProtocol.RxSlot];
        Span<ushort> ids = stackalloc ushort[NetProtocol.MaxPieces];
        for (var n = 0; n < pieces; n++)
        {
            _rx.Take(slot);
            ids[n] = BinaryPrimitives.ReadUInt16LittleEndian(slot);
            var at = n * NetProtocol.PageBytes;
            _copies[n] = new GrantCopy { Reference = BinaryPrimitives.ReadUInt32LittleEndian(slot[4..]), Length = (ushort)Math.Min(NetProtocol.PageBytes, bytes.Length - at), ToGuest = true, Local = _rxFrame.Address + at };

            // The slots behind the first one carry extra infos: what was offered in them is not used.
            for (var extra = 0; n == 0 && extra < extras; extra++) _rx.Take(slot);
        }

        _options.Grants.Copy(_options.Guest, _copies.AsSpan(0, pieces));
        var isDone = true;
        for (var n = 0; n < pieces; n++) isDone &= _copies[n].Status == 0;
        for (var n = 0; n < pieces; n++)
        {
            var flags = n > 0 ? 0 : FirstFlags(frame) | (extras > 0 ? NetProtocol.RxExtra : 0);
            if (n < pieces - 1) flags |= NetProtocol.RxMoreData;
            RespondReceived(ids[n], (ushort)flags, isDone ? (short)_copies[n].Length : NetProtocol.Error);
            if (n == 0 && frame.Segmentation != NetSegmentation.None) RespondSegmentation(frame, hash.IsKnown);
            if (n == 0 && hash.IsKnown) RespondHash(hash);
        }

        if (isDone)
        {
            _options.Counters.ReceivedFrames++;
            _options.Counters.ReceivedBytes += bytes.Length;
        }
        else
        {
            _options.Counters.ReceiveErrors++;
        }

        PostPush();
        return true;
    }

    private static int FirstFlags(in NetFrame frame) =>
        frame.NeedsChecksum ? NetProtocol.RxChecksumBlank | NetProtocol.RxDataValidated : frame.IsValid ? NetProtocol.RxDataValidated : 0;

    private void RespondReceived(ushort id, ushort flags, short status)
    {
        Span<byte> response = stackalloc byte[NetProtocol.RxSlot];
        BinaryPrimitives.WriteUInt16LittleEndian(response, id);
        BinaryPrimitives.WriteUInt16LittleEndian(response[2..], 0);
        BinaryPrimitives.WriteUInt16LittleEndian(response[4..], flags);
        BinaryPrimitives.WriteInt16LittleEndian(response[6..], status);
        _rx.Respond(response);
    }

    private void RespondSegmentation(in NetFrame frame, bool more)
    {
        Span<byte> extra = stackalloc byte[NetProtocol.RxSlot];
        extra.Clear();
        extra[0] = NetProtocol.ExtraSegmentation;
        extra[1] = more ? NetProtocol.ExtraMore : (byte)0;
        BinaryPrimitives.WriteUInt16LittleEndian(extra[2..], frame.SegmentBytes);
        extra[4] = frame.Segmentation == NetSegmentation.Tcp4 ? NetProtocol.SegmentationTcp4 : NetProtocol.SegmentationTcp6;
        _rx.Respond(extra);
    }

    private void RespondHash(in NetHash hash)
    {
        Span<byte> extra = stackalloc byte[NetProtocol.RxSlot];
        extra[0] = NetProtocol.ExtraHash;
        extra[1] = 0;
        extra[2] = (byte)hash.Kind;
        extra[3] = (byte)NetHasher.AlgorithmToeplitz;
        BinaryPrimitives.WriteUInt32LittleEndian(extra[4..], hash.Value);
        _rx.Respond(extra);
    }

    /// <summary>The frame that waits has the room that it needs; or the ring is nonsense, which shows when it comes.</summary>
    private bool IsFed(int waiting) => waiting < 0 || waiting >= _needed;

    private void GiveBacklog(FrameBacklog backlog)
    {
        while (!backlog.IsEmpty && !_isStopped)
        {
            var bytes = backlog.Peek(out var frame, out var hash);
            if (!TryGive(frame, bytes, hash)) break;
            backlog.Drop();
        }
    }

    private void Work()
    {
        Volatile.Write(ref _kicked, 0);
        Interlocked.MemoryBarrier();
        if (_isStopped || !_isOpen) return;
        if (_isStarved && IsFed(_rx.Waiting))
        {
            _isStarved = false;
            if (_backlog is null) _options.Net.ReceiveReady();
            else GiveBacklog(_backlog);
        }

        // A guest that fills the ring as fast as it is emptied is not all there is on this loop.
        for (var budget = _tx.Count; ; budget--)
        {
            if (_heldBytes > 0)
            {
                if (!_options.Net.Send(_heldFrame, _txFrame.Span[.._heldBytes])) break;
                _heldBytes = 0;
            }

            var waiting = _tx.Waiting;
            if (waiting < 0)
            {
                Break($"its send ring has more requests than room: {_tx.Count} slots");
                break;
            }

            if (waiting == 0)
            {
                if (!_tx.FinalCheck()) break;
                continue;
            }

            if (budget <= 0)
            {
                Kick();
                break;
            }

            if (!TryTakeFrame(waiting)) break;
            if (_isStopped) break;
        }

        PushNow();
    }

    /// <summary>Takes one frame with all its slots out of the ring and sends it.</summary>
    /// <returns>False when the guest has not put all of it there yet.</returns>
    private bool TryTakeFrame(int waiting)
    {
        Span<byte> slot = stackalloc byte[NetProtocol.TxSlot];
        _tx.Peek(0, slot);
        var first = _pieces[0] = Piece.Parse(slot);
        var taken = 1;
        var extras = default(Extras);
        if ((first.Flags & NetProtocol.TxExtra) != 0)
        {
            byte more;
            do
            {
                if (taken == waiting) return Incomplete(waiting);
                _tx.Peek(taken++, slot);
                more = (byte)(slot[1] & NetProtocol.ExtraMore);
                if (++extras.Count > NetProtocol.MaxExtras)
                {
                    Break("a frame has more extra infos than there are kinds");
                    return true;
                }

                ReadExtra(slot, ref extras);
            }
            while (more != 0);
        }

        var pieces = 1;
        var flags = first.Flags;
        while ((flags & NetProtocol.TxMoreData) != 0)
        {
            if (taken == waiting) return Incomplete(waiting);
            if (pieces == NetProtocol.MaxPieces)
            {
                Break($"a frame has more than {NetProtocol.MaxPieces} pieces");
                return true;
            }

            _tx.Peek(taken++, slot);
            _pieces[pieces] = Piece.Parse(slot);
            flags = _pieces[pieces++].Flags;
        }

        _tx.Skip(taken);
        var frame = default(NetFrame);
        bool isGood;
        if (extras.IsMulticast)
        {
            isGood = extras.MulticastDone;
        }
        else
        {
            isGood = !extras.IsWrong && TryCopy(pieces) && TryPrepare(first, extras, ref frame);
            if (isGood) SendFrame(frame, first.Size);
            else _options.Counters.SendErrors++;
        }

        for (var n = 0; n < pieces; n++)
        {
            RespondSent(_pieces[n].Id, isGood ? NetProtocol.Okay : NetProtocol.Error);
            for (var extra = 0; n == 0 && extra < extras.Count; extra++) RespondSent(0, NetProtocol.Null);
        }

        return true;
    }

    /// <summary>A part of a frame is not there; an event comes with the next slot.</summary>
    /// <returns>True when it came in between.</returns>
    private bool Incomplete(int waiting)
    {
        if (waiting < _tx.Count) return _tx.WantEventBehind(waiting);
        Break("a frame is longer than the ring");
        return false;
    }

    private void ReadExtra(ReadOnlySpan<byte> slot, ref Extras extras)
    {
        switch (slot[0])
        {
            case NetProtocol.ExtraSegmentation:
                extras.SegmentBytes = BinaryPrimitives.ReadUInt16LittleEndian(slot[2..]);
                extras.Segmentation = slot[4];
                extras.IsWrong |= extras.SegmentBytes == 0 || extras.Segmentation is not (NetProtocol.SegmentationTcp4 or NetProtocol.SegmentationTcp6);
                break;
            case NetProtocol.ExtraMulticastAdd:
                extras.IsMulticast = true;
                extras.MulticastDone = _options.Multicast.Add(slot.Slice(2, 6));
                break;
            case NetProtocol.ExtraMulticastRemove:
                extras.IsMulticast = extras.MulticastDone = true;
                _options.Multicast.Remove(slot.Slice(2, 6));
                break;
            case NetProtocol.ExtraHash: break;
            default: extras.IsWrong = true; break;
        }
    }

    /// <summary>Puts the pieces side by side. The first one names the length of all, the others their own.</summary>
    private bool TryCopy(int pieces)
    {
        int total = _pieces[0].Size;
        var firstBytes = total;
        for (var n = 1; n < pieces; n++) firstBytes -= _pieces[n].Size;
        if (firstBytes <= 0 || total < NetProtocol.EthernetHeader) return false;
        var at = 0;
        for (var n = 0; n < pieces; n++)
        {
            ref readonly var piece = ref _pieces[n];
            var bytes = n == 0 ? firstBytes : piece.Size;
            if (bytes == 0 || piece.Offset + bytes > NetProtocol.PageBytes) return false;
            _copies[n] = new GrantCopy { Reference = piece.Grant, Offset = piece.Offset, Length = (ushort)bytes, Local = _txFrame.Address + at };
            at += bytes;
        }

        _options.Grants.Copy(_options.Guest, _copies.AsSpan(0, pieces));
        for (var n = 0; n < pieces; n++)
            if (_copies[n].Status != 0) return false;
        return true;
    }

    /// <summary>Finds what the guest left to be done: it says that, but not where.</summary>
    private bool TryPrepare(in Piece first, in Extras extras, ref NetFrame frame)
    {
        var bytes = _txFrame.Span[..first.Size];
        frame.IsValid = (first.Flags & NetProtocol.TxDataValidated) != 0;
        if (extras.Segmentation == 0 && (first.Flags & NetProtocol.TxChecksumBlank) == 0) return true;
        var found = NetHeaders.TryParse(bytes, out var headers);
        if (extras.Segmentation != 0)
        {
            if (!found || headers.Protocol != NetHeaders.Tcp || headers.IsIpv6 != (extras.Segmentation == NetProtocol.SegmentationTcp6)) return false;
            frame.Segmentation = headers.IsIpv6 ? NetSegmentation.Tcp6 : NetSegmentation.Tcp4;
            frame.SegmentBytes = extras.SegmentBytes;
            frame.HeaderBytes = (ushort)headers.PayloadStart;
        }

        // A blank checksum of something else is passed on as it is.
        if (!found) return true;
        frame.NeedsChecksum = true;
        frame.ChecksumStart = (ushort)headers.TransportStart;
        frame.ChecksumOffset = (ushort)headers.ChecksumOffset;
        headers.PutPseudoSum(bytes);
        return true;
    }

    private void SendFrame(in NetFrame frame, int bytes)
    {
        _options.Counters.SentFrames++;
        _options.Counters.SentBytes += bytes;
        if (_options.Net.Send(frame, _txFrame.Span[..bytes])) return;
        _heldFrame = frame;
        _heldBytes = bytes;
    }

    private void RespondSent(ushort id, short status)
    {
        Span<byte> response = stackalloc byte[NetProtocol.TxResponse];
        BinaryPrimitives.WriteUInt16LittleEndian(response, id);
        BinaryPrimitives.WriteInt16LittleEndian(response[2..], status);
        _tx.Respond(response);
    }

    /// <summary>Several frames of one turn of the loop are shown in one go.</summary>
    private void PostPush()
    {
        if (_pushPosted) return;
        _pushPosted = true;
        _options.Plane.Loop.Post(_push);
    }

    private void Push()
    {
        _pushPosted = false;
        if (!_isStopped) PushNow();
    }

    private void PushNow()
    {
        if (_isStopped || !_isOpen) return;
        var (tx, rx) = (_tx.Push(), _rx.Push());
        if (tx || (rx && ReferenceEquals(_txChannel, _rxChannel))) _txChannel?.Notify();
        if (rx && !ReferenceEquals(_txChannel, _rxChannel)) _rxChannel?.Notify();
    }

    private void Break(string text)
    {
        if (_isStopped) return;
        _isStopped = true;
        _options.Broken(text);
    }
}
