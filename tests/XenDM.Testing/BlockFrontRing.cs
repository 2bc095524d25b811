using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Threading;

namespace XenDM.Testing;

/// <summary>The guest's end of a ring of a PV disk, and the pages that its requests use.</summary>
public sealed class BlockFrontRing
{
    public const byte Read = 0, Write = 1, Barrier = 2, Flush = 3, Discard = 5, Indirect = 6;
    private const int HeaderBytes = 64;
    private const int DirectSegments = 11;
    private const int PageBytes = FakeGrants.PageBytes;
    private const int SectorBytes = 512;

    private readonly FakeXen _xen;
    private readonly BlockFrontOptions _options;
    private readonly Action _pump;
    private readonly List<int> _pages = [];
    private readonly Stack<int> _free = [];
    private readonly Dictionary<int, uint> _persistent = [];
    private readonly byte[] _slot;
    private readonly int _idAt;
    private uint _produced;
    private uint _pushed;
    private uint _consumed;
    private ulong _lastId;

    public BlockFrontRing(FakeXen xen, BlockFrontOptions options, Action pump)
    {
        (_xen, _options, _pump) = (xen, options, pump);
        _slot = new byte[options.Is64 ? 112 : 108];
        _idAt = options.Is64 ? 8 : 4;
        for (var n = 0; n < 1 << (options.RingOrder ?? 0); n++)
        {
            _pages.Add(xen.Grants.Allocate());
            References.Add(xen.Grants.Grant(_pages[n]));
            xen.Grants.Page(_pages[n]).Clear();
        }

        Count = 1 << System.Numerics.BitOperations.Log2((uint)(((_pages.Count * PageBytes) - HeaderBytes) / _slot.Length));
        xen.Grants.Word(_pages[0], 4) = 1;
        xen.Grants.Word(_pages[0], 12) = 1;
        Port = xen.Events.Offer();
    }

    /// <summary>Slots.</summary>
    public int Count { get; }

    public List<uint> References { get; } = [];

    public uint Port { get; }

    /// <summary>Requests without a response.</summary>
    public int Waiting => (int)(_produced - _consumed);

    /// <summary>Events that this front end sent.</summary>
    public long Kicks { get; private set; }

    public ref uint RequestProducer => ref _xen.Grants.Word(_pages[0], 0);

    public ref uint RequestEvent => ref _xen.Grants.Word(_pages[0], 4);

    public ref uint ResponseProducer => ref _xen.Grants.Word(_pages[0], 8);

    public ref uint ResponseEvent => ref _xen.Grants.Word(_pages[0], 12);

    /// <summary>Pages that hold the ring.</summary>
    public IReadOnlyList<int> Pages => _pages;

    // The ring as such.

    /// <summary>Puts the bytes of a request into the next slot; nobody sees it before <see cref="Push"/>.</summary>
    public void Put(ReadOnlySpan<byte> request)
    {
        var at = HeaderBytes + ((int)(_produced++ & (uint)(Count - 1)) * _slot.Length);
        while (!request.IsEmpty)
        {
            var to = _xen.Grants.Page(_pages[at / PageBytes])[(at % PageBytes)..];
            var count = Math.Min(to.Length, request.Length);
            request[..count].CopyTo(to);
            at += count;
            request = request[count..];
        }
    }

    /// <summary>Shows what was put, and sends an event if the backend asks for one.</summary>
    public void Push()
    {
        var before = _pushed;
        _pushed = _produced;
        Volatile.Write(ref RequestProducer, _pushed);
        Interlocked.MemoryBarrier();
        if (_pushed - Volatile.Read(ref RequestEvent) < _pushed - before) Kick();
    }

    public void Kick()
    {
        Kicks++;
        _xen.Events.Send(Port);
    }

    /// <summary>Takes a response, if there is one; asks for an event for the next if not.</summary>
    public bool TryTake(out BlockResponse response)
    {
        response = default;
        if (Volatile.Read(ref ResponseProducer) == _consumed)
        {
            Volatile.Write(ref ResponseEvent, _consumed + 1);
            Interlocked.MemoryBarrier();
            if (Volatile.Read(ref ResponseProducer) == _consumed) return false;
        }

        Span<byte> bytes = stackalloc byte[16];
        var at = HeaderBytes + ((int)(_consumed++ & (uint)(Count - 1)) * _slot.Length);
        for (var n = 0; n < 12; n++) bytes[n] = _xen.Grants.Page(_pages[(at + n) / PageBytes])[(at + n) % PageBytes];
        response = new BlockResponse(BinaryPrimitives.ReadUInt64LittleEndian(bytes), bytes[8], BinaryPrimitives.ReadInt16LittleEndian(bytes[10..]));
        return true;
    }

    // Requests.

    /// <summary>Puts a request with up to 11 segments.</summary>
    /// <returns>Its id.</returns>
    public ulong Add(byte operation, ulong sector, params ReadOnlySpan<BlockPiece> pieces)
    {
        Begin(operation, (byte)pieces.Length, sector);
        for (var n = 0; n < Math.Min(pieces.Length, DirectSegments); n++) Descriptor(_slot.AsSpan(_idAt + 16 + (n * 8)), pieces[n]);
        Put(_slot);
        return _lastId;
    }

    public ulong AddDiscard(ulong sector, ulong sectors, byte flags = 0)
    {
        Begin(Discard, flags, sector);
        BinaryPrimitives.WriteUInt64LittleEndian(_slot.AsSpan(_idAt + 16), sectors);
        Put(_slot);
        return _lastId;
    }

    /// <summary>Puts a request whose segments stand in a page.</summary>
    public ulong AddIndirect(byte operation, ulong sector, uint grant, int count)
    {
        Begin(Indirect, operation, sector);
        BinaryPrimitives.WriteUInt16LittleEndian(_slot.AsSpan(2), (ushort)count);
        BinaryPrimitives.WriteUInt32LittleEndian(_slot.AsSpan(_idAt + 20), grant);
        Put(_slot);
        return _lastId;
    }

    public static void Descriptor(Span<byte> to, BlockPiece piece)
    {
        to[..8].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(to, piece.Grant);
        to[4] = piece.First;
        to[5] = piece.Last;
    }

    /// <summary>Pushes, and lets the backend work until a response is there.</summary>
    /// <exception cref="TimeoutException">None comes.</exception>
    public BlockResponse Finish()
    {
        Push();
        for (var turn = 0; turn < 20_000; turn++)
        {
            if (TryTake(out var response)) return response;
            _pump();
        }

        throw new TimeoutException("no response");
    }

    /// <summary>A request without data.</summary>
    public short Do(byte operation, ulong sector = 0)
    {
        var id = Add(operation, sector);
        return Checked(Finish(), id, operation);
    }

    public short DoDiscard(ulong sector, ulong sectors, byte flags = 0)
    {
        var id = AddDiscard(sector, sectors, flags);
        return Checked(Finish(), id, Discard);
    }

    // Data, split into requests as a driver does it.

    /// <summary>Moves data, in as many requests as it takes.</summary>
    /// <param name="offset">Bytes into the first page; a multiple of 512.</param>
    /// <returns>The first status that is not 0.</returns>
    public short Transfer(byte operation, ulong sector, Span<byte> data, int offset = 0)
    {
        var isRead = operation == Read;
        while (!data.IsEmpty)
        {
            var most = Math.Max(DirectSegments, _options.IndirectSegments);
            var pieces = new List<BlockPiece>();
            var pages = new List<(int Page, int Offset, int Length)>();
            var length = 0;
            while (pieces.Count < most && length < data.Length)
            {
                var page = TakePage();
                var count = Math.Min(PageBytes - offset, data.Length - length);
                if (!isRead) data.Slice(length, count).CopyTo(_xen.Grants.Page(page)[offset..]);
                pieces.Add(new BlockPiece(GrantPage(page, !isRead), (byte)(offset / SectorBytes), (byte)(((offset + count) / SectorBytes) - 1)));
                pages.Add((page, offset, count));
                length += count;
                offset = 0;
            }

            var list = -1;
            uint listGrant = 0;
            if (pieces.Count > DirectSegments)
            {
                list = TakePage();
                listGrant = GrantPage(list, isReadOnly: true);
                for (var n = 0; n < pieces.Count; n++) Descriptor(_xen.Grants.Page(list)[(n * 8)..], pieces[n]);
            }

            var id = list < 0 ? Add(operation, sector, [.. pieces]) : AddIndirect(operation, sector, listGrant, pieces.Count);
            var status = Checked(Finish(), id, operation);
            var at = 0;
            for (var n = 0; n < pages.Count; n++)
            {
                if (isRead) _xen.Grants.Page(pages[n].Page).Slice(pages[n].Offset, pages[n].Length).CopyTo(data[at..]);
                at += pages[n].Length;
                EndPage(pages[n].Page, pieces[n].Grant);
            }

            if (list >= 0) EndPage(list, listGrant);
            if (status != 0) return status;
            data = data[length..];
            sector += (ulong)(length / SectorBytes);
        }

        return 0;
    }

    public int TakePage() => _free.TryPop(out var page) ? page : _xen.Grants.Allocate();

    /// <summary>A front end with persistent grants grants a page once, for writing, and takes that back only when it closes.</summary>
    public uint GrantPage(int page, bool isReadOnly)
    {
        if (!_options.IsPersistent) return _xen.Grants.Grant(page, isReadOnly && _options.GrantsReadOnly);
        if (!_persistent.TryGetValue(page, out var reference)) _persistent.Add(page, reference = _xen.Grants.Grant(page));
        return reference;
    }

    /// <exception cref="InvalidOperationException">The backend has it mapped.</exception>
    public void EndPage(int page, uint reference)
    {
        if (!_options.IsPersistent && !_xen.Grants.TryEnd(reference)) throw new InvalidOperationException($"grant {reference} is in use after the response");
        _free.Push(page);
    }

    /// <summary>Takes everything back after the backend let go of it.</summary>
    /// <exception cref="InvalidOperationException">It did not.</exception>
    public void End()
    {
        _xen.Events.Close(Port);
        foreach (var reference in (uint[])[.. References, .. _persistent.Values])
            if (!_xen.Grants.TryEnd(reference)) throw new InvalidOperationException($"grant {reference} is in use after the end");
        foreach (var page in (int[])[.. _pages, .. _free]) _xen.Grants.Free(page);
        _free.Clear();
        _persistent.Clear();
    }

    private void Begin(byte operation, byte second, ulong sector)
    {
        _slot.AsSpan().Clear();
        _slot[0] = operation;
        _slot[1] = second;
        BinaryPrimitives.WriteUInt64LittleEndian(_slot.AsSpan(_idAt), ++_lastId);
        BinaryPrimitives.WriteUInt64LittleEndian(_slot.AsSpan(_idAt + 8), sector);
    }

    private static short Checked(BlockResponse response, ulong id, byte operation) =>
        response.Id == id && response.Operation == operation ? response.Status : throw new InvalidOperationException($"{response} does not answer request {id}, operation {operation}");
}
